//! Durations as Prometheus writes them, in queries and in configuration.

use std::time::Duration;

/// Why a text is not a duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DurationError {
    /// It is not made of whole numbers and units.
    #[error("not a duration such as 30s or 1h30m")]
    Form,
    /// Its units do not fall, or one comes twice.
    #[error("the units of a duration go from large to small, each once: y, w, d, h, m, s, ms")]
    Order,
    /// It has more nanoseconds than 64 bits hold, which are 292 years.
    #[error("the duration is too long")]
    TooLong,
}

/// The units, from large to small. *Unit* of the numbers: milliseconds.
const UNITS: [(&str, u64); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// As Prometheus, which keeps durations as 64 bits of nanoseconds.
const MAX_MILLIS: u64 = i64::MAX as u64 / 1_000_000;

/// Reads a duration: `30s`, `1m30s`, `100ms`.
///
/// *Unit*: `ms`, `s`, `m`, `h`, `d`, `w` and `y`, each at most once, from large to small. A number alone is none,
/// but for `0`.
///
/// *Errors*: [`DurationError`]
///
/// *Source*: <https://prometheus.io/docs/prometheus/latest/querying/basics/#float-literals-and-time-durations>.
///
/// ```
/// use std::time::Duration;
///
/// use fleetgauge_syntax::duration::parse_duration;
///
/// assert_eq!(parse_duration("1m30s"), Ok(Duration::from_secs(90)));
/// assert!(parse_duration("30").is_err());
/// ```
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    if text.is_empty() {
        return Err(DurationError::Form);
    }
    let (mut rest, mut units, mut millis) = (text, &UNITS[..], 0_u64);
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let letters = rest[digits..].bytes().take_while(u8::is_ascii_alphabetic).count();
        let (number, unit) = (&rest[..digits], &rest[digits..digits + letters]);
        let is_unit = |(name, _): &(&str, u64)| *name == unit;
        let Some(at) = units.iter().position(is_unit) else {
            let is_known = !number.is_empty() && UNITS.iter().any(is_unit);
            return Err(if is_known {
                DurationError::Order
            } else {
                DurationError::Form
            });
        };
        if number.is_empty() {
            return Err(DurationError::Form);
        }
        let part = number
            .parse::<u64>()
            .ok()
            .and_then(|n| n.checked_mul(units[at].1));
        let sum = part.and_then(|part| millis.checked_add(part));
        millis = sum
            .filter(|sum| *sum <= MAX_MILLIS)
            .ok_or(DurationError::TooLong)?;
        (units, rest) = (&units[at + 1..], &rest[digits + letters..]);
    }
    Ok(Duration::from_millis(millis))
}

/// Reads a duration as a setting gives it: as [`parse_duration`] does, or a number alone, of seconds, as the HTTP API of
/// Prometheus takes both.
///
/// *Errors*: [`DurationError`]
///
/// *Source*: <https://prometheus.io/docs/prometheus/latest/querying/api/#format-overview>.
///
/// ```
/// use std::time::Duration;
///
/// use fleetgauge_syntax::duration::parse_seconds;
///
/// assert_eq!(parse_seconds("1m30s"), Ok(Duration::from_secs(90)));
/// assert_eq!(parse_seconds("2.5"), Ok(Duration::from_millis(2_500)));
/// ```
pub fn parse_seconds(text: &str) -> Result<Duration, DurationError> {
    let Ok(seconds) = text.parse::<f64>() else {
        return parse_duration(text);
    };
    if !(0.0..).contains(&seconds) {
        return Err(DurationError::Form);
    }
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|duration| duration.as_millis() <= u128::from(MAX_MILLIS))
        .ok_or(DurationError::TooLong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_may_be_a_number_of_seconds() {
        let check = |text: &str, millis: u64| {
            assert_eq!(parse_seconds(text), Ok(Duration::from_millis(millis)), "{text}");
        };
        check("30s", 30_000);
        check("30", 30_000);
        check("0.25", 250);
        check("0", 0);
        check("1e2", 100_000);
        for text in ["", "s", "-1", "NaN", "-inf", "1.5s", "1 s", "five"] {
            assert_eq!(parse_seconds(text), Err(DurationError::Form), "{text:?}");
        }
        for text in ["inf", "1e300", "1e10", "293y"] {
            assert_eq!(parse_seconds(text), Err(DurationError::TooLong), "{text:?}");
        }
    }

    #[test]
    fn durations_are_those_of_prometheus() {
        let check = |text: &str, millis: u64| {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        };
        check("30s", 30_000);
        check("1m30s", 90_000);
        let all = 31_536_000_000 + 2 * 604_800_000 + 3 * 86_400_000 + 4 * 3_600_000 + 5 * 60_000 + 6_007;
        check("1y2w3d4h5m6s7ms", all);
        check("0", 0);
        check("0s", 0);
        check("0h5m", 300_000);
        check("100ms", 100);
        check("292y", 292 * 31_536_000_000);
    }

    #[test]
    fn what_is_no_duration_has_a_reason() {
        let check = |error, texts: &[&str]| {
            for text in texts {
                assert_eq!(parse_duration(text), Err(error), "{text:?}");
            }
        };
        let malformed = [
            "", "30", "00", "s", "1.5s", "1 s", " 1s", "-1s", "+1s", "1x", "1S", "5m:1m", "1é", "٣s", "1s2",
        ];
        check(DurationError::Form, &malformed);
        check(DurationError::Order, &["1s1m", "1s1s", "5ms3s"]);
        check(
            DurationError::TooLong,
            &["293y", "292y100w", "99999999999999999999s", "999999999999y"],
        );
    }
}
