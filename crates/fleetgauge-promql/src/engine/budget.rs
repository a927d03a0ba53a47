//! What one query has taken of what it may take.

use std::time::Duration;

use fleetgauge_core::time::{Clock, Moment};

use super::{Bound, EngineConfig, EvalError};

#[derive(Debug)]
pub(crate) struct Budget {
    max_samples: usize,
    max_series: usize,
    samples: usize,
    timeout: Duration,
    began: Moment,
    clock: Clock,
    /// Samples looked at since the clock was.
    unclocked: usize,
}

/// So many samples take about a millisecond.
const CLOCKED_SAMPLES: usize = 100_000;

// === impl Budget ===

impl Budget {
    pub(crate) fn new(config: &EngineConfig) -> Self {
        Self {
            max_samples: config.max_samples,
            max_series: config.max_series,
            samples: 0,
            timeout: config.timeout,
            began: config.clock.now(),
            clock: config.clock.clone(),
            unclocked: 0,
        }
    }

    /// How many samples were looked at and computed.
    pub(super) fn used(&self) -> usize {
        self.samples
    }

    /// Counts samples that will be looked at or computed.
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

    /// Counts a result of so many series and steps, before it is allocated.
    pub(crate) fn take_result(&mut self, series: usize, steps: usize) -> Result<(), EvalError> {
        if series > self.max_series {
            return Err(EvalError::Bound {
                bound: Bound::Series,
                limit: self.max_series,
            });
        }
        self.check_time()?;
        self.take_samples(series.saturating_mul(steps))
    }

    /// Looks at the clock once in so much work.
    pub(crate) fn spend(&mut self, work: usize) -> Result<(), EvalError> {
        self.unclocked = self.unclocked.saturating_add(work);
        if self.unclocked < CLOCKED_SAMPLES {
            return Ok(());
        }
        self.unclocked = 0;
        self.check_time()
    }

    pub(crate) fn check_time(&self) -> Result<(), EvalError> {
        if self.clock.now().saturating_since(self.began) > self.timeout {
            return Err(EvalError::Timeout { limit: self.timeout });
        }
        Ok(())
    }
}
