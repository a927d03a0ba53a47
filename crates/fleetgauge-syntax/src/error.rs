//! Why a query is not PromQL, or not the PromQL that can be evaluated here, and where.

use std::fmt;

use crate::printable::Printable;

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
    /// What is wrong at `offset`, in bytes.
    pub fn new(query: &str, offset: usize, message: impl Into<String>) -> Self {
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

impl ParseError {
    /// Whether the query may be right all the same, and Prometheus may take it: what is refused here by name, and
    /// what is beyond a limit of this parser.
    pub fn is_own_refusal(&self) -> bool {
        self.taken_by().is_some()
    }

    /// Who takes what is [refused here](Self::is_own_refusal), in words; `None` where it is a mistake.
    pub fn taken_by(&self) -> Option<&'static str> {
        let is = |start| self.message.starts_with(start);
        match () {
            () if is("the modifier `") => Some(
                "Prometheus takes it from 3.10 on, with --enable-feature=promql-binop-fill-modifiers; what Fleetgauge evaluates \
                 itself has it in `promql eval` and `promql test` alone",
            ),
            () if is("function ") => Some(
                "Prometheus takes it from 3.14 on, with --enable-feature=use-start-timestamps; what Fleetgauge evaluates itself \
                 has it in `promql eval` and `promql test` alone",
            ),
            () if is("a duration with step() or range() ") => Some(
                "what is scraped here is asked with it, and so is Prometheus, which knows it from 3.14 on, and from 3.6 on with \
                 --enable-feature=promql-duration-expr; composed and federated sources are not",
            ),
            () if is("query is ") || is("query has more than ") => {
                Some("Fleetgauge cannot evaluate this itself; a server may")
            }
            () => None,
        }
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
    fn what_is_refused_here_alone_is_told_apart() {
        let check = |query: &str, expected: bool| {
            let error = crate::parse(query).unwrap_err();
            assert_eq!(error.is_own_refusal(), expected, "{error}");
        };
        let all = crate::Function::ALL.iter();
        for function in all.filter(|function| function.refused().is_some()) {
            check(&format!("{}(a)", function.name()), true);
        }
        let taken_by = |query: &str| crate::parse(query).unwrap_err().taken_by().unwrap_or_default();
        assert!(taken_by("a + fill (1) b").contains("3.10"));
        assert!(taken_by("a[step()]").contains("what is scraped here is asked with it"));
        assert!(taken_by("start_timestamp(a)").contains("use-start-timestamps"));
        check("a + fill (1) b", true);
        check("a[5m + step()]", true);
        check(&"(".repeat(1000), true);
        check(&"a + ".repeat(3000), true);
        check(&"a".repeat(300_000), true);
        for query in [
            "functio(a)",
            "sum(",
            "a b",
            "rate(a)",
            "a[5 m]",
            "a{b=~\"(\"}",
            "\"function \" a",
        ] {
            check(query, false);
        }
    }

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
