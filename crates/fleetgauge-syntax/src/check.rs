//! Which operands an operator, an aggregation or a function takes. The messages are Prometheus's.

use crate::features::Features;
use crate::function::Function;
use crate::grammar::node::Node;
use crate::tree::{AggregateOp, Binary, BinaryOp, Expr, Group, Matching, ValueType};

/// What is wrong, and where if it is an operand and not the operator.
pub(crate) type Fault = (Option<usize>, String);

/// What stands between a binary operator and its right operand.
#[derive(Debug, Default)]
pub(crate) struct Modifier {
    pub(crate) returns_bool: bool,
    /// With where the grouping is.
    pub(crate) matching: Option<(usize, Matching)>,
}

pub(crate) fn unary(operand: &Node) -> Result<(), String> {
    match operand.expr.value_type() {
        ValueType::Scalar | ValueType::InstantVector => Ok(()),
        other => Err(format!(
            "unary expression only allowed on expressions of type scalar or instant vector, got \"{other}\""
        )),
    }
}

pub(crate) fn subquery(operand: &Node) -> Result<(), String> {
    match operand.expr.value_type() {
        ValueType::InstantVector => Ok(()),
        other => Err(format!(
            "subquery is only allowed on instant vector, got {other} instead"
        )),
    }
}

pub(crate) fn binary(op: BinaryOp, left: Node, right: Node, modifier: Modifier) -> Result<Binary, Fault> {
    let types = [left.expr.value_type(), right.expr.value_type()];
    for (operand, found) in [&left, &right].into_iter().zip(types) {
        if !matches!(found, ValueType::Scalar | ValueType::InstantVector) {
            let why = "binary expression must contain only scalar and instant vector types";
            return Err((Some(operand.start), why.into()));
        }
    }
    let scalars = types.iter().filter(|t| **t == ValueType::Scalar).count();
    if scalars == 2 && op.is_comparison() && !modifier.returns_bool {
        return Err((None, "comparisons between scalars must use BOOL modifier".into()));
    }
    if scalars == 2 && op.is_trim() {
        let why = format!("operator {:?} not allowed for Scalar operations", op.as_str());
        return Err((None, why));
    }
    if scalars > 0 && op.is_set() {
        let why = format!(
            "set operator {:?} not allowed in binary scalar expression",
            op.as_str()
        );
        return Err((None, why));
    }
    let matching = match modifier.matching {
        None => Matching::default(),
        Some((place, matching)) => {
            if scalars > 0 && !matching.labels.is_empty() {
                return Err((
                    None,
                    "vector matching only allowed between instant vectors".into(),
                ));
            }
            if scalars > 0 && matching.fill.is_any() {
                let why = "filling in missing series only allowed between instant vectors";
                return Err((Some(place), why.into()));
            }
            if op.is_set() && matching.fill.is_any() {
                let why = "filling in missing series not allowed for set operators";
                return Err((Some(place), why.into()));
            }
            if op.is_set() && matching.group != Group::Neither {
                let why = format!("no grouping allowed for {:?} operation", op.as_str());
                return Err((Some(place), why));
            }
            let mut twice = matching.labels.iter().filter(|l| matching.include.contains(l));
            if matching.on
                && let Some(label) = twice.next()
            {
                let why = format!("label {label:?} must not occur in ON and GROUP clause at once");
                return Err((Some(place), why));
            }
            matching
        }
    };
    Ok(Binary {
        op,
        place: left.start,
        left: left.expr,
        right: right.expr,
        returns_bool: modifier.returns_bool,
        matching,
    })
}

/// The parameter and the vector of an aggregation.
pub(crate) fn aggregate(op: AggregateOp, args: Vec<Node>) -> Result<(Option<Expr>, Expr), Fault> {
    let param = op.param();
    let expected = 1 + usize::from(param.is_some());
    if args.is_empty() {
        return Err((None, "no arguments for aggregate expression provided".into()));
    }
    if args.len() != expected {
        let why = format!(
            "wrong number of arguments for aggregate expression provided, expected {expected}, got {}",
            args.len()
        );
        return Err((None, why));
    }
    let mut args = args.into_iter();
    let param = match param {
        None => None,
        Some(wanted) => args
            .next()
            .map(|param| expect(wanted, param, "aggregation parameter"))
            .transpose()?,
    };
    // There is one, by the count above.
    let vector = args.next().ok_or((None, String::new()))?;
    let vector = expect(ValueType::InstantVector, vector, "aggregation expression")?;
    Ok((param, vector))
}

pub(crate) fn call(function: Function, args: Vec<Node>, features: Features) -> Result<Vec<Expr>, Fault> {
    let (signature, name, found) = (function.signature(), function.name(), args.len());
    let is_enabled = function == Function::StartTimestamp && features.start_timestamps;
    if let Some(why) = signature.refused.filter(|_| !is_enabled) {
        return Err((None, format!("function {name:?} {why}")));
    }
    let (least, most) = signature.arity();
    let how_many = match () {
        () if least == most && found != least => format!("{least}"),
        () if found < least => format!("at least {least}"),
        () if found > most => format!("at most {most}"),
        () => String::new(),
    };
    if !how_many.is_empty() {
        let why = format!("expected {how_many} argument(s) in call to {name:?}, got {found}");
        return Err((None, why));
    }
    let context = format!("call to function {name:?}");
    let args = args.into_iter().enumerate();
    args.map(|(i, arg)| {
        let start = arg.start;
        let arg = expect(signature.arg(i), arg, &context)?;
        extended(name, &arg).map_err(|why| (Some(start), why))?;
        Ok(arg)
    })
    .collect()
}

/// A range that is extended has samples beyond its borders, which few functions know of.
fn extended(function: &str, arg: &Expr) -> Result<(), String> {
    let Expr::Range(range) = arg else { return Ok(()) };
    let by = range.selector.extended;
    match (by.as_str(), by.functions()) {
        (Some(modifier), Some(known)) if !known.contains(&function) => Err(format!(
            "{modifier} modifier can only be used with: {} - not with {function}",
            known.join(", ")
        )),
        _ => Ok(()),
    }
}

fn expect(wanted: ValueType, node: Node, context: &str) -> Result<Expr, Fault> {
    let found = node.expr.value_type();
    if found == wanted {
        return Ok(node.expr);
    }
    let why = format!("expected type {wanted} in {context}, got {found}");
    Err((Some(node.start), why))
}
