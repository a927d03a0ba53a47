//! Inputs side by side: what an expression names, and what becomes of it where an input lacks something or fails.

use std::time::Duration;

use fleetgauge::backend::FetchError;
use fleetgauge::composed::ComposedSource;
use fleetgauge::result::AnswerBuilder;
use fleetgauge::sample::Stamp;
use fleetgauge::{FixedBackend, MetricsSource, Params, QueryTemplate};
use fleetgauge_core::histogram::Histogram;

use super::{Fleet, NOW, SECOND, check, evaluated, refreshed, refused, shown, vector, warnings};

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
async fn a_native_histogram_of_an_input_is_refused_by_its_name() {
    let mut answer = AnswerBuilder::new(Stamp::Evaluated);
    answer.label("__name__", "latency");
    answer.label("pod", "a");
    let histogram = Histogram {
        count: 3.0,
        sum: 4.5,
        buckets: Box::default(),
    };
    answer.end_histogram(histogram, NOW).unwrap();
    let fleet = Fleet::of(
        FixedBackend::new().answer("inference/queue_length", answer.build()),
        FixedBackend::new().answer("epp/queue_size", vector(NOW, &["variant=x 10"])),
    );
    let composed = fleet.composed();
    for text in [
        "queue",
        "sum(queue) + sum(backlog)",
        "histogram_count(queue)",
        "sum(backlog) unless queue",
    ] {
        let (_, error) = refused(&composed, text).await;
        let says = r#"the native histogram latency{pod="a"}, which is no number"#;
        assert!(error.contains(says), "{text}: {error}");
    }
    // Who does not name it is not touched.
    check(&composed, "sum(backlog)", &["{} 10"]).await;
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
