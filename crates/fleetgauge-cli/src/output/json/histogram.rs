//! The JSON of a native histogram.

use fleetgauge_core::histogram::{Bucket, Histogram};

use super::JsonNumber;

/// `{"count": 4, "sum": 6.5, "buckets": [[0, 1, 2, 4]]}`, with buckets as in Prometheus's API: which bounds are in it, the lower
/// and the upper one, and how many.
#[derive(serde::Serialize)]
pub(super) struct HistogramEntry {
    count: JsonNumber,
    sum: JsonNumber,
    buckets: Vec<(u8, JsonNumber, JsonNumber, JsonNumber)>,
}

// === impl HistogramEntry ===

impl HistogramEntry {
    pub(super) fn new(histogram: &Histogram) -> Self {
        let bucket = |bucket: &Bucket| {
            let [lower, upper, count] = [bucket.lower, bucket.upper, bucket.count].map(JsonNumber);
            (bucket.bounds.number(), lower, upper, count)
        };
        Self {
            count: JsonNumber(histogram.count),
            sum: JsonNumber(histogram.sum),
            buckets: histogram.buckets.iter().map(bucket).collect(),
        }
    }
}
