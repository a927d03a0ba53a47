//! What does the daemon cost, and how fast do its doors answer?
//!
//! `fleetgauge serve` over simulated pods, each in a process of its own; this process asks. It prints
//!
//! - how long a start takes until the daemon is ready, and of how much processor time;
//! - the cores that a thousand metrics, each refreshed every second over all pods, take with the scraping of 1,000 pods;
//! - reads of one metric at 1,000 requests a second, JSON and KEDA's: latency from when a request was due, and could be sent, and cores;
//! - what 500 event streams take in memory, one of which is not read;
//! - what an open page of the dashboard takes over 1,000 pods, and ten readers of it, and how large the page is;
//! - the Prometheus API beside a real Prometheus that scrapes the same 100 pods, one request after the other.
//!
//! The aims: ready in under 3 s; at most one core; p99 under 2 ms and a quarter of a core; 100 MiB; 2 % of a
//! core a page, and 200 KB; not slower than Prometheus (`FLEETGAUGE_PROMETHEUS_3`, else the one that is installed). All share the machine. `cargo bench --bench daemon --
//! doors` asks for a part alone: `start` (with the metrics), `doors`, `streams`, `dashboard` or `api`.

mod support {
    pub(crate) mod prometheus;
    pub(crate) mod rate;
}

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fleetgauge_server::door::keda::proto::external_scaler_client::ExternalScalerClient;
use fleetgauge_server::door::keda::proto::{GetMetricsRequest, ScaledObjectRef};
use fleetgauge_testkit::http;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufStream};
use tokio::net::TcpStream;
use tonic::transport::Channel;

use support::prometheus::prometheus_of;
use support::rate::{MEASURED, at_rate, cpu};

const PODS: usize = 1_000;
const GROUPS: usize = 100;
const RATE: u32 = 1_000;
const STREAMS: usize = 500;

/// What an autoscaler asks of each group of pods.
const QUERIES: [&str; 10] = [
    "sum(vllm:num_requests_waiting{group=\"{{.group}}\"})",
    "sum(vllm:num_requests_running{group=\"{{.group}}\"})",
    "max(vllm:kv_cache_usage_perc{group=\"{{.group}}\"})",
    "avg(vllm:kv_cache_usage_perc{group=\"{{.group}}\"})",
    "sum(rate(vllm:request_success_total{group=\"{{.group}}\"}[30s]))",
    "sum(rate(vllm:prompt_tokens_total{group=\"{{.group}}\"}[30s]))",
    "sum(rate(vllm:generation_tokens_total{group=\"{{.group}}\"}[30s]))",
    "sum by (pod) (vllm:num_requests_waiting{group=\"{{.group}}\"})",
    "max by (pod) (max_over_time(vllm:num_requests_waiting{group=\"{{.group}}\"}[30s]))",
    "count(up{group=\"{{.group}}\"} == 1)",
];

/// What dashboards ask.
const ASKED: [&str; 4] = [
    "sum by (pod) (vllm:num_requests_waiting)",
    "sum by (model_name) (rate(vllm:generation_tokens_total[30s]))",
    "avg by (model_name) (avg_over_time(vllm:kv_cache_usage_perc[30s]))",
    "histogram_quantile(0.99, sum by (le) (rate(vllm:e2e_request_latency_seconds_bucket[30s])))",
];

fn main() {
    let parts: Vec<_> = std::env::args()
        .skip(1)
        .filter(|part| !part.starts_with('-'))
        .collect();
    let asked = |part: &str| parts.is_empty() || parts.iter().any(|asked| asked == part);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        if asked("start") {
            start().await;
        }
        if asked("doors") || asked("streams") {
            let fleet = Fleet::start(10);
            let daemon = Daemon::start(&fleet, 1, &QUERIES).await;
            if asked("doors") {
                json_door(&daemon).await;
                keda_door(&daemon).await;
            }
            if asked("streams") {
                streams(&daemon).await;
            }
        }
        if asked("dashboard") {
            dashboard().await;
        }
        if asked("api") {
            api().await;
        }
    });
}

// === what is measured ===

async fn start() {
    let fleet = Fleet::start(PODS);
    // Who looks back is ready when the windows reach so far, which is no work.
    let instant = QUERIES.iter().copied().filter(|query| !query.contains("[30s]"));
    let instant: Vec<_> = instant.collect();
    let begun = Instant::now();
    let daemon = Daemon::start(&fleet, GROUPS, &instant).await;
    println!(
        "start to ready, {PODS} targets, {} metrics: {:.2} s, of {:.2} s of processor time",
        GROUPS * instant.len(),
        begun.elapsed().as_secs_f64(),
        daemon.cpu().as_secs_f64(),
    );
    drop(daemon);
    let daemon = Daemon::start(&fleet, GROUPS, &QUERIES).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (before, begun) = (daemon.cpu(), Instant::now());
    tokio::time::sleep(MEASURED).await;
    let cores = (daemon.cpu() - before).as_secs_f64() / begun.elapsed().as_secs_f64();
    let metrics = daemon.json("/api/fleetgauge/v1/metrics").await;
    let metrics = metrics["metrics"].as_array().expect("metrics").clone();
    let whole = metrics
        .iter()
        .filter(|metric| !metric.to_string().contains("\"withheld\""))
        .count();
    println!(
        "{} metrics a second over {PODS} pods, scraped every second: {cores:.2} cores, {:.0} MiB; {whole} of them with all values",
        metrics.len(),
        daemon.resident_mib(),
    );
}

async fn json_door(daemon: &Daemon) {
    let path = "/api/fleetgauge/v1/metrics/m0_0";
    let ask = async |mut connection: Connection| {
        let body = connection.get(path).await;
        assert!(body.contains("\"value\""), "{body}");
        connection
    };
    let connections = connections(daemon.server, 16).await;
    at_rate("JSON", daemon.child.id(), RATE, connections, ask).await;
}

async fn keda_door(daemon: &Daemon) {
    let channel = Channel::from_shared(format!("http://{}", daemon.keda)).expect("an address");
    let client = ExternalScalerClient::new(channel.connect().await.expect("KEDA's door"));
    let metadata =
        [("metric", "m0_0"), ("target", "5")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    let request = GetMetricsRequest {
        scaled_object_ref: Some(ScaledObjectRef {
            name: "llama".to_owned(),
            namespace: "chat".to_owned(),
            scaler_metadata: metadata.into(),
        }),
        metric_name: "m0_0".to_owned(),
    };
    let ask = async |mut client: ExternalScalerClient<Channel>| {
        // Pods of this fleet die and come back: what is withheld meanwhile is an answer.
        match client.get_metrics(request.clone()).await {
            Ok(answer) => assert_eq!(answer.into_inner().metric_values.len(), 1),
            Err(status) => assert_eq!(status.code(), tonic::Code::Unavailable, "{status}"),
        }
        client
    };
    at_rate("KEDA", daemon.child.id(), RATE, vec![client; 16], ask).await;
}

async fn streams(daemon: &Daemon) {
    let before = daemon.resident_mib();
    let mut open = Vec::new();
    for _ in 0..STREAMS {
        let mut connection = Connection::open(daemon.server).await;
        connection.send("/api/fleetgauge/v1/stream").await;
        open.push(connection);
    }
    // It is never read.
    let unread = open.pop();
    let (begun, cpu) = (Instant::now(), daemon.cpu());
    let reading = open
        .into_iter()
        .map(|connection| tokio::spawn(connection.events_until(begun + MEASURED)));
    let events = futures_util::future::join_all(reading).await;
    let events: Vec<usize> = events.into_iter().map(|events| events.expect("read")).collect();
    println!(
        "{STREAMS} event streams: {:.1} MiB more, {:.2} cores; between {} and {} events each in {MEASURED:?}, one unread",
        daemon.resident_mib() - before,
        (daemon.cpu() - cpu).as_secs_f64() / begun.elapsed().as_secs_f64(),
        events.iter().min().expect("streams"),
        events.iter().max().expect("streams"),
    );
    drop(unread);
}

async fn dashboard() {
    let fleet = Fleet::start(PODS);
    let daemon = Daemon::start(&fleet, 1, &QUERIES).await;
    let page = Connection::open(daemon.server).await.get("/dashboard").await;
    let cells = page.matches("<a class=\"f").count();
    println!(
        "the page of the fleet: {} KB, {cells} pods with a fill",
        page.len() / 1_000
    );
    let mut alone = None;
    for readers in [0, 1, 10] {
        let mut open = Vec::new();
        for _ in 0..readers {
            let mut connection = Connection::open(daemon.server).await;
            connection.send("/dashboard/live?page=/").await;
            open.push(connection);
        }
        let (begun, cpu) = (Instant::now(), daemon.cpu());
        let reading = open
            .into_iter()
            .map(|connection| tokio::spawn(connection.events_until(begun + MEASURED)));
        let events = futures_util::future::join_all(reading).await;
        let events: usize = events.into_iter().map(|events| events.expect("read")).sum();
        tokio::time::sleep_until((begun + MEASURED).into()).await;
        let cores = (daemon.cpu() - cpu).as_secs_f64() / begun.elapsed().as_secs_f64();
        let before = *alone.get_or_insert(cores);
        println!(
            "{readers} open pages of {PODS} pods: {cores:.3} cores, {:+.1} % of one beside none; {events} events in {MEASURED:?}",
            100.0 * (cores - before)
        );
    }
}

async fn api() {
    let fleet = Fleet::start(100);
    let daemon = Daemon::start(&fleet, 1, &QUERIES).await;
    let prometheus = prometheus_of(&fleet.targets, &json!([]));
    tokio::time::sleep(Duration::from_secs(60)).await;
    let version = prometheus.version().expect("a version");
    println!(
        "Prometheus API, median of 50, {} pods; beside Prometheus {version}:",
        100
    );
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("after 1970")
        .as_secs();
    for query in ASKED {
        let escaped = http::percent_encode(query);
        let instant = format!("/api/v1/query?query={escaped}");
        let range = format!(
            "/api/v1/query_range?query={escaped}&start={}&end={}&step=1",
            now - 30,
            now - 1
        );
        for (kind, path) in [("instant", instant), ("30 steps", range)] {
            let ours = median(daemon.server, &path).await;
            let theirs = median(prometheus.addr(), &path).await;
            let ratio = theirs.as_secs_f64() / ours.as_secs_f64();
            println!("  {kind:8} {ours:>10.1?} {theirs:>10.1?} {ratio:>5.1}x  {query}");
        }
    }
}

async fn median(address: SocketAddr, path: &str) -> Duration {
    let mut connection = Connection::open(address).await;
    let mut took = Vec::new();
    for _ in 0..50 {
        let begun = Instant::now();
        let body = connection.get(path).await;
        took.push(begun.elapsed());
        assert!(
            body.contains("\"success\"") && body.contains("\"value"),
            "{path}: {body}"
        );
    }
    took.sort();
    took[took.len() / 2]
}

// === the processes ===

/// Simulated pods, in a process of their own.
struct Fleet {
    child: Child,
    /// The file of their targets.
    targets: String,
}

struct Daemon {
    child: Child,
    server: SocketAddr,
    keda: SocketAddr,
    // Holds the configuration.
    _directory: tempfile::TempDir,
}

// === impl Fleet ===

impl Fleet {
    fn start(pods: usize) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_fleetgauge"))
            .args([
                "demo",
                "--serve-fleet-only",
                "-o",
                "json",
                "--pods",
                &pods.to_string(),
            ])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the fleet starts");
        let mut line = String::new();
        let out = child.stdout.as_mut().expect("piped");
        BufReader::new(out).read_line(&mut line).expect("a line");
        let told: Value = serde_json::from_str(&line).expect("JSON");
        let targets = told["targets_file"]
            .as_str()
            .unwrap_or_else(|| panic!("{told}"))
            .to_owned();
        Self { child, targets }
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

// === impl Daemon ===

impl Daemon {
    /// Over the pods in so many groups, ready.
    async fn start(fleet: &Fleet, groups: usize, asked: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("fleetgauge.yaml");
        let queries = asked.iter().enumerate().map(|(at, template)| {
            let fold = if template.contains("by (pod)") {
                json!({"fold": {"pod": "max", "variant": "max"}})
            } else {
                json!({})
            };
            let mut query = json!({"name": format!("q{at}"), "template": template, "params": ["group"]});
            query
                .as_object_mut()
                .expect("a mapping")
                .extend(fold.as_object().expect("a mapping").clone());
            query
        });
        let metrics = (0..groups).flat_map(|group| {
            (0..asked.len()).map(move |query| {
                json!({"name": format!("m{group}_{query}"), "source": "pods", "query": format!("q{query}"), "every": "1s",
                       "params": {"group": group.to_string()}})
            })
        });
        let (server, keda) = (free(), free());
        let config = json!({
            "sources": {"pods": {"scrape": {
                "interval": "1s",
                "discovery": [{"files": [fleet.targets]}],
                "relabel_configs": [
                    {"action": "hashmod", "source_labels": ["__address__"], "modulus": groups, "target_label": "group"},
                ],
            }}},
            "queries": queries.collect::<Vec<_>>(),
            "metrics": metrics.collect::<Vec<_>>(),
            "server": {"listen": server.to_string()},
            "keda": {"listen": keda.to_string()},
            "log": {"level": "error"},
        });
        std::fs::File::create(&file)
            .and_then(|mut file| write!(file, "{config}"))
            .expect("written");
        let child = Command::new(env!("CARGO_BIN_EXE_fleetgauge"))
            .args(["serve", "--config"])
            .arg(&file)
            .spawn()
            .expect("the daemon starts");
        let daemon = Self {
            child,
            server,
            keda,
            _directory: directory,
        };
        while !http::get(server, "/-/ready").is_ok_and(|answer| answer.status == 200) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        daemon
    }

    async fn json(&self, path: &str) -> Value {
        let body = Connection::open(self.server).await.get(path).await;
        serde_json::from_str(&body).expect("JSON")
    }

    fn cpu(&self) -> Duration {
        cpu(self.child.id())
    }

    fn resident_mib(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("Linux");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .expect("a count");
        let kib: f64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
        kib / 1024.0
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

fn end(child: &mut Child) {
    // It may have ended already.
    let _ = child.kill();
    let _ = child.wait();
}

/// A port that was free just now.
fn free() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address")
}

// === HTTP, kept alive ===

/// A connection that asks one thing after the other: cheap, so that what is measured is the server.
struct Connection(BufStream<TcpStream>);

async fn connections(address: SocketAddr, count: usize) -> Vec<Connection> {
    let opening = (0..count).map(|_| Connection::open(address));
    futures_util::future::join_all(opening).await
}

impl Connection {
    async fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("a connection");
        stream.set_nodelay(true).expect("a socket");
        Self(BufStream::new(stream))
    }

    async fn send(&mut self, path: &str) {
        let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        self.0.write_all(head.as_bytes()).await.expect("sent");
        self.0.flush().await.expect("sent");
    }

    async fn get(&mut self, path: &str) -> String {
        self.send(path).await;
        let (mut length, mut is_chunked) = (0, false);
        loop {
            let line = self.line().await.to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
            is_chunked |= line.starts_with("transfer-encoding:") && line.contains("chunked");
        }
        let mut body = Vec::new();
        while is_chunked {
            length = usize::from_str_radix(&self.line().await, 16).expect("a length");
            self.read(length, &mut body).await;
            self.line().await;
            is_chunked = length > 0;
            length = 0;
        }
        self.read(length, &mut body).await;
        String::from_utf8(body).expect("UTF-8")
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).await.expect("read");
        line.trim_end().to_owned()
    }

    async fn read(&mut self, length: usize, into: &mut Vec<u8>) {
        let before = into.len();
        into.resize(before + length, 0);
        self.0.read_exact(&mut into[before..]).await.expect("read");
    }

    /// How many events come until then.
    async fn events_until(mut self, end: Instant) -> usize {
        let (mut events, mut line) = (0, String::new());
        while let Ok(Ok(1..)) = tokio::time::timeout_at(end.into(), self.0.read_line(&mut line)).await {
            events += usize::from(line.starts_with("data:"));
            line.clear();
        }
        events
    }
}
