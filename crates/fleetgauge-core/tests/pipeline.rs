//! The pipeline against backends that count, wait and fail on command.
#![allow(clippy::unwrap_used, missing_docs)]

use std::time::Duration;

use fleetgauge_core::backend::FetchError;
use fleetgauge_core::cache::Lookup;
use fleetgauge_core::query::{QueryTemplate, Shape};
use fleetgauge_core::result::AnswerBuilder;
use fleetgauge_core::sample::Stamp;
use fleetgauge_core::source::{CachedSourceConfig, FixedBackend, MetricsSource, RefreshSpec};
use fleetgauge_core::time::Timestamp;

use crate::support::backend::{gated, none, one, q};

const MINUTE: Duration = Duration::from_secs(60);
const STEP: Duration = Duration::from_secs(15);

#[tokio::test]
async fn decision_3_a_missing_parameter_fails_its_query_alone() {
    let backend = FixedBackend::new().values("fine", [([("pod", "a")], 1.0)]);
    let source = backend.clone().into_source();
    source
        .query_list()
        .must_register(QueryTemplate::promql("fine", "up"));
    source.query_list().must_register(
        QueryTemplate::promql("needs", r#"up{namespace="{{.namespace}}"}"#).params(["namespace"]),
    );
    let results = source.refresh(RefreshSpec::all()).await;
    assert_eq!(results["fine"].as_ref().unwrap().len(), 1);
    let error = results["needs"].as_ref().unwrap_err();
    assert_eq!(error.reason(), "missing_param");
    let text = error.to_string();
    assert!(text.contains("needs") && text.contains("namespace"), "{text}");
    assert_eq!(backend.asked().len(), 1, "a question that is wrong is not sent");
}

#[tokio::test]
async fn decision_4_parameters_that_a_query_does_not_declare_make_no_difference() {
    let source = FixedBackend::new()
        .values("q", [([("pod", "a")], 1.0)])
        .into_source();
    source
        .query_list()
        .must_register(QueryTemplate::promql("q", r#"up{namespace="{{.namespace}}"}"#).params(["namespace"]));
    source
        .refresh(RefreshSpec::all().params([("namespace", "x"), ("modelID", "m")]))
        .await;
    assert!(source.get("q", &[("namespace", "x")].into()).is_some());
    assert!(source.get("q", &[("namespace", "y")].into()).is_none());
}

#[tokio::test]
async fn decision_6_a_failed_refresh_keeps_the_last_good_value() {
    let backend = FixedBackend::new().answer("q", one(7.0)).failure(
        "q",
        FetchError::Rejected {
            kind: "bad_data".into(),
            message: "no".into(),
        },
    );
    let source = backend.into_source();
    source
        .query_list()
        .must_register(QueryTemplate::promql("q", "up"));
    assert!(source.refresh(q()).await.is_complete());
    let results = source.refresh(q()).await;
    assert_eq!(results["q"].as_ref().unwrap_err().reason(), "rejected");
    let kept = source.get("q", &none()).unwrap();
    assert_eq!(kept.result().values().next().unwrap().value, 7.0);
    assert_eq!(kept.last_error().unwrap().error.reason(), "rejected");
}

#[tokio::test]
async fn decision_7_every_query_has_an_outcome_of_its_own() {
    let source = FixedBackend::new()
        .values(
            "nan",
            [([("pod", "a")], f64::NAN), ([("pod", "b")], f64::INFINITY)],
        )
        .failure(
            "fails",
            FetchError::TooLarge {
                limit: 1,
                unit: "bytes",
            },
        )
        .into_source();
    for name in ["nan", "fails", "empty"] {
        source
            .query_list()
            .must_register(QueryTemplate::promql(name, "up"));
    }
    let results = source
        .refresh(RefreshSpec::queries(["nan", "fails", "empty", "unknown", "nan"]))
        .await;
    assert_eq!(results.len(), 4, "asked twice, answered once");
    assert!(
        results["nan"]
            .as_ref()
            .unwrap()
            .values()
            .all(|value| value.is_undefined())
    );
    assert_eq!(results["fails"].as_ref().unwrap_err().reason(), "too_large");
    assert!(results["empty"].as_ref().unwrap().is_no_data());
    assert_eq!(results["unknown"].as_ref().unwrap_err().reason(), "unknown_query");
    assert!(
        source.get("empty", &none()).unwrap().result().is_no_data(),
        "no data is an answer, and cached"
    );
    assert!(matches!(source.lookup("fails", &none()), Lookup::Failed(_)));
    assert!(matches!(source.lookup("unknown", &none()), Lookup::Invalid(_)));
    let stats = source.stats();
    let failures: Vec<_> = stats.failures.into_iter().collect();
    assert_eq!(failures, [("too_large", 1), ("unknown_query", 1)]);
    assert_eq!((stats.no_data, stats.flights, stats.queries), (1, 3, 3));
}

#[tokio::test]
async fn an_incomplete_answer_says_so_and_an_empty_one_is_not_no_data() {
    let answer = |value: Option<f64>| {
        let mut answer = AnswerBuilder::new(Stamp::Evaluated);
        if let Some(value) = value {
            answer.series([], value, Timestamp::default()).unwrap();
        }
        answer.missing("store 2 did not answer");
        answer.build()
    };
    let source = FixedBackend::new()
        .values("then_nothing", [([("pod", "a")], 3.0)])
        .answer("then_nothing", answer(None))
        .answer("some", answer(Some(1.0)))
        .into_source();
    for name in ["some", "then_nothing"] {
        source
            .query_list()
            .must_register(QueryTemplate::promql(name, "up"));
    }
    let whole = source.refresh(RefreshSpec::queries(["then_nothing"])).await;
    assert!(whole.is_complete());

    let results = source.refresh(RefreshSpec::all()).await;
    assert!(!results.is_complete());
    let some = results["some"].as_ref().unwrap();
    assert!(!some.is_complete());
    assert_eq!(some.warnings().collect::<Vec<_>>(), ["store 2 did not answer"]);
    let nothing = results["then_nothing"].as_ref().unwrap_err();
    assert_eq!(nothing.reason(), "incomplete");
    assert!(
        nothing.to_string().contains("store 2 did not answer"),
        "{nothing}"
    );
    // Who gives no reason is not quoted with nothing.
    let mut silent = AnswerBuilder::new(Stamp::Evaluated);
    silent.missing(" ");
    let source_of_silence = FixedBackend::new().answer("q", silent.build()).into_source();
    source_of_silence
        .query_list()
        .must_register(QueryTemplate::promql("q", "up"));
    let error = source_of_silence.refresh(q()).await["q"]
        .as_ref()
        .unwrap_err()
        .to_string();
    assert!(
        error.ends_with("the backend does not say what is missing"),
        "{error}"
    );
    let kept = source.get("then_nothing", &none()).unwrap();
    assert_eq!(kept.result().values().next().unwrap().value, 3.0);
    assert_eq!(kept.last_error().unwrap().error.reason(), "incomplete");
}

#[tokio::test]
async fn a_reader_never_waits_for_a_refresh() {
    let (gate, source) = gated(CachedSourceConfig::default());
    gate.open(1);
    source.refresh(q()).await;
    let refresh = tokio::spawn({
        let source = source.clone();
        async move { source.refresh(q()).await.is_complete() }
    });
    gate.until_calls(2).await;
    assert!(
        source.get("q", &none()).is_some(),
        "read while a refresh of the same key is under way"
    );
    gate.open(1);
    assert!(refresh.await.unwrap());
}

#[tokio::test]
async fn get_or_refresh_asks_only_for_what_does_not_hold() {
    let backend = FixedBackend::new().answer("q", one(1.0));
    let source = backend.clone().into_source();
    source
        .query_list()
        .must_register(QueryTemplate::promql("q", "up"));
    for _ in 0..3 {
        source.get_or_refresh("q", &none()).await.unwrap();
    }
    assert_eq!(backend.asked().len(), 1);
    let error = source.get_or_refresh("w", &none()).await.unwrap_err();
    assert_eq!(error.reason(), "unknown_query");
}

/// What is 0 at one time is so in the metric, and looks like a load of nothing.
#[tokio::test]
async fn an_answer_says_that_a_part_of_its_query_is_0_at_one_time() {
    let source = FixedBackend::new()
        .answer("zero", one(0.0))
        .answer("plain", one(0.0))
        .into_source();
    for (name, text) in [("zero", "sum(g) * step()"), ("plain", "sum(step)")] {
        source
            .query_list()
            .must_register(QueryTemplate::promql(name, text));
    }
    let results = source.refresh(RefreshSpec::queries(["zero", "plain"])).await;
    let warnings = |name: &str| {
        results[name]
            .as_ref()
            .unwrap()
            .warnings()
            .collect::<Vec<_>>()
            .join("\n")
    };
    assert!(warnings("zero").starts_with("step() is 0 where PromQL is asked at one time"));
    assert_eq!(warnings("plain"), "");
}

#[tokio::test]
async fn preparing_checks_the_question_at_once() {
    let source = FixedBackend::new().answer("q", one(1.0)).into_source();
    source
        .query_list()
        .must_register(QueryTemplate::promql("q", r#"up{n="{{.n}}"}"#).params(["n"]));
    assert_eq!(
        source.prepare("x", &none()).unwrap_err().reason(),
        "unknown_query"
    );
    assert_eq!(
        source.prepare("q", &none()).unwrap_err().reason(),
        "missing_param"
    );
    let mut prepared = source.prepare("q", &[("n", "a")].into()).unwrap();
    assert!(prepared.get().is_none());
    source.refresh(q().params([("n", "a")])).await;
    assert_eq!(prepared.get().unwrap().result().len(), 1);
}

#[tokio::test]
async fn a_backend_is_told_when_it_was_asked_and_for_what_age() {
    let fixed = FixedBackend::new().values("q", [([("pod", "a")], 1.0)]);
    let source = fixed.clone().into_source();
    source.query_list().must_register(QueryTemplate::promql("q", "q"));
    let before = std::time::Instant::now();
    source
        .refresh(RefreshSpec::all().max_age(Duration::from_secs(7)))
        .await;
    let ranged = RefreshSpec::all()
        .range(MINUTE, STEP)
        .at(Timestamp::from_millis(5));
    source.refresh(ranged).await;
    let (asked, ranged) = (&fixed.asked()[0], &fixed.asked()[1]);
    assert_eq!((asked.shape, asked.at), (Shape::Instant, None));
    let range = Shape::Range {
        window: MINUTE,
        step: STEP,
    };
    assert_eq!(
        (ranged.shape, ranged.at),
        (range, Some(Timestamp::from_millis(5)))
    );
    assert_eq!(asked.max_age, Some(Duration::from_secs(7)));
    assert!(asked.asked_at >= before && asked.asked_at <= std::time::Instant::now());
}
