//! The points of answers, by series.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use fleetgauge_core::age::Age;
use fleetgauge_core::result::Answer;
use fleetgauge_core::time::Timestamp;

use super::rows::RowLabels;
use crate::label::LabelSet;
use crate::sample::{STALE_MARKER, Samples, is_histogram};

/// Series, sorted by their labels, each label set once.
#[derive(Clone, Debug)]
pub(super) struct Table {
    pub(super) labels: Arc<[LabelSet]>,
    pub(super) points: Points,
}

/// Those of each series, in the order of the series. *Unit* of times: milliseconds since the Unix epoch.
#[derive(Clone, Debug)]
pub(super) enum Points {
    /// All at one time.
    One {
        at: i64,
        values: Vec<f64>,
        ages: Vec<Age>,
    },
    Many(Vec<Timed>),
}

/// Oldest first, each time once.
#[derive(Clone, Debug, Default)]
pub(super) struct Timed {
    samples: Samples,
    /// Of each time that has one.
    ages: BTreeMap<i64, Age>,
}

// === impl Table ===

impl Table {
    /// The rows of `answer`, asked as of `at`, with these labels, and so old at that time.
    pub(super) fn new(
        answer: &Answer,
        labels: &RowLabels,
        at: Timestamp,
        age: impl Fn(usize, Timestamp) -> Age,
    ) -> Self {
        let points = match answer.one_each() {
            Some(points) => {
                let rows = points.enumerate();
                let (values, ages) = rows
                    .map(|(row, point)| (number(point.value), age(row, point.timestamp)))
                    .unzip();
                Points::One {
                    at: at.as_millis(),
                    values: labels.sorted(values),
                    ages: labels.sorted(ages),
                }
            }
            None => {
                let timed = answer.series().enumerate().map(|(row, series)| {
                    let mut samples = Samples::default();
                    samples.reserve(series.len());
                    let mut ages = BTreeMap::new();
                    for point in series.points() {
                        let time = point.timestamp;
                        samples.push(time.as_millis(), number(point.value));
                        let age = age(row, time);
                        if age != Age::UNKNOWN {
                            ages.insert(time.as_millis(), age.younger_by(at.saturating_since(time)));
                        }
                    }
                    Timed { samples, ages }
                });
                Points::Many(labels.sorted(timed.collect()))
            }
        };
        Self {
            labels: Arc::clone(labels.shared()),
            points,
        }
    }

    /// Says how old at least what stands at `time`, if anything does, was then, by those of that time.
    pub(super) fn date(&mut self, time: Timestamp, of_then: &Self) {
        let time = time.as_millis();
        let Points::Many(rows) = &mut self.points else {
            return;
        };
        for (row, labels) in of_then.labels.iter().enumerate() {
            if let Ok(place) = self.labels.binary_search(labels)
                && rows[place].samples.times().last() == Some(&time)
            {
                let age = of_then.points.age(row, time);
                rows[place].ages.insert(time, age.or_more());
            }
        }
    }

    /// Adds those of `later`, whose points count where both have one of the same time.
    pub(super) fn merge(&mut self, later: Self) {
        if self.labels.is_empty() {
            *self = later;
            return;
        }
        let (old, new) = (&self.labels, &later.labels);
        let mut labels = Vec::with_capacity(old.len() + new.len());
        let mut points = Vec::with_capacity(old.len() + new.len());
        let (mut i, mut j) = (0, 0);
        while i < old.len() || j < new.len() {
            let order = match (old.get(i), new.get(j)) {
                (Some(old), Some(new)) => old.cmp(new),
                (Some(_), None) => Ordering::Less,
                (None, _) => Ordering::Greater,
            };
            labels.push(if order.is_le() {
                old[i].clone()
            } else {
                new[j].clone()
            });
            points.push(match order {
                Ordering::Less => self.points.timed(i),
                Ordering::Greater => later.points.timed(j),
                Ordering::Equal => self.points.merged(i, &later.points, j),
            });
            i += usize::from(order.is_le());
            j += usize::from(order.is_ge());
        }
        *self = Self {
            labels: labels.into(),
            points: Points::Many(points),
        };
    }
}

impl Default for Table {
    fn default() -> Self {
        Self {
            labels: Arc::default(),
            points: Points::Many(Vec::new()),
        }
    }
}

// === impl Points ===

impl Points {
    pub(super) fn as_slices(&self, row: usize) -> (&[i64], &[f64]) {
        match self {
            Self::One { at, values, .. } => (std::slice::from_ref(at), std::slice::from_ref(&values[row])),
            Self::Many(rows) => (rows[row].samples.times(), rows[row].samples.values()),
        }
    }

    /// How old what stands at `time` was then.
    pub(super) fn age(&self, row: usize, time: i64) -> Age {
        match self {
            Self::One { at, ages, .. } if *at == time => ages[row],
            Self::One { .. } => Age::UNKNOWN,
            Self::Many(rows) => rows[row].ages.get(&time).copied().unwrap_or(Age::UNKNOWN),
        }
    }

    fn timed(&self, row: usize) -> Timed {
        match self {
            Self::One { at, values, ages } => {
                let mut samples = Samples::default();
                samples.push(*at, values[row]);
                let ages = [(*at, ages[row])].into();
                Timed { samples, ages }
            }
            Self::Many(rows) => rows[row].clone(),
        }
    }

    /// Those of `row` and of `other` in `later`, which count where both have one of the same time.
    fn merged(&self, row: usize, later: &Self, other: usize) -> Timed {
        let ((old_times, old), (new_times, new)) = (self.as_slices(row), later.as_slices(other));
        let mut samples = Samples::default();
        samples.reserve(old.len() + new.len());
        let (mut i, mut j) = (0, 0);
        while i < old.len() || j < new.len() {
            let is_old = j == new.len() || i < old.len() && old_times[i] < new_times[j];
            if is_old {
                samples.push(old_times[i], old[i]);
                i += 1;
                continue;
            }
            if i < old.len() && old_times[i] == new_times[j] {
                i += 1;
            }
            samples.push(new_times[j], new[j]);
            j += 1;
        }
        let mut ages = self.timed(row).ages;
        for &time in new_times {
            ages.insert(time, later.age(other, time));
        }
        Timed { samples, ages }
    }
}

/// The value as it is read: a NaN is one, and never the marker that a series has ended, or of a histogram.
fn number(value: f64) -> f64 {
    match value.to_bits() {
        STALE_MARKER => f64::NAN,
        _ if is_histogram(value) => f64::NAN,
        _ => value,
    }
}
