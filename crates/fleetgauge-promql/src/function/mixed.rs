//! Functions over ranges in which samples are histograms: `rate` and its like, `sum_over_time`, `resets`, ….
//!
//! The operations and their order are Prometheus's, and so are the words in which it says what could not be computed.
//!
//! *Source*: <https://prometheus.io/docs/specs/native_histograms/#promql>.

use std::sync::Arc;

use fleetgauge_syntax::tree::Extended;

use super::joining::{Joining, warn_of_kinds, warn_of_mix, warn_of_no_counter, warn_of_no_gauge};
use super::range::Mixed;
use super::rate::{Kind, extension, range_seconds};
use crate::annotation::Annotations;
use crate::histogram::{CounterReset, FloatHistogram, HistogramError, Merged};
use crate::sample::SampleValue;

/// The increase a second.
pub(super) fn rate(range: &Mixed<'_>, notes: &mut Annotations) -> Option<SampleValue> {
    if range.input.extended != Extended::No {
        let mut change = range.extended_change(Kind::Counter, notes)?;
        change.divide(range_seconds(&range.input));
        return Some(histogram(change));
    }
    let (change, factor) = extrapolated(range, Kind::Counter, notes)?;
    multiplied(change, factor / range_seconds(&range.input))
}

/// The change of a counter over the range.
pub(super) fn increase(range: &Mixed<'_>, notes: &mut Annotations) -> Option<SampleValue> {
    if range.input.extended != Extended::No {
        let change = range.extended_change(Kind::Counter, notes)?;
        return Some(histogram(change));
    }
    let (change, factor) = extrapolated(range, Kind::Counter, notes)?;
    multiplied(change, factor)
}

/// The change of a gauge over the range.
pub(super) fn delta(range: &Mixed<'_>, notes: &mut Annotations) -> Option<SampleValue> {
    if range.input.extended != Extended::No {
        let change = range.extended_change(Kind::Gauge, notes)?;
        return Some(histogram(change));
    }
    let (change, factor) = extrapolated(range, Kind::Gauge, notes)?;
    multiplied(change, factor)
}

/// The increase a second between the last two samples.
pub(super) fn irate(range: &Mixed<'_>, notes: &mut Annotations) -> Option<SampleValue> {
    let (change, millis) = last_change(range, Kind::Counter, notes)?;
    let seconds = millis as f64 / 1000.0;
    Some(match change {
        SampleValue::Float(change) => SampleValue::Float(change / seconds),
        SampleValue::Histogram(change) => {
            let mut change = Arc::unwrap_or_clone(change);
            change.divide(seconds);
            histogram(change)
        }
    })
}

/// The difference of the last two samples.
pub(super) fn idelta(range: &Mixed<'_>, notes: &mut Annotations) -> Option<SampleValue> {
    last_change(range, Kind::Gauge, notes).map(|(change, _)| change)
}

/// The sum.
pub(super) fn sum(range: &Mixed<'_>, notes: &mut Annotations) -> Option<SampleValue> {
    joined(range, notes, |all| FloatHistogram::total_of(all))
}

/// The mean.
pub(super) fn avg(range: &Mixed<'_>, notes: &mut Annotations) -> Option<SampleValue> {
    joined(range, notes, |all| FloatHistogram::mean_of(all))
}

/// The oldest.
pub(super) fn first(range: &Mixed<'_>, _: &mut Annotations) -> Option<SampleValue> {
    Some(range.value(0))
}

/// The newest.
pub(super) fn last(range: &Mixed<'_>, _: &mut Annotations) -> Option<SampleValue> {
    Some(range.value(range.len().checked_sub(1)?))
}

/// How often the value changed.
pub(super) fn changes(range: &Mixed<'_>, _: &mut Annotations) -> Option<SampleValue> {
    count(range, |_, _, before, after| match (before, after) {
        (SampleValue::Float(before), SampleValue::Float(after)) => {
            before != after && !(before.is_nan() && after.is_nan())
        }
        (before, after) => before != after,
    })
}

/// How often the value fell, or became a value of the other kind.
pub(super) fn resets(range: &Mixed<'_>, _: &mut Annotations) -> Option<SampleValue> {
    count(range, |range, place, before, after| match (before, after) {
        _ if range.input.begins_anew(place) => true,
        (SampleValue::Float(before), SampleValue::Float(after)) => after < before,
        (SampleValue::Histogram(before), SampleValue::Histogram(after)) => after.is_reset_since(before),
        _ => true,
    })
}

fn count(
    range: &Mixed<'_>,
    is_counted: impl Fn(&Mixed<'_>, usize, &SampleValue, &SampleValue) -> bool,
) -> Option<SampleValue> {
    let range = range.since_anchor()?;
    let mut before = range.value(0);
    let mut counted = 0.0;
    for place in 1..range.len() {
        let after = range.value(place);
        if is_counted(&range, place, &before, &after) {
            counted += 1.0;
        }
        before = after;
    }
    Some(SampleValue::Float(counted))
}

fn histogram(mut histogram: FloatHistogram) -> SampleValue {
    histogram.compact();
    SampleValue::Histogram(Arc::new(histogram))
}

fn multiplied(mut change: FloatHistogram, factor: f64) -> Option<SampleValue> {
    change.multiply(factor);
    Some(histogram(change))
}

type Joined = Result<Option<(FloatHistogram, Merged)>, HistogramError>;

fn joined(
    range: &Mixed<'_>,
    notes: &mut Annotations,
    join: impl Fn(Vec<&FloatHistogram>) -> Joined,
) -> Option<SampleValue> {
    let all = range.histograms(notes)?;
    let says = |known: CounterReset| all.iter().any(|one| one.counter_reset() == known);
    let has_conflicting_resets = says(CounterReset::Reset) && says(CounterReset::NotReset);
    match join(all) {
        Ok(joined) => {
            let (joined, merged) = joined?;
            let merged = Merged {
                has_conflicting_resets,
                ..merged
            };
            Joining::Aggregation.tell(merged, notes);
            // With its empty buckets, as Prometheus leaves them: where there is one below zero, the zero bucket reaches below
            // zero for a quantile.
            Some(SampleValue::Histogram(Arc::new(joined)))
        }
        Err(_) => {
            warn_of_kinds(range.metric, notes);
            None
        }
    }
}

/// The change between the first and the last sample, and the factor that extends it to the range.
fn extrapolated(range: &Mixed<'_>, kind: Kind, notes: &mut Annotations) -> Option<(FloatHistogram, f64)> {
    if kind == Kind::Counter
        && range.only_grows
        && range.input.starts.is_empty()
        && let Some(first) = range.samples.histogram_sample(range.from)
        && let Some(last) = range.samples.histogram_sample(range.from + range.len() - 1)
    {
        let change = last.change_since(first).ok()?;
        let factor = extension(&range.input, kind, first.count(), change.count());
        return Some((change.with_counter_reset(CounterReset::Gauge), factor));
    }
    let all = range.histograms(notes)?;
    let first = *all.first()?;
    let is_whole = kind == Kind::Counter && range.input.beginning().is_some();
    let change = match all.len() {
        1 if is_whole => first.clone().with_counter_reset(CounterReset::Gauge),
        _ => {
            let mut change = change(range, &all, kind, notes)?;
            if is_whole {
                match change.add(first) {
                    Ok(merged) => Joining::Addition.tell_bounds(merged, notes),
                    Err(_) => {
                        warn_of_kinds(range.metric, notes);
                        return None;
                    }
                }
            }
            change
        }
    };
    let factor = extension(&range.input, kind, first.count(), change.count());
    Some((change, factor))
}

/// What came from the first to the last of several, over all resets.
fn change(
    range: &Mixed<'_>,
    all: &[&FloatHistogram],
    kind: Kind,
    notes: &mut Annotations,
) -> Option<FloatHistogram> {
    let (&[first, second, ..], &[.., last]) = (all, all) else {
        return None;
    };
    let metric = range.metric;
    let is_reset = |place: usize| range.input.begins_anew(place) || all[place].is_reset_since(all[place - 1]);
    let is_counter = kind == Kind::Counter;
    let is_gauge = |one: &FloatHistogram| one.counter_reset() == CounterReset::Gauge;
    if is_counter && all.iter().any(|one| is_gauge(one)) {
        warn_of_no_counter(metric, notes);
    }
    // Where the second one began anew, the first one does not matter, and may have any buckets.
    let first = Some(first).filter(|_| !(is_counter && is_reset(1)));
    let is_custom = first.unwrap_or(second).layout().is_custom();
    let looked_at = if is_counter {
        &all[1..]
    } else {
        &all[all.len() - 1..]
    };
    if looked_at.iter().any(|one| one.layout().is_custom() != is_custom) {
        warn_of_kinds(metric, notes);
        return None;
    }
    let mut change = last.clone();
    // To the coarsest at once, so that zero buckets grow as those of Prometheus.
    let looked_at = looked_at.iter().chain(&first);
    for schema in looked_at.filter_map(|one| one.schema()) {
        change.reduce_to(schema);
    }
    if let Some(first) = first {
        let merged = change.subtract(first).ok()?;
        Joining::Subtraction.tell_bounds(merged, notes);
    }
    if is_counter {
        for place in 1 + usize::from(first.is_none())..all.len() {
            if is_reset(place) {
                let merged = change.add(all[place - 1]).ok()?;
                Joining::Addition.tell_bounds(merged, notes);
            }
        }
    } else if all
        .first()
        .into_iter()
        .chain(all.last())
        .any(|one| !is_gauge(one))
    {
        warn_of_no_gauge(metric, notes);
    }
    change.compact();
    Some(change.with_counter_reset(CounterReset::Gauge))
}

/// The change between the last two samples, and the milliseconds between them.
fn last_change(range: &Mixed<'_>, kind: Kind, notes: &mut Annotations) -> Option<(SampleValue, i64)> {
    let last = range.len().checked_sub(1)?;
    let before = last.checked_sub(1)?;
    let &[.., from, to] = range.input.times else {
        return None;
    };
    if from == to {
        return None;
    }
    let change = match (range.histogram(before), range.histogram(last)) {
        (Some(before), Some(after)) => {
            let gauges = [before, after].map(|one| one.counter_reset() == CounterReset::Gauge);
            let is_counter = kind == Kind::Counter;
            match is_counter {
                true if gauges[0] || gauges[1] => warn_of_no_counter(range.metric, notes),
                false if !(gauges[0] && gauges[1]) => warn_of_no_gauge(range.metric, notes),
                _ => {}
            }
            let mut change = after.clone();
            let is_reset = range.input.begins_anew(last) || after.is_reset_since(before);
            if !(is_counter && is_reset) {
                match change.subtract(before) {
                    Ok(merged) => Joining::Subtraction.tell_bounds(merged, notes),
                    Err(_) => {
                        warn_of_kinds(range.metric, notes);
                        return None;
                    }
                }
            }
            histogram(change.with_counter_reset(CounterReset::Gauge))
        }
        (None, None) => {
            let &[.., before, after] = range.input.values else {
                return None;
            };
            let is_reset = after < before || range.input.begins_anew(last);
            let was_reset = kind == Kind::Counter && is_reset;
            SampleValue::Float(if was_reset { after } else { after - before })
        }
        _ => {
            warn_of_mix(range.metric, notes);
            return None;
        }
    };
    Some((change, to - from))
}
