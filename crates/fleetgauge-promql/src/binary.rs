//! Operators between two operands.

mod matching;
mod mixed;
mod operation;
mod set;
#[cfg(test)]
mod tests;

use crate::annotation::Annotations;
use crate::budget::Budget;
use crate::error::EvalError;
use crate::parse::{Binary, BinaryOp};
use crate::sample::SampleValue;
use crate::value::{ABSENT, Operand, Vector, is_absent};

use mixed::{Outcome, Remarks, Side};
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
    notes: &mut Annotations,
) -> Result<Operand, EvalError> {
    match (left, right) {
        (Operand::Scalar(left), Operand::Scalar(right)) => {
            budget.spend(left.len().saturating_mul(OPERATION_WORK))?;
            scalars(binary.op, left, &right).map(Operand::Scalar)
        }
        (Operand::Vector(vector), Operand::Scalar(scalar)) => {
            with_scalar(binary, vector, &scalar, ScalarIs::Right, budget, notes).map(Operand::Vector)
        }
        (Operand::Scalar(scalar), Operand::Vector(vector)) => {
            with_scalar(binary, vector, &scalar, ScalarIs::Left, budget, notes).map(Operand::Vector)
        }
        (Operand::Vector(left), Operand::Vector(right)) => {
            let result = if binary.op.is_set() {
                set::evaluate(binary.op, &binary.matching, left, right, budget)
            } else {
                matching::evaluate(binary, &left, &right, budget, notes)
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
            Operation::Trim => return Err(EvalError::execution("a number cannot be trimmed")),
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
    notes: &mut Annotations,
) -> Result<Vector, EvalError> {
    let operation = Operation::new(binary.op)?;
    let is_comparison = matches!(operation, Operation::Comparison(_));
    let is_filter = is_comparison && !binary.returns_bool || binary.op.is_trim();
    if vector.has_histograms() || binary.op.is_trim() {
        mixed_with_scalar(binary, operation, &mut vector, scalar, side, budget, notes)?;
        return named(vector, is_filter, budget);
    }
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
                Operation::Trim => ABSENT,
            };
        }
    }
    named(vector, is_filter, budget)
}

/// As the loop over numbers, where values are histograms.
fn mixed_with_scalar(
    binary: &Binary,
    operation: Operation,
    vector: &mut Vector,
    scalar: &[f64],
    side: ScalarIs,
    budget: &mut Budget,
    notes: &mut Annotations,
) -> Result<(), EvalError> {
    let mut remarks = Remarks::new(binary.op, vector.width(), budget)?;
    let is_comparison = matches!(operation, Operation::Comparison(_));
    for i in 0..vector.len() {
        budget.spend(vector.width().saturating_mul(OPERATION_WORK))?;
        for (step, &scalar) in scalar.iter().enumerate() {
            let (Some(own), scalar) = (Side::of(vector, i, step), Side::Number(scalar)) else {
                continue;
            };
            budget.spend(own.work())?;
            let (left, right) = match side {
                ScalarIs::Left => (scalar, own),
                ScalarIs::Right => (own, scalar),
            };
            let outcome = Outcome::new(binary.op, operation, left, right);
            remarks.note(&outcome, i, step);
            let value = match (outcome.value, outcome.holds) {
                (None, _) => Some(SampleValue::Float(ABSENT)),
                (Some(_), holds) if binary.returns_bool => {
                    Some(SampleValue::Float(f64::from(u8::from(holds))))
                }
                (Some(_), false) => Some(SampleValue::Float(ABSENT)),
                // Whichever side the scalar is on, the vector's value is what stays.
                (Some(_), true) if is_comparison => None,
                (value, true) => value,
            };
            match value {
                Some(SampleValue::Float(value)) => vector.row_mut(i)[step] = value,
                Some(SampleValue::Histogram(histogram)) => {
                    budget.take_histogram(&histogram)?;
                    vector.set_histogram(i, step, histogram);
                }
                None => {}
            }
        }
    }
    remarks.tell(notes);
    vector.retain_present();
    Ok(())
}

/// What is computed is another metric, and what is filtered is not.
fn named(mut vector: Vector, is_filter: bool, budget: &mut Budget) -> Result<Vector, EvalError> {
    if is_filter {
        vector.retain_present();
    } else if vector.drop_names(budget)? {
        vector.merge_duplicates(budget)?;
    }
    Ok(vector)
}
