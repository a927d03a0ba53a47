//! What of a query is 0 where it is evaluated at one time, and not over steps.

use crate::features::Features;
use crate::function::Function;
use crate::query::parse_with;
use crate::tree::Expr;

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
    let parsed = parse_with(query, Features::all(), None).ok()?;
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
