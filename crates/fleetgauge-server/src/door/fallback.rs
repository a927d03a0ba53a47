//! What is said of what is nowhere.

use axum::Router;
use axum::http::header::ACCEPT;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use super::excess::bounded;
use super::problem::Problem;

/// Where programs find what they come for.
const PAGES: &str =
    "/api/fleetgauge/v1/metrics, /api/v1/query, /federate, /metrics, /-/healthy, /-/ready and /-/reload";

/// What programs find at the root, which some of them ask to know whether the server is there.
pub(super) fn root() -> String {
    format!("Fleetgauge\n\nthere are {PAGES}; browsers find the dashboard here\n")
}

/// Whether who asks reads pages, as browsers do.
pub(super) fn reads_pages(headers: &HeaderMap) -> bool {
    let accepts = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
    accepts.is_some_and(|types| types.contains("text/html"))
}

/// `router`; says what there is where there is no page, and what pages are read by. People are told so by `page`.
pub fn pages(router: Router, page: fn(StatusCode, &str) -> Response) -> Router {
    let unknown = move |headers: HeaderMap| async move {
        match reads_pages(&headers) {
            true => page(StatusCode::NOT_FOUND, "there is no such page"),
            false => {
                let what = format!("there is no such page; there are {PAGES}");
                Problem::new(StatusCode::NOT_FOUND, what).into_response()
            }
        }
    };
    let not_so = || async { Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this is read by GET") };
    let pages = router.fallback(unknown).method_not_allowed_fallback(not_so);
    bounded(pages, |excess| Problem::from(excess).into_response())
}
