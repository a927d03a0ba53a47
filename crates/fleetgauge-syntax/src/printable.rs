//! Text from elsewhere, as it may be printed.
//!
//! Names and values of labels, warnings of servers and names of files may hold any character, and a terminal obeys
//! some: they change colours, move the cursor, reorder or hide what stands beside them. Whatever prints such text
//! prints it by what is here, so that one place decides which characters are shown as they are.

use std::fmt::{self, Write as _};

/// Prints a text on one line: characters that are not [printable](is_printable) are escaped, as `\n` and `\u{1b}`.
///
/// ```
/// use fleetgauge_syntax::printable::Printable;
///
/// assert_eq!(Printable("a\u{1b}[31mb\nc").to_string(), r"a\u{1b}[31mb\nc");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Printable<'a>(pub &'a str);

/// Prints a text in double quotes, with the escapes of PromQL and of Go: `"a\x1b[31mb\u202e"`. PromQL reads it as the
/// same text.
///
/// ```
/// use fleetgauge_syntax::printable::Quoted;
///
/// assert_eq!(Quoted("a\"\u{1b}\u{202e}").to_string(), r#""a\"\x1b\u202e""#);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Quoted<'a>(pub &'a str);

/// Prints the beginning of a text, [quoted](Quoted): what a message may echo of what somebody wrote, however long it
/// is.
///
/// ```
/// use fleetgauge_syntax::printable::Excerpt;
///
/// assert_eq!(Excerpt("a\u{1b}[31m").to_string(), r#""a\x1b[31m""#);
/// assert!(Excerpt(&"a".repeat(1_000_000)).to_string().ends_with("aaa\"… (1000000 bytes)"));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Excerpt<'a>(pub &'a str);

/// Prints how bytes begin that should have been text, in double quotes: line feeds and other gaps as blanks, what else is not
/// [printable](is_printable) with the escapes of Go, and bytes that are no text as `\xff`. At most so many characters are
/// shown, escapes included, and no escape is cut.
///
/// ```
/// use fleetgauge_syntax::printable::ExcerptBytes;
///
/// assert_eq!(ExcerptBytes(b"a\n\x1b\xff", 80).to_string(), r#""a \x1b\xff""#);
/// assert_eq!(ExcerptBytes(&[0; 1000], 10).to_string(), r#""\x00\x00…""#);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ExcerptBytes<'a>(pub &'a [u8], pub usize);

/// How much an excerpt shows. *Unit*: characters.
const EXCERPT: usize = 48;

/// Whether a terminal shows a character as itself: it is not a control character, and does not reorder, hide or part the
/// text around it.
///
/// *Source*: the characters of [UAX #9](https://www.unicode.org/reports/tr9/) that set the direction of text, the
/// line and paragraph separators, and those without width that [UTS #39](https://www.unicode.org/reports/tr39/) warns
/// of.
pub fn is_printable(c: char) -> bool {
    if c.is_ascii() {
        return !c.is_ascii_control();
    }
    !matches!(c,
        '\u{80}'..='\u{9f}'
        | '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180e}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}')
}

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        pieces(f, self.0, is_printable, |f, c| {
            write!(f, "{}", c.escape_default())
        })
    }
}

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_plain = |c| is_printable(c) && c != '"' && c != '\\';
        f.write_char('"')?;
        pieces(f, self.0, is_plain, |f, c| match (c, u32::from(c)) {
            ('"' | '\\', _) => write!(f, "\\{c}"),
            ('\n', _) => f.write_str("\\n"),
            ('\t', _) => f.write_str("\\t"),
            ('\r', _) => f.write_str("\\r"),
            (_, code @ ..0x80) => write!(f, "\\x{code:02x}"),
            (_, code @ ..0x1_0000) => write!(f, "\\u{code:04x}"),
            (_, code) => write!(f, "\\U{code:08x}"),
        })?;
        f.write_char('"')
    }
}

impl fmt::Display for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(EXCERPT) {
            None => Quoted(self.0).fmt(f),
            Some((end, _)) => write!(f, "{}… ({} bytes)", Quoted(&self.0[..end]), self.0.len()),
        }
    }
}

impl fmt::Display for ExcerptBytes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(bytes, limit) = *self;
        // A character takes at most four bytes: what lies further behind cannot be shown.
        let begin = &bytes[..bytes.len().min(limit.saturating_mul(4).saturating_add(4))];
        let pieces = begin.utf8_chunks().flat_map(|chunk| {
            let valid = chunk.valid().chars().map(|c| match c {
                '"' | '\\' => format!("\\{c}"),
                _ if c.is_whitespace() => " ".to_owned(),
                _ if is_printable(c) => c.to_string(),
                _ => match u32::from(c) {
                    code @ ..0x80 => format!("\\x{code:02x}"),
                    code @ ..0x1_0000 => format!("\\u{code:04x}"),
                    code => format!("\\U{code:08x}"),
                },
            });
            let invalid = chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}"));
            valid.chain(invalid)
        });
        f.write_char('"')?;
        let mut left = limit;
        for piece in pieces {
            let Some(rest) = left.checked_sub(piece.chars().count()) else {
                f.write_char('…')?;
                break;
            };
            left = rest;
            f.write_str(&piece)?;
        }
        f.write_char('"')
    }
}

/// Writes what is plain as it is, a piece at a time, and the rest by `escape`.
fn pieces(
    f: &mut fmt::Formatter<'_>,
    text: &str,
    is_plain: impl Fn(char) -> bool,
    escape: impl Fn(&mut fmt::Formatter<'_>, char) -> fmt::Result,
) -> fmt::Result {
    let mut rest = text;
    while let Some((at, c)) = rest.char_indices().find(|(_, c)| !is_plain(*c)) {
        f.write_str(&rest[..at])?;
        escape(f, c)?;
        rest = &rest[at + c.len_utf8()..];
    }
    f.write_str(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_escaped() {
        let check = |text: &str, printed: &str, quoted: &str| {
            assert_eq!(Printable(text).to_string(), printed);
            assert_eq!(Quoted(text).to_string(), format!("\"{quoted}\""));
        };
        check("", "", "");
        check("llama-8b ü 模型 🦙", "llama-8b ü 模型 🦙", "llama-8b ü 模型 🦙");
        check("a\\\"b", "a\\\"b", "a\\\\\\\"b");
        check("\n\t\r", r"\n\t\r", r"\n\t\r");
        check(
            "\0\u{1b}[31m\u{7}\u{7f}",
            r"\u{0}\u{1b}[31m\u{7}\u{7f}",
            r"\x00\x1b[31m\x07\x7f",
        );
        check("\u{9b}31m\u{85}", r"\u{9b}31m\u{85}", r"\u009b31m\u0085");
        check("\u{e0041}x", r"\u{e0041}x", r"\U000e0041x");
        for c in "\u{202a}\u{202e}\u{2066}\u{2069}\u{200e}\u{200f}\u{61c}\u{200b}\u{200d}\u{2028}\u{2029}\u{feff}\u{ad}".chars() {
            let code = u32::from(c);
            let text = format!("a{c}b");
            check(&text, &format!("a\\u{{{code:x}}}b"), &format!("a\\u{code:04x}b"));
        }
    }

    #[test]
    fn an_excerpt_of_a_long_text_is_cut() {
        assert_eq!(Excerpt("a\"\n").to_string(), r#""a\"\n""#);
        let shown = Excerpt(&"日".repeat(1000)).to_string();
        assert!(
            shown.ends_with("\"… (3000 bytes)") && shown.chars().count() < 80,
            "{shown}"
        );
    }

    #[test]
    fn bytes_that_are_no_text_are_shown_in_escapes() {
        let check = |bytes: &[u8], expected: &str| {
            assert_eq!(ExcerptBytes(bytes, 80).to_string(), format!("\"{expected}\""));
        };
        check(b"", "");
        check(b"<a b=\"c\\\">\n\t d", r#"<a b=\"c\\\">   d"#);
        check(
            "Größe\u{202e}\u{fffd}\u{e0041}".as_bytes(),
            "Größe\\u202e\u{fffd}\\U000e0041",
        );
        check(b"\x1f\x8b\x08\0a\xff\xc3", r"\x1f\x8b\x08\x00a\xff\xc3");
        let long = |piece: &str, times| format!("{}…", piece.repeat(times));
        check(&[0xff; 1000], &long(r"\xff", 20));
        check(&[0; 1000], &long(r"\x00", 20));
        check("\u{202e}".repeat(100).as_bytes(), &long(r"\u202e", 13));
        check("ü".repeat(1000).as_bytes(), &long("ü", 80));
        check("🦙".repeat(80).as_bytes(), &"🦙".repeat(80));
        check("🦙".repeat(82).as_bytes(), &long("🦙", 80));
    }

    #[test]
    fn what_debug_escapes_for_its_direction_is_not_printable() {
        // Messages quote by `{:?}` as well; neither may let through what the other escapes.
        let escaped = |c: char| c.escape_debug().to_string().starts_with("\\u{");
        let controls = (0..0x11_0000)
            .filter_map(char::from_u32)
            .filter(|c| c.is_control());
        let of_uax_9 = [
            '\u{61c}', '\u{200e}', '\u{200f}', '\u{202a}', '\u{202e}', '\u{2066}', '\u{2069}',
        ];
        for c in controls.chain(of_uax_9) {
            let by_name = matches!(c, '\0' | '\t' | '\n' | '\r');
            assert!(!is_printable(c) && (by_name || escaped(c)), "{c:?}");
        }
    }
}
