//! From tokens to a tree. What an operator's or function's operands must be is checked when it is built, so
//! that every mistake is found with its place.

mod call;
mod cursor;
mod matching;
pub(crate) mod node;
mod selector;
mod suffix;

use crate::check;
use crate::error::ParseError;
use crate::limit::MAX_DEPTH;
use crate::token::{Kind, Token};
use crate::tree::{BinaryOp, Expr};

use node::Node;

pub(crate) struct Parser<'q> {
    query: &'q str,
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
    operations: usize,
}

/// How an operand is joined to its operator, tighter than any binary one.
const UNARY: u8 = 6;

// === impl Parser ===

impl<'q> Parser<'q> {
    pub(crate) fn new(query: &'q str, tokens: Vec<Token>) -> Self {
        Self {
            query,
            tokens,
            at: 0,
            depth: 0,
            operations: 0,
        }
    }

    pub(crate) fn parse(mut self) -> Result<Expr, ParseError> {
        if self.kind() == &Kind::End {
            return Err(self.error(0, "no expression found in input"));
        }
        let node = self.expression(0)?;
        match self.kind() {
            Kind::End => Ok(node.expr),
            Kind::Sign(")") => Err(self.error_here("unexpected right parenthesis ')': none is open")),
            _ => Err(self.unexpected("")),
        }
    }

    /// An expression whose operators all bind at least as tightly as `least`.
    fn expression(&mut self, least: u8) -> Result<Node, ParseError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.too_deep());
        }
        let mut left = self.operand()?;
        while let Some(op) = self.binary_op() {
            let precedence = op.precedence();
            if precedence < least {
                break;
            }
            left = self.binary(left, op)?;
        }
        self.depth -= 1;
        Ok(left)
    }

    fn binary(&mut self, left: Node, op: BinaryOp) -> Result<Node, ParseError> {
        let place = self.start();
        self.at += 1;
        let modifier = self.matching(op)?;
        // `^` alone groups from the right.
        let least = op.precedence() + u8::from(op != BinaryOp::Pow);
        let right = self.expression(least)?;
        self.count_operation(place)?;
        let height = 1 + left.height.max(right.height);
        if height > MAX_DEPTH {
            return Err(self.too_deep());
        }
        let start = left.start;
        let binary = check::binary(op, left, right, modifier)
            .map_err(|(at, why)| self.error(at.unwrap_or(place), why))?;
        Ok(Node::new(Expr::Binary(Box::new(binary)), start, height))
    }

    /// A sign and its operand, or what stands without one, and what follows it.
    fn operand(&mut self) -> Result<Node, ParseError> {
        let start = self.start();
        let sign = match self.kind() {
            Kind::Sign(sign @ ("+" | "-")) => *sign,
            _ => {
                let node = self.primary()?;
                return self.suffixes(node);
            }
        };
        self.at += 1;
        let operand = self.expression(UNARY)?;
        check::unary(&operand).map_err(|why| self.error(operand.start, why))?;
        self.count_operation(start)?;
        let height = operand.height + 1;
        let expr = match (sign, operand.expr) {
            ("+", expr) => expr,
            (_, Expr::Number(value)) if !operand.in_parentheses => Expr::Number(-value),
            (_, expr) => Expr::Negate(Box::new(expr)),
        };
        Ok(Node::new(expr, start, height))
    }

    fn primary(&mut self) -> Result<Node, ParseError> {
        let start = self.start();
        let leaf = |expr| Ok(Node::new(expr, start, 1));
        match self.kind().clone() {
            Kind::Number(value) | Kind::Duration(value) => {
                self.at += 1;
                leaf(Expr::Number(value))
            }
            Kind::Text(text) => {
                self.at += 1;
                leaf(Expr::Text(text.into()))
            }
            Kind::Sign("(") => {
                self.at += 1;
                let mut node = self.expression(0)?;
                self.close(")", start)?;
                node.start = start;
                node.in_parentheses = true;
                Ok(node)
            }
            Kind::Sign("{") => self.selector(None),
            Kind::Word => self.named(),
            Kind::End => Err(self.error_here("unexpected end of input: an expression is missing")),
            Kind::Sign(_) => Err(self.unexpected("")),
        }
    }
}
