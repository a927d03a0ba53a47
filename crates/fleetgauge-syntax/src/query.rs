//! A whole query, from its text.

use crate::error::ParseError;
use crate::features::Features;
use crate::grammar::Parser;
use crate::limit::MAX_LENGTH;
use crate::parsed::{Parsed, Times};
use crate::tree::Expr;
use crate::{invariant, token};

const UNKNOWN_TIMES: &str = "a duration with step() or range() follows from the times of a query, and is known where it is evaluated alone";

/// Parses and checks a query.
///
/// The grammar is that of Prometheus 3, and so are the messages about types. What is switched off by default is refused by
/// name ([`Features`]), and so is a duration with `step()` or `range()`: a tree has durations alone.
///
/// Every text is read in time proportional to its length and with bounded depth, so none can hang the parser or
/// overflow its stack.
///
/// *Errors*: [`ParseError`], with the place.
pub fn parse(query: &str) -> Result<Expr, ParseError> {
    let parsed = parse_with(query, Features::default(), None)?;
    match parsed.stand_in {
        None => Ok(parsed.expr),
        Some(place) => Err(ParseError::new(query, place, UNKNOWN_TIMES)),
    }
}

/// As [`parse`], also with what is experimental, and for these times where they are known.
///
/// *Errors*: [`ParseError`], with the place.
pub fn parse_with(query: &str, features: Features, times: Option<Times>) -> Result<Parsed, ParseError> {
    if query.len() > MAX_LENGTH {
        let why = format!("query is longer than {MAX_LENGTH} bytes");
        return Err(ParseError::new(query, MAX_LENGTH, why));
    }
    let tokens = token::tokens(query, features)?;
    let mut parsed = Parser::new(query, tokens, features, times).parse()?;
    invariant::mark(&mut parsed.expr);
    Ok(parsed)
}

#[cfg(test)]
mod tests;
