//! The parameters of pages.

use axum::http::StatusCode;
use fleetgauge_core::printable::Quoted;

use crate::door::problem::Problem;

/// Refuses parameters that a page does not have: who misspells one must not be shown everything.
pub(super) fn only(params: &[(String, String)], known: &[&str]) -> Result<(), Problem> {
    match params.iter().find(|(name, _)| !known.contains(&&**name)) {
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
