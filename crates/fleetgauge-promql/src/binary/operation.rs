//! What an operator does with two numbers.

use crate::error::EvalError;
use crate::parse::BinaryOp;

#[derive(Clone, Copy, Debug)]
pub(super) enum Operation {
    Arithmetic(fn(f64, f64) -> f64),
    Comparison(fn(f64, f64) -> bool),
    /// Of histograms alone.
    Trim,
}

// === impl Operation ===

impl Operation {
    /// *Errors*: of set operators, which do nothing with numbers; the parser refuses them where they would have to.
    pub(super) fn new(op: BinaryOp) -> Result<Self, EvalError> {
        Ok(match op {
            BinaryOp::Add => Self::Arithmetic(|a, b| a + b),
            BinaryOp::Sub => Self::Arithmetic(|a, b| a - b),
            BinaryOp::Mul => Self::Arithmetic(|a, b| a * b),
            BinaryOp::Div => Self::Arithmetic(|a, b| a / b),
            // The remainder has the sign of the dividend, as Go's.
            BinaryOp::Mod => Self::Arithmetic(|a, b| a % b),
            BinaryOp::Pow => Self::Arithmetic(f64::powf),
            BinaryOp::Atan2 => Self::Arithmetic(f64::atan2),
            BinaryOp::Equal => Self::Comparison(|a, b| a == b),
            BinaryOp::NotEqual => Self::Comparison(|a, b| a != b),
            BinaryOp::Less => Self::Comparison(|a, b| a < b),
            BinaryOp::LessEqual => Self::Comparison(|a, b| a <= b),
            BinaryOp::Greater => Self::Comparison(|a, b| a > b),
            BinaryOp::GreaterEqual => Self::Comparison(|a, b| a >= b),
            BinaryOp::TrimAbove | BinaryOp::TrimBelow => Self::Trim,
            BinaryOp::And | BinaryOp::Or | BinaryOp::Unless => {
                let why = format!("set operator {} computes no numbers", op.as_str());
                return Err(EvalError::execution(why));
            }
        })
    }
}
