//! PromQL over the window, as a Prometheus server would answer it at this moment.

use std::time::Duration;

use fleetgauge_core::backend::FetchError;
use fleetgauge_core::result::Answer;
use fleetgauge_core::time::Timestamp;
use fleetgauge_promql::engine::{Engine, EngineConfig, EvalError};

use super::view::View;

/// An engine for the queries of a source.
pub(super) fn engine(lookback: Duration, timeout: Duration) -> Engine {
    let config = EngineConfig::default();
    Engine::new(config.with_lookback(lookback).with_timeout(timeout))
}

/// Evaluates `query` over `view` as of `at`, on a thread that may be busy with it for a while.
pub(super) async fn evaluate(
    engine: &Engine,
    view: View,
    query: &str,
    at: Timestamp,
) -> Result<Answer, FetchError> {
    let (engine, query) = (engine.clone(), query.to_owned());
    let evaluating = move || engine.instant(&view, &query, at).map_err(refused);
    let evaluated = tokio::task::spawn_blocking(evaluating).await;
    Ok(evaluated.map_err(|_| FetchError::Aborted)??.answer)
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
