//! What `fleetgauge explain` tells, and in which shape.
#![allow(clippy::unwrap_used, missing_docs)]

use std::process::Output;

use fleetgauge_testkit::faulty::Request;
use fleetgauge_testkit::{Answer, FaultyServer};
use serde_json::{Value, json};

use crate::support::binary::{fleetgauge, text};

const THREE: &str = r#"{"status":"success","data":{"resultType":"vector","result":[
    {"metric":{"pod":"a"},"value":[1763930000.5,"3"]}]},"warnings":["store \"b\" did not answer"]}"#;

fn explain(args: &[&str]) -> Output {
    fleetgauge("explain", args, &[])
}

#[test]
fn the_json_is_what_the_contract_says() {
    let server = FaultyServer::start([Answer::json(THREE)]).unwrap();
    let output = explain(&[
        "--promql",
        "max_over_time(up{pod=\"{{.pod}}\"}[1m]) or down",
        "-p",
        "pod=a",
        "--prometheus",
        &server.url(),
        "-o",
        "json",
    ]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let rendered = "max_over_time(up{pod=\"a\"}[1m]) or down";
    assert_eq!(
        found["template"],
        json!("max_over_time(up{pod=\"{{.pod}}\"}[1m]) or down")
    );
    assert_eq!(found["params"], json!({"pod": ["a"]}));
    assert_eq!(found["rendered"], json!(rendered));
    assert_eq!(found["source"], json!("prometheus"));
    // The query itself, and beside it who reports, how old that is, and which side of the `or` it is from.
    let sent = found["sent"].as_array().unwrap();
    assert_eq!((&sent[0], sent.len()), (&json!(rendered), 4), "{sent:?}");
    // How far samples are apart is asked now and then, and so are the recording rules.
    let asked = server
        .requests()
        .iter()
        .filter(|request| request.target.ends_with("/query"))
        .count();
    assert!(asked >= sent.len(), "{asked} were asked");
    assert_eq!(found["outcome"]["status"], json!("value"));
    assert_eq!(found["outcome"]["values"][0]["value"], json!(3));
    assert_eq!(found["policy"]["on_incomplete"], json!("fail"));
    // A partial answer is no value, and it is said why.
    let reading = &found["reading"];
    assert_eq!(reading["labels"], json!({"pod": "a"}));
    let judged = (&reading["status"], &reading["value"], &reading["reason"]["code"]);
    assert_eq!(judged, (&json!("withheld"), &Value::Null, &json!("incomplete")));
    assert_eq!(reading["origin"]["promql"], json!(rendered));
    assert_eq!(found["readings"].as_array().unwrap().len(), 1);
}

#[test]
fn a_metric_of_the_configuration_is_explained_by_its_name() {
    let directory = tempfile::tempdir().unwrap();
    let page = "vllm:num_requests_waiting{model_name=\"m\"} 3\n";
    let pod = FaultyServer::start([Answer::text(page)]).unwrap();
    let other = FaultyServer::start([Answer::text(page)]).unwrap();
    let address = |server: &FaultyServer| server.url().trim_start_matches("http://").to_owned();
    let yaml = format!(
        "sources:
  pods: {{scrape: {{discovery: [{{static: {{targets: [\"{}\"], labels: {{pod: a, namespace: chat}}}}}}]}}}}
  others: {{scrape: {{discovery: [{{static: [\"{}\"]}}]}}}}
metrics:
  - {{name: queue, source: pods, query: vllm/queue_length_instant, params: {{namespace: chat, modelID: m}}, policy: {{max_age: 37s}}}}
  - {{name: each, source: pods, query: vllm/queue_length_instant, for_each: variant}}\n",
        address(&pod),
        address(&other),
    );
    let file = directory.path().join("fleetgauge.yaml");
    std::fs::write(&file, yaml).unwrap();
    let file = file.to_str().unwrap();
    let output = explain(&["queue", "--config", file, "-o", "json"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&found["query"], &found["source"], &found["params"]),
        (
            &json!("vllm/queue_length_instant"),
            &json!("pods"),
            &json!({"namespace": ["chat"], "modelID": ["m"]})
        )
    );
    assert_eq!(found["reading"]["value"], json!(3), "{found}");
    assert_eq!(found["policy"]["max_age_seconds"], json!(37), "{found}");
    let from = found["template_from"].as_str().unwrap();
    assert!(
        from.ends_with("as the metric queue of the configuration asks it"),
        "{from}"
    );
    // What is given counts before what the metric says, and that nothing fits is not left without a cause.
    let output = explain(&["queue", "--config", file, "-p", "modelID=x", "-o", "json"]);
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let cause = found["outcome"]["cause"].as_str().unwrap();
    assert!(cause.contains("never model_name=\"x\""), "{found}");
    let output = explain(&["each", "--config", file]);
    let said = text(&output.stderr);
    assert!(
        said.contains("each is read for each variant; give the parameters of one") && said.contains("-p "),
        "{said}"
    );
    // Where a cluster has the variants, what would tell the model is shown in its order.
    let with_cluster = directory.path().join("cluster.yaml");
    let text_with = format!(
        "{}kubernetes: {{kubeconfig: nowhere, model: [{{label: serves}}, {{field: spec.modelID}}]}}\n",
        std::fs::read_to_string(file).unwrap()
    );
    std::fs::write(&with_cluster, text_with).unwrap();
    let with_cluster = with_cluster.to_str().unwrap();
    let given = [
        "--config",
        with_cluster,
        "-p",
        "modelID=m",
        "-p",
        "namespace=chat",
        "-o",
        "json",
    ];
    let places = |name| {
        let output = explain(&[&[name][..], &given].concat());
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        found["model_by"].clone()
    };
    assert_eq!(places("each"), json!(["label serves", "field spec.modelID"]));
    assert_eq!(places("queue"), json!([]));
    let output = explain(&["queu", "--config", file, "--source", "pods"]);
    let said = text(&output.stderr);
    assert!(said.contains("did you mean \"queue\"?"), "{said}");
}

#[test]
fn a_query_that_fails_is_explained_too() {
    let server = FaultyServer::start([Answer::status(503)]).unwrap();
    let args = ["--promql", "up", "--prometheus", &server.url(), "--timeout", "1s"];
    let output = explain(&args);
    assert_eq!(output.status.code(), Some(1));
    let shown = text(&output.stdout);
    assert!(
        shown.contains("rendered    up\n") && shown.contains("503"),
        "{shown}"
    );
    assert!(shown.contains("withheld"), "{shown}");
    let output = explain(&[&args[..], &["-o", "json"]].concat());
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let told = (&found["outcome"]["status"], &found["reading"]["reason"]["code"]);
    assert_eq!(told, (&json!("error"), &json!("failed")));
}

#[test]
fn pods_are_explained_that_are_scraped() {
    let pod = FaultyServer::start([Answer::text("vllm:num_requests_waiting 3\n")]).unwrap();
    let output = explain(&["--promql", "vllm:num_requests_waiting", "--scrape", &pod.url()]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let shown = text(&output.stdout);
    assert!(shown.contains("source      scrape\n"), "{shown}");
    let reading = shown.lines().last().unwrap();
    assert!(reading.contains("value") && reading.contains('3'), "{shown}");
}

/// Answers each query whose form begins so, all others with no row.
fn answering(answers: &'static [(&'static str, &'static [&'static str])]) -> FaultyServer {
    let choose = move |request: &Request| {
        let form = request.body_text();
        let found = answers
            .iter()
            .find(|(begin, _)| form.contains(&format!("query={begin}")));
        let labels: Vec<_> = found
            .map_or(&[][..], |(_, pods)| pods)
            .iter()
            .map(|pod| [("pod", *pod)])
            .collect();
        let rows: Vec<_> = labels.iter().map(|labels| (&labels[..], 3.0)).collect();
        Answer::vector(1_763_930_000.5, &rows)
    };
    FaultyServer::start([Answer::choose(choose)]).unwrap()
}

#[test]
fn readings_are_judged_by_the_policy_of_the_query_over_the_defaults() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("fleetgauge.yaml");
    let path = file.to_str().unwrap();
    let explained = |config: &str, name: &str, server: &FaultyServer| {
        std::fs::write(&file, config).unwrap();
        let args = [
            name,
            "--config",
            path,
            "--prometheus",
            &server.url(),
            "-o",
            "json",
        ];
        let output = explain(&args);
        let found: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        (found, text(&output.stderr).to_owned())
    };
    let config = "
defaults: {policy: {min_completeness: 0.9, hold: 5m}}
queries:
  - name: busy
    template: sum by (pod) (busy) > 0
    expected: pods
    policy: {on_error: hold, on_no_data: {value: 0, when: idle}}
  - {name: pods, template: group by (pod) (up)}
  - {name: idle, template: group by (pod) (idle)}
  - {name: none, template: none, policy: {on_incomplete: hold}}
";
    // One of two is missing, though both have rows to show elsewhere.
    let server = answering(&[
        ("sum", &["a"]),
        ("min", &["a"]),
        ("group+by+%28pod%29+%28up", &["a", "b"]),
    ]);
    let (found, stderr) = explained(config, "busy", &server);
    let completeness = &found["outcome"]["completeness"];
    assert_eq!(
        (&completeness["expected"], &completeness["reporting"]),
        (&json!(2), &json!(1)),
        "{found} {stderr}"
    );
    assert_eq!(completeness["missing"][0]["who"], json!("{pod=\"b\"}"));
    assert_eq!(found["policy"]["min_completeness"], json!(0.9));
    assert_eq!(
        (&found["policy"]["on_error"], &found["policy"]["hold_seconds"]),
        (&json!("hold"), &json!(300))
    );
    assert_eq!(found["reading"]["reason"]["code"], json!("incomplete"));
    // Both report, and one of them has no row; that it is idle is proven.
    let server = answering(&[
        ("sum", &["a"]),
        ("min", &["a", "b"]),
        ("group+by+%28pod%29+%28up", &["a", "b"]),
        ("group+by+%28pod%29+%28idle", &["b"]),
    ]);
    let (found, stderr) = explained(config, "busy", &server);
    let readings = found["readings"].as_array().unwrap();
    let read: Vec<_> = readings
        .iter()
        .map(|reading| {
            (
                &reading["labels"]["pod"],
                &reading["value"],
                &reading["reason"]["code"],
            )
        })
        .collect();
    let expected = [
        (&json!("a"), &json!(3), &Value::Null),
        (&json!("b"), &json!(0), &json!("proven")),
    ];
    assert_eq!(read, expected, "{found} {stderr}");
    // What cannot be followed is told with its place and what to do.
    let (_, stderr) = explained(config, "none", &server);
    assert!(
        stderr.contains(&format!(
            "{path}: the policy of the query \"none\" of the configuration"
        )) && stderr.contains("cannot be followed for the source prometheus:\nmin_completeness is set")
            && stderr.contains("`expected: PACK/NAME`"),
        "{stderr}"
    );
}
