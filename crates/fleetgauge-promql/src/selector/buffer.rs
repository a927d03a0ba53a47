//! The samples of one series, in room that the next series uses again.

use std::sync::Arc;

use fleetgauge_core::age::Age;
use fleetgauge_core::time::Timestamp;

use crate::budget::Budget;
use crate::error::EvalError;
use crate::histogram::{CounterReset, FloatHistogram, HistogramSample};
use crate::queryable::Selection;
use crate::sample::{Samples, is_histogram};
use crate::value::is_absent;

/// The samples of one series.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    pub(super) samples: Samples,
    /// The times of the staleness markers that were among them.
    pub(super) stale: Vec<i64>,
    /// Of the steps of a subquery: how old what stands there is.
    pub(super) ages: Vec<Age>,
    /// Whether it is looked at since when samples are counted.
    pub(super) has_starts: bool,
    /// How many samples a budget was asked for.
    pub(super) taken: usize,
    /// How many bytes of histograms.
    pub(super) taken_by_histograms: usize,
}

// === impl Buffer ===

impl Buffer {
    pub(crate) fn times(&self) -> &[i64] {
        self.samples.times()
    }

    pub(crate) fn values(&self) -> &[f64] {
        self.samples.values()
    }

    /// Since when the samples of a range are counted, where it is looked at.
    pub(crate) fn starts(&self, from: usize, to: usize) -> &[i64] {
        match self.has_starts {
            true => self.samples.starts(from..to),
            false => &[],
        }
    }

    /// Whether any of the samples may be a histogram.
    pub(crate) fn has_histograms(&self) -> bool {
        self.samples.has_histograms()
    }

    /// Whether any of those from `from` up to `to` is one.
    pub(crate) fn has_histogram_in(&self, from: usize, to: usize) -> bool {
        self.values()[from..to].iter().any(|&value| is_histogram(value))
    }

    /// The work of looking at the one at `index`.
    pub(crate) fn work_at(&self, index: usize) -> usize {
        self.samples
            .histogram_sample(index)
            .map_or(0, HistogramSample::work)
    }

    /// Whether the sample at `index` and the one before it are histograms of one counter with the same bounds, that did not
    /// begin anew between them.
    pub(crate) fn only_grows(&self, index: usize) -> bool {
        let [before, own] = [index - 1, index].map(|index| self.samples.histogram_sample(index));
        let (Some(before), Some(own)) = (before, own) else {
            return false;
        };
        if before.counter_reset() == CounterReset::Gauge || before.layout() != own.layout() {
            return false;
        }
        match own.counter_reset() {
            // Mostly this is known, and no buckets are looked at.
            CounterReset::NotReset => true,
            CounterReset::Reset | CounterReset::Gauge => false,
            CounterReset::Unknown => !own.get().is_reset_since(before.get()),
        }
    }

    pub(crate) fn samples(&self) -> &Samples {
        &self.samples
    }

    pub(crate) fn histogram(&self, index: usize) -> Option<&Arc<FloatHistogram>> {
        self.samples.histogram(index)
    }

    /// Remembers the staleness markers.
    pub(super) fn note_stale(&mut self) {
        let samples = self.samples.times().iter().zip(self.samples.values());
        let stale = samples.filter(|(_, value)| is_absent(**value));
        self.stale.clear();
        self.stale.extend(stale.map(|(&at, _)| at));
    }

    /// The samples of a series, staleness markers included, in place of those before.
    pub(super) fn read(
        &mut self,
        series: &dyn Selection,
        i: usize,
        (from, to): (Timestamp, Timestamp),
        finds_resets: bool,
        budget: &mut Budget,
    ) -> Result<(), EvalError> {
        self.samples.clear();
        series.read(i, from, to, &mut self.samples);
        budget.take_samples(self.samples.len())?;
        if finds_resets && self.has_histograms() {
            self.find_resets(budget)?;
        }
        self.take_growth(budget)
    }

    /// Says of each histogram of which it is not known whether its counts began anew since the one before.
    fn find_resets(&mut self, budget: &mut Budget) -> Result<(), EvalError> {
        let mut before: Option<HistogramSample> = None;
        for index in 0..self.samples.len() {
            let Some(sample) = self.samples.histogram_sample(index).cloned() else {
                continue;
            };
            let is_unknown = sample.counter_reset() == CounterReset::Unknown;
            if let Some(before) = before.filter(|_| is_unknown) {
                budget.spend(sample.work())?;
                let (histogram, before) = (sample.get(), before.get());
                let known = match histogram.is_reset_since(before) {
                    true => CounterReset::Reset,
                    false => CounterReset::NotReset,
                };
                let told = FloatHistogram::clone(histogram).with_counter_reset(known);
                self.samples.set_histogram(index, Arc::new(told));
            }
            before = Some(sample);
        }
        Ok(())
    }

    /// Counts what the buffer has grown by. How many samples a series has is known only when it was read, so this
    /// is after the fact, of one series.
    pub(super) fn take_growth(&mut self, budget: &mut Budget) -> Result<(), EvalError> {
        // A list grows to twice its length at most; so the count depends only on the longest series.
        let grown = (2 * self.samples.len()).saturating_sub(self.taken);
        self.taken += grown;
        // Time and value, the copy of the values that a quantile sorts, and an age.
        budget.take_list::<[f64; 4]>(grown)?;
        if self.has_histograms() {
            let histograms = (0..self.samples.len()).filter_map(|index| self.samples.histogram_sample(index));
            let bytes = histograms.map(|histogram| size_of::<HistogramSample>() + histogram.bytes());
            let grown = bytes.sum::<usize>().saturating_sub(self.taken_by_histograms);
            self.taken_by_histograms += grown;
            budget.take_bytes(grown)?;
        }
        Ok(())
    }
}
