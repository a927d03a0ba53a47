//! The JSON of a query over a range.

use fleetgauge_core::range::Steps;
use fleetgauge_core::result::{Answer, Series};
use fleetgauge_core::sample::SampleValue;
use serde::ser::{Serialize, Serializer};

use super::histogram::HistogramEntry;
use super::{JsonNumber, LabelMap};

/// The answer to `fleetgauge query --range`.
#[derive(Default, serde::Serialize)]
pub(crate) struct RangeAnswer<'a> {
    query: &'a str,
    /// `value`, `no_data` or `error`.
    status: &'static str,
    error: Option<String>,
    /// Whether nothing is known to be missing from the answer.
    complete: bool,
    warnings: Vec<&'a str>,
    /// The first and the last step, and how far they are apart.
    start: Option<JsonNumber>,
    end: Option<JsonNumber>,
    step_seconds: Option<JsonNumber>,
    series: Vec<SeriesEntry<'a>>,
    infos: Vec<&'a str>,
    pub(crate) unit: &'a str,
    /// Why there is no data, if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cause: Option<&'a str>,
    /// What the server was asked.
    pub(crate) promql: Option<&'a str>,
}

#[derive(serde::Serialize)]
struct SeriesEntry<'a> {
    labels: LabelMap<'a>,
    /// Those of the steps at which it has a number.
    values: Points<'a>,
    /// Those at which it has a native histogram, where it has any.
    #[serde(skip_serializing_if = "Option::is_none")]
    histograms: Option<Histograms<'a>>,
}

/// `[[TIME, NUMBER], …]`
struct Points<'a>(Series<'a>);

/// `[[TIME, HISTOGRAM], …]`
struct Histograms<'a>(Series<'a>);

// === impl RangeAnswer ===

impl<'a> RangeAnswer<'a> {
    pub(crate) fn answered(query: &'a str, answer: &'a Answer, steps: &Steps) -> Self {
        let series = answer.series().map(|series| SeriesEntry {
            labels: series.labels().iter().collect(),
            values: Points(series),
            histograms: series.has_histograms().then_some(Histograms(series)),
        });
        let seconds = |seconds| Some(JsonNumber(seconds));
        Self {
            query,
            status: if answer.is_no_data() { "no_data" } else { "value" },
            error: None,
            complete: answer.is_complete(),
            warnings: answer.warnings().collect(),
            start: seconds(steps.start().as_secs_f64()),
            end: seconds(steps.end().as_secs_f64()),
            step_seconds: seconds(steps.step().as_secs_f64()),
            series: series.collect(),
            infos: answer.infos().collect(),
            ..Self::default()
        }
    }

    pub(crate) fn failed(query: &'a str, error: String) -> Self {
        Self {
            query,
            status: "error",
            error: Some(error),
            ..Self::default()
        }
    }
}

impl Serialize for Points<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.samples().filter_map(|(at, sample)| match sample {
            SampleValue::Number(number) => Some((JsonNumber(at.as_secs_f64()), JsonNumber(number))),
            _ => None,
        }))
    }
}

impl Serialize for Histograms<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.samples().filter_map(|(at, sample)| match sample {
            SampleValue::Histogram(histogram) => {
                Some((JsonNumber(at.as_secs_f64()), HistogramEntry::new(histogram)))
            }
            _ => None,
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use fleetgauge_core::result::AnswerBuilder;
    use fleetgauge_core::sample::Stamp;
    use fleetgauge_core::time::Timestamp;
    use serde_json::json;

    use super::*;

    #[test]
    fn series_have_pairs_of_time_and_number() {
        let at = Timestamp::from_millis;
        let mut answer = AnswerBuilder::new(Stamp::Evaluated);
        answer.label("pod", "a");
        answer.point(1.5, at(15_000));
        answer.point(f64::NAN, at(30_500));
        answer.end_points().expect("labels");
        answer.missing("a store did not answer");
        let answer = answer.build();
        let steps = Steps::until(at(30_500), Duration::from_secs(31), Duration::from_millis(15_500));
        let entry = RangeAnswer::answered("q", &answer, &steps.expect("a range"));
        let expected = json!({
            "query": "q", "status": "value", "error": null, "complete": false,
            "warnings": ["a store did not answer"],
            "start": -0.5, "end": 30.5, "step_seconds": 15.5,
            "series": [{"labels": {"pod": "a"}, "values": [[15, 1.5], [30.5, "NaN"]]}],
            "infos": [], "unit": "", "promql": null,
        });
        assert_eq!(serde_json::to_value(&entry).expect("JSON"), expected);
    }
}
