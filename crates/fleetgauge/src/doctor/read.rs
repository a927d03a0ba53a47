//! What an expression reads, and expressions that are asked about it.

use fleetgauge_core::label::METRIC_NAME;
use fleetgauge_syntax::Function;
use fleetgauge_syntax::tree::{
    Aggregate, AggregateOp, AggregatePlaces, Call, Expr, Grouping, MatchOp, Matcher, RangeSelector, Selector,
};

/// How far back [`When::Past`] looks. *Unit*: milliseconds.
const PAST_MILLIS: i64 = 3_600_000;

/// Of which time series are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum When {
    /// There are samples that a query reads now.
    Now,
    /// There were some in the last hour.
    Past,
}

// === impl When ===

impl When {
    /// What `selector` selects then.
    pub(super) fn of(self, selector: &Selector) -> Expr {
        match self {
            Self::Now => Expr::Selector(selector.clone()),
            Self::Past => over(Function::LastOverTime, selector, PAST_MILLIS),
        }
    }
}

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
        places: AggregatePlaces::default(),
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

/// `function(selector[range])`
pub(super) fn over(function: Function, selector: &Selector, range: i64) -> Expr {
    let range = Expr::Range(RangeSelector {
        selector: selector.clone(),
        range,
    });
    Expr::Call(Call {
        function,
        args: vec![range],
        place: 0,
        places: vec![0],
    })
}

/// All series of a metric.
pub(super) fn named(metric: &str) -> Selector {
    let name = Matcher {
        name: METRIC_NAME.to_owned(),
        op: MatchOp::Equal,
        value: metric.to_owned(),
        place: 0,
    };
    Selector::new(vec![name])
}
