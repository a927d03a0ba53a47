//! Metrics that a pod exposed and exposes no longer: how long that is known, and what it takes from ranges.

use fleetgauge_testkit::Answer;

use crate::support::fleet::{Fleet, SECOND, config, page};

/// What was missing when it went is missing when it is back, unless it is another process by then.
#[tokio::test]
async fn a_pod_that_is_back_is_held_to_what_it_exposed_before() {
    let said = |text: &str, start: u32| page(&format!("{text}\nprocess_start_time_seconds {start}"));
    let both = "queue 1\nother 1";
    for (at_last, when_back, is_missing) in [
        (said("other 1", 1), said("other 1", 1), true),
        (said(both, 1), said("other 1", 1), true),
        (page("other 1"), page("other 1"), true),
        (said("other 1", 1), said(both, 1), false),
        (said("other 1", 1), said("other 1", 2), false),
        (said(both, 1), said("other 1", 2), false),
        (Answer::status(500), page("other 1"), false),
    ] {
        let mut fleet = Fleet::new(&[("a", said(both, 1)), ("b", page("queue 2"))]);
        assert_eq!(fleet.counts("sum(queue)").await, (Some(2), 2, 0, 0));
        fleet.hands.advance(SECOND);
        fleet.answers("a", at_last);
        let _ = fleet.ask("sum(queue)").await;
        let (name, server) = fleet.remove("a").await;
        fleet.hands.advance(SECOND);
        assert_eq!(fleet.counts("sum(queue)").await, (Some(1), 1, 0, 0));
        server.set_script([when_back]).unwrap();
        fleet.pods.push((name, server));
        fleet.discover().await;
        fleet.hands.advance(SECOND);
        let _ = fleet.ask("sum(queue)").await;
        let found = fleet.counts("sum(queue)").await;
        assert_eq!(found.2 == 1, is_missing, "{found:?}");
    }
}

/// That a process is the same one is known, whatever else is kept of its page.
#[tokio::test]
async fn which_metrics_are_kept_does_not_matter_to_what_is_missed() {
    let said = |text: &str, start: u32| page(&format!("{text}process_start_time_seconds {start}"));
    let fleet = Fleet::with_config(&[("a", said("queue 1\n", 1))], config().with_wanted(["queue"]));
    fleet.ask("sum(queue)").await.unwrap();
    for (answer, is_missing) in [
        (said("", 1), true),
        (Answer::status(500), true),
        (said("", 1), true),
        (said("", 2), false),
    ] {
        fleet.hands.advance(SECOND);
        fleet.answers("a", answer);
        let error = fleet.ask("sum(queue)").await.map(|result| result.is_complete());
        assert_eq!(error.is_err(), is_missing, "{error:?}");
    }
}

/// A metric that is back was not there for a while.
#[tokio::test]
async fn a_range_over_the_time_for_which_a_metric_was_not_exposed_lacks_a_part() {
    let fleet = Fleet::new(&[("a", page("queue 1\nother 1"))]);
    for answer in ["queue 1\nother 1", "other 1", "other 1", "queue 3\nother 1"] {
        fleet.answers("a", page(answer));
        fleet.hands.advance(60 * SECOND);
        let _ = fleet.ask("queue").await;
    }
    let why = "it did not expose queue from Mon, 24 Nov 2025 16:02:00 GMT";
    for (query, is_whole) in [
        ("queue", true),
        ("other offset 90s", true),
        ("max_over_time(other[5m])", true),
        ("max_over_time(queue[90s])", false),
        ("max_over_time(queue[5m])", false),
        ("vector(1) or queue offset 90s", false),
        ("last_over_time({__name__=~'queue|other'}[90s])", false),
        ("queue offset 130s", true),
    ] {
        let of = fleet.ask(query).await.unwrap();
        let warnings = of.warnings().collect::<Vec<_>>().join("; ");
        assert_eq!(of.is_complete(), is_whole, "{query}: {warnings}");
        assert_eq!(warnings.contains(why), !is_whole, "{query}: {warnings}");
    }
    // Out of reach.
    fleet.hands.advance(60 * SECOND);
    assert!(
        fleet
            .ask("max_over_time(queue[50s])")
            .await
            .unwrap()
            .is_complete()
    );
}
