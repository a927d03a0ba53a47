//! Each rule as a table: a metric, what happened, and what is read of its rows then.

mod properties;

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::completeness::Report;
use crate::policy::{OnError, OnIncomplete, OnNoData, OnUndefined};
use crate::result::{Answer, AnswerBuilder, MetricResult};
use crate::sample::Stamp;
use crate::time::{Clock, ManualClock};

/// What happens to a query.
enum Step {
    Answer(Given),
    /// An answer of the query that proves the absence of the other.
    Proof(Given),
    Fails,
    Lookup(ReasonCode),
    /// *Unit*: milliseconds.
    Wait(u64),
    /// The wall clock alone. *Unit*: seconds.
    SetWall(i64),
}

use Step::{Fails, SetWall, Wait};

/// An answer with rows `pod="…"`.
#[derive(Clone)]
struct Given {
    rows: Vec<(&'static str, f64, Age)>,
    /// How many have reported, are missing, and are starting.
    completeness: Option<(u64, u64, u64)>,
    has_loss: bool,
    ttl: Duration,
    /// The text that was sent.
    query: &'static str,
    text: Option<&'static str>,
    /// The label that tells rows apart.
    label: &'static str,
    name: &'static str,
}

struct Metric {
    clock: Clock,
    hand: ManualClock,
    readings: Readings,
    answer: Found,
    proof: Option<Found>,
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn exact(age: u64) -> Age {
    Age::exact(seconds(age))
}

fn given<const N: usize>(rows: [(&'static str, f64, Age); N]) -> Given {
    Given {
        rows: rows.into(),
        completeness: None,
        has_loss: false,
        ttl: seconds(100_000),
        query: "",
        text: None,
        label: "pod",
        name: "",
    }
}

/// Rows without an age to speak of.
fn answer<const N: usize>(rows: [(&'static str, f64); N]) -> Step {
    Step::Answer(given(rows.map(|(pod, value)| (pod, value, exact(0)))))
}

fn aged(pod: &'static str, value: f64, age: Age) -> Step {
    Step::Answer(given([(pod, value, age)]))
}

fn proof<const N: usize>(rows: [(&'static str, f64); N]) -> Step {
    Step::Proof(given(rows.map(|(pod, value)| (pod, value, exact(0)))))
}

impl Step {
    fn with(self, change: impl FnOnce(&mut Given)) -> Self {
        match self {
            Step::Answer(mut given) => {
                change(&mut given);
                Step::Answer(given)
            }
            Step::Proof(mut given) => {
                change(&mut given);
                Step::Proof(given)
            }
            other => other,
        }
    }

    fn reported(self, reported: u64, missing: u64, starting: u64) -> Self {
        self.with(|given| given.completeness = Some((reported, missing, starting)))
    }

    fn with_loss(self) -> Self {
        self.with(|given| given.has_loss = true)
    }

    fn ttl(self, secs: u64) -> Self {
        self.with(|given| given.ttl = seconds(secs))
    }
}

impl Given {
    fn answer(&self) -> Answer {
        let mut answer = AnswerBuilder::new(Stamp::Evaluated);
        for &(pod, value, age) in &self.rows {
            let labels = [("__name__", self.name), (self.label, pod)];
            answer.series(labels, value, Default::default()).unwrap();
            answer.age(age);
        }
        if let Some((reported, missing, starting)) = self.completeness {
            let mut completeness = Completeness::known();
            (0..reported).for_each(|_| completeness.add("r", Report::Reported));
            (0..missing).for_each(|_| completeness.add("m", Report::Missing("timeout")));
            (0..starting).for_each(|_| completeness.add("s", Report::Starting("loads")));
            answer.completeness(Arc::new(completeness));
        }
        if self.has_loss {
            answer.missing("a line could not be read");
        }
        if let Some(text) = self.text {
            answer.text(text, Default::default());
        }
        match self.query {
            "" => answer.build(),
            query => answer
                .build()
                .with_origin(Arc::new(Origin::new("s", "q").with_text(query))),
        }
    }

    fn found(&self, clock: &Clock) -> Found {
        let had = clock.now();
        Found::Answer {
            result: Arc::new(MetricResult::new(
                "q".parse().unwrap(),
                clock.wall(),
                self.answer(),
            )),
            had,
            expires: had.saturating_add(self.ttl),
            last_error: None,
        }
    }
}

impl Metric {
    fn new(spec: ReadingSpec) -> Self {
        let (clock, hand) = Clock::manual(Timestamp::from_millis(1_000_000_000));
        hand.advance(seconds(10_000));
        Self {
            readings: Readings::new(spec, clock.clone()).unwrap(),
            clock,
            hand,
            answer: (&crate::cache::Lookup::NeverRefreshed).into(),
            proof: None,
        }
    }

    fn does(&mut self, step: &Step) {
        match step {
            Step::Answer(given) => self.answer = given.found(&self.clock),
            Step::Proof(given) => self.proof = Some(given.found(&self.clock)),
            Fails => self.absent(ReasonCode::Failed),
            Step::Lookup(code) => self.absent(*code),
            Wait(millis) => return self.hand.advance(Duration::from_millis(*millis)),
            SetWall(at) => return self.hand.set_wall(Timestamp::from_millis(at * 1_000)),
        }
        self.readings.update_found(&self.answer, self.proof.as_ref());
    }

    fn absent(&mut self, code: ReasonCode) {
        let text = "timeout".into();
        self.answer = Found::Absent { code, text };
    }
}

/// `value 5`, `held 5: failed`, `withheld: no_data`.
fn told(reading: Reading<'_>) -> String {
    let value = reading.value().map_or(String::new(), |value| format!(" {value}"));
    let reason = reading.reason();
    let reason = reason.map_or(String::new(), |reason| format!(": {}", reason.code.as_str()));
    format!("{}{value}{reason}", reading.status().as_str())
}

fn of(policy: Policy) -> ReadingSpec {
    let spec = ReadingSpec::new("queue", "q".parse().unwrap()).policy(policy);
    spec.fold(Fold::Sum).knows_completeness()
}

fn policy() -> Policy {
    Policy::default()
}

/// What is read of pod a in the end.
fn check_a(spec: &ReadingSpec, steps: &[Step], expected: &str) {
    let mut metric = Metric::new(spec.clone());
    steps.iter().for_each(|step| metric.does(step));
    let mut reader = metric.readings.reader();
    let read = told(reader.get(&[("pod", "a")]));
    let policy = &spec.policy;
    assert_eq!(
        read,
        expected,
        "{policy:?}: {:?}",
        reader.get(&[("pod", "a")]).reason()
    );
    // Judged anew by what is known at the end, it is the same: a read needs no update.
    metric
        .readings
        .update_found(&metric.answer, metric.proof.as_ref());
    assert_eq!(
        told(reader.get(&[("pod", "a")])),
        expected,
        "judged anew: {policy:?}"
    );
}

#[test]
fn by_default_everything_fails_and_nothing_is_held() {
    let spec = of(policy());
    let good = || answer([("a", 5.0)]);
    let check = |steps: &[Step], expected| check_a(&spec, steps, expected);
    check(&[], "withheld: never_refreshed");
    check(&[good()], "value 5");
    check(&[answer([("a", 0.0)])], "value 0");
    check(&[good(), Fails], "withheld: failed");
    check(&[good(), answer([])], "withheld: no_data");
    check(&[good(), answer([("b", 1.0)])], "withheld: no_data");
    for undefined in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        check(&[good(), answer([("a", undefined)])], "withheld: undefined");
    }
    check(&[good().reported(1, 1, 0)], "withheld: incomplete");
    check(&[good().with_loss()], "withheld: incomplete");
    check(&[good().reported(2, 0, 8)], "value 5");
    check(&[good(), answer([]).reported(0, 2, 0)], "withheld: incomplete");
    check(&[good().ttl(30), Wait(29_999)], "value 5");
    check(&[good().ttl(30), Wait(30_000)], "withheld: expired");
    check(&[answer([("a", 5.0), ("a", 6.0)])], "withheld: ambiguous");
    check(
        &[good().with(|given| given.text = Some("a"))],
        "withheld: not_a_vector",
    );
    check(
        &[good(), Step::Lookup(ReasonCode::Replaced)],
        "withheld: replaced",
    );
    check(&[good(), Step::Lookup(ReasonCode::Invalid)], "withheld: invalid");
    check(&[aged("a", 5.0, Age::UNKNOWN)], "value 5");
    check(&[aged("a", 5.0, exact(1).with_ended())], "withheld: ended");
    check(&[good(), Fails, good()], "value 5");
}

#[test]
fn what_is_older_than_max_age_is_an_error() {
    let spec = of(policy().max_age(seconds(30)));
    let check = |steps: &[Step], expected| check_a(&spec, steps, expected);
    let at = |age| aged("a", 5.0, age);
    check(&[at(exact(30))], "value 5");
    check(&[at(exact(31))], "withheld: too_old");
    check(&[at(exact(10)), Wait(20_000)], "value 5");
    check(&[at(exact(10)), Wait(20_001)], "withheld: too_old");
    check(&[at(Age::at_most(seconds(31)))], "withheld: too_old");
    check(&[at(Age::at_least(seconds(29)))], "value 5");
    check(&[at(Age::UNKNOWN)], "withheld: age_unknown");
    check(&[at(Age::AGELESS), Wait(99_999_000)], "value 5");
    check(&[at(exact(1).with_ended())], "withheld: ended");
    // No wall clock makes it young, or old.
    for wall in [-1_000_000, 0, 99_000_000] {
        check(&[at(exact(10)), SetWall(wall), Wait(20_000)], "value 5");
        check(&[at(exact(10)), SetWall(wall), Wait(20_001)], "withheld: too_old");
        check(&[SetWall(wall), at(exact(31))], "withheld: too_old");
    }
    // Refused for its age, it takes no part in what comes after.
    check(&[at(exact(31)), answer([])], "withheld: no_data");
}

#[test]
fn a_value_is_held_from_its_sample_on_and_longer_than_max_age() {
    let spec = of(policy()
        .max_age(seconds(30))
        .on_error(OnError::Hold)
        .hold(seconds(300)));
    let check = |steps: &[Step], expected| check_a(&spec, steps, expected);
    let good = || aged("a", 5.0, exact(10));
    check(&[good(), Fails], "held 5: failed");
    check(&[good(), Wait(20_001)], "held 5: too_old");
    check(&[good().ttl(20), Wait(20_000)], "held 5: expired");
    check(&[good(), Fails, Wait(290_000)], "held 5: failed");
    check(&[good(), Fails, Wait(290_001)], "withheld: failed");
    check(&[good(), Wait(290_001)], "withheld: too_old");
    // Failing again does not lengthen it.
    check(
        &[good(), Fails, Wait(289_000), Fails, Wait(1_001), Fails],
        "withheld: failed",
    );
    check(&[good(), aged("a", 6.0, exact(31))], "held 5: too_old");
    check(&[good(), aged("a", 6.0, Age::UNKNOWN)], "held 5: age_unknown");
    check(&[good(), aged("a", 6.0, exact(1).with_ended())], "held 5: ended");
    check(&[good(), answer([("a", 1.0), ("a", 2.0)])], "held 5: ambiguous");
    // The other policies still fail.
    check(&[good(), answer([])], "withheld: no_data");
    check(&[good(), answer([("a", f64::NAN)])], "withheld: undefined");
    check(
        &[good(), answer([("a", 6.0)]).reported(1, 1, 0)],
        "withheld: incomplete",
    );
    // What was known of another question is not held.
    check(
        &[good(), Step::Lookup(ReasonCode::Replaced)],
        "withheld: replaced",
    );
    check(&[good(), Step::Lookup(ReasonCode::Invalid)], "withheld: invalid");
    check(&[good(), Step::Lookup(ReasonCode::Expired)], "held 5: expired");
    // It outlasts answers that are refused.
    check(&[good(), answer([]), Fails], "held 5: failed");
    check(&[Fails], "withheld: failed");
    check(&[aged("a", 5.0, exact(31)), Fails], "withheld: failed");
    for wall in [-1_000_000, 99_000_000] {
        check(&[good(), SetWall(wall), Fails, Wait(290_000)], "held 5: failed");
        check(&[good(), SetWall(wall), Fails, Wait(290_001)], "withheld: failed");
    }
}

#[test]
fn each_absence_is_held_by_its_own_setting() {
    let hold = || policy().hold(seconds(60));
    let cases = [
        (hold().on_error(OnError::Hold), "failed"),
        (hold().on_no_data(OnNoData::Hold), "no_data"),
        (hold().on_undefined(OnUndefined::Hold), "undefined"),
        (hold().on_incomplete(OnIncomplete::Hold), "incomplete"),
    ];
    for (policy, held) in cases {
        let absences = [
            ("failed", Fails),
            ("no_data", answer([])),
            ("undefined", answer([("a", f64::NAN)])),
            ("incomplete", answer([("a", 9.0)]).with_loss()),
        ];
        // What has no value because something is missing is an error of the fetch, and nothing else.
        let no_value = [("incomplete", Step::Lookup(ReasonCode::Incomplete))];
        for (reason, absence) in absences.into_iter().chain(no_value) {
            let expected = match reason == held {
                true => format!("held 5: {reason}"),
                false => format!("withheld: {reason}"),
            };
            check_a(&of(policy.clone()), &[answer([("a", 5.0)]), absence], &expected);
        }
    }
}

#[test]
fn what_is_incomplete_is_measured_by_min_completeness() {
    let spec = of(policy().min_completeness(0.9));
    let check = |step: Step, expected| check_a(&spec, &[step], expected);
    let good = || answer([("a", 5.0)]);
    check(good().reported(9, 1, 0), "value 5");
    check(good().reported(10, 0, 0), "value 5");
    check(good().reported(89, 11, 0), "withheld: incomplete");
    check(good().reported(0, 3, 0), "withheld: incomplete");
    // Pods that load their models do not count, and of none expected all have reported.
    check(good().reported(2, 0, 8), "value 5");
    check(good().reported(0, 0, 0), "value 5");
    check(good(), "withheld: completeness_unknown");
    // What no name is missing for is in no ratio.
    check(good().reported(10, 0, 0).with_loss(), "withheld: incomplete");
    check(good().reported(9, 1, 0).with_loss(), "withheld: incomplete");
}

#[test]
fn at_least_is_the_larger_of_a_part_and_the_last_whole() {
    let at_least = policy().on_incomplete(OnIncomplete::AtLeast).hold(seconds(60));
    let whole = |value| answer([("a", value)]).reported(2, 0, 0);
    let part = |value| answer([("a", value)]).reported(1, 1, 0);
    let spec = of(at_least.clone());
    let check = |steps: &[Step], expected| check_a(&spec, steps, expected);
    check(&[whole(5.0), part(3.0)], "held 5: incomplete");
    check(&[whole(5.0), part(8.0)], "held 8: incomplete");
    // A part is no whole to be held: the first is.
    check(&[whole(5.0), part(8.0), part(6.0)], "held 6: incomplete");
    check(&[whole(5.0), Wait(60_000), part(8.0)], "held 8: incomplete");
    check(&[whole(5.0), Wait(60_001), part(8.0)], "withheld: incomplete");
    check(&[whole(5.0), part(8.0), Wait(60_001)], "withheld: incomplete");
    // With nothing held there is none.
    check(&[part(8.0)], "withheld: incomplete");
    // Below zero a part is no lower bound.
    check(&[whole(5.0), part(-1.0)], "withheld: incomplete");
    check(&[whole(-5.0), part(1.0)], "withheld: incomplete");
    // A row that is not among the part.
    check(&[whole(5.0), answer([]).reported(1, 1, 0)], "held 5: incomplete");
    check(&[whole(5.0), part(f64::NAN)], "withheld: undefined");
    check(&[whole(5.0), Fails], "withheld: failed");
    check(&[whole(5.0), part(8.0), whole(4.0)], "value 4");

    let spec = of(at_least.clone().max_age(seconds(30)));
    check_a(&spec, &[whole(5.0), part(8.0), Wait(30_001)], "withheld: too_old");
    let spec = of(at_least.max_age(seconds(30)).on_error(OnError::Hold));
    check_a(
        &spec,
        &[whole(5.0), part(8.0), Wait(30_000)],
        "held 8: incomplete",
    );
    check_a(&spec, &[whole(5.0), part(8.0), Wait(30_001)], "held 5: too_old");
    check_a(&spec, &[whole(5.0), part(8.0), Wait(60_001)], "withheld: too_old");
}

#[test]
fn a_number_for_no_data_needs_its_proof() {
    let value = OnNoData::Value {
        value: 0.0,
        when: "ready".parse().unwrap(),
    };
    let policy = policy()
        .max_age(seconds(30))
        .on_error(OnError::Hold)
        .hold(seconds(300));
    let spec = of(policy.on_no_data(value));
    let check = |steps: &[Step], expected| check_a(&spec, steps, expected);
    let none = || answer([]);
    check(&[proof([("a", 1.0)]), none()], "value 0: proven");
    check(&[none(), proof([("a", 1.0)])], "value 0: proven");
    check(&[proof([("a", 1.0)]), answer([("b", 4.0)])], "value 0: proven");
    check(&[proof([("a", 1.0)]), answer([("a", 4.0)])], "value 4");
    check(&[none()], "withheld: unproven");
    check(&[proof([("b", 1.0)]), none()], "withheld: unproven");
    check(&[proof([]), none()], "withheld: unproven");
    check(&[proof([("a", f64::NAN)]), none()], "withheld: unproven");
    check(&[proof([("a", 1.0)]).with_loss(), none()], "withheld: unproven");
    check(
        &[proof([("a", 1.0)]).reported(1, 1, 0), none()],
        "withheld: unproven",
    );
    for age in [Age::UNKNOWN, exact(31), exact(1).with_ended()] {
        let old = Step::Proof(given([("a", 1.0, age)]));
        check(&[old, none()], "withheld: unproven");
    }
    // The metric's name aside, the labels are the same; other labels are another question's.
    let named = |given: &mut Given| given.name = "kube_pod_ready";
    check(&[proof([("a", 1.0)]).with(named), none()], "value 0: proven");
    check(
        &[proof([("a", 1.0)]).with(|given| given.label = "variant"), none()],
        "withheld: unproven",
    );
    // The proof grows old, and so does the answer that has nothing.
    check(
        &[proof([("a", 1.0)]), Wait(20_000), none(), Wait(10_000)],
        "value 0: proven",
    );
    check(
        &[proof([("a", 1.0)]), Wait(20_000), none(), Wait(10_001)],
        "withheld: unproven",
    );
    check(
        &[none(), Wait(20_000), proof([("a", 1.0)]), Wait(10_001)],
        "withheld: too_old",
    );
    check(
        &[proof([("a", 1.0)]).ttl(10), none(), Wait(10_000)],
        "withheld: unproven",
    );
    check(
        &[proof([("a", 1.0)]), none().ttl(10), Wait(10_000)],
        "withheld: expired",
    );
    // An answer that lacks the row because something is missing says nothing of it.
    check(&[proof([("a", 1.0)]), none().with_loss()], "withheld: incomplete");
    check(&[proof([("a", 1.0)]), Fails], "withheld: failed");
    // What was proven is not held, and nothing from before it.
    check(&[answer([("a", 5.0)]), Fails], "held 5: failed");
    check(
        &[answer([("a", 5.0)]), proof([("a", 1.0)]), none(), Fails],
        "withheld: failed",
    );
}

#[test]
fn rows_of_other_labels_are_not_proven_beside_the_metrics_own() {
    let value = OnNoData::Value {
        value: 0.0,
        when: "ready".parse().unwrap(),
    };
    let mut metric = Metric::new(of(policy().on_no_data(value)));
    let by_variant = |given: &mut Given| given.label = "variant";
    metric.does(&proof([("a", 1.0)]).with(by_variant));
    metric.does(&answer([]));
    let mut reader = metric.readings.reader();
    assert_eq!(told(reader.get(&[("variant", "a")])), "value 0: proven");
    // Now the metric shows what its labels are.
    metric.does(&answer([("a", 3.0)]));
    assert_eq!(told(reader.get(&[("variant", "a")])), "withheld: unproven");
    assert_eq!(told(reader.get(&[("pod", "a")])), "value 3");
}

#[test]
fn zero_replicas_are_zero_for_what_is_of_pods_alone() {
    let spec = of(policy()
        .max_age(seconds(30))
        .on_error(OnError::Hold)
        .hold(seconds(300)));
    let alone = spec.clone().over_pods_alone();
    let none = || answer([]).reported(0, 0, 0);
    let before = || answer([("a", 5.0)]).reported(1, 0, 0);
    check_a(&alone, &[none()], "value 0: no_replicas");
    check_a(&alone, &[before(), none()], "value 0: no_replicas");
    check_a(&alone, &[before(), none(), Wait(30_001)], "withheld: too_old");
    check_a(&alone, &[before(), none(), Fails], "withheld: failed");
    check_a(
        &alone,
        &[before(), answer([]).reported(0, 0, 1)],
        "withheld: no_data",
    );
    check_a(
        &alone,
        &[before(), answer([]).reported(1, 0, 0)],
        "withheld: no_data",
    );
    check_a(&alone, &[before(), answer([])], "withheld: no_data");
    check_a(&alone, &[before(), none().with_loss()], "withheld: incomplete");
    check_a(&spec, &[before(), none()], "withheld: no_data");
}

#[test]
fn rows_that_vanish_are_told_for_an_hour_and_then_counted() {
    let mut metric = Metric::new(of(policy().on_no_data(OnNoData::Hold).hold(seconds(60))));
    let rows = |metric: &Metric| {
        let set = metric.readings.judged();
        let rows = set.rows(metric.clock.now());
        let rows: Vec<_> = rows
            .map(|row| format!("{} {}", row.labels(), told(row)))
            .collect();
        (rows, set.forgotten())
    };
    assert_eq!(rows(&metric).0, ["{} withheld: never_refreshed"]);
    metric.does(&answer([("a", 1.0), ("b", 2.0)]));
    metric.does(&answer([("b", 3.0)]));
    let held = [r#"{pod="b"} value 3"#, r#"{pod="a"} held 1: no_data"#];
    assert_eq!(rows(&metric), (held.map(String::from).into(), 0));
    metric.does(&Wait(3_599_999));
    metric.does(&answer([("b", 3.0)]));
    assert_eq!(rows(&metric).0[1], r#"{pod="a"} withheld: no_data"#);
    metric.does(&Wait(1));
    metric.does(&answer([("b", 3.0)]));
    assert_eq!(rows(&metric), (vec![r#"{pod="b"} value 3"#.to_owned()], 1));
    // Who asks for it is told nevertheless.
    assert_eq!(
        told(metric.readings.reader().get(&[("pod", "a")])),
        "withheld: no_data"
    );
    metric.does(&answer([]));
    metric.does(&Wait(3_600_000));
    metric.does(&answer([]));
    assert_eq!(rows(&metric), (vec!["{} withheld: no_data".to_owned()], 2));
}

/// An HPA that adds rows up would wait an hour for the number of a pod that is gone.
#[test]
fn rows_of_those_that_are_known_to_be_no_more_are_none() {
    let metric = Metric::new(of(policy()));
    let rows = |given: Step, is_gone: bool| {
        let Step::Answer(given) = given else {
            panic!("an answer")
        };
        let gone = |labels: Labels<'_>| is_gone && labels.get("pod") == Some("a");
        metric
            .readings
            .update_but_gone(&given.found(&metric.clock), None, &gone);
        let set = metric.readings.judged();
        let rows = set.rows(metric.clock.now());
        let rows = rows.map(|row| format!("{} {}", row.labels(), told(row)));
        (rows.collect::<Vec<_>>().join(", "), set.forgotten())
    };
    let both = || answer([("a", 1.0), ("b", 2.0)]);
    let b = r#"{pod="b"} value 2"#;
    assert_eq!(rows(both(), true).0, format!(r#"{{pod="a"}} value 1, {b}"#));
    let lacking = format!(r#"{b}, {{pod="a"}} withheld: no_data"#);
    assert_eq!(rows(answer([("b", 2.0)]), false).0, lacking);
    assert_eq!(rows(answer([("b", 2.0)]), true), (b.to_owned(), 0));
    // Nobody is left, which is not the same as nothing to do.
    let nobody = rows(answer([]), true).0;
    assert!(
        nobody.contains("withheld: no_data") && !nobody.contains(r#"pod="a""#),
        "{nobody}"
    );
}

#[test]
fn so_many_rows_that_vanished_are_known_and_no_more() {
    let names: Vec<&'static str> = (0..1_500).map(|i| &*format!("p{i}").leak()).collect();
    let mut all = given([]);
    all.rows = names.iter().map(|name| (*name, 1.0, exact(0))).collect();
    let mut metric = Metric::new(of(policy()));
    metric.does(&Step::Answer(all));
    metric.does(&answer([]));
    let set = metric.readings.judged();
    assert_eq!(
        (set.rows(metric.clock.now()).count(), set.forgotten()),
        (1_000, 500)
    );
}

#[test]
fn a_reading_tells_what_its_number_stands_on() {
    let spec = of(policy()
        .max_age(seconds(30))
        .on_error(OnError::Hold)
        .hold(seconds(300)));
    let spec = spec.source("main").unit("requests");
    let mut metric = Metric::new(spec);
    let wall = metric.clock.wall();
    metric.does(&aged("a", 5.0, Age::at_most(seconds(10))).reported(2, 0, 1));
    metric.does(&Wait(5_000));
    let mut reader = metric.readings.reader();
    let reading = reader.get(&[("pod", "a")]);
    assert_eq!((reading.metric(), reading.unit()), ("queue", "requests"));
    assert_eq!((reading.age(), reading.age_is_bound()), (Some(seconds(15)), true));
    assert_eq!((reading.held_since(), reading.reason()), (None, None));
    let reported = reading.completeness().unwrap();
    assert_eq!((reported.expected(), reported.starting().count()), (Some(2), 1));
    let origin = reading.origin().unwrap();
    assert_eq!((&*origin.source, &*origin.query), ("main", "q"));
    assert!(reading.changes_at() > Some(metric.clock.now()));

    metric.does(&Fails);
    metric.does(&Wait(1_000));
    let reading = reader.get(&[("pod", "a")]);
    assert_eq!(
        (reading.status(), reading.age()),
        (Status::Held, Some(seconds(16)))
    );
    assert_eq!(
        reading.held_since().unwrap().as_millis(),
        wall.as_millis() - 10_000
    );
    assert_eq!(&*reading.reason().unwrap().text, "timeout");
    assert!(reading.completeness().is_some() && reading.origin().is_some());

    // What is refused is told with its age, and without its number.
    metric.does(&aged("a", 6.0, exact(400)).with(|given| given.has_loss = true));
    metric.does(&Wait(400_000));
    let reading = reader.get(&[("pod", "a")]);
    assert_eq!((reading.value(), reading.age()), (None, Some(seconds(800))));
    assert_eq!(
        &*reading.origin().unwrap().warnings[0],
        "a line could not be read"
    );
}

#[test]
fn labels_are_found_in_any_order_and_only_all_of_them() {
    let mut answer = AnswerBuilder::new(Stamp::Evaluated);
    let labels = [("__name__", "x"), ("namespace", "n"), ("pod", "a")];
    answer.series(labels, 5.0, Default::default()).unwrap();
    let metric = Metric::new(of(policy()));
    let now = metric.clock.now();
    let found = Found::Answer {
        result: Arc::new(MetricResult::new(
            "q".parse().unwrap(),
            metric.clock.wall(),
            answer.build(),
        )),
        had: now,
        expires: now.saturating_add(seconds(1)),
        last_error: None,
    };
    metric.readings.update_found(&found, None);
    let mut reader = metric.readings.reader();
    let mut value = |labels: &[(&str, &str)]| reader.get(labels).value();
    assert_eq!(value(&[("namespace", "n"), ("pod", "a")]), Some(5.0));
    assert_eq!(
        value(&[("pod", "a"), ("zone", ""), ("namespace", "n")]),
        Some(5.0)
    );
    assert_eq!(value(&[("pod", "a")]), None);
    assert_eq!(value(&[("pod", "a"), ("namespace", "n"), ("zone", "z")]), None);
    assert_eq!(value(&[("namespace", "a"), ("pod", "n")]), None);
    assert_eq!(value(&[]), None);
}

#[test]
fn an_answer_that_was_had_earlier_does_not_replace_a_later_one() {
    let mut metric = Metric::new(of(policy()));
    let old = given([("a", 1.0, exact(0))]).found(&metric.clock);
    metric.does(&Wait(1));
    metric.does(&answer([("a", 2.0)]));
    metric.readings.update_found(&old, None);
    assert_eq!(told(metric.readings.reader().get(&[("pod", "a")])), "value 2");
    metric.does(&Fails);
    metric.readings.update_found(&old, None);
    assert_eq!(
        told(metric.readings.reader().get(&[("pod", "a")])),
        "withheld: failed"
    );
}

#[test]
fn what_a_lookup_tells_is_judged() {
    use crate::backend::FetchError;
    use crate::cache::{Cache, CacheConfig};
    use crate::params::Params;
    use crate::query::QueryTemplate;
    use crate::query_list::QueryList;
    let (clock, hand) = Clock::manual(Timestamp::from_millis(1_000));
    let queries = QueryList::new();
    queries.must_register(QueryTemplate::promql("q", "up").ttl(seconds(15)));
    let query = queries.get("q").unwrap();
    let max_stale = seconds(600);
    let config = CacheConfig {
        max_stale,
        ..CacheConfig::default()
    };
    let (cache, none) = (Cache::new(config, clock.clone()), Params::new());
    let hold = policy().on_error(OnError::Hold).hold(seconds(60));
    let readings = Readings::new(of(hold), clock.clone()).unwrap();
    let mut reader = readings.reader();
    let mut read = || {
        let changes = readings.update(&cache.lookup(&query, &none), None);
        let reading = reader.get(&[("pod", "a")]);
        let text = reading.reason().map(|reason| reason.text.to_string());
        (told(reading), text.unwrap_or_default(), changes.is_some())
    };
    let fail = || {
        let error = FetchError::Timeout { after: seconds(10) };
        cache.record_failure(
            &query,
            &none,
            crate::error::QueryError::fetch(query.name(), error),
        );
    };
    assert_eq!(read().0, "withheld: never_refreshed");
    let detail = "target x".into();
    let incomplete = FetchError::Incomplete {
        detail,
        is_short: false,
    };
    cache.record_failure(
        &query,
        &none,
        crate::error::QueryError::fetch(query.name(), incomplete),
    );
    assert_eq!(read().0, "withheld: incomplete");
    fail();
    let (told, text, changes) = read();
    assert_eq!((&*told, changes), ("withheld: failed", false));
    assert!(text.contains("no answer within 10s"), "{text}");
    let five = given([("a", 5.0, exact(0))]).answer();
    cache.store(
        &query,
        &none,
        MetricResult::new(query.name().clone(), clock.wall(), five),
    );
    // A failure beside a value that still holds is none of the value.
    fail();
    assert_eq!(read(), ("value 5".into(), String::new(), true));
    hand.advance(seconds(15));
    let (told, text, _) = read();
    assert_eq!(told, "held 5: expired");
    assert!(text.contains("no answer within 10s"), "{text}");
    hand.advance(seconds(46));
    assert_eq!(read().0, "withheld: expired");
    hand.advance(seconds(600));
    assert_eq!(read().0, "withheld: expired");
    queries.remove("q");
    cache.forget(std::slice::from_ref(&query));
    assert_eq!(read().0, "withheld: replaced");
}

#[test]
fn codes_are_words_of_a_closed_list() {
    let codes: std::collections::HashSet<_> = ReasonCode::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(codes.len(), ReasonCode::ALL.len());
    let page = include_str!("../../../../docs/readings.md");
    let rows: Vec<_> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .collect();
    let named: std::collections::HashSet<_> = rows
        .iter()
        .filter(|code| codes.contains(**code))
        .copied()
        .collect();
    assert_eq!(named, codes, "docs/readings.md is not in step with the code");
}

/// Guards against a zero that nobody has measured: of an empty discovery, say.
#[test]
fn what_a_query_gives_where_it_finds_nothing_says_so() {
    let constant = |reported, starting| {
        aged("a", 0.0, Age::AGELESS)
            .reported(reported, 0, starting)
            .with(|given| given.query = "sum by (pod) (x) or vector(0)")
    };
    let spec = of(policy());
    check_a(&spec, &[constant(2, 0)], "value 0: constant");
    check_a(&spec, &[constant(0, 0)], "withheld: no_data");
    check_a(&spec, &[constant(0, 1)], "withheld: no_data");
    let holds = of(policy().on_no_data(OnNoData::Hold).hold(seconds(300)));
    check_a(&holds, &[answer([("a", 5.0)]), constant(0, 0)], "held 5: no_data");
    // Who reports is not known of a Prometheus.
    let unknown = constant(0, 0).with(|given| given.completeness = None);
    check_a(&spec, &[unknown], "value 0: constant");
    // A number that is all that is asked for is one.
    let plain = constant(0, 0).with(|given| given.query = "vector(0)");
    check_a(&spec, &[plain], "value 0");
}
