//! Numbers as Kubernetes writes them: whole numbers with a suffix, `2500m` for 2.5.
//!
//! *Source*: <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>

use std::fmt;

use serde::{Serialize, Serializer};

/// The largest number, up or down, that may be told. The HPA counts in thousandths, in 64 bits, and a larger number would
/// come out as another one, even as a negative one.
pub const MAX: f64 = 9.0e15;

/// A number to the billionth, rounded up; never zero unless it is.
///
/// It is the number that is read and not the one nearest to it in binary: 0.1 is `100m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantity {
    /// *Unit*: billionths.
    nanos: i128,
}

// === impl Quantity ===

impl Quantity {
    /// The number, if it can be told: it is finite and, up or down, at most [`MAX`].
    pub fn new(number: f64) -> Option<Self> {
        if !(-MAX..=MAX).contains(&number) {
            return None;
        }
        // Never with an exponent.
        let text = number.abs().to_string();
        let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
        let (told, rest) = fraction.split_at(fraction.len().min(9));
        let nanos = format!("{whole}{told:0<9}").parse::<i128>().ok()?;
        let is_more = rest.bytes().any(|digit| digit != b'0');
        let nanos = match number < 0.0 {
            false => nanos + i128::from(is_more),
            // Up is towards zero, which it is not.
            true if nanos == 0 && is_more => -1,
            true => -nanos,
        };
        Some(Self { nanos })
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(1_000_000_000, ""), (1_000_000, "m"), (1_000, "u"), (1, "n")];
        let whole = units.into_iter().find(|(unit, _)| self.nanos % unit == 0);
        let (unit, suffix) = whole.unwrap_or((1, "n"));
        write!(f, "{}{suffix}", self.nanos / unit)
    }
}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_written_as_kubernetes_reads_them() {
        for (number, expected) in [
            (0.0, Some("0")),
            (-0.0, Some("0")),
            (3.0, Some("3")),
            (2.5, Some("2500m")),
            (0.1, Some("100m")),
            (0.000_25, Some("250u")),
            (1.000_000_001, Some("1000000001n")),
            (1.000_000_000_1, Some("1000000001n")),
            (1e-9, Some("1n")),
            (1e-12, Some("1n")),
            (5e-324, Some("1n")),
            (-1.5, Some("-1500m")),
            (-1e-12, Some("-1n")),
            (-1.000_000_000_1, Some("-1")),
            (1e15, Some("1000000000000000")),
            (9e15, Some("9000000000000000")),
            (9.1e15, None),
            (-9.1e15, None),
            (f64::NAN, None),
            (f64::INFINITY, None),
            (f64::NEG_INFINITY, None),
        ] {
            let given = Quantity::new(number).map(|quantity| quantity.to_string());
            assert_eq!(given.as_deref(), expected, "{number}");
        }
    }

    /// Reads a quantity. *Unit*: billionths.
    fn read(text: &str) -> i128 {
        let (digits, unit) = match text.strip_suffix(|c: char| c.is_ascii_lowercase()) {
            None => (text, 1_000_000_000),
            Some(digits) if text.ends_with('m') => (digits, 1_000_000),
            Some(digits) if text.ends_with('u') => (digits, 1_000),
            Some(digits) if text.ends_with('n') => (digits, 1),
            Some(_) => panic!("{text}"),
        };
        digits.parse::<i128>().unwrap() * unit
    }

    /// Numbers of every size, and not mostly those near the largest.
    fn number() -> impl Strategy<Value = f64> {
        (-9.0..9.0_f64, -15..=15_i32).prop_map(|(digits, exponent)| digits * 10_f64.powi(exponent))
    }

    proptest! {
        #[test]
        fn a_number_is_told_rounded_up_by_less_than_a_billionth(number in number()) {
            let text = Quantity::new(number).unwrap().to_string();
            let told = read(&text);
            prop_assert_eq!(told == 0, number == 0.0, "{}", text);
            prop_assert_eq!(told < 0, number < 0.0, "{}", text);
            // In decimal digits, where nothing is rounded: both with twenty of them after the point.
            let exact = format!("{:.20}", number.abs());
            let shortest = number.abs().to_string();
            if shortest.split_once('.').is_none_or(|(_, fraction)| fraction.len() <= 9) {
                let (whole, fraction) = shortest.split_once('.').unwrap_or((&shortest, ""));
                let nanos: i128 = format!("{whole}{fraction:0<9}").parse().unwrap();
                prop_assert_eq!(told.abs(), nanos, "{}", text);
            } else {
                let digits: i128 = exact.replace('.', "").parse().unwrap();
                let nanos = digits / 100_000_000_000;
                let expected = match (number < 0.0, nanos) {
                    (true, 0) => 1,
                    (true, nanos) => nanos,
                    (false, nanos) => nanos + 1,
                };
                prop_assert_eq!(told.abs(), expected, "{} of {}", text, exact);
            }
            // By the largest unit that it is whole in.
            let is_shortest = match text.chars().last() {
                Some('m') => told % 1_000_000_000 != 0,
                Some('u') => told % 1_000_000 != 0,
                Some('n') => told % 1_000 != 0,
                _ => true,
            };
            prop_assert!(is_shortest, "{}", text);
        }

        #[test]
        fn more_is_never_told_as_less(a in number(), b in number()) {
            let told = |number: f64| read(&Quantity::new(number).unwrap().to_string());
            let (less, more) = if a <= b { (a, b) } else { (b, a) };
            prop_assert!(told(less) <= told(more));
        }
    }
}
