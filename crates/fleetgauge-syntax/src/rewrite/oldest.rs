//! How old the oldest sample is that a query reads, in one row: a bound for the ages of all of its rows, which costs far
//! less than [`age`](super::age()) of many rows or of ranges.
//!
//! A selector `x` finds the newest sample of each series that goes on. Of a range `x[1m]`, those series contribute that have
//! a sample in it, and those of `timestamp(x) > time() - 60` are among them. The others have ended: they are told as of
//! 1970, so that whoever asks sees that their ages have to be asked for otherwise.

use std::collections::BTreeMap;

use crate::Function;
use crate::tree::{AggregateOp, BinaryOp, Expr, Grouping, MatchOp, RangeSelector, Selector};

use super::asked::Asked;
use super::build::{aggregate, binary, call, labelled};
use super::series::{LOOKBACK_MILLIS, METRIC_NAME, Rows, rows};

/// The label that tells the rows of an [`Oldest`] apart.
pub const TOLD: &str = "__told__";
/// The row that has the time of the oldest sample. There is none where no selector finds anything.
pub const OLDEST: &str = "oldest";
/// The row that has the time of the newest sample of the youngest series.
pub const YOUNGEST: &str = "youngest";

/// What tells how old the oldest sample is that a query reads.
///
/// *Shape*: a row for each thing that is told, with its name as the label [`TOLD`]. *Unit* of times: seconds since the
/// Unix epoch, so that an age is the time of the evaluation less the value.
#[derive(Clone, Debug)]
pub struct Oldest {
    /// [`OLDEST`]: where it is more than a day old, a series that contributes may have ended, and it is no bound.
    pub expr: Expr,
    /// That and [`YOUNGEST`].
    pub with_youngest: Expr,
    /// Whether each row of the query stands on a sample. Then, where the oldest is the youngest, all are of that age.
    pub is_of_samples: bool,
}

/// `None` where it could not be told apart which series contribute: a subquery, `info`, a selector that does not name its
/// metric.
///
/// ```
/// use fleetgauge_syntax::parse;
/// use fleetgauge_syntax::rewrite::oldest;
///
/// let oldest = oldest(&parse("sum by (pod) (x)")?).expect("there is one");
/// assert_eq!(oldest.expr.to_string(), r#"label_replace(min(timestamp(x)), "__told__", "oldest", "", "")"#);
/// # Ok::<(), fleetgauge_syntax::ParseError>(())
/// ```
pub fn oldest(query: &Expr) -> Option<Oldest> {
    if query.is_extended() {
        return None;
    }
    let mut selected = BTreeMap::new();
    let mut is_of_samples = true;
    for part in query.walk() {
        let (selector, range) = match part {
            Expr::Selector(selector) => (selector, None),
            Expr::Range(range) => (&range.selector, Some(range.range)),
            Expr::Subquery(_) => return None,
            Expr::Call(call) => {
                match rows(call.function) {
                    Rows::Joined => return None,
                    Rows::Absence | Rows::Number => is_of_samples = false,
                    // `hour()`
                    _ if call.args.is_empty() => is_of_samples = false,
                    _ => {}
                }
                continue;
            }
            _ => continue,
        };
        let names_metric = |matcher: &crate::tree::Matcher| {
            matcher.name == METRIC_NAME && matcher.op == MatchOp::Equal && !matcher.value.is_empty()
        };
        if !selector.matchers.iter().any(names_metric) {
            return None;
        }
        let times = Times::of(selector, range);
        selected.insert(times.contributing.to_string(), times);
    }
    if selected.is_empty() {
        return None;
    }
    let ends = |op: AggregateOp, name: &str, times: fn(&Times) -> &Expr| {
        let of_all = selected
            .values()
            .map(|of_one| aggregated(op, times(of_one).clone()));
        let numbered = of_all.enumerate().map(|(i, one)| match i {
            0 => one,
            _ => labelled(one, TOLD, &i.to_string()),
        });
        let all = numbered.reduce(or)?;
        let all = if selected.len() == 1 {
            all
        } else {
            aggregated(op, all)
        };
        Some(labelled(all, TOLD, name))
    };
    let told = ends(AggregateOp::Min, OLDEST, |times| &times.contributing)?;
    // Who is out of the range is older than who is in it.
    let youngest = ends(AggregateOp::Max, YOUNGEST, |times| &times.newest)?;
    let with_youngest = or(told.clone(), youngest);
    Some(Oldest {
        expr: finished(told)?,
        with_youngest: finished(with_youngest)?,
        is_of_samples,
    })
}

/// Of one selector.
struct Times {
    /// Those of the newest samples of all series that go on.
    newest: Expr,
    /// Those of the series that contribute, 0 for those that have ended.
    contributing: Expr,
}

// === impl Times ===

impl Times {
    fn of(selector: &Selector, range: Option<i64>) -> Self {
        let asked = Asked::by(selector.shift);
        let selector = Selector {
            shift: asked.shift(),
            ..Selector::new(selector.matchers.clone())
        };
        let times = call(Function::Timestamp, vec![Expr::Selector(selector.clone())]);
        let newest = asked.added_to(times.clone());
        let Some(range) = range else {
            let contributing = newest.clone();
            return Self { newest, contributing };
        };
        let live = match range {
            // `timestamp` looks farther back than a short range.
            ..LOOKBACK_MILLIS => binary(BinaryOp::Greater, times, asked.time_before(range)),
            // Where a server looks back for longer, what it finds is too old a bound, and no wrong one.
            _ => times,
        };
        let in_range = Expr::Range(RangeSelector { selector, range });
        // 1 for each, which is a second after 1970 began, also where it is asked for `@` a time.
        let ended = call(Function::PresentOverTime, vec![in_range]);
        Self {
            newest,
            contributing: or(asked.added_to(live), ended),
        }
    }
}

fn aggregated(op: AggregateOp, rows: Expr) -> Expr {
    aggregate(op, Grouping::default(), rows)
}

fn or(left: Expr, right: Expr) -> Expr {
    binary(BinaryOp::Or, left, right)
}

/// As the parser gives it; `None` if it is beyond a limit.
fn finished(expr: Expr) -> Option<Expr> {
    crate::parse(&expr.to_string()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(query: &str) -> Option<String> {
        let oldest = oldest(&crate::parse(query).expect("a query"))?;
        Some(oldest.expr.to_string())
    }

    #[test]
    fn the_oldest_sample_is_that_of_all_selectors() {
        let check = |query: &str, expected: &str| assert_eq!(told(query).as_deref(), Some(expected));
        let oldest = r#"label_replace(min(timestamp(x)), "__told__", "oldest", "", "")"#;
        check("x", oldest);
        check("topk(3, x) + on (pod) group_left () sum by (pod) (x)", oldest);
        check(
            "x offset 1m or y",
            r#"label_replace(min(min(timestamp(x offset 1m) + 60) or label_replace(min(timestamp(y)), "__told__", "1", "", "")), "__told__", "oldest", "", "")"#,
        );
        check(
            "rate(x[5m])",
            r#"label_replace(min(timestamp(x) or present_over_time(x[5m])), "__told__", "oldest", "", "")"#,
        );
        check(
            "rate(x[4m])",
            r#"label_replace(min(timestamp(x) > time() - 240 or present_over_time(x[4m])), "__told__", "oldest", "", "")"#,
        );
        check(
            "rate(x[4m] offset 1m)",
            r#"label_replace(min((timestamp(x offset 1m) > time() - 300) + 60 or present_over_time(x[4m] offset 1m)), "__told__", "oldest", "", "")"#,
        );
    }

    #[test]
    fn what_cannot_be_told_apart_is_not_asked() {
        for query in [
            "max_over_time(x[1h:1m])",
            "info(x)",
            "{pod='a'}",
            "{__name__=~'x.*'}",
            "rate({__name__!=''}[5m])",
            "vector(1)",
            "1",
        ] {
            assert_eq!(told(query), None, "{query}");
        }
    }

    #[test]
    fn rows_without_samples_are_not_of_the_age_of_samples() {
        for (query, expected) in [
            ("x", true),
            ("rate(x[5m]) > 0", true),
            ("x or vector(0)", false),
            ("absent(x)", false),
            ("x or hour()", false),
        ] {
            let oldest = oldest(&crate::parse(query).expect("a query")).expect("one");
            assert_eq!(oldest.is_of_samples, expected, "{query}");
        }
    }
}
