//! From tokens to a tree. What an operator's or function's operands must be is checked when it is built, so
//! that every mistake is found with its place.
//!
//! What holds expressions, and so leads back to itself, is here; what does not has a file of its own beneath.

mod cursor;
mod duration;
mod grouping;
mod matching;
pub(crate) mod node;
mod selector;
mod suffix;

use crate::check;
use crate::error::ParseError;
use crate::function::Function;
use crate::limit::MAX_DEPTH;
use crate::literal;
use crate::parsed::Parsed;
use crate::token::Kind;
use crate::tree::{Aggregate, AggregateOp, AggregatePlaces, BinaryOp, Call, Expr};

use cursor::is_one_of;
use node::Node;

pub(crate) use cursor::Parser;

/// The names that cannot be metrics where an expression begins.
const NO_METRICS: [&str; 6] = ["atan2", "bool", "group_left", "group_right", "ignoring", "on"];

/// How an operand is joined to its operator, tighter than any binary one.
const UNARY: u8 = 6;

// === impl Parser ===

impl Parser<'_> {
    pub(crate) fn parse(mut self) -> Result<Parsed, ParseError> {
        if self.kind() == &Kind::End {
            return Err(self.error(0, "no expression found in input"));
        }
        let node = self.expression(0)?;
        match self.kind() {
            Kind::End => Ok(Parsed {
                expr: node.expr,
                is_timed: self.is_timed,
                has_durations: self.has_durations,
                stand_in: self.stand_in,
            }),
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
            Kind::Bytes(_) | Kind::Sign(_) => Err(self.unexpected("")),
        }
    }

    /// A function, an aggregation or a metric.
    fn named(&mut self) -> Result<Node, ParseError> {
        let (start, word) = (self.start(), self.word());
        let next = &self.tokens[self.at + 1];
        let (is_called, is_grouped) = (
            next.kind == Kind::Sign("("),
            next.kind == Kind::Word && is_one_of(&self.query[next.start..next.end], &["by", "without"]),
        );
        if let Some(op) = AggregateOp::named(word)
            && (is_called || is_grouped)
        {
            return self.aggregate(op);
        }
        if is_called {
            let Some(function) = Function::named(word) else {
                let hint =
                    Function::like(word).map_or(String::new(), |like| format!("; did you mean {like:?}?"));
                return Err(self.error(start, format!("unknown function with name {word:?}{hint}")));
            };
            self.at += 1;
            let (args, height) = self.arguments(function == Function::Info)?;
            let places = args.iter().map(|arg| arg.start).collect();
            let args = check::call(function, args, self.features)
                .map_err(|(at, why)| self.error(at.unwrap_or(start), why))?;
            self.count_operation(start)?;
            if function.is_of_query() {
                self.is_timed = true;
                if let Some(seconds) = self.times.and_then(|times| times.of(function)) {
                    return Ok(Node::new(Expr::Number(seconds), start, 1));
                }
            }
            let call = Call {
                function,
                args,
                place: start,
                places,
            };
            return Ok(Node::new(Expr::Call(call), start, height + 1));
        }
        if is_one_of(word, &NO_METRICS) {
            return Err(self.unexpected(""));
        }
        self.at += 1;
        self.selector(Some((start, word)))
    }

    fn aggregate(&mut self, op: AggregateOp) -> Result<Node, ParseError> {
        let start = self.start();
        self.at += 1;
        let mut grouping = self.grouping()?;
        if self.kind() != &Kind::Sign("(") {
            return Err(self.unexpected(" in aggregation, expected \"(\""));
        }
        let first = &self.tokens[self.at + 1];
        if let (AggregateOp::CountValues, Kind::Bytes(bytes)) = (op, &first.kind) {
            let why = format!("invalid label name {}", literal::quoted_bytes(bytes));
            return Err(self.error(first.start, why));
        }
        let (args, height) = self.arguments(false)?;
        if grouping.is_none() {
            grouping = self.grouping()?;
        }
        let place_of = |arg: Option<&Node>| arg.map_or(start, |arg| arg.start);
        let places = AggregatePlaces {
            start,
            param: place_of(args.first()),
            expr: place_of(args.last()),
        };
        let (param, expr) =
            check::aggregate(op, args).map_err(|(at, why)| self.error(at.unwrap_or(start), why))?;
        self.count_operation(start)?;
        let aggregate = Aggregate {
            op,
            param,
            places,
            expr,
            grouping: grouping.unwrap_or_default(),
        };
        Ok(Node::new(Expr::Aggregate(Box::new(aggregate)), start, height + 1))
    }

    /// `(expr, …)`, and the height of the highest. Those of `info` end with matchers.
    fn arguments(&mut self, of_info: bool) -> Result<(Vec<Node>, usize), ParseError> {
        let open = self.start();
        self.at += 1;
        let (mut args, mut height) = (Vec::new(), 0);
        if self.take(")") {
            return Ok((args, height));
        }
        loop {
            let arg = if of_info && args.len() == 1 {
                self.info_matchers()?
            } else {
                self.expression(0)?
            };
            height = height.max(arg.height);
            if height >= MAX_DEPTH {
                return Err(self.too_deep());
            }
            args.push(arg);
            if !self.take(",") {
                break;
            }
            if self.kind() == &Kind::Sign(")") {
                return Err(self.error_here("trailing commas not allowed in function call args"));
            }
        }
        self.close(")", open)?;
        Ok((args, height))
    }
}
