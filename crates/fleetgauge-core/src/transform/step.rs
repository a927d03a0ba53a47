//! The steps of a pipeline, as data.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::policy::Fold;
use crate::printable::{Printable, Quoted};
use crate::range::Steps;
use crate::result::{Answer, NotANumber};
use crate::time::Timestamp;

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
    /// The answer has a native histogram.
    #[error(transparent)]
    NotANumber(#[from] NotANumber),
    /// A label that cannot be.
    #[error("a label: {}", Printable(.why))]
    Label {
        /// What is wrong.
        why: String,
    },
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

/// As in packs and configuration.
impl fmt::Display for TransformStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.name())?;
        match self {
            Self::Evaluate(evaluate) => write!(f, "{}", Printable(evaluate.text())),
            Self::LabelToValue(label) => write!(f, "{}", Printable(label)),
            Self::Labels(LabelChange::Keep(labels)) => write!(f, "{{keep: {labels:?}}}"),
            Self::Labels(LabelChange::Drop(labels)) => write!(f, "{{drop: {labels:?}}}"),
            Self::Labels(LabelChange::Rename(labels)) => {
                let labels = labels.iter().map(|(from, to)| (from, to));
                f.write_str("{rename: ")?;
                f.debug_map().entries(labels).finish()?;
                f.write_str("}")
            }
            Self::ByVariant(VariantFold::By(fold)) => write!(f, "{}", fold.as_str()),
            Self::ByVariant(VariantFold::WeightedBy(query)) => {
                write!(f, "{{weighted_by: {}}}", Printable(query))
            }
        }
    }
}
