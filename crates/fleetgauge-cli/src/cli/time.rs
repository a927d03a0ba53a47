//! Points of time as they are typed: Unix seconds or RFC 3339, as Prometheus's HTTP API takes them.

use fleetgauge_core::time::Timestamp;

/// Further away is a slip of the pen, such as milliseconds for seconds: beyond the year 9999.
const MAX_SECONDS: f64 = 253_402_300_800.0;

pub(super) fn parse(text: &str) -> Result<Timestamp, String> {
    let seconds = text.parse::<f64>().ok();
    let seconds = seconds.or_else(|| rfc3339(text));
    match seconds {
        Some(seconds) if seconds.abs() < MAX_SECONDS => Ok(Timestamp::from_secs_f64(seconds)),
        Some(seconds) if seconds.is_finite() => Err("out of range; are these milliseconds?".to_owned()),
        _ => {
            let expected = "expected Unix seconds (1763930000.5) or RFC 3339 (2025-11-23T20:33:20Z)";
            Err(expected.to_owned())
        }
    }
}

/// `2025-11-23T20:33:20.5+01:00`. *Unit*: seconds since the Unix epoch.
fn rfc3339(text: &str) -> Option<f64> {
    let (date, time) = text.split_once(['T', 't', ' '])?;
    let offset_at = time.find(['Z', 'z', '+', '-'])?;
    let (time, offset) = time.split_at(offset_at);
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let (whole, fraction) = time.split_once('.').map_or((time, None), |(w, f)| (w, Some(f)));
    let [hour, minute, second] = numbers(whole, ':', [2, 2, 2])?;
    let fraction = match fraction {
        None => 0.0,
        Some(digits) if is_digits(digits) => format!("0.{digits}").parse::<f64>().ok()?,
        Some(_) => return None,
    };
    let fits = (1..=12).contains(&month)
        && (1..=days_in_month(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    let offset = match offset {
        "Z" | "z" => 0,
        offset => {
            let [hours, minutes] = numbers(&offset[1..], ':', [2, 2])?;
            let seconds = (hours * 60 + minutes) * 60;
            if hours > 23 || minutes > 59 {
                return None;
            }
            if offset.starts_with('-') {
                -seconds
            } else {
                seconds
            }
        }
    };
    let seconds = days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second - offset;
    fits.then_some(seconds as f64 + fraction)
}

/// The numbers of these lengths between separators.
fn numbers<const N: usize>(text: &str, separator: char, lengths: [usize; N]) -> Option<[i64; N]> {
    let mut parts = text.split(separator);
    let mut numbers = [0; N];
    for (number, length) in numbers.iter_mut().zip(lengths) {
        let part = parts
            .next()
            .filter(|part| part.len() == length && is_digits(part))?;
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(numbers)
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// Days from 1970-01-01 to a day of the Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let years: i64 = year - 1;
    // Leap years up to the last of December before, counted from the year 1.
    let leap_days = years.div_euclid(4) - years.div_euclid(100) + years.div_euclid(400);
    let in_year: i64 = (1..month).map(|month| days_in_month(year, month)).sum();
    const UNTIL_1970: i64 = 719_162;
    years * 365 + leap_days + in_year + day - 1 - UNTIL_1970
}

fn days_in_month(year: i64, month: i64) -> i64 {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_or_dates() {
        let check = |text: &str, millis: i64| {
            assert_eq!(parse(text).map(Timestamp::as_millis), Ok(millis), "{text}");
        };
        check("0", 0);
        check("1763930000.5", 1_763_930_000_500);
        check("-1", -1_000);
        check("1e3", 1_000_000);
        check("1970-01-01T00:00:00Z", 0);
        check("2025-11-23T20:33:20Z", 1_763_930_000_000);
        check("2025-11-23T21:33:20.25+01:00", 1_763_930_000_250);
        check("2025-11-23t15:03:20-05:30", 1_763_930_000_000);
        check("2000-02-29T00:00:00Z", 951_782_400_000);
        check("1969-12-31T23:59:59Z", -1_000);
        check("2100-03-01T00:00:00Z", 4_107_542_400_000);
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "now",
            "NaN",
            "Inf",
            "1763930000000",
            "2025-11-23",
            "2025-11-23T20:33:20",
            "2025-11-23T20:33Z",
            "2025-02-29T00:00:00Z",
            "2100-02-29T00:00:00Z",
            "2025-13-01T00:00:00Z",
            "2025-00-01T00:00:00Z",
            "2025-01-00T00:00:00Z",
            "2025-01-01T24:00:00Z",
            "2025-01-01T00:60:00Z",
            "2025-01-01T00:00:00.Z",
            "2025-01-01T00:00:00+1:00",
            "2025-01-01T00:00:00Zulu",
            "2025-1-1T00:00:00Z",
            "+025-01-01T00:00:00Z",
            "2025-01-01T00:00:00é",
        ] {
            assert!(parse(text).is_err(), "{text}: {:?}", parse(text));
        }
    }
}
