//! The seam to what holds the metrics: one request in, one answer or typed failure out.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;

use crate::params::Params;
use crate::printable::Printable;
use crate::query::{QueryName, QueryType, Shape};
use crate::result::Answer;
use crate::time::Timestamp;

/// Answers one question: the samples for this rendered query.
///
/// A backend neither caches nor retries nor bounds its concurrency; [`CachedSource`] does, for all backends
/// in one place. A fetch may be dropped at any await, when its deadline passes.
///
/// [`CachedSource`]: crate::source::CachedSource
pub trait Backend: Send + Sync + 'static {
    /// The answer to `request`.
    ///
    /// *Errors*: [`FetchError`], which is [`Unsupported`](FetchError::Unsupported) for a shape or a time that
    /// the backend cannot answer. "No series" is not an error but an empty [`Answer`].
    fn fetch<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Answer, FetchError>>;
}

/// A query with its parameters filled in, and what is asked of its answer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Request {
    /// The query's name.
    pub name: QueryName,
    /// The language of `text`.
    pub query_type: QueryType,
    /// The query, ready for the backend.
    pub text: String,
    /// The caller's parameters, for backends that select by them instead of by text.
    pub params: Arc<Params>,
    /// At how many times the query is to be evaluated.
    pub shape: Shape,
    /// The time of the evaluation, or the end of the range; `None` for now.
    pub at: Option<Timestamp>,
    /// How much time is left for the fetch.
    pub timeout: Duration,
    /// When the caller asked; the fetch may begin later, when its turn has come.
    pub asked_at: Instant,
    /// How old the samples of the answer may be when it is asked for, where the caller said so
    /// ([`RefreshSpec::max_age`](crate::source::RefreshSpec::max_age)). For backends that collect samples
    /// themselves; one whose samples are collected elsewhere has no say in it.
    pub max_age: Option<Duration>,
}

/// Why a backend has no answer.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// No connection, or it broke.
    #[error("unreachable: {}", Printable(.detail))]
    Unreachable {
        /// What was tried, and where.
        detail: String,
        /// The transport's own error.
        #[source]
        source: Option<SharedError>,
    },
    /// The backend, or its proof of who it is, or ours, was not accepted while encryption was set up. Asking
    /// again does not help: a certificate is to be changed.
    #[error("no trusted connection: {}", Printable(.detail))]
    Tls {
        /// Where, and what is wrong with which certificate.
        detail: String,
        /// The transport's own error.
        #[source]
        source: Option<SharedError>,
    },
    /// The deadline passed.
    #[error("no answer within {after:?}")]
    Timeout {
        /// How long it was waited.
        after: Duration,
    },
    /// The backend understood and refused: the query is wrong, or asks for too much.
    #[error("rejected by the backend: {}", Printable(.message))]
    Rejected {
        /// The backend's classification, such as Prometheus's `bad_data` or `execution`.
        kind: String,
        /// The backend's message.
        message: String,
    },
    /// The backend does not accept who asks.
    #[error("not authorised ({status}): {}", Printable(.message))]
    Unauthorized {
        /// The HTTP status, 401 or 403.
        status: u16,
        /// The backend's message.
        message: String,
    },
    /// The backend asks to come later.
    #[error("rate limited by the backend{}", RetryAfter(*.retry_after))]
    RateLimited {
        /// When it may be asked again, where it said so.
        retry_after: Option<Duration>,
    },
    /// The backend, or a proxy before it, cannot answer now.
    #[error("backend unavailable ({status}): {}", Printable(.message))]
    Unavailable {
        /// The HTTP status, such as 503.
        status: u16,
        /// The backend's message.
        message: String,
        /// When it may be asked again, where it said so.
        retry_after: Option<Duration>,
    },
    /// Something answered, but not in the backend's language.
    #[error("malformed answer: {}", Printable(.detail))]
    Malformed {
        /// What was found instead, and where.
        detail: String,
        /// The decoder's own error.
        #[source]
        source: Option<SharedError>,
    },
    /// What there is to ask is not known: discovery has failed, or has not answered yet.
    #[error("targets not known: {}", Printable(.detail))]
    Discovery {
        /// Which discovery, and why.
        detail: String,
    },
    /// There are no values, and something is missing that could have had some: whether there is data is not
    /// known, so this is not "no data".
    #[error("no values, and not everything was asked: {}", Printable(.detail))]
    Incomplete {
        /// What is missing.
        detail: String,
    },
    /// The answer exceeds a bound.
    #[error("answer too large: more than {limit} {unit}")]
    TooLarge {
        /// The bound.
        limit: u64,
        /// What is counted, such as `bytes`.
        unit: &'static str,
    },
    /// The backend cannot answer this kind of query.
    #[error("not supported by this source: {}", Printable(.what))]
    Unsupported {
        /// The kind.
        what: String,
    },
    /// The fetch ended without an outcome: it panicked, or its runtime shut down.
    #[error("the fetch was aborted")]
    Aborted,
}

/// A dependency's error, shared by all who waited for the same fetch.
pub type SharedError = Arc<dyn std::error::Error + Send + Sync>;

struct RetryAfter(Option<Duration>);

// === impl Request ===

impl Request {
    /// The query `name` with the text `text`, without parameters, to be evaluated once, now, and answered within
    /// `timeout`.
    pub fn new(name: QueryName, query_type: QueryType, text: impl Into<String>, timeout: Duration) -> Self {
        Self {
            name,
            query_type,
            text: text.into(),
            params: Arc::default(),
            shape: Shape::Instant,
            at: None,
            timeout,
            asked_at: Instant::now(),
            max_age: None,
        }
    }

    /// Adds the caller's parameters.
    pub fn with_params(mut self, params: impl Into<Arc<Params>>) -> Self {
        self.params = params.into();
        self
    }

    /// Sets at how many times the query is to be evaluated.
    pub fn with_shape(mut self, shape: Shape) -> Self {
        self.shape = shape;
        self
    }

    /// Sets the time of the evaluation, or the end of the range.
    pub fn with_at(mut self, at: Timestamp) -> Self {
        self.at = Some(at);
        self
    }

    /// Sets how old the samples of the answer may be.
    pub fn with_max_age(mut self, max_age: Duration) -> Self {
        self.max_age = Some(max_age);
        self
    }
}

// === impl FetchError ===

impl FetchError {
    /// Whether the same query may succeed when it is asked again soon: after a failed connection, a
    /// 502, 503 or 504, and a 429 that says when to come back. A rejected query stays rejected.
    pub fn is_retryable(&self) -> bool {
        match self {
            FetchError::Unreachable { .. } => true,
            FetchError::Unavailable { status, .. } => matches!(status, 502..=504),
            FetchError::RateLimited { retry_after } => retry_after.is_some(),
            _ => false,
        }
    }

    /// How long the backend asks to wait before the next try.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            FetchError::RateLimited { retry_after } | FetchError::Unavailable { retry_after, .. } => {
                *retry_after
            }
            _ => None,
        }
    }

    /// One word for the variant, bounded for use as a label value.
    pub fn reason(&self) -> &'static str {
        match self {
            FetchError::Unreachable { .. } => "unreachable",
            FetchError::Tls { .. } => "tls",
            FetchError::Timeout { .. } => "timeout",
            FetchError::Rejected { .. } => "rejected",
            FetchError::Unauthorized { .. } => "unauthorized",
            FetchError::RateLimited { .. } => "rate_limited",
            FetchError::Unavailable { .. } => "unavailable",
            FetchError::Malformed { .. } => "malformed",
            FetchError::Discovery { .. } => "discovery",
            FetchError::Incomplete { .. } => "incomplete",
            FetchError::TooLarge { .. } => "too_large",
            FetchError::Unsupported { .. } => "unsupported",
            FetchError::Aborted => "aborted",
        }
    }
}

impl fmt::Display for RetryAfter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(after) => write!(f, ", which asks to wait {after:?}"),
            None => Ok(()),
        }
    }
}
