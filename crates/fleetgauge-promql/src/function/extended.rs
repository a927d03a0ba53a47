//! Ranges that are `anchored` or `smoothed`: what a series shows at their borders follows from samples beyond them, and
//! nothing is extrapolated.
//!
//! *Source*: <https://prometheus.io/docs/prometheus/latest/querying/basics/#anchored-and-smoothed>. The operations and
//! their order are Prometheus's, so that results agree to the last bit.

use fleetgauge_syntax::tree::Extended;

use super::range::RangeInput;
use super::start::{Point, is_reset, is_reset_after};

/// What a series has at a border: its value, and when that began to be counted; 0 where nobody knows.
type Edge = (f64, i64);

// === impl RangeInput ===

impl RangeInput<'_> {
    /// The change from border to border; of a counter as if it had never been reset.
    pub(super) fn extended_change(&self, is_counter: bool) -> Option<f64> {
        let (mut first, mut last) = self.around()?;
        let begins_after = self.is_smoothed() && self.times[first] > self.end;
        if begins_after {
            let point = self.point(first);
            let began = is_counter && is_reset_after(self.lookback_start, point);
            if !began || is_reset_after(self.end, point) {
                return None;
            }
        }
        let (left, left_start) = self.left(first, is_counter);
        let (right, right_start) = self.right(last, is_counter);
        let mut change = right - left;
        if is_counter {
            // What was reset at the borders is in their values already.
            if self.times[first] <= self.start {
                first += 1;
            }
            let end = if self.times[last] >= self.end {
                last
            } else {
                last + 1
            };
            last = end.max(first);
            let mut before = Point {
                time: self.start,
                value: left,
                start: left_start,
            };
            let at_end = Point {
                time: self.end,
                value: right,
                start: right_start,
            };
            let within = (first..last).map(|i| self.point(i));
            let mut lost = 0.0;
            for point in within.chain([at_end]) {
                if point.value < before.value || is_reset(before, point) {
                    lost += before.value;
                }
                before = point;
            }
            change += lost;
        }
        Some(change)
    }

    /// Of an anchored range, the samples from the newest one at its left border or before. `None` if there are none in the
    /// range.
    pub(super) fn since_anchor(&self) -> Option<Self> {
        if self.extended != Extended::Anchored {
            return Some(*self);
        }
        let after = self.times.partition_point(|&time| time <= self.start);
        if after == self.times.len() {
            return None;
        }
        let first = after.saturating_sub(1);
        Some(Self {
            times: &self.times[first..],
            values: &self.values[first..],
            starts: self.starts.get(first..).unwrap_or_default(),
            ..*self
        })
    }

    /// The samples that an answer has of the range itself: those within, and one at either border.
    pub(crate) fn bordered(&self) -> Option<Vec<(i64, f64)>> {
        let (mut first, mut last) = self.around()?;
        let (left, _) = self.left(first, false);
        let (right, _) = self.right(last, false);
        first += usize::from(self.times[first] <= self.start);
        last += usize::from(self.times[last] < self.end);
        let within = (first..last.max(first)).map(|i| (self.times[i], self.values[i]));
        let all = [(self.start, left)].into_iter().chain(within);
        Some(all.chain([(self.end, right)]).collect())
    }

    pub(super) fn is_smoothed(&self) -> bool {
        self.extended == Extended::Smoothed
    }

    /// The places of the samples at the borders: the newest one at the left border or before, and the last one, or where
    /// it is smoothed the oldest at the right border or behind. `None` if the series ends before the range.
    pub(super) fn around(&self) -> Option<(usize, usize)> {
        let mut last = self.times.len().checked_sub(1)?;
        let after = self.times[..last].partition_point(|&time| time <= self.start);
        let first = after.saturating_sub(1);
        if self.is_smoothed() {
            last = self.times[..last].partition_point(|&time| time < self.end);
        }
        (self.times[last] > self.start).then_some((first, last))
    }

    /// At the left border, given the sample there or before; if there is none, the first one.
    fn left(&self, first: usize, is_counter: bool) -> Edge {
        let mut point = self.point(first);
        if point.time == self.start {
            return (point.value, point.start);
        }
        let mut start = if point.start > self.start { 0 } else { point.start };
        if point.time > self.start {
            // Nothing was there before.
            return (self.since_beginning(point, self.start, is_counter), start);
        }
        let mut next = self.point(first + 1);
        if is_counter && is_reset_after(self.start, next) {
            next = Point::zero(next.start);
        } else if is_counter && is_reset(point, next) {
            point = Point::zero(next.start);
            start = next.start;
        }
        match self.is_smoothed() {
            true => (between(point, next, self.start, is_counter), start),
            false => (point.value, start),
        }
    }

    /// At the right border, given the last sample, which may be behind it.
    fn right(&self, last: usize, is_counter: bool) -> Edge {
        let mut point = self.point(last);
        let mut start = if point.start > self.end { 0 } else { point.start };
        if point.time <= self.end {
            return (point.value, start);
        }
        let Some(before) = last.checked_sub(1) else {
            return (self.since_beginning(point, self.end, is_counter), start);
        };
        let mut before = self.point(before);
        if is_counter && is_reset_after(self.end, point) {
            start = before.start;
            point = Point::zero(point.start);
        } else if is_counter && is_reset(before, point) {
            before = Point::zero(point.start);
        }
        match self.is_smoothed() {
            true => (between(before, point, self.end, is_counter), start),
            false => (before.value, start),
        }
    }

    /// What a series whose first sample is `point` shows at a border before it: as much as then; but a counter that is known
    /// to have begun a short while ago began at zero.
    fn since_beginning(&self, point: Point, border: i64, is_counter: bool) -> f64 {
        if !is_counter || !is_reset_after(self.lookback_start, point) {
            return point.value;
        }
        match is_reset_after(border, point) || !self.is_smoothed() {
            true => 0.0,
            false => between(Point::zero(point.start), point, border, is_counter),
        }
    }
}

/// The value at `time` on the line between two samples; a counter that fell began at zero behind the first one.
pub(crate) fn between(before: Point, after: Point, time: i64, is_counter: bool) -> f64 {
    let was_reset = is_counter && after.value < before.value;
    let from = if was_reset { 0.0 } else { before.value };
    let share = (after.value - from) * (time - before.time) as f64;
    from + share / (after.time - before.time) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::function::range::RangeFunction;
    use crate::function::rate::{changes, delta, increase, rate, resets};

    /// Over the range from 60 s to 120 s.
    fn minute(function: RangeFunction, extended: Extended, samples: &[(i64, f64)]) -> Option<f64> {
        let (times, values): (Vec<_>, Vec<_>) = samples.iter().map(|&(t, v)| (t * 1000, v)).unzip();
        let input = RangeInput {
            times: &times,
            values: &values,
            starts: &[],
            falls: true,
            start: 60_000,
            end: 120_000,
            at: 120_000,
            extended,
            lookback_start: -240_000,
        };
        function(&input, &[], &mut Default::default())
    }

    #[test]
    fn what_is_anchored_begins_with_the_sample_before_the_range() {
        let check = |function, samples: &[(i64, f64)], expected| {
            assert_eq!(
                minute(function, Extended::Anchored, samples),
                expected,
                "{samples:?}"
            );
        };
        let rising = [(30, 1.0), (50, 4.0), (90, 10.0), (110, 16.0)];
        check(increase, &rising, Some(12.0));
        check(rate, &rising, Some(0.2));
        check(delta, &rising, Some(12.0));
        check(changes, &rising, Some(2.0));
        check(increase, &[(60, 4.0), (120, 10.0)], Some(6.0));
        // One alone has not changed.
        check(increase, &[(90, 7.0)], Some(0.0));
        check(increase, &[(50, 7.0)], None);
        check(changes, &[(50, 7.0)], None);
        // A reset: 2, and the 5 to it.
        let reset = [(50, 4.0), (70, 9.0), (90, 2.0)];
        check(increase, &reset, Some(7.0));
        check(delta, &reset, Some(-2.0));
        check(resets, &reset, Some(1.0));
        // One before the range is not in it.
        check(resets, &[(40, 9.0), (50, 4.0), (70, 9.0)], Some(0.0));
    }

    #[test]
    fn what_is_smoothed_lies_on_the_lines_between_samples() {
        let check = |function, samples: &[(i64, f64)], expected| {
            assert_eq!(
                minute(function, Extended::Smoothed, samples),
                expected,
                "{samples:?}"
            );
        };
        // From 6 at 60 s to 14 at 120 s.
        let rising = [(40, 4.0), (80, 8.0), (110, 12.0), (130, 16.0)];
        check(increase, &rising, Some(8.0));
        check(rate, &rising, Some(8.0 / 60.0));
        // Where there is no sample before it or behind, nothing is known.
        check(increase, &[(80, 8.0), (110, 12.0)], Some(4.0));
        check(increase, &[(130, 16.0), (140, 17.0)], None);
        check(increase, &[(50, 16.0)], None);
        // No sample within: a line across it.
        check(increase, &[(30, 0.0), (150, 12.0)], Some(6.0));
        // A counter that fell on the way there began at zero: 5 at 60 s; a gauge was at 15.
        check(increase, &[(40, 20.0), (80, 10.0), (120, 12.0)], Some(7.0));
        check(delta, &[(40, 20.0), (80, 10.0), (120, 12.0)], Some(-3.0));
    }
}
