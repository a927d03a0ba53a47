//! What a query with expressions of durations depends on beside its text.

use crate::function::Function;
use crate::tree::Expr;

/// What a query is evaluated at, for `step()`, `range()`, `start()` and `end()`. *Unit*: milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// Between two steps; 0 for an instant query.
    pub step: i64,
    /// From the start to the end.
    pub range: i64,
    /// The first step. *Unit*: milliseconds since the Unix epoch, as of the next.
    pub start: i64,
    /// The end that was asked for, which may lie behind the last step.
    pub end: i64,
}

// === impl Times ===

impl Times {
    /// What a function of the query's times is. *Unit*: seconds.
    pub(crate) fn of(self, function: Function) -> Option<f64> {
        let millis = match function {
            Function::Step => self.step,
            Function::Range => self.range,
            Function::Start => self.start,
            Function::End => self.end,
            _ => return None,
        };
        Some(millis as f64 / 1000.0)
    }
}

/// A query with what is experimental.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Parsed {
    /// Without expressions of durations: they are computed.
    pub expr: Expr,
    /// Whether it has `step()`, `range()`, `start()` or `end()` but behind `@`. Of one that was parsed without times, a
    /// duration that depends on them is a stand-in, and the tree is not one to evaluate.
    pub is_timed: bool,
    /// Whether it has an expression of durations, of which the tree has the result.
    pub has_durations: bool,
    /// Where the first of them is that such a duration depends on. *Unit*: bytes.
    pub(crate) stand_in: Option<usize>,
}
