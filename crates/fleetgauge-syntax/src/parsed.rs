//! What a query with expressions of durations depends on beside its text.

use crate::tree::Expr;

/// What a query is evaluated at, for `step()` and `range()` in expressions of durations. *Unit*: milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// Between two steps; 0 for an instant query.
    pub step: i64,
    /// From the start to the end.
    pub range: i64,
}

/// A query with what is experimental.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Parsed {
    /// Without expressions of durations: they are computed.
    pub expr: Expr,
    /// Whether it has `step()` or `range()`. Of one that was parsed without times, a duration that depends on them is a
    /// stand-in, and the tree is not one to evaluate.
    pub is_timed: bool,
}
