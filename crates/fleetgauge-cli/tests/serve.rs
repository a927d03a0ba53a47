//! The daemon as a process: what its doors answer while pods, files and the process itself change.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use fleetgauge_testkit::{Answer, FaultyServer, http};
use rustix::process::Signal;
use serde_json::Value;

use crate::support::daemon::{Daemon, PAGE, QUEUE, config, events, until};

#[test]
fn readings_are_served_until_the_pods_go_and_then_say_why() {
    let directory = tempfile::tempdir().unwrap();
    let pod = FaultyServer::start([Answer::text(PAGE)]).unwrap();
    let rows = "  - {name: rows, query: waiting, every: 100ms, fold: none}\n";
    let daemon = Daemon::start(&config(directory.path(), &pod, &format!("{QUEUE}{rows}")));
    assert_eq!(daemon.get("/-/healthy").0, 200);
    until(|| daemon.get("/-/ready").0 == 200);
    let reading = daemon.reading("queue", |reading| reading["status"] == "value");
    assert_eq!(reading["value"], 7, "{reading}");
    assert_eq!(reading["completeness"]["expected"], 1, "{reading}");
    assert!(reading["age_seconds"].is_number(), "{reading}");
    let one = daemon.json("metrics/rows?pod=b");
    assert_eq!(one["readings"].as_array().unwrap().len(), 1, "{one}");
    assert_eq!(one["readings"][0]["value"], 4, "{one}");
    assert_eq!(daemon.json("targets")["targets"][0]["health"], "up");
    assert_eq!(daemon.json("explain/queue")["template"], "waiting");
    assert_eq!(daemon.json("sources")["sources"][0]["kind"], "scrape");

    let own = daemon.get("/metrics").1;
    for line in [
        "fleetgauge_metric_readings{metric=\"queue\",status=\"value\"} 1",
        "fleetgauge_metric_completeness_ratio{metric=\"queue\"} 1",
        "fleetgauge_scrape_targets_up{source=\"pods\"} 1",
        "fleetgauge_door_requests_total{door=\"json\",code=\"200\"} ",
    ] {
        assert!(own.contains(line), "{line} is not in {own}");
    }

    drop(pod);
    let reading = daemon.reading("queue", |reading| reading["status"] != "value");
    assert_eq!(
        (&reading["status"], &reading["value"]),
        (&"withheld".into(), &Value::Null),
        "{reading}"
    );
    assert!(
        reading["reason"]["text"].as_str().unwrap().len() > 10,
        "{reading}"
    );
}

/// Guards against a clean zero where nobody knows of a variant, as before the cluster has told of any.
#[test]
fn a_metric_for_each_variant_of_which_there_are_none_is_said_to_have_no_number() {
    let directory = tempfile::tempdir().unwrap();
    let pod = FaultyServer::start([Answer::text(PAGE)]).unwrap();
    let metric = "  - {name: queue, query: waiting, every: 100ms, for_each: variant}\n";
    let daemon = Daemon::start(&config(directory.path(), &pod, metric));
    let ask = |query: &str| daemon.get(&format!("/api/v1/query?query={}", http::percent_encode(query)));
    let withheld = "{metric=\\\"queue\\\"} is withheld: no_variants";
    until(|| ask("fleetgauge_reading_withheld").1.contains("no_variants"));
    let (status, answer) = ask("sum(fleetgauge_reading) or vector(0)");
    assert!(status == 200 && answer.contains(withheld), "{status}: {answer}");
    let (status, answer) = ask("fleetgauge_reading{variant=\"llama\"}");
    assert!(status == 422 && answer.contains(withheld), "{status}: {answer}");
}

/// What dashboard and alerts ask for is what the daemon has.
#[test]
fn the_deployed_dashboard_and_alerts_ask_for_metrics_that_there_are() {
    let directory = tempfile::tempdir().unwrap();
    let pod = FaultyServer::start([Answer::text(PAGE)]).unwrap();
    let daemon = Daemon::start(&config(directory.path(), &pod, QUEUE));
    daemon.reading("queue", |reading| reading["status"] == "value");
    let page = daemon.get("/metrics").1;
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy");
    let mut asked = 0;
    for file in ["grafana/fleetgauge.json", "prometheus/fleetgauge.rules.yaml"] {
        let text = std::fs::read_to_string(deploy.join(file)).unwrap();
        for (at, _) in text.match_indices("fleetgauge_") {
            let is_name = |c: char| c.is_ascii_lowercase() || c == '_';
            let name = text[at..].split(|c| !is_name(c)).next().unwrap();
            // Families of counters are named without their ending.
            let family = name
                .strip_suffix("_total")
                .or(name.strip_suffix("_bucket"))
                .unwrap_or(name);
            assert!(
                page.contains(&format!("# HELP {family} ")),
                "{file} asks for {name}"
            );
            asked += 1;
        }
    }
    assert!(asked > 20, "{asked}");
    let rules = deploy.join("prometheus/fleetgauge.rules.yaml");
    let checked = Command::new("promtool")
        .args(["check", "rules"])
        .arg(rules)
        .output()
        .unwrap();
    assert!(
        checked.status.success(),
        "{}",
        String::from_utf8_lossy(&checked.stdout)
    );
}

#[test]
fn what_is_not_there_is_said_in_json() {
    let directory = tempfile::tempdir().unwrap();
    let pod = FaultyServer::start([Answer::text(PAGE)]).unwrap();
    let daemon = Daemon::start(&config(directory.path(), &pod, QUEUE));
    for (path, status, detail) in [
        ("metrics/queu", 404, "did you mean \\\"queue\\\"?"),
        ("metrics/%1b%5b31m", 404, "there is no metric"),
        ("metrics?namespce=chat", 400, "there is no parameter"),
        ("stream?metric=none", 404, "there is no metric"),
        ("nothing", 404, "there is no such page"),
    ] {
        let (found, text) = daemon.get(&format!("/api/fleetgauge/v1/{path}"));
        assert_eq!(found, status, "{path}: {text}");
        assert!(
            text.contains(detail) && !text.contains('\u{1b}'),
            "{path}: {text}"
        );
    }
    let posted = http::post(daemon.address, "/api/fleetgauge/v1/metrics", b"").unwrap();
    assert_eq!(posted.status, 405);
}

#[test]
fn a_configuration_that_changes_is_taken_if_it_is_right() {
    let directory = tempfile::tempdir().unwrap();
    let pod = FaultyServer::start([Answer::text(PAGE)]).unwrap();
    let file = config(directory.path(), &pod, QUEUE);
    let daemon = Daemon::start(&file);
    daemon.reading("queue", |reading| reading["value"] == 7);
    let flights = |daemon: &Daemon| daemon.json("sources")["sources"][0]["flights"].as_u64().unwrap();
    let before = flights(&daemon);

    // Half written.
    let right = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, &right[..right.len() - 20]).unwrap();
    let logged = daemon.logged("is not taken");
    assert!(logged.contains("its files have changed"), "{logged}");
    let page = daemon.json("metrics");
    assert_eq!(page["configuration"]["reloads_refused"], 1, "{page}");
    assert!(
        page["configuration"]["error"]
            .as_str()
            .unwrap()
            .contains("fleetgauge.yaml:"),
        "{page}"
    );
    daemon.reading("queue", |reading| reading["value"] == 7);

    // Another one in its place, by a link as Kubernetes does.
    let next = directory.path().join("next");
    std::fs::create_dir(&next).unwrap();
    let more = format!("{QUEUE}  - {{name: other, query: waiting, every: 100ms, fold: max}}\n");
    let linked = config(&next, &pod, &more);
    std::fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink(&linked, &file).unwrap();
    daemon.logged("its files have changed");
    daemon.reading("other", |reading| reading["value"] == 4);
    // The source is the same, and goes on.
    assert!(flights(&daemon) >= before);

    // Without one of the metrics.
    config(&next, &pod, QUEUE);
    daemon.signal(Signal::HUP);
    until(|| daemon.get("/api/fleetgauge/v1/metrics/other").0 == 404);
    std::fs::write(&linked, "metrics: 5\n").unwrap();
    let refused = http::post(daemon.address, "/-/reload", b"").unwrap();
    assert_eq!(refused.status, 422, "{}", refused.text());
    assert!(refused.text().contains("a list of metrics"), "{}", refused.text());
}

#[test]
fn the_first_signal_ends_what_is_under_way() {
    let directory = tempfile::tempdir().unwrap();
    let pod = FaultyServer::start([Answer::text(PAGE)]).unwrap();
    let mut daemon = Daemon::start(&config(directory.path(), &pod, QUEUE));
    daemon.reading("queue", |reading| reading["value"] == 7);
    let mut lines = events(daemon.address);
    assert!(lines.any(|line| line.unwrap() == "event: metric"));
    daemon.signal(Signal::TERM);
    daemon.logged("shutting down");
    assert_eq!(daemon.process.wait().unwrap().code(), Some(0));
    // It ends, and not in an error.
    assert!(lines.all(|line| line.is_ok()));
}

#[test]
fn a_token_is_asked_for_and_read_again_when_it_changes() {
    let directory = tempfile::tempdir().unwrap();
    let pod = FaultyServer::start([Answer::text(PAGE)]).unwrap();
    let token = directory.path().join("token");
    std::fs::write(&token, "first\n").unwrap();
    let door = format!("{QUEUE}server: {{bearer_token_file: token}}\n");
    let daemon = Daemon::start(&config(directory.path(), &pod, &door));
    let ask = |path: &str, token: &str| {
        let mut stream = TcpStream::connect(daemon.address).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.0\r\nAuthorization: Bearer {token}\r\n\r\n"
        )
        .unwrap();
        let line = BufReader::new(stream).lines().next().unwrap().unwrap();
        line.split(' ').nth(1).unwrap().parse::<u16>().unwrap()
    };
    for path in [
        "/api/fleetgauge/v1/metrics",
        "/api/v1/query?query=1",
        "/federate?match[]=up",
        "/metrics",
    ] {
        assert_eq!((ask(path, "first"), ask(path, "other")), (200, 401), "{path}");
        assert_eq!(daemon.get(path).0, 401, "{path}");
    }
    assert_eq!(daemon.get("/-/healthy").0, 200);
    std::fs::write(&token, "second\n").unwrap();
    daemon.logged("were read again");
    let path = "/api/fleetgauge/v1/metrics";
    assert_eq!((ask(path, "first"), ask(path, "second")), (401, 200));
    // An empty one would let nobody in, or everybody.
    std::fs::write(&token, "").unwrap();
    let logged = daemon.logged("are not taken");
    assert!(
        logged.contains("the token is empty") && !logged.contains("second"),
        "{logged}"
    );
    assert_eq!(ask(path, "second"), 200);
}

#[test]
fn an_address_that_is_taken_is_told_with_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let pod = FaultyServer::start([Answer::text(PAGE)]).unwrap();
    let file = config(directory.path(), &pod, QUEUE);
    let daemon = Daemon::start(&file);
    let output = Command::new(env!("CARGO_BIN_EXE_fleetgauge"))
        .args(["serve", "--listen", &daemon.address.to_string(), "--config"])
        .arg(&file)
        .env_clear()
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("is in use by another process"), "{error}");
}

#[test]
fn a_reload_takes_the_level_of_the_log_and_says_what_needs_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let pod = FaultyServer::start([Answer::text(PAGE)]).unwrap();
    let file = config(directory.path(), &pod, QUEUE);
    let daemon = Daemon::start(&file);
    let told = || {
        let page = daemon.json("metrics");
        page["configuration"]["needs_restart"].clone()
    };
    assert_eq!(told(), Value::Array(Vec::new()));

    config(
        directory.path(),
        &pod,
        &format!("{QUEUE}server: {{listen: \":9\"}}\nlog: {{level: debug}}\n"),
    );
    let logged = daemon.logged("taken at a start alone: server");
    assert!(logged.contains("restart for it"), "{logged}");
    assert_eq!(told(), Value::from(vec!["server"]));
    let own = daemon.get("/metrics").1;
    assert!(
        own.contains("fleetgauge_configuration_needs_restart{} 1.0"),
        "{own}"
    );
    // It goes on where it was, and logs more.
    let mut nonsense = TcpStream::connect(daemon.address).unwrap();
    nonsense.write_all(b"nonsense\r\n\r\n").unwrap();
    daemon.logged("a connection ended in an error");

    config(directory.path(), &pod, &format!("{QUEUE}log: {{level: error}}\n"));
    until(|| told() == Value::Array(Vec::new()));
    let own = daemon.get("/metrics").1;
    assert!(
        own.contains("fleetgauge_configuration_needs_restart{} 0.0"),
        "{own}"
    );
}

#[test]
fn a_number_of_a_query_is_not_that_of_the_text_in_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("fleetgauge.yaml");
    let pod = FaultyServer::start([Answer::text(PAGE)]).unwrap();
    let pods = pod
        .url()
        .trim_start_matches("http://")
        .trim_end_matches('/')
        .to_owned();
    // Nothing is refreshed again by itself while this runs.
    let write = |fold: &str| {
        let text = format!(
            "sources:
  pods: {{scrape: {{interval: 100ms, discovery: [{{static: [\"{pods}\"]}}]}}}}
  composed:
    composed:
      inputs:
        queue: {{source: pods, query: queue}}
        own: {{source: pods, promql: waiting}}
      queries: [{{name: twice, template: \"2 * sum(queue)\"}}, {{name: inline, template: \"sum(own)\"}}]
queries:
  - {{name: queue, template: \"{fold}(waiting)\"}}
  - {{name: other, template: \"max(waiting)\"}}
metrics:
  - {{name: queue, query: queue, source: pods, every: 1h}}
  - {{name: other, query: other, source: pods, every: 1h}}
  - {{name: twice, query: twice, source: composed, every: 1h}}
  - {{name: inline, query: inline, source: composed, every: 1h}}
"
        );
        std::fs::write(&file, text).unwrap();
    };
    write("sum");
    let daemon = Daemon::start(&file);
    let reads = |metric: &str, value: f64| {
        daemon.reading(metric, |reading| reading["value"] == value);
    };
    let all = [("queue", 7.0), ("other", 4.0), ("twice", 14.0), ("inline", 7.0)];
    all.iter().for_each(|(metric, value)| reads(metric, *value));

    write("min");
    let response = http::post(daemon.address, "/-/reload", b"").unwrap();
    assert_eq!(response.status, 200, "{}", response.text());
    for (metric, before, after) in [("queue", 7.0, 3.0), ("twice", 14.0, 6.0)] {
        let page = daemon.json(&format!("metrics/{metric}"));
        assert_ne!(page["readings"][0]["value"], before, "{page}");
        reads(metric, after);
    }
    reads("other", 4.0);
    reads("inline", 7.0);
}

#[test]
fn what_is_nowhere_is_a_problem() {
    let directory = tempfile::tempdir().unwrap();
    let pod = FaultyServer::start([Answer::text(PAGE)]).unwrap();
    let daemon = Daemon::start(&config(directory.path(), &pod, QUEUE));
    for path in ["/nothing", "/-/nothing", "/api", "/api/fleetgauge/v1/nothing"] {
        let (status, text) = daemon.get(path);
        let problem: Value = serde_json::from_str(&text).unwrap_or_default();
        assert_eq!(
            (status, &problem["status"]),
            (404, &Value::from(404)),
            "{path}: {text}"
        );
    }
    let (post, get) = ("this takes POST", "this is read by GET");
    for (path, response, expected) in [
        ("/-/reload", http::get(daemon.address, "/-/reload").unwrap(), post),
        (
            "/-/ready",
            http::post(daemon.address, "/-/ready", b"").unwrap(),
            get,
        ),
        (
            "/metrics",
            http::post(daemon.address, "/metrics", b"").unwrap(),
            get,
        ),
    ] {
        let problem: Value = serde_json::from_str(&response.text()).unwrap_or_default();
        assert_eq!(
            (response.status, &problem["status"]),
            (405, &Value::from(405)),
            "{path}: {}",
            response.text()
        );
        assert!(
            problem["detail"].as_str().unwrap().starts_with(expected),
            "{path}"
        );
    }
    // The Prometheus API says it as a Prometheus does.
    let (status, text) = daemon.get("/api/v1/nothing");
    assert!(status == 404 && text.contains("\"errorType\":"), "{text}");
}
