//! What a policy accepts: how old, how complete, and what counts as an error.

use std::time::Duration;

use super::refusal::Refusal;
use crate::age::AgeKind;
use crate::interval::is_shorter;
use crate::policy::{OnError, OnIncomplete, Policy};
use crate::printable::Printable;
use crate::reading::ReasonCode;
use crate::reading::found::Found;
use crate::reading::phase::Measured;
use crate::result::{Answer, Ended, MetricResult, Provenance};
use crate::time::Moment;

/// The smallest step of monotonic time: what may be as old as a bound is too old just after it.
const JUST_AFTER: Duration = Duration::from_nanos(1);

/// How many warnings of an answer a reason repeats.
const MAX_WARNINGS: usize = 3;

/// A policy, as of now, for one answer.
pub(super) struct Standard<'a> {
    pub(super) policy: &'a Policy,
    pub(super) now: Moment,
    /// For what becomes older than `max_age`.
    pub(super) too_old: Refusal,
    /// What is to be done where an age is not known.
    age_advice: &'static str,
    /// Which series have ended.
    ended: Option<&'a Ended>,
}

// === impl Standard ===

impl<'a> Standard<'a> {
    pub(super) fn new(policy: &'a Policy, found: &'a Found, now: Moment) -> Self {
        let max_age = policy.max_age.unwrap_or_default();
        let provenance = match found {
            Found::Answer { result, .. } => result.answer().provenance(),
            Found::Absent { .. } => None,
        };
        let interval = provenance.and_then(Provenance::sample_interval);
        let mut text = format!("it is older than max_age, {max_age:?}");
        if let Some(interval) = interval.filter(|interval| is_shorter(max_age, *interval)) {
            let twice = (interval * 2).as_secs_f64().ceil();
            text += &format!(
                "; samples are about {interval:.0?} apart, so it can hardly ever be younger: set max_age to {twice}s or \
                 more"
            );
        }
        let age_advice = match provenance.is_some_and(Provenance::has_ages) {
            true => "the warnings of its answer say why",
            false => "let its source ask for ages, which a Prometheus is asked for by `companions: ages`",
        };
        let holds = policy.on_error == Some(OnError::Hold);
        Self {
            policy,
            now,
            too_old: Refusal::new(ReasonCode::TooOld, text, holds),
            age_advice,
            ended: provenance.and_then(Provenance::ended),
        }
    }

    /// The moment from which on what was had at `had`, and may be `left` older than it was then, is too old.
    pub(super) fn end(had: Moment, left: Duration) -> Moment {
        had.saturating_add(left).saturating_add(JUST_AFTER)
    }

    /// Until when a good value may be held, if it may be at all.
    pub(super) fn held_until(&self, good: &Measured) -> Option<Moment> {
        let left = self.policy.hold?.checked_sub(good.age_to_hold())?;
        Some(Self::end(good.basis.had, left))
    }

    /// When the value will be too old, if ever.
    pub(super) fn freshness(&self, measured: &Measured) -> Result<Option<Moment>, Refusal> {
        let age = measured.age;
        if age.is_ended() {
            let mut text = "a series that it is computed from has stopped".to_owned();
            if let Some(ended) = self.ended {
                text += &format!(": {ended}");
            }
            return Err(self.error(ReasonCode::Ended, text));
        }
        let Some(max_age) = self.policy.max_age else {
            return Ok(None);
        };
        match (age.kind(), age.duration()) {
            (AgeKind::Ageless, _) => Ok(None),
            (_, None) => {
                let advice = self.age_advice;
                let text = format!("its age is not known, and max_age is {max_age:?}: {advice}");
                Err(self.error(ReasonCode::AgeUnknown, text))
            }
            (_, Some(age)) => {
                let left = max_age.checked_sub(age);
                let at = left.map(|left| Self::end(measured.basis.had, left));
                match at {
                    Some(at) if at > self.now => Ok(Some(at)),
                    _ => Err(self.too_old.clone()),
                }
            }
        }
    }

    /// What counts as an error; but an answer that has no value because something is missing counts as incomplete. What is
    /// known of a question that is another one now, or none, is not held.
    pub(super) fn error(&self, code: ReasonCode, text: impl Into<Box<str>>) -> Refusal {
        let holds = match code {
            ReasonCode::Replaced | ReasonCode::Invalid => false,
            ReasonCode::Incomplete => self.holds_incomplete(),
            _ => self.policy.on_error == Some(OnError::Hold),
        };
        Refusal::new(code, text, holds)
    }

    pub(super) fn holds_incomplete(&self) -> bool {
        self.policy.on_incomplete.unwrap_or_default() != OnIncomplete::Fail
    }

    /// Why the answer counts as incomplete, if it does.
    pub(super) fn incompleteness(&self, result: &MetricResult) -> Option<Refusal> {
        let answer = result.answer();
        let holds = self.holds_incomplete();
        let incomplete = |text| Some(Refusal::new(ReasonCode::Incomplete, text, holds));
        if answer.has_uncounted_loss() {
            let warnings = warnings(answer).unwrap_or_default();
            return incomplete(format!("something is missing: {warnings}"));
        }
        let completeness = answer.completeness();
        match (self.policy.min_completeness, completeness) {
            (None, Some(completeness)) if !completeness.is_whole() => incomplete(completeness.to_string()),
            (None, _) => None,
            (Some(min), completeness) => match completeness.map(|c| (c, c.ratio())) {
                Some((_, Some(ratio))) if ratio >= min => None,
                Some((completeness, Some(_))) => {
                    incomplete(format!("{completeness}; min_completeness is {min}"))
                }
                _ => {
                    let text =
                        format!("how complete the answer is, is not known, and min_completeness is {min}");
                    Some(Refusal::new(ReasonCode::CompletenessUnknown, text, holds))
                }
            },
        }
    }
}

/// What an answer warns of, if it does.
pub(super) fn warnings(answer: &Answer) -> Option<String> {
    let some = answer.warnings().take(MAX_WARNINGS);
    let some: Vec<_> = some.map(|warning| Printable(warning).to_string()).collect();
    let more = match answer.warnings().len().saturating_sub(MAX_WARNINGS) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    (!some.is_empty()).then(|| format!("{}{more}", some.join("; ")))
}
