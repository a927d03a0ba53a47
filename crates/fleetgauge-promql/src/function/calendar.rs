//! What a time is in the calendar, in UTC: `hour`, `day_of_week`, `days_in_month` and the like.

use super::elementwise;
use crate::budget::Budget;
use crate::error::EvalError;
use crate::label::LabelSet;
use crate::value::{Steps, Vector};

/// A day in the Gregorian calendar, extended to before it was invented.
///
/// Years are counted from 400-year cycles that begin in March, so that the day that leaps is the last one.
///
/// *Source*: <https://howardhinnant.github.io/date_algorithms.html>.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Date {
    year: i64,
    /// From 1.
    month: i64,
    /// From 1.
    day: i64,
}

const DAY_SECONDS: i64 = 86_400;

/// The first second that Go can tell from others: times before it wrap around to the far future.
const FIRST_SECOND: i64 = -9_223_371_966_579_724_800;

// Each takes a time in seconds since the Unix epoch.

pub(super) fn minute(at: f64) -> f64 {
    (second_of_day(at) % 3600 / 60) as f64
}

pub(super) fn hour(at: f64) -> f64 {
    (second_of_day(at) / 3600) as f64
}

pub(super) fn day_of_week(at: f64) -> f64 {
    // The first of January 1970 was a Thursday.
    (day_number(at) + 4).rem_euclid(7) as f64
}

pub(super) fn day_of_month(at: f64) -> f64 {
    Date::of(day_number(at)).day as f64
}

pub(super) fn day_of_year(at: f64) -> f64 {
    Date::of(day_number(at)).day_of_year() as f64
}

pub(super) fn days_in_month(at: f64) -> f64 {
    Date::of(day_number(at)).days_in_month() as f64
}

pub(super) fn month(at: f64) -> f64 {
    Date::of(day_number(at)).month as f64
}

pub(super) fn year(at: f64) -> f64 {
    Date::of(day_number(at)).year as f64
}

/// Applies one to each number of a vector; without one, to the time of each step.
pub(super) fn apply(
    function: fn(f64) -> f64,
    vector: Option<Vector>,
    steps: &Steps,
    budget: &mut Budget,
) -> Result<Vector, EvalError> {
    if let Some(vector) = vector {
        return elementwise::apply_with_step(vector, budget, |value, _| Some(function(value)));
    }
    let mut now = Vector::new(steps.count);
    let row = now.push_absent(LabelSet::empty());
    for (value, at) in row.iter_mut().zip(steps.iter()) {
        *value = function((at / 1000) as f64);
    }
    Ok(now)
}

/// Whole seconds, as Go on x86-64 converts: what does not fit (or is NaN) is the smallest number.
fn whole_seconds(at: f64) -> i128 {
    // 2^63 is the first that does not fit.
    let fits = (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&at);
    let seconds = if fits { at as i64 } else { i64::MIN };
    if seconds < FIRST_SECOND {
        i128::from(seconds) + (1 << 64)
    } else {
        i128::from(seconds)
    }
}

fn day_number(at: f64) -> i64 {
    whole_seconds(at).div_euclid(i128::from(DAY_SECONDS)) as i64
}

fn second_of_day(at: f64) -> i64 {
    whole_seconds(at).rem_euclid(i128::from(DAY_SECONDS)) as i64
}

// === impl Date ===

impl Date {
    /// Of the day so many days after the first of January 1970.
    fn of(day: i64) -> Self {
        // From the first of March of the year 0.
        let day = day + 719_468;
        let cycle = day.div_euclid(146_097);
        let day = day.rem_euclid(146_097);
        // The days that leap before it, out of the way.
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day_of_year = day - (365 * year + year / 4 - year / 100);
        // Months from March on have 31, 30, 31, 30, 31 days, and again.
        let month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month + 2) / 5 + 1;
        let (month, is_next_year) = if month < 10 {
            (month + 3, 0)
        } else {
            (month - 9, 1)
        };
        Self {
            year: cycle * 400 + year + is_next_year,
            month,
            day,
        }
    }

    fn is_in_leap_year(self) -> bool {
        self.year % 4 == 0 && (self.year % 100 != 0 || self.year % 400 == 0)
    }

    fn days_in_month(self) -> i64 {
        match self.month {
            2 if self.is_in_leap_year() => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        }
    }

    fn day_of_year(self) -> i64 {
        let before = (1..self.month).map(|month| Self { month, ..self }.days_in_month());
        before.sum::<i64>() + self.day
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{evaluate_at, rows, vector};
    use super::*;
    use crate::value::Operand;
    use proptest::prelude::*;

    /// Printed by Go 1.19 on x86-64; the seconds, then year, month, day, hour, minute, day of the week, day of
    /// the year and days in the month.
    #[test]
    fn times_are_in_the_calendar_where_go_has_them() {
        let functions: [fn(f64) -> f64; 8] = [
            year,
            month,
            day_of_month,
            hour,
            minute,
            day_of_week,
            day_of_year,
            days_in_month,
        ];
        let check = |at: f64, expected: [i64; 8]| {
            let got = functions.map(|function| function(at) as i64);
            assert_eq!(got, expected, "{at}");
        };
        check(0.0, [1970, 1, 1, 0, 0, 4, 1, 31]);
        check(1_763_930_000.0, [2025, 11, 23, 20, 33, 0, 327, 30]);
        check(951_782_399.9, [2000, 2, 28, 23, 59, 1, 59, 29]);
        check(951_782_400.0, [2000, 2, 29, 0, 0, 2, 60, 29]);
        check(951_868_800.0, [2000, 3, 1, 0, 0, 3, 61, 31]);
        check(4_107_542_399.0, [2100, 2, 28, 23, 59, 0, 59, 28]);
        check(4_107_542_400.0, [2100, 3, 1, 0, 0, 1, 60, 31]);
        check(-1.0, [1969, 12, 31, 23, 59, 3, 365, 31]);
        // Towards zero.
        check(-0.9, [1970, 1, 1, 0, 0, 4, 1, 31]);
        check(-62_230_464_000.0, [-3, 12, 30, 0, 0, 2, 364, 31]);
        for beyond in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e30] {
            check(beyond, [292_277_026_596, 12, 4, 15, 30, 0, 339, 31]);
        }
    }

    #[test]
    fn without_a_vector_it_is_the_time_of_the_step() {
        let steps = Steps {
            start: 3_599_999,
            step: 1,
            count: 2,
            until: 3_600_000,
        };
        let now = evaluate_at("hour", vec![], &steps);
        assert_eq!(rows(&now), ["{} 0 1"]);
        let given = vector(&[(r#"x{a="1"}"#, &[7_200.0, crate::value::ABSENT])]);
        let given = evaluate_at("hour", vec![Operand::Vector(given)], &steps);
        assert_eq!(rows(&given), [r#"{a="1"} 2 _"#]);
    }

    proptest! {
        #[test]
        fn the_day_after_is_one_further(day in -200_000_000_000_i64..200_000_000_000) {
            let (today, tomorrow) = (Date::of(day), Date::of(day + 1));
            prop_assert!((1..=today.days_in_month()).contains(&today.day));
            if tomorrow.day == 1 {
                prop_assert_eq!(today.day, today.days_in_month());
                prop_assert_eq!(tomorrow.month, today.month % 12 + 1);
                prop_assert_eq!(tomorrow.year, today.year + i64::from(today.month == 12));
            } else {
                prop_assert_eq!(tomorrow, Date { day: today.day + 1, ..today });
            }
        }
    }
}
