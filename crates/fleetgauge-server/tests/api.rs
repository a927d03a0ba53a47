//! The JSON door: each answer that its description names, and that it is as described.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use fleetgauge_core::params::Params;
use fleetgauge_core::policy::Fold;
use fleetgauge_core::query::QueryTemplate;
use fleetgauge_core::source::{FixedBackend, MetricsSource};
use fleetgauge_core::time::Clock;
use fleetgauge_core::variant::{VariantRef, Workload};
use fleetgauge_server::door::access::Access;
use fleetgauge_server::door::api::{Api, SourceView, routes};
use fleetgauge_server::metric::{ForEach, MetricFold, MetricSpec};
use fleetgauge_server::readiness::Readiness;
use fleetgauge_server::scheduler::{Fleet, Scheduler};
use fleetgauge_server::store::Store;
use fleetgauge_server::variant::{ToldModel, Variant};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

struct Door {
    router: Router,
    locked: Router,
    scheduler: Scheduler,
    stop: CancellationToken,
}

/// A door over two metrics, one of which has a number.
async fn door() -> Door {
    let source = FixedBackend::new()
        .values("queue", [([("pod", "a")], 2.0), ([("pod", "b")], f64::NAN)])
        .values(
            "spread",
            [([("namespace", "chat")], 3.0), ([("namespace", "code")], 4.0)],
        )
        .into_source();
    for name in ["queue", "nothing", "spread"] {
        source
            .query_list()
            .must_register(QueryTemplate::promql(name, name));
    }
    let source: Arc<dyn MetricsSource> = Arc::new(source);
    let scheduler = Scheduler::new(Store::new(Clock::system()));
    let mut fleet = Fleet::default();
    fleet.sources.insert("pods".to_owned(), Arc::clone(&source));
    let metric = |name: &str| MetricSpec::new(name.parse().unwrap(), "pods", name).unwrap();
    fleet.metrics = ["queue", "nothing", "spread"].map(metric).into();
    fleet.metrics[0].namespaces = vec!["chat".into()];
    fleet.variants = vec![Variant {
        variant: VariantRef::new("chat", "llama").unwrap(),
        workload: Workload::deployment("llama"),
        params: Params::new().with("modelID", "m"),
        models: [("annotation a", "m"), ("label b", "other"), ("label c", "m")]
            .map(|(by, model)| ToldModel {
                by: by.into(),
                model: model.into(),
            })
            .into(),
    }];
    scheduler.apply(&fleet).unwrap();
    let store = scheduler.store();
    let readiness = Readiness::new(store.clone(), std::time::Duration::from_secs(60));
    let mut changes = store.changes();
    while readiness.check().is_err() {
        changes.changed().await.unwrap();
    }
    let stop = CancellationToken::new();
    let api = Api::new(&scheduler, readiness, stop.clone());
    let view = SourceView {
        name: "pods".to_owned(),
        kind: "scrape",
        source,
        scraping: None,
    };
    api.set_sources(vec![view], fleet.variants);
    Door {
        router: routes(api.clone(), Access::open()),
        locked: routes(api, Access::new(Some("secret"), false)),
        scheduler,
        stop,
    }
}

async fn get(router: &Router, path: &str) -> (u16, String, Value) {
    ask(router, path, "accept", "*/*").await
}

/// Asks with a header.
async fn ask(router: &Router, path: &str, header: &str, value: &str) -> (u16, String, Value) {
    let request = Request::get(format!("/api/fleetgauge/v1{path}"))
        .header(header, value)
        .body(Body::empty())
        .unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let media = response.headers()["content-type"].to_str().unwrap().to_owned();
    let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    let body = match media.contains("json") {
        true => serde_json::from_slice(&body).unwrap(),
        false => Value::String(String::from_utf8(body.to_vec()).unwrap()),
    };
    (status, media, body)
}

#[tokio::test]
async fn each_answer_is_as_it_is_described() {
    let door = door().await;
    let (_, _, description) = get(&door.router, "/openapi.json").await;
    let mut described: BTreeSet<(String, String)> = BTreeSet::new();
    for (path, operations) in description["paths"].as_object().unwrap() {
        let responses = operations["get"]["responses"].as_object().unwrap();
        described.extend(responses.keys().map(|status| (path.clone(), status.clone())));
    }
    // Streams do not end by themselves, and there is no cheap way to have too many of them.
    door.stop.cancel();
    described.remove(&("/stream".to_owned(), "503".to_owned()));

    let mut came = BTreeSet::new();
    let mut check = |path: &str, status: u16, answer: &(u16, String, Value)| {
        assert_eq!(answer.0, status, "{path}: {}", answer.2);
        let this = (path.to_owned(), status.to_string());
        assert!(described.contains(&this), "{path} {status} is not described");
        came.insert(this);
        let content = &description["paths"][path]["get"]["responses"][status.to_string()]["content"];
        let schema = &content[answer.1.split(';').next().unwrap()]["schema"];
        assert!(schema.is_object(), "{path}: {} is not described", answer.1);
        let mut schema = schema.clone();
        schema["components"] = description["components"].clone();
        if let Err(error) = jsonschema::validate(&schema, &answer.2) {
            panic!(
                "{path} {status}: {error} at {}: {}",
                error.instance_path(),
                answer.2
            );
        }
    };
    for (path, asked) in [
        ("/metrics", "/metrics"),
        ("/metrics/{name}", "/metrics/queue"),
        ("/explain/{name}", "/explain/nothing"),
        ("/variants", "/variants"),
        ("/targets", "/targets"),
        ("/sources", "/sources"),
        ("/stream", "/stream"),
    ] {
        check(path, 200, &get(&door.router, asked).await);
        check(path, 401, &get(&door.locked, asked).await);
        // Too much, whoever asks.
        let long = format!("{asked}?a={}", "x".repeat(32 << 10));
        check(path, 414, &get(&door.locked, &long).await);
        let large = "x".repeat(16 << 10);
        check(path, 431, &ask(&door.locked, asked, "x-large", &large).await);
        check(
            path,
            413,
            &ask(&door.locked, asked, "content-length", "1048577").await,
        );
    }
    for (path, asked, status) in [
        ("/metrics", "/metrics?namspace=chat", 400),
        ("/metrics", "/metrics?namespace=%zz", 400),
        ("/metrics", "/metrics?namespace=%ff", 400),
        ("/metrics", "/metrics?namespace=", 400),
        ("/metrics/{name}", "/metrics/queue?namespace=", 400),
        ("/metrics/{name}", "/metrics/queue?pod=a&pod=b", 400),
        ("/metrics/{name}", "/metrics/quue", 404),
        ("/explain/{name}", "/explain/quue", 404),
        ("/explain/{name}", "/explain/queue?a=b", 400),
        ("/variants", "/variants?namespace=chat", 400),
        ("/targets", "/targets?source=pods", 400),
        ("/sources", "/sources?a=b", 400),
        ("/stream", "/stream?metrics=queue", 400),
        ("/stream", "/stream?metric=quue", 404),
    ] {
        check(path, status, &get(&door.router, asked).await);
    }
    assert_eq!(came, described, "what came, and what is described");
    door.scheduler.shutdown().await;
}

#[tokio::test]
async fn what_has_no_number_is_null_and_says_why() {
    let door = door().await;
    let (_, _, page) = get(&door.router, "/metrics/queue").await;
    let readings = page["readings"].as_array().unwrap();
    assert_eq!(
        (&readings[0]["value"], &readings[0]["status"]),
        (&json!(2), &json!("value")),
        "{page}"
    );
    assert_eq!(
        (&readings[1]["value"], &readings[1]["reason"]["code"]),
        (&Value::Null, &json!("undefined")),
        "{page}"
    );
    let (_, _, page) = get(&door.router, "/metrics/nothing").await;
    assert_eq!(page["readings"][0]["value"], Value::Null);
    assert_eq!(page["readings"][0]["reason"]["code"], "no_data");

    // Whoever asks for another namespace does not see it.
    let (_, _, page) = get(&door.router, "/metrics?namespace=other").await;
    let names = page["metrics"]
        .as_array()
        .unwrap()
        .iter()
        .map(|metric| &metric["metric"]);
    assert_eq!(names.collect::<Vec<_>>(), ["nothing"]);
    let (_, _, page) = get(&door.router, "/metrics?namespace=code").await;
    let readings = page["metrics"][1]["readings"].as_array().unwrap();
    assert_eq!(readings.len(), 1, "{page}");
    assert_eq!(readings[0]["value"], 4);
    // Nor where it is asked for by name, nor is a row that is not there nothing.
    for (path, expected) in [
        ("/metrics/queue?namespace=chat", Ok(2)),
        ("/metrics/queue?namespace=chat&pod=a", Ok(1)),
        ("/metrics/queue?pod=a", Ok(1)),
        ("/metrics/nothing?pod=a", Ok(1)),
        ("/metrics/nothing?namespace=other", Ok(1)),
        ("/metrics/spread?namespace=code", Ok(1)),
        (
            "/metrics/queue?namespace=other",
            Err("that the namespace \"other\" may see"),
        ),
        (
            "/metrics/queue?pod=c",
            Err("no reading of \"queue\" has these labels"),
        ),
        (
            "/metrics/queue?pdo=a",
            Err("no reading of \"queue\" has these labels"),
        ),
    ] {
        let (status, media, page) = get(&door.router, path).await;
        match expected {
            Ok(rows) => assert_eq!(page["readings"].as_array().unwrap().len(), rows, "{path}: {page}"),
            Err(detail) => {
                assert_eq!((status, &*media), (404, "application/problem+json"), "{path}");
                assert!(
                    page["detail"].as_str().unwrap().contains(detail),
                    "{path}: {page}"
                );
            }
        }
    }
    door.scheduler.shutdown().await;
}

/// Whatever axum refuses by itself is said in the door's own terms, too.
#[tokio::test]
async fn what_cannot_be_read_is_a_problem() {
    let door = door().await;
    for (path, status) in [
        ("/metrics/%ff", 400),
        ("/explain/%ff", 400),
        ("/nothing", 404),
        ("/metrics/a/b", 404),
    ] {
        let (found, media, page) = get(&door.router, path).await;
        assert_eq!(
            (found, &*media),
            (status, "application/problem+json"),
            "{path}: {page}"
        );
        assert_eq!(page["status"], status, "{path}");
    }
    door.scheduler.shutdown().await;
}

/// A list that is empty looks like nothing to do.
#[tokio::test]
async fn an_empty_list_of_readings_says_why() {
    let door = door().await;
    let (status, _, page) = get(&door.router, "/variants").await;
    assert_eq!((status, &page["variants"][0]["readings"]), (200, &json!([])));
    let why = page["variants"][0]["no_readings"].as_str().unwrap();
    assert!(why.contains("for_each: variant"), "{why}");
    // Of its model it is told by what it is known, and who tells another one.
    let others = json!([{"model": "other", "by": "label b"}]);
    let model = json!({"model": "m", "by": "annotation a", "others": others});
    assert_eq!(page["variants"][0]["model"], model);

    let source: Arc<dyn MetricsSource> = Arc::new(FixedBackend::new().into_source());
    source
        .query_list()
        .must_register(QueryTemplate::promql("queue", "queue"));
    let mut fleet = Fleet::default();
    fleet.sources.insert("pods".to_owned(), source);
    let mut each = MetricSpec::new("each".parse().unwrap(), "pods", "queue").unwrap();
    each.for_each = Some(ForEach::Variant);
    each.fold = MetricFold::By(Fold::Sum);
    fleet.metrics = vec![each];
    door.scheduler.apply(&fleet).unwrap();
    let (status, _, page) = get(&door.router, "/metrics/each").await;
    assert_eq!((status, &page["readings"]), (200, &json!([])));
    let why = page["no_readings"].as_str().unwrap();
    assert!(
        why.contains("`kubernetes`") && why.contains("`variants`"),
        "{why}"
    );
}
