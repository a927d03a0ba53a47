//! What `fleetgauge explain` tells, and in which shape.
#![allow(clippy::unwrap_used, missing_docs)]

use std::process::Output;

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
