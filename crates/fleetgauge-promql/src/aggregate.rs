//! Aggregations: what becomes of the series of a group, step by step.

mod choose;
mod count_values;
mod fold;
mod sample_hash;
#[cfg(test)]
mod tests;

use crate::annotation::Annotations;
use crate::engine::{Budget, EvalError};
use crate::function::{quantile, warn_of_quantile};
use crate::label::{Groups, LabelSet, Members, Projection};
use crate::parse::{AggregateOp, Grouping};
use crate::value::{Operand, Vector, is_absent};

/// The series of a vector in groups.
struct Grouped {
    vector: Vector,
    /// Of each series.
    group_of: Vec<usize>,
    /// Of each group.
    labels: Vec<LabelSet>,
}

pub(crate) fn evaluate(
    op: AggregateOp,
    grouping: &Grouping,
    param: Option<Operand>,
    vector: Vector,
    budget: &mut Budget,
    notes: &mut Annotations,
) -> Result<Vector, EvalError> {
    let scalar = match &param {
        Some(Operand::Scalar(values)) => &values[..],
        _ => &[],
    };
    if let (AggregateOp::CountValues, Some(Operand::Text(label))) = (op, &param) {
        return count_values::evaluate(label, grouping, &vector, budget);
    }
    let grouped = Grouped::new(grouping, vector);
    let vector = &grouped.vector;
    match op {
        AggregateOp::Topk | AggregateOp::Bottomk | AggregateOp::Limitk | AggregateOp::LimitRatio => {
            budget.take_result(vector.len(), vector.width())?;
            choose::evaluate(op, scalar, &grouped, notes)
        }
        _ => {
            budget.take_result(grouped.labels.len(), vector.width())?;
            let mut result = match op {
                AggregateOp::Sum => grouped.fold::<fold::SumOf>(),
                AggregateOp::Avg => grouped.fold::<fold::MeanOf>(),
                AggregateOp::Min => grouped.fold::<fold::Min>(),
                AggregateOp::Max => grouped.fold::<fold::Max>(),
                AggregateOp::Group => grouped.fold::<fold::One>(),
                AggregateOp::Stddev => grouped.fold::<fold::Deviation>(),
                AggregateOp::Stdvar => grouped.fold::<fold::Variance>(),
                AggregateOp::Quantile => grouped.quantile(scalar, notes),
                _ => grouped.fold::<fold::Count>(),
            };
            result.retain_present();
            Ok(result)
        }
    }
}

/// The largest and the smallest of the parameters of all steps, if they are beyond what these may be; NaN alone if
/// there is one.
fn beyond(params: &[f64], least: f64, most: f64) -> impl Iterator<Item = f64> {
    let nan = params.iter().copied().find(|param| param.is_nan());
    let numbers = || params.iter().copied().filter(|_| nan.is_none());
    let largest = numbers().reduce(f64::max).filter(|largest| *largest > most);
    let smallest = numbers().reduce(f64::min).filter(|smallest| *smallest < least);
    nan.into_iter().chain(largest).chain(smallest)
}

/// How the series of a vector are grouped.
fn projection(grouping: &Grouping) -> Projection {
    match grouping.without {
        true => Projection::drop(&grouping.labels),
        false => Projection::keep(&grouping.labels),
    }
}

// === impl Grouped ===

impl Grouped {
    fn new(grouping: &Grouping, vector: Vector) -> Self {
        let mut groups = Groups::new(projection(grouping));
        let group_of = vector.labels.iter().map(|labels| groups.add(labels)).collect();
        Self {
            vector,
            group_of,
            labels: (0..groups.len()).map(|group| groups.labels(group)).collect(),
        }
    }

    /// The series of each group, in their order.
    fn members(&self) -> Members {
        Members::new(self.labels.len(), self.group_of.iter().copied().enumerate())
    }

    fn fold<F: fold::Fold>(&self) -> Vector {
        let width = self.vector.width();
        let mut result = Vector::with_capacity(width, self.labels.len());
        // One group after the other, so that the states of all of them are never there at once.
        let mut cells: Vec<Option<F>> = vec![None; width];
        for (members, labels) in self.members().iter().zip(&self.labels) {
            cells.fill(None);
            for &i in members {
                for (cell, &value) in cells.iter_mut().zip(self.vector.row(i)) {
                    if is_absent(value) {
                        continue;
                    }
                    match cell {
                        Some(cell) => cell.add(value),
                        None => *cell = Some(F::starting_at(value)),
                    }
                }
            }
            let row = result.push_absent(labels.clone());
            for (value, cell) in row.iter_mut().zip(&cells) {
                if let Some(cell) = cell {
                    *value = cell.result();
                }
            }
        }
        result
    }

    fn quantile(&self, q: &[f64], notes: &mut Annotations) -> Vector {
        // Of all steps at once, and whether there is a series or not.
        beyond(q, 0.0, 1.0).for_each(|q| warn_of_quantile(q, 0, notes));
        let mut result = Vector::with_capacity(self.vector.width(), self.labels.len());
        let mut values = Vec::new();
        for (members, labels) in self.members().iter().zip(&self.labels) {
            let row = result.push_absent(labels.clone());
            for (step, (place, &q)) in row.iter_mut().zip(q).enumerate() {
                let at_step = members.iter().map(|&i| self.vector.row(i)[step]);
                values.clear();
                values.extend(at_step.filter(|&value| !is_absent(value)));
                if !values.is_empty() {
                    *place = quantile(q, &mut values);
                }
            }
        }
        result
    }
}
