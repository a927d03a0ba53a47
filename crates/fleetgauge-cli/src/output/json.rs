//! The JSON of the command line. Fields may be added; none is ever renamed.

pub(crate) mod demo;
pub(crate) mod doctor;
pub(crate) mod explain;
mod histogram;
pub(crate) mod range;
pub(crate) mod scrape;

use fleetgauge::pack::Pack;
use fleetgauge_core::age::Age;
use fleetgauge_core::params::ParamSpec;
use fleetgauge_core::query::QueryTemplate;
use fleetgauge_core::result::Answer;
use serde::Serialize;

use histogram::HistogramEntry;

pub(super) use fleetgauge_server::json::{CompletenessEntry, JsonNumber, LabelMap, ReadingEntry};

/// The answer to `fleetgauge query`.
#[derive(Default, serde::Serialize)]
pub(crate) struct QueryAnswer<'a> {
    pub(crate) query: &'a str,
    /// `value`, `no_data` or `error`.
    pub(crate) status: &'static str,
    pub(crate) error: Option<String>,
    /// Whether nothing is known to be missing from the answer.
    pub(crate) complete: bool,
    pub(crate) warnings: Vec<&'a str>,
    pub(crate) values: Vec<Value<'a>>,
    pub(crate) completeness: CompletenessEntry<'a>,
    /// Remarks of the server on the query itself.
    pub(crate) infos: Vec<&'a str>,
    /// The string that a PromQL string literal evaluates to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) text: Option<&'a str>,
    pub(crate) unit: &'a str,
    /// What the server was asked.
    pub(crate) promql: Option<&'a str>,
    /// Why there is no data, if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cause: Option<&'a str>,
}

#[derive(serde::Serialize)]
pub(crate) struct Value<'a> {
    labels: LabelMap<'a>,
    /// `null` of a native histogram.
    value: Option<JsonNumber>,
    #[serde(skip_serializing_if = "Option::is_none")]
    histogram: Option<HistogramEntry>,
    timestamp: JsonNumber,
    /// `null` where nothing is known of it, and where no sample contributes to the value.
    age_seconds: Option<JsonNumber>,
    age_is_bound: bool,
    ended: bool,
}

/// The answer to `fleetgauge packs`.
#[derive(serde::Serialize)]
pub(crate) struct Packs<'a> {
    pub(crate) packs: Vec<PackEntry<'a>>,
}

#[derive(serde::Serialize)]
pub(crate) struct PackEntry<'a> {
    name: &'a str,
    description: &'a str,
    queries: Vec<QueryEntry<'a>>,
}

#[derive(serde::Serialize)]
struct QueryEntry<'a> {
    name: &'a str,
    #[serde(rename = "type")]
    query_type: String,
    description: &'a str,
    unit: &'a str,
    params: Vec<ParamEntry<'a>>,
    template: &'a str,
    ttl_seconds: Option<JsonNumber>,
    timeout_seconds: Option<JsonNumber>,
}

#[derive(serde::Serialize)]
struct ParamEntry<'a> {
    name: &'a str,
    kind: &'static str,
    required: bool,
}

/// One line of JSON.
pub(crate) fn to_line(value: &impl Serialize) -> anyhow::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(line)
}

// === impl QueryAnswer ===

impl<'a> QueryAnswer<'a> {
    pub(crate) fn answered(query: &'a str, answer: &'a Answer) -> Self {
        let values = answer.values().enumerate().map(|(row, series)| {
            let age = age(answer, row);
            Value {
                labels: series.labels.iter().collect(),
                value: series.histogram.is_none().then_some(JsonNumber(series.value)),
                histogram: series.histogram.map(HistogramEntry::new),
                timestamp: JsonNumber(series.timestamp.as_secs_f64()),
                age_seconds: age.duration().map(|age| JsonNumber(age.as_secs_f64())),
                age_is_bound: age.is_bound(),
                ended: age.is_ended(),
            }
        });
        Self {
            query,
            status: if answer.is_no_data() { "no_data" } else { "value" },
            error: None,
            complete: answer.is_complete(),
            warnings: answer.warnings().collect(),
            values: values.collect(),
            completeness: answer
                .completeness()
                .map(|one| CompletenessEntry::new(one))
                .unwrap_or_default(),
            infos: answer.infos().collect(),
            text: answer.text(),
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

/// What is known of the age of the value at `row`.
pub(super) fn age(answer: &Answer, row: usize) -> Age {
    answer
        .provenance()
        .map_or(Age::UNKNOWN, |provenance| provenance.age(row))
}

// === impl PackEntry ===

impl<'a> PackEntry<'a> {
    /// The pack with the queries `queries` of it.
    pub(crate) fn new(pack: &'a Pack, queries: impl IntoIterator<Item = &'a QueryTemplate>) -> Self {
        let queries = queries.into_iter().map(QueryEntry::new).collect();
        Self {
            name: pack.name(),
            description: pack.description(),
            queries,
        }
    }
}

impl<'a> QueryEntry<'a> {
    fn new(query: &'a QueryTemplate) -> Self {
        let params = query.params.iter().map(|param: &ParamSpec| ParamEntry {
            name: param.name(),
            kind: param.kind().as_str(),
            required: param.is_required(),
        });
        Self {
            name: &query.name,
            query_type: query.query_type.to_string(),
            description: &query.description,
            unit: &query.unit,
            params: params.collect(),
            template: &query.template,
            ttl_seconds: query.ttl.map(|ttl| JsonNumber(ttl.as_secs_f64())),
            timeout_seconds: query.timeout.map(|timeout| JsonNumber(timeout.as_secs_f64())),
        }
    }
}
