//! Numbers, durations and strings as PromQL writes them, which is as Go does.

use crate::duration::{DurationError, parse_duration};

/// The value of a number or of a duration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Quantity {
    /// A number.
    Number(f64),
    /// *Unit*: seconds.
    Duration(f64),
}

/// What an escape stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A character.
    Char(char),
    /// From `\x` or octal: one byte of what must come out as UTF-8.
    Byte(u8),
}

/// How far a number or a duration goes; `text` begins with a digit, or with a dot and a digit. *Unit*: bytes.
pub(crate) fn quantity_len(text: &str) -> usize {
    let is_part = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'.';
    let bytes = text.as_bytes();
    let len = bytes.iter().position(|&b| !is_part(b)).unwrap_or(bytes.len());
    let is_hex = matches!(bytes, [b'0', b'x' | b'X', ..]);
    // The sign of an exponent.
    if !is_hex
        && matches!(bytes[len - 1], b'e' | b'E')
        && bytes[..len - 1]
            .iter()
            .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'_'))
        && matches!(bytes.get(len), Some(b'+' | b'-'))
    {
        return len + 1 + bytes[len + 1..].iter().take_while(|&&b| is_part(b)).count();
    }
    len
}

/// What is not UTF-8, as Go quotes it.
pub(crate) fn quoted_bytes(bytes: &[u8]) -> String {
    let chunks = bytes.utf8_chunks().map(|chunk| {
        let lost = chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}"));
        chunk.valid().escape_debug().to_string() + &lost.collect::<String>()
    });
    format!("\"{}\"", chunks.collect::<String>())
}

/// Reads a whole number or duration, without a sign.
///
/// *Errors*: what is wrong.
pub fn quantity(word: &str) -> Result<Quantity, String> {
    let read = match number(word) {
        Some(value) => Some(Quantity::Number(value)),
        None => duration_millis(word)?.map(|millis| Quantity::Duration(millis as f64 / 1000.0)),
    };
    read.ok_or_else(|| format!("bad number or duration syntax: {word:?}"))
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
///
/// *Errors*: why it is one that cannot be.
pub fn duration_millis(word: &str) -> Result<Option<i64>, String> {
    match parse_duration(word) {
        Ok(duration) => Ok(i64::try_from(duration.as_millis()).ok()),
        Err(DurationError::Form) => Ok(None),
        Err(DurationError::TooLong) => Err("duration out of range".to_owned()),
        Err(error) => Err(format!("not a valid duration string: {word:?}: {error}")),
    }
}

/// Reads the escape that `bytes` begin with, in a string of these quotes. Returns its length.
///
/// *Errors*: what is wrong with it.
///
/// *Source*: <https://go.dev/ref/spec#Rune_literals>.
pub fn escape(bytes: &[u8], quote: u8) -> Result<(Unit, usize), String> {
    let (digits, radix) = match bytes.get(1) {
        None => return Err("escape sequence not terminated".into()),
        Some(b'x') => (2, 16),
        Some(b'u') => (4, 16),
        Some(b'U') => (8, 16),
        Some(b'0'..=b'7') => (3, 8),
        Some(&simple) => {
            let c = match simple {
                b'a' => '\x07',
                b'b' => '\x08',
                b'f' => '\x0c',
                b'n' => '\n',
                b'r' => '\r',
                b't' => '\t',
                b'v' => '\x0b',
                b'\\' => '\\',
                b if b == quote => char::from(b),
                b if b.is_ascii_graphic() => {
                    return Err(format!("unknown escape sequence \\{}", char::from(b)));
                }
                _ => return Err("unknown escape sequence".into()),
            };
            return Ok((Unit::Char(c), 2));
        }
    };
    let start = if radix == 8 { 1 } else { 2 };
    let value = bytes
        .get(start..start + digits)
        .filter(|text| text.iter().all(|&b| char::from(b).is_digit(radix)))
        .and_then(|text| std::str::from_utf8(text).ok())
        .and_then(|text| u32::from_str_radix(text, radix).ok())
        .ok_or_else(|| format!("escape sequence needs {digits} digits"))?;
    let unit = if digits > 3 {
        Unit::Char(char::from_u32(value).ok_or("escape sequence is an invalid Unicode code point")?)
    } else {
        Unit::Byte(u8::try_from(value).map_err(|_| "escape sequence is larger than a byte")?)
    };
    Ok((unit, start + digits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_durations_are_read() {
        use Quantity::{Duration, Number};
        let check = |text: &str, expected, len| {
            assert_eq!(quantity_len(text), len, "{text}");
            assert_eq!(quantity(&text[..len]), Ok(expected), "{text}");
        };
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
            assert_eq!(quantity(text), Err("duration out of range".into()), "{text}");
        }
    }
}
