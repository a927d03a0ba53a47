//! What is answered: the envelope of Prometheus, within a bound.

use std::io;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tokio::time::Instant;

use crate::door::excess::Excess;

/// An answer that is ready to be sent.
pub(super) struct Reply {
    status: StatusCode,
    content_type: &'static str,
    body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(super) struct ApiError {
    kind: ErrorKind,
    message: String,
}

/// The types of errors that Prometheus has, and what HTTP has beside them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ErrorKind {
    /// A parameter is wrong.
    BadData,
    /// The query cannot be computed, or takes more than it may.
    Execution,
    /// It took too long.
    Timeout,
    /// Too much is asked at once.
    Unavailable,
    /// There is no such thing.
    NotFound,
    /// A defect of this program.
    Internal,
    /// The request is too large.
    TooLarge(StatusCode),
    /// The request's body does not come.
    Slow,
    /// Another method is needed.
    Method,
}

/// `{"status":"success","data":…}`
#[derive(Serialize)]
struct Success<'a, T> {
    status: &'static str,
    data: T,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    warnings: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    infos: &'a [String],
}

#[derive(Serialize)]
struct Failure<'a> {
    status: &'static str,
    #[serde(rename = "errorType")]
    error_type: &'static str,
    error: &'a str,
}

/// Takes so many bytes and no more, and none of a long answer after its time.
struct Bounded {
    bytes: Vec<u8>,
    limit: usize,
    deadline: Instant,
}

/// How much is written between two looks at the clock.
const BYTES_BETWEEN_LOOKS: usize = 1 << 18;

const JSON: &str = "application/json";

// === impl Reply ===

impl Reply {
    /// `data` in its envelope.
    ///
    /// *Errors*: it is larger than `limit`, or is not written by `deadline`. *Unit*: bytes.
    pub(super) fn success(
        limit: usize,
        deadline: Instant,
        data: impl Serialize,
        warnings: &[String],
        infos: &[String],
    ) -> Result<Self, ApiError> {
        let success = Success {
            status: "success",
            data,
            warnings,
            infos,
        };
        let bytes = Vec::with_capacity(1_024);
        let mut bounded = Bounded {
            bytes,
            limit,
            deadline,
        };
        // All that is written are maps, lists and texts, so what fails is the writing.
        serde_json::to_writer(&mut bounded, &success).map_err(|error| match error.io_error_kind() {
            Some(io::ErrorKind::TimedOut) => ApiError::timeout(),
            _ => ApiError::too_long(limit),
        })?;
        Ok(Self {
            status: StatusCode::OK,
            content_type: JSON,
            body: bounded.bytes,
        })
    }

    /// A page as it is.
    pub(super) fn page(content_type: &'static str, page: String) -> Self {
        Self {
            status: StatusCode::OK,
            content_type,
            body: page.into_bytes(),
        }
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = self.status;
        let content_type = HeaderValue::from_static(self.content_type);
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
        response
    }
}

// === impl ApiError ===

impl ApiError {
    pub(super) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }

    /// The parameter `name` is wrong.
    pub(super) fn param(name: &str, why: impl std::fmt::Display) -> Self {
        Self::new(ErrorKind::BadData, format!("invalid parameter {name:?}: {why}"))
    }

    /// The answer is longer than `limit` bytes.
    pub(super) fn too_long(limit: usize) -> Self {
        let message =
            format!("the answer is longer than {limit} bytes: ask for fewer series, or fewer steps");
        Self::new(ErrorKind::Execution, message)
    }

    /// As a line of text, where there is no envelope.
    pub(super) fn into_text(self) -> Response {
        (self.kind.status(), format!("{self}\n")).into_response()
    }

    /// The query did not end in time.
    pub(super) fn timeout() -> Self {
        Self::new(ErrorKind::Timeout, "the query did not end within its time")
    }
}

impl From<Excess> for ApiError {
    fn from(excess: Excess) -> Self {
        Self::new(ErrorKind::TooLarge(excess.status()), excess.to_string())
    }
}

impl From<ApiError> for Reply {
    fn from(error: ApiError) -> Self {
        let failure = Failure {
            status: "error",
            error_type: error.kind.as_str(),
            error: &error.message,
        };
        Self {
            status: error.kind.status(),
            content_type: JSON,
            // Texts can be written.
            body: serde_json::to_vec(&failure).unwrap_or_default(),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        Reply::from(self).into_response()
    }
}

// === impl ErrorKind ===

impl ErrorKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::BadData | Self::TooLarge(_) | Self::Method => "bad_data",
            Self::Execution => "execution",
            Self::Timeout | Self::Slow => "timeout",
            Self::Unavailable => "unavailable",
            Self::NotFound => "not_found",
            Self::Internal => "internal",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::BadData => StatusCode::BAD_REQUEST,
            Self::Execution => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Timeout | Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::TooLarge(status) => status,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
        }
    }
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > self.limit {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let looks = |length: usize| length / BYTES_BETWEEN_LOOKS;
        let is_due = looks(self.bytes.len() + bytes.len()) > looks(self.bytes.len());
        if is_due && Instant::now() > self.deadline {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_answer_is_written_within_the_time_of_its_request() {
        let (ended, goes_on) = (
            Instant::now(),
            Instant::now() + std::time::Duration::from_secs(3_600),
        );
        let texts = |count: usize| vec!["0123456789"; count];
        let written = |deadline, count| {
            let reply = Reply::success(1 << 20, deadline, texts(count), &[], &[]);
            reply.map_err(|error| error.kind).map(|reply| reply.body.len())
        };
        assert!(written(goes_on, 50_000).is_ok());
        assert_eq!(written(ended, 50_000), Err(ErrorKind::Timeout));
        assert_eq!(written(goes_on, 200_000), Err(ErrorKind::Execution));
        // What is written in no time is no reason to have computed it for nothing.
        assert!(written(ended, 10).is_ok());
    }
}
