//! What an operator does with two numbers.

use crate::parse::BinaryOp;

#[derive(Clone, Copy, Debug)]
pub(super) enum Operation {
    Arithmetic(fn(f64, f64) -> f64),
    Comparison(fn(f64, f64) -> bool),
}

// === impl Operation ===

impl Operation {
    /// Set operators do nothing with numbers; for them it is the left one.
    pub(super) fn new(op: BinaryOp) -> Self {
        match op {
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
            BinaryOp::And | BinaryOp::Or | BinaryOp::Unless => Self::Arithmetic(|a, _| a),
        }
    }
}
