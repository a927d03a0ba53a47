//! What an expression reads, and expressions that are asked about it.

use fleetgauge_core::label::METRIC_NAME;
use fleetgauge_syntax::tree::{Aggregate, AggregateOp, Expr, Grouping, MatchOp, Selector};

/// The selectors of a query, in the order in which they are written.
pub(super) fn selectors(query: &Expr) -> Vec<&Selector> {
    let selectors = query.walk().into_iter().filter_map(|part| match part {
        Expr::Selector(selector) => Some(selector),
        Expr::Range(range) => Some(&range.selector),
        _ => None,
    });
    selectors.collect()
}

/// `op by (grouping) (expr)`
pub(super) fn aggregated(op: AggregateOp, grouping: Grouping, expr: Expr) -> Expr {
    Expr::Aggregate(Box::new(Aggregate {
        op,
        param: None,
        place: 0,
        expr,
        grouping,
    }))
}

/// The name of the metric that a selector reads, if it is one.
pub(super) fn metric(selector: &Selector) -> Option<&str> {
    let mut matchers = selector.matchers.iter();
    let named = matchers.find(|matcher| matcher.name == METRIC_NAME && matcher.op == MatchOp::Equal)?;
    Some(&named.value)
}

/// How the names of an engine's metrics begin.
pub(super) fn prefix(metric: &str) -> &str {
    let end = metric.find(':').or_else(|| metric.find('_'));
    end.map_or(metric, |end| &metric[..=end])
}

/// What a query reads, printed.
pub(super) fn names(expr: &Expr) -> String {
    let selectors = selectors(expr);
    let mut names: Vec<&str> = selectors.into_iter().filter_map(metric).collect();
    names.dedup();
    match &*names {
        [] => expr.to_string(),
        [one] => (*one).to_owned(),
        [first, others @ ..] => format!("{first} and {} more", others.len()),
    }
}
