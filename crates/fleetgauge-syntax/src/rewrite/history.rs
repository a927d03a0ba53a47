//! What a query of the past is: of which series it is, where an engine has those of others as well, and how far back it reads.

use crate::tree::{Expr, Extended, MatchOp, Matcher};

/// The query over those series alone that have all of `labels`.
///
/// ```
/// use fleetgauge_syntax::{parse, rewrite::restricted};
///
/// let query = restricted(&parse("sum(rate(x[1m])) + y")?, [("replica", "a")]);
/// assert_eq!(query.to_string(), r#"sum(rate(x{replica="a"}[1m])) + y{replica="a"}"#);
/// # Ok::<(), fleetgauge_syntax::ParseError>(())
/// ```
pub fn restricted<'a>(query: &Expr, labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> Expr {
    let labels = labels.into_iter().map(|(name, value)| Matcher {
        name: name.to_owned(),
        op: MatchOp::Equal,
        value: value.to_owned(),
        place: 0,
    });
    let labels: Vec<Matcher> = labels.collect();
    let mut query = query.clone();
    query.visit_selectors(&mut |selector| selector.matchers.extend(labels.iter().cloned()));
    query
}

/// How far before its time a query reads at most, where its selectors look back by `lookback`: of one that
/// [is causal](Expr::is_causal).
///
/// *Unit*: milliseconds.
///
/// ```
/// use fleetgauge_syntax::{parse, rewrite::reach};
///
/// assert_eq!(reach(&parse("x offset 1m + max_over_time(rate(y[2m])[10m:1m])")?, 300_000), 720_000);
/// # Ok::<(), fleetgauge_syntax::ParseError>(())
/// ```
pub fn reach(query: &Expr, lookback: i64) -> i64 {
    let below = query.children().into_iter().map(|part| reach(part, lookback));
    let below = below.max().unwrap_or(0);
    let own = match query {
        Expr::Selector(selector) => lookback.saturating_add(selector.shift.offset),
        Expr::Range(range) => {
            let before = match range.selector.extended {
                Extended::No => 0,
                Extended::Anchored | Extended::Smoothed => lookback,
            };
            let range_and_offset = range.range.saturating_add(range.selector.shift.offset);
            range_and_offset.saturating_add(before)
        }
        Expr::Subquery(subquery) => subquery.range.saturating_add(subquery.shift.offset),
        _ => 0,
    };
    below.saturating_add(own)
}
