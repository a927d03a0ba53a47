//! Evaluates an expression over an answer.

use std::time::Duration;

use fleetgauge_core::age::{Age, AgeKind};
use fleetgauge_core::result::Answer;
use fleetgauge_promql::answers::{Answers, ReadBy};
use fleetgauge_promql::engine::Engine;

use fleetgauge_core::transform::{EvaluatedAt, TransformError};

use super::check::ANSWER;
use crate::evaluation;

/// Evaluates one expression.
pub(super) struct Over(Engine);

/// How long an evaluation may take; answers are in memory.
const TIMEOUT: Duration = Duration::from_secs(5);

// === impl Over ===

impl Over {
    pub(super) fn new() -> Self {
        // The lookback makes no difference: answers count at their own times alone.
        Self(evaluation::engine(Duration::from_millis(1), TIMEOUT))
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
        // What the answer tells beside its rows goes along without this.
        let bare = answer.rows_alone();
        let mut answers = Answers::new();
        match at {
            EvaluatedAt::Once(at) => {
                let added = answers.add(ANSWER, &bare, at, ReadBy::All);
                added.map_err(|error| failed(error.to_string()))?;
                let made = self.0.instant(&answers, text, at);
                Ok(made.map_err(|error| failed(error.to_string()))?.answer)
            }
            EvaluatedAt::Steps(steps) => {
                let added = answers.add(ANSWER, &bare, steps.end(), ReadBy::All);
                added.map_err(|error| failed(error.to_string()))?;
                let (start, end, step) = (steps.start(), steps.end(), steps.step());
                let made = self.0.range(&answers, text, start, end, step);
                let made = made.map_err(|error| failed(error.to_string()))?.answer;
                Ok(match answer.provenance().filter(|told| told.has_ages()) {
                    None => made,
                    Some(told) => {
                        let ages = (0..answer.series().len()).map(|row| told.age(row));
                        let oldest = bound(Age::oldest(ages));
                        let rows = made.series().len();
                        made.with_ages(vec![oldest; rows])
                    }
                })
            }
            _ => Err(failed("not evaluated at such times".to_owned())),
        }
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
