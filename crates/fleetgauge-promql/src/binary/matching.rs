//! Arithmetic and comparison between two vectors.
//!
//! Which series belong together depends on their labels alone, so it is found once; whether a match is
//! ambiguous depends on which of them have a sample, so that is looked at step by step.

use fleetgauge_core::label::METRIC_NAME;
use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::engine::{Budget, EvalError};
use crate::label::{Groups, LabelSet, Members, Projection};
use crate::parse::{Binary, Group, Matching};
use crate::value::{ABSENT, Vector, is_absent};

use super::operation::Operation;

/// The labels by which series are matched.
pub(super) fn projection(matching: &Matching) -> Projection {
    match matching.on {
        true => Projection::keep(&matching.labels),
        false => Projection::drop(&matching.labels),
    }
}

/// The side that may have several series for one of the other is `many`; without grouping it is the left one.
struct Sides<'a> {
    many: &'a Vector,
    one: &'a Vector,
    swapped: bool,
}

pub(super) fn evaluate(
    binary: &Binary,
    left: &Vector,
    right: &Vector,
    budget: &mut Budget,
) -> Result<Vector, EvalError> {
    let width = left.width();
    let matching = &binary.matching;
    let swapped = matching.group == Group::Right;
    let (many, one) = if swapped { (right, left) } else { (left, right) };
    let sides = Sides { many, one, swapped };
    if many.len() == 0 || one.len() == 0 {
        return Ok(Vector::new(width));
    }

    let mut groups = Groups::new(projection(matching));
    let ones: Vec<_> = one.labels.iter().map(|labels| groups.add(labels)).collect();
    let ones = Members::new(groups.len(), ones.into_iter().enumerate());
    let manys = many.labels.iter().map(|labels| groups.find(labels));
    let manys: Vec<_> = manys
        .enumerate()
        .filter_map(|(i, group)| Some((i, group?)))
        .collect();
    let manys = Members::new(groups.len(), manys.into_iter());
    for (group, ones) in ones.iter().enumerate().filter(|(_, ones)| ones.len() > 1) {
        sides.refuse_duplicates(ones, || groups.labels(group))?;
    }

    let mut result = Vector::with_capacity(width, many.len());
    // By the series of the result, which group it is of.
    let mut group_of = Vec::with_capacity(many.len());
    let mut labelling = Labelling::new(binary);
    let operation = Operation::new(binary.op);
    let mut taken = vec![false; width];
    for (group, (manys, ones)) in manys.iter().zip(ones.iter()).enumerate() {
        taken.fill(false);
        let is_shared = manys.len() > 1 && matching.group == Group::Neither;
        for &i in manys {
            for &j in ones {
                budget.take_result(result.len() + 1, 0)?;
                budget.take_samples(width)?;
                let row = result.push_absent(LabelSet::empty());
                let (many, one) = (sides.many.row(i), sides.one.row(j));
                let (left, right) = if swapped { (one, many) } else { (many, one) };
                let any = compute(operation, binary.returns_bool, left, right, row);
                if !any {
                    result.pop();
                    continue;
                }
                if is_shared {
                    for (taken, &value) in taken.iter_mut().zip(&*row) {
                        if !is_absent(value) && std::mem::replace(taken, true) {
                            return Err(EvalError::execution(
                                "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)",
                            ));
                        }
                    }
                }
                let labels = labelling.apply(&sides.many.labels[i], &sides.one.labels[j]);
                if let Some(place) = result.labels.last_mut() {
                    *place = labels;
                }
                group_of.push(group);
            }
        }
    }
    // Without grouping, what a group was matched by are the labels of its result, unless the name is among them, which
    // may be dropped.
    let is_by_name = matching.labels.iter().any(|label| **label == *METRIC_NAME);
    let is_one_each = || group_of.windows(2).all(|pair| pair[0] != pair[1]);
    if matching.group != Group::Neither || is_by_name || !is_one_each() {
        merge(&mut result, &group_of, matching.group)?;
    }
    Ok(result)
}

/// Fills a row of the result; `false` if it has no sample.
fn compute(operation: Operation, returns_bool: bool, left: &[f64], right: &[f64], row: &mut [f64]) -> bool {
    let mut any = false;
    for ((place, &left), &right) in row.iter_mut().zip(left).zip(right) {
        if is_absent(left) || is_absent(right) {
            continue;
        }
        *place = match operation {
            Operation::Arithmetic(compute) => compute(left, right),
            Operation::Comparison(holds) => match (returns_bool, holds(left, right)) {
                (true, holds) => f64::from(u8::from(holds)),
                (false, true) => left,
                (false, false) => continue,
            },
        };
        any = true;
    }
    any
}

/// Makes one series of those of the result that have the same labels.
fn merge(result: &mut Vector, group_of: &[usize], grouping: Group) -> Result<(), EvalError> {
    let mut first: HashMap<LabelSet, usize, RandomState> =
        HashMap::with_capacity_and_hasher(result.len(), RandomState::default());
    let mut merged = false;
    for i in 0..result.len() {
        let known = *first.entry(result.labels[i].clone()).or_insert(i);
        if known == i {
            continue;
        }
        merged = true;
        for step in 0..result.width() {
            let value = std::mem::replace(&mut result.row_mut(i)[step], ABSENT);
            if is_absent(value) {
                continue;
            }
            let place = &mut result.row_mut(known)[step];
            if !is_absent(*place) {
                let is_ambiguous = grouping != Group::Neither && group_of[known] == group_of[i];
                return Err(EvalError::execution(match is_ambiguous {
                    true => "multiple matches for labels: grouping labels must ensure unique matches",
                    false => "vector cannot contain metrics with the same labelset",
                }));
            }
            *place = value;
        }
    }
    if merged {
        result.retain_present();
    }
    Ok(())
}

// === impl Sides ===

impl Sides<'_> {
    /// Refuses series of the `one` side that are in one group and have samples at the same step, unless the
    /// other side is empty then.
    fn refuse_duplicates(&self, rows: &[usize], labels: impl FnOnce() -> LabelSet) -> Result<(), EvalError> {
        let mut holder: Vec<Option<usize>> = vec![None; self.one.width()];
        for &row in rows {
            for (step, &value) in self.one.row(row).iter().enumerate() {
                if is_absent(value) {
                    continue;
                }
                let Some(other) = holder[step].replace(row) else {
                    continue;
                };
                if self.many.rows().all(|(_, row)| is_absent(row[step])) {
                    continue;
                }
                let side = if self.swapped { "left" } else { "right" };
                return Err(EvalError::execution(format!(
                    "found duplicate series for the match group {} on the {side} hand-side of the operation: \
                     [{}, {}];many-to-many matching not allowed: matching labels must be unique on one side",
                    labels().braced(),
                    self.one.labels[row].braced(),
                    self.one.labels[other].braced(),
                )));
            }
        }
        Ok(())
    }
}

/// The labels of the result.
struct Labelling<'a> {
    of_many: Projection,
    include: &'a [std::sync::Arc<str>],
}

// === impl Labelling ===

impl<'a> Labelling<'a> {
    fn new(binary: &'a Binary) -> Self {
        let matching = &binary.matching;
        let drops_name = !binary.op.is_comparison() || binary.returns_bool;
        let of_many = match (matching.group, matching.on) {
            (Group::Neither, true) => {
                let mut labels = matching.labels.clone();
                labels.retain(|label| !(drops_name && **label == *METRIC_NAME));
                Projection::keep(&labels)
            }
            (Group::Neither, false) if drops_name => Projection::drop(&matching.labels),
            (Group::Neither, false) => Projection::drop_exactly(&matching.labels),
            _ if drops_name => Projection::without_name(),
            _ => Projection::drop_exactly(&[]),
        };
        Self {
            of_many,
            include: &matching.include,
        }
    }

    fn apply(&mut self, many: &LabelSet, one: &LabelSet) -> LabelSet {
        let labels = self.of_many.apply(many);
        self.include.iter().fold(labels, |labels, name| {
            labels.with(name, one.get(name).unwrap_or_default())
        })
    }
}
