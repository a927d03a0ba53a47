//! Aggregations: what becomes of the series of a group, step by step.

mod choose;
mod count_values;
mod fold;
mod group;
mod sample_hash;
#[cfg(test)]
mod tests;

use crate::annotation::Annotations;
use crate::budget::Budget;
use crate::error::EvalError;
use crate::function::{quantile, warn_of_quantile};
use crate::parse::{AggregateOp, Grouping};
use crate::value::{Operand, Vector, is_absent};

use choose::Choice;
use group::{Grouped, beyond};

pub(crate) fn evaluate(
    op: AggregateOp,
    grouping: &Grouping,
    param: Option<Operand>,
    vector: Vector,
    budget: &mut Budget,
    notes: &mut Annotations,
) -> Result<Vector, EvalError> {
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
        budget.take_result(self.labels.len(), width)?;
        budget.take_list::<Option<F>>(width)?;
        let mut result = Vector::with_capacity(width, self.labels.len());
        // One group after the other, so that the states of all of them are never there at once.
        let mut cells: Vec<Option<F>> = vec![None; width];
        for (members, labels) in self.members().iter().zip(&self.labels) {
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
            let row = result.push_absent(labels.clone());
            for (value, cell) in row.iter_mut().zip(&cells) {
                if let Some(cell) = cell {
                    *value = cell.result();
                }
            }
            result.stand_on_all(members, &self.vector);
        }
        result.retain_present();
        Ok(result)
    }

    fn quantile(&self, q: &[f64], budget: &mut Budget, notes: &mut Annotations) -> Result<Vector, EvalError> {
        // Of all steps at once, and whether there is a series or not.
        beyond(q, 0.0, 1.0).for_each(|q| warn_of_quantile(q, 0, notes));
        budget.take_result(self.labels.len(), self.vector.width())?;
        budget.take_list::<f64>(self.vector.len())?;
        let mut result = Vector::with_capacity(self.vector.width(), self.labels.len());
        let mut values = Vec::with_capacity(self.vector.len());
        for (members, labels) in self.members().iter().zip(&self.labels) {
            let row = result.push_absent(labels.clone());
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
            result.stand_on_all(members, &self.vector);
        }
        result.retain_present();
        Ok(result)
    }
}
