//! Classic histograms as native ones: what `load_with_nhcb` loads beside the series.
//!
//! *Source*: <https://prometheus.io/docs/specs/native_histograms/#nhcbs>.

use std::collections::BTreeMap;
use std::sync::Arc;

use fleetgauge_core::label::METRIC_NAME;
use fleetgauge_core::time::Timestamp;

use crate::exposition::parse_float;
use crate::histogram::ClassicHistogram;
use crate::label::{LabelSet, Projection};
use crate::sample::SampleValue;

use super::command::Loaded;

type Series = BTreeMap<LabelSet, Vec<Loaded>>;

/// What is known of one histogram at one time.
#[derive(Debug, Default)]
struct Classic {
    parts: ClassicHistogram,
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
                ("_bucket", Some(bound)) if !bound.is_nan() => one.parts.add_bucket(bound, value),
                ("_count", _) => one.parts.set_count(value),
                ("_sum", _) => one.parts.set_sum(value),
                _ => true,
            };
        }
    }
    let converted = classic.into_iter().map(|(labels, times)| {
        let times = times.into_iter().map(|(at, classic)| {
            let start = classic.start;
            let histogram = classic.parts.convert().map_err(|error| error.reason())?;
            let value = SampleValue::Histogram(Arc::new(histogram));
            Ok(Loaded { at, value, start })
        });
        Ok((labels, times.collect::<Result<_, &'static str>>()?))
    });
    converted.collect()
}
