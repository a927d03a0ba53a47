//! PromQL over samples in memory, as a backend answers it.

use std::borrow::Cow;
use std::time::Duration;

use fleetgauge_core::backend::FetchError;
use fleetgauge_core::range::Steps;
use fleetgauge_core::result::Answer;
use fleetgauge_core::time::Timestamp;
use fleetgauge_promql::engine::{Engine, EngineConfig, EvalError};
use fleetgauge_promql::queryable::Queryable;
use tokio::sync::Semaphore;

/// An engine for the queries of a source, which tells how old values are, and what was left out of an answer. Native histograms are refused by whoever gets the
/// answer and does not take them.
pub(crate) fn engine(lookback: Duration, timeout: Duration) -> Engine {
    let config = EngineConfig::default();
    Engine::new(
        config
            .with_lookback(lookback)
            .with_timeout(timeout)
            .with_ages(true)
            .with_histograms(true)
            .with_strict_kinds(true),
    )
}

/// Evaluates over answers, on as many cores as there are.
pub(crate) struct Evaluator {
    engine: Engine,
    /// The right to evaluate: a core each.
    evaluating: Semaphore,
}

impl Evaluator {
    pub(crate) fn over_answers(timeout: Duration) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            // The lookback makes no difference: answers count at their own times alone.
            engine: engine(Duration::from_millis(1), timeout),
            evaluating: Semaphore::new(cores),
        }
    }

    /// As [`evaluate`], when it is its turn.
    pub(crate) async fn evaluate<D: Queryable>(
        &self,
        data: impl FnOnce() -> Result<D, FetchError> + Send + 'static,
        query: Cow<'_, str>,
        times: Times,
    ) -> Result<Answer, FetchError> {
        let _permit = self.evaluating.acquire().await.map_err(|_| FetchError::Aborted)?;
        evaluate(&self.engine, data, query, times).await
    }
}

/// When a query is evaluated.
pub(crate) enum Times {
    Once(Timestamp),
    Steps(Steps),
}

/// Evaluates `query` over what `data` gives, on a thread that may be busy with it for a while.
pub(crate) async fn evaluate<D: Queryable>(
    engine: &Engine,
    data: impl FnOnce() -> Result<D, FetchError> + Send + 'static,
    query: Cow<'_, str>,
    times: Times,
) -> Result<Answer, FetchError> {
    let (engine, query) = (engine.clone(), query.into_owned());
    let evaluating = move || {
        let data = data()?;
        let evaluated = match times {
            Times::Once(at) => engine.instant(&data, &query, at),
            Times::Steps(steps) => engine.range(&data, &query, steps.start(), steps.end(), steps.step()),
        };
        Ok(evaluated.map_err(refused)?.answer)
    };
    let evaluated = tokio::task::spawn_blocking(evaluating).await;
    evaluated.map_err(|_| FetchError::Aborted)?
}

/// Under the names that Prometheus gives to such errors.
fn refused(error: EvalError) -> FetchError {
    match error {
        EvalError::Bound { bound, limit } => FetchError::TooLarge {
            limit: limit as u64,
            unit: bound.as_str(),
        },
        EvalError::Timeout { limit } => FetchError::Timeout { after: limit },
        EvalError::Parse(_) => rejected("bad_data", &error),
        _ => rejected("execution", &error),
    }
}

fn rejected(kind: &str, error: &EvalError) -> FetchError {
    FetchError::Rejected {
        kind: kind.to_owned(),
        message: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use fleetgauge_promql::engine::Bound;

    use super::*;

    #[test]
    fn a_bound_is_told_in_what_it_counts() {
        for bound in [Bound::Samples, Bound::Series, Bound::Bytes, Bound::Steps] {
            let error = refused(EvalError::Bound { bound, limit: 7 }).to_string();
            assert_eq!(error, format!("answer too large: more than 7 {bound}"));
        }
    }
}
