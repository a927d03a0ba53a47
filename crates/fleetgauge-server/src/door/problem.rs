//! Errors of the JSON door, as RFC 9457 has them.

use axum::Json;
use axum::http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use fleetgauge_core::printable::Printable;

use super::access::Unauthorized;
use super::excess::Excess;

/// What a request failed of.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    detail: String,
}

#[derive(serde::Serialize)]
struct Body<'a> {
    title: &'a str,
    status: u16,
    detail: &'a str,
}

// === impl Problem ===

impl Problem {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status,
            detail: detail.into(),
        }
    }
}

impl From<Unauthorized> for Problem {
    fn from(error: Unauthorized) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, error.to_string())
    }
}

impl From<Excess> for Problem {
    fn from(excess: Excess) -> Self {
        Self::new(excess.status(), excess.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        // Of several mistakes each has a line of its own.
        let lines = self.detail.lines().map(|line| Printable(line).to_string());
        let detail = lines.collect::<Vec<_>>().join("\n");
        let body = Json(Body {
            title: self.status.canonical_reason().unwrap_or_default(),
            status: self.status.as_u16(),
            detail: &detail,
        });
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
