//! The tokens of a Go template.
//!
//! A port of the rules of `text/template/parse/lex.go`: delimiters, trim markers, comments, and what may stand
//! next to what inside an action. Everything that Go's lexer refuses is refused here, with its place.
//!
//! *Source*: <https://pkg.go.dev/text/template>, "Text and spaces", "Actions".

use super::error::{Fault, Offset};

/// One token and the source that it was read from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Token<'s> {
    pub(super) kind: TokenKind,
    pub(super) text: &'s str,
    pub(super) at: Offset,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// Text outside of actions, already trimmed as the markers beside it ask.
    Text,
    Open,
    Close,
    Space,
    /// A name or a keyword.
    Word,
    /// `.name`
    Field,
    /// `$` or `$name`
    Variable,
    Dot,
    /// `"…"`, with its quotes.
    Quoted,
    /// `` `…` ``, with its quotes.
    Raw,
    /// `'…'`, with its quotes.
    Char,
    Number,
    Assign,
    Declare,
    Pipe,
    Comma,
    LeftParen,
    RightParen,
    End,
}

/// What the lexer stands on.
struct Lexer<'s> {
    source: &'s str,
    at: Offset,
    tokens: Vec<Token<'s>>,
}

/// Splits a template into tokens; the last one is [`TokenKind::End`].
pub(super) fn lex(source: &str) -> Result<Vec<Token<'_>>, Fault> {
    let mut lexer = Lexer {
        source,
        at: 0,
        tokens: Vec::new(),
    };
    let mut trim = false;
    while let Some(open) = lexer.text(trim) {
        trim = lexer.action(open)?;
    }
    lexer.push(TokenKind::End, source.len());
    Ok(lexer.tokens)
}

/// What Go's lexer takes for space, and trims.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

/// What Go's lexer takes for a part of a word.
pub(super) fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

// === impl Lexer ===

impl<'s> Lexer<'s> {
    fn rest(&self) -> &'s str {
        &self.source[self.at..]
    }

    fn push(&mut self, kind: TokenKind, from: Offset) {
        self.tokens.push(Token {
            kind,
            text: &self.source[from..self.at],
            at: from,
        });
    }

    /// Reads text up to the next action and steps over its `{{`; answers where that is.
    fn text(&mut self, trim: bool) -> Option<Offset> {
        if trim {
            self.at = self.source.len() - self.rest().trim_start_matches(is_space).len();
        }
        let (from, found) = (self.at, self.rest().find("{{"));
        let end = found.map_or(self.source.len(), |found| from + found);
        self.at = end;
        let mut text = &self.source[from..end];
        if found.is_some() && self.trims_left() {
            text = text.trim_end_matches(is_space);
        }
        if !text.is_empty() {
            self.tokens.push(Token {
                kind: TokenKind::Text,
                text,
                at: from,
            });
        }
        found.map(|_| end)
    }

    /// Whether the action here opens with `{{- `.
    fn trims_left(&self) -> bool {
        let mut after = self.rest()[2..].chars();
        after.next() == Some('-') && after.next().is_some_and(is_space)
    }

    /// Reads one action, or skips one comment; answers whether its end trims the text that follows.
    fn action(&mut self, open: Offset) -> Result<bool, Fault> {
        self.at += if self.trims_left() { 4 } else { 2 };
        if self.rest().starts_with("/*") {
            return self.comment(open);
        }
        self.tokens.push(Token {
            kind: TokenKind::Open,
            text: "{{",
            at: open,
        });
        loop {
            let from = self.at;
            if self.rest().starts_with("}}") {
                self.at += 2;
                self.push(TokenKind::Close, from);
                return Ok(false);
            }
            let Some(c) = self.rest().chars().next() else {
                return Err(Fault::new(open, "unclosed action: write `}}` after it"));
            };
            if is_space(c) {
                self.at = self.source.len() - self.rest().trim_start_matches(is_space).len();
                if self.rest().starts_with("-}}") {
                    self.at += 3;
                    self.push(TokenKind::Close, from);
                    return Ok(true);
                }
                self.push(TokenKind::Space, from);
                continue;
            }
            let kind = self.token(c)?;
            self.push(kind, from);
        }
    }

    fn comment(&mut self, open: Offset) -> Result<bool, Fault> {
        let Some(end) = self.rest().find("*/") else {
            return Err(Fault::new(open, "unclosed comment: write `*/}}` after it"));
        };
        self.at += end + 2;
        if self.rest().starts_with("}}") {
            self.at += 2;
            return Ok(false);
        }
        if self.rest().starts_with(is_space) && self.rest()[1..].starts_with("-}}") {
            self.at += 4;
            return Ok(true);
        }
        Err(Fault::new(
            open,
            "a comment must end in `*/}}` and be the only thing between its braces",
        ))
    }

    /// Steps over one token that starts with `c`.
    fn token(&mut self, c: char) -> Result<TokenKind, Fault> {
        let from = self.at;
        let next = self.rest()[c.len_utf8()..].chars().next();
        let one = match c {
            '=' => TokenKind::Assign,
            '|' => TokenKind::Pipe,
            ',' => TokenKind::Comma,
            '(' => TokenKind::LeftParen,
            ')' => TokenKind::RightParen,
            ':' if next == Some('=') => {
                self.at += 2;
                return Ok(TokenKind::Declare);
            }
            ':' => return Err(Fault::new(from, "expected `:=` here")),
            '"' => return self.quoted('"', TokenKind::Quoted),
            '\'' => return self.quoted('\'', TokenKind::Char),
            '`' => {
                let Some(end) = self.rest()[1..].find('`') else {
                    return Err(Fault::new(
                        from,
                        "unterminated raw string: write a backtick after it",
                    ));
                };
                self.at += end + 2;
                return Ok(TokenKind::Raw);
            }
            '.' if next.is_none_or(|next| !next.is_ascii_digit()) => {
                return self.name(TokenKind::Field, TokenKind::Dot);
            }
            '$' => return self.name(TokenKind::Variable, TokenKind::Variable),
            '.' | '+' | '-' | '0'..='9' => return self.number(),
            c if is_word(c) => {
                self.word();
                self.expect_terminator()?;
                return Ok(TokenKind::Word);
            }
            c => return Err(Fault::new(from, format!("unexpected {c:?} in an action"))),
        };
        self.at += c.len_utf8();
        Ok(one)
    }

    fn word(&mut self) {
        self.at = self.source.len() - self.rest().trim_start_matches(is_word).len();
    }

    /// Steps over a `.` or `$` and the name that follows it, if one does.
    fn name(&mut self, named: TokenKind, bare: TokenKind) -> Result<TokenKind, Fault> {
        self.at += 1;
        let from = self.at;
        self.word();
        self.expect_terminator()?;
        Ok(if self.at == from { bare } else { named })
    }

    /// Go's rule that keeps `.a"b"` and `$x=1` from being two tokens.
    fn expect_terminator(&self) -> Result<(), Fault> {
        match self.rest().chars().next() {
            None | Some(' ' | '\t' | '\r' | '\n' | '.' | ',' | '|' | ':' | ')' | '(') => Ok(()),
            Some(_) if self.rest().starts_with("}}") => Ok(()),
            Some(c) => Err(Fault::new(
                self.at,
                format!("unexpected {c:?} after a name: write a space between them"),
            )),
        }
    }

    fn quoted(&mut self, quote: char, kind: TokenKind) -> Result<TokenKind, Fault> {
        let from = self.at;
        let mut escaped = true; // steps over the opening quote
        for (i, c) in self.rest().char_indices() {
            match c {
                '\n' => break,
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                c if c == quote => {
                    self.at += i + 1;
                    return Ok(kind);
                }
                _ => {}
            }
        }
        Err(Fault::new(
            from,
            format!("unterminated string: write {quote} after it, on the same line"),
        ))
    }

    /// Steps over everything that could belong to a number; whether it is one is for whoever reads the token.
    fn number(&mut self) -> Result<TokenKind, Fault> {
        let (from, bytes) = (self.at, self.source.as_bytes());
        self.at += 1;
        while let Some(c) = self.rest().chars().next() {
            let hex = bytes[from..self.at].contains(&b'x') || bytes[from..self.at].contains(&b'X');
            let exponent = !hex && matches!(bytes[self.at - 1], b'e' | b'E');
            if !(is_word(c) || c == '.' || (exponent && matches!(c, '+' | '-'))) {
                break;
            }
            self.at += c.len_utf8();
        }
        Ok(TokenKind::Number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(source: &str, expected: &str) {
        let shown = match lex(source) {
            Ok(tokens) => {
                let shown: Vec<String> = tokens
                    .iter()
                    .filter(|token| !matches!(token.kind, TokenKind::Space | TokenKind::End))
                    .map(|token| match token.kind {
                        TokenKind::Text => format!("{:?}", token.text),
                        _ => token.text.trim().to_owned(),
                    })
                    .collect();
                shown.join(" ")
            }
            Err(fault) => format!("{}: {}", fault.at, fault.message),
        };
        assert_eq!(shown, expected, "{source:?}");
    }

    #[test]
    fn actions_split_into_tokens() {
        check("", "");
        check("up", "\"up\"");
        check("a{{.x}}b", r#""a" {{ .x }} "b""#);
        check("{{$x:=.a|len}}", "{{ $x := .a | len }}");
        check(r#"{{printf "%s}}" (.x)}}"#, r#"{{ printf "%s}}" ( .x ) }}"#);
        check("{{-3}}{{+1.5e-3}}{{.5}}", "{{ -3 }} {{ +1.5e-3 }} {{ .5 }}");
        check("{{`a\"b`}}{{'}'}}", "{{ `a\"b` }} {{ '}' }}");
        check("{{$.x.y}}", "{{ $ .x .y }}");
    }

    #[test]
    fn markers_trim_and_comments_vanish() {
        check("a \n{{- .x -}}\t b", r#""a" {{ .x -}} "b""#);
        check("a {{.x -}} \n ", r#""a " {{ .x -}}"#);
        check("a {{/* }} \n */}} b", r#""a " " b""#);
        check("a {{- /* x */ -}} b", r#""a" "b""#);
        check("{{- -3 -}}", "{{ -3 -}}");
    }

    #[test]
    fn what_go_refuses_is_refused_with_its_place() {
        check("ab{{.x", "2: unclosed action: write `}}` after it");
        check("{{/* x", "0: unclosed comment: write `*/}}` after it");
        check(
            "{{/* x */ .y}}",
            "0: a comment must end in `*/}}` and be the only thing between its braces",
        );
        check(
            "{{\"a\n\"}}",
            "2: unterminated string: write \" after it, on the same line",
        );
        check("{{`a", "2: unterminated raw string: write a backtick after it");
        check(
            "{{.a\"b\"}}",
            "4: unexpected '\"' after a name: write a space between them",
        );
        check("{{.a & .b}}", "5: unexpected '&' in an action");
        check("{{$x : 1}}", "5: expected `:=` here");
    }
}
