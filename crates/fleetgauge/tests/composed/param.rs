//! Parameters: they reach the inputs, and tell answers apart.

use fleetgauge::composed::ComposedSource;
use fleetgauge::{MetricsSource, ParamKind, ParamSpec, Params, QueryTemplate};

use super::{Fleet, clock, refreshed};

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
