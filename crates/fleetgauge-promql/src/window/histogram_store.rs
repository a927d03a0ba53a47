//! The native histograms of one series.
//!
//! A histogram is a row, like a page of a target: its count, its sum and each of its buckets have a place in it. So buckets
//! are kept as the samples of any series are, in the newest rows and then by columns, each in the width that its samples need,
//! and are dropped by the same rules. Which bucket has which place is kept once for all rows; a bucket that appears gets
//! a place, and is absent from the rows before. Only another schema, other bounds or a zero bucket of another width make
//! rows of their own.
//!
//! Writers take turns, by the lock of the series. Readers never wait; that there is a histogram at some time, the series'
//! list of samples says, which is written after it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::{ArcSwap, ArcSwapOption};

use super::limit::Usage;
use super::target::{Slot, Target};
use crate::histogram::{Buckets, CounterReset, FloatHistogram, HistogramSample, Indexes, Layout, Rows};

#[derive(Debug)]
pub(super) struct HistogramStore {
    /// The one that was appended to last comes last.
    kinds: ArcSwap<Vec<Arc<Kind>>>,
    /// Most reads want this one, and what is known of resets follows from it.
    newest: ArcSwapOption<(i64, Arc<FloatHistogram>)>,
    usage: Arc<Usage>,
    /// What is counted as used, without the rows.
    counted: AtomicUsize,
}

/// Histograms whose buckets have the same bounds.
#[derive(Debug)]
struct Kind {
    layout: Layout,
    zero_threshold: f64,
    rows: Target,
    /// Sorted: first those below zero, then by their index.
    buckets: ArcSwap<Vec<Place>>,
}

/// Where the counts of a bucket are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    is_positive: bool,
    index: i32,
    at: u32,
}

/// What has a place in all rows.
const COUNT: u32 = 0;
const SUM: u32 = 1;
const ZERO_COUNT: u32 = 2;
const COUNTER_RESET: u32 = 3;
const FIXED: u32 = 4;

// === impl HistogramStore ===

impl HistogramStore {
    pub(super) fn new(usage: &Arc<Usage>) -> Self {
        Self {
            kinds: ArcSwap::default(),
            newest: ArcSwapOption::empty(),
            usage: Arc::clone(usage),
            counted: AtomicUsize::new(0),
        }
    }

    /// Appends one that is newer than all others. *`is_behind_one`*: whether the sample before it is a histogram, too.
    pub(super) fn append(&self, time: i64, histogram: &Arc<FloatHistogram>, is_behind_one: bool) {
        let newest = self.newest.load();
        let previous = newest.as_ref().filter(|_| is_behind_one);
        let known = histogram.counter_reset_after(previous.map(|newest| &*newest.1));
        let mut histogram = Arc::clone(histogram);
        if known != histogram.counter_reset() {
            let other = FloatHistogram::clone(&histogram);
            histogram = Arc::new(other.with_counter_reset(known));
        }
        self.kind_of(&histogram).append(time, &histogram);
        self.newest.store(Some(Arc::new((time, histogram))));
        self.count_bytes();
    }

    /// The one that is taken at this time.
    pub(super) fn at(&self, time: i64) -> Option<Arc<FloatHistogram>> {
        if let Some(newest) = &*self.newest.load()
            && newest.0 == time
        {
            return Some(Arc::clone(&newest.1));
        }
        let found = self.read((time, time)).pop();
        found.map(|(_, histogram)| Arc::clone(histogram.get()))
    }

    /// Those from `from` to `to`, the oldest first.
    pub(super) fn read(&self, range: (i64, i64)) -> Vec<(i64, HistogramSample)> {
        let mut all = Vec::new();
        let kinds = self.kinds.load();
        kinds.iter().for_each(|kind| kind.read(range, &mut all));
        if kinds.len() > 1 {
            all.sort_by_key(|(time, _)| *time);
        }
        all
    }

    /// Drops what is older than `cutoff`, and, where that is in the future, what is after `now`.
    pub(super) fn expire(&self, cutoff: i64, now: i64, max_ahead: i64) {
        let kinds = self.kinds.load_full();
        kinds
            .iter()
            .for_each(|kind| kind.rows.expire(cutoff, now, max_ahead));
        let is_kept = |kind: &&Arc<Kind>| {
            kind.rows
                .snapshot()
                .last_time()
                .is_some_and(|last| last >= cutoff)
        };
        if !kinds.iter().all(|kind| is_kept(&kind)) {
            self.usage.expired(cutoff);
            let kept = kinds.iter().filter(is_kept).cloned();
            self.kinds.store(Arc::new(kept.collect()));
        }
        let newest = self.newest.load();
        if newest
            .as_ref()
            .is_some_and(|newest| newest.0 < cutoff || newest.0 > now.saturating_add(max_ahead))
        {
            self.newest.store(None);
        }
        self.count_bytes();
    }

    /// Drops those at and after `time`.
    pub(super) fn cut(&self, time: i64) {
        for kind in self.kinds.load().iter() {
            kind.rows.expire(i64::MIN, time.saturating_sub(1), 0);
        }
        self.newest.store(None);
        self.count_bytes();
    }

    /// Drops all of them.
    pub(super) fn clear(&self) {
        self.kinds.store(Arc::default());
        self.newest.store(None);
        self.count_bytes();
    }

    /// The rows for histograms like this one.
    fn kind_of(&self, histogram: &FloatHistogram) -> Arc<Kind> {
        let kinds = self.kinds.load();
        let is_like = |kind: &&Arc<Kind>| kind.is_of(histogram);
        if let Some(last) = kinds.last().filter(is_like) {
            return Arc::clone(last);
        }
        let known = kinds.iter().find(is_like).cloned();
        let kind = known.unwrap_or_else(|| Arc::new(Kind::new(histogram, &self.usage)));
        let others = kinds.iter().filter(|other| !Arc::ptr_eq(other, &kind));
        let all = others.cloned().chain([Arc::clone(&kind)]);
        self.kinds.store(Arc::new(all.collect()));
        kind
    }

    fn count_bytes(&self) {
        let kinds = self.kinds.load();
        let newest = self.newest.load();
        let newest = newest.as_ref().map_or(0, |newest| newest.1.bytes() + 32);
        let bytes = newest + kinds.iter().map(|kind| kind.bytes()).sum::<usize>();
        let before = self.counted.swap(bytes, Ordering::Relaxed);
        match bytes > before {
            true => self.usage.take(bytes - before),
            false => self.usage.give_back(before - bytes),
        }
    }
}

impl Drop for HistogramStore {
    fn drop(&mut self) {
        self.usage.give_back(*self.counted.get_mut());
    }
}

// === impl Kind ===

impl Kind {
    fn new(histogram: &FloatHistogram, usage: &Arc<Usage>) -> Self {
        let rows = Target::new(Arc::clone(usage));
        for _ in 0..FIXED {
            rows.add_slot();
        }
        Self {
            layout: histogram.layout().clone(),
            zero_threshold: histogram.zero_threshold(),
            rows,
            buckets: ArcSwap::default(),
        }
    }

    fn is_of(&self, histogram: &FloatHistogram) -> bool {
        self.layout == *histogram.layout() && self.zero_threshold == histogram.zero_threshold()
    }

    fn append(&self, time: i64, histogram: &FloatHistogram) {
        let counts = || {
            let sign = |is_positive: bool, buckets: &Buckets| {
                buckets
                    .iter()
                    .map(move |(index, count)| ((is_positive, index), count))
                    .collect::<Vec<_>>()
            };
            sign(false, histogram.negative())
                .into_iter()
                .chain(sign(true, histogram.positive()))
        };
        let known = self.buckets.load();
        let mut places = known.iter().map(|place| (place.is_positive, place.index));
        let mut lacks = |key: &(bool, i32)| !places.any(|place| place == *key);
        let is_new = counts().map(|(key, _)| key).any(|key| lacks(&key));
        if is_new {
            self.add_places(counts().map(|(key, _)| key));
        }
        let places = self.buckets.load();
        // Rows that are older than those that there are, the series' list does not take.
        let Some(mut row) = self.rows.open(time) else {
            return;
        };
        let mut put = |at: u32, value: f64| row.put(at, value.to_bits(), || None);
        put(COUNT, histogram.count());
        put(SUM, histogram.sum());
        put(ZERO_COUNT, histogram.zero_count());
        put(COUNTER_RESET, number(histogram.counter_reset()));
        let mut places = places.iter();
        for (key, count) in counts() {
            if let Some(place) = places.find(|place| (place.is_positive, place.index) == key) {
                put(place.at, count);
            }
        }
        row.publish();
    }

    /// Gives a place to each of these buckets that has none.
    #[cold]
    fn add_places(&self, keys: impl Iterator<Item = (bool, i32)>) {
        let mut places = Vec::clone(&self.buckets.load());
        let known = places.len();
        for (is_positive, index) in keys {
            let same = |place: &Place| (place.is_positive, place.index).cmp(&(is_positive, index));
            if places[..known].binary_search_by(same).is_err() {
                let at = self.rows.add_slot().0.at;
                places.push(Place {
                    is_positive,
                    index,
                    at,
                });
            }
        }
        places.sort_unstable();
        self.buckets.store(Arc::new(places));
    }

    fn read(&self, range: (i64, i64), into: &mut Vec<(i64, HistogramSample)>) {
        let rows = self.rows.snapshot();
        // After the rows: each bucket of theirs has its place by then.
        let buckets = self.buckets.load();
        let within = rows.within(range);
        let count = within.times.len();
        if count == 0 {
            return;
        }
        let read = |at: u32, into: &mut Vec<f64>| {
            rows.read_column(Slot::kept(at), &within, Rows::NO_BUCKET, into);
        };
        let mut resets = Vec::with_capacity(count);
        read(COUNTER_RESET, &mut resets);
        let mut columns = Vec::with_capacity((Rows::FIXED + buckets.len()) * count);
        let fixed = [COUNT, SUM, ZERO_COUNT].into_iter();
        let places = fixed.chain(buckets.iter().map(|place| place.at));
        places.for_each(|at| read(at, &mut columns));
        let (below_zero, above_zero) = buckets.split_at(buckets.partition_point(|place| !place.is_positive));
        let indexes = [below_zero, above_zero]
            .map(|places| -> Indexes { places.iter().map(|place| place.index).collect() });
        let resets = resets.into_iter().map(counter_reset_of);
        let of_kind = (self.layout.clone(), self.zero_threshold);
        let all = Arc::new(Rows::new(of_kind, indexes, columns, resets.collect()));
        let rows = within.times.iter().zip(0..);
        into.extend(rows.map(|(&time, row)| (time, HistogramSample::Row(Arc::clone(&all), row))));
    }

    /// *Unit*: bytes as asked of the allocator, without the rows.
    fn bytes(&self) -> usize {
        let bounds = match &self.layout {
            Layout::Custom(bounds) => bounds.len() * 8 + 16,
            Layout::Exponential(_) => 0,
        };
        size_of::<Self>() + 24 + bounds + self.buckets.load().capacity() * size_of::<Place>()
    }
}

fn number(known: CounterReset) -> f64 {
    match known {
        CounterReset::Unknown => 0.0,
        CounterReset::Reset => 1.0,
        CounterReset::NotReset => 2.0,
        CounterReset::Gauge => 3.0,
    }
}

fn counter_reset_of(number: f64) -> CounterReset {
    let all = [CounterReset::Reset, CounterReset::NotReset, CounterReset::Gauge];
    let known = all.into_iter().find(|known| self::number(*known) == number);
    known.unwrap_or(CounterReset::Unknown)
}
