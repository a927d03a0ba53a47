//! The value below which a share of some values lies.

use std::cmp::Ordering;

use fleetgauge_syntax::number::GoFloat;

use crate::annotation::Annotations;

/// The quantile `q` of `values`, which are reordered: between two of them by linear interpolation.
///
/// NaN counts as the smallest value. Below 0 it is −Inf, above 1 +Inf, as Prometheus has it.
pub(crate) fn quantile(q: f64, values: &mut [f64]) -> f64 {
    if values.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    let rank = q * (values.len() - 1) as f64;
    let weight = rank - rank.floor();
    let lower = rank.floor() as usize;
    let (_, &mut low, above) = values.select_nth_unstable_by(lower, nan_first);
    if weight == 0.0 {
        // An infinite neighbour would make NaN of it.
        return low;
    }
    let high = above.iter().copied().min_by(nan_first).unwrap_or(low);
    low * (1.0 - weight) + high * weight
}

/// Warns of a quantile that no value can be; it is the argument `arg`.
pub(crate) fn warn_of_quantile(q: f64, arg: usize, notes: &mut Annotations) {
    if !(0.0..=1.0).contains(&q) {
        let text = format_args!("quantile value should be between 0 and 1, got {}", GoFloat(q));
        notes.warn_of(arg, text);
    }
}

fn nan_first(a: &f64, b: &f64) -> Ordering {
    a.partial_cmp(b).unwrap_or_else(|| b.is_nan().cmp(&a.is_nan()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const INF: f64 = f64::INFINITY;
    const NAN: f64 = f64::NAN;

    #[test]
    fn quantiles_interpolate() {
        let check = |q: f64, values: &[f64], expected: f64| {
            let got = quantile(q, &mut values.to_vec());
            assert!(
                got == expected || (got.is_nan() && expected.is_nan()),
                "{q} of {values:?}: {got}"
            );
        };
        check(0.5, &[3.0, 1.0, 2.0], 2.0);
        check(0.5, &[4.0, 1.0], 2.5);
        check(0.0, &[3.0, 1.0, 2.0], 1.0);
        check(1.0, &[3.0, 1.0, 2.0], 3.0);
        check(0.25, &[0.0, 10.0], 2.5);
        check(0.7, &[5.0], 5.0);
        check(-0.1, &[1.0], -INF);
        check(1.1, &[1.0], INF);
        check(NAN, &[1.0], NAN);
        check(0.5, &[], NAN);
        // NaN is the smallest.
        check(1.0, &[NAN, 1.0, 2.0], 2.0);
        check(0.0, &[2.0, NAN, 1.0], NAN);
        check(0.75, &[2.0, NAN, 1.0], 1.5);
        check(0.5, &[-INF, 1.0, INF], 1.0);
        check(0.5, &[-INF, INF], NAN);
        check(1.0, &[1.0, INF], INF);
        check(0.5, &[1.0, 2.0, INF], 2.0);
        check(0.75, &[1.0, 2.0, INF], INF);
        check(0.0, &[-INF], -INF);
    }

    #[test]
    fn impossible_quantiles_are_warned_of() {
        let check = |q: f64, expected: &str| {
            let mut notes = Annotations::default();
            warn_of_quantile(q, 0, &mut notes);
            let expected =
                format!("PromQL warning: quantile value should be between 0 and 1, got {expected}");
            assert_eq!(notes.into_parts().0, [expected]);
        };
        check(1.5, "1.5");
        check(-0.1, "-0.1");
        check(NAN, "NaN");
        check(INF, "+Inf");
        check(-1e-5, "-1e-05");
        let mut notes = Annotations::default();
        [0.0, 0.5, 1.0]
            .iter()
            .for_each(|&q| warn_of_quantile(q, 0, &mut notes));
        assert!(notes.into_parts().0.is_empty());
    }

    proptest! {
        #[test]
        fn quantiles_lie_within_and_grow(
            mut values in prop::collection::vec(-1e9..1e9, 1..50),
            a in 0.0..=1.0,
            b in 0.0..=1.0,
        ) {
            let low = values.iter().copied().fold(INF, f64::min);
            let high = values.iter().copied().fold(-INF, f64::max);
            let (at_a, at_b) = (quantile(f64::min(a, b), &mut values), quantile(f64::max(a, b), &mut values));
            let slack = 1e-6;
            prop_assert!(low - slack <= at_a && at_a <= at_b + slack && at_b <= high + slack);
        }
    }
}
