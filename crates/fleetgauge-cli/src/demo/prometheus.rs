//! A real Prometheus that scrapes the fleet: found on the PATH, started on a free loopback port with a
//! directory of its own, and surely ended.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};
use fleetgauge::prometheus::{PrometheusSource, PrometheusSourceConfig};
use fleetgauge_core::params::Params;
use fleetgauge_core::query::QueryTemplate;
use fleetgauge_core::source::{MetricsSource, RefreshSpec};
use fleetgauge_core::time::Timestamp;
use fleetgauge_sim::Fleet;
use futures_util::future::{self, BoxFuture, FutureExt as _};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::target::{PodKey, TargetState, Targets, in_few_words};

const PROGRAM: &str = "prometheus";
const TARGETS: &str = "targets.json";
const LOG: &str = "prometheus.log";
/// How long it may take to start.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long an answer may take at least: then what is shown goes on, with what is missing.
const ANSWER: Duration = Duration::from_secs(1);
/// Another process may take the free port before Prometheus binds it.
const PORT_ATTEMPTS: usize = 5;
/// When the target of each pod was last scraped with success.
const SCRAPED_AT: &str = "demo/scraped_at";

/// A running Prometheus; dropping it kills the process and removes its data.
#[derive(Debug)]
pub(crate) struct Prometheus {
    child: Child,
    /// Kills the child when this process ends without having done so.
    reaper: Option<Child>,
    directory: TempDir,
    address: SocketAddr,
    /// The targets written last.
    targets: String,
}

/// What the Prometheus says of its targets.
pub(crate) struct PrometheusTargets {
    source: Arc<PrometheusSource>,
    address: SocketAddr,
    interval: Duration,
}

// === impl Prometheus ===

impl Prometheus {
    /// Starts one that scrapes the fleet every `interval`, and waits until it answers. The targets reach its
    /// scraper some five seconds later.
    pub(crate) async fn start(fleet: &Fleet, interval: Duration) -> anyhow::Result<Self> {
        for attempt in 1.. {
            let mut prometheus = Self::spawn(fleet, interval)?;
            match prometheus.until_ready().await {
                Err(_) if attempt < PORT_ATTEMPTS && prometheus.log().contains("address already in use") => {}
                Err(error) => return Err(error),
                Ok(()) => return Ok(prometheus),
            }
        }
        bail!("no port was free for {PROGRAM}")
    }

    fn spawn(fleet: &Fleet, interval: Duration) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("fleetgauge-demo-").tempdir()?;
        let interval = format!("{}ms", interval.as_millis());
        // JSON is YAML, and needs no quoting of our own.
        let config = json!({"scrape_configs": [{
            "job_name": "fleet",
            "scrape_interval": interval,
            "scrape_timeout": interval,
            "file_sd_configs": [{"files": [TARGETS]}],
        }]});
        fs::write(directory.path().join("prometheus.yml"), config.to_string())?;
        let targets = fleet.targets_file_sd();
        write_whole(directory.path(), &targets)?;
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let log = File::create(directory.path().join(LOG))?;
        let mut command = Command::new(PROGRAM);
        command
            .args([
                "--config.file=prometheus.yml",
                "--storage.tsdb.path=data",
                "--log.level=warn",
            ])
            .arg(format!("--web.listen-address={address}"))
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        // Ctrl-C is for this process, which ends the child.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let child = command.spawn().map_err(missing)?;
        let reaper = reaper(&child, directory.path());
        Ok(Self {
            child,
            reaper,
            directory,
            address,
            targets,
        })
    }

    async fn until_ready(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("{PROGRAM} ended with {status}: {}", last_line(&self.log()));
            }
            if get(self.address, "/-/ready", PATIENCE).await.is_ok() {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!(
                    "{PROGRAM} is not ready after {PATIENCE:?}: {}",
                    last_line(&self.log())
                );
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Its base URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The source that asks it, and what it says of its targets.
    pub(crate) fn source(
        &self,
        interval: Duration,
    ) -> anyhow::Result<(Arc<PrometheusSource>, PrometheusTargets)> {
        let config = PrometheusSourceConfig::new(self.url()).with_query_timeout(answer_within(interval));
        let source = Arc::new(PrometheusSource::new(config)?);
        // Over an expression `timestamp` gives the time of the evaluation, so `up` stands alone in it.
        let query = QueryTemplate::promql(SCRAPED_AT, "timestamp(up) and up == 1");
        source.query_list().register(query)?;
        let targets = PrometheusTargets {
            source: Arc::clone(&source),
            address: self.address,
            interval,
        };
        Ok((source, targets))
    }

    /// Tells it who is in the fleet now.
    pub(crate) fn update(&mut self, fleet: &Fleet) -> anyhow::Result<()> {
        let targets = fleet.targets_file_sd();
        if targets != self.targets {
            write_whole(self.directory.path(), &targets)?;
            self.targets = targets;
        }
        Ok(())
    }

    #[cfg(test)]
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join(LOG)).unwrap_or_default()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // The reaper first: once the child is waited for, its id may be another process's.
        if let Some(mut reaper) = self.reaper.take() {
            let _ = reaper.kill();
            let _ = reaper.wait();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Prometheus must never read half a file.
fn write_whole(directory: &Path, targets: &str) -> io::Result<()> {
    let new = directory.join("targets.new");
    fs::write(&new, targets)?;
    fs::rename(new, directory.join(TARGETS))
}

fn missing(error: io::Error) -> anyhow::Error {
    if error.kind() == io::ErrorKind::NotFound {
        return anyhow!(
            "there is no `{PROGRAM}` on the PATH; install it (apt-get install prometheus, brew install prometheus, \
             or https://prometheus.io/download/), or run the demo without --prometheus"
        );
    }
    anyhow::Error::new(error).context(format!("`{PROGRAM}` can't be started"))
}

/// A shell that waits for the end of its standard input, which only this process holds.
fn reaper(child: &Child, directory: &Path) -> Option<Child> {
    let mut command = Command::new("sh");
    command
        .args(["-c", r#"read _; kill -9 "$0"; rm -rf -- "$1""#])
        .arg(child.id().to_string())
        .arg(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    // Without a shell there is no reaper, and one must be content with a regular end.
    command.spawn().ok()
}

fn last_line(log: &str) -> &str {
    log.lines().last().unwrap_or("it said nothing")
}

// === impl PrometheusTargets ===

impl Targets for PrometheusTargets {
    fn states(&self) -> BoxFuture<'_, Result<HashMap<PodKey, TargetState>, String>> {
        async {
            let states = self.ask().await;
            states.map_err(|error| {
                format!(
                    "the Prometheus at {} does not tell its targets: {error:#}",
                    self.address
                )
            })
        }
        .boxed()
    }
}

impl PrometheusTargets {
    async fn ask(&self) -> anyhow::Result<HashMap<PodKey, TargetState>> {
        let spec = RefreshSpec::queries([SCRAPED_AT]).params(Params::new());
        let targets = get(
            self.address,
            "/api/v1/targets?state=active",
            answer_within(self.interval),
        );
        let (results, targets) = future::join(self.source.refresh(spec), targets).await;
        let scraped = results[SCRAPED_AT]
            .as_ref()
            .map_err(|error| match error.fetch_error() {
                Some(error) => anyhow!("{error}"),
                None => anyhow!("{error}"),
            })?;
        let answer: Value = serde_json::from_slice(&targets?)?;
        let mut states: HashMap<PodKey, TargetState> = HashMap::new();
        for target in answer["data"]["activeTargets"].as_array().into_iter().flatten() {
            let label = |name: &str| target["labels"][name].as_str().unwrap_or_default().to_owned();
            let error = target["lastError"].as_str().filter(|error| !error.is_empty());
            let state = TargetState {
                scraped_at: None,
                error: error.map(|error| match error.contains("context deadline exceeded") {
                    // It does not say after how long.
                    true => format!("timeout after {:?}", self.interval),
                    false => in_few_words(error),
                }),
            };
            states.insert((label("namespace"), label("pod")), state);
        }
        for value in scraped.values() {
            let key = (value.label("namespace").to_owned(), value.label("pod").to_owned());
            // A target that is listed no more has nothing to say.
            if let Some(state) = states.get_mut(&key) {
                state.scraped_at = Some(Timestamp::from_secs_f64(value.value));
            }
        }
        Ok(states)
    }
}

/// How long the answer to a query may take where the pods are scraped every `interval`.
fn answer_within(interval: Duration) -> Duration {
    interval.max(ANSWER)
}

/// The body of a plain answer with status 200. HTTP/1.0, so that nothing comes in chunks and the body ends
/// with the connection.
async fn get(address: SocketAddr, path: &str, within: Duration) -> anyhow::Result<Vec<u8>> {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        anyhow::Ok(answer)
    };
    let answer = tokio::time::timeout(within, exchange).await;
    let answer = answer.map_err(|_| anyhow!("no answer within {within:?}"))??;
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    let (head, body) = answer.split_at(end.context("no HTTP")? + 4);
    let status = String::from_utf8_lossy(head);
    match status.split(' ').nth(1) {
        Some("200") => Ok(body.to_vec()),
        _ => bail!("{}", status.lines().next().unwrap_or_default()),
    }
}
