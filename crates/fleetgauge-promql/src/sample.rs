//! The points of a series.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use fleetgauge_core::sample::Number;
use fleetgauge_core::time::Timestamp;

use crate::histogram::{FloatHistogram, HistogramSample};

/// The bits of the value that says "this series went away", a NaN that no exposition can contain.
///
/// Source: <https://pkg.go.dev/github.com/prometheus/prometheus/model/value#pkg-constants>.
pub const STALE_MARKER: u64 = 0x7ff0_0000_0000_0002;

/// Stands among numbers where a sample is a histogram, which then stands in a column beside them. A NaN that no
/// computation gives and no text says; what is computed with it is another one.
pub(crate) const HISTOGRAM: f64 = f64::from_bits(0x7ff0_0000_0000_0004);

/// One point of a series.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// When it was taken.
    pub timestamp: Timestamp,
    /// The number, bit for bit as it was appended; a NaN where it [is a histogram](Self::is_histogram).
    pub value: f64,
}

/// What a sample says.
#[derive(Clone, Debug)]
pub enum SampleValue {
    /// A number.
    Float(f64),
    /// A distribution.
    Histogram(Arc<FloatHistogram>),
}

/// Samples of one series, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    times: Vec<i64>,
    values: Vec<f64>,
    histograms: Histograms<HistogramSample>,
    /// Since when each was counted, 0 where that is not known. Nothing at all is kept where it is known of none, and
    /// nothing behind the last of which it is.
    starts: Vec<i64>,
}

/// The histograms among numbers, by their place. Nothing at all is kept where there is none, and nothing behind the
/// last of them; which of them count is said by [`HISTOGRAM`] among the numbers.
#[derive(Clone, Debug)]
pub(crate) struct Histograms<H = Arc<FloatHistogram>>(Vec<Option<H>>);

// === impl Sample ===

impl Sample {
    pub(crate) fn new((millis, bits): (i64, u64)) -> Self {
        Self {
            timestamp: Timestamp::from_millis(millis),
            value: f64::from_bits(bits),
        }
    }

    /// Its time in milliseconds, and its bits.
    pub(crate) fn pair(self) -> (i64, u64) {
        (self.timestamp.as_millis(), self.value.to_bits())
    }

    /// Whether it says that the series went away. Every other NaN is a value.
    pub fn is_stale(&self) -> bool {
        self.value.to_bits() == STALE_MARKER
    }

    /// Whether it is a histogram, which whoever has the series tells by its time.
    pub fn is_histogram(&self) -> bool {
        is_histogram(self.value)
    }

    /// That a series has a histogram at this time.
    pub fn of_histogram(timestamp: Timestamp) -> Self {
        Self {
            timestamp,
            value: HISTOGRAM,
        }
    }
}

/// Whether a number stands for a histogram.
#[inline]
pub(crate) fn is_histogram(value: f64) -> bool {
    value.to_bits() == HISTOGRAM.to_bits()
}

/// By the bits of the value: a NaN is equal to itself, and 0 is not −0.
impl PartialEq for Sample {
    fn eq(&self, other: &Self) -> bool {
        (self.timestamp, self.value.to_bits()) == (other.timestamp, other.value.to_bits())
    }
}

impl Eq for Sample {}

// === impl SampleValue ===

/// By bits, as samples are.
impl PartialEq for SampleValue {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Float(own), Self::Float(other)) => own.to_bits() == other.to_bits(),
            (Self::Histogram(own), Self::Histogram(other)) => own == other,
            _ => false,
        }
    }
}

impl From<f64> for SampleValue {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl fmt::Display for SampleValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Float(value) => Number(*value).fmt(f),
            Self::Histogram(histogram) => histogram.fmt(f),
        }
    }
}

// === impl Histograms ===

impl<H> Default for Histograms<H> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<H> Histograms<H> {
    /// Whether there can be any.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn get(&self, place: usize) -> Option<&H> {
        self.0.get(place)?.as_ref()
    }

    pub(crate) fn set(&mut self, place: usize, histogram: H) {
        if self.0.len() <= place {
            self.0.resize_with(place + 1, || None);
        }
        self.0[place] = Some(histogram);
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    pub(crate) fn truncate(&mut self, count: usize) {
        self.0.truncate(count);
    }

    /// Moves those of `from` to where they begin at `to`, which is before.
    pub(crate) fn move_back(&mut self, from: Range<usize>, to: usize) {
        for (from, to) in from.zip(to..) {
            if from < self.0.len() {
                self.0[to] = self.0[from].take();
            } else if to < self.0.len() {
                self.0[to] = None;
            }
        }
    }

    /// Moves those from `place` on one further.
    fn make_place(&mut self, place: usize) {
        if place < self.0.len() {
            self.0.insert(place, None);
        }
    }
}

// === impl Samples ===

impl Samples {
    /// Adds a sample; `time` is in milliseconds since the Unix epoch, and later than those before it.
    #[inline]
    pub fn push(&mut self, time: i64, value: f64) {
        self.times.push(time);
        self.values.push(value);
    }

    /// Adds a sample that is a histogram, as [`push`](Self::push) adds a number.
    pub fn push_histogram(&mut self, time: i64, histogram: Arc<FloatHistogram>) {
        self.push_histogram_sample(time, HistogramSample::Made(histogram));
    }

    /// As [`push_histogram`](Self::push_histogram), one that may not be made yet.
    pub(crate) fn push_histogram_sample(&mut self, time: i64, histogram: HistogramSample) {
        self.histograms.set(self.times.len(), histogram);
        self.push(time, HISTOGRAM);
    }

    /// Adds samples of another list.
    pub fn extend_from(&mut self, other: &Self, range: Range<usize>) {
        let first = self.times.len();
        self.times.extend_from_slice(&other.times[range.clone()]);
        self.values.extend_from_slice(&other.values[range.clone()]);
        if other.has_histograms() {
            for (place, from) in (first..).zip(range.clone()) {
                if let Some(histogram) = other.histogram_sample(from) {
                    self.histograms.set(place, histogram.clone());
                }
            }
        }
        for (place, from) in (first..).zip(range).take_while(|_| !other.starts.is_empty()) {
            if other.start(from) != 0 {
                self.set_start(place, other.start(from));
            }
        }
    }

    /// Says since when the sample at `index` was counted. *Unit*: milliseconds since the Unix epoch.
    pub fn set_start(&mut self, index: usize, start: i64) {
        if self.starts.len() <= index {
            self.starts.resize(index + 1, 0);
        }
        self.starts[index] = start;
    }

    /// Since when the sample at `index` was counted; 0 where that is not known.
    pub fn start(&self, index: usize) -> i64 {
        self.starts.get(index).copied().unwrap_or(0)
    }

    /// Since when those of `range` were counted, as far as it is known of one behind.
    pub(crate) fn starts(&self, range: Range<usize>) -> &[i64] {
        let end = range.end.min(self.starts.len());
        self.starts.get(range.start..end).unwrap_or_default()
    }

    /// Adds a sample where it belongs. Its place and `false` if there is one at that time already.
    pub(crate) fn insert(&mut self, time: i64, value: SampleValue) -> (usize, bool) {
        // Mostly they come in order.
        let place = match self.times.last() {
            Some(last) if *last >= time => self.times.partition_point(|known| *known < time),
            _ => self.times.len(),
        };
        if self.times.get(place) == Some(&time) {
            return (place, false);
        }
        self.times.insert(place, time);
        self.histograms.make_place(place);
        if place < self.starts.len() {
            self.starts.insert(place, 0);
        }
        match value {
            SampleValue::Float(value) if is_histogram(value) => self.values.insert(place, f64::NAN),
            SampleValue::Float(value) => self.values.insert(place, value),
            SampleValue::Histogram(histogram) => {
                self.values.insert(place, HISTOGRAM);
                self.histograms.set(place, HistogramSample::Made(histogram));
            }
        }
        (place, true)
    }

    /// Replaces the histogram at `place`.
    pub(crate) fn set_histogram(&mut self, place: usize, histogram: Arc<FloatHistogram>) {
        self.values[place] = HISTOGRAM;
        self.histograms.set(place, HistogramSample::Made(histogram));
    }

    /// Makes room for so many more.
    pub fn reserve(&mut self, count: usize) {
        self.times.reserve(count);
        self.values.reserve(count);
    }

    /// When they were taken.
    ///
    /// *Unit*: milliseconds since the Unix epoch.
    pub fn times(&self) -> &[i64] {
        &self.times
    }

    /// Their values, as many as times. A NaN stands for a [`histogram`](Self::histogram): whoever reads the numbers
    /// alone asks whether there is [any](Self::has_histograms).
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// Whether any of them may be a histogram.
    #[inline]
    pub fn has_histograms(&self) -> bool {
        !self.histograms.is_empty()
    }

    /// The histogram that the sample at `index` is; none if it is a number.
    pub fn histogram(&self, index: usize) -> Option<&Arc<FloatHistogram>> {
        self.histogram_sample(index).map(HistogramSample::get)
    }

    /// As [`histogram`](Self::histogram), without making it.
    pub(crate) fn histogram_sample(&self, index: usize) -> Option<&HistogramSample> {
        match is_histogram(self.values[index]) {
            true => self.histograms.get(index),
            false => None,
        }
    }

    /// What the sample at `index` says.
    pub fn value(&self, index: usize) -> SampleValue {
        match self.histogram(index) {
            Some(histogram) => SampleValue::Histogram(Arc::clone(histogram)),
            None => SampleValue::Float(self.values[index]),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// Takes all of them away; the room for them stays.
    pub fn clear(&mut self) {
        self.times.clear();
        self.values.clear();
        self.histograms.clear();
        self.starts.clear();
    }

    /// Drops all but the last `count`.
    pub(crate) fn keep_last(&mut self, count: usize) {
        let dropped = self.len().saturating_sub(count);
        self.times.drain(..dropped);
        self.values.drain(..dropped);
        self.starts.drain(..dropped.min(self.starts.len()));
        if self.has_histograms() {
            let kept = self.values.len();
            self.histograms.move_back(dropped..dropped + kept, 0);
            self.histograms.truncate(kept);
        }
    }

    /// Drops the staleness markers.
    pub(crate) fn drop_stale(&mut self) {
        let is_stale = |value: &f64| value.to_bits() == STALE_MARKER;
        // Mostly there is none.
        if !self.values.iter().any(is_stale) {
            return;
        }
        if self.has_histograms() {
            let kept = (0..self.len()).filter(|&place| !is_stale(&self.values[place]));
            for (to, from) in kept.enumerate() {
                self.histograms.move_back(from..from + 1, to);
            }
        }
        let mut values = self.values.iter();
        self.starts
            .retain(|_| values.next().is_some_and(|value| !is_stale(value)));
        let mut values = self.values.iter();
        self.times
            .retain(|_| values.next().is_some_and(|value| !is_stale(value)));
        self.values.retain(|value| !is_stale(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(count: f64) -> Arc<FloatHistogram> {
        let empty = FloatHistogram::exponential(0).expect("a schema");
        Arc::new(empty.with_count(count))
    }

    /// 1, then a histogram of 2, a marker, 3, a histogram of 4.
    fn mixed() -> Samples {
        let mut samples = Samples::default();
        samples.push(10, 1.0);
        samples.push_histogram(20, histogram(2.0));
        samples.push(30, f64::from_bits(STALE_MARKER));
        samples.push(40, 3.0);
        samples.push_histogram(50, histogram(4.0));
        samples
    }

    fn texts(samples: &Samples) -> Vec<String> {
        let text = |place| format!("{}: {}", samples.times()[place], samples.value(place));
        (0..samples.len()).map(text).collect()
    }

    #[test]
    fn a_histogram_moves_with_its_sample() {
        let (two, four) = ("20: {count:2, sum:0}", "50: {count:4, sum:0}");
        let mut samples = mixed();
        samples.drop_stale();
        assert_eq!(texts(&samples), ["10: 1", two, "40: 3", four]);
        samples.keep_last(3);
        assert_eq!(texts(&samples), [two, "40: 3", four]);
        samples.keep_last(2);
        assert_eq!(texts(&samples), ["40: 3", four]);
        samples.extend_from(&mixed(), 0..2);
        assert_eq!(texts(&samples), ["40: 3", four, "10: 1", two]);
        samples.clear();
        assert!(!samples.has_histograms());
        samples.push(1, 5.0);
        assert_eq!(texts(&samples), ["1: 5"]);
        samples.insert(0, SampleValue::Histogram(histogram(2.0)));
        samples.insert(2, SampleValue::Histogram(histogram(4.0)));
        assert!(!samples.insert(1, SampleValue::Float(0.0)).1);
        assert_eq!(
            texts(&samples),
            ["0: {count:2, sum:0}", "1: 5", "2: {count:4, sum:0}"]
        );
    }

    #[test]
    fn since_when_a_sample_is_counted_moves_with_it() {
        let mut samples = mixed();
        samples.set_start(0, 5);
        samples.set_start(3, 35);
        let starts = |samples: &Samples| -> Vec<_> { (0..samples.len()).map(|i| samples.start(i)).collect() };
        assert_eq!(starts(&samples), [5, 0, 0, 35, 0]);
        samples.drop_stale();
        assert_eq!(starts(&samples), [5, 0, 35, 0]);
        samples.insert(15, SampleValue::Float(0.0));
        assert_eq!(starts(&samples), [5, 0, 0, 35, 0]);
        assert_eq!(
            (samples.starts(2..5), samples.starts(4..5)),
            (&[0, 35][..], &[][..])
        );
        let mut others = Samples::default();
        others.push(1, 1.0);
        others.extend_from(&samples, 3..5);
        assert_eq!(starts(&others), [0, 35, 0]);
        samples.keep_last(3);
        assert_eq!(starts(&samples), [0, 35, 0]);
        samples.clear();
        samples.push(1, 1.0);
        assert_eq!(starts(&samples), [0]);
    }

    #[test]
    fn what_stands_for_a_histogram_is_no_result_of_a_computation() {
        assert!(HISTOGRAM.is_nan() && is_histogram(HISTOGRAM));
        for value in [
            HISTOGRAM + 1.0,
            -HISTOGRAM,
            HISTOGRAM * 0.0,
            HISTOGRAM.sqrt(),
            f64::NAN,
        ] {
            assert!(!is_histogram(value), "{:x}", value.to_bits());
        }
    }
}
