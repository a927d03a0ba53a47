//! `POST /-/reload`: reads the configuration anew.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use tokio::sync::Semaphore;

use super::access::Access;
use super::problem::Problem;

/// How long a request waits for the one before it: files of a network may take their time.
const TURN_WITHIN: Duration = Duration::from_secs(10);

/// The route; `reload` reads the configuration anew, or says what is wrong with it. It is called by one request at a time:
/// each takes a thread, and other doors need those as well.
pub fn routes<E: std::fmt::Display>(
    access: Access,
    reload: impl Fn() -> Result<(), E> + Send + Sync + 'static,
) -> Router {
    let reload = Arc::new(reload);
    let turns = Arc::new(Semaphore::new(1));
    let answer = move |request: Request| {
        let (reload, access, turns) = (Arc::clone(&reload), access.clone(), Arc::clone(&turns));
        async move {
            access.check(&request)?;
            let turn = tokio::time::timeout(TURN_WITHIN, turns.acquire_owned()).await;
            let busy = "the configuration is being read for somebody else; try again later";
            let turn = turn.map_err(|_| Problem::new(StatusCode::SERVICE_UNAVAILABLE, busy))?;
            let reloaded = tokio::task::spawn_blocking(move || {
                let _turn = turn;
                reload().map_err(|error| error.to_string())
            });
            match reloaded.await {
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
