//! Sums and means of groups in which values are histograms.

use std::sync::Arc;

use super::fold::Fold;
use super::group::Grouped;
use crate::annotation::Annotations;
use crate::budget::Budget;
use crate::error::EvalError;
use crate::function::joining::{Joining, warn_of_kinds};
use crate::histogram::{CounterReset, FloatHistogram, Join, Merged};
use crate::value::{Vector, is_absent};

/// So many steps are computed at once, for which the sums of histograms stay in the caches of the processor.
const STEPS_AT_ONCE: usize = 32;

/// What a group has at one step, of the members so far.
enum Members<'v, F, J> {
    Nothing,
    Numbers(F),
    Histograms(Histograms<'v, J>),
    /// Numbers beside histograms. The first one, where a histogram was first: then its kind is compared with those of others,
    /// though nothing comes of it.
    Mixed(Option<&'v FloatHistogram>),
    /// Exponential buckets beside custom ones.
    Incompatible,
}

/// Histograms of one kind.
struct Histograms<'v, J> {
    first: &'v FloatHistogram,
    joined: J,
    /// Whether one says that its counts started anew, and whether one says that they did not.
    says_reset: bool,
    says_not_reset: bool,
}

/// A group at one step.
struct Cell<'v, F, J> {
    members: Members<'v, F, J>,
    /// The member whose histogram is of another kind than the first one.
    of_other_kind: Option<usize>,
}

impl Grouped {
    /// As [`fold`](Self::fold), where values are histograms, which `J` joins.
    pub(super) fn fold_mixed<F: Fold, J: Join>(
        &self,
        budget: &mut Budget,
        notes: &mut Annotations,
    ) -> Result<Vector, EvalError> {
        let width = self.vector.width();
        budget.take_result(self.labels().len(), width)?;
        budget.take_list::<Cell<'_, F, J>>(width.min(STEPS_AT_ONCE))?;
        let mut result = Vector::absent(self.labels().clone(), width);
        let mut cells: Vec<Cell<'_, F, J>> = Vec::new();
        let mut taken = 0;
        for (group, members) in self.members().iter().enumerate() {
            for first in (0..width).step_by(STEPS_AT_ONCE) {
                let steps = first..width.min(first + STEPS_AT_ONCE);
                cells.clear();
                cells.resize_with(steps.len(), Cell::default);
                // Member by member, since the histograms of one lie beside each other.
                let mut bytes = 0;
                for &i in members {
                    budget.spend(steps.len())?;
                    for (cell, step) in cells.iter_mut().zip(steps.clone()) {
                        let value = self.vector.row(i)[step];
                        if is_absent(value) {
                            continue;
                        }
                        let Some(histogram) = self.vector.histogram(i, step) else {
                            cell.add_number(value);
                            continue;
                        };
                        budget.spend(histogram.work())?;
                        if matches!(cell.members, Members::Nothing) {
                            // Each of its numbers has another one beside it.
                            bytes += 2 * histogram.bytes();
                            budget.take_bytes(bytes.saturating_sub(taken))?;
                            taken = taken.max(bytes);
                        }
                        cell.add_histogram(i, histogram);
                    }
                }
                for (cell, step) in cells.drain(..).zip(steps) {
                    if let Some(other) = cell.of_other_kind {
                        warn_of_kinds(self.vector.labels[other].metric_name(), notes);
                    }
                    match cell.members {
                        Members::Nothing | Members::Incompatible => {}
                        Members::Numbers(fold) => result.row_mut(group)[step] = fold.result(),
                        Members::Mixed(_) => {
                            notes.warn("encountered a mix of histograms and floats for aggregation");
                        }
                        Members::Histograms(all) => {
                            let (mut joined, merged) = all.joined.finish();
                            let merged = Merged {
                                has_conflicting_resets: all.says_reset && all.says_not_reset,
                                ..merged
                            };
                            Joining::Aggregation.tell(merged, notes);
                            joined.compact();
                            budget.take_histogram(&joined)?;
                            result.set_histogram(group, step, Arc::new(joined));
                        }
                    }
                }
            }
            result.stand_on_all(group, members, &self.vector);
            result.be_nameless_as(group, members, &self.vector);
        }
        result.retain_present();
        Ok(result)
    }
}

// === impl Cell ===

impl<F, J> Default for Cell<'_, F, J> {
    fn default() -> Self {
        Self {
            members: Members::Nothing,
            of_other_kind: None,
        }
    }
}

impl<'v, F: Fold, J: Join> Cell<'v, F, J> {
    fn add_number(&mut self, value: f64) {
        match &mut self.members {
            Members::Nothing => self.members = Members::Numbers(F::starting_at(value)),
            Members::Numbers(fold) => fold.add(value),
            Members::Histograms(all) => self.members = Members::Mixed(Some(all.first)),
            Members::Mixed(_) | Members::Incompatible => {}
        }
    }

    fn add_histogram(&mut self, member: usize, histogram: &'v FloatHistogram) {
        match &mut self.members {
            Members::Nothing => {
                let mut all = Histograms {
                    first: histogram,
                    joined: J::starting_at(histogram),
                    says_reset: false,
                    says_not_reset: false,
                };
                all.hear(histogram);
                self.members = Members::Histograms(all);
            }
            Members::Numbers(_) => self.members = Members::Mixed(None),
            Members::Histograms(all) => {
                if is_of_other_kind(all.first, histogram) || all.joined.add(histogram).is_err() {
                    self.of_other_kind = Some(member);
                    self.members = Members::Incompatible;
                } else {
                    all.hear(histogram);
                }
            }
            Members::Mixed(Some(first)) if is_of_other_kind(first, histogram) => {
                self.of_other_kind = Some(member);
                self.members = Members::Mixed(None);
            }
            Members::Mixed(_) | Members::Incompatible => {}
        }
    }
}

// === impl Histograms ===

impl<J> Histograms<'_, J> {
    /// Takes notice of what one says of resets.
    fn hear(&mut self, histogram: &FloatHistogram) {
        self.says_reset |= histogram.counter_reset() == CounterReset::Reset;
        self.says_not_reset |= histogram.counter_reset() == CounterReset::NotReset;
    }
}

/// Whether one has exponential buckets and the other custom ones.
fn is_of_other_kind(one: &FloatHistogram, other: &FloatHistogram) -> bool {
    one.layout().is_custom() != other.layout().is_custom()
}
