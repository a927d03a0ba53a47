//! Samples kept as they come: for scripts, files and tests, where a [`window`](crate::window) would drop
//! what is old.
//!
//! Nothing is compressed, bounded or evicted here: whoever fills a store knows how much that is.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use fleetgauge_core::time::Timestamp;

use crate::histogram::{CounterReset, FloatHistogram};
use crate::label::LabelSet;
use crate::matcher::Matcher;
use crate::queryable::{Queryable, Selection};
use crate::sample::{STALE_MARKER, Sample, SampleValue, Samples};

/// Series in memory, of any age and as many as fit.
///
/// ```
/// use fleetgauge_core::time::Timestamp;
/// use fleetgauge_promql::engine::{Engine, EngineConfig};
/// use fleetgauge_promql::label::LabelSet;
/// use fleetgauge_promql::store::MemoryStore;
/// use fleetgauge_promql::sample::Sample;
///
/// let mut store = MemoryStore::new();
/// let at = Timestamp::from_millis(60_000);
/// let up = LabelSet::from_pairs([("__name__", "up")]);
/// store.append(&up, Sample { timestamp: at, value: 1.0 })?;
/// // Two values at one time have no answer.
/// assert!(store.append(&up, Sample { timestamp: at, value: 0.0 }).is_err());
/// let answer = Engine::new(EngineConfig::default()).instant(&store, "up", at);
/// # Ok::<(), fleetgauge_promql::store::ConflictError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    series: BTreeMap<LabelSet, MemorySeries>,
}

/// A series has another value at the same time already.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{labels} has two values at {}: {known} and {new}", at.as_secs_f64())]
#[non_exhaustive]
pub struct ConflictError {
    /// The series.
    pub labels: LabelSet,
    /// The time.
    pub at: Timestamp,
    /// The value that it has, and keeps.
    pub known: SampleValue,
    /// The one that it should have got.
    pub new: SampleValue,
}

/// Oldest first, each time once.
#[derive(Clone, Debug, Default)]
struct MemorySeries(Samples);

// === impl MemoryStore ===

impl MemoryStore {
    /// Without series.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a sample, in any order of time. The same sample twice is one.
    ///
    /// *Errors*: [`ConflictError`] if the series has another value at that time.
    pub fn append(&mut self, labels: &LabelSet, sample: Sample) -> Result<(), ConflictError> {
        let series = self.series.entry(labels.clone()).or_default();
        series.append(labels, sample.timestamp, SampleValue::Float(sample.value))
    }

    /// Adds a histogram, as [`append`](Self::append) adds a number. It is kept with what the samples around it say of
    /// its counter resets.
    ///
    /// *Errors*: [`ConflictError`] if the series has another value at that time.
    pub fn append_histogram(
        &mut self,
        labels: &LabelSet,
        at: Timestamp,
        histogram: Arc<FloatHistogram>,
    ) -> Result<(), ConflictError> {
        let series = self.series.entry(labels.clone()).or_default();
        series.append(labels, at, SampleValue::Histogram(histogram))
    }

    /// Says since when the sample that the series has at `at` was counted. Queries look at it with
    /// [`start_timestamps`](crate::engine::Features::start_timestamps) alone.
    pub fn set_start(&mut self, labels: &LabelSet, at: Timestamp, start: Timestamp) {
        let Some(series) = self.series.get_mut(labels) else {
            return;
        };
        if let Ok(place) = series.0.times().binary_search(&at.as_millis()) {
            series.0.set_start(place, start.as_millis());
        }
    }

    /// How many series there are.
    pub fn len(&self) -> usize {
        self.series.len()
    }

    /// Whether there is no series.
    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// The times of the oldest and the newest sample; none if there is no sample.
    pub fn extent(&self) -> Option<(Timestamp, Timestamp)> {
        let first = self.series.values().filter_map(|series| series.0.times().first());
        let last = self.series.values().filter_map(|series| series.0.times().last());
        let (first, last) = (*first.min()?, *last.max()?);
        Some((Timestamp::from_millis(first), Timestamp::from_millis(last)))
    }

    /// Drops everything.
    pub fn clear(&mut self) {
        self.series.clear();
    }
}

impl Queryable for MemoryStore {
    fn select(&self, matchers: &[Matcher], from: Timestamp, to: Timestamp) -> Box<dyn Selection + '_> {
        let fits = |(labels, series): &(&LabelSet, &MemorySeries)| {
            matchers.iter().all(|matcher| matcher.matches(labels)) && !series.range(from, to).is_empty()
        };
        Box::new(self.series.iter().filter(fits).collect::<Vec<_>>())
    }
}

impl Selection for Vec<(&LabelSet, &MemorySeries)> {
    fn len(&self) -> usize {
        Vec::len(self)
    }

    fn labels(&self, index: usize) -> LabelSet {
        self[index].0.clone()
    }

    fn read(&self, index: usize, from: Timestamp, to: Timestamp, into: &mut Samples) {
        let (_, series) = self[index];
        into.extend_from(&series.0, series.range(from, to));
    }

    fn newest(
        &self,
        indices: Range<usize>,
        at: Timestamp,
        lookback: Duration,
        into: &mut Vec<Option<Sample>>,
    ) {
        into.extend(self[indices].iter().map(|(_, series)| series.at(at, lookback)));
    }
}

// === impl MemorySeries ===

impl MemorySeries {
    fn append(&mut self, labels: &LabelSet, at: Timestamp, value: SampleValue) -> Result<(), ConflictError> {
        let (place, is_new) = self.0.insert(at.as_millis(), value.clone());
        if is_new {
            self.hint(place, true);
            // What was behind the one before is behind this one now.
            self.hint(place + 1, false);
            return Ok(());
        }
        match self.0.value(place) {
            known if known == value => Ok(()),
            known => Err(ConflictError {
                labels: labels.clone(),
                at,
                known,
                new: value,
            }),
        }
    }

    /// Says of the histogram at `place`, if one is there, whether its counts started anew. *`told`*: whether what it
    /// says so far is its own word, and does not come from another one that was before it.
    fn hint(&mut self, place: usize, told: bool) {
        if place >= self.0.len() {
            return;
        }
        let Some(own) = self.0.histogram(place) else {
            return;
        };
        let before = place.checked_sub(1).and_then(|before| self.0.histogram(before));
        let mut bare = FloatHistogram::clone(own);
        if !told && own.counter_reset() != CounterReset::Gauge {
            bare = bare.with_counter_reset(CounterReset::Unknown);
        }
        let known = bare.counter_reset_after(before.map(|before| &**before));
        if known != own.counter_reset() {
            self.0
                .set_histogram(place, Arc::new(bare.with_counter_reset(known)));
        }
    }

    fn range(&self, from: Timestamp, to: Timestamp) -> Range<usize> {
        let times = self.0.times();
        let start = times.partition_point(|time| *time < from.as_millis());
        let end = times.partition_point(|time| *time <= to.as_millis());
        start..end.max(start)
    }

    fn at(&self, at: Timestamp, lookback: Duration) -> Option<Sample> {
        let times = self.0.times();
        let newest = times
            .partition_point(|time| *time <= at.as_millis())
            .checked_sub(1)?;
        let sample = Sample {
            timestamp: Timestamp::from_millis(times[newest]),
            value: self.0.values()[newest],
        };
        let is_young = at.saturating_since(sample.timestamp) < lookback;
        (is_young && sample.value.to_bits() != STALE_MARKER).then_some(sample)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at: i64, value: f64) -> Sample {
        Sample {
            timestamp: Timestamp::from_millis(at),
            value,
        }
    }

    #[test]
    fn samples_come_in_any_order_and_are_read_in_that_of_time() {
        let mut store = MemoryStore::new();
        let labels = LabelSet::from_pairs([("__name__", "a")]);
        for at in [30, 10, 20, 10] {
            store.append(&labels, sample(at, at as f64)).expect("no conflict");
        }
        let error = store.append(&labels, sample(20, 1.0)).expect_err("another value");
        assert_eq!(error.to_string(), "a has two values at 0.02: 20 and 1");
        let read = |from, to| {
            let (from, to) = (Timestamp::from_millis(from), Timestamp::from_millis(to));
            let selected = store.select(&[], from, to);
            let mut samples = Samples::default();
            (0..selected.len()).for_each(|i| selected.read(i, from, to, &mut samples));
            samples.times().to_vec()
        };
        assert_eq!(read(10, 20), [10, 20]);
        assert_eq!(read(11, 19), [] as [i64; 0]);
        assert_eq!(read(30, 10), [] as [i64; 0]);
    }

    #[test]
    fn resets_of_histograms_are_those_of_what_is_before() {
        let mut store = MemoryStore::new();
        let labels = LabelSet::empty();
        let mut append = |at, count| {
            let empty = FloatHistogram::exponential(0).expect("a schema");
            let histogram = Arc::new(empty.with_count(count));
            store.append_histogram(&labels, Timestamp::from_millis(at), histogram)
        };
        for (at, count) in [(10, 10.0), (20, 20.0), (30, 5.0), (25, 2.0)] {
            append(at, count).expect("no conflict");
        }
        let error = append(20, 21.0).expect_err("another value").to_string();
        assert_eq!(
            error,
            "{} has two values at 0.02: {count:20, sum:0} and {count:21, sum:0}"
        );
        let (from, to) = (Timestamp::from_millis(0), Timestamp::from_millis(90));
        let selected = store.select(&[], from, to);
        let mut samples = Samples::default();
        selected.read(0, from, to, &mut samples);
        let hints = (0..4).map(|place| samples.histogram(place).map(|one| one.counter_reset()));
        use CounterReset::{NotReset, Unknown};
        assert!(hints.eq([Unknown, NotReset, Unknown, NotReset].map(Some)));
    }

    #[test]
    fn a_sample_is_seen_until_the_lookback_or_a_marker_ends_it() {
        let mut store = MemoryStore::new();
        let labels = LabelSet::empty();
        store.append(&labels, sample(10, 1.0)).expect("no conflict");
        store
            .append(&labels, sample(40, f64::from_bits(STALE_MARKER)))
            .expect("no conflict");
        let selected = store.select(&[], Timestamp::from_millis(0), Timestamp::from_millis(100));
        let at = |at| {
            let mut newest = Vec::new();
            selected.newest(
                0..1,
                Timestamp::from_millis(at),
                Duration::from_millis(20),
                &mut newest,
            );
            newest[0]
        };
        assert_eq!(at(9), None);
        assert_eq!(at(10).map(|sample| sample.value), Some(1.0));
        assert!(at(29).is_some());
        // The interval is open to the left.
        assert_eq!(at(30), None);
        assert_eq!(at(41), None);
    }
}
