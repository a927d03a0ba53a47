//! Whether each row of a query is of one pod, as its tree tells.

use fleetgauge_core::pod::is_of_endpoint_picker;
use fleetgauge_syntax::Function;
use fleetgauge_syntax::tree::{BinaryOp, Expr, Group, MatchOp};

/// Whether all rows that the query could ever have are grouped by the pod whose numbers they add up. Of a selector alone nobody can say
/// which labels its series have, and what an endpoint picker tells is grouped by the picker's own pod.
pub(super) fn is_by_pod(query: &str) -> bool {
    fleetgauge_syntax::parse(query).is_ok_and(|expr| has_pod(&expr) && is_of_engines(&expr))
}

/// Whether it is known of all that is selected that no endpoint picker has it.
fn is_of_engines(expr: &Expr) -> bool {
    expr.walk().into_iter().all(|part| {
        let selector = match part {
            Expr::Selector(selector) => selector,
            Expr::Range(range) => &range.selector,
            _ => return true,
        };
        let mut matchers = selector.matchers.iter();
        let name = matchers.find(|matcher| matcher.name == "__name__" && matcher.op == MatchOp::Equal);
        name.is_some_and(|name| !is_of_endpoint_picker(&name.value))
    })
}

fn has_pod(expr: &Expr) -> bool {
    match expr {
        Expr::Aggregate(aggregate) => {
            let grouping = &aggregate.grouping;
            !grouping.without && grouping.labels.iter().any(|label| &**label == "pod")
        }
        Expr::Call(call) => {
            let writes_labels = matches!(
                call.function,
                Function::LabelReplace
                    | Function::LabelJoin
                    | Function::Absent
                    | Function::AbsentOverTime
                    | Function::Scalar
                    | Function::Vector
            );
            let mut vectors = call.args.iter().filter(|arg| !is_plain(arg)).peekable();
            !writes_labels && vectors.peek().is_some() && vectors.all(has_pod)
        }
        Expr::Binary(binary) => match (binary.op, is_plain(&binary.left), is_plain(&binary.right)) {
            (BinaryOp::And | BinaryOp::Unless, ..) | (_, false, true) => has_pod(&binary.left),
            (_, true, false) => has_pod(&binary.right),
            (_, true, true) => false,
            (..) if binary.matching.group == Group::Left => has_pod(&binary.left),
            (..) if binary.matching.group == Group::Right => has_pod(&binary.right),
            (..) => has_pod(&binary.left) && has_pod(&binary.right),
        },
        Expr::Subquery(subquery) => has_pod(&subquery.expr),
        Expr::Negate(expr) | Expr::Once(expr) => has_pod(expr),
        Expr::Number(_) | Expr::Text(_) | Expr::Selector(_) | Expr::Range(_) => false,
    }
}

fn is_plain(expr: &Expr) -> bool {
    matches!(expr, Expr::Number(_) | Expr::Text(_))
}

#[cfg(test)]
mod tests {
    use super::is_by_pod;

    #[test]
    fn rows_are_of_pods_where_every_branch_is_grouped_by_them() {
        let check = |query: &str, expected: bool| assert_eq!(is_by_pod(query), expected, "{query}");
        check(
            "max by (namespace, pod) (sum by (namespace, pod, job) (max_over_time(x[1m])))",
            true,
        );
        check("sum by (pod) (a) or sum by (pod) (b)", true);
        check("max_over_time(sum by (pod) (a)[1m:]) * 2", true);
        check("sum by (pod) (a) + on (pod) group_left b", true);
        check("sum by (pod) (a) or sum(b)", false);
        check("sum by (pod) (a) or vector(0)", false);
        check(
            "label_replace(sum by (pod) (a), \"pod\", \"x\", \"\", \"\")",
            false,
        );
        check("sum without (pod) (a)", false);
        check("sum(a)", false);
        check("sum by (pod) (llm_d_epp_flow_control_queue_size)", false);
        check(
            "sum by (pod) (a) + sum by (pod) (rate(inference_pool_x[1m]))",
            false,
        );
        check("sum by (pod) ({job=\"vllm\"})", false);
        check("a", false);
        check("absent(sum by (pod) (a))", false);
        check("vector(scalar(sum by (pod) (a)))", false);
    }
}
