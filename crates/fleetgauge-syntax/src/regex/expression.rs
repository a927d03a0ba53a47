//! Reads an expression from its first to its last character: atoms, groups and repetitions.

use super::error::RegexError;
use super::reader::{Before, Group, Reader};

/// RE2 refuses to repeat anything more often.
const MAX_REPEAT: u32 = 1000;
/// How deep groups may nest; RE2 allows for more, and the `regex` crate for not many more.
const MAX_GROUPS: usize = 50;

impl Reader<'_, '_> {
    pub(super) fn read(&mut self) -> Result<(), RegexError> {
        let mut before = Before::Nothing;
        while let Some(c) = self.next() {
            before = match c {
                '\\' => self.escape(before)?,
                '[' => {
                    self.class()?;
                    self.atom(1, false)
                }
                '(' => self.open()?,
                ')' => {
                    let outer = self.outer.pop();
                    let outer = outer.ok_or(RegexError("it closes a parenthesis that it does not open"))?;
                    let inner = std::mem::replace(&mut self.group, outer);
                    self.group.repeats = inner.repeats.max(self.group.repeats);
                    self.push(')');
                    self.atom(inner.repeats, inner.fits_empty())
                }
                '|' => {
                    self.group = Group {
                        any_is_empty: self.group.fits_empty(),
                        repeats: self.group.repeats,
                        ..Group::NEW
                    };
                    self.push('|');
                    Before::Nothing
                }
                '^' | '$' => {
                    self.push(c);
                    self.atom(1, true)
                }
                '*' | '+' | '?' => {
                    self.repeat(before, u32::from(c == '+'), 1)?;
                    self.push(c);
                    self.lazy()
                }
                '{' => self.braces(before)?,
                c => {
                    self.push(c);
                    self.atom(1, false)
                }
            };
        }
        match self.outer.is_empty() {
            true => Ok(()),
            false => Err(RegexError("it opens a parenthesis that it does not close")),
        }
    }

    /// After a `(`.
    fn open(&mut self) -> Result<Before, RegexError> {
        self.push('(');
        if self.next_if('?').is_some() && !self.group_head()? {
            return Ok(Before::Nothing);
        }
        self.outer.push(std::mem::replace(&mut self.group, Group::NEW));
        if self.outer.len() > MAX_GROUPS {
            return Err(RegexError("its groups nest too deep"));
        }
        Ok(Before::Nothing)
    }

    /// After `(?`: `(?flags)`, `(?flags:…)`, `(?P<name>…)` or `(?<name>…)`. Returns whether the group is still open:
    /// flags alone close theirs.
    fn group_head(&mut self) -> Result<bool, RegexError> {
        const FLAGS: RegexError = RegexError("RE2 has no other flags than i, m, s and U, and no look-around");
        self.push('?');
        if self.next_if('P').is_some() {
            return match self.next() {
                Some('<') => self.group_name(),
                _ => Err(FLAGS),
            };
        }
        if self.next_if('<').is_some() {
            return self.group_name();
        }
        // Those that are set, and those that are unset after a `-`; of both, the last word holds.
        let (mut set, mut unset, mut negated) = (String::new(), String::new(), false);
        let is_open = loop {
            match self.next() {
                Some(flag @ ('i' | 'm' | 's' | 'U')) => {
                    let into = if negated { &mut unset } else { &mut set };
                    if !into.contains(flag) {
                        into.push(flag);
                    }
                }
                Some('-') if !negated => negated = true,
                Some(end @ (':' | ')')) if !negated || !unset.is_empty() => break end == ':',
                Some(_) => return Err(FLAGS),
                None => return Err(RegexError("it ends in the middle of a group")),
            }
        };
        set.retain(|flag| !unset.contains(flag));
        self.push_str(&set);
        if !unset.is_empty() {
            self.push('-');
            self.push_str(&unset);
        }
        match (is_open, set.is_empty() && unset.is_empty()) {
            // Flags that are none; the crate knows no `(?)`.
            (false, true) => self.push_str(":)"),
            (false, false) => self.push(')'),
            (true, _) => self.push(':'),
        }
        Ok(is_open)
    }

    fn group_name(&mut self) -> Result<bool, RegexError> {
        let name = self
            .up_to('>')
            .ok_or(RegexError("it ends in the middle of a group"))?;
        let is_word = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !is_word || !name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
            return Err(RegexError(
                "the name of a group has letters, digits and `_` only, and no digit first",
            ));
        }
        if self.names.contains(&name) {
            return Err(RegexError("two of its groups have the same name"));
        }
        self.push_str("P<");
        self.push_str(name);
        self.push('>');
        self.names.push(name);
        Ok(true)
    }

    /// Checks that what stands before can be repeated so often.
    fn repeat(&mut self, before: Before, least: u32, most: u32) -> Result<(), RegexError> {
        let inside = match before {
            Before::Atom(inside) => inside,
            Before::Nothing => {
                return Err(RegexError(
                    "a repetition (`*`, `+`, `?`, `{…}`) has nothing before it to repeat",
                ));
            }
            Before::Repetition => return Err(RegexError("it repeats a repetition")),
        };
        let times = most.max(1).saturating_mul(inside);
        if times > MAX_REPEAT {
            return Err(RegexError("it repeats more than 1000 times"));
        }
        self.group.repeats = times.max(self.group.repeats);
        self.group.last_is_empty |= least == 0;
        Ok(())
    }

    /// A `?` after a repetition.
    fn lazy(&mut self) -> Before {
        if self.next_if('?').is_some() {
            self.push('?');
        }
        Before::Repetition
    }

    /// After a `{`, which is a character as any other where it begins no `{3}`, `{3,}` or `{3,5}`.
    fn braces(&mut self, before: Before) -> Result<Before, RegexError> {
        let Some((written, least, most)) = bounds(self.rest) else {
            self.literal('{');
            return Ok(self.atom(1, false));
        };
        if most.is_some_and(|most| most < least) {
            return Err(RegexError("a repetition's bounds are in the wrong order"));
        }
        self.repeat(before, least, most.unwrap_or(least))?;
        self.push('{');
        self.push_str(written);
        self.rest = &self.rest[written.len()..];
        Ok(self.lazy())
    }
}

/// The bounds of a repetition behind its `{`, as they are written, `}` included, and as numbers.
fn bounds(rest: &str) -> Option<(&str, u32, Option<u32>)> {
    let len = rest
        .bytes()
        .take_while(|b| b.is_ascii_digit() || *b == b',')
        .count();
    let inside = &rest[..len];
    let written = rest[len..].starts_with('}').then(|| &rest[..=len])?;
    // As RE2 reads numbers: no zero in front. One that does not fit is too large anyway.
    let number = |text: &str| {
        let is_number = text == "0" || !text.is_empty() && !text.starts_with('0') && !text.contains(',');
        is_number.then(|| text.parse().unwrap_or(u32::MAX))
    };
    match inside.split_once(',') {
        None => number(inside).map(|times| (written, times, Some(times))),
        Some((least, "")) => number(least).map(|least| (written, least, None)),
        Some((least, most)) => Some((written, number(least)?, Some(number(most)?))),
    }
}
