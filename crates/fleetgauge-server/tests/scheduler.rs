//! Metrics that are kept fresh: values, failures, variants, and what stays when a fleet is applied anew.

use std::sync::Arc;
use std::time::Duration;

use fleetgauge_core::backend::FetchError;
use fleetgauge_core::params::Params;
use fleetgauge_core::policy::{Fold, Policy};
use fleetgauge_core::query::{Folds, QueryTemplate};
use fleetgauge_core::source::{FixedBackend, FixedSource, MetricsSource};
use fleetgauge_core::time::Clock;
use fleetgauge_core::variant::{VariantRef, Workload};
use fleetgauge_server::metric::{ForEach, MetricSpec};
use fleetgauge_server::scheduler::{Fleet, Scheduler};
use fleetgauge_server::store::Store;
use fleetgauge_server::variant::Variant;

const QUEUE: &str = r#"queue{namespace="{{.namespace}}"}"#;

fn source(backend: &FixedBackend) -> Arc<FixedSource> {
    let source = backend.clone().into_source();
    source.query_list().must_register(
        QueryTemplate::promql("queue", QUEUE)
            .params(["namespace"])
            .fold(Folds::new(Fold::Max, Fold::Sum)),
    );
    Arc::new(source)
}

fn metric(name: &str) -> MetricSpec {
    let mut metric = MetricSpec::new(name.parse().unwrap(), "pods", "queue").unwrap();
    metric.every = Duration::from_millis(20);
    metric.params = Params::new().with("namespace", "chat");
    metric
}

fn fleet(source: &Arc<FixedSource>, metrics: Vec<MetricSpec>) -> Fleet {
    let mut fleet = Fleet::default();
    fleet
        .sources
        .insert("pods".to_owned(), Arc::clone(source) as Arc<dyn MetricsSource>);
    fleet.metrics = metrics;
    fleet
}

/// All rows of `metric`, as text, once they are as `expected`; those at the end of 10 s otherwise.
async fn rows(store: &Store, metric: &str, expected: &[&str]) {
    let mut changes = store.changes();
    let read = || -> Vec<String> {
        let snapshot = store.get(metric).unwrap().read(store.clock());
        let rows = snapshot.rows().map(|row| {
            let labels: Vec<_> = row
                .labels()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            let what = match row.reading().value() {
                Some(value) => value.to_string(),
                None => row.refusal().unwrap().0.as_str().to_owned(),
            };
            format!("{} {what}", labels.join(","))
        });
        rows.collect()
    };
    let settled = async {
        while read() != expected {
            changes.changed().await.unwrap();
        }
    };
    let settled = tokio::time::timeout(Duration::from_secs(10), settled).await;
    assert!(settled.is_ok(), "{:?} instead of {expected:?}", read());
}

fn pods(values: &[(&str, f64)]) -> FixedBackend {
    let rows = values
        .iter()
        .map(|(pod, value)| ([("namespace", "chat"), ("pod", *pod)], *value));
    FixedBackend::new().values("queue", rows)
}

#[tokio::test]
async fn a_metric_is_one_number_or_says_why_it_is_none() {
    let backend = pods(&[("a", 2.0), ("b", 3.0)]).failure("broken", FetchError::Aborted);
    let source = source(&backend);
    let scheduler = Scheduler::new(Store::new(Clock::system()));
    let store = scheduler.store();
    let mut failing = metric("failing");
    failing.query = "broken".parse().unwrap();
    failing.params = Params::new();
    source
        .query_list()
        .must_register(QueryTemplate::promql("broken", "broken"));
    scheduler
        .apply(&fleet(&source, vec![metric("total"), failing]))
        .unwrap();
    rows(store, "total", &[" 5"]).await;
    rows(store, "failing", &[" failed"]).await;

    // It becomes another number, and none.
    backend.forget("queue");
    let _ = backend
        .clone()
        .values("queue", [([("namespace", "chat"), ("pod", "a")], 7.0)]);
    rows(store, "total", &[" 7"]).await;
    backend.forget("queue");
    rows(store, "total", &[" no_data"]).await;
    scheduler.shutdown().await;
}

#[tokio::test]
async fn each_variant_has_the_rows_of_its_own_pods() {
    let source = source(&pods(&[
        ("llama-7d4b9c6f5-xk2vp", 1.0),
        ("llama-7d4b9c6f5-bcdfg", 2.0),
        ("llama-a100-7d4b9c6f5-xk2vp", 4.0),
    ]));
    let variant = |name: &str, deployment: &str| Variant {
        variant: VariantRef::new("chat", name).unwrap(),
        workload: Workload::deployment(deployment),
        params: Params::new().with("modelID", "m"),
        models: Vec::new(),
    };
    let mut each = metric("each");
    each.for_each = Some(ForEach::Variant);
    each.params = Params::new();
    let mut wanted = fleet(&source, vec![each]);
    wanted.variants = vec![variant("h100", "llama"), variant("a100", "llama-a100")];
    let scheduler = Scheduler::new(Store::new(Clock::system()));
    scheduler.apply(&wanted).unwrap();
    let store = scheduler.store();
    let expected = [
        "model=m,namespace=chat,variant=h100 3",
        "model=m,namespace=chat,variant=a100 4",
    ];
    rows(store, "each", &expected).await;

    // One that goes takes its rows along, and the other keeps its own.
    wanted.variants.remove(0);
    scheduler.apply(&wanted).unwrap();
    rows(store, "each", &expected[1..]).await;
    scheduler.shutdown().await;
}

#[tokio::test]
async fn a_fleet_that_is_wrong_changes_nothing() {
    let source = source(&pods(&[("a", 2.0)]));
    let scheduler = Scheduler::new(Store::new(Clock::system()));
    let store = scheduler.store();
    scheduler.apply(&fleet(&source, vec![metric("total")])).unwrap();
    rows(store, "total", &[" 2"]).await;

    let wrong = |change: fn(&mut MetricSpec), expected: &str| {
        let mut other = metric("other");
        change(&mut other);
        let error = scheduler
            .apply(&fleet(&source, vec![other]))
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error}");
        assert!(store.get("other").is_none());
        let snapshot = store.get("total").unwrap().read(store.clock());
        assert_eq!(snapshot.rows().next().unwrap().reading().value(), Some(2.0));
    };
    wrong(|metric| metric.source = "pod".into(), "did you mean \"pods\"?");
    wrong(
        |metric| metric.query = "queues".parse().unwrap(),
        "did you mean \"queue\"?",
    );
    wrong(|metric| metric.params = Params::new(), "namespace");
    wrong(
        |metric| metric.policy = Policy::default().min_completeness(0.9),
        "expected",
    );
    let two = fleet(&source, vec![metric("total"), metric("total")]);
    assert!(
        scheduler
            .apply(&two)
            .unwrap_err()
            .to_string()
            .contains("two metrics")
    );

    // A part that did not change keeps its readings.
    let mut slow = metric("slow");
    slow.every = Duration::from_secs(3_600);
    scheduler
        .apply(&fleet(&source, vec![metric("total"), slow]))
        .unwrap();
    let snapshot = store.get("total").unwrap().read(store.clock());
    assert_eq!(snapshot.rows().next().unwrap().reading().value(), Some(2.0));
    scheduler.shutdown().await;
}

/// Guards against refreshes that are late for hours without a word.
#[tokio::test(start_paused = true)]
async fn that_refreshes_are_late_is_known_until_they_are_on_time_again() {
    let pods = pods(&[("a", 2.0)]);
    let slow = pods.clone().delay("queue", Duration::from_millis(110));
    let source = source(&slow);
    let scheduler = Scheduler::new(Store::new(Clock::system()));
    scheduler.apply(&fleet(&source, vec![metric("total")])).unwrap();
    let counts = scheduler.counts().clone();
    let until = async |behind: u64| {
        let reached = async {
            while counts.behind() != behind {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), reached)
            .await
            .unwrap();
    };
    until(1).await;
    assert!(counts.late() > 0);
    slow.delay("queue", Duration::ZERO);
    until(0).await;
    scheduler.shutdown().await;
}
