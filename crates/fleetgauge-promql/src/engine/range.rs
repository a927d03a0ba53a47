//! Functions over ranges: each series is read once, and its ranges slide along with the steps.

use crate::annotation::Annotations;
use crate::function::{RangeInput, RangeSpec};
use crate::label::{LabelSet, METRIC_NAME, Projection};
use crate::selector::{Buffer, Ranges};
use crate::value::{Steps, Vector};

use crate::budget::{Budget, SERIES_WORK};
use crate::error::EvalError;

/// `params` are the function's scalar arguments, each with a number a step.
pub(super) fn evaluate(
    spec: &RangeSpec,
    ranges: &Ranges<'_>,
    params: &[Vec<f64>],
    steps: &Steps,
    budget: &mut Budget,
    notes: &mut Annotations,
) -> Result<Vector, EvalError> {
    budget.take_result(ranges.len(), steps.count)?;
    if !params.is_empty() {
        budget.take_bytes(steps.count.saturating_mul(params.len() * 8 + 48))?;
    }
    let params_at: Vec<Vec<f64>> = match params {
        [] => Vec::new(),
        _ => (0..steps.count)
            .map(|step| params.iter().map(|values| values[step]).collect())
            .collect(),
    };
    let mut result = Vector::with_capacity(steps.count, ranges.len());
    // Series that are the same without their names have other names.
    let mut names_differ = false;
    let mut name: Option<LabelSet> = None;
    let mut own_name = Projection::keep(&[METRIC_NAME.into()]);
    let mut without_name = Projection::without_name();
    let mut buffer = Buffer::default();
    for i in 0..ranges.len() {
        ranges.read(i, &mut buffer, budget)?;
        budget.spend(SERIES_WORK + steps.count)?;
        let (times, values) = (buffer.times(), buffer.values());
        if times.is_empty() {
            continue;
        }
        let labels = ranges.labels(i);
        let row = result.push_absent(labels.clone());
        let (mut found, mut work) = (false, 0);
        let mut ages = Vec::new();
        // The last sample so far that is lower than the one before it, and how far was looked.
        let (mut last_fall, mut looked) = (0, 1);
        for (step, window) in ranges.windows(&buffer).enumerate() {
            let (from, to) = window.samples;
            if from == to {
                continue;
            }
            while looked < to {
                if values[looked] < values[looked - 1] {
                    last_fall = looked;
                }
                looked += 1;
            }
            let input = RangeInput {
                times: &times[from..to],
                values: &values[from..to],
                falls: last_fall > from,
                start: window.start,
                end: window.end,
                at: steps.at(step),
            };
            let params = params_at.get(step).map_or(&[][..], |params| params);
            if let Some(check) = spec.check {
                check(params)?;
            }
            if let Some(value) = (spec.call)(&input, params, notes) {
                row[step] = value;
                found = true;
                if ranges.tells_ages() {
                    ages.push((step, ranges.age(i, &buffer, window)));
                }
            }
            // A wide range over many steps looks at the same samples again and again.
            work += to - from;
            if work > 100_000 {
                budget.spend(std::mem::take(&mut work))?;
            }
        }
        budget.spend(work)?;
        if !found {
            result.pop();
            continue;
        }
        result.set_ages(ages);
        if let Some(remark) = spec.remark {
            remark(labels.metric_name(), notes);
        }
        if !spec.keeps_name
            && let Some(labels) = result.labels.last_mut()
        {
            names_differ |= name.as_ref().is_some_and(|first| !own_name.agrees(first, labels));
            name.get_or_insert_with(|| labels.clone());
            *labels = without_name.apply(labels);
            budget.take_bytes(own_name.made() + without_name.made())?;
        }
    }
    if names_differ {
        result.refuse_duplicates(budget)?;
    }
    Ok(result)
}
