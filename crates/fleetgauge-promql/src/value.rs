//! What an expression evaluates to inside the evaluator: a column for every step.
//!
//! An expression is evaluated for all steps of a query at once. A `Vector` has a row for each series and a
//! column for each step; a step at which the series has no sample holds `ABSENT`. An instant query has one
//! step.

#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::Arc;

use fleetgauge_core::age::Age;
use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::budget::{Budget, SERIES_WORK};
use crate::error::EvalError;
use crate::histogram::{CounterReset, FloatHistogram};
use crate::label::{Derivation, LabelList, LabelSet, Projection};
use crate::sample::{HISTOGRAM, Histograms, STALE_MARKER, is_histogram};

/// "No sample at this step". The bits of the staleness marker, which no sample has that is a value.
pub(crate) const ABSENT: f64 = f64::from_bits(STALE_MARKER);

/// The work of handing labels on.
const LABEL_WORK: usize = 5;

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
    pub(crate) labels: LabelList,
    values: Vec<f64>,
    /// The values that are histograms, whose place among the numbers holds [`HISTOGRAM`].
    histograms: Histograms,
    /// How old each of the values is; none at all where no sample contributes to any, or where it is not asked.
    ages: Vec<Age>,
    /// Which of the series lose their names at the end of the query; none at all where no series does.
    nameless: Vec<bool>,
    width: usize,
}

/// Histograms that are values of rows, for whoever puts the rows together: the series, the step and the histogram.
pub(crate) type Found = Vec<(usize, usize, Arc<FloatHistogram>)>;

/// Some rows of a vector, for one thread to fill.
#[derive(Debug)]
pub(crate) struct Part<'a> {
    values: &'a mut [f64],
    /// None where no ages are told.
    ages: &'a mut [Age],
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
            labels: LabelList::with_capacity(series),
            values: Vec::with_capacity(series * width),
            histograms: Histograms::default(),
            ages: Vec::new(),
            nameless: Vec::new(),
            width,
        }
    }

    /// Of series without samples, for the caller to fill.
    pub(crate) fn absent(labels: LabelList, width: usize) -> Self {
        let count = labels.len() * width;
        Self {
            labels,
            values: vec![ABSENT; count],
            histograms: Histograms::default(),
            ages: Vec::new(),
            nameless: Vec::new(),
            width,
        }
    }

    /// So many rows, for [`parts_mut`](Self::parts_mut) to fill and [`label`](Self::label) to make series of.
    pub(crate) fn unlabelled(width: usize, series: usize, has_ages: bool) -> Self {
        let count = width * series;
        Self {
            labels: LabelList::default(),
            // Zeros are pages of the operating system that nobody has touched yet.
            values: vec![0.0; count],
            histograms: Histograms::default(),
            ages: vec![Age::AGELESS; if has_ages { count } else { 0 }],
            nameless: Vec::new(),
            width,
        }
    }

    /// How many rows there are, which may have no labels yet.
    pub(crate) fn len_of_rows(&self) -> usize {
        self.values.len().checked_div(self.width).unwrap_or(0)
    }

    /// The rows in parts of so many.
    pub(crate) fn parts_mut(&mut self, rows: usize) -> impl Iterator<Item = (Range<usize>, Part<'_>)> {
        let (width, count) = (self.width, self.len_of_rows());
        let numbers = (rows * width).max(1);
        let mut ages = self.ages.chunks_mut(numbers);
        let values = self.values.chunks_mut(numbers).zip((0..count).step_by(rows));
        values.map(move |(values, begin)| {
            let ages = ages.next().unwrap_or_default();
            (begin..count.min(begin + rows), Part { values, ages, width })
        })
    }

    /// Makes series of the rows that have a sample at any step, and drops the others.
    pub(crate) fn label(&mut self, labels: &LabelList, budget: &mut Budget) -> Result<(), EvalError> {
        budget.spend(labels.len().saturating_mul(LABEL_WORK))?;
        let places = self.keep_present();
        self.labels = match places {
            None => labels.clone(),
            Some(places) => labels.chosen(places),
        };
        Ok(())
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

    /// Adds a series of numbers; `values` are as many as there are steps.
    pub(crate) fn push(&mut self, labels: LabelSet, values: &[f64]) {
        assert_eq!(values.len(), self.width, "one value a step");
        self.labels.push(labels);
        self.values.extend_from_slice(values);
        self.pad();
    }

    /// Adds the series `row` of `from`, with these labels.
    pub(crate) fn push_row_of(&mut self, labels: LabelSet, from: &Self, row: usize) {
        self.push(labels, from.row(row));
        self.take_histograms(self.len() - 1, from, row);
        self.stand_on(self.len() - 1, from, row);
        self.take_namelessness(self.len() - 1, from, row);
    }

    /// Adds a series without samples, for the caller to fill.
    pub(crate) fn push_absent(&mut self, labels: LabelSet) -> &mut [f64] {
        let start = self.values.len();
        self.labels.push(labels);
        self.values.resize(start + self.width, ABSENT);
        self.pad();
        &mut self.values[start..]
    }

    /// Takes the series added last away again.
    pub(crate) fn pop(&mut self) {
        if self.labels.to_mut().pop().is_some() {
            self.truncate_rows(self.labels.len());
        }
    }

    /// Drops the series that have no sample at any step.
    pub(crate) fn retain_present(&mut self) {
        let Some(places) = self.keep_present() else {
            return;
        };
        let labels = self.labels.to_mut();
        for (kept, &place) in places.iter().enumerate() {
            labels.swap(kept, place as usize);
        }
        labels.truncate(places.len());
    }

    /// Drops the rows that have no sample at any step. Says which are left, unless all are.
    fn keep_present(&mut self) -> Option<Vec<u32>> {
        let is_present = |row: &[f64]| !row.iter().all(|&value| is_absent(value));
        let count = self.len_of_rows();
        let first = (0..count).find(|&i| !is_present(self.row(i)))?;
        let mut places: Vec<_> = (0..first as u32).collect();
        for i in first..count {
            if is_present(self.row(i)) {
                self.move_row(i, places.len());
                places.push(i as u32);
            }
        }
        self.truncate_rows(places.len());
        Some(places)
    }

    /// Puts the values of the row `from` in the place of those of `to`, which is before it.
    fn move_row(&mut self, from: usize, to: usize) {
        let (places, to) = (from * self.width..(from + 1) * self.width, to * self.width);
        self.values.copy_within(places.clone(), to);
        if !self.ages.is_empty() {
            self.ages.copy_within(places.clone(), to);
        }
        if self.has_histograms() {
            self.histograms.move_back(places, to);
        }
        if !self.nameless.is_empty() {
            self.nameless[to / self.width.max(1)] = self.nameless[from];
        }
    }

    fn truncate_rows(&mut self, rows: usize) {
        self.values.truncate(rows * self.width);
        self.ages.truncate(self.values.len());
        self.histograms.truncate(self.values.len());
        self.nameless.truncate(rows);
    }

    /// The series in the order of `order`, which has each index at most once.
    pub(crate) fn reordered(&self, order: &[usize]) -> Self {
        let mut new = Self::with_capacity(self.width, order.len());
        for &i in order {
            new.push_row_of(self.labels[i].clone(), self, i);
        }
        new
    }

    // --- histograms ---

    /// Whether any of the values may be a histogram. What knows numbers alone asks this once.
    #[inline]
    pub(crate) fn has_histograms(&self) -> bool {
        !self.histograms.is_empty()
    }

    /// The histogram that the value of the series `i` at `step` is; none if it is a number, or not there.
    pub(crate) fn histogram(&self, i: usize, step: usize) -> Option<&Arc<FloatHistogram>> {
        let place = i * self.width + step;
        match is_histogram(self.values[place]) {
            true => self.histograms.get(place),
            false => None,
        }
    }

    /// Sets the value of the series `i` at `step`.
    pub(crate) fn set_histogram(&mut self, i: usize, step: usize, histogram: Arc<FloatHistogram>) {
        let place = i * self.width + step;
        self.values[place] = HISTOGRAM;
        self.histograms.set(place, histogram);
    }

    /// Sets those that were found.
    pub(crate) fn set_found(&mut self, found: Found, budget: &mut Budget) -> Result<(), EvalError> {
        if !found.is_empty() && !self.has_histograms() {
            budget.take_list::<usize>(self.values.len())?;
        }
        for (i, step, histogram) in found {
            self.set_histogram(i, step, histogram);
        }
        Ok(())
    }

    /// Takes over the histograms of the series `row` of `from`, wherever the series `i` has one.
    pub(crate) fn take_histograms(&mut self, i: usize, from: &Self, row: usize) {
        if !from.has_histograms() {
            return;
        }
        for step in 0..self.width {
            if is_histogram(self.row(i)[step])
                && let Some(histogram) = from.histogram(row, step)
            {
                self.set_histogram(i, step, Arc::clone(histogram));
            }
        }
    }

    /// Gives all values the other sign.
    pub(crate) fn negate(&mut self, budget: &mut Budget) -> Result<(), EvalError> {
        let has_histograms = self.has_histograms();
        for place in 0..self.values.len() {
            let value = self.values[place];
            if has_histograms && is_histogram(value) {
                if let Some(histogram) = self.histograms.get(place) {
                    budget.take_histogram(histogram)?;
                    let mut negated = FloatHistogram::clone(histogram);
                    negated.multiply(-1.0);
                    self.histograms.set(place, Arc::new(negated));
                }
            } else if !is_absent(value) {
                self.values[place] = -value;
            }
        }
        Ok(())
    }

    /// Leaves the numbers alone. Says whether there was anything else.
    pub(crate) fn drop_histograms(&mut self) -> bool {
        if !self.has_histograms() {
            return false;
        }
        let mut has_any = false;
        for value in self.values.iter_mut().filter(|value| is_histogram(**value)) {
            (*value, has_any) = (ABSENT, true);
        }
        self.histograms.clear();
        self.retain_present();
        has_any
    }

    /// Says that there are none any more, as all values are numbers now.
    pub(crate) fn forget_histograms(&mut self) {
        debug_assert!(!self.values.iter().any(|&value| is_histogram(value)));
        self.histograms.clear();
    }

    /// Forgets what histograms say of counter resets since the sample before them: the steps of a subquery may lie so
    /// far from each other that there are others between.
    pub(crate) fn forget_resets(&mut self, budget: &mut Budget) -> Result<(), EvalError> {
        if !self.has_histograms() {
            return Ok(());
        }
        for i in 0..self.len() {
            // Steps that follow one another may share a sample.
            let mut last: Option<(Arc<FloatHistogram>, Arc<FloatHistogram>)> = None;
            for step in 0..self.width {
                let Some(histogram) = self.histogram(i, step) else {
                    continue;
                };
                let is_known = matches!(
                    histogram.counter_reset(),
                    CounterReset::Reset | CounterReset::NotReset
                );
                if !is_known {
                    continue;
                }
                let (_, bare) = match last.take().filter(|(known, _)| Arc::ptr_eq(known, histogram)) {
                    Some(same) => last.insert(same),
                    None => {
                        budget.take_histogram(histogram)?;
                        let bare = FloatHistogram::clone(histogram);
                        let bare = Arc::new(bare.with_counter_reset(CounterReset::Unknown));
                        last.insert((Arc::clone(histogram), bare))
                    }
                };
                let bare = Arc::clone(bare);
                self.set_histogram(i, step, bare);
            }
        }
        Ok(())
    }

    // --- ages ---

    /// How old the value of the series `i` at `step` is.
    pub(crate) fn age(&self, i: usize, step: usize) -> Age {
        let age = self.ages.get(i * self.width + step);
        age.copied().unwrap_or(Age::AGELESS)
    }

    /// Sets how old the value of the series `i` at `step` is.
    pub(crate) fn set_age(&mut self, i: usize, step: usize, age: Age) {
        if self.ages.is_empty() {
            self.ages.resize(self.values.len(), Age::AGELESS);
        }
        self.ages[i * self.width + step] = age;
    }

    /// Says that the values of the series `i` are computed from those of the series `row` of `from`, too.
    pub(crate) fn stand_on(&mut self, i: usize, from: &Self, row: usize) {
        if from.ages.is_empty() {
            return;
        }
        for step in (0..self.width).filter(|&step| !is_absent(from.row(row)[step])) {
            self.stand_on_at(i, step, from.age(row, step));
        }
    }

    /// Says that the values of the series `i` are computed from those of all of these of `from`.
    pub(crate) fn stand_on_all<'r>(
        &mut self,
        i: usize,
        rows: impl IntoIterator<Item = &'r usize>,
        from: &Self,
    ) {
        rows.into_iter().for_each(|&row| self.stand_on(i, from, row));
    }

    /// Says that the value of the series `i` at `step` is computed from one of that age, too.
    pub(crate) fn stand_on_at(&mut self, i: usize, step: usize, age: Age) {
        if age != Age::AGELESS {
            self.set_age(i, step, self.age(i, step).or_older(age));
        }
    }

    /// Takes over the age of another series' value, as its value is taken over.
    pub(crate) fn move_age(&mut self, from: usize, into: usize, step: usize) {
        if !self.ages.is_empty() {
            self.set_age(into, step, self.age(from, step));
        }
    }

    fn pad(&mut self) {
        if !self.ages.is_empty() {
            self.ages.resize(self.values.len(), Age::AGELESS);
        }
        if !self.nameless.is_empty() {
            self.nameless.resize(self.labels.len(), false);
        }
    }

    // --- names ---

    /// Whether the series `i` loses its name at the end of the query.
    pub(crate) fn is_nameless(&self, i: usize) -> bool {
        self.nameless.get(i).copied().unwrap_or_default()
    }

    /// Says that all series lose their names at the end of the query.
    pub(crate) fn be_nameless(&mut self) {
        self.nameless.clear();
        self.nameless.resize(self.len_of_rows(), true);
    }

    /// Says that the series `i` keeps the name that it has now.
    pub(crate) fn keep_name(&mut self, i: usize) {
        if let Some(nameless) = self.nameless.get_mut(i) {
            *nameless = false;
        }
    }

    /// Says of the series `i` what is said of the series `row` of `from`.
    pub(crate) fn take_namelessness(&mut self, i: usize, from: &Self, row: usize) {
        let is_nameless = from.is_nameless(row);
        if is_nameless != self.is_nameless(i) {
            self.nameless.resize(self.len_of_rows(), false);
            self.nameless[i] = is_nameless;
        }
    }

    /// As [`take_namelessness`](Self::take_namelessness) of the series with these indices in an unlabelled vector.
    pub(crate) fn take_all_namelessness(&mut self, from: &Self) {
        self.nameless.clone_from(&from.nameless);
    }

    /// Says of the series `i` what holds of those of `from` that it is computed from, at the last step at which it
    /// is there: it loses its name if any of them does.
    pub(crate) fn be_nameless_as(&mut self, i: usize, rows: &[usize], from: &Self) {
        if from.nameless.is_empty() {
            return;
        }
        let at = |step: usize| rows.iter().filter(move |&&row| !is_absent(from.row(row)[step]));
        let last = (0..self.width).rev().find(|&step| at(step).next().is_some());
        let nameless = last.and_then(|step| at(step).find(|&&row| from.is_nameless(row)));
        if let Some(&row) = nameless {
            self.take_namelessness(i, from, row);
        }
    }

    /// Takes the names away that go at the end of the query.
    pub(crate) fn end_names(&mut self, budget: &mut Budget) -> Result<(), EvalError> {
        if !self.nameless.contains(&true) {
            return Ok(());
        }
        let mut without = Projection::without_name();
        for (labels, _) in self
            .labels
            .to_mut()
            .iter_mut()
            .zip(&self.nameless)
            .filter(|(_, nameless)| **nameless)
        {
            *labels = without.apply(labels);
            budget.spend_series(without.made())?;
        }
        self.nameless.clear();
        self.merge_duplicates(budget)
    }

    /// Takes the metric names away, and with them types and units, or says that they go at the end of the query. `false` if
    /// that cannot have made two label sets equal.
    pub(crate) fn drop_names(&mut self, budget: &mut Budget) -> Result<bool, EvalError> {
        if budget.delays_names() {
            self.be_nameless();
            return Ok(false);
        }
        let nameless = self.labels.nameless(budget)?;
        self.labels = nameless.labels.clone();
        Ok(nameless.names_differ)
    }

    /// Makes one series of those with the same labels, as long as no step has samples of two.
    ///
    /// *Errors*: Prometheus's, if one has.
    pub(crate) fn merge_duplicates(&mut self, budget: &mut Budget) -> Result<(), EvalError> {
        let of = &self.labels;
        let pairs = of.derived(Derivation::Duplicates, budget, |budget| {
            // Twice, as a hash table has room to spare; and the pairs.
            budget.take_list::<[usize; 6]>(of.len())?;
            let mut first: HashMap<&LabelSet, usize, RandomState> =
                HashMap::with_capacity_and_hasher(of.len(), RandomState::default());
            let mut pairs = Vec::new();
            for (i, labels) in of.iter().enumerate() {
                budget.spend(SERIES_WORK)?;
                let known = *first.entry(labels).or_insert(i);
                if known != i {
                    pairs.push((known, i));
                }
            }
            Ok(pairs)
        })?;
        if pairs.is_empty() {
            return Ok(());
        }
        for &(into, from) in &*pairs {
            budget.spend(self.width)?;
            // That of the first sample holds.
            let begin = |row: usize| self.row(row).iter().position(|&value| !is_absent(value));
            if !self.nameless.is_empty() && begin(from) < begin(into) {
                self.nameless[into] = self.nameless[from];
            }
            for step in 0..self.width {
                let value = self.row(from)[step];
                if is_absent(value) {
                    continue;
                }
                let place = &mut self.row_mut(into)[step];
                if !is_absent(*place) {
                    return Err(EvalError::execution(
                        "vector cannot contain metrics with the same labelset",
                    ));
                }
                *place = value;
                if let Some(histogram) = self.histogram(from, step).cloned() {
                    self.set_histogram(into, step, histogram);
                }
                self.move_age(from, into, step);
            }
            self.row_mut(from).fill(ABSENT);
        }
        self.retain_present();
        Ok(())
    }
}

// === impl Part ===

impl Part<'_> {
    /// The values and the ages of a row; no ages where none are told.
    pub(crate) fn row(&mut self, i: usize) -> (&mut [f64], &mut [Age]) {
        let places = i * self.width..(i + 1) * self.width;
        let ages = match self.ages.is_empty() {
            true => &mut [],
            false => &mut self.ages[places.clone()],
        };
        (&mut self.values[places], ages)
    }
}
