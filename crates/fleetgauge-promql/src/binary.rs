//! Operators between two operands.

mod matching;
mod operation;
mod set;
#[cfg(test)]
mod tests;

use crate::budget::Budget;
use crate::error::EvalError;
use crate::parse::{Binary, BinaryOp};
use crate::value::{ABSENT, Operand, Vector, is_absent};

use operation::Operation;

/// Which operand of an operation between a vector and a scalar is the scalar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ScalarIs {
    Left,
    Right,
}

pub(crate) fn evaluate(
    binary: &Binary,
    left: Operand,
    right: Operand,
    budget: &mut Budget,
) -> Result<Operand, EvalError> {
    match (left, right) {
        (Operand::Scalar(left), Operand::Scalar(right)) => {
            budget.spend(left.len().saturating_mul(OPERATION_WORK))?;
            scalars(binary.op, left, &right).map(Operand::Scalar)
        }
        (Operand::Vector(vector), Operand::Scalar(scalar)) => {
            with_scalar(binary, vector, &scalar, ScalarIs::Right, budget).map(Operand::Vector)
        }
        (Operand::Scalar(scalar), Operand::Vector(vector)) => {
            with_scalar(binary, vector, &scalar, ScalarIs::Left, budget).map(Operand::Vector)
        }
        (Operand::Vector(left), Operand::Vector(right)) => {
            let result = if binary.op.is_set() {
                set::evaluate(binary.op, &binary.matching, left, right, budget)
            } else {
                matching::evaluate(binary, &left, &right, budget)
            };
            result.map(Operand::Vector)
        }
        _ => Err(EvalError::execution("a string is not an operand")),
    }
}

/// The work of an operation between two numbers, of which powers take longest.
const OPERATION_WORK: usize = 4;

fn scalars(op: BinaryOp, mut left: Vec<f64>, right: &[f64]) -> Result<Vec<f64>, EvalError> {
    let operation = Operation::new(op)?;
    for (left, &right) in left.iter_mut().zip(right) {
        *left = match operation {
            Operation::Arithmetic(compute) => compute(*left, right),
            // Between scalars there is nothing to filter: they are compared with `bool`.
            Operation::Comparison(holds) => f64::from(u8::from(holds(*left, right))),
        };
    }
    Ok(left)
}

fn with_scalar(
    binary: &Binary,
    mut vector: Vector,
    scalar: &[f64],
    side: ScalarIs,
    budget: &mut Budget,
) -> Result<Vector, EvalError> {
    let operation = Operation::new(binary.op)?;
    let is_filter = matches!(operation, Operation::Comparison(_)) && !binary.returns_bool;
    for row in vector.values_mut().chunks_exact_mut(scalar.len().max(1)) {
        budget.spend(row.len().saturating_mul(OPERATION_WORK))?;
        for (value, &scalar) in row.iter_mut().zip(scalar) {
            if is_absent(*value) {
                continue;
            }
            let (left, right) = match side {
                ScalarIs::Left => (scalar, *value),
                ScalarIs::Right => (*value, scalar),
            };
            *value = match operation {
                Operation::Arithmetic(compute) => compute(left, right),
                Operation::Comparison(holds) => match (binary.returns_bool, holds(left, right)) {
                    (true, holds) => f64::from(u8::from(holds)),
                    // Whichever side the scalar is on, the vector's value is what stays.
                    (false, true) => *value,
                    (false, false) => ABSENT,
                },
            };
        }
    }
    if is_filter {
        vector.retain_present();
    } else if vector.drop_names(budget)? {
        vector.merge_duplicates(budget)?;
    }
    Ok(vector)
}
