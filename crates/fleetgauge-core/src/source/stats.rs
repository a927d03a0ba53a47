//! What a source counts of itself.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::cache::CacheStats;
use crate::error::QueryError;

/// Counts of a source since it was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SourceStats {
    /// Calls of `refresh`.
    pub refreshes: u64,
    /// Queries asked for, in refreshes and by `get_or_refresh`.
    pub queries: u64,
    /// Queries that were sent to the backend: one per key however many callers asked at the time.
    pub flights: u64,
    /// Queries that shared the flight of another caller.
    pub flights_shared: u64,
    /// Questions of sources over this one that are no queries of it, as a federation's of its members. They are neither shared nor
    /// kept.
    pub asked: u64,
    /// Flights whose answer was "no data".
    pub no_data: u64,
    /// Tries after the first.
    pub retries: u64,
    /// Queries and flights that failed, by [`QueryError::reason`]. A shared flight's failure counts once.
    pub failures: BTreeMap<&'static str, u64>,
    /// Flights that are under way.
    pub in_flight: usize,
    /// Of the cache.
    pub cache: CacheStats,
}

#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) refreshes: AtomicU64,
    pub(super) queries: AtomicU64,
    pub(super) flights: AtomicU64,
    pub(super) flights_shared: AtomicU64,
    pub(super) asked: AtomicU64,
    pub(super) no_data: AtomicU64,
    pub(super) retries: AtomicU64,
    failures: Mutex<BTreeMap<&'static str, u64>>,
}

// === impl Counts ===

impl Counts {
    pub(super) fn failure(&self, error: &QueryError) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        *failures.entry(error.reason()).or_default() += 1;
    }

    pub(super) fn snapshot(&self, in_flight: usize, cache: CacheStats) -> SourceStats {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        SourceStats {
            refreshes: load(&self.refreshes),
            queries: load(&self.queries),
            flights: load(&self.flights),
            flights_shared: load(&self.flights_shared),
            asked: load(&self.asked),
            no_data: load(&self.no_data),
            retries: load(&self.retries),
            failures: self
                .failures
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
            in_flight,
            cache,
        }
    }
}
