//! What the window may hold, what it holds, and what it refused.

use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use super::chunk::{self, Chunk};
use crate::missing::{Missing, Read};

/// What a new series takes next.
const FIRST_CHUNK: usize = Chunk::bytes_of(chunk::FIRST_WORDS);

/// About what else it takes.
const NEW_SERIES_BYTES: usize = 500;

/// Samples are kept so much longer than the retention says: a query that looks back on just the retention is
/// evaluated a little after its time, while scrapes go on.
const RETENTION_SLACK_MS: i64 = 10_000;

/// What the process takes where `asked` bytes are asked of the allocator.
fn resident(asked: usize) -> usize {
    asked.saturating_add(asked / 3)
}

/// How much a [`Window`](super::Window) holds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WindowConfig {
    /// How long samples are kept. Default: 15 minutes. Up to 64 pages more are kept of each target.
    pub retention: Duration,
    /// How many series are held at most. Default: 2,000,000.
    pub max_series: usize,
    /// How many series of one target are held at most, those that it exposes no longer but that are still
    /// in the retention included: it bounds a page whose labels change at every scrape. Series that are exposed
    /// no longer make room for those that are. Default: 20,000.
    pub max_series_per_target: usize,
    /// How much memory is used at most. Default: 4 GiB. Beyond it series that are exposed no longer go, then
    /// new series are refused, and those there are keep a shorter past: to an autoscaler the newest number is
    /// worth more than the oldest. Each is told by the answers that it touches.
    ///
    /// *Unit*: bytes, resident: what is asked of the allocator and [a third more](WindowStats::bytes).
    pub max_bytes: usize,
    /// How far a scrape may be dated before the newest sample of a series and be refused as out of order,
    /// as Prometheus does. One that is dated earlier still means that the clock was set back: the samples of the
    /// target that are of the future are dropped, and its series go on. Prometheus would be blind until the clock is where it
    /// was. Default: 1 minute.
    pub max_clock_step: Duration,
    /// Whether the labels that a target exposes win over the target's own, as with Prometheus's setting of this
    /// name: for targets that expose the metrics of others. An exposed label that is empty is then left out, also
    /// where the target has one. Default: no; the exposed one is kept as `exported_NAME`.
    pub honor_labels: bool,
}

/// Why a series was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The window is full.
    #[error("the window holds {limit} series, its limit")]
    SeriesLimit {
        /// [`WindowConfig::max_series`].
        limit: usize,
    },
    /// The target has its share.
    #[error("the target has {limit} series in the window, its limit")]
    TargetSeriesLimit {
        /// [`WindowConfig::max_series_per_target`].
        limit: usize,
    },
    /// The window's memory is used up.
    #[error("the window takes {limit} bytes, its limit")]
    MemoryLimit {
        /// [`WindowConfig::max_bytes`].
        limit: usize,
    },
    /// A label name occurs twice in one series.
    #[error("label {name:?} occurs twice in one series")]
    DuplicateLabel {
        /// The name.
        name: String,
    },
    /// There is no `__name__`.
    #[error("series has no metric name")]
    NoMetricName,
    /// The texts of the target's series exceed what 32-bit references reach.
    #[error("the series of the target exceed 4 GiB of text")]
    TooLarge,
}

/// What a window holds, and has refused since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WindowStats {
    /// Series held.
    pub series: usize,
    /// Distinct strings in the labels of all series.
    pub strings: usize,
    /// Memory taken, resident: samples, labels, index and the texts by which scrapers find their series. What
    /// readers still hold of series that went is not counted, nor are the lists that queries sort (24 bytes a
    /// series).
    ///
    /// *Unit*: bytes, as asked of the allocator and a third more: so much more was resident where 1,000 pods of 815
    /// series had been scraped for five minutes.
    pub bytes: usize,
    /// Series that no target exposes any more, and that are still in the retention.
    pub series_unexposed: usize,
    /// Samples appended, staleness markers included.
    pub samples_appended: u64,
    /// Staleness markers appended.
    pub stale_markers: u64,
    /// Samples refused because the series has a newer one.
    pub out_of_order: u64,
    /// Samples refused because the series has another value for the same time.
    pub duplicates: u64,
    /// Samples refused because of their own timestamp: older than the retention, or more than ten minutes
    /// after the scrape.
    pub out_of_bounds: u64,
    /// Appends refused by [`AppendError::SeriesLimit`].
    pub series_limit_hits: u64,
    /// Appends refused by [`AppendError::TargetSeriesLimit`].
    pub target_limit_hits: u64,
    /// Appends refused by [`AppendError::MemoryLimit`].
    pub memory_limit_hits: u64,
    /// Series that were exposed no longer and went before their time, since a limit was reached.
    pub series_dropped_early: u64,
    /// Blocks of a target's rows, and chunks of single series, dropped before their time to stay within [`WindowConfig::max_bytes`].
    pub chunks_dropped_early: u64,
    /// How often the rows of a target, or a single series, were cut because the clock was set back.
    pub clock_steps: u64,
}

/// The limits and what is used of them.
#[derive(Debug)]
pub(super) struct Usage {
    pub(super) config: WindowConfig,
    pub(super) retention_ms: i64,
    pub(super) clock_step_ms: i64,
    pub(super) series: AtomicUsize,
    /// Of these, how many are exposed.
    pub(super) exposed: AtomicUsize,
    pub(super) strings: AtomicUsize,
    pub(super) targets_begun: AtomicUsize,
    /// As asked of the allocator.
    bytes: AtomicUsize,
    /// The newest sample that is gone, since it was out of the retention; and since memory was used up.
    expired_until: AtomicI64,
    dropped_until: AtomicI64,
    /// The time of the first page.
    began: AtomicI64,
    pub(super) samples_appended: AtomicU64,
    pub(super) stale_markers: AtomicU64,
    pub(super) out_of_order: AtomicU64,
    pub(super) duplicates: AtomicU64,
    pub(super) out_of_bounds: AtomicU64,
    series_limit_hits: AtomicU64,
    target_limit_hits: AtomicU64,
    memory_limit_hits: AtomicU64,
    pub(super) series_dropped_early: AtomicU64,
    chunks_dropped_early: AtomicU64,
    pub(super) clock_steps: AtomicU64,
    /// The samples that the series have been given which were let go.
    let_go: AtomicU64,
}

// === impl WindowConfig ===

impl Default for WindowConfig {
    fn default() -> Self {
        Self {
            retention: Duration::from_secs(15 * 60),
            max_series: 2_000_000,
            max_series_per_target: 20_000,
            max_bytes: 4 << 30,
            max_clock_step: Duration::from_secs(60),
            honor_labels: false,
        }
    }
}

impl WindowConfig {
    fleetgauge_core::setters! {
        /// With another [`retention`](Self::retention).
        with_retention(retention: Duration) => retention = retention;
        /// With another [`honor_labels`](Self::honor_labels).
        with_honor_labels(honor_labels: bool) => honor_labels = honor_labels;
        /// With another [`max_bytes`](Self::max_bytes).
        with_max_bytes(bytes: usize) => max_bytes = bytes;
        /// With another [`max_clock_step`](Self::max_clock_step).
        with_max_clock_step(step: Duration) => max_clock_step = step;
    }

    /// With other limits on series: of the window, and of one target.
    #[must_use]
    pub fn with_max_series(mut self, window: usize, target: usize) -> Self {
        self.max_series = window;
        self.max_series_per_target = target;
        self
    }
}

// === impl AppendError ===

impl AppendError {
    /// Whether a limit was reached: fewer series would help.
    pub(super) fn is_limit(&self) -> bool {
        matches!(
            self,
            Self::SeriesLimit { .. } | Self::TargetSeriesLimit { .. } | Self::MemoryLimit { .. }
        )
    }

    /// A name for metrics, of which there are few.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::SeriesLimit { .. } => "series_limit",
            Self::TargetSeriesLimit { .. } => "target_series_limit",
            Self::MemoryLimit { .. } => "memory_limit",
            Self::DuplicateLabel { .. } => "duplicate_label",
            Self::NoMetricName => "no_metric_name",
            Self::TooLarge => "too_large",
        }
    }
}

// === impl Usage ===

impl Usage {
    pub(super) fn new(config: WindowConfig) -> Self {
        let millis = |d: Duration| i64::try_from(d.as_millis()).unwrap_or(i64::MAX);
        Self {
            retention_ms: millis(config.retention).saturating_add(RETENTION_SLACK_MS),
            clock_step_ms: millis(config.max_clock_step),
            config,
            series: AtomicUsize::new(0),
            exposed: AtomicUsize::new(0),
            strings: AtomicUsize::new(0),
            targets_begun: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            expired_until: AtomicI64::new(i64::MIN),
            dropped_until: AtomicI64::new(i64::MIN),
            began: AtomicI64::new(i64::MAX),
            samples_appended: AtomicU64::new(0),
            stale_markers: AtomicU64::new(0),
            out_of_order: AtomicU64::new(0),
            duplicates: AtomicU64::new(0),
            out_of_bounds: AtomicU64::new(0),
            series_limit_hits: AtomicU64::new(0),
            target_limit_hits: AtomicU64::new(0),
            memory_limit_hits: AtomicU64::new(0),
            series_dropped_early: AtomicU64::new(0),
            chunks_dropped_early: AtomicU64::new(0),
            clock_steps: AtomicU64::new(0),
            let_go: AtomicU64::new(0),
        }
    }

    /// Takes `bytes` if they are within the limit.
    fn try_take(&self, bytes: usize) -> bool {
        let limit = self.config.max_bytes;
        self.bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(bytes).filter(|&sum| resident(sum) <= limit)
            })
            .is_ok()
    }

    /// Whether `bytes` more are within the limit.
    pub(super) fn fits(&self, bytes: usize) -> bool {
        let used = self.bytes.load(Ordering::Relaxed);
        bytes == 0 || resident(used.saturating_add(bytes)) <= self.config.max_bytes
    }

    /// How many series must go before `wanted` new ones are taken, where `of_target` are there already of the
    /// target that has them. Where memory is used up it is a part of all, so that the search for them is rare.
    pub(super) fn excess(&self, of_target: usize, wanted: usize) -> (usize, usize) {
        let all = self.series.load(Ordering::Relaxed);
        let over = |held: usize, limit: usize| held.saturating_add(wanted).saturating_sub(limit).min(wanted);
        let of_target = over(of_target, self.config.max_series_per_target);
        let mut of_all = over(all, self.config.max_series);
        if !self.fits(wanted.saturating_mul(FIRST_CHUNK + NEW_SERIES_BYTES)) {
            of_all = of_all.max(wanted);
        }
        if of_all > 0 {
            of_all = of_all.max(all / 16);
        }
        (of_target, of_all)
    }

    /// How many series no scraper has on its page.
    pub(super) fn unexposed(&self) -> usize {
        let all = self.series.load(Ordering::Relaxed);
        all.saturating_sub(self.exposed.load(Ordering::Relaxed))
    }

    /// Says that there is a page of `time`.
    pub(super) fn has_page(&self, time: i64) {
        self.began.fetch_min(time, Ordering::Relaxed);
    }

    /// Since when nothing of what has come is gone; `None` if nothing has come.
    pub(super) fn held_since(&self) -> Option<i64> {
        let load = |time: &AtomicI64| time.load(Ordering::Relaxed);
        let gone = load(&self.expired_until).max(load(&self.dropped_until));
        let began = Some(load(&self.began)).filter(|began| *began < i64::MAX);
        began.map(|began| began.max(gone.saturating_add(1)))
    }

    /// Says that samples up to `time` are out of the retention.
    pub(super) fn expired(&self, time: i64) {
        self.expired_until.fetch_max(time, Ordering::Relaxed);
    }

    /// Says that a chunk with samples up to `time` went before its time, for the sake of memory.
    pub(super) fn dropped_chunk(&self, time: i64) {
        self.chunks_dropped_early.fetch_add(1, Ordering::Relaxed);
        self.dropped_until.fetch_max(time, Ordering::Relaxed);
    }

    /// Says that a series was let go that has been given so many samples. It tells so by then.
    pub(super) fn let_go(&self, samples: u64) {
        self.let_go.fetch_add(samples, Ordering::Release);
    }

    /// How many samples the series have been given which were let go.
    pub(super) fn samples_let_go(&self) -> u64 {
        self.let_go.load(Ordering::Acquire)
    }

    /// Adds why samples are missing from what is read: they were there, and are gone.
    pub(super) fn missing(&self, read: Read<'_>, into: &mut Missing) {
        // What is dropped is older than the newest sample of its series, which stays.
        let from = if read.newest { read.to } else { read.from }.as_millis();
        if from <= self.dropped_until.load(Ordering::Relaxed) {
            let limit = self.config.max_bytes;
            into.add(format_args!(
                "older samples were dropped to stay within {limit} bytes (max_bytes)"
            ));
        }
        if from <= self.expired_until.load(Ordering::Relaxed) {
            let retention = self.config.retention;
            into.add(format_args!(
                "the query reads further back than samples are kept, {retention:?} (retention)"
            ));
        }
    }

    /// Takes `bytes` in any case.
    pub(super) fn take(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn give_back(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Whether a target with `of_target` series may add one that costs `bytes`, which are taken then.
    pub(super) fn admit(&self, of_target: usize, bytes: usize) -> Result<(), AppendError> {
        let WindowConfig {
            max_series,
            max_series_per_target,
            max_bytes,
            ..
        } = self.config;
        let (counter, error) = if of_target >= max_series_per_target {
            let limit = max_series_per_target;
            (&self.target_limit_hits, AppendError::TargetSeriesLimit { limit })
        } else if self.series.load(Ordering::Relaxed) >= max_series {
            let limit = max_series;
            (&self.series_limit_hits, AppendError::SeriesLimit { limit })
        } else if !self.fits(bytes + FIRST_CHUNK) || !self.try_take(bytes) {
            let limit = max_bytes;
            (&self.memory_limit_hits, AppendError::MemoryLimit { limit })
        } else {
            return Ok(());
        };
        counter.fetch_add(1, Ordering::Relaxed);
        Err(error)
    }

    pub(super) fn stats(&self) -> WindowStats {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        WindowStats {
            series: self.series.load(Ordering::Relaxed),
            strings: self.strings.load(Ordering::Relaxed),
            bytes: resident(self.bytes.load(Ordering::Relaxed)),
            series_unexposed: self.unexposed(),
            samples_appended: load(&self.samples_appended),
            stale_markers: load(&self.stale_markers),
            out_of_order: load(&self.out_of_order),
            duplicates: load(&self.duplicates),
            out_of_bounds: load(&self.out_of_bounds),
            series_limit_hits: load(&self.series_limit_hits),
            target_limit_hits: load(&self.target_limit_hits),
            memory_limit_hits: load(&self.memory_limit_hits),
            series_dropped_early: load(&self.series_dropped_early),
            chunks_dropped_early: load(&self.chunks_dropped_early),
            clock_steps: load(&self.clock_steps),
        }
    }
}
