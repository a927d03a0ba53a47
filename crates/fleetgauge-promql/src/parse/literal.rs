//! Numbers, durations and strings as PromQL writes them.

use fleetgauge_core::time::{DurationError, parse_duration};

/// What a literal cannot be, and where in it. *Unit* of the place: bytes.
pub(crate) type Fault = (usize, String);

/// The number or duration that `text` begins with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Quantity {
    Number(f64),
    /// *Unit*: seconds.
    Duration(f64),
}

/// Reads a number or a duration; `text` begins with a digit, or with a dot and a digit. Returns its length.
pub(super) fn quantity(text: &str) -> Result<(Quantity, usize), Fault> {
    let is_part = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'.';
    let bytes = text.as_bytes();
    let mut len = bytes.iter().position(|&b| !is_part(b)).unwrap_or(bytes.len());
    let is_hex = matches!(bytes, [b'0', b'x' | b'X', ..]);
    // The sign of an exponent.
    if !is_hex
        && matches!(bytes[len - 1], b'e' | b'E')
        && bytes[..len - 1]
            .iter()
            .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'_'))
        && matches!(bytes.get(len), Some(b'+' | b'-'))
    {
        let digits = bytes[len + 1..].iter().take_while(|&&b| is_part(b)).count();
        len += 1 + digits;
    }
    let word = &text[..len];
    let read = match number(word) {
        Some(value) => Some(Quantity::Number(value)),
        None => duration_millis(word)?.map(|millis| Quantity::Duration(millis as f64 / 1000.0)),
    };
    let bad = || (0, format!("bad number or duration syntax: {word:?}"));
    Ok((read.ok_or_else(bad)?, len))
}

fn number(word: &str) -> Option<f64> {
    let digits = separated(word)?;
    if let Some(hex) = digits.strip_prefix("0x").or(digits.strip_prefix("0X")) {
        let is_hex = !hex.is_empty() && hex.bytes().all(|b| b.is_ascii_hexdigit());
        return is_hex
            .then(|| i64::from_str_radix(hex, 16).ok())
            .flatten()
            .map(|v| v as f64);
    }
    // As Go reads whole numbers: a leading zero makes them octal.
    if digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|b| matches!(b, b'0'..=b'7')) {
        return i64::from_str_radix(&digits, 8).ok().map(|v| v as f64);
    }
    let is_float = digits
        .bytes()
        .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'));
    let value: f64 = is_float.then(|| digits.parse().ok()).flatten()?;
    // What is out of range is refused, as in Go.
    value.is_finite().then_some(value)
}

/// Without the underscores, each of which must stand between two digits (or after `0x`).
fn separated(word: &str) -> Option<String> {
    let bytes = word.as_bytes();
    for (i, _) in bytes.iter().enumerate().filter(|&(_, &b)| b == b'_') {
        let fits = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_hexdigit() || matches!(b, b'x' | b'X'));
        if !(fits(bytes.get(i.wrapping_sub(1))) && fits(bytes.get(i + 1))) {
            return None;
        }
    }
    Some(word.replace('_', ""))
}

/// `1h30m`. `None` for what is none at all. *Unit* of the result: milliseconds.
pub(crate) fn duration_millis(word: &str) -> Result<Option<i64>, Fault> {
    match parse_duration(word) {
        Ok(duration) => Ok(i64::try_from(duration.as_millis()).ok()),
        Err(DurationError::Form) => Ok(None),
        Err(DurationError::TooLong) => Err((0, "duration out of range".to_owned())),
        Err(error) => Err((0, format!("not a valid duration string: {word:?}: {error}"))),
    }
}

/// Reads a string; `text` begins with its quote. Returns its length with both quotes.
pub(super) fn string(text: &str) -> Result<(String, usize), Fault> {
    let quote = text.as_bytes()[0];
    let unterminated = |at: usize| {
        let why = match quote {
            b'`' => "unterminated raw string",
            _ => "unterminated quoted string",
        };
        (at, why.to_owned())
    };
    let bytes = text.as_bytes();
    if quote == b'`' {
        let len = text[1..].find('`').ok_or_else(|| unterminated(0))?;
        return Ok((text[1..1 + len].to_owned(), len + 2));
    }
    let mut out = Vec::new();
    let mut at = 1;
    loop {
        match bytes.get(at) {
            None | Some(b'\n') => return Err(unterminated(0)),
            Some(&b) if b == quote => break,
            Some(b'\\') => at += escape(&bytes[at..], quote, &mut out).map_err(|why| (at, why))?,
            Some(&b) => {
                out.push(b);
                at += 1;
            }
        }
    }
    let out = String::from_utf8(out).map_err(|_| (0, "string is not UTF-8".to_owned()))?;
    Ok((out, at + 1))
}

/// Reads one escape sequence, as Go writes them. Returns its length.
fn escape(bytes: &[u8], quote: u8, out: &mut Vec<u8>) -> Result<usize, String> {
    let (digits, radix) = match bytes.get(1) {
        None => return Err("escape sequence not terminated".into()),
        Some(b'x') => (2, 16),
        Some(b'u') => (4, 16),
        Some(b'U') => (8, 16),
        Some(b'0'..=b'7') => (3, 8),
        Some(&simple) => {
            out.push(match simple {
                b'a' => 7,
                b'b' => 8,
                b'f' => 12,
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'v' => 11,
                b'\\' => b'\\',
                b if b == quote => b,
                b if b.is_ascii_graphic() => {
                    return Err(format!("unknown escape sequence \\{}", char::from(b)));
                }
                _ => return Err("unknown escape sequence".into()),
            });
            return Ok(2);
        }
    };
    let start = if radix == 8 { 1 } else { 2 };
    let value = bytes
        .get(start..start + digits)
        .filter(|text| text.iter().all(|&b| char::from(b).is_digit(radix)))
        .and_then(|text| std::str::from_utf8(text).ok())
        .and_then(|text| u32::from_str_radix(text, radix).ok())
        .ok_or_else(|| format!("escape sequence needs {digits} digits"))?;
    if digits > 3 {
        let c = char::from_u32(value).ok_or("escape sequence is an invalid Unicode code point")?;
        out.extend(c.encode_utf8(&mut [0; 4]).bytes());
    } else {
        out.push(u8::try_from(value).map_err(|_| "escape sequence is larger than a byte")?);
    }
    Ok(start + digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_durations_are_read() {
        use Quantity::{Duration, Number};
        let check = |text: &str, expected, len| assert_eq!(quantity(text), Ok((expected, len)), "{text}");
        check("5", Number(5.0), 1);
        check("5.", Number(5.0), 2);
        check(".5)", Number(0.5), 2);
        check("1e3+2", Number(1000.0), 3);
        check("1e+3", Number(1000.0), 4);
        check("1.5E-1", Number(0.15), 6);
        check("0x1F", Number(31.0), 4);
        check("0x1e-3", Number(30.0), 4);
        check("1_000", Number(1000.0), 5);
        check("0x_ff", Number(255.0), 5);
        // As Go.
        check("010", Number(8.0), 3);
        check("08", Number(8.0), 2);
        check("5m]", Duration(300.0), 2);
        check("1y2w3d4h5m6s7ms", Duration(33_019_506.007), 15);
        check("1h30m:", Duration(5400.0), 5);
        check("100ms", Duration(0.1), 5);
        check("1d-2", Duration(86400.0), 2);
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        for text in [
            "1x", "5m5m", "1m1h", "1.5h", "1__0", "1_", "0x", "1e", "1e+", "5mm", "1e999",
        ] {
            assert!(quantity(text).is_err(), "{text}");
        }
        for text in ["300000000000y", "400y", "99999999999999999999s"] {
            assert_eq!(quantity(text), Err((0, "duration out of range".into())), "{text}");
        }
    }

    #[test]
    fn strings_are_read_as_go_writes_them() {
        let check = |text: &str, expected: &str| {
            assert_eq!(string(text), Ok((expected.to_owned(), text.len())), "{text}");
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
            let (place, message) = string(text).expect_err(text);
            assert_eq!(place, at, "{text}");
            assert!(message.contains(why), "{text}: {message}");
        };
        check("\"abc", 0, "unterminated quoted string");
        check("\"a\nb\"", 0, "unterminated quoted string");
        check("`abc", 0, "unterminated raw string");
        check(r#""a\d""#, 2, r"unknown escape sequence \d");
        check(r#""\'""#, 1, r"unknown escape sequence \'");
        check(r#""\x4""#, 1, "needs 2 digits");
        check(r#""\ud800""#, 1, "invalid Unicode code point");
        check(r#""\xff""#, 0, "not UTF-8");
        check(r#""\777""#, 1, "larger than a byte");
        check("\"\\", 1, "not terminated");
    }
}
