//! The JSON of `fleetgauge explain`.

use std::collections::BTreeMap;

use fleetgauge_server::json::PolicyEntry;

use super::{QueryAnswer, ReadingEntry};
use crate::explained::Explained;

#[derive(serde::Serialize)]
pub(crate) struct Explanation<'a> {
    query: &'a str,
    template: &'a str,
    /// Where the template is from, in words.
    template_from: &'a str,
    params: BTreeMap<&'a str, Vec<&'a str>>,
    /// What tells the model of a variant of the cluster, in the order in which it counts.
    model_by: &'a [String],
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
        outcome.cause = explained.cause.as_deref();
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
            model_by: &explained.model_by,
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
