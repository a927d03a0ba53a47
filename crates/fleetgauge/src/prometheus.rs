//! Prometheus as a source of metrics, and whatever else speaks its HTTP API: Thanos, Mimir, VictoriaMetrics.
//!
//! The module is thin on purpose: an HTTP client with few requests, and a decoder of their answers. What every
//! source needs (deadlines, retries, one flight per question, the cache) is [`CachedSource`]'s. Three things
//! are its own. *Bounds*: an answer is never held in memory before its size is known to be acceptable.
//! *Secrets*: they reach one host and no log. *Faults*: each has an outcome of its own, listed in
//! `docs/faults.md`, and none of them is an empty or a zero answer.

mod api;
mod backend;
mod companion;
mod config;
mod endpoint;
mod failure;
mod header;
#[cfg(feature = "remote_write")]
pub mod remote_write;
mod request;
mod rules;
mod together;
mod transport;
mod vars;

use fleetgauge_core::source::{CachedSource, HasCachedSource};
use std::sync::Arc;

pub use self::api::{
    decode_answer, decode_answer_with_histograms, decode_range, decode_range_with_histograms,
};
pub use self::backend::PrometheusBackend;
pub use self::config::{PrometheusSourceConfig, QueryMethod, UnknownQueryMethod};
pub use self::header::check_header;
pub use fleetgauge_core::query::Companions;

pub use crate::client::{Auth, ConfigError, ConnectionError, ProxyConfig, Secret, TlsConfig};

/// The metrics of a Prometheus server: queries registered, refreshed over HTTP, read from the cache.
///
/// Cheap to clone; clones are the same source.
///
/// ```no_run
/// use fleetgauge::{
///     MetricsSource, Params, PrometheusSource, PrometheusSourceConfig, QueryTemplate, RefreshSpec,
/// };
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let source = PrometheusSource::new(PrometheusSourceConfig::new("http://localhost:9090"))?;
/// source.query_list().register(QueryTemplate::promql("targets_up", "sum by (job) (up)"))?;
///
/// source.refresh(RefreshSpec::queries(["targets_up"])).await;
/// if let Some(cached) = source.get("targets_up", &Params::new()) {
///     for value in cached.result().values() {
///         println!("{}: {}", value.label("job"), value.value);
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct PrometheusSource {
    source: CachedSource,
    backend: Arc<PrometheusBackend>,
}

// === impl PrometheusSource ===

impl PrometheusSource {
    /// A source for the server that `config` names.
    ///
    /// *Errors*: [`ConfigError`], also if a file cannot be read. The server is not asked: whether it can be
    /// reached, the first refresh tells.
    pub fn new(config: PrometheusSourceConfig) -> Result<Self, ConfigError> {
        let backend = Arc::new(PrometheusBackend::new(&config)?);
        let source = CachedSource::new(backend.clone(), config.source_config());
        Ok(Self { source, backend })
    }

    /// The client that asks the server.
    pub fn backend(&self) -> &PrometheusBackend {
        &self.backend
    }
}

impl std::fmt::Debug for PrometheusSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("PrometheusSource").field(self.backend()).finish()
    }
}

impl HasCachedSource for PrometheusSource {
    fn cached_source(&self) -> &CachedSource {
        &self.source
    }
}

// === impl PrometheusSourceConfig ===

// Here, since a configuration knows nothing of the source that is made of it.
impl PrometheusSourceConfig {
    /// Checks the configuration and makes the source; the same as [`PrometheusSource::new`].
    ///
    /// *Errors*: [`ConfigError`].
    pub fn build(self) -> Result<PrometheusSource, ConfigError> {
        PrometheusSource::new(self)
    }
}
