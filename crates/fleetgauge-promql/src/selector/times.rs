//! The times at which a selector looks.

use std::time::Duration;

use crate::value::Steps;

/// The times at which a selector looks, one a step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(super) steps: Steps,
    /// Stands in for the time of every step.
    pub(super) at: Option<i64>,
    pub(super) offset: i64,
}

pub(super) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// The first moment after `time`: ranges are open on their left.
pub(super) fn after(time: i64) -> i64 {
    time.saturating_add(1)
}

// === impl Times ===

impl Times {
    /// Where the step `i` looks.
    pub(crate) fn get(&self, i: usize) -> i64 {
        self.at
            .unwrap_or_else(|| self.steps.at(i))
            .saturating_sub(self.offset)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = i64> + '_ {
        (0..self.steps.count).map(|i| self.get(i))
    }

    /// Where the end that was asked for looks.
    pub(crate) fn until(&self) -> i64 {
        self.at.unwrap_or(self.steps.until).saturating_sub(self.offset)
    }

    /// The first and the last.
    pub(crate) fn bounds(&self) -> (i64, i64) {
        (self.get(0), self.get(self.steps.count.saturating_sub(1)))
    }
}
