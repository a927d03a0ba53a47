//! What queries do with their answers, through a source: for instant answers and ranges, before they are cached.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use fleetgauge::age::{Age, AgeKind};
use fleetgauge::backend::{Backend, FetchError, Request};
use fleetgauge::policy::Fold;
use fleetgauge::result::{Answer, AnswerBuilder};
use fleetgauge::sample::Stamp;
use fleetgauge::source::CachedSourceConfig;
use fleetgauge::time::Timestamp;
use fleetgauge::transform::{self, TransformStep, VariantFold};
use fleetgauge::variant::Workload;
use fleetgauge::{
    CachedSource, MetricResult, MetricsSource, ParamKind, ParamSpec, Params, PodVaMapper, QueryTemplate,
    RefreshSpec,
};
use futures_util::future::BoxFuture;

const STEP: Duration = Duration::from_secs(15);

/// Answers each query by its text: `pods` with a row for each pod, of its number (or, over a range, of seconds since the
/// epoch divided by it); what is in `fails` with an error.
#[derive(Default)]
struct Pods {
    asked: Mutex<Vec<Request>>,
}

impl Pods {
    fn answer(&self, request: &Request) -> Result<Answer, FetchError> {
        self.asked.lock().unwrap().push(request.clone());
        let text = request.text.as_str();
        if text == "broken" {
            return Err(FetchError::Rejected {
                kind: "execution".into(),
                message: "out of order".into(),
            });
        }
        let now = Timestamp::from_millis(1_000_000_000);
        let mut answer = AnswerBuilder::new(Stamp::Evaluated);
        let steps = request.steps(now).unwrap();
        if steps.is_some() {
            answer.matrix();
        }
        if text == "lossy" {
            answer.missing("a store is down");
        }
        for (number, pod) in (1..).zip(text.split_whitespace().filter(|word| word.contains('-'))) {
            answer.label("namespace", "chat");
            answer.label("pod", pod);
            match steps {
                None => {
                    answer.end_series(f64::from(number), now).unwrap();
                    answer.age(Age::exact(Duration::from_secs(
                        10 * u64::try_from(number).unwrap(),
                    )));
                }
                Some(steps) => {
                    for time in steps.iter() {
                        answer.point(time.as_secs_f64() / f64::from(number), time);
                    }
                    answer.end_points().unwrap();
                }
            }
        }
        Ok(answer.build())
    }
}

impl Backend for Pods {
    fn fetch<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Answer, FetchError>> {
        Box::pin(async { self.answer(request) })
    }
}

fn source() -> (CachedSource, Arc<Pods>) {
    let pods = Arc::new(Pods::default());
    let mut config = CachedSourceConfig::default();
    config.max_concurrency = 1;
    let source = CachedSource::new(Arc::clone(&pods) as _, config);
    let mapper = PodVaMapper::new();
    mapper
        .register("llama-va", "chat", Workload::stateful_set("llama"))
        .unwrap();
    source.query_list().set_variants(&mapper);
    (source, pods)
}

fn promql(expression: &str) -> TransformStep {
    transform::promql(expression).unwrap()
}

fn weighted_by(query: &str) -> TransformStep {
    TransformStep::ByVariant(VariantFold::WeightedBy(query.to_owned()))
}

fn named(name: &str, mut query: QueryTemplate) -> QueryTemplate {
    query.name = name.to_owned();
    query
}

const TWO: &str = "llama-0 llama-1";

async fn refreshed(source: &CachedSource, query: QueryTemplate) -> Result<Arc<MetricResult>, String> {
    let name = query.name.clone();
    source.query_list().replace(query).unwrap();
    let results = source.refresh(RefreshSpec::queries([&*name])).await;
    let outcome = results[&*name].clone();
    outcome.map_err(|error| error.to_string())
}

fn shown(result: &MetricResult) -> Vec<String> {
    let values = result
        .values()
        .map(|value| format!("{} {}", value.labels, value.value));
    values.collect()
}

#[tokio::test]
async fn what_is_cached_is_what_was_made_of_the_answer() {
    let (source, _) = source();
    let query = QueryTemplate::promql("q", TWO)
        .transform(promql("answer * 10"))
        .transform(TransformStep::ByVariant(VariantFold::By(Fold::Sum)));
    let result = refreshed(&source, query).await.unwrap();
    assert_eq!(shown(&result), ["{namespace=\"chat\", variant=\"llama-va\"} 30"]);
    let cached = source.get("q", &Params::new()).unwrap();
    assert_eq!(shown(cached.result()), shown(&result));
    // As old as the older pod.
    assert_eq!(result.age(0), Age::exact(Duration::from_secs(20)));
    assert!(result.is_complete());
}

#[tokio::test]
async fn each_row_of_an_expression_has_the_age_of_its_own_contributors() {
    let (source, _) = source();
    let ages = async |expression: &str| {
        let query = QueryTemplate::promql("q", TWO).transform(promql(expression));
        let result = refreshed(&source, query).await.unwrap();
        let rows = result.answer().series().enumerate();
        let ages = rows.map(|(row, series)| {
            let age = result.age(row);
            let secs = age.duration().map(|age| age.as_secs());
            (
                series.labels().get("pod").unwrap_or_default().to_owned(),
                (secs, age.kind()),
            )
        });
        ages.collect::<BTreeMap<_, _>>()
    };
    let exact = |pairs: &[(&str, u64)]| {
        let pairs = pairs
            .iter()
            .map(|(pod, age)| ((*pod).to_owned(), (Some(*age), AgeKind::Exact)));
        pairs.collect::<BTreeMap<_, _>>()
    };
    assert_eq!(
        ages("answer * 2").await,
        exact(&[("llama-0", 10), ("llama-1", 20)])
    );
    assert_eq!(
        ages("sum by (pod) (answer)").await,
        exact(&[("llama-0", 10), ("llama-1", 20)])
    );
    assert_eq!(ages("sum(answer)").await, exact(&[("", 20)]));
    assert_eq!(
        ages("answer / on () group_left () sum(answer)").await,
        exact(&[("llama-0", 20), ("llama-1", 20)])
    );
    assert_eq!(ages("answer > 1").await, exact(&[("llama-1", 20)]));
}

#[tokio::test]
async fn nan_and_warnings_go_through_expressions() {
    let (source, _) = source();
    let query = QueryTemplate::promql("q", "lossy llama-0").transform(promql("answer * NaN"));
    // The text says what is missing only where it is that alone.
    let mut query = query;
    query.template = "lossy".into();
    let error = refreshed(&source, query).await.unwrap_err();
    assert!(error.contains("a store is down"), "{error}");
    let query = QueryTemplate::promql("q", TWO).transform(promql("answer * NaN"));
    let result = refreshed(&source, query).await.unwrap();
    assert_eq!(result.values().filter(|value| value.is_undefined()).count(), 2);
}

#[tokio::test]
async fn an_expression_that_cannot_be_evaluated_fails_the_query() {
    let (source, _) = source();
    let query = QueryTemplate::promql("q", TWO).transform(promql("answer + on (namespace) answer"));
    let error = refreshed(&source, query).await.unwrap_err();
    assert!(
        error.starts_with("query q: transform: \"answer + on (namespace) answer\": "),
        "{error}"
    );
    // Looking back at what was asked once.
    let query = QueryTemplate::promql("q", TWO).transform(promql("avg_over_time(answer[5m])"));
    let error = refreshed(&source, query).await.unwrap_err();
    assert!(
        error.contains("looks 300s back") && error.contains("ask for a range"),
        "{error}"
    );
    assert!(source.get("q", &Params::new()).is_none());
}

#[test]
fn what_is_no_expression_over_the_answer_is_refused() {
    let check = |expression: &str, expected: &str| {
        let error = transform::promql(expression).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{expression}: {error}");
    };
    check("sum(answer", "1:4: not PromQL: unclosed left parenthesis");
    check(
        "rates(answer)",
        "1:1: not PromQL: unknown function with name \"rates\"",
    );
    check("answer + queue", "1:10: \"queue\" is not the answer");
    check(
        "sum by (pod) (answr)",
        "1:15: \"answr\" is not the answer; did you mean \"answer\"?",
    );
    check("{__name__=~\"answer\"}", "1:12: \"answer\" is not the answer");
    check("{pod=\"a\"}", "1:6: a selector without a name");
    check("vector(1)", "1:1: the expression does not name the answer");
    check("answer offset 5m", "1:1: offset and @ look at times");
    check("answer @ 5", "1:1: offset and @ look at times");
    check(
        "answer smoothed",
        "1:1: `smoothed` looks beyond the times of the answer",
    );
    check(
        "max(delta(answer[5m] anchored))",
        "1:11: `anchored` looks beyond the times of the answer",
    );
    check("answer[5m] ", "1:1: a range of the answer is not one value a row");
    check(
        "max_over_time(answer[5m:1m])",
        "1:1: a subquery looks between the steps",
    );
    check("time() - timestamp(answer)", "1:20: timestamp() of an answer");
    check("info(answer)", "1:6: info() reads another metric");
    for good in [
        "answer",
        "{__name__=\"answer\"}",
        "answer{pod=\"a\"}",
        "topk(2, answer)",
        "rate(answer[5m])",
        "absent(answer)",
    ] {
        assert!(transform::promql(good).is_ok(), "{good}");
    }
}

#[tokio::test]
async fn a_range_is_asked_for_as_far_back_as_its_steps_look() {
    let (source, pods) = source();
    let query = QueryTemplate::promql("q", "llama-0")
        .transform(promql("avg_over_time(answer[1m])"))
        .transform(promql("max_over_time(answer[20s])"));
    source.query_list().register(query).unwrap();
    let end = Timestamp::from_millis(600_000);
    let spec = RefreshSpec::queries(["q"])
        .at(end)
        .range(Duration::from_secs(60), STEP);
    let results = source.refresh(spec).await;
    let result = results["q"].as_ref().unwrap();
    let asked = pods.asked.lock().unwrap().pop().unwrap();
    // 60 s, and 80 s before, in whole steps.
    assert_eq!(
        asked.steps(end).unwrap().unwrap().start(),
        Timestamp::from_millis(600_000 - 150_000)
    );
    let series = result.answer().series().next().unwrap();
    let points: Vec<_> = series
        .points()
        .map(|point| (point.timestamp.as_millis() / 1_000, point.value))
        .collect();
    // The mean of the last four values is 22.5 s before the step, and the greatest of two of these that of the step.
    let expected: Vec<_> = (0..5)
        .map(|i| (540 + 15 * i, 540.0 + 15.0 * i as f64 - 22.5))
        .collect();
    assert_eq!(points, expected);
    assert_eq!(result.steps().unwrap().count(), 5);
}

#[tokio::test]
async fn a_range_that_is_transformed_is_asked_for_whole() {
    let (source, pods) = source();
    let plain = QueryTemplate::promql("plain", "llama-0");
    let made = plain.clone().transform(promql("answer * 2"));
    source.query_list().register(plain).unwrap();
    source.query_list().register(named("made", made)).unwrap();
    for _ in 0..2 {
        source
            .refresh_range(RefreshSpec::all(), Duration::from_secs(600), STEP)
            .await;
    }
    let asked = pods.asked.lock().unwrap();
    let steps = |name: &str| {
        let of_name = asked.iter().filter(|request| request.name.as_str() == name);
        let count = |request: &Request| request.steps(Timestamp::from_millis(0)).unwrap().unwrap().count();
        of_name.map(count).collect::<Vec<_>>()
    };
    assert_eq!(steps("made"), [41, 41]);
    assert!(steps("plain")[1] < 10, "{:?}", steps("plain"));
    let range = source
        .get_range("made", &Params::new(), Duration::from_secs(600), STEP)
        .unwrap();
    assert_eq!(range.result().answer().len(), 41);
}

#[tokio::test]
async fn weights_are_asked_beside_with_what_the_query_declares() {
    let (source, pods) = source();
    let param = |name: &str| ParamSpec::optional(name, ParamKind::Text);
    let weights = QueryTemplate::promql(
        "weights",
        r#"llama-0 llama-1 x{a="{{.a}}"{{if .b}}, b="{{.b}}"{{end}}}"#,
    )
    .param(param("a"))
    .param(param("b"));
    source.query_list().register(weights).unwrap();
    let query = QueryTemplate::promql("q", r#"llama-0 llama-1 x{a="{{.a}}"}"#)
        .param(param("a"))
        .transform(weighted_by("weights"));
    source.query_list().register(query).unwrap();
    let params = [("a", "one"), ("b", "two")];
    let results = source.refresh(RefreshSpec::queries(["q"]).params(params)).await;
    let result = results["q"].as_ref().unwrap();
    // (1 · 1 + 2 · 2) / 3
    assert_eq!(
        shown(result),
        ["{namespace=\"chat\", variant=\"llama-va\"} 1.6666666666666667"]
    );
    // What the query does not declare is in no key of its cache.
    let mut texts: Vec<_> = pods
        .asked
        .lock()
        .unwrap()
        .iter()
        .map(|request| request.text.clone())
        .collect();
    texts.sort();
    assert_eq!(
        texts,
        [r#"llama-0 llama-1 x{a="one"}"#, r#"llama-0 llama-1 x{a="one"}"#]
    );
    // For a given time, and over a range, for the same.
    let at = Timestamp::from_millis(600_000);
    source
        .refresh(RefreshSpec::queries(["q"]).params(params).at(at))
        .await;
    let spec = RefreshSpec::queries(["q"]).params(params);
    let spec = spec.range(Duration::from_secs(60), STEP);
    let results = source.refresh(spec).await;
    assert_eq!(results["q"].as_ref().unwrap().answer().len(), 5);
    let asked = pods.asked.lock().unwrap();
    let times: Vec<_> = asked
        .iter()
        .skip(2)
        .map(|request| (request.at, request.shape))
        .collect();
    assert_eq!(times.len(), 4);
    assert_eq!(times[0], times[1]);
    assert_eq!(times[2], times[3]);
}

#[tokio::test]
async fn weights_that_fail_fail_the_query() {
    let (source, _) = source();
    source
        .query_list()
        .register(QueryTemplate::promql("broken", "broken"))
        .unwrap();
    let of = |weights: &str| QueryTemplate::promql("q", TWO).transform(weighted_by(weights));
    let error = refreshed(&source, of("broken")).await.unwrap_err();
    assert_eq!(
        error,
        "query q: transform: the weights: query broken: rejected by the backend: out of order"
    );
    let error = refreshed(&source, of("brokn")).await.unwrap_err();
    assert!(
        error.contains("query \"brokn\" is not registered; did you mean \"broken\"?"),
        "{error}"
    );
    // In a circle nobody would have an answer.
    source.query_list().register(named("q2", of("q"))).unwrap();
    let error = refreshed(&source, of("q2")).await.unwrap_err();
    assert!(
        error.contains("has a query of its own that is asked beside it"),
        "{error}"
    );
    let itself = source.query_list().replace(of("q")).unwrap_err().to_string();
    assert!(itself.contains("cannot be weighted by itself"), "{itself}");
}

#[tokio::test]
async fn without_variants_everything_is_unmapped_and_told() {
    let source = CachedSource::new(Arc::new(Pods::default()), CachedSourceConfig::default());
    let query =
        QueryTemplate::promql("q", TWO).transform(TransformStep::ByVariant(VariantFold::By(Fold::Sum)));
    let result = refreshed(&source, query).await.unwrap();
    assert_eq!(result.len(), 2);
    assert!(!result.is_complete());
    assert!(
        result
            .warnings()
            .any(|warning| warning.contains("no variant is registered"))
    );
}
