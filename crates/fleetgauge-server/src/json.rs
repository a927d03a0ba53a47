//! The JSON that doors and command line have in common. Fields may be added; none is ever renamed.

use std::time::Duration;

use fleetgauge_core::completeness::{Absentee, Absentees, Completeness};
use fleetgauge_core::policy::{OnNoData, Policy};
use fleetgauge_core::reading::Reading;
use fleetgauge_core::result::Origin;
use fleetgauge_core::sample::Number;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Value, json};

/// A number; what JSON has no number for is a string: `"NaN"`, `"+Inf"`, `"-Inf"`.
#[derive(Clone, Copy, Debug)]
pub struct JsonNumber(pub f64);

/// Labels as a map, in the order in which they are given.
#[derive(Clone, Debug)]
pub struct LabelMap<'a>(Vec<(&'a str, &'a str)>);

/// One reading.
#[derive(Debug, serde::Serialize)]
pub struct ReadingEntry<'a> {
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

#[derive(Debug, serde::Serialize)]
struct ReasonEntry<'a> {
    code: &'static str,
    text: &'a str,
}

#[derive(Debug, serde::Serialize)]
struct OriginEntry<'a> {
    source: &'a str,
    query: &'a str,
    promql: &'a str,
    /// Counted from 0.
    branch: Option<u16>,
    warnings: Vec<&'a str>,
}

/// Who was expected to report, and who did; `null` where nobody knows.
#[derive(Debug, Default, serde::Serialize)]
pub struct CompletenessEntry<'a> {
    expected: Option<u64>,
    reporting: Option<u64>,
    /// Some of them by name.
    missing: Vec<AbsenteeEntry<'a>>,
    missing_count: u64,
    starting: Vec<AbsenteeEntry<'a>>,
}

#[derive(Debug, serde::Serialize)]
struct AbsenteeEntry<'a> {
    who: &'a str,
    reason: &'a str,
}

/// What is accepted, with what holds where nobody says anything.
#[derive(Debug, serde::Serialize)]
pub struct PolicyEntry {
    max_age_seconds: Option<JsonNumber>,
    min_completeness: Option<JsonNumber>,
    on_incomplete: &'static str,
    on_error: &'static str,
    on_no_data: Value,
    on_undefined: &'static str,
    hold_seconds: Option<JsonNumber>,
}

// === impl ReadingEntry ===

impl<'a> ReadingEntry<'a> {
    /// The reading of the row that `labels` identify.
    pub fn new(reading: Reading<'a>, labels: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
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
            labels: labels.collect(),
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

// === impl CompletenessEntry ===

impl<'a> CompletenessEntry<'a> {
    /// All that is told of it.
    pub fn new(completeness: &'a Completeness) -> Self {
        let named = |absentees: &'a Absentees| {
            let entry = |one: &'a Absentee| AbsenteeEntry {
                who: &one.who,
                reason: &one.reason,
            };
            absentees.named().iter().map(entry).collect()
        };
        Self {
            expected: completeness.expected(),
            reporting: Some(completeness.reported()),
            missing: named(completeness.missing()),
            missing_count: completeness.missing().count(),
            starting: named(completeness.starting()),
        }
    }
}

// === impl PolicyEntry ===

impl PolicyEntry {
    /// All of a policy.
    pub fn new(policy: &Policy) -> Self {
        let seconds = |duration: Duration| JsonNumber(duration.as_secs_f64());
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

// === impl Serialize ===

impl<'a> FromIterator<(&'a str, &'a str)> for LabelMap<'a> {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a str)>>(labels: I) -> Self {
        Self(labels.into_iter().collect())
    }
}

impl Serialize for LabelMap<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl Serialize for JsonNumber {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        /// Every whole number up to this one is a double of its own.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        match self.0 {
            value if !value.is_finite() => serializer.collect_str(&Number(value)),
            // 3, not 3.0. Minus zero has no whole number.
            value
                if value.fract() == 0.0
                    && value.abs() <= EXACT
                    && !(value == 0.0 && value.is_sign_negative()) =>
            {
                serializer.serialize_i64(value as i64)
            }
            value => serializer.serialize_f64(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_json_cannot_hold_are_strings() {
        let check = |number: f64, expected: &str| {
            assert_eq!(serde_json::to_string(&JsonNumber(number)).unwrap(), expected);
        };
        check(3.0, "3");
        check(-3.5, "-3.5");
        check(0.0, "0");
        check(-0.0, "-0.0");
        check(1763930000.5, "1763930000.5");
        check(1e300, "1e+300");
        check(f64::NAN, "\"NaN\"");
        check(f64::INFINITY, "\"+Inf\"");
        check(f64::NEG_INFINITY, "\"-Inf\"");
    }
}
