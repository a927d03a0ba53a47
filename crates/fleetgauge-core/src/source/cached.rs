//! The heart: render → deadline → bounded fan-out → single flight → cache, for every backend alike.

mod config;
mod expected;
mod inner;
mod transformed;

use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Waker};
use std::time::{Duration, Instant as StdInstant};

use fleetgauge_syntax::zero_at_one_time;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::delta::{Delta, check_points};
use super::flight::{Flight, FlightKeyRef, FlightOutcome, Freshness, Joined, Leader};
use super::pace::Pace;
use super::stats::Counts;
use super::{MetricsSource, RefreshResults, RefreshSpec, SourceStats};
use crate::backend::{Backend, Request};
use crate::cache::{Cache, CachedRef, CachedValue, KeyRef, Lookup, PreparedQuery};
use crate::completeness::Completeness;
use crate::error::{FetchError, QueryError};
use crate::interval::{is_shorter, told_at_one_time};
use crate::params::Params;
use crate::query::{QueryType, Shape};
use crate::query_list::{QueryList, RegisteredQuery};
use crate::range::Steps;
use crate::result::{Answer, MetricResult, Provenance};
use crate::time::Clock;
use crate::transform::is_mixed;

use inner::{Ask, Inner, later, one_a_series};
use transformed::Asked;

pub use config::{CachedSourceConfig, RetryPolicy};

/// A [`MetricsSource`] over any [`Backend`].
///
/// Cheap to clone; clones are the same source. Queries run in the background of the Tokio runtime in which
/// they were asked for: a caller that gives up neither spoils an answer for others nor makes them ask again.
#[derive(Clone)]
pub struct CachedSource(Arc<Inner>);

// === impl CachedSource ===

impl CachedSource {
    /// A source that asks `backend`, by the system's clock.
    pub fn new(backend: Arc<dyn Backend>, config: CachedSourceConfig) -> Self {
        Self::with_clock(backend, config, Clock::system())
    }

    /// A source whose values age by `clock`. Timeouts and waits between tries run by Tokio's clock.
    pub fn with_clock(backend: Arc<dyn Backend>, config: CachedSourceConfig, clock: Clock) -> Self {
        let queries = QueryList::new();
        let cache = Cache::new(config.cache.clone(), clock.clone());
        let weak = cache.downgrade();
        queries.on_replaced(move |gone| {
            if let Some(cache) = weak() {
                cache.forget(gone);
            }
        });
        Self(Arc::new(Inner {
            backend,
            queries,
            cache,
            flights: Arc::default(),
            permits: Semaphore::new(config.max_concurrency.max(1)),
            pace: config.max_queries_per_second.and_then(Pace::new),
            counts: Counts::default(),
            clock,
            config,
        }))
    }

    /// The configuration.
    pub fn config(&self) -> &CachedSourceConfig {
        &self.0.config
    }

    /// The flight that brings what is asked of `query`, started unless it is under way.
    ///
    /// Who only `wants_fresh` is content with a value that was cached a moment ago: between the caller's
    /// look at the cache and its joining, another flight may have ended.
    fn join(
        &self,
        query: &RegisteredQuery,
        ask: &Arc<Ask>,
        wants_fresh: bool,
        deadline: Option<Instant>,
    ) -> Result<Arc<Flight>, QueryError> {
        let counts = &self.0.counts;
        counts.queries.fetch_add(1, Ordering::Relaxed);
        // Rendered before joining: a question that is wrong has no flight.
        let text = query
            .render(&ask.params)
            .inspect_err(|error| counts.failure(&error.clone().into()))?;
        let key = FlightKeyRef {
            key: KeyRef::new(query, &ask.params, ask.shape),
            at: ask.at,
        };
        let aborted = {
            let (inner, query, ask) = (Arc::clone(&self.0), query.clone(), Arc::clone(ask));
            move |sent| inner.failed(&query, &ask, FetchError::Aborted, sent)
        };
        match self.0.flights.join(key, ask.freshness, aborted) {
            Joined::Follower(flight) => {
                counts.flights_shared.fetch_add(1, Ordering::Relaxed);
                Ok(flight)
            }
            Joined::Leader(leader, flight) => {
                if wants_fresh && let Some(value) = self.fresh(query, &ask.params) {
                    leader.end(Ok(value));
                    return Ok(flight);
                }
                counts.flights.fetch_add(1, Ordering::Relaxed);
                let request = self.0.request(query, text, ask);
                let run = Arc::clone(&self.0).run(leader, query.clone(), Arc::clone(ask), request);
                start(run, deadline);
                Ok(flight)
            }
        }
    }

    fn find(&self, query: &str) -> Result<RegisteredQuery, QueryError> {
        Ok(self.0.queries.find(query)?)
    }

    fn fresh(&self, query: &RegisteredQuery, params: &Params) -> Option<CachedValue> {
        let value = self.0.cache.get(query, params)?;
        (!value.is_expired()).then(|| value.keep())
    }

    fn sweep_in_background(&self) {
        self.0.cache.sweep_in_background(self.0.config.sweep_interval);
    }

    /// The queries named, each once, or all where none is named.
    fn queries_of(&self, mut names: Vec<String>) -> Vec<(Arc<str>, Result<RegisteredQuery, QueryError>)> {
        if names.is_empty() {
            let all = self.0.queries.all().into_iter();
            let all = all.filter(|query| !query.template().only_by_name);
            return all.map(|query| (query.name().shared(), Ok(query))).collect();
        }
        names.sort_unstable();
        names.dedup();
        names
            .into_iter()
            .map(|name| (name.as_str().into(), self.find(&name)))
            .collect()
    }

    async fn refresh_now(&self, spec: RefreshSpec) -> RefreshResults {
        self.sweep_in_background();
        let counts = &self.0.counts;
        counts.refreshes.fetch_add(1, Ordering::Relaxed);
        let deadline = spec.wait_at_most.map(|wait| later(Instant::now(), wait));
        let ask = Ask {
            params: Arc::new(spec.params),
            shape: spec.shape,
            at: spec.at,
            freshness: Freshness::now(spec.max_age),
        };
        let ask = Arc::new(ask);
        let flights: Vec<_> = self
            .queries_of(spec.queries)
            .into_iter()
            .map(|(name, query)| {
                let query = query.inspect_err(|error| counts.failure(error));
                let flight = query.and_then(|query| Ok((self.join(&query, &ask, false, deadline)?, query)));
                (name, flight)
            })
            .collect();
        let deadline = deadline.zip(spec.wait_at_most);
        let mut results = Vec::with_capacity(flights.len());
        for (name, flight) in flights {
            let outcome = match flight {
                Ok((flight, query)) => wait(&flight, &query, deadline)
                    .await
                    .map(|value| Arc::clone(value.result())),
                Err(error) => Err(error),
            };
            results.push((name, outcome));
        }
        results.into_iter().collect()
    }

    async fn ask_now(&self, mut request: Request) -> Result<Answer, FetchError> {
        let (inner, range) = (&self.0, &self.0.config.range);
        inner.counts.asked.fetch_add(1, Ordering::Relaxed);
        let steps = request.steps(inner.clock.wall())?;
        steps.map_or(Ok(()), |steps| range.check_steps(steps))?;
        let permit = inner.permit().await?;
        let answer = inner.ask(permit, &mut request, &mut StdInstant::now()).await?;
        let Some(steps) = steps else {
            return Ok(answer);
        };
        check_points(&answer, steps)?;
        range.check_size(&answer)?;
        Ok(answer)
    }

    async fn get_or_refresh_now(&self, name: &str, params: &Params) -> Result<CachedValue, QueryError> {
        let query = self.find(name)?;
        if let Some(value) = self.fresh(&query, params) {
            return Ok(value);
        }
        self.sweep_in_background();
        let ask = Ask {
            params: Arc::new(params.clone()),
            shape: Shape::Instant,
            at: None,
            freshness: Freshness::now(None),
        };
        self.join(&query, &Arc::new(ask), true, None)?.wait().await
    }
}

impl MetricsSource for CachedSource {
    fn query_list(&self) -> &QueryList {
        &self.0.queries
    }

    fn refresh(&self, spec: RefreshSpec) -> BoxFuture<'_, RefreshResults> {
        self.refresh_now(spec).boxed()
    }

    fn get(&self, query: &str, params: &Params) -> Option<CachedRef> {
        self.0
            .queries
            .with(query, |query| self.0.cache.get(query, params))?
    }

    fn lookup_shape(&self, query: &str, params: &Params, shape: Shape) -> Lookup {
        match self.find(query) {
            Ok(query) => match query.render(params) {
                Ok(_) => self.0.cache.lookup_shape(&query, params, shape),
                Err(error) => Lookup::Invalid(error.into()),
            },
            Err(error) => Lookup::Invalid(error),
        }
    }

    fn get_or_refresh<'a>(
        &'a self,
        query: &'a str,
        params: &'a Params,
    ) -> BoxFuture<'a, Result<CachedValue, QueryError>> {
        self.get_or_refresh_now(query, params).boxed()
    }

    fn ask(&self, request: Request) -> BoxFuture<'_, Result<Answer, FetchError>> {
        self.ask_now(request).boxed()
    }

    fn prepare(&self, query: &str, params: &Params) -> Result<PreparedQuery, QueryError> {
        let query = self.find(query)?;
        query.render(params)?;
        let prepared = self.0.cache.prepare(&query, params);
        prepared.ok_or_else(|| QueryError::CacheFull {
            query: query.name().clone(),
        })
    }

    fn stats(&self) -> SourceStats {
        self.0.counts.snapshot(self.0.flights.len(), self.0.cache.stats())
    }
}

impl fmt::Debug for CachedSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedSource")
            .field("config", &self.0.config)
            .field("queries", &self.0.queries)
            .finish_non_exhaustive()
    }
}

// === impl Inner ===

impl Inner {
    /// Asks the backend, and caches what became of it.
    async fn run(
        self: Arc<Self>,
        mut leader: Leader<impl Fn(StdInstant) -> FlightOutcome>,
        query: RegisteredQuery,
        ask: Arc<Ask>,
        mut request: Request,
    ) {
        let fetched = self.fetch(&query, &ask, &mut request, &mut leader.sent).await;
        let outcome = match fetched {
            Ok((answer, steps)) => {
                if answer.is_no_data() {
                    self.counts.no_data.fetch_add(1, Ordering::Relaxed);
                }
                let answer = self.advised(&query, &request, attributed(&query, &request, answer));
                let mut result = MetricResult::new(query.name().clone(), self.clock.wall(), answer);
                if let Some(steps) = steps {
                    result = result.with_steps(steps);
                }
                Ok(if ask.at.is_none() {
                    self.cache
                        .store_sent(&query, &ask.params, ask.shape, result, leader.sent)
                } else {
                    self.cache.value(&query, result, leader.sent)
                })
            }
            Err(error) => self.failed(&query, &ask, error, leader.sent),
        };
        leader.end(outcome);
    }

    /// With a warning, where answers do not hold for as long as samples are apart: they are had again and again for
    /// nothing, and are gone in between; and where a part of the query is 0 because it is asked at one time.
    fn advised(&self, query: &RegisteredQuery, request: &Request, answer: Answer) -> Answer {
        let is_promql = request.query_type == QueryType::PromQl && request.shape == Shape::Instant;
        let answer = match is_promql.then(|| zero_at_one_time(&request.text)).flatten() {
            Some(zero) => answer.with_warning(&told_at_one_time(zero)),
            None => answer,
        };
        let ttl = query.template().ttl.unwrap_or(self.config.cache.default_ttl);
        match answer.provenance().and_then(Provenance::sample_interval) {
            Some(interval) if is_shorter(ttl, interval) => answer.with_warning(&format!(
                "the answer holds for {ttl:?}, and samples are about {interval:.0?} apart: a longer ttl loses nothing"
            )),
            _ => answer,
        }
    }

    /// A flight that failed: counted, and recorded beside the last value, unless it was of a given time.
    fn failed(
        &self,
        query: &RegisteredQuery,
        ask: &Ask,
        error: FetchError,
        sent: StdInstant,
    ) -> FlightOutcome {
        let error = QueryError::fetch(query.name(), error);
        self.counts.failure(&error);
        if ask.at.is_none() {
            self.cache
                .record_failure_sent(query, &ask.params, ask.shape, error.clone(), sent);
        }
        Err(error)
    }

    /// Asks the backend, for the steps of a range that it has to be asked for. Gives the answer to all that was asked,
    /// and its steps.
    async fn fetch(
        self: &Arc<Self>,
        query: &RegisteredQuery,
        ask: &Ask,
        request: &mut Request,
        sent: &mut StdInstant,
    ) -> Result<(Answer, Option<Steps>), FetchError> {
        let permit = self.permit().await?;
        let steps = request.steps(self.clock.wall())?;
        let template = query.template();
        if !template.transform.is_empty() || (template.expected.is_some() && steps.is_none()) {
            let source = &CachedSource(Arc::clone(self));
            let asked = Asked { source, query, ask };
            let answer = self.transformed(asked, permit, request, steps, sent).await?;
            return Ok((answer, steps));
        }
        let Some(steps) = steps else {
            let answer = self.ask(permit, request, sent).await?;
            return Ok((one_a_series(answer)?, None));
        };
        self.config.range.check_steps(steps)?;
        // Histograms are not put together from two answers.
        let held = (ask.at.is_none() && !request.histograms)
            .then(|| self.cache.held(query, &ask.params, ask.shape))
            .flatten();
        let delta = held.and_then(|held| Delta::new(held, steps, &self.config.range, request));
        let wanted = delta.as_ref().map_or(steps, |delta| delta.wanted());
        request.at = Some(wanted.end());
        request.shape = Shape::Range {
            window: wanted.window(),
            step: wanted.step(),
        };
        let mut answer = self.ask(permit, request, sent).await?;
        check_points(&answer, wanted)?;
        if let Some(delta) = delta {
            answer = delta.join(&answer)?;
        }
        self.config.range.check_size(&answer)?;
        Ok((answer, Some(steps)))
    }
}

/// `answer`, which says whether those who have reported can be told apart by the rows that stand on them.
fn attributed(query: &RegisteredQuery, request: &Request, answer: Answer) -> Answer {
    let known = answer.completeness().filter(|known| known.is_by_pod());
    match known {
        Some(known) if is_mixed(&request.promql(), &query.template().transform) => {
            let mixed = Completeness::clone(known).mixed();
            answer.with_completeness(Arc::new(mixed))
        }
        _ => answer,
    }
}

/// Runs `flight` in the background, unless it ends at once, as with a backend that needs no network. After
/// `deadline` it is not begun here, since who asks is to wait no longer.
fn start(flight: impl Future<Output = ()> + Send + 'static, deadline: Option<Instant>) {
    // A backend that panics spoils its own flight, not the caller's batch; its leader ends it as aborted.
    let mut flight = Box::pin(AssertUnwindSafe(flight).catch_unwind().map(drop));
    let in_time = deadline.is_none_or(|deadline| Instant::now() < deadline);
    // What this poll would have woken is woken again by the first poll of the task.
    let mut context = Context::from_waker(Waker::noop());
    if !in_time || flight.as_mut().poll(&mut context).is_pending() {
        tokio::spawn(flight);
    }
}

async fn wait(
    flight: &Flight,
    query: &RegisteredQuery,
    deadline: Option<(Instant, Duration)>,
) -> FlightOutcome {
    let Some((deadline, after)) = deadline else {
        return flight.wait().await;
    };
    let outcome = if Instant::now() < deadline {
        tokio::time::timeout_at(deadline, flight.wait()).await.ok()
    } else {
        // Not by a timer: it would let other tasks go first.
        flight.wait().now_or_never()
    };
    outcome.unwrap_or_else(|| Err(QueryError::fetch(query.name(), FetchError::Timeout { after })))
}
