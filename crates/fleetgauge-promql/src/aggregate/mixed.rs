//! Sums and means of groups in which values are histograms.

use std::sync::Arc;

use super::fold::Fold;
use super::group::Grouped;
use crate::annotation::Annotations;
use crate::budget::Budget;
use crate::error::EvalError;
use crate::function::joining::{Joining, warn_of_kinds};
use crate::histogram::{CounterReset, FloatHistogram, HistogramError, Merged};
use crate::sample::is_histogram;
use crate::value::{Vector, is_absent};

/// What becomes of histograms.
pub(super) type Join = fn(&[&FloatHistogram]) -> Result<Option<(FloatHistogram, Merged)>, HistogramError>;

/// What a group has at one step.
enum Members<'v, F> {
    Numbers(F),
    Histograms(Vec<&'v FloatHistogram>),
    /// Numbers beside histograms. The first one, where a histogram was first: then its kind is compared with those of others,
    /// though nothing comes of it.
    Mixed(Option<&'v FloatHistogram>),
    /// Exponential buckets beside custom ones.
    Incompatible,
}

impl Grouped {
    /// As [`fold`](Self::fold), where values are histograms.
    pub(super) fn fold_mixed<F: Fold>(
        &self,
        join: Join,
        budget: &mut Budget,
        notes: &mut Annotations,
    ) -> Result<Vector, EvalError> {
        let width = self.vector.width();
        budget.take_result(self.labels().len(), width)?;
        // The histograms of one group at one step.
        budget.take_list::<[usize; 2]>(self.vector.len())?;
        let mut result = Vector::absent(self.labels().clone(), width);
        for (group, members) in self.members().iter().enumerate() {
            for step in 0..width {
                budget.spend(members.len())?;
                match self.at::<F>(members, step, budget, notes)? {
                    None | Some(Members::Incompatible) => {}
                    Some(Members::Numbers(fold)) => result.row_mut(group)[step] = fold.result(),
                    Some(Members::Mixed(_)) => {
                        notes.warn("encountered a mix of histograms and floats for aggregation");
                    }
                    Some(Members::Histograms(all)) => {
                        // They are of one kind.
                        let Ok(Some((mut joined, merged))) = join(&all) else {
                            continue;
                        };
                        let says = |known| all.iter().any(|one| one.counter_reset() == known);
                        let merged = Merged {
                            has_conflicting_resets: says(CounterReset::Reset) && says(CounterReset::NotReset),
                            ..merged
                        };
                        Joining::Aggregation.tell(merged, notes);
                        joined.compact();
                        budget.take_histogram(&joined)?;
                        result.set_histogram(group, step, Arc::new(joined));
                    }
                }
            }
            result.stand_on_all(group, members, &self.vector);
            result.be_nameless_as(group, members, &self.vector);
        }
        result.retain_present();
        Ok(result)
    }

    /// What the members of a group have at a step; none if they have nothing.
    fn at<F: Fold>(
        &self,
        members: &[usize],
        step: usize,
        budget: &mut Budget,
        notes: &mut Annotations,
    ) -> Result<Option<Members<'_, F>>, EvalError> {
        let mut found: Option<Members<'_, F>> = None;
        for &i in members {
            let value = self.vector.row(i)[step];
            if is_absent(value) {
                continue;
            }
            let histogram = self.vector.histogram(i, step).map(|histogram| &**histogram);
            debug_assert_eq!(histogram.is_some(), is_histogram(value));
            budget.spend(histogram.map_or(0, FloatHistogram::work))?;
            found = Some(match (found, histogram) {
                (None, None) => Members::Numbers(F::starting_at(value)),
                (None, Some(histogram)) => Members::Histograms(vec![histogram]),
                (Some(Members::Numbers(mut fold)), None) => {
                    fold.add(value);
                    Members::Numbers(fold)
                }
                (Some(Members::Histograms(mut all)), Some(histogram)) => {
                    if is_of_other_kind(all[0], histogram) {
                        warn_of_kinds(self.vector.labels[i].metric_name(), notes);
                        return Ok(Some(Members::Incompatible));
                    }
                    all.push(histogram);
                    Members::Histograms(all)
                }
                (Some(Members::Histograms(all)), None) => Members::Mixed(Some(all[0])),
                (Some(Members::Mixed(Some(first))), Some(histogram))
                    if is_of_other_kind(first, histogram) =>
                {
                    warn_of_kinds(self.vector.labels[i].metric_name(), notes);
                    return Ok(Some(Members::Mixed(None)));
                }
                (Some(Members::Mixed(first)), _) => Members::Mixed(first),
                _ => Members::Mixed(None),
            });
        }
        Ok(found)
    }
}

/// Whether one has exponential buckets and the other custom ones.
fn is_of_other_kind(one: &FloatHistogram, other: &FloatHistogram) -> bool {
    one.layout().is_custom() != other.layout().is_custom()
}
