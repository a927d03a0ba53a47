//! Texts of others in messages: quoted, escaped and cut to a length that a log line stands.

use std::fmt;

/// How much is shown. *Unit*: characters.
const MOST: usize = 48;

/// A text as a message may show it, whatever it holds and however long it is.
///
/// ```
/// use fleetgauge_core::excerpt::Excerpt;
///
/// assert_eq!(Excerpt("a\u{1b}[31m").to_string(), r#""a\u{1b}[31m""#);
/// assert!(Excerpt(&"a".repeat(1_000_000)).to_string().ends_with("aaa\"… (1000000 bytes)"));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Excerpt<'a>(pub &'a str);

impl fmt::Display for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(MOST) {
            None => write!(f, "{:?}", self.0),
            Some((end, _)) => write!(f, "{:?}… ({} bytes)", &self.0[..end], self.0.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_and_others_quoted() {
        assert_eq!(Excerpt("a\"\n").to_string(), r#""a\"\n""#);
        let shown = Excerpt(&"日".repeat(1000)).to_string();
        assert!(
            shown.ends_with("… (3000 bytes)") && shown.chars().count() < 80,
            "{shown}"
        );
    }
}
