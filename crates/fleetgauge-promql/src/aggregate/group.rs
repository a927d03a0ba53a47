//! The series of a vector in groups, and how they are grouped.

use std::sync::Arc;

use crate::budget::Budget;
use crate::error::EvalError;
use crate::label::{Derivation, Groups, LabelList, Members, Projection};
use crate::parse::Grouping;
use crate::value::Vector;

/// The series of a vector in groups.
pub(super) struct Grouped {
    pub(super) vector: Vector,
    groups: Arc<LabelGroups>,
}

/// The groups of a list of labels.
#[derive(Debug)]
struct LabelGroups {
    /// Of each group.
    labels: LabelList,
    members: Members,
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
        let how = Derivation::Grouped {
            labels: grouping.labels.clone(),
            without: grouping.without,
        };
        let of = &vector.labels;
        let groups = of.derived(how, budget, |budget| {
            let mut groups = Groups::new(projection(grouping));
            // The group of each series, and the lists of members.
            budget.take_list::<[usize; 2]>(of.len())?;
            let mut group_of = Vec::with_capacity(of.len());
            for labels in of.iter() {
                group_of.push(groups.add(labels, budget)?);
            }
            let labels = (0..groups.len()).map(|group| groups.labels(group, budget));
            Ok(LabelGroups {
                labels: of.made(labels.collect::<Result<_, _>>()?),
                members: Members::new(groups.len(), group_of.into_iter().enumerate()),
            })
        })?;
        Ok(Self { vector, groups })
    }

    /// Of each group.
    pub(super) fn labels(&self) -> &LabelList {
        &self.groups.labels
    }

    /// The series of each group, in their order.
    pub(super) fn members(&self) -> &Members {
        &self.groups.members
    }
}
