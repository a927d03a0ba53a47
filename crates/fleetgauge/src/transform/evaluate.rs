//! Evaluates an expression over an answer.

use std::time::Duration;

use fleetgauge_core::age::{Age, AgeKind};
use fleetgauge_core::result::{Answer, AnswerBuilder, AnswerKind};
use fleetgauge_core::sample::Stamp;
use fleetgauge_promql::answers::{Answers, ReadBy};
use fleetgauge_promql::engine::Engine;
use fleetgauge_syntax::rewrite::{self, Newest};
use fleetgauge_syntax::tree::Expr;

use super::aged::Aged;
use super::{ANSWER, EvaluatedAt, TransformError};
use crate::evaluation;

/// Evaluates one expression.
pub(super) struct Over {
    engine: Engine,
    /// What tells how old each row is, from how old those of the answer are.
    companion: Companion,
}

enum Companion {
    Exact(String),
    /// All are as old as the oldest.
    Bound,
    Ageless,
}

/// How long an evaluation may take; answers are in memory.
const TIMEOUT: Duration = Duration::from_secs(5);

// === impl Over ===

impl Over {
    pub(super) fn new(expr: &Expr) -> Self {
        let has_ranges = expr.walk().iter().any(|part| matches!(part, Expr::Range(_)));
        let companion = match rewrite::age(expr, Newest::Subquery) {
            rewrite::Age::Exact(companion) if !has_ranges => Companion::Exact(companion.to_string()),
            rewrite::Age::Ageless => Companion::Ageless,
            _ => Companion::Bound,
        };
        Self {
            // The lookback makes no difference: answers count at their own times alone.
            engine: evaluation::engine(Duration::from_millis(1), TIMEOUT),
            companion,
        }
    }

    pub(super) fn evaluate(
        &self,
        text: &str,
        answer: &Answer,
        at: EvaluatedAt,
    ) -> Result<Answer, TransformError> {
        let failed = |why: String| TransformError::Evaluation {
            text: text.to_owned(),
            why,
        };
        let mut answers = Answers::new();
        // What it warns of goes along without this.
        let bare = bare(answer);
        let asked = match at {
            EvaluatedAt::Once(at) => at,
            EvaluatedAt::Steps(steps) => steps.end(),
            _ => return Err(failed("not evaluated at such times".to_owned())),
        };
        let added = answers.add(ANSWER, &bare, asked, ReadBy::All);
        added.map_err(|error| failed(error.to_string()))?;
        let evaluated = match at {
            EvaluatedAt::Steps(steps) => {
                self.engine
                    .range(&answers, text, steps.start(), steps.end(), steps.step())
            }
            _ => self.engine.instant(&answers, text, asked),
        };
        let made = evaluated.map_err(|error| failed(error.to_string()))?.answer;
        let Some(ages) = ages(answer, at) else {
            return Ok(made);
        };
        let oldest = Age::oldest(ages.iter().copied());
        let rows = made.series().len();
        let of_rows = match (&self.companion, at) {
            (Companion::Ageless, _) => vec![Age::AGELESS; rows],
            (Companion::Exact(companion), EvaluatedAt::Once(at)) => {
                let told = Aged::new(answer, &ages, at);
                told.ages(&self.engine, companion, &made, at)
                    .unwrap_or_else(|| vec![bound(oldest); rows])
            }
            _ => vec![bound(oldest); rows],
        };
        Ok(made.with_ages(of_rows))
    }
}

/// No row is older than this.
fn bound(oldest: Age) -> Age {
    let bound = match (oldest.kind(), oldest.duration()) {
        (AgeKind::Exact | AgeKind::AtMost, Some(age)) => Age::at_most(age),
        (_, Some(age)) => Age::around(age),
        (AgeKind::Ageless, None) => Age::AGELESS,
        (_, None) => Age::UNKNOWN,
    };
    match oldest.is_ended() {
        true => bound.with_ended(),
        false => bound,
    }
}

/// The rows of `answer`, and nothing else.
fn bare(answer: &Answer) -> Answer {
    let mut rows = AnswerBuilder::new(answer.stamp());
    if answer.kind() == AnswerKind::Matrix {
        rows.matrix();
    }
    for series in answer.series() {
        series
            .labels()
            .iter()
            .for_each(|(name, value)| rows.label(name, value));
        let mut points = series.points();
        // Labels of an answer are labels.
        let _ = match answer.kind() {
            AnswerKind::Matrix => {
                points.for_each(|point| rows.point(point.value, point.timestamp));
                rows.end_points()
            }
            _ => match points.next() {
                Some(point) => rows.end_series(point.value, point.timestamp),
                None => Ok(()),
            },
        };
    }
    rows.build()
}

/// How old each row of `answer` is, where anything is known of it.
fn ages(answer: &Answer, at: EvaluatedAt) -> Option<Vec<Age>> {
    if let Some(told) = answer.provenance().filter(|told| told.has_ages()) {
        return Some((0..answer.series().len()).map(|row| told.age(row)).collect());
    }
    let EvaluatedAt::Once(at) = at else { return None };
    (answer.stamp() == Stamp::Sampled).then(|| {
        let values = answer.values();
        values.map(|value| Age::between(value.timestamp, at)).collect()
    })
}
