//! The Prometheus door as its clients see it: Grafana's calls, promtool, and a Prometheus that federates.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use fleetgauge::scrape::{RelabelConfig, Relabeling, ScrapeConfig, ScrapeSource};
use fleetgauge_core::target::StaticTargets;
use fleetgauge_core::time::Clock;
use fleetgauge_promql::histogram::{Buckets, FloatHistogram};
use fleetgauge_promql::window::{Window, WindowConfig};
use fleetgauge_server::door::prometheus::{PrometheusApiConfig, ScrapedSource, Served};
use fleetgauge_testkit::{Answer, FaultyServer, Prometheus, http};
use serde_json::{Value, json};

use crate::support::door::{Door, START, ask, exchange, open_metrics};

/// What Grafana's data source asks when it is added, and while a panel is made.
#[tokio::test(flavor = "multi_thread")]
async fn the_calls_of_grafana_are_answered() {
    let door = Door::open().await;
    let end = START + 600;
    let check = |method: &str, path: &str, form: Option<&str>, expected: Value| {
        let (status, answer) = ask(door.addr, method, path, form);
        assert_eq!(status, 200, "{path}: {answer}");
        assert_eq!(answer["status"], "success", "{path}");
        assert_eq!(answer["data"], expected, "{path}");
    };
    // The health check.
    let form = format!("query=1%2B1&time={START}");
    check(
        "POST",
        "/api/v1/query",
        Some(&form),
        json!({"resultType": "scalar", "result": [START, "2"]}),
    );
    // The label browser.
    let times = format!("start={START}&end={end}");
    check(
        "POST",
        "/api/v1/labels",
        Some(&times),
        json!(["__name__", "instance", "job", "kind", "le", "model", "pod"]),
    );
    check(
        "GET",
        &format!("/api/v1/label/__name__/values?{times}"),
        None,
        json!([
            "large",
            "latency_bucket",
            "odd",
            "queue",
            "requests_total",
            "small",
            "up"
        ]),
    );
    check(
        "GET",
        &format!("/api/v1/label/pod/values?{times}&match[]=queue%7Bmodel%3D%22llama%22%7D"),
        None,
        json!(["p0", "p1"]),
    );
    // The query builder.
    check(
        "POST",
        "/api/v1/series",
        Some(&format!("match%5B%5D=up%7Bjob%3D%22a%22%7D&{times}")),
        json!([{"__name__": "up", "instance": "x:1", "job": "a"}]),
    );
    check("GET", "/api/v1/metadata?metric=up", None, json!({}));
    let (_, metadata) = door.get("/api/v1/metadata?metric=fleetgauge_reading&limit=1");
    assert_eq!(metadata["data"]["fleetgauge_reading"][0]["type"], "gauge");
    // A panel.
    let query = http::percent_encode("sum(queue)");
    let form = format!("query={query}&start={START}&end={}&step=15", START + 30);
    check(
        "POST",
        "/api/v1/query_range",
        Some(&form),
        json!({"resultType": "matrix", "result": [
            {"metric": {}, "values": [[START, "-6"], [START + 15, "-3"], [START + 30, "0"]]},
        ]}),
    );
    check(
        "GET",
        &format!("/api/v1/query_exemplars?query={query}&{times}"),
        None,
        json!([]),
    );
    check("GET", "/api/v1/rules", None, json!({"groups": []}));
    check("GET", "/api/v1/alerts", None, json!({"alerts": []}));
    let (_, build) = door.get("/api/v1/status/buildinfo");
    assert!(build["data"]["version"].as_str().unwrap().starts_with("3."));
    assert_eq!(build["data"]["application"], "Fleetgauge");
}

/// The data are those of Prometheus; that there is nothing yet is no zero.
#[tokio::test(flavor = "multi_thread")]
async fn a_time_that_is_yet_to_come_is_told() {
    let door = Door::open().await;
    let query = http::percent_encode("sum(queue) or vector(0)");
    let warnings = |path: &str| {
        let (status, answer) = door.get(path);
        assert_eq!(status, 200, "{path}: {answer}");
        answer["warnings"].to_string()
    };
    let now = Clock::system().wall().as_millis() / 1_000;
    let ahead = "ahead of this server's clock";
    for (path, is_told) in [
        (format!("/api/v1/query?query={query}&time={}", now + 3_600), true),
        (format!("/api/v1/query?query={query}&time={now}"), false),
        (
            format!(
                "/api/v1/query_range?query={query}&start={}&end={}&step=60",
                now + 60,
                now + 120
            ),
            true,
        ),
        (
            format!(
                "/api/v1/query_range?query={query}&start={now}&end={}&step=60",
                now + 120
            ),
            false,
        ),
    ] {
        let warnings = warnings(&path);
        assert_eq!(warnings.contains(ahead), is_told, "{path}: {warnings}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_answer_is_compressed_for_whoever_takes_it() {
    let door = Door::open().await;
    let path = format!("/api/v1/query?query=queue%5B10m%5D&time={}", START + 600);
    let ask = |header: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{header}\r\n");
        exchange(door.addr, request.as_bytes())
    };
    let (status, head, plain) = ask("");
    assert_eq!((status, head.contains("content-encoding")), (200, false));
    let (status, head, packed) = ask("Accept-Encoding: gzip\r\n");
    assert_eq!(
        (status, head.contains("content-encoding: gzip")),
        (200, true),
        "{head}"
    );
    assert!(packed.len() < plain.len());
}

fn promtool(args: &[&str]) -> (bool, String) {
    let output = Command::new("promtool").args(args).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut lines: Vec<&str> = text.lines().collect();
    // Prometheus gives series of an instant in no order.
    lines.sort_unstable();
    (output.status.success(), lines.join("\n"))
}

/// What it prints of us is what it prints of a Prometheus that holds the same.
#[tokio::test(flavor = "multi_thread")]
async fn promtool_takes_it_for_a_prometheus() {
    let door = Door::open().await;
    let prometheus = Prometheus::builder().data(&open_metrics()).start().unwrap();
    let (ours, theirs) = (format!("http://{}", door.addr), prometheus.url());
    let start = format!("--start={START}");
    let end = format!("--end={}", START + 600);
    let at = format!("--time={}", START + 300);
    let cases: [&[&str]; 9] = [
        &["query", "instant", &at, "URL", "queue"],
        &["query", "instant", &at, "URL", "sum by (model) (requests_total)"],
        &["query", "instant", &at, "URL", "odd"],
        &["query", "instant", &at, "URL", "sum(("],
        &["query", "range", &start, &end, "--step=15s", "URL", "queue * 2"],
        &[
            "query",
            "range",
            &start,
            &end,
            "--step=1m",
            "URL",
            "histogram_quantile(0.5, latency_bucket)",
        ],
        &[
            "query",
            "series",
            "--match=up",
            "--match=queue{pod=\"p0\"}",
            &start,
            &end,
            "URL",
        ],
        &["query", "labels", &start, &end, "URL", "pod"],
        &["query", "labels", &start, &end, "URL", "nothing"],
    ];
    for case in cases {
        let of = |url: &str| {
            let args: Vec<&str> = case
                .iter()
                .map(|arg| if *arg == "URL" { url } else { arg })
                .collect();
            promtool(&args)
        };
        assert_eq!(of(&ours), of(&theirs), "{case:?}");
    }
}

fn window_of_now(value: f64) -> Window {
    let window = Window::new(WindowConfig::default());
    let mut target = window.appender([("pod", "p0")]);
    let mut page = target.scrape(Clock::system().wall());
    for name in ["queue", "gone"] {
        let appended = page.append(name, value, None, |labels| labels.label("__name__", name));
        appended.unwrap();
    }
    page.commit();
    let mut page = target.scrape(Clock::system().wall().saturating_add(Duration::from_millis(1)));
    page.append("queue", value, None, |_| {}).unwrap();
    page.commit();
    window
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prometheus_federates_from_it() {
    let door = Door::over(window_of_now(7.5), PrometheusApiConfig::default()).await;
    let config = json!({"scrape_configs": [{
        "job_name": "federate", "scrape_interval": "1s", "scrape_timeout": "1s", "honor_labels": true,
        "metrics_path": "/federate", "params": {"match[]": ["{__name__=~\"queue|gone\"}"]},
        "static_configs": [{"targets": [door.addr.to_string()]}],
    }]});
    let prometheus = Prometheus::builder().config(config.to_string()).start().unwrap();
    let queue = prometheus.wait_for("queue").unwrap();
    // Without an instance: what it has is of the pod, not of us.
    assert_eq!(
        queue[0]["metric"],
        json!({"__name__": "queue", "job": "federate", "pod": "p0"})
    );
    assert_eq!(queue[0]["value"][1], "7.5");
    // What has gone stale is not there.
    assert_eq!(prometheus.query("gone", None).unwrap(), json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn native_histograms_are_answered_as_prometheus_answers_them() {
    let window = Window::new(WindowConfig::default());
    let now = Clock::system().wall();
    for (pod, count) in [("p0", 4.0), ("p1", 2.0)] {
        let buckets = Buckets::starting_at(1, &[count, 1.0]).unwrap();
        let histogram = FloatHistogram::exponential(0)
            .and_then(|histogram| histogram.with_zero(0.5, 1.0))
            .unwrap()
            .with_count(count + 2.0)
            .with_sum(1.5)
            .with_positive(buckets);
        let mut target = window.appender([("pod", pod)]);
        let mut page = target.scrape(now);
        page.append_histogram("latency", histogram, None, |labels| {
            labels.label("__name__", "latency");
        })
        .unwrap();
        page.append("queue", 3.0, None, |labels| labels.label("__name__", "queue"))
            .unwrap();
        page.commit();
    }
    let door = Door::over(window, PrometheusApiConfig::default()).await;
    let time = now.as_secs_f64();
    let ask = |path: &str| {
        let (status, answer) = door.get(path);
        assert_eq!(status, 200, "{path}: {answer}");
        answer["data"]["result"].clone()
    };
    let instant = |query: &str| {
        let query = http::percent_encode(query);
        ask(&format!("/api/v1/query?query={query}&time={time}"))
    };
    let of_p0 = json!({"count": "6", "sum": "1.5", "buckets": [
        [3, "-0.5", "0.5", "1"], [0, "1", "2", "4"], [0, "2", "4", "1"],
    ]});
    let metric = json!({"__name__": "latency", "pod": "p0"});
    assert_eq!(
        instant("latency{pod=\"p0\"}"),
        json!([{"metric": metric, "histogram": [time, of_p0]}])
    );
    assert_eq!(
        instant("sum(latency)")[0]["histogram"][1],
        json!({"count": "10", "sum": "3", "buckets": [
            [3, "-0.5", "0.5", "2"], [0, "1", "2", "6"], [0, "2", "4", "2"],
        ]})
    );
    assert_eq!(instant("sum(histogram_count(latency))")[0]["value"][1], "10");
    // Of a selection of both, each as it is.
    let both = instant("{pod=\"p0\"}");
    let is = |row: &Value| (row.get("histogram").is_some(), row.get("value").is_some());
    assert_eq!(
        both.as_array().unwrap().iter().map(is).collect::<Vec<_>>(),
        [(true, false), (false, true)]
    );
    let samples = &instant("latency{pod=\"p0\"}[1m]")[0];
    assert_eq!(
        (&samples["histograms"][0][1], samples.get("values")),
        (&of_p0, None)
    );
    let range = format!(
        "/api/v1/query_range?query=latency&start={time}&end={}&step=1",
        time + 2.0
    );
    let points = ask(&range)[0]["histograms"].as_array().unwrap().clone();
    assert_eq!(points.len(), 3);
    assert_eq!(points[2], json!([time + 2.0, of_p0]));
    // A page of text has no place for them.
    let page = http::get(door.addr, "/federate?match[]=%7Bpod%3D%22p0%22%7D")
        .unwrap()
        .text();
    let lines: Vec<_> = page.lines().filter(|line| line.contains("latency")).collect();
    assert_eq!(lines.len(), 1, "{page}");
    assert!(
        lines[0].starts_with("# WARNING 1 native histograms are left out"),
        "{page}"
    );
    assert!(page.contains("queue{") && !page.contains("NaN"), "{page}");
}

/// A door over what is scraped of `targets`, every 50 ms, for as long as the source is kept.
async fn over_pods(config: ScrapeConfig, targets: StaticTargets) -> (Door, ScrapeSource) {
    let (interval, timeout) = (Duration::from_millis(50), Duration::from_millis(50));
    let source = ScrapeSource::start(config.with_interval(interval), [Arc::new(targets) as _]).unwrap();
    let door = Door::open().await;
    let mut served = Served::default();
    served.scraped.push(ScrapedSource {
        name: "pods".into(),
        source: source.clone(),
        interval,
        timeout,
    });
    door.api.serve(served);
    (door, source)
}

/// Where there is nobody to ask, a number that stands for nothing says so.
#[tokio::test(flavor = "multi_thread")]
async fn that_there_are_no_targets_is_a_warning_of_every_answer() {
    let mut rule = RelabelConfig::new("drop");
    rule.source_labels = vec!["__address__".into()];
    let drop_all = Relabeling::new(&[rule]).unwrap();
    let pods = || StaticTargets::new(["127.0.0.1:9", "127.0.0.1:10"]);
    let config = || ScrapeConfig::new("pods");
    for (config, targets, expected, dropped) in [
        (
            config(),
            StaticTargets::default(),
            "there are no targets: none was found by static",
            0,
        ),
        (
            config().with_relabeling(drop_all),
            pods(),
            "there are no targets: relabel_configs drop all 2 that were found by static",
            2,
        ),
    ] {
        let (door, _source) = over_pods(config, targets).await;
        // The discovery tells that, and it takes effect.
        let told = async {
            while door.get("/api/v1/query?query=x").1["warnings"] != json!([expected]) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), told).await.unwrap();
        for query in ["x", "sum(x)%20or%20vector(0)", "count(up)"] {
            let (status, answer) = door.get(&format!("/api/v1/query?query={query}"));
            assert_eq!(status, 200, "{answer}");
            assert_eq!(answer["warnings"], json!([expected]), "{query}: {answer}");
        }
        let (_, answer) = door.get("/api/v1/query?query=vector(1)");
        assert_eq!(answer["warnings"], Value::Null, "{answer}");
        let (_, targets) = door.get("/api/v1/targets");
        assert_eq!(
            targets["data"]["droppedTargetCounts"]["pods"], dropped,
            "{targets}"
        );
    }
}

/// Targets are told, and what they keep from an answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_fails_is_a_warning_of_what_it_might_have_told() {
    let works = FaultyServer::start([Answer::text("queue 3\n")]).unwrap();
    let fails = FaultyServer::start([Answer::status(500)]).unwrap();
    let targets = StaticTargets::new([works.addr().to_string(), fails.addr().to_string()]);
    let (door, source) = over_pods(ScrapeConfig::new("pods"), targets).await;
    works.until(|counters| counters.requests >= 2).await.unwrap();
    fails.until(|counters| counters.requests >= 2).await.unwrap();
    let (status, answer) = door.get("/api/v1/query?query=queue");
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["data"]["result"][0]["value"][1], "3");
    let warnings = answer["warnings"].to_string();
    assert!(warnings.contains(&fails.addr().to_string()), "{answer}");
    // It may be the one that has it: nothing is not zero.
    let (status, answer) = door.get("/api/v1/query?query=nothing");
    assert_eq!(
        (status, &answer["errorType"]),
        (422, &json!("execution")),
        "{answer}"
    );
    assert!(
        answer["error"]
            .as_str()
            .unwrap()
            .contains(&fails.addr().to_string()),
        "{answer}"
    );
    // That it is down is known.
    let (_, up) = door.get("/api/v1/query?query=up");
    assert_eq!(
        (up["data"]["result"].as_array().unwrap().len(), &up["warnings"]),
        (2, &Value::Null)
    );

    let (_, targets) = door.get("/api/v1/targets?state=active");
    let targets = targets["data"]["activeTargets"].as_array().unwrap();
    assert_eq!(targets.len(), 2);
    let failing = targets.iter().find(|target| target["health"] == "down").unwrap();
    assert_eq!(failing["scrapePool"], "pods");
    assert_eq!(failing["labels"]["instance"], fails.addr().to_string());
    assert!(
        failing["lastError"].as_str().unwrap().contains("500"),
        "{failing}"
    );
    let (_, _, page) = exchange(door.addr, b"GET /federate?match[]=queue HTTP/1.0\r\n\r\n");
    let page = String::from_utf8(page).unwrap();
    assert!(
        page.starts_with("# TYPE queue untyped\nqueue{instance="),
        "{page}"
    );
    assert!(
        page.contains("# WARNING ") && page.contains(&fails.addr().to_string()),
        "{page}"
    );
    source.shutdown().await;
}
