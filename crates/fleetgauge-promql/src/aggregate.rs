//! Aggregations: what becomes of the series of a group, step by step.

mod choose;
mod count_values;
mod fold;
mod group;
mod mixed;
mod sample_hash;
#[cfg(test)]
mod tests;

use crate::annotation::Annotations;
use crate::budget::Budget;
use crate::error::EvalError;
use crate::function::{quantile, warn_of_quantile};
use crate::histogram::{MeanOf, TotalOf};
use crate::parse::{AggregateOp, AggregatePlaces, Grouping};
use crate::value::{Operand, Vector, is_absent};

use choose::Choice;
use group::{Grouped, beyond};

/// What notes are about, beside the parameter.
const EXPR: usize = 1;
const WHOLE: usize = 2;

/// Where that stands.
pub(crate) fn places(of: AggregatePlaces) -> [usize; 3] {
    [of.param, of.expr, of.start]
}

pub(crate) fn evaluate(
    op: AggregateOp,
    grouping: &Grouping,
    param: Option<Operand>,
    mut vector: Vector,
    budget: &mut Budget,
    notes: &mut Annotations,
) -> Result<Vector, EvalError> {
    if vector.has_histograms() {
        match op {
            AggregateOp::Sum => {
                let grouped = Grouped::new(grouping, vector, budget)?;
                return grouped.fold_mixed::<fold::SumOf, TotalOf>(budget, notes);
            }
            AggregateOp::Avg => {
                let grouped = Grouped::new(grouping, vector, budget)?;
                return grouped.fold_mixed::<fold::MeanOf, MeanOf>(budget, notes);
            }
            // They know no values, or look for histograms themselves.
            AggregateOp::Count
            | AggregateOp::Group
            | AggregateOp::CountValues
            | AggregateOp::Limitk
            | AggregateOp::LimitRatio => {}
            AggregateOp::Topk | AggregateOp::Bottomk => leave_out(op, param.as_ref(), &mut vector, notes),
            AggregateOp::Min
            | AggregateOp::Max
            | AggregateOp::Stddev
            | AggregateOp::Stdvar
            | AggregateOp::Quantile => leave_out(op, None, &mut vector, notes),
        }
    }
    // Each operator is named, so that a new one is not taken for another.
    match op {
        AggregateOp::Sum => fold::<fold::SumOf>(grouping, vector, budget),
        AggregateOp::Avg => fold::<fold::MeanOf>(grouping, vector, budget),
        AggregateOp::Min => fold::<fold::Min>(grouping, vector, budget),
        AggregateOp::Max => fold::<fold::Max>(grouping, vector, budget),
        AggregateOp::Count => fold::<fold::Count>(grouping, vector, budget),
        AggregateOp::Group => fold::<fold::One>(grouping, vector, budget),
        AggregateOp::Stddev => fold::<fold::Deviation>(grouping, vector, budget),
        AggregateOp::Stdvar => fold::<fold::Variance>(grouping, vector, budget),
        AggregateOp::Quantile => {
            let q = number(param)?;
            Grouped::new(grouping, vector, budget)?.quantile(&q, budget, notes)
        }
        AggregateOp::CountValues => match param {
            Some(Operand::Text(label)) => count_values::evaluate(&label, grouping, &vector, budget),
            _ => Err(mismatch()),
        },
        AggregateOp::Topk => choose(Choice::Largest, param, grouping, vector, budget, notes),
        AggregateOp::Bottomk => choose(Choice::Smallest, param, grouping, vector, budget, notes),
        AggregateOp::Limitk => choose(Choice::First, param, grouping, vector, budget, notes),
        AggregateOp::LimitRatio => choose(Choice::Share, param, grouping, vector, budget, notes),
    }
}

/// Leaves the histograms out, and says so where any value can be chosen.
fn leave_out(op: AggregateOp, counts: Option<&Operand>, vector: &mut Vector, notes: &mut Annotations) {
    let chooses = |step: usize| match counts {
        Some(Operand::Scalar(counts)) => counts[step] >= 1.0,
        _ => true,
    };
    let has_any = |step: usize| (0..vector.len()).any(|i| vector.histogram(i, step).is_some());
    if (0..vector.width()).any(|step| chooses(step) && has_any(step)) {
        let of = match op {
            AggregateOp::Topk | AggregateOp::Bottomk => WHOLE,
            _ => EXPR,
        };
        notes.info_of(of, format_args!("ignored histogram in {} aggregation", op.name()));
    }
    vector.drop_histograms();
}

fn fold<F: fold::Fold>(
    grouping: &Grouping,
    vector: Vector,
    budget: &mut Budget,
) -> Result<Vector, EvalError> {
    Grouped::new(grouping, vector, budget)?.fold::<F>(budget)
}

fn choose(
    choice: Choice,
    param: Option<Operand>,
    grouping: &Grouping,
    vector: Vector,
    budget: &mut Budget,
    notes: &mut Annotations,
) -> Result<Vector, EvalError> {
    let params = number(param)?;
    let grouped = Grouped::new(grouping, vector, budget)?;
    choose::evaluate(choice, &params, &grouped, budget, notes)
}

fn number(param: Option<Operand>) -> Result<Vec<f64>, EvalError> {
    match param {
        Some(Operand::Scalar(values)) => Ok(values),
        _ => Err(mismatch()),
    }
}

/// The parser checks types, so no query leads here.
fn mismatch() -> EvalError {
    EvalError::execution("the parameter of an aggregation is not of the type that was checked")
}

// === impl Grouped ===

impl Grouped {
    fn fold<F: fold::Fold>(&self, budget: &mut Budget) -> Result<Vector, EvalError> {
        let width = self.vector.width();
        budget.take_result(self.labels().len(), width)?;
        budget.take_list::<Option<F>>(width)?;
        let mut result = Vector::absent(self.labels().clone(), width);
        // One group after the other, so that the states of all of them are never there at once.
        let mut cells: Vec<Option<F>> = vec![None; width];
        for (group, members) in self.members().iter().enumerate() {
            cells.fill(None);
            for &i in members {
                budget.spend(width)?;
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
            let row = result.row_mut(group);
            for (value, cell) in row.iter_mut().zip(&cells) {
                if let Some(cell) = cell {
                    *value = cell.result();
                }
            }
            result.stand_on_all(group, members, &self.vector);
            result.be_nameless_as(group, members, &self.vector);
        }
        result.retain_present();
        Ok(result)
    }

    fn quantile(&self, q: &[f64], budget: &mut Budget, notes: &mut Annotations) -> Result<Vector, EvalError> {
        // Of all steps at once, and whether there is a series or not.
        beyond(q, 0.0, 1.0).for_each(|q| warn_of_quantile(q, 0, notes));
        budget.take_result(self.labels().len(), self.vector.width())?;
        budget.take_list::<f64>(self.vector.len())?;
        let mut result = Vector::absent(self.labels().clone(), self.vector.width());
        let mut values = Vec::with_capacity(self.vector.len());
        for (group, members) in self.members().iter().enumerate() {
            let row = result.row_mut(group);
            for (step, (place, &q)) in row.iter_mut().zip(q).enumerate() {
                // Each is looked at several times.
                budget.spend(members.len().saturating_mul(4))?;
                let at_step = members.iter().map(|&i| self.vector.row(i)[step]);
                values.clear();
                values.extend(at_step.filter(|&value| !is_absent(value)));
                if !values.is_empty() {
                    *place = quantile(q, &mut values);
                }
            }
            result.stand_on_all(group, members, &self.vector);
            result.be_nameless_as(group, members, &self.vector);
        }
        result.retain_present();
        Ok(result)
    }
}
