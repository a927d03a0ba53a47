//! What a page is asked for, and what is wrong with that in the door's own terms.

use std::collections::HashSet;

use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path, Query};
use axum::http::StatusCode;
use axum::http::request::Parts;
use fleetgauge_core::printable::Quoted;
use percent_encoding::percent_decode_str;

use crate::door::problem::Problem;

/// The label that says where a row is, and the parameter that says who asks.
pub(super) const NAMESPACE: &str = "namespace";

/// The parameters of a page.
pub(super) struct Params(pub(super) Vec<(String, String)>);

/// The name in a page's path.
pub(super) struct Name(pub(super) String);

/// Of a page that has no parameters.
pub(super) struct NoParams;

// === impl Params ===

impl Params {
    /// Refuses parameters that a page does not have: who misspells one must not be shown everything.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), Problem> {
        match self.0.iter().find(|(name, _)| !known.contains(&&**name)) {
            None => Ok(()),
            Some((unknown, _)) => {
                let known = match known {
                    [] => "none".to_owned(),
                    known => known.join(", "),
                };
                let detail = format!("there is no parameter {}; known: {known}", Quoted(unknown));
                Err(Problem::new(StatusCode::BAD_REQUEST, detail))
            }
        }
    }

    /// Who asks, if that is said.
    ///
    /// *Errors*: nobody is.
    pub(super) fn namespace(&self) -> Result<Option<&str>, Problem> {
        let given = self.0.iter().find(|(name, _)| name == NAMESPACE);
        match given.map(|(_, value)| &**value) {
            Some("") => Err(Problem::new(
                StatusCode::BAD_REQUEST,
                "the namespace is empty; without it, all metrics are shown",
            )),
            namespace => Ok(namespace),
        }
    }

    /// *Errors*: of two values for one parameter neither is the right one.
    pub(super) fn each_once(&self) -> Result<(), Problem> {
        let mut known = HashSet::new();
        match self.0.iter().find(|(name, _)| !known.insert(name)) {
            None => Ok(()),
            Some((twice, _)) => {
                let detail = format!("{} is given more than once", Quoted(twice));
                Err(Problem::new(StatusCode::BAD_REQUEST, detail))
            }
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Params {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let refused = |detail: String| Problem::new(StatusCode::BAD_REQUEST, detail);
        let query = parts.uri.query().unwrap_or_default();
        // Read as it stands, it would be the value of nobody, and what is not his is not shown.
        if percent_decode_str(query).decode_utf8().is_err() || !has_whole_escapes(query) {
            return Err(refused(format!("{} is not percent-encoded UTF-8", Quoted(query))));
        }
        let Query(params): Query<Vec<(String, String)>> =
            Query::try_from_uri(&parts.uri).map_err(|error| refused(error.body_text()))?;
        Ok(Self(params))
    }
}

/// Whether each `%` begins an escape.
fn has_whole_escapes(query: &str) -> bool {
    let mut parts = query.split('%').skip(1);
    parts.all(|part| {
        let digits = part.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}

// === impl Name ===

impl<S: Send + Sync> FromRequestParts<S> for Name {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let name: Result<Path<String>, PathRejection> = Path::from_request_parts(parts, state).await;
        match name {
            Ok(Path(name)) => Ok(Self(name)),
            Err(error) => Err(Problem::new(StatusCode::BAD_REQUEST, error.body_text())),
        }
    }
}

// === impl NoParams ===

impl<S: Sync> FromRequestParts<S> for NoParams {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Params::from_request_parts(parts, state).await?.only(&[])?;
        Ok(Self)
    }
}
