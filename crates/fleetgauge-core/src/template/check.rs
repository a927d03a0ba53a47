//! What a value may be where it stands in code or is a regular expression.
//!
//! Each check answers why a text is not exactly one such token. What some versions of Prometheus, or servers that speak
//! its language, read otherwise than others (octal-looking numbers, `_` in numbers) is refused, and so is a regular
//! expression that would not stay in one piece wherever it is placed.

use fleetgauge_syntax::name::metric_name;
use fleetgauge_syntax::regex::{self, RegexText};

use crate::time::{DurationError, parse_duration};

type Check = Result<(), &'static str>;

/// Whether this byte may stand inside a name or number, so that two tokens around it would be one.
pub(super) fn joins(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':' | b'.') || !byte.is_ascii()
}

/// A regular expression of which the meaning does not change with what stands beside it.
pub(super) fn regex(text: &str) -> Check {
    let checked = regex::check(text).map_err(|error| error.reason())?;
    if checked.has_names {
        return Err("a matcher has no use for named groups: write `(?:…)`");
    }
    // Only these begin what could go on after the end.
    if !text.contains(['\\', '{']) {
        return Ok(());
    }
    let mut end = RegexText::default();
    text.chars().for_each(|c| end.read(c));
    match end {
        RegexText::Plain => Ok(()),
        RegexText::Octal => {
            Err("it ends in an octal escape, which a digit after it would change: write \\x{…}")
        }
        RegexText::Repeat => {
            Err("it ends in a `{`, which what comes after it may make a repetition: write `\\{`")
        }
        _ => Err("it opens a \\Q that it does not close"),
    }
}

/// A duration: `1h30m`, units in falling order, more than nothing.
pub(super) fn duration(text: &str) -> Check {
    match parse_duration(text) {
        _ if text.is_empty() => Err("it is empty"),
        Ok(duration) if duration.is_zero() => Err("a duration must be more than zero"),
        Ok(_) => Ok(()),
        Err(DurationError::TooLong) => Err("the duration is too long"),
        Err(_) => Err("it is not a duration such as 5m or 1h30m (units y, w, d, h, m, s, ms, in this order)"),
    }
}

/// The number behind a sign, and whether the sign is a minus; a plus says nothing.
pub(super) fn signed(text: &str) -> (bool, &str) {
    match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    }
}

/// A number, with or without a sign.
pub(super) fn number(text: &str) -> Check {
    let (_, digits) = signed(text);
    if digits.len() < text.len() && digits.eq_ignore_ascii_case("nan") {
        return Err("NaN has no sign");
    }
    unsigned_number(digits)
}

/// A number from 0 to 1.
pub(super) fn quantile(text: &str) -> Check {
    number(text)?;
    let is_within = text
        .parse()
        .is_ok_and(|number: f64| (0.0..=1.0).contains(&number));
    is_within.then_some(()).ok_or("it is not from 0 to 1")
}

fn unsigned_number(text: &str) -> Check {
    let digits = text.as_bytes();
    match digits {
        [] => return Err("it is empty"),
        [b'+' | b'-', ..] => return Err("a number has one sign"),
        [b'0', b'x' | b'X', hex @ ..] => {
            return match hex.len() {
                1..=15 if hex.iter().all(u8::is_ascii_hexdigit) => Ok(()),
                _ => Err("it is not a hexadecimal number of 1 to 15 digits"),
            };
        }
        [b'0', b'0'..=b'9' | b'e' | b'E', ..] => {
            return Err("some read a number that starts with 0 as octal, or not at all: leave the 0 out");
        }
        _ => {}
    }
    if text.eq_ignore_ascii_case("inf") || text.eq_ignore_ascii_case("nan") {
        return Ok(());
    }
    let plain = digits[0] == b'.' || digits[0].is_ascii_digit();
    let allowed = digits
        .iter()
        .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'));
    match text.parse::<f64>() {
        Ok(number) if plain && allowed && number.is_finite() => Ok(()),
        Ok(_) if plain && allowed => Err("the number is too large: write Inf for infinity"),
        _ => Err("it is not a number such as 0.99, -3, 1e3 or Inf"),
    }
}

/// What may follow `@`: a number of seconds that a timestamp can hold.
pub(super) fn timestamp(text: &str) -> Check {
    number(text)?;
    unsigned_timestamp(signed(text).1)
}

/// What may follow `@` and a sign.
pub(super) fn unsigned_timestamp(text: &str) -> Check {
    unsigned_number(text)?;
    if text.starts_with("0x") || text.starts_with("0X") {
        return Err("write a timestamp in decimal");
    }
    match text.parse::<f64>() {
        Ok(seconds) if seconds.is_finite() && seconds < 1e12 => Ok(()),
        _ => Err("it is out of the range of timestamps"),
    }
}

/// What may stand for a whole operand when the template does not say which: a metric name or a number.
pub(super) fn operand(text: &str) -> Check {
    if metric_name(text).is_ok() || number(text).is_ok() {
        return Ok(());
    }
    match text.as_bytes() {
        [b'0'..=b'9' | b'.' | b'+' | b'-', ..] => number(text),
        _ => metric_name(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(judge: fn(&str) -> Check, good: &[&str], bad: &[&str]) {
        for text in good {
            assert_eq!(judge(text), Ok(()), "{text:?}");
        }
        for text in bad {
            assert!(judge(text).is_err_and(|reason| !reason.is_empty()), "{text:?}");
        }
    }

    #[test]
    fn regular_expressions() {
        check(
            regex,
            &[
                "",
                "a|b",
                "vllm-.*",
                "(?:a|b)+?",
                "(?i)llama-[0-9a-f]{8,}",
                "(?i-s:x)",
                r"\d+\.\w*",
                "[-a]",
                "[]a]",
                r"\pL\p{Lu}\p{Greek}",
                "a{2,3}",
                "(a{10}){100}",
                "^a$",
                "()",
                "a]b}",
                "a{b",
                "x{,3}",
                "{x",
                r"\Qa.b\E",
                r"\012a",
                "[a&&b]",
                "[[a]",
                r"\<",
            ],
            &[
                "(",
                ")",
                "a)(b",
                "[",
                "a\\",
                "*a",
                "a**",
                "a|*",
                "{3}",
                "(a{100}){100}",
                "(?P<n>a)",
                "(?<n>a)",
                "(?=a)",
                r"\Q",
                r"\Qa\",
                r"\012",
                "a{",
                "a{3",
                "{",
                r"\p{Foo}",
                "(?x) a",
                "[z-a]",
            ],
        );
    }

    #[test]
    fn durations() {
        check(
            duration,
            &["5m", "1h30m", "1y2w3d4h5m6s7ms", "300s", "10ms", "0h5m"],
            &[
                "",
                "5",
                "m",
                "5 m",
                "5M",
                "1m1h",
                "5m5m",
                "0s",
                "-5m",
                "5m:1m",
                "1.5h",
                "300y",
                "99999999999999999999y",
            ],
        );
    }

    #[test]
    fn numbers() {
        check(
            number,
            &[
                "0", "1", "0.99", ".5", "5.", "1e3", "1E-3", "1e+3", "0x1F", "Inf", "inf", "NaN", "-1", "+1",
                "-.5", "-0x1F", "-Inf", "+inf", "-0",
            ],
            &[
                "", "-", "+", "--1", "- 1", "-+1", "-NaN", "+nan", "-5m", "-017", "1e", "e1", ".", "1.2.3",
                "1_000", "017", "0x", "0xg", "1e999", "infinity", "5m", "1 ", "٣",
            ],
        );
        check(
            timestamp,
            &["0", "1609746000", "1609746000.5", "-1", "+1"],
            &["Inf", "-Inf", "NaN", "1e30", "-1e30", "0x10", "-0x10", ""],
        );
        check(unsigned_timestamp, &["0", "1.5"], &["-1", "+1", "Inf", ""]);
        check(
            operand,
            &["up", "5", "-5"],
            &["", "up[5m]", "-up", "sum", "5m", "1 + 1"],
        );
    }
}
