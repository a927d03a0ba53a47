//! What knows numbers alone.
//!
//! Among numbers a histogram is a NaN that stands for it, which must not be taken for one. So whatever is not known to
//! look for histograms gets none, here, where all that is evaluated passes.

use crate::error::EvalError;
use crate::parse::Expr;

/// The name of what `expr` does, if it knows numbers alone.
pub(super) fn name(expr: &Expr) -> Option<&'static str> {
    match expr {
        Expr::Number(_) | Expr::Text(_) | Expr::Selector(_) | Expr::Range(_) => None,
        // They hand on what is inside.
        Expr::Once(_) | Expr::Subquery(_) => None,
        Expr::Negate(_) => None,
        Expr::Aggregate(aggregate) => Some(aggregate.op.name()),
        Expr::Binary(binary) => Some(binary.op.as_str()),
        Expr::Call(_) => None,
    }
}

/// That a native histogram came where none may.
pub(super) fn refusal(name: &str) -> EvalError {
    EvalError::execution(format!("native histograms are not supported by {name}"))
}
