//! Debian's `victoria-metrics` on a free loopback port, with data through its import API.
//!
//! It answers the same query API as Prometheus, with differences worth testing against. By default it
//! hides samples younger than 30 s and caches answers; both are switched off here.

use std::net::SocketAddr;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::process::{self, Server, poll};
use crate::{Error, OpenMetrics, Result, http, prometheus};

const VICTORIA_METRICS: &str = "victoria-metrics";

/// A running VictoriaMetrics; dropping it kills the process and removes its data.
#[derive(Debug)]
pub struct VictoriaMetrics {
    server: Server,
    flags: Vec<String>,
}

/// What to start: see [`VictoriaMetrics::builder`].
#[derive(Debug, Default)]
pub struct Builder {
    flags: Vec<String>,
}

// === impl Builder ===

impl Builder {
    /// Adds a command-line flag, such as `-search.maxSeries=10`.
    #[must_use]
    pub fn flag(mut self, flag: impl Into<String>) -> Self {
        self.flags.push(flag.into());
        self
    }

    /// Starts the process and waits until it is ready.
    ///
    /// # Errors
    /// When `victoria-metrics` is not installed, refuses a flag, or does not become ready.
    pub fn start(self) -> Result<VictoriaMetrics> {
        VictoriaMetrics::launch(self.flags, process::temp_dir()?, None)
    }
}

// === impl VictoriaMetrics ===

impl VictoriaMetrics {
    /// Describes a VictoriaMetrics to start.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Starts one with no extra flags.
    ///
    /// # Errors
    /// As [`Builder::start`].
    pub fn start() -> Result<Self> {
        Self::builder().start()
    }

    fn launch(flags: Vec<String>, dir: TempDir, port: Option<u16>) -> Result<Self> {
        let data = dir.path().join("data").display().to_string();
        let args = |addr: SocketAddr| {
            let mut args = vec![
                format!("-storageDataPath={data}"),
                format!("-httpListenAddr={addr}"),
                "-search.latencyOffset=0s".to_owned(),
                "-search.disableCache".to_owned(),
                // Fixed timestamps of a test may be years old.
                "-retentionPeriod=100y".to_owned(),
            ];
            args.extend(flags.iter().cloned());
            args
        };
        // Its data path among its flags tells it from another server on the port.
        let ready = |addr: SocketAddr, _: &str| {
            http::get(addr, "/metrics").is_ok_and(|response| response.text().contains(&data))
        };
        let server = Server::start(VICTORIA_METRICS.as_ref(), dir, port, args, ready)?;
        Ok(Self { server, flags })
    }

    /// As [`Prometheus::halt`](crate::Prometheus::halt).
    ///
    /// # Errors
    /// When it does not end.
    pub fn halt(self, gracefully: bool) -> Result<impl FnOnce() -> Result<Self>> {
        let Self { server, flags } = self;
        let port = server.addr().port();
        let dir = match gracefully {
            true => server.terminate()?,
            false => server.into_dir(),
        };
        Ok(move || Self::launch(flags, dir, Some(port)))
    }

    /// Imports these samples and waits until they are searchable.
    ///
    /// # Errors
    /// When the import is refused, or the samples do not appear within a minute.
    pub fn import(&self, document: &OpenMetrics) -> Result<()> {
        self.import_text(&document.to_prometheus_text())
    }

    /// Imports Prometheus text (timestamps in milliseconds; none means now) and waits until it is
    /// searchable. VictoriaMetrics drops samples that are NaN.
    ///
    /// # Errors
    /// As [`VictoriaMetrics::import`].
    pub fn import_text(&self, text: &str) -> Result<()> {
        let wanted = self.sample_count()? + text.lines().filter(|line| is_stored(line)).count();
        let path = "/api/v1/import/prometheus";
        let response = http::post(self.addr(), path, text.as_bytes())?;
        if response.status != 204 && response.status != 200 {
            return Err(Error::answer(path, &response));
        }
        poll(&format!("{wanted} samples to become searchable"), || {
            http::get(self.addr(), "/internal/force_flush")?;
            Ok((self.sample_count()? >= wanted).then_some(()))
        })
    }

    fn sample_count(&self) -> Result<usize> {
        let all = http::percent_encode("{__name__!=\"\"}");
        let export = http::get(self.addr(), &format!("/api/v1/export?match[]={all}"))?;
        let count = |line: &str| {
            let series: Value = serde_json::from_str(line).unwrap_or_default();
            series["values"].as_array().map_or(0, Vec::len)
        };
        Ok(export.text().lines().map(count).sum())
    }

    /// The address that it listens on.
    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// The base URL, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr())
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.server.pid()
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.server.log()
    }

    /// As [`Prometheus::pause`](crate::Prometheus::pause).
    ///
    /// # Errors
    /// When the process is gone.
    pub fn pause(&self) -> Result<()> {
        self.server.signal(Signal::STOP)
    }

    /// As [`Prometheus::resume`](crate::Prometheus::resume).
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

    /// As [`Prometheus::query`](crate::Prometheus::query).
    ///
    /// # Errors
    /// When the answer is not a success.
    pub fn query(&self, promql: &str, time: Option<f64>) -> Result<Value> {
        prometheus::query(self.addr(), "", promql, time)
    }

    /// As [`Prometheus::wait_for`](crate::Prometheus::wait_for).
    ///
    /// # Errors
    /// When there is no sample within a minute.
    pub fn wait_for(&self, promql: &str) -> Result<Value> {
        prometheus::wait_for(promql, || self.query(promql, None))
    }
}

/// Whether a line of Prometheus text is a sample that VictoriaMetrics keeps.
fn is_stored(line: &str) -> bool {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return false;
    }
    let after_name = match line.rfind('}') {
        Some(end) => Some(&line[end + 1..]),
        None => line.split_once(char::is_whitespace).map(|(_, rest)| rest),
    };
    let value = after_name.and_then(|rest| rest.split_whitespace().next());
    value.is_some_and(|value| !value.eq_ignore_ascii_case("nan"))
}
