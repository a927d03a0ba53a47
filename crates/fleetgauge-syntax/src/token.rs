//! The tokens of a whole query, each with its place.

use crate::error::ParseError;
use crate::features::Features;
use crate::lexer::{LexError, Lexer, Piece};
use crate::literal::{self, Quantity, Unit};

/// A piece of a query.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    /// *Unit*: bytes.
    pub(crate) start: usize,
    pub(crate) end: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    Number(f64),
    /// *Unit*: seconds.
    Duration(f64),
    Text(String),
    /// A string that is not UTF-8.
    Bytes(Vec<u8>),
    /// A name or a keyword: which one it is, only its surroundings tell.
    Word,
    /// An operator or a bracket.
    Sign(&'static str),
    End,
}

/// The tokens of `query`; the last one is the end.
pub(crate) fn tokens(query: &str, features: Features) -> Result<Vec<Token>, ParseError> {
    let (mut lexer, mut tokens, mut at) = (Lexer::with_features(features), Vec::new(), 0);
    // Where the string began that the lexer is in, and what it holds so far.
    let (mut opened, mut text) = (0, Vec::new());
    let fail = |at, opened, error: LexError| {
        let at = if matches!(error, LexError::Unterminated(_)) {
            opened
        } else {
            at
        };
        ParseError::new(query, at, error.to_string())
    };
    while let Some((piece, len)) = lexer
        .next(&query[at..])
        .map_err(|error| fail(at, opened, error))?
    {
        let written = &query[at..at + len];
        let mut start = at;
        at += len;
        let kind = match piece {
            Piece::Space | Piece::Comment => continue,
            Piece::Open(_) => {
                opened = start;
                continue;
            }
            Piece::Text => {
                text.extend_from_slice(written.as_bytes());
                continue;
            }
            Piece::Escape(Unit::Byte(byte)) => {
                text.push(byte);
                continue;
            }
            Piece::Escape(Unit::Char(c)) => {
                text.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
            Piece::Close => {
                start = opened;
                match String::from_utf8(std::mem::take(&mut text)) {
                    Ok(text) => Kind::Text(text),
                    Err(error) => Kind::Bytes(error.into_bytes()),
                }
            }
            Piece::Quantity => match literal::quantity(written) {
                Ok(Quantity::Number(value)) => Kind::Number(value),
                Ok(Quantity::Duration(seconds)) => Kind::Duration(seconds),
                Err(why) => return Err(ParseError::new(query, start, why)),
            },
            Piece::Word => word(written),
            Piece::Sign(sign) => Kind::Sign(sign),
        };
        tokens.push(Token { kind, start, end: at });
    }
    lexer.finish().map_err(|error| fail(at, opened, error))?;
    tokens.push(Token {
        kind: Kind::End,
        start: at,
        end: at,
    });
    Ok(tokens)
}

fn word(word: &str) -> Kind {
    if word.eq_ignore_ascii_case("inf") {
        Kind::Number(f64::INFINITY)
    } else if word.eq_ignore_ascii_case("nan") {
        Kind::Number(f64::NAN)
    } else {
        Kind::Word
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_read_as_go_writes_them() {
        let check = |text: &str, expected: &str| {
            let [token, _] = &tokens(text, Features::default()).expect(text)[..] else {
                panic!("{text} is not one token");
            };
            assert_eq!(token.kind, Kind::Text(expected.to_owned()), "{text}");
            assert_eq!((token.start, token.end), (0, text.len()), "{text}");
        };
        check(r#""a'b`c""#, "a'b`c");
        check("'a\"b'", "a\"b");
        check(r#""\n\t\\\"""#, "\n\t\\\"");
        check(r#""\x41\101\u00e9\U0001F600""#, "AAé😀");
        check(r#""\xc3\xa9""#, "é");
        check(r"`\d+\`", r"\d+\");
        check("`a\nb`", "a\nb");
        check(r"'\''", "'");
    }

    #[test]
    fn what_is_no_string_is_refused_where_it_goes_wrong() {
        let check = |text: &str, at: usize, why: &str| {
            let error = tokens(text, Features::default()).expect_err(text);
            assert_eq!(error.offset(), at, "{text}");
            assert!(error.message().contains(why), "{text}: {error}");
        };
        check("\"abc", 0, "unterminated quoted string");
        check("\"a\nb\"", 0, "unterminated quoted string");
        check("`abc", 0, "unterminated raw string");
        check(r#""a\d""#, 2, r"unknown escape sequence \d");
        check(r#""\'""#, 1, r"unknown escape sequence \'");
        check(r#""\x4""#, 1, "needs 2 digits");
        check(r#""\ud800""#, 1, "invalid Unicode code point");
        check(r#""\777""#, 1, "larger than a byte");
        check("\"\\", 1, "not terminated");
    }
}
