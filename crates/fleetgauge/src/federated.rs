//! Several clusters as one source: what one Prometheus would answer that held the series of all of them, each with the
//! labels of its cluster.
//!
//! What each member can compute of its own series it is asked to compute, and the rest is done here: see
//! [`distribute`](fleetgauge_syntax::rewrite::distribute), and `docs/federation.md`. A mean is never made of means.
//!
//! What must not happen is a number that a member is silently missing from. Fewer members than are required make a query
//! fail; fewer than all make its answer incomplete, with each one's reason.

mod backend;
mod build;
mod chosen;
mod config;
mod error;
mod member;
mod plan;
mod replica;
mod row;
mod union;

use std::fmt;
use std::sync::Arc;

use fleetgauge_core::backend::{FetchError, Request};
use fleetgauge_core::registry::SourceRegistry;
use fleetgauge_core::source::{CachedSource, HasCachedSource};
use fleetgauge_core::time::Clock;
use fleetgauge_syntax::rewrite;

use crate::layered;

pub use self::config::{FederatedConfig, Member, Require};
pub use self::error::FederatedError;
pub use fleetgauge_syntax::rewrite::{Part, Plan};

/// The series of several members as those of one source: queries of its own, read from the cache as those of any source.
///
/// Cheap to clone; clones are the same source.
///
/// ```
/// use std::sync::Arc;
///
/// use fleetgauge::federated::{FederatedConfig, FederatedSource, Member};
/// use fleetgauge::{FixedBackend, MetricsSource, QueryTemplate, RefreshSpec, SourceRegistry};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let sources = SourceRegistry::new();
/// for (cluster, waiting) in [("eu", 3.0), ("us", 4.0)] {
///     // What each cluster is asked: `sum by (cluster) (queue)`.
///     let answers = FixedBackend::new().values("waiting:part0", [([], waiting)]);
///     sources.register(cluster, Arc::new(answers.into_source()))?;
/// }
/// let config = FederatedConfig::new("fleet")
///     .with_member(Member::new("eu", "eu").with_label("cluster", "eu"))
///     .with_member(Member::new("us", "us").with_label("cluster", "us"))
///     .with_query(QueryTemplate::promql("waiting", "sum(queue)"));
/// let fleet = FederatedSource::new(config, &sources)?;
/// let results = fleet.refresh(RefreshSpec::queries(["waiting"])).await;
/// assert_eq!(results["waiting"].as_ref().unwrap().values().next().unwrap().value, 7.0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct FederatedSource {
    source: CachedSource,
    backend: Arc<backend::FederatedBackend>,
}

// === impl FederatedSource ===

impl FederatedSource {
    /// The source that `config` describes, over those of `sources` that it names.
    ///
    /// *Errors*: [`FederatedError`]. No source is asked.
    pub fn new(config: FederatedConfig, sources: &SourceRegistry) -> Result<Self, FederatedError> {
        Self::with_clock(config, sources, Clock::system())
    }

    /// As [`new`](Self::new), by another clock: members are asked for its times. Timeouts run by Tokio's clock.
    ///
    /// *Errors*: as [`new`](Self::new).
    pub fn with_clock(
        config: FederatedConfig,
        sources: &SourceRegistry,
        clock: Clock,
    ) -> Result<Self, FederatedError> {
        let known = |name: &str| sources.get(name);
        let (source, backend) = build::source(config, &known, &sources.list(), clock)?;
        Ok(Self { source, backend })
    }

    /// Makes several sources, in whatever order they need each other, and registers them under their names.
    ///
    /// *Errors*: [`FederatedError`], also where they need each other in a circle; none is registered then.
    pub fn register_all(
        sources: &SourceRegistry,
        configs: impl IntoIterator<Item = FederatedConfig>,
    ) -> Result<(), FederatedError> {
        layered::register_all(configs.into_iter().collect(), sources)
    }

    /// What members are asked for `request`, and what is done here with their answers. Nobody is asked.
    ///
    /// *Errors*: [`FetchError::Rejected`] for a query that cannot be read, or not be split.
    pub fn plan(&self, request: &Request) -> Result<rewrite::Plan, FetchError> {
        self.backend.plan(request)
    }
}

impl fmt::Debug for FederatedSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FederatedSource").field(&self.source).finish()
    }
}

impl HasCachedSource for FederatedSource {
    fn cached_source(&self) -> &CachedSource {
        &self.source
    }
}

/// So that the example of the page compiles.
#[cfg(all(doctest, feature = "prometheus"))]
#[doc = include_str!("../../../docs/federation.md")]
mod page {}
