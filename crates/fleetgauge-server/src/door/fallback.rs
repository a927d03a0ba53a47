//! What there is at the root, and what is said of what is nowhere.

use axum::Router;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::get;

use super::excess::bounded;
use super::problem::Problem;

/// Where programs find what they come for.
const PAGES: &str =
    "/api/fleetgauge/v1/metrics, /api/v1/query, /federate, /metrics, /-/healthy, /-/ready and /-/reload";

/// `router`, with a page at the root, which some clients ask to know whether the server is there; says what there is where there
/// is no page, and what pages are read by.
pub fn pages(router: Router) -> Router {
    let root = || async { format!("Fleetgauge\n\nthere are {PAGES}\n") };
    let unknown = || async {
        let what = format!("there is no such page; there are {PAGES}");
        Problem::new(StatusCode::NOT_FOUND, what)
    };
    let not_so = || async {
        Problem::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "this is read by GET; /-/reload takes POST",
        )
    };
    let pages = router
        .route("/", get(root))
        .fallback(unknown)
        .method_not_allowed_fallback(not_so);
    bounded(pages, |excess| Problem::from(excess).into_response())
}
