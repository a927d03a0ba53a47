//! Times as RFC 3339 writes them, in the proleptic Gregorian calendar.
//!
//! *Source*: <https://www.rfc-editor.org/rfc/rfc3339#section-5.6>; for the days,
//! <https://howardhinnant.github.io/date_algorithms.html>.

use fleetgauge_core::time::Timestamp;

/// The first and the last time that Prometheus knows. *Unit*: seconds.
const BOUND_SECONDS: i64 = i64::MAX / 1_000 - 62_135_596_801;

/// The first time that may be asked for.
pub(super) const MIN: Timestamp = Timestamp::from_millis(-BOUND_SECONDS * 1_000);
/// The last one.
pub(super) const MAX: Timestamp = Timestamp::from_millis(BOUND_SECONDS * 1_000);

/// As Prometheus's clients write the two bounds, whose years have more than four digits.
const WRITTEN_MIN: &str = "-292273086-05-16T16:47:06Z";
const WRITTEN_MAX: &str = "292277025-08-18T07:12:54.999999999Z";

/// Reads `2006-01-02T15:04:05.999Z`, with an offset as well.
pub(super) fn parse(text: &str) -> Option<Timestamp> {
    match text {
        WRITTEN_MIN => return Some(MIN),
        WRITTEN_MAX => return Some(MAX),
        _ => {}
    }
    let (date, rest) = text.split_at_checked(10)?;
    let (time, rest) = rest.strip_prefix('T')?.split_at_checked(8)?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
    let (fraction, zone) = match rest.strip_prefix('.') {
        None => ("", rest),
        Some(rest) => {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            if digits == 0 {
                return None;
            }
            rest.split_at(digits)
        }
    };
    let is_date = (1..=12).contains(&month) && (1..=days_in(year, month)).contains(&day);
    if !is_date || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let millis = fraction.bytes().chain(*b"000").take(3);
    let millis = millis.fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'));
    let days = days_from_civil(year, month, day);
    let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second - offset(zone)?;
    Some(Timestamp::from_millis(seconds * 1_000 + millis))
}

/// Seconds that a zone is ahead.
fn offset(zone: &str) -> Option<i64> {
    if zone == "Z" {
        return Some(0);
    }
    let (sign, zone) = zone.split_at_checked(1)?;
    let [hours, minutes] = numbers(zone, ':', [2, 2])?;
    if hours > 24 || minutes > 59 {
        return None;
    }
    let ahead = hours * 3_600 + minutes * 60;
    match sign {
        "+" => Some(ahead),
        "-" => Some(-ahead),
        _ => None,
    }
}

/// Numbers of so many digits each.
fn numbers<const N: usize>(text: &str, separator: char, digits: [usize; N]) -> Option<[i64; N]> {
    let mut numbers = [0; N];
    let mut parts = text.split(separator);
    for (number, digits) in numbers.iter_mut().zip(digits) {
        let part = parts.next()?;
        if part.len() != digits || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(numbers)
}

fn days_in(year: i64, month: i64) -> i64 {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => 28 + i64::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// As RFC 3339 writes it, in UTC, to the millisecond.
pub(super) fn print(time: Timestamp) -> String {
    let millis = time.as_millis();
    let (seconds, millis) = (millis.div_euclid(1_000), millis.rem_euclid(1_000));
    let (days, seconds) = (seconds.div_euclid(86_400) + 719_468, seconds.rem_euclid(86_400));
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    let fraction = match millis {
        0 => String::new(),
        millis => format!(".{millis:03}"),
    };
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_printed() {
        let check = |text: &str, millis: i64, printed: &str| {
            assert_eq!(parse(text), Some(Timestamp::from_millis(millis)), "{text}");
            assert_eq!(print(Timestamp::from_millis(millis)), printed, "{text}");
        };
        check("1970-01-01T00:00:00Z", 0, "1970-01-01T00:00:00Z");
        check("2023-11-14T22:13:20Z", 1_700_000_000_000, "2023-11-14T22:13:20Z");
        check(
            "2023-11-14T22:13:20.5Z",
            1_700_000_000_500,
            "2023-11-14T22:13:20.500Z",
        );
        check(
            "2023-11-15T00:13:20.0219999+02:00",
            1_700_000_000_021,
            "2023-11-14T22:13:20.021Z",
        );
        check(
            "2000-02-29T12:00:00-01:30",
            951_831_000_000,
            "2000-02-29T13:30:00Z",
        );
        check("1969-12-31T23:59:59.999Z", -1, "1969-12-31T23:59:59.999Z");
        check(
            "0001-01-01T00:00:00Z",
            -62_135_596_800_000,
            "0001-01-01T00:00:00Z",
        );
        assert_eq!((parse(WRITTEN_MIN), parse(WRITTEN_MAX)), (Some(MIN), Some(MAX)));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "2023-11-14",
            "2023-11-14T22:13:20",
            "2023-11-14 22:13:20Z",
            "2023-13-14T22:13:20Z",
            "2023-02-29T22:13:20Z",
            "2023-11-14T24:00:00Z",
            "2023-11-14T22:60:00Z",
            "2023-11-14T22:13:60Z",
            "2023-11-14T22:13:20.Z",
            "2023-11-14T22:13:20+0200",
            "2023-11-14T22:13:20é",
            "+023-11-14T22:13:20Z",
            "202é-11-14T22:13:20Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
