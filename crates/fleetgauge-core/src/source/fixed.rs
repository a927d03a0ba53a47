//! Given answers: what one mocks a source with.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::{CachedSource, CachedSourceConfig};
use crate::age::Age;
use crate::backend::{Backend, Request};
use crate::completeness::Completeness;
use crate::error::FetchError;
use crate::range::Steps;
use crate::result::{Answer, AnswerBuilder, AnswerKind};
use crate::time::Timestamp;

/// A source that answers what it was told to, for tests of code that reads metrics.
///
/// It is a real [`CachedSource`]: templates are rendered, answers cached and flights shared as with a
/// network behind it.
///
/// ```
/// use std::time::Duration;
/// use fleetgauge_core::backend::FetchError;
/// use fleetgauge_core::query::QueryTemplate;
/// use fleetgauge_core::source::{FixedBackend, FixedSource, MetricsSource, RefreshSpec};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let source = FixedBackend::new()
///     .values("queue_depth", [([("pod", "a")], 3.0)])
///     .failure("gpu_util", FetchError::Timeout { after: Duration::from_secs(10) })
///     .into_source();
/// for name in ["queue_depth", "gpu_util", "kv_cache"] {
///     source.query_list().must_register(QueryTemplate::promql(name, "up"));
/// }
///
/// let results = source.refresh(RefreshSpec::all()).await;
/// assert_eq!(results["queue_depth"].as_ref().unwrap().values().next().unwrap().value, 3.0);
/// assert_eq!(results["gpu_util"].as_ref().unwrap_err().reason(), "timeout");
/// assert!(results["kv_cache"].as_ref().unwrap().is_no_data(), "nothing was said of kv_cache");
/// # }
/// ```
pub type FixedSource = CachedSource;

/// The backend of a [`FixedSource`].
///
/// Cheap to clone; clones share answers, so that a test keeps one to change them while the source is in
/// use. A query that nothing was said of has no data. Asked for a range, it answers with the points of a matrix at
/// the steps of the range, and with any other answer's values at each of them.
#[derive(Clone, Debug, Default)]
pub struct FixedBackend(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    answers: HashMap<String, VecDeque<Result<Answer, FetchError>>>,
    delays: HashMap<String, Duration>,
    asked: Vec<Request>,
}

// === impl FixedBackend ===

impl FixedBackend {
    /// A backend that has no data for any query.
    pub fn new() -> Self {
        Self::default()
    }

    /// Answers `query` with these labels and values, stamped with the epoch as evaluation time.
    ///
    /// # Panics
    /// Where a label name occurs twice in a series.
    pub fn values<'a, L>(self, query: &str, values: impl IntoIterator<Item = (L, f64)>) -> Self
    where
        L: IntoIterator<Item = (&'a str, &'a str)>,
    {
        let mut answer = AnswerBuilder::new(crate::sample::Stamp::Evaluated);
        for (labels, value) in values {
            if let Err(error) = answer.series(labels, value, Default::default()) {
                panic!("{error}");
            }
        }
        self.answer(query, answer.build())
    }

    /// Answers `query` with `answer`. Several outcomes given for a query are had one after the other; the
    /// last one stays.
    pub fn answer(self, query: &str, answer: Answer) -> Self {
        self.push(query, Ok(answer));
        self
    }

    /// Says how old the values are that `query` was given last, in their order; of those beyond nothing is known.
    ///
    /// # Panics
    /// Where it was given none.
    pub fn ages(self, query: &str, ages: impl IntoIterator<Item = Age>) -> Self {
        let ages = ages.into_iter().collect();
        self.change(query, |answer| answer.with_ages(ages));
        self
    }

    /// Says who was expected to report for the answer that `query` was given last, and who did.
    ///
    /// # Panics
    /// Where it was given none.
    pub fn completeness(self, query: &str, completeness: Completeness) -> Self {
        self.change(query, |answer| answer.with_completeness(Arc::new(completeness)));
        self
    }

    fn change(&self, query: &str, change: impl FnOnce(Answer) -> Answer) {
        let is_changed = self.state(|state| {
            let last = state.answers.get_mut(query).and_then(VecDeque::back_mut);
            let Some(Ok(answer)) = last else { return false };
            *answer = change(answer.clone());
            true
        });
        assert!(is_changed, "no answer was given for {query:?}");
    }

    /// Lets `query` fail with `error`.
    pub fn failure(self, query: &str, error: FetchError) -> Self {
        self.push(query, Err(error));
        self
    }

    /// Lets each answer to `query` take as long as `delay`.
    pub fn delay(self, query: &str, delay: Duration) -> Self {
        self.state(|state| state.delays.insert(query.to_owned(), delay));
        self
    }

    /// Forgets the outcomes given for `query`.
    pub fn forget(&self, query: &str) {
        self.state(|state| state.answers.remove(query));
    }

    /// The requests that were made, in order.
    pub fn asked(&self) -> Vec<Request> {
        self.state(|state| state.asked.clone())
    }

    /// A source over this backend, that never tries a failed query again, since its failures are wanted.
    pub fn into_source(self) -> FixedSource {
        let config = CachedSourceConfig {
            retry: super::RetryPolicy::never(),
            ..Default::default()
        };
        CachedSource::new(Arc::new(self), config)
    }

    fn push(&self, query: &str, outcome: Result<Answer, FetchError>) {
        self.state(|state| {
            state
                .answers
                .entry(query.to_owned())
                .or_default()
                .push_back(outcome)
        });
    }

    fn state<R>(&self, with: impl FnOnce(&mut State) -> R) -> R {
        with(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Backend for FixedBackend {
    fn fetch<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Answer, FetchError>> {
        let fetch = async move {
            let name = request.name.as_str();
            let (outcome, delay) = self.state(|state| {
                state.asked.push(request.clone());
                let outcomes = state.answers.get_mut(name);
                let outcome = match outcomes {
                    Some(outcomes) if outcomes.len() > 1 => outcomes.pop_front(),
                    Some(outcomes) => outcomes.front().cloned(),
                    None => None,
                };
                (outcome, state.delays.get(name).copied())
            });
            if let Some(delay) = delay {
                tokio::time::sleep(delay).await;
            }
            let answer = outcome.unwrap_or_else(|| Ok(Answer::no_data()))?;
            match request.steps(Timestamp::default())? {
                Some(steps) => over(&answer, steps),
                None => Ok(answer),
            }
        };
        fetch.boxed()
    }
}

/// The answer to a range: of a matrix the points at its steps, of other answers their values at each step.
fn over(answer: &Answer, steps: Steps) -> Result<Answer, FetchError> {
    let mut ranged = AnswerBuilder::new(answer.stamp());
    ranged.matrix();
    for series in answer.series() {
        let samples = || series.samples();
        let at_steps: Vec<_> = match answer.kind() {
            AnswerKind::Matrix => (samples())
                .filter(|(at, _)| steps.position(*at).is_some())
                .collect(),
            _ => (samples())
                .flat_map(|(_, value)| steps.iter().map(move |step| (step, value)))
                .collect(),
        };
        if at_steps.is_empty() {
            continue;
        }
        for (name, value) in series.labels().iter() {
            ranged.label(name, value);
        }
        for (at, value) in at_steps {
            ranged.sample(value, at);
        }
        ranged.end_points().map_err(|error| FetchError::Malformed {
            detail: error.to_string(),
            source: None,
        })?;
    }
    ranged.told_by(answer);
    Ok(ranged.build())
}
