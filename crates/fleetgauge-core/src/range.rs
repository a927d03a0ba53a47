//! The times at which a range query is evaluated.

use std::time::Duration;

use crate::time::Timestamp;

/// The times of a range: every step from the start to the end.
///
/// Those that end [now](Self::until_now) are multiples of the step, so that two refreshes share their steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Steps {
    /// *Unit*: milliseconds since the Unix epoch.
    start: i64,
    /// *Unit*: milliseconds; at least one.
    step: i64,
    /// How many there are after the first.
    further: i64,
}

/// Why there is no such range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StepsError {
    /// The step is zero.
    #[error("the step of a range must be more than zero")]
    NoStep,
    /// Finer than milliseconds, or too long to be told.
    #[error("the {field} of a range must be a whole number of milliseconds, and at most 292 million years")]
    NotMillis {
        /// `step` or `window`.
        field: &'static str,
    },
}

// === impl Steps ===

impl Steps {
    /// Every `step` from `window` before `end` on. The last of them is `end` where `window` is a multiple of `step`.
    ///
    /// *Errors*: [`StepsError`]
    pub fn until(end: Timestamp, window: Duration, step: Duration) -> Result<Self, StepsError> {
        let (window, step) = (millis("window", window)?, millis("step", step)?);
        if step == 0 {
            return Err(StepsError::NoStep);
        }
        Ok(Self {
            start: end.as_millis().saturating_sub(window),
            step,
            further: window / step,
        })
    }

    /// Multiples of `step`: the last one that is not after `now`, and those up to `window` before it.
    ///
    /// *Errors*: [`StepsError`]
    pub fn until_now(now: Timestamp, window: Duration, step: Duration) -> Result<Self, StepsError> {
        let mut steps = Self::until(now, window, step)?;
        let now = now.as_millis();
        let end = now.saturating_sub(now.rem_euclid(steps.step));
        steps.start = end.saturating_sub(steps.further.saturating_mul(steps.step));
        Ok(steps)
    }

    /// The first.
    pub fn start(&self) -> Timestamp {
        Timestamp::from_millis(self.start)
    }

    /// The last.
    pub fn end(&self) -> Timestamp {
        Timestamp::from_millis(self.start.saturating_add(self.step.saturating_mul(self.further)))
    }

    /// How far they are apart.
    pub fn step(&self) -> Duration {
        Duration::from_millis(self.step.unsigned_abs())
    }

    /// From the first to the last.
    pub fn window(&self) -> Duration {
        Duration::from_millis(self.step.saturating_mul(self.further).unsigned_abs())
    }

    /// How many there are; at least one.
    pub fn count(&self) -> usize {
        usize::try_from(self.further).map_or(usize::MAX, |further| further.saturating_add(1))
    }

    /// All of them, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = Timestamp> + use<> {
        let Self { start, step, further } = *self;
        (0..=further).map(move |i| Timestamp::from_millis(start.saturating_add(step.saturating_mul(i))))
    }

    /// Which of them `time` is.
    pub fn position(&self, time: Timestamp) -> Option<usize> {
        let after = time.as_millis().checked_sub(self.start)?;
        let is_one = (0..=self.step.saturating_mul(self.further)).contains(&after) && after % self.step == 0;
        is_one.then(|| usize::try_from(after / self.step).ok())?
    }

    /// As many steps before the first as cover `reach`, and all of these.
    pub fn reaching(&self, reach: Duration) -> Self {
        let reach = i64::try_from(reach.as_millis()).unwrap_or(i64::MAX);
        let before = reach / self.step + i64::from(reach % self.step != 0);
        Self {
            start: self.start.saturating_sub(self.step.saturating_mul(before)),
            step: self.step,
            further: self.further.saturating_add(before),
        }
    }

    /// Those from the one at `position` on; the last one where there are fewer.
    pub fn skip(&self, position: usize) -> Self {
        let skipped = i64::try_from(position).map_or(self.further, |position| position.min(self.further));
        Self {
            start: self.start.saturating_add(self.step.saturating_mul(skipped)),
            step: self.step,
            further: self.further - skipped,
        }
    }
}

fn millis(field: &'static str, duration: Duration) -> Result<i64, StepsError> {
    match i64::try_from(duration.as_millis()) {
        Ok(millis) if duration.subsec_nanos().is_multiple_of(1_000_000) => Ok(millis),
        _ => Err(StepsError::NotMillis { field }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn ranges_until_now_are_multiples_of_their_step() {
        let check = |now, window, step, expected: &[i64]| {
            let millis = Duration::from_millis;
            let steps = Steps::until_now(at(now), millis(window), millis(step)).expect("a range");
            let times: Vec<_> = steps.iter().map(Timestamp::as_millis).collect();
            assert_eq!(times, expected);
            assert_eq!(steps.count(), expected.len());
            assert_eq!(
                (steps.start(), steps.end()),
                (at(expected[0]), at(expected[expected.len() - 1]))
            );
            for (i, &time) in expected.iter().enumerate() {
                assert_eq!(steps.position(at(time)), Some(i));
                assert_eq!(
                    steps.position(at(time + 1)),
                    (step == 1 && i + 1 < expected.len()).then_some(i + 1)
                );
            }
            assert_eq!(steps.position(at(expected[0] - 1)), None);
        };
        check(61_234, 30_000, 15_000, &[30_000, 45_000, 60_000]);
        check(60_000, 29_999, 15_000, &[45_000, 60_000]);
        check(59_999, 0, 15_000, &[45_000]);
        check(-1, 10, 10, &[-20, -10]);
        check(5, 2, 1, &[3, 4, 5]);
    }

    #[test]
    fn a_given_end_is_kept_and_the_first_step_is_a_window_before_it() {
        let check = |end, window, step, expected: &[i64]| {
            let millis = Duration::from_millis;
            let steps = Steps::until(at(end), millis(window), millis(step)).expect("a range");
            assert_eq!(
                steps.iter().map(Timestamp::as_millis).collect::<Vec<_>>(),
                expected
            );
        };
        check(61_234, 30_000, 15_000, &[31_234, 46_234, 61_234]);
        check(61_000, 20_000, 15_000, &[41_000, 56_000]);
    }

    #[test]
    fn the_rest_of_a_range_has_at_least_its_last_step() {
        let steps =
            Steps::until(at(100), Duration::from_millis(40), Duration::from_millis(20)).expect("a range");
        let starts = |skip| {
            steps
                .skip(skip)
                .iter()
                .map(Timestamp::as_millis)
                .collect::<Vec<_>>()
        };
        assert_eq!(starts(0), [60, 80, 100]);
        assert_eq!(starts(1), [80, 100]);
        assert_eq!(starts(9), [100]);
        assert_eq!(starts(usize::MAX), [100]);
    }

    #[test]
    fn what_is_no_range_is_refused() {
        let second = Duration::from_secs(1);
        let steps = |window, step| Steps::until_now(at(0), window, step);
        assert_eq!(steps(second, Duration::ZERO), Err(StepsError::NoStep));
        let fine = Duration::from_nanos(1_500_000);
        assert_eq!(steps(second, fine), Err(StepsError::NotMillis { field: "step" }));
        assert_eq!(
            steps(Duration::MAX, second),
            Err(StepsError::NotMillis { field: "window" })
        );
        let all =
            Steps::until(at(i64::MIN), Duration::from_millis(i64::MAX as u64), second).expect("a range");
        assert_eq!(all.position(at(i64::MAX)), None);
    }
}
