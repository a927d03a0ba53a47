//! Aggregations that choose among the series of a group and leave them as they are: `topk`, `bottomk`,
//! `limitk` and `limit_ratio`.

use std::cmp::Ordering;

use fleetgauge_syntax::number::GoFloat;

use crate::annotation::Annotations;
use crate::budget::{Budget, SERIES_WORK};
use crate::error::EvalError;
use crate::value::{Vector, is_absent};

use super::group::{Grouped, beyond};
use super::sample_hash;

/// What is chosen of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// `topk`
    Largest,
    /// `bottomk`
    Smallest,
    /// `limitk`
    First,
    /// `limit_ratio`
    Share,
}

/// Which series `topk` and `bottomk` take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Best {
    Largest,
    Smallest,
}

/// The work of an entry that goes through the heap and is sorted.
const HEAP_WORK: usize = 10;

/// `params` is how many or which share to choose, at each step.
pub(super) fn evaluate(
    choice: Choice,
    params: &[f64],
    grouped: &Grouped,
    budget: &mut Budget,
    notes: &mut Annotations,
) -> Result<Vector, EvalError> {
    let vector = &grouped.vector;
    let width = vector.width();
    budget.take_result(vector.len(), width)?;
    match choice {
        Choice::Share => {
            check_ratios(params)?;
            by_ratio(params, vector, budget, notes)
        }
        Choice::Largest => by_count(Some(Best::Largest), params, grouped, budget),
        Choice::Smallest => by_count(Some(Best::Smallest), params, grouped, budget),
        Choice::First => by_count(None, params, grouped, budget),
    }
}

/// At each step as many series of each group as `counts` says: the best, or those that come first.
fn by_count(
    best: Option<Best>,
    counts: &[f64],
    grouped: &Grouped,
    budget: &mut Budget,
) -> Result<Vector, EvalError> {
    check_counts(counts)?;
    let vector = &grouped.vector;
    let width = vector.width();
    let mut chosen = Vector::absent(vector.labels.clone(), width);
    // The heap, and the order of an instant query with its rows in that order.
    budget.take_list::<[usize; 3]>(vector.len())?;
    let is_instant = width == 1;
    if is_instant {
        budget.take_vector(vector.len(), width)?;
    }
    let mut order = Vec::new();
    let mut heap = Heap::new(best == Some(Best::Smallest));
    for members in grouped.members().iter() {
        for (step, &count) in counts.iter().enumerate() {
            budget.spend(members.len().saturating_mul(HEAP_WORK))?;
            // Below one nothing is chosen; beyond all of them, all are.
            let count = if count < 1.0 {
                0
            } else {
                members.len().min(count as usize)
            };
            let present = members
                .iter()
                .map(|&i| (vector.row(i)[step], i))
                .filter(|(value, _)| !is_absent(*value));
            heap.entries.clear();
            match best {
                None => heap.entries.extend(present.take(count)),
                Some(_) => {
                    present.for_each(|entry| heap.offer(entry, count));
                    if is_instant {
                        heap.sort_best_first();
                    }
                }
            }
            for &(value, i) in &heap.entries {
                chosen.row_mut(i)[step] = value;
            }
            if is_instant {
                order.extend(heap.entries.iter().map(|&(_, i)| i));
            }
        }
    }
    for i in 0..vector.len() {
        chosen.take_histograms(i, vector, i);
        chosen.stand_on(i, vector, i);
        chosen.take_namelessness(i, vector, i);
    }
    if is_instant {
        return Ok(chosen.reordered(&order));
    }
    chosen.retain_present();
    Ok(chosen)
}

fn check_counts(counts: &[f64]) -> Result<(), EvalError> {
    for &count in counts {
        let why = match count {
            _ if count.is_nan() => "Parameter value is NaN".to_owned(),
            _ if count >= i64::MAX as f64 => format!("Scalar value {} overflows int64", GoFloat(count)),
            _ if count <= i64::MIN as f64 => format!("Scalar value {} underflows int64", GoFloat(count)),
            _ => continue,
        };
        return Err(EvalError::execution(why));
    }
    Ok(())
}

fn check_ratios(ratios: &[f64]) -> Result<(), EvalError> {
    match ratios.iter().any(|ratio| ratio.is_nan()) {
        true => Err(EvalError::execution("Ratio value is NaN")),
        false => Ok(()),
    }
}

/// Each series has its place between 0 and 1, by its labels: a ratio takes those below it, a negative one the
/// others, so that `r` and `r - 1` together take each series once.
fn by_ratio(
    ratios: &[f64],
    vector: &Vector,
    budget: &mut Budget,
    notes: &mut Annotations,
) -> Result<Vector, EvalError> {
    let mut chosen = Vector::with_capacity(vector.width(), vector.len());
    for ratio in beyond(ratios, -1.0, 1.0) {
        notes.warn(format_args!(
            "ratio value should be between -1 and 1, got {}, capping to {}",
            GoFloat(ratio),
            GoFloat(ratio.clamp(-1.0, 1.0))
        ));
    }
    for (i, (labels, row)) in vector.rows().enumerate() {
        budget.spend(SERIES_WORK + vector.width())?;
        let place = sample_hash::hash(labels) as f64 / u64::MAX as f64;
        let chosen_row = chosen.push_absent(labels.clone());
        for ((to, &value), &ratio) in chosen_row.iter_mut().zip(row).zip(ratios) {
            let ratio = ratio.clamp(-1.0, 1.0);
            let takes = match ratio {
                r if r > 0.0 => place < r,
                r if r < 0.0 => place >= 1.0 + r,
                _ => false,
            };
            if takes {
                *to = value;
            }
        }
        chosen.take_histograms(i, vector, i);
        chosen.stand_on(chosen.len() - 1, vector, i);
        chosen.take_namelessness(i, vector, i);
    }
    chosen.retain_present();
    Ok(chosen)
}

/// The best entries so far, the worst of them first: a binary heap that moves its entries as Go's does, so that
/// of equal values the same stay.
///
/// Source: <https://pkg.go.dev/container/heap>.
struct Heap {
    entries: Vec<(f64, usize)>,
    /// Whether small values are better than large ones.
    smallest: bool,
}

// === impl Heap ===

impl Heap {
    fn new(smallest: bool) -> Self {
        Self {
            entries: Vec::new(),
            smallest,
        }
    }

    fn offer(&mut self, entry: (f64, usize), count: usize) {
        if self.entries.len() < count {
            self.entries.push(entry);
            self.up(self.entries.len() - 1);
        } else if let Some(&worst) = self.entries.first()
            && (self.is_worse(worst.0, entry.0) || worst.0.is_nan() && !entry.0.is_nan())
        {
            self.entries[0] = entry;
            self.down();
        }
    }

    fn is_worse(&self, a: f64, b: f64) -> bool {
        if self.smallest { a > b } else { a < b }
    }

    /// NaN is worst of all.
    fn is_less(&self, a: usize, b: usize) -> bool {
        let (a, b) = (self.entries[a].0, self.entries[b].0);
        a.is_nan() || self.is_worse(a, b)
    }

    fn up(&mut self, mut at: usize) {
        while at > 0 {
            let parent = (at - 1) / 2;
            if !self.is_less(at, parent) {
                break;
            }
            self.entries.swap(at, parent);
            at = parent;
        }
    }

    fn down(&mut self) {
        let mut at = 0;
        loop {
            let left = 2 * at + 1;
            if left >= self.entries.len() {
                break;
            }
            let right = left + 1;
            let child = if right < self.entries.len() && self.is_less(right, left) {
                right
            } else {
                left
            };
            if !self.is_less(child, at) {
                break;
            }
            self.entries.swap(at, child);
            at = child;
        }
    }

    fn sort_best_first(&mut self) {
        let smallest = self.smallest;
        self.entries.sort_by(|a, b| match (a.0.is_nan(), b.0.is_nan()) {
            (false, false) => {
                let order = a.0.partial_cmp(&b.0).unwrap_or(Ordering::Equal);
                if smallest { order } else { order.reverse() }
            }
            (a, b) => a.cmp(&b),
        });
    }
}
