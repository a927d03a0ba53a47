//! What a query has for its metric, as the cache tells it.

use std::sync::Arc;

use super::ReasonCode;
use crate::cache::{CachedValue, Lookup};
use crate::error::{FetchError, QueryError};
use crate::result::MetricResult;
use crate::time::Moment;

/// What was found of a query when it was looked up.
#[derive(Clone, Debug)]
pub enum Found {
    /// An answer, which may have expired.
    Answer {
        /// The answer.
        result: Arc<MetricResult>,
        /// When it was had.
        had: Moment,
        /// When it no longer holds.
        expires: Moment,
        /// Why the refresh after it failed, if it did.
        last_error: Option<Box<str>>,
    },
    /// No answer.
    Absent {
        /// Why.
        code: ReasonCode,
        /// The same for people.
        text: Box<str>,
    },
}

// === impl Found ===

impl Found {
    /// When the answer was had, if there is one.
    pub fn had(&self) -> Option<Moment> {
        match self {
            Found::Answer { had, .. } => Some(*had),
            Found::Absent { .. } => None,
        }
    }
}

/// An answer after which it was found that a part of it is not there any more is none, though it is whole, and of a moment ago.
impl From<&CachedValue> for Found {
    fn from(value: &CachedValue) -> Self {
        if let Some(failure) = value.last_error().filter(|_| value.is_denied()) {
            return failed(&failure.error);
        }
        Found::Answer {
            result: Arc::clone(value.result()),
            had: value.cached(),
            expires: value.expires(),
            last_error: value.last_error().map(|failure| failure.error.to_string().into()),
        }
    }
}

impl From<&Lookup> for Found {
    fn from(lookup: &Lookup) -> Self {
        let (code, text) = match lookup {
            Lookup::Value(value) => return (&**value).into(),
            Lookup::Expired { last_error, .. } => {
                let error = last_error.as_ref().map(|failure| failure.error.to_string());
                (ReasonCode::Expired, expired(error.as_deref()))
            }
            Lookup::Failed(failure) => return failed(&failure.error),
            Lookup::NeverRefreshed => {
                let text =
                    "the query was not refreshed since it was set, or so long ago that it is forgotten";
                (ReasonCode::NeverRefreshed, text.to_owned())
            }
            Lookup::Replaced => (
                ReasonCode::Replaced,
                "the query was replaced or removed".to_owned(),
            ),
            Lookup::Invalid(error) => (ReasonCode::Invalid, error.to_string()),
        };
        let text = text.into();
        Found::Absent { code, text }
    }
}

fn failed(error: &QueryError) -> Found {
    let code = match error.fetch_error() {
        Some(FetchError::Incomplete { .. }) => ReasonCode::Incomplete,
        _ => ReasonCode::Failed,
    };
    Found::Absent {
        code,
        text: error.to_string().into(),
    }
}

/// Why an answer that has expired was not replaced by a newer one.
pub(super) fn expired(last_error: Option<&str>) -> String {
    match last_error {
        Some(error) => format!("the answer has expired, and the refresh after it failed: {error}"),
        None => "the answer has expired, and the query was not refreshed since; a refresh may wait for its source, or for its \
                 turn (max_queries_per_second)"
            .to_owned(),
    }
}
