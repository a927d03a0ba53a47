//! From text to tokens, each with its place.

use super::error::ParseError;
use super::literal::{self, Quantity};

/// A piece of a query.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) kind: Kind,
    /// *Unit*: bytes.
    pub(super) start: usize,
    pub(super) end: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    Number(f64),
    /// *Unit*: seconds.
    Duration(f64),
    Text(String),
    /// A name or a keyword: which one it is, only its surroundings tell.
    Word,
    /// An operator or a bracket.
    Sign(&'static str),
    End,
}

/// Longer ones first.
const SIGNS: [&str; 25] = [
    "==", "!=", "=~", "!~", "<=", ">=", "=", "<", ">", "+", "-", "*", "/", "%", "^", "(", ")", "{", "}", "[",
    "]", ",", "@", ":", ";",
];

/// The tokens of `query`; the last one is the end.
pub(super) fn tokens(query: &str) -> Result<Vec<Token>, ParseError> {
    let mut tokens = Vec::new();
    let mut at = 0;
    // Names have colons, but in `[5m:1m]` it stands alone.
    let mut in_brackets = false;
    loop {
        at += query[at..].len() - query[at..].trim_start_matches([' ', '\t', '\n', '\r']).len();
        let rest = &query[at..];
        let Some(first) = rest.chars().next() else {
            tokens.push(Token {
                kind: Kind::End,
                start: at,
                end: at,
            });
            return Ok(tokens);
        };
        let fail = |(place, message): literal::Fault| ParseError::new(query, at + place, message);
        let (kind, len) = match first {
            '#' => {
                at += rest.find('\n').unwrap_or(rest.len());
                continue;
            }
            '"' | '\'' | '`' => {
                let (text, len) = literal::string(rest).map_err(fail)?;
                (Kind::Text(text), len)
            }
            c if c.is_ascii_digit() || c == '.' && rest[1..].starts_with(|d: char| d.is_ascii_digit()) => {
                let (quantity, len) = literal::quantity(rest).map_err(fail)?;
                match quantity {
                    Quantity::Number(value) => (Kind::Number(value), len),
                    Quantity::Duration(seconds) => (Kind::Duration(seconds), len),
                }
            }
            c if c.is_ascii_alphabetic() || c == '_' || c == ':' && !in_brackets => {
                let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':' && !in_brackets;
                let len = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
                (word(&rest[..len]), len)
            }
            c => {
                let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) else {
                    return Err(fail((0, unexpected(c, rest))));
                };
                in_brackets = match *sign {
                    "[" => true,
                    "]" => false,
                    _ => in_brackets,
                };
                (Kind::Sign(sign), sign.len())
            }
        };
        tokens.push(Token {
            kind,
            start: at,
            end: at + len,
        });
        at += len;
    }
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

fn unexpected(c: char, rest: &str) -> String {
    let hint = match c {
        '!' => ": there is `!=` and `!~`, and `unless` for \"not\"",
        '&' => ": \"and\" is written `and`",
        '|' => ": \"or\" is written `or`",
        '$' if rest[1..].starts_with('{') || rest[1..].starts_with(|c: char| c.is_alphabetic()) => {
            ": PromQL has no variables; was a template not filled in?"
        }
        '\u{201c}' | '\u{201d}' | '\u{2018}' | '\u{2019}' => ": quotes are straight ones",
        _ => "",
    };
    format!("unexpected character: {c:?}{hint}")
}
