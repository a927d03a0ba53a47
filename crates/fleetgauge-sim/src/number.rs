//! Numbers as the clients of the real servers print them.
//!
//! The Python client prints every value as a float (`3.0`) and copies Go's switch to exponents, with a
//! quirk: the exponent gets a `0` in front even when it has two digits (`2.97e+010`). The Go client prints
//! `3`. Both turn to exponents at 10^6 (or 10^21, which nothing here reaches).
//!
//! Source: `prometheus_client/utils.py`, `floatToGoString`; `prometheus/common/expfmt/text_create.go`.

/// Whose habits a number follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    Python,
    Go,
}

/// Appends `value`.
pub(crate) fn write(out: &mut Vec<u8>, value: f64, style: Style) {
    let size = value.abs();
    if size < 1e6 && value.trunc() == value {
        out.extend_from_slice(itoa::Buffer::new().format(value as i64).as_bytes());
        if style == Style::Python {
            out.extend_from_slice(b".0");
        }
        return;
    }
    if !value.is_finite() {
        let name: &[u8] = match value {
            _ if value.is_nan() => b"NaN",
            _ if value > 0.0 => b"+Inf",
            _ => b"-Inf",
        };
        return out.extend_from_slice(name);
    }
    let mut buffer = zmij::Buffer::new();
    let digits = buffer.format_finite(value);
    if (1e6..1e15).contains(&value) {
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        return write_exponent(out, whole.as_bytes(), fraction.as_bytes(), style);
    }
    out.extend_from_slice(digits.as_bytes());
}

/// `whole.fraction`, seven digits or more before the point, as `d.ddde+0n`.
fn write_exponent(out: &mut Vec<u8>, whole: &[u8], fraction: &[u8], style: Style) {
    let start = out.len();
    out.push(whole[0]);
    out.push(b'.');
    out.extend_from_slice(&whole[1..]);
    out.extend_from_slice(fraction);
    while out.len() > start + 1 && matches!(out.last(), Some(b'0' | b'.')) {
        out.pop();
    }
    let exponent = whole.len() - 1;
    out.extend_from_slice(if exponent < 10 || style == Style::Python {
        b"e+0"
    } else {
        b"e+"
    });
    out.extend_from_slice(itoa::Buffer::new().format(exponent).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: f64, python: &str, go: &str) {
        for (style, expected) in [(Style::Python, python), (Style::Go, go)] {
            let mut out = Vec::new();
            write(&mut out, value, style);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    #[test]
    fn numbers_look_like_those_of_the_clients() {
        check(0.0, "0.0", "0");
        check(3.0, "3.0", "3");
        check(-3.0, "-3.0", "-3");
        check(999_999.0, "999999.0", "999999");
        check(0.25, "0.25", "0.25");
        check(999_999.5, "999999.5", "999999.5");
        check(1_000_000.0, "1e+06", "1e+06");
        check(1_234_560.0, "1.23456e+06", "1.23456e+06");
        check(
            1_755_463_138.244_195_5,
            "1.7554631382441955e+09",
            "1.7554631382441955e+09",
        );
        check(29_781_549_056.0, "2.9781549056e+010", "2.9781549056e+10");
        check(1e15, "1000000000000000.0", "1000000000000000.0");
        check(f64::NAN, "NaN", "NaN");
        check(f64::INFINITY, "+Inf", "+Inf");
        check(f64::NEG_INFINITY, "-Inf", "-Inf");
    }

    #[test]
    fn every_number_reads_back() {
        let mut value: f64 = 1e-9;
        while value < 1e18 {
            for value in [value, -value, value.trunc()] {
                let mut out = Vec::new();
                write(&mut out, value, Style::Python);
                assert_eq!(String::from_utf8(out).unwrap().parse::<f64>().unwrap(), value);
            }
            value *= 1.37;
        }
    }
}
