//! `count_values`: how often each value occurs, as series with the value in a label.

use std::sync::Arc;

use fleetgauge_syntax::number::Plain;
use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::budget::{Budget, SERIES_WORK};
use crate::error::EvalError;
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
    for (i, (labels, row)) in vector.rows().enumerate() {
        budget.spend(SERIES_WORK + vector.width())?;
        let mut known: HashMap<u64, usize, RandomState> = HashMap::default();
        for (step, &value) in row.iter().enumerate().filter(|(_, value)| !is_absent(**value)) {
            let histogram = vector.histogram(i, step);
            let known_group = match histogram {
                None => known.get(&value.to_bits()),
                Some(_) => None,
            };
            let group = match known_group {
                Some(group) => *group,
                None => {
                    let text = match histogram {
                        None => Plain(value).to_string(),
                        Some(histogram) => {
                            budget.spend(histogram.work().saturating_mul(10))?;
                            histogram.to_string()
                        }
                    };
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
            result.stand_on_at(group, step, vector.age(i, step));
        }
    }
    Ok(result)
}
