//! Whether a query's template is PromQL, on each way through its conditions.

use std::collections::BTreeSet;

use fleetgauge_core::interval::told_at_one_time;
use fleetgauge_core::query::QueryType;
use fleetgauge_core::query_list::RegisteredQuery;
use fleetgauge_core::template::{Coverage, Example, Way};
use fleetgauge_syntax::tree::{Aggregate, AggregateOp, BinaryOp, Expr};
use fleetgauge_syntax::{ParseError, zero_at_one_time};

use super::metricsql;
use crate::document::{Node, Reader};

/// How many ways through a template are read at most; of more, each branch is.
const MAX_WAYS: usize = 64;
/// How many mistakes of one template are told.
const MAX_MISTAKES: usize = 10;

/// Notes what is wrong with the query whose template is `node`.
pub(super) fn check(query: &RegisteredQuery, node: &Node, reader: &mut Reader) {
    let template = query.template();
    if template.query_type != QueryType::PromQl {
        return;
    }
    let ways = query.ways(MAX_WAYS);
    let mut told = BTreeSet::new();
    for (example, error) in ways.iter().filter_map(mistake) {
        let (line, column) = example.position(&template.template, error.offset());
        let hint = match error.taken_by() {
            Some(who) => Some(who.to_owned()),
            None => metricsql::explain(example.text(), &error),
        };
        // Several ways have the same mistake.
        if told.len() == MAX_MISTAKES || !told.insert((line, column, error.message().to_owned())) {
            continue;
        }
        match hint {
            Some(hint) => reader.warning_within(node, line, column, format!("{}: {hint}", error.message())),
            None => reader.problem_within(node, line, column, format!("not PromQL: {}", error.message())),
        }
    }
    let at_one_time = |way: &Way| {
        way.examples()
            .find_map(|example| zero_at_one_time(example.text()))
    };
    if let Some(zero) = ways.iter().find_map(at_one_time) {
        reader.warning(node.position(), told_at_one_time(zero));
    }
    if node.as_list().is_some()
        && let Some([one, other]) = ways.iter().find_map(different)
    {
        reader.warning(
            node.position(),
            format!(
                "the parts are grouped by ({one}) and by ({other}): what two of them answer is there twice"
            ),
        );
    }
    let unread = match ways.coverage() {
        Coverage::Whole => return,
        Coverage::Branches => "each branch was read, but not every combination",
        Coverage::Part => "not even each branch was read",
    };
    reader.warning(
        node.position(),
        format!("the template has more than {MAX_WAYS} ways through its conditions: {unread}"),
    );
}

/// Two groupings that differ among the parts of a union, as far as they are certain: series with other labels are others
/// to `or`.
fn different(way: &Way) -> Option<[String; 2]> {
    let read = |example: Example<'_>| fleetgauge_syntax::parse(example.text()).ok();
    let expression = way.examples().find_map(read)?;
    let mut groupings = groupings(&expression);
    // The name of a label may be that of a parameter, whose value is not known.
    groupings.retain(|labels| !labels.iter().any(|label| label.ends_with("_value")));
    let first = groupings.first()?;
    let other = groupings.iter().find(|labels| *labels != first)?;
    Some([first, other].map(|labels| labels.join(", ")))
}

/// By which labels the operands of the outermost `or` are grouped: sorted, one list for each operand that is an
/// aggregation `by (…)`. An operand of another kind, whose labels are not known from the query, has none.
fn groupings(query: &Expr) -> Vec<Vec<&str>> {
    let (mut operands, mut groupings) = (vec![query], Vec::new());
    while let Some(operand) = operands.pop() {
        match operand {
            Expr::Once(inner) => operands.push(inner),
            Expr::Binary(binary) if binary.op == BinaryOp::Or => {
                operands.extend([&binary.right, &binary.left]);
            }
            Expr::Aggregate(aggregate) => groupings.extend(by(aggregate)),
            _ => {}
        }
    }
    groupings
}

/// The labels that are left, sorted, where the aggregation names them.
fn by(aggregate: &Aggregate) -> Option<Vec<&str>> {
    use AggregateOp::{Bottomk, CountValues, LimitRatio, Limitk, Topk};
    // These keep the labels of series, or add one.
    let keeps = matches!(aggregate.op, Topk | Bottomk | Limitk | LimitRatio | CountValues);
    if keeps || aggregate.grouping.without {
        return None;
    }
    let mut labels: Vec<_> = aggregate.grouping.labels.iter().map(|label| &**label).collect();
    labels.sort_unstable();
    labels.dedup();
    Some(labels)
}

/// What is wrong with a way: where none of its examples is PromQL, with the one that comes farthest.
fn mistake(way: &Way) -> Option<(Example<'_>, ParseError)> {
    let mut farthest: Option<(Example<'_>, ParseError)> = None;
    for example in way.examples() {
        let Err(error) = fleetgauge_syntax::parse(example.text()) else {
            return None;
        };
        if farthest
            .as_ref()
            .is_none_or(|(_, known)| known.offset() < error.offset())
        {
            farthest = Some((example, error));
        }
    }
    farthest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operands_of_or_say_how_they_are_grouped() {
        let check = |query: &str, expected: &[&[&str]]| {
            assert_eq!(
                groupings(&fleetgauge_syntax::parse(query).unwrap()),
                expected,
                "{query}"
            );
        };
        check("up", &[]);
        check("sum(up)", &[&[]]);
        check("sum by (b, a, b) (up)", &[&["a", "b"]]);
        check("max by (a) (up @ 5)", &[&["a"]]);
        check(
            "sum by (a) (up) or (min by (b) (up) or up) or count by (c) (up)",
            &[&["a"], &["b"], &["c"]],
        );
        // Of these it is not certain.
        for query in [
            "sum without (a) (up)",
            "topk by (a) (3, up)",
            "count_values by (a) (\"b\", up)",
            "sum by (a) (up) and up",
            "sum by (a) (up) / sum by (a) (up)",
            "abs(sum by (a) (up))",
            "rate(up[5m])",
        ] {
            check(query, &[]);
        }
    }
}
