//! Inside of a string: the regex that it may hold.

use fleetgauge_syntax::regex::RegexText;

use super::super::error::Offset;
use super::super::place::{PlaceId, Places};

#[derive(Clone, Debug)]
pub(super) struct InString {
    /// The string of `=~` and `!~`.
    pub(super) regex: Option<RegexText>,
    /// Nothing stands in it yet.
    pub(super) empty: bool,
    pub(super) opened: Offset,
}

// === impl InString ===

impl InString {
    /// Steps over a character that the string holds.
    pub(super) fn read(&mut self, c: char, open: &mut Vec<PlaceId>, places: &mut Places) {
        self.empty = false;
        if let Some(regex) = &mut self.regex {
            for id in open.drain(..) {
                places.followed(id, matches!(c, '*' | '+' | '?' | '{'));
            }
            regex.read(c);
        }
    }
}

impl PartialEq for InString {
    /// Equal as far as what follows is concerned.
    fn eq(&self, other: &Self) -> bool {
        self.regex == other.regex
    }
}
