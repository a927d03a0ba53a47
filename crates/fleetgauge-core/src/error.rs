//! Why there is no answer: what a backend, and what a source, can fail with.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::completeness::Completeness;
use crate::printable::{Printable, Quoted};
use crate::query::name::QueryName;
use crate::query_list::QueryRenderError;
use crate::transform::TransformError;

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
        /// Whether samples do come, and are only too few so far for the time that is asked for.
        is_short: bool,
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
    /// An answer that this one is computed from could not be had.
    #[error("input {} of source {}{asked}: {error}", Quoted(.input), Quoted(.of))]
    Input {
        /// The input's name.
        input: String,
        /// The name of the source that it is asked of.
        of: String,
        /// What was asked of it besides its value now: ` over a range`; empty where that is all.
        asked: &'static str,
        /// Why that source has no answer.
        #[source]
        error: Box<QueryError>,
    },
    /// What the query does with its answer could not be done.
    #[error("transform: {0}")]
    Transform(#[from] TransformError),
    /// The query by whose answer the values count could not be had.
    #[error("transform: the weights: {error}")]
    Weights {
        /// Why there are none.
        #[source]
        error: Box<QueryError>,
    },
    /// The backend's clock differs from ours by more than was asked for ([`Request::clock_within`]), so that it has other
    /// samples for the same time.
    ///
    /// [`Request::clock_within`]: crate::backend::Request::clock_within
    #[error("the clock of the server is {by:?} {}; set both clocks by NTP", if *.is_ahead { "ahead of ours" } else { "behind ours" })]
    Clock {
        /// By how much.
        by: Duration,
        /// Whether it is later than ours.
        is_ahead: bool,
    },
    /// Fewer members of a federation have reported than are required.
    #[error("{required} of {of} members are required: {members}")]
    Members {
        /// How many have to report.
        required: usize,
        /// Of how many.
        of: usize,
        /// Which ones have not, and why.
        members: Arc<Completeness>,
    },
    /// Each of the targets that have the answer's parts fails: what one does, where it is one.
    #[error(transparent)]
    AllTargets(Box<FetchError>),
    /// The fetch ended without an outcome: it panicked, or its runtime shut down.
    #[error("the fetch was aborted")]
    Aborted,
}

/// A dependency's error, shared by all who waited for the same fetch.
pub type SharedError = Arc<dyn std::error::Error + Send + Sync>;

/// Why a query has no answer.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// The question is wrong: no such query, or parameters that do not fit it.
    #[error(transparent)]
    Render(#[from] QueryRenderError),
    /// The backend gave no answer.
    #[error("query {query}: {error}")]
    Fetch {
        /// The query's name.
        query: QueryName,
        /// Why.
        #[source]
        error: Arc<FetchError>,
    },
    /// There is no backend to ask.
    #[error("query {query:?}: no metrics source is configured")]
    NoSource {
        /// The name asked for.
        query: String,
    },
    /// The cache cannot hold another prepared query.
    #[error("query {query}: the cache is full of prepared queries; raise max_entries")]
    CacheFull {
        /// The query's name.
        query: QueryName,
    },
}

struct RetryAfter(Option<Duration>);

// === impl FetchError ===

impl FetchError {
    /// Whether the same query may succeed when it is asked again soon: after a failed connection, a
    /// 502, 503 or 504, and a 429 that says when to come back. A rejected query stays rejected.
    pub fn is_retryable(&self) -> bool {
        match self {
            FetchError::Unreachable { .. } => true,
            FetchError::Unavailable { status, .. } => matches!(status, 502..=504),
            FetchError::RateLimited { retry_after } => retry_after.is_some(),
            FetchError::AllTargets(error) => error.is_retryable(),
            _ => false,
        }
    }

    /// Whether it says that an answer from before no longer tells what there is: somebody did not report who has a part of it, or
    /// what there is now is of another kind.
    pub fn denies_earlier(&self) -> bool {
        match self {
            FetchError::Members { .. }
            | FetchError::Incomplete { .. }
            | FetchError::AllTargets(_)
            | FetchError::Unsupported { .. } => true,
            FetchError::Input { error, .. } | FetchError::Weights { error } => {
                error.fetch_error().is_some_and(Self::denies_earlier)
            }
            _ => false,
        }
    }

    /// How long the backend asks to wait before the next try.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            FetchError::RateLimited { retry_after } | FetchError::Unavailable { retry_after, .. } => {
                *retry_after
            }
            FetchError::AllTargets(error) => error.retry_after(),
            _ => None,
        }
    }

    /// The question itself is wrong, as Prometheus classifies it.
    pub(crate) fn bad_data(why: impl fmt::Display) -> Self {
        FetchError::Rejected {
            kind: "bad_data".into(),
            message: why.to_string(),
        }
    }

    /// One word for the variant, bounded for use as a label value; for an input, or weights, that of what it failed with.
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
            FetchError::Input { error, .. } => error.reason(),
            FetchError::Transform(_) => "transform",
            FetchError::Weights { error } => error.reason(),
            FetchError::Clock { .. } => "clock",
            FetchError::Members { .. } => "members",
            FetchError::AllTargets(error) => error.reason(),
            FetchError::Aborted => "aborted",
        }
    }
}

// === impl QueryError ===

impl QueryError {
    /// One word for the cause, bounded for use as a label value.
    pub fn reason(&self) -> &'static str {
        match self {
            QueryError::Render(error) => error.reason(),
            QueryError::Fetch { error, .. } => error.reason(),
            QueryError::NoSource { .. } => "no_source",
            QueryError::CacheFull { .. } => "cache_full",
        }
    }

    /// The backend's failure, if it was asked at all.
    pub fn fetch_error(&self) -> Option<&FetchError> {
        match self {
            QueryError::Fetch { error, .. } => Some(error),
            _ => None,
        }
    }

    pub(crate) fn fetch(query: &QueryName, error: FetchError) -> Self {
        QueryError::Fetch {
            query: query.clone(),
            error: Arc::new(error),
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
