//! `and`, `or` and `unless`: which series stay depends on whether the other side has a match, step by step.

use crate::budget::Budget;
use crate::error::EvalError;
use crate::label::Groups;
use crate::parse::{BinaryOp, Matching};
use crate::value::{ABSENT, Vector, is_absent};

use super::matching::projection;

pub(super) fn evaluate(
    op: BinaryOp,
    matching: &Matching,
    mut left: Vector,
    mut right: Vector,
    budget: &mut Budget,
) -> Result<Vector, EvalError> {
    let mut groups = Groups::new(projection(matching));
    if op == BinaryOp::Or {
        let present = Presence::of(&left, &mut groups, budget)?;
        present.mask(&mut right, &mut groups, false, budget)?;
        budget.take_result(left.len() + right.len(), left.width())?;
        for row in 0..right.len() {
            left.push_row_of(right.labels[row].clone(), &right, row);
        }
        // With one step, the right side has nothing that the left one has.
        if left.width() > 1 {
            left.merge_duplicates(budget)?;
        }
        return Ok(left);
    }
    let present = Presence::of(&right, &mut groups, budget)?;
    present.mask(&mut left, &mut groups, op == BinaryOp::And, budget)?;
    Ok(left)
}

/// Which groups have a sample at which step.
struct Presence {
    /// Group by group.
    steps: Vec<bool>,
    width: usize,
}

// === impl Presence ===

impl Presence {
    fn of(vector: &Vector, groups: &mut Groups, budget: &mut Budget) -> Result<Self, EvalError> {
        let width = vector.width();
        let mut steps = Vec::new();
        for (labels, row) in vector.rows() {
            let group = groups.add(labels, budget)?;
            budget.spend(width)?;
            if group * width == steps.len() {
                budget.take_samples(width)?;
                // A list that grows has room to spare.
                budget.take_list::<[bool; 2]>(width)?;
                steps.resize(steps.len() + width, false);
            }
            for (present, &value) in steps[group * width..].iter_mut().zip(row) {
                *present |= !is_absent(value);
            }
        }
        Ok(Self { steps, width })
    }

    /// Keeps the samples of `vector` where its group is present, or where it is not.
    fn mask(
        &self,
        vector: &mut Vector,
        groups: &mut Groups,
        keep_present: bool,
        budget: &mut Budget,
    ) -> Result<(), EvalError> {
        for i in 0..vector.len() {
            budget.spend(vector.width())?;
            match groups.find(&vector.labels[i], budget)? {
                None if keep_present => vector.row_mut(i).fill(ABSENT),
                None => {}
                Some(group) => {
                    let present = &self.steps[group * self.width..];
                    for (value, &present) in vector.row_mut(i).iter_mut().zip(present) {
                        if present != keep_present {
                            *value = ABSENT;
                        }
                    }
                }
            }
        }
        vector.retain_present();
        Ok(())
    }
}
