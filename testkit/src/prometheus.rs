//! Debian's `prometheus` on a free loopback port, with data from `promtool` or by scraping.
//!
//! Starting blocks the calling thread for about half a second. Data is immutable once started: a test
//! asks at a fixed `time`, and gets the same answer on every run.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::{self, Server, poll};
use crate::{Error, OpenMetrics, Result, http};

const PROMETHEUS: &str = "prometheus";
const PROMTOOL: &str = "promtool";
const READY: &str = "Server is ready to receive web requests";

/// A user and a password that [`BASIC_AUTH_WEB_CONFIG`] accepts.
pub const BASIC_AUTH: (&str, &str) = ("fleetgauge", "correct horse");

/// For [`Builder::web_config`]: requires basic authentication as [`BASIC_AUTH`].
pub const BASIC_AUTH_WEB_CONFIG: &str =
    "basic_auth_users:\n  fleetgauge: $2b$04$mVN91QDUc6ZSGerNeWBrbessWHd3/IWnpPGJKFEATEcgU2bqnU9/C\n";

/// A running Prometheus; dropping it kills the process and removes its data.
#[derive(Debug)]
pub struct Prometheus {
    server: Server,
    setup: Setup,
}

/// What to start: see [`Prometheus::builder`].
#[derive(Debug, Default)]
pub struct Builder {
    data: Vec<String>,
    data_files: Vec<PathBuf>,
    scrapes: Vec<Value>,
    config: Option<String>,
    promtool: Option<PathBuf>,
    setup: Setup,
}

/// What a restart needs again.
#[derive(Clone, Debug, Default)]
struct Setup {
    /// Instead of what is installed.
    program: Option<PathBuf>,
    flags: Vec<String>,
    route_prefix: String,
    web_config: Option<String>,
    port: Option<u16>,
}

// === impl Builder ===

impl Builder {
    /// Adds blocks with these samples.
    #[must_use]
    pub fn data(self, document: &OpenMetrics) -> Self {
        self.open_metrics(document.to_open_metrics())
    }

    /// Adds blocks from OpenMetrics text, which must have timestamps and end in `# EOF`.
    #[must_use]
    pub fn open_metrics(mut self, text: impl Into<String>) -> Self {
        self.data.push(text.into());
        self
    }

    /// Adds blocks from a file as of [`open_metrics`](Self::open_metrics), for what is too large for memory.
    #[must_use]
    pub fn open_metrics_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.data_files.push(file.into());
        self
    }

    /// Scrapes `target` as `job` every `interval`, with extra labels. The first scrape comes after the
    /// five seconds that Prometheus takes to hand over targets, jittered by up to an interval: use
    /// [`Prometheus::wait_for`] with `up{job="…"} == 1`, and data from blocks where scraping is not the point.
    #[must_use]
    pub fn scrape(
        mut self,
        job: &str,
        target: SocketAddr,
        interval: Duration,
        labels: &[(&str, &str)],
    ) -> Self {
        let interval = format!("{}ms", interval.as_millis());
        let labels: serde_json::Map<_, _> = labels
            .iter()
            .map(|(name, value)| ((*name).to_owned(), Value::from(*value)))
            .collect();
        self.scrapes.push(json!({
            "job_name": job,
            "scrape_interval": interval,
            "scrape_timeout": interval,
            "static_configs": [{ "targets": [target.to_string()], "labels": labels }],
        }));
        self
    }

    /// Uses this configuration file instead of the one made from [`Builder::scrape`].
    #[must_use]
    pub fn config(mut self, yaml: impl Into<String>) -> Self {
        self.config = Some(yaml.into());
        self
    }

    /// TLS or basic authentication: the text of the `--web.config.file`, with absolute paths inside.
    ///
    /// [`Prometheus::query`] and [`Prometheus::wait_for`] speak plain HTTP, so they fail behind TLS.
    #[must_use]
    pub fn web_config(mut self, yaml: impl Into<String>) -> Self {
        self.setup.web_config = Some(yaml.into());
        self
    }

    /// Serves everything under this path, such as `/monitoring`.
    #[must_use]
    pub fn route_prefix(mut self, prefix: &str) -> Self {
        self.setup.route_prefix = format!("/{}", prefix.trim_matches('/'));
        self
    }

    /// Starts this program instead of the `prometheus` that is installed.
    #[must_use]
    pub fn program(mut self, path: impl Into<PathBuf>) -> Self {
        self.setup.program = Some(path.into());
        self
    }

    /// Writes blocks with this program instead of the `promtool` that is installed.
    #[must_use]
    pub fn promtool(mut self, path: impl Into<PathBuf>) -> Self {
        self.promtool = Some(path.into());
        self
    }

    /// Starts the programs that `FLEETGAUGE_PROMETHEUS_3` and `FLEETGAUGE_PROMTOOL_3` name, if they do: benches compare with
    /// whatever Prometheus somebody cares about.
    #[must_use]
    pub fn named_by_environment(self) -> Self {
        let named = |variable| std::env::var_os(variable).filter(|path| !path.is_empty());
        let builder = match named("FLEETGAUGE_PROMETHEUS_3") {
            Some(program) => self.program(program),
            None => self,
        };
        match named("FLEETGAUGE_PROMTOOL_3") {
            Some(promtool) => builder.promtool(promtool),
            None => builder,
        }
    }

    /// Adds a command-line flag, such as `--query.max-samples=10`.
    #[must_use]
    pub fn flag(mut self, flag: impl Into<String>) -> Self {
        self.setup.flags.push(flag.into());
        self
    }

    /// Writes the data, starts the process and waits until it is ready.
    ///
    /// # Errors
    /// When `prometheus` or `promtool` is not installed, refuses its input, or does not become ready.
    pub fn start(self) -> Result<Prometheus> {
        let dir = process::temp_dir()?;
        let mut files = self.data_files;
        for (index, text) in self.data.iter().enumerate() {
            let file = dir.path().join(format!("data-{index}.om"));
            write(&file, text)?;
            files.push(file);
        }
        let promtool = self.promtool.as_deref().unwrap_or(PROMTOOL.as_ref());
        for file in files {
            let words = ["tsdb", "create-blocks-from", "openmetrics"].map(Into::into);
            process::run(promtool, &[&words[..], &[file, dir.path().join("data")]].concat())?;
        }
        // JSON is YAML, and needs no quoting of our own.
        let made = json!({ "scrape_configs": self.scrapes }).to_string();
        write(&dir.path().join("prometheus.yml"), &self.config.unwrap_or(made))?;
        if let Some(web) = &self.setup.web_config {
            write(&dir.path().join("web.yml"), web)?;
        }
        Prometheus::launch(self.setup, dir)
    }
}

// === impl Prometheus ===

impl Prometheus {
    /// Describes a Prometheus to start.
    pub fn builder() -> Builder {
        Builder::default()
    }

    fn launch(mut setup: Setup, dir: TempDir) -> Result<Self> {
        let args = |addr: SocketAddr| {
            let mut args = vec![
                "--config.file=prometheus.yml".to_owned(),
                "--storage.tsdb.path=data".to_owned(),
                // Fixed timestamps of a test may be years apart.
                "--storage.tsdb.retention.time=100y".to_owned(),
                format!("--web.listen-address={addr}"),
            ];
            if setup.web_config.is_some() {
                args.push("--web.config.file=web.yml".to_owned());
            }
            if !setup.route_prefix.is_empty() {
                args.push(format!("--web.route-prefix={}", setup.route_prefix));
            }
            args.extend(setup.flags.iter().cloned());
            args
        };
        // Its own log tells it from another server on the port, and is all there is behind TLS.
        let ready = |addr: SocketAddr, log: &str| {
            let path = format!("{}/-/ready", setup.route_prefix);
            log.contains(READY)
                && (setup.web_config.is_some() || http::get(addr, &path).is_ok_and(|r| r.status == 200))
        };
        let program = setup.program.as_deref().unwrap_or(PROMETHEUS.as_ref());
        let server = Server::start(program, dir, setup.port, args, ready)?;
        setup.port = Some(server.addr().port());
        Ok(Self { server, setup })
    }

    /// The address that it listens on.
    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// The base URL with the route prefix and without a slash at the end; `https` if the web
    /// configuration has a `tls_server_config`.
    pub fn url(&self) -> String {
        let tls = self
            .setup
            .web_config
            .as_ref()
            .is_some_and(|yaml| yaml.contains("tls_server_config"));
        format!(
            "{}://{}{}",
            if tls { "https" } else { "http" },
            self.addr(),
            self.setup.route_prefix
        )
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.server.pid()
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.server.log()
    }

    /// Stops the process where it is (SIGSTOP): connections are accepted by the kernel and never
    /// answered, as with a server that hangs. Returns when every thread of it stands still.
    ///
    /// # Errors
    /// When the process is gone, or does not stop.
    pub fn pause(&self) -> Result<()> {
        self.server.signal(Signal::STOP)?;
        self.server.until_stopped()
    }

    /// Lets a paused process go on (SIGCONT).
    ///
    /// # Errors
    /// When the process is gone.
    pub fn resume(&self) -> Result<()> {
        self.server.signal(Signal::CONT)
    }

    /// Kills the process, waits for its end and removes its data.
    pub fn stop(self) {
        drop(self);
    }

    /// Kills the process and starts it again on the same port with the same data.
    ///
    /// # Errors
    /// As [`Builder::start`].
    pub fn restart(self) -> Result<Self> {
        let Self { server, setup } = self;
        Self::launch(setup, server.into_dir())
    }

    /// Ends the process, by SIGTERM if that is `gracefully`, else by SIGKILL. What comes back starts it again on the same port
    /// with the same data.
    ///
    /// # Errors
    /// When it does not end.
    pub fn halt(self, gracefully: bool) -> Result<impl FnOnce() -> Result<Self>> {
        let Self { server, setup } = self;
        let dir = match gracefully {
            true => server.terminate()?,
            false => server.into_dir(),
        };
        Ok(move || Self::launch(setup, dir))
    }

    /// The version that it says it is, as `2.42.0`.
    ///
    /// # Errors
    /// When it does not say.
    pub fn version(&self) -> Result<String> {
        let path = format!("{}/api/v1/status/buildinfo", self.setup.route_prefix);
        let response = http::get(self.addr(), &path)?;
        let answer: Value = serde_json::from_slice(&response.body).unwrap_or_default();
        match answer["data"]["version"].as_str() {
            Some(version) => Ok(version.to_owned()),
            None => Err(Error::answer(path, &response)),
        }
    }

    /// Asks the query API directly, as an oracle beside the client under test; gives `data.result`.
    /// Without a time the server evaluates at now.
    ///
    /// # Errors
    /// When the answer is not a success.
    pub fn query(&self, promql: &str, time: Option<f64>) -> Result<Value> {
        query(self.addr(), &self.setup.route_prefix, promql, time)
    }

    /// Polls until a query at now has a sample, and gives `data.result`.
    ///
    /// # Errors
    /// When it has none within a minute.
    pub fn wait_for(&self, promql: &str) -> Result<Value> {
        wait_for(promql, || self.query(promql, None))
    }
}

// === shared with VictoriaMetrics ===

pub(crate) fn query(addr: SocketAddr, prefix: &str, promql: &str, time: Option<f64>) -> Result<Value> {
    let mut path = format!("{prefix}/api/v1/query?query={}", http::percent_encode(promql));
    if let Some(time) = time {
        path.push_str(&format!("&time={time}"));
    }
    let response = http::get(addr, &path)?;
    let mut answer: Value = serde_json::from_slice(&response.body).unwrap_or_default();
    if response.status != 200 || answer["status"] != "success" {
        return Err(Error::answer(path, &response));
    }
    Ok(answer["data"]["result"].take())
}

pub(crate) fn wait_for(promql: &str, ask: impl Fn() -> Result<Value>) -> Result<Value> {
    poll(&format!("a sample of {promql}"), || {
        let result = ask()?;
        Ok(result
            .as_array()
            .is_some_and(|all| !all.is_empty())
            .then_some(result))
    })
}

fn write(file: &std::path::Path, text: &str) -> Result<()> {
    fs::write(file, text).map_err(Error::io(format!("writing {}", file.display())))
}
