//! Whatever is answered, fails, is waited for: no value that the policy does not accept, and none held for too long.

use proptest::prelude::*;

use super::*;
use crate::age::AgeKind;
use crate::time::Moment;

#[derive(Clone, Debug)]
enum Op {
    Answer(Shown),
    Proof(Shown),
    Fails,
    Wait(u64),
    SetWall(i64),
}

/// An answer whose values are numbered when it is given, so that each tells where it is from.
#[derive(Clone, Debug)]
struct Shown {
    /// Of the pods a and b: the age, and whether the value is undefined.
    rows: Vec<Option<(Age, bool)>>,
    completeness: Option<(u64, u64, u64)>,
    has_loss: bool,
    ttl: u64,
}

/// A value that was once answered.
#[derive(Clone)]
struct Known {
    pod: usize,
    age: Age,
    had: Moment,
    shown: Shown,
}

const PODS: [&str; 2] = ["a", "b"];

fn any_age() -> impl Strategy<Value = Age> {
    let known = (0u64..60, 0..3).prop_map(|(s, kind)| match kind {
        0 => exact(s),
        1 => Age::at_most(seconds(s)),
        _ => Age::at_least(seconds(s)),
    });
    prop_oneof![
        8 => known.clone(),
        1 => known.prop_map(Age::with_ended),
        1 => Just(Age::UNKNOWN),
        1 => Just(Age::AGELESS),
    ]
}

fn any_shown() -> impl Strategy<Value = Shown> {
    let row = prop::option::weighted(0.7, (any_age(), prop::bool::weighted(0.1)));
    let completeness = prop::option::weighted(0.8, (0u64..4, 0u64..3, 0u64..2));
    (
        prop::collection::vec(row, 2),
        completeness,
        prop::bool::weighted(0.1),
        1u64..200,
    )
        .prop_map(|(rows, completeness, has_loss, ttl)| Shown {
            rows,
            completeness,
            has_loss,
            ttl,
        })
}

fn any_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => any_shown().prop_map(Op::Answer),
        2 => any_shown().prop_map(Op::Proof),
        1 => Just(Op::Fails),
        4 => (0u64..60_000).prop_map(Op::Wait),
        1 => (-1_000_000i64..1_000_000).prop_map(Op::SetWall),
    ]
}

fn any_policy() -> impl Strategy<Value = Policy> {
    let when = OnNoData::Value {
        value: 0.0,
        when: "ready".parse().unwrap(),
    };
    (
        prop::option::of(1u64..90),
        prop::option::of(prop::sample::select(vec![0.0, 0.5, 0.9, 1.0])),
        prop::sample::select(vec![
            OnIncomplete::Fail,
            OnIncomplete::Hold,
            OnIncomplete::AtLeast,
        ]),
        prop::sample::select(vec![OnError::Fail, OnError::Hold]),
        prop::sample::select(vec![OnNoData::Fail, OnNoData::Hold, when]),
        prop::sample::select(vec![OnUndefined::Fail, OnUndefined::Hold]),
        1u64..200,
    )
        .prop_map(
            |(max_age, min_completeness, incomplete, error, no_data, undefined, hold)| Policy {
                max_age: max_age.map(seconds),
                min_completeness,
                on_incomplete: Some(incomplete),
                on_error: Some(error),
                on_no_data: Some(no_data),
                on_undefined: Some(undefined),
                hold: Some(seconds(hold)),
            },
        )
}

impl Shown {
    /// The answer with the next numbers as its values, which are noted.
    fn given(&self, had: Moment, known: &mut Vec<Known>) -> Given {
        let mut rows = Vec::new();
        for (pod, row) in self.rows.iter().enumerate() {
            if let &Some((age, is_undefined)) = row {
                let value = if is_undefined {
                    f64::NAN
                } else {
                    known.len() as f64 + 1.0
                };
                rows.push((PODS[pod], value, age));
                let shown = self.clone();
                known.push(Known { pod, age, had, shown });
            }
        }
        Given {
            rows,
            completeness: self.completeness,
            has_loss: self.has_loss,
            ttl: seconds(self.ttl),
            ..given([])
        }
    }

    fn is_accepted(&self, policy: &Policy) -> bool {
        let ratio = self
            .completeness
            .map(|(reported, missing, _)| match reported + missing {
                0 => 1.0,
                expected => reported as f64 / expected as f64,
            });
        let is_enough = match policy.min_completeness {
            Some(min) => ratio.is_some_and(|ratio| ratio >= min),
            None => self.completeness.is_none_or(|(_, missing, _)| missing == 0),
        };
        is_enough && !self.has_loss
    }
}

impl Known {
    fn age_at(&self, now: Moment) -> Duration {
        self.age.duration().unwrap_or_default() + now.saturating_since(self.had)
    }

    fn is_fresh(&self, policy: &Policy, now: Moment) -> bool {
        let is_young = match (policy.max_age, self.age.kind()) {
            (None, _) | (_, AgeKind::Ageless) => true,
            (Some(_), AgeKind::Unknown) => false,
            (Some(max_age), _) => self.age_at(now) <= max_age,
        };
        let holds = now.saturating_since(self.had) < seconds(self.shown.ttl);
        is_young && holds && !self.age.is_ended()
    }

    fn may_be_held(&self, policy: &Policy, now: Moment) -> bool {
        policy.hold.is_some_and(|hold| self.age_at(now) <= hold) && self.shown.is_accepted(policy)
    }
}

/// What the last of the answers or proofs was.
type Last = Option<(Shown, Moment)>;

fn check(metric: &Metric, known: &[Known], answer: &Last, proof: &Last) -> Result<(), TestCaseError> {
    let policy = &metric.readings.spec().policy.clone();
    let now = metric.clock.now();
    let mut reader = metric.readings.reader();
    for (pod, name) in PODS.iter().enumerate() {
        let reading = reader.get(&[("pod", *name)]);
        let Some(value) = reading.value() else {
            prop_assert!(reading.status() == Status::Withheld && reading.reason().is_some());
            continue;
        };
        let code = reading.reason().map(|reason| reason.code);
        if code == Some(ReasonCode::Proven) {
            prop_assert_eq!((reading.status(), value), (Status::Value, 0.0));
            let (answer, had) = answer.as_ref().unwrap();
            prop_assert!(answer.rows[pod].is_none() && answer.is_accepted(policy));
            prop_assert!(
                policy
                    .max_age
                    .is_none_or(|max_age| now.saturating_since(*had) <= max_age)
            );
            let (shown, had) = proof.clone().unwrap();
            let (age, is_undefined) = shown.rows[pod].unwrap();
            let whole = shown.completeness.is_none_or(|(_, missing, _)| missing == 0) && !shown.has_loss;
            let row = Known { pod, age, had, shown };
            prop_assert!(whole && row.is_fresh(policy, now) && !is_undefined);
            continue;
        }
        // Proofs count numbers as well, and no reading shows one of them.
        let from = &known[value as usize - 1];
        prop_assert_eq!(from.pod, pod);
        prop_assert_eq!(reading.age(), from.age.duration().map(|_| from.age_at(now)));
        match reading.status() {
            Status::Value => {
                prop_assert!(code.is_none() && from.is_fresh(policy, now) && from.shown.is_accepted(policy));
                prop_assert_eq!(from.had, answer.as_ref().unwrap().1);
            }
            Status::Held => {
                let whole = |one: &&Known| one.pod == pod && one.may_be_held(policy, now);
                let lacks = [ReasonCode::Incomplete, ReasonCode::CompletenessUnknown]
                    .map(Some)
                    .contains(&code);
                let is_part = lacks && from.is_fresh(policy, now);
                let stands_on = known.iter().filter(whole).count();
                prop_assert!(
                    from.may_be_held(policy, now) || is_part && stands_on > 0,
                    "{:?}",
                    reading
                );
            }
            Status::Withheld => prop_assert!(false, "a number that is withheld"),
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn no_value_is_too_old_or_incomplete_and_none_is_held_for_too_long(
        policy in any_policy(),
        ops in prop::collection::vec(any_op(), 1..25),
    ) {
        let mut metric = Metric::new(of(policy));
        let (mut known, mut answer, mut proof) = (Vec::new(), None, None);
        for op in ops {
            let now = metric.clock.now();
            match op {
                Op::Answer(shown) => {
                    metric.does(&Step::Answer(shown.given(now, &mut known)));
                    answer = Some((shown, now));
                }
                Op::Proof(shown) => {
                    metric.does(&Step::Proof(shown.given(now, &mut Vec::new())));
                    proof = Some((shown, now));
                }
                Op::Fails => {
                    metric.does(&Fails);
                    answer = None;
                }
                Op::Wait(millis) => metric.does(&Wait(millis)),
                Op::SetWall(at) => metric.does(&SetWall(at)),
            }
            check(&metric, &known, &answer, &proof)?;
        }
    }

    /// A read shows what judging anew would, at any time; and nothing changes before it is said to.
    #[test]
    fn time_alone_makes_of_a_reading_what_judging_anew_does(
        policy in any_policy(),
        ops in prop::collection::vec(any_op(), 1..12),
        waits in prop::collection::vec(0u64..100_000, 1..6),
    ) {
        let mut metric = Metric::new(of(policy));
        let mut known = Vec::new();
        for op in ops {
            let now = metric.clock.now();
            metric.does(&match op {
                Op::Answer(shown) => Step::Answer(shown.given(now, &mut known)),
                Op::Proof(shown) => Step::Proof(shown.given(now, &mut Vec::new())),
                Op::Fails => Fails,
                Op::Wait(millis) => Wait(millis),
                Op::SetWall(at) => SetWall(at),
            });
        }
        metric.readings.update_found(&metric.answer, metric.proof.as_ref());
        let mut reader = metric.readings.reader();
        let mut read = || PODS.map(|pod| told(reader.get(&[("pod", pod)])));
        let mut changes_at = metric.readings.judged().changes_at();
        for wait in waits {
            let before = read();
            metric.does(&Wait(wait));
            let after = read();
            if changes_at.is_none_or(|at| metric.clock.now() < at) {
                prop_assert_eq!(&after, &before);
            }
            changes_at = metric.readings.update_found(&metric.answer, metric.proof.as_ref());
            prop_assert_eq!(&read(), &after);
        }
    }
}
