//! The times at which an expression reads its inputs.

use std::sync::Arc;
use std::time::Duration;

use fleetgauge::backend::{Backend, FetchError, Request};
use fleetgauge::composed::{ComposedConfig, ComposedSource, Input};
use fleetgauge::query::Shape;
use fleetgauge::result::{Answer, AnswerBuilder};
use fleetgauge::sample::Stamp;
use fleetgauge::source::CachedSourceConfig;
use fleetgauge::time::Timestamp;
use fleetgauge::{CachedSource, FixedBackend, MetricsSource, ParamKind, ParamSpec, QueryTemplate};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::{Fleet, NOW, SECOND, ago, check, clock, evaluated, refreshed, refused, shown, vector};
use crate::support::rows;

#[tokio::test]
async fn values_are_dated_by_the_oldest_input() {
    let before = |seconds: i64| Timestamp::from_millis(NOW.as_millis() - 1_000 * seconds);
    let check = async |queue: Answer, backlog: Answer, text: &str, expected: (i64, Stamp)| {
        let fleet = Fleet::of(
            FixedBackend::new().answer("inference/queue_length", queue),
            FixedBackend::new().answer("epp/queue_size", backlog),
        );
        let result = evaluated(&fleet.composed(), text).await.unwrap();
        let value = result.values().next().unwrap();
        assert_eq!(
            (value.timestamp, value.stamp),
            (before(expected.0), expected.1),
            "{text}"
        );
    };
    let scraped = |age: i64| rows::vector(Stamp::Sampled, before(age), &["pod=a 1"]);
    let two = || {
        let mut answer = AnswerBuilder::new(Stamp::Sampled);
        for (pod, age) in [("a", 3), ("b", 40), ("c", 2)] {
            answer.series([("pod", pod)], 1.0, before(age)).unwrap();
        }
        answer.build()
    };
    let both = "sum(queue) + sum(backlog)";
    check(scraped(5), scraped(20), both, (20, Stamp::Sampled)).await;
    check(two(), scraped(20), both, (40, Stamp::Sampled)).await;
    // Of some it is not known how old the samples are.
    check(scraped(5), vector(before(1), &["1"]), both, (5, Stamp::Evaluated)).await;
    check(vector(before(7), &["1"]), scraped(5), both, (7, Stamp::Evaluated)).await;
    // What is not read, or not there, dates nothing; nor is a value from the future young.
    check(scraped(5), scraped(20), "sum(queue)", (5, Stamp::Sampled)).await;
    check(
        scraped(5),
        Answer::no_data(),
        "sum(queue) or sum(backlog)",
        (5, Stamp::Sampled),
    )
    .await;
    check(
        Answer::no_data(),
        Answer::no_data(),
        "absent(queue)",
        (0, Stamp::Evaluated),
    )
    .await;
    check(scraped(-9), scraped(-3), both, (0, Stamp::Sampled)).await;
}

#[tokio::test]
async fn an_input_is_as_old_as_max_age_allows_and_asked_anew_without() {
    let (clock, hand) = clock();
    let fleet = Fleet::new();
    // One source with the same clock.
    let central = CachedSource::with_clock(
        Arc::new(fleet.central.clone()),
        CachedSourceConfig::default(),
        clock.clone(),
    );
    central
        .query_list()
        .must_register(QueryTemplate::promql("epp/queue_size", "up"));
    fleet.sources.replace("central", Arc::new(central)).unwrap();
    let composed = ComposedSource::with_clock(Fleet::config(), &fleet.sources, clock).unwrap();
    composed
        .query_list()
        .must_register(QueryTemplate::promql("q", "sum(backlog)"));
    let asked = async |max_age: Option<u64>| {
        let before = fleet.asked()[2];
        let result = refreshed(&composed, "q", |spec| match max_age {
            Some(seconds) => spec.max_age(Duration::from_secs(seconds)),
            None => spec,
        });
        let result = result.await.unwrap();
        assert_eq!(shown(result.answer()), ["{} 30"]);
        fleet.asked()[2] - before
    };
    assert_eq!(asked(None).await, 1);
    assert_eq!(asked(None).await, 1);
    assert_eq!(asked(Some(10)).await, 0);
    hand.advance(9 * SECOND);
    assert_eq!(asked(Some(10)).await, 0);
    assert_eq!(asked(Some(8)).await, 1);
    assert_eq!(fleet.central.asked().last().unwrap().max_age, Some(8 * SECOND));
    // The answer that was had a moment ago holds values of nine seconds ago.
    assert_eq!(asked(Some(8)).await, 1);
    assert_eq!(asked(Some(9)).await, 0);
    // Expired after 30 s.
    hand.advance(31 * SECOND);
    assert_eq!(asked(Some(1_000)).await, 1);
}

#[tokio::test]
async fn a_given_time_is_given_to_all_inputs() {
    let fleet = Fleet::new();
    let composed = fleet.composed();
    let at = Timestamp::from_millis(NOW.as_millis() - 3_600_000);
    composed
        .query_list()
        .must_register(QueryTemplate::promql("q", "sum(queue) + sum(backlog offset 1m)"));
    let result = refreshed(&composed, "q", |spec| {
        spec.at(at).max_age(Duration::from_secs(60))
    })
    .await
    .unwrap();
    assert_eq!(shown(result.answer()), ["{} 37"]);
    let times = |backend: &FixedBackend| {
        backend
            .asked()
            .iter()
            .map(|request| request.at)
            .collect::<Vec<_>>()
    };
    assert_eq!(times(&fleet.pods), [Some(at)]);
    assert_eq!(
        times(&fleet.central),
        [Some(Timestamp::from_millis(at.as_millis() - 60_000))]
    );
}

fn over(window: u64, step: u64) -> Shape {
    Shape::Range {
        window: Duration::from_secs(window),
        step: Duration::from_secs(step),
    }
}

#[tokio::test]
async fn a_range_or_an_offset_of_an_input_is_asked_for_those_times() {
    let now = Shape::Instant;
    let check = async |text: &str, expected: &[(Shape, Option<Timestamp>)], value: f64| {
        let fleet = Fleet::new();
        let result = evaluated(&fleet.composed(), text).await.unwrap();
        assert_eq!(
            result.values().next().map(|value| value.value),
            Some(value),
            "{text}"
        );
        let asked = fleet.pods.asked();
        let mut asked: Vec<_> = asked.iter().map(|request| (request.shape, request.at)).collect();
        asked.sort_by_key(|(_, at)| at.is_none());
        assert_eq!(asked, expected, "{text}");
    };
    // NOW is a multiple of 15 s and of 60 s. The left end is open.
    check("sum(queue)", &[(now, None)], 7.0).await;
    check("sum(queue offset 5m)", &[(now, ago(300))], 7.0).await;
    check("sum(queue offset -5m)", &[(now, ago(-300))], 7.0).await;
    check("sum(queue @ 1763999000)", &[(now, ago(1_000))], 7.0).await;
    check("sum(queue @ end())", &[(now, None)], 7.0).await;
    // How old the points of a range are, the answer for its end tells.
    check(
        "sum(count_over_time(queue[10m]))",
        &[(over(585, 15), ago(0)), (now, ago(0))],
        120.0,
    )
    .await;
    check(
        "sum(count_over_time(queue[10m] offset 7s))",
        &[(over(585, 15), ago(15)), (now, ago(15))],
        120.0,
    )
    .await;
    check(
        "sum(queue) - sum(avg_over_time(queue[1m]))",
        &[(over(45, 15), ago(0)), (now, ago(0)), (now, None)],
        0.0,
    )
    .await;
    check(
        "sum(queue) - sum(queue offset 1m)",
        &[(now, ago(60)), (now, None)],
        0.0,
    )
    .await;
    check(
        "sum(count_over_time(queue[5m:1m]))",
        &[(over(240, 60), ago(0))],
        15.0,
    )
    .await;
    check(
        "sum(count_over_time(sum(queue)[5m:]))",
        &[(over(240, 60), ago(0))],
        5.0,
    )
    .await;
    // What overlaps is asked for once.
    check(
        "sum(count_over_time(queue[1m])) + sum(count_over_time(queue[1m] offset 1m))",
        &[(over(105, 15), ago(0)), (now, ago(0))],
        24.0,
    )
    .await;
    check(
        "sum(max_over_time(queue[2m:1m])) + sum(queue offset 1m)",
        &[(over(60, 60), ago(0))],
        14.0,
    )
    .await;
}

#[tokio::test]
async fn the_times_of_a_range_are_as_far_apart_as_the_input_says() {
    let fleet = Fleet::new();
    let mut config = Fleet::config();
    config.inputs[0].step = Duration::from_secs(30);
    let composed = ComposedSource::with_clock(config, &fleet.sources, clock().0).unwrap();
    check(&composed, "sum(count_over_time(queue[10m]))", &["{} 60"]).await;
    let error = composed
        .query_list()
        .register(QueryTemplate::promql("short", "rate(queue[20s])"))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "query short: a range of 20000 ms over queue may hold none of its points, which are 30000 ms apart; lengthen \
         the range, or shorten the input's step"
    );
    // One that is known only when it is asked.
    let template = QueryTemplate::promql("q", "rate(queue[{{.range}}])");
    let template = template.param(ParamSpec::required("range", ParamKind::Duration));
    composed.query_list().replace(template).unwrap();
    let error = refreshed(&composed, "q", |spec| spec.params([("range", "20s")]))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("20000 ms over queue"), "{error}");
    assert!(
        refreshed(&composed, "q", |spec| spec.params([("range", "2m")]))
            .await
            .is_ok()
    );
}

/// Answers what is now, and nothing else.
struct NowOnly(FixedBackend);

impl Backend for NowOnly {
    fn fetch<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Answer, FetchError>> {
        if request.at.is_none() && request.shape == Shape::Instant {
            return self.0.fetch(request);
        }
        async {
            Err(FetchError::Unsupported {
                what: "ranges and given times".into(),
            })
        }
        .boxed()
    }
}

#[tokio::test]
async fn a_source_that_knows_only_what_is_now_says_so() {
    let fleet = Fleet::new();
    let pods = CachedSource::new(
        Arc::new(NowOnly(fleet.pods.clone())),
        CachedSourceConfig::default(),
    );
    pods.query_list()
        .must_register(QueryTemplate::promql("inference/queue_length", "up"));
    pods.query_list()
        .must_register(QueryTemplate::promql("gpu/memory", "up"));
    fleet.sources.replace("pods", Arc::new(pods)).unwrap();
    let composed = fleet.composed();
    check(&composed, "sum(queue)", &["{} 7"]).await;
    for (text, asked) in [
        ("sum(rate(queue[10m]))", "over a range"),
        ("sum(queue offset 5m)", "at a given time"),
    ] {
        let expected = format!(
            "query q: input \"queue\" of source \"pods\", {asked}: query inference/queue_length: not supported by this \
             source: ranges and given times"
        );
        assert_eq!(
            refused(&composed, text).await,
            ("unsupported", expected),
            "{text}"
        );
    }
}

#[tokio::test]
async fn ranges_are_evaluated_over_ranges_of_the_inputs() {
    let mut gaps = AnswerBuilder::new(Stamp::Evaluated);
    gaps.label("variant", "x");
    for seconds in [-60, -30, -15, 0] {
        gaps.point(f64::from(seconds), ago(-i64::from(seconds)).unwrap());
    }
    gaps.end_points().unwrap();
    let fleet = Fleet::of(
        FixedBackend::new().answer("inference/queue_length", gaps.build()),
        FixedBackend::new().answer("epp/queue_size", vector(NOW, &["variant=x 10"])),
    );
    let composed = fleet.composed();
    for (text, expected) in [
        (
            "queue",
            &[r#"queue{variant="x"} -60@-60 -30@-30 -15@-15 0@0"#][..],
        ),
        // A step without a value is absent, and nothing stands in for it.
        (
            "queue + on (variant) backlog",
            &[r#"{variant="x"} -50@-60 -20@-30 -5@-15 10@0"#],
        ),
        ("absent(queue)", &["{} 1@-45"]),
        (
            "queue offset 15s",
            &[r#"queue{variant="x"} -60@-45 -30@-15 -15@0"#],
        ),
        (
            "count_over_time(queue[30s])",
            &[r#"{variant="x"} 1@-60 1@-45 1@-30 2@-15 2@0"#],
        ),
        ("sum(queue @ end())", &["{} 0@-60 0@-45 0@-30 0@-15 0@0"]),
    ] {
        composed
            .query_list()
            .replace(QueryTemplate::promql("q", text))
            .unwrap();
        let result = refreshed(&composed, "q", |spec| spec.range(60 * SECOND, 15 * SECOND)).await;
        assert_eq!(shown(result.unwrap().answer()), expected, "{text}");
    }
    let asked = fleet.central.asked();
    assert_eq!((asked[0].shape, asked[0].at), (over(60, 15), ago(0)));
}

#[tokio::test]
async fn a_range_that_is_refreshed_asks_its_inputs_for_what_is_new_unless_one_looks_ahead() {
    for (text, looks_ahead) in [("up", false), ("up @ end()", true)] {
        let (clock, hand) = clock();
        let fleet = Fleet::new();
        let mut config = ComposedConfig::new("fleet")
            .with_input(Input::own("central", QueryTemplate::promql("own", text)));
        config = config.with_query(QueryTemplate::promql("q", "sum(own)"));
        let _ = fleet
            .central
            .clone()
            .answer("composed:fleet/own", vector(NOW, &["1"]));
        let composed = ComposedSource::with_clock(config, &fleet.sources, clock).unwrap();
        for _ in 0..2 {
            let result = refreshed(&composed, "q", |spec| spec.range(600 * SECOND, 15 * SECOND))
                .await
                .unwrap();
            assert_eq!((result.len(), result.is_complete()), (41, true));
            assert_eq!(result.warnings().len(), usize::from(looks_ahead), "{text}");
            hand.advance(15 * SECOND);
        }
        let asked: Vec<_> = fleet
            .central
            .asked()
            .iter()
            .map(|request| request.shape)
            .collect();
        // The new step, and the last minute.
        let second = if looks_ahead { over(600, 15) } else { over(60, 15) };
        assert_eq!(asked, [over(600, 15), second], "{text}");
    }
}
