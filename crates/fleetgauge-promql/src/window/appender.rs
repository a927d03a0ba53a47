//! How a scraper brings pages into the window.
//!
//! A page is collected first and written as a whole at [`commit`](ScrapeBatch::commit), so that one that
//! turns out broken can be dropped. What is gone and what failed are told to readers by staleness markers:
//! a series of the scrape before that is missing gets one by itself; whether a failed scrape means that all
//! of them went is the caller's to decide ([`Appender::mark_stale`]).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fleetgauge_core::time::Timestamp;

use super::exposed::ExposedLabels;
use super::limit::AppendError;
use super::scrape_cache::ScrapeCache;
use super::series::Outcome;
use super::{Inner, MAX_AHEAD_MS};

/// Brings the pages of one target into a [`Window`](super::Window).
///
/// Dropping it gives back what it knows of the page; its series stay until they are out of the retention.
#[derive(Debug)]
pub struct Appender {
    window: Arc<Inner>,
    target: Vec<(String, String)>,
    of_target: Arc<AtomicUsize>,
    cache: ScrapeCache,
    /// The number of the last committed scrape.
    scrape: u32,
    /// Whether there are entries of a page that was not committed.
    uncommitted: bool,
    pending: Vec<Pending>,
    labels: ExposedLabels,
    /// What the window counts as used by the cache.
    counted_bytes: usize,
}

/// One page on its way into the window. Dropped without [`commit`](Self::commit) it leaves no sample.
#[derive(Debug)]
pub struct ScrapeBatch<'a> {
    appender: &'a mut Appender,
    at: i64,
    report: ScrapeReport,
}

/// What became of the samples of one page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScrapeReport {
    /// Samples appended.
    pub appended: usize,
    /// Samples passed over because the series has the same value for the same time already.
    pub repeated: usize,
    /// Samples refused because the series has a newer one.
    pub out_of_order: usize,
    /// Samples refused because the series has another value for the same time.
    pub duplicates: usize,
    /// Samples refused because of their own timestamp: older than the retention, or more than ten minutes
    /// after the scrape.
    pub out_of_bounds: usize,
    /// Samples refused with their series, by an [`AppendError`].
    pub refused: usize,
    /// Series that the scrape before did not have.
    pub series_added: usize,
    /// Series of the scrape before that are missing, and now have a staleness marker.
    pub went_stale: usize,
}

#[derive(Clone, Copy, Debug)]
struct Pending {
    entry: u32,
    own_time: bool,
    time: i64,
    value: u64,
}

// === impl Appender ===

impl Appender {
    pub(super) fn new(window: Arc<Inner>, mut target: Vec<(String, String)>) -> Self {
        target.retain(|(_, value)| !value.is_empty());
        target.sort();
        target.dedup_by(|a, b| a.0 == b.0);
        Self {
            window,
            target,
            of_target: Arc::default(),
            cache: ScrapeCache::default(),
            scrape: 0,
            uncommitted: false,
            pending: Vec::new(),
            labels: ExposedLabels::default(),
            counted_bytes: 0,
        }
    }

    /// Begins a page scraped at `at`.
    pub fn scrape(&mut self, at: Timestamp) -> ScrapeBatch<'_> {
        self.pending.clear();
        if self.uncommitted {
            self.uncommitted = false;
            self.cache.retain(|entry| entry.seen != 0);
        }
        self.cache.rewind();
        ScrapeBatch {
            at: millis(at),
            report: ScrapeReport::default(),
            appender: self,
        }
    }

    /// Marks all series of the last scrape as gone at `at`: the target is, or its scrape failed. Returns how
    /// many got a marker. Series with timestamps of their own get none, as in Prometheus.
    pub fn mark_stale(&mut self, at: Timestamp) -> usize {
        self.mark_unseen(millis(at), 0)
    }

    /// How many series of this target the window holds, those that are stale included.
    pub fn series(&self) -> usize {
        self.of_target.load(Ordering::Relaxed)
    }

    #[cfg(test)]
    pub(super) fn known_texts(&self) -> usize {
        self.cache.len()
    }

    fn mark_unseen(&mut self, at: i64, scrape: u32) -> usize {
        let usage = &self.window.usage;
        let mut marked = 0;
        for entry in self.cache.entries_mut() {
            if entry.seen != scrape && std::mem::take(&mut entry.present) {
                marked += usize::from(entry.tracked && entry.series.mark_stale(at, usage));
            }
        }
        usage.samples_appended.fetch_add(marked as u64, Ordering::Relaxed);
        usage.stale_markers.fetch_add(marked as u64, Ordering::Relaxed);
        marked
    }

    fn count_bytes(&mut self) {
        let usage = &self.window.usage;
        let bytes = self.cache.heap_bytes() + self.pending.capacity() * size_of::<Pending>();
        usage.take(bytes);
        usage.give_back(self.counted_bytes);
        self.counted_bytes = bytes;
    }
}

impl Drop for Appender {
    fn drop(&mut self) {
        self.window.usage.give_back(self.counted_bytes);
    }
}

// === impl ScrapeBatch ===

impl ScrapeBatch<'_> {
    /// Adds a sample of the series whose text as exposed (`name{labels}`) is `series`.
    ///
    /// `timestamp` is the sample's own, if the target exposed one. `labels` is asked for the labels,
    /// `__name__` included, when the text is met for the first time. If they cannot be read it leaves them
    /// out, name included, and the series is refused.
    ///
    /// *Errors*: [`AppendError`], and then this sample alone is left out.
    #[inline]
    pub fn append(
        &mut self,
        series: &str,
        value: f64,
        timestamp: Option<Timestamp>,
        labels: impl FnOnce(&mut ExposedLabels),
    ) -> Result<(), AppendError> {
        let entry = match self.appender.cache.find(series) {
            Some(entry) => entry,
            None => self.add_series(series, labels)?,
        };
        self.appender.pending.push(Pending {
            entry,
            own_time: timestamp.is_some(),
            time: timestamp.map_or(self.at, Timestamp::as_millis),
            value: value.to_bits(),
        });
        Ok(())
    }

    /// Writes the page: every sample without a timestamp of its own at the time of the scrape, and a
    /// staleness marker for every series of the scrape before that is missing.
    pub fn commit(self) -> ScrapeReport {
        let Self {
            appender,
            at,
            mut report,
        } = self;
        appender.scrape = appender.scrape.checked_add(1).unwrap_or(1);
        appender.uncommitted = false;
        let scrape = appender.scrape;
        let mut seen = 0;
        for i in 0..appender.pending.len() {
            let sample = appender.pending[i];
            let entry = appender.cache.entry_mut(sample.entry);
            report.series_added += usize::from(!entry.present);
            seen += usize::from(entry.seen != scrape);
            entry.seen = scrape;
            entry.present = true;
            entry.tracked = !sample.own_time;
            match appender.write(sample, at) {
                Ok(Some(Outcome::Appended)) => report.appended += 1,
                Ok(Some(Outcome::Repeated)) => report.repeated += 1,
                Ok(Some(Outcome::Duplicate)) => report.duplicates += 1,
                Ok(Some(Outcome::OutOfOrder)) => report.out_of_order += 1,
                Ok(None) => report.out_of_bounds += 1,
                Ok(Some(Outcome::Gone)) | Err(_) => report.refused += 1,
            }
        }
        if seen < appender.cache.len() {
            report.went_stale = appender.mark_unseen(at, scrape);
            appender.cache.retain(|entry| entry.seen == scrape);
        }
        let usage = &appender.window.usage;
        for (counter, count) in [
            (&usage.samples_appended, report.appended),
            (&usage.out_of_order, report.out_of_order),
            (&usage.duplicates, report.duplicates),
            (&usage.out_of_bounds, report.out_of_bounds),
        ] {
            if count > 0 {
                counter.fetch_add(count as u64, Ordering::Relaxed);
            }
        }
        if report.series_added > 0 {
            appender.cache.shrink();
            appender.pending.shrink_to_fit();
        }
        appender.count_bytes();
        report
    }

    #[cold]
    fn add_series(
        &mut self,
        text: &str,
        labels: impl FnOnce(&mut ExposedLabels),
    ) -> Result<u32, AppendError> {
        let Appender {
            window,
            target,
            of_target,
            cache,
            uncommitted,
            labels: exposed,
            ..
        } = &mut *self.appender;
        *uncommitted = true;
        exposed.clear();
        labels(exposed);
        let series = exposed
            .merge(target, window.usage.config.honor_labels)
            .and_then(|()| {
                let name = exposed.metric_name()?;
                window
                    .index
                    .get_or_add(name, exposed.iter(), of_target, &window.usage)
            });
        let added = series.and_then(|series| cache.add(text, series).ok_or(AppendError::TooLarge));
        self.report.refused += usize::from(added.is_err());
        added
    }
}

// === impl Appender: writing ===

impl Appender {
    /// `None` if the sample's own time is out of bounds.
    #[inline]
    fn write(&mut self, sample: Pending, at: i64) -> Result<Option<Outcome>, AppendError> {
        let usage = &self.window.usage;
        if sample.own_time {
            let oldest = at.saturating_sub(usage.retention_ms).max(i64::MIN + 1);
            if sample.time < oldest || sample.time > at.saturating_add(MAX_AHEAD_MS) {
                return Ok(None);
            }
        }
        let point = (sample.time, sample.value);
        let series = &self.cache.entry_mut(sample.entry).series;
        match series.append(point, !sample.own_time, usage) {
            Outcome::Gone => self.revive(sample).map(Some),
            outcome => Ok(Some(outcome)),
        }
    }

    /// Takes up again a series that the window let go, since it had been silent for too long.
    #[cold]
    fn revive(&mut self, sample: Pending) -> Result<Outcome, AppendError> {
        let Inner { index, usage, .. } = &*self.window;
        let entry = self.cache.entry_mut(sample.entry);
        let labels = entry.series.labels();
        let series = index.get_or_add(labels.metric_name(), labels.iter(), &self.of_target, usage)?;
        entry.series = series;
        Ok(entry
            .series
            .append((sample.time, sample.value), !sample.own_time, usage))
    }
}

/// The first moment of all is that of no sample.
fn millis(at: Timestamp) -> i64 {
    at.as_millis().max(i64::MIN + 1)
}
