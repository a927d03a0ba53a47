//! The tokens one after the other, and mistakes with their place.

use crate::error::ParseError;
use crate::features::Features;
use crate::limit::{MAX_DEPTH, MAX_OPERATIONS};
use crate::parsed::Times;
use crate::token::{Kind, Token};

pub(crate) struct Parser<'q> {
    pub(super) query: &'q str,
    pub(super) tokens: Vec<Token>,
    pub(super) features: Features,
    pub(super) times: Option<Times>,
    /// Whether a function of the query's times was met.
    pub(super) is_timed: bool,
    /// Where the first one is by which a duration could not be computed.
    pub(super) stand_in: Option<usize>,
    /// Whether a duration was met that is more than a number with units.
    pub(super) has_durations: bool,
    pub(super) at: usize,
    pub(super) depth: usize,
    operations: usize,
}

// === impl Parser ===

impl<'q> Parser<'q> {
    pub(crate) fn new(query: &'q str, tokens: Vec<Token>, features: Features, times: Option<Times>) -> Self {
        Self {
            query,
            tokens,
            features,
            times,
            is_timed: false,
            stand_in: None,
            has_durations: false,
            at: 0,
            depth: 0,
            operations: 0,
        }
    }

    pub(super) fn kind(&self) -> &Kind {
        &self.tokens[self.at].kind
    }

    pub(super) fn start(&self) -> usize {
        self.tokens[self.at].start
    }

    pub(super) fn word(&self) -> &'q str {
        let token = &self.tokens[self.at];
        &self.query[token.start..token.end]
    }

    /// Whether the token is a label's name. `inf` is one, too.
    pub(super) fn is_name(&self) -> bool {
        let word = self.word();
        !word.starts_with(|c: char| c.is_ascii_digit() || c == '.') && !word.contains(':')
    }

    pub(super) fn take(&mut self, sign: &str) -> bool {
        let found = matches!(self.kind(), Kind::Sign(found) if *found == sign);
        self.at += usize::from(found);
        found
    }

    pub(super) fn take_word(&mut self, word: &str) -> bool {
        let found = self.kind() == &Kind::Word && is_one_of(self.word(), &[word]);
        self.at += usize::from(found);
        found
    }

    pub(super) fn close(&mut self, sign: &str, open: usize) -> Result<(), ParseError> {
        if self.take(sign) {
            return Ok(());
        }
        if self.kind() == &Kind::End {
            let what = if sign == ")" { "parenthesis" } else { "bracket" };
            return Err(self.error(open, format!("unclosed left {what}")));
        }
        Err(self.unexpected(&format!(", expected {sign:?}")))
    }

    // --- errors ---

    pub(super) fn error(&self, at: usize, message: impl Into<String>) -> ParseError {
        ParseError::new(self.query, at, message)
    }

    pub(super) fn error_here(&self, message: impl Into<String>) -> ParseError {
        self.error(self.start(), message)
    }

    pub(super) fn unexpected(&self, context: &str) -> ParseError {
        let what = match self.kind() {
            Kind::End => "end of input".to_owned(),
            Kind::Number(_) => format!("number {:?}", self.word()),
            Kind::Duration(_) => format!("duration {:?}", self.word()),
            Kind::Text(_) => format!("string {}", self.word()),
            Kind::Bytes(_) => return self.error_here("string is not UTF-8"),
            Kind::Word => format!("identifier {:?}", self.word()),
            Kind::Sign(sign) => format!("{sign:?}"),
        };
        self.error_here(format!("unexpected {what}{context}"))
    }

    pub(super) fn too_deep(&self) -> ParseError {
        self.error_here(format!("query is nested more than {MAX_DEPTH} levels deep"))
    }

    pub(super) fn count_operation(&mut self, place: usize) -> Result<(), ParseError> {
        self.operations += 1;
        if self.operations > MAX_OPERATIONS {
            let why = format!("query has more than {MAX_OPERATIONS} operations");
            return Err(self.error(place, why));
        }
        Ok(())
    }
}

pub(super) fn is_one_of(word: &str, words: &[&str]) -> bool {
    words.iter().any(|known| known.eq_ignore_ascii_case(word))
}
