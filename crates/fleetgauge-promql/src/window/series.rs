//! One series: its labels, and where its samples are.
//!
//! Mostly they are in a slot of its target's rows. A series that rows cannot express is loose: it has its own store, and
//! stays there.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use fleetgauge_core::time::Timestamp;

use crate::histogram::FloatHistogram;
use crate::label::LabelSet;
use crate::sample::{STALE_MARKER, Sample, Samples};

use super::limit::Usage;
use super::loose::Loose;
use super::newest_row::{Part, Place};
use super::outcome::Outcome;
use super::target::{Slot, Snapshot, Target};

/// One series of the window. It stays for who holds it, also after the window has let it go; its samples are gone then.
#[derive(Debug)]
pub struct Series {
    /// Set while nobody can write it: the window let the series go, and nothing may be appended.
    gone: AtomicBool,
    /// Whether it had no sample when the window last looked: a page that is under way may bring one yet.
    was_empty: AtomicBool,
    /// How many scrapers have it on the page that they read last.
    exposed: AtomicU32,
    slot: Option<(Arc<Target>, Slot)>,
    /// Where the newest row of the target has its sample, if it has a slot.
    newest: Option<Arc<Part>>,
    loose: OnceLock<Box<Loose>>,
    labels: LabelSet,
    /// How many series the target that made this one has.
    of_target: Arc<AtomicUsize>,
    /// How many samples it had been given when it was let go.
    given: AtomicU64,
}

/// A series that was let go before its time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gone {
    /// The times of its first and its newest sample.
    pub(super) first: i64,
    pub(super) last: i64,
    /// Whether the newest said that it is gone.
    pub(super) was_stale: bool,
}

/// Where samples are read.
enum Held<'a> {
    Rows(Snapshot, Slot),
    Loose(&'a Loose),
    Nothing,
}

// === impl Series ===

impl Series {
    /// With a slot, or loose.
    pub(super) fn new(
        labels: LabelSet,
        slot: Option<(Arc<Target>, Slot, Arc<Part>)>,
        of_target: Arc<AtomicUsize>,
    ) -> Self {
        of_target.fetch_add(1, Ordering::Relaxed);
        let loose = OnceLock::new();
        if slot.is_none() {
            loose.get_or_init(Box::default);
        }
        let (slot, newest) = slot
            .map(|(target, slot, newest)| ((target, slot), newest))
            .unzip();
        Self {
            gone: AtomicBool::new(false),
            was_empty: AtomicBool::new(false),
            exposed: AtomicU32::new(0),
            slot,
            newest,
            loose,
            labels,
            of_target,
            given: AtomicU64::new(0),
        }
    }

    /// What identifies the series.
    pub fn labels(&self) -> &LabelSet {
        &self.labels
    }

    /// The newest sample, also if it is a staleness marker.
    pub fn newest(&self) -> Option<Sample> {
        let newest = self.in_newest_row().or_else(|| self.held().newest());
        newest.map(Sample::new)
    }

    /// Its newest sample, where it is in the newest row of its target.
    #[inline]
    fn in_newest_row(&self) -> Option<(i64, u64)> {
        let (_, slot) = self.slot.as_ref()?;
        let newest = self.newest.as_ref()?.read(slot.at);
        // A slot that was left has no sample there. Until it is known to be gone, it is nobody else's.
        newest.filter(|_| !self.is_gone())
    }

    /// Where its sample of the newest row is found without a look at the series. There is none where it is loose or gone.
    pub(super) fn place(&self) -> Option<Place> {
        let (_, slot) = self.slot.as_ref().filter(|_| !self.is_loose())?;
        let place = Arc::clone(self.newest.as_ref()?).place(slot.at);
        // Looked for after the place: until it is gone, its slot is nobody else's.
        (!self.is_gone()).then_some(place)
    }

    /// How many samples it has been given so far, those that are gone included, and the newest.
    pub(super) fn counted(&self) -> (u64, Option<Sample>) {
        let (count, newest) = match self.held() {
            Held::Rows(rows, slot) => (rows.count(slot), rows.newest(slot)),
            Held::Loose(loose) => loose.counted(),
            Held::Nothing => (self.given.load(Ordering::Acquire), None),
        };
        (count, newest.map(Sample::new))
    }

    /// The newest sample at `at` that is younger than `lookback`; none if the series went stale before.
    ///
    /// As Prometheus 3 selects for an instant query: a sample as old as `lookback` is too old.
    pub fn at(&self, at: Timestamp, lookback: Duration) -> Option<Sample> {
        self.at_from(self.in_newest_row(), at, lookback)
    }

    /// As [`at`](Self::at), where the newest row was found to have the sample `newest`.
    #[inline]
    pub(super) fn at_from(
        &self,
        newest: Option<(i64, u64)>,
        at: Timestamp,
        lookback: Duration,
    ) -> Option<Sample> {
        let at = at.as_millis();
        let lookback = i64::try_from(lookback.as_millis()).unwrap_or(i64::MAX);
        let newest = newest.filter(|newest| newest.0 <= at);
        let found = newest.or_else(|| self.held().last_until(at))?;
        let fresh = found.0 > at.saturating_sub(lookback) && found.1 != STALE_MARKER;
        fresh.then(|| Sample::new(found))
    }

    /// The samples from `from` to `to`, both included.
    ///
    /// *Shape*: oldest first, staleness markers included. What is appended meanwhile may or may not be among them,
    /// but never a sample without those before it.
    pub fn samples(&self, from: Timestamp, to: Timestamp) -> Vec<Sample> {
        let mut samples = Samples::default();
        self.read(from, to, &mut samples);
        let samples = samples.times().iter().zip(samples.values());
        samples
            .map(|(&time, value)| Sample::new((time, value.to_bits())))
            .collect()
    }

    /// As [`samples`](Self::samples), appended to `into`.
    pub fn read(&self, from: Timestamp, to: Timestamp, into: &mut Samples) {
        let range = (from.as_millis(), to.as_millis());
        match self.held() {
            Held::Rows(rows, slot) => rows.read(slot, range, into),
            Held::Loose(loose) => loose.read(range, into),
            Held::Nothing => {}
        }
    }

    /// Whether there can be a sample from `from` to `to`, where the newest row was found to have the sample `newest`. It may say
    /// yes where a gap is.
    pub(super) fn overlaps(&self, newest: Option<(i64, u64)>, from: i64, to: i64) -> bool {
        // Mostly the newest sample decides, without a look at the older ones.
        if let Some((newest, _)) = newest
            && (newest < from || newest <= to)
        {
            return newest >= from;
        }
        let held = self.held();
        held.newest().is_some_and(|newest| {
            newest.0 >= from && (newest.0 <= to || held.first_time().is_some_and(|first| first <= to))
        })
    }

    #[inline]
    fn held(&self) -> Held<'_> {
        if let Some(loose) = self.loose.get() {
            return match self.is_gone() {
                true => Held::Nothing,
                false => Held::Loose(loose),
            };
        }
        let Some((target, slot)) = &self.slot else {
            return Held::Nothing;
        };
        let rows = target.snapshot();
        // Looked for after the rows: until it is gone, its slot is nobody else's.
        match self.is_gone() {
            true => Held::Nothing,
            false => Held::Rows(rows, *slot),
        }
    }

    /// Its slot in the rows of `target`, unless it is loose or of another one.
    pub(super) fn slot_of(&self, target: &Arc<Target>) -> Option<u32> {
        let (own, slot) = self.slot.as_ref()?;
        (Arc::ptr_eq(own, target) && !self.is_loose()).then_some(slot.at)
    }

    /// The target in whose rows it is, unless it is loose.
    pub(super) fn target(&self) -> Option<&Arc<Target>> {
        self.slot
            .as_ref()
            .filter(|_| !self.is_loose())
            .map(|(target, _)| target)
    }

    fn has_old_rows(&self, cutoff: i64) -> bool {
        self.slot
            .as_ref()
            .is_some_and(|(target, _)| target.has_old(cutoff))
    }

    fn is_loose(&self) -> bool {
        self.loose.get().is_some()
    }

    /// Its own store, to which its samples are moved if they are in rows. No row of the target may be open.
    fn loosen(&self, usage: &Usage) -> &Loose {
        if let (None, Some((target, slot))) = (self.loose.get(), &self.slot) {
            target.leave(*slot, |rows| {
                self.loose.get_or_init(|| {
                    let mut samples = Samples::default();
                    if !self.is_gone() {
                        rows.read(*slot, (i64::MIN, i64::MAX), &mut samples);
                    }
                    Box::new(Loose::new(&samples, rows.count(*slot), usage))
                });
            });
        }
        self.loose.get_or_init(Box::default)
    }

    /// Sees to it that a sample can be appended that is none of a row of its target's.
    pub(super) fn make_loose(&self, usage: &Usage) {
        self.loosen(usage);
    }

    /// Appends a sample. `steps_clock` if it has the time of its scrape and not its own: then one that is
    /// far too early means that the clock was set back. No row of its target may be open, unless it is loose.
    pub(super) fn append(&self, sample: (i64, u64), steps_clock: bool, usage: &Usage) -> Outcome {
        if self.is_gone() {
            return Outcome::Gone;
        }
        if let (false, Some(newest)) = (self.is_loose(), self.newest()) {
            // What changes nothing is no reason to leave the rows.
            let newest = (newest.timestamp.as_millis(), newest.value.to_bits());
            if sample == newest {
                return Outcome::Repeated;
            }
            if sample.0 == newest.0 {
                return Outcome::Duplicate;
            }
            let is_step = steps_clock && newest.0.saturating_sub(sample.0) > usage.clock_step_ms;
            if sample.0 < newest.0 && !is_step {
                return Outcome::OutOfOrder;
            }
        }
        let loose = self.loosen(usage);
        match self.is_gone() {
            true => Outcome::Gone,
            false => loose.append(sample, steps_clock, usage),
        }
    }

    /// Appends a sample that is a histogram, as [`append`](Self::append) does a number.
    pub(super) fn append_histogram(
        &self,
        time: i64,
        histogram: &Arc<FloatHistogram>,
        steps_clock: bool,
        usage: &Arc<Usage>,
    ) -> Outcome {
        if self.is_gone() {
            return Outcome::Gone;
        }
        let loose = self.loosen(usage);
        match self.is_gone() {
            true => Outcome::Gone,
            false => loose.append_histogram(time, histogram, steps_clock, usage),
        }
    }

    /// Appends a staleness marker, unless there is one, or a sample as new.
    pub(super) fn mark_stale(&self, at: i64, usage: &Usage) -> bool {
        let newest = self.newest();
        newest.is_some_and(|newest| !newest.is_stale() && newest.timestamp.as_millis() != at)
            && self.append((at, STALE_MARKER), true, usage) == Outcome::Appended
    }

    /// Drops what is out of the retention or of the future. `true` if nothing is left: then the series is
    /// gone.
    pub(super) fn expire(&self, now: i64, max_ahead: i64, usage: &Usage) -> bool {
        if self.is_gone() {
            return false;
        }
        let cutoff = now.saturating_sub(usage.retention_ms);
        // Mostly it is young, and what of its target is old has gone with another series.
        let is_young = |newest: (i64, u64)| newest.0 >= cutoff && newest.0 <= now;
        if self.in_newest_row().is_some_and(is_young) && !self.has_old_rows(cutoff) {
            return false;
        }
        match (self.loose.get(), &self.slot) {
            (Some(loose), _) => loose.expire(cutoff, now, max_ahead, usage),
            (None, Some((target, _))) => target.expire(cutoff, now, max_ahead),
            (None, None) => {}
        }
        self.let_go(usage, |count, newest| match newest {
            // Its newest samples went with others of their time.
            None if count > 0 => Some(()),
            None => self.was_empty.swap(true, Ordering::Relaxed).then_some(()),
            Some(newest) => (newest.0 < cutoff).then(|| usage.expired(newest.0)),
        })
        .is_some()
    }

    /// Lets the series go if no scraper has it on its page: it makes room.
    pub(super) fn make_room(&self, usage: &Usage) -> Option<Gone> {
        let first = self.held().first_time();
        self.let_go(usage, |_, newest| {
            let newest = newest.unwrap_or((i64::MIN, STALE_MARKER));
            (!self.is_exposed()).then(|| Gone {
                first: first.unwrap_or(newest.0),
                last: newest.0,
                was_stale: newest.1 == STALE_MARKER,
            })
        })
    }

    /// Lets the series go if `leave`, which is given how many samples it has had and the newest, says so; nobody writes it
    /// meanwhile.
    fn let_go<T>(
        &self,
        usage: &Usage,
        leave: impl FnOnce(u64, Option<(i64, u64)>) -> Option<T>,
    ) -> Option<T> {
        let go = |count: u64, newest| {
            if self.is_gone() {
                return None;
            }
            let left = leave(count, newest)?;
            self.given.store(count, Ordering::Release);
            self.gone.store(true, Ordering::Release);
            usage.let_go(count);
            Some(left)
        };
        if self.is_gone() {
            return None;
        }
        match (self.loose.get(), &self.slot) {
            (Some(loose), slot) => {
                let left = loose.let_go(usage, || {
                    let (count, newest) = loose.counted();
                    go(count, newest)
                })?;
                // The slot that it left before.
                if let Some((target, slot)) = slot {
                    target.let_go(*slot, |_| Some(()));
                }
                Some(left)
            }
            (None, Some((target, slot))) => target.let_go(*slot, |rows| {
                // It has left the rows meanwhile: the next look finds it loose.
                (!self.is_loose()).then(|| go(rows.count(*slot), rows.newest(*slot)))?
            }),
            (None, None) => None,
        }
    }

    /// Says that a scraper has it on its page.
    pub(super) fn expose(&self, usage: &Usage) {
        if self.exposed.fetch_add(1, Ordering::Relaxed) == 0 {
            usage.exposed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Says that a scraper has it no longer.
    pub(super) fn conceal(&self, usage: &Usage) {
        if self.exposed.fetch_sub(1, Ordering::Relaxed) == 1 {
            usage.exposed.fetch_sub(1, Ordering::Relaxed);
        }
    }

    pub(super) fn is_exposed(&self) -> bool {
        self.exposed.load(Ordering::Relaxed) > 0
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    pub(super) fn of_target(&self) -> &AtomicUsize {
        &self.of_target
    }

    /// What a writer holds while it writes.
    #[cfg(test)]
    pub(super) fn hold_for_test(&self) -> impl Sized + '_ {
        match (self.loose.get(), &self.slot) {
            (Some(loose), _) => (Some(loose.hold_for_test()), None),
            (None, slot) => (None, slot.as_ref().map(|(target, _)| target.hold_for_test())),
        }
    }
}

// === impl Held ===

impl Held<'_> {
    #[inline]
    fn newest(&self) -> Option<(i64, u64)> {
        match self {
            Self::Rows(rows, slot) => rows.newest(*slot),
            Self::Loose(loose) => loose.newest(),
            Self::Nothing => None,
        }
    }

    #[inline]
    fn last_until(&self, at: i64) -> Option<(i64, u64)> {
        match self {
            Self::Rows(rows, slot) => rows.last_until(*slot, at),
            Self::Loose(loose) => loose
                .newest()
                .filter(|newest| newest.0 <= at)
                .or_else(|| loose.last_until(at)),
            Self::Nothing => None,
        }
    }

    fn first_time(&self) -> Option<i64> {
        match self {
            Self::Rows(rows, slot) => rows.first_time(*slot),
            Self::Loose(loose) => loose.first_time(),
            Self::Nothing => None,
        }
    }
}
