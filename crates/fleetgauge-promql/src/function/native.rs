//! Functions of one native histogram: `histogram_count`, `histogram_sum` and their like.

use super::joining::tell_no_histograms;
use crate::annotation::Annotations;
use crate::budget::Budget;
use crate::error::EvalError;
use crate::histogram::FloatHistogram;
use crate::value::{ABSENT, Vector, is_absent};

/// A function of each histogram; numbers are left out.
macro_rules! of_histograms {
    ($function:expr) => {
        Implementation::OfArguments(|args, ctx| {
            $crate::function::native::apply($function, args.vector()?, ctx.budget, ctx.notes)
                .map(Operand::Vector)
        })
    };
}

pub(super) use of_histograms;

pub(super) fn apply(
    function: fn(&FloatHistogram) -> f64,
    mut vector: Vector,
    budget: &mut Budget,
    notes: &mut Annotations,
) -> Result<Vector, EvalError> {
    let mut has_numbers = false;
    for i in 0..vector.len() {
        budget.spend(vector.width())?;
        for step in 0..vector.width() {
            let histogram = vector.histogram(i, step);
            match histogram {
                Some(histogram) => budget.spend(histogram.work())?,
                None => has_numbers |= !is_absent(vector.row(i)[step]),
            }
            let value = histogram.map_or(ABSENT, |histogram| function(histogram));
            vector.row_mut(i)[step] = value;
        }
    }
    if has_numbers {
        tell_no_histograms(notes);
    }
    vector.forget_histograms();
    vector.retain_present();
    if vector.drop_names(budget)? {
        vector.merge_duplicates(budget)?;
    }
    Ok(vector)
}
