//! Asks a source PromQL, each question once, within the bounds of an examination.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use fleetgauge_core::backend::FetchError;
use fleetgauge_core::params::Params;
use fleetgauge_core::query::{Companions, QueryTemplate};
use fleetgauge_core::result::{Answer, MetricResult};
use fleetgauge_core::source::{MetricsSource, QueryError, RefreshSpec};
use fleetgauge_core::time::Clock;
use fleetgauge_syntax::tree::{AggregateOp, Grouping};

use super::read::{When, aggregated, named};

/// How old samples may be that a source collects itself, so that not every question has its pods scraped.
const COLLECTED_WITHIN: Duration = Duration::from_secs(30);

/// Asks a source, and remembers what it said.
pub(super) struct Probe {
    source: Arc<dyn MetricsSource>,
    given: Params,
    max_requests: usize,
    deadline: Duration,
    began: Instant,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// The names of the questions that are registered.
    names: HashMap<String, String>,
    answers: HashMap<(String, Params), Result<Arc<MetricResult>, Failure>>,
    asked: usize,
}

/// Why there is no answer.
#[derive(Clone, Debug)]
pub(super) enum Failure {
    /// A bound of the examination; in words.
    Bound(String),
    /// The source said no.
    Query(QueryError),
}

// === impl Probe ===

impl Probe {
    pub(super) fn new(
        source: Arc<dyn MetricsSource>,
        given: Params,
        max_requests: usize,
        deadline: Duration,
    ) -> Self {
        Self {
            source,
            given,
            max_requests,
            deadline,
            began: Instant::now(),
            known: Mutex::default(),
        }
    }

    /// What the source answers to `text` now. Where it has no values, and not all that was asked, nothing was seen: pods
    /// that have just begun to be scraped tell nothing of the hour before.
    pub(super) async fn ask(&self, text: &str, params: &Params) -> Result<Arc<MetricResult>, Failure> {
        let name = {
            let known = self.known();
            let next = format!("doctor:{}", known.names.len());
            known.names.get(text).cloned().unwrap_or(next)
        };
        if !self.known().names.contains_key(text) {
            // Two braces can stand in a string alone, where the escape is the same.
            let mut query = QueryTemplate::promql(&name, text.replace("{{", r"{\x7b")).only_by_name();
            query.companions = Some(Companions::none());
            if let Err(error) = self.source.query_list().replace(query) {
                return Err(Failure::Query(refused(error.to_string(), &name)));
            }
            self.known().names.insert(text.to_owned(), name.clone());
        }
        // The question itself has none; those of the inputs of a composed source are asked for.
        let registered = self.source.query_list().get(&name);
        let declared = registered.iter().flat_map(|query| query.params());
        let of_query = params.iter().filter(|(name, _)| {
            let mut declared = declared.clone();
            declared.any(|spec| spec.name() == *name)
        });
        let mut own = Params::new();
        of_query.for_each(|(name, value)| own.push(name, value));
        let key = (text.to_owned(), own);
        if let Some(known) = self.known().answers.get(&key) {
            return known.clone();
        }
        let answer = match self.run(&name, params).await {
            Err(Failure::Query(error)) => nothing_seen(error),
            answer => answer,
        };
        if !matches!(answer, Err(Failure::Bound(_))) {
            self.known().answers.insert(key, answer.clone());
        }
        answer
    }

    /// What the source answers to a registered query now.
    pub(super) async fn run(&self, name: &str, params: &Params) -> Result<Arc<MetricResult>, Failure> {
        let asked = {
            let mut known = self.known();
            known.asked += 1;
            known.asked
        };
        if asked > self.max_requests {
            let bound = format!("the source was asked {} times already", self.max_requests);
            return Err(Failure::Bound(bound));
        }
        let over = || Failure::Bound(format!("the time for all queries is over, {:?}", self.deadline));
        let left = self.deadline.saturating_sub(self.began.elapsed());
        if left.is_zero() {
            return Err(over());
        }
        let spec = RefreshSpec::queries([name])
            .params(params.clone())
            .max_age(COLLECTED_WITHIN);
        let refreshed = tokio::time::timeout(left, self.source.refresh(spec)).await;
        let results = refreshed.map_err(|_| over())?;
        match results.get(name) {
            Some(outcome) => outcome.clone().map_err(Failure::Query),
            None => Err(Failure::Query(refused("it is not registered".to_owned(), name))),
        }
    }

    /// When `metric` has been there last; `None`: not within the last hour.
    pub(super) async fn last_seen(&self, metric: &str, params: &Params) -> Result<Option<When>, Failure> {
        for when in [When::Now, When::Past] {
            let series = when.of(&named(metric));
            let any = aggregated(AggregateOp::Group, Grouping::default(), series);
            if !self.ask(&any.to_string(), params).await?.is_no_data() {
                return Ok(Some(when));
            }
        }
        Ok(None)
    }

    pub(super) fn source(&self) -> &dyn MetricsSource {
        &*self.source
    }

    /// The parameters that were given for all queries.
    pub(super) fn given(&self) -> &Params {
        &self.given
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        let list = self.source.query_list();
        for name in self.known().names.values() {
            list.remove(name);
        }
    }
}

/// Of a question that has no values for what is known of it; every other failure stays one.
fn nothing_seen(error: QueryError) -> Result<Arc<MetricResult>, Failure> {
    match &error {
        QueryError::Fetch { query, error } if matches!(**error, FetchError::Incomplete { .. }) => {
            let now = Clock::system().wall();
            Ok(Arc::new(MetricResult::new(query.clone(), now, Answer::no_data())))
        }
        _ => Err(Failure::Query(error)),
    }
}

/// As if the source had refused to take the query.
fn refused(message: String, name: &str) -> QueryError {
    let error = FetchError::Rejected {
        kind: "bad_data".to_owned(),
        message,
    };
    match name.parse() {
        Ok(query) => QueryError::Fetch {
            query,
            error: Arc::new(error),
        },
        Err(_) => QueryError::NoSource {
            query: name.to_owned(),
        },
    }
}
