//! From text to the pieces that a query is written in.
//!
//! A query may come in several texts: a template has holes between them, and branches that join. So the lexer is a
//! state between two pieces that can be cloned and compared, and strings and comments may go on in the next text.
//!
//! *Source*: `promql/parser/lex.go` and `util/strutil/quote.go` of Prometheus 3.

use crate::features::Features;
use crate::literal::{self, Unit};

/// Where in a query the text has come to: in code, in a comment or in a string.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lexer {
    within: Within,
    /// Names have colons, but in `[5m:1m]` it stands alone.
    in_brackets: bool,
    /// Names have letters of all scripts, and dots.
    has_unquoted_names: bool,
}

/// What a text stands in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Within {
    /// Between two pieces of code.
    #[default]
    Code,
    /// After `#`, up to the end of the line.
    Comment,
    /// After a quote.
    String(Quote),
}

/// The quotes of a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quote {
    /// `"`
    Double,
    /// `'`
    Single,
    /// A backtick: what stands in it has no escapes and may have several lines.
    Raw,
}

/// A piece of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Spaces, tabs and ends of lines.
    Space,
    /// A comment or a part of one, without the end of its line.
    Comment,
    /// The quote that begins a string.
    Open(Quote),
    /// Characters of a string that stand for themselves.
    Text,
    /// An escape in a string, and what it stands for.
    Escape(Unit),
    /// The quote that ends a string.
    Close,
    /// A number or a duration, as far as its characters go; see [`literal::quantity`].
    Quantity,
    /// A name, a keyword, or a number in words: which one it is, only its surroundings tell.
    Word,
    /// An operator or a bracket.
    Sign(&'static str),
}

/// Why a text is not made of pieces of PromQL, at the place that the lexer has come to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LexError {
    /// A string in quotes ends with its line or with the query.
    #[error("{}", match .0 {
        Quote::Raw => "unterminated raw string",
        Quote::Double | Quote::Single => "unterminated quoted string",
    })]
    Unterminated(Quote),
    /// A backslash in a string begins no escape of PromQL.
    #[error("{0}")]
    Escape(String),
    /// A character begins nothing.
    #[error("unexpected character: {0:?}{1}")]
    Unexpected(char, &'static str),
}

/// Longer ones first.
const SIGNS: [&str; 26] = [
    "==", "!=", "=~", "!~", "<=", ">=", "</", ">/", "=", "<", ">", "+", "-", "*", "/", "%", "^", "(", ")",
    "{", "}", "[", "]", ",", "@", ":",
];

// === impl Lexer ===

impl Lexer {
    /// Also with what is experimental.
    pub(crate) fn with_features(features: Features) -> Self {
        Self {
            has_unquoted_names: features.unquoted_utf8_names,
            ..Self::default()
        }
    }

    /// What the next character stands in.
    pub fn within(&self) -> Within {
        self.within
    }

    /// Reads the next piece of `text` and steps over it; returns it with its length in bytes. `None` at the end of
    /// the text, which need not be the end of the query.
    ///
    /// *Errors*: [`LexError`]; the lexer stays where it is.
    pub fn next(&mut self, text: &str) -> Result<Option<(Piece, usize)>, LexError> {
        if text.is_empty() {
            return Ok(None);
        }
        let read = match self.within {
            Within::String(quote) => self.in_string(quote, text)?,
            Within::Comment => match end_of_line(text) {
                0 => {
                    self.within = Within::Code;
                    self.code(text)?
                }
                len => (Piece::Comment, len),
            },
            Within::Code => self.code(text)?,
        };
        Ok(Some(read))
    }

    /// Whether the query may end here.
    ///
    /// *Errors*: [`LexError::Unterminated`]
    pub fn finish(&self) -> Result<(), LexError> {
        match self.within {
            Within::String(quote) => Err(LexError::Unterminated(quote)),
            Within::Code | Within::Comment => Ok(()),
        }
    }

    fn code(&mut self, text: &str) -> Result<(Piece, usize), LexError> {
        let bytes = text.as_bytes();
        let until = |is_part: &dyn Fn(&u8) -> bool| bytes.iter().take_while(|byte| is_part(byte)).count();
        Ok(match bytes[0] {
            b' ' | b'\t' | b'\n' | b'\r' => (
                Piece::Space,
                until(&|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')),
            ),
            b'#' => {
                self.within = Within::Comment;
                (Piece::Comment, end_of_line(text))
            }
            quote @ (b'"' | b'\'' | b'`') => {
                let quote = Quote::from_byte(quote);
                self.within = Within::String(quote);
                (Piece::Open(quote), 1)
            }
            first
                if first.is_ascii_digit()
                    || first == b'.' && bytes.get(1).is_some_and(u8::is_ascii_digit) =>
            {
                (Piece::Quantity, literal::quantity_len(text))
            }
            _ if text.starts_with(|c| self.is_letter(c)) => (Piece::Word, self.word_len(text)),
            _ => {
                let Some(sign) = SIGNS.iter().find(|sign| text.starts_with(**sign)) else {
                    return Err(unexpected(text));
                };
                match *sign {
                    "[" => self.in_brackets = true,
                    "]" => self.in_brackets = false,
                    _ => {}
                }
                (Piece::Sign(sign), sign.len())
            }
        })
    }

    /// Whether a word may begin with it.
    fn is_letter(&self, c: char) -> bool {
        c.is_ascii_alphabetic()
            || c == '_'
            || c == ':' && !self.in_brackets
            || self.has_unquoted_names && !c.is_ascii() && c.is_alphabetic()
    }

    fn word_len(&self, text: &str) -> usize {
        let is_part =
            |c: char| self.is_letter(c) || c.is_ascii_digit() || self.has_unquoted_names && c == '.';
        text.find(|c| !is_part(c)).unwrap_or(text.len())
    }

    fn in_string(&mut self, quote: Quote, text: &str) -> Result<(Piece, usize), LexError> {
        let bytes = text.as_bytes();
        let is_special = |byte: &u8| match quote {
            Quote::Raw => *byte == b'`',
            _ => matches!(byte, b'\\' | b'\n') || *byte == quote.byte(),
        };
        let len = bytes.iter().position(is_special).unwrap_or(bytes.len());
        Ok(match bytes.get(len) {
            _ if len > 0 => (Piece::Text, len),
            Some(b'\\') => {
                let (unit, len) = literal::escape(bytes, quote.byte()).map_err(LexError::Escape)?;
                (Piece::Escape(unit), len)
            }
            Some(b'\n') => return Err(LexError::Unterminated(quote)),
            _ => {
                self.within = Within::Code;
                (Piece::Close, 1)
            }
        })
    }
}

// === impl Quote ===

impl Quote {
    fn from_byte(byte: u8) -> Self {
        match byte {
            b'"' => Self::Double,
            b'\'' => Self::Single,
            _ => Self::Raw,
        }
    }

    /// The character that is written before and after the string.
    pub fn char(self) -> char {
        char::from(self.byte())
    }

    fn byte(self) -> u8 {
        match self {
            Self::Double => b'"',
            Self::Single => b'\'',
            Self::Raw => b'`',
        }
    }
}

fn end_of_line(text: &str) -> usize {
    text.find(['\n', '\r']).unwrap_or(text.len())
}

fn unexpected(text: &str) -> LexError {
    let mut chars = text.chars();
    let (first, next) = (chars.next().unwrap_or_default(), chars.next());
    let hint = match first {
        '!' => ": there is `!=` and `!~`, and `unless` for \"not\"",
        '~' => ": regular expressions are compared with `=~` and `!~`",
        '&' => ": \"and\" is written `and`",
        '|' => ": \"or\" is written `or`",
        '$' if next.is_some_and(|c| c == '{' || c == '_' || c.is_alphabetic()) => {
            ": PromQL has no variables; was a template not filled in?"
        }
        '\u{201c}' | '\u{201d}' | '\u{2018}' | '\u{2019}' => ": quotes are straight ones",
        _ => "",
    };
    LexError::Unexpected(first, hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pieces of a query that comes in `texts`, without space.
    fn pieces<'t>(texts: &[&'t str]) -> Result<Vec<(Piece, &'t str)>, LexError> {
        let (mut lexer, mut pieces) = (Lexer::default(), Vec::new());
        for text in texts {
            let mut rest = *text;
            while let Some((piece, len)) = lexer.next(rest)? {
                if piece != Piece::Space {
                    pieces.push((piece, &rest[..len]));
                }
                rest = &rest[len..];
            }
        }
        lexer.finish().map(|()| pieces)
    }

    fn texts<'t>(texts: &[&'t str]) -> Vec<&'t str> {
        pieces(texts)
            .expect("pieces")
            .into_iter()
            .map(|(_, text)| text)
            .collect()
    }

    #[test]
    fn code_is_read_in_pieces() {
        let check = |text: &str, expected: &[&str]| assert_eq!(texts(&[text]), expected, "{text}");
        check("", &[]);
        check(" \t\r\n", &[]);
        check("a:b{c!~\"d\"}", &["a:b", "{", "c", "!~", "\"", "d", "\"", "}"]);
        check("a[1h:5m]", &["a", "[", "1h", ":", "5m", "]"]);
        check("1e+3-.5<=0x1F", &["1e+3", "-", ".5", "<=", "0x1F"]);
        check("'a\\n`'", &["'", "a", "\\n", "`", "'"]);
        check("`a\\n\n`", &["`", "a\\n\n", "`"]);
        check("a==b=c", &["a", "==", "b", "=", "c"]);
    }

    #[test]
    fn names_have_letters_and_dots_where_that_is_switched_on() {
        let words = |text: &'static str, features| {
            let (mut lexer, mut rest, mut words) = (Lexer::with_features(features), text, Vec::new());
            while let Some((piece, len)) = lexer.next(rest).ok()? {
                if piece == Piece::Word {
                    words.push(&rest[..len]);
                }
                rest = &rest[len..];
            }
            Some(words)
        };
        for (text, expected) in [
            ("a.b..c.{温度.é='1'}", &["a.b..c.", "温度.é"][..]),
            ("Inf.total + Inf", &["Inf.total", "Inf"]),
            ("_:ö.9 + .5 + 5.e1", &["_:ö.9"]),
            ("a[5m:1m]", &["a"]),
        ] {
            assert_eq!(words(text, Features::all()).as_deref(), Some(expected), "{text}");
        }
        // A mark, a digit of another script, a number that is no digit, and what is no letter at all.
        for text in ["o\u{308}", "a١", "a²", "a·b", "😀", ".a"] {
            assert_eq!(words(text, Features::all()), None, "{text}");
        }
        assert_eq!(words("a.b", Features::default()), None);
        assert_eq!(words("é", Features::default()), None);
    }

    #[test]
    fn a_comment_ends_with_its_line() {
        let check = |text: &str, expected: &[&str]| assert_eq!(texts(&[text]), expected, "{text:?}");
        check("up # x\n + 1", &["up", "# x", "+", "1"]);
        check("up # x\r + 1", &["up", "# x", "+", "1"]);
        check("up # x\r\n# y", &["up", "# x", "# y"]);
        check("#\r1", &["#", "1"]);
    }

    #[test]
    fn strings_and_comments_go_on_in_the_next_text() {
        let check = |given: &[&str], expected: &[&str]| assert_eq!(texts(given), expected, "{given:?}");
        check(&["a # x", "y\r", "b"], &["a", "# x", "y", "b"]);
        check(&["a # x", "\nb"], &["a", "# x", "b"]);
        check(&["{a=\"b", "c\"}"], &["{", "a", "=", "\"", "b", "c", "\"", "}"]);
        check(&["a[", ":5m", "]:b"], &["a", "[", ":", "5m", "]", ":b"]);
    }

    #[test]
    fn what_is_no_piece_has_a_reason() {
        let check = |text: &str, expected: &str| {
            assert_eq!(pieces(&[text]).expect_err(text).to_string(), expected);
        };
        check("\"a", "unterminated quoted string");
        check("'a\n'", "unterminated quoted string");
        check("`a\n", "unterminated raw string");
        check("\"\\q\"", "unknown escape sequence \\q");
        check(
            "a ! b",
            "unexpected character: '!': there is `!=` and `!~`, and `unless` for \"not\"",
        );
        check("é", "unexpected character: 'é'");
        check(
            "$__interval",
            "unexpected character: '$': PromQL has no variables; was a template not filled in?",
        );
        check("a;", "unexpected character: ';'");
    }
}
