//! Numbers, ages and times as people read them.

use std::fmt;
use std::time::Duration;

use fleetgauge_core::sample::Number;
use fleetgauge_core::time::Timestamp;

/// A number with its unit, to three digits: `72 %` of the unit `ratio`, `1,204 requests`, `350 ms`, `1.5 GiB`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quantity<'a> {
    pub(super) value: f64,
    pub(super) unit: &'a str,
}

/// How long something lasts or is ago, in the largest unit that it fills: `<1 s`, `12 s`, `3 min`, `2 h`, `4 d`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lasting(pub(super) Duration);

/// The time of day in UTC, `14:05:09`.
#[derive(Clone, Copy, Debug)]
pub(super) struct TimeOfDay(pub(super) Timestamp);

// === impl Quantity ===

impl Quantity<'_> {
    /// The number, and what stands after it.
    pub(super) fn parts(self) -> (String, String) {
        let Self { value, unit } = self;
        let plain = |value: f64, unit: &str| (digits(value), unit.to_owned());
        if !value.is_finite() {
            return (Number(value).to_string(), unit.to_owned());
        }
        match unit {
            "ratio" => plain(value * 100.0, "%"),
            "seconds" if value != 0.0 && value.abs() < 1.0 => plain(value * 1_000.0, "ms"),
            "seconds" => plain(value, "s"),
            "bytes" => {
                let units = ["B", "KiB", "MiB", "GiB", "TiB"];
                let power = (value.abs().max(1.0).log2() / 10.0) as usize;
                let power = power.min(units.len() - 1);
                plain(value / 1_024_f64.powi(power as i32), units[power])
            }
            unit => plain(value, unit),
        }
    }
}

impl fmt::Display for Quantity<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (number, unit) = self.parts();
        f.write_str(&number)?;
        match unit.is_empty() {
            true => Ok(()),
            false => write!(f, " {unit}"),
        }
    }
}

/// Three digits, or as many as the whole part has, in groups of three; an exponent where that would be long.
fn digits(value: f64) -> String {
    let size = value.abs();
    if size != 0.0 && !(1e-3..1e12).contains(&size) {
        return format!("{value:.2e}");
    }
    let places: usize = match size {
        0.0..1e-9 => 0,
        ..0.1 => 4,
        ..1.0 => 3,
        ..10.0 => 2,
        ..100.0 => 1,
        _ => 0,
    };
    let text = format!("{value:.places$}");
    let (whole, rest) = text.split_once('.').unwrap_or((&text, ""));
    let rest = rest.trim_end_matches('0');
    let (sign, whole) = whole.strip_prefix('-').map_or(("", whole), |whole| ("-", whole));
    let mut grouped = String::new();
    for (at, digit) in whole.char_indices() {
        if at > 0 && (whole.len() - at) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    match rest {
        "" => format!("{sign}{grouped}"),
        rest => format!("{sign}{grouped}.{rest}"),
    }
}

// === impl Lasting ===

impl fmt::Display for Lasting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_secs() {
            0 => f.write_str("<1 s"),
            seconds @ ..120 => write!(f, "{seconds} s"),
            seconds @ ..7_200 => write!(f, "{} min", seconds / 60),
            seconds @ ..172_800 => write!(f, "{} h", seconds / 3_600),
            seconds => write!(f, "{} d", seconds / 86_400),
        }
    }
}

// === impl TimeOfDay ===

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_millis().div_euclid(1_000).rem_euclid(86_400);
        let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
        write!(f, "{hours:02}:{minutes:02}:{seconds:02}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_short_and_true_to_three_digits() {
        let check = |value: f64, unit: &str, expected: &str| {
            assert_eq!(Quantity { value, unit }.to_string(), expected, "{value} {unit}");
        };
        check(0.0, "requests", "0 requests");
        check(-0.4, "", "-0.4");
        check(0.7249, "ratio", "72.5 %");
        check(1.0, "ratio", "100 %");
        check(1234.4, "requests", "1,234 requests");
        check(-1_234_567.0, "tokens", "-1,234,567 tokens");
        check(12.345, "requests", "12.3 requests");
        check(0.000_5, "requests", "5.00e-4 requests");
        check(0.05, "requests", "0.05 requests");
        check(3e15, "tokens", "3.00e15 tokens");
        check(0.35, "seconds", "350 ms");
        check(0.0, "seconds", "0 s");
        check(2.5, "seconds", "2.5 s");
        check(1_610_612_736.0, "bytes", "1.5 GiB");
        check(0.0, "bytes", "0 B");
        check(f64::NAN, "requests", "NaN requests");
        check(f64::INFINITY, "", "+Inf");
    }

    #[test]
    fn ages_have_one_unit() {
        let check = |millis, expected: &str| {
            assert_eq!(Lasting(Duration::from_millis(millis)).to_string(), expected);
        };
        check(999, "<1 s");
        check(1_000, "1 s");
        check(119_999, "119 s");
        check(120_000, "2 min");
        check(7_200_000, "2 h");
        check(172_800_000, "2 d");
        let noon = Timestamp::from_millis(1_763_985_909_500);
        assert_eq!(TimeOfDay(noon).to_string(), "12:05:09");
    }
}
