//! Go's literals: strings, characters and numbers, as `strconv` reads them.
//!
//! Answers the value or the reason why there is none. What no text parameter can meet is refused by name
//! (imaginary numbers, hexadecimal floats, bytes that are not UTF-8), never read as something else.
//!
//! *Source*: <https://go.dev/ref/spec#Lexical_elements>.

use fleetgauge_syntax::literal::{Unit, escape};

/// A number or character constant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    Int(i64),
    Float(f64),
}

/// The text of `"…"`, given with its quotes.
pub(super) fn quoted(token: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(token.len());
    let mut rest = inner(token).as_bytes();
    while let [first, others @ ..] = rest {
        if *first != b'\\' {
            bytes.push(*first);
            rest = others;
            continue;
        }
        let (unit, len) = escape(rest, b'"')?;
        match unit {
            Unit::Char(c) => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            Unit::Byte(byte) => bytes.push(byte),
        }
        rest = &rest[len..];
    }
    String::from_utf8(bytes).map_err(|_| "the escapes of this string do not make UTF-8".to_owned())
}

/// The text of a raw string, given with its backticks: carriage returns are dropped, as Go does.
pub(super) fn raw(token: &str) -> String {
    inner(token).replace('\r', "")
}

/// The code point of `'…'`, given with its quotes.
pub(super) fn character(token: &str) -> Result<Number, String> {
    let text = inner(token);
    let (code, len) = match text.chars().next() {
        None => (0, 0),
        Some('\\') => match escape(text.as_bytes(), b'\'')? {
            (Unit::Char(c), len) => (u32::from(c), len),
            (Unit::Byte(byte), len) => (u32::from(byte), len),
        },
        Some(c) => (u32::from(c), c.len_utf8()),
    };
    if len == 0 || len != text.len() {
        return Err("a character constant holds exactly one character".to_owned());
    }
    Ok(Number::Int(code.into()))
}

/// The value of an integer or a float.
pub(super) fn number(token: &str) -> Result<Number, &'static str> {
    let unsigned = token.strip_prefix(['+', '-']).unwrap_or(token);
    let lower = unsigned.to_ascii_lowercase();
    if lower.ends_with('i') {
        return Err("imaginary numbers have no use in a query");
    }
    let digits = underscores_removed(&lower).ok_or("bad number: `_` may only stand between digits")?;
    let (base, digits) = match digits.get(..2) {
        Some("0x") => (16, &digits[2..]),
        Some("0b") => (2, &digits[2..]),
        Some("0o") => (8, &digits[2..]),
        Some(_) if digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit()) => (8, &digits[1..]),
        _ => (10, &*digits),
    };
    if base == 16 && digits.contains(['.', 'p']) {
        return Err("hexadecimal floats are not supported: write the number in decimal");
    }
    let sign = if token.starts_with('-') { "-" } else { "" };
    if !digits.is_empty() && digits.chars().all(|c| c.is_digit(base)) {
        return i64::from_str_radix(&format!("{sign}{digits}"), base)
            .map(Number::Int)
            .map_err(|_| "this number does not fit in 64 bits");
    }
    let is_float = base == 10
        && digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && digits
            .bytes()
            .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'+' | b'-'));
    match format!("{sign}{digits}").parse::<f64>() {
        Ok(float) if is_float && float.is_finite() => Ok(Number::Float(float)),
        _ => Err("bad number"),
    }
}

fn inner(token: &str) -> &str {
    token.get(1..token.len().saturating_sub(1)).unwrap_or_default()
}

/// Go allows `_` between digits and after a base prefix.
fn underscores_removed(number: &str) -> Option<String> {
    let bytes = number.as_bytes();
    for (i, _) in number.match_indices('_') {
        let before = i.checked_sub(1).map(|i| bytes[i]);
        let after = bytes.get(i + 1);
        let prefix = i == 2 && bytes[0] == b'0' && matches!(bytes[1], b'x' | b'b' | b'o');
        let digit_after = after.is_some_and(u8::is_ascii_hexdigit);
        if !digit_after || !(prefix || before.is_some_and(|b| b.is_ascii_hexdigit())) {
            return None;
        }
    }
    Some(number.replace('_', ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        let int = |n| Ok(Number::Int(n));
        let float = |n| Ok(Number::Float(n));
        for (token, expected) in [
            ("0", int(0)),
            ("-42", int(-42)),
            ("0x1F", int(31)),
            ("0b101", int(5)),
            ("0o17", int(15)),
            ("017", int(15)),
            ("1_000", int(1000)),
            ("0x_ff", int(255)),
            ("-9223372036854775808", int(i64::MIN)),
            ("1.5", float(1.5)),
            (".5", float(0.5)),
            ("1e3", float(1000.0)),
            ("-2E-1", float(-0.2)),
            ("1__0", Err("bad number: `_` may only stand between digits")),
            ("9223372036854775808", Err("this number does not fit in 64 bits")),
            ("1i", Err("imaginary numbers have no use in a query")),
            (
                "0x1p3",
                Err("hexadecimal floats are not supported: write the number in decimal"),
            ),
            ("-", Err("bad number")),
            ("08", Err("bad number")),
            ("1.a", Err("bad number")),
            ("1e", Err("bad number")),
            ("1e999", Err("bad number")),
            ("-nan", Err("bad number")),
            ("+-1", Err("bad number")),
        ] {
            assert_eq!(number(token), expected, "{token}");
        }
    }

    #[test]
    fn strings_and_characters() {
        assert_eq!(
            quoted(r#""a\"\\\n\x41\101é日\U0001F600""#).as_deref(),
            Ok("a\"\\\nAAé日😀")
        );
        assert_eq!(quoted(r#""\xc3\xa9""#).as_deref(), Ok("é"));
        assert!(quoted(r#""\xff""#).is_err() && quoted(r#""\'""#).is_err() && quoted(r#""\ud800""#).is_err());
        assert!(quoted(r#""\q""#).is_err() && quoted(r#""\x4""#).is_err() && quoted(r#""\400""#).is_err());
        assert_eq!(raw("`a\r\n\\`"), "a\n\\");
        assert_eq!(character("'a'"), Ok(Number::Int(97)));
        assert_eq!(character(r"'\''"), Ok(Number::Int(39)));
        assert!(character("''").is_err() && character("'ab'").is_err());
    }
}
