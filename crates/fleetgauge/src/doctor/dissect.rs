//! Why an expression has no rows: it is walked down to what lacks them.

use fleetgauge_core::result::MetricResult;
use fleetgauge_syntax::Function;
use fleetgauge_syntax::tree::{Aggregate, AggregateOp, Binary, BinaryOp, Call, Expr, ValueType};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::finding::{Rank, Reason, Severity};
use super::probe::Failure;
use super::subject::Subject;
use super::{advice, selector};

/// The first reason that `expr` has no rows.
pub(super) fn why<'a>(subject: &'a Subject<'_>, expr: &'a Expr) -> BoxFuture<'a, Result<Reason, Failure>> {
    async move {
        match expr {
            Expr::Once(inner) | Expr::Negate(inner) => why(subject, inner).await,
            Expr::Selector(selector) => selector::why(subject, selector, None).await,
            Expr::Range(range) => selector::why(subject, &range.selector, Some(range.range)).await,
            Expr::Subquery(subquery) => match is_empty(subject, &subquery.expr).await? {
                true => why(subject, &subquery.expr).await,
                false => Ok(gives_none(expr)),
            },
            Expr::Aggregate(aggregate) => of_aggregate(subject, expr, aggregate).await,
            Expr::Call(call) => of_call(subject, expr, call).await,
            Expr::Binary(op) => of_binary(subject, expr, op).await,
            Expr::Number(_) | Expr::Text(_) => Ok(gives_none(expr)),
        }
    }
    .boxed()
}

async fn of_aggregate(subject: &Subject<'_>, expr: &Expr, aggregate: &Aggregate) -> Result<Reason, Failure> {
    let may_drop_rows = matches!(
        aggregate.op,
        AggregateOp::Topk | AggregateOp::Bottomk | AggregateOp::Limitk | AggregateOp::LimitRatio
    );
    if may_drop_rows && !is_empty(subject, &aggregate.expr).await? {
        return Ok(gives_none(expr));
    }
    why(subject, &aggregate.expr).await
}

async fn of_call(subject: &Subject<'_>, expr: &Expr, call: &Call) -> Result<Reason, Failure> {
    if matches!(call.function, Function::Absent | Function::AbsentOverTime) {
        let what = format!("{expr} has no row, as what it looks for is there");
        return Ok(Reason::new(Rank::Operation, what, "").with_severity(Severity::Ok));
    }
    for arg in &call.args {
        match (arg.unwrapped(), arg.value_type()) {
            (Expr::Range(range), _) => {
                return selector::why(subject, &range.selector, Some(range.range)).await;
            }
            (_, ValueType::RangeVector) => return why(subject, arg).await,
            (_, ValueType::InstantVector) if is_empty(subject, arg).await? => {
                return why(subject, arg).await;
            }
            _ => {}
        }
    }
    Ok(gives_none(expr))
}

async fn of_binary(subject: &Subject<'_>, expr: &Expr, op: &Binary) -> Result<Reason, Failure> {
    if op.op == BinaryOp::Or {
        let left = why(subject, &op.left).await?;
        let right = why(subject, &op.right).await?;
        return Ok(of_or(left, right));
    }
    let sides = match op.op {
        BinaryOp::Unless => vec![&op.left],
        _ => vec![&op.left, &op.right],
    };
    let is_vector = |side: &&&Expr| side.value_type() == ValueType::InstantVector;
    for side in sides.iter().filter(is_vector) {
        if is_empty(subject, side).await? {
            return why(subject, side).await;
        }
    }
    let vectors: Vec<_> = sides.iter().filter(is_vector).collect();
    if op.op.is_comparison() {
        let what = format!("no row now: none has a value for which {expr} holds");
        return Ok(Reason::new(Rank::Operation, what, advice::FILTERED).with_severity(Severity::Ok));
    }
    if op.op == BinaryOp::Unless {
        let what = format!("no row now: the right side of {expr} has all of them");
        return Ok(Reason::new(Rank::Operation, what, "").with_severity(Severity::Ok));
    }
    if let [left, right] = *vectors {
        let left = some_labels(&*subject.ask(&left.to_string()).await?);
        let right = some_labels(&*subject.ask(&right.to_string()).await?);
        let what = format!(
            "both sides of {} have rows, but none of the same labels: left {left}, right {right}",
            op.op.as_str()
        );
        return Ok(Reason::new(Rank::Operation, what, advice::NO_MATCH));
    }
    Ok(gives_none(expr))
}

/// Of both sides of an `or` that have no rows.
fn of_or(left: Reason, right: Reason) -> Reason {
    if left.rank == Rank::Metric && right.rank == Rank::Metric {
        let both = match left.what.strip_prefix("there is no metric ") {
            Some(_) if right.what == left.what => left.what.clone(),
            _ => format!("{}; {}", left.what, right.what),
        };
        let told = if right.has_hint && !left.has_hint {
            right
        } else {
            left
        };
        return Reason { what: both, ..told };
    }
    if right.rank > left.rank { right } else { left }
}

fn gives_none(expr: &Expr) -> Reason {
    let what = format!("{expr} has no row, although what it reads is there");
    Reason::new(
        Rank::Operation,
        what,
        "ask for its parts with fleetgauge query --promql",
    )
    .with_severity(Severity::Warning)
}

async fn is_empty(subject: &Subject<'_>, expr: &Expr) -> Result<bool, Failure> {
    let text = match expr.value_type() {
        ValueType::RangeVector => return Ok(false),
        _ => expr.to_string(),
    };
    Ok(subject.ask(&text).await?.is_no_data())
}

/// The labels of a row.
fn some_labels(result: &MetricResult) -> String {
    let row = result.values().next();
    row.map_or_else(|| "none".to_owned(), |row| row.labels.to_string())
}
