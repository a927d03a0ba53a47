//! What a trigger is answered: a value, or why there is none.

use fleetgauge_server::door::keda::proto::{GetMetricsRequest, MetricSpec, ScaledObjectRef};
use tonic::{Code, Status};

use super::{Door, assert_silent, h100, is_active, numbers, object, spec, until, until_number};

#[tokio::test]
async fn a_value_is_told_as_a_whole_number_and_as_it_is() {
    let door = Door::open().await;
    let mut scaler = door.scaler().await;
    for (object, whole, float, active) in [
        (h100("queue"), 3, 2.5, true),
        (
            object("h100", &[("metric", "queue"), ("activation", "2.5")]),
            3,
            2.5,
            false,
        ),
        (
            object("h100", &[("metric", "queue"), ("activation", "2.4")]),
            3,
            2.5,
            true,
        ),
        // Three decimals is all that KEDA tells of a number, and 0.000 would be none.
        (h100("tiny"), 1, 0.001, true),
        // A row for each variant: that of the variant's own pods.
        (h100("pods"), 3, 3.0, true),
        (object("a100", &[("metric", "pods")]), 4, 4.0, true),
        (
            object("other", &[("metric", "pods"), ("selector", "variant=a100")]),
            4,
            4.0,
            true,
        ),
        (h100("variants"), 6, 6.0, true),
        (
            object(
                "h100",
                &[("metric", "models"), ("selector", "model=b, pool=x, scope=")],
            ),
            2,
            2.0,
            true,
        ),
    ] {
        until_number(&door, &object, float).await;
        assert_eq!(
            numbers(&mut scaler, &object).await.unwrap(),
            (whole, float),
            "{object:?}"
        );
        assert_eq!(
            is_active(&mut scaler, &object).await.unwrap(),
            active,
            "{object:?}"
        );
    }
    // One that is held is a number.
    door.backend.forget("queue");
    let ask = || {
        let mut scaler = scaler.clone();
        async move { numbers(&mut scaler, &h100("queue")).await }
    };
    assert!(until(&door, ask, Result::is_err).await.is_err());
    assert_eq!(numbers(&mut scaler, &h100("held")).await.unwrap(), (3, 2.5));
    assert!(is_active(&mut scaler, &h100("held")).await.unwrap());
    // Zero that was measured is zero, and there is no work.
    door.set("queue", 0.0);
    until_number(&door, &h100("queue"), 0.0).await;
    assert_eq!(numbers(&mut scaler, &h100("queue")).await.unwrap(), (0, 0.0));
    assert!(!is_active(&mut scaler, &h100("queue")).await.unwrap());
    door.close().await;
}

#[tokio::test]
async fn whatever_is_absent_is_an_error_with_its_reason() {
    let door = Door::open().await;
    let mut scaler = door.scaler().await;
    let selector = |metric: &'static str, selector: &'static str| {
        object("h100", &[("metric", metric), ("selector", selector)])
    };
    let elsewhere = |metric: &str| ScaledObjectRef {
        namespace: "elsewhere".to_owned(),
        ..h100(metric)
    };
    // Whether the specification is told all the same.
    let (told, refused) = (true, false);
    for (object, code, text, has_spec) in [
        (
            h100("slow"),
            Code::Unavailable,
            "metric slow: never_refreshed",
            told,
        ),
        (
            selector("slow", "model=m"),
            Code::Unavailable,
            "never_refreshed",
            told,
        ),
        (h100("failing"), Code::Unavailable, "metric failing: failed", told),
        (selector("failing", "model=m"), Code::Unavailable, "failed", told),
        (
            h100("nothing"),
            Code::Unavailable,
            "metric nothing: no_data",
            told,
        ),
        (
            h100("undefined"),
            Code::Unavailable,
            "metric undefined: undefined",
            told,
        ),
        (h100("old"), Code::Unavailable, "metric old: too_old", told),
        (h100("negative"), Code::OutOfRange, "it is -1", told),
        (h100("huge"), Code::OutOfRange, "it is 10000000000000000", told),
        // Rows: which one, and whose.
        (
            h100("models"),
            Code::InvalidArgument,
            "2 of its rows are meant: select one by `selector: LABEL=VALUE` of model",
            told,
        ),
        (
            selector("models", "pool=x"),
            Code::InvalidArgument,
            "of model",
            told,
        ),
        (
            selector("models", "model=c"),
            Code::Unavailable,
            "no_data: it has no row of model=\"c\"",
            told,
        ),
        (
            selector("models", "modle=a"),
            Code::FailedPrecondition,
            "the label \"modle\"; they have model, pool",
            told,
        ),
        (
            selector("queue", "model=m"),
            Code::FailedPrecondition,
            "they have no labels",
            told,
        ),
        (
            selector("models", "model"),
            Code::InvalidArgument,
            "`label=value`",
            refused,
        ),
        (
            object("b200", &[("metric", "pods")]),
            Code::FailedPrecondition,
            "no variant \"b200\" in the namespace \"chat\"",
            told,
        ),
        (
            elsewhere("pods"),
            Code::FailedPrecondition,
            "no variant \"h100\" in the namespace \"elsewhere\"",
            told,
        ),
        // Its only row is another variant's.
        (
            object("a100", &[("metric", "variants")]),
            Code::Unavailable,
            "no row of variant=\"a100\"",
            told,
        ),
        (
            elsewhere("variants"),
            Code::Unavailable,
            "namespace=\"elsewhere\"",
            told,
        ),
        // Metrics: one that is not there, and one that others may see.
        (
            h100("queu"),
            Code::NotFound,
            "no metric \"queu\" that the namespace \"chat\" may see; did you mean \"queue\"?",
            refused,
        ),
        (
            elsewhere("queue"),
            Code::NotFound,
            "no metric \"queue\" that the namespace \"elsewhere\" may see",
            refused,
        ),
        (
            elsewhere("queu"),
            Code::NotFound,
            "no metric \"queu\" that the namespace \"elsewhere\" may see",
            refused,
        ),
        // Metadata.
        (
            object("h100", &[]),
            Code::InvalidArgument,
            "lacks `metric`",
            refused,
        ),
        (
            object("h100", &[("metric", "queue"), ("target", "0")]),
            Code::InvalidArgument,
            "`target`",
            refused,
        ),
        (
            object("h100", &[("metric", "queue"), ("activationTarget", "3")]),
            Code::InvalidArgument,
            "did you mean `activation`?",
            refused,
        ),
    ] {
        let is_wanted = |status: &Status| status.code() == code && status.message().contains(text);
        let asked = scaler.clone();
        let ask = || {
            let (mut scaler, object) = (asked.clone(), object.clone());
            async move { numbers(&mut scaler, &object).await }
        };
        let answer = until(&door, ask, |answer| answer.as_ref().is_err_and(is_wanted)).await;
        let status = answer.unwrap_err();
        assert!(!status.message().contains("2.5"), "{status}");
        assert_eq!(
            status.message().contains("did you mean"),
            text.contains("did you mean"),
            "{status}"
        );
        let status = is_active(&mut scaler, &object).await.unwrap_err();
        assert!(is_wanted(&status), "{object:?}: {status}");
        match spec(&mut scaler, &object).await {
            Ok(spec) => assert!(has_spec && spec.target_size == 5, "{object:?}: {spec:?}"),
            Err(status) => assert!(!has_spec && is_wanted(&status), "{object:?}: {status}"),
        }
    }
    let request = GetMetricsRequest {
        scaled_object_ref: Some(h100("queue")),
        metric_name: "s0-queue".to_owned(),
    };
    let status = scaler.get_metrics(request).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    door.close().await;
}

#[tokio::test]
async fn a_metric_is_held_to_what_its_trigger_says() {
    let door = Door::open().await;
    let mut scaler = door.scaler().await;
    for (target, whole, float) in [
        ("5", 5, 5.0),
        ("2.5", 2, 2.5),
        ("0.25", 1, 0.25),
        ("1e15", 1_000_000_000_000_000, 1e15),
    ] {
        // There is no data, and none will come.
        let object = object("h100", &[("metric", "slow"), ("target", target)]);
        let expected = MetricSpec {
            metric_name: "slow".to_owned(),
            target_size: whole,
            target_size_float: float,
        };
        assert_eq!(spec(&mut scaler, &object).await.unwrap(), expected);
        let mut stream = scaler.stream_metric_spec(object).await.unwrap().into_inner();
        let told = stream.message().await.unwrap().unwrap();
        assert_eq!(told.metric_specs, [expected]);
        assert_silent(stream.message()).await;
    }
    let status = scaler.stream_metric_spec(h100("queu")).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    door.close().await;
}

#[tokio::test]
async fn the_documented_scaled_object_is_understood() {
    let docs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/keda.md");
    let text = std::fs::read_to_string(docs).unwrap();
    let (_, trigger) = text.split_once("external-push\n      metadata:\n").unwrap();
    let pairs = trigger
        .lines()
        .map_while(|line| line.strip_prefix("        ")?.split_once(": "));
    let metadata: Vec<_> = pairs.map(|(key, value)| (key, value.trim_matches('"'))).collect();
    assert_eq!(metadata.len(), 4, "{metadata:?}");
    let door = Door::open().await;
    let mut object = object("llama-8b-autoscaler", &metadata);
    let named = object
        .scaler_metadata
        .insert("metric".to_owned(), "queue".to_owned());
    assert_eq!(named.as_deref(), Some("variant_queue"));
    let spec = spec(&mut door.scaler().await, &object).await.unwrap();
    assert_eq!((spec.target_size, spec.target_size_float), (5, 5.0));
    door.close().await;
}
