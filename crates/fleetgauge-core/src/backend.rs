//! The seam to what holds the metrics: one request in, one answer or typed failure out.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;

use crate::params::Params;
use crate::query::{Companions, QueryName, QueryType, Shape};
use crate::range::Steps;
use crate::result::Answer;
use crate::time::Timestamp;

pub use crate::error::{FetchError, SharedError};

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
    /// What is now, where `at` gives no time and several backends are asked for the same one. A backend that collects
    /// samples itself collects them first, and so answers as of a moment later.
    pub now: Option<Timestamp>,
    /// How much time is left for the fetch.
    pub timeout: Duration,
    /// When the caller asked; the fetch may begin later, when its turn has come.
    pub asked_at: Instant,
    /// How old the samples of the answer may be when it is asked for, where the caller said so
    /// ([`RefreshSpec::max_age`](crate::source::RefreshSpec::max_age)). For backends that collect samples
    /// themselves; one whose samples are collected elsewhere has no say in it.
    pub max_age: Option<Duration>,
    /// By how much the backend's clock may differ from ours, where that matters, since it is asked for times by our
    /// clock. A backend that has no clock of its own, or cannot know it, takes no notice.
    pub clock_within: Option<Duration>,
    /// What is asked beside the query; `None`: what the backend's own configuration says.
    pub companions: Option<Companions>,
    /// Whether who asks takes native histograms, and does not read them as numbers. Otherwise an answer with one is an
    /// error.
    pub histograms: bool,
}

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
            now: None,
            timeout,
            asked_at: Instant::now(),
            max_age: None,
            clock_within: None,
            companions: None,
            histograms: false,
        }
    }

    crate::setters! {
        /// Adds the caller's parameters.
        with_params(params: impl Into<Arc<Params>>) => params = params.into();
        /// Sets at how many times the query is to be evaluated.
        with_shape(shape: Shape) => shape = shape;
        /// Sets the time of the evaluation, or the end of the range.
        with_at(at: Timestamp) => at = Some(at);
        /// Sets what is now, where no time is given.
        with_now(now: Timestamp) => now = Some(now);
        /// Sets by how much the backend's clock may differ from ours.
        with_clock_within(within: Duration) => clock_within = Some(within);
        /// Sets what is asked beside the query.
        with_companions(companions: Companions) => companions = Some(companions);
        /// Says whether who asks takes native histograms.
        with_histograms(takes: bool) => histograms = takes;
    }

    /// The query as PromQL.
    ///
    /// A metric's name stands in quotes, since `inf` or `bool` alone would be something else than a metric, and names
    /// with other characters than `a-zA-Z0-9_:` could not be written at all.
    pub fn promql(&self) -> Cow<'_, str> {
        match self.query_type {
            QueryType::PromQl => Cow::Borrowed(&self.text),
            QueryType::MetricName => {
                let escaped = self.text.trim().replace('\\', r"\\").replace('"', "\\\"");
                Cow::Owned(format!("{{__name__=\"{}\"}}", escaped.replace('\n', r"\n")))
            }
        }
    }

    /// The steps at which the query is to be evaluated, where it is at several and nothing else says when they end
    /// than `now`; `None` where it is to be evaluated once.
    ///
    /// *Errors*: [`FetchError::Rejected`] as `bad_data` for a range that cannot be.
    pub fn steps(&self, now: Timestamp) -> Result<Option<Steps>, FetchError> {
        let Shape::Range { window, step } = self.shape else {
            return Ok(None);
        };
        let steps = match self.at {
            Some(end) => Steps::until(end, window, step),
            None => Steps::until_now(now, window, step),
        };
        steps.map(Some).map_err(FetchError::bad_data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metric_names_are_quoted() {
        let promql = |query_type, text: &str| {
            let name = "q".parse().expect("a name");
            let request = Request::new(name, query_type, text, Duration::ZERO);
            request.promql().into_owned()
        };
        assert_eq!(promql(QueryType::MetricName, " inf\n"), r#"{__name__="inf"}"#);
        assert_eq!(
            promql(QueryType::MetricName, "a\"b\\c\nd"),
            r#"{__name__="a\"b\\c\nd"}"#
        );
        assert_eq!(promql(QueryType::PromQl, "up "), "up ");
    }
}
