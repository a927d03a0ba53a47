//! `POST /-/reload`: reads the configuration anew.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use fleetgauge_core::printable::Quoted;
use tokio::sync::Semaphore;

use super::access::Access;
use super::problem::Problem;

/// How long a request waits for the one before it: files of a network may take their time.
const TURN_WITHIN: Duration = Duration::from_secs(10);

/// The site whose page has a browser ask for this, where it is another one: a browser brings certificates and passwords along
/// whoever asks, and reaches addresses of this machine. Programs say nothing of a site.
fn elsewhere(headers: &HeaderMap) -> Option<String> {
    let text = |name: &str| Some(headers.get(name)?.to_str().unwrap_or("?").to_owned());
    let origin = text("origin");
    match text("sec-fetch-site") {
        Some(site) if matches!(&*site, "same-origin" | "none") => None,
        Some(site) => Some(origin.unwrap_or(site)),
        None => {
            let (origin, host) = (origin?, text("host").unwrap_or_default());
            let is_here = origin
                .split_once("://")
                .is_some_and(|(_, authority)| authority == host);
            (!is_here).then_some(origin)
        }
    }
}

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
            if let Some(from) = elsewhere(request.headers()) {
                let detail = format!(
                    "the page of another site ({}) may not ask for this",
                    Quoted(&from)
                );
                return Err(Problem::new(StatusCode::FORBIDDEN, detail));
            }
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
        })
        .fallback(async || {
            let what = "this takes POST, which reads the configuration again";
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, what)
        }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_other_sites_are_told_from_programs_and_the_own_page() {
        for (given, is_elsewhere) in [
            (&[][..], false),
            (&[("origin", "http://127.0.0.1:9095")], false),
            (&[("origin", "http://127.0.0.1:9096")], true),
            (&[("origin", "https://evil.example")], true),
            (&[("origin", "null")], true),
            (&[("sec-fetch-site", "none")], false),
            (
                &[
                    ("sec-fetch-site", "same-origin"),
                    ("origin", "https://behind.a.proxy"),
                ],
                false,
            ),
            (
                &[
                    ("sec-fetch-site", "same-site"),
                    ("origin", "http://127.0.0.1:9095"),
                ],
                true,
            ),
            (&[("sec-fetch-site", "cross-site")], true),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("host", "127.0.0.1:9095".parse().unwrap());
            for (name, value) in given {
                headers.insert(*name, value.parse().unwrap());
            }
            assert_eq!(elsewhere(&headers).is_some(), is_elsewhere, "{given:?}");
        }
    }
}
