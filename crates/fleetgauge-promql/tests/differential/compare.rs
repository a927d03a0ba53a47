//! Whether two answers are the same.

use std::time::Duration;

use fleetgauge_core::time::Timestamp;
use fleetgauge_promql::engine::{Engine, EvalError};
use fleetgauge_promql::queryable::Queryable;
use fleetgauge_promql::value::Value;

use crate::data;
use crate::expr::{Expr, Kind, Level};
use crate::oracle::{Answer, When, key};

/// Where numbers need not be the same to the last bit.
const TOLERANCE: f64 = 1e-12;

pub(crate) fn ours(
    engine: &Engine,
    data: &dyn Queryable,
    query: &str,
    when: When,
) -> Result<Answer, EvalError> {
    let at = |millis: i64| Timestamp::from_millis(data::START + millis);
    let evaluation = match when {
        When::At(millis) => engine.instant(data, query, at(millis)),
        When::Range(start, end, step) => {
            let step = Duration::from_millis(step as u64);
            engine.range(data, query, at(start), at(end), step)
        }
    };
    let millis = |at: Timestamp| at.as_millis() - data::START;
    Ok(match evaluation?.value {
        Value::Scalar(sample) => {
            let samples = [(millis(sample.timestamp), sample.value)].into();
            [("scalar".to_owned(), samples)].into()
        }
        Value::Text { text, .. } => [(format!("string {text:?}"), [].into())].into(),
        Value::Vector(all) => all
            .into_iter()
            .map(|one| {
                let samples = [(millis(one.sample.timestamp), one.sample.value)].into();
                (key(one.labels.iter()), samples)
            })
            .collect(),
        Value::Matrix(all) => all
            .into_iter()
            .map(|series| {
                let samples = series.samples.iter();
                let samples = samples.map(|s| (millis(s.timestamp), s.value)).collect();
                (key(series.labels.iter()), samples)
            })
            .collect(),
        other => panic!("{other:?} has no comparison"),
    })
}

/// The first difference.
pub(crate) fn difference(
    expr: &Expr,
    theirs: &Answer,
    ours: &Answer,
    scale: impl Fn() -> f64,
) -> Option<String> {
    let level = expr.level().unwrap_or(Level::Close);
    for (labels, expected) in theirs {
        let Some(got) = ours.get(labels) else {
            return Some(format!("we lack {labels}"));
        };
        for (at, expected) in expected {
            let Some(got) = got.get(at) else {
                return Some(format!("we lack {labels} at {at}"));
            };
            let same = match level {
                // The sign of a zero depends on how a sum begins.
                _ if expected == got || expected.is_nan() && got.is_nan() => true,
                Level::Exact | Level::Summable => false,
                Level::Close => {
                    let close = |scale: f64| (expected - got).abs() <= TOLERANCE * scale;
                    // What is left of large numbers is as exact as those were.
                    close(expected.abs().max(got.abs())) || close(scale())
                }
            };
            if !same {
                return Some(format!(
                    "{labels} at {at}: Prometheus has {expected:?}, we have {got:?}"
                ));
            }
        }
        if let Some((at, value)) = got.iter().find(|(at, _)| !expected.contains_key(at)) {
            return Some(format!(
                "{labels} at {at}: Prometheus has nothing, we have {value:?}"
            ));
        }
    }
    let mut more = ours.keys().filter(|labels| !theirs.contains_key(*labels));
    more.next().map(|labels| format!("Prometheus lacks {labels}"))
}

/// The largest number that occurs on the way to the answer.
pub(crate) fn scale(engine: &Engine, data: &dyn Queryable, expr: &Expr, when: When) -> f64 {
    let queries = expr.walk().into_iter().filter_map(|part| match part {
        // Of what is in the ranges, the numbers that they end with.
        Expr::Range { selector, .. } => Some(Expr::Selector(selector.clone()).print(data::START)),
        part if part.kind() == Kind::Vector => Some(part.print(data::START)),
        _ => None,
    });
    let answers = queries.filter_map(|query| ours(engine, data, &query, when).ok());
    let numbers = answers.flat_map(|answer| {
        let samples = answer.into_values().flatten();
        samples.map(|(_, value)| value.abs()).collect::<Vec<_>>()
    });
    numbers.filter(|value| value.is_finite()).fold(0.0, f64::max)
}
