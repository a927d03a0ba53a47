//! A source whose inputs are queries of other sources, and whose own queries are PromQL over their answers.
//!
//! In an expression the name of an input is the name of a metric, so that sources are aggregated and joined by what
//! PromQL has for it: `sum by (variant) (queue) + on (variant) backlog`. Nothing else is added to the language. The
//! whole of it is on one page in `docs/composed.md`.
//!
//! What must not happen is a number that an input is silently missing from. An input that has no data is an empty
//! vector, which `absent` and `or` see; one that fails fails the query, unless it is declared optional: then the answer
//! says that it is incomplete, and why.

mod backend;
mod build;
mod check;
mod config;
mod error;
mod input;
mod known;
mod namesake;
mod plan;

use std::fmt;

use fleetgauge_core::registry::SourceRegistry;
use fleetgauge_core::source::{CachedSource, HasCachedSource};
use fleetgauge_core::time::Clock;

use crate::layered;

pub use self::config::{ComposedConfig, Input, InputQuery};
pub use self::error::ComposedError;

/// The answers of other sources, aggregated and joined: read from the cache as those of any source.
///
/// Cheap to clone; clones are the same source.
///
/// A refresh asks those inputs, side by side, that the expression names, with the caller's parameters; with
/// [`RefreshSpec::max_age`](fleetgauge_core::source::RefreshSpec::max_age) it is content with what the caches of their
/// sources hold. The values of an answer are dated by the oldest input.
///
/// ```
/// use std::sync::Arc;
///
/// use fleetgauge::composed::{ComposedConfig, ComposedSource, Input};
/// use fleetgauge::{FixedBackend, MetricsSource, QueryTemplate, RefreshSpec, SourceRegistry};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pods = FixedBackend::new().values("queue_length", [([("pod", "a")], 3.0), ([("pod", "b")], 4.0)]);
/// let pods = pods.into_source();
/// pods.query_list().register(QueryTemplate::promql("queue_length", "vllm:num_requests_waiting"))?;
/// let sources = SourceRegistry::new();
/// sources.register("pods", Arc::new(pods))?;
///
/// let config = ComposedConfig::new("fleet").with_input(Input::new("queue", "pods", "queue_length"));
/// let fleet = ComposedSource::new(config, &sources)?;
/// fleet.query_list().register(QueryTemplate::promql("waiting", "sum(queue)"))?;
/// let results = fleet.refresh(RefreshSpec::queries(["waiting"])).await;
/// assert_eq!(results["waiting"].as_ref().unwrap().values().next().unwrap().value, 7.0);
///
/// let misspelt = fleet.query_list().register(QueryTemplate::promql("typo", "sum(queu)")).unwrap_err();
/// assert!(misspelt.to_string().contains("did you mean \"queue\"?"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ComposedSource {
    source: CachedSource,
}

// === impl ComposedSource ===

impl ComposedSource {
    /// The source that `config` describes, over those of `sources` that it names.
    ///
    /// *Errors*: [`ComposedError`]. No source is asked.
    pub fn new(config: ComposedConfig, sources: &SourceRegistry) -> Result<Self, ComposedError> {
        Self::with_clock(config, sources, Clock::system())
    }

    /// As [`new`](Self::new), by another clock: values are dated and age by it. Timeouts run by Tokio's clock.
    ///
    /// *Errors*: as [`new`](Self::new).
    pub fn with_clock(
        config: ComposedConfig,
        sources: &SourceRegistry,
        clock: Clock,
    ) -> Result<Self, ComposedError> {
        let source = build::source(config, &|name| sources.get(name), &sources.list(), clock)?;
        Ok(Self { source })
    }

    /// Makes several sources, in whatever order they need each other, and registers them under their names.
    ///
    /// *Errors*: [`ComposedError`], also where they need each other in a circle; none is registered then.
    pub fn register_all(
        sources: &SourceRegistry,
        configs: impl IntoIterator<Item = ComposedConfig>,
    ) -> Result<(), ComposedError> {
        layered::register_all(configs.into_iter().collect(), sources)
    }
}

impl fmt::Debug for ComposedSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ComposedSource").field(&self.source).finish()
    }
}

impl HasCachedSource for ComposedSource {
    fn cached_source(&self) -> &CachedSource {
        &self.source
    }
}

/// So that the example of the page compiles.
#[cfg(all(doctest, feature = "prometheus", feature = "scrape"))]
#[doc = include_str!("../../../docs/composed.md")]
mod page {}
