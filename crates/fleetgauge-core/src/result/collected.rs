//! What became of an answer for one query.

use super::{Answer, AnswerStatus};
use crate::age::Age;
use crate::query::name::QueryName;
use crate::range::Steps;
use crate::sample::{MetricValue, Stamp};
use crate::time::Timestamp;

/// One query's answer as it was collected.
///
/// ```
/// use fleetgauge_core::result::{Answer, MetricResult};
/// use fleetgauge_core::time::Timestamp;
///
/// let at = Timestamp::from_secs_f64(1763930000.5);
/// let result = MetricResult::new("queue_depth".parse()?, at, Answer::no_data());
/// // "No data" is an answer of its own: it has no value that could be mistaken for zero.
/// assert!(result.is_no_data());
/// assert_eq!(result.values().next(), None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct MetricResult {
    query: QueryName,
    collected_at: Timestamp,
    answer: Answer,
    steps: Option<Steps>,
}

// === impl MetricResult ===

impl MetricResult {
    /// What `query` got at `collected_at`.
    pub fn new(query: QueryName, collected_at: Timestamp, answer: Answer) -> Self {
        Self {
            query,
            collected_at,
            answer,
            steps: None,
        }
    }

    /// Sets the steps at which the query was evaluated.
    #[must_use]
    pub fn with_steps(mut self, steps: Steps) -> Self {
        self.steps = Some(steps);
        self
    }

    /// Whether nothing is known to be missing that could have changed the answer: [`Answer::is_complete`].
    pub fn is_complete(&self) -> bool {
        self.answer.is_complete()
    }

    /// The query's name.
    pub fn query(&self) -> &QueryName {
        &self.query
    }

    /// When the answer arrived.
    pub fn collected_at(&self) -> Timestamp {
        self.collected_at
    }

    /// The steps at which the query was evaluated, if it was at several. A series lacks those at which it had no
    /// value.
    pub fn steps(&self) -> Option<Steps> {
        self.steps
    }

    /// The answer, whole.
    pub fn answer(&self) -> &Answer {
        &self.answer
    }

    /// How old the value of the series at `row` was when the answer was had: as its provenance tells, or by the time of
    /// the sample where that is known.
    pub fn age(&self, row: usize) -> Age {
        match self.answer.provenance() {
            Some(provenance) if provenance.has_ages() => provenance.age(row),
            _ if self.answer.stamp != Stamp::Sampled || row >= self.answer.labels.len() => Age::UNKNOWN,
            _ => {
                let newest = self.answer.series_at(row).points().last();
                newest.map_or(Age::UNKNOWN, |point| {
                    Age::between(point.timestamp, self.collected_at)
                })
            }
        }
    }

    /// Whether there is something in it.
    pub fn status(&self) -> AnswerStatus {
        self.answer.status()
    }

    /// Whether the backend has no value for the query. This is not zero.
    pub fn is_no_data(&self) -> bool {
        self.answer.is_no_data()
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.answer.len()
    }

    /// Whether there is no value; a text may still be there.
    pub fn is_empty(&self) -> bool {
        self.answer.is_empty()
    }

    /// The values, in the backend's order.
    pub fn values(&self) -> impl Iterator<Item = MetricValue<'_>> {
        self.answer.values()
    }

    /// What the backend warned of.
    pub fn warnings(&self) -> impl ExactSizeIterator<Item = &str> {
        self.answer.warnings()
    }
}
