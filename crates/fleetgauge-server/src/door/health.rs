//! Whether the daemon lives and may be asked; needs no credentials.

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;

use crate::readiness::Readiness;

/// `/-/healthy` and `/livez`, `/-/ready` and `/readyz`.
pub fn routes(readiness: Readiness) -> Router {
    let ready = move || {
        let checked = readiness.check();
        async move {
            match checked {
                Ok(()) => (StatusCode::OK, "ready\n".to_owned()),
                Err(waiting) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {waiting}\n")),
            }
        }
    };
    let alive = || async { "alive\n" };
    Router::new()
        .route("/-/healthy", get(alive))
        .route("/livez", get(alive))
        .route("/-/ready", get(ready.clone()))
        .route("/readyz", get(ready))
}
