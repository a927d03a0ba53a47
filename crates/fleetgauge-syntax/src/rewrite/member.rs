//! What a member of a federation is asked beside its parts: whether it has their series at all, and how new their samples
//! are.

use crate::Function;
use crate::tree::{AggregateOp, Binary, BinaryOp, Expr, Extended, Grouping, RangeSelector, Selector, Shift};

use super::build::{aggregate, binary, call};
use super::series::{has_samples, is_scalar};

/// Has a row where the series are there that a row of `part` needs, whatever `part` compares them with. `None` if it
/// does not say which ones these are.
///
/// ```
/// use fleetgauge_syntax::{parse, rewrite::present};
///
/// let present = present(&parse("sum by (pod) (rate(a[5m])) > 5 or b")?);
/// assert_eq!(present.map(|expr| expr.to_string()).as_deref(), Some("group(a) or group(b)"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn present(part: &Expr) -> Option<Expr> {
    match part {
        // A row may stand on a sample before the range, or after it.
        _ if part.is_extended() => None,
        Expr::Number(_) | Expr::Text(_) => None,
        Expr::Selector(selector) | Expr::Range(RangeSelector { selector, .. }) => {
            let selector = Expr::Selector(selector.clone());
            Some(aggregate(AggregateOp::Group, Grouping::default(), selector))
        }
        Expr::Subquery(subquery) if subquery.shift == Shift::default() => present(&subquery.expr),
        Expr::Subquery(_) => None,
        Expr::Call(call) => present(call.args.iter().find(|arg| has_samples(arg))?),
        Expr::Aggregate(of) => present(&of.expr),
        Expr::Negate(inner) | Expr::Once(inner) => present(inner),
        Expr::Binary(op) => of_both(op),
    }
}

fn of_both(of: &Binary) -> Option<Expr> {
    let both = |op| Some(binary(op, present(&of.left)?, present(&of.right)?));
    match of.op {
        BinaryOp::Unless => present(&of.left),
        _ if is_scalar(&of.right) => present(&of.left),
        _ if is_scalar(&of.left) => present(&of.right),
        BinaryOp::Or => both(BinaryOp::Or),
        // A row needs one of the sides, and which ones does not follow from their series.
        _ if of.matching.fill.is_any() => None,
        _ => both(BinaryOp::And),
    }
}

/// One row without labels: the time of the newest sample that one of `parts` reads. `None` if they read none.
///
/// *Unit* of the value: seconds since the Unix epoch.
pub fn newest<'e>(parts: impl IntoIterator<Item = &'e Expr>) -> Option<Expr> {
    let mut selectors: Vec<&Selector> = Vec::new();
    for part in parts {
        selectors.extend(part.walk().into_iter().filter_map(|part| match part {
            Expr::Selector(selector) | Expr::Range(RangeSelector { selector, .. }) => Some(selector),
            _ => None,
        }));
    }
    let mut known = std::collections::BTreeSet::new();
    let selectors = selectors.into_iter().map(|selector| {
        Expr::Selector(Selector {
            extended: Extended::No,
            ..selector.clone()
        })
    });
    let times = selectors
        .filter(|selector| known.insert(selector.to_string()))
        .map(|selector| call(Function::Timestamp, vec![selector]));
    let all = times.reduce(|all, times| binary(BinaryOp::Or, all, times))?;
    Some(aggregate(AggregateOp::Max, Grouping::default(), all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_needs_series_of_both_sides_or_of_one() {
        let check = |query: &str, expected: Option<&str>| {
            let told = present(&crate::parse(query).unwrap()).map(|expr| expr.to_string());
            assert_eq!(told.as_deref(), expected, "{query}");
            // It is a query itself.
            told.iter().for_each(|told| drop(crate::parse(told).unwrap()));
        };
        check("x{a='b'}", Some(r#"group(x{a="b"})"#));
        check("-rate(x[5m] offset 1h)", Some("group(x offset 1h)"));
        check("a / b > 0", Some("group(a) and group(b)"));
        check("2 * a unless b", Some("group(a)"));
        check("max_over_time(x[1h:1m])", Some("group(x)"));
        check("max_over_time(x[1h:1m] offset 1d)", None);
        check(
            "quantile by (pod) (0.9, label_replace(x, 'a', 'b', 'c', 'd'))",
            Some("group(x)"),
        );
    }

    #[test]
    fn the_newest_sample_of_all_selectors() {
        let (a, b) = ("rate(x[5m]) / y".to_owned(), "sum(y offset 1m)".to_owned());
        let parts = [a, b].map(|text| crate::parse(&text).unwrap());
        assert_eq!(
            newest(&parts).map(|expr| expr.to_string()).as_deref(),
            Some("max(timestamp(x) or timestamp(y) or timestamp(y offset 1m))")
        );
        assert!(newest(&[crate::parse("vector(1)").unwrap()]).is_none());
    }
}
