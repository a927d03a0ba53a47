//! Since when counters count: what start timestamps say of resets.
//!
//! *Source*: <https://prometheus.io/docs/prometheus/latest/feature_flags/#use-start-timestamps-in-promql>.

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
