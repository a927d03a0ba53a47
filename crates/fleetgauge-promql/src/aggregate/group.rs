//! The series of a vector in groups, and how they are grouped.

use crate::budget::Budget;
use crate::error::EvalError;
use crate::label::{Groups, LabelSet, Members, Projection};
use crate::parse::Grouping;
use crate::value::Vector;

/// The series of a vector in groups.
pub(super) struct Grouped {
    pub(super) vector: Vector,
    /// Of each series.
    pub(super) group_of: Vec<usize>,
    /// Of each group.
    pub(super) labels: Vec<LabelSet>,
}

/// The largest and the smallest of the parameters of all steps, if they are beyond what these may be; NaN alone if
/// there is one.
pub(super) fn beyond(params: &[f64], least: f64, most: f64) -> impl Iterator<Item = f64> {
    let nan = params.iter().copied().find(|param| param.is_nan());
    let numbers = || params.iter().copied().filter(|_| nan.is_none());
    let largest = numbers().reduce(f64::max).filter(|largest| *largest > most);
    let smallest = numbers().reduce(f64::min).filter(|smallest| *smallest < least);
    nan.into_iter().chain(largest).chain(smallest)
}

/// How the series of a vector are grouped.
pub(super) fn projection(grouping: &Grouping) -> Projection {
    match grouping.without {
        true => Projection::drop(&grouping.labels),
        false => Projection::keep(&grouping.labels),
    }
}

// === impl Grouped ===

impl Grouped {
    pub(super) fn new(grouping: &Grouping, vector: Vector, budget: &mut Budget) -> Result<Self, EvalError> {
        let mut groups = Groups::new(projection(grouping));
        // The group of each series, and the lists of members.
        budget.take_list::<[usize; 2]>(vector.len())?;
        let mut group_of = Vec::with_capacity(vector.len());
        for labels in &vector.labels {
            group_of.push(groups.add(labels, budget)?);
        }
        let labels = (0..groups.len()).map(|group| groups.labels(group, budget));
        Ok(Self {
            labels: labels.collect::<Result<_, _>>()?,
            vector,
            group_of,
        })
    }

    /// The series of each group, in their order.
    pub(super) fn members(&self) -> Members {
        Members::new(self.labels.len(), self.group_of.iter().copied().enumerate())
    }
}
