//! Classic histograms as native ones: what `load_with_nhcb` loads beside the series.
//!
//! *Source*: <https://prometheus.io/docs/specs/native_histograms/#nhcbs>.

use std::collections::BTreeMap;
use std::sync::Arc;

use fleetgauge_core::label::METRIC_NAME;
use fleetgauge_core::time::Timestamp;

use crate::exposition::parse_float;
use crate::histogram::{Buckets, FloatHistogram};
use crate::label::{LabelSet, Projection};
use crate::sample::SampleValue;

use super::command::Loaded;

type Series = BTreeMap<LabelSet, Vec<Loaded>>;

/// What is known of one histogram at one time.
#[derive(Debug, Default)]
struct Classic {
    /// Their bounds, ascending, and how much is counted up to them.
    buckets: Vec<(f64, f64)>,
    count: Option<f64>,
    sum: f64,
    /// Since when it is counted, where its parts say so.
    start: Option<Timestamp>,
}

/// The histograms of which `series` has the parts. An error says what no histogram can have.
pub(super) fn converted(series: &Series) -> Result<Series, &'static str> {
    let mut classic: BTreeMap<LabelSet, BTreeMap<Timestamp, Classic>> = BTreeMap::new();
    let mut without_bound = Projection::drop_exactly(&[Arc::from("le")]);
    for (labels, samples) in series {
        let metric = labels.metric_name();
        let suffixes = ["_bucket", "_count", "_sum"];
        let mut suffixes = suffixes.into_iter();
        let Some((name, part)) = suffixes.find_map(|part| Some((metric.strip_suffix(part)?, part))) else {
            continue;
        };
        let bound = labels.get("le").and_then(parse_float);
        let base = without_bound.apply(labels).with(METRIC_NAME, name);
        let times = classic.entry(base).or_default();
        for sample in samples {
            let SampleValue::Float(value) = sample.value else {
                continue;
            };
            let one = times.entry(sample.at).or_default();
            one.start = one.start.or(sample.start);
            match (part, bound) {
                ("_bucket", Some(bound)) if !bound.is_nan() => one.add(bound, value),
                ("_count", _) => one.count = Some(value),
                ("_sum", _) => one.sum = value,
                _ => {}
            }
        }
    }
    let converted = classic.into_iter().map(|(labels, times)| {
        let times = times.into_iter().map(|(at, classic)| {
            let start = classic.start;
            let value = SampleValue::Histogram(Arc::new(classic.histogram()?));
            Ok(Loaded { at, value, start })
        });
        Ok((labels, times.collect::<Result<_, &'static str>>()?))
    });
    converted.collect()
}

// === impl Classic ===

impl Classic {
    /// Of two buckets with one bound the first counts.
    fn add(&mut self, bound: f64, count: f64) {
        let place = self.buckets.partition_point(|(known, _)| *known < bound);
        if self.buckets.get(place).is_none_or(|(known, _)| *known != bound) {
            self.buckets.insert(place, (bound, count));
        }
    }

    fn histogram(mut self) -> Result<FloatHistogram, &'static str> {
        let last = self.buckets.last().map(|(_, count)| *count);
        let count = self.count.or(last).ok_or("a classic histogram has no count")?;
        if self
            .buckets
            .last()
            .is_none_or(|(bound, _)| *bound != f64::INFINITY)
        {
            self.buckets.push((f64::INFINITY, count));
        }
        if self.buckets.last().is_some_and(|(_, last)| *last != count) {
            return Err("a classic histogram has another count than its last bucket");
        }
        let mut before = 0.0;
        let mut counts = Vec::with_capacity(self.buckets.len());
        for (_, count) in &self.buckets {
            if *count < before {
                return Err("a bucket of a classic histogram counts less than the one below");
            }
            counts.push(count - before);
            before = *count;
        }
        let bounds: Vec<f64> = self.buckets.iter().map(|(bound, _)| *bound).collect();
        let finite = &bounds[..bounds.len() - 1];
        let empty =
            FloatHistogram::custom(finite).map_err(|_| "a classic histogram has bounds that cannot be")?;
        let buckets =
            Buckets::starting_at(0, &counts).map_err(|_| "a classic histogram has too many buckets")?;
        let mut histogram = empty.with_count(count).with_sum(self.sum).with_positive(buckets);
        histogram.compact();
        Ok(histogram)
    }
}
