//! Errors as the API server's clients read them: objects of the kind `Status`.

use axum::Json;
use axum::http::header::WWW_AUTHENTICATE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use fleetgauge_core::printable::{Excerpt, Printable};
use serde_json::json;

use crate::door::excess::Excess;

/// How many characters of a message are told: an HPA keeps it in its status.
const TOLD: usize = 1_000;

/// Why a request failed.
///
/// None of them says `Retry-After`: the HPA's client would wait and ask ten times more on a worker that others need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    code: StatusCode,
    message: String,
    /// What was asked for, as group and name.
    about: Option<(&'static str, String)>,
    /// One word for why there is no number.
    cause: Option<&'static str>,
}

// === impl Failure ===

impl Failure {
    pub(super) fn new(code: StatusCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            about: None,
            cause: None,
        }
    }

    /// The request is wrong, or what it asks for has no answer.
    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    /// There is no number, which is neither zero nor none.
    pub(super) fn no_number(cause: &'static str, message: impl Into<String>) -> Self {
        let mut failure = Self::new(StatusCode::SERVICE_UNAVAILABLE, message);
        failure.cause = Some(cause);
        failure
    }

    /// Says what was asked for.
    pub(super) fn about(mut self, group: &'static str, name: &str) -> Self {
        self.about = Some((group, name.to_owned()));
        self
    }

    fn reason(&self) -> &'static str {
        match self.code {
            StatusCode::BAD_REQUEST => "BadRequest",
            StatusCode::UNAUTHORIZED => "Unauthorized",
            StatusCode::FORBIDDEN => "Forbidden",
            StatusCode::NOT_FOUND => "NotFound",
            StatusCode::METHOD_NOT_ALLOWED => "MethodNotAllowed",
            StatusCode::PAYLOAD_TOO_LARGE => "RequestEntityTooLarge",
            StatusCode::TOO_MANY_REQUESTS => "TooManyRequests",
            StatusCode::SERVICE_UNAVAILABLE => "ServiceUnavailable",
            StatusCode::INTERNAL_SERVER_ERROR => "InternalError",
            _ => "",
        }
    }
}

impl From<Excess> for Failure {
    fn from(excess: Excess) -> Self {
        Self::new(excess.status(), excess.to_string())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let message = Printable(&self.message).to_string();
        let message = match message.char_indices().nth(TOLD) {
            Some((end, _)) => format!("{}…", &message[..end]),
            None => message,
        };
        let causes = self
            .cause
            .map(|cause| json!([{"reason": cause, "message": message}]));
        let mut details = self.about.as_ref().map(
            |(group, name)| json!({"group": group, "name": Excerpt(name).to_string().trim_matches('"')}),
        );
        if let (Some(details), Some(causes)) = (&mut details, causes) {
            details["causes"] = causes;
        }
        let mut status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
            "reason": self.reason(),
            "code": self.code.as_u16(),
        });
        if let Some(details) = details {
            status["details"] = details;
        }
        let mut response = (self.code, Json(status)).into_response();
        if self.code == StatusCode::UNAUTHORIZED {
            let headers = response.headers_mut();
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
