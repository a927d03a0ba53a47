//! What begins with a word: functions and aggregations with their arguments, and metrics.

use std::sync::Arc;

use super::Parser;
use super::cursor::is_one_of;
use super::node::Node;
use crate::check;
use crate::error::ParseError;
use crate::function::Function;
use crate::limit::MAX_DEPTH;
use crate::token::Kind;
use crate::tree::{Aggregate, AggregateOp, Call, Expr, Grouping};

/// The names that cannot be metrics where an expression begins.
const NO_METRICS: [&str; 6] = ["atan2", "bool", "group_left", "group_right", "ignoring", "on"];

impl Parser<'_> {
    /// A function, an aggregation or a metric.
    pub(super) fn named(&mut self) -> Result<Node, ParseError> {
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
            let args =
                check::call(function, args).map_err(|(at, why)| self.error(at.unwrap_or(start), why))?;
            self.count_operation(start)?;
            let call = Call {
                function,
                args,
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
        let (args, height) = self.arguments(false)?;
        if grouping.is_none() {
            grouping = self.grouping()?;
        }
        let place = args.first().map_or(start, |arg| arg.start);
        let (param, expr) =
            check::aggregate(op, args).map_err(|(at, why)| self.error(at.unwrap_or(start), why))?;
        self.count_operation(start)?;
        let aggregate = Aggregate {
            op,
            param,
            place,
            expr,
            grouping: grouping.unwrap_or_default(),
        };
        Ok(Node::new(Expr::Aggregate(Box::new(aggregate)), start, height + 1))
    }

    /// `by (…)` or `without (…)`.
    fn grouping(&mut self) -> Result<Option<Grouping>, ParseError> {
        let without = match self.kind() {
            Kind::Word if is_one_of(self.word(), &["by"]) => false,
            Kind::Word if is_one_of(self.word(), &["without"]) => true,
            _ => return Ok(None),
        };
        self.at += 1;
        let labels = self.label_names("grouping opts")?;
        Ok(Some(Grouping { without, labels }))
    }

    /// `(a, b)`
    pub(super) fn label_names(&mut self, place: &str) -> Result<Vec<Arc<str>>, ParseError> {
        let open = self.start();
        if !self.take("(") {
            return Err(self.unexpected(&format!(" in {place}, expected \"(\"")));
        }
        let mut names = Vec::new();
        while !self.take(")") {
            let name = match self.kind() {
                Kind::Word if !self.word().contains(':') => self.word().into(),
                Kind::Text(name) if !name.is_empty() => Arc::from(name.as_str()),
                Kind::End => return Err(self.error(open, "unclosed left parenthesis")),
                _ => return Err(self.unexpected(&format!(" in {place}, expected label"))),
            };
            self.at += 1;
            names.push(name);
            if !self.take(",") && self.kind() != &Kind::Sign(")") {
                if self.kind() == &Kind::End {
                    return Err(self.error(open, "unclosed left parenthesis"));
                }
                return Err(self.unexpected(&format!(" in {place}, expected \",\" or \")\"")));
            }
        }
        Ok(names)
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
