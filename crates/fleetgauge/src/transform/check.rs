//! Whether an expression can be evaluated over an answer.

use std::time::Duration;

use fleetgauge_core::label::METRIC_NAME;
use fleetgauge_core::printable::Quoted;
use fleetgauge_core::similar::similar;
use fleetgauge_syntax::tree::{Expr, MatchOp, Selector};
use fleetgauge_syntax::{Function, ParseError};

/// What the answer is called in an expression.
pub(crate) const ANSWER: &str = "answer";

/// Why an expression cannot be evaluated over an answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {message}")]
pub struct StepError {
    line: usize,
    column: usize,
    message: String,
}

// === impl StepError ===

impl StepError {
    pub(super) fn parse(error: &ParseError) -> Self {
        Self {
            line: error.line(),
            column: error.column(),
            message: format!("not PromQL: {}", error.message()),
        }
    }

    fn at(text: &str, offset: usize, message: String) -> Self {
        let error = ParseError::new(text, offset, message);
        Self {
            line: error.line(),
            column: error.column(),
            message: error.message().to_owned(),
        }
    }

    /// The line within the expression, from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// The column within the line. *Unit*: characters, from 1.
    pub fn column(&self) -> usize {
        self.column
    }

    /// What is wrong there, and what to do.
    pub fn message(&self) -> &str {
        &self.message
    }
}

/// How far before each time `expr` looks.
///
/// *Errors*: [`StepError`]
pub(super) fn reach(text: &str, expr: &Expr) -> Result<Duration, StepError> {
    let mut longest = 0;
    let mut names_answer = false;
    for part in expr.walk() {
        match part {
            Expr::Selector(selector) => {
                check_selector(text, selector)?;
                names_answer = true;
            }
            Expr::Range(range) => {
                check_selector(text, &range.selector)?;
                names_answer = true;
                longest = longest.max(range.range);
            }
            Expr::Subquery(_) => {
                let why = "a subquery looks between the steps of the answer, where it has no values; write a range, as \
                           in answer[10m]";
                return Err(StepError::at(text, 0, why.to_owned()));
            }
            Expr::Call(call) if call.function == Function::Timestamp => {
                let why = "timestamp() of an answer is the time that it was asked for, and no age; the ages of its rows \
                           go along";
                return Err(StepError::at(text, place(call.places.first()), why.to_owned()));
            }
            Expr::Call(call) if call.function == Function::Info => {
                let why = "info() reads another metric than the answer; use it in the query itself";
                return Err(StepError::at(text, place(call.places.first()), why.to_owned()));
            }
            _ => {}
        }
    }
    if !names_answer {
        let why = format!("the expression does not name the answer, which is called {ANSWER:?} in it");
        return Err(StepError::at(text, 0, why));
    }
    if expr.value_type() == fleetgauge_syntax::tree::ValueType::RangeVector {
        let why =
            "a range of the answer is not one value a row; put it into a function, such as max_over_time()";
        return Err(StepError::at(text, 0, why.to_owned()));
    }
    Ok(Duration::from_millis(u64::try_from(longest).unwrap_or(0)))
}

fn place(place: Option<&usize>) -> usize {
    place.copied().unwrap_or_default()
}

fn check_selector(text: &str, selector: &Selector) -> Result<(), StepError> {
    let first = selector.matchers.iter().map(|matcher| matcher.place).min();
    let first = first.unwrap_or_default();
    let named = selector
        .matchers
        .iter()
        .find(|matcher| matcher.name == METRIC_NAME);
    match named {
        Some(matcher) if matcher.op == MatchOp::Equal && matcher.value == ANSWER => {}
        Some(matcher) => {
            let meant = match similar(&matcher.value, [ANSWER].into_iter()) {
                Some(_) => format!("; did you mean {ANSWER:?}?"),
                None => format!(", which is called {ANSWER:?}"),
            };
            let why = format!(
                "{} is not the answer{meant}; a transform reads nothing else",
                Quoted(&matcher.value)
            );
            return Err(StepError::at(text, matcher.place, why));
        }
        None => {
            let why = format!("a selector without a name; the answer is called {ANSWER:?}");
            return Err(StepError::at(text, first, why));
        }
    }
    if let Some(modifier) = selector.extended.as_str() {
        let why = format!("`{modifier}` looks beyond the times of the answer, where it has no values");
        return Err(StepError::at(text, first, why));
    }
    if selector.shift.offset != 0 || selector.shift.at.is_some() {
        let why =
            "offset and @ look at times for which the answer was not asked; write them into the query itself";
        return Err(StepError::at(text, first, why.to_owned()));
    }
    Ok(())
}
