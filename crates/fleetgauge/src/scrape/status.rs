//! What is known of each target, and what a source has counted.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fleetgauge_core::backend::FetchError;
use fleetgauge_core::target::TargetLabels;
use fleetgauge_core::time::Timestamp;
use fleetgauge_promql::window::WindowStats;

/// A target as it is at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TargetStatus {
    /// Its labels, which all of its series have.
    pub labels: TargetLabels,
    /// Its URL, without parameters.
    pub url: String,
    /// Whether its last scrape succeeded.
    pub health: TargetHealth,
    /// When its last scrape began.
    pub last_scrape: Option<Timestamp>,
    /// When its last scrape began that succeeded: how old its values are.
    pub last_success: Option<Timestamp>,
    /// Why its last scrape failed; `None` while it succeeds.
    pub last_error: Option<TargetFailure>,
    /// How many scrapes have failed since the last one that succeeded.
    pub consecutive_failures: u64,
    /// What is wrong with pages that are read nevertheless: bad lines, series refused.
    pub problem: Option<String>,
    /// Whether its last values are gone, since it has failed for too long.
    pub is_stale: bool,
    /// Samples on its last page.
    pub samples: usize,
    /// Bytes of its last page, decompressed.
    pub bytes: usize,
    /// How long its last scrape took.
    pub duration: Duration,
}

/// Whether a target can be scraped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TargetHealth {
    /// It has not been scraped yet.
    #[default]
    Unknown,
    /// Its last scrape succeeded.
    Up,
    /// Its last scrape failed.
    Down,
}

/// Why a target's scrapes fail. It prints as its error does.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TargetFailure {
    /// What the last one failed with.
    pub error: Arc<FetchError>,
    /// Since when they fail.
    pub since: Timestamp,
}

/// Counts of a scrape source since it was started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScrapeStats {
    /// Targets now.
    pub targets: usize,
    /// Targets now whose last scrape succeeded.
    pub targets_up: usize,
    /// Targets that were left out at the last discovery, since another one has the same labels.
    pub targets_duplicate: usize,
    /// Targets that were left out at the last discovery, since what is known of them does not describe a target, or
    /// there were too many.
    pub targets_dropped: usize,
    /// Targets that `relabel_configs` dropped at the last discovery.
    pub targets_relabel_dropped: usize,
    /// Targets of the last discovery that other shards scrape.
    pub targets_of_other_shards: usize,
    /// Scrapes that ended, those that failed included.
    pub scrapes: u64,
    /// Scrapes that failed, by [`FetchError::reason`].
    pub failures: BTreeMap<&'static str, u64>,
    /// Samples on the pages.
    pub samples: u64,
    /// Bytes of the pages, decompressed.
    pub bytes: u64,
    /// Lines that could not be read.
    pub bad_lines: u64,
    /// Samples that were refused together with their series: a limit of the window was reached.
    pub samples_refused: u64,
    /// How often a discovery told that it failed, wholly or in part.
    pub discovery_failures: u64,
    /// Connections made.
    pub connections: u64,
    /// Of the window: its series, memory and refusals.
    pub window: WindowStats,
}

#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) scrapes: AtomicU64,
    pub(super) samples: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) bad_lines: AtomicU64,
    pub(super) samples_refused: AtomicU64,
    pub(super) discovery_failures: AtomicU64,
    pub(super) connections: AtomicU64,
    failures: Mutex<BTreeMap<&'static str, u64>>,
}

// === impl TargetFailure ===

impl TargetFailure {
    /// One word, bounded for use as a label value: [`FetchError::reason`].
    pub fn reason(&self) -> &'static str {
        self.error.reason()
    }
}

impl fmt::Display for TargetFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

// === impl TargetHealth ===

impl TargetHealth {
    /// As Prometheus names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

// === impl Counts ===

impl Counts {
    pub(super) fn failure(&self, error: &FetchError) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        *failures.entry(error.reason()).or_default() += 1;
    }

    /// What is counted here; the rest is the pool's.
    pub(super) fn snapshot(&self) -> ScrapeStats {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        ScrapeStats {
            scrapes: load(&self.scrapes),
            failures: failures.clone(),
            samples: load(&self.samples),
            bytes: load(&self.bytes),
            bad_lines: load(&self.bad_lines),
            samples_refused: load(&self.samples_refused),
            discovery_failures: load(&self.discovery_failures),
            connections: load(&self.connections),
            ..ScrapeStats::default()
        }
    }
}

pub(super) fn add(counter: &AtomicU64, count: usize) {
    counter.fetch_add(count as u64, Ordering::Relaxed);
}
