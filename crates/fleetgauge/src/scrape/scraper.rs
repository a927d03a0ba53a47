//! Fetches the page of one target, over a connection that stays open.
//!
//! The connection is driven by the scrape itself instead of by a task of its own: between scrapes nothing
//! runs for a target, and a page is read where it is parsed.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use fleetgauge_core::backend::FetchError;
use fleetgauge_core::target::{Scheme, Target};
use fleetgauge_core::time::Clock;
use fleetgauge_promql::exposition::Format;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, HOST, LOCATION,
    PROXY_AUTHORIZATION, TRANSFER_ENCODING, USER_AGENT,
};
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, SemaphorePermit};
use tower_service::Service;

use super::config::ScrapeConfig;
use super::connecting::Connecting;
use super::page::PageBuffers;
use super::protocol::ScrapeProtocol;
use super::status::{Counts, add};
use crate::client::ConfigError;
use crate::client::alert::{Alerts, NotingStream};
use crate::client::body::{self, BodySink};
use crate::client::cause;
use crate::client::connector::{Connector, Versions};
use crate::client::credentials::Credentials;
use crate::client::endpoint::{Endpoint, Origin};
use crate::client::failure::{content_type, excerpt, found, found_refusal, redacted, retry_after};

/// How often one scrape may be redirected.
const MAX_REDIRECTS: usize = 5;

/// What a page takes without asking for a share of what all may take.
const FREE_BYTES: usize = 1 << 20;

/// The unit of that share.
const SHARE_BYTES: usize = 64 << 10;

/// What all targets of a source have in common.
pub(super) struct Common {
    pub(super) config: Arc<ScrapeConfig>,
    pub(super) clock: Clock,
    pub(super) counts: Counts,
    pub(super) buffers: PageBuffers,
    pub(super) connecting: Connecting,
    connector: Connector,
    credentials: Credentials,
    headers: HeaderMap,
    /// Units of [`SHARE_BYTES`].
    shares: Semaphore,
}

/// Fetches the pages of one target.
pub(super) struct Scraper {
    common: Arc<Common>,
    endpoint: Endpoint,
    alerts: Alerts,
    open: Option<Open>,
}

type Connection = http1::Connection<NotingStream<TokioIo<TcpStream>>, Empty<Bytes>>;

/// A connection, and whom it leads to.
struct Open {
    origin: Origin,
    sender: http1::SendRequest<Empty<Bytes>>,
    driver: Driver,
}

/// The side of a connection that reads and writes; it ends when the connection does.
struct Driver(Option<Pin<Box<Connection>>>);

// === impl Common ===

impl Common {
    /// *Errors*: [`ConfigError`], also if a file cannot be read.
    pub(super) fn new(config: ScrapeConfig, clock: Clock) -> Result<Self, ConfigError> {
        config.check()?;
        let needs_tls = config.defaults.scheme == Scheme::Https;
        let timeout = config.timeout();
        let connector = Connector::new(
            &config.tls,
            &config.proxy,
            needs_tls,
            Versions::Http1,
            timeout,
            &clock,
        )?;
        if config.tls.insecure_skip_verify {
            tracing::warn!(
                "certificates are not verified (insecure_skip_verify): anyone in between can read and forge pages"
            );
        }
        Ok(Self {
            connector,
            credentials: Credentials::new(&config.auth, &clock)?,
            headers: headers(&config),
            shares: Semaphore::new(
                (config.max_bytes_in_flight.div_ceil(SHARE_BYTES)).clamp(1, Semaphore::MAX_PERMITS),
            ),
            buffers: PageBuffers::new(&config),
            connecting: Connecting::default(),
            counts: Counts::default(),
            config: Arc::new(config),
            clock,
        })
    }

    /// The share of a page that is large: of what is announced, or of what it may hold at most. Taken at once,
    /// since pages that waited for more while they hold some could wait for each other.
    async fn share(&self, announced: Option<usize>) -> Result<SemaphorePermit<'_>, FetchError> {
        let bytes = announced.unwrap_or(self.config.limits.body_bytes);
        let shares = u32::try_from(bytes.div_ceil(SHARE_BYTES)).unwrap_or(u32::MAX);
        // Never closed.
        self.shares
            .acquire_many(shares)
            .await
            .map_err(|_| FetchError::Aborted)
    }

    /// `error` without what was sent in confidence.
    fn redact(&self, error: FetchError) -> FetchError {
        let auth = self.credentials.secret();
        redacted(
            error,
            auth.as_deref().into_iter().chain(self.config.proxy.secrets()),
        )
    }
}

fn headers(config: &ScrapeConfig) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Ok(formats) = HeaderValue::from_str(&ScrapeProtocol::accept(&config.protocols())) {
        headers.insert(ACCEPT, formats);
    }
    if config.gzip {
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    }
    let agent = concat!("fleetgauge/", env!("CARGO_PKG_VERSION"));
    headers.insert(USER_AGENT, HeaderValue::from_static(agent));
    let seconds = config.timeout().as_secs_f64().to_string();
    if let Ok(seconds) = HeaderValue::from_str(&seconds) {
        headers.insert(
            HeaderName::from_static("x-prometheus-scrape-timeout-seconds"),
            seconds,
        );
    }
    headers
}

/// Whether the server said where its page ends. Else a connection that breaks looks like the end.
fn is_framed(headers: &HeaderMap) -> bool {
    headers.contains_key(CONTENT_LENGTH) || headers.contains_key(TRANSFER_ENCODING)
}

// === impl Scraper ===

impl Scraper {
    /// *Errors*: in words, if the target's URL is not valid.
    pub(super) fn new(common: Arc<Common>, target: &Target) -> Result<Self, String> {
        Ok(Self {
            endpoint: endpoint(target)?,
            common,
            alerts: Alerts::default(),
            open: None,
        })
    }

    /// Whether there is a connection from the scrape before.
    pub(super) fn is_connected(&self) -> bool {
        self.open.is_some()
    }

    /// The page of the target, in `buffer`, and its format.
    ///
    /// *Errors*: [`FetchError`]; a scrape that takes too long ends in [`FetchError::Timeout`] and costs its
    /// connection.
    pub(super) async fn fetch(&mut self, buffer: Vec<u8>) -> Result<(Format, Vec<u8>), FetchError> {
        let after = self.common.config.timeout();
        let common = Arc::clone(&self.common);
        match tokio::time::timeout(after, self.ask(buffer)).await {
            Ok(page) => page.map_err(|error| common.redact(error)),
            Err(_) => Err(FetchError::Timeout { after }),
        }
    }

    async fn ask(&mut self, buffer: Vec<u8>) -> Result<(Format, Vec<u8>), FetchError> {
        let common = Arc::clone(&self.common);
        let auth = common.credentials.header();
        match self.exchange(auth.as_deref(), buffer).await {
            Err(error @ FetchError::Unauthorized { status: 401, .. }) => {
                match common.credentials.renewed(auth.as_deref()) {
                    Some(renewed) => self.exchange(Some(&renewed), Vec::new()).await,
                    None => Err(error),
                }
            }
            done => done,
        }
    }

    /// Asks until there is a page, through redirects.
    async fn exchange(
        &mut self,
        auth: Option<&HeaderValue>,
        buffer: Vec<u8>,
    ) -> Result<(Format, Vec<u8>), FetchError> {
        let mut endpoint = self.endpoint.clone();
        for _ in 0..=MAX_REDIRECTS {
            let (response, mut open) = self.send(&endpoint, auth).await?;
            match response.status().as_u16() {
                200 => {
                    let page = self.page(response, &mut open, buffer).await?;
                    self.open = Some(open);
                    return Ok(page);
                }
                301..=303 | 307 | 308 => {
                    let location = response.headers().get(LOCATION);
                    let location = location.and_then(|l| l.to_str().ok()).unwrap_or_default();
                    let next = endpoint.redirected(location).map_err(redirected)?;
                    open.driver.run(body::read_error(response)).await;
                    endpoint = next;
                }
                _ => {
                    let (status, headers) = (response.status().as_u16(), response.headers().clone());
                    let body = open.driver.run(body::read_error(response)).await;
                    let path = endpoint.path.path();
                    self.open = Some(open);
                    return Err(refused(status, &headers, &body, path));
                }
            }
            self.open = Some(open);
        }
        Err(redirected(format!("more than {MAX_REDIRECTS} redirects")))
    }

    /// Sends the request, and waits for the head of the response. The connection is handed out with it: a
    /// scrape that is given up in the middle does not leave half a response behind for the next.
    async fn send(
        &mut self,
        endpoint: &Endpoint,
        auth: Option<&HeaderValue>,
    ) -> Result<(Response<Incoming>, Open), FetchError> {
        let reused = self.open.take().filter(|open| open.origin == endpoint.origin);
        if let Some(mut open) = reused {
            let request = self.request(endpoint, auth)?;
            // A target that restarted, or closed the connection meanwhile, is met here: not a failure, but
            // reason to connect anew. What it had been sent does no harm twice.
            if let Ok(response) = open.send(request).await {
                return Ok((response, open));
            }
        }
        let mut open = self.connect(endpoint).await?;
        let request = self.request(endpoint, auth)?;
        match open.send(request).await {
            Ok(response) => Ok((response, open)),
            Err(error) => Err(self.failing(&endpoint.origin).failed(error)),
        }
    }

    async fn connect(&self, endpoint: &Endpoint) -> Result<Open, FetchError> {
        let origin = &endpoint.origin;
        add(&self.common.counts.connections, 1);
        let uri = endpoint
            .uri(None)
            .map_err(|error| self.failing(origin).failed(error))?;
        let mut connector = self.common.connector.noting(&self.alerts);
        // What ended another connection does not explain why there is none.
        let unconnected = cause::Connection {
            alerts: None,
            ..self.failing(origin)
        };
        let ready = std::future::poll_fn(|context| connector.poll_ready(context)).await;
        ready.map_err(|error| unconnected.failed(Boxed(error)))?;
        let stream = connector.call(uri).await;
        let stream = stream.map_err(|error| unconnected.failed(Boxed(error)))?;
        let handshake = http1::Builder::new()
            // Read in pieces of this size: a page comes in one or two.
            .max_buf_size(MAX_READ_BYTES)
            .handshake(stream)
            .await;
        let (sender, connection) = handshake.map_err(|error| self.failing(origin).failed(error))?;
        Ok(Open {
            origin: origin.clone(),
            sender,
            driver: Driver(Some(Box::pin(connection))),
        })
    }

    fn request(
        &self,
        endpoint: &Endpoint,
        auth: Option<&HeaderValue>,
    ) -> Result<Request<Empty<Bytes>>, FetchError> {
        let unsendable = |error: http::Error| FetchError::Rejected {
            kind: "url".into(),
            message: error.to_string(),
        };
        let mut request = Request::new(Empty::new());
        *request.headers_mut() = self.common.headers.clone();
        let through = self.common.config.proxy.to_origin(&endpoint.origin);
        *request.uri_mut() = match through.filter(|_| !endpoint.origin.is_https()) {
            None => http::Uri::from(endpoint.path.clone()),
            // A proxy is told the whole URL; a tunnel leads to the target itself.
            Some(proxy) => {
                if let Some(auth) = proxy.auth {
                    request.headers_mut().insert(PROXY_AUTHORIZATION, auth);
                }
                endpoint.uri(None).map_err(unsendable)?
            }
        };
        let host = HeaderValue::from_str(&endpoint.origin.authority()).map_err(|e| unsendable(e.into()))?;
        request.headers_mut().insert(HOST, host);
        if let Some(auth) = auth {
            request.headers_mut().insert(AUTHORIZATION, auth.clone());
        }
        Ok(request)
    }

    async fn page(
        &self,
        response: Response<Incoming>,
        open: &mut Open,
        buffer: Vec<u8>,
    ) -> Result<(Format, Vec<u8>), FetchError> {
        let headers = response.headers().clone();
        let fallback = self.common.config.fallback_scrape_protocol;
        let named = content_type(&headers).map(Format::from_content_type);
        let format = match (named, fallback) {
            (Some(Ok(format)), _) if self.common.config.takes(format) => format,
            (_, Some(protocol)) => protocol.format(),
            (None, None) => Format::default(),
            (Some(Ok(_)), None) => {
                return Err(FetchError::Malformed {
                    detail: "the page is OpenMetrics 2.0, which is read where `scrape_protocols` has OpenMetricsText2.0.0"
                        .into(),
                    source: None,
                });
            }
            (Some(Err(_)), None) => {
                let body = open.driver.run(body::read_error(response)).await;
                return Err(not_exposition(&headers, &body));
            }
        };
        let connection = self.failing(&open.origin);
        let announced =
            body::announced(&response).filter(|_| response.headers().get(CONTENT_ENCODING).is_none());
        let mut sink = BodySink::new(&response, self.common.config.limits.body_bytes, buffer)?;
        let mut body = response.into_body();
        let mut share: Option<SemaphorePermit<'_>> = None;
        while let Some(frame) = open.driver.run(body.frame()).await {
            let frame = frame.map_err(|error| connection.failed(error))?;
            let Some(data) = frame.data_ref() else { continue };
            sink.write(data)?;
            if share.is_none() && sink.len() > FREE_BYTES {
                share = Some(open.driver.run(self.common.share(announced)).await?);
            }
        }
        let mut body = sink.finish()?;
        if format == Format::Protobuf {
            return match is_framed(&headers) {
                true => Ok((format, body)),
                // Between two messages, nothing shows that there were more.
                false => Err(FetchError::Malformed {
                    detail: "the page may be cut off: the answer does not say where it ends".into(),
                    source: None,
                }),
            };
        }
        if is_framed(&headers) && body.last().is_some_and(|&last| last != b'\n') {
            // Nothing is cut off, though the format demands a line feed: taken as Prometheus takes it.
            body.push(b'\n');
        }
        match document(&body) {
            None => Ok((format, body)),
            Some(_) => Err(not_exposition(&headers, &body)),
        }
    }

    /// What is known of the connection that a failure is to be told of.
    fn failing<'a>(&'a self, origin: &'a Origin) -> cause::Connection<'a> {
        cause::Connection {
            origin,
            alerts: origin.is_https().then_some(&self.alerts),
            proxy: &self.common.config.proxy,
            shows_certificate: self.common.connector.shows_certificate,
        }
    }
}

/// How much hyper reads at once, and holds for each connection.
const MAX_READ_BYTES: usize = 64 << 10;

// === impl Open ===

impl Open {
    async fn send(&mut self, request: Request<Empty<Bytes>>) -> hyper::Result<Response<Incoming>> {
        let Self { sender, driver, .. } = self;
        driver.run(sender.ready()).await?;
        driver.run(sender.send_request(request)).await
    }
}

// === impl Driver ===

impl Driver {
    /// Waits for `future`, which waits for something on the connection.
    async fn run<T>(&mut self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        std::future::poll_fn(|context| {
            if let Some(connection) = &mut self.0
                && connection.as_mut().poll(context).is_ready()
            {
                // Its error, if any, is also that of the request on it.
                self.0 = None;
            }
            match future.as_mut().poll(context) {
                Poll::Ready(done) => Poll::Ready(done),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }
}

// === helpers ===

/// An error that comes in a box, as one.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Boxed(#[source] Box<dyn std::error::Error + Send + Sync>);

fn endpoint(target: &Target) -> Result<Endpoint, String> {
    let scheme = match target.scheme() {
        Scheme::Http => http::uri::Scheme::HTTP,
        Scheme::Https => http::uri::Scheme::HTTPS,
    };
    let authority: Authority = target
        .address()
        .parse()
        .map_err(|error| format!("{:?} is not a valid address: {error}", target.address()))?;
    let mut path = target.metrics_path().to_owned();
    if !target.params().is_empty() {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(target.params());
        path = format!("{path}?{}", query.finish());
    }
    let path = PathAndQuery::try_from(path)
        .map_err(|error| format!("the path is not a valid path of a URL: {error}"))?;
    let origin = Origin::new(scheme, &authority)?;
    Ok(Endpoint { origin, path })
}

fn redirected(message: String) -> FetchError {
    FetchError::Rejected {
        kind: "redirect".into(),
        message,
    }
}

/// What is not an exposition, whatever its content type says.
#[derive(Clone, Copy)]
enum Document {
    Html,
    Json,
}

/// What a whole page is, where that is something else than an exposition. A line that looks so is none, and costs
/// itself.
fn document(page: &[u8]) -> Option<Document> {
    let start = page.trim_ascii_start();
    let begins = |with: &[u8]| {
        start
            .get(..with.len())
            .is_some_and(|s| s.eq_ignore_ascii_case(with))
    };
    if begins(b"<!doctype html") || begins(b"<html") {
        return Some(Document::Html);
    }
    // A line of an exposition may begin with a brace as well.
    let is_json =
        matches!(start, [b'[' | b'{', ..]) && serde_json::from_slice::<serde::de::IgnoredAny>(page).is_ok();
    is_json.then_some(Document::Json)
}

fn not_exposition(headers: &HeaderMap, body: &[u8]) -> FetchError {
    let (kind, hint) = match document(body) {
        Some(Document::Json) => (
            "JSON: ",
            "; is the path right? trtllm-serve exposes its metrics at /prometheus/metrics",
        ),
        Some(Document::Html) => ("HTML: ", "; is the path right, and does it want a login?"),
        None => ("", ""),
    };
    FetchError::Malformed {
        detail: format!(
            "expected an exposition, found {kind}{}{hint}",
            found(headers, body)
        ),
        source: None,
    }
}

/// What a status other than 200 means.
fn refused(status: u16, headers: &HeaderMap, body: &[u8], path: &str) -> FetchError {
    let message = match status {
        401 | 403 => found_refusal(headers, body),
        _ => found(headers, body),
    };
    let retry = || retry_after(headers, std::time::SystemTime::now());
    match status {
        401 | 403 => FetchError::Unauthorized { status, message },
        429 => FetchError::RateLimited { retry_after: retry() },
        408 | 500.. => FetchError::Unavailable {
            status,
            message,
            retry_after: retry(),
        },
        400..500 => FetchError::Rejected {
            kind: format!("http_{status}"),
            message: match status {
                404 => format!("no metrics at {} (404); is the path right?", excerpt(path)),
                407 => format!("the proxy wants other credentials (407): {message}"),
                _ => format!("status {status}: {message}"),
            },
        },
        _ => FetchError::Malformed {
            detail: format!("status {status} instead of a page: {message}"),
            source: None,
        },
    }
}
