//! How a cached source works: how long, how many, how often.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};

use crate::cache::CacheConfig;
use crate::source::delta::RangeConfig;

/// How a [`CachedSource`](super::CachedSource) works.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct CachedSourceConfig {
    /// How long values hold, and how many are kept.
    pub cache: CacheConfig,
    /// How long one query may take from when it is sent, retries included, where it does not say itself.
    /// Default: 10 s.
    pub query_timeout: Duration,
    /// How many queries are with the backend at once; at least 1. The others wait, and their timeout does
    /// not run meanwhile. A query that waits for its next try is not with the backend. Default: 16.
    pub max_concurrency: usize,
    /// How many queries the backend is asked a second at most, tries again and what is asked beside a query included. What is
    /// more waits for its turn, one after the other, and its timeout does not run meanwhile. Default: as many as there are.
    pub max_queries_per_second: Option<f64>,
    /// When a query is tried again.
    pub retry: RetryPolicy,
    /// How ranges are refreshed, and how large they may be.
    pub range: RangeConfig,
    /// How often expired values are removed. Default: 60 s.
    pub sweep_interval: Duration,
}

/// When and how often a failed query is tried again, within its timeout, and only after failures that
/// [may pass](crate::backend::FetchError::is_retryable).
///
/// The wait grows by half its length or more, at random, from try to try; a backend that says when to come
/// back is obeyed.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// How many tries there are after the first. Default: 3.
    pub max_retries: usize,
    /// The first wait. Default: 100 ms.
    pub min_delay: Duration,
    /// The longest wait. Default: 2 s.
    pub max_delay: Duration,
}

// === impl CachedSourceConfig ===

impl Default for CachedSourceConfig {
    fn default() -> Self {
        Self {
            cache: CacheConfig::default(),
            query_timeout: Duration::from_secs(10),
            max_concurrency: 16,
            max_queries_per_second: None,
            retry: RetryPolicy::default(),
            range: RangeConfig::default(),
            sweep_interval: Duration::from_secs(60),
        }
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_retries: 3,
            min_delay: Duration::from_millis(100),
            max_delay: Duration::from_secs(2),
        }
    }
}

impl RetryPolicy {
    /// No query is tried again.
    pub fn never() -> Self {
        Self {
            max_retries: 0,
            ..Self::default()
        }
    }

    /// How long the waits are, from the first on.
    pub(super) fn delays(&self) -> impl Iterator<Item = Duration> + use<> {
        ExponentialBuilder::new()
            .with_min_delay(self.min_delay)
            .with_max_delay(self.max_delay)
            .with_max_times(self.max_retries)
            .with_jitter()
            .build()
    }
}
