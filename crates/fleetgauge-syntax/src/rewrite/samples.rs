//! How many samples the series of a query have in a while, from which follows how far they are apart.

use crate::Function;
use crate::tree::{AggregateOp, BinaryOp, Expr, Grouping, RangeSelector, Selector, Shift};

use super::build::{aggregate, binary, call, labelled};

/// The companion that counts samples.
#[derive(Clone, Debug)]
pub struct SampleCounts {
    /// *Shape*: at most one row for each of `selectors`, whose label [`SELECTOR`] is its index. *Unit*: samples in
    /// [`COUNTED_MILLIS`] of the series that has most of them. A series that has not been there for that long is not
    /// counted; where there is no other, there is no row.
    pub expr: Expr,
    /// The selectors of the query, each once and without `offset` or `@`, and ten at most.
    pub selectors: Vec<Selector>,
}

/// The label of [`SampleCounts`].
pub const SELECTOR: &str = "__selector__";

/// For how long samples are counted. *Unit*: milliseconds.
pub const COUNTED_MILLIS: i64 = 300_000;

/// So that the companion of a long query does not become dear.
const MAX_SELECTORS: usize = 10;

/// The companion that counts the samples of a query's selectors, now.
///
/// *Errors*: `None` if no sample is read.
///
/// ```
/// use fleetgauge_syntax::{parse, rewrite::sample_counts};
///
/// let counts = sample_counts(&parse("rate(x[1m]) / x")?).expect("it reads samples");
/// let expected = r#"label_replace(max(count_over_time(x[5m]) and x offset 5m), "__selector__", "0", "", "")"#;
/// assert_eq!(counts.expr.to_string(), expected);
/// # Ok::<(), fleetgauge_syntax::ParseError>(())
/// ```
pub fn sample_counts(query: &Expr) -> Option<SampleCounts> {
    let mut selectors: Vec<Selector> = Vec::new();
    for part in query.walk() {
        let selector = match part {
            Expr::Selector(selector) => selector,
            Expr::Range(range) => &range.selector,
            _ => continue,
        };
        if selectors.len() < MAX_SELECTORS && !selectors.iter().any(|known| known.is_same(selector)) {
            selectors.push(Selector::new(selector.matchers.clone()));
        }
    }
    let counts = selectors.iter().enumerate().map(|(i, selector)| {
        let most = aggregate(AggregateOp::Max, Grouping::default(), counted(selector));
        labelled(most, SELECTOR, &i.to_string())
    });
    let expr = counts.reduce(|all, one| binary(BinaryOp::Or, all, one))?;
    Some(SampleCounts { expr, selectors })
}

/// Of the series that were there when the counting began.
fn counted(selector: &Selector) -> Expr {
    let range = Expr::Range(RangeSelector {
        selector: selector.clone(),
        range: COUNTED_MILLIS,
    });
    let before = Expr::Selector(Selector {
        shift: Shift {
            offset: COUNTED_MILLIS,
            at: None,
        },
        ..Selector::new(selector.matchers.clone())
    });
    binary(BinaryOp::And, call(Function::CountOverTime, vec![range]), before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_selector_is_counted_once() {
        let check = |query: &str, expected: &[&str]| {
            let counts = sample_counts(&crate::parse(query).unwrap());
            let selectors = counts.iter().flat_map(|counts| &counts.selectors);
            let selectors: Vec<_> = selectors
                .map(|selector| Expr::Selector(selector.clone()).to_string())
                .collect();
            assert_eq!(selectors, expected, "{query}");
            if let Some(counts) = counts {
                assert!(crate::parse(&counts.expr.to_string()).is_ok(), "{}", counts.expr);
            }
        };
        check("x", &["x"]);
        check(
            "rate(x[5m] offset 1m) + x @ 100 - y{a='b'}",
            &["x", r#"y{a="b"}"#],
        );
        check("max_over_time(rate(x{a!='b'}[1m])[1h:])", &[r#"x{a!="b"}"#]);
        check("vector(1)", &[]);
        let many: Vec<_> = (0..20).map(|i| format!("m{i}")).collect();
        let many = sample_counts(&crate::parse(&many.join(" or ")).unwrap()).unwrap();
        assert_eq!(many.selectors.len(), MAX_SELECTORS);
    }
}
