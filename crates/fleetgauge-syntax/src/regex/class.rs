//! Classes of characters.

use super::error::RegexError;
use super::escape::Item;
use super::reader::Reader;

const NAMES: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space",
    "upper", "word", "xdigit",
];

const UNCLOSED: RegexError = RegexError("it opens a character class that it does not close");

impl Reader<'_, '_> {
    /// After a `[`, to the `]`. In the crate, classes nest and have set operations: every character that is meant
    /// literally is escaped.
    pub(super) fn class(&mut self) -> Result<(), RegexError> {
        self.push('[');
        if self.next_if('^').is_some() {
            self.push('^');
        }
        let mut first = true;
        loop {
            match self.next().ok_or(UNCLOSED)? {
                ']' if !first => {
                    self.push(']');
                    return Ok(());
                }
                '[' if self.peek() == Some(':') && self.named()? => {}
                c => {
                    if let Some(from) = self.class_item(c)? {
                        self.literal(from);
                        self.range(from)?;
                    }
                }
            }
            first = false;
        }
    }

    /// The rest of `a-z`, if it is one: a `-` before the `]` is a character.
    fn range(&mut self, from: char) -> Result<(), RegexError> {
        let mut ahead = self.rest.chars();
        if ahead.next() != Some('-') || ahead.next().is_none_or(|end| end == ']') {
            return Ok(());
        }
        self.next();
        self.push('-');
        let end = self.next().ok_or(UNCLOSED)?;
        match self.class_item(end)? {
            Some(to) if from <= to => {
                self.literal(to);
                Ok(())
            }
            _ => Err(RegexError(
                "a range in a character class must rise from one character to another",
            )),
        }
    }

    /// The character that stands here, which is not written yet; `None` for a set, which is.
    fn class_item(&mut self, c: char) -> Result<Option<char>, RegexError> {
        if c != '\\' {
            return Ok(Some(c));
        }
        Ok(match self.item()? {
            Item::Char(c) => Some(c),
            Item::Set => None,
        })
    }

    /// `[:alpha:]` or `[:^alpha:]`, after its `[`. `false` where no `:]` follows: then the `[` is a character.
    fn named(&mut self) -> Result<bool, RegexError> {
        if self.no_named_class {
            return Ok(false);
        }
        let Some((written, rest)) = self.rest[1..].split_once(":]") else {
            self.no_named_class = true;
            return Ok(false);
        };
        let name = written.strip_prefix('^').unwrap_or(written);
        if !NAMES.contains(&name) {
            return Err(RegexError("it names an unknown class in `[:…:]`"));
        }
        self.push_str("[:");
        self.push_str(written);
        self.push_str(":]");
        self.rest = rest;
        Ok(true)
    }
}
