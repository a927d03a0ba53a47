//! Straight lines through samples: `deriv` and `predict_linear`; and the line that follows its samples:
//! `double_exponential_smoothing`.

use fleetgauge_syntax::number::GoFixed;

use super::range::RangeInput;
use super::sum::Sum;
use crate::annotation::Annotations;
use crate::error::EvalError;

/// `y = slope · x + intercept`, `x` in seconds.
struct Line {
    slope: f64,
    intercept: f64,
}

/// The slope, a second.
pub(super) fn deriv(input: &RangeInput<'_>, _: &[f64], _: &mut Annotations) -> Option<f64> {
    // Zero is at the first sample: seconds since 1970 would cost half of the digits.
    line_through(input, *input.times.first()?).map(|line| line.slope)
}

/// Where the line is, so many seconds (the parameter) after the step, whatever its offset.
pub(super) fn predict_linear(input: &RangeInput<'_>, params: &[f64], _: &mut Annotations) -> Option<f64> {
    let ahead = *params.first()?;
    line_through(input, input.at).map(|line| line.slope * ahead + line.intercept)
}

/// Holt's linear method: a level that follows the samples by the first parameter, and a trend that follows
/// the level by the second.
pub(super) fn smoothing(input: &RangeInput<'_>, params: &[f64], _: &mut Annotations) -> Option<f64> {
    let &[level_factor, trend_factor] = params else {
        return None;
    };
    let &[first, second, ..] = input.values else {
        return None;
    };
    let (mut level, mut trend, mut before) = (first, second - first, 0.0);
    for (i, &value) in input.values[1..].iter().enumerate() {
        let observed = level_factor * value;
        if i > 0 {
            trend = trend_factor * (level - before) + (1.0 - trend_factor) * trend;
        }
        let expected = (1.0 - level_factor) * (level + trend);
        (before, level) = (level, observed + expected);
    }
    Some(level)
}

/// Refuses factors with which nothing is smoothed. NaN passes, as in Prometheus, and so does the result.
pub(super) fn check_smoothing(params: &[f64]) -> Result<(), EvalError> {
    for (factor, name, short) in params
        .iter()
        .zip(["smoothing", "trend"])
        .zip(["sf", "tf"])
        .map(|((f, n), s)| (*f, n, s))
    {
        if factor <= 0.0 || factor >= 1.0 {
            return Err(EvalError::execution(format!(
                "invalid {name} factor. Expected: 0 < {short} < 1, got: {}",
                GoFixed(factor)
            )));
        }
    }
    Ok(())
}

/// The line of least squares, with `x` zero at `zero`. `None` of fewer than two samples.
fn line_through(input: &RangeInput<'_>, zero: i64) -> Option<Line> {
    let &[first, _, ..] = input.values else {
        return None;
    };
    // The sums would make something else than zero of it.
    if input.values.iter().all(|&value| value == first) {
        return Some(if first.is_infinite() {
            Line {
                slope: f64::NAN,
                intercept: f64::NAN,
            }
        } else {
            Line {
                slope: 0.0,
                intercept: first,
            }
        });
    }
    let [mut x_sum, mut y_sum, mut xy_sum, mut xx_sum] = [Sum::default(); 4];
    for (&time, &y) in input.times.iter().zip(input.values) {
        let x = (time - zero) as f64 / 1000.0;
        x_sum.add(x);
        y_sum.add(y);
        xy_sum.add(x * y);
        xx_sum.add(x * x);
    }
    let count = input.values.len() as f64;
    let [x, y, xy, xx] = [x_sum, y_sum, xy_sum, xx_sum].map(Sum::with_lost);
    let covariance = xy - x * y / count;
    let variance = xx - x * x / count;
    let slope = covariance / variance;
    Some(Line {
        slope,
        intercept: y / count - slope * x / count,
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Samples, over};
    use super::*;
    use proptest::prelude::*;

    const INF: f64 = f64::INFINITY;

    #[test]
    fn lines_are_those_of_least_squares() {
        let check = |samples: Samples<'_>, slope: Option<f64>, in_a_minute: Option<f64>| {
            assert_eq!(over(deriv, samples, (0, 60_000), &[]), slope, "{samples:?}");
            let predicted = over(predict_linear, samples, (0, 60_000), &[60.0]);
            assert_eq!(predicted, in_a_minute, "{samples:?}");
        };
        check(&[(10_000, 1.0)], None, None);
        check(&[(10_000, 1.0), (20_000, 2.0)], Some(0.1), Some(12.0));
        // Predicted from the step at 60 s, not from the last sample.
        check(
            &[(0, 0.0), (10_000, 20.0), (20_000, 10.0), (30_000, 30.0)],
            Some(0.8),
            Some(99.0),
        );
        // Constant, to the last bit.
        check(&[(1, 0.1), (7, 0.1), (29_999, 0.1)], Some(0.0), Some(0.1));
        let nan = |samples| {
            assert!(over(deriv, samples, (0, 60_000), &[]).is_some_and(f64::is_nan));
            assert!(over(predict_linear, samples, (0, 60_000), &[1.0]).is_some_and(f64::is_nan));
        };
        nan(&[(10_000, INF), (20_000, INF)]);
        nan(&[(10_000, 1.0), (20_000, f64::NAN)]);
        nan(&[(10_000, f64::NAN), (20_000, f64::NAN)]);
        nan(&[(10_000, 1.0), (20_000, INF)]);
    }

    #[test]
    fn slopes_do_not_suffer_from_the_date() {
        let start = 1_763_930_000_000;
        let samples: Vec<_> = (0..100)
            .map(|i| (start + i * 15_000, 1e9 + i as f64 * 3.0))
            .collect();
        let slope = over(deriv, &samples, (start - 1, start + 1_500_000), &[]).expect("a line");
        assert!((slope - 0.2).abs() < 1e-12, "{slope}");
    }

    #[test]
    fn an_offset_does_not_move_what_is_predicted() {
        let input = RangeInput {
            times: &[10_000, 20_000],
            values: &[1.0, 2.0],
            starts: &[],
            falls: false,
            start: 0,
            end: 20_000,
            at: 50_000,
            extended: Default::default(),
            lookback_start: 0,
        };
        assert_eq!(
            predict_linear(&input, &[10.0], &mut Annotations::default()),
            Some(6.0)
        );
    }

    #[test]
    fn smoothing_follows_level_and_trend() {
        let check = |values: &[f64], factors: [f64; 2], expected: Option<f64>| {
            let samples: Vec<_> = (1..).zip(values.iter().copied()).collect();
            assert_eq!(
                over(smoothing, &samples, (0, 60_000), &factors),
                expected,
                "{values:?}"
            );
        };
        check(&[1.0], [0.5, 0.5], None);
        // On a straight line it stays.
        check(&[1.0, 2.0, 3.0, 4.0], [0.5, 0.25], Some(4.0));
        // The trend starts as the first difference: level 0.5·4 + 0.5·(0 + 4) = 4, trend 4; then
        // 0.5·0 + 0.5·(4 + 4) = 4.
        check(&[0.0, 4.0, 0.0], [0.5, 0.5], Some(4.0));
        // Then the level has not moved, so the trend halves: 0.5·8 + 0.5·(4 + 2).
        check(&[0.0, 4.0, 0.0, 8.0], [0.5, 0.5], Some(7.0));
    }

    #[test]
    fn smoothing_without_smoothing_is_refused() {
        let check = |params: &[f64], expected: &str| {
            let error = check_smoothing(params).expect_err("no factor").to_string();
            assert_eq!(error, expected);
        };
        check(
            &[0.0, 0.5],
            "invalid smoothing factor. Expected: 0 < sf < 1, got: 0.000000",
        );
        check(
            &[1.0, 0.5],
            "invalid smoothing factor. Expected: 0 < sf < 1, got: 1.000000",
        );
        check(
            &[0.5, -0.25],
            "invalid trend factor. Expected: 0 < tf < 1, got: -0.250000",
        );
        check(
            &[0.5, INF],
            "invalid trend factor. Expected: 0 < tf < 1, got: +Inf",
        );
        assert!(check_smoothing(&[0.01, 0.99]).is_ok());
        assert!(check_smoothing(&[f64::NAN, 0.99]).is_ok());
    }

    proptest! {
        #[test]
        fn a_line_is_found_again(slope in -1e3..1e3_f64, offset in -1e6..1e6_f64, count in 2..60_i64) {
            let samples: Vec<_> = (1..=count).map(|i| (i * 1000, offset + slope * i as f64)).collect();
            let found = over(deriv, &samples, (0, 60_000), &[]).unwrap();
            prop_assert!((found - slope).abs() <= 1e-9 * (slope.abs() + offset.abs() + 1.0));
            let value = over(predict_linear, &samples, (0, 60_000), &[0.0]).unwrap();
            let expected = offset + slope * 60.0;
            prop_assert!((value - expected).abs() <= 1e-8 * (expected.abs() + offset.abs() + 1.0));
        }
    }
}
