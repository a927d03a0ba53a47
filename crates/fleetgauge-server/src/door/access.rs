//! Who may come in: whoever has the token, or a certificate that the door's authority has signed.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures_util::StreamExt;
use tokio::sync::watch;

use super::listener::Peer;

/// What a door asks for.
///
/// Cheap to clone; clones ask for the same.
#[derive(Clone, Default)]
pub struct Access(Arc<Inner>);

#[derive(Default)]
struct Inner {
    token: Option<ArcSwap<Box<[u8]>>>,
    certificate: bool,
    /// Told of each token that was taken in the place of another.
    renewed: watch::Sender<()>,
}

/// Who has asked, and how that was checked.
pub(super) struct Admitted {
    access: Access,
    /// The request without all that does not tell who asks.
    request: Request,
    check: Check,
}

type Check = fn(&Access, &Request) -> Result<(), Unauthorized>;

/// Why somebody may not come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this door asks for a bearer token or a client certificate: send `Authorization: Bearer TOKEN`")]
#[non_exhaustive]
pub struct Unauthorized;

// === impl Access ===

impl Access {
    /// Everybody.
    pub fn open() -> Self {
        Self::default()
    }

    /// Whoever has this token, if there is one, or has shown a certificate, if that is asked for.
    pub fn new(token: Option<&str>, certificate: bool) -> Self {
        Self(Arc::new(Inner {
            token: token.map(|token| ArcSwap::from_pointee(token.as_bytes().into())),
            certificate,
            renewed: watch::Sender::default(),
        }))
    }

    /// Takes another token from now on. Of a door without one nothing changes.
    pub fn renew(&self, token: &str) {
        if let Some(known) = &self.0.token {
            known.store(Arc::new(token.as_bytes().into()));
            self.0.renewed.send_replace(());
        }
    }

    /// Who may come in with `request`, and for how long.
    ///
    /// *Errors*: nobody.
    pub(super) fn admit<B>(&self, request: &Request<B>) -> Result<Admitted, Unauthorized> {
        self.admit_by(request, Self::check)
    }

    fn admit_by<B>(&self, request: &Request<B>, check: Check) -> Result<Admitted, Unauthorized> {
        let mut who = Request::default();
        if let Some(authorization) = request.headers().get(AUTHORIZATION) {
            who.headers_mut().insert(AUTHORIZATION, authorization.clone());
        }
        if let Some(peer) = request.extensions().get::<Peer>() {
            who.extensions_mut().insert(peer.clone());
        }
        check(self, &who)?;
        Ok(Admitted {
            access: self.clone(),
            request: who,
            check,
        })
    }

    /// Whether the request may come in.
    ///
    /// *Errors*: it may not.
    pub fn check<B>(&self, request: &Request<B>) -> Result<(), Unauthorized> {
        let Inner {
            token, certificate, ..
        } = &*self.0;
        if token.is_none() && !certificate {
            return Ok(());
        }
        let peer = request.extensions().get::<Peer>();
        if *certificate && peer.is_some_and(|peer| peer.has_certificate) {
            return Ok(());
        }
        let given = request.headers().get(AUTHORIZATION).map(|value| value.as_bytes());
        let given = given.and_then(|value| value.split_at_checked(7));
        match (token, given) {
            (Some(token), Some((scheme, given)))
                if scheme.eq_ignore_ascii_case(b"bearer ") && is_same(given, &token.load()) =>
            {
                Ok(())
            }
            _ => Err(Unauthorized),
        }
    }
}

impl Access {
    /// `router` for whoever may come in; others are told so in a line of text, as Prometheus does.
    pub fn guard(&self, router: Router) -> Router {
        self.guard_by(router, Self::check, "Bearer")
    }

    /// As [`guard`](Self::guard), of pages for people: browsers ask them for a name and a password, which is the token. Only
    /// what changes nothing may be behind it, since a browser adds both to whatever another site has it ask for.
    pub(super) fn guard_people(&self, router: Router) -> Router {
        let check: Check = |access, request| {
            let checked = access.check(request);
            checked.or_else(|error| match access.has_password(request) {
                true => Ok(()),
                false => Err(error),
            })
        };
        self.guard_by(router, check, "Basic realm=\"Fleetgauge\", charset=\"UTF-8\"")
    }

    /// Whether it brings the token as a password.
    fn has_password<B>(&self, request: &Request<B>) -> bool {
        let given = || {
            let value = request.headers().get(AUTHORIZATION)?.as_bytes();
            let (scheme, rest) = value.split_at_checked(6)?;
            let decoded = BASE64_STANDARD.decode(rest.trim_ascii()).ok()?;
            let colon = decoded.iter().position(|byte| *byte == b':')?;
            let is_basic = scheme.eq_ignore_ascii_case(b"basic ");
            is_basic.then(|| decoded[colon + 1..].to_vec())
        };
        let known = self.0.token.as_ref();
        known.is_some_and(|token| given().is_some_and(|given| is_same(&given, &token.load())))
    }

    fn guard_by(&self, router: Router, check: Check, challenge: &'static str) -> Router {
        let access = self.clone();
        router.layer(middleware::from_fn(move |request: Request, next: Next| {
            let admitted = access.admit_by(&request, check);
            async move {
                match admitted {
                    Ok(admitted) => admitted.while_admitted(next.run(request).await),
                    Err(error) => {
                        let headers = [(WWW_AUTHENTICATE, challenge)];
                        (StatusCode::UNAUTHORIZED, headers, format!("{error}\n")).into_response()
                    }
                }
            }
        }))
    }
}

// === impl Admitted ===

impl Admitted {
    /// Comes when who asked may no longer come in. Never, where there is no token that could change.
    pub(super) async fn over(self) {
        let mut renewed = self.access.0.renewed.subscribe();
        while (self.check)(&self.access, &self.request).is_ok() {
            if self.access.0.token.is_none() || renewed.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// `response`; a stream of events ends when who asked for it may no longer come in.
    pub(super) fn while_admitted(self, response: Response) -> Response {
        let kind = response.headers().get(CONTENT_TYPE);
        if !kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream")) {
            return response;
        }
        response.map(|body| {
            let events = body.into_data_stream().take_until(Box::pin(self.over()));
            Body::from_stream(events)
        })
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access")
            .field("token", &self.0.token.is_some())
            .field("certificate", &self.0.certificate)
            .finish()
    }
}

/// Compares in a time that does not tell where they differ.
fn is_same(given: &[u8], known: &[u8]) -> bool {
    let differ = given.iter().zip(known).fold(0, |differ, (a, b)| differ | (a ^ b));
    given.len() == known.len() && differ == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(authorization: Option<&str>, has_certificate: bool) -> Request<()> {
        let mut request = Request::new(());
        if let Some(value) = authorization {
            request
                .headers_mut()
                .insert(AUTHORIZATION, value.parse().unwrap());
        }
        let address = "127.0.0.1:1".parse().unwrap();
        request.extensions_mut().insert(Peer {
            address,
            has_certificate,
            certificates: Arc::default(),
        });
        request
    }

    #[test]
    fn people_give_the_token_as_a_password() {
        let access = Access::new(Some("se:cret"), false);
        for (text, expected) in [
            ("anybody:se:cret", true),
            (":se:cret", true),
            ("se:cret", false),
            ("anybody:secret", false),
            ("", false),
        ] {
            let given = format!("Basic {}", BASE64_STANDARD.encode(text));
            assert_eq!(
                access.has_password(&request(Some(&given), false)),
                expected,
                "{text}"
            );
            assert!(access.check(&request(Some(&given), false)).is_err());
        }
        assert!(!access.has_password(&request(Some("Basic ?"), false)));
        assert!(!Access::open().has_password(&request(Some("Basic Og=="), false)));
    }

    #[tokio::test]
    async fn who_has_come_in_is_out_when_the_token_is_another() {
        let access = Access::new(Some("secret"), true);
        let admitted =
            |authorization, has_certificate| access.admit(&request(authorization, has_certificate));
        let of = [
            admitted(Some("Bearer secret"), false),
            admitted(None, true),
            Access::open().admit(&request(None, false)),
        ];
        let mut of = of.map(|admitted| Box::pin(admitted.unwrap().over()));
        let mut over = async || {
            let mut over = [false; 3];
            for (over, one) in over.iter_mut().zip(&mut of) {
                *over = futures_util::poll!(one).is_ready();
            }
            over
        };
        assert_eq!(over().await, [false; 3]);
        // The same file, written anew.
        access.renew("secret");
        assert_eq!(over().await, [false; 3]);
        access.renew("other");
        assert_eq!(over().await, [true, false, false]);
    }

    #[test]
    fn who_has_neither_token_nor_certificate_stays_outside() {
        let open = Access::open();
        let token = Access::new(Some("secret"), false);
        let either = Access::new(Some("secret"), true);
        let certificate = Access::new(None, true);
        for (access, authorization, has_certificate, expected) in [
            (&open, None, false, true),
            (&token, None, false, false),
            (&token, Some("Bearer secret"), false, true),
            (&token, Some("bearer secret"), false, true),
            (&token, Some("Bearer secre"), false, false),
            (&token, Some("Bearer secrets"), false, false),
            (&token, Some("Basic secret"), false, false),
            (&token, Some("Bearer"), false, false),
            (&token, None, true, false),
            (&either, None, true, true),
            (&either, Some("Bearer secret"), false, true),
            (&certificate, Some("Bearer "), false, false),
            (&certificate, None, true, true),
        ] {
            let given = access.check(&request(authorization, has_certificate)).is_ok();
            assert_eq!(given, expected, "{access:?} {authorization:?} {has_certificate}");
        }
        token.renew("other");
        assert!(token.check(&request(Some("Bearer secret"), false)).is_err());
        assert!(token.check(&request(Some("Bearer other"), false)).is_ok());
        assert!(!format!("{token:?}").contains("other"));
    }
}
