//! What one query has taken of what it may take.
//!
//! Everything that grows with the data asks here: bytes before they are taken, and work so often that the time
//! limit holds within every loop. What was taken is not given back, so the limit of bytes bounds what an evaluation
//! holds and also what it has made on the way.

use std::cmp::Ordering;
use std::mem::size_of;
use std::time::Duration;

use fleetgauge_core::age::Age;
use fleetgauge_core::time::{Clock, Moment};

use crate::config::EngineConfig;
use crate::error::{Bound, EvalError};
use crate::histogram::FloatHistogram;
use crate::label::LabelSet;

#[derive(Clone, Debug)]
pub(crate) struct Budget {
    max_samples: usize,
    max_series: usize,
    max_bytes: usize,
    samples: usize,
    bytes: usize,
    /// Bytes of what threads keep beyond their buffers.
    kept: usize,
    /// What a number in a vector takes.
    number_bytes: usize,
    timeout: Duration,
    began: Moment,
    clock: Clock,
    /// Work done since the clock was looked at.
    unclocked: usize,
    /// Whether names stay until the end of the query. It is here as whatever drops a name has to ask.
    delays_names: bool,
}

/// The clock is looked at once in so much work, which takes about a millisecond; a sample looked at is 1.
const CLOCKED_WORK: usize = 100_000;

/// The work of looking at a series, whose labels are hashed, compared or listed anew.
pub(crate) const SERIES_WORK: usize = 200;

/// The work of a byte that a regular expression looks at.
pub(crate) const REGEX_WORK: usize = 10;

/// More items are sorted part by part, with a look at the clock between.
const SORTED_AT_ONCE: usize = 1 << 14;

// === impl Budget ===

impl Budget {
    pub(crate) fn new(config: &EngineConfig) -> Self {
        Self {
            delays_names: config.features.delayed_names,
            max_samples: config.max_samples,
            max_series: config.max_series,
            max_bytes: config.max_bytes,
            samples: 0,
            bytes: 0,
            kept: 0,
            number_bytes: size_of::<f64>(),
            timeout: config.timeout,
            began: config.clock.now(),
            clock: config.clock.clone(),
            unclocked: 0,
        }
    }

    /// Counts an age with each number of a vector from now on.
    pub(super) fn with_ages(mut self) -> Self {
        self.number_bytes = size_of::<(f64, Age)>();
        self
    }

    /// One of `of` equal parts of what is left, for a thread.
    pub(crate) fn share(&self, of: usize) -> Self {
        let part = |max: usize, taken: usize| taken + max.saturating_sub(taken) / of;
        Self {
            max_samples: part(self.max_samples, self.samples),
            max_bytes: part(self.max_bytes, self.bytes.saturating_add(self.kept)),
            ..self.clone()
        }
    }

    /// Counts what was taken of all shares. What they keep is added up; of other bytes a thread takes only what its buffer grows by, up to the longest
    /// series; the one buffer of a single thread would have grown as far as the largest of theirs.
    pub(crate) fn add_shares(&mut self, shares: &[Self]) {
        let samples = shares.iter().map(|share| share.samples - self.samples);
        self.samples += samples.sum::<usize>();
        let kept = shares.iter().map(|share| share.kept - self.kept);
        self.kept += kept.sum::<usize>();
        self.bytes = shares
            .iter()
            .map(|share| share.bytes)
            .fold(self.bytes, usize::max);
    }

    /// How long ago the query was begun.
    pub(super) fn elapsed(&self) -> Duration {
        self.clock.now().saturating_since(self.began)
    }

    /// How many samples were looked at and computed.
    pub(super) fn used(&self) -> usize {
        self.samples
    }

    /// Counts samples that will be looked at or computed.
    /// Whether the names of series that lose them stay until the end of the query.
    #[inline]
    pub(crate) fn delays_names(&self) -> bool {
        self.delays_names
    }

    pub(crate) fn take_samples(&mut self, samples: usize) -> Result<(), EvalError> {
        self.samples = self.samples.saturating_add(samples);
        if self.samples > self.max_samples {
            return Err(EvalError::Bound {
                bound: Bound::Samples,
                limit: self.max_samples,
            });
        }
        self.spend(samples)
    }

    /// How many bytes were taken so far.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Counts bytes that will be allocated.
    #[inline]
    pub(crate) fn take_bytes(&mut self, bytes: usize) -> Result<(), EvalError> {
        self.bytes = self.bytes.saturating_add(bytes);
        self.check_bytes()
    }

    /// Counts a histogram, read or computed, which stays whatever becomes of the buffers.
    pub(crate) fn take_histogram(&mut self, histogram: &FloatHistogram) -> Result<(), EvalError> {
        self.kept = self.kept.saturating_add(histogram.bytes());
        self.check_bytes()?;
        self.spend(histogram.work())
    }

    #[inline]
    fn check_bytes(&self) -> Result<(), EvalError> {
        if self.bytes.saturating_add(self.kept) > self.max_bytes {
            return Err(EvalError::Bound {
                bound: Bound::Bytes,
                limit: self.max_bytes,
            });
        }
        Ok(())
    }

    /// Counts the bytes of `count` items.
    pub(crate) fn take_list<T>(&mut self, count: usize) -> Result<(), EvalError> {
        self.take_bytes(count.saturating_mul(size_of::<T>()))
    }

    /// Counts the bytes of a number a step, before it is made.
    pub(crate) fn take_scalar(&mut self, steps: usize) -> Result<(), EvalError> {
        self.take_list::<f64>(steps)?;
        self.spend(steps)
    }

    /// Counts the bytes of a vector of so many series and steps, without what its labels hold.
    pub(crate) fn take_vector(&mut self, series: usize, steps: usize) -> Result<(), EvalError> {
        self.take_list::<LabelSet>(series)?;
        self.take_bytes(series.saturating_mul(steps).saturating_mul(self.number_bytes))
    }

    /// Counts a result of so many series and steps, before it is allocated.
    pub(crate) fn take_result(&mut self, series: usize, steps: usize) -> Result<(), EvalError> {
        self.check_series(series)?;
        self.check_time()?;
        self.take_samples(series.saturating_mul(steps))?;
        self.take_vector(series, steps)
    }

    /// Counts one series more of a result that has `known` already.
    pub(crate) fn take_row(&mut self, known: usize, steps: usize) -> Result<(), EvalError> {
        self.check_series(known + 1)?;
        self.take_samples(steps)?;
        self.take_vector(1, steps)
    }

    /// Refuses a result of more series than an operation may make.
    pub(crate) fn check_series(&self, series: usize) -> Result<(), EvalError> {
        if series > self.max_series {
            return Err(EvalError::Bound {
                bound: Bound::Series,
                limit: self.max_series,
            });
        }
        Ok(())
    }

    /// Looks at the clock once in so much work.
    #[inline]
    pub(crate) fn spend(&mut self, work: usize) -> Result<(), EvalError> {
        self.unclocked = self.unclocked.saturating_add(work);
        if self.unclocked < CLOCKED_WORK {
            return Ok(());
        }
        self.unclocked = 0;
        self.check_time()
    }

    /// Work on a series, for which so many bytes of labels were made.
    #[inline]
    pub(crate) fn spend_series(&mut self, made: usize) -> Result<(), EvalError> {
        self.take_bytes(made)?;
        self.spend(SERIES_WORK)
    }

    pub(crate) fn check_time(&self) -> Result<(), EvalError> {
        #[cfg(test)]
        CHECKS.set(CHECKS.get() + 1);
        if self.clock.now().saturating_since(self.began) > self.timeout {
            return Err(EvalError::Timeout { limit: self.timeout });
        }
        Ok(())
    }

    /// Sorts as `slice::sort_by` does.
    pub(crate) fn sort_by<T>(
        &mut self,
        items: &mut [T],
        compare: impl Fn(&T, &T) -> Ordering,
    ) -> Result<(), EvalError> {
        // The scratch of a stable sort is half as long as what is sorted.
        self.take_list::<T>(items.len() / 2)?;
        let mut part = SORTED_AT_ONCE;
        loop {
            // Parts that are sorted are found again and merged.
            for items in items.chunks_mut(part) {
                self.spend(items.len().saturating_mul(SERIES_WORK))?;
                items.sort_by(&compare);
            }
            if part >= items.len() {
                return Ok(());
            }
            part = part.saturating_mul(8);
        }
    }
}

#[cfg(test)]
thread_local! {
    /// How often any budget of this thread looked at the clock.
    pub(super) static CHECKS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleetgauge_core::time::Timestamp;

    #[test]
    fn what_is_sorted_in_parts_is_sorted_and_stable() {
        let mut budget = Budget::new(&EngineConfig::default());
        for count in [0, 1, SORTED_AT_ONCE, SORTED_AT_ONCE + 1, 9 * SORTED_AT_ONCE] {
            let mut items: Vec<_> = (0..count).map(|i| (i * 7919 % 1000, i)).collect();
            let mut expected = items.clone();
            expected.sort_by_key(|item| item.0);
            budget.sort_by(&mut items, |a, b| a.0.cmp(&b.0)).expect("in time");
            assert!(items == expected, "{count}");
        }
    }

    #[test]
    fn a_long_sort_ends_in_time() {
        let (clock, hand) = Clock::manual(Timestamp::from_millis(0));
        let mut budget = Budget::new(&EngineConfig::default().with_clock(clock));
        let mut items: Vec<_> = (0..4 * SORTED_AT_ONCE).rev().collect();
        let compare = |a: &usize, b: &usize| {
            hand.advance(Duration::from_millis(1));
            a.cmp(b)
        };
        let error = budget.sort_by(&mut items, compare).expect_err("too long");
        assert_eq!(error.reason(), "timeout");
        // Only the first part was sorted.
        assert!(items[..SORTED_AT_ONCE].is_sorted() && items[SORTED_AT_ONCE] == 3 * SORTED_AT_ONCE - 1);
    }
}
