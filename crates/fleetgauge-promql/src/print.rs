//! Numbers as they stand in Prometheus's messages and labels.

use std::fmt;

/// As Go's `%g`: shortest, with an exponent from a million on.
pub(crate) struct GoFloat(pub(crate) f64);

/// As Go's `%f`: six places after the point.
pub(crate) struct GoFixed(pub(crate) f64);

/// As OpenMetrics writes the values of `le` and `quantile`: as Go's `%g`, but `1.0` for 1.
pub(crate) struct OpenMetricsFloat(pub(crate) f64);

impl fmt::Display for GoFloat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.0;
        if let Some(word) = word(value) {
            return f.write_str(word);
        }
        let scientific = format!("{value:e}");
        let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
        let exponent: i32 = exponent.parse().unwrap_or(0);
        if (-4..6).contains(&exponent) {
            return write!(f, "{value}");
        }
        let sign = if exponent < 0 { '-' } else { '+' };
        write!(f, "{digits}e{sign}{:02}", exponent.abs())
    }
}

impl fmt::Display for OpenMetricsFloat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Also minus zero.
        let value = if self.0 == 0.0 { 0.0 } else { self.0 };
        let text = GoFloat(value).to_string();
        let is_whole = text.bytes().all(|b| b == b'-' || b.is_ascii_digit());
        f.write_str(&text)?;
        f.write_str(if is_whole { ".0" } else { "" })
    }
}

impl fmt::Display for GoFixed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match word(self.0) {
            Some(word) => f.write_str(word),
            None => write!(f, "{:.6}", self.0),
        }
    }
}

fn word(value: f64) -> Option<&'static str> {
    match value {
        f64::INFINITY => Some("+Inf"),
        f64::NEG_INFINITY => Some("-Inf"),
        value => value.is_nan().then_some("NaN"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_print_as_in_go() {
        let check = |value: f64, short: &str, fixed: &str| {
            assert_eq!(GoFloat(value).to_string(), short);
            assert_eq!(GoFixed(value).to_string(), fixed);
        };
        check(0.0, "0", "0.000000");
        check(-1.0, "-1", "-1.000000");
        check(0.95, "0.95", "0.950000");
        check(123_456.0, "123456", "123456.000000");
        check(1_234_567.0, "1.234567e+06", "1234567.000000");
        check(1e21, "1e+21", "1000000000000000000000.000000");
        check(0.0001, "0.0001", "0.000100");
        check(-1e-5, "-1e-05", "-0.000010");
        check(1.25e-100, "1.25e-100", "0.000000");
        check(f64::NAN, "NaN", "NaN");
        check(f64::INFINITY, "+Inf", "+Inf");
        check(f64::NEG_INFINITY, "-Inf", "-Inf");
    }

    #[test]
    fn numbers_print_as_in_openmetrics() {
        let numbers = [1.0, -2.0, -0.0, 0.99, 1e6, 1e-7, f64::NAN, f64::INFINITY];
        let texts = numbers.map(|value| OpenMetricsFloat(value).to_string());
        let expected = ["1.0", "-2.0", "0.0", "0.99", "1e+06", "1e-07", "NaN", "+Inf"];
        assert_eq!(texts, expected);
    }
}
