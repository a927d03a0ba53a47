//! Whether a row stands on the series of others.

use crate::Function;
use crate::tree::{Aggregate, Binary, BinaryOp, Call, Expr, Group, Grouping, Matching};

use super::series::{Groups, Rows, groups, has_samples, is_scalar, rows};

/// What the rows of an expression are computed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Basis {
    /// No series.
    Nothing,
    /// Any series. No row has the label.
    Any,
    /// Of each row that has the label, series with the same value of it.
    Own,
    /// A row that has the label may be computed from series with other values of it.
    Others,
}

/// Whether a row of `query` may be computed from series of which the first of `identity` is another one than its own, or
/// has a value of one of `identity` that it was given: then what is missing of others is missing from it.
///
/// A row that does not have the label stands on whatever the query reads, and is not asked about.
///
/// ```
/// use fleetgauge_syntax::{parse, rewrite::is_mixed};
///
/// let is_mixed = |text| parse(text).map(|query| is_mixed(&query, &["pod"]));
/// assert!(!is_mixed("sum by (pod) (queue) / on (pod) slots")?);
/// assert!(is_mixed("queue / on () group_left () sum(queue)")?);
/// # Ok::<(), fleetgauge_syntax::ParseError>(())
/// ```
pub fn is_mixed(query: &Expr, identity: &[&str]) -> bool {
    basis(query, identity) == Basis::Others
}

/// Whether `query` may give rows that have the label where their series do, and others that do not: these stand on all that
/// is read, also where there are none.
pub fn is_both(query: &Expr, label: &str) -> bool {
    match query {
        Expr::Negate(inner) | Expr::Once(inner) => is_both(inner, label),
        Expr::Call(call) => call.args.iter().any(|arg| is_both(arg, label)),
        Expr::Aggregate(of) => is_kept(&of.grouping, &[label]) && is_both(&of.expr, label),
        Expr::Binary(op) => {
            let is_any = |expr| basis(expr, &[label]) == Basis::Any;
            let is_either = || is_any(&op.left) != is_any(&op.right);
            let has_rows = || {
                ![&op.left, &op.right]
                    .map(|side| basis(side, &[label]))
                    .contains(&Basis::Nothing)
            };
            (op.op == BinaryOp::Or && is_either() && has_rows())
                || is_both(&op.left, label)
                || is_both(&op.right, label)
        }
        Expr::Number(_) | Expr::Text(_) | Expr::Selector(_) | Expr::Range(_) | Expr::Subquery(_) => false,
    }
}

/// Whether rows of `query` have the label `label` where the series that it reads do.
pub fn keeps(query: &Expr, label: &str) -> bool {
    matches!(basis(query, &[label]), Basis::Own | Basis::Others)
}

/// Whether rows of `query`, which reads samples, may stand on none: on a constant that an `or` gives where nothing is found.
pub fn may_be_constant(query: &Expr) -> bool {
    let is_or = |part: &&Expr| matches!(part, Expr::Binary(op) if op.op == BinaryOp::Or);
    has_samples(query) && query.walk().iter().any(is_or)
}

/// Whether `query` has a row with the label `label` for each of its values that the series have which it reads: nothing is compared,
/// chosen or left out.
pub fn has_row_for_each(query: &Expr, label: &str) -> bool {
    let is_of_label = |expr: &Expr| has_row_for_each(expr, label);
    match query {
        Expr::Selector(_) | Expr::Range(_) => !query.is_extended(),
        Expr::Number(_) | Expr::Text(_) => false,
        Expr::Subquery(subquery) => is_of_label(&subquery.expr),
        Expr::Negate(inner) | Expr::Once(inner) => is_of_label(inner),
        Expr::Call(call) => {
            let is_each = matches!(
                rows(call.function),
                Rows::Each | Rows::Ordered | Rows::EachSeries | Rows::EachLongSeries
            );
            let mut read = call.args.iter().filter(|arg| has_samples(arg));
            is_each && read.next().is_some_and(is_of_label) && read.next().is_none()
        }
        Expr::Aggregate(of) => {
            groups(of.op) == Groups::Each && is_kept(&of.grouping, &[label]) && is_of_label(&of.expr)
        }
        Expr::Binary(op) => {
            let is_filter = op.op.is_comparison() && !op.returns_bool || op.op.is_trim();
            match op.op {
                BinaryOp::And | BinaryOp::Unless => false,
                _ if is_filter => false,
                _ if op.matching.fill.is_any() => false,
                _ if is_scalar(&op.left) => is_of_label(&op.right),
                _ if is_scalar(&op.right) => is_of_label(&op.left),
                _ => is_matched(&op.matching, &[label]) && is_of_label(&op.left) && is_of_label(&op.right),
            }
        }
    }
}

fn basis(expr: &Expr, identity: &[&str]) -> Basis {
    match expr {
        Expr::Number(_) | Expr::Text(_) => Basis::Nothing,
        Expr::Selector(_) | Expr::Range(_) => Basis::Own,
        Expr::Subquery(subquery) => basis(&subquery.expr, identity),
        Expr::Negate(inner) | Expr::Once(inner) => basis(inner, identity),
        Expr::Call(call) => of_call(call, identity),
        Expr::Aggregate(of) => of_aggregate(of, identity),
        Expr::Binary(op) => of_binary(op, identity),
    }
}

fn of_call(call: &Call, identity: &[&str]) -> Basis {
    let args = call.args.iter().map(|arg| basis(arg, identity));
    let all = args.fold(Basis::Nothing, Basis::together);
    match rows(call.function) {
        Rows::Number => all.without_label(),
        // Its labels are those that the selector asks for.
        Rows::Absence => match call.args.first().map(Expr::unwrapped) {
            Some(Expr::Selector(_) | Expr::Range(_)) => all,
            _ => all.without_label(),
        },
        Rows::Relabelled => all.given(call.args.get(1), identity),
        Rows::Joined => match call.function {
            Function::HistogramQuantiles => all.given(call.args.get(1), identity),
            _ => all.mixed(),
        },
        Rows::Each
        | Rows::EachOrNone
        | Rows::Ordered
        | Rows::EachSeries
        | Rows::EachLongSeries
        | Rows::EachHistogram => all,
    }
}

fn of_aggregate(of: &Aggregate, identity: &[&str]) -> Basis {
    let param = of
        .param
        .as_ref()
        .map_or(Basis::Nothing, |param| basis(param, identity));
    let inner = basis(&of.expr, identity);
    let is_kept = is_kept(&of.grouping, identity);
    match groups(of.op) {
        Groups::Some if !is_kept => inner.mixed(),
        Groups::Each | Groups::EachValue if !is_kept => {
            inner.without_label().given(of.param.as_ref(), identity)
        }
        _ => inner.together(param).given(of.param.as_ref(), identity),
    }
}

fn of_binary(op: &Binary, identity: &[&str]) -> Basis {
    let (left, right) = (basis(&op.left, identity), basis(&op.right, identity));
    if is_scalar(&op.left) || is_scalar(&op.right) || is_matched(&op.matching, identity) {
        return match op.op {
            // A row without the label is there beside those that have it.
            BinaryOp::Or => left.beside(right),
            _ => left.together(right),
        };
    }
    if op.matching.fill.is_any() {
        return Basis::Others;
    }
    // What follows depends on all rows of the other side, whatever their label is.
    match (op.op, op.matching.group) {
        (BinaryOp::And | BinaryOp::Unless, _) => left.under(right),
        (BinaryOp::Or, _) => left.beside(right.under(left)),
        (_, Group::Neither) => left.together(right).without_label(),
        (_, Group::Left) => left.joined(right, &op.matching, identity),
        (_, Group::Right) => right.joined(left, &op.matching, identity),
    }
}

/// Whether groups are of one value of the label.
fn is_kept(grouping: &Grouping, identity: &[&str]) -> bool {
    grouping.without != has_first(grouping.labels.iter().map(|label| &**label), identity)
}

/// Whether the rows that are matched have the same value of the label.
fn is_matched(matching: &Matching, identity: &[&str]) -> bool {
    matching.on == has_first(matching.labels.iter().map(|label| &**label), identity)
}

fn has_first<'a>(mut labels: impl Iterator<Item = &'a str>, identity: &[&str]) -> bool {
    labels.any(|label| identity.first() == Some(&label))
}

// === impl Basis ===

impl Basis {
    /// Rows of both that have the same value of the label, or of one that counts for all of the other's.
    fn together(self, other: Self) -> Self {
        match (self, other) {
            (Self::Nothing, one) | (one, Self::Nothing) => one,
            (Self::Others, _) | (_, Self::Others) => Self::Others,
            (Self::Any, Self::Any) => Self::Any,
            (Self::Own, Self::Own) => Self::Own,
            (Self::Any, Self::Own) | (Self::Own, Self::Any) => Self::Others,
        }
    }

    /// Rows of both, each as it is.
    fn beside(self, other: Self) -> Self {
        match (self, other) {
            (Self::Any, Self::Own) | (Self::Own, Self::Any) => Self::Own,
            _ => self.together(other),
        }
    }

    /// These rows, as all of the other's decide.
    fn under(self, other: Self) -> Self {
        match (self, other) {
            (_, Self::Nothing) => self,
            (Self::Nothing | Self::Any, _) => Self::Any,
            (Self::Own | Self::Others, _) => Self::Others,
        }
    }

    /// These rows, many of which have one of the other's.
    fn joined(self, one: Self, matching: &Matching, identity: &[&str]) -> Self {
        let includes = |label: &&str| matching.include.iter().any(|name| **name == **label);
        match identity.iter().any(includes) {
            true if one == Self::Nothing || one == Self::Any => self.together(one).without_label(),
            true => Self::Others,
            false => self.under(one),
        }
    }

    /// Where the label goes.
    fn without_label(self) -> Self {
        match self {
            Self::Nothing => Self::Nothing,
            _ => Self::Any,
        }
    }

    /// Where a label is written that a text names.
    fn given(self, label: Option<&Expr>, identity: &[&str]) -> Self {
        match label.map(Expr::unwrapped) {
            Some(Expr::Text(name)) if identity.contains(&&**name) => self.mixed(),
            _ => self,
        }
    }

    /// Where one row decides on another.
    fn mixed(self) -> Self {
        match self {
            Self::Nothing => Self::Nothing,
            _ => Self::Others,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_is_computed_from_others_rows_is_told() {
        let check = |queries: &[&str], expected: bool| {
            for text in queries {
                let query = crate::parse(text).unwrap();
                let told = is_mixed(&query, &["pod", "namespace", "variant"]);
                assert_eq!(told, expected, "{text}");
                // A row that stands on others still has the label.
                assert!(!told || keeps(&query, "pod"), "{text}");
            }
        };
        assert!(!keeps(&crate::parse("sum by (namespace) (x)").unwrap(), "pod"));
        for (text, expected) in [
            ("x or sum(y)", true),
            ("-(sum(x) or 2 * y) > 3", true),
            ("max by (pod) (sum(x) or y)", true),
            ("x or y", false),
            ("sum(x) or sum(y)", false),
            ("x or vector(0)", false),
            ("sum(x or sum(y))", false),
        ] {
            assert_eq!(is_both(&crate::parse(text).unwrap(), "pod"), expected, "{text}");
        }
        check(
            &[
                "x",
                "vector(1)",
                "sum(x)",
                "sum by (namespace, pod) (rate(x[5m]))",
                "sum without (instance) (x) / ignoring (a) y",
                "x / on (pod) group_left (variant) info",
                "x * 2 > time()",
                "x * on () group_left () vector(2)",
                "x or on () vector(0)",
                "x or sum(x)",
                "x or y",
                "sum(x) / sum(y) * 3",
                "x / on (namespace) y",
                "max_over_time(x[5m:]) - x offset 1h",
                "histogram_quantile(0.9, sum by (pod, le) (rate(x_bucket[5m])))",
                "topk by (pod) (3, x)",
                "label_replace(x, 'rank', '$1', 'instance', '(.*)')",
                "count_values by (pod) ('version', x)",
                "absent(x{pod='a'})",
                "sum by (namespace) (x) * on (namespace) group_left () sum by (namespace) (y)",
            ],
            false,
        );
        check(
            &[
                "x * on () group_left () sum(cap)",
                "x / on (namespace) group_left () sum by (namespace) (x)",
                "sum by (namespace) (x) / on (namespace) group_right () x",
                "x * on (namespace) group_left (pod) y",
                "x * scalar(sum(y))",
                "clamp_max(x, scalar(max(x)))",
                "x > scalar(avg(x))",
                "x and on (namespace) y",
                "x unless on () (sum(x) > 3)",
                "x or on (namespace) y",
                "topk(3, x)",
                "limitk by (namespace) (1, x)",
                "label_replace(x, 'pod', '$1', 'endpoint', '(.*)')",
                "label_join(x, 'variant', '', 'model')",
                "count_values('pod', x)",
                "sum by (pod) (x / ignoring (pod, instance) group_left () sum without (pod, instance) (x))",
                "quantile by (pod) (scalar(max(y)), x)",
                "max_over_time((x - on () group_left () min(x))[5m:])",
                "sum(label_replace(x, 'pod', 'a', '', '')) by (pod)",
            ],
            true,
        );
    }

    #[test]
    fn a_row_for_each_pod_is_there_where_nothing_is_left_out() {
        let check = |query: &str, expected: bool| {
            let tree = crate::parse(query).unwrap();
            assert_eq!(has_row_for_each(&tree, "pod"), expected, "{query}");
        };
        check("x", true);
        check("sum by (namespace, pod) (rate(x[1m])) * 2", true);
        check("max without (engine) (-x) or sum by (pod) (y)", true);
        check("sum by (pod) (x) / sum by (pod) (y)", true);
        check("sum by (pod) (x) > bool 0", true);
        check("sum by (namespace) (x)", false);
        check("sum by (pod) (x > 0)", false);
        check("topk(2, x)", false);
        check("x and y", false);
        check("x * on (namespace) group_left () y", false);
        check("vector(1)", false);
        check("absent(x)", false);
    }
}
