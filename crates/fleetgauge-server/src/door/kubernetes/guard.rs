//! Who may come in: whoever the cluster knows, and lets see what is asked for.
//!
//! Headers that say who asks count from the front proxy alone, whose certificate says that it is. Everybody else shows a
//! certificate or a token of the cluster's; whoever shows neither sees whether the daemon lives, and nothing else.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use fleetgauge_core::printable::Excerpt;
use fleetgauge_core::time::Clock;
use tokio::sync::Semaphore;

use super::caller::{Access, Cluster, Unanswered, User, Verdict};
use super::remembered::Remembered;
use super::status::Failure;
use crate::door::listener::Peer;

/// How long it counts whose a token is, and what somebody may see and may not: as in Kubernetes' own servers.
const TOKENS_FOR: Duration = Duration::from_secs(10);
const ALLOWED_FOR: Duration = Duration::from_secs(300);
const REFUSED_FOR: Duration = Duration::from_secs(30);
/// How long the cluster may take to say so.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many questions it is asked at once.
const MAX_QUESTIONS: usize = 64;
/// No token is longer. *Unit*: bytes.
const MAX_TOKEN: usize = 8 << 10;

/// Asks the cluster, and remembers what it has said.
///
/// Cheap to clone; clones remember together.
#[derive(Clone)]
pub(super) struct Guard(Arc<Inner>);

struct Inner {
    cluster: Arc<dyn Cluster>,
    tokens: Remembered<String, Option<User>>,
    verdicts: Remembered<(User, Access), Verdict>,
    questions: Semaphore,
}

/// Who asks, among the extensions of a request that has come in.
#[derive(Clone)]
pub(super) struct Caller {
    guard: Guard,
    user: User,
}

// === impl Guard ===

impl Guard {
    pub(super) fn new(cluster: Arc<dyn Cluster>, clock: Clock) -> Self {
        Self(Arc::new(Inner {
            cluster,
            tokens: Remembered::new(clock.clone()),
            verdicts: Remembered::new(clock),
            questions: Semaphore::new(MAX_QUESTIONS),
        }))
    }

    async fn user(&self, headers: &HeaderMap, peer: Option<&Peer>) -> Result<User, Failure> {
        let unauthorized = |why: &str| Failure::new(StatusCode::UNAUTHORIZED, why);
        let certificates = peer.map(|peer| &*peer.certificates).unwrap_or_default();
        if !certificates.is_empty() {
            let trust = self.0.cluster.trust();
            let found = trust.as_ref().ok().and_then(|trust| {
                trust
                    .on_behalf_of(certificates, headers)
                    .or_else(|| trust.user(certificates))
            });
            match (found, trust) {
                (Some(user), _) => return Ok(user),
                (None, Err(error)) if !headers.contains_key(AUTHORIZATION) => {
                    let why = format!("whose certificates are believed is not known: {error}");
                    return Err(Failure::new(StatusCode::SERVICE_UNAVAILABLE, why));
                }
                (None, _) => {}
            }
        }
        let Some(given) = headers.get(AUTHORIZATION) else {
            return Err(unauthorized(match certificates {
                [] => "a client certificate or a bearer token of the cluster is asked for",
                _ => {
                    "nobody that the cluster trusts has signed this certificate for a user, or the front proxy does not say who asks"
                }
            }));
        };
        let token = given.to_str().ok().and_then(|given| given.split_at_checked(7));
        let token = match token {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer ") => token.trim(),
            _ => return Err(unauthorized("the header Authorization is to be `Bearer TOKEN`")),
        };
        if token.is_empty() || token.len() > MAX_TOKEN {
            return Err(unauthorized("this is not a token of the cluster"));
        }
        let user = match self.0.tokens.get(token) {
            Some(known) => known,
            None => {
                let answered = self.ask(self.0.cluster.whose(token)).await?;
                self.0.tokens.keep(token.to_owned(), answered.clone(), TOKENS_FOR);
                answered
            }
        };
        user.ok_or_else(|| unauthorized("this is not a token of the cluster"))
    }

    async fn ask<T>(&self, question: impl Future<Output = Result<T, Unanswered>>) -> Result<T, Failure> {
        let asked = async {
            let _turn = self.0.questions.acquire().await;
            question.await
        };
        let unanswered = |why: String| {
            let why = format!("the cluster does not say who asks and what he may see: {why}");
            Failure::new(StatusCode::SERVICE_UNAVAILABLE, why)
        };
        match tokio::time::timeout(PATIENCE, asked).await {
            Ok(answered) => answered.map_err(|error| unanswered(error.to_string())),
            Err(_) => Err(unanswered(format!("no answer within {PATIENCE:?}"))),
        }
    }
}

// === impl Caller ===

impl Caller {
    /// *Errors*: who asks may not see it.
    pub(super) async fn may(&self, what: Access) -> Result<(), Failure> {
        let inner = &self.guard.0;
        let forbidden = |reason: &str| {
            let user = Excerpt(&self.user.name);
            let colon = if reason.is_empty() { "" } else { ": " };
            Failure::new(
                StatusCode::FORBIDDEN,
                format!("User {user} cannot {what}{colon}{reason}"),
            )
        };
        if self.user.is_anonymous() {
            return Err(forbidden("who asks is not known"));
        }
        let asked = (self.user.clone(), what.clone());
        let verdict = match inner.verdicts.get(&asked) {
            Some(known) => known,
            None => {
                let verdict = self.guard.ask(inner.cluster.may(&self.user, &what)).await?;
                let how_long = if verdict.is_allowed {
                    ALLOWED_FOR
                } else {
                    REFUSED_FOR
                };
                inner.verdicts.keep(asked, verdict.clone(), how_long);
                verdict
            }
        };
        match verdict.is_allowed {
            true => Ok(()),
            false => Err(forbidden(&verdict.reason)),
        }
    }
}

// === layers ===

/// Finds out who asks.
pub(super) async fn authenticate(
    State(guard): State<Guard>,
    mut request: Request,
    next: Next,
) -> Result<Response, Failure> {
    let peer = request.extensions().get::<Peer>().cloned();
    let user = guard
        .user(request.headers(), peer.as_ref())
        .await?
        .authenticated();
    request.extensions_mut().insert(Caller { guard, user });
    Ok(next.run(request).await)
}

/// Lets through who may see the page.
pub(super) async fn may_see_page(request: Request, next: Next) -> Result<Response, Failure> {
    let path = request.uri().path().to_owned();
    let Some(caller) = request.extensions().get::<Caller>().cloned() else {
        return Err(Failure::new(StatusCode::UNAUTHORIZED, "nobody has asked"));
    };
    caller.may(Access::Page { path }).await?;
    Ok(next.run(request).await)
}

#[cfg(test)]
mod tests;
