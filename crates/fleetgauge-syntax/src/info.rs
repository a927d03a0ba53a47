//! What `info` reads beside its first argument: which info series, and those of which time.
//!
//! It is said here once, for the evaluator and for what is told of a query before it is evaluated.
//!
//! *Source*: <https://prometheus.io/docs/prometheus/latest/querying/functions/#info>.

use crate::Function;
use crate::tree::{Expr, MatchOp, Matcher, Shift, ValueType};

/// The metric whose series are read where no name is asked for.
const TARGET_INFO: &str = "target_info";
/// The names of the metrics whose series are read where it is said only which are not.
const ANY_INFO: &str = ".+_info";

/// When the selectors of an expression look.
struct Found<F> {
    is_same: F,
    first: Option<Shift>,
    /// Whether all look at the time of the first, and nothing is of the time of the step alone.
    is_uniform: bool,
}

/// The matcher of the metric name that stands in no query: `names` are those that the second argument has for it.
///
/// ```
/// use fleetgauge_syntax::{info, tree::MatchOp};
///
/// let implied = |names: &[MatchOp]| info::implied(names.iter().copied()).map(|matcher| matcher.to_string());
/// assert_eq!(implied(&[]).unwrap(), r#"__name__="target_info""#);
/// assert_eq!(implied(&[MatchOp::NotEqual]).unwrap(), r#"__name__=~".+_info""#);
/// assert_eq!(implied(&[MatchOp::NotEqual, MatchOp::Regex]), None);
/// ```
pub fn implied(names: impl IntoIterator<Item = MatchOp>) -> Option<Matcher> {
    let names: Vec<_> = names.into_iter().collect();
    let (op, value) = match &names[..] {
        [] => (MatchOp::Equal, TARGET_INFO),
        names if names.iter().any(|op| op.is_positive()) => return None,
        _ => (MatchOp::Regex, ANY_INFO),
    };
    Some(Matcher {
        name: "__name__".to_owned(),
        op,
        value: value.to_owned(),
        place: 0,
    })
}

/// Whether it is one that stands in no query.
pub fn is_implied(matcher: &Matcher) -> bool {
    matcher.place == 0 && matches!(&*matcher.value, TARGET_INFO | ANY_INFO)
}

/// Of which time the info series are, given the first argument: that of its samples, where all selectors in it look at the
/// same, and else that of the step.
///
/// `is_same` says whether two shifts with `@` are of the same time, which may depend on the query's start and end.
pub fn shift<M>(arg: &Expr<M>, is_same: impl Fn(Shift, Shift) -> bool) -> Shift {
    let mut found = Found {
        is_same,
        first: None,
        is_uniform: true,
    };
    found.visit(arg, Shift::default());
    found.first.filter(|_| found.is_uniform).unwrap_or_default()
}

// === impl Found ===

impl<F: Fn(Shift, Shift) -> bool> Found<F> {
    /// Whether a selector is in it. `around` is how the subqueries around it shift the time.
    fn visit<M>(&mut self, expr: &Expr<M>, around: Shift) -> bool {
        if !matches!(
            expr.value_type(),
            ValueType::InstantVector | ValueType::RangeVector
        ) {
            return false;
        }
        let has_selector = match expr {
            Expr::Selector(selector) => self.add(within(selector.shift, around)),
            Expr::Range(range) => self.add(within(range.selector.shift, around)),
            Expr::Subquery(subquery) => self.visit(&subquery.expr, within(subquery.shift, around)),
            // Its second argument is no vector.
            Expr::Call(call) if call.function == Function::Info => {
                call.args.first().is_some_and(|arg| self.visit(arg, around))
            }
            other => {
                let mut has_selector = false;
                for part in other.children() {
                    has_selector |= self.visit(part, around);
                }
                has_selector
            }
        };
        self.is_uniform &= has_selector;
        has_selector
    }

    fn add(&mut self, shift: Shift) -> bool {
        let first = *self.first.get_or_insert(shift);
        self.is_uniform &= match (first.at, shift.at) {
            (None, None) => first.offset == shift.offset,
            (Some(_), Some(_)) => (self.is_same)(first, shift),
            _ => false,
        };
        true
    }
}

/// The shift of what stands in a subquery that is shifted itself: with `@`, what is around it does not matter.
fn within(inner: Shift, around: Shift) -> Shift {
    match inner.at {
        Some(_) => inner,
        None => Shift {
            offset: inner.offset.saturating_add(around.offset),
            at: around.at,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::At;

    #[test]
    fn the_time_is_that_of_all_selectors() {
        let check = |query: &str, offset: i64, at: Option<i64>| {
            let time = |shift: Shift| match shift.at {
                Some(At::Time(at)) => at - shift.offset,
                at => panic!("{at:?}"),
            };
            let got = shift(&crate::parse(query).unwrap(), |a, b| time(a) == time(b));
            let at = at.map(At::Time);
            assert_eq!(got, Shift { offset, at }, "{query}");
        };
        check("x", 0, None);
        check("x offset 1m", 60_000, None);
        check("rate(x[5m] offset 1m)", 60_000, None);
        check("x @ 60 offset 10s", 10_000, Some(60_000));
        check("x offset 1m / (y offset 1m) + 1", 60_000, None);
        check("x offset 1m / y", 0, None);
        check("x @ 60 + y @ 70 offset 10s", 0, Some(60_000));
        check("x @ 60 + y @ 70", 0, None);
        check("x @ 60 + y", 0, None);
        // The inner selector's own `@` counts; else the offsets add up, to the next `@` around.
        check(
            "last_over_time((x offset 1m)[5m:1m] @ 180)",
            60_000,
            Some(180_000),
        );
        check(
            "last_over_time((x offset 1m)[5m:1m] @ 180 offset 2m)",
            180_000,
            Some(180_000),
        );
        check(
            "last_over_time(last_over_time(x[5m:1m] @ 60)[5m:1m] offset 2m)",
            0,
            Some(60_000),
        );
        // Of the time of the step, and a scalar that does not matter.
        check("x offset 1m or vector(1)", 0, None);
        check("vector(1)", 0, None);
        check("x offset 1m * scalar(y)", 60_000, None);
        // What another `info` is asked for is no selector.
        check(r#"info(x offset 1m, {a="b"})"#, 60_000, None);
    }
}
