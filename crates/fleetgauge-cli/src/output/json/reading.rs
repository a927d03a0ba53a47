//! The JSON of a reading: the same wherever one is shown.

use fleetgauge_core::reading::Reading;
use fleetgauge_core::result::Origin;

use super::{CompletenessEntry, JsonNumber, LabelMap};

/// One reading.
#[derive(serde::Serialize)]
pub(super) struct ReadingEntry<'a> {
    metric: &'a str,
    labels: LabelMap<'a>,
    /// `value`, `held` or `withheld`.
    status: &'static str,
    /// `null` where it is withheld.
    value: Option<JsonNumber>,
    unit: &'a str,
    age_seconds: Option<JsonNumber>,
    age_is_bound: bool,
    /// Seconds since the epoch.
    held_since: Option<JsonNumber>,
    reason: Option<ReasonEntry<'a>>,
    completeness: CompletenessEntry<'a>,
    origin: Option<OriginEntry<'a>>,
}

#[derive(serde::Serialize)]
struct ReasonEntry<'a> {
    code: &'static str,
    text: &'a str,
}

#[derive(serde::Serialize)]
struct OriginEntry<'a> {
    source: &'a str,
    query: &'a str,
    promql: &'a str,
    /// Counted from 0.
    branch: Option<u16>,
    warnings: Vec<&'a str>,
}

impl<'a> ReadingEntry<'a> {
    pub(super) fn new(reading: Reading<'a>) -> Self {
        let origin = |origin: &'a Origin| OriginEntry {
            source: &origin.source,
            query: &origin.query,
            promql: &origin.text,
            branch: reading.branch(),
            warnings: origin.warnings.iter().map(|warning| &**warning).collect(),
        };
        let completeness = reading.completeness().map(|one| CompletenessEntry::new(one));
        Self {
            metric: reading.metric(),
            labels: LabelMap(reading.labels()),
            status: reading.status().as_str(),
            value: reading.value().map(JsonNumber),
            unit: reading.unit(),
            age_seconds: reading.age().map(|age| JsonNumber(age.as_secs_f64())),
            age_is_bound: reading.age_is_bound(),
            held_since: reading.held_since().map(|time| JsonNumber(time.as_secs_f64())),
            reason: reading.reason().map(|reason| ReasonEntry {
                code: reason.code.as_str(),
                text: &reason.text,
            }),
            completeness: completeness.unwrap_or_default(),
            origin: reading.origin().map(|one| origin(one)),
        }
    }
}
