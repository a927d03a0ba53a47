//! The rows of an answer with their ages as the times of their samples, so that the companion of an expression tells how old
//! each row of its result is.

use std::collections::HashMap;
use std::ops::Range;
use std::time::Duration;

use fleetgauge_core::age::{Age, AgeKind};
use fleetgauge_core::label::METRIC_NAME;
use fleetgauge_core::result::Answer;
use fleetgauge_core::time::Timestamp;
use fleetgauge_promql::engine::Engine;
use fleetgauge_promql::label::LabelSet;
use fleetgauge_promql::matcher::Matcher;
use fleetgauge_promql::queryable::{Queryable, Selection};
use fleetgauge_promql::sample::{Sample, Samples};

use super::ANSWER;

/// Rows, sorted by labels.
pub(super) struct Aged {
    rows: Vec<(LabelSet, f64, Age)>,
    at: Timestamp,
    kind: AgeKind,
}

/// The rows that fit, and what is told as the age of each.
struct Selected<'a> {
    rows: Vec<&'a (LabelSet, f64, Age)>,
    at: Timestamp,
    told: Told,
}

/// What stands in the place of ages.
#[derive(Clone, Copy)]
enum Told {
    Ages,
    /// What has ended is of unknown age, and all else of none.
    Ended,
}

struct As<'a>(&'a Aged, Told);

/// Longer than ages can be told: what is as old is of unknown age. *Unit*: milliseconds.
const UNKNOWN: i64 = 100 * 365 * 24 * 3_600_000;

// === impl Aged ===

impl Aged {
    pub(super) fn new(answer: &Answer, ages: &[Age], at: Timestamp) -> Self {
        let labels = |row: fleetgauge_core::label::Labels<'_>| {
            let others = row.iter().filter(|(name, _)| *name != METRIC_NAME);
            LabelSet::from_pairs(others.chain([(METRIC_NAME, ANSWER)]))
        };
        let rows = answer.values().zip(ages);
        let mut rows: Vec<_> = rows
            .map(|(row, age)| (labels(row.labels), row.value, *age))
            .collect();
        rows.sort_by(|a, b| a.0.cmp(&b.0));
        Self {
            rows,
            at,
            kind: Age::oldest(ages.iter().copied().filter(|age| age.duration().is_some())).kind(),
        }
    }

    /// The age of each row of `made`, as `companion` tells it; `None` where it cannot be evaluated.
    pub(super) fn ages(
        &self,
        engine: &Engine,
        companion: &str,
        made: &Answer,
        at: Timestamp,
    ) -> Option<Vec<Age>> {
        let told = self.told(engine, companion, Told::Ages, at)?;
        let is_any_ended = self.rows.iter().any(|(.., age)| age.is_ended());
        let ended = match is_any_ended {
            true => Some(self.told(engine, companion, Told::Ended, at)?),
            false => None,
        };
        let age = |labels: fleetgauge_core::label::Labels<'_>| {
            let row = identity(labels);
            let age = told.get(&row).copied().unwrap_or(Age::UNKNOWN);
            let age = match (self.kind, age.duration()) {
                (_, None) | (AgeKind::Exact | AgeKind::Ageless | AgeKind::Unknown, _) => age,
                (AgeKind::AtMost, Some(age)) => Age::at_most(age),
                (AgeKind::AtLeast, Some(age)) => Age::at_least(age),
                (_, Some(age)) => Age::around(age),
            };
            let is_ended =
                |ended: &HashMap<_, Age>| ended.get(&row).is_none_or(|age| age.duration().is_none());
            match ended.as_ref().is_some_and(is_ended) {
                true => age.with_ended(),
                false => age,
            }
        };
        Some(made.series().map(|series| age(series.labels())).collect())
    }

    fn told(
        &self,
        engine: &Engine,
        companion: &str,
        told: Told,
        at: Timestamp,
    ) -> Option<HashMap<Vec<(String, String)>, Age>> {
        let answer = engine.instant(&As(self, told), companion, at).ok()?.answer;
        let ages = answer.values().map(|row| {
            let sampled = Timestamp::from_secs_f64(row.value);
            (identity(row.labels), Age::between(sampled, at))
        });
        Some(ages.collect())
    }
}

fn identity(labels: fleetgauge_core::label::Labels<'_>) -> Vec<(String, String)> {
    let others = labels.iter().filter(|(name, _)| *name != METRIC_NAME);
    others
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

impl Queryable for As<'_> {
    fn select(&self, matchers: &[Matcher], _from: Timestamp, _to: Timestamp) -> Box<dyn Selection + '_> {
        let fits = |row: &&(LabelSet, f64, Age)| matchers.iter().all(|matcher| matcher.matches(&row.0));
        Box::new(Selected {
            rows: self.0.rows.iter().filter(fits).collect(),
            at: self.0.at,
            told: self.1,
        })
    }
}

impl Selection for Selected<'_> {
    fn len(&self) -> usize {
        self.rows.len()
    }

    fn labels(&self, index: usize) -> LabelSet {
        self.rows[index].0.clone()
    }

    fn read(&self, _index: usize, _from: Timestamp, _to: Timestamp, _into: &mut Samples) {}

    fn newest(
        &self,
        indices: Range<usize>,
        _at: Timestamp,
        _lookback: Duration,
        into: &mut Vec<Option<Sample>>,
    ) {
        into.extend(self.rows[indices].iter().map(|(_, value, age)| {
            let age = match (self.told, age.kind(), age.duration()) {
                (Told::Ended, ..) if age.is_ended() => UNKNOWN,
                (Told::Ended, ..) | (Told::Ages, AgeKind::Ageless, _) => 0,
                (Told::Ages, _, Some(age)) => i64::try_from(age.as_millis()).unwrap_or(UNKNOWN),
                (Told::Ages, _, None) => UNKNOWN,
            };
            Some(Sample {
                timestamp: Timestamp::from_millis(self.at.as_millis().saturating_sub(age)),
                value: *value,
            })
        }));
    }
}
