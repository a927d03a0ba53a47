//! What is answered: a number, or why there is none.

use axum::body::Body;
use axum::http::Request;
use axum::http::header::ACCEPT;
use serde_json::{Value, json};

use super::{Answer, Door};

/// How long ago that was, up to the twenty seconds more that a slow machine may take. *Unit*: seconds.
fn age(timestamp: &Value) -> i64 {
    let text = timestamp.as_str().unwrap();
    assert!(text.len() == 20 && text.ends_with('Z'), "{text}");
    let taken: jiff::Timestamp = text.parse().unwrap();
    let age = (jiff::Timestamp::now() - taken).get_seconds();
    if (20..40).contains(&age) { 20 } else { age }
}

fn has_number(answer: &Answer) -> bool {
    answer.code == 200
}

#[tokio::test]
async fn a_number_is_an_item_with_the_time_of_its_sample() {
    let door = Door::open();
    let mut answer = door
        .until(async || door.external("queue").await, has_number)
        .await;
    let timestamp = answer.body["items"][0]["timestamp"].take();
    assert_eq!(age(&timestamp), 20, "{timestamp}");
    assert_eq!(
        answer.body,
        json!({
            "kind": "ExternalMetricValueList",
            "apiVersion": "external.metrics.k8s.io/v1beta1",
            "metadata": {},
            "items": [{
                "metricName": "queue",
                "metricLabels": {},
                "timestamp": null,
                "value": "2500m",
            }],
        })
    );
    for (metric, expected) in [("tiny", "1n"), ("zero", "0"), ("window", "4")] {
        let answer = door.until(async || door.external(metric).await, has_number).await;
        assert_eq!(answer.values(), [expected]);
        // How old it is, is not known.
        assert_eq!(answer.body["items"][0]["timestamp"], Value::Null);
    }
    let window = door.external("window").await;
    assert_eq!(
        window.body["items"][0]["window"],
        Value::Null,
        "the fixed source has no text"
    );
    // One that is held is a number, and as old as it is.
    door.until(async || door.external("held").await, has_number).await;
    door.backend.forget("queue");
    door.until(async || door.external("queue").await, |answer| answer.code == 503)
        .await;
    let held = door.external("held").await;
    assert_eq!((held.code, held.values()), (200, vec!["2500m"]));
    assert!(age(&held.body["items"][0]["timestamp"]) >= 20, "{held:?}");
    door.close().await;
}

#[tokio::test]
async fn a_selector_selects_rows_of_the_namespace() {
    let door = Door::open();
    door.settled().await;
    for (rest, expected) in [
        ("raw?labelSelector=model%3Da", &["1"][..]),
        ("raw?labelSelector=model+in+(a,+b)", &["1", "2250m"]),
        ("raw?labelSelector=model+notin+(c),model", &["1", "2250m"]),
        (
            "raw?labelSelector=model!%3Dc&limit=500&timeoutSeconds=5",
            &["1", "2250m"],
        ),
        ("raw?labelSelector=model%3Da,!variant", &["1"]),
        // A row for each variant, of the pods of its own.
        ("pods", &["3", "4"]),
        ("pods?labelSelector=variant%3Dh100", &["3"]),
        // What waits for the model, which is the same for each.
        ("backlog?labelSelector=scope,variant%3Dh100", &["5"]),
        ("queue?labelSelector=", &["2500m"]),
        ("kv", &["900m"]),
    ] {
        let answer = door.until(async || door.external(rest).await, has_number).await;
        assert_eq!(answer.values(), expected, "{rest}");
    }
    door.close().await;
}

#[tokio::test]
async fn whatever_is_absent_is_an_error_with_its_reason() {
    let door = Door::open();
    door.settled().await;
    for (rest, code, reason, cause, text) in [
        (
            "slow",
            503,
            "ServiceUnavailable",
            Some("never_refreshed"),
            "metric slow: never_refreshed",
        ),
        // While nothing is known, that is the answer for every label.
        (
            "slow?labelSelector=model%3Dm",
            503,
            "ServiceUnavailable",
            Some("never_refreshed"),
            "metric slow",
        ),
        (
            "failing",
            503,
            "ServiceUnavailable",
            Some("failed"),
            "metric failing: failed",
        ),
        (
            "nothing",
            503,
            "ServiceUnavailable",
            Some("no_data"),
            "metric nothing: no_data",
        ),
        (
            "undefined",
            503,
            "ServiceUnavailable",
            Some("undefined"),
            "metric undefined: undefined",
        ),
        (
            "old",
            503,
            "ServiceUnavailable",
            Some("too_old"),
            "metric old: too_old",
        ),
        (
            "huge",
            503,
            "ServiceUnavailable",
            Some("out_of_range"),
            "10000000000000000",
        ),
        // One of those that are selected has no number, and the others are not all.
        (
            "raw",
            503,
            "ServiceUnavailable",
            Some("undefined"),
            "of model=\"c\",namespace=\"chat\", one of 3 rows",
        ),
        (
            "raw?labelSelector=model%3Dz",
            503,
            "ServiceUnavailable",
            Some("no_data"),
            "no row of \"model=z\"",
        ),
        // That of another namespace.
        (
            "raw?labelSelector=model%3Dd",
            503,
            "ServiceUnavailable",
            Some("no_data"),
            "no row of",
        ),
        (
            "queue?labelSelector=model%3Dm",
            503,
            "ServiceUnavailable",
            Some("no_data"),
            "no row of",
        ),
        (
            "pods?labelSelector=variant%3Db200",
            503,
            "ServiceUnavailable",
            Some("no_data"),
            "no row of",
        ),
        // Their sum means nothing: use of 0.9 on two pods is not 1.8.
        ("kv-raw", 400, "BadRequest", None, "but they fold by mean"),
        (
            "unsaid",
            400,
            "BadRequest",
            None,
            "does not say that their sum means something",
        ),
        // Five wait for both variants, and not ten.
        (
            "backlog?labelSelector=scope",
            400,
            "BadRequest",
            None,
            "the same for several variants",
        ),
        (
            "queu",
            404,
            "NotFound",
            None,
            "no metric \"queu\" that the namespace \"chat\" may see; did you mean \"queue\"?",
        ),
        ("private", 404, "NotFound", None, "no metric \"private\""),
        (
            "raw?labelSelector=model%3D%3D%3Da",
            400,
            "BadRequest",
            None,
            "labelSelector: \"=\" at byte 7",
        ),
        (
            "raw?labelselector=model%3Da",
            400,
            "BadRequest",
            None,
            "\"labelselector\" is not known here",
        ),
        (
            "raw?labelSelector=a&labelSelector=b",
            400,
            "BadRequest",
            None,
            "more than once",
        ),
        (
            "raw?fieldSelector=metadata.name%3Da",
            400,
            "BadRequest",
            None,
            "\"fieldSelector\"",
        ),
        ("raw?watch=true", 400, "BadRequest", None, "\"watch\""),
        ("raw?labelSelector=%ff", 400, "BadRequest", None, "UTF-8"),
        ("raw/a", 404, "NotFound", None, "could not find"),
    ] {
        let answer = door.external(rest).await;
        assert_eq!(answer.code, code, "{rest}: {answer:?}");
        assert!(answer.message().contains(text), "{rest}: {answer:?}");
        let body = &answer.body;
        let expected = json!(["Status", "v1", "Failure", reason, code]);
        let given = json!([
            body["kind"],
            body["apiVersion"],
            body["status"],
            body["reason"],
            body["code"]
        ]);
        assert_eq!(given, expected, "{rest}");
        assert_eq!(
            body["details"]["causes"][0]["reason"].as_str(),
            cause,
            "{rest}: {body}"
        );
        assert_eq!(body["items"], Value::Null, "{rest}");
        assert!(answer.headers.get("retry-after").is_none(), "{rest}");
    }
    let request = Request::post("/apis/external.metrics.k8s.io/v1beta1/namespaces/chat/queue");
    let answer = door.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(
        (answer.code, answer.body["reason"].as_str()),
        (405, Some("MethodNotAllowed"))
    );
    let large = format!("queue?labelSelector={}", "a".repeat(33 << 10));
    let answer = door.external(&large).await;
    assert_eq!((answer.code, answer.body["kind"].as_str()), (414, Some("Status")));
    door.close().await;
}

#[tokio::test]
async fn pods_have_numbers_of_their_own() {
    let door = Door::open();
    let each = "pods/*/each?labelSelector=app%3Dllama";
    let answer = door.until(async || door.custom(each).await, has_number).await;
    let pods: Vec<_> = answer.body["items"].as_array().unwrap().iter().collect();
    // That of llama-2 is no number, and llama-3 only begins.
    assert_eq!(answer.values(), ["1", "1500m"]);
    assert_eq!(
        pods[0]["describedObject"],
        json!({"kind": "Pod", "namespace": "chat", "name": "llama-0", "apiVersion": "v1"})
    );
    assert_eq!(pods[1]["metric"], json!({"name": "each", "selector": null}));
    assert_eq!(answer.body["kind"], "MetricValueList");
    assert_eq!(answer.body["apiVersion"], "custom.metrics.k8s.io/v1beta2");
    for (rest, expected) in [
        ("pods/qwen-0/each", &["7"][..]),
        (
            "pods/*/each?labelSelector=app%3Dqwen&metricLabelSelector=pod",
            &["7"],
        ),
        ("pods/*/each", &["1", "1500m", "7"]),
        (
            "pods/*/twice?labelSelector=app%3Dtwice&metricLabelSelector=gpu%3D1",
            &["2"],
        ),
    ] {
        let answer = door.until(async || door.custom(rest).await, has_number).await;
        assert_eq!(answer.values(), expected, "{rest}");
    }
    door.until(
        async || door.custom("pods/*/nowhere").await,
        |answer| answer.code == 400,
    )
    .await;
    for (rest, code, text) in [
        ("pods/*/half?labelSelector=app%3Dllama", 503, "incomplete"),
        (
            "pods/*/twice?labelSelector=app%3Dtwice",
            400,
            "\"twice-0\" has 2 rows: select one by `metricLabelSelector`",
        ),
        (
            "pods/*/each?labelSelector=app%3Dnobody",
            503,
            "no pod is selected",
        ),
        ("pods/llama-2/each", 503, "\"llama-2\": undefined"),
        ("pods/llama-9/each", 503, "\"llama-9\": it has no row"),
        ("pods/llama-0/each?labelSelector=app", 400, "not by both"),
        ("pods/*/kv", 400, "`fold: none` alone"),
        // A pod of this name may be in any namespace.
        ("pods/*/nowhere", 400, "namespace and pod"),
        ("pods/*/each?metricLabelSelector=pod%3Dx", 503, "no_data"),
        ("pods/*/failing", 503, "failed"),
        ("pods/*/slow", 503, "never_refreshed"),
        ("pods/*/nonsense", 404, "no metric"),
        ("pods/*/private", 404, "no metric"),
        ("services/*/each", 404, "\"services\" have none"),
    ] {
        let answer = door.custom(rest).await;
        assert_eq!(answer.code, code, "{rest}: {answer:?}");
        assert!(answer.message().contains(text), "{rest}: {answer:?}");
        assert!(answer.headers.get("retry-after").is_none());
    }
    // Whose pods are not known.
    let elsewhere =
        "/apis/custom.metrics.k8s.io/v1beta2/namespaces/elsewhere/pods/*/each?labelSelector=app%3Dllama";
    let answer = door.get(elsewhere).await;
    assert_eq!(answer.code, 503, "{answer:?}");
    assert!(
        answer.message().contains("pods have not been listed yet"),
        "{answer:?}"
    );
    door.close().await;
}

#[tokio::test]
async fn clients_find_out_what_there_is() {
    let door = Door::open();
    let groups = door.get("/apis").await.body;
    assert_eq!(groups["kind"], "APIGroupList");
    assert_eq!(groups["groups"][0]["name"], "external.metrics.k8s.io");
    let group = door.get("/apis/custom.metrics.k8s.io").await.body;
    assert_eq!(
        (&group["kind"], &group["preferredVersion"]["groupVersion"]),
        (&json!("APIGroup"), &json!("custom.metrics.k8s.io/v1beta2"))
    );
    let names = |list: &Value| -> Vec<String> {
        let resources = list["resources"].as_array().unwrap().iter();
        resources
            .map(|one| one["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let external = names(&door.get("/apis/external.metrics.k8s.io/v1beta1").await.body);
    assert!(external.contains(&"queue".to_owned()) && external.contains(&"externalmetrics".to_owned()));
    // Which metrics some may see is not for everybody.
    assert!(!external.contains(&"private".to_owned()));
    let custom = names(&door.get("/apis/custom.metrics.k8s.io/v1beta2").await.body);
    assert!(custom.contains(&"pods/each".to_owned()), "{custom:?}");

    let media_type = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let request = Request::get("/apis").header(ACCEPT, format!("{media_type},application/json"));
    let all = door.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(all.headers["content-type"], media_type);
    assert_eq!(all.body["items"][0]["versions"][0]["freshness"], "Current");
    assert!(!all.body.to_string().contains("private"));

    let v2 = door.get("/openapi/v2").await.body;
    let index = door.get("/openapi/v3").await.body;
    for (group, kind) in [
        ("external.metrics.k8s.io/v1beta1", "ExternalMetricValueList"),
        ("custom.metrics.k8s.io/v1beta2", "MetricValueList"),
    ] {
        let url = index["paths"][format!("apis/{group}")]["serverRelativeURL"]
            .as_str()
            .unwrap();
        let v3 = door.get(url).await.body;
        assert!(v3["components"]["schemas"].to_string().contains(kind), "{v3}");
        for (document, schemas) in [(&v2, "/definitions"), (&v3, "/components/schemas")] {
            let text = document.to_string();
            // Whatever is named is there.
            for name in text.split(&format!("\"#{schemas}/")).skip(1) {
                let name = name.split('"').next().unwrap();
                assert!(document.pointer(schemas).unwrap().get(name).is_some(), "{name}");
            }
            assert!(document["paths"].to_string().contains(group), "{document}");
        }
    }
    for path in ["/healthz", "/livez"] {
        assert_eq!(door.get(path).await.code, 200, "{path}");
    }
    assert_eq!(door.get("/metrics").await.code, 404);
    door.close().await;
}
