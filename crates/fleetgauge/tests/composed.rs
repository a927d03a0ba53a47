//! Sources over sources: fixed answers beneath, PromQL above.

use std::sync::Arc;
use std::time::Duration;

use fleetgauge::age::{Age, AgeKind};
use fleetgauge::backend::{Backend, FetchError, Request};
use fleetgauge::completeness::{Completeness, Report};
use fleetgauge::composed::{ComposedConfig, ComposedSource, Input};
use fleetgauge::query::Shape;
use fleetgauge::result::{Answer, AnswerBuilder, MetricResult};
use fleetgauge::sample::Stamp;
use fleetgauge::source::{CachedSourceConfig, Outcome};
use fleetgauge::time::{Clock, ManualClock, Timestamp};
use fleetgauge::{
    CachedSource, FixedBackend, MetricsSource, ParamKind, ParamSpec, Params, QueryTemplate, RefreshSpec,
    SourceRegistry,
};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::support::rows;

/// Two sources: `pods` has `inference/queue_length` and `gpu/memory`, `central` has `epp/queue_size`.
struct Fleet {
    pods: FixedBackend,
    central: FixedBackend,
    sources: SourceRegistry,
}

const SECOND: Duration = Duration::from_secs(1);
/// Where a test moves the time itself.
const NOW: Timestamp = Timestamp::from_millis(1_764_000_000_000);

// === impl Fleet ===

impl Fleet {
    /// `queue_length` of three pods of two variants, `memory` of three GPUs of two of them, a backlog of each variant.
    fn new() -> Self {
        Self::of(
            FixedBackend::new()
                .answer(
                    "inference/queue_length",
                    vector(
                        NOW,
                        &["pod=a,variant=x 3", "pod=b,variant=x 4", "pod=c,variant=y 0"],
                    ),
                )
                .answer(
                    "gpu/memory",
                    vector(NOW, &["gpu=0,pod=a 2", "gpu=1,pod=a 4", "gpu=0,pod=b 8"]),
                ),
            FixedBackend::new().answer("epp/queue_size", vector(NOW, &["variant=x 10", "variant=y 20"])),
        )
    }

    fn of(pods: FixedBackend, central: FixedBackend) -> Self {
        let sources = SourceRegistry::new();
        for (name, backend, queries) in [
            ("pods", &pods, &["inference/queue_length", "gpu/memory"][..]),
            ("central", &central, &["epp/queue_size"]),
        ] {
            let source = backend.clone().into_source();
            for query in queries {
                source
                    .query_list()
                    .must_register(QueryTemplate::promql(*query, "up"));
            }
            sources.register(name, Arc::new(source)).unwrap();
        }
        Self {
            pods,
            central,
            sources,
        }
    }

    fn config() -> ComposedConfig {
        ComposedConfig::new("fleet")
            .with_input(Input::new("queue", "pods", "inference/queue_length"))
            .with_input(Input::new("gpu_memory", "pods", "gpu/memory"))
            .with_input(Input::new("backlog", "central", "epp/queue_size"))
    }

    fn composed(&self) -> ComposedSource {
        ComposedSource::with_clock(Self::config(), &self.sources, clock().0).unwrap()
    }

    /// How often each input was asked: queue, memory, backlog.
    fn asked(&self) -> [usize; 3] {
        let of = |backend: &FixedBackend, query: &str| {
            let asked = backend.asked();
            asked
                .iter()
                .filter(|request| request.name.as_str() == query)
                .count()
        };
        [
            of(&self.pods, "inference/queue_length"),
            of(&self.pods, "gpu/memory"),
            of(&self.central, "epp/queue_size"),
        ]
    }
}

fn clock() -> (Clock, ManualClock) {
    Clock::manual(NOW)
}

/// Rows `label=value,… NUMBER`.
fn vector(at: Timestamp, rows: &[&str]) -> Answer {
    rows::vector(Stamp::Evaluated, at, rows)
}

/// The series, a line each, with the times of a matrix relative to [`NOW`] in seconds.
fn shown(answer: &Answer) -> Vec<String> {
    rows::shown(answer, NOW)
}

async fn refreshed(
    source: &dyn MetricsSource,
    name: &str,
    spec: impl FnOnce(RefreshSpec) -> RefreshSpec,
) -> Outcome {
    let results = source.refresh(spec(RefreshSpec::queries([name]))).await;
    results[name].clone()
}

/// Registers `text` and asks for it.
async fn evaluated(source: &ComposedSource, text: &str) -> Outcome {
    source
        .query_list()
        .replace(QueryTemplate::promql("q", text))
        .unwrap();
    refreshed(source, "q", |spec| spec).await
}

async fn check(source: &ComposedSource, text: &str, expected: &[&str]) {
    let result = evaluated(source, text)
        .await
        .unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!(shown(result.answer()), expected, "{text}");
}

/// The error of `text`, with its reason in one word.
async fn refused(source: &ComposedSource, text: &str) -> (&'static str, String) {
    let error = evaluated(source, text).await.expect_err(text);
    (error.reason(), error.to_string())
}

fn warnings(result: &MetricResult) -> Vec<String> {
    result.warnings().map(str::to_owned).collect()
}

#[tokio::test]
async fn sources_are_aggregated_and_joined_by_promql() {
    let fleet = Fleet::new();
    let composed = fleet.composed();
    for (text, expected) in [
        ("sum(queue)", &["{} 7"][..]),
        (
            "sum by (variant) (queue) + on (variant) backlog",
            &[r#"{variant="x"} 17"#, r#"{variant="y"} 20"#],
        ),
        (
            "gpu_memory / on (pod) group_left (variant) queue",
            &[
                r#"{gpu="0", pod="a", variant="x"} 0.6666666666666666"#,
                r#"{gpu="0", pod="b", variant="x"} 2"#,
                r#"{gpu="1", pod="a", variant="x"} 1.3333333333333333"#,
            ],
        ),
        (
            "queue unless on (pod) gpu_memory",
            &[r#"queue{pod="c", variant="y"} 0"#],
        ),
        (r#"sum({__name__=~"queue|backlog"})"#, &["{} 37"]),
        ("absent(queue)", &[]),
        ("time()", &["{} 1764000000"]),
        ("max(sum_over_time(backlog[1m:1m] @ end()))", &["{} 20"]),
    ] {
        check(&composed, text, expected).await;
    }
}

#[tokio::test]
async fn only_what_an_expression_names_is_asked_and_once_each() {
    for (text, expected) in [
        ("sum(queue)", [1, 0, 0]),
        ("sum(queue) + max(queue) - min(queue)", [1, 0, 0]),
        ("sum(queue) + sum(backlog)", [1, 0, 1]),
        (r#"count({__name__=~".*e.*"})"#, [1, 1, 0]),
        (r#"count({pod="a"})"#, [1, 1, 1]),
        ("vector(1)", [0, 0, 0]),
    ] {
        let fleet = Fleet::new();
        evaluated(&fleet.composed(), text).await.unwrap();
        assert_eq!(fleet.asked(), expected, "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn inputs_are_asked_side_by_side() {
    let fleet = Fleet::new();
    let _ = fleet
        .pods
        .clone()
        .delay("inference/queue_length", 3 * SECOND)
        .delay("gpu/memory", 2 * SECOND);
    let _ = fleet.central.clone().delay("epp/queue_size", 3 * SECOND);
    let begun = tokio::time::Instant::now();
    check(
        &fleet.composed(),
        "sum(queue) + sum(gpu_memory) + sum(backlog)",
        &["{} 51"],
    )
    .await;
    let took = begun.elapsed();
    assert!((3 * SECOND..4 * SECOND).contains(&took), "{took:?}");
}

#[tokio::test]
async fn no_data_is_an_empty_vector_and_no_zero() {
    let fleet = Fleet::new();
    fleet.pods.forget("inference/queue_length");
    let composed = fleet.composed();
    check(&composed, "absent(queue)", &["{} 1"]).await;
    check(
        &composed,
        r#"absent(queue{variant="x"})"#,
        &[r#"{variant="x"} 1"#],
    )
    .await;
    check(&composed, "sum(queue) or sum(backlog)", &["{} 30"]).await;
    let result = evaluated(&composed, "sum(queue) + sum(backlog)").await.unwrap();
    assert!(result.is_no_data() && result.is_complete());
}

#[tokio::test(start_paused = true)]
async fn an_input_that_fails_fails_the_query_and_is_named_with_its_source_and_reason() {
    let fleet = Fleet::new();
    let composed = fleet.composed();
    let down = FetchError::Unreachable {
        detail: "central:9090: connection refused".into(),
        source: None,
    };
    fleet.central.forget("epp/queue_size");
    let _ = fleet.central.clone().failure("epp/queue_size", down);
    let expected = "query q: input \"backlog\" of source \"central\": query epp/queue_size: unreachable: \
                    central:9090: connection refused";
    // Also where `or` or an empty side would have hidden it, and where it fails long after the others have answered.
    for (text, delay) in [
        ("sum(queue) + sum(backlog)", Duration::ZERO),
        ("sum(queue) or sum(backlog)", Duration::ZERO),
        ("absent(backlog)", Duration::ZERO),
        ("queue + on (variant) backlog", 5 * SECOND),
    ] {
        let _ = fleet.central.clone().delay("epp/queue_size", delay);
        let (reason, error) = refused(&composed, text).await;
        assert_eq!((reason, error.as_str()), ("unreachable", expected), "{text}");
        assert!(composed.get("q", &Params::new()).is_none(), "{text}");
    }
    check(&composed, "sum(queue)", &["{} 7"]).await;
}

#[tokio::test(start_paused = true)]
async fn one_that_fails_late_leaves_the_last_good_value() {
    let fleet = Fleet::new();
    let composed = fleet.composed();
    check(&composed, "sum(queue) + sum(backlog)", &["{} 37"]).await;
    fleet.central.forget("epp/queue_size");
    let lost = FetchError::Unavailable {
        status: 500,
        message: "storage is gone".into(),
        retry_after: None,
    };
    let _ = fleet
        .central
        .clone()
        .failure("epp/queue_size", lost)
        .delay("epp/queue_size", 4 * SECOND);
    let error = refreshed(&composed, "q", |spec| spec).await.unwrap_err();
    assert_eq!(error.reason(), "unavailable");
    let value = composed.get("q", &Params::new()).unwrap();
    assert_eq!(shown(value.result().answer()), ["{} 37"]);
    assert!(value.last_error().is_some());
}

#[tokio::test(start_paused = true)]
async fn one_that_is_too_late_is_named_before_the_query_times_out() {
    let fleet = Fleet::new();
    let _ = fleet
        .central
        .clone()
        .delay("epp/queue_size", Duration::from_secs(3_600));
    let composed = fleet.composed();
    let begun = tokio::time::Instant::now();
    composed
        .query_list()
        .must_register(QueryTemplate::promql("short", "sum(queue) + sum(backlog)").timeout(2 * SECOND));
    let error = refreshed(&composed, "short", |spec| spec).await.unwrap_err();
    assert_eq!(
        (error.reason(), error.to_string().as_str()),
        (
            "timeout",
            "query short: input \"backlog\" of source \"central\": query epp/queue_size: no answer within 1.8s"
        )
    );
    assert!(begun.elapsed() <= 2 * SECOND, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_optional_input_may_fail_which_makes_the_answer_incomplete() {
    let fleet = Fleet::of(Fleet::new().pods, FixedBackend::new());
    let mut config = Fleet::config();
    config.inputs[2].is_optional = true;
    let composed = ComposedSource::new(config, &fleet.sources).unwrap();
    let check = async |text: &str, expected: &[&str], warning: &str| {
        let result = evaluated(&composed, text).await.unwrap();
        assert_eq!(shown(result.answer()), expected, "{text}");
        assert!(!result.is_complete(), "{text}");
        let warnings = warnings(&result);
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].contains(warning), "{warnings:?}");
    };
    // It has no data, and has not failed.
    let result = evaluated(&composed, "sum(queue) or sum(backlog)").await.unwrap();
    assert!(result.is_complete());

    let gone = FetchError::Unauthorized {
        status: 403,
        message: "no".into(),
    };
    let _ = fleet.central.clone().failure("epp/queue_size", gone);
    let why =
        "optional input \"backlog\" of source \"central\": query epp/queue_size: not authorised (403): no";
    check("sum(queue) or sum(backlog)", &["{} 7"], why).await;
    check("absent(backlog)", &["{} 1"], why).await;
    // Nothing, and something is missing: that is not "no data".
    let (reason, error) = refused(&composed, "sum(queue) + sum(backlog)").await;
    assert_eq!(reason, "incomplete");
    assert!(error.contains(why), "{error}");

    fleet.central.forget("epp/queue_size");
    let same = vector(NOW, &["__name__=a,variant=x 1", "__name__=b,variant=x 1"]);
    let _ = fleet.central.clone().answer("epp/queue_size", same);
    let why = "optional input \"backlog\" of source \"central\": two rows of the answer are backlog{variant=\"x\"} once \
               its name has taken the place of theirs; aggregate them, or tell them apart by a label";
    check("sum(queue) or sum(backlog)", &["{} 7"], why).await;

    let _ = fleet
        .central
        .clone()
        .delay("epp/queue_size", Duration::from_secs(3_600));
    let late =
        "optional input \"backlog\" of source \"central\": query epp/queue_size: no answer within 9.8s";
    check("sum(queue) or sum(backlog)", &["{} 7"], late).await;
}

#[tokio::test]
async fn rows_that_become_one_fail_the_query() {
    let fleet = Fleet::of(
        FixedBackend::new().answer(
            "inference/queue_length",
            vector(NOW, &["__name__=vllm,pod=a 1", "__name__=sglang,pod=a 2"]),
        ),
        FixedBackend::new(),
    );
    let (reason, error) = refused(&fleet.composed(), "sum(queue)").await;
    assert_eq!(reason, "rejected");
    let expected = "input \"queue\" of source \"pods\": two rows of the answer are queue{pod=\"a\"} once";
    assert!(error.contains(expected), "{error}");
}

#[tokio::test]
async fn what_an_input_lacks_or_warns_of_the_answer_does() {
    let partial = |is_complete: bool| {
        let mut answer = AnswerBuilder::new(Stamp::Evaluated);
        answer.series([("pod", "a")], f64::NAN, NOW).unwrap();
        match is_complete {
            true => answer.warning("odd"),
            false => answer.missing("store 2 did not answer"),
        }
        answer.build()
    };
    for (is_complete, warning) in [(true, "queue: odd"), (false, "queue: store 2 did not answer")] {
        let fleet = Fleet::of(
            FixedBackend::new().answer("inference/queue_length", partial(is_complete)),
            FixedBackend::new(),
        );
        let composed = fleet.composed();
        let result = evaluated(&composed, "sum(queue)").await.unwrap();
        assert_eq!(
            (result.is_complete(), warnings(&result)),
            (is_complete, vec![warning.to_owned()])
        );
        assert_eq!(shown(result.answer()), ["{} NaN"]);
        // Who does not read it is not told.
        let result = evaluated(&composed, "absent(backlog)").await.unwrap();
        assert!(result.is_complete() && result.warnings().len() == 0);
    }
}

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

/// `seconds` before [`NOW`].
fn ago(seconds: i64) -> Option<Timestamp> {
    Some(Timestamp::from_millis(NOW.as_millis() - 1_000 * seconds))
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

#[tokio::test]
async fn a_query_that_no_input_answers_is_refused_when_it_is_registered() {
    let fleet = Fleet::new();
    let composed = fleet.composed();
    let check = |template: QueryTemplate, expected: &str| {
        let text = template.template.clone();
        let error = composed
            .query_list()
            .register(template)
            .expect_err(&text)
            .to_string();
        assert_eq!(error, format!("query q: {expected}"), "{text}");
    };
    let q = |text: &str| QueryTemplate::promql("q", text);
    let inputs = "; its inputs are queue, gpu_memory, backlog";
    let unknown = |name: &str, like: &str| format!("\"{name}\" is not an input of this source{like}{inputs}");
    check(q("sum(queu)"), &unknown("queu", "; did you mean \"queue\"?"));
    check(q("queue + on () vllm:waiting"), &unknown("vllm:waiting", ""));
    check(
        q(r#"queue + {"backlogs"}"#),
        &unknown("backlogs", "; did you mean \"backlog\"?"),
    );
    check(q(r#"{__name__="up", pod="a"}"#), &unknown("up", ""));
    check(
        q("rate(sum(qeue)[5m:1m])"),
        &unknown("qeue", "; did you mean \"queue\"?"),
    );
    check(q("topk(scalar(k), queue)"), &unknown("k", ""));
    check(q("info(queue)"), &unknown("target_info", ""));
    check(
        q(r#"sum({__name__=~"vllm:.*"})"#),
        &format!(r#"no input of this source fits {{__name__=~"vllm:.*"}}{inputs}"#),
    );
    check(
        q("rate(queue)"),
        "1:6: parse error: expected type range vector in call to function \"rate\", got instant vector",
    );
    // On each way through its template.
    let some = ParamSpec::optional("model", ParamKind::Text);
    check(
        q("{{if .model}}sum(queue){{else}}sum(queues){{end}}").param(some.clone()),
        &unknown("queues", "; did you mean \"queue\"?"),
    );
    check(
        q(r#"queue{pod="{{.model}}"} + backlogg"#).params(["model"]),
        &unknown("backlogg", "; did you mean \"backlog\"?"),
    );
    assert!(composed.query_list().is_empty());
    assert!(composed.query_list().replace_all([q("queu")]).is_err());

    // What a parameter says is known when it is asked.
    let any = q("sum({{.metric}})").param(ParamSpec::required("metric", ParamKind::MetricName));
    composed.query_list().register(any).unwrap();
    let ask = |metric: &'static str| refreshed(&composed, "q", move |spec| spec.params([("metric", metric)]));
    assert_eq!(shown(ask("queue").await.unwrap().answer()), ["{} 7"]);
    let error = ask("queuee").await.unwrap_err();
    assert_eq!(error.reason(), "rejected");
    assert!(error.to_string().contains("did you mean \"queue\"?"), "{error}");
    assert_eq!(fleet.asked(), [1, 0, 0]);
}

/// A fleet whose `queue` takes `namespace` and may take `model`, over backends that say what they were given.
fn with_params() -> Fleet {
    let fleet = Fleet::new();
    let pods = fleet.sources.get("pods").unwrap();
    let template = QueryTemplate::promql(
        "inference/queue_length",
        r#"up{namespace="{{.namespace}}"{{with .model}},model="{{.}}"{{end}}}"#,
    );
    let template = template
        .params(["namespace"])
        .param(ParamSpec::optional("model", ParamKind::Text));
    pods.query_list().replace(template).unwrap();
    fleet
}

#[tokio::test]
async fn the_callers_parameters_reach_the_inputs_and_tell_answers_apart() {
    let fleet = with_params();
    let composed = fleet.composed();
    composed
        .query_list()
        .must_register(QueryTemplate::promql("q", "sum(queue)"));
    composed
        .query_list()
        .must_register(QueryTemplate::promql("other", "sum(backlog)"));
    let params = |name: &str| {
        let query = composed.query_list().get(name).unwrap();
        let params = query
            .params()
            .iter()
            .map(|spec| (spec.name().to_owned(), spec.is_required()));
        params.collect::<Vec<_>>()
    };
    assert_eq!(
        params("q"),
        [("model".to_owned(), false), ("namespace".to_owned(), true)]
    );
    assert_eq!(params("other"), []);

    let chat = Params::from([("namespace", "chat"), ("unknown", "x")]);
    let llm = Params::from([("namespace", "llm"), ("model", "m\"")]);
    for params in [&chat, &llm] {
        refreshed(&composed, "q", |spec| spec.params(params.clone()))
            .await
            .unwrap();
    }
    let texts: Vec<_> = fleet
        .pods
        .asked()
        .into_iter()
        .map(|request| request.text)
        .collect();
    assert_eq!(
        texts,
        [r#"up{namespace="chat"}"#, r#"up{namespace="llm",model="m\""}"#]
    );
    // They are cached apart.
    let cached = |params: &Params| composed.get("q", params).is_some();
    assert!(cached(&chat) && cached(&llm));
    assert!(!cached(&llm.clone().with("model", "other")) && !cached(&Params::from([("namespace", "x")])));

    let error = refreshed(&composed, "q", |spec| spec).await.unwrap_err();
    assert_eq!(error.reason(), "missing_param");
    assert!(error.to_string().contains("namespace"), "{error}");
}

#[tokio::test]
async fn a_parameter_may_be_fixed_and_one_that_not_all_ways_need_is_optional() {
    let fleet = with_params();
    let mut config = Fleet::config();
    config.inputs[0] = config.inputs[0].clone().with_param("namespace", "fixed");
    config = config.with_query(QueryTemplate::promql("q", "sum(queue)"));
    let composed = ComposedSource::with_clock(config, &fleet.sources, clock().0).unwrap();
    refreshed(&composed, "q", |spec| spec.params([("namespace", "callers")]))
        .await
        .unwrap();
    assert_eq!(fleet.pods.asked()[0].text, r#"up{namespace="fixed"}"#);

    let composed = fleet.composed();
    let some = QueryTemplate::promql(
        "some",
        "{{if .all}}sum(queue) + sum(backlog){{else}}sum(backlog){{end}}",
    );
    composed
        .query_list()
        .must_register(some.param(ParamSpec::optional("all", ParamKind::Text)));
    assert!(refreshed(&composed, "some", |spec| spec).await.is_ok());
    let error = refreshed(&composed, "some", |spec| spec.params([("all", "1")]))
        .await
        .unwrap_err();
    assert_eq!(error.reason(), "missing_param");
    assert!(
        error.to_string().contains("input \"queue\" of source \"pods\""),
        "{error}"
    );
}

#[tokio::test]
async fn an_answer_never_depends_on_a_parameter_that_its_key_lacks() {
    let fleet = Fleet::new();
    let composed = fleet.composed();
    composed
        .query_list()
        .must_register(QueryTemplate::promql("q", "sum(queue)"));
    // The input's query takes parameters now that it did not take when `q` was registered.
    let pods = fleet.sources.get("pods").unwrap();
    let template = QueryTemplate::promql(
        "inference/queue_length",
        "up{{with .zone}}{zone=\"{{.}}\"}{{end}}",
    );
    pods.query_list()
        .replace(template.param(ParamSpec::optional("zone", ParamKind::Text)))
        .unwrap();
    refreshed(&composed, "q", |spec| spec.params([("zone", "eu")]))
        .await
        .unwrap();
    assert_eq!(fleet.pods.asked()[0].text, "up");
}

#[test]
fn what_cannot_be_composed_is_refused_when_it_is_built() {
    let fleet = Fleet::new();
    let check = |config: ComposedConfig, expected: &str| {
        let error = ComposedSource::new(config, &fleet.sources)
            .expect_err(expected)
            .to_string();
        assert_eq!(error, expected);
    };
    let with = |input: Input| Fleet::config().with_input(input);
    check(
        with(Input::new("x", "pod", "up")),
        "composed source \"fleet\": there is no source \"pod\" for its input \"x\"; did you mean \"pods\"?",
    );
    check(
        with(Input::new("x", "pods", "inference/queue_lenght")),
        "composed source \"fleet\": input \"x\" of source \"pods\": query \"inference/queue_lenght\" is not registered; \
         did you mean \"inference/queue_length\"?",
    );
    check(
        with(Input::new("queue", "central", "epp/queue_size")),
        "composed source \"fleet\": two inputs are called \"queue\"; an expression could not tell them apart",
    );
    for name in ["", "a.b", "inf", "sum", "9a"] {
        let error = ComposedSource::new(with(Input::new(name, "pods", "gpu/memory")), &fleet.sources);
        let error = error.expect_err(name).to_string();
        assert!(
            error.starts_with(&format!("composed source \"fleet\": input \"{name}\": ")),
            "{error}"
        );
    }
    for step in [Duration::ZERO, Duration::from_micros(1_500)] {
        check(
            with(Input::new("x", "pods", "gpu/memory").with_step(step)),
            "composed source \"fleet\": the step of input \"x\" must be a whole number of milliseconds, and more than zero",
        );
    }
    check(
        with(Input::own("pods", QueryTemplate::promql("x", "up{"))),
        "composed source \"fleet\": query composed:fleet/x: line 1, column 3: this bracket is not closed",
    );
    check(
        Fleet::config().with_query(QueryTemplate::promql("q", "queu")),
        "composed source \"fleet\": query q: \"queu\" is not an input of this source; did you mean \"queue\"?; its \
         inputs are queue, gpu_memory, backlog",
    );
    check(
        Fleet::config().with_input(Input::new("x", "fleet", "q")),
        "composed sources need each other in a circle: fleet -> fleet; none of them could ever be asked",
    );
}

/// A source of this name, whose only query `q` sums the `q` of others.
fn sum_of(name: &str, others: &[&str]) -> ComposedConfig {
    let inputs = others.iter().enumerate();
    let config = inputs.fold(ComposedConfig::new(name), |config, (i, of)| {
        let query = if *of == "central" { "epp/queue_size" } else { "q" };
        config.with_input(Input::new(format!("in{i}"), *of, query))
    });
    config.with_query(QueryTemplate::promql("q", r#"sum({__name__=~"in.*"})"#))
}

#[tokio::test]
async fn sources_over_sources_are_built_in_their_order_and_circles_refused() {
    let fleet = Fleet::new();
    let register = |configs: Vec<ComposedConfig>| {
        ComposedSource::register_all(&fleet.sources, configs).map_err(|error| error.to_string())
    };
    let circle = |path: &str| {
        Err(format!(
            "composed sources need each other in a circle: {path}; none of them could ever be asked"
        ))
    };
    for (configs, expected) in [
        (vec![sum_of("a", &["a"])], circle("a -> a")),
        (
            vec![sum_of("a", &["b"]), sum_of("b", &["a"])],
            circle("a -> b -> a"),
        ),
        (
            vec![
                sum_of("top", &["b"]),
                sum_of("b", &["central", "c"]),
                sum_of("c", &["d"]),
                sum_of("d", &["b"]),
            ],
            circle("b -> c -> d -> b"),
        ),
        (
            vec![sum_of("pods", &["central"])],
            Err("source \"pods\" is registered already".into()),
        ),
        (
            vec![sum_of("a", &["central"]), sum_of("a", &["central"])],
            Err("source \"a\" is registered already".into()),
        ),
        (
            vec![sum_of("", &["central"])],
            Err("a source needs a name".into()),
        ),
        (
            vec![sum_of("a", &["central"]), sum_of("b", &["zzz"])],
            Err("composed source \"b\": there is no source \"zzz\" for its input \"in0\"".into()),
        ),
    ] {
        assert_eq!(register(configs), expected);
        assert_eq!(fleet.sources.list(), ["central", "pods"]);
    }
    // The top twice over the middle, which is over the bottom: 30, 60, 90.
    let configs = vec![
        sum_of("top", &["middle", "bottom"]),
        sum_of("middle", &["bottom", "central"]),
        sum_of("bottom", &["central"]),
    ];
    assert_eq!(register(configs), Ok(()));
    assert_eq!(
        fleet.sources.list(),
        ["bottom", "central", "middle", "pods", "top"]
    );
    let top = fleet.sources.get("top").unwrap();
    let result = refreshed(&*top, "q", |spec| spec).await.unwrap();
    assert_eq!(shown(result.answer()), ["{} 90"]);
    // An error says the whole way.
    fleet.central.forget("epp/queue_size");
    let _ = fleet
        .central
        .clone()
        .failure("epp/queue_size", FetchError::Aborted);
    let error = refreshed(&*top, "q", |spec| spec).await.unwrap_err();
    assert_eq!(error.reason(), "aborted");
    assert!(
        error
            .to_string()
            .ends_with("of source \"central\": query epp/queue_size: the fetch was aborted"),
        "{error}"
    );
}

#[tokio::test]
async fn many_queries_of_deep_sources_neither_wait_for_each_other_nor_overflow() {
    const DEPTH: usize = 200;
    let backend = FixedBackend::new().answer("epp/queue_size", vector(NOW, &["1"]));
    let mut config = CachedSourceConfig::default();
    config.max_concurrency = 1;
    let bottom = CachedSource::new(Arc::new(backend), config);
    bottom
        .query_list()
        .must_register(QueryTemplate::promql("epp/queue_size", "up"));
    let sources = SourceRegistry::new();
    sources.register("central", Arc::new(bottom)).unwrap();
    let names: Vec<_> = (0..DEPTH).map(|i| format!("s{i}")).collect();
    let configs = (0..DEPTH).map(|i| {
        let below = if i == 0 { "central" } else { &names[i - 1] };
        sum_of(&names[i], &[below])
    });
    ComposedSource::register_all(&sources, configs).unwrap();
    let all = names.iter().rev().map(|name| {
        let source = sources.get(name).unwrap();
        async move {
            refreshed(&*source, "q", |spec| spec)
                .await
                .map(|result| shown(result.answer()))
        }
    });
    let all = tokio::time::timeout(Duration::from_secs(60), futures_util::future::join_all(all));
    for result in all.await.expect("no deadlock") {
        assert_eq!(result.unwrap(), ["{} 1"]);
    }
}

// --- what composed values stand on ---

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
