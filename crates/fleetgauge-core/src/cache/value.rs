//! The last good answer of a key, and the last failure.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::{FetchError, QueryError};
use crate::result::MetricResult;
use crate::time::{Clock, Moment, Timestamp};

/// A value from the cache: the last good answer, and when it was had.
///
/// Cheap to clone; clones share the answer. What is read from the cache is a [`CachedRef`](super::CachedRef) to it.
///
/// ```
/// # use fleetgauge_core::params::Params;
/// # use fleetgauge_core::query::QueryTemplate;
/// # use fleetgauge_core::source::{FixedBackend, MetricsSource, RefreshSpec};
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # let source = FixedBackend::new().values("queue_depth", [([("pod", "a")], 3.0)]).into_source();
/// # source.query_list().must_register(QueryTemplate::promql("queue_depth", "up"));
/// # source.refresh(RefreshSpec::all()).await;
/// if let Some(cached) = source.get("queue_depth", &Params::new())
///     && !cached.is_expired()
/// {
///     for value in cached.result().values() {
///         println!("{}: {} ({:?} ago)", value.label("pod"), value.value, cached.age());
///     }
/// }
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct CachedValue {
    result: Arc<MetricResult>,
    /// When the try that answered was sent.
    sent: Instant,
    cached: Moment,
    expires: Moment,
    /// When it is too old to be returned at all.
    gone: Moment,
    /// When nothing in it can be of use to a later refresh, which takes over the steps of a range that have not left
    /// it.
    useless: Moment,
    cached_at: Timestamp,
    ttl: Duration,
    last_error: Option<Arc<Failure>>,
    clock: Clock,
}

/// A refresh that failed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Failure {
    /// Why.
    pub error: QueryError,
    /// When.
    pub at: Timestamp,
    /// When the try that failed was sent.
    pub(super) sent: Instant,
    /// When the latest try was sent, of this one and those that failed before it, which
    /// [denies what was answered earlier](FetchError::denies_earlier).
    pub(super) denies: Option<Instant>,
}

// === impl Failure ===

impl Failure {
    pub(super) fn new(error: QueryError, at: Timestamp, sent: Instant) -> Self {
        let denies = error.fetch_error().is_some_and(FetchError::denies_earlier);
        let denies = denies.then_some(sent);
        Self {
            error,
            at,
            sent,
            denies,
        }
    }
}

// === impl CachedValue ===

impl CachedValue {
    pub(super) fn new(
        result: MetricResult,
        sent: Instant,
        ttl: Duration,
        max_stale: Duration,
        clock: &Clock,
    ) -> Self {
        let cached = clock.now();
        let expires = cached.saturating_add(ttl);
        let gone = expires.saturating_add(max_stale);
        let window = result.steps().map_or(Duration::ZERO, |steps| steps.window());
        Self {
            sent,
            cached,
            expires,
            gone,
            useless: gone.max(cached.saturating_add(window)),
            cached_at: result.collected_at(),
            result: Arc::new(result),
            ttl,
            last_error: None,
            clock: clock.clone(),
        }
    }

    /// The last good answer.
    pub fn result(&self) -> &Arc<MetricResult> {
        &self.result
    }

    /// When the answer was had, by the wall clock.
    pub fn cached_at(&self) -> Timestamp {
        self.cached_at
    }

    /// When the answer expires, by the wall clock as it stood when the answer was had. What decides is
    /// monotonic time: ask [`is_expired`](Self::is_expired).
    pub fn expires_at(&self) -> Timestamp {
        self.cached_at.saturating_add(self.ttl)
    }

    /// Whether the answer no longer holds, now.
    pub fn is_expired(&self) -> bool {
        self.is_expired_at(self.clock.now())
    }

    /// How long ago the answer was had. It says nothing of how old the samples behind it were then.
    pub fn age(&self) -> Duration {
        self.age_at(self.clock.now())
    }

    /// The failure of the latest refresh, if refreshes that were sent after this one have failed.
    pub fn last_error(&self) -> Option<&Failure> {
        self.last_error.as_deref()
    }

    /// Whether a refresh since has [found](FetchError::denies_earlier) that it tells what there was and not what there is, whatever
    /// failed after that.
    pub fn is_denied(&self) -> bool {
        let denies = self.last_error.as_ref().and_then(|failure| failure.denies);
        denies.is_some_and(|denies| denies > self.sent)
    }

    pub(super) fn shared_last_error(&self) -> Option<&Arc<Failure>> {
        self.last_error.as_ref()
    }

    pub(super) fn set_last_error(&mut self, last_error: Option<Arc<Failure>>) {
        self.last_error = last_error;
    }

    pub(super) fn sent(&self) -> Instant {
        self.sent
    }

    pub(crate) fn cached(&self) -> Moment {
        self.cached
    }

    pub(crate) fn expires(&self) -> Moment {
        self.expires
    }

    pub(super) fn age_at(&self, now: Moment) -> Duration {
        now.saturating_since(self.cached)
    }

    pub(super) fn is_expired_at(&self, now: Moment) -> bool {
        now >= self.expires
    }

    /// Whether it is too old to be kept.
    pub(super) fn is_useless_at(&self, now: Moment) -> bool {
        now >= self.useless
    }

    /// Whether it is too old to be returned.
    pub(super) fn is_gone_at(&self, now: Moment) -> bool {
        now >= self.gone
    }
}
