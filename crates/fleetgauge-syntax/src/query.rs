//! A whole query, from its text.

use crate::error::ParseError;
use crate::grammar::Parser;
use crate::tree::Expr;
use crate::{invariant, token};

/// How long a query may be, as a regular expression may list thousands of pods. *Unit*: bytes.
pub const MAX_LENGTH: usize = 256 * 1024;
/// How deep a tree may be. The parser, the evaluator and `Drop` walk it down, on threads with 2 MiB of stack.
pub const MAX_DEPTH: usize = 128;
/// How many operators, functions and aggregations a query may have.
pub const MAX_OPERATIONS: usize = 2_000;

/// Parses and checks a query.
///
/// The grammar is that of Prometheus 3, and so are the messages about types. What the evaluator cannot do exactly as
/// Prometheus does is refused by name: native histograms, and the experimental modifiers (`fill`, `smoothed`,
/// `anchored`) and expressions of durations.
///
/// Every text is read in time proportional to its length and with bounded depth, so none can hang the parser or
/// overflow its stack.
///
/// *Errors*: [`ParseError`], with the place.
pub fn parse(query: &str) -> Result<Expr, ParseError> {
    if query.len() > MAX_LENGTH {
        let why = format!("query is longer than {MAX_LENGTH} bytes");
        return Err(ParseError::new(query, MAX_LENGTH, why));
    }
    let tokens = token::tokens(query)?;
    let mut root = Parser::new(query, tokens).parse()?;
    invariant::mark(&mut root);
    Ok(root)
}

#[cfg(test)]
mod tests;
