//! `count_values`: how often each value occurs, as series with the value in a label.

use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::engine::{Budget, EvalError, SERIES_WORK};
use crate::label::Groups;
use crate::parse::Grouping;
use crate::value::{Vector, is_absent};

use super::group::projection;

pub(super) fn evaluate(
    label: &Arc<str>,
    grouping: &Grouping,
    vector: &Vector,
    budget: &mut Budget,
) -> Result<Vector, EvalError> {
    if label.is_empty() {
        return Err(EvalError::execution(format!("invalid label name {label:?}")));
    }
    // The label is set before the series are grouped.
    let mut grouping = grouping.clone();
    if !grouping.without {
        grouping.labels.push(Arc::clone(label));
    }
    let mut groups = Groups::new(projection(&grouping));
    let mut result = Vector::new(vector.width());
    // Of one series at a time: which group its values are of.
    budget.take_list::<[usize; 4]>(vector.width())?;
    for (labels, row) in vector.rows() {
        budget.spend(SERIES_WORK + vector.width())?;
        let mut known: HashMap<u64, usize, RandomState> = HashMap::default();
        for (step, &value) in row.iter().enumerate().filter(|(_, value)| !is_absent(**value)) {
            let group = match known.get(&value.to_bits()) {
                Some(group) => *group,
                None => {
                    let text = text(value);
                    let labelled = labels.with(label, &text);
                    let group = groups.add(&labelled, budget)?;
                    // What is known already is not kept.
                    if group == result.len() {
                        budget.take_bytes(labels.bytes_with(label, &text))?;
                    }
                    known.insert(value.to_bits(), group);
                    group
                }
            };
            if group == result.len() {
                budget.take_row(group, result.width())?;
                result.push_absent(groups.labels(group, budget)?);
            }
            let count = &mut result.row_mut(group)[step];
            *count = if is_absent(*count) { 1.0 } else { *count + 1.0 };
        }
    }
    Ok(result)
}

/// All digits, without an exponent, as Go's `'f'` format.
fn text(value: f64) -> String {
    if value.is_nan() {
        return "NaN".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.into();
    }
    let shortest = format!("{value:e}");
    // Where two shortest texts are equally near, Go takes the even one, which rounding to as many digits gives.
    let places = digits(&shortest).0.len() - 1;
    let even = format!("{value:.places$e}");
    let (digits, exponent) = digits(if even.parse() == Ok(value) {
        &even
    } else {
        &shortest
    });
    let sign = if value.is_sign_negative() { "-" } else { "" };
    match usize::try_from(exponent) {
        Ok(exponent) if exponent >= digits.len() - 1 => format!("{sign}{digits:0<0$}", exponent + 1),
        Ok(exponent) => format!("{sign}{}.{}", &digits[..=exponent], &digits[exponent + 1..]),
        Err(_) => format!(
            "{sign}0.{}{digits}",
            "0".repeat(exponent.unsigned_abs() as usize - 1)
        ),
    }
}

/// The digits of a number in scientific notation, the first of which has the power of ten beside it.
fn digits(scientific: &str) -> (String, i32) {
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    let digits = mantissa.chars().filter(char::is_ascii_digit).collect();
    (digits, exponent.parse().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_go_does() {
        let check = |value: f64, expected: &str| assert_eq!(text(value), expected);
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
}
