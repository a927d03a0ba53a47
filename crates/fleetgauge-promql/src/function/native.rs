//! Functions of one native histogram: `histogram_count`, `histogram_sum` and their like.

use crate::budget::Budget;
use crate::error::EvalError;
use crate::histogram::FloatHistogram;
use crate::value::{ABSENT, Vector};

/// A function of each histogram; numbers are left out.
macro_rules! of_histograms {
    ($function:expr) => {
        Implementation::OfArguments(|args, ctx| {
            $crate::function::native::apply($function, args.vector()?, ctx.budget).map(Operand::Vector)
        })
    };
}

pub(super) use of_histograms;

pub(super) fn apply(
    function: fn(&FloatHistogram) -> f64,
    mut vector: Vector,
    budget: &mut Budget,
) -> Result<Vector, EvalError> {
    for i in 0..vector.len() {
        budget.spend(vector.width())?;
        for step in 0..vector.width() {
            let histogram = vector.histogram(i, step);
            if let Some(histogram) = histogram {
                budget.spend(histogram.work())?;
            }
            let value = histogram.map_or(ABSENT, |histogram| function(histogram));
            vector.row_mut(i)[step] = value;
        }
    }
    vector.forget_histograms();
    vector.retain_present();
    if vector.drop_names(budget)? {
        vector.merge_duplicates(budget)?;
    }
    Ok(vector)
}
