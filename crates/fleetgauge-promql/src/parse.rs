//! From the text of a query to an expression whose types are checked.
//!
//! The grammar is that of Prometheus 3, and so are the messages about types. What the evaluator cannot do
//! exactly as Prometheus does is refused here, by name: native histograms, `info`, and the experimental
//! modifiers (`fill`, `smoothed`, `anchored`) and expressions of durations.
//!
//! Every text is read in time proportional to its length and with bounded depth, so none can hang the parser
//! or overflow its stack. Every error has a place.

mod check;
mod error;
mod expr;
mod grammar;
mod invariant;
mod lex;
mod literal;
#[cfg(test)]
mod page;
mod signature;
#[cfg(test)]
mod tests;

use std::fmt;

pub use error::ParseError;
pub use expr::ValueType;

pub(crate) use expr::{
    Aggregate, AggregateOp, At, Binary, BinaryOp, Call, Expr, Group, Grouping, Matching, Selector, Shift,
    Subquery,
};
#[cfg(feature = "script")]
pub(crate) use literal::duration_millis;

/// A query that was parsed and checked. Prints as it was written.
#[derive(Clone, Debug)]
pub struct Expression {
    text: Box<str>,
    root: Expr,
}

/// *Unit*: bytes. A regular expression may list thousands of pods.
const MAX_LENGTH: usize = 256 * 1024;
/// How deep a tree may be. The parser, the evaluator and `Drop` walk it down, on threads with 2 MiB of stack.
const MAX_DEPTH: usize = 128;
/// How many operators, functions and aggregations a query may have.
const MAX_OPERATIONS: usize = 2_000;
/// How many different regular expressions; each may take 1 MiB.
const MAX_REGEXES: usize = 100;

/// The names of the functions that can be evaluated, sorted.
pub fn functions() -> impl Iterator<Item = &'static str> {
    signature::Signature::evaluated().map(|function| function.name)
}

/// The names of the aggregations, all of which can be evaluated.
pub fn aggregations() -> impl Iterator<Item = &'static str> {
    expr::AggregateOp::names()
}

// === impl Expression ===

impl Expression {
    /// Parses and checks a query.
    ///
    /// *Errors*: [`ParseError`], with the place.
    pub fn parse(query: &str) -> Result<Self, ParseError> {
        if query.len() > MAX_LENGTH {
            let why = format!("query is longer than {MAX_LENGTH} bytes");
            return Err(ParseError::new(query, MAX_LENGTH, why));
        }
        let tokens = lex::tokens(query)?;
        let mut root = grammar::Parser::new(query, tokens).parse()?;
        invariant::mark(&mut root);
        Ok(Self {
            text: query.into(),
            root,
        })
    }

    /// The query as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What it evaluates to.
    pub fn value_type(&self) -> ValueType {
        self.root.value_type()
    }

    pub(crate) fn root(&self) -> &Expr {
        &self.root
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
