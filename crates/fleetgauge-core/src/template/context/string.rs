//! Inside of a string: its escapes, its end, and the regex that it may hold.

use super::super::error::{Fault, Offset};
use super::super::place::{PlaceId, Places, Quote};
use super::super::regex_text::RegexText;
use super::Expect;

#[derive(Clone, Debug)]
pub(super) struct InString {
    pub(super) quote: Quote,
    /// The string of `=~` and `!~`.
    pub(super) regex: Option<RegexText>,
    /// Nothing stands in it yet.
    pub(super) empty: bool,
    pub(super) opened: Offset,
    pub(super) then: Expect,
}

// === impl InString ===

impl InString {
    /// Reads up to the end of the text or of the string; answers how much, and whether the string ended.
    pub(super) fn read(
        &mut self,
        rest: &str,
        at: Offset,
        open: &mut Vec<PlaceId>,
        places: &mut Places,
    ) -> Result<(usize, bool), Fault> {
        let mut chars = rest.char_indices();
        while let Some((i, c)) = chars.next() {
            let c = match c {
                c if c == self.quote.char() => {
                    if let Some(reason) = self.regex.as_ref().and_then(RegexText::unfinished) {
                        return Err(Fault::new(
                            at + i,
                            format!("the regex of this string ends {reason}"),
                        ));
                    }
                    return Ok((i + 1, true));
                }
                '\\' if self.quote != Quote::Raw => {
                    let (len, c) =
                        escape(&rest[i + 1..], self.quote).map_err(|message| Fault::new(at + i, message))?;
                    for _ in 0..len {
                        chars.next();
                    }
                    c
                }
                '\n' if self.quote != Quote::Raw => {
                    return Err(Fault::new(self.opened, "this string is not closed on its line"));
                }
                c => c,
            };
            self.empty = false;
            if let Some(regex) = &mut self.regex {
                for id in open.drain(..) {
                    places.followed(id, matches!(c, '*' | '+' | '?' | '{'));
                }
                regex.read(c);
            }
        }
        Ok((rest.len(), false))
    }
}

impl PartialEq for InString {
    /// Equal as far as what follows is concerned.
    fn eq(&self, other: &Self) -> bool {
        self.quote == other.quote && self.regex == other.regex && self.then == other.then
    }
}

/// The length of an escape after its backslash, all ASCII, and the character that it stands for.
fn escape(rest: &str, quote: Quote) -> Result<(usize, char), &'static str> {
    const CUT: &str = "this escape is cut off by an action or is no escape of PromQL";
    let bytes = rest.as_bytes();
    let code = |from: usize, digits: usize, radix: u32| {
        let digits = rest.get(from..from + digits).ok_or(CUT)?;
        let plain = digits.chars().all(|c| c.is_digit(radix));
        let code = if plain {
            u32::from_str_radix(digits, radix).ok()
        } else {
            None
        };
        // A byte that is not ASCII is a part of a character: no matter here, as it means nothing to a regex.
        code.and_then(char::from_u32).ok_or(CUT)
    };
    Ok(match bytes.first() {
        Some(b'a' | b'b' | b'f' | b'r' | b't' | b'v') => (1, '\t'),
        Some(b'n') => (1, '\n'),
        Some(b'\\') => (1, '\\'),
        Some(b) if char::from(*b) == quote.char() => (1, quote.char()),
        Some(b'x') => (3, code(1, 2, 16)?),
        Some(b'u') => (5, code(1, 4, 16)?),
        Some(b'U') => (9, code(1, 8, 16)?),
        Some(b'0'..=b'3') => (3, code(0, 3, 8)?),
        _ => return Err(CUT),
    })
}
