//! How fast a series changes: `rate`, `increase`, `delta`, `irate`, `idelta`; and how often: `changes`,
//! `resets`.
//!
//! The operations and their order are Prometheus's, so that results agree to the last bit.
//!
//! *Source*: <https://prometheus.io/docs/prometheus/latest/querying/functions/#rate>.

use fleetgauge_syntax::Features;
use fleetgauge_syntax::tree::Extended;

use super::range::RangeInput;
use crate::annotation::Annotations;
use crate::label::{LabelSet, METRIC_TYPE};

/// What a function takes a series to be.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Kind {
    /// Goes up and down.
    Gauge,
    /// Only goes up: where it falls, it was reset to zero and has risen since.
    Counter,
}

/// Samples that miss the range's border by more than this many average intervals say that the series begins
/// or ends within the range.
const BORDER_INTERVALS: f64 = 1.1;

/// The names that counters end in.
const COUNTER_SUFFIXES: [&str; 4] = ["_total", "_sum", "_count", "_bucket"];

/// The types of which a series is a counter.
const COUNTER_TYPES: [&str; 2] = ["counter", "histogram"];

/// The increase a second.
pub(super) fn rate(input: &RangeInput<'_>, _: &[f64], _: &mut Annotations) -> Option<f64> {
    if input.extended != Extended::No {
        return Some(input.extended_change(true)? / range_seconds(input));
    }
    let (change, factor) = extrapolated(input, Kind::Counter)?;
    Some(change * (factor / range_seconds(input)))
}

/// The change of a counter over the range.
pub(super) fn increase(input: &RangeInput<'_>, _: &[f64], _: &mut Annotations) -> Option<f64> {
    if input.extended != Extended::No {
        return input.extended_change(true);
    }
    let (change, factor) = extrapolated(input, Kind::Counter)?;
    Some(change * factor)
}

/// The change of a gauge over the range.
pub(super) fn delta(input: &RangeInput<'_>, _: &[f64], _: &mut Annotations) -> Option<f64> {
    if input.extended != Extended::No {
        return input.extended_change(false);
    }
    let (change, factor) = extrapolated(input, Kind::Gauge)?;
    Some(change * factor)
}

/// The increase a second between the last two samples.
pub(super) fn irate(input: &RangeInput<'_>, _: &[f64], _: &mut Annotations) -> Option<f64> {
    let (change, millis) = last_change(input, Kind::Counter)?;
    Some(change / (millis as f64 / 1000.0))
}

/// The difference of the last two samples.
pub(super) fn idelta(input: &RangeInput<'_>, _: &[f64], _: &mut Annotations) -> Option<f64> {
    let (change, _) = last_change(input, Kind::Gauge)?;
    Some(change)
}

/// How often the value changed. A NaN is the same as the NaN before it.
pub(super) fn changes(input: &RangeInput<'_>, _: &[f64], _: &mut Annotations) -> Option<f64> {
    let input = input.since_anchor()?;
    let changed = |pair: &&[f64]| pair[0] != pair[1] && !(pair[0].is_nan() && pair[1].is_nan());
    Some(input.values.windows(2).filter(changed).count() as f64)
}

/// How often the value fell.
pub(super) fn resets(input: &RangeInput<'_>, _: &[f64], _: &mut Annotations) -> Option<f64> {
    let input = input.since_anchor()?;
    if !input.falls {
        return Some(0.0);
    }
    let fell = |pair: &&[f64]| pair[1] < pair[0];
    Some(input.values.windows(2).filter(fell).count() as f64)
}

/// Says so if a metric, by its name or type, is not a counter.
pub(super) fn remark_non_counter(labels: &LabelSet, features: Features, notes: &mut Annotations) {
    let metric = labels.metric_name();
    if features.type_and_unit_labels {
        let found = labels.get(METRIC_TYPE).unwrap_or_default();
        if !metric.is_empty() && !COUNTER_TYPES.contains(&found) {
            let [counter, histogram] = COUNTER_TYPES;
            notes.info(format_args!(
                "metric might not be a counter, __type__ label is not set to {counter:?} or {histogram:?}, \
                 got {found:?}: {metric:?}"
            ));
        }
        return;
    }
    if !metric.is_empty() && !COUNTER_SUFFIXES.iter().any(|s| metric.ends_with(s)) {
        notes.info(format_args!(
            "metric might not be a counter, name does not end in _total/_sum/_count/_bucket: {metric:?}"
        ));
    }
}

/// The change between the first and the last sample, and the factor that extends it to the range. `None` of
/// fewer than two samples.
fn extrapolated(input: &RangeInput<'_>, kind: Kind) -> Option<(f64, f64)> {
    let &[first, .., last] = input.values else {
        return None;
    };
    let mut change = last - first;
    if kind == Kind::Counter && input.falls {
        for pair in input.values.windows(2) {
            if pair[1] < pair[0] {
                change += pair[0];
            }
        }
    }
    Some((change, extension(input, kind, first, change)))
}

/// The factor that extends a change between the first and the last of at least two samples to the range; `first` is
/// the value of the first one.
pub(super) fn extension(input: &RangeInput<'_>, kind: Kind, first: f64, change: f64) -> f64 {
    let (&[first_at, ..], &[.., last_at]) = (input.times, input.times) else {
        return 1.0;
    };
    let covered = seconds(first_at, last_at);
    let interval = covered / (input.times.len() - 1) as f64;
    let threshold = interval * BORDER_INTERVALS;
    let to_border = |distance: f64| {
        if distance >= threshold {
            interval / 2.0
        } else {
            distance
        }
    };
    let mut before = to_border(seconds(input.start, first_at));
    if kind == Kind::Counter && change > 0.0 && first >= 0.0 {
        // A counter began at zero at the earliest.
        let since_zero = covered * (first / change);
        if since_zero < before {
            before = since_zero;
        }
    }
    let after = to_border(seconds(last_at, input.end));
    (covered + before + after) / covered
}

/// The change between the last two samples, and the milliseconds between them.
fn last_change(input: &RangeInput<'_>, kind: Kind) -> Option<(f64, i64)> {
    let (&[.., from, to], &[.., before, last]) = (input.times, input.values) else {
        return None;
    };
    let was_reset = kind == Kind::Counter && last < before;
    let change = if was_reset { last } else { last - before };
    Some((change, to - from)).filter(|&(_, millis)| millis != 0)
}

fn seconds(from: i64, to: i64) -> f64 {
    (to - from) as f64 / 1000.0
}

/// The range's length as Go's `Duration.Seconds` has it, which rounds twice.
pub(super) fn range_seconds(input: &RangeInput<'_>) -> f64 {
    let millis = input.end - input.start;
    (millis / 1000) as f64 + (millis % 1000 * 1_000_000) as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Samples, over};
    use super::*;
    use crate::label::METRIC_NAME;
    use proptest::prelude::*;

    /// From 0 to a minute, as `end`.
    fn minute(function: super::super::RangeFunction, samples: Samples<'_>) -> Option<f64> {
        over(function, samples, (0, 60_000), &[])
    }

    #[test]
    fn changes_extend_to_the_borders_of_the_range() {
        let check = |samples, expected| assert_eq!(minute(delta, samples), expected, "{samples:?}");
        check(&[], None);
        check(&[(30_000, 5.0)], None);
        // Both borders are closer than 1.1 intervals: 10 in 20 s becomes 30 in 60 s.
        check(&[(20_000, 0.0), (40_000, 10.0)], Some(30.0));
        // Further off than that, half an interval is added instead.
        check(&[(30_000, 0.0), (40_000, 10.0)], Some(20.0));
        // Exactly 1.1 intervals count as too far: the start is 11 s away, the end 9 s.
        check(
            &[
                (11_000, 0.0),
                (21_000, 1.0),
                (31_000, 2.0),
                (41_000, 3.0),
                (51_000, 4.0),
            ],
            Some(4.0 * ((40.0 + 5.0 + 9.0) / 40.0)),
        );
        // One millisecond closer, and it is extended in full.
        check(
            &[
                (10_999, 0.0),
                (20_999, 1.0),
                (30_999, 2.0),
                (40_999, 3.0),
                (50_999, 4.0),
            ],
            Some(4.0 * ((40.0 + 10.999 + 9.001) / 40.0)),
        );
        // A gauge may fall, and below zero.
        check(&[(20_000, 1.0), (40_000, -9.0)], Some(-30.0));
        check(&[(20_000, 1.0), (40_000, f64::INFINITY)], Some(f64::INFINITY));
    }

    #[test]
    fn counters_are_reset_and_begin_at_zero() {
        let check = |samples, expected| assert_eq!(minute(increase, samples), expected, "{samples:?}");
        check(&[(30_000, 5.0)], None);
        check(&[(20_000, 100.0), (40_000, 110.0)], Some(30.0));
        // 10 → 2 is a rise by 2 after a reset.
        check(
            &[(0, 0.0), (20_000, 10.0), (40_000, 2.0), (60_000, 12.0)],
            Some(22.0),
        );
        // It was zero 2 s before the first sample, not 20.
        check(
            &[(20_000, 1.0), (40_000, 11.0)],
            Some(10.0 * ((20.0 + 2.0 + 20.0) / 20.0)),
        );
        // From zero on there is nothing before.
        check(&[(20_000, 0.0), (40_000, 10.0)], Some(10.0 * (40.0 / 20.0)));
        // Too far from the start, so half an interval, though zero was later than the border.
        check(
            &[(40_000, 8.0), (50_000, 18.0)],
            Some(10.0 * ((10.0 + 5.0 + 10.0) / 10.0)),
        );
        // No slope, so no zero.
        check(&[(20_000, 1.0), (40_000, 1.0)], Some(0.0));
        // What a counter should not do: it began below zero.
        check(&[(20_000, -10.0), (40_000, 10.0)], Some(60.0));
    }

    #[test]
    fn nan_makes_a_change_nan() {
        for function in [delta, increase, rate] {
            let value = minute(function, &[(20_000, 1.0), (40_000, f64::NAN)]);
            assert!(value.expect("two samples").is_nan());
        }
        // In between it hides a reset, but not the ends.
        assert_eq!(
            minute(increase, &[(0, 100.0), (30_000, f64::NAN), (60_000, 200.0)]),
            Some(100.0)
        );
    }

    #[test]
    fn rates_are_by_the_second() {
        assert_eq!(minute(rate, &[(20_000, 100.0), (40_000, 110.0)]), Some(0.5));
        // Over 1.1 s, which Go takes as 1 + 0.1.
        let value = over(rate, &[(100, 100.0), (1_100, 101.0)], (0, 1_100), &[]);
        assert_eq!(value, Some(((1.0 + 0.1) / 1.0) / (1.0 + 0.1)));
    }

    #[test]
    fn the_last_two_samples_count() {
        let samples: Samples<'_> = &[(1_000, 9.0), (2_000, 1.0), (12_500, 22.0)];
        assert_eq!(minute(irate, samples), Some(2.0));
        assert_eq!(minute(idelta, samples), Some(21.0));
        // A reset: the counter rose from zero.
        let fallen: Samples<'_> = &[(1_000, 9.0), (3_000, 4.0)];
        assert_eq!(minute(irate, fallen), Some(2.0));
        assert_eq!(minute(idelta, fallen), Some(-5.0));
        assert_eq!(minute(irate, &[(1_000, 9.0)]), None);
        assert_eq!(minute(idelta, &[(1_000, 9.0)]), None);
        let nan = minute(irate, &[(1_000, 9.0), (2_000, f64::NAN)]);
        assert!(nan.expect("two samples").is_nan());
    }

    #[test]
    fn changes_and_resets_are_counted() {
        const NAN: f64 = f64::NAN;
        let check = |values: &[f64], changed: f64, fallen: f64| {
            let samples: Vec<_> = values
                .iter()
                .enumerate()
                .map(|(i, &v)| (i as i64 + 1, v))
                .collect();
            assert_eq!(minute(changes, &samples), Some(changed), "{values:?}");
            assert_eq!(minute(resets, &samples), Some(fallen), "{values:?}");
        };
        check(&[1.0], 0.0, 0.0);
        check(&[1.0, 1.0, 2.0, 1.0], 2.0, 1.0);
        check(&[NAN, NAN, NAN], 0.0, 0.0);
        check(&[1.0, NAN, 1.0], 2.0, 0.0);
        check(&[0.0, -0.0], 0.0, 0.0);
        check(&[3.0, 2.0, 1.0, 0.0], 3.0, 3.0);
    }

    #[test]
    fn metrics_that_are_no_counters_are_remarked() {
        let remarks = |labels: &[(&str, &str)], features| {
            let mut notes = Annotations::default();
            remark_non_counter(
                &LabelSet::from_pairs(labels.iter().copied()),
                features,
                &mut notes,
            );
            notes.into_parts().1
        };
        let check = |metric: &str, expected: &[&str]| {
            assert_eq!(remarks(&[(METRIC_NAME, metric)], Features::default()), expected);
        };
        check("requests_total", &[]);
        check("latency_seconds_bucket", &[]);
        check("latency_seconds_sum", &[]);
        check("latency_seconds_count", &[]);
        check("", &[]);
        check(
            "vllm:num_requests_waiting",
            &[
                "PromQL info: metric might not be a counter, name does not end in \
               _total/_sum/_count/_bucket: \"vllm:num_requests_waiting\"",
            ],
        );
        // By the type, whatever the name says.
        let check = |kind: &str, expected: &[&str]| {
            let labels = [(METRIC_NAME, "queue_total"), (METRIC_TYPE, kind)];
            assert_eq!(remarks(&labels, Features::all()), expected);
        };
        check("counter", &[]);
        check("histogram", &[]);
        check(
            "gauge",
            &[
                "PromQL info: metric might not be a counter, __type__ label is not set to \"counter\" or \
               \"histogram\", got \"gauge\": \"queue_total\"",
            ],
        );
        assert!(remarks(&[(METRIC_TYPE, "gauge")], Features::all()).is_empty());
    }

    proptest! {
        #[test]
        fn counters_never_fall(values in prop::collection::vec(0.0..1e12, 2..40), gap in 1..5_000_i64) {
            let samples: Vec<_> = values.iter().enumerate().map(|(i, &v)| (gap * (i as i64 + 1), v)).collect();
            let end = gap * (values.len() as i64 + 1);
            for function in [rate, increase, irate] {
                prop_assert!(over(function, &samples, (0, end), &[]).unwrap() >= 0.0);
            }
        }

        #[test]
        fn a_counter_that_starts_late_is_not_extended_below_zero(first in 0.0..10.0, rise in 0.1..10.0) {
            // The increase is at most what the counter shows at the end of the range.
            let value = minute(increase, &[(59_000, first), (60_000, first + rise)]).unwrap();
            prop_assert!(value <= (first + rise) * (1.0 + 1e-12));
        }
    }
}
