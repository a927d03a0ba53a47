//! The answer that proves that there is nothing, where a query has no data.

use std::collections::HashMap;
use std::sync::Arc;

use super::refusal::{Refusal, reason};
use super::standard::Standard;
use crate::label::Labels;
use crate::policy::OnNoData;
use crate::printable::Quoted;
use crate::reading::found::Found;
use crate::reading::phase::{Basis, Measured};
use crate::reading::set::pairs;
use crate::reading::{Reason, ReasonCode};
use crate::result::AnswerKind;
use crate::time::Moment;

/// The answer that proves what is read where there is no data.
pub(super) struct Proof<'a> {
    pub(super) value: f64,
    pub(super) reason: Arc<Reason>,
    pub(super) unproven: Refusal,
    /// The rows that prove something.
    pub(super) rows: Vec<Labels<'a>>,
    /// Until when they prove it, by their labels.
    pub(super) until: HashMap<Vec<(&'a str, &'a str)>, Moment>,
}

// === impl Proof ===

impl<'a> Proof<'a> {
    /// What the proof proves, or why it proves nothing.
    pub(super) fn of(standard: &Standard<'_>, found: Option<&'a Found>) -> Result<Self, Refusal> {
        let Some(OnNoData::Value { value, when }) = &standard.policy.on_no_data else {
            return Err(Refusal::new(
                ReasonCode::NoData,
                "no number is told for it",
                false,
            ));
        };
        let query = Quoted(when.as_str());
        let unproven = |why: &str| {
            let text = format!("the answer has no such row, and {query} does not prove it: {why}");
            Refusal::new(ReasonCode::Unproven, text, false)
        };
        let (result, had, expires) = match found {
            None => return Err(unproven("it was not asked")),
            Some(Found::Absent { text, .. }) => return Err(unproven(text)),
            Some(Found::Answer {
                result, had, expires, ..
            }) => (result, *had, *expires),
        };
        if standard.now >= expires {
            return Err(unproven("its answer has expired"));
        }
        if result.answer().kind() != AnswerKind::Vector && result.answer().kind() != AnswerKind::Scalar {
            return Err(unproven("its answer has no rows"));
        }
        if !result.is_complete() {
            return Err(unproven("its answer is incomplete"));
        }
        let basis = Arc::new(Basis {
            had,
            collected_at: result.collected_at(),
            completeness: None,
            origin: Arc::default(),
        });
        let (mut rows, mut until) = (Vec::new(), HashMap::new());
        for (row, value) in result.values().enumerate() {
            let measured = Measured {
                value: value.value,
                age: result.age(row),
                branch: None,
                basis: Arc::clone(&basis),
            };
            if let (true, Ok(too_old_at)) = (measured.value.is_finite(), standard.freshness(&measured)) {
                rows.push(value.labels);
                let ends = too_old_at.map_or(expires, |at| at.min(expires));
                let until = until.entry(pairs(value.labels).collect()).or_insert(ends);
                *until = ends.max(*until);
            }
        }
        Ok(Proof {
            value: *value,
            reason: reason(
                ReasonCode::Proven,
                format!("the query has no such row, and {query} has one"),
            ),
            unproven: unproven("it has no such row that is fresh"),
            rows,
            until,
        })
    }
}
