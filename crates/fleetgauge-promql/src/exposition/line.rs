//! Cuts a page into lines.
//!
//! UTF-8 is checked for the whole page at once, which costs a few percent of reading it; only around a line
//! that is not UTF-8 is it checked again, so that this line alone is lost.

use memchr::{memchr, memrchr};

/// The lines of a page, without their line ends.
#[derive(Debug)]
pub(super) struct Lines<'a> {
    /// Whole lines that are UTF-8.
    valid: &'a str,
    /// What comes after, not yet checked.
    rest: &'a [u8],
}

#[derive(Debug, PartialEq)]
pub(super) enum Line<'a> {
    Text(&'a str),
    NotUtf8 { line: &'a [u8], at: usize },
}

impl<'a> Lines<'a> {
    pub(super) fn new(page: &'a [u8]) -> Self {
        Self {
            valid: "",
            rest: page,
        }
    }

    #[inline]
    pub(super) fn next(&mut self) -> Option<Line<'a>> {
        if self.valid.is_empty() {
            return self.check_more();
        }
        let line;
        (line, self.valid) = match memchr(b'\n', self.valid.as_bytes()) {
            Some(end) => (&self.valid[..end], &self.valid[end + 1..]),
            None => (self.valid, ""),
        };
        Some(Line::Text(line.strip_suffix('\r').unwrap_or(line)))
    }

    #[cold]
    fn check_more(&mut self) -> Option<Line<'a>> {
        if self.rest.is_empty() {
            return None;
        }
        let bad_at = match std::str::from_utf8(self.rest) {
            Ok(text) => {
                (self.valid, self.rest) = (text, &[]);
                return self.next();
            }
            Err(error) => error.valid_up_to(),
        };
        let start = memrchr(b'\n', &self.rest[..bad_at]).map_or(0, |newline| newline + 1);
        if start > 0 {
            let (valid, rest) = self.rest.split_at(start);
            // Checked just before, so this does not fail.
            self.valid = std::str::from_utf8(valid).unwrap_or_default();
            self.rest = rest;
            return self.next();
        }
        let (line, rest) = match memchr(b'\n', self.rest) {
            Some(end) => (&self.rest[..end], &self.rest[end + 1..]),
            None => (self.rest, &[][..]),
        };
        self.rest = rest;
        Some(Line::NotUtf8 { line, at: bad_at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(page: &[u8]) -> Vec<Line<'_>> {
        let mut lines = Lines::new(page);
        std::iter::from_fn(|| lines.next()).collect()
    }

    #[test]
    fn lines_end_in_newline_or_the_page() {
        let check = |page: &str, expected: &[&str]| {
            let expected: Vec<_> = expected.iter().map(|l| Line::Text(l)).collect();
            assert_eq!(lines(page.as_bytes()), expected, "{page:?}");
        };
        check("", &[]);
        check("\n", &[""]);
        check("a", &["a"]);
        check("a\nb\n", &["a", "b"]);
        check("a\n\nb", &["a", "", "b"]);
        check("a\r\nb\r\n", &["a", "b"]);
        check("a\r\r\nb\rc", &["a\r", "b\rc"]);
    }

    #[test]
    fn a_line_that_is_not_utf8_is_lost_alone() {
        let not_utf8 = |line, at| Line::NotUtf8 { line, at };
        assert_eq!(
            lines(b"a\nb\xff\nc\n\xfe\n\xfd"),
            [
                Line::Text("a"),
                not_utf8(b"b\xff", 1),
                Line::Text("c"),
                not_utf8(b"\xfe", 0),
                not_utf8(b"\xfd", 0),
            ]
        );
        // A character cut off by a newline, and by the end.
        assert_eq!(
            lines(b"\xe2\x82\nb\n\xe2\x82"),
            [
                not_utf8(b"\xe2\x82", 0),
                Line::Text("b"),
                not_utf8(b"\xe2\x82", 0)
            ]
        );
    }

    proptest! {
        #[test]
        fn every_line_comes_once(page in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'a'), any::<u8>()], 0..200)) {
            let expected = page.split(|&b| b == b'\n').count() - usize::from(page.is_empty() || page.ends_with(b"\n"));
            prop_assert_eq!(lines(&page).len(), expected);
        }
    }
}
