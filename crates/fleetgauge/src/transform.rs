//! What is done with a query's answer before it is cached: the steps of [`fleetgauge_core::transform`], and PromQL over
//! the answer, which is called `answer` in it.
//!
//! ```
//! use fleetgauge::QueryTemplate;
//! use fleetgauge::policy::Fold;
//! use fleetgauge::transform::{self, TransformStep, VariantFold};
//!
//! let queue = QueryTemplate::promql("queue_per_gpu", "queue")
//!     .transform(transform::promql("sum by (namespace, pod) (answer) / 8")?)
//!     .transform(TransformStep::ByVariant(VariantFold::By(Fold::Sum)));
//! assert!(transform::promql("sum(queue)").unwrap_err().to_string().contains("answer"));
//! # Ok::<(), fleetgauge::transform::StepError>(())
//! ```

mod check;
#[cfg(feature = "promql")]
mod evaluate;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use fleetgauge_core::transform::{
    Evaluate, EvaluatedAt, LabelChange, TransformContext, TransformError, TransformStep, UNMAPPED, VARIANT,
    VariantFold, apply, reach, weights,
};

use fleetgauge_core::result::Answer;

pub use check::StepError;

/// An expression over an answer.
struct PromQl {
    text: String,
    reach: Duration,
    #[cfg(feature = "promql")]
    over: evaluate::Over,
}

/// The step that evaluates `expression` over the answer, which it calls `answer`.
///
/// Its selectors are of the answer alone, and look at its own times, or with a range (`answer[30m]`) at those before: a
/// range query is then asked for so much more. `offset`, `@`, subqueries, `timestamp` and `info` are refused, since an answer
/// has no samples but those at its own times.
///
/// *Errors*: [`StepError`], with the place.
pub fn promql(expression: &str) -> Result<TransformStep, StepError> {
    let text = expression.trim_end();
    let expr = fleetgauge_syntax::parse(text).map_err(|error| StepError::parse(&error))?;
    let reach = check::reach(text, &expr)?;
    Ok(TransformStep::Evaluate(Arc::new(PromQl {
        text: text.to_owned(),
        reach,
        #[cfg(feature = "promql")]
        over: evaluate::Over::new(),
    })))
}

impl Evaluate for PromQl {
    fn text(&self) -> &str {
        &self.text
    }

    fn reach(&self) -> Duration {
        self.reach
    }

    #[cfg(feature = "promql")]
    fn evaluate(&self, answer: &Answer, at: EvaluatedAt) -> Result<Answer, TransformError> {
        self.over.evaluate(&self.text, answer, at)
    }

    #[cfg(not(feature = "promql"))]
    fn evaluate(&self, _answer: &Answer, _at: EvaluatedAt) -> Result<Answer, TransformError> {
        Err(TransformError::Evaluation {
            text: self.text.clone(),
            why: "this program was built without the feature promql, which evaluates it".to_owned(),
        })
    }
}

impl fmt::Debug for PromQl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PromQl").field(&self.text).finish()
    }
}
