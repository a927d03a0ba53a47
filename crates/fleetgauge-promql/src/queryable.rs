//! Where an evaluation reads its samples: a [`Window`], or anything else that holds series.

use std::ops::Range;
use std::time::Duration;

use fleetgauge_core::time::Timestamp;

use crate::label::LabelSet;
use crate::missing::{Missing, Read};
use crate::window::{Matcher, STALE_MARKER, Sample, Selected, Window};

/// Holds series that PromQL can be evaluated over.
pub trait Queryable: Send + Sync {
    /// The series that fit all `matchers` and have samples from `from` to `to`, both included.
    ///
    /// *Shape*: sorted by labels, each label set once, so that what is computed over them does not depend on
    /// how they are stored. A series without samples there may be among them.
    fn select(&self, matchers: &[Matcher], from: Timestamp, to: Timestamp) -> Box<dyn Selection + '_>;

    /// Adds why samples may be missing from what is read: they were refused, could not be read, or were
    /// dropped. Holders that know of nothing add nothing.
    fn missing(&self, _read: Read<'_>, _into: &mut Missing) {}
}

/// The series that [`Queryable::select`] found.
pub trait Selection {
    /// How many there are.
    fn len(&self) -> usize;

    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What identifies the series at `index`.
    fn labels(&self, index: usize) -> LabelSet;

    /// Appends the samples of the series at `index` from `from` to `to`, both included.
    ///
    /// *Shape*: oldest first, staleness markers included.
    fn read(&self, index: usize, from: Timestamp, to: Timestamp, into: &mut Samples);

    /// Appends for each series of `indices` its newest sample at `at` that is younger than `lookback`; none if
    /// the series went stale before.
    fn newest(
        &self,
        indices: Range<usize>,
        at: Timestamp,
        lookback: Duration,
        into: &mut Vec<Option<Sample>>,
    );

    /// Whether series came or went since they were selected, or were just coming or going: what was read of them
    /// may lack some, and have both the old and the new ones of a target.
    fn has_changed(&self) -> bool {
        false
    }
}

/// Samples of one series, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    times: Vec<i64>,
    values: Vec<f64>,
}

// === impl Samples ===

impl Samples {
    /// Adds a sample; `time` is in milliseconds since the Unix epoch, and later than those before it.
    #[inline]
    pub fn push(&mut self, time: i64, value: f64) {
        self.times.push(time);
        self.values.push(value);
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

    /// Their values, as many as times.
    pub fn values(&self) -> &[f64] {
        &self.values
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
    }

    /// For how many samples there is room without asking for memory.
    pub(crate) fn capacity(&self) -> usize {
        self.times.capacity()
    }

    /// Drops the staleness markers.
    pub(crate) fn drop_stale(&mut self) {
        let is_stale = |value: &f64| value.to_bits() == STALE_MARKER;
        // Mostly there is none.
        if !self.values.iter().any(is_stale) {
            return;
        }
        let mut values = self.values.iter();
        self.times
            .retain(|_| values.next().is_some_and(|value| !is_stale(value)));
        self.values.retain(|value| !is_stale(value));
    }
}

// === impl Window ===

impl Queryable for Window {
    fn select(&self, matchers: &[Matcher], from: Timestamp, to: Timestamp) -> Box<dyn Selection + '_> {
        Box::new(Window::select(self, matchers, from, to))
    }

    fn missing(&self, read: Read<'_>, into: &mut Missing) {
        Window::missing(self, read, into);
    }
}

impl Selection for Selected {
    fn len(&self) -> usize {
        <[_]>::len(self)
    }

    fn labels(&self, index: usize) -> LabelSet {
        self[index].labels().clone()
    }

    fn read(&self, index: usize, from: Timestamp, to: Timestamp, into: &mut Samples) {
        self[index].read(from, to, into);
    }

    fn newest(
        &self,
        indices: Range<usize>,
        at: Timestamp,
        lookback: Duration,
        into: &mut Vec<Option<Sample>>,
    ) {
        into.extend(self[indices].iter().map(|series| series.at(at, lookback)));
    }

    fn has_changed(&self) -> bool {
        Selected::has_changed(self)
    }
}
