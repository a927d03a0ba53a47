//! What the numbers of scraped pods stand on: how old they are, who has reported, since when there are samples; and what
//! a reading makes of it.

use fleetgauge::age::{Age, AgeKind};
use fleetgauge::policy::Policy;
use fleetgauge::reading::ReasonCode;
use fleetgauge::time::Timestamp;
use fleetgauge::{MetricsSource, RefreshSpec};
use fleetgauge_testkit::Answer;

use crate::support::fleet::{DAY, Fleet, SECOND, START, config, page};
use crate::support::scrape::until;

/// A counter, and when the process began, in seconds after the source did.
fn counter(value: u64, process_start: Option<i64>) -> Answer {
    let start = process_start.map_or(String::new(), |start| {
        format!("\nprocess_start_time_seconds {}", START + start)
    });
    page(&format!("# TYPE c_total counter\nc_total {value}{start}"))
}

/// `POD age` of each row, sorted.
async fn ages(fleet: &Fleet, query: &str) -> Vec<String> {
    let result = fleet.ask(query).await.unwrap();
    let rows = result.values().enumerate();
    let mut ages: Vec<_> = rows
        .map(|(row, value)| format!("{} {}", value.label("pod"), shown(result.age(row))))
        .collect();
    ages.sort();
    ages
}

fn shown(age: Age) -> String {
    let kind = match age.kind() {
        AgeKind::Exact => "",
        AgeKind::AtMost => "at most ",
        AgeKind::Ageless => return "ageless".to_owned(),
        kind => panic!("{kind:?}"),
    };
    let ended = if age.is_ended() { " ended" } else { "" };
    // Two scrapes of one millisecond are dated by two.
    format!("{kind}{:.1} s{ended}", age.duration().unwrap().as_secs_f64())
}

// --- age ---

#[tokio::test]
async fn a_row_is_as_old_as_the_oldest_sample_behind_it() {
    let fleet = Fleet::new(&[("a", page("x 1\ny 2")), ("b", page("x 3\ny 4"))]);
    assert_eq!(ages(&fleet, "x").await, ["a 0.0 s", "b 0.0 s"]);
    fleet.answers("b", Answer::status(500));
    fleet.hands.advance(3 * SECOND);
    for (query, expected) in [
        ("x", &["a 0.0 s", "b 3.0 s"][..]),
        ("sum by (pod) (x) * 2", &["a 0.0 s", "b 3.0 s"]),
        ("sum(x)", &[" 3.0 s"]),
        ("x{pod=\"a\"} / on () group_left () max(y)", &["a 3.0 s"]),
        ("x{pod=\"a\"} * scalar(y{pod=\"b\"})", &["a 3.0 s"]),
        ("scalar(y{pod=\"b\"})", &[" 3.0 s"]),
        ("max_over_time(x[10s])", &["a 0.0 s", "b 3.0 s"]),
        ("topk(1, x)", &["b 3.0 s"]),
        ("x{pod=\"c\"} or x", &["a 0.0 s", "b 3.0 s"]),
        ("x and on (pod) y", &["a 0.0 s", "b 3.0 s"]),
        ("max_over_time(sum(x)[10s:1s])", &[" at most 3.0 s"]),
        ("x offset 3s", &["a 0.0 s", "b 0.0 s"]),
        ("absent(x{pod=\"c\"})", &["c ageless"]),
        ("vector(1)", &[" ageless"]),
    ] {
        let ages = ages(&fleet, query).await;
        if query.contains(':') {
            // The steps are at whole seconds.
            assert!(ages[0].starts_with(" at most "), "{query}: {ages:?}");
            continue;
        }
        assert_eq!(ages, expected, "{query}");
    }
}

/// Guards against a pod that left in order and counts for as long as a subquery looks back at it.
#[tokio::test]
async fn what_a_subquery_still_tells_of_a_pod_that_is_gone_has_ended() {
    let mut fleet = Fleet::new(&[("a", page("q 1")), ("b", page("q 3"))]);
    fleet.ask("q").await.unwrap();
    for _ in 0..3 {
        fleet.hands.advance(SECOND);
        fleet.ask("q").await.unwrap();
    }
    let sum = "sum(max_over_time(q[20s:1s]))";
    assert_eq!(fleet.reads(sum, Policy::default()).await, Ok(4.0));
    fleet.remove("b").await;
    fleet.hands.advance(3 * SECOND);
    for query in [
        sum,
        "count(count_over_time((q > 0)[20s:1s]))",
        "sum(max_over_time(sum_over_time(q[5s])[20s:1s]))",
        "max_over_time(sum(q)[20s:1s])",
        "count_values(\"n\", max_over_time(q[20s:1s]))",
    ] {
        let result = fleet.ask(query).await.unwrap();
        let ended = (0..result.answer().len()).any(|row| result.age(row).is_ended());
        assert!(ended, "{query}");
        let provenance = result.answer().provenance().unwrap();
        assert!(
            provenance.ended().unwrap().to_string().starts_with("pod chat/b"),
            "{query}"
        );
    }
    assert_eq!(fleet.reads(sum, Policy::default()).await, Err(ReasonCode::Ended));
    // Row by row it is told whose they are.
    let rows = ages(&fleet, "max_over_time(q[20s:1s])").await;
    assert!(
        !rows[0].contains("ended") && rows[1].contains("ended"),
        "{rows:?}"
    );
    // And once nobody looks back at it, nothing has.
    fleet.hands.advance(30 * SECOND);
    fleet.ask("q").await.unwrap();
    assert_eq!(fleet.reads(sum, Policy::default()).await, Ok(1.0));
}

#[tokio::test]
async fn a_time_that_is_given_is_what_ages_are_measured_against() {
    let fleet = Fleet::new(&[("a", page("x 1"))]);
    let result = fleet.ask("x").await.unwrap();
    let origin = result.answer().provenance().unwrap().origin().unwrap();
    assert_eq!(&*origin.text, "x");
    fleet.hands.advance(100 * SECOND);
    let name = fleet.register("x + 1");
    let at = Timestamp::from_millis((START + 40) * 1_000);
    let results = fleet
        .source
        .refresh(RefreshSpec::queries([name.as_str()]).at(at))
        .await;
    assert_eq!(shown(results[name.as_str()].as_ref().unwrap().age(0)), "40.0 s");
}

#[tokio::test]
async fn what_a_range_still_tells_of_a_pod_that_is_gone_has_ended() {
    let mut fleet = Fleet::new(&[("a", page("x 1")), ("b", page("x 3"))]);
    fleet.ask("x").await.unwrap();
    fleet.hands.advance(SECOND);
    fleet.remove("b").await;
    fleet.hands.advance(SECOND);
    assert_eq!(ages(&fleet, "x").await, ["a 0.0 s"]);
    assert_eq!(
        ages(&fleet, "last_over_time(x[1m])").await,
        ["a 0.0 s", "b 2.0 s ended"]
    );
    // It is no part of those expected any more.
    assert_eq!(fleet.counts("x").await, (Some(1), 1, 0, 0));
    let read = fleet.reads("sum(last_over_time(x[1m]))", Policy::default()).await;
    assert_eq!(read, Err(ReasonCode::Ended));
    let living = fleet
        .reads("sum(last_over_time(x{pod=\"a\"}[1m]))", Policy::default())
        .await;
    assert_eq!(living, Ok(1.0));
}

/// The window takes nothing that is not newer than what it has, and that a series has ended is no exception.
#[tokio::test]
async fn a_pod_that_goes_just_when_it_was_scraped_or_after_the_clock_was_set_back_is_gone() {
    for back in [0, 1, 30] {
        let mut fleet = Fleet::new(&[("a", page("x 1")), ("b", page("x 3"))]);
        fleet.ask("x").await.unwrap();
        fleet
            .hands
            .set_wall(Timestamp::from_millis((START - back) * 1_000));
        let (_, server) = fleet.remove("b").await;
        fleet.hands.advance(SECOND);
        assert_eq!(ages(&fleet, "x").await, ["a 0.0 s"], "{back} s");
        let read = fleet.reads("sum(last_over_time(x[1m]))", Policy::default()).await;
        assert_eq!(read, Err(ReasonCode::Ended), "{back} s");
        // One that is back with the same labels is scraped.
        fleet.hands.advance(60 * SECOND);
        fleet.pods.push(("b".to_owned(), server));
        fleet.discover().await;
        let sum = fleet.ask("sum(x)").await.unwrap();
        assert_eq!(sum.values().next().unwrap().value, 4.0, "{back} s");
        assert_eq!(Vec::from_iter(sum.warnings()), [""; 0], "{back} s");
    }
}

#[tokio::test]
async fn a_pod_that_fails_for_too_long_has_ended_also_where_the_clock_was_set_back() {
    let fleet = Fleet::with_config(&[("a", page("x 1"))], config().with_stale_after(10 * SECOND));
    fleet.ask("x").await.unwrap();
    fleet.answers("a", Answer::status(500));
    let _ = fleet.ask("x").await;
    fleet.hands.advance(11 * SECOND);
    fleet.hands.set_wall(Timestamp::from_millis((START - 5) * 1_000));
    let _ = fleet.ask("x").await;
    fleet.hands.advance(10 * SECOND);
    assert!(fleet.ask("x").await.is_err());
    fleet.answers("a", page("x 2"));
    assert_eq!(ages(&fleet, "x").await, ["a 0.0 s"]);
}

#[tokio::test]
async fn a_pod_that_fails_for_too_long_has_ended() {
    let fleet = Fleet::with_config(&[("a", page("x 1"))], config().with_stale_after(10 * SECOND));
    fleet.ask("x").await.unwrap();
    fleet.answers("a", Answer::status(500));
    fleet.hands.advance(5 * SECOND);
    assert_eq!(ages(&fleet, "last_over_time(x[1m])").await, ["a 5.0 s"]);
    fleet.hands.advance(6 * SECOND);
    // Its values are let go after the scrape that fails then.
    let _ = fleet.ask("x").await;
    assert_eq!(ages(&fleet, "last_over_time(x[1m])").await, ["a 11.0 s ended"]);
}

#[tokio::test]
async fn a_reading_refuses_what_is_too_old() {
    let fleet = Fleet::new(&[("a", page("x 1"))]);
    let policy = || Policy::default().max_age(10 * SECOND).min_completeness(0.0);
    assert_eq!(fleet.reads("sum(x)", policy()).await, Ok(1.0));
    fleet.answers("a", Answer::status(500));
    fleet.hands.advance(9 * SECOND);
    assert_eq!(fleet.reads("sum(x)", policy()).await, Ok(1.0));
    fleet.hands.advance(2 * SECOND);
    assert_eq!(fleet.reads("sum(x)", policy()).await, Err(ReasonCode::TooOld));
}

// --- completeness ---

#[tokio::test]
async fn those_who_have_not_reported_are_named_with_their_reasons() {
    let fleet = Fleet::new(&[
        ("a", page("x 1")),
        ("b", Answer::status(500)),
        ("c", Answer::close()),
        ("d", page("x 4")),
    ]);
    fleet.ask("x").await.unwrap();
    fleet.answers("d", Answer::html_page());
    let completeness = fleet.completeness("sum(x)").await;
    assert_eq!((completeness.expected(), completeness.reported()), (Some(4), 1));
    let missing: Vec<_> = completeness.missing().named().iter().collect();
    let reason = |who: &str| {
        let one = missing.iter().find(|one| *one.who == *format!("chat/{who}"));
        &*one.unwrap_or_else(|| panic!("{who} in {completeness}")).reason
    };
    assert!(
        reason("b").starts_with("backend unavailable (500)"),
        "{completeness}"
    );
    assert!(reason("b").ends_with("it was never scraped with success"));
    assert!(reason("c").starts_with("unreachable: "), "{completeness}");
    assert!(reason("d").starts_with("malformed answer: "), "{completeness}");
    assert!(
        reason("d").ends_with("its values are 0.0 s old"),
        "{completeness}"
    );
    // Those whose series cannot be meant are not expected.
    assert_eq!(fleet.counts("sum(x{pod=\"a\"})").await, (Some(1), 1, 0, 0));
    assert_eq!(fleet.counts("sum(x{zone=~\"a|b\"})").await, (Some(2), 1, 1, 0));
    assert_eq!(
        fleet
            .counts("sum(x{pod=\"a\"}) + sum(x{pod=\"b\"} or x{pod=\"d\"})")
            .await,
        (Some(3), 1, 2, 0)
    );
    // That they are down is known of all.
    assert_eq!(fleet.counts("count(up == 0)").await, (Some(4), 4, 0, 0));
    let some = |ratio| Policy::default().min_completeness(ratio);
    assert_eq!(fleet.reads("sum(x)", some(0.2)).await, Ok(5.0));
    assert_eq!(
        fleet.reads("sum(x)", some(0.5)).await,
        Err(ReasonCode::Incomplete)
    );
    assert_eq!(
        fleet.reads("sum(x)", Policy::default()).await,
        Err(ReasonCode::Incomplete)
    );
}

#[tokio::test]
async fn a_pod_without_a_row_has_reported() {
    let fleet = Fleet::new(&[("a", page("x 1")), ("b", page("y 1")), ("c", page("x 0"))]);
    assert_eq!(fleet.counts("x > 0").await, (Some(3), 3, 0, 0));
    assert_eq!(fleet.counts("y").await, (Some(3), 3, 0, 0));
    let nothing = fleet.ask("x > 5").await.unwrap();
    assert!(nothing.is_no_data() && nothing.is_complete());
    assert_eq!(nothing.answer().completeness().unwrap().reported(), 3);
}

#[tokio::test]
async fn many_who_are_missing_are_ten_names_and_a_count() {
    let names: Vec<_> = (0..14).map(|i| format!("p{i:02}")).collect();
    let pods = names.iter().map(|name| (&**name, Answer::status(500)));
    let pods: Vec<_> = pods.chain([("a", page("x 1"))]).collect();
    let fleet = Fleet::new(&pods);
    let completeness = fleet.completeness("x").await;
    assert_eq!(
        (
            completeness.missing().count(),
            completeness.missing().named().len()
        ),
        (14, 10)
    );
    assert!(
        completeness.to_string().ends_with(" and 4 more"),
        "{completeness}"
    );
}

#[tokio::test]
async fn targets_that_are_left_out_are_expected_and_missing() {
    let mut config = config();
    config.max_targets = 2;
    let pods = [("a", page("x 1")), ("b", page("x 1")), ("c", page("x 1"))];
    let fleet = Fleet::with_config(&pods, config);
    let completeness = fleet.completeness("sum(x)").await;
    assert_eq!(completeness.expected(), Some(3));
    let missing = &completeness.missing().named()[0];
    assert_eq!(&*missing.who, "chat/c");
    assert!(missing.reason.contains("max_targets"), "{}", missing.reason);
}

#[tokio::test]
async fn without_a_discoverys_word_it_is_not_known_who_is_expected() {
    let fleet = Fleet::new(&[("a", page("x 1"))]);
    assert_eq!(fleet.counts("x").await, (Some(1), 1, 0, 0));
    fleet.told.fail("no route");
    until("told", || !fleet.source.discovery_errors().is_empty()).await;
    let result = fleet.ask("x").await.unwrap();
    let completeness = result.answer().completeness().unwrap();
    assert_eq!((completeness.expected(), completeness.reported()), (None, 1));
    // Nobody is missing by name, and yet something may be.
    assert!(!result.is_complete() && result.answer().has_uncounted_loss());
    let read = fleet.reads("x", Policy::default().min_completeness(0.1)).await;
    assert_eq!(read, Err(ReasonCode::Incomplete));
}

#[tokio::test]
async fn what_is_lost_without_a_name_is_in_no_ratio() {
    let fleet = Fleet::new(&[("a", page("x 1\nx{ 2"))]);
    let result = fleet.ask("sum(x)").await.unwrap();
    assert_eq!(result.answer().completeness().unwrap().ratio(), Some(1.0));
    assert!(!result.is_complete() && result.answer().has_uncounted_loss());
    let read = fleet
        .reads("sum(x)", Policy::default().min_completeness(0.1))
        .await;
    assert_eq!(read, Err(ReasonCode::Incomplete));
}

#[tokio::test]
async fn where_no_target_is_found_none_is_expected() {
    let fleet = Fleet::new(&[]);
    let result = fleet.ask("sum(x)").await.unwrap();
    assert!(result.is_no_data());
    assert_eq!(result.answer().completeness().unwrap().expected(), Some(0));
    assert_eq!(
        fleet.reads("sum(x)", Policy::default()).await,
        Err(ReasonCode::NoData)
    );
}

// --- starting ---

/// Models load for minutes, just when load rises.
#[tokio::test]
async fn while_a_fleet_grows_from_two_to_ten_the_reading_stays_a_value() {
    let policy = || Policy::default().max_age(60 * SECOND).min_completeness(0.9);
    let mut fleet = Fleet::new(&[("a", page("x 5")), ("b", page("x 6"))]);
    assert_eq!(fleet.reads("sum(x)", policy()).await, Ok(11.0));
    let names: Vec<_> = (0..8).map(|i| format!("n{i}")).collect();
    let new: Vec<_> = names.iter().map(|name| (&**name, Answer::status(503))).collect();
    fleet.add(&new).await;
    for _ in 0..9 {
        assert_eq!(fleet.reads("sum(x)", policy()).await, Ok(11.0));
        assert_eq!(fleet.counts("sum(x)").await, (Some(2), 2, 0, 8));
        fleet.hands.advance(DAY);
    }
    let completeness = fleet.completeness("sum(x)").await;
    let starting = &completeness.starting().named()[0];
    assert!(
        starting.reason.starts_with("backend unavailable (503)"),
        "{completeness}"
    );
    // Some answer at last: they count from then on, also where they fail again.
    fleet.answers("n0", page("x 1"));
    assert_eq!(fleet.reads("sum(x)", policy()).await, Ok(12.0));
    assert_eq!(fleet.counts("sum(x)").await, (Some(3), 3, 0, 7));
    fleet.answers("n0", Answer::status(500));
    assert_eq!(fleet.counts("sum(x)").await, (Some(3), 2, 1, 7));
    assert_eq!(fleet.reads("sum(x)", policy()).await, Err(ReasonCode::Incomplete));
    fleet.answers("n0", page("x 1"));
    // The others are expected after all.
    fleet.hands.advance(2 * DAY);
    assert_eq!(fleet.counts("sum(x)").await, (Some(10), 3, 7, 0));
    assert_eq!(fleet.reads("sum(x)", policy()).await, Err(ReasonCode::Incomplete));
}

#[tokio::test]
async fn those_of_the_first_set_are_expected_at_once() {
    let fleet = Fleet::new(&[("a", page("x 1")), ("b", Answer::status(503))]);
    assert_eq!(fleet.counts("sum(x)").await, (Some(2), 1, 1, 0));
}

#[tokio::test]
async fn one_that_is_back_is_not_starting() {
    let mut fleet = Fleet::new(&[("a", page("x 1")), ("b", page("x 1"))]);
    assert_eq!(fleet.counts("sum(x)").await, (Some(2), 2, 0, 0));
    let removed = fleet.remove("b").await;
    assert_eq!(fleet.counts("sum(x)").await, (Some(1), 1, 0, 0));
    removed.1.set_script([Answer::status(503)]).unwrap();
    fleet.pods.push(removed);
    fleet.discover().await;
    assert_eq!(fleet.counts("sum(x)").await, (Some(2), 1, 1, 0));
}

// --- coverage ---

const INCREASE: &str = "sum(increase(c_total[10d]))";

/// A fleet that was busy before we started, and is not now: what was seen since is not what has happened.
#[tokio::test]
async fn after_a_start_of_ours_no_reading_says_zero() {
    for process_start in [None, Some(-1_000 * 86_400)] {
        let fleet = Fleet::new(&[("a", counter(1_000, process_start))]);
        let _ = fleet.ask(INCREASE).await;
        fleet.hands.advance(DAY + DAY / 3);
        let some = || Policy::default().min_completeness(0.5);
        for (query, value) in [(INCREASE, 0.0), ("sum(increase(c_total[10d])) or vector(0)", 0.0)] {
            let result = fleet.ask(query).await.unwrap();
            assert_eq!(result.values().next().unwrap().value, value, "{query}");
            assert!(!result.is_complete(), "{query}");
            let completeness = result.answer().completeness().unwrap();
            let missing = &completeness.missing().named()[0];
            assert!(missing.reason.starts_with("short_window: "), "{completeness}");
            for policy in [Policy::default(), some()] {
                let read = fleet.reads(query, policy).await;
                assert_eq!(read, Err(ReasonCode::Incomplete), "{query}");
            }
        }
        // What is now is known.
        assert_eq!(fleet.reads("sum(c_total)", Policy::default()).await, Ok(1_000.0));
        // And so is a range that has passed since.
        assert_eq!(
            fleet
                .reads("sum(increase(c_total[1d8h]))", Policy::default())
                .await,
            Ok(0.0)
        );
        let mut read = None;
        for _ in 0..10 {
            fleet.hands.advance(DAY);
            read = Some(fleet.reads(INCREASE, Policy::default()).await);
        }
        assert_eq!(read, Some(Ok(0.0)));
    }
}

#[tokio::test]
async fn a_process_that_began_within_the_range_lacks_nothing_of_it() {
    let fleet = Fleet::new(&[("a", counter(10, Some(-3_600)))]);
    let _ = fleet.ask(INCREASE).await;
    fleet.hands.advance(DAY);
    fleet.answers("a", counter(20, Some(-3_600)));
    assert!(fleet.ask(INCREASE).await.unwrap().is_complete());
    assert!(fleet.reads(INCREASE, Policy::default()).await.unwrap() >= 10.0);
    // One that had run for longer than an interval when it was scraped first.
    let fleet = Fleet::new(&[("a", counter(10, Some(-2 * 86_400)))]);
    let _ = fleet.ask(INCREASE).await;
    fleet.hands.advance(DAY);
    assert!(!fleet.ask(INCREASE).await.unwrap().is_complete());
}

#[tokio::test]
async fn pods_that_were_added_lack_nothing_of_the_time_before() {
    let mut fleet = Fleet::new(&[("a", counter(0, Some(-10)))]);
    let policy = || Policy::default().min_completeness(0.9);
    for day in 1..12 {
        fleet.answers("a", counter(100 * day, Some(-10)));
        let _ = fleet.ask(INCREASE).await;
        fleet.hands.advance(DAY);
    }
    assert!(fleet.reads(INCREASE, policy()).await.is_ok());
    let names: Vec<_> = (0..8).map(|i| format!("n{i}")).collect();
    let new: Vec<_> = names.iter().map(|name| (&**name, Answer::status(503))).collect();
    fleet.add(&new).await;
    for _ in 0..3 {
        assert!(fleet.reads(INCREASE, policy()).await.is_ok());
        fleet.hands.advance(DAY);
    }
    for name in &names {
        // It began when it was discovered, and took days to load.
        fleet.answers(name, counter(3, Some(11 * 86_400)));
    }
    for _ in 0..2 {
        assert!(fleet.reads(INCREASE, policy()).await.is_ok());
        assert_eq!(fleet.counts(INCREASE).await, (Some(9), 9, 0, 0));
        fleet.hands.advance(DAY);
    }
    // One that was there for long, and was only found now.
    fleet.add(&[("old", counter(1_000, Some(-1_000 * 86_400)))]).await;
    assert_eq!(fleet.counts(INCREASE).await, (Some(10), 9, 1, 0));
    assert!(fleet.reads(INCREASE, policy()).await.is_ok());
    assert_eq!(
        fleet.reads(INCREASE, Policy::default()).await,
        Err(ReasonCode::Incomplete)
    );
}

#[tokio::test]
async fn a_range_over_a_time_without_samples_is_short() {
    let fleet = Fleet::with_config(
        &[("a", counter(10, Some(-10)))],
        config().with_stale_after(3 * DAY),
    );
    let _ = fleet.ask(INCREASE).await;
    fleet.hands.advance(2 * DAY);
    assert!(fleet.ask(INCREASE).await.unwrap().is_complete());
    fleet.hands.advance(4 * DAY);
    let completeness = fleet.completeness(INCREASE).await;
    assert_eq!((completeness.expected(), completeness.reported()), (Some(1), 0));
    assert!(fleet.ask("sum(c_total)").await.unwrap().is_complete());
    // Out of reach.
    for _ in 0..11 {
        fleet.hands.advance(DAY);
        let _ = fleet.ask(INCREASE).await;
    }
    assert!(fleet.ask(INCREASE).await.unwrap().is_complete());
}

/// An endpoint picker beside the engines has no queue of theirs that could be missing.
#[tokio::test]
async fn a_range_lacks_nothing_of_a_target_that_has_no_series_of_it() {
    let fleet = Fleet::new(&[("a", counter(7, Some(-1))), ("b", page("other 1"))]);
    assert_eq!(fleet.counts("rate(c_total[2d])").await, (Some(2), 2, 0, 0));
    assert_eq!(fleet.counts("rate(other[2d])").await, (Some(2), 1, 1, 0));
    assert_eq!(
        fleet.counts("rate({__name__=~\"c.*|o.*\"}[2d])").await,
        (Some(2), 1, 1, 0)
    );
    // It has some now, and had perhaps all the time.
    fleet.answers("b", counter(9, None));
    assert_eq!(fleet.counts("rate(c_total[2d])").await, (Some(2), 1, 1, 0));
}

/// Guards against engines' numbers that an endpoint picker withholds, which has none of them, by failing.
#[tokio::test]
async fn an_endpoint_picker_that_fails_is_missed_for_its_own_metrics_alone() {
    let picker = page("llm_d_epp_flow_control_queue_size 4");
    let fleet = Fleet::new(&[("a", page("q 1")), ("p", picker), ("c", page("other 1"))]);
    assert!(fleet.ask("sum(q)").await.unwrap().is_complete());
    fleet.answers("p", Answer::status(500));
    fleet.hands.advance(SECOND);
    assert_eq!(fleet.counts("sum(q)").await, (Some(2), 2, 0, 0));
    assert_eq!(
        fleet.counts("sum(llm_d_epp_flow_control_queue_size)").await,
        (Some(3), 2, 1, 0)
    );
    assert_eq!(fleet.counts("count({pod=~\".+\"})").await, (Some(3), 2, 1, 0));
    // An engine may just not have had any yet.
    fleet.answers("c", Answer::status(500));
    fleet.hands.advance(SECOND);
    assert_eq!(fleet.counts("sum(q)").await, (Some(2), 1, 1, 0));
}

/// A clock that is a little ahead hides nothing, and makes nothing younger than its scrape.
#[tokio::test]
async fn what_a_target_dates_a_little_ahead_counts_as_of_the_scrape() {
    let dated = |value: u32, seconds: i64| page(&format!("x {value} {}", (START + seconds) * 1_000));
    let fleet = Fleet::new(&[("a", dated(7, 4))]);
    let read = async |expected: f64| {
        let result = fleet.ask("x").await.unwrap();
        let value = result.values().next().map(|value| value.value);
        assert_eq!((value, result.is_complete()), (Some(expected), true));
    };
    read(7.0).await;
    assert_eq!(ages(&fleet, "x").await, ["a 0.0 s"]);
    let problem = fleet.source.targets()[0].problem.clone().unwrap();
    assert!(problem.contains("dated up to 5 s ahead"), "{problem}");
    // The same sample again, and then the next ones.
    for (scraped, value, dated_at) in [(2, 7, 4), (6, 7, 4), (8, 8, 12), (10, 9, 14)] {
        fleet
            .hands
            .set_wall(Timestamp::from_millis((START + scraped) * 1_000));
        fleet.answers("a", dated(value, dated_at));
        read(f64::from(value)).await;
    }
    // By more it is no clock that differs.
    fleet.answers("a", dated(10, 30));
    let error = fleet.ask("x").await.unwrap_err().to_string();
    assert!(
        error.contains("dated by their target more than 5 s ahead: left out"),
        "{error}"
    );
}

/// Guards against a value that is dated ahead once, and from then on outlives all that its pod says later.
#[tokio::test]
async fn what_a_target_dates_far_ahead_does_not_outlive_what_it_says_later() {
    let fleet = Fleet::new(&[
        ("a", page(&format!("q 11 {}", (START + 30) * 1_000))),
        ("b", page("q 1")),
    ]);
    let sum = async |expected: f64, is_complete: bool| {
        let result = fleet.ask("sum(q)").await.unwrap();
        let value = result.values().next().map(|value| value.value);
        assert_eq!((value, result.is_complete()), (Some(expected), is_complete));
    };
    sum(1.0, false).await;
    for (at, exposed, expected) in [
        (2, "q 5", 6.0),
        (4, "q{m=\"x\"} 7", 8.0),
        (40, "q{m=\"x\"} 3", 4.0),
    ] {
        fleet.hands.set_wall(Timestamp::from_millis((START + at) * 1_000));
        fleet.answers("a", page(exposed));
        sum(expected, true).await;
    }
    // What counts as of the scrape ends as what its scraper dates.
    fleet.answers("a", page(&format!("q 11 {}", (START + 43) * 1_000)));
    sum(12.0, true).await;
    fleet.hands.set_wall(Timestamp::from_millis((START + 50) * 1_000));
    fleet.answers("a", page("q{m=\"x\"} 3"));
    sum(4.0, true).await;
}
