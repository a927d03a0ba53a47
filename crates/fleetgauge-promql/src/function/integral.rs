//! `integral(range, strategy)`: the area under the line of the samples. *Unit*: that of the samples times seconds.
//!
//! *Source*: <https://prometheus.io/docs/prometheus/latest/querying/functions/#integral>.

use fleetgauge_syntax::number::GoFloat;

use super::range::RangeInput;
use super::sum::Sum;
use crate::annotation::Annotations;

/// Which height counts between two samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Strategy {
    /// That of the first.
    Left,
    /// That of the second.
    Right,
    /// The mean of both.
    Trapezoid,
}

/// Samples that are NaN are as high as 0, so that those beside them are not lost.
pub(super) fn integral(input: &RangeInput<'_>, params: &[f64], notes: &mut Annotations) -> Option<f64> {
    let strategy = Strategy::of(params.first().copied(), notes);
    let mut area = Sum::default();
    for (times, values) in input.times.windows(2).zip(input.values.windows(2)) {
        let (&[from, to], &[left, right]) = (times, values) else {
            continue;
        };
        let seconds = (to - from) as f64 / 1000.0;
        let [left, right] = [left, right].map(|value| if value.is_nan() { 0.0 } else { value });
        match strategy {
            Strategy::Left => area.add(left * seconds),
            Strategy::Right => area.add(right * seconds),
            Strategy::Trapezoid => {
                // A large height would swallow a small one beside it, were they added here; halves of finite ones are
                // finite.
                area.add(left / 2.0 * seconds);
                area.add(right / 2.0 * seconds);
            }
        }
    }
    Some(area.total())
}

// === impl Strategy ===

impl Strategy {
    /// By its number. Of another one, and of none, it is the last.
    fn of(number: Option<f64>, notes: &mut Annotations) -> Self {
        match number {
            Some(0.0) => Self::Left,
            Some(1.0) => Self::Right,
            None | Some(2.0) => Self::Trapezoid,
            Some(other) => {
                let text = format_args!(
                    "strategy should be 0, 1, or 2 (default), using 2, got {}",
                    GoFloat(other)
                );
                notes.warn_of(1, text);
                Self::Trapezoid
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::over;
    use super::*;

    fn check(samples: &[(i64, f64)], params: &[f64], expected: f64) {
        let got = over(integral, samples, (0, 60_000), params).expect("a value");
        assert!(
            got == expected || got.is_nan() && expected.is_nan(),
            "{samples:?} by {params:?}: {got}"
        );
    }

    #[test]
    fn the_area_is_between_the_samples() {
        // Two seconds, then half of one.
        let samples = [(1_000, 3.0), (3_000, 5.0), (3_500, 1.0)];
        check(&samples, &[], 8.0 + 1.5);
        check(&samples, &[2.0], 8.0 + 1.5);
        check(&samples, &[0.0], 6.0 + 2.5);
        check(&samples, &[1.0], 10.0 + 0.5);
        check(&samples[..1], &[], 0.0);
        check(&[(1_000, f64::INFINITY)], &[], 0.0);
    }

    #[test]
    fn what_is_nan_is_as_high_as_zero() {
        let samples = [(1_000, 4.0), (2_000, f64::NAN), (3_000, 6.0)];
        check(&samples, &[], 5.0);
        check(&samples, &[0.0], 4.0);
        check(&samples, &[1.0], 6.0);
    }

    #[test]
    fn large_heights_do_not_hide_small_ones_nor_grow_infinite() {
        check(&[(1_000, 1e100), (2_000, 2.0), (3_000, -1e100)], &[], 2.0);
        check(&[(1_000, f64::MAX), (1_500, f64::MAX)], &[], f64::MAX / 2.0);
        check(&[(1_000, f64::INFINITY), (2_000, 1.0)], &[], f64::INFINITY);
        check(&[(1_000, f64::INFINITY), (2_000, -f64::INFINITY)], &[], f64::NAN);
    }

    #[test]
    fn another_strategy_is_the_last_one_with_a_warning() {
        let strategy = |number: f64| {
            let mut notes = Annotations::default();
            let strategy = Strategy::of(Some(number), &mut notes);
            (strategy, notes.into_parts().0)
        };
        for (number, written) in [(3.0, "3"), (0.5, "0.5"), (-1.0, "-1"), (f64::NAN, "NaN")] {
            let expected =
                format!("PromQL warning: strategy should be 0, 1, or 2 (default), using 2, got {written}");
            assert_eq!(strategy(number), (Strategy::Trapezoid, vec![expected]));
        }
        assert_eq!(strategy(1.0), (Strategy::Right, Vec::new()));
    }
}
