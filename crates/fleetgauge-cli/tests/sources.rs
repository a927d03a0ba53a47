//! Which source a query is asked of, and what comes of several.
#![allow(clippy::unwrap_used, missing_docs)]

use std::path::PathBuf;
use std::process::Output;

use fleetgauge_testkit::{Answer, FaultyServer};
use serde_json::{Value, json};

use crate::support::binary::{fleetgauge, text};

const PAGE: &str = "vllm:num_requests_waiting 3\n";
const BACKLOG: &str = r#"{"status":"success","data":{"resultType":"vector","result":[
    {"metric":{},"value":[1763930000.5,"4"]}]}}"#;

/// A directory with a configuration of a Prometheus, a pod, and what is computed from both.
struct Fleet {
    directory: tempfile::TempDir,
    central: FaultyServer,
    _pod: FaultyServer,
}

impl Fleet {
    fn start(central: Answer) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let central = FaultyServer::start([central]).unwrap();
        let pod = FaultyServer::start([Answer::text(PAGE)]).unwrap();
        let yaml = format!(
            "sources:
  central: {{prometheus: {{url: {}}}}}
  pods:
    scrape:
      discovery: [{{static: {{targets: [\"{}\"], labels: {{pod: a}}}}}}]
  fleet:
    composed:
      inputs:
        queue: {{source: pods, promql: \"vllm:num_requests_waiting\"}}
        backlog: {{source: central, query: backlog}}
      queries: [{{name: total, template: sum(queue) + sum(backlog)}}]
queries: [{{name: backlog, template: sum(backlog)}}]\n",
            central.url(),
            pod.url().trim_start_matches("http://"),
        );
        std::fs::write(directory.path().join("fleet.yaml"), yaml).unwrap();
        Self {
            directory,
            central,
            _pod: pod,
        }
    }

    fn config(&self) -> PathBuf {
        self.directory.path().join("fleet.yaml")
    }

    fn query(&self, args: &[&str]) -> Output {
        let config = self.config();
        let config = ["--config", config.to_str().unwrap()];
        query(&[args, &config].concat(), &[])
    }

    fn json(&self, args: &[&str]) -> Value {
        let output = self.query(&[args, &["-o", "json"]].concat());
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
    }
}

fn query(args: &[&str], vars: &[(&str, &str)]) -> Output {
    fleetgauge("query", args, vars)
}

#[test]
fn a_query_of_a_composed_source_is_found_by_its_name() {
    let fleet = Fleet::start(Answer::json(BACKLOG));
    let found = fleet.json(&["total"]);
    assert_eq!(
        (&found["status"], &found["values"][0]["value"]),
        (&json!("value"), &json!(7))
    );
}

#[test]
fn an_input_that_fails_is_named() {
    let fleet = Fleet::start(Answer::status(503));
    let found = fleet.json(&["total", "--timeout", "2s"]);
    assert_eq!(
        (&found["status"], &found["values"]),
        (&json!("error"), &json!([]))
    );
    let error = found["error"].as_str().unwrap();
    assert!(
        error.contains("input \"backlog\" of source \"central\"") && error.contains("503"),
        "{error}"
    );
}

#[test]
fn several_clusters_are_one_source() {
    let of = |number: u32| {
        let json = format!(
            r#"{{"status":"success","data":{{"resultType":"vector","result":[
               {{"metric":{{"pod":"a"}},"value":[1763930000.5,"{number}"]}}]}}}}"#
        );
        FaultyServer::start([Answer::json(&json)]).unwrap()
    };
    let (eu, us) = (of(3), of(4));
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("fleet.yaml");
    let yaml = format!(
        "sources:
  eu: {{prometheus: {{url: {}}}}}
  us: {{prometheus: {{url: {}}}}}
  clusters:
    federated:
      members:
        eu: {{sources: [eu], labels: {{cluster: eu}}}}
        us: {{sources: [us], labels: {{cluster: us}}}}
      require: any\n",
        eu.url(),
        us.url()
    );
    std::fs::write(&config, yaml).unwrap();
    let args = [
        "--promql",
        "queue",
        "--source",
        "clusters",
        "-o",
        "json",
        "--config",
        config.to_str().unwrap(),
    ];
    let ask = || -> Value { serde_json::from_slice(&query(&args, &[]).stdout).unwrap() };
    let found = ask();
    let rows = found["values"].as_array().unwrap();
    let mut rows: Vec<_> = rows
        .iter()
        .map(|row| (row["labels"]["cluster"].clone(), row["value"].clone()))
        .collect();
    rows.sort_by_key(|(cluster, _)| cluster.to_string());
    assert_eq!(
        rows,
        [(json!("eu"), json!(3)), (json!("us"), json!(4))],
        "{found}"
    );
    assert_eq!(found["completeness"]["reporting"], json!(2));
    // One that is gone is missing, and named.
    drop(us);
    let found = ask();
    assert_eq!(
        (&found["complete"], &found["completeness"]["reporting"]),
        (&json!(false), &json!(1))
    );
    assert_eq!(found["completeness"]["missing"][0]["who"], json!("us"));
}

#[test]
fn a_source_is_chosen_by_its_name() {
    let fleet = Fleet::start(Answer::json(BACKLOG));
    let of = |source: &str| fleet.json(&["--promql", "vllm:num_requests_waiting", "--source", source]);
    let pods = of("pods");
    assert_eq!(pods["values"][0]["labels"]["pod"], json!("a"), "{pods}");
    assert_eq!(of("central")["values"][0]["value"], json!(4));
    // A name of the configuration, of a source that is none over others.
    assert_eq!(
        fleet.json(&["backlog", "--source", "central"])["values"][0]["value"],
        json!(4)
    );
}

#[test]
fn who_asks_for_a_past_of_pods_is_told_where_it_is_kept() {
    let fleet = Fleet::start(Answer::json(BACKLOG));
    let asked = [
        "--source",
        "pods",
        "--promql",
        "vllm:num_requests_waiting",
        "--range",
        "5m",
    ];
    assert!(!text(&fleet.query(&asked).stderr).contains("note: "));
    let mut yaml = std::fs::read_to_string(fleet.config()).unwrap();
    let url = fleet.central.url();
    yaml += &format!(
        "remote_write: [{{url: {url}/api/v1/write, external_labels: {{by: me}}, history: central}}]\n"
    );
    std::fs::write(fleet.config(), yaml).unwrap();
    let said = fleet.query(&asked);
    // Nor is there an answer of a moment for one of five minutes.
    assert_eq!(said.status.code(), Some(1), "{said:?}");
    assert!(
        text(&said.stderr).contains("note: this command scrapes now and has no past: --source central"),
        "{said:?}"
    );
    assert!(!text(&fleet.query(&asked[..4]).stderr).contains("note: "));
}

#[test]
fn what_is_not_clear_is_asked_back() {
    let fleet = Fleet::start(Answer::json(BACKLOG));
    let check = |args: &[&str], code: i32, expected: &str| {
        let output = fleet.query(args);
        let error = text(&output.stderr);
        assert_eq!((output.status.code(), error), (Some(code), expected), "{args:?}");
    };
    let before = fleet.central.requests().len();
    check(
        &["--promql", "up"],
        2,
        "error: several sources can be asked; choose one with --source: central, pods, fleet\n",
    );
    check(
        &["--promql", "up", "--source", "centrall"],
        2,
        "error: there is no source \"centrall\"; did you mean \"central\"?\n",
    );
    check(
        &["--promql", "up", "--source", "central", "--header", "A=b"],
        2,
        "error: --header is for the source prometheus, and central is asked, which the configuration file describes\n",
    );
    check(
        &["totl", "--source", "fleet"],
        1,
        "error: there is no query \"totl\"; did you mean \"total\"?\n",
    );
    check(
        &["inference/queue_length", "--source", "fleet"],
        1,
        "error: source fleet has no query \"inference/queue_length\"; it has total, and --promql takes an expression \
         over its inputs\n",
    );
    assert_eq!(fleet.central.requests().len(), before, "nobody was asked");
}

#[test]
fn credentials_of_the_environment_go_to_no_source_of_the_file() {
    let fleet = Fleet::start(Answer::json(BACKLOG));
    let config = fleet.config();
    let args = [
        "--promql",
        "up",
        "--source",
        "central",
        "--config",
        config.to_str().unwrap(),
    ];
    let vars = [
        ("PROMETHEUS_BASE_URL", "http://elsewhere.test"),
        ("PROMETHEUS_BEARER_TOKEN", "secret"),
    ];
    let output = query(&args, &vars);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let requests = fleet.central.requests();
    assert!(!requests.is_empty());
    for request in requests {
        assert_eq!(request.header("authorization"), None);
    }
}

#[test]
fn pods_are_scraped_that_no_configuration_names() {
    let pod = FaultyServer::start([Answer::text(PAGE)]).unwrap();
    let gone = FaultyServer::start([Answer::status(500)]).unwrap();
    let (pod, gone) = (pod.url(), gone.url());
    let expression = ["--promql", "sum(vllm:num_requests_waiting)"];
    let output = query(&[&expression[..], &["--scrape", &pod]].concat(), &[]);
    let row = text(&output.stdout).lines().last().unwrap();
    assert_eq!(row.split_whitespace().next(), Some("3"), "{output:?}");
    // A part of the sum is missing, and that is said.
    let output = query(&[&expression[..], &["--scrape", &pod, &gone]].concat(), &[]);
    assert!(text(&output.stderr).contains("500"), "{output:?}");
    let output = query(
        &[&expression[..], &["--scrape", "http://user:hunter2@pod:1"]].concat(),
        &[],
    );
    assert_eq!(output.status.code(), Some(2));
    assert!(!text(&output.stderr).contains("hunter2"), "{output:?}");
}
