//! What `fleetgauge doctor` says, and with which exit status.
#![allow(clippy::unwrap_used, missing_docs)]

use std::process::Output;

use fleetgauge_sim::Fleet;
use fleetgauge_testkit::{Answer, FaultyServer, Refused};
use serde_json::{Value, json};

use crate::support::binary::fleetgauge;

fn doctor(args: &[&str]) -> Output {
    fleetgauge("doctor", args, &[])
}

fn findings(output: &Output) -> Vec<Value> {
    let told: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    told["findings"].as_array().unwrap().clone()
}

/// With `N` for the seconds of an age, which depend on how busy the machine is.
fn without_age(text: &str) -> String {
    let mut words = text.split("at most ");
    let mut out = words.next().unwrap_or_default().to_owned();
    for rest in words {
        out += "at most N";
        out += rest.trim_start_matches(|c: char| c.is_ascii_digit());
    }
    out
}

#[test]
fn a_server_that_is_not_there_is_told_once() {
    let refused = Refused::new().unwrap();
    let output = doctor(&["vllm", "--prometheus", &refused.url(), "--timeout", "2s"]);
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1));
    let lines: Vec<&str> = stdout.lines().collect();
    let expected = format!(": unreachable: {}", refused.addr());
    assert!(lines[0].starts_with("error    vllm/kv_cache_usage, "), "{stdout}");
    assert!(lines[0].contains(&expected), "{stdout}");
    assert!(
        lines[1].starts_with("         see that the URL names a host and port"),
        "{stdout}"
    );
    assert!(lines[2].starts_with("0 ok, 0 warnings, "), "{stdout}");
    assert_eq!(lines.len(), 3, "{stdout}");
}

#[test]
fn simulated_pods_are_examined_without_any_parameter() {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.enable_all().build().unwrap();
    let fleet = runtime.block_on(Fleet::demo(4).start()).unwrap();
    let mut targets = String::new();
    for (i, pod) in fleet.pods().iter().enumerate() {
        let address = pod.url.trim_start_matches("http://").trim_end_matches("/metrics");
        targets += &format!(
            "        - static: {{targets: [\"{address}\"], labels: {{namespace: chat, pod: pod-{i}}}}}\n"
        );
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pods.yaml");
    let yaml = format!("sources:\n  pods:\n    scrape:\n      discovery:\n{targets}");
    std::fs::write(&file, yaml).unwrap();
    let output = doctor(&["inference", "-o", "json", "--config", file.to_str().unwrap()]);
    let found = findings(&output);
    let of = |name: &str| {
        let found = found.iter().find(|found| found["query"] == name).unwrap();
        (
            found["severity"].as_str().unwrap(),
            found["what"].as_str().unwrap(),
        )
    };
    let (severity, what) = of("inference/queue_length_instant");
    assert_eq!(severity, "ok", "{what}");
    assert!(what.contains("answered by vllm:num_requests_waiting"), "{what}");
    assert!(what.contains("with namespace=chat, modelID="), "{what}");
    // Rates have what they need, since the pods were scraped often enough before.
    let (severity, what) = of("inference/request_rate");
    assert_ne!(severity, "error", "{what}");
    runtime.block_on(fleet.shutdown());
}

#[test]
fn json_has_a_finding_for_each_query() {
    let pod = FaultyServer::start([Answer::text("vllm:num_requests_waiting{model_name=\"m\"} 3\n")]).unwrap();
    let output = doctor(&["vllm/queue_length_instant", "-o", "json", "--scrape", &pod.url()]);
    let found = findings(&output);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(found.len(), 1);
    let what = "vllm:num_requests_waiting is there, but none of its series has the label namespace";
    assert_eq!(
        (
            &found[0]["query"],
            &found[0]["severity"],
            &found[0]["what"],
            &found[0]["source"]
        ),
        (
            &json!("vllm/queue_length_instant"),
            &json!("error"),
            &json!(what),
            &json!("scrape")
        )
    );
    let advice = found[0]["advice"].as_str().unwrap();
    assert!(
        advice.contains("source_labels: [__meta_kubernetes_namespace]"),
        "{advice}"
    );
}

#[test]
fn a_configuration_is_examined_with_all_its_sources() {
    let directory = tempfile::tempdir().unwrap();
    let pod = FaultyServer::start([Answer::text("vllm:num_requests_waiting 3\n")]).unwrap();
    let yaml = format!(
        "sources:
  pods:
    scrape:
      discovery: [{{static: {{targets: [\"{}\"], labels: {{pod: a, namespace: chat}}}}}}]
  fleet:
    composed:
      inputs:
        queue: {{source: pods, promql: \"vllm:num_requests_waiting\"}}
      queries: [{{name: total, template: sum(queue)}}, {{name: none, template: 'sum(queue{{pod=\"b\"}})'}}]
queries: [{{name: waiting, template: 'max by (namespace, pod) (vllm:num_requests_waiting)'}}]\n",
        pod.url().trim_start_matches("http://"),
    );
    let file = directory.path().join("fleet.yaml");
    std::fs::write(&file, yaml).unwrap();
    let output = doctor(&["-o", "json", "--config", file.to_str().unwrap()]);
    let told: Vec<_> = findings(&output)
        .iter()
        .map(|found| {
            format!(
                "{} {} {}: {}",
                found["severity"], found["query"], found["source"], found["what"]
            )
        })
        .map(|line| without_age(&line.replace('"', "")))
        .collect();
    let missing = r"error none fleet: queue has the label pod, but never pod=\b\";
    assert_eq!(
        told,
        [
            "ok waiting pods: 1 row, at most Ns old",
            "ok total fleet: 1 row, at most Ns old",
            missing
        ]
    );
    let output = doctor(&["waiting", "--source", "pods", "--config", file.to_str().unwrap()]);
    let stdout = without_age(&String::from_utf8(output.stdout).unwrap());
    assert_eq!(
        stdout,
        "ok       waiting: 1 row, at most Ns old\n1 ok, 0 warnings, 0 errors\n"
    );
}

/// A pack has queries of what nobody may have here.
#[test]
fn of_a_configuration_with_metrics_what_these_ask_is_examined() {
    let directory = tempfile::tempdir().unwrap();
    let page = "vllm:num_requests_waiting{model_name=\"m\"} 3\n";
    let pod = FaultyServer::start([Answer::text(page)]).unwrap();
    let yaml = format!(
        "sources:
  pods: {{scrape: {{discovery: [{{static: {{targets: [\"{}\"], labels: {{pod: a, namespace: chat}}}}}}]}}}}
  fleet: {{composed: {{inputs: {{queue: {{source: pods, query: vllm/queue_length_instant}}}}, queries: [{{name: total, template: sum(queue)}}]}}}}
packs: [vllm]
queries: [{{name: nobodys, template: nothing}}]
metrics: [{{name: all, source: fleet, query: total, params: {{namespace: chat, modelID: m}}}}]\n",
        pod.url().trim_start_matches("http://"),
    );
    let file = directory.path().join("fleet.yaml");
    std::fs::write(&file, yaml).unwrap();
    let output = doctor(&["-o", "json", "--config", file.to_str().unwrap()]);
    let findings = findings(&output);
    let asked: Vec<_> = findings
        .iter()
        .map(|found| {
            (
                found["source"].as_str().unwrap(),
                found["query"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(asked, [("pods", "vllm/queue_length_instant"), ("fleet", "total")]);
    assert!(output.status.success(), "{output:?}");
}

/// With values of its own, the doctor would find in order what the metric never finds.
#[test]
fn what_metrics_ask_is_examined_with_their_parameters() {
    let directory = tempfile::tempdir().unwrap();
    let page = "vllm:num_requests_waiting{model_name=\"llama\"} 3\n";
    let pod = FaultyServer::start([Answer::text(page)]).unwrap();
    let yaml = format!(
        "sources:
  pods: {{scrape: {{discovery: [{{static: {{targets: [\"{}\"], labels: {{pod: a, namespace: chat}}}}}}]}}}}
metrics:
  - {{name: right, query: vllm/queue_length_instant, params: {{namespace: chat, modelID: llama}}}}
  - {{name: right_too, query: vllm/queue_length_instant, params: {{namespace: chat, modelID: llama}}}}
  - {{name: misspelt, query: vllm/queue_length_instant, params: {{namespace: chat, modelID: lama}}}}
  - {{name: each, query: vllm/queue_length_instant, for_each: variant}}\n",
        pod.url().trim_start_matches("http://"),
    );
    let file = directory.path().join("fleet.yaml");
    std::fs::write(&file, yaml).unwrap();
    let file = file.to_str().unwrap();
    let output = doctor(&["-o", "json", "--config", file]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let found = findings(&output);
    let told: Vec<_> = found
        .iter()
        .map(|found| {
            (
                found["severity"].as_str().unwrap(),
                found["what"].as_str().unwrap(),
            )
        })
        .collect();
    let [("ok", right), ("error", misspelt)] = told[..] else {
        panic!("{told:#?}");
    };
    assert!(
        right.ends_with(", as the metrics right, right_too ask it"),
        "{right}"
    );
    assert!(
        misspelt.ends_with(", as the metric misspelt asks it"),
        "{misspelt}"
    );
    assert!(
        found[1]["advice"].as_str().unwrap().contains("llama"),
        "{found:#?}"
    );
    // What is given counts before it.
    let output = doctor(&["--config", file, "-p", "modelID=llama"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[test]
fn what_is_not_known_is_wrong_usage() {
    let output = doctor(&["vlm", "--prometheus", "http://127.0.0.1:9"]);
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        stderr,
        "error: there is no pack or query \"vlm\"; did you mean \"vllm\"?\n"
    );
}

/// What is asked of the minute before the first scrape is missing, and would be told of every query with a range.
#[test]
fn of_pods_that_have_just_been_found_it_is_told_what_no_time_will_mend() {
    let page = "vllm:kv_cache_usage_perc{model_name=\"m\"} 0.5\n";
    let pod = FaultyServer::start([Answer::text(page)]).unwrap();
    let output = doctor(&["vllm/kv_cache_usage", "--scrape", &pod.url(), "-o", "json"]);
    assert_eq!(output.status.code(), Some(1));
    let findings = findings(&output);
    let what = findings[0]["what"].as_str().unwrap();
    assert!(
        what.starts_with("vllm:kv_cache_usage_perc is there, but none of its series has the label namespace"),
        "{what}"
    );
}
