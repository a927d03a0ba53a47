//! What cannot be composed, and sources over sources.

use std::sync::Arc;
use std::time::Duration;

use fleetgauge::backend::FetchError;
use fleetgauge::composed::{ComposedConfig, ComposedSource, Input};
use fleetgauge::source::CachedSourceConfig;
use fleetgauge::{
    CachedSource, FixedBackend, MetricsSource, ParamKind, ParamSpec, QueryTemplate, SourceRegistry,
};

use super::{Fleet, NOW, refreshed, shown, vector};

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
    let beyond = "`anchored` and `smoothed` read samples beyond a range, which inputs are not asked for";
    check(q("rate(queue[5m] anchored)"), beyond);
    check(q("sum(queue smoothed)"), beyond);
    check(
        q("max_over_time(queue[step()])"),
        "1:21: parse error: a duration with step() or range() follows from the times of a query, and is known where it is \
         evaluated alone",
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
