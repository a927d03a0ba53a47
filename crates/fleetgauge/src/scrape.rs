//! Pods scraped directly, as a source of metrics: targets are discovered, their pages read into a window of
//! samples, and queries answered from the newest of each series.
//!
//! By the rules of Prometheus where there are any: targets and their labels, `exported_` for exposed labels in
//! conflict with them, `up`, staleness. It departs from them where an autoscaler is served better, and says
//! so: a bad line costs that line and not its page, and a target that fails keeps its last values, with their
//! age, until [`ScrapeConfig::stale_after`]. The whole of it is on one page in `docs/scraping.md`.
//!
//! What must not happen is a number that nobody measured. A value has the time at which it was scraped
//! ([`Stamp::Sampled`](fleetgauge_core::sample::Stamp)); what is missing has a reason, in the answer's warnings
//! and in [`ScrapeSource::targets`]; and where every target fails, that is an error and not "no data".
//!
//! Each target has a loop of its own, with at most one scrape under way, so that one that hangs delays nobody.
//! Pages, lines, labels, series and memory are bounded. A fault is logged when it begins and when it ends, and
//! counted every time.

mod absence;
mod active;
mod backend;
mod config;
mod connecting;
mod converted;
mod coverage;
mod discovery;
mod fetch;
mod gap;
mod page;
mod pool;
mod protocol;
mod relabel;
mod schedule;
mod scraper;
mod shard;
mod status;
mod targets;
mod view;

use std::fmt;
use std::sync::Arc;

use fleetgauge_core::query::QueryTemplate;
use fleetgauge_core::source::{CachedSource, HasCachedSource, MetricsSource};
use fleetgauge_core::target::{DiscoveryError, TargetDiscovery};
use fleetgauge_core::time::{Clock, Timestamp};
use fleetgauge_promql::queryable::Queryable;
use fleetgauge_promql::window::Window;

pub use self::backend::ScrapeBackend;
pub use self::config::ScrapeConfig;
pub use self::discovery::{DnsDiscovery, FileDiscovery};
pub use self::fetch::{FetchedPage, PageFetcher};
pub use self::protocol::{ScrapeProtocol, UnknownScrapeProtocol};
pub use self::relabel::{RelabelConfig, RelabelError, Relabeling};
pub use self::shard::{KnownTargets, Shard, ShardError};
pub use self::status::{ScrapeStats, TargetFailure, TargetHealth, TargetStatus};
pub use crate::client::{Auth, ConfigError, ConnectionError, ProxyConfig, Secret, TlsConfig};

use self::backend::ALL_METRICS;
use self::pool::Pool;
use self::scraper::Common;
use self::view::View;

/// The name of the query for every newest sample, which each source has from its start. It walks over all series,
/// so a refresh of all queries leaves it out.
pub const ALL_METRICS_QUERY: &str = "all_metrics";

/// The metrics of pods: scraped at an interval and when a refresh asks for it, read from the cache.
///
/// Cheap to clone; clones are the same source. When the last one is dropped, scraping ends.
///
/// A refresh scrapes now, each target once however many queries and callers there are; with
/// [`RefreshSpec::max_age`](fleetgauge_core::source::RefreshSpec::max_age) it is content with a scrape that is young
/// enough. Targets that do not answer within the query's timeout are answered for with their last values, and a warning.
///
/// ```no_run
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// use fleetgauge::scrape::{ScrapeConfig, ScrapeSource};
/// use fleetgauge::target::StaticTargets;
/// use fleetgauge::{MetricsSource, Params, QueryTemplate, RefreshSpec};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let pods = StaticTargets::new(["10.0.0.7:8000", "10.0.0.8:8000"]).with_label("namespace", "chat");
/// let config = ScrapeConfig::new("vllm").with_interval(Duration::from_secs(1));
/// let source = ScrapeSource::start(config, [Arc::new(pods) as _])?;
/// source.query_list().register(QueryTemplate::metric_name("waiting", "vllm:num_requests_waiting"))?;
///
/// source.refresh(RefreshSpec::queries(["waiting"])).await;
/// if let Some(cached) = source.get("waiting", &Params::new()) {
///     for value in cached.result().values() {
///         println!("{}: {} at {}", value.label("instance"), value.value, value.timestamp);
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ScrapeSource {
    source: CachedSource,
    backend: Arc<ScrapeBackend>,
    keeper: Arc<Keeper>,
}

/// Ends the pool's tasks when it is dropped.
struct Keeper(Arc<Pool>);

impl Drop for Keeper {
    fn drop(&mut self) {
        self.0.close();
    }
}

// === impl ScrapeSource ===

impl ScrapeSource {
    /// Starts to discover and to scrape, in the background of the current Tokio runtime.
    ///
    /// *Errors*: [`ConfigError`], also if a file that the configuration names cannot be read. No target is
    /// asked: whether they can be reached, [`targets`](Self::targets) and the first refresh tell.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub fn start(
        config: ScrapeConfig,
        discoveries: impl IntoIterator<Item = Arc<dyn TargetDiscovery>>,
    ) -> Result<Self, ConfigError> {
        let window = Window::new(config.window.clone());
        Self::start_with(config, discoveries, window, Clock::system())
    }

    /// As [`start`](Self::start), with a window that others fill or read as well, and by another clock. Ticks
    /// and timeouts run by Tokio's clock; `clock` dates and ages samples.
    ///
    /// *Errors*: as [`start`](Self::start).
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub fn start_with(
        config: ScrapeConfig,
        discoveries: impl IntoIterator<Item = Arc<dyn TargetDiscovery>>,
        window: Window,
        clock: Clock,
    ) -> Result<Self, ConfigError> {
        let source_config = config.source_config();
        let common = Common::new(config, clock.clone())?;
        let pool = Pool::start(common, window, discoveries.into_iter().collect());
        let keeper = Arc::new(Keeper(Arc::clone(&pool)));
        let backend = Arc::new(ScrapeBackend::new(pool));
        let source = CachedSource::with_clock(backend.clone(), source_config, clock);
        let all = QueryTemplate::promql(ALL_METRICS_QUERY, ALL_METRICS)
            .description("every series' newest sample, with its age")
            .histograms()
            .only_by_name();
        source.query_list().must_register(all);
        Ok(Self {
            source,
            backend,
            keeper,
        })
    }

    /// The targets as they are now, in the order of their discovery.
    pub fn targets(&self) -> Vec<TargetStatus> {
        let known = self.pool().known();
        let targets = known.targets.all().iter();
        targets.map(|active| active.status()).collect()
    }

    /// The targets that are known of where this is one of several [shards](ScrapeConfig::shard), whichever scrapes them.
    pub fn known_targets(&self) -> KnownTargets {
        self.pool().known_targets()
    }

    /// The discoveries that fail, wholly or in part, and why.
    ///
    /// *Shape*: the discovery's name and its error, once for each error.
    pub fn discovery_errors(&self) -> Vec<(String, DiscoveryError)> {
        self.pool().discovery_errors()
    }

    /// The samples of all targets. Clone it to read them beside this source.
    pub fn window(&self) -> &Window {
        self.pool().window()
    }

    /// The samples as they are, with what is known to be missing from them for times from `asked` on: who has not reported,
    /// what was refused or lost. Nothing is scraped for it.
    pub fn queryable(&self, asked: Timestamp) -> Arc<dyn Queryable> {
        let pool = self.pool();
        let known = pool.known();
        let targets = known.targets.all().iter();
        let targets = targets.map(|active| (Arc::clone(active), true)).collect();
        let config = Arc::clone(&pool.common().config);
        let now = pool.clock().wall();
        let view = View::new(pool.window().clone(), config, &known, targets, now);
        Arc::new(view.from(asked, pool.kept_since(now)))
    }

    /// Counts of the scraping; [`stats`](MetricsSource::stats) has those of the queries.
    pub fn scrape_stats(&self) -> ScrapeStats {
        self.pool().stats()
    }

    /// The backend behind the cache.
    pub fn backend(&self) -> &ScrapeBackend {
        &self.backend
    }

    /// Ends the scraping, and waits until it has ended. The samples stay readable.
    pub async fn shutdown(self) {
        for task in self.pool().close() {
            // Cancelled, which is what was wanted.
            let _ = task.await;
        }
    }

    fn pool(&self) -> &Pool {
        &self.keeper.0
    }
}

impl fmt::Debug for ScrapeSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ScrapeSource").field(self.backend()).finish()
    }
}

impl HasCachedSource for ScrapeSource {
    fn cached_source(&self) -> &CachedSource {
        &self.source
    }
}
