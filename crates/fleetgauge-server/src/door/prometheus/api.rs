//! What the routes read, and how many may read at once.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::extract::Request;
use axum::http::HeaderValue;
use axum::response::{IntoResponse, Response};
use fleetgauge::scrape::{ScrapeSource, Shard};
use fleetgauge_core::printable::Quoted;
use fleetgauge_core::result::{Answer, AnswerBuilder, SHARD_HEADER, ShardMark};
use fleetgauge_core::sample::Stamp;
use fleetgauge_core::time::Timestamp;
use fleetgauge_promql::engine::{Engine, EngineConfig, EvalError};
use fleetgauge_promql::missing::Missing;
use fleetgauge_promql::queryable::Queryable;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::history::History;
use super::param::{Nanos, Params};
use super::reply::{ApiError, ErrorKind, Reply};
use super::request;
use crate::merged::Merged;

/// What [`routes`](super::routes) serve.
///
/// Cheap to clone; clones are the same API.
#[derive(Clone)]
pub struct PrometheusApi(Arc<Inner>);

struct Inner {
    config: PrometheusApiConfig,
    engine: Engine,
    served: RwLock<Arc<Served>>,
    /// The right to be in work, or to wait for it.
    admitted: Arc<Semaphore>,
    /// The right to be in work.
    working: Arc<Semaphore>,
}

/// What one [`PrometheusApi`] bears.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PrometheusApiConfig {
    /// How queries are evaluated, and what one may take. `timeout` is that of all requests, and includes their waiting; a
    /// request may ask for less. Default: as the engine's, with 256 MiB.
    pub engine: EngineConfig,
    /// How many requests are in work at once. Default: as many as there are cores.
    pub concurrency: usize,
    /// How many requests are in work or wait for it; more are refused. Default: 100.
    pub max_requests: usize,
    /// How large a request's body may be. Default: 1 MiB.
    pub max_request_bytes: usize,
    /// How long a request's body may take to come. Default: 10 seconds.
    pub request_timeout: Duration,
    /// How large an answer may be, before compression. Default: 64 MiB.
    pub max_answer_bytes: usize,
}

/// Whose series are served.
#[derive(Clone, Default)]
pub struct Served {
    /// The sources that scrape.
    pub scraped: Vec<ScrapedSource>,
    /// Other series, such as those of the [readings](crate::series).
    pub series: Vec<Arc<dyn Queryable>>,
    /// Which of all pods are scraped, where others scrape the rest.
    pub shard: Option<Shard>,
    /// Where what is older is read.
    pub history: Option<History>,
}

/// A source that scrapes, under its name.
#[derive(Clone, Debug)]
pub struct ScrapedSource {
    /// The name, which is that of its scrape pool.
    pub name: Box<str>,
    /// The source.
    pub source: ScrapeSource,
    /// How often it scrapes.
    pub interval: Duration,
    /// How long a scrape may take.
    pub timeout: Duration,
}

/// Evaluates expressions for another door.
pub(in crate::door) struct Evaluator<'a>(&'a Call);

/// What a request asks of a route: the answer, or why there is none.
pub(super) type Work = fn(&Call) -> Result<Reply, ApiError>;

/// A request whose turn it is.
pub(super) struct Call {
    pub(super) params: Params,
    pub(super) served: Arc<Served>,
    api: PrometheusApi,
    deadline: Instant,
}

// === impl PrometheusApi ===

impl PrometheusApi {
    /// One that serves nothing so far.
    pub fn new(config: PrometheusApiConfig) -> Self {
        Self(Arc::new(Inner {
            engine: Engine::new(config.engine.clone()),
            served: RwLock::default(),
            admitted: Arc::new(Semaphore::new(config.max_requests)),
            working: Arc::new(Semaphore::new(config.concurrency)),
            config,
        }))
    }

    /// Serves these from now on, in the place of those before.
    pub fn serve(&self, served: Served) {
        *self.0.served.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(served);
    }

    /// How many requests are in work or wait for it.
    pub fn requests(&self) -> usize {
        self.0
            .config
            .max_requests
            .saturating_sub(self.0.admitted.available_permits())
    }

    /// Reads the request, waits for its turn, and answers on a thread that may be busy with it for a while.
    pub(super) async fn answer(
        &self,
        request: Request,
        work: impl FnOnce(&Call) -> Result<Reply, ApiError> + Send + 'static,
    ) -> Response {
        let mark = self.served().mark();
        match self.try_answer(request, work).await {
            Ok(reply) => {
                let mut response = reply.into_response();
                let mark = mark.and_then(|mark| HeaderValue::from_str(&mark.to_string()).ok());
                if let Some(mark) = mark {
                    response.headers_mut().insert(SHARD_HEADER, mark);
                }
                response
            }
            Err(error) => error.into_response(),
        }
    }

    fn served(&self) -> Arc<Served> {
        Arc::clone(&self.0.served.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// As [`answer`](Self::answer), of a page: its errors are lines of text.
    pub(super) async fn page(&self, request: Request, work: Work) -> Response {
        match self.try_answer(request, work).await {
            Ok(reply) => reply.into_response(),
            Err(error) => error.into_text(),
        }
    }

    async fn try_answer(
        &self,
        request: Request,
        work: impl FnOnce(&Call) -> Result<Reply, ApiError> + Send + 'static,
    ) -> Result<Reply, ApiError> {
        let Inner { config, .. } = &*self.0;
        let begun = Instant::now();
        let params = request::params(request, config.max_request_bytes, config.request_timeout).await?;
        // What is wrong with it is said when it is read.
        let asked = params.duration("timeout").ok().flatten();
        let asked = asked.map(|nanos| Duration::from_nanos(u64::try_from(nanos).unwrap_or(0)));
        let timeout = config.engine.timeout;
        let deadline = begun + asked.map_or(timeout, |asked| asked.min(timeout));
        self.in_turn(params, deadline, work).await?
    }

    /// Does `work` that evaluates expressions, when its turn comes.
    ///
    /// *Errors*: there is too much to do.
    pub(in crate::door) async fn evaluate<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Evaluator<'_>) -> T + Send + 'static,
    ) -> Result<T, String> {
        let deadline = Instant::now() + self.0.config.engine.timeout;
        let work = move |call: &Call| work(&Evaluator(call));
        let done = self.in_turn(Params::default(), deadline, work).await;
        done.map_err(|error| error.to_string())
    }

    /// Does `work` on a thread that may be busy with it for a while, when its turn comes.
    ///
    /// *Errors*: there is too much to do, and it is none of its own.
    async fn in_turn<T: Send + 'static>(
        &self,
        params: Params,
        deadline: Instant,
        work: impl FnOnce(&Call) -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let config = &self.0.config;
        let Ok(admitted) = Arc::clone(&self.0.admitted).try_acquire_owned() else {
            let message = format!(
                "there are {} requests already, as many as are borne",
                config.max_requests
            );
            return Err(ApiError::new(ErrorKind::Unavailable, message));
        };
        let working = Arc::clone(&self.0.working);
        let working = match Arc::clone(&working).try_acquire_owned() {
            Ok(working) => working,
            Err(_) => tokio::time::timeout_at(deadline, working.acquire_owned())
                .await
                .map_err(|_| ApiError::timeout())?
                .map_err(|_| ApiError::new(ErrorKind::Internal, "the daemon is shutting down"))?,
        };
        let call = Call {
            params,
            served: self.served(),
            api: self.clone(),
            deadline,
        };
        // The rights are held until it has ended, also where nobody waits for it any more.
        let working = tokio::task::spawn_blocking(move || {
            let _rights = (admitted, working);
            work(&call)
        });
        working.await.map_err(|_| {
            ApiError::new(
                ErrorKind::Internal,
                "a defect of this program: the request panicked",
            )
        })
    }
}

impl fmt::Debug for PrometheusApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrometheusApi")
            .field("config", &self.0.config)
            .finish_non_exhaustive()
    }
}

// === impl Served ===

impl Served {
    /// What is said of the shard that these are of, where they are.
    fn mark(&self) -> Option<ShardMark> {
        let shard = self.shard.filter(|shard| shard.is_part())?;
        let known = self.scraped.iter().map(|scraped| scraped.source.known_targets());
        Some(shard.mark(known))
    }
}

// === impl Evaluator ===

impl Evaluator<'_> {
    /// The wall time.
    pub(in crate::door) fn now(&self) -> Timestamp {
        self.0.now()
    }

    /// What `query` is at `at`; `None` where it cannot be evaluated, or has values that are no numbers.
    pub(in crate::door) fn instant(&self, query: &str, at: Timestamp) -> Option<Answer> {
        let engine = self.0.engine(None).ok()?;
        let evaluation = engine.instant(&self.0.data(at), query, at).ok()?;
        evaluation.answer.numbers().ok()
    }

    /// What `query` is from `start` to `end`; `None` where it cannot be evaluated, or has values that are no numbers.
    pub(in crate::door) fn range(
        &self,
        query: &str,
        start: Timestamp,
        end: Timestamp,
        step: Duration,
    ) -> Option<Answer> {
        let engine = self.0.engine(None).ok()?;
        let (answer, _) = self.0.range(&engine, query, (start, end, step)).ok()?;
        answer.numbers().ok()
    }
}

// === impl PrometheusApiConfig ===

impl Default for PrometheusApiConfig {
    fn default() -> Self {
        Self {
            engine: EngineConfig::default()
                .with_max_bytes(256 << 20)
                .with_histograms(true),
            concurrency: std::thread::available_parallelism().map_or(1, usize::from),
            max_requests: 100,
            max_request_bytes: 1 << 20,
            request_timeout: Duration::from_secs(10),
            max_answer_bytes: 64 << 20,
        }
    }
}

// === impl Call ===

impl Call {
    /// The wall time.
    pub(super) fn now(&self) -> Timestamp {
        self.config().engine.clock.wall()
    }

    pub(super) fn config(&self) -> &PrometheusApiConfig {
        &self.api.0.config
    }

    /// All series, with what is known to be missing from them for times from `asked` on.
    pub(super) fn data(&self, asked: Timestamp) -> Merged {
        let scraped = self.served.scraped.iter();
        let scraped = scraped.map(|scraped| scraped.source.queryable(asked));
        Merged::new(scraped.chain(self.served.series.iter().cloned()).collect())
    }

    /// One that ends when the request must, and looks back as it asks.
    ///
    /// *Errors*: its time is over.
    pub(super) fn engine(&self, lookback: Option<Nanos>) -> Result<Engine, ApiError> {
        let left = self.time_left()?;
        let engine = &self.api.0.engine;
        let mut config = engine.config().clone().with_timeout(left);
        if let Some(lookback) = lookback.filter(|lookback| *lookback > 0) {
            config = config.with_lookback(Duration::from_nanos(lookback.unsigned_abs()));
        }
        Ok(engine.with_config(config))
    }

    /// What `query` is over a range: of the history what is not in memory, where there is one. Gives what is to be said of it,
    /// too.
    ///
    /// *Errors*: the query cannot be evaluated.
    pub(super) fn range(
        &self,
        engine: &Engine,
        query: &str,
        (start, end, step): (Timestamp, Timestamp, Duration),
    ) -> Result<(Answer, Option<String>), EvalError> {
        let in_memory = |start| {
            let evaluated = engine.range(&self.data(start), query, start, end, step);
            evaluated.map(|evaluation| evaluation.answer)
        };
        let Some(history) = &self.served.history else {
            return Ok((in_memory(start)?, None));
        };
        let now = (self.now(), engine.config().lookback);
        let Some(cut) = history.cut(query, (start, end, step), now) else {
            return Ok((in_memory(start)?, None));
        };
        let older = self.time_left().map_err(|error| error.to_string());
        let older = older.and_then(|left| history.ask(&cut, left));
        let joined = match older {
            Ok(older) => {
                let newer = cut.rest.map(in_memory).transpose()?;
                history.join(&cut, &older, newer.as_ref())
            }
            Err(error) => Err(error),
        };
        match joined {
            Ok(joined) => {
                let told = history.told(&cut, &self.data(start), (start, end));
                Ok((joined, Some(told)))
            }
            Err(error) => {
                let name = Quoted(&history.name);
                let told =
                    format!("what is older than what is in memory is missing: the history {name}: {error}");
                Ok((in_memory(start)?, Some(told)))
            }
        }
    }

    /// The engine that keeps the parsed queries.
    pub(super) fn parser(&self) -> &Engine {
        &self.api.0.engine
    }

    /// *Errors*: there is none left.
    pub(super) fn time_left(&self) -> Result<Duration, ApiError> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        match left.is_zero() {
            true => Err(ApiError::timeout()),
            false => Ok(left),
        }
    }

    /// `data` in its envelope.
    pub(super) fn success(
        &self,
        data: impl serde::Serialize,
        warnings: &[String],
        infos: &[String],
    ) -> Result<Reply, ApiError> {
        Reply::success(
            self.config().max_answer_bytes,
            self.deadline,
            data,
            warnings,
            infos,
        )
    }

    /// What was noted while series were read, as the warnings of a query say it.
    pub(super) fn warnings(missing: Missing) -> Vec<String> {
        let mut answer = AnswerBuilder::new(Stamp::Evaluated);
        missing.tell(&mut answer);
        answer.build().warnings().map(str::to_owned).collect()
    }
}
