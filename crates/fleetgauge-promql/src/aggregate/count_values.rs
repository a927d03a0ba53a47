//! `count_values`: how often each value occurs, as series with the value in a label.

use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::engine::{Budget, EvalError};
use crate::label::Groups;
use crate::parse::Grouping;
use crate::value::{Vector, is_absent};

use super::projection;

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
    for (labels, row) in vector.rows() {
        let mut known: HashMap<u64, usize, RandomState> = HashMap::default();
        for (step, &value) in row.iter().enumerate().filter(|(_, value)| !is_absent(**value)) {
            let group = match known.get(&value.to_bits()) {
                Some(group) => *group,
                None => {
                    let group = groups.add(&labels.with(label, &text(value)));
                    known.insert(value.to_bits(), group);
                    group
                }
            };
            if group == result.len() {
                budget.take_result(group + 1, 0)?;
                budget.take_samples(result.width())?;
                result.push_absent(groups.labels(group));
            }
            let count = &mut result.row_mut(group)[step];
            *count = if is_absent(*count) { 1.0 } else { *count + 1.0 };
        }
    }
    Ok(result)
}

/// All digits, without an exponent, as Go's `'f'` format.
fn text(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.into();
    }
    let shortest = value.to_string();
    // Where two shortest texts are equally near, Go takes the even one, which rounding to as many digits gives.
    let decimals = shortest.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    let even = format!("{value:.decimals$}");
    if even.parse() == Ok(value) { even } else { shortest }
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
        check(f64::NAN, "NaN");
        check(f64::NEG_INFINITY, "-Inf");
        // Exactly between two texts of its length.
        check(-20_373_478_480.0 - 0.570_312_5, "-20373478480.570312");
    }
}
