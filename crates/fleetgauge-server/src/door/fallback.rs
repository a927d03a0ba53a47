//! What is asked for and is nowhere: said as a problem, as the JSON door does.

use axum::Router;
use axum::http::StatusCode;

use super::problem::Problem;

/// `router`, whose pages say what they are read by, and which says what there is where there is no page.
pub fn pages(router: Router) -> Router {
    let unknown = || async {
        Problem::new(
            StatusCode::NOT_FOUND,
            "there is no such page; there are /api/fleetgauge/v1/metrics, /api/v1/query, /federate, /metrics, /-/healthy, \
             /-/ready and /-/reload",
        )
    };
    let not_so = || async {
        Problem::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "this is read by GET; /-/reload takes POST",
        )
    };
    router.fallback(unknown).method_not_allowed_fallback(not_so)
}
