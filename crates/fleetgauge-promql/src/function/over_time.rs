//! What the samples of a range come to: the `*_over_time` functions.
//!
//! *Source*: <https://prometheus.io/docs/prometheus/latest/querying/functions/#aggregation_over_time>.

use super::quantile::{quantile, warn_of_quantile};
use super::range::RangeInput;
use super::sum::{Mean, Sum};
use crate::annotation::Annotations;

/// The extreme value and when it was; `is_more` is asked whether a value replaces the one held.
fn extreme(input: &RangeInput<'_>, is_more: fn(f64, f64) -> bool) -> Option<(f64, i64)> {
    let mut samples = input.values.iter().copied().zip(input.times.iter().copied());
    let first = samples.next()?;
    // A NaN gives way to anything.
    Some(samples.fold(first, |held, sample| {
        if is_more(sample.0, held.0) || held.0.is_nan() {
            sample
        } else {
            held
        }
    }))
}

/// The mean.
pub(super) fn avg(input: &RangeInput<'_>, _: &[f64], _: &mut Annotations) -> Option<f64> {
    let (&first, rest) = input.values.split_first()?;
    let mut mean = Mean::starting_at(first);
    rest.iter().for_each(|&value| mean.add(value));
    Some(mean.mean())
}

/// The sum.
pub(super) fn sum(input: &RangeInput<'_>, _: &[f64], _: &mut Annotations) -> Option<f64> {
    let mut sum = Sum::default();
    input.values.iter().for_each(|&value| sum.add(value));
    Some(sum.total())
}

/// How many samples there are.
pub(super) fn count(input: &RangeInput<'_>, _: &[f64], _: &mut Annotations) -> Option<f64> {
    Some(input.values.len() as f64)
}

/// 1: there are samples.
pub(super) fn present(_: &RangeInput<'_>, _: &[f64], _: &mut Annotations) -> Option<f64> {
    Some(1.0)
}

/// The smallest; NaN only if all are.
pub(super) fn min(input: &RangeInput<'_>, _: &[f64], _: &mut Annotations) -> Option<f64> {
    extreme(input, |value, held| value < held).map(|(value, _)| value)
}

/// The largest; NaN only if all are.
pub(super) fn max(input: &RangeInput<'_>, _: &[f64], _: &mut Annotations) -> Option<f64> {
    extreme(input, |value, held| value > held).map(|(value, _)| value)
}

/// The oldest.
pub(super) fn first(input: &RangeInput<'_>, _: &[f64], _: &mut Annotations) -> Option<f64> {
    input.values.first().copied()
}

/// The newest.
pub(super) fn last(input: &RangeInput<'_>, _: &[f64], _: &mut Annotations) -> Option<f64> {
    input.values.last().copied()
}

/// When the smallest was, the last time. *Unit*: seconds since the Unix epoch, as of all times here.
pub(super) fn ts_of_min(input: &RangeInput<'_>, _: &[f64], _: &mut Annotations) -> Option<f64> {
    extreme(input, |value, held| value <= held).map(|(_, at)| seconds(at))
}

/// When the largest was, the last time.
pub(super) fn ts_of_max(input: &RangeInput<'_>, _: &[f64], _: &mut Annotations) -> Option<f64> {
    extreme(input, |value, held| value >= held).map(|(_, at)| seconds(at))
}

/// When the oldest was.
pub(super) fn ts_of_first(input: &RangeInput<'_>, _: &[f64], _: &mut Annotations) -> Option<f64> {
    input.times.first().copied().map(seconds)
}

/// When the newest was.
pub(super) fn ts_of_last(input: &RangeInput<'_>, _: &[f64], _: &mut Annotations) -> Option<f64> {
    input.times.last().copied().map(seconds)
}

/// The quantile that the parameter says.
pub(super) fn quantile_over_time(
    input: &RangeInput<'_>,
    params: &[f64],
    notes: &mut Annotations,
) -> Option<f64> {
    let q = *params.first()?;
    warn_of_quantile(q, 0, notes);
    Some(quantile(q, &mut input.values.to_vec()))
}

/// The median of the distances from the median; NaN where any sample is, as the distance from it is unknown.
pub(super) fn mad(input: &RangeInput<'_>, _: &[f64], _: &mut Annotations) -> Option<f64> {
    if input.values.iter().any(|value| value.is_nan()) {
        return Some(f64::NAN);
    }
    let mut values = input.values.to_vec();
    let median = quantile(0.5, &mut values);
    values
        .iter_mut()
        .for_each(|value| *value = (*value - median).abs());
    Some(quantile(0.5, &mut values))
}

/// The population standard deviation.
pub(super) fn stddev(input: &RangeInput<'_>, _: &[f64], _: &mut Annotations) -> Option<f64> {
    Some(variance(input.values).sqrt())
}

/// The population variance.
pub(super) fn stdvar(input: &RangeInput<'_>, _: &[f64], _: &mut Annotations) -> Option<f64> {
    Some(variance(input.values))
}

/// In one pass, after B. P. Welford, "Note on a method for calculating corrected sums of squares and
/// products", 1962, with compensated sums.
fn variance(values: &[f64]) -> f64 {
    let (mut count, mut mean, mut squares) = (0.0, Sum::default(), Sum::default());
    for &value in values {
        count += 1.0;
        let distance = value - mean.with_lost();
        mean.add(distance / count);
        squares.add(distance * (value - mean.with_lost()));
    }
    squares.with_lost() / count
}

fn seconds(millis: i64) -> f64 {
    millis as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::super::RangeFunction;
    use super::super::tests::over;
    use super::*;
    use proptest::prelude::*;

    const INF: f64 = f64::INFINITY;
    const NAN: f64 = f64::NAN;

    /// Of values a second apart, the first at one second.
    fn of(function: RangeFunction, values: &[f64], params: &[f64]) -> f64 {
        let samples: Vec<_> = (1..).map(|i| i * 1000).zip(values.iter().copied()).collect();
        over(function, &samples, (0, 60_000), params).expect("a value")
    }

    fn check(function: RangeFunction, values: &[f64], expected: f64) {
        let got = of(function, values, &[]);
        assert!(
            got == expected || (got.is_nan() && expected.is_nan()),
            "{values:?}: {got}, not {expected}"
        );
    }

    #[test]
    fn extremes_pass_over_nan() {
        check(min, &[3.0, 1.0, 2.0], 1.0);
        check(max, &[3.0, 1.0, 2.0], 3.0);
        check(min, &[NAN, 5.0, 4.0, NAN], 4.0);
        check(max, &[NAN, 4.0, 5.0, NAN], 5.0);
        check(min, &[NAN, NAN], NAN);
        check(max, &[NAN], NAN);
        check(min, &[1.0, -INF], -INF);
        check(max, &[-INF, NAN], -INF);
    }

    #[test]
    fn times_of_extremes_are_the_last_ones() {
        check(ts_of_min, &[1.0, 3.0, 1.0, 3.0, 2.0], 3.0);
        check(ts_of_max, &[1.0, 3.0, 1.0, 3.0, 2.0], 4.0);
        check(ts_of_max, &[NAN, 3.0, NAN], 2.0);
        check(ts_of_first, &[1.0, 3.0], 1.0);
        check(ts_of_last, &[1.0, 3.0], 2.0);
        let at = over(ts_of_last, &[(1_234, 5.0)], (0, 60_000), &[]);
        assert_eq!(at, Some(1.234));
    }

    #[test]
    fn sums_and_means_are_compensated() {
        check(sum, &[1.0, 1e100, 1.0, -1e100], 2.0);
        check(avg, &[1.0, 1e100, 1.0, -1e100], 0.5);
        check(sum, &[INF, 1.0], INF);
        check(sum, &[INF, -INF], NAN);
        check(sum, &[1.0, NAN], NAN);
        check(avg, &[f64::MAX, f64::MAX], f64::MAX);
        check(avg, &[INF, 1.0], INF);
        check(avg, &[INF, -INF], NAN);
        assert!(of(sum, &[-0.0], &[]).is_sign_positive());
        assert!(of(avg, &[-0.0], &[]).is_sign_positive());
    }

    #[test]
    fn samples_are_counted_and_picked() {
        check(count, &[5.0, NAN, 7.0], 3.0);
        check(present, &[5.0, NAN, 7.0], 1.0);
        check(first, &[5.0, 6.0, 7.0], 5.0);
        check(last, &[5.0, 6.0, 7.0], 7.0);
        check(last, &[5.0, NAN], NAN);
    }

    #[test]
    fn spread_is_that_of_a_population() {
        check(stdvar, &[0.0, 8.0, 8.0, 2.0, 3.0], 10.559999999999999);
        check(stddev, &[0.0, 8.0, 8.0, 2.0, 3.0], 3.249615361854384);
        check(stddev, &[1.5; 7], 0.0);
        // Squares of large numbers would lose the difference.
        check(stdvar, &[1e16, 1e16 + 4.0], 4.0);
        check(stdvar, &[1.0, INF], NAN);
        check(stdvar, &[NAN], NAN);
        check(mad, &[4.0, 6.0, 2.0, 1.0, 999.0, 1.0, 2.0], 1.0);
        check(mad, &[1.0, 2.0], 0.5);
        check(mad, &[7.0], 0.0);
        check(mad, &[1.0, NAN, 2.0], NAN);
    }

    #[test]
    fn quantiles_take_a_parameter() {
        assert_eq!(of(quantile_over_time, &[1.0, 5.0, 3.0], &[0.75]), 4.0);
        assert_eq!(of(quantile_over_time, &[1.0, 5.0], &[2.0]), INF);
    }

    proptest! {
        #[test]
        fn everything_central_lies_within(values in prop::collection::vec(-1e6..1e6, 1..60), q in 0.0..=1.0) {
            let (low, high) = (of(min, &values, &[]), of(max, &values, &[]));
            let slack = 1e-9;
            for value in [of(avg, &values, &[]), of(quantile_over_time, &values, &[q])] {
                prop_assert!(low - slack <= value && value <= high + slack);
            }
            prop_assert!(of(mad, &values, &[]) <= high - low + slack);
            prop_assert!(of(stddev, &values, &[]) <= (high - low) / 2.0 + slack);
        }
    }
}
