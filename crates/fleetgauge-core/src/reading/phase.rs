//! What a row reads as, as time passes.

use std::sync::Arc;
use std::time::Duration;

use super::reason::{Reason, Status};
use crate::age::Age;
use crate::completeness::Completeness;
use crate::result::Origin;
use crate::time::{Moment, Timestamp};

/// What a row reads as, one after the other; the last for ever.
#[derive(Clone)]
pub(super) struct Phases(Box<[Phase]>);

#[derive(Clone)]
pub(super) struct Phase {
    /// When the next one begins.
    pub(super) until: Option<Moment>,
    pub(super) status: Status,
    /// The number that is read, or refused.
    pub(super) measured: Option<Measured>,
    /// The answer that was judged where there is no number, else the number's.
    pub(super) basis: Option<Arc<Basis>>,
    pub(super) held_since: Option<Timestamp>,
    pub(super) reason: Option<Arc<Reason>>,
}

/// A number of an answer.
#[derive(Clone)]
pub(super) struct Measured {
    pub(super) value: f64,
    pub(super) age: Age,
    pub(super) branch: Option<u16>,
    pub(super) basis: Arc<Basis>,
}

/// What all numbers of an answer have in common. The answer itself is not kept.
pub(super) struct Basis {
    pub(super) had: Moment,
    pub(super) collected_at: Timestamp,
    pub(super) completeness: Option<Arc<Completeness>>,
    pub(super) origin: Arc<Origin>,
}

// === impl Phases ===

impl Phases {
    /// One that lasts for ever.
    pub(super) fn of(phase: Phase) -> Self {
        Self(Box::new([phase]))
    }

    /// This until `at`, and `next` from then on.
    pub(super) fn then(self, at: Moment, next: Self) -> Self {
        let mut phases = self.0.into_vec();
        if let Some(last) = phases
            .iter()
            .position(|phase| phase.until.is_none_or(|until| until >= at))
        {
            phases.truncate(last + 1);
            phases[last].until = Some(at);
        }
        phases.extend(next.0);
        Self(phases.into_boxed_slice())
    }

    /// Without what is over at `now`.
    pub(super) fn from(self, now: Moment) -> Self {
        let mut phases = self.0.into_vec();
        phases.retain(|phase| phase.until.is_none_or(|until| until > now));
        Self(phases.into_boxed_slice())
    }

    #[inline]
    pub(super) fn at(&self, now: Moment) -> &Phase {
        let mut phases = self.0.iter();
        match phases.find(|phase| phase.until.is_none_or(|until| now < until)) {
            Some(phase) => phase,
            None => unreachable!("the last phase has no end"),
        }
    }

    /// When the one at `now` ends.
    pub(super) fn change_after(&self, now: Moment) -> Option<Moment> {
        self.at(now).until
    }
}

// === impl Measured ===

impl Measured {
    /// How old it was when it was had, as far as `hold` is concerned.
    pub(super) fn age_to_hold(&self) -> Duration {
        self.age.duration().unwrap_or_default()
    }

    pub(super) fn age_at(&self, now: Moment) -> Option<Duration> {
        let since = now.saturating_since(self.basis.had);
        Some(self.age.duration()?.saturating_add(since))
    }

    /// When its sample was taken, by the wall clock as it stood when the answer was had.
    pub(super) fn sampled_at(&self) -> Timestamp {
        let age = i64::try_from(self.age_to_hold().as_millis()).unwrap_or(i64::MAX);
        Timestamp::from_millis(self.basis.collected_at.as_millis().saturating_sub(age))
    }
}
