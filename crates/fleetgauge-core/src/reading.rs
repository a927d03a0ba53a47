//! Numbers that may be acted on: what a policy makes of an answer, row by row.
//!
//! A reading is a value, a value that is held, or none, with the reason. It is judged when an answer comes, for now and
//! for all of the time until the next one: how long the value is fresh enough, how long it may be held after that. So a
//! read only compares the clock, and a number that has become too old is not shown, even if nobody refreshes any more.
//!
//! All of it runs by monotonic time: a wall clock that is set back does not make a value young.

mod found;
mod judge;
mod phase;
mod readings;
mod reason;
mod set;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::age::Age;
use crate::completeness::Completeness;
use crate::label::Labels;
use crate::policy::{Fold, Policy, PolicyFacts};
use crate::query::QueryName;
use crate::result::Origin;
use crate::time::{Moment, Timestamp};

use phase::Phase;

pub use found::Found;
pub use judge::judge;
pub use readings::{Readings, ReadingsReader};
pub use reason::{Reason, ReasonCode, Status};
pub use set::ReadingSet;

/// One judged number of a metric, as of when it was read.
///
/// *Shape*: a view into its [`ReadingSet`].
#[derive(Clone, Copy)]
pub struct Reading<'a> {
    spec: &'a ReadingSpec,
    labels: Labels<'a>,
    phase: &'a Phase,
    now: Moment,
}

/// A metric: which query it reads, and what is accepted of it.
///
/// ```
/// use std::time::Duration;
/// use fleetgauge_core::policy::{OnError, Policy};
/// use fleetgauge_core::reading::{ReadingSpec, Readings};
/// use fleetgauge_core::time::Clock;
///
/// let policy = Policy::default().max_age(Duration::from_secs(30)).on_error(OnError::Hold);
/// let spec = ReadingSpec::new("queue", "inference/queue_length".parse()?).policy(policy);
/// // It is to hold, but not for how long.
/// let error = Readings::new(spec, Clock::system()).unwrap_err();
/// assert!(error.to_string().contains("add `hold`"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ReadingSpec {
    /// The metric's name.
    pub metric: Box<str>,
    /// The query that it reads.
    pub query: QueryName,
    /// The name of the query's source; empty where it has none.
    pub source: Box<str>,
    /// The unit of the values; empty where it is not told.
    pub unit: Box<str>,
    /// What is accepted: the metric's policy over those beneath it.
    pub policy: Policy,
    /// Whether the source knows who should report, or `expected` tells it.
    pub knows_completeness: bool,
    /// How the query folds, where it says so.
    pub fold: Option<Fold>,
    /// How far the samples that the query reads are apart, where that is known.
    pub sample_interval: Option<Duration>,
    /// Whether the query adds up something of pods and nothing else, so that it is zero where there are none. What waits
    /// elsewhere, as in an endpoint picker, is not gone with the pods.
    pub is_over_pods_alone: bool,
}

// === impl Reading ===

impl<'a> Reading<'a> {
    /// The metric's name.
    pub fn metric(&self) -> &'a str {
        &self.spec.metric
    }

    /// What identifies the row.
    pub fn labels(&self) -> Labels<'a> {
        self.labels
    }

    /// What it is.
    pub fn status(&self) -> Status {
        self.phase.status
    }

    /// The number; `None` where it is withheld, which is not zero.
    pub fn value(&self) -> Option<f64> {
        match self.status() {
            Status::Withheld => None,
            Status::Value | Status::Held => self.phase.measured.as_ref().map(|measured| measured.value),
        }
    }

    /// The unit of the number; empty where it is not told.
    pub fn unit(&self) -> &'a str {
        &self.spec.unit
    }

    /// How old the number is now; of a reading that is withheld, the one that is not accepted. `None` where that is not
    /// known, where there is none, and where no sample contributes to it.
    pub fn age(&self) -> Option<Duration> {
        self.phase.measured.as_ref()?.age_at(self.now)
    }

    /// Whether the age is a bound.
    pub fn age_is_bound(&self) -> bool {
        self.age_then().is_some_and(Age::is_bound)
    }

    /// What is known of the number's age: how old it was when its answer was had.
    pub fn age_then(&self) -> Option<Age> {
        self.phase.measured.as_ref().map(|measured| measured.age)
    }

    /// The time of the sample of the last good reading, where it is held: `hold` counts from it. Where its age is not
    /// known, when it was had.
    pub fn held_since(&self) -> Option<Timestamp> {
        self.phase.held_since
    }

    /// Why it is held or withheld; of a value why there is one though the query has none, as of a proven zero.
    pub fn reason(&self) -> Option<&'a Reason> {
        self.phase.reason.as_deref()
    }

    /// How complete the answer is that the number is from; of a reading that is withheld, the one that is not accepted.
    pub fn completeness(&self) -> Option<&'a Arc<Completeness>> {
        self.phase.basis.as_ref()?.completeness.as_ref()
    }

    /// Where the number comes from; of a reading that is withheld, the one that is not accepted. `None` where there was no
    /// answer.
    pub fn origin(&self) -> Option<&'a Arc<Origin>> {
        Some(&self.phase.basis.as_ref()?.origin)
    }

    /// Which branch of the query gave the number, counted from 0, where that was asked.
    pub fn branch(&self) -> Option<u16> {
        self.phase.measured.as_ref()?.branch
    }

    /// When time alone will make it another one.
    pub fn changes_at(&self) -> Option<Moment> {
        self.phase.until
    }
}

impl fmt::Debug for Reading<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reading")
            .field("metric", &self.metric())
            .field("labels", &self.labels)
            .field("status", &self.status())
            .field("value", &self.value())
            .field("age", &self.age())
            .field("reason", &self.reason())
            .finish_non_exhaustive()
    }
}

// === impl ReadingSpec ===

impl ReadingSpec {
    /// The metric `metric`, which reads `query`, and of which nothing is said: everything that is not a good value fails.
    pub fn new(metric: &str, query: QueryName) -> Self {
        Self {
            metric: metric.into(),
            query,
            source: Box::default(),
            unit: Box::default(),
            policy: Policy::default(),
            knows_completeness: false,
            fold: None,
            sample_interval: None,
            is_over_pods_alone: false,
        }
    }

    /// Sets what is accepted.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// Names the query's source.
    #[must_use]
    pub fn source(mut self, source: &str) -> Self {
        self.source = source.into();
        self
    }

    /// Says in which unit the values are.
    #[must_use]
    pub fn unit(mut self, unit: &str) -> Self {
        self.unit = unit.into();
        self
    }

    /// Says that it is known who should report.
    #[must_use]
    pub fn knows_completeness(mut self) -> Self {
        self.knows_completeness = true;
        self
    }

    /// Says how the query folds.
    #[must_use]
    pub fn fold(mut self, fold: Fold) -> Self {
        self.fold = Some(fold);
        self
    }

    /// Says how far the samples that the query reads are apart.
    #[must_use]
    pub fn sample_interval(mut self, interval: Duration) -> Self {
        self.sample_interval = Some(interval);
        self
    }

    /// Says that the query adds up something of pods and nothing else.
    #[must_use]
    pub fn over_pods_alone(mut self) -> Self {
        self.is_over_pods_alone = true;
        self
    }

    /// What the policy is checked against.
    pub fn facts(&self) -> PolicyFacts {
        PolicyFacts {
            query: Some(self.query.clone()),
            knows_completeness: self.knows_completeness,
            fold: self.fold,
            sample_interval: self.sample_interval,
        }
    }
}

#[cfg(test)]
mod tests;
