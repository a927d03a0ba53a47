//! Native histograms of a server: printed and handed on as they are, and never read as numbers.
#![allow(clippy::unwrap_used, missing_docs)]

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use fleetgauge::prometheus::decode_answer_with_histograms;
use fleetgauge_server::door::prometheus::QueryData;
use fleetgauge_testkit::{Answer, FaultyServer, Prometheus, http};
use serde_json::{Value, json};

use crate::support::binary::{fleetgauge, text};
use crate::support::daemon::{Daemon, config, until};

const VECTOR: &str = r#"{"status":"success","data":{"resultType":"vector","result":[
    {"metric":{"pod":"a"},"histogram":[1763930000.5,{"count":"7","sum":"4.5","buckets":[[1,"-2","-1","1"],[0,"1","+Inf","6"]]}]},
    {"metric":{"pod":"b"},"value":[1763930000.5,"3"]}]}}"#;

fn query(server: &FaultyServer, format: &str, more: &[&str]) -> String {
    let url = server.url();
    let args = ["--promql", "latency", "--prometheus", &url, "-o", format];
    let output = fleetgauge("query", &[&args[..], more].concat(), &[]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    text(&output.stdout).to_owned()
}

#[test]
fn a_query_prints_them_in_each_format() {
    let server = FaultyServer::start([Answer::json(VECTOR)]).unwrap();
    let table = "\
pod  value
a    {count:7, sum:4.5, [-2,-1):1, (1,+Inf]:6}
b                                            3
";
    let found = query(&server, "table", &[]);
    assert_eq!(
        found.split_whitespace().collect::<Vec<_>>(),
        table.split_whitespace().collect::<Vec<_>>(),
        "{found}"
    );
    let csv = "\
pod,value,timestamp
a,\"{count:7, sum:4.5, [-2,-1):1, (1,+Inf]:6}\",1763930000.5
b,3,1763930000.5
";
    assert_eq!(query(&server, "csv", &[]), csv);
    let found: Value = serde_json::from_str(&query(&server, "json", &[])).unwrap();
    let histogram = json!({"count": 7, "sum": 4.5, "buckets": [[1, -2, -1, 1], [0, 1, "+Inf", 6]]});
    assert_eq!(found["values"][0]["value"], Value::Null);
    assert_eq!(found["values"][0]["histogram"], histogram);
    assert_eq!(found["values"][1]["value"], 3);
    assert_eq!(found["values"][1].get("histogram"), None);
}

#[test]
fn a_range_prints_them_beside_its_numbers() {
    // At the steps that it was asked for: a number at the first, then histograms.
    let server = FaultyServer::start([Answer::choose(|request| {
        let form = request.body_text();
        let field = |name: &str| {
            let start = form.find(&format!("{name}=")).unwrap() + name.len() + 1;
            let value = form[start..].split('&').next().unwrap();
            value.parse::<f64>().unwrap()
        };
        let start = field("start");
        let histogram = |at: f64| format!(r#"[{at},{{"count":"{at}","sum":"1","buckets":[[0,"1","2","4"]]}}]"#);
        Answer::json(format!(
            r#"{{"status":"success","data":{{"resultType":"matrix","result":[{{"metric":{{"pod":"a"}},"values":[[{start},"3"]],"histograms":[{},{}]}}]}}}}"#,
            histogram(start + 15.0),
            histogram(start + 30.0),
        ))
    })])
    .unwrap();
    let range = ["--range", "30s", "--step", "15s"];
    let table = query(&server, "table", &range);
    let row: Vec<_> = table.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row[..3], ["a", "3", "3"], "{table}");
    assert!(
        table.contains(", sum:1, (1,2]:4}") && table.contains("0s") && table.contains("▁??"),
        "{table}"
    );
    let found: Value = serde_json::from_str(&query(&server, "json", &range)).unwrap();
    let series = &found["series"][0];
    assert_eq!(series["values"].as_array().unwrap().len(), 1);
    let histograms = series["histograms"].as_array().unwrap();
    assert_eq!(histograms.len(), 2);
    assert_eq!(histograms[1][0], found["end"]);
    assert_eq!(histograms[1][1]["buckets"], json!([[0, 1, 2, 4]]));
}

/// What the daemon's Prometheus API says.
fn served(daemon: &Daemon, path: &str) -> Value {
    let (status, body) = daemon.get(path);
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

#[test]
fn no_metric_is_made_of_them() {
    let directory = tempfile::tempdir().unwrap();
    let pod = FaultyServer::start([Answer::text("waiting 3\n")]).unwrap();
    let server = FaultyServer::start([Answer::json(VECTOR)]).unwrap();
    let metric = "  - {name: latency, source: central, query: latency, every: 100ms}\n";
    let file = config(directory.path(), &pod, metric);
    let read = fs::read_to_string(&file).unwrap();
    let central = format!(
        "sources:\n  central: {{prometheus: {{url: \"{}\"}}}}\n",
        server.url()
    );
    let read = read.replacen("sources:\n", &central, 1);
    let queries = "queries:\n  - {name: latency, template: latency}\n";
    fs::write(&file, read.replacen("queries:\n", queries, 1)).unwrap();
    let daemon = Daemon::start(&file);
    let reading = daemon.reading("latency", |reading| {
        reading["reason"]["code"] != "never_refreshed"
    });
    assert_eq!(
        (&reading["status"], &reading["value"]),
        (&json!("withheld"), &Value::Null)
    );
    let reason = reading["reason"]["text"].as_str().unwrap();
    assert!(
        reason.contains(r#"the native histogram {pod="a"}, which is no number; reduce it in the query"#),
        "{reading}"
    );
    // Not of the row either that is a number.
    let (status, body) = daemon.get("/api/v1/query?query=fleetgauge_reading");
    assert_eq!(status, 422, "{body}");
    assert!(body.contains("is withheld: failed"), "{body}");
}

// === a real server ===

/// A page in the protobuf exposition, as Prometheus scrapes native histograms.
#[derive(Default)]
struct Page(Vec<u8>);

fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

/// A message: fields of whole numbers, of floats, of messages and texts.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn number(mut self, field: u64, number: u64) -> Self {
        self.0.extend(varint(field << 3));
        self.0.extend(varint(number));
        self
    }

    fn double(mut self, field: u64, number: f64) -> Self {
        self.0.extend(varint(field << 3 | 1));
        self.0.extend(number.to_le_bytes());
        self
    }

    fn bytes(mut self, field: u64, bytes: impl AsRef<[u8]>) -> Self {
        self.0.extend(varint(field << 3 | 2));
        self.0.extend(varint(bytes.as_ref().len() as u64));
        self.0.extend(bytes.as_ref());
        self
    }

    fn span(self, field: u64, offset: i64, length: u64) -> Self {
        let span = Self::default().number(1, zigzag(offset)).number(2, length);
        self.bytes(field, span.0)
    }
}

impl Page {
    /// A histogram `name` of the pod `a`.
    fn histogram(mut self, name: &str, histogram: Message) -> Self {
        const HISTOGRAM: u64 = 4;
        let label = Message::default().bytes(1, "pod").bytes(2, "a");
        let metric = Message::default().bytes(1, label.0).bytes(7, histogram.0);
        let family = Message::default()
            .bytes(1, name)
            .number(3, HISTOGRAM)
            .bytes(4, metric.0);
        self.0.extend(varint(family.0.len() as u64));
        self.0.extend(family.0);
        self
    }
}

/// `latency`, with exponential buckets on both sides of zero, and `size`, which has two classic ones.
fn exposed() -> Answer {
    let latency = Message::default()
        .number(1, 7)
        .double(2, 4.5)
        .number(5, zigzag(0))
        .double(6, 0.5)
        .number(7, 2)
        .span(9, 1, 1)
        .number(10, zigzag(1))
        .span(12, 1, 2)
        .number(13, zigzag(3))
        .number(13, zigzag(-2));
    let bucket = |bound: f64, count| Message::default().number(1, count).double(2, bound).0;
    let size = Message::default()
        .number(1, 6)
        .double(2, 9.0)
        .bytes(3, bucket(1.0, 4))
        .bytes(3, bucket(f64::INFINITY, 6));
    let page = Page::default()
        .histogram("latency", latency)
        .histogram("size", size);
    let media =
        "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";
    Answer::respond(200, &[("Content-Type", media)], page.0)
}

const LATENCY: &str = "{count:7, sum:4.5, [-2,-1):1, [-0.5,0.5]:2, (1,2]:3, (2,4]:1}";

fn now() -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    now.as_secs_f64().floor()
}

/// A Prometheus that has scraped the page for some seconds, with the label that a daemon writes.
fn scraping(pod: &FaultyServer) -> Prometheus {
    let program = std::env::var_os("FLEETGAUGE_PROMETHEUS_3").filter(|path| !path.is_empty());
    let config = json!({
        "global": {"scrape_interval": "200ms", "scrape_timeout": "200ms"},
        "scrape_configs": [{
            "job_name": "native",
            "scrape_protocols": ["PrometheusProto"],
            "convert_classic_histograms_to_nhcb": true,
            "static_configs": [{"targets": [pod.addr().to_string()], "labels": {"replica": "a"}}],
        }],
    });
    let server = Prometheus::builder()
        .program(program.expect("`cargo xtask test` gets Prometheus 3 where it can"))
        .config(config.to_string())
        .flag("--enable-feature=native-histograms")
        .flag("--web.enable-remote-write-receiver")
        .start()
        .unwrap();
    server.wait_for("count_over_time(latency[10s]) > 20").unwrap();
    server
}

#[test]
#[ignore = "needs Prometheus 3"]
fn prometheus_3_histograms_are_handed_on_as_they_are() {
    let pod = FaultyServer::start([exposed()]).unwrap();
    let server = scraping(&pod);
    let end = now();

    // What Prometheus says, read and said again, is the same.
    let odd = |expr: &str, is: &str| format!("({expr}) and on () (vector(time() % 2) {is} 1)");
    let mixed = format!(
        "{} or {}",
        odd("latency * 1", "!="),
        odd("histogram_count(latency)", "==")
    );
    let of_each = |path: &str| {
        let response = http::get(server.addr(), path).unwrap();
        let answer: Value = serde_json::from_slice(&response.body).unwrap();
        assert_eq!(answer["status"], "success", "{answer}");
        let decoded = decode_answer_with_histograms(&response.body).unwrap();
        let said = serde_json::to_value(QueryData::new(&decoded)).unwrap();
        assert_eq!(said, answer["data"], "{path}");
        said["result"].clone()
    };
    let instant = |query: &str| {
        let query = http::percent_encode(query);
        of_each(&format!("/api/v1/query?query={query}&time={end}"))
    };
    let range = |query: &str| {
        let (query, start) = (http::percent_encode(query), end - 3.0);
        of_each(&format!(
            "/api/v1/query_range?query={query}&start={start}&end={end}&step=1"
        ))
    };
    let buckets = &instant("latency")[0]["histogram"][1]["buckets"];
    assert_eq!(
        *buckets,
        json!([
            [1, "-2", "-1", "1"],
            [3, "-0.5", "0.5", "2"],
            [0, "1", "2", "3"],
            [0, "2", "4", "1"]
        ])
    );
    let custom = &instant("size")[0]["histogram"][1];
    assert_eq!(
        (&custom["count"], custom["buckets"].as_array().unwrap().len()),
        (&json!("6"), 2),
        "{custom}"
    );
    for query in [
        "{pod=\"a\"}",
        "latency * -1e300 * 1e300",
        "latency - latency",
        "latency / 3",
        "sum(latency)",
    ] {
        assert_ne!(instant(query), json!([]), "{query}");
    }
    assert!(instant("latency[2s]")[0]["histograms"].as_array().unwrap().len() > 5);
    let mixed = &range(&mixed)[0];
    let lengths = ["values", "histograms"].map(|name| mixed[name].as_array().map_or(0, Vec::len));
    assert_eq!(lengths, [2, 2], "{mixed}");

    // The command line, which asks by itself.
    let url = server.url();
    let table = fleetgauge("query", &["--promql", "latency", "--prometheus", &url], &[]);
    assert!(text(&table.stdout).contains(LATENCY), "{table:?}");
    let range = [
        "--promql",
        "latency",
        "--prometheus",
        &url,
        "--range",
        "2s",
        "--step",
        "1s",
        "-o",
        "json",
    ];
    let range = fleetgauge("query", &range, &[]);
    let range: Value = serde_json::from_slice(&range.stdout).unwrap();
    assert_eq!(
        range["series"][0]["histograms"].as_array().unwrap().len(),
        3,
        "{range}"
    );

    // A daemon that reads it as its history.
    let directory = tempfile::tempdir().unwrap();
    let scraped = FaultyServer::start([Answer::text("waiting{pod=\"a\"} 3\n")]).unwrap();
    let file = config(
        directory.path(),
        &scraped,
        "  - {name: queue, source: pods, query: waiting, every: 100ms}\n",
    );
    let read = fs::read_to_string(&file).unwrap();
    let engine = format!("sources:\n  engine: {{prometheus: {{url: \"{url}\"}}}}\n");
    let remote = format!(
        "remote_write:\n  - {{url: \"{url}/api/v1/write\", every: 100ms, history: engine, external_labels: {{replica: a}}}}\n"
    );
    fs::write(&file, read.replacen("sources:\n", &engine, 1) + &remote).unwrap();
    let daemon = Daemon::start(&file);
    let path = format!(
        "/api/v1/query_range?query=latency&start={}&end={end}&step=1",
        end - 2.0
    );
    until(|| served(&daemon, &path)["data"]["result"] != json!([]));
    // What came a moment before the daemon may not be shown there yet, and is left out.
    let series = &served(&daemon, &path)["data"]["result"][0];
    assert_eq!(series["histograms"][0][1]["buckets"], *buckets, "{series}");
    assert!(series.get("values").is_none(), "{series}");
}
