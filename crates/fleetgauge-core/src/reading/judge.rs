//! Judges what was found of a query by its metric's policy. Nothing here waits, reads a clock or remembers anything.
//!
//! A row is judged by the first of these that it fails: whether there is an answer, whether its age is known and accepted,
//! whether it is a number, whether the answer is complete. Each judgement is for all of the time to come, and ends where
//! the answer expires.

mod proof;
mod refusal;
mod standard;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use fleetgauge_syntax::rewrite;

use super::found::expired;
use super::phase::{Basis, Measured, Phase, Phases};
use super::set::{Row, SetBuilder, pairs};
use super::{Found, ReadingSet, ReadingSpec, Reason, ReasonCode, Status};
use crate::age::{Age, AgeKind};
use crate::completeness::Completeness;
use crate::label::Labels;
use crate::policy::{OnIncomplete, OnNoData, OnUndefined};
use crate::result::{Answer, AnswerKind, MetricResult, Origin, Provenance};
use crate::time::Moment;
use proof::Proof;
use refusal::{Refusal, reason};
use standard::Standard;

/// How long a row is known that the answers no longer have.
const VANISHED_FOR: Duration = Duration::from_secs(3_600);

/// How many such rows are known at most.
const MAX_VANISHED: usize = 1_000;

struct Judge<'a> {
    standard: Standard<'a>,
    /// Whether the row with these labels is of one who is known to be no more.
    is_gone: &'a dyn Fn(Labels<'_>) -> bool,
}

/// An answer that holds.
struct Answered<'a> {
    result: &'a MetricResult,
    basis: Arc<Basis>,
    expires: Moment,
    /// What comes when it expires.
    expired: Refusal,
    incomplete: Option<Refusal>,
    /// Whether a row on no sample is what the query gives where it finds nothing.
    may_be_constant: bool,
    /// The names of its rows' labels, each list once, where there is a proof to compare them with.
    shapes: HashSet<Vec<&'a str>>,
    proof: Result<Proof<'a>, Refusal>,
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
    judge_but_gone(spec, found, proof, before, now, &|_| false)
}

/// As [`judge`], without the rows of those that `is_gone` knows to be no more: one that the answer no longer has, or of which it
/// has only the past, is no row any more.
pub(super) fn judge_but_gone(
    spec: &Arc<ReadingSpec>,
    found: &Found,
    proof: Option<&Found>,
    before: Option<&ReadingSet>,
    now: Moment,
    is_gone: &dyn Fn(Labels<'_>) -> bool,
) -> ReadingSet {
    let judge = Judge {
        standard: Standard::new(&spec.policy, found, now),
        is_gone,
    };
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

// === impl Judge ===

impl<'a> Judge<'a> {
    /// The answer that was found, if it holds.
    fn answered(
        &self,
        spec: &ReadingSpec,
        found: &'a Found,
        proof: Option<&'a Found>,
    ) -> Result<Answered<'a>, Refusal> {
        let (result, had, expires, expired) = match found {
            Found::Absent { code, text } => return Err(self.standard.error(*code, text.clone())),
            Found::Answer {
                result,
                had,
                expires,
                last_error,
            } => {
                let expired = self
                    .standard
                    .error(ReasonCode::Expired, expired(last_error.as_deref()));
                (result, *had, *expires, expired)
            }
        };
        if self.standard.now >= expires {
            return Err(expired);
        }
        if !matches!(result.answer().kind(), AnswerKind::Vector | AnswerKind::Scalar) {
            let text = "the answer is a matrix or a string: a reading needs one number a row";
            return Err(self.standard.error(ReasonCode::NotAVector, text));
        }
        let answer = result.answer();
        if let Some(error) = answer.not_a_number() {
            return Err(self.standard.error(ReasonCode::NotAVector, error.to_string()));
        }
        let basis = Basis {
            had,
            collected_at: result.collected_at(),
            completeness: answer.completeness().cloned(),
            origin: origin(spec, result),
        };
        let proof = Proof::of(&self.standard, proof);
        Ok(Answered {
            result,
            basis: Arc::new(basis),
            expires,
            expired,
            incomplete: self.standard.incompleteness(result),
            may_be_constant: may_be_constant(answer),
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
            // What is still shown of one that is gone is its past.
            if answered.result.age(row).is_ended() && (self.is_gone)(value.labels) {
                continue;
            }
            let last_good = before.and_then(|before| before.row_of(value.labels)?.good.as_ref());
            let provenance = answered.result.answer().provenance();
            let measured = Measured {
                value: value.value,
                age: answered.result.age(row),
                branch: provenance.and_then(|provenance| provenance.branch(row)),
                basis: Arc::clone(&answered.basis),
            };
            let is_constant = answered.may_be_constant && measured.age.kind() == AgeKind::Ageless;
            let (phases, good) = match is_constant && answered.is_of_nobody() {
                true => self.lacking(Some(value.labels), answered, spec, last_good),
                false => self.present(measured, answered, last_good),
            };
            let phases = expiring(phases, good.as_ref());
            if let Err(twin) = set.add(value.labels, self.row(phases, good, None)) {
                let text = "several rows of the answer have these labels, the metric's name aside";
                let refusal = self.standard.error(ReasonCode::Ambiguous, text);
                // Neither of them is the last good one.
                let last_good = last_good.cloned();
                let phases = self.refused(
                    self.standard.now,
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

    /// Adds the rows that the answer no longer has, but for those that it has not had for long, or of those that are no more.
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
            .filter(|(labels, _)| !set.has(*labels) && !(self.is_gone)(*labels))
            .map(|(labels, row)| (row.vanished.unwrap_or(self.standard.now), labels, row))
            .collect();
        let all = vanished.len();
        vanished.retain(|(since, _, _)| self.standard.now.saturating_since(*since) < VANISHED_FOR);
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
            if set.has(labels) || !answered.may_have(labels) || (self.is_gone)(labels) {
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
        let too_old_at = match self.standard.freshness(&measured) {
            Ok(too_old_at) => too_old_at,
            Err(refusal) => {
                let phases = self.refused(self.standard.now, &refusal, Some(&measured), basis, last_good);
                return (phases, kept);
            }
        };
        let until_too_old = |phases: Phases, good: Option<&Measured>| match too_old_at {
            Some(at) => phases.then(
                at,
                self.refused(at, &self.standard.too_old, Some(&measured), basis, good),
            ),
            None => phases,
        };
        if !measured.value.is_finite() {
            let text = format!("the number is {}", measured.value);
            let holds = self.standard.policy.on_undefined == Some(OnUndefined::Hold);
            let refusal = Refusal::new(ReasonCode::Undefined, text, holds);
            let phases = self.refused(self.standard.now, &refusal, Some(&measured), basis, last_good);
            return (until_too_old(phases, last_good), kept);
        }
        let Some(incomplete) = &answered.incomplete else {
            let is_constant = answered.may_be_constant && measured.age.kind() == AgeKind::Ageless;
            let constant = "no sample contributes to it: it is what the query gives where it finds nothing";
            let phases = Phases::of(Phase {
                until: None,
                status: Status::Value,
                basis: Some(Arc::clone(&measured.basis)),
                measured: Some(measured.clone()),
                held_since: None,
                reason: is_constant.then(|| reason(ReasonCode::Constant, constant)),
            });
            return (until_too_old(phases, Some(&measured)), Some(measured));
        };
        let phases = match (self.standard.policy.on_incomplete, last_good) {
            // A part of a sum of what may be negative is no lower bound of it.
            (Some(OnIncomplete::AtLeast), Some(last)) if measured.value >= 0.0 && last.value >= 0.0 => {
                let larger = if measured.value >= last.value {
                    &measured
                } else {
                    last
                };
                self.held(
                    self.standard.now,
                    &incomplete.reason,
                    Some(&measured),
                    basis,
                    last,
                    larger,
                )
            }
            (Some(OnIncomplete::AtLeast), _) => {
                let refusal = Refusal {
                    holds: false,
                    ..incomplete.clone()
                };
                self.refused(self.standard.now, &refusal, Some(&measured), basis, last_good)
            }
            _ => self.refused(self.standard.now, incomplete, Some(&measured), basis, last_good),
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
            let phases = self.refused(self.standard.now, refusal, None, basis, last_good);
            (phases, last_good.cloned())
        };
        if let Some(incomplete) = &answered.incomplete {
            return refused(incomplete);
        }
        let completeness = answered.basis.completeness.as_deref();
        let has_no_replicas = completeness.is_some_and(Completeness::is_of_nobody);
        if spec.is_over_pods_alone && has_no_replicas {
            let reason = reason(
                ReasonCode::NoReplicas,
                "there are no replicas, and none is starting",
            );
            return (self.stated(0.0, reason, answered), None);
        }
        let no_data = |holds| {
            let text = match answered.result.is_no_data() {
                false if answered.may_be_constant && answered.is_of_nobody() => {
                    "nobody is there who could have reported, and what the query gives where it finds nothing is no measurement"
                        .to_owned()
                }
                true => match standard::warnings(answered.result.answer()) {
                    None => "the query has no data".to_owned(),
                    Some(warnings) => format!("the query has no data: {warnings}"),
                },
                false => "the answer has no row with these labels".to_owned(),
            };
            Refusal::new(ReasonCode::NoData, text, holds)
        };
        match &self.standard.policy.on_no_data {
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
        match self.standard.policy.max_age {
            None => stated,
            Some(max_age) => {
                let at = Standard::end(basis.had, max_age);
                stated.then(
                    at,
                    self.refused(at, &self.standard.too_old, None, Some(basis), None),
                )
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
        match self.standard.held_until(good) {
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

    fn row(&self, phases: Phases, good: Option<Measured>, vanished: Option<Moment>) -> Row {
        // What cannot be held any more is no longer needed, nor are the names and texts that it holds.
        let good = good.filter(|good| {
            self.standard
                .held_until(good)
                .is_some_and(|until| until > self.standard.now)
        });
        Row {
            phases,
            good,
            vanished,
        }
    }
}

// === impl Answered ===

impl Answered<'_> {
    /// Whether nobody is expected to report.
    fn is_of_nobody(&self) -> bool {
        let completeness = self.basis.completeness.as_deref();
        completeness.is_some_and(|known| known.expected() == Some(0))
    }

    /// Whether it could have a row with these labels: one with others' names would be a row of another question.
    fn may_have(&self, labels: Labels<'_>) -> bool {
        self.shapes.is_empty() || self.shapes.contains(&names(labels))
    }
}

/// Whether a row of `answer` may stand on no sample, though the query reads some.
fn may_be_constant(answer: &Answer) -> bool {
    let is_ageless =
        |told: &Provenance| (0..answer.series().len()).any(|row| told.age(row).kind() == AgeKind::Ageless);
    let told = answer.provenance().filter(|told| is_ageless(told));
    let text = told.and_then(Provenance::origin).map(|origin| &origin.text);
    let query = text.and_then(|text| fleetgauge_syntax::parse(text).ok());
    query.is_some_and(|query| rewrite::may_be_constant(&query))
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
