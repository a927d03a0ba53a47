//! What is done with a query's answer before it is cached: labels, numbers that stand in labels, pods folded to variants,
//! and whatever else is given as an [`Evaluate`].
//!
//! A pipeline loses nothing silently. What it cannot make a number of stays as NaN, rows that belong to no variant stay
//! as they are, two rows that become one are an error; ages, warnings and completeness go along.

mod by_variant;
mod rows;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::age::Age;
use crate::policy::Fold;
use crate::printable::{Printable, Quoted};
use crate::range::Steps;
use crate::result::{Answer, AnswerKind, MetricResult};
use crate::time::Timestamp;
use crate::variant::VariantIndex;

pub use by_variant::{UNMAPPED, VARIANT};

/// One step of what is done with an answer.
///
/// ```
/// use fleetgauge_core::policy::Fold;
/// use fleetgauge_core::query::QueryTemplate;
/// use fleetgauge_core::transform::TransformStep;
///
/// let blocks = QueryTemplate::promql("kv_blocks", "vllm:cache_config_info")
///     .transform(TransformStep::LabelToValue("num_gpu_blocks".into()))
///     .transform(TransformStep::ByVariant(VariantFold::By(Fold::Sum)));
/// # use fleetgauge_core::transform::VariantFold;
/// assert_eq!(blocks.transform.len(), 2);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum TransformStep {
    /// Something is evaluated over the answer, as PromQL.
    Evaluate(Arc<dyn Evaluate>),
    /// The number in this label takes the place of the value, and the label stays. Where there is no number the value is
    /// NaN, and a warning says so.
    LabelToValue(String),
    /// Labels are kept, dropped or renamed.
    Labels(LabelChange),
    /// Pods are joined to variants, and those of a variant folded.
    ///
    /// *Shape*: a row for each variant, with the labels `namespace`, `variant` and, where the rows have it, `cluster`.
    /// Rows that belong to no variant, or to one of several, stay as they are, with the reason in the label `unmapped`.
    ByVariant(VariantFold),
}

/// What is done with the labels of each row.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LabelChange {
    /// These stay, the others go.
    Keep(Vec<String>),
    /// These go.
    Drop(Vec<String>),
    /// Each of these gets the name behind it, all at once.
    Rename(Vec<(String, String)>),
}

/// How the pods of a variant become one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum VariantFold {
    /// By this.
    By(Fold),
    /// Their mean, in which each row counts by the row of another query of the same source that has the same labels,
    /// the metric's name aside.
    WeightedBy(String),
}

/// Something that is evaluated over an answer.
pub trait Evaluate: fmt::Debug + Send + Sync + 'static {
    /// What is evaluated, as it is written. Two of the same text do the same.
    fn text(&self) -> &str;

    /// How far before each time it looks.
    fn reach(&self) -> Duration;

    /// The rows in the place of those of `answer`, whose warnings, completeness and origin are kept by the caller.
    ///
    /// *Errors*: [`TransformError`]
    fn evaluate(&self, answer: &Answer, at: EvaluatedAt) -> Result<Answer, TransformError>;
}

/// The times of an answer that something is evaluated over.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum EvaluatedAt {
    /// One.
    Once(Timestamp),
    /// Each of these.
    Steps(Steps),
}

/// Why a step could not be done.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TransformError {
    /// Two rows have become one.
    #[error(
        "{step} makes two rows one: {}; keep a label that tells them apart, or aggregate them by promql before",
        Printable(.labels)
    )]
    SameRows {
        /// The step.
        step: &'static str,
        /// The labels that both have.
        labels: String,
    },
    /// It looks before the answer's time, and the answer has one time.
    #[error(
        "{} looks {reach:?} back, and the answer to an instant query has one time; ask for a range, or look back in the \
         query itself",
        Quoted(.text)
    )]
    Instant {
        /// What was to be evaluated.
        text: String,
        /// How far it looks back.
        reach: Duration,
    },
    /// The answer is a text.
    #[error("the answer is a string, and has no rows")]
    Text,
    /// The evaluation failed.
    #[error("{}: {}", Quoted(.text), Printable(.why))]
    Evaluation {
        /// What was evaluated.
        text: String,
        /// Why it has no value.
        why: String,
    },
    /// A label that cannot be.
    #[error("a label: {}", Printable(.why))]
    Label {
        /// What is wrong.
        why: String,
    },
}

/// What a pipeline is given beside the answer.
#[derive(Clone, Copy, Debug)]
pub struct TransformContext<'a> {
    /// The times of the answer.
    pub at: EvaluatedAt,
    /// The variants that pods are joined to.
    pub variants: &'a VariantIndex,
    /// What became of the queries that [`weights`] names, in its order.
    pub weights: &'a [Arc<MetricResult>],
}

// === impl TransformStep ===

impl TransformStep {
    /// What the step is called in packs and configuration.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Evaluate(_) => "promql",
            Self::LabelToValue(_) => "label_to_value",
            Self::Labels(_) => "labels",
            Self::ByVariant(_) => "by_variant",
        }
    }
}

impl PartialEq for TransformStep {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Evaluate(one), Self::Evaluate(other)) => one.text() == other.text(),
            (Self::LabelToValue(one), Self::LabelToValue(other)) => one == other,
            (Self::Labels(one), Self::Labels(other)) => one == other,
            (Self::ByVariant(one), Self::ByVariant(other)) => one == other,
            _ => false,
        }
    }
}

// === pipelines ===

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
    steps.iter().try_fold(answer, |answer, step| match step {
        TransformStep::Evaluate(evaluate) => evaluated(&**evaluate, answer, context.at),
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
                context.variants,
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

/// The age of each row of `answer`, where one is known.
fn ages(answer: &Answer) -> Option<Vec<Age>> {
    let told = answer.provenance().filter(|told| told.has_ages())?;
    Some((0..answer.series().len()).map(|row| told.age(row)).collect())
}

#[cfg(test)]
mod tests;
