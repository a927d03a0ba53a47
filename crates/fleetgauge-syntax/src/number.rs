//! Numbers as Prometheus prints them, each form where Prometheus has it.
//!
//! All are the shortest digits that read back as the same number, unless they say otherwise; they differ in when an
//! exponent is written. Tables, answers and messages have [`Number`].

use std::fmt;

/// As Prometheus's API prints a sample: `NaN`, `+Inf`, `-Inf`, otherwise the shortest decimal, with an exponent from
/// 10^21 on and below 10^-6.
///
/// *Source*: `MarshalFloat` of Prometheus's `util/jsonutil`.
///
/// ```
/// use fleetgauge_syntax::number::Number;
///
/// assert_eq!(Number(1e20).to_string(), "100000000000000000000");
/// assert_eq!(Number(1.5e21).to_string(), "1.5e+21");
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Number(pub f64);

/// As Go's `%g`, in messages: with an exponent from a million on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GoFloat(pub f64);

/// As Go's `%f`, in messages: six places after the point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GoFixed(pub f64);

/// As OpenMetrics writes the values of `le` and `quantile`: as Go's `%g`, but `1.0` for 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OpenMetricsFloat(pub f64);

/// All digits, without an exponent, in the labels that `count_values` makes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plain(pub f64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.abs() {
            0.0 | 1e-6..1e21 => plain(f, self.0),
            _ => scientific(f, self.0),
        }
    }
}

impl fmt::Display for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        plain(f, self.0)
    }
}

impl fmt::Display for GoFloat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.abs() {
            0.0 | 1e-4..1e6 => plain(f, self.0),
            _ => scientific(f, self.0),
        }
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

/// The fewest digits that read back as the same number.
struct Digits {
    digits: [u8; MAX_DIGITS],
    len: usize,
    /// The power of ten of the first.
    exponent: i32,
}

/// No `f64` needs more.
const MAX_DIGITS: usize = 17;

/// From here on not every whole number is an `f64`, and the fewest digits are not those of the whole number.
const MAX_WHOLE: f64 = 9_007_199_254_740_992.0;

/// Without an exponent.
fn plain(f: &mut fmt::Formatter<'_>, value: f64) -> fmt::Result {
    if let Some(word) = word(value) {
        return f.write_str(word);
    }
    f.write_str(sign(value))?;
    // As most are: counts of something.
    if value.abs() < MAX_WHOLE && value.trunc() == value {
        return write!(f, "{}", value.abs() as u64);
    }
    let number = Digits::of(value);
    let digits = number.as_str();
    match usize::try_from(number.exponent) {
        Ok(exponent) if exponent >= digits.len() - 1 => write!(f, "{digits:0<0$}", exponent + 1),
        Ok(exponent) => {
            let (whole, fraction) = digits.split_at(exponent + 1);
            f.write_str(whole)?;
            f.write_str(".")?;
            f.write_str(fraction)
        }
        Err(_) => write!(
            f,
            "0.{digits:0>0$}",
            digits.len() + number.exponent.unsigned_abs() as usize - 1
        ),
    }
}

/// As Go: the exponent has its sign and two digits at least.
fn scientific(f: &mut fmt::Formatter<'_>, value: f64) -> fmt::Result {
    if let Some(word) = word(value) {
        return f.write_str(word);
    }
    let number = Digits::of(value);
    let (first, rest) = number.as_str().split_at(1);
    let point = if rest.is_empty() { "" } else { "." };
    let exponent_sign = if number.exponent < 0 { '-' } else { '+' };
    write!(
        f,
        "{}{first}{point}{rest}e{exponent_sign}{:02}",
        sign(value),
        number.exponent.abs()
    )
}

fn sign(value: f64) -> &'static str {
    if value.is_sign_negative() { "-" } else { "" }
}

// === impl Digits ===

impl Digits {
    fn of(value: f64) -> Self {
        let shortest = Self::read(zmij::Buffer::new().format_finite(value));
        // Where two texts of this length are equally near, Go takes the even one, which rounding to as many digits gives.
        // Up to 15 digits there is one.
        let places = shortest.len - 1;
        if places >= 15 && may_be_between(value) {
            let even = format!("{value:.places$e}");
            if even.parse() == Ok(value) {
                return Self::read(&even);
            }
        }
        shortest
    }

    /// Of a number's text, with or without an exponent.
    fn read(text: &str) -> Self {
        let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
        let mut read = Self {
            digits: [b'0'; MAX_DIGITS],
            len: 0,
            exponent: exponent.parse().unwrap_or_default(),
        };
        let (mut is_fraction, mut zeros) = (false, 0);
        for byte in mantissa.bytes() {
            match byte {
                b'.' => is_fraction = true,
                // Zeros before the first digit are none, and those behind the last one neither.
                b'0' if read.len == 0 => read.exponent -= i32::from(is_fraction),
                b'0' => {
                    zeros += 1;
                    read.exponent += i32::from(!is_fraction);
                }
                b'1'..=b'9' => {
                    // The first digit of the whole part has the power 0, and so has that behind the point -1.
                    let is_later = read.len > 0;
                    read.exponent +=
                        i32::from(is_later && !is_fraction) - i32::from(!is_later && is_fraction);
                    read.len += zeros;
                    zeros = 0;
                    if let Some(place) = read.digits.get_mut(read.len) {
                        *place = byte;
                        read.len += 1;
                    }
                }
                _ => {}
            }
        }
        read.len = read.len.clamp(1, MAX_DIGITS);
        read
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.digits[..self.len]).unwrap_or("0")
    }
}

/// Whether `value` may be exactly between two texts of 16 or 17 digits. Then it is itself a text of 18 at most, and
/// halved so often that there are more digits (25 times make 18 of a 1), it is not.
fn may_be_between(value: f64) -> bool {
    const TWO_TO_THE_25: f64 = 33_554_432.0;
    let scaled = value * TWO_TO_THE_25;
    scaled.trunc() == scaled
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
    fn numbers_print_as_in_the_api() {
        let check = |value: f64, expected: &str| assert_eq!(Number(value).to_string(), expected);
        check(f64::NAN, "NaN");
        check(f64::INFINITY, "+Inf");
        check(f64::NEG_INFINITY, "-Inf");
        check(0.0, "0");
        check(-0.0, "-0");
        check(3.0, "3");
        check(-0.5, "-0.5");
        check(0.1, "0.1");
        check(1e20, "100000000000000000000");
        check(1e21, "1e+21");
        check(-2.5e21, "-2.5e+21");
        check(1e-6, "0.000001");
        check(1e-7, "1e-07");
        check(1.5e-7, "1.5e-07");
        check(-2e-100, "-2e-100");
        // Exactly between two texts of its length.
        check(-20_373_478_480.0 - 0.570_312_5, "-20373478480.570312");
    }

    #[test]
    fn the_fewest_digits_are_those_that_the_standard_library_finds() {
        let check = |value: f64| {
            let (ours, theirs) = (Plain(value).to_string(), format!("{value}"));
            // Where two are equally near, ours is the even one.
            let is_right = ours == theirs || ours.len() == theirs.len() && ours.parse() == Ok(value);
            assert!(is_right, "{value:e}: {ours}, {theirs}");
        };
        let mut state = 1_u64;
        for _ in 0..100_000 {
            // xorshift64
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let any = f64::from_bits(state);
            if any.is_finite() {
                check(any);
            }
            check((state >> 11) as f64 / f64::from(1_u32 << (state % 31)));
            check((state >> (state % 64)) as f64);
            check((state % 1_000_000) as f64 / 1_000.0);
        }
    }

    #[test]
    fn exactly_between_two_texts_the_even_one_is_taken_as_go_does() {
        for (exponent, expected) in [
            (25, "0.000000029802322387695312"),
            (24, "0.00000005960464477539063"),
        ] {
            assert_eq!(Plain(2.0_f64.powi(-exponent)).to_string(), expected);
        }
    }

    #[test]
    fn numbers_are_written_in_full() {
        let check = |value: f64, expected: &str| assert_eq!(Plain(value).to_string(), expected);
        check(0.1, "0.1");
        check(-0.0, "-0");
        check(1e21, "1000000000000000000000");
        check(1e-7, "0.0000001");
        check(0.0, "0");
        check(1234.5, "1234.5");
        check(-0.012, "-0.012");
        check(100.0, "100");
        check(f64::MIN_POSITIVE, &format!("{}", f64::MIN_POSITIVE));
        check(f64::MAX, &format!("{}", f64::MAX));
        // No more digits than tell it from its neighbours, the rest zeros.
        check(1_709_977_832_931_773_000.0, "1709977832931773000");
        check(f64::NAN, "NaN");
        check(f64::NEG_INFINITY, "-Inf");
        // Exactly between two texts of its length.
        check(-20_373_478_480.0 - 0.570_312_5, "-20373478480.570312");
    }

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
