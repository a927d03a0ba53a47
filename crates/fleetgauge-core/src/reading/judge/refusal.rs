//! Why a value is not accepted.

use std::sync::Arc;

use crate::reading::{Reason, ReasonCode};

/// Why a value is not accepted, and whether the last good one is read in its place.
#[derive(Clone)]
pub(super) struct Refusal {
    pub(super) reason: Arc<Reason>,
    pub(super) holds: bool,
}

// === impl Refusal ===

impl Refusal {
    pub(super) fn new(code: ReasonCode, text: impl Into<Box<str>>, holds: bool) -> Self {
        Self {
            reason: reason(code, text),
            holds,
        }
    }
}

pub(super) fn reason(code: ReasonCode, text: impl Into<Box<str>>) -> Arc<Reason> {
    let text = text.into();
    Arc::new(Reason { code, text })
}
