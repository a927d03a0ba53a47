//! Members that are several servers with the same series.

use std::time::Duration;

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
