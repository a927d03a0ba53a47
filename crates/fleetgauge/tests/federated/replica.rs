//! Members that are several servers with the same series.

use std::time::Duration;

use fleetgauge::completeness::{Completeness, Report};
use fleetgauge::result::Answer;
use fleetgauge::{FixedBackend, RefreshSpec};

use super::{Fleet, NOW, SECOND, answered, down, matrix, refreshed, refused, shown, vector};

/// Member `eu` of two replicas, and `us`.
fn replicated(first: FixedBackend, second: FixedBackend, us: FixedBackend) -> Fleet {
    let mut fleet = Fleet::new([("eu", first), ("us", us)]);
    fleet.members.push(("eu-1", second));
    fleet.config.members[0].sources.push("eu-1".to_owned());
    fleet
}

#[tokio::test]
async fn the_freshest_replica_answers_whole_and_the_next_one_where_it_fails() {
    let replica = |newest: &str, (sum, count): (&str, &str)| {
        FixedBackend::new()
            .answer("q:newest", vector(&[newest]))
            .answer("q:part0", vector(&[sum]))
            .answer("q:part1", vector(&[count]))
    };
    let check = async |first: FixedBackend, second: FixedBackend, expected: &str| {
        let us = replica("0", ("0", "0"));
        let fleet = replicated(first, second, us);
        let result = answered(&fleet.source(), "avg(queue)").await;
        assert_eq!(shown(result.answer()), [expected]);
        assert!(result.is_complete());
        let newest = ("newest".into(), "max(timestamp(queue))".into());
        assert!(fleet.asked("eu-1").contains(&newest));
        assert!(!fleet.asked("us").contains(&newest));
    };
    let (old, new) = (|| replica("100", ("6", "2")), || replica("130", ("10", "2")));
    check(old(), new(), "{} 5").await;
    check(new(), old(), "{} 5").await;
    // Of equals the first.
    check(old(), replica("100", ("10", "2")), "{} 3").await;
    // The newest answers only half.
    let half = replica("130", ("10", "2"));
    half.forget("q:part1");
    check(half.failure("q:part1", down()), old(), "{} 3").await;
    // It does not tell how new its samples are.
    let silent = new();
    silent.forget("q:newest");
    check(silent, old(), "{} 3").await;
}

#[tokio::test]
async fn a_member_all_of_whose_replicas_fail_says_why_each_does() {
    let no = || FixedBackend::new().failure("q:part0", down());
    let us = FixedBackend::new().answer("q:part0", vector(&["1"]));
    let error = refused(&replicated(no(), no(), us).source(), "sum(queue)").await;
    let one = "backend unavailable (500): the disk is full";
    assert!(
        error.ends_with(&format!("missing: eu (eu: {one}; eu-1: {one})")),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_hangs_is_not_waited_for() {
    let hour = Duration::from_secs(3_600);
    let hung = FixedBackend::new().delay("q:part0", hour);
    let up = FixedBackend::new().answer("q:part0", vector(&["1"]));
    let begun = tokio::time::Instant::now();
    let fleet = replicated(hung, up.clone(), up);
    assert_eq!(
        shown(answered(&fleet.source(), "sum(queue)").await.answer()),
        ["{} 2"]
    );
    assert!(begun.elapsed() < SECOND, "{:?}", begun.elapsed());
}

/// Guards against a number that moves from one replica's to the other's while nothing moves.
#[tokio::test]
async fn a_replica_that_has_answered_stays_until_it_fails_or_falls_behind() {
    let [first, second] = [FixedBackend::new(), FixedBackend::new()];
    let set = |backend: &FixedBackend, newest: &str, value: &str| {
        let newest = vector(&[newest]);
        for part in ["q:newest", "q:part0"] {
            backend.forget(part);
        }
        let _ = backend
            .clone()
            .answer("q:newest", newest)
            .answer("q:part0", vector(&[value]));
    };
    let us = FixedBackend::new().answer("q:part0", vector(&["0"]));
    let fleet = replicated(first.clone(), second.clone(), us);
    let source = fleet.source();
    let of = async || {
        let result = answered(&source, "sum(queue)").await;
        let warnings: Vec<_> = result.warnings().map(str::to_owned).collect();
        (result.values().next().unwrap().value, warnings.join(" "))
    };
    set(&second, "95", "20");
    // Each is newer in turns.
    for (of_first, of_second) in [("100", "95"), ("100", "105"), ("110", "105"), ("110", "115")] {
        set(&first, of_first, "10");
        set(&second, of_second, "20");
        assert_eq!(of().await, (10.0, String::new()));
    }
    first.forget("q:part0");
    let _ = first.clone().failure("q:part0", down());
    let (value, told) = of().await;
    assert_eq!(value, 20.0);
    assert_eq!(
        told,
        "member eu: eu-1 answers in the place of eu: eu: backend unavailable (500): the disk is full"
    );
    // It is told once, and the other does not come back by itself.
    set(&first, "120", "10");
    set(&second, "119", "20");
    assert_eq!(of().await, (20.0, String::new()));
    set(&first, "200", "10");
    let (value, told) = of().await;
    assert_eq!(value, 10.0);
    assert!(
        told.ends_with("eu answers in the place of eu-1: its newest sample is 81 s newer"),
        "{told}"
    );
}

#[tokio::test]
async fn a_replica_that_lacks_something_makes_room_for_one_that_does_not() {
    let replica = |value: &str| {
        FixedBackend::new()
            .answer("q:newest", vector(&["100"]))
            .answer("q:part0", vector(&[value]))
    };
    let (first, second) = (replica("10"), replica("20"));
    let fleet = replicated(
        first.clone(),
        second,
        FixedBackend::new().answer("q:part0", vector(&["0"])),
    );
    let source = fleet.source();
    let value = async || {
        answered(&source, "sum(queue)")
            .await
            .values()
            .next()
            .unwrap()
            .value
    };
    assert_eq!(value().await, 10.0);
    let mut known = Completeness::known();
    known.add("pod b", Report::Missing("timeout"));
    let _ = first.clone().completeness("q:part0", known);
    assert_eq!(value().await, 20.0);
    let _ = first.completeness("q:part0", Completeness::known());
    assert_eq!(value().await, 20.0);
}

#[tokio::test]
async fn series_are_merged_from_all_replicas() {
    let replica = |newest: &str, answer: Answer| {
        FixedBackend::new()
            .answer("q:newest", vector(&[newest]))
            .answer("q:part0", answer)
    };
    // Those that one lacks; of both, the fresher one's.
    let fleet = replicated(
        replica("100", vector(&["name=x,pod=a 1", "name=x,pod=b 2"])),
        replica("130", vector(&["name=x,pod=b 3", "name=x,pod=c 4"])),
        FixedBackend::new(),
    );
    let result = answered(&fleet.source(), "x").await;
    assert_eq!(
        shown(result.answer()),
        [
            r#"x{cluster="eu", pod="a"} 1"#,
            r#"x{cluster="eu", pod="b"} 3"#,
            r#"x{cluster="eu", pod="c"} 4"#
        ]
    );
    // The gaps of a range.
    let fleet = replicated(
        replica("100", matrix(&["name=x,pod=a 1@-30 2@-15 3@0"])),
        replica("130", matrix(&["name=x,pod=a 7@-30 9@0"])),
        FixedBackend::new().answer("q:part0", matrix(&[])),
    );
    let range = |spec: RefreshSpec| spec.range(30 * SECOND, 15 * SECOND).at(NOW);
    let result = refreshed(&fleet.source(), "x", range).await.unwrap();
    assert_eq!(
        shown(result.answer()),
        [r#"x{cluster="eu", pod="a"} 7@-30 2@-15 9@0"#]
    );
}
