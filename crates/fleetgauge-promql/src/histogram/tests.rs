use proptest::prelude::*;

use super::*;

/// With this count, sum and positive buckets from index 1 on.
fn exponential(schema: i64, count: f64, sum: f64, buckets: &[f64]) -> FloatHistogram {
    FloatHistogram::exponential(schema)
        .expect("a schema")
        .with_count(count)
        .with_sum(sum)
        .with_positive(Buckets::starting_at(1, buckets).expect("in range"))
}

fn custom(bounds: &[f64], count: f64, sum: f64, buckets: &[f64]) -> FloatHistogram {
    FloatHistogram::custom(bounds)
        .expect("bounds")
        .with_count(count)
        .with_sum(sum)
        .with_positive(Buckets::starting_at(0, buckets).expect("in range"))
}

fn with_negative(histogram: FloatHistogram, buckets: &[f64]) -> FloatHistogram {
    histogram.with_negative(Buckets::starting_at(1, buckets).expect("in range"))
}

#[test]
fn what_is_no_histogram_is_refused() {
    let error = |histogram: Result<FloatHistogram, HistogramError>| histogram.expect_err("refused");
    assert_eq!(error(FloatHistogram::exponential(9)), HistogramError::Schema(9));
    assert_eq!(error(FloatHistogram::exponential(-5)), HistogramError::Schema(-5));
    assert_eq!(
        error(FloatHistogram::custom(&[1.0, 1.0])),
        HistogramError::Order {
            before: 1.0,
            after: 1.0
        }
    );
    assert_eq!(
        error(FloatHistogram::custom(&[1.0, f64::INFINITY])),
        HistogramError::Bound(f64::INFINITY)
    );
    assert!(FloatHistogram::custom(&[f64::NAN]).is_err());
    let plain = exponential(0, 1.0, 1.0, &[1.0]);
    assert!(plain.clone().with_zero(-1.0, 0.0).is_err());
    assert!(plain.clone().with_zero(f64::NAN, 0.0).is_err());
    assert!(Buckets::starting_at(i32::MAX, &[1.0, 1.0]).is_err());
    assert!(Buckets::starting_at(i32::MIN, &[1.0]).is_err());
    assert!(Buckets::from_spans([(0, &[1.0][..]), (-1, &[1.0][..])]).is_err());

    let check = |histogram: FloatHistogram, expected| assert_eq!(histogram.check(), expected);
    check(plain.clone(), Ok(()));
    check(
        exponential(0, 1.0, 0.0, &[-1.0]),
        Err(HistogramError::Count(-1.0)),
    );
    check(exponential(0, -2.0, 0.0, &[]), Err(HistogramError::Count(-2.0)));
    check(custom(&[1.0], 2.0, 1.0, &[1.0, 1.0]), Ok(()));
    check(custom(&[1.0], 3.0, 1.0, &[1.0; 3]), Err(HistogramError::Index(2)));
    check(
        with_negative(custom(&[1.0], 1.0, 1.0, &[]), &[1.0]),
        Err(HistogramError::CustomOnly),
    );
}

#[test]
fn buckets_are_shown_with_their_bounds() {
    let check = |histogram: &FloatHistogram, expected: &str| assert_eq!(histogram.to_string(), expected);
    let zero = exponential(0, 12.0, 1.5e6, &[1.0, 0.0, 2.0]).with_zero(0.5, 3.0);
    let all = with_negative(zero.expect("a width"), &[4.0, 2.0]);
    check(
        &all,
        "{count:12, sum:1.5e+06, [-4,-2):2, [-2,-1):4, [-0.5,0.5]:3, (1,2]:1, (4,8]:2}",
    );
    check(
        &custom(&[-1.0, 5.0], 3.0, f64::NAN, &[1.0, 1.0, 1.0]),
        "{count:3, sum:NaN, [-Inf,-1]:1, (-1,5]:1, (5,+Inf]:1}",
    );
    let spans = Buckets::from_spans([(-1, &[1.0][..]), (2, &[2.0, 3.0][..])]).expect("in range");
    check(
        &exponential(0, 6.0, 0.0, &[]).with_positive(spans),
        "{count:6, sum:0, (0.25,0.5]:1, (2,4]:2, (4,8]:3}",
    );
}

#[test]
fn the_coarser_resolution_and_the_wider_zero_bucket_win() {
    // (1, √2], (√2, 2], (2, 2√2] and (1, 2].
    let mut one = exponential(1, 6.0, 10.0, &[1.0, 2.0, 3.0]);
    let other = exponential(0, 4.0, 6.0, &[4.0]);
    one.add(&other).expect("alike");
    assert_eq!(one.to_string(), "{count:10, sum:16, (1,2]:7, (2,4]:3}");
    one.subtract(&other).expect("alike");
    assert_eq!(one.to_string(), "{count:6, sum:10, (1,2]:3, (2,4]:3}");

    // Three of its buckets reach into the zero bucket of the other one, which grows to the end of the third.
    let mut narrow = with_negative(exponential(0, 6.0, 7.0, &[1.0, 2.0, 3.0]), &[1.0]);
    let wide = exponential(0, 5.0, 0.0, &[])
        .with_zero(3.0, 5.0)
        .expect("a width");
    narrow.add(&wide).expect("alike");
    assert_eq!(narrow.to_string(), "{count:11, sum:7, [-4,4]:9, (4,8]:3}");
}

#[test]
fn of_custom_bounds_the_shared_ones_remain() {
    let mut one = custom(&[1.0, 2.0, 5.0], 10.0, 20.0, &[1.0, 2.0, 3.0, 4.0]);
    let same = one.clone();
    assert_eq!(one.add(&same), Ok(Merged::default()));
    assert_eq!(
        one.to_string(),
        "{count:20, sum:40, [-Inf,1]:2, (1,2]:4, (2,5]:6, (5,+Inf]:8}"
    );
    let other = custom(&[2.0, 3.0, 5.0], 4.0, 10.0, &[1.0, 1.0, 1.0, 1.0]);
    let merged = one.add(&other).expect("alike");
    assert!(merged.has_other_bounds);
    assert_eq!(
        one.to_string(),
        "{count:24, sum:50, [-Inf,2]:7, (2,5]:8, (5,+Inf]:9}"
    );
    let before = one.clone();
    assert_eq!(
        one.add(&exponential(0, 1.0, 1.0, &[1.0])),
        Err(HistogramError::Mixed)
    );
    assert_eq!(one, before);
}

#[test]
fn what_is_known_of_resets_is_merged() {
    use CounterReset::{Gauge, NotReset, Reset, Unknown};
    let check = |own, other, expected, conflict| {
        let histogram = |known| exponential(0, 1.0, 1.0, &[1.0]).with_counter_reset(known);
        let mut merged = histogram(own);
        let result = merged.add(&histogram(other)).expect("alike");
        assert_eq!(
            (merged.counter_reset(), result.has_conflicting_resets),
            (expected, conflict),
            "{own:?} and {other:?}"
        );
    };
    check(Unknown, Reset, Unknown, false);
    check(NotReset, Unknown, Unknown, false);
    check(Reset, Reset, Reset, false);
    check(Reset, NotReset, Unknown, true);
    check(NotReset, Reset, Unknown, true);
    check(Gauge, Reset, Gauge, false);
    check(NotReset, Gauge, Gauge, false);
    let mut turned = exponential(0, 1.0, 1.0, &[1.0]);
    turned.multiply(-2.0);
    assert_eq!(turned.counter_reset(), Gauge);
    assert_eq!(turned.to_string(), "{count:-2, sum:-2, (1,2]:-2}");
    turned.divide(0.0);
    assert_eq!(turned.to_string(), "{count:-Inf, sum:-Inf, [-0,0]:NaN}");
    assert!(turned.has_overflow());
}

#[test]
fn a_reset_is_what_cannot_have_grown() {
    use CounterReset::{NotReset, Reset};
    let before = exponential(1, 6.0, 10.0, &[1.0, 2.0, 3.0]);
    let check = |now: &FloatHistogram, before: &FloatHistogram, expected| {
        assert_eq!(now.is_reset_since(before), expected, "{before} to {now}");
    };
    check(&before, &before, false);
    check(&exponential(1, 7.0, 0.0, &[1.0, 2.0, 3.0, 1.0]), &before, false);
    check(&exponential(1, 7.0, 0.0, &[2.0, 1.0, 4.0]), &before, true);
    check(&exponential(1, 5.0, 0.0, &[1.0, 2.0, 3.0]), &before, true);
    check(&exponential(1, 6.0, 0.0, &[1.0, 2.0]), &before, true);
    // It may become coarser, not finer.
    check(&exponential(0, 6.0, 0.0, &[3.0, 3.0]), &before, false);
    check(&exponential(0, 6.0, 0.0, &[2.0, 4.0]), &before, true);
    check(&exponential(2, 60.0, 0.0, &[9.0; 9]), &before, true);
    check(&custom(&[2.0], 60.0, 0.0, &[9.0; 2]), &before, true);
    check(&before, &custom(&[2.0], 6.0, 0.0, &[3.0; 2]), true);
    // Its zero bucket may become wider, up to the end of a bucket and with all that lies there.
    let zero = |width, count| {
        let histogram = exponential(1, 6.0, 0.0, &[0.0, 0.0, 3.0]);
        histogram.with_zero(width, count).expect("a width")
    };
    check(&zero(2.0, 3.0), &before, false);
    check(&zero(2.0, 2.0), &before, true);
    check(&zero(1.9, 3.0), &before, true);
    check(&before, &zero(2.0, 0.0), true);
    // What it says itself counts more.
    check(&before.clone().with_counter_reset(Reset), &before, true);
    check(
        &exponential(1, 0.0, 0.0, &[]).with_counter_reset(NotReset),
        &before,
        false,
    );
    // Of other custom bounds, those that both have are compared.
    let bounds = custom(&[1.0, 2.0, 5.0], 10.0, 0.0, &[1.0, 2.0, 3.0, 4.0]);
    check(&custom(&[2.0, 5.0], 10.0, 0.0, &[3.0, 3.0, 4.0]), &bounds, false);
    check(&custom(&[2.0, 5.0], 10.0, 0.0, &[2.0, 4.0, 4.0]), &bounds, true);
    check(
        &custom(&[1.0, 2.0, 5.0], 10.0, 0.0, &[1.0, 2.0, 2.0, 5.0]),
        &bounds,
        true,
    );
}

#[test]
fn quantiles_are_interpolated() {
    let check = |histogram: &FloatHistogram, q: f64, expected: f64| {
        let value = histogram.quantile(q).value;
        let is_same = value.to_bits() == expected.to_bits() || (value - expected).abs() < 1e-12;
        assert!(is_same, "{q} of {histogram}: {value}");
    };
    let two = exponential(0, 8.0, 18.0, &[4.0, 4.0]);
    check(&two, -0.1, f64::NEG_INFINITY);
    check(&two, 1.1, f64::INFINITY);
    check(&two, f64::NAN, f64::NAN);
    check(&two, 0.0, 1.0);
    check(&two, 0.25, 2f64.sqrt());
    check(&two, 0.5, 2.0);
    check(&two, 0.75, 8f64.sqrt());
    check(&two, 1.0, 4.0);
    check(&exponential(0, 0.0, 0.0, &[]), 0.5, f64::NAN);
    let below = with_negative(exponential(0, 8.0, 18.0, &[]), &[4.0, 4.0]);
    check(&below, 0.25, -(8f64.sqrt()));
    // The zero bucket is linear; it reaches to where else something was observed.
    let zero = exponential(0, 4.0, 0.0, &[])
        .with_zero(1.0, 4.0)
        .expect("a width");
    check(&zero, 0.25, -0.5);
    check(
        &exponential(0, 8.0, 0.0, &[4.0])
            .with_zero(1.0, 4.0)
            .expect("a width"),
        0.25,
        0.5,
    );
    // Custom buckets are linear; one without an end gives the end that it has.
    let bounds = custom(&[1.0, 5.0], 6.0, 10.0, &[2.0, 2.0, 2.0]);
    check(&bounds, 0.5, 3.0);
    check(&bounds, 1.0, 5.0);
    check(&bounds, 1.0 / 6.0, 0.5);
    check(&custom(&[-1.0, 5.0], 4.0, 10.0, &[2.0, 2.0]), 0.1, -1.0);
}

#[test]
fn observed_nans_are_told() {
    let nan = exponential(0, 10.0, f64::NAN, &[4.0, 4.0]);
    let effect = |q| nan.quantile(q).nan_effect;
    assert_eq!(effect(0.4), Some(NanEffect::Skews));
    assert_eq!(effect(0.9), Some(NanEffect::IsResult));
    assert!(nan.quantile(0.9).value.is_nan());
    assert_eq!(
        exponential(0, 8.0, f64::NAN, &[4.0, 4.0])
            .quantile(0.5)
            .nan_effect,
        None
    );
    let fraction = nan.fraction(0.0, 2.0);
    assert_eq!(fraction.value, 0.4);
    assert_eq!(fraction.nan_effect, Some(NanEffect::LeftOut));
}

#[test]
fn fractions_and_variances() {
    let two = exponential(0, 8.0, 18.0, &[4.0, 4.0]);
    let check = |lower: f64, upper: f64, expected: f64| {
        let value = two.fraction(lower, upper).value;
        assert!((value - expected).abs() < 1e-12, "{lower} to {upper}: {value}");
    };
    check(1.0, 2.0, 0.5);
    check(2f64.sqrt(), 8f64.sqrt(), 0.5);
    check(f64::NEG_INFINITY, f64::INFINITY, 1.0);
    check(3.0, 3.0, 0.0);
    check(5.0, 9.0, 0.0);
    assert!(two.fraction(f64::NAN, 1.0).value.is_nan());
    assert_eq!(
        custom(&[1.0, 5.0], 6.0, 10.0, &[2.0; 3]).fraction(0.5, 3.0).value,
        2.0 / 6.0
    );

    // √2 and √8 around a mean of 2.25.
    let expected = ((2f64.sqrt() - 2.25).powi(2) + (8f64.sqrt() - 2.25).powi(2)) / 2.0;
    assert!((two.variance() - expected).abs() < 1e-12);
    let below = with_negative(exponential(0, 8.0, -18.0, &[]), &[4.0, 4.0]);
    assert!((below.variance() - expected).abs() < 1e-12);
    assert_eq!(custom(&[2.0, 4.0], 2.0, 6.0, &[0.0, 2.0]).variance(), 0.0);
}

#[test]
fn trimmed_buckets_are_split() {
    let check = |histogram: &FloatHistogram, keeps_below: bool, at: f64, expected: &str| {
        let mut trimmed = histogram.clone();
        if keeps_below {
            trimmed.trim_above(at);
        } else {
            trimmed.trim_below(at);
        }
        assert_eq!(trimmed.to_string(), expected, "{histogram} at {at}");
    };
    let zero = exponential(0, 16.0, 20.0, &[4.0, 8.0]).with_zero(0.5, 4.0);
    let all = zero.expect("a width");
    check(&all, true, 4.0, &all.to_string());
    check(&all, false, -1.0, &all.to_string());
    // √2, and a quarter for those around zero, which lie above it.
    check(
        &all,
        true,
        2.0,
        "{count:8, sum:6.656854249492381, [-0.5,0.5]:4, (1,2]:4}",
    );
    check(&all, false, 4.0, "{count:0, sum:0}");
    check(&all, true, 0.25, "{count:2, sum:0.25, [-0.5,0.5]:2}");
    let bounds = custom(&[1.0, 5.0], 6.0, 10.0, &[2.0, 2.0, 2.0]);
    check(&bounds, true, 3.0, "{count:3, sum:3, [-Inf,1]:2, (1,5]:1}");
    check(&bounds, false, 3.0, "{count:3, sum:14, (1,5]:1, (5,+Inf]:2}");
    check(&bounds, true, 0.5, "{count:1, sum:0.25, [-Inf,1]:1}");
    check(&bounds, false, 7.0, "{count:2, sum:14, (5,+Inf]:2}");
    let below = with_negative(exponential(0, 4.0, -8.0, &[]), &[2.0, 2.0]);
    check(
        &below,
        false,
        -2.0,
        "{count:2, sum:-2.8284271247461903, [-2,-1):2}",
    );
}

#[test]
fn sums_lose_nothing_to_rounding() {
    let small = exponential(0, 1.0, 1.0, &[1.0]);
    let large = exponential(0, 1e16, 1e16, &[1e16]);
    let mut negative = large.clone();
    negative.multiply(-1.0);
    let all = [&large, &small, &small, &small, &negative];
    let (total, merged) = FloatHistogram::total_of(all).expect("alike").expect("some");
    assert_eq!(total, exponential(0, 3.0, 3.0, &[3.0]));
    assert_eq!(merged, Merged::default());
    assert_eq!(FloatHistogram::total_of([]), Ok(None));
    let mut plain = large.clone();
    plain.add(&small).expect("alike");
    plain.subtract(&large).expect("alike");
    assert_ne!(plain, small, "plain numbers round");
}

// === properties ===

/// Whole counts, so that sums are exact in any order; no bucket lies within the zero bucket, which no program exposes.
fn any_exponential() -> impl Strategy<Value = FloatHistogram> {
    let buckets = || {
        let counts = prop::collection::vec(0_u16..50, 0..12);
        (-12..12_i32, counts).prop_map(|(first, counts)| {
            let counts: Vec<f64> = counts.into_iter().map(f64::from).collect();
            Buckets::starting_at(first, &counts).expect("in range")
        })
    };
    let width = prop::sample::select(vec![0.0, 0.001, 0.3, 1.0, 2.5]);
    (-4..=8_i64, width, 0_u8..50, buckets(), buckets()).prop_map(
        |(schema, width, zero, positive, negative)| {
            let empty =
                FloatHistogram::exponential(schema).and_then(|empty| empty.with_zero(width, zero.into()));
            let mut filled = empty
                .expect("valid")
                .with_positive(positive)
                .with_negative(negative);
            // As a program has it that counts in one bucket or the other.
            filled.drop_in_zero_bucket();
            let counts = filled.positive.counts().iter().chain(filled.negative.counts());
            let count = counts.sum::<f64>() + f64::from(zero);
            filled.with_count(count).with_sum(count * 2.0)
        },
    )
}

fn any_custom() -> impl Strategy<Value = FloatHistogram> {
    prop::collection::btree_map(-20_i32..20, 0_u16..50, 0..10).prop_map(|buckets| {
        let bounds: Vec<f64> = buckets.keys().map(|&bound| bound.into()).collect();
        let counts: Vec<f64> = buckets.values().map(|&count| count.into()).collect();
        custom(&bounds, counts.iter().sum(), 1.0, &counts)
    })
}

fn counted(histogram: &FloatHistogram) -> f64 {
    histogram.buckets().map(|bucket| bucket.count).sum()
}

fn compacted(mut histogram: FloatHistogram) -> FloatHistogram {
    histogram.compact();
    histogram
}

/// The sum of two, which does not depend on which of them is added to the other.
fn sum_both_ways(one: &FloatHistogram, other: &FloatHistogram) -> Result<FloatHistogram, TestCaseError> {
    let sum = |mut one: FloatHistogram, other| {
        one.add(other).expect("alike");
        compacted(one)
    };
    let both = sum(one.clone(), other);
    prop_assert_eq!(&both, &sum(other.clone(), one));
    prop_assert_eq!(counted(&both), both.count());
    Ok(both)
}

proptest! {
    #[test]
    fn sums_are_the_same_both_ways(one in any_exponential(), other in any_exponential()) {
        let both = sum_both_ways(&one, &other)?;
        let (total, _) = FloatHistogram::total_of([&one, &other]).expect("alike").expect("some");
        prop_assert_eq!(compacted(total), both.clone());
        // What was added cannot be a reset.
        prop_assert!(!both.is_reset_since(&one), "{} to {}", one, both);
    }

    #[test]
    fn custom_sums_are_the_same_both_ways(one in any_custom(), other in any_custom()) {
        let both = sum_both_ways(&one, &other)?;
        prop_assert!(!both.is_reset_since(&one), "{} to {}", one, both);
    }

    #[test]
    fn what_is_subtracted_from_itself_is_empty(one in any_exponential()) {
        let mut rest = one.clone();
        rest.subtract(&one).expect("alike");
        prop_assert_eq!(rest.count(), 0.0);
        prop_assert_eq!(compacted(rest).buckets().count(), 0);
    }

    #[test]
    fn a_coarser_one_counts_the_same(one in any_exponential(), schema in -4..=8_i8) {
        let mut coarser = one.clone();
        coarser.reduce_to(schema);
        prop_assert_eq!(counted(&coarser), counted(&one));
        prop_assert!(!coarser.is_reset_since(&one));
        let mut directly = one.clone();
        let mut stepwise = one;
        directly.reduce_to(-4);
        stepwise.reduce_to(0);
        stepwise.reduce_to(-4);
        prop_assert_eq!(directly, stepwise);
    }

    #[test]
    fn buckets_follow_each_other(one in any_exponential()) {
        let buckets: Vec<_> = one.buckets().collect();
        for two in buckets.windows(2) {
            prop_assert!(two[0].upper <= two[1].lower, "{} before {}", two[0], two[1]);
        }
    }

    #[test]
    fn quantiles_grow_with_q(one in any_exponential(), a in 0.0..1.0, b in 0.0..1.0) {
        let one = FloatHistogram { zero_threshold: 0.0, ..one };
        prop_assume!(one.count() > 0.0);
        let (low, high) = (f64::min(a, b), f64::max(a, b));
        let values = [low, high].map(|q| one.quantile(q).value);
        let slack = 1e-9 * values[0].abs();
        prop_assert!(values[0] <= values[1] + slack, "{:?} of {}", values, one);
        // And fractions are the way back.
        let part = one.fraction(f64::NEG_INFINITY, values[1]).value;
        prop_assert!(part <= high + 1e-9 || values[1] == 0.0, "{} for {}", part, high);
    }

    #[test]
    fn both_parts_of_a_cut_are_the_whole(one in any_exponential(), at in -40.0..40.0) {
        let (mut below, mut above) = (one.clone(), one.clone());
        below.trim_above(at);
        above.trim_below(at);
        prop_assert!((below.count() + above.count() - one.count()).abs() < 1e-9);
    }
}
