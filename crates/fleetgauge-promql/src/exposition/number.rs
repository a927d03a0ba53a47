//! Values and timestamps.
//!
//! The formats say "as Go's `ParseFloat`", and Go writes them: `NaN`, `+Inf`, `infinity` in any case,
//! `1.`, `.5`, `1e+09`, `0x1p-2`. Underscores, which Go allows in source code, Prometheus refuses, and a
//! signed NaN is none. A number too large for 64 bits is an error: made infinite it would be another
//! number.

use super::fault::Reason;
use super::format::Format;

/// The number that `text` starts with, up to whitespace or the end, and its length.
#[inline]
pub(super) fn value(text: &[u8]) -> Result<(f64, usize), Reason> {
    if let Some(whole) = whole(text) {
        return Ok(whole);
    }
    // What begins with a digit and is read to its end is a decimal number.
    match fast_float2::parse_partial::<f64, _>(text) {
        Ok((value, length)) if value.is_finite() && ends_at(text, length) => Ok((value, length)),
        _ => other(text),
    }
}

/// The number that the whole of `text` is.
pub(crate) fn parse_float(text: &str) -> Option<f64> {
    let (value, length) = value(text.as_bytes()).ok()?;
    (length == text.len()).then_some(value)
}

/// A timestamp in the unit of `format`. *Unit* of the result: milliseconds since the Unix epoch.
#[inline]
pub(super) fn timestamp(text: &str, format: Format) -> Result<i64, Reason> {
    match format {
        Format::Text | Format::Protobuf => text.parse().map_err(|_| Reason::BadTimestamp),
        Format::OpenMetrics | Format::OpenMetrics2 => seconds(text).ok_or(Reason::BadTimestamp),
    }
}

/// `41` or `41.0`, as counts are written: exact without the division that decimals cost.
#[inline]
fn whole(text: &[u8]) -> Option<(f64, usize)> {
    let (mut number, mut at) = (0_u64, 0);
    // 15 digits are exact in 64 bits of a float.
    while let Some(digit @ b'0'..=b'9') = text.get(at)
        && at < 15
    {
        number = number * 10 + u64::from(digit - b'0');
        at += 1;
    }
    let length = match text[at..] {
        [] | [b' ' | b'\t', ..] => at,
        [b'.', b'0'] | [b'.', b'0', b' ' | b'\t', ..] => at + 2,
        _ => return None,
    };
    (at > 0).then_some((number as f64, length))
}

fn ends_at(text: &[u8], at: usize) -> bool {
    text.get(at).is_none_or(|&b| b == b' ' || b == b'\t')
}

/// Numbers that are not plain decimals: rare, so they may take longer.
#[cold]
fn other(text: &[u8]) -> Result<(f64, usize), Reason> {
    let length = text
        .iter()
        .position(|&b| b == b' ' || b == b'\t')
        .unwrap_or(text.len());
    let text = &text[..length];
    let (sign, digits) = match text {
        [b'-', rest @ ..] => (-1.0, rest),
        [b'+', rest @ ..] => (1.0, rest),
        _ => (1.0, text),
    };
    let value = match digits {
        _ if text.eq_ignore_ascii_case(b"nan") => f64::NAN,
        _ if digits.eq_ignore_ascii_case(b"inf") || digits.eq_ignore_ascii_case(b"infinity") => f64::INFINITY,
        [b'0', b'x' | b'X', hexadecimal @ ..] => self::hexadecimal(hexadecimal)?,
        [b'0'..=b'9' | b'.', ..] => match fast_float2::parse::<f64, _>(digits) {
            Ok(value) if value.is_finite() => value,
            Ok(_) => return Err(Reason::ValueOutOfRange),
            Err(_) => return Err(Reason::BadValue),
        },
        _ => return Err(Reason::BadValue),
    };
    Ok((sign * value, length))
}

/// What follows `0x`: digits with an optional point, and a binary exponent, which Go requires.
fn hexadecimal(text: &[u8]) -> Result<f64, Reason> {
    let (mut mantissa, mut exponent, mut digits, mut point) = (0_u64, 0_i64, 0, false);
    let mut rest = text;
    while let [byte, tail @ ..] = rest {
        match (*byte as char).to_digit(16) {
            Some(digit) => {
                digits += 1;
                if mantissa >> 60 == 0 {
                    mantissa = mantissa << 4 | u64::from(digit);
                    exponent -= if point { 4 } else { 0 };
                } else {
                    // The rest only breaks ties.
                    mantissa |= u64::from(digit != 0);
                    exponent += if point { 0 } else { 4 };
                }
            }
            None if *byte == b'.' && !point => point = true,
            None => break,
        }
        rest = tail;
    }
    let [b'p' | b'P', written @ ..] = rest else {
        return Err(Reason::BadValue);
    };
    let exponent_digits = written
        .strip_prefix(b"-")
        .or(written.strip_prefix(b"+"))
        .unwrap_or(written);
    if digits == 0 || exponent_digits.is_empty() || !exponent_digits.iter().all(u8::is_ascii_digit) {
        return Err(Reason::BadValue);
    }
    // Beyond five digits the value is zero or out of range in any case.
    let written_exponent = match (exponent_digits.len() <= 18, written[0]) {
        (true, _) => std::str::from_utf8(written)
            .ok()
            .and_then(|e| e.parse().ok())
            .unwrap_or(0),
        (false, b'-') => i64::MIN / 4,
        (false, _) => i64::MAX / 4,
    };
    scale(mantissa, exponent.saturating_add(written_exponent)).ok_or(Reason::ValueOutOfRange)
}

/// `mantissa × 2^exponent`, rounded once, to nearest and ties to even; `None` if that is infinite.
fn scale(mantissa: u64, exponent: i64) -> Option<f64> {
    if mantissa == 0 {
        return Some(0.0);
    }
    let shift = mantissa.leading_zeros();
    let mantissa = mantissa << shift;
    // As 1.xxx × 2^top.
    let top = exponent.saturating_sub(i64::from(shift)).saturating_add(63);
    if top > 1023 {
        return None;
    }
    // 53 bits are kept, fewer below the smallest normal number.
    let dropped = u32::try_from((11 + (-1022 - top).max(0)).min(65)).ok()?;
    let (kept, lost, half) = match dropped {
        65 => (0, 1, 2),
        64 => (0, u128::from(mantissa), 1_u128 << 63),
        _ => (
            mantissa >> dropped,
            u128::from(mantissa & ((1 << dropped) - 1)),
            1_u128 << (dropped - 1),
        ),
    };
    let rounded = kept + u64::from(lost > half || (lost == half && kept & 1 == 1));
    // A carry out of the mantissa moves into the exponent, which is just what it should do.
    let biased = u64::try_from((top + 1023).max(1)).ok()?;
    let bits = ((biased - 1) << 52) + rounded;
    let value = f64::from_bits(bits);
    value.is_finite().then_some(value)
}

/// Seconds as decimal digits, cut to milliseconds as Prometheus does, but without its detour over a binary
/// fraction; other spellings of a number take that detour.
fn seconds(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let plain = !whole.is_empty()
        && [whole, fraction]
            .iter()
            .all(|d| d.bytes().all(|b| b.is_ascii_digit()));
    if plain {
        let millis = fraction
            .bytes()
            .chain(*b"000")
            .take(3)
            .fold(0, |m, b| m * 10 + i64::from(b - b'0'));
        let whole: i64 = whole.parse().ok()?;
        // Negative throughout, because that is the side that reaches further.
        let negative = whole.checked_neg()?.checked_mul(1000)?.checked_sub(millis)?;
        return if digits.len() < text.len() {
            Some(negative)
        } else {
            negative.checked_neg()
        };
    }
    let (seconds, length) = value(text.as_bytes()).ok()?;
    let millis = seconds * 1000.0;
    // 2^63: the first number that does not fit.
    (length == text.len() && millis.abs() < 9_223_372_036_854_775_808.0).then_some(millis as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_are_what_go_accepts() {
        let check = |text: &str, expected: f64| {
            let (value, length) = value(text.as_bytes()).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(
                (value.to_bits(), length),
                (expected.to_bits(), text.len()),
                "{text}"
            );
        };
        check("0", 0.0);
        check("-0", -0.0);
        check("+1", 1.0);
        check("1.", 1.0);
        check(".5", 0.5);
        check("-.5e1", -5.0);
        check("2.9781549056e+10", 29_781_549_056.0);
        check("1E5", 1e5);
        check("0.07243628666754276", 0.07243628666754276);
        check("9007199254740993", 9_007_199_254_740_992.0);
        check("1.7976931348623157e308", f64::MAX);
        check("5e-324", 5e-324);
        check("1e-400", 0.0);
        check("18446744073709551616", 18_446_744_073_709_551_616.0);
        check("NaN", f64::NAN);
        check("nAn", f64::NAN);
        check("Inf", f64::INFINITY);
        check("+Inf", f64::INFINITY);
        check("-inf", f64::NEG_INFINITY);
        check("INFINITY", f64::INFINITY);
        check("+infinity", f64::INFINITY);
        check("0x1p-2", 0.25);
        check("-0X1.8P1", -3.0);
        check("0x.8p0", 0.5);
        check("0x1.p0", 1.0);
        check("0x1fffffffffffffp0", 9_007_199_254_740_991.0);
        check("0x20000000000001p0", 9_007_199_254_740_992.0);
        check("0x20000000000003p0", 9_007_199_254_740_996.0);
        check("0x20000000000001000000001p-36", 9_007_199_254_740_994.0);
        check("0x1.fffffffffffffp1023", f64::MAX);
        check("0x1p-1074", 5e-324);
        check("0x1p-1075", 0.0);
        check("0x1.8p-1075", 5e-324);
        check("0x1p-1022", f64::MIN_POSITIVE);
        check("0x0.fffffffffffff8p-1022", f64::MIN_POSITIVE);
        check("0x1p-99999999999999999999", 0.0);
        check("0x0p99999999999999999999", 0.0);
    }

    #[test]
    fn a_value_ends_at_whitespace() {
        assert_eq!(value(b"1 2"), Ok((1.0, 1)));
        assert_eq!(value(b"+Inf\t2"), Ok((f64::INFINITY, 4)));
    }

    #[test]
    fn what_is_no_number_is_refused() {
        let check = |text: &str, reason| assert_eq!(value(text.as_bytes()), Err(reason), "{text}");
        for text in [
            "",
            "+",
            "-",
            ".",
            "e5",
            "1e",
            "1e+",
            "1.2.3",
            "--1",
            "+-1",
            "+-Inf",
            "1_000",
            "0x1_0p1",
            "1f",
            "+NaN",
            "-nan",
            "nano",
            "in",
            "infin",
            "0x",
            "0x1",
            "0xp1",
            "0x.p1",
            "0x1p",
            "0x1p+",
            "0x1p1.0",
            "0x1.2.3p1",
            "1,5",
            "½",
            "1}",
            "\r",
        ] {
            check(text, Reason::BadValue);
        }
        for text in [
            "1e309",
            "-1e309",
            "+1e999999999999",
            "0x1p1024",
            "0x1.fffffffffffff8p1023",
        ] {
            check(text, Reason::ValueOutOfRange);
        }
    }

    #[test]
    fn timestamps_are_milliseconds_or_seconds() {
        let check = |text: &str, milliseconds: Option<i64>, seconds: Option<i64>| {
            assert_eq!(timestamp(text, Format::Text).ok(), milliseconds, "{text}");
            assert_eq!(timestamp(text, Format::OpenMetrics).ok(), seconds, "{text}");
        };
        check(
            "1763930000500",
            Some(1_763_930_000_500),
            Some(1_763_930_000_500_000),
        );
        check("0", Some(0), Some(0));
        check("-5", Some(-5), Some(-5000));
        check("1520879607.789", None, Some(1_520_879_607_789));
        check("1520879607.7899", None, Some(1_520_879_607_789));
        check("-1.5", None, Some(-1500));
        check("1.", None, Some(1000));
        check("1.76393e9", None, Some(1_763_930_000_000));
        check("9223372036854775807", Some(i64::MAX), None);
        check("9223372036854775.807", None, Some(i64::MAX));
        check("-9223372036854775.808", None, Some(i64::MIN));
        check("9223372036854775.808", None, None);
        check("9223372036854775808", None, None);
        check("1e300", None, None);
        check("NaN", None, None);
        check("+Inf", None, None);
        check("", None, None);
        check("1.5x", None, None);
        check("soon", None, None);
    }

    proptest! {
        #[test]
        fn every_number_reads_back(bits: u64) {
            let number = f64::from_bits(bits);
            prop_assume!(!number.is_nan());
            let text = fleetgauge_core::sample::Number(number).to_string();
            prop_assert_eq!(value(text.as_bytes()).unwrap().0.to_bits(), bits);
        }

        #[test]
        fn every_number_reads_back_in_hexadecimal(mantissa in 1..1_u64 << 53, exponent in -1074_i64..=970) {
            let expected = mantissa as f64 * 2_f64.powi(exponent as i32 / 2) * 2_f64.powi((exponent - exponent / 2) as i32);
            let text = format!("0x{mantissa:x}p{exponent}");
            prop_assert_eq!(value(text.as_bytes()).unwrap().0, expected);
        }

        #[test]
        fn every_millisecond_reads_back(millis in -253_402_300_800_000_i64..253_402_300_800_000) {
            let sign = if millis < 0 { "-" } else { "" };
            let text = format!("{sign}{}.{:03}", millis.unsigned_abs() / 1000, millis.unsigned_abs() % 1000);
            prop_assert_eq!(timestamp(&text, Format::OpenMetrics), Ok(millis));
        }
    }
}
