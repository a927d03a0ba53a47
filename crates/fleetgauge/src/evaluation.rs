//! PromQL over samples in memory, as a backend answers it.

use std::time::Duration;

use fleetgauge_core::backend::FetchError;
use fleetgauge_core::result::Answer;
use fleetgauge_promql::engine::{Engine, EngineConfig, EvalError, Evaluation};

/// An engine for the queries of a source.
pub(crate) fn engine(lookback: Duration, timeout: Duration) -> Engine {
    let config = EngineConfig::default();
    Engine::new(config.with_lookback(lookback).with_timeout(timeout))
}

/// What `evaluate` gives, on a thread that may be busy with it for a while.
pub(crate) async fn run<F>(evaluate: F) -> Result<Answer, FetchError>
where
    F: FnOnce() -> Result<Answer, FetchError> + Send + 'static,
{
    let evaluated = tokio::task::spawn_blocking(evaluate).await;
    evaluated.map_err(|_| FetchError::Aborted)?
}

/// The answer, or why a backend has none.
pub(crate) fn answer(evaluated: Result<Evaluation, EvalError>) -> Result<Answer, FetchError> {
    evaluated.map(|evaluation| evaluation.answer).map_err(refused)
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
