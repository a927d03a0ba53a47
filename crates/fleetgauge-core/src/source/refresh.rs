//! What a refresh is asked to do, and what became of each query.

use std::ops::Index;
use std::sync::Arc;
use std::time::Duration;

use crate::error::QueryError;
use crate::params::Params;
use crate::query::Shape;
use crate::result::MetricResult;
use crate::time::Timestamp;

/// Which queries to run, with which parameters.
///
/// ```
/// use fleetgauge_core::source::RefreshSpec;
///
/// let all = RefreshSpec::all().params([("namespace", "default")]);
/// let two = RefreshSpec::queries(["kv_cache", "queue_depth"]).params([("namespace", "default")]);
/// assert!(all.queries.is_empty());
/// assert_eq!(two.queries.len(), 2);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct RefreshSpec {
    /// Names of the queries to run. Empty: all that are registered, but those that are run
    /// [only by name](crate::query::QueryTemplate::only_by_name).
    pub queries: Vec<String>,
    /// The parameters of the batch. Each query takes those that it declares.
    pub params: Params,
    /// At how many times each query is evaluated. Answers of each shape are cached beside each other.
    pub shape: Shape,
    /// The time of the evaluation, or the end of the range; `None`: now. Answers of a given time are not cached.
    pub at: Option<Timestamp>,
    /// How long to wait for the batch, from the call on. Queries that take longer are reported as timed out;
    /// they are finished and cached nevertheless. `None`: as long as the queries' own timeouts allow.
    ///
    /// A backend that computes its answer without awaiting anything cannot be interrupted: the one that is at
    /// it when the time is over delays the return until it is done, and no other is begun before the return.
    pub wait_at_most: Option<Duration>,
    /// How old the samples of the answers may be. `None`: collected now, or by what is under way already.
    ///
    /// For sources that collect samples themselves, as by scraping pods: they answer from what they have
    /// where that is young enough. Others take no notice.
    pub max_age: Option<Duration>,
}

/// What became of one query: an answer, which may be "no data", or a reason.
pub type Outcome = Result<Arc<MetricResult>, QueryError>;

/// What became of each query of a refresh.
///
/// *Shape*: sorted by name, one outcome per query asked for.
#[derive(Clone, Debug, Default)]
pub struct RefreshResults(Vec<(Arc<str>, Outcome)>);

// === impl RefreshSpec ===

impl RefreshSpec {
    /// All registered queries, but those that are run
    /// [only by name](crate::query::QueryTemplate::only_by_name).
    pub fn all() -> Self {
        Self::default()
    }

    /// The queries named. No name at all means all registered queries, as [`all`](Self::all).
    pub fn queries<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Self {
        Self {
            queries: names.into_iter().map(Into::into).collect(),
            ..Self::default()
        }
    }

    crate::setters! {
        /// Sets the parameters of the batch.
        params(params: impl Into<Params>) => params = params.into();
        /// Evaluates each query as of `at`; the end of a range.
        at(at: Timestamp) => at = Some(at);
        /// Bounds how long to wait for the batch.
        wait_at_most(wait: Duration) => wait_at_most = Some(wait);
        /// Is content with samples up to this old; zero asks for ones collected from here on.
        max_age(max_age: Duration) => max_age = Some(max_age);
    }

    /// Evaluates each query every `step` from `window` ago until now, or until the time [given](Self::at).
    ///
    /// These times are multiples of `step`, unless the last one is [given](Self::at). Then two refreshes share most of
    /// their steps, and the backend is asked only for those that are new, or may still have changed
    /// ([`RangeConfig`](super::RangeConfig)); the others are taken over from the answer before. What was incomplete,
    /// warned of anything, or depends on more than the past of each step (`@`, a negative `offset`) is asked for whole, and
    /// so is a query that [transforms](crate::query::QueryTemplate::transform) its answers.
    pub fn range(mut self, window: Duration, step: Duration) -> Self {
        self.shape = Shape::Range { window, step };
        self
    }
}

// === impl RefreshResults ===

impl RefreshResults {
    /// What became of `query`; `None` if it was not asked for.
    pub fn get(&self, query: &str) -> Option<&Outcome> {
        let at = self.0.binary_search_by(|(name, _)| (**name).cmp(query)).ok()?;
        Some(&self.0[at].1)
    }

    /// All outcomes with their queries' names, sorted.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Outcome)> {
        self.0.iter().map(|(name, outcome)| (&**name, outcome))
    }

    /// The answers that were had.
    pub fn answers(&self) -> impl Iterator<Item = (&str, &Arc<MetricResult>)> {
        self.iter()
            .filter_map(|(name, outcome)| Some((name, outcome.as_ref().ok()?)))
    }

    /// The queries that failed.
    pub fn failures(&self) -> impl Iterator<Item = (&str, &QueryError)> {
        self.iter()
            .filter_map(|(name, outcome)| Some((name, outcome.as_ref().err()?)))
    }

    /// Whether every query has an answer from which nothing is known to be missing
    /// ([`MetricResult::is_complete`]).
    pub fn is_complete(&self) -> bool {
        self.0
            .iter()
            .all(|(_, outcome)| outcome.as_ref().is_ok_and(|result| result.is_complete()))
    }

    /// How many queries were asked for.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no query was asked for.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// # Panics
/// Where the query was not asked for, as a map does.
impl Index<&str> for RefreshResults {
    type Output = Outcome;

    fn index(&self, query: &str) -> &Outcome {
        match self.get(query) {
            Some(outcome) => outcome,
            None => panic!("query {query:?} was not part of the refresh"),
        }
    }
}

impl FromIterator<(Arc<str>, Outcome)> for RefreshResults {
    fn from_iter<I: IntoIterator<Item = (Arc<str>, Outcome)>>(outcomes: I) -> Self {
        let mut outcomes: Vec<_> = outcomes.into_iter().collect();
        outcomes.sort_by(|(a, _), (b, _)| a.cmp(b));
        Self(outcomes)
    }
}
