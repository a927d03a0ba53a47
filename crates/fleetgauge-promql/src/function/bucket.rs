//! What the counters of a classic histogram say about the observations behind them.
//!
//! *Source*: <https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile>.

/// The observations up to a bound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bucket {
    pub(super) upper_bound: f64,
    /// With those of the buckets below.
    pub(super) count: f64,
}

/// A quantile, and whether the buckets had to be repaired for it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Quantile {
    pub(super) value: f64,
    pub(super) was_forced: bool,
}

/// Counts that differ by less than this share of their sum differ by rounding.
const TOLERANCE: f64 = 1e-12;

/// The quantile `q` of the observations in `buckets`, which come sorted by bound. They are made fit: equal
/// bounds are added up, and counts that fall are raised.
///
/// Within a bucket observations are taken to be spread evenly; the lowest bucket begins at 0, unless its
/// bound is below. NaN without a bucket for `+Inf`, without another one, and without observations.
pub(super) fn quantile(q: f64, buckets: &mut Vec<Bucket>) -> Quantile {
    let plain = |value| Quantile {
        value,
        was_forced: false,
    };
    if q.is_nan() {
        return plain(f64::NAN);
    }
    if q < 0.0 {
        return plain(f64::NEG_INFINITY);
    }
    if q > 1.0 {
        return plain(f64::INFINITY);
    }
    if !is_complete(buckets) {
        return plain(f64::NAN);
    }
    merge_equal_bounds(buckets);
    let was_forced = make_monotonic(buckets);
    let [below @ .., top] = &**buckets else {
        return plain(f64::NAN);
    };
    // All zero, or not a number.
    if below.is_empty() || top.count == 0.0 {
        return plain(f64::NAN);
    }
    let with = |value| Quantile { value, was_forced };
    let rank = q * top.count;
    let at = first_reaching(below, rank);
    let Some(&Bucket { upper_bound, count }) = below.get(at) else {
        // Nothing is known beyond the last finite bound.
        return with(below[below.len() - 1].upper_bound);
    };
    if at == 0 {
        return with(if upper_bound <= 0.0 {
            upper_bound
        } else {
            0.0 + (upper_bound - 0.0) * (rank / count)
        });
    }
    let lower = below[at - 1];
    let share = (rank - lower.count) / (count - lower.count);
    with(lower.upper_bound + (upper_bound - lower.upper_bound) * share)
}

/// The share of the observations in `buckets` that are above `lower` and up to `upper`; 0 if that is none by
/// the bounds alone. The buckets come sorted by bound; equal bounds are added up.
///
/// Within a bucket observations are taken to be spread evenly. The lowest bucket begins at 0; where its bound is
/// not above, it has no known beginning, and all of it lies below a bound within it. Nothing lies between the top
/// bucket's beginning and a finite bound. NaN without a bucket for `+Inf`, and without observations.
pub(super) fn fraction(lower: f64, upper: f64, buckets: &mut Vec<Bucket>) -> f64 {
    if !is_complete(buckets) {
        return f64::NAN;
    }
    merge_equal_bounds(buckets);
    let total = buckets.last().map_or(0.0, |top| top.count);
    if total == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    (rank_of(upper, buckets, total) - rank_of(lower, buckets, total)) / total
}

/// How many observations are up to `value`; never more than `total`.
fn rank_of(value: f64, buckets: &[Bucket], total: f64) -> f64 {
    let is_positive = buckets.first().is_some_and(|first| first.upper_bound > 0.0);
    let mut begin = Bucket {
        upper_bound: if is_positive { 0.0 } else { f64::NEG_INFINITY },
        count: 0.0,
    };
    for &bucket in buckets {
        if value <= begin.upper_bound {
            break;
        }
        if value < bucket.upper_bound {
            if begin.upper_bound == f64::NEG_INFINITY {
                return at_most(total, bucket.count);
            }
            let width = bucket.upper_bound - begin.upper_bound;
            let within = (bucket.count - begin.count) * (value - begin.upper_bound) / width;
            return at_most(total, begin.count + within);
        }
        begin = bucket;
    }
    at_most(total, begin.count)
}

/// Unlike `f64::min`, keeps NaN.
fn at_most(limit: f64, value: f64) -> f64 {
    if value > limit { limit } else { value }
}

/// Whether there is a bucket that holds all observations.
fn is_complete(buckets: &[Bucket]) -> bool {
    buckets.last().is_some_and(|top| top.upper_bound == f64::INFINITY)
}

/// Several series may have one bound, as `le="1"` and `le="1.0"`.
fn merge_equal_bounds(buckets: &mut Vec<Bucket>) {
    buckets.dedup_by(|next, kept| {
        let is_equal = next.upper_bound == kept.upper_bound;
        if is_equal {
            kept.count += next.count;
        }
        is_equal
    });
}

/// Raises each count to the one below, and says whether one was lower by more than rounding.
fn make_monotonic(buckets: &mut [Bucket]) -> bool {
    let mut was_forced = false;
    let Some(mut below) = buckets.first().map(|b| b.count) else {
        return false;
    };
    for bucket in &mut buckets[1..] {
        if bucket.count == below {
            continue;
        }
        // Rounding is evened out in both directions.
        let is_rounding = almost_equal(below, bucket.count);
        if is_rounding || bucket.count < below {
            was_forced |= !is_rounding;
            bucket.count = below;
        } else {
            below = bucket.count;
        }
    }
    was_forced
}

fn almost_equal(a: f64, b: f64) -> bool {
    if a.is_nan() && b.is_nan() {
        return true;
    }
    let (sum, difference) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < TOLERANCE * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < TOLERANCE
}

/// The first bucket with at least `rank` observations, by bisection: where counts are NaN, the way to the
/// result matters, and it is Go's `sort.Search`.
fn first_reaching(buckets: &[Bucket], rank: f64) -> usize {
    let (mut low, mut high) = (0, buckets.len());
    while low < high {
        let middle = (low + high) / 2;
        if buckets[middle].count >= rank {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const INF: f64 = f64::INFINITY;
    const NAN: f64 = f64::NAN;

    fn buckets(pairs: &[(f64, f64)]) -> Vec<Bucket> {
        let bucket = |&(upper_bound, count)| Bucket { upper_bound, count };
        pairs.iter().map(bucket).collect()
    }

    fn check(q: f64, pairs: &[(f64, f64)], expected: f64, was_forced: bool) {
        let got = quantile(q, &mut buckets(pairs));
        let is_equal = got.value == expected || (got.value.is_nan() && expected.is_nan());
        assert!(
            is_equal && got.was_forced == was_forced,
            "{q} of {pairs:?}: {got:?}, not {expected}"
        );
    }

    #[test]
    fn quantiles_interpolate_within_a_bucket() {
        let histogram = [(0.1, 50.0), (0.2, 70.0), (1.0, 110.0), (INF, 120.0)];
        check(0.25, &histogram, 0.06, false);
        check(0.5, &histogram, 0.15000000000000002, false);
        check(0.75, &histogram, 0.6000000000000001, false);
        check(0.0, &histogram, 0.0, false);
        // Where the top bucket begins, which is all that is known.
        check(0.99, &histogram, 1.0, false);
        check(1.0, &histogram, 1.0, false);
        // Below zero the lowest bucket has no known beginning.
        check(0.1, &[(-0.5, 50.0), (0.0, 70.0), (INF, 70.0)], -0.5, false);
        check(0.1, &[(0.0, 50.0), (1.0, 70.0), (INF, 70.0)], 0.0, false);
        check(0.5, &[(-2.0, 0.0), (-1.0, 10.0), (INF, 10.0)], -1.5, false);
    }

    #[test]
    fn what_is_no_histogram_has_no_quantiles() {
        check(0.5, &[], NAN, false);
        check(0.5, &[(INF, 10.0)], NAN, false);
        check(0.5, &[(0.1, 5.0), (1.0, 10.0)], NAN, false);
        check(0.5, &[(0.1, 0.0), (INF, 0.0)], NAN, false);
        check(0.5, &[(0.1, NAN), (INF, NAN)], 0.1, false);
        let histogram = [(0.1, 5.0), (INF, 10.0)];
        check(NAN, &histogram, NAN, false);
        check(-0.1, &histogram, -INF, false);
        check(1.1, &histogram, INF, false);
        // The quantile is looked at first.
        check(1.1, &[(0.1, 5.0)], INF, false);
    }

    #[test]
    fn fractions_interpolate_within_a_bucket() {
        let histogram = [(0.0, 10.0), (0.1, 50.0), (0.2, 70.0), (1.0, 110.0), (INF, 120.0)];
        let check_of = |pairs: &[(f64, f64)], lower: f64, upper: f64, expected: f64| {
            let got = fraction(lower, upper, &mut buckets(pairs));
            let is_equal = (got - expected).abs() < 1e-12 || (got.is_nan() && expected.is_nan());
            assert!(is_equal, "{lower} to {upper} of {pairs:?}: {got}, not {expected}");
        };
        let check = |lower, upper, expected| check_of(&histogram, lower, upper, expected);
        check(0.1, 0.2, 20.0 / 120.0);
        check(0.0, 0.15, 50.0 / 120.0);
        check(-INF, 0.6, 90.0 / 120.0);
        check(-INF, INF, 1.0);
        check(0.1, INF, 70.0 / 120.0);
        check(INF, INF, 0.0);
        check(0.2, 0.1, 0.0);
        // Nothing is taken to be close above the last finite bound.
        check(1.0, 5.0, 0.0);
        check(5.0, INF, 10.0 / 120.0);
        // Where the lowest bucket begins is not known, and counts as below.
        check(-1.0, 1.0, 100.0 / 120.0);
        check(-INF, -1.0, 10.0 / 120.0);
        // It begins at zero, where its bound is above.
        check_of(&[(1.0, 10.0), (INF, 20.0)], 0.5, 1.0, 0.25);
        check_of(&[(1.0, 10.0), (INF, 20.0)], -INF, 0.0, 0.0);
        check_of(&[(INF, 20.0)], 0.0, 1.0, 0.0);
        check(NAN, 1.0, NAN);
        check(0.0, NAN, NAN);
        // More below than in all.
        check_of(&[(0.0, 0.0), (1.0, 8.0), (INF, 4.0)], 0.0, 0.75, 1.0);
        check_of(&[(1.0, 2.0), (1.0, 3.0), (INF, 10.0)], -INF, 1.0, 0.5);
        check_of(&[], 0.0, 1.0, NAN);
        check_of(&[(1.0, 2.0)], -INF, 1.0, NAN);
        check_of(&[(1.0, 0.0), (INF, 0.0)], -INF, 1.0, NAN);
    }

    #[test]
    fn equal_bounds_are_one_bucket() {
        check(
            0.5,
            &[
                (1.0, 2.0),
                (1.0, 3.0),
                (2.0, 4.0),
                (2.0, 6.0),
                (INF, 5.0),
                (INF, 5.0),
            ],
            1.0,
            false,
        );
    }

    #[test]
    fn counts_that_fall_are_raised() {
        // The second has lost 20.
        check(
            0.5,
            &[(0.1, 50.0), (0.2, 30.0), (1.0, 110.0), (INF, 120.0)],
            0.33333333333333337,
            true,
        );
        check(1.0, &[(0.1, 50.0), (INF, 30.0)], 0.1, true);
        // Rounding is no reason for a remark.
        let below = 100.0 * (1.0 - 1e-14);
        check(1.0, &[(0.1, 100.0), (0.2, below), (INF, 100.0)], 0.1, false);
        // Nor does it make a step upwards.
        let above = 100.0 * (1.0 + 1e-14);
        check(1.0, &[(0.1, 100.0), (0.2, above), (INF, above)], 0.1, false);
        // From zero on, every step is one.
        check(1.0, &[(0.1, 0.0), (0.2, 1e-300), (INF, 1e-300)], 0.2, false);
    }

    proptest! {
        #[test]
        fn quantiles_grow_and_lie_within(
            steps in prop::collection::vec((0.001..5.0, 0.0..100.0), 1..12),
            beyond in 0.0..10.0,
            a in 0.0..=1.0,
            b in 0.0..=1.0,
        ) {
            let (mut bound, mut count) = (0.0, 0.0);
            let mut pairs = Vec::new();
            for (width, observations) in steps {
                bound += width;
                count += observations;
                pairs.push((bound, count));
            }
            pairs.push((INF, count + beyond));
            prop_assume!(count + beyond > 0.0);
            let [low, high] = [f64::min(a, b), f64::max(a, b)].map(|q| quantile(q, &mut buckets(&pairs)));
            prop_assert!(!low.was_forced);
            prop_assert!(0.0 <= low.value && low.value <= high.value + 1e-9 && high.value <= bound + 1e-9);
        }

        #[test]
        fn any_counts_are_survived(
            counts in prop::collection::vec(prop::num::f64::ANY, 1..8),
            q in prop::num::f64::ANY,
        ) {
            let mut pairs: Vec<_> = counts.iter().enumerate().map(|(i, &c)| (i as f64, c)).collect();
            pairs.push((INF, 1.0));
            quantile(q, &mut buckets(&pairs));
            fraction(q, counts[0], &mut buckets(&pairs));
        }
    }
}
