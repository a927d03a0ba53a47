//! `/federate`: the newest samples as a page, for a Prometheus that scrapes them.
//!
//! *Source*: <https://prometheus.io/docs/prometheus/latest/federation/>

use std::fmt::Write as _;

use fleetgauge_core::label::METRIC_NAME;
use fleetgauge_core::time::Timestamp;
use fleetgauge_promql::exposition::{Encoder, Format, MetricType};
use fleetgauge_promql::label::LabelSet;
use fleetgauge_promql::missing::{Missing, Read};
use fleetgauge_promql::queryable::Queryable;
use fleetgauge_promql::sample::Sample;

use super::api::Call;
use super::reply::{ApiError, ErrorKind, Reply};

const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// How many series are read between two looks at the clock.
const READ_AT_ONCE: usize = 1_000;

/// What one sample takes on the page beside its labels, at most. *Unit*: bytes.
const SAMPLE_BYTES: usize = 64;

/// So often it is read anew where series come or go meanwhile.
const MAX_TRIES: usize = 3;

pub(super) fn federate(call: &Call) -> Result<Reply, ApiError> {
    let selectors = call.params.selectors()?;
    let now = call.now();
    let engine = &call.config().engine;
    let data = call.data(now);
    let lookback = engine.lookback;
    let from = now
        .as_millis()
        .saturating_sub(i64::try_from(lookback.as_millis()).unwrap_or(i64::MAX));
    let from = Timestamp::from_millis(from);
    let mut missing = Missing::default();
    let mut all: Vec<(LabelSet, Sample)> = Vec::new();
    for matchers in &selectors {
        let begun = all.len();
        for tries in 1.. {
            all.truncate(begun);
            let selection = data.select_newest(matchers, from, now);
            if all.len() + selection.len() > engine.max_series {
                let message = format!("there are more than {} series: ask for fewer", engine.max_series);
                return Err(ApiError::new(ErrorKind::Execution, message));
            }
            let mut newest = Vec::new();
            for start in (0..selection.len()).step_by(READ_AT_ONCE) {
                call.time_left()?;
                let end = selection.len().min(start + READ_AT_ONCE);
                newest.clear();
                selection.newest(start..end, now, lookback, &mut newest);
                let samples = newest.iter().enumerate();
                let samples =
                    samples.filter_map(|(i, sample)| Some((selection.labels(start + i), (*sample)?)));
                all.extend(samples);
            }
            if !selection.has_changed() {
                break;
            }
            if tries == MAX_TRIES {
                missing.add_changed();
                break;
            }
        }
    }
    all.sort_by(|(a, _), (b, _)| (a.metric_name(), a).cmp(&(b.metric_name(), b)));
    all.dedup_by(|(a, _), (b, _)| a == b);
    let reads = selectors.iter().map(|matchers| Read::newest(matchers, from, now));
    data.missing(&reads.collect::<Vec<_>>(), &mut missing);
    let left_out = take_histograms(&mut all);
    let page = page(call, &all)?;
    let notes = Call::warnings(missing).into_iter().chain(left_out);
    Ok(Reply::page(CONTENT_TYPE, with_notes(page, notes)))
}

/// Leaves only numbers, since a page of text has no place for native histograms. Gives what is to be said of these.
fn take_histograms(all: &mut Vec<(LabelSet, Sample)>) -> Option<String> {
    let count = all.len();
    let first = all.iter().find(|(_, sample)| sample.is_histogram());
    let first = first.map(|(labels, _)| labels.to_string())?;
    all.retain(|(_, sample)| !sample.is_histogram());
    let count = count - all.len();
    Some(format!(
        "{count} native histograms are left out, which this format cannot say; the first one is {first}"
    ))
}

fn page(call: &Call, all: &[(LabelSet, Sample)]) -> Result<String, ApiError> {
    let limit = call.config().max_answer_bytes;
    let mut page = Encoder::new(Format::Text);
    let mut bytes = 0_usize;
    let mut family = None;
    for (at, (labels, sample)) in all.iter().enumerate() {
        if at % READ_AT_ONCE == 0 {
            call.time_left()?;
        }
        let texts = labels.iter().map(|(name, value)| name.len() + value.len() + 4);
        bytes += texts.sum::<usize>() + SAMPLE_BYTES;
        if bytes > limit {
            return Err(ApiError::too_long(limit));
        }
        let name = labels.metric_name();
        if family != Some(name) {
            page.metric_type(name, MetricType::Unknown);
            family = Some(name);
        }
        let own = labels.iter().filter(|(label, _)| *label != METRIC_NAME);
        // As Prometheus: who federates is not to add an instance of its own to what has none.
        let instance = labels.get("instance").is_none().then_some(("instance", ""));
        page.sample(
            name,
            own.chain(instance),
            sample.value,
            Some(sample.timestamp.as_millis()),
        );
    }
    Ok(page.finish())
}

/// A page has no place for warnings, so they are comments, which every reader passes over.
fn with_notes(mut page: String, notes: impl Iterator<Item = String>) -> String {
    for note in notes {
        // Writing to a string does not fail.
        let _ = writeln!(page, "# WARNING {}", note.replace(['\n', '\r'], " "));
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_native_histogram_is_told_and_is_no_number() {
        let labels = |pod: &str| LabelSet::from_pairs([("__name__", "latency"), ("pod", pod)]);
        let number = Sample {
            timestamp: Timestamp::default(),
            value: f64::NAN,
        };
        let mut all = vec![
            (labels("a"), number),
            (labels("b"), Sample::of_histogram(Timestamp::default())),
            (labels("c"), Sample::of_histogram(Timestamp::default())),
        ];
        let told = take_histograms(&mut all).expect("something is left out");
        assert!(told.starts_with("2 native histograms are left out"), "{told}");
        assert!(told.ends_with(r#"latency{pod="b"}"#), "{told}");
        assert_eq!(all, [(labels("a"), number)]);
        assert_eq!(take_histograms(&mut all), None);
    }
}
