//! What a query with expressions of durations depends on beside its text.

use crate::features::Features;
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

/// What is 0 where `query` is evaluated at one time, `step()` or `range()`, also in its durations: where a metric is multiplied by
/// it, so is the value. `None` also of what is not PromQL.
///
/// ```
/// use fleetgauge_syntax::zero_at_one_time;
///
/// assert_eq!(zero_at_one_time("sum(x) * step()"), Some("step()"));
/// assert_eq!(zero_at_one_time("sum(step)"), None);
/// ```
pub fn zero_at_one_time(query: &str) -> Option<&'static str> {
    // Nearly all queries have neither word.
    let lower = query.to_ascii_lowercase();
    if !lower.contains("step") && !lower.contains("range") {
        return None;
    }
    let parsed = crate::parse_with(query, Features::all(), None).ok()?;
    let written = |is_step| if is_step { "step()" } else { "range()" };
    let called = parsed.expr.walk().into_iter().find_map(|part| match part {
        Expr::Call(call) => matches!(call.function, Function::Step | Function::Range)
            .then(|| written(call.function == Function::Step)),
        _ => None,
    });
    called.or_else(|| {
        parsed
            .stand_in
            .map(|place| written(lower[place..].starts_with("step")))
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_zero_at_one_time_is_found_wherever_it_stands() {
        let check = |query: &str, expected| assert_eq!(zero_at_one_time(query), expected, "{query}");
        check("sum(g) * step()", Some("step()"));
        check("sum(g) / range ( )", Some("range()"));
        check("rate(x[5m + STEP()])", Some("step()"));
        check("x offset range()", Some("range()"));
        check("max_over_time((x * step())[5m:1m])", Some("step()"));
        check("x + fill(0) y * step()", Some("step()"));
        check("step{range=\"step()\"}", None);
        check("time() - start() + end()", None);
        check("step( x", None);
    }
}
