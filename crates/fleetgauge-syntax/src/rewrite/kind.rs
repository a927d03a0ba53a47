//! Whether the samples and rows of an expression are numbers or native histograms, as far as its text tells.

use crate::Function;
use crate::tree::{AggregateOp, Call, Expr, MatchOp, Selector, ValueType};

use super::series::{METRIC_NAME, Rows, has_samples, may_leave_out, rows};

/// How the names of series end that are numbers.
const NUMBERS: [&str; 4] = ["_bucket", "_count", "_sum", "_total"];

/// Whether any of the samples may be a native histogram. By their names the parts of classic histograms, and counters, are none:
/// who exposes a native one gives it the name without an ending.
fn may_have_histograms(expr: &Expr) -> bool {
    let may_be_one = |selector: &Selector| {
        let name = selector
            .matchers
            .iter()
            .find(|matcher| matcher.name == METRIC_NAME);
        !name.is_some_and(|name| {
            name.op == MatchOp::Equal && NUMBERS.iter().any(|ending| name.value.ends_with(ending))
        })
    };
    expr.walk().into_iter().any(|part| match part {
        Expr::Selector(selector) => may_be_one(selector),
        Expr::Range(range) => may_be_one(&range.selector),
        _ => false,
    })
}

/// Whether nothing is left out of what the expression is computed from, also where that has histograms.
pub(super) fn has_all_rows(expr: &Expr) -> bool {
    if !may_have_histograms(expr) {
        return true;
    }
    match expr {
        Expr::Selector(_) => true,
        Expr::Negate(inner) | Expr::Once(inner) => has_all_rows(inner),
        Expr::Aggregate(aggregate) => {
            matches!(aggregate.op, AggregateOp::Count | AggregateOp::Group) && has_all_rows(&aggregate.expr)
        }
        _ => !has_samples(expr),
    }
}

/// Whether none of the rows is a histogram.
pub(super) fn is_number(expr: &Expr) -> bool {
    use Function as F;
    match expr {
        Expr::Negate(inner) | Expr::Once(inner) => is_number(inner),
        Expr::Aggregate(aggregate) => {
            use AggregateOp as A;
            let of_numbers = [
                A::Count,
                A::Group,
                A::Max,
                A::Min,
                A::Quantile,
                A::Stddev,
                A::Stdvar,
            ];
            of_numbers.contains(&aggregate.op) || is_number(&aggregate.expr)
        }
        Expr::Call(call) => match rows(call.function) {
            Rows::EachHistogram => true,
            Rows::Each | Rows::EachOrNone => may_leave_out(call.function),
            Rows::EachSeries => !matches!(
                call.function,
                F::AvgOverTime | F::FirstOverTime | F::LastOverTime | F::SumOverTime
            ),
            Rows::Relabelled | Rows::Ordered => vector_of(call).is_some_and(is_number),
            _ => false,
        },
        Expr::Binary(op) => {
            op.returns_bool && op.op.is_comparison() || is_number(&op.left) && is_number(&op.right)
        }
        _ => !has_samples(expr),
    }
}

/// The argument that is an instant vector.
pub(super) fn vector_of(call: &Call) -> Option<&Expr> {
    let is_vector = |arg: &&Expr| arg.value_type() == ValueType::InstantVector;
    call.args.iter().find(is_vector)
}
