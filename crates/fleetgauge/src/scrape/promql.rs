//! PromQL over the window, as a Prometheus server would answer it at this moment.

use std::sync::Arc;
use std::time::Duration;

use fleetgauge_core::backend::FetchError;
use fleetgauge_core::label::LabelError;
use fleetgauge_core::result::AnswerBuilder;
use fleetgauge_core::sample::Stamp;
use fleetgauge_core::time::Timestamp;
use fleetgauge_promql::engine::{Engine, EngineConfig, EvalError, Evaluation};
use fleetgauge_promql::value::Value;

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
) -> Result<AnswerBuilder, FetchError> {
    let (engine, query) = (engine.clone(), query.to_owned());
    let evaluating = move || answer(engine.instant(&view, &query, at).map_err(refused)?);
    let evaluated = tokio::task::spawn_blocking(evaluating).await;
    evaluated.map_err(|_| FetchError::Aborted)?
}

/// *Shape*: as that of a Prometheus source.
fn answer(evaluation: Evaluation) -> Result<AnswerBuilder, FetchError> {
    let malformed = |error: LabelError| FetchError::Malformed {
        detail: error.to_string(),
        source: Some(Arc::new(error)),
    };
    let mut answer = AnswerBuilder::new(Stamp::Evaluated);
    match evaluation.value {
        Value::Scalar(sample) => {
            let added = answer.series([], sample.value, sample.timestamp);
            added.map_err(malformed)?;
        }
        Value::Text { text, .. } => answer.text(&text),
        Value::Vector(vector) => {
            for one in vector {
                let added = answer.series(one.labels.iter(), one.sample.value, one.sample.timestamp);
                added.map_err(malformed)?;
            }
        }
        Value::Matrix(matrix) => {
            answer.set_stamp(Stamp::Sampled);
            for series in matrix {
                if let Some(newest) = series.samples.last() {
                    let added = answer.series(series.labels.iter(), newest.value, newest.timestamp);
                    added.map_err(malformed)?;
                }
            }
        }
        // A kind that this source does not know yet is no empty answer.
        _ => {
            return Err(FetchError::Unsupported {
                what: "an answer of this type".into(),
            });
        }
    }
    for warning in &evaluation.warnings {
        answer.warning(&warning.to_string());
    }
    for reason in evaluation.missing.reasons() {
        answer.missing(&reason);
    }
    for info in &evaluation.infos {
        answer.info(&info.to_string());
    }
    Ok(answer)
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
