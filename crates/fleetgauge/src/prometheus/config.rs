//! What a Prometheus source is told: where the server is, who asks, whom to trust, and what to bound.
//!
//! A configuration is plain values and checks nothing; [`PrometheusSource::new`] does, and reads the files
//! that are named here.
//!
//! [`PrometheusSource::new`]: super::PrometheusSource::new

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use fleetgauge_core::query::Companions;
use fleetgauge_core::source::{CachedSourceConfig, RangeConfig, RetryPolicy};

use super::endpoint::Base;
use crate::client::endpoint::shown_url;
use crate::client::failure::excerpt;
use crate::client::{Auth, ConfigError, ProxyConfig, Secret, TlsConfig};

/// How a [`PrometheusSource`](super::PrometheusSource) works.
///
/// ```
/// use std::time::Duration;
/// use fleetgauge::prometheus::PrometheusSourceConfig;
///
/// let config = PrometheusSourceConfig::new("https://mimir.example:8443/prometheus")
///     .with_default_ttl(Duration::from_secs(60))
///     .with_header("X-Scope-OrgID", "inference")
///     .with_bearer_token("hunter2");
/// assert!(!format!("{config:?}").contains("hunter2"));
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct PrometheusSourceConfig {
    /// The server's base URL: `http` or `https`, with a path prefix where it has one; what follows it is
    /// `/api/v1/query`. A user and password in it are used for basic authentication. No default.
    pub url: String,
    /// How long a value holds where its query does not say. Default: 30 s.
    pub default_ttl: Duration,
    /// How long one query may take, retries included, where it does not say itself. The server is told.
    /// Default: 10 s.
    pub query_timeout: Duration,
    /// How long past its expiry a value is still returned, marked expired. Default: 0.
    pub max_stale: Duration,
    /// How many answers are cached at most. Default: 10,000.
    pub max_entries: usize,
    /// How many queries are with the server at once. Default: 16.
    pub max_concurrency: usize,
    /// How many queries the server is asked a second at most, with all that is asked beside them; the others wait for their
    /// turn. Default: as many as there are.
    pub max_queries_per_second: Option<f64>,
    /// When a query is tried again.
    pub retry: RetryPolicy,
    /// How ranges are refreshed, and how large they may be.
    pub range: RangeConfig,
    /// How long a TCP connection may take to establish. Default: 5 s.
    pub connect_timeout: Duration,
    /// How large an answer may be once it is decompressed. *Unit*: bytes. Default: 64 MiB.
    pub max_answer_bytes: usize,
    /// Who asks.
    pub auth: Auth,
    /// Headers to send along, such as `X-Scope-OrgID`. Their values are kept as secret as a password.
    pub headers: Vec<(String, Secret)>,
    /// Parameters to send along with `query`, such as `dedup` of Thanos.
    pub query_params: Vec<(String, Secret)>,
    /// Whom to trust, and what to show.
    pub tls: TlsConfig,
    /// The HTTP method of queries. Default: by POST, and by GET where the server refuses that.
    pub method: QueryMethod,
    /// Through which HTTP proxy the server is reached. Default: none.
    pub proxy: ProxyConfig,
    /// What is asked beside each query that is evaluated once, where the query does not say so itself: how old its values
    /// are, for whoever has a `max_age`. Default: nothing, as it makes the server compute about twice as much.
    pub companions: Companions,
}

/// The HTTP method of queries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum QueryMethod {
    /// By POST, so that a long query fits; where that is refused with 403, 405 or 501 once more by GET, and from
    /// then on by GET alone if that worked. A gateway that lets only reading through forbids POST.
    #[default]
    Auto,
    /// By POST alone.
    Post,
    /// By GET alone. A query that is too long for a URL fails.
    Get,
}

/// What names no [`QueryMethod`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not a method of queries; use POST, GET or auto")]
#[non_exhaustive]
pub struct UnknownQueryMethod {
    /// What was given.
    pub given: String,
}

// === impl QueryMethod ===

impl FromStr for QueryMethod {
    type Err = UnknownQueryMethod;

    fn from_str(text: &str) -> Result<Self, UnknownQueryMethod> {
        match text.to_ascii_lowercase().as_str() {
            "auto" => Ok(Self::Auto),
            "post" => Ok(Self::Post),
            "get" => Ok(Self::Get),
            _ => Err(UnknownQueryMethod { given: excerpt(text) }),
        }
    }
}

// === impl PrometheusSourceConfig ===

impl Default for PrometheusSourceConfig {
    fn default() -> Self {
        let source = CachedSourceConfig::default();
        Self {
            url: String::new(),
            default_ttl: source.cache.default_ttl,
            query_timeout: source.query_timeout,
            max_stale: source.cache.max_stale,
            max_entries: source.cache.max_entries,
            max_concurrency: source.max_concurrency,
            max_queries_per_second: source.max_queries_per_second,
            retry: source.retry,
            range: source.range,
            connect_timeout: Duration::from_secs(5),
            max_answer_bytes: 64 << 20,
            auth: Auth::None,
            headers: Vec::new(),
            query_params: Vec::new(),
            tls: TlsConfig::default(),
            method: QueryMethod::Auto,
            proxy: ProxyConfig::none(),
            companions: Companions::none(),
        }
    }
}

impl PrometheusSourceConfig {
    /// The defaults, for the server at `url`.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            ..Self::default()
        }
    }

    /// Scheme, host and port of the URL, such as `https://prometheus:9090`: whom the credentials are for.
    /// `None` where the URL is none.
    pub fn origin(&self) -> Option<String> {
        Base::parse(&self.url).ok().map(|base| base.endpoint.origin.url())
    }

    fleetgauge_core::setters! {
        /// Sets the server's base URL.
        with_url(url: impl Into<String>) => url = url.into();
        /// Sets how long a value holds where its query does not say.
        with_default_ttl(ttl: Duration) => default_ttl = ttl;
        /// Sets how long one query may take.
        with_query_timeout(timeout: Duration) => query_timeout = timeout;
        /// Sets how long past its expiry a value is still returned.
        with_max_stale(max_stale: Duration) => max_stale = max_stale;
        /// Sets how many answers are cached at most.
        with_max_entries(max_entries: usize) => max_entries = max_entries;
        /// Sets how many queries are with the server at once.
        with_max_concurrency(max_concurrency: usize) => max_concurrency = max_concurrency;
        /// Sets how many queries the server is asked a second at most.
        with_max_queries_per_second(rate: f64) => max_queries_per_second = Some(rate);
        /// Sets how ranges are refreshed, and how large they may be.
        with_range(range: RangeConfig) => range = range;
        /// Sets when a query is tried again.
        with_retry(retry: RetryPolicy) => retry = retry;
        /// Sets how long a TCP connection may take to establish.
        with_connect_timeout(timeout: Duration) => connect_timeout = timeout;
        /// Sets how large an answer may be, in bytes, once it is decompressed.
        with_max_answer_bytes(bytes: usize) => max_answer_bytes = bytes;
        /// Sets who asks.
        with_auth(auth: Auth) => auth = auth;
        /// Sets whom to trust, and what to show.
        with_tls(tls: TlsConfig) => tls = tls;
        /// Sets the HTTP method of queries.
        with_method(method: QueryMethod) => method = method;
        /// Sets through which HTTP proxy the server is reached.
        with_proxy(proxy: ProxyConfig) => proxy = proxy;
        /// Sets what is asked beside each query, such as how old its values are.
        with_companions(companions: Companions) => companions = companions;
        /// Trusts the certificate authorities in a file, instead of those of the operating system.
        with_ca_file(ca_file: impl Into<PathBuf>) => tls.ca_file = Some(ca_file.into());
    }

    /// Asks with user and password.
    pub fn with_basic_auth(self, user: impl Into<String>, password: impl Into<Secret>) -> Self {
        self.with_auth(Auth::Basic {
            user: user.into(),
            password: password.into(),
        })
    }

    /// Asks with a bearer token.
    pub fn with_bearer_token(self, token: impl Into<Secret>) -> Self {
        self.with_auth(Auth::Bearer { token: token.into() })
    }

    /// Asks with the bearer token in a file.
    pub fn with_bearer_token_file(self, token_file: impl Into<PathBuf>) -> Self {
        self.with_auth(Auth::BearerFile {
            token_file: token_file.into(),
        })
    }

    /// Sends a header along, besides those set before.
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<Secret>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sends a parameter along, besides those set before.
    pub fn with_query_param(mut self, name: impl Into<String>, value: impl Into<Secret>) -> Self {
        self.query_params.push((name.into(), value.into()));
        self
    }

    /// Shows a client certificate.
    pub fn with_client_cert(mut self, cert_file: impl Into<PathBuf>, key_file: impl Into<PathBuf>) -> Self {
        self.tls.client_cert_file = Some(cert_file.into());
        self.tls.client_key_file = Some(key_file.into());
        self
    }

    /// What the pipeline is told of all this.
    pub(super) fn source_config(&self) -> CachedSourceConfig {
        let mut source = CachedSourceConfig::default();
        source.cache.default_ttl = self.default_ttl;
        source.cache.max_stale = self.max_stale;
        source.cache.max_entries = self.max_entries;
        source.query_timeout = self.query_timeout;
        source.max_concurrency = self.max_concurrency;
        source.max_queries_per_second = self.max_queries_per_second;
        source.retry = self.retry.clone();
        source.range = self.range.clone();
        source
    }

    /// Checks what is neither text nor file.
    pub(super) fn check_bounds(&self) -> Result<(), ConfigError> {
        let bounds = [
            ("default_ttl", self.default_ttl.is_zero()),
            ("query_timeout", self.query_timeout.is_zero()),
            ("connect_timeout", self.connect_timeout.is_zero()),
            ("max_entries", self.max_entries == 0),
            ("max_concurrency", self.max_concurrency == 0),
            (
                "max_queries_per_second",
                self.max_queries_per_second
                    .is_some_and(|rate| !(rate > 0.0 && rate.is_finite())),
            ),
            ("max_answer_bytes", self.max_answer_bytes == 0),
        ];
        match bounds.iter().find(|(_, zero)| *zero) {
            Some((field, _)) => Err(ConfigError::Invalid {
                field: (*field).into(),
                problem: "must be more than zero".into(),
            }),
            None => Ok(()),
        }
    }
}

/// Without secrets: the URL's user and password, and the values of headers and parameters, are left out.
impl fmt::Debug for PrometheusSourceConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrometheusSourceConfig")
            .field("url", &shown_url(&self.url))
            .field("default_ttl", &self.default_ttl)
            .field("query_timeout", &self.query_timeout)
            .field("max_stale", &self.max_stale)
            .field("max_entries", &self.max_entries)
            .field("max_concurrency", &self.max_concurrency)
            .field("max_queries_per_second", &self.max_queries_per_second)
            .field("retry", &self.retry)
            .field("range", &self.range)
            .field("connect_timeout", &self.connect_timeout)
            .field("max_answer_bytes", &self.max_answer_bytes)
            .field("auth", &self.auth)
            .field("headers", &self.headers)
            .field("query_params", &self.query_params)
            .field("tls", &self.tls)
            .field("method", &self.method)
            .field("proxy", &self.proxy)
            .field("companions", &self.companions)
            .finish()
    }
}
