//! Where an autoscaler gets its numbers: queries by name, refreshed in batches, read from a cache.

mod cached;
mod delegate;
mod delta;
mod fixed;
mod flight;
mod noop;
mod pace;
mod refresh;
mod stats;

use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::backend::{FetchError, Request};
use crate::cache::{CachedRef, CachedValue, Lookup, PreparedQuery};
use crate::params::Params;
use crate::query::Shape;
use crate::query_list::QueryList;
use crate::result::Answer;

pub use crate::error::QueryError;
pub use cached::{CachedSource, CachedSourceConfig, RetryPolicy};
pub use delegate::HasCachedSource;
pub use delta::RangeConfig;
pub use fixed::{FixedBackend, FixedSource};
pub use noop::NoOpSource;
pub use refresh::{Outcome, RefreshResults, RefreshSpec};
pub use stats::SourceStats;

/// A backend that provides metrics: Prometheus, pods scraped directly, or fixed answers in a test.
///
/// Readers hold it as `Arc<dyn MetricsSource>`: which one it is, is chosen at run time.
///
/// ```
/// use fleetgauge_core::source::{MetricsSource, RefreshSpec};
///
/// /// Works with any source, and in tests with a [`FixedSource`].
/// async fn queue_depth(source: &dyn MetricsSource, namespace: &str) -> Option<f64> {
///     let spec = RefreshSpec::queries(["queue_depth"]).params([("namespace", namespace)]);
///     let results = source.refresh(spec).await;
///     let result = results["queue_depth"].as_ref().ok()?;
///     // No series is no depth, rather than a depth of zero.
///     (!result.is_no_data()).then(|| result.values().map(|value| value.value).sum())
/// }
/// ```
pub trait MetricsSource: Send + Sync {
    /// The queries of this source, to register with and to read.
    fn query_list(&self) -> &QueryList;

    /// Runs queries and caches their answers. Every query asked for has an outcome of its own; one query's
    /// failure is not the batch's.
    ///
    /// Dropping the future ends the waiting, not the queries: what has been sent is finished, and cached
    /// for the next reader.
    fn refresh(&self, spec: RefreshSpec) -> BoxFuture<'_, RefreshResults>;

    /// The cached value of `query` with `params`. Never touches the network, never waits for a refresh.
    ///
    /// `None` says that there is no value, which is not zero; [`lookup`](Self::lookup) says why.
    fn get(&self, query: &str, params: &Params) -> Option<CachedRef>;

    /// The cached value of `query` with `params`, or why there is none.
    fn lookup(&self, query: &str, params: &Params) -> Lookup {
        self.lookup_shape(query, params, Shape::Instant)
    }

    /// The cached value of `query` with `params` in this shape, as [`RefreshSpec::range`] asks for it, or why
    /// there is none.
    fn lookup_shape(&self, query: &str, params: &Params, shape: Shape) -> Lookup;

    /// Runs queries over a range, every `step` from `window` ago until now, and caches their answers: as
    /// [`refresh`](Self::refresh) of [`RefreshSpec::range`].
    fn refresh_range(
        &self,
        spec: RefreshSpec,
        window: Duration,
        step: Duration,
    ) -> BoxFuture<'_, RefreshResults> {
        self.refresh(spec.range(window, step))
    }

    /// The cached range of `query` with `params`, as [`refresh_range`](Self::refresh_range) asks for it; reads as
    /// [`get`](Self::get) does.
    fn get_range(&self, query: &str, params: &Params, window: Duration, step: Duration) -> Option<CachedRef> {
        self.lookup_shape(query, params, Shape::Range { window, step })
            .value()
    }

    /// The cached value of `query` with `params` where it holds; otherwise the query is refreshed first.
    ///
    /// *Errors*: [`QueryError`]. A value that expired is not returned in place of a failure.
    fn get_or_refresh<'a>(
        &'a self,
        query: &'a str,
        params: &'a Params,
    ) -> BoxFuture<'a, Result<CachedValue, QueryError>>;

    /// The answer to a query that is not registered: `request` says it whole. Nothing of it is cached, and a range vector
    /// is answered as the samples that it has.
    ///
    /// *Errors*: [`FetchError`], which is [`Unsupported`](FetchError::Unsupported) of a source that answers registered
    /// queries alone.
    fn ask(&self, request: Request) -> BoxFuture<'_, Result<Answer, FetchError>> {
        let what = format!("{}: queries that are not registered", request.name);
        Box::pin(std::future::ready(Err(FetchError::Unsupported { what })))
    }

    /// A handle for reading one query with one set of parameters in a loop.
    ///
    /// *Errors*: [`QueryError`] where the query is unknown, where the parameters do not fit it, or where
    /// the cache is full of prepared queries.
    fn prepare(&self, query: &str, params: &Params) -> Result<PreparedQuery, QueryError>;

    /// Counts since the source was made.
    fn stats(&self) -> SourceStats;
}
