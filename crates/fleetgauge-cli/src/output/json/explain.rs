//! The JSON of `fleetgauge explain`.

use std::collections::BTreeMap;

use fleetgauge_core::policy::{OnNoData, Policy};
use serde_json::{Value, json};

use super::{JsonNumber, QueryAnswer, ReadingEntry};
use crate::explained::Explained;

#[derive(serde::Serialize)]
pub(crate) struct Explanation<'a> {
    query: &'a str,
    template: &'a str,
    /// Where the template is from, in words.
    template_from: &'a str,
    params: BTreeMap<&'a str, Vec<&'a str>>,
    rendered: &'a str,
    source: &'a str,
    /// The operand of the query's outermost `or` that gave all rows.
    branch: Option<&'a str>,
    /// The query, and what was asked beside it or in its place.
    sent: Vec<&'a str>,
    /// What was done with the answer, step after step.
    transform: Vec<String>,
    outcome: QueryAnswer<'a>,
    policy: PolicyEntry,
    /// The first of `readings`.
    reading: Option<ReadingEntry<'a>>,
    readings: Vec<ReadingEntry<'a>>,
}

/// What is accepted, with what holds where nobody says anything.
#[derive(serde::Serialize)]
struct PolicyEntry {
    max_age_seconds: Option<JsonNumber>,
    min_completeness: Option<JsonNumber>,
    on_incomplete: &'static str,
    on_error: &'static str,
    on_no_data: Value,
    on_undefined: &'static str,
    hold_seconds: Option<JsonNumber>,
}

impl<'a> Explanation<'a> {
    pub(crate) fn new(explained: &'a Explained) -> Self {
        let mut params: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (name, value) in &explained.params {
            params.entry(name).or_default().push(value);
        }
        let mut outcome = match &explained.outcome {
            Ok(answer) => QueryAnswer::answered(&explained.query.name, answer),
            Err(error) => QueryAnswer::failed(&explained.query.name, error.clone()),
        };
        outcome.unit = &explained.query.unit;
        outcome.promql = Some(&explained.rendered);
        let readings = || {
            explained
                .readings
                .rows(explained.clock.now())
                .map(|reading| ReadingEntry::new(reading, reading.labels().iter()))
        };
        Self {
            query: &explained.query.name,
            template: &explained.query.template,
            template_from: &explained.from,
            params,
            rendered: &explained.rendered,
            source: &explained.source,
            branch: explained.branch(),
            sent: explained.sent().collect(),
            transform: explained
                .query
                .transform
                .iter()
                .map(ToString::to_string)
                .collect(),
            outcome,
            policy: PolicyEntry::new(&explained.policy),
            reading: readings().next(),
            readings: readings().collect(),
        }
    }
}

impl PolicyEntry {
    fn new(policy: &Policy) -> Self {
        let seconds = |duration: std::time::Duration| JsonNumber(duration.as_secs_f64());
        Self {
            max_age_seconds: policy.max_age.map(seconds),
            min_completeness: policy.min_completeness.map(JsonNumber),
            on_incomplete: policy.on_incomplete.unwrap_or_default().as_str(),
            on_error: policy.on_error.unwrap_or_default().as_str(),
            on_no_data: match policy.on_no_data.clone().unwrap_or_default() {
                OnNoData::Fail => json!("fail"),
                OnNoData::Hold => json!("hold"),
                OnNoData::Value { value, when } => json!({"value": JsonNumber(value), "when": when.as_str()}),
            },
            on_undefined: policy.on_undefined.unwrap_or_default().as_str(),
            hold_seconds: policy.hold.map(seconds),
        }
    }
}
