//! What a composed row stands on: its age, who has reported, where it is from.

use std::sync::Arc;

use fleetgauge::age::{Age, AgeKind};
use fleetgauge::backend::{Backend, FetchError, Request};
use fleetgauge::completeness::{Completeness, Report};
use fleetgauge::composed::{ComposedConfig, ComposedSource, Input};
use fleetgauge::query::Shape;
use fleetgauge::result::{Answer, AnswerBuilder};
use fleetgauge::sample::Stamp;
use fleetgauge::source::CachedSourceConfig;
use fleetgauge::{CachedSource, FixedBackend, MetricsSource, QueryTemplate, SourceRegistry};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::{Fleet, NOW, SECOND, ago, clock, evaluated, refreshed, vector};

fn completeness(reported: usize, missing: &[&str]) -> Completeness {
    let mut completeness = Completeness::known();
    (0..reported).for_each(|_| completeness.add("", Report::Reported));
    missing
        .iter()
        .for_each(|who| completeness.add(who, Report::Missing("timeout")));
    completeness
}

/// Queue of pods of which one is missing, and a backlog without completeness.
fn counted() -> Fleet {
    let age = |s| Age::exact(s * SECOND);
    let queue = ["pod=a,variant=x 3", "pod=b,variant=x 4", "pod=c,variant=y 0"];
    let memory = ["gpu=0,pod=a 2", "gpu=1,pod=a 4", "gpu=0,pod=b 8"];
    let pods = FixedBackend::new()
        .answer("inference/queue_length", vector(NOW, &queue))
        .ages("inference/queue_length", [age(1), age(5), age(9).with_ended()])
        .completeness("inference/queue_length", completeness(3, &["d"]))
        .answer("gpu/memory", vector(NOW, &memory))
        .ages("gpu/memory", [age(2), Age::at_most(20 * SECOND)])
        .completeness("gpu/memory", completeness(2, &[]));
    let backlog = vector(NOW, &["variant=x 10", "variant=y 20"]);
    let central = FixedBackend::new().answer("epp/queue_size", backlog);
    Fleet::of(pods, central.ages("epp/queue_size", [age(3), Age::UNKNOWN]))
}

#[tokio::test]
async fn a_composed_row_is_as_old_as_its_oldest_input() {
    let fleet = counted();
    let composed = fleet.composed();
    for (text, expected) in [
        ("queue", &["5s", "9s ended", "1s"][..]),
        ("sum by (variant) (queue)", &["5s", "9s ended"]),
        (
            "sum by (variant) (queue) + on (variant) backlog",
            &["5s", "unknown"],
        ),
        (
            "queue{pod=\"a\"} * on (pod) group_right (variant) gpu_memory",
            &["2s", "at most 20s"],
        ),
        ("max(gpu_memory)", &["unknown"]),
        ("backlog{variant=\"x\"} or vector(0)", &["3s", "ageless"]),
        ("queue{pod=\"a\"} * scalar(backlog{variant=\"x\"})", &["3s"]),
        ("absent(queue{pod=\"d\"})", &["ageless"]),
    ] {
        let result = evaluated(&composed, text).await.unwrap();
        let mut shown: Vec<_> = (0..result.len())
            .map(|row| {
                let age = result.age(row);
                let seconds = age.duration().map(|age| age.as_secs());
                let ended = if age.is_ended() { " ended" } else { "" };
                match (age.kind(), seconds) {
                    (AgeKind::Exact, Some(seconds)) => format!("{seconds}s{ended}"),
                    (AgeKind::AtMost, Some(seconds)) => format!("at most {seconds}s{ended}"),
                    (AgeKind::Ageless, _) => "ageless".to_owned(),
                    (AgeKind::Unknown, _) => "unknown".to_owned(),
                    other => panic!("{other:?}"),
                }
            })
            .collect();
        let mut expected: Vec<_> = expected.iter().map(|text| (*text).to_owned()).collect();
        shown.sort();
        expected.sort();
        assert_eq!(shown, expected, "{text}");
    }
}

/// Ranges tell no ages: an input is asked for the end of them as well.
#[tokio::test]
async fn what_is_computed_from_a_range_is_at_least_as_old_as_the_input_at_its_end() {
    let points = ["pod=a 1 2", "pod=b 3 4", "pod=c 5 -"];
    let mut range = AnswerBuilder::new(Stamp::Evaluated);
    range.matrix();
    for row in points {
        let (pod, values) = row.split_once(' ').unwrap();
        range.label("pod", pod.trim_start_matches("pod="));
        for (value, seconds) in values.split(' ').zip([15, 0]) {
            if let Ok(value) = value.parse() {
                range.point(value, ago(seconds).unwrap());
            }
        }
        range.end_points().unwrap();
    }
    let range = range.build();
    // The last row is not in the range.
    let end = vector(NOW, &["pod=a 2", "pod=b 4", "pod=d 9"]);
    let end = end.with_ages(vec![
        Age::exact(5 * SECOND),
        Age::at_most(7 * SECOND).with_ended(),
        Age::exact(SECOND),
    ]);
    let source = |end: Result<Answer, FetchError>| {
        let by_shape = ByShape {
            range: range.clone(),
            end,
        };
        let pods = CachedSource::new(Arc::new(by_shape), CachedSourceConfig::default());
        pods.query_list().must_register(QueryTemplate::promql("q", "up"));
        let sources = SourceRegistry::new();
        sources.register("pods", Arc::new(pods)).unwrap();
        let config = ComposedConfig::new("fleet").with_input(Input::new("queue", "pods", "q"));
        ComposedSource::with_clock(config, &sources, clock().0).unwrap()
    };
    let unknown = (None, AgeKind::Unknown, false);
    let of = async |source: &ComposedSource, text: &str| {
        let result = evaluated(source, text).await.unwrap();
        let age = result.age(0);
        (
            age.duration().map(|age| age.as_secs()),
            age.kind(),
            age.is_ended(),
        )
    };
    let told = source(Ok(end));
    for (text, expected) in [
        (
            r#"max_over_time(queue{pod="a"}[1m])"#,
            (Some(5), AgeKind::AtLeast, false),
        ),
        (
            r#"max_over_time(queue{pod="b"}[1m])"#,
            (Some(7), AgeKind::Around, true),
        ),
        // Whether it has ended is not known: there is no such row, whatever the reason is.
        (r#"max_over_time(queue{pod="c"}[1m])"#, unknown),
        (r#"sum(max_over_time(queue{pod!="b"}[1m]))"#, unknown),
        (
            r#"sum(max_over_time(queue{pod=~"a|b"}[1m]))"#,
            (Some(7), AgeKind::Around, true),
        ),
        // The steps of a subquery have none.
        (r#"max_over_time(queue{pod="a"}[30s:15s])"#, unknown),
    ] {
        assert_eq!(of(&told, text).await, expected, "{text}");
    }
    // Where it is not told, the value is there all the same.
    let silent = source(Err(FetchError::Aborted));
    assert_eq!(of(&silent, r#"max_over_time(queue{pod="a"}[1m])"#).await, unknown);
}

/// Answers ranges and single times differently.
struct ByShape {
    range: Answer,
    end: Result<Answer, FetchError>,
}

impl Backend for ByShape {
    fn fetch<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Answer, FetchError>> {
        let answer = match request.shape {
            Shape::Instant => {
                assert_eq!(request.at, Some(NOW));
                self.end.clone()
            }
            _ => Ok(self.range.clone()),
        };
        async { answer }.boxed()
    }
}

#[tokio::test]
async fn what_is_cached_grows_older_in_what_is_composed_of_it() {
    let (clock, hands) = clock();
    let backend = FixedBackend::new()
        .answer("q", vector(NOW, &["pod=a 1"]))
        .ages("q", [Age::exact(5 * SECOND)]);
    let input = CachedSource::with_clock(Arc::new(backend), CachedSourceConfig::default(), clock.clone());
    input.query_list().must_register(QueryTemplate::promql("q", "up"));
    let sources = SourceRegistry::new();
    sources.register("pods", Arc::new(input.clone())).unwrap();
    let config = ComposedConfig::new("fleet")
        .with_input(Input::new("queue", "pods", "q"))
        .with_query(QueryTemplate::promql("sum", "sum(queue)"));
    let composed = ComposedSource::with_clock(config, &sources, clock).unwrap();
    refreshed(&input, "q", |spec| spec).await.unwrap();
    hands.advance(7 * SECOND);
    let cached = refreshed(&composed, "sum", |spec| spec.max_age(10 * SECOND)).await;
    assert_eq!(cached.unwrap().age(0), Age::exact(12 * SECOND));
    let anew = refreshed(&composed, "sum", |spec| spec).await;
    assert_eq!(anew.unwrap().age(0), Age::exact(5 * SECOND));
}

#[tokio::test]
async fn the_completeness_is_the_sum_of_those_of_the_inputs() {
    let fleet = counted();
    let composed = fleet.composed();
    for (text, expected) in [
        ("sum(queue)", "3 of 4 reported; missing: d (timeout)"),
        (
            "sum(queue) + sum(gpu_memory)",
            "5 of 6 reported; missing: d (timeout)",
        ),
        // Asked for twice, the same pods are expected once.
        ("sum(queue) + max(queue)", "3 of 4 reported; missing: d (timeout)"),
        (
            "sum(queue) + sum(queue offset 1m)",
            "3 of 4 reported; missing: d (timeout)",
        ),
        ("sum(gpu_memory)", "2 of 2 reported"),
        // Of one input it is not known who is expected.
        (
            "sum(queue) + sum(backlog)",
            "3 reported, of an unknown number; missing: d (timeout)",
        ),
    ] {
        let result = evaluated(&composed, text).await.unwrap();
        let completeness = result.answer().completeness().unwrap();
        assert_eq!(completeness.to_string(), expected, "{text}");
        assert_eq!(result.is_complete(), completeness.is_whole(), "{text}");
        // Who is missing is counted, and is no loss beside that.
        assert!(!result.answer().has_uncounted_loss(), "{text}");
        let told = result.warnings().collect::<Vec<_>>();
        assert_eq!(told.is_empty(), completeness.is_whole(), "{told:?}");
    }
    let none = evaluated(&composed, "sum(backlog)").await.unwrap();
    assert!(none.answer().completeness().is_none() && none.is_complete());
}

#[tokio::test]
async fn an_optional_input_that_fails_counts_as_one_that_is_missing() {
    let fleet = counted();
    fleet.pods.forget("gpu/memory");
    let _ = fleet.pods.clone().failure("gpu/memory", FetchError::Aborted);
    let mut config = Fleet::config();
    config.inputs[1].is_optional = true;
    let composed = ComposedSource::new(config, &fleet.sources).unwrap();
    let result = evaluated(&composed, "sum(queue) + sum(gpu_memory) or sum(queue)")
        .await
        .unwrap();
    let completeness = result.answer().completeness().unwrap();
    assert_eq!(completeness.expected(), Some(5));
    let missing = completeness.missing().named();
    assert_eq!([&*missing[0].who, &*missing[1].who], ["gpu_memory", "d"]);
    assert!(
        missing[0].reason.contains("the fetch was aborted"),
        "{completeness}"
    );
}

#[tokio::test]
async fn the_origin_names_the_inputs() {
    let fleet = counted();
    let result = evaluated(&fleet.composed(), "sum(queue) + max(queue) + sum(backlog)")
        .await
        .unwrap();
    let provenance = result.answer().provenance().unwrap();
    let origin = provenance.origin().unwrap();
    assert_eq!((&*origin.source, &*origin.query), ("fleet", "q"));
    assert_eq!(&*origin.text, "sum(queue) + max(queue) + sum(backlog)");
    let inputs: Vec<_> = origin.sent.iter().map(|input| &**input).collect();
    let expected = [
        "queue: pods inference/queue_length",
        "backlog: central epp/queue_size",
    ];
    assert_eq!(inputs, expected);
}
