//! Native histograms in a request of remote write.
//!
//! ```proto
//! message Histogram {
//!   oneof count { uint64 count_int = 1; double count_float = 2; }
//!   double sum = 3;
//!   sint32 schema = 4;
//!   double zero_threshold = 5;
//!   oneof zero_count { uint64 zero_count_int = 6; double zero_count_float = 7; }
//!   repeated BucketSpan negative_spans = 8;
//!   repeated sint64 negative_deltas = 9;
//!   repeated double negative_counts = 10;
//!   repeated BucketSpan positive_spans = 11;
//!   repeated sint64 positive_deltas = 12;
//!   repeated double positive_counts = 13;
//!   ResetHint reset_hint = 14;
//!   int64 timestamp = 15;
//!   repeated double custom_values = 16;
//! }
//! message BucketSpan { sint32 offset = 1; uint32 length = 2; }
//! ```
//!
//! *Source*: <https://github.com/prometheus/prometheus/blob/main/prompb/types.proto>.

use std::ops::Range;

use fleetgauge_promql::histogram::{Buckets, CounterReset, FloatHistogram, Layout};
use fleetgauge_promql::sample::{STALE_MARKER, Samples};

use super::wire::{put_head, put_varint};

/// The field of a series, with its length before it.
pub(super) const HISTOGRAMS: u8 = 4 << 3 | 2;
/// The schema of custom buckets.
const CUSTOM: i64 = -53;
/// Up to here every whole number has a float of its own.
const MAX_WHOLE: f64 = 9_007_199_254_740_992.0;

/// These of `samples`, as fields of a series: histograms, and staleness markers, which are histograms here whose sum is the
/// marker. All have whole counts, or none.
pub(super) fn encoded(samples: &Samples, range: Range<usize>) -> Vec<u8> {
    let (mut bytes, mut one) = (Vec::new(), Vec::new());
    let mut histograms = range.clone().filter_map(|at| samples.histogram(at));
    let is_whole = histograms.all(|histogram| is_whole(histogram));
    for at in range {
        one.clear();
        let time = samples.times()[at];
        match samples.histogram(at) {
            Some(histogram) => put(&mut one, time, histogram, is_whole),
            None => put_marker(&mut one, time, is_whole),
        }
        put_head(&mut bytes, HISTOGRAMS, one.len());
        bytes.extend_from_slice(&one);
    }
    bytes
}

fn put(into: &mut Vec<u8>, time: i64, histogram: &FloatHistogram, is_whole: bool) {
    let (positive, negative) = (histogram.positive(), histogram.negative());
    put_count(into, 1, histogram.count(), is_whole);
    put_double(into, 3, histogram.sum());
    let schema = match histogram.layout() {
        Layout::Exponential(schema) => i64::from(*schema),
        Layout::Custom(_) => CUSTOM,
    };
    put_number(into, 4, zigzag(schema));
    put_double(into, 5, histogram.zero_threshold());
    put_count(into, 6, histogram.zero_count(), is_whole);
    for (buckets, field) in [(negative, 8), (positive, 11)] {
        put_spans(into, field, buckets);
        match is_whole {
            true => put_packed(into, field + 1, |packed| put_deltas(packed, buckets)),
            false => put_packed(into, field + 2, |packed| {
                let counts = buckets.iter().map(|(_, count)| count.to_le_bytes());
                counts.for_each(|count| packed.extend_from_slice(&count));
            }),
        }
    }
    let hint = match histogram.counter_reset() {
        CounterReset::Unknown => 0,
        CounterReset::Reset => 1,
        CounterReset::NotReset => 2,
        CounterReset::Gauge => 3,
    };
    put_number(into, 14, hint);
    put_number(into, 15, time.cast_unsigned());
    if let Layout::Custom(bounds) = histogram.layout() {
        // The numbers of fields from 16 on take two bytes.
        put_varint(into, 16 << 3 | 2);
        put_varint(into, bounds.len() as u64 * 8);
        bounds
            .iter()
            .for_each(|bound| into.extend_from_slice(&bound.to_le_bytes()));
    }
}

fn put_marker(into: &mut Vec<u8>, time: i64, is_whole: bool) {
    put_count(into, 1, 0.0, is_whole);
    put_double(into, 3, f64::from_bits(STALE_MARKER));
    put_count(into, 6, 0.0, is_whole);
    put_number(into, 15, time.cast_unsigned());
}

/// Of whole counts the field is `whole`, of others the one behind it.
fn put_count(into: &mut Vec<u8>, whole: u8, count: f64, is_whole: bool) {
    match is_whole {
        true => put_number(into, whole, count as u64),
        false => put_double(into, whole + 1, count),
    }
}

/// Whether it can be what a program has counted: of whole numbers a server wants that they add up. Others, as means, are
/// written as numbers with fractions.
fn is_whole(histogram: &FloatHistogram) -> bool {
    let is_whole = |count: f64| (0.0..=MAX_WHOLE).contains(&count) && count.fract() == 0.0;
    let buckets = histogram.positive().iter().chain(histogram.negative().iter());
    let mut counted = histogram.zero_count();
    let mut all = is_whole(histogram.count()) && is_whole(counted);
    for (_, count) in buckets {
        all &= is_whole(count);
        counted += count;
    }
    // What is not a number is counted, and in no bucket.
    let adds_up = counted == histogram.count() || histogram.sum().is_nan() && counted < histogram.count();
    all && adds_up
}

/// Neighbours together: how far behind the ones before they begin, and how many they are.
fn put_spans(into: &mut Vec<u8>, field: u8, buckets: &Buckets) {
    let mut span = Vec::new();
    let mut end = 0;
    let mut rest = buckets.iter().map(|(index, _)| i64::from(index)).peekable();
    while let Some(first) = rest.next() {
        let mut after = first + 1;
        while rest.next_if_eq(&after).is_some() {
            after += 1;
        }
        span.clear();
        put_number(&mut span, 1, zigzag(first - end));
        put_number(&mut span, 2, (after - first).cast_unsigned());
        put_head(into, field << 3 | 2, span.len());
        into.extend_from_slice(&span);
        end = after;
    }
}

fn put_deltas(into: &mut Vec<u8>, buckets: &Buckets) {
    let mut before = 0;
    for (_, count) in buckets.iter() {
        let count = count as i64;
        put_varint(into, zigzag(count - before));
        before = count;
    }
}

fn put_packed(into: &mut Vec<u8>, field: u8, put: impl FnOnce(&mut Vec<u8>)) {
    let mut packed = Vec::new();
    put(&mut packed);
    if !packed.is_empty() {
        put_head(into, field << 3 | 2, packed.len());
        into.extend_from_slice(&packed);
    }
}

fn put_number(into: &mut Vec<u8>, field: u8, value: u64) {
    into.push(field << 3);
    put_varint(into, value);
}

fn put_double(into: &mut Vec<u8>, field: u8, value: f64) {
    into.push(field << 3 | 1);
    into.extend_from_slice(&value.to_le_bytes());
}

fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63).cast_unsigned()
}
