//! How a scraper brings pages into the window.
//!
//! A page is collected first and written as a whole at [`commit`](ScrapeBatch::commit), so that one that
//! turns out broken can be dropped. What is gone and what failed are told to readers by staleness markers:
//! a series of the scrape before that is missing gets one by itself; whether a failed scrape means that all
//! of them went is the caller's to decide ([`Appender::mark_stale`]).
//!
//! What a page loses on the way is logged, so that the answers that it touches can say so. Where a limit
//! refuses series, those that are exposed no longer make room. Which these are is known only when the page has
//! been read, so it is then read again ([`ScrapeBatch::make_room`]).

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fleetgauge_core::time::Timestamp;

use super::exposed::ExposedLabels;
use super::index::Change;
use super::limit::{AppendError, Usage};
use super::loss::{Loss, LossLog, LossLogs, Losses};
use super::outcome::Outcome;
use super::pending::{Pending, PendingPage};
use super::scrape_cache::{Entry, NO_SLOT, ScrapeCache};
use super::series::Series;
use super::state::{MAX_AHEAD_MS, State};
use super::target::{Row, Target};
use super::withdrawn::{Past, Withdrawn};
use crate::histogram::FloatHistogram;
use crate::sample::Sample;

/// Brings the pages of one target into a [`Window`](super::Window).
///
/// Dropping it gives back what it knows of the page; its series stay until they are out of the retention.
#[derive(Debug)]
pub struct Appender {
    window: Arc<State>,
    target: Vec<(String, String)>,
    of_target: Arc<AtomicUsize>,
    /// The rows, once there are series.
    rows: Option<Arc<Target>>,
    /// How often series had left the rows when the slots of the cache were looked up.
    known_changes: u64,
    cache: ScrapeCache,
    /// The number of the last committed scrape, counted round and round.
    scrape: u16,
    /// Whether there are entries of a page that was not committed.
    uncommitted: bool,
    /// Lent, while there is a page that was not committed.
    pending: PendingPage,
    labels: ExposedLabels,
    /// What the target exposed once and does no longer, the oldest first.
    former: Vec<Arc<Series>>,
    /// How many of them there may be until it is looked which of them are needed.
    former_limit: usize,
    withdrawn: Withdrawn,
    /// What it exposed before it was let go, until its first page.
    former_metrics: Option<Arc<BTreeSet<Box<str>>>>,
    /// `None` as long as nothing was lost.
    log: Option<Arc<LossLog>>,
    /// What the window counts as used by the cache.
    counted_bytes: usize,
}

/// One page on its way into the window. Dropped without [`commit`](Self::commit) it leaves no sample.
#[derive(Debug)]
pub struct ScrapeBatch<'a> {
    appender: &'a mut Appender,
    at: i64,
    report: ScrapeReport,
    losses: Losses,
    /// Samples refused by a limit.
    over_limit: usize,
    made_room: bool,
    /// What readers are told while it lasts.
    change: Change,
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
    /// Samples left out because a bucket of their histogram is missing.
    pub left_out: usize,
    /// Series of the scrape before that are missing, and now have a staleness marker.
    pub went_stale: usize,
}

// === impl Appender ===

impl Appender {
    pub(super) fn new(window: Arc<State>, mut target: Vec<(String, String)>) -> Self {
        target.retain(|(_, value)| !value.is_empty());
        target.sort();
        target.dedup_by(|a, b| a.0 == b.0);
        Self {
            target,
            of_target: Arc::default(),
            rows: None,
            known_changes: 0,
            cache: ScrapeCache::new(Arc::clone(&window)),
            window,
            scrape: 0,
            uncommitted: false,
            pending: PendingPage::default(),
            labels: ExposedLabels::default(),
            former: Vec::new(),
            former_limit: 64,
            withdrawn: Withdrawn::default(),
            former_metrics: None,
            log: None,
            counted_bytes: 0,
        }
    }

    /// Begins a page scraped at `at`.
    pub fn scrape(&mut self, at: Timestamp) -> ScrapeBatch<'_> {
        match self.pending.samples.capacity() {
            0 => self.pending = self.window.spare_pages.take(),
            _ => self.pending.clear(),
        }
        if self.uncommitted {
            self.uncommitted = false;
            self.forget(|_, entry| entry.seen != 0);
        }
        self.cache.rewind();
        ScrapeBatch {
            at: millis(at),
            report: ScrapeReport::default(),
            losses: Losses::default(),
            over_limit: 0,
            made_room: false,
            change: Change::default(),
            appender: self,
        }
    }

    /// Marks all series of the last scrape as gone at `at`: the target is, or its scrape failed. Returns how
    /// many got a marker. Series with timestamps of their own get none, as in Prometheus.
    pub fn mark_stale(&mut self, at: Timestamp) -> usize {
        if let Some(log) = &self.log {
            log.advance(millis(at));
        }
        let mut change = Change::default();
        self.begin(&mut change, |_, entry| entry.present);
        self.mark_missing(millis(at), |_, _| true)
    }

    /// How many series of this target the window holds, those that are stale included.
    pub fn series(&self) -> usize {
        self.of_target.load(Ordering::Relaxed)
    }

    /// The metrics that the target exposed at some time and no longer did on its last page.
    pub fn withdrawn(&self) -> &Withdrawn {
        &self.withdrawn
    }

    /// Says that the target began anew before its last page, that of `at`: what it lacks may be exposed later.
    pub fn began_anew(&mut self, at: Timestamp) {
        self.withdrawn.began_anew(at);
    }

    /// What is known of the target, for when it is back.
    pub fn past(&self) -> Past {
        if let Some(exposed) = &self.former_metrics {
            let exposed = Arc::clone(exposed);
            let withdrawn = self.withdrawn.clone();
            return Past { withdrawn, exposed };
        }
        let seen = self.cache.entries().filter(|entry| entry.seen != 0);
        let metrics: BTreeSet<_> = seen.map(|entry| entry.series.labels().metric_name()).collect();
        Past {
            withdrawn: self.withdrawn.clone(),
            exposed: Arc::new(metrics.into_iter().map(Box::from).collect()),
        }
    }

    /// Says what the target exposed before it was let go: what its first page lacks of that is withdrawn.
    pub fn is_back(&mut self, past: Past) {
        self.withdrawn = past.withdrawn;
        self.former_metrics = Some(past.exposed);
    }

    /// Takes in what of `former`, before the page of `at`, that page lacks.
    fn compare_with_former(&mut self, former: &BTreeSet<Box<str>>, at: i64) {
        let on_page = self.cache.entries().filter(|entry| entry.seen == self.scrape);
        let on_page: BTreeSet<_> = on_page.map(|entry| entry.series.labels().metric_name()).collect();
        let at = Timestamp::from_millis(at);
        on_page
            .iter()
            .for_each(|metric| self.withdrawn.remove(metric, at));
        let missing = former.iter().map(|metric| &**metric);
        self.withdrawn
            .add(missing.filter(|metric| !on_page.contains(metric)), at);
    }

    #[cfg(test)]
    pub(super) fn known_texts(&self) -> usize {
        self.cache.len()
    }

    #[cfg(test)]
    pub(super) fn known_order(&self) -> Vec<&str> {
        self.cache.entries().map(Entry::text).collect()
    }

    #[cfg(test)]
    pub(super) fn keeps_table(&self) -> bool {
        self.cache.has_table()
    }

    /// Begins a change of the series of which `changes` says so, by their place on the page before.
    fn begin(&self, change: &mut Change, changes: impl Fn(usize, &Entry) -> bool) {
        let entries = self.cache.entries().enumerate();
        let changing = entries.filter(|&(place, entry)| changes(place, entry));
        let names = changing.map(|(_, entry)| entry.series.labels().metric_name());
        change.begin(names, &self.window.index);
    }

    /// Notes which metrics the page of `at` has no longer, `is_missing` telling the series that it lacks, be they marked as
    /// stale already. Those whose lines are lost are among them: the next page may not have them at all.
    fn note_withdrawn(&mut self, at: i64, is_missing: impl Fn(usize, &Entry) -> bool) {
        let entries = || self.cache.entries().enumerate();
        let mut metrics = BTreeSet::new();
        for (_, entry) in entries().filter(|&(place, entry)| entry.seen != 0 && is_missing(place, entry)) {
            metrics.insert(entry.series.labels().metric_name());
        }
        for (_, entry) in entries().filter(|&(place, entry)| !is_missing(place, entry)) {
            metrics.remove(entry.series.labels().metric_name());
        }
        self.withdrawn.add(metrics, Timestamp::from_millis(at));
    }

    /// Marks the series of the page before as stale of which `is_missing` says so, by their place, in a row of their own.
    fn mark_missing(&mut self, at: i64, is_missing: impl Fn(usize, &Entry) -> bool) -> usize {
        let rows = self.rows.clone();
        let row = rows.as_deref().and_then(|rows| rows.open(at));
        self.look_up_slots();
        self.mark_missing_in(row, at, is_missing)
    }

    /// As [`mark_missing`](Self::mark_missing), in this row, which is published then.
    fn mark_missing_in(
        &mut self,
        mut row: Option<Row<'_>>,
        at: i64,
        is_missing: impl Fn(usize, &Entry) -> bool,
    ) -> usize {
        let usage = &self.window.usage;
        let mut marked = 0;
        for (place, entry) in self.cache.entries_mut().enumerate() {
            if !is_missing(place, entry) || !std::mem::take(&mut entry.present) || !entry.tracked {
                continue;
            }
            let series = &entry.series;
            marked += usize::from(match &mut row {
                Some(row) if entry.slot != NO_SLOT => {
                    row.mark_stale(entry.slot, || series.newest().map(Sample::pair))
                }
                _ => series.mark_stale(at, usage),
            });
        }
        if let Some(row) = row {
            row.publish();
        }
        usage.samples_appended.fetch_add(marked as u64, Ordering::Relaxed);
        usage.stale_markers.fetch_add(marked as u64, Ordering::Relaxed);
        marked
    }

    /// Looks the slots of all entries up again, if series have left the rows since.
    fn look_up_slots(&mut self) {
        let Some(rows) = &self.rows else { return };
        let changes = rows.changes();
        if changes == self.known_changes {
            return;
        }
        self.known_changes = changes;
        for entry in self.cache.entries_mut() {
            entry.slot = match entry.series.is_gone() {
                true => NO_SLOT,
                false => entry.series.slot_of(rows).unwrap_or(NO_SLOT),
            };
        }
    }

    /// Sees to it that each series of the page can be written: those that went meanwhile are taken up again, and those that rows
    /// cannot express get a store of their own. Gives the errors of those that are not taken, by their place in the page.
    fn prepare(&mut self) -> BTreeMap<usize, AppendError> {
        self.look_up_slots();
        let mut refused = BTreeMap::new();
        for i in 0..self.pending.samples.len() {
            let sample = self.pending.samples[i];
            let entry = self.cache.entry_mut(sample.entry);
            if entry.slot != NO_SLOT && sample.fits_rows() {
                continue;
            }
            if entry.series.is_gone()
                && let Err(error) = self.revive(sample)
            {
                refused.insert(i, error);
                continue;
            }
            let entry = self.cache.entry_mut(sample.entry);
            if !sample.fits_rows() || entry.slot == NO_SLOT {
                entry.series.make_loose(&self.window.usage);
                entry.slot = NO_SLOT;
            }
        }
        refused
    }

    /// Forgets the series of the page before but those of which `keep` says so, by their place.
    fn forget(&mut self, keep: impl Fn(usize, &Entry) -> bool) {
        let Self {
            window,
            cache,
            former,
            ..
        } = self;
        cache.retain(keep, |series| {
            series.conceal(&window.usage);
            former.push(Arc::clone(series));
        });
        // What went meanwhile, or is exposed again, need not be remembered. It is looked for when the list has
        // doubled, so that each series is looked at twice on average.
        if former.len() >= self.former_limit {
            former.retain(|series| !series.is_gone() && !series.is_exposed());
            self.former_limit = 2 * former.len().max(64);
        }
    }

    /// Lets series go that are exposed no longer, so that `wanted` new ones may come.
    fn make_room(&mut self, wanted: usize) {
        let State {
            index,
            usage,
            losses,
            made_room,
            ..
        } = &*self.window;
        let (of_target, of_all) = usage.excess(self.series(), wanted);
        let mut went = 0;
        if of_target > 0 {
            let log = log_of(&mut self.log, losses, usage, &self.target);
            went += index.make_room(&self.former, of_target, usage, log);
        }
        if of_all > went && usage.unexposed() > 0 {
            let log = made_room.get_or_init(|| losses.begin(&[]));
            index.make_room(&index.unexposed(), of_all - went, usage, log);
        }
    }

    fn log(&mut self, at: i64, lost: Losses) {
        let State { usage, losses, .. } = &*self.window;
        if self.log.is_some() || !lost.is_empty() {
            let log = log_of(&mut self.log, losses, usage, &self.target);
            log.scraped(at, lost, at.saturating_sub(usage.retention_ms));
        }
    }

    fn count_bytes(&mut self) {
        let usage = &self.window.usage;
        let bytes = self.cache.heap_bytes();
        usage.take(bytes);
        usage.give_back(self.counted_bytes);
        self.counted_bytes = bytes;
    }
}

impl Drop for Appender {
    fn drop(&mut self) {
        if let Some(rows) = &self.rows {
            rows.release();
        }
        self.cache
            .series()
            .for_each(|series| series.conceal(&self.window.usage));
        self.window.usage.give_back(self.counted_bytes);
        let page = std::mem::take(&mut self.pending);
        self.window.spare_pages.give_back(page, &self.window.usage);
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
            None => self.add_series(series, timestamp.is_some(), labels)?,
        };
        let own_time = timestamp.map(Timestamp::as_millis);
        self.appender.pending.push(entry, own_time, value);
        Ok(())
    }

    /// Adds a sample that is a histogram, as [`append`](Self::append) adds a number. What follows from the one before of
    /// resets is kept with it.
    ///
    /// *Errors*: as of [`append`](Self::append).
    pub fn append_histogram(
        &mut self,
        series: &str,
        histogram: FloatHistogram,
        timestamp: Option<Timestamp>,
        labels: impl FnOnce(&mut ExposedLabels),
    ) -> Result<(), AppendError> {
        let entry = match self.appender.cache.find(series) {
            Some(entry) => entry,
            None => self.add_series(series, true, labels)?,
        };
        let own_time = timestamp.map(Timestamp::as_millis);
        self.appender.pending.push_histogram(entry, own_time, histogram);
        Ok(())
    }

    /// Says that samples are missing from the page that the caller could not read or left out, of `metric` if
    /// that is known, and why. If one of them may be a bucket, the others of its histogram are left out, too: a
    /// quantile of what is left would be wrong.
    pub fn unread(&mut self, metric: Option<&str>, why: &str) {
        self.losses.add(metric, Loss::Unread(why.to_owned()));
    }

    /// Where a limit refused series of this page: lets go of series that are exposed no longer, as this page,
    /// which has been read to its end, says. `true` if it did: then the batch is empty again, and the page is
    /// to be appended once more. It does so once a page.
    pub fn make_room(&mut self) -> bool {
        if self.over_limit == 0 || std::mem::replace(&mut self.made_room, true) {
            return false;
        }
        let appender = &mut *self.appender;
        let usage = &appender.window.usage;
        let mut on_page = vec![false; appender.cache.len()];
        for sample in &appender.pending.samples {
            on_page[sample.entry as usize] = true;
        }
        let is_all = on_page.iter().all(|&is| is);
        if is_all && appender.former.is_empty() && usage.unexposed() == 0 {
            return false;
        }
        // A series may be on the page under another text than before: the same labels in another order.
        let on_page_as_well: HashSet<_> = (appender.cache.series().zip(&on_page))
            .filter_map(|(series, &is)| is.then_some(Arc::as_ptr(series)))
            .collect();
        let is_missing = |place: usize, entry: &Entry| {
            !on_page[place] && !on_page_as_well.contains(&Arc::as_ptr(&entry.series))
        };
        appender.begin(&mut self.change, is_missing);
        appender.note_withdrawn(self.at, is_missing);
        self.report.went_stale += appender.mark_missing(self.at, is_missing);
        appender.forget(|place, _| on_page[place]);
        appender.make_room(self.over_limit);
        appender.pending.clear();
        appender.cache.rewind();
        self.losses = Losses::default();
        (self.over_limit, self.report.refused) = (0, 0);
        true
    }

    /// Writes the page: every sample without a timestamp of its own at the time of the scrape, and a
    /// staleness marker for every series of the scrape before that is missing.
    pub fn commit(mut self) -> ScrapeReport {
        self.leave_out_broken_histograms();
        // Before anything is written: whoever sees a sample of this page is told what it lacks.
        self.appender.log(self.at, std::mem::take(&mut self.losses));
        let Self {
            appender,
            at,
            mut report,
            mut change,
            ..
        } = self;
        appender.window.usage.has_page(at);
        appender.scrape = appender.scrape.checked_add(1).unwrap_or(1);
        appender.uncommitted = false;
        let scrape = appender.scrape;
        let (mut seen, mut returning) = (0, 0);
        for sample in &appender.pending.samples {
            let entry = appender.cache.entry_mut(sample.entry);
            seen += usize::from(entry.seen != scrape);
            returning += usize::from(!entry.present);
            entry.seen = scrape;
        }
        if returning > 0 || seen < appender.cache.len() {
            appender.begin(&mut change, |_, entry| entry.present != (entry.seen == scrape));
        }
        let mut refused = appender.prepare();
        let rows = appender.rows.clone();
        let mut row = rows.as_deref().and_then(|rows| rows.open(at));
        // What was let go since then is refused; while the row is open, nobody is.
        appender.look_up_slots();
        let mut losses = Losses::default();
        for i in 0..appender.pending.samples.len() {
            let sample = appender.pending.samples[i];
            let entry = appender.cache.entry_mut(sample.entry);
            report.series_added += usize::from(!entry.present);
            entry.present = true;
            entry.tracked = !sample.has_own_time();
            let written = match refused.remove(&i) {
                Some(error) => Err(error),
                None => Ok(appender.write(sample, at, row.as_mut())),
            };
            let loss = match written {
                Ok(Some(Outcome::Appended)) => {
                    report.appended += 1;
                    continue;
                }
                Ok(Some(Outcome::Repeated)) => {
                    report.repeated += 1;
                    continue;
                }
                Ok(Some(Outcome::Duplicate)) => {
                    report.duplicates += 1;
                    Loss::Duplicate
                }
                Ok(Some(Outcome::OutOfOrder)) => {
                    report.out_of_order += 1;
                    Loss::OutOfOrder
                }
                Ok(None) => {
                    report.out_of_bounds += 1;
                    Loss::OutOfBounds
                }
                // Let go again between two lines: the next page brings it.
                Ok(Some(Outcome::Gone)) => {
                    report.refused += 1;
                    Loss::MadeRoom
                }
                Err(error) => {
                    report.refused += 1;
                    Loss::Refused(error)
                }
            };
            let entry = appender.cache.entry_mut(sample.entry);
            losses.add(Some(entry.series.labels().metric_name()), loss);
        }
        let is_missing = |_: usize, entry: &Entry| entry.seen != scrape;
        if seen < appender.cache.len() {
            appender.note_withdrawn(at, is_missing);
            report.went_stale += appender.mark_missing_in(row, at, is_missing);
        } else if let Some(row) = row {
            row.publish();
        }
        if !losses.is_empty() {
            appender.log(at, losses);
        }
        if report.series_added > 0 && appender.withdrawn.has_open() {
            for sample in &appender.pending.samples {
                let series = &appender.cache.entry_mut(sample.entry).series;
                let metric = series.labels().metric_name();
                appender.withdrawn.remove(metric, Timestamp::from_millis(at));
            }
        }
        let page = appender.pending.samples.iter().map(|sample| sample.entry);
        appender.cache.keep_order(page);
        if let Some(former) = appender.former_metrics.take() {
            appender.compare_with_former(&former, at);
        }
        if !appender.withdrawn.is_empty() {
            let retention = appender.window.usage.config.retention.as_millis();
            let retention = i64::try_from(retention).unwrap_or(i64::MAX);
            appender
                .withdrawn
                .expire(Timestamp::from_millis(at.saturating_sub(retention)));
        }
        if seen < appender.cache.len() {
            appender.forget(|_, entry| entry.seen == scrape);
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
        }
        appender.count_bytes();
        let page = std::mem::take(&mut appender.pending);
        appender
            .window
            .spare_pages
            .give_back(page, &appender.window.usage);
        report
    }

    /// A histogram without one of its buckets gives a wrong quantile that looks right.
    fn leave_out_broken_histograms(&mut self) {
        if self.losses.is_empty() {
            return;
        }
        let Appender { cache, pending, .. } = &mut *self.appender;
        let mut broken: Vec<Arc<Series>> = Vec::new();
        let before = pending.samples.len();
        pending.samples.retain(|sample| {
            let series = &cache.entry_mut(sample.entry).series;
            let name = series.labels().metric_name();
            let is_broken = name.ends_with("_bucket") && self.losses.may_include(name);
            if is_broken
                && broken
                    .last()
                    .is_none_or(|last| last.labels().metric_name() != name)
            {
                broken.push(Arc::clone(series));
            }
            !is_broken
        });
        self.report.left_out = before - pending.samples.len();
        for series in broken {
            self.losses
                .add(Some(series.labels().metric_name()), Loss::BrokenHistogram);
        }
    }

    #[cold]
    fn add_series(
        &mut self,
        text: &str,
        is_loose: bool,
        labels: impl FnOnce(&mut ExposedLabels),
    ) -> Result<u32, AppendError> {
        let appender = &mut *self.appender;
        appender.uncommitted = true;
        let mut exposed = std::mem::take(&mut appender.labels);
        exposed.clear();
        labels(&mut exposed);
        let honor_labels = appender.window.usage.config.honor_labels;
        let series = exposed.merge(&appender.target, honor_labels).and_then(|()| {
            let name = exposed.metric_name()?;
            appender.get_or_add(name, exposed.iter(), is_loose)
        });
        let added = series.and_then(|series| {
            let slot = appender.rows.as_ref().and_then(|rows| series.slot_of(rows));
            let entry = appender
                .cache
                .add(text, Arc::clone(&series), slot.unwrap_or(NO_SLOT));
            series.expose(&appender.window.usage);
            entry.ok_or(AppendError::TooLarge)
        });
        if let Err(error) = &added {
            self.report.refused += 1;
            self.over_limit += usize::from(error.is_limit());
            // Without a name its labels could not be read, of which the caller says more.
            if *error != AppendError::NoMetricName {
                self.losses
                    .add(exposed.metric_name().ok(), Loss::Refused(error.clone()));
            }
        }
        self.appender.labels = exposed;
        added
    }
}

// === impl Appender: writing ===

impl Appender {
    /// `None` if the sample's own time is out of bounds.
    #[inline]
    fn write(&mut self, sample: Pending, at: i64, row: Option<&mut Row<'_>>) -> Option<Outcome> {
        let usage = &self.window.usage;
        let entry = self.cache.entry_mut(sample.entry);
        let series = &entry.series;
        let is_in_rows = entry.slot != NO_SLOT && !sample.is_histogram();
        if let (Some(row), true) = (row, is_in_rows) {
            return Some(row.put(entry.slot, sample.bits(), || series.newest().map(Sample::pair)));
        }
        let own_time = self.pending.own_time(sample);
        if let Some(time) = own_time {
            let oldest = at.saturating_sub(usage.retention_ms).max(i64::MIN + 1);
            if time < oldest || time > at.saturating_add(MAX_AHEAD_MS) {
                return None;
            }
        }
        let time = own_time.unwrap_or(at);
        let steps_clock = own_time.is_none();
        if let Some(histogram) = self.pending.histogram(sample) {
            return Some(series.append_histogram(time, histogram, steps_clock, usage));
        }
        Some(series.append((time, sample.bits()), steps_clock, usage))
    }

    /// Takes up again a series that the window let go, since it had been silent for too long.
    #[cold]
    fn revive(&mut self, sample: Pending) -> Result<(), AppendError> {
        let gone = Arc::clone(&self.cache.entry_mut(sample.entry).series);
        let labels = gone.labels();
        let series = self.get_or_add(labels.metric_name(), labels.iter(), !sample.fits_rows())?;
        let slot = self.rows.as_ref().and_then(|rows| series.slot_of(rows));
        gone.conceal(&self.window.usage);
        series.expose(&self.window.usage);
        let entry = self.cache.entry_mut(sample.entry);
        (entry.series, entry.slot) = (series, slot.unwrap_or(NO_SLOT));
        Ok(())
    }

    /// The series with these labels; a new one has a slot in the rows, unless it is loose.
    fn get_or_add<'a>(
        &mut self,
        name: &str,
        labels: impl ExactSizeIterator<Item = (&'a str, &'a str)> + Clone,
        is_loose: bool,
    ) -> Result<Arc<Series>, AppendError> {
        let Self {
            window,
            of_target,
            rows,
            known_changes,
            ..
        } = self;
        let State { index, usage, .. } = &**window;
        let series = index.get_or_add(name, labels, of_target, usage, || {
            if is_loose {
                return None;
            }
            let rows = rows.get_or_insert_with(|| Arc::new(Target::new(Arc::clone(usage))));
            let (slot, newest) = rows.add_slot();
            Some((Arc::clone(rows), slot, newest))
        })?;
        if rows.is_none()
            && let Some(target) = series.target()
            && target.take()
        {
            // The target was away, and is back.
            *known_changes = target.changes();
            *rows = Some(Arc::clone(target));
        }
        Ok(series)
    }
}

/// The log of a target, which is begun where there is none.
fn log_of<'a>(
    log: &'a mut Option<Arc<LossLog>>,
    logs: &LossLogs,
    usage: &Usage,
    target: &[(String, String)],
) -> &'a LossLog {
    // Where exposed labels win, a series of the target may have any others than the target's.
    let labels = if usage.config.honor_labels { &[] } else { target };
    log.get_or_insert_with(|| logs.begin(labels))
}

/// The first moment of all is that of no sample.
fn millis(at: Timestamp) -> i64 {
    at.as_millis().max(i64::MIN + 1)
}
