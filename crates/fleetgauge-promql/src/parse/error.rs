//! Why a query is not PromQL, or not the PromQL that can be evaluated here, and where.

use std::fmt;

use fleetgauge_core::printable::Printable;

/// A query that cannot be evaluated.
///
/// Prints as in Prometheus, `1:5: parse error: …`, with the line and the column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    offset: usize,
    line: usize,
    column: usize,
    message: String,
}

/// How much of a message's beginning and end is kept. *Unit*: characters.
const MESSAGE_ENDS: usize = 150;

// === impl ParseError ===

impl ParseError {
    pub(crate) fn new(query: &str, offset: usize, message: impl Into<String>) -> Self {
        let mut offset = offset.min(query.len());
        while !query.is_char_boundary(offset) {
            offset -= 1;
        }
        let before = &query[..offset];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Self {
            offset,
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            message: shortened(message.into()),
        }
    }

    /// Where in the query. *Unit*: bytes from its beginning.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// The line, counted from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// The column, counted from 1. *Unit*: characters.
    pub fn column(&self) -> usize {
        self.column
    }

    /// What is wrong, without the place.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = Printable(&self.message);
        write!(f, "{}:{}: parse error: {message}", self.line, self.column)
    }
}

impl std::error::Error for ParseError {}

/// A message may quote a word or string of the query, which may be as long as the query; its ends say what is
/// wrong.
fn shortened(message: String) -> String {
    let mut places = message.char_indices().map(|(at, _)| at);
    let (start, end) = (places.nth(MESSAGE_ENDS), places.nth_back(MESSAGE_ENDS - 1));
    match (start, end) {
        (Some(start), Some(end)) => format!("{}…{}", &message[..start], &message[end..]),
        _ => message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_keeps_its_ends() {
        let check = |message: &str, expected: &str| {
            assert_eq!(ParseError::new("", 0, message).message(), expected);
        };
        check("unexpected", "unexpected");
        check("", "");
        check(&"é".repeat(300), &"é".repeat(300));
        let long = format!("{}{}{}", "a".repeat(150), "é".repeat(100_000), "b".repeat(150));
        let short = format!("{}…{}", "a".repeat(150), "b".repeat(150));
        check(&long, &short);
    }
}
