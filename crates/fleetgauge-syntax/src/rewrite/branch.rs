//! Which side of an `or` a row came from.

use crate::tree::{Binary, BinaryOp, Expr, Matching, ValueType};

use super::build::{call, matched, present};
use super::series::{METRIC_NAME, Rows, is_scalar, rows};

/// The companion that tells which operand of its outermost `or` a row of a query came from: 1 for the first, as they are
/// written.
///
/// *Shape*: to each row of the query, a row of the same labels, but for the metric name. There may be rows of which the
/// query has none.
///
/// *Errors*: `None` if the query has no `or`, or does more with its rows than to compute or relabel each for itself.
///
/// ```
/// use fleetgauge_syntax::{parse, rewrite::branch};
///
/// let branches = branch(&parse("new or old")?).expect("there is an `or`");
/// assert_eq!(branches.to_string(), "clamp(new == bool 0, 1, 1) or clamp(old == bool 0, 2, 2)");
/// # Ok::<(), fleetgauge_syntax::ParseError>(())
/// ```
pub fn branch(query: &Expr) -> Option<Expr> {
    crate::parse(&branches(query, &mut Vec::new())?.to_string()).ok()
}

/// The operands that [`branch`] numbers, the first one first; none where it is `None`.
pub fn operands(query: &Expr) -> Vec<Expr> {
    let mut operands = Vec::new();
    match branches(query, &mut operands) {
        Some(_) => operands,
        None => Vec::new(),
    }
}

/// `None` if there is no `or`.
fn branches(expr: &Expr, operands: &mut Vec<Expr>) -> Option<Expr> {
    match expr {
        Expr::Once(inner) | Expr::Negate(inner) => branches(inner, operands),
        Expr::Binary(op) if op.op == BinaryOp::Or => or(op, operands),
        Expr::Binary(op) if is_scalar(&op.right) => branches(&op.left, operands),
        Expr::Binary(op) if is_scalar(&op.left) => branches(&op.right, operands),
        Expr::Call(of) => {
            let is_vector = |arg: &Expr| arg.value_type() == ValueType::InstantVector;
            let at = of.args.iter().position(is_vector)?;
            let is_name = |arg: &Expr| matches!(arg, Expr::Text(name) if **name == *METRIC_NAME);
            match rows(of.function) {
                Rows::Each | Rows::EachOrNone | Rows::Ordered => branches(&of.args[at], operands),
                Rows::Relabelled if !of.args.iter().any(is_name) => {
                    let mut args = of.args.clone();
                    args[at] = branches(&of.args[at], operands)?;
                    Some(call(of.function, args))
                }
                _ => None,
            }
        }
        _ => None,
    }
}

fn or(op: &Binary, operands: &mut Vec<Expr>) -> Option<Expr> {
    let Matching { on, labels, .. } = &op.matching;
    if *on && labels.iter().any(|label| **label == *METRIC_NAME) {
        return None;
    }
    let left = side(&op.left, operands);
    let right = side(&op.right, operands);
    Some(matched(BinaryOp::Or, left, right, op.matching.clone()))
}

/// The number of the operand, or those of its own.
fn side(expr: &Expr, operands: &mut Vec<Expr>) -> Expr {
    let before = operands.len();
    // What gives other rows than the operands of its `or` is one branch.
    let is_or = matches!(expr.unwrapped(), Expr::Binary(op) if op.op == BinaryOp::Or);
    if is_or && let Some(own) = branches(expr, operands) {
        return own;
    }
    operands.truncate(before);
    operands.push(expr.clone());
    present(expr.clone(), Expr::Number(operands.len() as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branches_are_numbered_as_they_are_written() {
        let check = |query: &str, expected: Option<&str>| {
            let branches = branch(&crate::parse(query).unwrap());
            assert_eq!(branches.map(|branches| branches.to_string()).as_deref(), expected);
        };
        let three = "clamp(a == bool 0, 1, 1) or clamp(sum(b) == bool 0, 2, 2) or clamp(c == bool 0, 3, 3)";
        check("a or sum(b) or c", Some(three));
        let operands = operands(&crate::parse("100 * (a or (sum(b) or c) >= 0 or d)").unwrap());
        let operands: Vec<_> = operands.iter().map(ToString::to_string).collect();
        assert_eq!(operands, ["a", "(sum(b) or c) >= 0", "d"]);
        check(
            "a or (sum(b) or c) >= 0",
            Some("clamp(a == bool 0, 1, 1) or clamp((sum(b) or c) >= 0 == bool 0, 2, 2)"),
        );
        check("100 * -abs(a or sum(b) or c) >= 0", Some(three));
        check(
            r#"label_replace(a or on (pod) vector(0), "x", "y", "", "")"#,
            Some(
                r#"label_replace(clamp(a == bool 0, 1, 1) or on (pod) clamp(vector(0) == bool 0, 2, 2), "x", "y", "", "")"#,
            ),
        );
        for query in [
            "a",
            "1",
            "a and b",
            "sum(a or b)",
            "a or on (__name__) b",
            "(a or b) * c",
        ] {
            check(query, None);
        }
    }
}
