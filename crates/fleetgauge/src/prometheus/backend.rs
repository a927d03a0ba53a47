//! One query over HTTP, instant or over a range; and beside an instant one, what tells how old its values are.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fleetgauge_core::backend::{self, Backend, FetchError};
use fleetgauge_core::query::{Companions, QueryType, Shape};
use fleetgauge_core::result::{Answer, AnswerKind, Origin, SHARD_HEADER, ShardMark};
use fleetgauge_core::time::{Clock, Timestamp};
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use http::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, DATE, LOCATION, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;

use super::api::{decode_answer, decode_answer_with_histograms, decode_range, decode_range_with_histograms};
use super::companion::{Ages, Asked, Plan, Plans, Told};
use super::config::{PrometheusSourceConfig, QueryMethod};
use super::endpoint::Base;
use super::failure::{refused, wrong_content_type};
use super::header::own_header;
use super::request::{OWN_PARAMS, form};
use super::rules::{self, Recorded, Rules, decode_rules};
use super::together::{Part, Together};
use super::transport::Transport;
use crate::client::credentials::Credentials;
use crate::client::endpoint::Endpoint;
use crate::client::failure::{found, redacted};
use crate::client::{Auth, ConfigError, Secret, body};

/// How often one query may be redirected.
const MAX_REDIRECTS: usize = 5;

/// From this size on, decoding would keep a thread of the runtime from its other tasks for a while (about a
/// millisecond), so it is done on one that may block.
const LARGE_BYTES: usize = 512 << 10;

/// By how much the clocks of this machine and the server may differ, before the server's is gone by.
const CLOCKS_DIFFER_BY: Duration = Duration::from_secs(5);

/// For how long companions are waited for at least, once the query is answered.
const COMPANIONS_WAIT: Duration = Duration::from_secs(1);

/// How long the text of several questions may be that are asked as one, and where they are sent in a URL.
const MAX_TOGETHER_BYTES: usize = 16 << 10;
const MAX_TOGETHER_URL_BYTES: usize = 1 << 10;

/// Reads the body of an answer.
type Decode<T> = fn(&[u8]) -> Result<T, FetchError>;

/// What a server answered.
struct Received<T> {
    content: T,
    /// When it did, by its own clock and to the second.
    date: Option<Timestamp>,
    /// Which shard it is of, where it is a Fleetgauge's that says so.
    shard: Option<ShardMark>,
}

/// What came of one of the questions beside a query.
enum Beside {
    Oldest(Result<Part, String>),
    Ages(Result<Part, String>),
    Live(Result<Part, String>),
    Branches(Result<Part, String>),
    Counts(Result<Part, String>),
    Rules(Result<Recorded, String>),
}

/// A [`Backend`] that asks a Prometheus, or whatever speaks its API: Thanos, Mimir, VictoriaMetrics.
///
/// It asks by the [`QueryMethod`] of its configuration. A redirect is followed with the same method and form, up
/// to five times, and only on the same host (or from `http` to `https` there): nothing is ever sent to another
/// one, but through the proxy that is configured. Proxies in the environment are not used by themselves.
pub struct PrometheusBackend {
    endpoint: Endpoint,
    range_endpoint: Endpoint,
    rules_endpoint: Endpoint,
    clock: Clock,
    transport: Transport,
    credentials: Credentials,
    headers: HeaderMap,
    query_params: Vec<(String, Secret)>,
    max_answer_bytes: usize,
    method: QueryMethod,
    /// The server takes no POST.
    get_only: AtomicBool,
    companions: Companions,
    plans: Plans,
    together: Together,
    rules: Rules,
    /// How far the server's clock is ahead of this machine's, where that is too much. *Unit*: milliseconds.
    server_ahead: AtomicI64,
}

// === impl PrometheusBackend ===

impl PrometheusBackend {
    /// A backend for the server that `config` names. The settings that concern caching and retrying are not
    /// its own; [`PrometheusSource`](super::PrometheusSource) honours them.
    ///
    /// *Errors*: [`ConfigError`], also if a file cannot be read. The server is not asked.
    pub fn new(config: &PrometheusSourceConfig) -> Result<Self, ConfigError> {
        let clock = Clock::system();
        config.check_bounds()?;
        let Base {
            endpoint,
            range_endpoint,
            rules_endpoint,
            user,
            ..
        } = Base::parse(&config.url)?;
        let auth = &authorized(config, user)?;
        if let Some((name, _)) = config
            .query_params
            .iter()
            .find(|(n, _)| OWN_PARAMS.contains(&&**n))
        {
            return Err(invalid(
                &format!("query_params.{name}"),
                "is set by each query itself",
            ));
        }
        let backend = Self {
            transport: Transport::new(config, &endpoint.origin, &clock)?,
            credentials: Credentials::new(auth, &clock)?,
            headers: headers(config, *auth != Auth::None)?,
            query_params: config.query_params.clone(),
            max_answer_bytes: config.max_answer_bytes,
            method: config.method,
            get_only: AtomicBool::new(config.method == QueryMethod::Get),
            endpoint,
            range_endpoint,
            rules_endpoint,
            clock,
            companions: config.companions,
            plans: Plans::default(),
            together: Together::default(),
            rules: Rules::default(),
            server_ahead: AtomicI64::new(0),
        };
        if config.tls.insecure_skip_verify {
            tracing::warn!(
                server = %backend.endpoint.origin,
                "certificates are not verified (insecure_skip_verify): anyone in between can read and forge answers"
            );
        }
        Ok(backend)
    }

    async fn fetch_answer(&self, query: &backend::Request) -> Result<Answer, FetchError> {
        let companions = query.companions.unwrap_or(self.companions);
        let origin = Origin::new("", query.name.as_str()).with_text(&query.promql());
        let (answer, origin) = match query.shape {
            Shape::Instant if companions != Companions::none() => {
                let plan = self.plans.of(&query.promql());
                let (answer, sent) = self.ask_with_companions(query, &plan, companions).await?;
                (answer, origin.with_sent(sent))
            }
            _ => (self.ask(query).await?.content, origin),
        };
        Ok(answer.with_origin(Arc::new(origin)).as_sent())
    }

    async fn ask(&self, query: &backend::Request) -> Result<Received<Answer>, FetchError> {
        let form = Bytes::from(form(query, &self.query_params, self.clock.wall())?);
        let get = self.get_only.load(Ordering::Relaxed);
        let sent = (self.clock.wall(), Instant::now());
        let mut received = match query.shape {
            Shape::Range { .. } => {
                let decode = match query.histograms {
                    true => decode_range_with_histograms,
                    false => decode_range,
                };
                self.send(&self.range_endpoint, &form, get, decode).await?
            }
            _ => {
                let decode = match query.histograms {
                    true => decode_answer_with_histograms,
                    false => decode_answer,
                };
                self.send(&self.endpoint, &form, get, decode).await?
            }
        };
        if let (Some(within), Some(date)) = (query.clock_within, received.date)
            && let Some(by) = differs_by(sent.0, sent.1.elapsed(), date, within)
        {
            return Err(FetchError::Clock {
                by: Duration::from_millis(by.unsigned_abs()),
                is_ahead: by > 0,
            });
        }
        if let Some(shard) = received.shard {
            received.content = received.content.with_shard(shard);
        }
        Ok(received)
    }

    /// Asks, once more where the credentials have just been renewed.
    async fn send<T: Send + 'static>(
        &self,
        endpoint: &Endpoint,
        form: &Bytes,
        get: bool,
        decode: Decode<T>,
    ) -> Result<Received<T>, FetchError> {
        let auth = self.credentials.header();
        let answer = self.exchange(endpoint, form, get, auth.as_deref(), decode).await;
        let Err(FetchError::Unauthorized { status: 401, .. }) = answer else {
            return answer;
        };
        match self.credentials.renewed(auth.as_deref()) {
            Some(renewed) => self.exchange(endpoint, form, get, Some(&renewed), decode).await,
            None => answer,
        }
    }

    /// Asks until there is an answer: through redirects, and by GET if the server takes no POST.
    async fn exchange<T: Send + 'static>(
        &self,
        endpoint: &Endpoint,
        form: &Bytes,
        mut get: bool,
        auth: Option<&HeaderValue>,
        decode: Decode<T>,
    ) -> Result<Received<T>, FetchError> {
        let mut endpoint = Cow::Borrowed(endpoint);
        let begins_with_post = !get;
        let mut redirects = 0;
        loop {
            let request = self.request(&endpoint, get, form, auth)?;
            let response = self.transport.send(request, &endpoint.origin).await?;
            match response.status().as_u16() {
                // Of the others, 206 is a part of an answer, and 204 none.
                200 => {
                    if get && begins_with_post {
                        self.get_only.store(true, Ordering::Relaxed);
                    }
                    return self.answer(response, &endpoint, decode).await;
                }
                // All of them with the same method: to ask twice does no harm, whereas a POST that becomes a
                // GET loses its form.
                301..=303 | 307 | 308 => {
                    redirects += 1;
                    if redirects > MAX_REDIRECTS {
                        return Err(redirected(format!("more than {MAX_REDIRECTS} redirects")));
                    }
                    let location = response.headers().get(LOCATION);
                    let location = location.and_then(|l| l.to_str().ok()).unwrap_or_default();
                    let next = endpoint.redirected(location).map_err(redirected)?;
                    body::read_error(response).await;
                    endpoint = Cow::Owned(next);
                }
                403 | 405 | 501 if !get && self.method == QueryMethod::Auto => {
                    get = true;
                    body::read_error(response).await;
                }
                _ => {
                    let (status, headers) = (response.status(), response.headers().clone());
                    let body = body::read_error(response).await;
                    return Err(refused(status, &headers, &body, endpoint.path.path()));
                }
            }
        }
    }

    fn request(
        &self,
        endpoint: &Endpoint,
        get: bool,
        form: &Bytes,
        auth: Option<&HeaderValue>,
    ) -> Result<Request<Full<Bytes>>, FetchError> {
        let query = get.then(|| String::from_utf8_lossy(form));
        let unsendable = |error: http::Error| FetchError::Rejected {
            kind: "too_long".into(),
            message: format!("the query does not fit into a URL ({error}), and is not to be sent by POST"),
        };
        let body = if get { Bytes::new() } else { form.clone() };
        let mut request = Request::new(Full::new(body));
        *request.uri_mut() = endpoint.uri(query.as_deref()).map_err(unsendable)?;
        *request.headers_mut() = self.headers.clone();
        if !get {
            *request.method_mut() = Method::POST;
            let form = HeaderValue::from_static("application/x-www-form-urlencoded");
            request.headers_mut().insert(CONTENT_TYPE, form);
        }
        if let Some(auth) = auth {
            request.headers_mut().insert(AUTHORIZATION, auth.clone());
        }
        Ok(request)
    }

    async fn answer<T: Send + 'static>(
        &self,
        response: Response<Incoming>,
        endpoint: &Endpoint,
        decode: Decode<T>,
    ) -> Result<Received<T>, FetchError> {
        let headers = response.headers().clone();
        let malformed = |detail| FetchError::Malformed { detail, source: None };
        if wrong_content_type(&headers) {
            let body = body::read_error(response).await;
            let found = found(&headers, &body);
            return Err(malformed(format!("expected JSON, found {found}")));
        }
        let connection = self.transport.connection(&endpoint.origin);
        let body = body::read(response, self.max_answer_bytes, connection).await?;
        let content = if body.len() < LARGE_BYTES {
            decode(&body)?
        } else {
            let decoded = tokio::task::spawn_blocking(move || decode(&body));
            decoded.await.unwrap_or(Err(FetchError::Aborted))?
        };
        let date = headers.get(DATE).and_then(|date| date.to_str().ok());
        let date = date.and_then(|date| httpdate::parse_http_date(date).ok());
        let date = date.map(Timestamp::from);
        let shard = headers.get(SHARD_HEADER).and_then(|mark| mark.to_str().ok());
        let shard = shard.and_then(|mark| mark.parse().ok());
        Ok(Received { content, date, shard })
    }

    // --- companions ---

    /// Asks the query, and in the same round and for the same time what tells how old its values are.
    ///
    /// For now it is asked by the clock of the server: where that differs much from this machine's, as its answer
    /// tells, all is asked once more.
    async fn ask_with_companions(
        &self,
        query: &backend::Request,
        plan: &Plan,
        companions: Companions,
    ) -> Result<(Answer, Vec<String>), FetchError> {
        let mut is_first = true;
        loop {
            let (wall, sent) = (self.clock.wall(), Instant::now());
            let ahead = self.server_ahead.load(Ordering::Relaxed);
            let now = Timestamp::from_millis(wall.as_millis().saturating_add(ahead));
            // A moment ago is now, if others are asked for the same time.
            let gathering = self.together.gathering().filter(|_| is_first);
            let (now, sent) = gathering.unwrap_or((now, sent));
            let mut main = query.clone();
            main.at = Some(query.at.or(query.now).unwrap_or(now));
            main.timeout = query.timeout;
            let (received, taken, mut told, sent_beside) = self.round(&main, plan, companions).await?;
            let since = sent.elapsed();
            if query.at.or(query.now).is_none()
                && let Some(by) = received
                    .date
                    .and_then(|date| differs_by(now, since, date, CLOCKS_DIFFER_BY))
            {
                if std::mem::take(&mut is_first) {
                    self.server_ahead
                        .store(ahead.saturating_add(by), Ordering::Relaxed);
                    let seconds = ahead.saturating_add(by) / 1000;
                    tracing::warn!(
                        server = %self.endpoint.origin,
                        "the server's clock is {seconds} s ahead of this machine's, and is gone by"
                    );
                    continue;
                }
                let why = "the server's clock jumps, or its header Date is not the time";
                told.ages = Some(Err(why.to_owned()));
                told.live = Some(Err(why.to_owned()));
            }
            let asked = Asked {
                at: main.at.unwrap_or(now),
                // Of a given time it is told how old the values were then.
                since: if query.at.is_none() { since } else { Duration::ZERO },
                taken,
            };
            let is_recorded = self.rules.may_be_read(&plan.reads);
            let answer = plan.tell(received.content, &told, asked, companions, is_recorded);
            return Ok((answer, sent_beside));
        }
    }

    /// The answer to `main` and how long it took, with what its companions told until then or soon after, and what they were
    /// asked.
    ///
    /// Where it is dear how old each row is, it is asked first how old all are at most; and only where that may not be
    /// enough, the other in a second round, for the same time.
    async fn round(
        &self,
        main: &backend::Request,
        plan: &Plan,
        companions: Companions,
    ) -> Result<(Received<Answer>, Duration, Told, Vec<String>), FetchError> {
        let sent = Instant::now();
        let counts = companions.ages.then(|| plan.counts_due(self.clock.now()));
        let counts = counts.flatten();
        // With the counts, all is learnt anew.
        let oldest = plan.oldest().filter(|_| companions.ages && counts.is_none());
        let mut beside = self.beside(main, plan, companions, counts, oldest);
        let mut told = Told::default();
        let answer = {
            let asking = self.ask(main);
            tokio::pin!(asking);
            loop {
                tokio::select! {
                    biased;
                    answer = &mut asking => break answer?,
                    Some(one) = beside.next(), if !beside.is_empty() => self.note(one, plan, &mut told),
                }
            }
        };
        // The value is not to be late because of them.
        let taken = sent.elapsed();
        let wait = || {
            let left = (main.timeout * 9 / 10).saturating_sub(sent.elapsed());
            taken.max(COMPANIONS_WAIT).min(left)
        };
        self.await_told(beside, wait(), plan, &mut told).await;
        let is_aged = matches!(answer.content.kind(), AnswerKind::Vector | AnswerKind::Scalar);
        let asks_rows = match oldest {
            None => true,
            Some(_) => {
                is_aged && !answer.content.is_no_data() && !plan.is_enough(&told, self.asked_for(main))
            }
        };
        if oldest.is_some() && asks_rows {
            told.oldest = None;
            let beside = FuturesUnordered::new();
            self.ask_rows(main, plan, &beside);
            self.await_told(beside, wait(), plan, &mut told).await;
        }
        let sent = plan
            .texts(companions, oldest, asks_rows)
            .map(str::to_owned)
            .collect();
        Ok((answer, taken, told, sent))
    }

    async fn await_told(
        &self,
        mut beside: FuturesUnordered<BoxFuture<'_, Beside>>,
        wait: Duration,
        plan: &Plan,
        told: &mut Told,
    ) {
        let rest = async {
            while let Some(one) = beside.next().await {
                self.note(one, plan, told);
            }
        };
        let _ = tokio::time::timeout(wait, rest).await;
    }

    /// The time that `main` is asked for.
    fn asked_for(&self, main: &backend::Request) -> Timestamp {
        main.at.unwrap_or_else(|| self.clock.wall())
    }

    /// Adds the question `text` to what is asked beside `main`; one of which it is known how long it may take is asked
    /// together with others.
    fn ask_beside<'a>(
        &'a self,
        main: &backend::Request,
        (text, cost): (&str, Option<Duration>),
        told: fn(Result<Part, String>) -> Beside,
        beside: &FuturesUnordered<BoxFuture<'a, Beside>>,
    ) {
        let mut request = main.clone();
        request.query_type = QueryType::PromQl;
        request.histograms = false;
        let text = text.to_owned();
        let ask = move |text| {
            let mut request = request.clone();
            request.text = text;
            let asking = async move {
                let answer = self.ask(&request).await.map(|received| received.content);
                answer.map_err(|error| self.redact(error).to_string())
            };
            asking.boxed()
        };
        let together = main.at.zip(cost);
        let asking = async move {
            let Some((at, cost)) = together else {
                return told(ask(text).await.map(Part::alone));
            };
            let max_bytes = match self.get_only.load(Ordering::Relaxed) {
                true => MAX_TOGETHER_URL_BYTES,
                false => MAX_TOGETHER_BYTES,
            };
            told(self.together.ask(at, (&text, cost), max_bytes, ask).await)
        };
        beside.push(asking.boxed());
    }

    /// Asks how old each row is, and which have ended.
    fn ask_rows<'a>(
        &'a self,
        main: &backend::Request,
        plan: &Plan,
        beside: &FuturesUnordered<BoxFuture<'a, Beside>>,
    ) {
        let cost = plan.cost_of_rows();
        if let Ages::Exact(text) | Ages::Bound(text) = &plan.ages {
            self.ask_beside(main, (text, cost), Beside::Ages, beside);
        }
        if let Some(text) = &plan.live {
            self.ask_beside(main, (text, cost), Beside::Live, beside);
        }
    }

    /// What is asked beside `main`: `oldest` in the place of the ages of rows, if there is one.
    fn beside<'a>(
        &'a self,
        main: &backend::Request,
        plan: &'a Plan,
        companions: Companions,
        counts: Option<&str>,
        oldest: Option<&str>,
    ) -> FuturesUnordered<BoxFuture<'a, Beside>> {
        let beside = FuturesUnordered::new();
        if let (true, Some(text)) = (companions.branches, &plan.branches) {
            self.ask_beside(main, (text, plan.cost_of_rows()), Beside::Branches, &beside);
        }
        if !companions.ages {
            return beside;
        }
        match oldest {
            Some(text) => self.ask_beside(main, (text, plan.cost()), Beside::Oldest, &beside),
            None => self.ask_rows(main, plan, &beside),
        }
        if let Some(text) = counts {
            self.ask_beside(main, (text, None), Beside::Counts, &beside);
        }
        if self.rules.are_due(self.clock.now()) {
            let asking = async {
                let form = Bytes::from_static(rules::FORM.as_bytes());
                let rules = self.send(&self.rules_endpoint, &form, true, decode_rules).await;
                let rules = rules.map(|received| received.content);
                Beside::Rules(rules.map_err(|error| self.redact(error).to_string()))
            };
            beside.push(asking.boxed());
        }
        beside
    }

    fn note(&self, one: Beside, plan: &Plan, told: &mut Told) {
        match one {
            Beside::Oldest(oldest) => told.oldest = Some(oldest),
            Beside::Ages(ages) => told.ages = Some(ages),
            Beside::Live(live) => told.live = Some(live),
            Beside::Branches(branches) => told.branches = Some(branches),
            Beside::Counts(counts) => plan.learn(counts.as_ref().ok().map(Part::answer)),
            Beside::Rules(recorded) => self.rules.learn(recorded),
        }
    }

    fn redact(&self, error: FetchError) -> FetchError {
        let auth = self.credentials.secret();
        let params = self.query_params.iter().map(|(_, value)| value.expose());
        let headers = self.headers.values().filter(|value| value.is_sensitive());
        let headers = headers.filter_map(|value| value.to_str().ok());
        let proxy = self.transport.proxy().secrets();
        redacted(
            error,
            auth.as_deref()
                .into_iter()
                .chain(params)
                .chain(headers)
                .chain(proxy),
        )
    }
}

impl Backend for PrometheusBackend {
    fn fetch<'a>(&'a self, request: &'a backend::Request) -> BoxFuture<'a, Result<Answer, FetchError>> {
        let after = request.timeout;
        let fetch = async move {
            match tokio::time::timeout(after, self.fetch_answer(request)).await {
                Ok(answer) => answer.map_err(|error| self.redact(error)),
                Err(_) => Err(FetchError::Timeout { after }),
            }
        };
        fetch.boxed()
    }
}

/// Only where it asks, and never with what.
impl fmt::Debug for PrometheusBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrometheusBackend")
            .field("server", &format_args!("{}", self.endpoint.origin))
            .field("path", &self.endpoint.path.path())
            .finish_non_exhaustive()
    }
}

/// By how much the clock of a server differs from `asked`, the time for which it was asked `since` ago, where that is too
/// much. *Unit*: milliseconds.
fn differs_by(asked: Timestamp, since: Duration, date: Timestamp, within: Duration) -> Option<i64> {
    // A date is cut to whole seconds.
    let (early, late) = (date.as_millis(), date.as_millis().saturating_add(999));
    let answered = asked.saturating_add(since);
    let slack = i64::try_from(within.as_millis()).unwrap_or(i64::MAX);
    let is_near = late.saturating_add(slack) >= asked.as_millis()
        && early.saturating_sub(slack) <= answered.as_millis();
    (!is_near).then(|| early.saturating_sub(asked.as_millis()))
}

fn redirected(message: String) -> FetchError {
    FetchError::Rejected {
        kind: "redirect".into(),
        message,
    }
}

fn invalid(field: &str, problem: impl Into<String>) -> ConfigError {
    ConfigError::Invalid {
        field: field.into(),
        problem: problem.into(),
    }
}

/// Who asks: the user of the URL, or whom the configuration names.
///
/// *Errors*: both are there.
pub(super) fn authorized(
    config: &PrometheusSourceConfig,
    user: Option<(String, Secret)>,
) -> Result<Auth, ConfigError> {
    match user {
        None => Ok(config.auth.clone()),
        Some(_) if config.auth != Auth::None => {
            let problem = "set, while the URL holds a user; only one of them can be used";
            Err(invalid("auth", problem))
        }
        Some((user, password)) => Ok(Auth::Basic { user, password }),
    }
}

/// The headers of every request, but for the credentials.
pub(super) fn headers(config: &PrometheusSourceConfig, authorizes: bool) -> Result<HeaderMap, ConfigError> {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    let agent = concat!("fleetgauge/", env!("CARGO_PKG_VERSION"));
    headers.insert(USER_AGENT, HeaderValue::from_static(agent));
    let mut own = HeaderMap::new();
    for (name, value) in &config.headers {
        let field = format!("headers.{name}");
        let (name, value) = own_header(name, value)?;
        if name == AUTHORIZATION && authorizes {
            return Err(invalid(
                &field,
                "set, while `auth` is; only one of them can be used",
            ));
        }
        own.append(name, value);
    }
    let mut name = None;
    for (next, value) in own {
        // The first value of a header takes the default's place, the others join it.
        match next {
            Some(next) => {
                headers.insert(next.clone(), value);
                name = Some(next);
            }
            None => {
                if let Some(name) = &name {
                    headers.append(name.clone(), value);
                }
            }
        }
    }
    Ok(headers)
}
