//! What an expression evaluates to inside the evaluator: a column for every step.
//!
//! An expression is evaluated for all steps of a query at once. A `Vector` has a row for each series and a
//! column for each step; a step at which the series has no sample holds `ABSENT`. An instant query has one
//! step.

use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::budget::{Budget, SERIES_WORK};
use crate::error::EvalError;
use crate::label::{LabelSet, METRIC_NAME, Projection};
use crate::sample::STALE_MARKER;

/// "No sample at this step". The bits of the staleness marker, which no sample has that is a value.
pub(crate) const ABSENT: f64 = f64::from_bits(STALE_MARKER);

/// Whether there is no sample.
#[inline]
pub(crate) fn is_absent(value: f64) -> bool {
    value.to_bits() == STALE_MARKER
}

/// The times at which an expression is evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Steps {
    /// The first one. *Unit*: milliseconds since the Unix epoch.
    pub(crate) start: i64,
    /// Between two; 0 for an instant query. *Unit*: milliseconds.
    pub(crate) step: i64,
    /// At least one, unless a subquery has no step in its range.
    pub(crate) count: usize,
    /// The end that was asked for, which may lie behind the last step. `end()` is this time, and subqueries
    /// are evaluated up to it though no step looks there: what goes wrong there is Prometheus's error too.
    pub(crate) until: i64,
}

/// An instant vector at every step.
#[derive(Clone, Debug, Default)]
pub(crate) struct Vector {
    pub(crate) labels: Vec<LabelSet>,
    values: Vec<f64>,
    width: usize,
}

/// What an expression that is not a range vector evaluates to.
#[derive(Clone, Debug)]
pub(crate) enum Operand {
    /// One number a step.
    Scalar(Vec<f64>),
    Text(Arc<str>),
    Vector(Vector),
}

// === impl Steps ===

impl Steps {
    pub(crate) fn instant(at: i64) -> Self {
        Self {
            start: at,
            step: 0,
            count: 1,
            until: at,
        }
    }

    /// The time of the step `i`.
    #[inline]
    pub(crate) fn at(&self, i: usize) -> i64 {
        self.start.saturating_add(self.step.saturating_mul(i as i64))
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = i64> + '_ {
        (0..self.count).map(|i| self.at(i))
    }
}

// === impl Vector ===

impl Vector {
    /// Without series, over `width` steps.
    pub(crate) fn new(width: usize) -> Self {
        Self::with_capacity(width, 0)
    }

    pub(crate) fn with_capacity(width: usize, series: usize) -> Self {
        Self {
            labels: Vec::with_capacity(series),
            values: Vec::with_capacity(series * width),
            width,
        }
    }

    /// How many series there are.
    pub(crate) fn len(&self) -> usize {
        self.labels.len()
    }

    /// How many steps there are.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// The values of the series `i`, one a step.
    #[inline]
    pub(crate) fn row(&self, i: usize) -> &[f64] {
        &self.values[i * self.width..(i + 1) * self.width]
    }

    #[inline]
    pub(crate) fn row_mut(&mut self, i: usize) -> &mut [f64] {
        &mut self.values[i * self.width..(i + 1) * self.width]
    }

    pub(crate) fn rows(&self) -> impl Iterator<Item = (&LabelSet, &[f64])> {
        (0..self.len()).map(|i| (&self.labels[i], self.row(i)))
    }

    /// All values, row by row.
    pub(crate) fn values_mut(&mut self) -> &mut [f64] {
        &mut self.values
    }

    /// Adds a series; `values` are as many as there are steps.
    pub(crate) fn push(&mut self, labels: LabelSet, values: &[f64]) {
        assert_eq!(values.len(), self.width, "one value a step");
        self.labels.push(labels);
        self.values.extend_from_slice(values);
    }

    /// Adds a series without samples, for the caller to fill.
    pub(crate) fn push_absent(&mut self, labels: LabelSet) -> &mut [f64] {
        let start = self.values.len();
        self.labels.push(labels);
        self.values.resize(start + self.width, ABSENT);
        &mut self.values[start..]
    }

    /// Takes the series added last away again.
    pub(crate) fn pop(&mut self) {
        if self.labels.pop().is_some() {
            self.values.truncate(self.labels.len() * self.width);
        }
    }

    /// Drops the series that have no sample at any step.
    pub(crate) fn retain_present(&mut self) {
        let mut kept = 0;
        for i in 0..self.len() {
            if self.row(i).iter().all(|&value| is_absent(value)) {
                continue;
            }
            if kept < i {
                self.labels.swap(kept, i);
                let width = self.width;
                self.values.copy_within(i * width..(i + 1) * width, kept * width);
            }
            kept += 1;
        }
        self.labels.truncate(kept);
        self.values.truncate(kept * self.width);
    }

    /// The series in the order of `order`, which has each index at most once.
    pub(crate) fn reordered(&self, order: &[usize]) -> Self {
        let mut new = Self::with_capacity(self.width, order.len());
        for &i in order {
            new.push(self.labels[i].clone(), self.row(i));
        }
        new
    }

    /// Takes the metric names away. `false` if that cannot have made two label sets equal.
    pub(crate) fn drop_names(&mut self, budget: &mut Budget) -> Result<bool, EvalError> {
        let mut name = Projection::keep(&[METRIC_NAME.into()]);
        let mut without = Projection::without_name();
        let Some(first) = self.labels.first().cloned() else {
            return Ok(false);
        };
        let mut differ = false;
        for labels in &mut self.labels {
            differ = differ || !name.agrees(&first, labels);
            *labels = without.apply(labels);
            budget.spend_series(name.made() + without.made())?;
        }
        Ok(differ)
    }

    /// Makes one series of those with the same labels, as long as no step has samples of two.
    ///
    /// *Errors*: Prometheus's, if one has.
    pub(crate) fn merge_duplicates(&mut self, budget: &mut Budget) -> Result<(), EvalError> {
        self.merge(true, budget)
    }

    /// As [`merge_duplicates`](Self::merge_duplicates), but two series with the same labels are an error
    /// also if they never meet: so Prometheus does for functions over ranges, and for the unary minus.
    pub(crate) fn refuse_duplicates(&mut self, budget: &mut Budget) -> Result<(), EvalError> {
        self.merge(false, budget)
    }

    fn merge(&mut self, may_merge: bool, budget: &mut Budget) -> Result<(), EvalError> {
        // Twice, as a hash table has room to spare; and the pairs.
        budget.take_list::<[usize; 6]>(self.len())?;
        let mut first: HashMap<&LabelSet, usize, RandomState> =
            HashMap::with_capacity_and_hasher(self.len(), RandomState::default());
        let mut pairs = Vec::new();
        for (i, labels) in self.labels.iter().enumerate() {
            budget.spend(SERIES_WORK)?;
            let known = *first.entry(labels).or_insert(i);
            if known != i {
                pairs.push((known, i));
            }
        }
        drop(first);
        if pairs.is_empty() {
            return Ok(());
        }
        for &(into, from) in &pairs {
            budget.spend(self.width)?;
            for step in 0..self.width {
                let value = self.row(from)[step];
                if is_absent(value) {
                    continue;
                }
                let place = &mut self.row_mut(into)[step];
                if !may_merge || !is_absent(*place) {
                    return Err(EvalError::execution(
                        "vector cannot contain metrics with the same labelset",
                    ));
                }
                *place = value;
            }
            self.row_mut(from).fill(ABSENT);
        }
        self.retain_present();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::EngineConfig;

    fn budget() -> Budget {
        Budget::new(&EngineConfig::default())
    }

    fn vector(rows: &[(&str, [f64; 2])]) -> Vector {
        let mut vector = Vector::new(2);
        for (name, values) in rows {
            vector.push(LabelSet::from_pairs([("a", *name)]), values);
        }
        vector
    }

    #[test]
    fn series_that_never_meet_become_one() {
        let mut rows = vector(&[
            ("x", [1.0, ABSENT]),
            ("y", [5.0, 6.0]),
            ("x", [ABSENT, 2.0]),
            ("z", [ABSENT; 2]),
        ]);
        rows.merge_duplicates(&mut budget()).expect("never at one step");
        let rows: Vec<_> = rows.rows().map(|(l, r)| (l.to_string(), r.to_vec())).collect();
        assert_eq!(
            rows,
            [
                (r#"{a="x"}"#.into(), vec![1.0, 2.0]),
                (r#"{a="y"}"#.into(), vec![5.0, 6.0])
            ]
        );
    }

    #[test]
    fn series_that_meet_are_an_error() {
        let mut rows = vector(&[("x", [1.0, ABSENT]), ("x", [2.0, ABSENT])]);
        let error = rows
            .merge_duplicates(&mut budget())
            .expect_err("two at one step")
            .to_string();
        assert_eq!(error, "vector cannot contain metrics with the same labelset");
        let mut rows = vector(&[("x", [1.0, ABSENT]), ("x", [ABSENT, 2.0])]);
        assert!(rows.refuse_duplicates(&mut budget()).is_err());
        // A NaN is a sample.
        assert!(
            vector(&[("x", [f64::NAN, 0.0]), ("x", [1.0, ABSENT])])
                .merge_duplicates(&mut budget())
                .is_err()
        );
    }
}
