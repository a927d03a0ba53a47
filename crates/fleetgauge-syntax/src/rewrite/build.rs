//! Parts of trees. What is built stands nowhere, so all places are 0.

use std::sync::Arc;

use crate::Function;
use crate::tree::{
    Aggregate, AggregateOp, AggregatePlaces, Binary, BinaryOp, Call, Expr, Grouping, MatchOp, Matcher,
    Matching, Shift, Subquery,
};

pub(super) fn call(function: Function, args: Vec<Expr>) -> Expr {
    let places = vec![0; args.len()];
    Expr::Call(Call {
        function,
        args,
        place: 0,
        places,
    })
}

pub(super) fn text(text: &str) -> Expr {
    Expr::Text(text.into())
}

/// *Unit* of `millis`: milliseconds; of the number: seconds.
pub(super) fn seconds(millis: i64) -> Expr {
    Expr::Number(millis as f64 / 1000.0)
}

pub(super) fn aggregate(op: AggregateOp, grouping: Grouping, expr: Expr) -> Expr {
    aggregate_with(op, grouping, None, expr)
}

pub(super) fn aggregate_with(op: AggregateOp, grouping: Grouping, param: Option<Expr>, expr: Expr) -> Expr {
    Expr::Aggregate(Box::new(Aggregate {
        op,
        param,
        places: AggregatePlaces::default(),
        expr,
        grouping,
    }))
}

pub(super) fn binary(op: BinaryOp, left: Expr, right: Expr) -> Expr {
    matched(op, left, right, Matching::default())
}

pub(super) fn matched(op: BinaryOp, left: Expr, right: Expr, matching: Matching) -> Expr {
    Expr::Binary(Box::new(Binary {
        place: 0,
        op,
        left,
        right,
        returns_bool: false,
        matching,
    }))
}

/// The rows of a vector, each with this number: without metric name, whatever its own number is. Not by `timestamp`, for
/// which VictoriaMetrics looks back where it is of anything but a selector.
pub(super) fn present(rows: Expr, number: Expr) -> Expr {
    let compared = Expr::Binary(Box::new(Binary {
        place: 0,
        op: BinaryOp::Equal,
        left: rows,
        right: Expr::Number(0.0),
        returns_bool: true,
        matching: Matching::default(),
    }));
    call(Function::Clamp, vec![compared, number.clone(), number])
}

pub(super) fn subquery(expr: Expr, range: i64, step: Option<i64>, shift: Shift) -> Expr {
    Expr::Subquery(Box::new(Subquery {
        expr,
        range,
        step,
        shift,
    }))
}

pub(super) fn equal(label: &str, value: &str) -> Matcher {
    Matcher {
        name: label.to_owned(),
        op: MatchOp::Equal,
        value: value.to_owned(),
        place: 0,
    }
}

/// `expr` with `value` as its `label`; no value is no label.
pub(super) fn labelled(expr: Expr, label: &str, value: &str) -> Expr {
    relabelled(expr, label, value, "", "")
}

pub(super) fn relabelled(expr: Expr, label: &str, replacement: &str, source: &str, regex: &str) -> Expr {
    let texts = [label, replacement, source, regex].map(text);
    let mut args = vec![expr];
    args.extend(texts);
    call(Function::LabelReplace, args)
}

pub(super) fn by(labels: &[Arc<str>]) -> Grouping {
    Grouping {
        without: false,
        labels: labels.to_vec(),
    }
}

pub(super) fn without(labels: &[Arc<str>], more: &str) -> Grouping {
    let mut labels = labels.to_vec();
    labels.push(more.into());
    Grouping {
        without: true,
        labels,
    }
}
