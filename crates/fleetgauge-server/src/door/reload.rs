//! `POST /-/reload`: reads the configuration anew.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;

use super::access::Access;
use super::problem::Problem;

/// The route; `reload` reads the configuration anew, or says what is wrong with it.
pub fn routes<E: std::fmt::Display>(
    access: Access,
    reload: impl Fn() -> Result<(), E> + Send + Sync + 'static,
) -> Router {
    let reload = Arc::new(reload);
    let answer = move |request: Request| {
        let (reload, access) = (Arc::clone(&reload), access.clone());
        async move {
            access.check(&request)?;
            // It reads files.
            let reloaded =
                tokio::task::spawn_blocking(move || reload().map_err(|error| error.to_string())).await;
            match reloaded {
                Ok(Ok(())) => Ok("reloaded\n".into_response()),
                Ok(Err(error)) => Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, error)),
                Err(_) => Err(Problem::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "reading it failed",
                )),
            }
        }
    };
    Router::new().route(
        "/-/reload",
        post(move |request: Request| {
            let answered = answer(request);
            async move { answered.await.unwrap_or_else(Problem::into_response) as Response }
        }),
    )
}
