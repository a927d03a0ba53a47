//! What a refusal means, in the words of [`FetchError`].

use std::time::SystemTime;

use fleetgauge_core::backend::FetchError;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;

use crate::client::failure::{content_type, excerpt, found, found_refusal, retry_after};

/// The body of an error, as Prometheus and those who follow it write it.
#[derive(Deserialize)]
struct ApiError {
    #[serde(rename = "errorType")]
    kind: Option<String>,
    error: String,
}

/// What the refusal of a query to `path` means.
pub(super) fn refused(status: StatusCode, headers: &HeaderMap, body: &[u8], path: &str) -> FetchError {
    let api: Option<ApiError> = serde_json::from_slice(body).ok();
    let message = match &api {
        Some(error) => excerpt(&error.error),
        None if matches!(status.as_u16(), 401 | 403) => found_refusal(headers, body),
        None => found(headers, body),
    };
    let code = status.as_u16();
    match code {
        401 | 403 => FetchError::Unauthorized {
            status: code,
            message,
        },
        429 => FetchError::RateLimited {
            retry_after: retry_after(headers, SystemTime::now()),
        },
        408 | 500.. => FetchError::Unavailable {
            status: code,
            message: match api.and_then(|error| error.kind) {
                Some(kind) => format!("{}: {message}", excerpt(&kind)),
                None => message,
            },
            retry_after: retry_after(headers, SystemTime::now()),
        },
        400..500 => FetchError::Rejected {
            message: match code {
                404 if api.is_none() => {
                    format!("no Prometheus API at {path} (404); is the path prefix of the URL right?")
                }
                407 => format!("the proxy wants other credentials (407): {message}"),
                _ => message,
            },
            kind: match api.and_then(|error| error.kind) {
                Some(kind) => excerpt(&kind),
                None => format!("http_{code}"),
            },
        },
        _ => FetchError::Malformed {
            detail: format!("status {code} instead of an answer: {message}"),
            source: None,
        },
    }
}

/// Whether a body of this content type is no answer, whatever is in it.
///
/// Besides JSON, `text/plain` is let through: Go's servers call JSON that where they are not told.
pub(super) fn wrong_content_type(headers: &HeaderMap) -> bool {
    match content_type(headers) {
        None => false,
        Some(media) => {
            let media = media
                .split(';')
                .next()
                .unwrap_or_default()
                .trim()
                .to_ascii_lowercase();
            media != "application/json" && media != "text/plain" && !media.ends_with("+json")
        }
    }
}

#[cfg(test)]
mod tests {
    use http::header::CONTENT_TYPE;

    use super::*;

    #[test]
    fn content_types() {
        let check = |value: &str, wrong: bool| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, value.parse().unwrap());
            assert_eq!(wrong_content_type(&headers), wrong, "{value}");
        };
        check("application/json", false);
        check("Application/JSON; charset=utf-8", false);
        check("application/problem+json", false);
        check("text/plain; charset=utf-8", false);
        check("text/html", true);
        check("application/x-protobuf", true);
        assert!(!wrong_content_type(&HeaderMap::new()));
    }
}
