//! Since when counters count: what start timestamps say of resets.
//!
//! *Source*: <https://prometheus.io/docs/prometheus/latest/feature_flags/#use-start-timestamps-in-promql>.

use super::range::RangeInput;

/// A sample of a counter.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Point {
    /// *Unit*: milliseconds, as all times here.
    pub(crate) time: i64,
    pub(crate) value: f64,
    /// Since when it has counted; 0 where nobody knows.
    pub(crate) start: i64,
}

// === impl Point ===

impl Point {
    /// Where a counter began.
    pub(super) fn zero(time: i64) -> Self {
        Self {
            time,
            value: 0.0,
            start: 0,
        }
    }
}

// === impl RangeInput ===

impl RangeInput<'_> {
    pub(super) fn point(&self, i: usize) -> Point {
        Point {
            time: self.times[i],
            value: self.values[i],
            start: self.starts.get(i).copied().unwrap_or(0),
        }
    }

    /// Whether the sample at `i` counts anew, as its start says, and not from where its predecessor did.
    pub(super) fn begins_anew(&self, i: usize) -> bool {
        !self.starts.is_empty() && is_reset(self.point(i - 1), self.point(i))
    }

    /// When the counter began, if the first sample says that it was in the range.
    pub(super) fn beginning(&self) -> Option<i64> {
        let (start, first) = (*self.starts.first()?, *self.times.first()?);
        (start != 0 && start > self.start && start < first).then_some(start)
    }

    /// Whether any of the samples claims to count what the one before it has counted.
    pub(crate) fn has_overlaps(&self) -> bool {
        let mut behind = 1..self.times.len().min(self.starts.len());
        behind.any(|i| overlaps(self.point(i - 1), self.point(i)))
    }
}

/// Whether `next` counts from a later time on than `before`, its predecessor, which is a reset though its value may be no
/// lower.
pub(super) fn is_reset(before: Point, next: Point) -> bool {
    // One that is as late as its sample is OpenTelemetry's for one that is not known, and a later one is wrong.
    let is_known = next.start != 0 && next.start < next.time;
    if !is_known || next.start == before.start || next.start < before.time {
        return false;
    }
    if next.start > before.time {
        return true;
    }
    // It began with its predecessor: so does a sample of a difference; and a counter of which the beginning is not known,
    // whose first sample says so.
    before.start < before.time && before.start != 0
}

/// Whether a counter began between `time` and its sample.
pub(super) fn is_reset_after(time: i64, point: Point) -> bool {
    let unknown = Point {
        time,
        value: 0.0,
        start: time,
    };
    point.start > time && point.time > time && is_reset(unknown, point)
}

/// Whether `next` claims to count what `before` has counted, though it began at another time.
fn overlaps(before: Point, next: Point) -> bool {
    next.start != 0 && next.start < before.time && next.start != before.start
}
