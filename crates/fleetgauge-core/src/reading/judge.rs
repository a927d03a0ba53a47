//! Judges what was found of a query by its metric's policy. Nothing here waits, reads a clock or remembers anything.
//!
//! A row is judged by the first of these that it fails: whether there is an answer, whether its age is known and accepted,
//! whether it is a number, whether the answer is complete. Each judgement is for all of the time to come, and ends where
//! the answer expires.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::found::expired;
use super::phase::{Basis, Measured, Phase, Phases};
use super::set::{Row, SetBuilder, pairs};
use super::{Found, ReadingSet, ReadingSpec, Reason, ReasonCode, Status};
use crate::age::{Age, AgeKind};
use crate::interval::is_shorter;
use crate::label::Labels;
use crate::policy::{OnError, OnIncomplete, OnNoData, OnUndefined, Policy};
use crate::printable::{Printable, Quoted};
use crate::result::{AnswerKind, MetricResult, Origin, Provenance};
use crate::time::Moment;

/// How long a row is known that the answers no longer have.
const VANISHED_FOR: Duration = Duration::from_secs(3_600);

/// How many such rows are known at most.
const MAX_VANISHED: usize = 1_000;

/// The smallest step of monotonic time: what may be as old as a bound is too old just after it.
const JUST_AFTER: Duration = Duration::from_nanos(1);

/// How many warnings of an incomplete answer its reason repeats.
const MAX_WARNINGS: usize = 3;

/// Why a value is not accepted, and whether the last good one is read in its place.
#[derive(Clone)]
struct Refusal {
    reason: Arc<Reason>,
    holds: bool,
}

struct Judge<'a> {
    policy: &'a Policy,
    now: Moment,
    too_old: Refusal,
    /// What is to be done where an age is not known.
    age_advice: &'static str,
}

/// An answer that holds.
struct Answered<'a> {
    result: &'a MetricResult,
    basis: Arc<Basis>,
    expires: Moment,
    /// What comes when it expires.
    expired: Refusal,
    incomplete: Option<Refusal>,
    /// The names of its rows' labels, each list once, where there is a proof to compare them with.
    shapes: HashSet<Vec<&'a str>>,
    proof: Result<Proof<'a>, Refusal>,
}

/// The answer that proves what is read where there is no data.
struct Proof<'a> {
    value: f64,
    reason: Arc<Reason>,
    unproven: Refusal,
    /// The rows that prove something.
    rows: Vec<Labels<'a>>,
    /// Until when they prove it, by their labels.
    until: HashMap<Vec<(&'a str, &'a str)>, Moment>,
}

/// The readings of the metric `spec`, by what was found of its query and of the query that proves its absence; `before` are
/// those that were judged last. They hold from `now` on, until something else is found.
///
/// *Shape*: the rows of the answer, those that it no longer has, and those that are proven.
pub fn judge(
    spec: &Arc<ReadingSpec>,
    found: &Found,
    proof: Option<&Found>,
    before: Option<&ReadingSet>,
    now: Moment,
) -> ReadingSet {
    let judge = Judge::new(&spec.policy, found, now);
    let mut set = SetBuilder::default();
    let (absent, forgotten) = match judge.answered(spec, found, proof) {
        Ok(answered) => judge.rows(&answered, spec, before, &mut set),
        Err(refusal) => {
            for (labels, row) in before.iter().flat_map(|before| before.known()) {
                let phases = judge.refused(now, &refusal, None, None, row.good.as_ref());
                // Each row was there once.
                let _ = set.add(labels, judge.row(phases, row.good.clone(), row.vanished));
            }
            (judge.refused(now, &refusal, None, None, None), 0)
        }
    };
    let mut set = set.build(spec, absent, now);
    set.had = found.had().or(before.and_then(|before| before.had));
    set.forgotten = before.map_or(0, ReadingSet::forgotten).saturating_add(forgotten);
    set
}

// === impl Refusal ===

impl Refusal {
    fn new(code: ReasonCode, text: impl Into<Box<str>>, holds: bool) -> Self {
        Self {
            reason: reason(code, text),
            holds,
        }
    }
}

fn reason(code: ReasonCode, text: impl Into<Box<str>>) -> Arc<Reason> {
    let text = text.into();
    Arc::new(Reason { code, text })
}

// === impl Judge ===

impl<'a> Judge<'a> {
    fn new(policy: &'a Policy, found: &Found, now: Moment) -> Self {
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
        }
    }

    /// The answer that was found, if it holds.
    fn answered(
        &self,
        spec: &ReadingSpec,
        found: &'a Found,
        proof: Option<&'a Found>,
    ) -> Result<Answered<'a>, Refusal> {
        let (result, had, expires, expired) = match found {
            Found::Absent { code, text } => return Err(self.error(*code, text.clone())),
            Found::Answer {
                result,
                had,
                expires,
                last_error,
            } => {
                let expired = self.error(ReasonCode::Expired, expired(last_error.as_deref()));
                (result, *had, *expires, expired)
            }
        };
        if self.now >= expires {
            return Err(expired);
        }
        if !matches!(result.answer().kind(), AnswerKind::Vector | AnswerKind::Scalar) {
            let text = "the answer is a matrix or a string: a reading needs one number a row";
            return Err(self.error(ReasonCode::NotAVector, text));
        }
        let answer = result.answer();
        let basis = Basis {
            had,
            collected_at: result.collected_at(),
            completeness: answer.completeness().cloned(),
            origin: origin(spec, result),
        };
        let proof = self.proof(proof);
        Ok(Answered {
            result,
            basis: Arc::new(basis),
            expires,
            expired,
            incomplete: self.incompleteness(result),
            shapes: match &proof {
                Ok(_) => result.values().map(|value| names(value.labels)).collect(),
                Err(_) => HashSet::new(),
            },
            proof,
        })
    }

    /// Judges each row, and what is read of labels that no row has; counts those that are known no more.
    fn rows<'r>(
        &self,
        answered: &Answered<'r>,
        spec: &ReadingSpec,
        before: Option<&'r ReadingSet>,
        set: &mut SetBuilder<'r>,
    ) -> (Phases, u64) {
        let expiring = |phases: Phases, good: Option<&Measured>| {
            let expired = self.refused(answered.expires, &answered.expired, None, None, good);
            phases.then(answered.expires, expired)
        };
        for (row, value) in answered.result.values().enumerate() {
            let last_good = before.and_then(|before| before.row_of(value.labels)?.good.as_ref());
            let provenance = answered.result.answer().provenance();
            let measured = Measured {
                value: value.value,
                age: answered.result.age(row),
                branch: provenance.and_then(|provenance| provenance.branch(row)),
                basis: Arc::clone(&answered.basis),
            };
            let (phases, good) = self.present(measured, answered, last_good);
            let phases = expiring(phases, good.as_ref());
            if let Err(twin) = set.add(value.labels, self.row(phases, good, None)) {
                let text = "several rows of the answer have these labels, the metric's name aside";
                let refusal = self.error(ReasonCode::Ambiguous, text);
                // Neither of them is the last good one.
                let last_good = last_good.cloned();
                let phases = self.refused(
                    self.now,
                    &refusal,
                    None,
                    Some(&answered.basis),
                    last_good.as_ref(),
                );
                *twin = self.row(expiring(phases, last_good.as_ref()), last_good, None);
            }
        }
        let forgotten = self.vanished(answered, spec, before, set, &expiring);
        self.proven(answered, spec, set, &expiring);
        let (absent, _) = self.lacking(None, answered, spec, None);
        (expiring(absent, None), forgotten)
    }

    /// Adds the rows that the answer no longer has, but for those that it has not had for long.
    fn vanished<'r>(
        &self,
        answered: &Answered<'r>,
        spec: &ReadingSpec,
        before: Option<&'r ReadingSet>,
        set: &mut SetBuilder<'r>,
        expiring: &impl Fn(Phases, Option<&Measured>) -> Phases,
    ) -> u64 {
        let known = before.iter().flat_map(|before| before.known());
        let mut vanished: Vec<_> = known
            .filter(|(labels, _)| !set.has(*labels))
            .map(|(labels, row)| (row.vanished.unwrap_or(self.now), labels, row))
            .collect();
        let all = vanished.len();
        vanished.retain(|(since, _, _)| self.now.saturating_since(*since) < VANISHED_FOR);
        vanished.sort_by_key(|(since, _, _)| std::cmp::Reverse(*since));
        vanished.truncate(MAX_VANISHED);
        for &(since, labels, row) in &vanished {
            let (phases, good) = self.lacking(Some(labels), answered, spec, row.good.as_ref());
            let phases = expiring(phases, good.as_ref());
            // It was not there a moment ago.
            let _ = set.add(labels, self.row(phases, good, Some(since)));
        }
        (all - vanished.len()) as u64
    }

    /// Adds the rows that only the proof has.
    fn proven<'r>(
        &self,
        answered: &Answered<'r>,
        spec: &ReadingSpec,
        set: &mut SetBuilder<'r>,
        expiring: &impl Fn(Phases, Option<&Measured>) -> Phases,
    ) {
        let (None, Ok(proof)) = (&answered.incomplete, &answered.proof) else {
            return;
        };
        for &labels in &proof.rows {
            if set.has(labels) || !answered.may_have(labels) {
                continue;
            }
            let (phases, good) = self.lacking(Some(labels), answered, spec, None);
            let phases = expiring(phases, good.as_ref());
            // It was not there a moment ago.
            let _ = set.add(labels, self.row(phases, good, None));
        }
    }

    /// What is read of a row that the answer has, until the answer expires, and the last good value from now on.
    fn present(
        &self,
        measured: Measured,
        answered: &Answered<'_>,
        last_good: Option<&Measured>,
    ) -> (Phases, Option<Measured>) {
        let basis = Some(&answered.basis);
        let kept = last_good.cloned();
        let too_old_at = match self.freshness(&measured) {
            Ok(too_old_at) => too_old_at,
            Err(refusal) => {
                let phases = self.refused(self.now, &refusal, Some(&measured), basis, last_good);
                return (phases, kept);
            }
        };
        let until_too_old = |phases: Phases, good: Option<&Measured>| match too_old_at {
            Some(at) => phases.then(at, self.refused(at, &self.too_old, Some(&measured), basis, good)),
            None => phases,
        };
        if !measured.value.is_finite() {
            let text = format!("the number is {}", measured.value);
            let holds = self.policy.on_undefined == Some(OnUndefined::Hold);
            let refusal = Refusal::new(ReasonCode::Undefined, text, holds);
            let phases = self.refused(self.now, &refusal, Some(&measured), basis, last_good);
            return (until_too_old(phases, last_good), kept);
        }
        let Some(incomplete) = &answered.incomplete else {
            let phases = Phases::of(Phase {
                until: None,
                status: Status::Value,
                basis: Some(Arc::clone(&measured.basis)),
                measured: Some(measured.clone()),
                held_since: None,
                reason: None,
            });
            return (until_too_old(phases, Some(&measured)), Some(measured));
        };
        let phases = match (self.policy.on_incomplete, last_good) {
            // A part of a sum of what may be negative is no lower bound of it.
            (Some(OnIncomplete::AtLeast), Some(last)) if measured.value >= 0.0 && last.value >= 0.0 => {
                let larger = if measured.value >= last.value {
                    &measured
                } else {
                    last
                };
                self.held(self.now, &incomplete.reason, Some(&measured), basis, last, larger)
            }
            (Some(OnIncomplete::AtLeast), _) => {
                let refusal = Refusal {
                    holds: false,
                    ..incomplete.clone()
                };
                self.refused(self.now, &refusal, Some(&measured), basis, last_good)
            }
            _ => self.refused(self.now, incomplete, Some(&measured), basis, last_good),
        };
        (until_too_old(phases, last_good), kept)
    }

    /// What is read of a row that the answer does not have, until the answer expires, and the last good value from now on.
    fn lacking(
        &self,
        labels: Option<Labels<'_>>,
        answered: &Answered<'_>,
        spec: &ReadingSpec,
        last_good: Option<&Measured>,
    ) -> (Phases, Option<Measured>) {
        let basis = Some(&answered.basis);
        let refused = |refusal: &Refusal| {
            let phases = self.refused(self.now, refusal, None, basis, last_good);
            (phases, last_good.cloned())
        };
        if let Some(incomplete) = &answered.incomplete {
            return refused(incomplete);
        }
        let completeness = answered.basis.completeness.as_deref();
        let has_no_replicas =
            completeness.is_some_and(|c| c.expected() == Some(0) && c.starting().count() == 0);
        if spec.is_over_pods_alone && has_no_replicas {
            let reason = reason(
                ReasonCode::NoReplicas,
                "there are no replicas, and none is starting",
            );
            return (self.stated(0.0, reason, answered), None);
        }
        let no_data = |holds| {
            let text = match answered.result.is_no_data() {
                true => "the query has no data",
                false => "the answer has no row with these labels",
            };
            Refusal::new(ReasonCode::NoData, text, holds)
        };
        match &self.policy.on_no_data {
            None | Some(OnNoData::Fail) => refused(&no_data(false)),
            Some(OnNoData::Hold) => refused(&no_data(true)),
            Some(OnNoData::Value { .. }) => {
                let proof = match &answered.proof {
                    Ok(proof) => proof,
                    Err(unproven) => return refused(unproven),
                };
                let labels = labels.filter(|labels| answered.may_have(*labels));
                let until = labels.and_then(|labels| proof.until.get(&*pairs(labels).collect::<Vec<_>>()));
                match until {
                    None => refused(&proof.unproven),
                    Some(&until) => {
                        let stated = self.stated(proof.value, Arc::clone(&proof.reason), answered);
                        let unproven = self.refused(until, &proof.unproven, None, basis, None);
                        (stated.then(until, unproven), None)
                    }
                }
            }
        }
    }

    /// A number that is read though the query has none. It is as old as the answer that has none, and is never held: what
    /// it stands on may be gone.
    fn stated(&self, value: f64, reason: Arc<Reason>, answered: &Answered<'_>) -> Phases {
        let basis = &answered.basis;
        let measured = Measured {
            value,
            age: Age::AGELESS,
            branch: None,
            basis: Arc::clone(basis),
        };
        let stated = Phases::of(Phase {
            until: None,
            status: Status::Value,
            measured: Some(measured),
            basis: Some(Arc::clone(basis)),
            held_since: None,
            reason: Some(reason),
        });
        match self.policy.max_age {
            None => stated,
            Some(max_age) => {
                let at = basis.had.saturating_add(max_age).saturating_add(JUST_AFTER);
                stated.then(at, self.refused(at, &self.too_old, None, Some(basis), None))
            }
        }
    }

    /// What is read from `from` on in place of what is refused: the last good value for as long as it may be held, if it
    /// may, and nothing then.
    fn refused(
        &self,
        from: Moment,
        refusal: &Refusal,
        refused: Option<&Measured>,
        basis: Option<&Arc<Basis>>,
        good: Option<&Measured>,
    ) -> Phases {
        match good {
            Some(good) if refusal.holds => self.held(from, &refusal.reason, refused, basis, good, good),
            _ => withheld(&refusal.reason, refused, basis),
        }
    }

    /// `shown` from `from` on, for as long as `good` may be held, and nothing then.
    fn held(
        &self,
        from: Moment,
        reason: &Arc<Reason>,
        refused: Option<&Measured>,
        basis: Option<&Arc<Basis>>,
        good: &Measured,
        shown: &Measured,
    ) -> Phases {
        let withheld = withheld(reason, refused, basis);
        match self.held_until(good) {
            Some(until) if until > from => {
                let held = Phases::of(Phase {
                    until: None,
                    status: Status::Held,
                    measured: Some(shown.clone()),
                    basis: Some(Arc::clone(&shown.basis)),
                    held_since: Some(good.sampled_at()),
                    reason: Some(Arc::clone(reason)),
                });
                held.then(until, withheld)
            }
            _ => withheld,
        }
    }

    /// Until when a good value may be held, if it may be at all.
    fn held_until(&self, good: &Measured) -> Option<Moment> {
        let left = self.policy.hold?.checked_sub(good.age_to_hold())?;
        Some(good.basis.had.saturating_add(left).saturating_add(JUST_AFTER))
    }

    fn row(&self, phases: Phases, good: Option<Measured>, vanished: Option<Moment>) -> Row {
        // What cannot be held any more is no longer needed, nor are the names and texts that it holds.
        let good = good.filter(|good| self.held_until(good).is_some_and(|until| until > self.now));
        Row {
            phases,
            good,
            vanished,
        }
    }

    /// When the value will be too old, if ever.
    fn freshness(&self, measured: &Measured) -> Result<Option<Moment>, Refusal> {
        let age = measured.age;
        if age.is_ended() {
            let text = "a series that it is computed from has stopped";
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
                let at = left.map(|left| measured.basis.had.saturating_add(left).saturating_add(JUST_AFTER));
                match at {
                    Some(at) if at > self.now => Ok(Some(at)),
                    _ => Err(self.too_old.clone()),
                }
            }
        }
    }

    /// What counts as an error; but an answer that has no value because something is missing counts as incomplete. What is
    /// known of a question that is another one now, or none, is not held.
    fn error(&self, code: ReasonCode, text: impl Into<Box<str>>) -> Refusal {
        let holds = match code {
            ReasonCode::Replaced | ReasonCode::Invalid => false,
            ReasonCode::Incomplete => self.holds_incomplete(),
            _ => self.policy.on_error == Some(OnError::Hold),
        };
        Refusal::new(code, text, holds)
    }

    fn holds_incomplete(&self) -> bool {
        self.policy.on_incomplete.unwrap_or_default() != OnIncomplete::Fail
    }

    /// Why the answer counts as incomplete, if it does.
    fn incompleteness(&self, result: &MetricResult) -> Option<Refusal> {
        let answer = result.answer();
        let holds = self.holds_incomplete();
        let incomplete = |text| Some(Refusal::new(ReasonCode::Incomplete, text, holds));
        if answer.has_uncounted_loss() {
            let warnings = answer.warnings().take(MAX_WARNINGS);
            let warnings: Vec<_> = warnings.map(|warning| Printable(warning).to_string()).collect();
            let more = answer.warnings().len().saturating_sub(MAX_WARNINGS);
            let more = if more > 0 {
                format!("; and {more} more")
            } else {
                String::new()
            };
            return incomplete(format!("something is missing: {}{more}", warnings.join("; ")));
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

    /// What the proof proves, or why it proves nothing.
    fn proof(&self, found: Option<&'a Found>) -> Result<Proof<'a>, Refusal> {
        let Some(OnNoData::Value { value, when }) = &self.policy.on_no_data else {
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
        if self.now >= expires {
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
            if let (true, Ok(too_old_at)) = (measured.value.is_finite(), self.freshness(&measured)) {
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

// === impl Answered ===

impl Answered<'_> {
    /// Whether it could have a row with these labels: one with others' names would be a row of another question.
    fn may_have(&self, labels: Labels<'_>) -> bool {
        self.shapes.is_empty() || self.shapes.contains(&names(labels))
    }
}

fn names<'l>(labels: Labels<'l>) -> Vec<&'l str> {
    pairs(labels).map(|(name, _)| name).collect()
}

fn withheld(reason: &Arc<Reason>, refused: Option<&Measured>, basis: Option<&Arc<Basis>>) -> Phases {
    Phases::of(Phase {
        until: None,
        status: Status::Withheld,
        measured: refused.cloned(),
        basis: basis.cloned(),
        held_since: None,
        reason: Some(Arc::clone(reason)),
    })
}

/// What the answer tells of where it comes from, and else what is known of its metric.
fn origin(spec: &ReadingSpec, result: &MetricResult) -> Arc<Origin> {
    let answer = result.answer();
    let told = answer.provenance().and_then(|provenance| provenance.origin());
    match told {
        Some(told) if answer.warnings().len() == 0 && (!told.source.is_empty() || spec.source.is_empty()) => {
            Arc::clone(told)
        }
        told => {
            let mut origin = match told {
                Some(told) => (**told).clone(),
                None => Origin::new(&spec.source, result.query().as_str()),
            };
            // A source does not know by which name it is registered.
            if origin.source.is_empty() {
                origin.source = spec.source.clone();
            }
            let warnings: Vec<_> = origin
                .warnings
                .iter()
                .map(|w| &**w)
                .chain(answer.warnings())
                .collect();
            Arc::new(origin.clone().with_warnings(warnings))
        }
    }
}
