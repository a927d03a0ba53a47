//! What a request may bring at most; whatever is beyond it is refused in the door's own terms.
//!
//! The bounds are within those of the connection, which could only say a status.

use std::fmt;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::CONTENT_LENGTH;
use axum::middleware::{self, Next};
use axum::response::Response;

/// *Unit*: bytes, as below.
const MAX_TARGET: usize = 32 << 10;
const MAX_HEADERS: usize = 16 << 10;
const MAX_BODY: u64 = 1 << 20;

/// Of what a request brings too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Excess {
    /// Path and query.
    Target,
    Headers,
    Body,
}

// === impl Excess ===

impl Excess {
    pub(super) fn of<B>(request: &Request<B>) -> Option<Self> {
        let target = request
            .uri()
            .path_and_query()
            .map_or("", |target| target.as_str());
        let headers = request.headers();
        let length = || headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse::<u64>().ok();
        let of_headers: usize = headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len())
            .sum();
        if target.len() > MAX_TARGET {
            Some(Self::Target)
        } else if of_headers > MAX_HEADERS {
            Some(Self::Headers)
        } else {
            length()
                .is_some_and(|length| length > MAX_BODY)
                .then_some(Self::Body)
        }
    }

    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::Target => StatusCode::URI_TOO_LONG,
            Self::Headers => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Body => StatusCode::PAYLOAD_TOO_LARGE,
        }
    }
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Target => write!(f, "path and query are longer than {MAX_TARGET} bytes"),
            Self::Headers => write!(f, "the headers are longer than {MAX_HEADERS} bytes"),
            Self::Body => write!(f, "the body is longer than {MAX_BODY} bytes"),
        }
    }
}

/// `router`, of which what brings too much is answered by `refuse`.
pub(super) fn bounded(router: Router, refuse: fn(Excess) -> Response) -> Router {
    router.layer(middleware::from_fn(move |request: Request, next: Next| {
        let excess = Excess::of(&request);
        async move {
            match excess {
                Some(excess) => refuse(excess),
                None => next.run(request).await,
            }
        }
    }))
}
