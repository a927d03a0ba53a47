//! What is done with a query's answer before it is cached: labels, numbers that stand in labels, pods folded to variants,
//! and whatever else is given as an [`Evaluate`].
//!
//! A pipeline loses nothing silently. What it cannot make a number of stays as NaN, rows that belong to no variant stay
//! as they are, two rows that become one are an error; ages, warnings and completeness go along.

mod by_variant;
mod fold;
mod rows;
mod step;

use std::sync::Arc;
use std::time::Duration;

use fleetgauge_syntax::rewrite;

use crate::pod::IDENTITY;
use crate::result::{Answer, AnswerKind, MetricResult};
use crate::time::Timestamp;
use crate::variant::PodVariants;

pub use by_variant::{UNMAPPED, VARIANT};
pub use fold::{SCOPE, SCOPE_MODEL, fold, fold_for_variant};
pub use step::{Evaluate, EvaluatedAt, LabelChange, TransformError, TransformStep, VariantFold};

use rows::ages;

/// What a pipeline is given beside the answer.
#[derive(Clone, Copy, Debug)]
pub struct TransformContext<'a> {
    /// The times of the answer.
    pub at: EvaluatedAt,
    /// The variants that pods are joined to.
    pub variants: &'a dyn PodVariants,
    /// What became of the queries that [`weights`] names, in its order.
    pub weights: &'a [Arc<MetricResult>],
}

// === pipelines ===

/// Whether a row of the answer to `query`, or of what `steps` make of it, may stand on other pods than the one that its
/// labels name; or a row that is not there on pods, while others are of one each.
pub(crate) fn is_mixed(query: &str, steps: &[TransformStep]) -> bool {
    // What cannot be read may do anything.
    let is_text_mixed = |text: &str| {
        let parsed = fleetgauge_syntax::parse(text);
        parsed.map_or(true, |parsed| {
            rewrite::is_mixed(&parsed, &IDENTITY) || rewrite::is_both(&parsed, IDENTITY[0])
        })
    };
    is_text_mixed(query)
        || steps.iter().any(|step| match step {
            TransformStep::Evaluate(evaluate) => is_text_mixed(evaluate.text()),
            TransformStep::Labels(LabelChange::Rename(names)) => {
                names.iter().any(|(_, to)| IDENTITY.contains(&&**to))
            }
            TransformStep::Labels(_) | TransformStep::LabelToValue(_) | TransformStep::ByVariant(_) => false,
        })
}

/// The queries that `steps` weight by, in their order.
pub fn weights(steps: &[TransformStep]) -> impl Iterator<Item = &str> {
    steps.iter().filter_map(|step| match step {
        TransformStep::ByVariant(VariantFold::WeightedBy(query)) => Some(query.as_str()),
        _ => None,
    })
}

/// How far before the first step of a range its answer must begin, so that `steps` find all that they look at.
pub fn reach(steps: &[TransformStep]) -> Duration {
    let of_each = steps.iter().map(|step| match step {
        TransformStep::Evaluate(evaluate) => evaluate.reach(),
        _ => Duration::ZERO,
    });
    of_each.fold(Duration::ZERO, Duration::saturating_add)
}

/// What `steps` make of `answer`.
///
/// *Errors*: [`TransformError`] of the first step that cannot be done.
pub fn apply(
    steps: &[TransformStep],
    answer: Answer,
    context: TransformContext<'_>,
) -> Result<Answer, TransformError> {
    if !steps.is_empty() && answer.kind() == AnswerKind::String {
        return Err(TransformError::Text);
    }
    let mut weights = context.weights.iter();
    steps
        .iter()
        .try_fold(answer.numbers()?, |answer, step| match step {
            TransformStep::Evaluate(evaluate) => Ok(evaluated(&**evaluate, answer, context.at)?.numbers()?),
            TransformStep::LabelToValue(label) => rows::label_to_value(answer, label),
            TransformStep::Labels(change) => rows::change_labels(answer, change),
            TransformStep::ByVariant(fold) => {
                let weights = match fold {
                    VariantFold::By(_) => None,
                    VariantFold::WeightedBy(_) => weights.next(),
                };
                by_variant::fold(
                    answer,
                    fold,
                    weights.map(|result| result.answer()),
                    &*context.variants.snapshot(),
                )
            }
        })
}

/// `answer` without the points before `start`, and without the rows that have no others.
pub(crate) fn since(answer: Answer, start: Timestamp) -> Answer {
    let mut builder = rows::begun(&answer);
    let ages = ages(&answer);
    for (row, series) in answer.series().enumerate() {
        let mut points = series
            .points()
            .filter(|point| point.timestamp >= start)
            .peekable();
        if points.peek().is_none() {
            continue;
        }
        series
            .labels()
            .iter()
            .for_each(|(name, value)| builder.label(name, value));
        points.for_each(|point| builder.point(point.value, point.timestamp));
        // Labels of an answer are labels.
        let _ = builder.end_points();
        if let Some(ages) = &ages {
            builder.age(ages[row]);
        }
    }
    answer.with_rows(builder.build())
}

fn evaluated(evaluate: &dyn Evaluate, answer: Answer, at: EvaluatedAt) -> Result<Answer, TransformError> {
    if let (EvaluatedAt::Once(_), true) = (at, evaluate.reach() > Duration::ZERO) {
        return Err(TransformError::Instant {
            text: evaluate.text().to_owned(),
            reach: evaluate.reach(),
        });
    }
    let made = evaluate.evaluate(&answer, at)?;
    Ok(answer.with_rows(made))
}

#[cfg(test)]
mod tests;
