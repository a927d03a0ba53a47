//! One query over HTTP, instant or over a range.

use std::borrow::Cow;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use fleetgauge_core::backend::{self, Backend, FetchError};
use fleetgauge_core::query::Shape;
use fleetgauge_core::result::Answer;
use fleetgauge_core::time::{Clock, Timestamp};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, DATE, LOCATION, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;

use super::api::{decode_answer, decode_range};
use super::config::{PrometheusSourceConfig, QueryMethod};
use super::endpoint::Base;
use super::failure::{refused, wrong_content_type};
use super::header::own_header;
use super::request::{OWN_PARAMS, form};
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

/// Reads the body of an answer.
type Decode = fn(&[u8]) -> Result<Answer, FetchError>;

/// A [`Backend`] that asks a Prometheus, or whatever speaks its API: Thanos, Mimir, VictoriaMetrics.
///
/// It asks by the [`QueryMethod`] of its configuration. A redirect is followed with the same method and form, up
/// to five times, and only on the same host (or from `http` to `https` there): nothing is ever sent to another
/// one, but through the proxy that is configured. Proxies in the environment are not used by themselves.
pub struct PrometheusBackend {
    endpoint: Endpoint,
    range_endpoint: Endpoint,
    clock: Clock,
    transport: Transport,
    credentials: Credentials,
    headers: HeaderMap,
    query_params: Vec<(String, Secret)>,
    max_answer_bytes: usize,
    method: QueryMethod,
    /// The server takes no POST.
    get_only: AtomicBool,
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
            user,
        } = Base::parse(&config.url)?;
        let from_url;
        let auth = match user {
            None => &config.auth,
            Some(_) if config.auth != Auth::None => {
                let problem = "set, while the URL holds a user; only one of them can be used";
                return Err(invalid("auth", problem));
            }
            Some((user, password)) => {
                from_url = Auth::Basic { user, password };
                &from_url
            }
        };
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
            clock,
        };
        if config.tls.insecure_skip_verify {
            tracing::warn!(
                server = %backend.endpoint.origin,
                "certificates are not verified (insecure_skip_verify): anyone in between can read and forge answers"
            );
        }
        Ok(backend)
    }

    async fn ask(&self, query: &backend::Request) -> Result<Answer, FetchError> {
        let form = Bytes::from(form(query, &self.query_params, self.clock.wall())?);
        let (endpoint, decode): (_, Decode) = match query.shape {
            Shape::Range { .. } => (&self.range_endpoint, decode_range),
            _ => (&self.endpoint, decode_answer),
        };
        let auth = self.credentials.header();
        let within = query.clock_within;
        let answer = self
            .exchange(endpoint, &form, auth.as_deref(), decode, within)
            .await;
        let Err(FetchError::Unauthorized { status: 401, .. }) = answer else {
            return answer;
        };
        match self.credentials.renewed(auth.as_deref()) {
            Some(renewed) => {
                self.exchange(endpoint, &form, Some(&renewed), decode, within)
                    .await
            }
            None => answer,
        }
    }

    /// Asks until there is an answer: through redirects, and by GET if the server takes no POST.
    async fn exchange(
        &self,
        endpoint: &Endpoint,
        form: &Bytes,
        auth: Option<&HeaderValue>,
        decode: Decode,
        clock_within: Option<Duration>,
    ) -> Result<Answer, FetchError> {
        let mut endpoint = Cow::Borrowed(endpoint);
        let mut get = self.get_only.load(Ordering::Relaxed);
        let mut redirects = 0;
        loop {
            let request = self.request(&endpoint, get, form, auth)?;
            let sent = self.clock.wall();
            let response = self.transport.send(request, &endpoint.origin).await?;
            match response.status().as_u16() {
                // Of the others, 206 is a part of an answer, and 204 none.
                200 => {
                    if let Some(within) = clock_within {
                        check_clock(response.headers(), (sent, self.clock.wall()), within)?;
                    }
                    if get {
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

    async fn answer(
        &self,
        response: Response<Incoming>,
        endpoint: &Endpoint,
        decode: Decode,
    ) -> Result<Answer, FetchError> {
        let headers = response.headers().clone();
        let malformed = |detail| FetchError::Malformed { detail, source: None };
        if wrong_content_type(&headers) {
            let body = body::read_error(response).await;
            let found = found(&headers, &body);
            return Err(malformed(format!("expected JSON, found {found}")));
        }
        let connection = self.transport.connection(&endpoint.origin);
        let body = body::read(response, self.max_answer_bytes, connection).await?;
        if body.len() < LARGE_BYTES {
            return decode(&body);
        }
        let decoded = tokio::task::spawn_blocking(move || decode(&body));
        decoded.await.unwrap_or(Err(FetchError::Aborted))
    }

    fn redact(&self, error: FetchError) -> FetchError {
        let auth = self.credentials.header();
        let auth = auth
            .iter()
            .filter_map(|header| header.to_str().ok()?.split_once(' '));
        let auth = auth.map(|(_, credentials)| credentials);
        let params = self.query_params.iter().map(|(_, value)| value.expose());
        let headers = self.headers.values().filter(|value| value.is_sensitive());
        let headers = headers.filter_map(|value| value.to_str().ok());
        let proxy = self.transport.proxy().secrets();
        redacted(error, auth.chain(params).chain(headers).chain(proxy))
    }
}

impl Backend for PrometheusBackend {
    fn fetch<'a>(&'a self, request: &'a backend::Request) -> BoxFuture<'a, Result<Answer, FetchError>> {
        let after = request.timeout;
        let fetch = async move {
            match tokio::time::timeout(after, self.ask(request)).await {
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

/// Whether the server's clock, as its `Date` tells it in whole seconds, is `within` ours. `between` is from when the
/// request was sent to when the answer came. A server that does not tell its time is taken at its word.
///
/// *Errors*: [`FetchError::Clock`].
fn check_clock(
    headers: &HeaderMap,
    between: (Timestamp, Timestamp),
    within: Duration,
) -> Result<(), FetchError> {
    let date = headers.get(DATE).and_then(|date| date.to_str().ok());
    let Some(date) = date.and_then(|date| httpdate::parse_http_date(date).ok()) else {
        return Ok(());
    };
    let date = Timestamp::from(date);
    let behind = between
        .0
        .saturating_since(date.saturating_add(Duration::from_secs(1)));
    let ahead = date.saturating_since(between.1);
    let (by, is_ahead) = (behind.max(ahead), ahead > behind);
    match by > within {
        true => Err(FetchError::Clock { by, is_ahead }),
        false => Ok(()),
    }
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

/// The headers of every request, but for the credentials.
fn headers(config: &PrometheusSourceConfig, authorizes: bool) -> Result<HeaderMap, ConfigError> {
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
