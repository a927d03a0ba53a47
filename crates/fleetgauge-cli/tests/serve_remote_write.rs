//! What a daemon writes to real servers: it comes back as it is in the daemon, whoever is ended or killed meanwhile.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fleetgauge::prometheus::{PrometheusSource, PrometheusSourceConfig};
use fleetgauge_core::query::QueryTemplate;
use fleetgauge_core::source::{MetricsSource as _, RefreshSpec};
use fleetgauge_testkit::{Answer, FaultyServer, Prometheus, VictoriaMetrics, http};
use rustix::process::Signal;
use serde_json::Value;

use crate::support::daemon::{Daemon, PATIENCE, QUEUE, config, until};

/// A server that is written to.
enum Receiver {
    Prometheus(Prometheus),
    Victoria(VictoriaMetrics),
}

impl Receiver {
    fn prometheus() -> Self {
        let builder = Prometheus::builder().flag("--web.enable-remote-write-receiver");
        Self::Prometheus(builder.start().unwrap())
    }

    fn prometheus_3() -> Self {
        let program = std::env::var_os("FLEETGAUGE_PROMETHEUS_3").filter(|path| !path.is_empty());
        let program = program.expect("`cargo xtask test` gets Prometheus 3 where it can");
        let builder = Prometheus::builder().program(program);
        Self::Prometheus(
            builder
                .flag("--web.enable-remote-write-receiver")
                .start()
                .unwrap(),
        )
    }

    fn victoria() -> Self {
        // It shows a sample that it was sent twice once.
        let builder = VictoriaMetrics::builder().flag("-dedup.minScrapeInterval=1ms");
        Self::Victoria(builder.start().unwrap())
    }

    fn addr(&self) -> SocketAddr {
        match self {
            Self::Prometheus(server) => server.addr(),
            Self::Victoria(server) => server.addr(),
        }
    }

    fn url(&self) -> String {
        format!("http://{}", self.addr())
    }

    /// Ends it, does `meanwhile`, and starts it again.
    fn without(self, gracefully: bool, meanwhile: impl FnOnce()) -> Self {
        match self {
            Self::Prometheus(server) => {
                let start = server.halt(gracefully).unwrap();
                meanwhile();
                Self::Prometheus(start().unwrap())
            }
            Self::Victoria(server) => {
                let start = server.halt(gracefully).unwrap();
                meanwhile();
                Self::Victoria(start().unwrap())
            }
        }
    }
}

/// Times and values of series by their labels.
type Samples = BTreeMap<String, Vec<(String, String)>>;

/// Samples of the last minutes before `at`, of who is at `addr`; staleness markers are not among them.
fn samples(addr: SocketAddr, selector: &str, at: f64) -> Samples {
    let query = http::percent_encode(&format!("{selector}[10m]"));
    let response = http::get(addr, &format!("/api/v1/query?query={query}&time={at}")).unwrap();
    let answer: Value = serde_json::from_slice(&response.body).unwrap();
    assert_eq!(answer["status"], "success", "{answer}");
    let series = answer["data"]["result"].as_array().unwrap().iter();
    let samples = series.map(|series| {
        let mut labels = series["metric"].as_object().unwrap().clone();
        labels.remove("replica");
        let points = series["values"].as_array().unwrap().iter();
        let points = points.map(|point| (point[0].to_string(), point[1].as_str().unwrap().to_owned()));
        // As VictoriaMetrics shows a staleness marker.
        let points = points.filter(|(_, value)| value != "NaN");
        (Value::Object(labels).to_string(), points.collect())
    });
    samples.collect()
}

fn now() -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    now.as_millis() as f64 / 1_000.0
}

/// A pod whose numbers change with every scrape; `b` is there as long as it says so.
fn pod() -> FaultyServer {
    let scrapes = AtomicU64::new(0);
    FaultyServer::start([Answer::choose(move |_| {
        let at = scrapes.fetch_add(1, Ordering::Relaxed);
        let mut page = format!("waiting{{pod=\"a\"}} {at}\nlabelled{{replica=\"own\"}} 1\n");
        for series in 0..20 {
            let _ = writeln!(
                page,
                "used_ratio{{block=\"{series}\"}} {}",
                (at + series) as f64 / 8.0
            );
        }
        if at < 10 {
            page += "waiting{pod=\"b\"} 4\n";
        }
        Answer::text(page)
    })])
    .unwrap()
}

fn written(directory: &Path, pod: &FaultyServer, remote: &str) -> PathBuf {
    let file = config(directory, pod, QUEUE);
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{text}remote_write:\n  - {{{remote}}}\n")).unwrap();
    file
}

/// The sum of the rows of one of the daemon's own metrics.
fn own(daemon: &Daemon, name: &str) -> f64 {
    let page = daemon.get("/metrics").1;
    let rows = page.lines().filter(|line| line.starts_with(&format!("{name}{{")));
    rows.map(|row| row.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
        .sum()
}

const SELECTORS: [&str; 3] = [
    "waiting",
    "used_ratio",
    "{__name__=~\"fleetgauge_reading(_held)?\"}",
];

/// What the daemon has up to `at`, when no scrape or refresh of before is under way any more: they are kept in order.
fn had_until(daemon: &Daemon, at: f64) -> [Samples; 3] {
    SELECTORS.map(|selector| {
        let is_later = |(time, _): &(String, String)| time.parse::<f64>().unwrap() > at;
        until(|| {
            let newest = samples(daemon.address, selector, now());
            newest.values().flatten().any(is_later)
        });
        let had = samples(daemon.address, selector, at);
        assert!(!had.is_empty(), "{selector}");
        had
    })
}

/// Waits until the receiver has all that the daemon had at `at`, and gives how much that is.
fn until_equal(daemon: &Daemon, receiver: &Receiver, at: f64) -> usize {
    let mut count = 0;
    for (selector, wanted) in SELECTORS.iter().zip(had_until(daemon, at)) {
        count += wanted.values().map(Vec::len).sum::<usize>();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = samples(receiver.addr(), selector, at);
            if found == wanted {
                break;
            }
            assert!(Instant::now() < deadline, "{:#?}", differences(&found, &wanted));
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    count
}

/// By series, the samples that only the first has and those that only the second has.
fn differences(found: &Samples, wanted: &Samples) -> [(&'static str, Samples); 2] {
    let only = |of: &Samples, other: &Samples| -> Samples {
        let series = of.iter().map(|(series, points)| {
            let others = other.get(series).map_or(&[][..], Vec::as_slice);
            let points = points.iter().filter(|point| !others.contains(point));
            (series.clone(), points.cloned().collect())
        });
        series
            .filter(|(_, points): &(_, Vec<_>)| !points.is_empty())
            .collect()
    };
    [
        ("found alone", only(found, wanted)),
        ("wanted alone", only(wanted, found)),
    ]
}

async fn asked(url: &str, query: &str) -> Vec<(String, f64)> {
    let source = PrometheusSource::new(PrometheusSourceConfig::new(url)).unwrap();
    source
        .query_list()
        .register(QueryTemplate::promql("asked", query))
        .unwrap();
    let outcomes = source.refresh(RefreshSpec::queries(["asked"])).await;
    let answer = outcomes["asked"].as_ref().unwrap().answer().clone();
    let rows = answer
        .values()
        .map(|value| (value.labels.to_string(), value.value));
    rows.collect()
}

const BY_2: &str = ", protobuf_message: io.prometheus.write.v2.Request";

fn comes_back_equal(receiver: Receiver, more: &str) {
    let directory = tempfile::tempdir().unwrap();
    let pod = pod();
    let url = receiver.url();
    let remote = format!("url: \"{url}/api/v1/write\", every: 200ms, external_labels: {{replica: a}}{more}");
    let daemon = Daemon::start(&written(directory.path(), &pod, &remote));
    daemon.reading("queue", |reading| {
        reading["value"].as_f64().is_some_and(|value| value > 20.0)
    });
    let at = now();
    until_equal(&daemon, &receiver, at);
    // The same by the client of a `prometheus` source, at a time that stands still.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.unwrap();
    for query in ["waiting", "used_ratio", "fleetgauge_reading"] {
        let query = format!("sort(max without (replica, instance) ({query} @ {at}))");
        let of = |url: &str| runtime.block_on(asked(url, &query));
        let ours = of(&format!("http://{}", daemon.address));
        assert!(!ours.is_empty(), "{query}");
        assert_eq!(of(&url), ours, "{query}");
    }
    // `b` went, and so it says there: without a marker it would be seen for five minutes.
    let gone = http::percent_encode(&format!("waiting{{pod=\"b\"}} @ {at}"));
    let gone = http::get(receiver.addr(), &format!("/api/v1/query?query={gone}")).unwrap();
    assert!(gone.text().contains("\"result\":[]"), "{}", gone.text());
    for name in ["lost", "failed"] {
        assert_eq!(
            own(&daemon, &format!("fleetgauge_remote_write_samples_{name}_total")),
            0.0
        );
    }
    assert!(own(&daemon, "fleetgauge_remote_write_lag_seconds") < 60.0);
    assert!(daemon.get("/dashboard/sources").1.contains("takes samples"));
}

#[test]
fn what_is_written_to_prometheus_comes_back_equal() {
    comes_back_equal(Receiver::prometheus(), "");
}

#[test]
#[ignore = "needs Prometheus 3"]
fn what_is_written_to_prometheus_3_comes_back_equal() {
    comes_back_equal(Receiver::prometheus_3(), "");
}

#[test]
#[ignore = "needs Prometheus 3"]
fn what_is_written_to_prometheus_3_by_remote_write_2_comes_back_equal() {
    comes_back_equal(Receiver::prometheus_3(), BY_2);
}

#[test]
fn what_is_written_to_victoria_metrics_comes_back_equal() {
    comes_back_equal(Receiver::victoria(), "");
}

/// It is ended and killed in the midst of it, and has all in the end.
fn a_receiver_that_goes_lacks_nothing(mut receiver: Receiver, ways: &[bool]) {
    let directory = tempfile::tempdir().unwrap();
    let pod = pod();
    let resend = match receiver {
        Receiver::Victoria(_) => "10s",
        Receiver::Prometheus(_) => "0s",
    };
    let remote = format!(
        "url: \"{}/api/v1/write\", every: 100ms, resend: {resend}",
        receiver.url()
    );
    let daemon = Daemon::start(&written(directory.path(), &pod, &remote));
    for gracefully in ways {
        let sent = own(&daemon, "fleetgauge_remote_write_samples_sent_total");
        until(|| own(&daemon, "fleetgauge_remote_write_samples_sent_total") > sent + 100.0);
        receiver = receiver.without(*gracefully, || {
            let retries = own(&daemon, "fleetgauge_remote_write_retries_total");
            until(|| own(&daemon, "fleetgauge_remote_write_retries_total") >= retries + 3.0);
            assert!(daemon.get("/dashboard/sources").1.contains("takes nothing now"));
        });
        let count = until_equal(&daemon, &receiver, now());
        assert!(count > 100, "{count}");
    }
    assert_eq!(own(&daemon, "fleetgauge_remote_write_samples_lost_total"), 0.0);
}

#[test]
fn a_prometheus_that_is_ended_or_killed_lacks_nothing() {
    a_receiver_that_goes_lacks_nothing(Receiver::prometheus(), &[true, false]);
}

#[test]
#[ignore = "needs Prometheus 3"]
fn a_prometheus_3_that_is_ended_or_killed_lacks_nothing() {
    a_receiver_that_goes_lacks_nothing(Receiver::prometheus_3(), &[true, false]);
}

#[test]
fn a_victoria_metrics_that_is_ended_or_killed_lacks_nothing() {
    a_receiver_that_goes_lacks_nothing(Receiver::victoria(), &[true, false]);
}

/// Nothing is sent but at the end.
#[test]
fn a_daemon_that_is_told_to_end_sends_all_that_it_has() {
    let directory = tempfile::tempdir().unwrap();
    let (pod, receiver) = (pod(), Receiver::prometheus());
    let remote = format!("url: \"{}/api/v1/write\", every: 1h", receiver.url());
    let mut daemon = Daemon::start(&written(directory.path(), &pod, &remote));
    daemon.reading("queue", |reading| {
        reading["value"].as_f64().is_some_and(|value| value > 20.0)
    });
    let at = now();
    let had = had_until(&daemon, at);
    daemon.signal(Signal::TERM);
    assert!(daemon.process.wait().unwrap().success());
    for (selector, had) in SELECTORS.iter().zip(had) {
        assert_eq!(samples(receiver.addr(), selector, at), had);
    }
}

/// What was taken is there, whatever becomes of who sent it.
#[test]
fn of_what_a_killed_daemon_was_acknowledged_nothing_is_missing() {
    let directory = tempfile::tempdir().unwrap();
    let (pod, receiver) = (pod(), Receiver::prometheus());
    let remote = format!("url: \"{}/api/v1/write\", every: 50ms", receiver.url());
    let mut daemon = Daemon::start(&written(directory.path(), &pod, &remote));
    let mut until_then = Samples::new();
    for at_least in [100.0, 1_000.0, 3_000.0] {
        until(|| own(&daemon, "fleetgauge_remote_write_samples_sent_total") > at_least);
        until_then = samples(receiver.addr(), "waiting", now());
    }
    let lag = own(&daemon, "fleetgauge_remote_write_lag_seconds");
    let at = now() - lag - 1.0;
    let had = samples(daemon.address, "used_ratio", at);
    daemon.process.kill().unwrap();
    daemon.process.wait().unwrap();
    assert!(!had.is_empty());
    assert_eq!(samples(receiver.addr(), "used_ratio", at), had);
    let after = samples(receiver.addr(), "waiting", now());
    for (series, points) in until_then {
        assert!(after[&series].starts_with(&points), "{series}");
    }
}

/// To a Prometheus nothing can be sent twice unseen: it refuses what is older than what it has.
#[test]
fn a_new_configuration_sends_nothing_again() {
    let directory = tempfile::tempdir().unwrap();
    let (pod, receiver) = (pod(), Receiver::prometheus());
    let remote = |more: &str| format!("url: \"{}/api/v1/write\", every: 100ms{more}", receiver.url());
    let file = written(directory.path(), &pod, &remote(""));
    let daemon = Daemon::start(&file);
    let sent = || own(&daemon, "fleetgauge_remote_write_samples_sent_total");
    let reloads = || own(&daemon, "fleetgauge_configuration_reloads_total");
    until(|| sent() > 200.0);
    let text = |more: &str| {
        written(directory.path(), &pod, &remote(more));
        fs::read_to_string(&file).unwrap()
    };
    for text in [
        // Something else has changed; then how it is sent; then nothing.
        format!("{}log: {{level: info}}\n", text("")),
        text(", headers: {X-Scope-OrgID: a}"),
        text(", headers: {X-Scope-OrgID: b}, timeout: 5s"),
        text(", headers: {X-Scope-OrgID: b}, timeout: 5s"),
    ] {
        let (before, of_before) = (reloads(), sent());
        fs::write(&file, text).unwrap();
        daemon.signal(Signal::HUP);
        until(|| reloads() > before);
        // It goes on with the same counts.
        until(|| sent() > of_before + 200.0);
    }
    until_equal(&daemon, &receiver, now());
    assert_eq!(own(&daemon, "fleetgauge_remote_write_samples_failed_total"), 0.0);
    assert_eq!(own(&daemon, "fleetgauge_remote_write_samples_lost_total"), 0.0);

    // What is not written any more ends there at once.
    let before = reloads();
    let text = text(", send: [readings]");
    fs::write(&file, text).unwrap();
    daemon.signal(Signal::HUP);
    until(|| reloads() > before);
    let waiting = || {
        http::get(receiver.addr(), "/api/v1/query?query=waiting")
            .unwrap()
            .text()
    };
    until(|| waiting().contains("\"result\":[]"));
    assert_eq!(own(&daemon, "fleetgauge_remote_write_samples_failed_total"), 0.0);
}

/// Steps with their values, of the one series, and what is told beside it.
fn range(addr: SocketAddr, query: &str, (start, end): (f64, f64)) -> (Vec<(f64, String)>, String) {
    let query = http::percent_encode(query);
    let path = format!("/api/v1/query_range?query={query}&start={start}&end={end}&step=0.2");
    let response = http::get(addr, &path).unwrap();
    let answer: Value = serde_json::from_slice(&response.body).unwrap();
    assert_eq!(answer["status"], "success", "{answer}");
    let series = answer["data"]["result"].as_array().unwrap();
    assert!(series.len() <= 1, "{answer}");
    let points = series
        .iter()
        .flat_map(|series| series["values"].as_array().unwrap());
    let points = points.map(|point| (point[0].as_f64().unwrap(), point[1].as_str().unwrap().to_owned()));
    (points.collect(), answer["warnings"].to_string())
}

fn is_read_again(receiver: Receiver) {
    let directory = tempfile::tempdir().unwrap();
    let pod = pod();
    let url = receiver.url();
    let remote = format!(
        "url: \"{url}/api/v1/write\", every: 100ms, history: engine, external_labels: {{replica: a}}"
    );
    let file = written(directory.path(), &pod, &remote);
    let text = fs::read_to_string(&file).unwrap();
    let engine = format!("sources:\n  engine: {{prometheus: {{url: \"{url}\"}}}}\n");
    let text = text.replacen("sources:\n", &engine, 1);
    fs::write(
        &file,
        text.replace("query: waiting,", "source: pods, query: waiting,"),
    )
    .unwrap();
    // Longer than a start takes on a machine that is busy.
    let query = "sum(max_over_time(waiting{pod=\"a\"}[5s])) + 0 * count(waiting{pod=\"a\"})";
    let is_at_least = |daemon: &Daemon, at_least: f64| {
        daemon.reading("queue", |reading| {
            reading["value"].as_f64().is_some_and(|value| value > at_least)
        })
    };
    let mut daemon = Daemon::start(&file);
    is_at_least(&daemon, 30.0);
    let middle = (now() * 5.0).floor() / 5.0;
    let before = (middle - 2.0, middle);
    let (had, _) = range(daemon.address, query, before);
    assert_eq!(had.len(), 11, "{had:?}");
    daemon.signal(Signal::TERM);
    assert!(daemon.process.wait().unwrap().success());

    let daemon = Daemon::start(&file);
    is_at_least(&daemon, 60.0);
    let whole = (middle - 2.0, (now() * 5.0).floor() / 5.0);
    let steps = ((whole.1 - whole.0) * 5.0).round() as usize + 1;
    // What came before the restart may not be shown by an engine for half a minute, and is left out for as long.
    let (points, warnings) = range(daemon.address, query, whole);
    assert!(
        points.len() < steps && !warnings.contains("is missing"),
        "{points:?}"
    );
    until(|| range(daemon.address, query, whole).0.len() == steps);
    let (points, warnings) = range(daemon.address, query, whole);
    assert!(
        warnings.contains("which does not tell who was missing"),
        "{warnings}"
    );
    assert_eq!(points[..11], had[..]);
    // Each step once, and numbers that go on.
    assert_eq!(points.len(), steps, "{points:?}");
    for pair in points.windows(2) {
        assert!(
            pair[1].0 > pair[0].0 && pair[1].1.parse::<f64>().unwrap() >= pair[0].1.parse().unwrap(),
            "{pair:?}"
        );
    }
    // A series as it is has no label that it has not in memory.
    let labels = http::percent_encode("waiting{pod=\"a\"}");
    let path = format!(
        "/api/v1/query_range?query={labels}&start={}&end={}&step=0.2",
        whole.0, whole.1
    );
    let (_, text) = daemon.get(&path);
    assert!(
        !text.contains("replica") && text.matches("__name__").count() == 1,
        "{text}"
    );
    // One that the engine is not asked for is not silently younger than it is.
    let (_, warnings) = range(daemon.address, "labelled", whole);
    assert!(warnings.contains("a label replica of their own"), "{warnings}");
    // The charts, too.
    assert!(daemon.get("/dashboard/metrics/queue").1.contains("<path"));

    drop(receiver);
    let (points, warnings) = range(daemon.address, query, whole);
    assert!(
        warnings.contains("what is older than what is in memory is missing: the history \\\"engine\\\""),
        "{warnings}"
    );
    assert!(points.len() < steps && !points.is_empty());
}

#[test]
fn what_a_prometheus_was_written_is_read_again_without_a_seam() {
    is_read_again(Receiver::prometheus());
}

#[test]
fn what_a_victoria_metrics_was_written_is_read_again_without_a_seam() {
    // Else it looks back by as much as the samples of each series are apart, and shows a gap while no daemon was there.
    let builder = VictoriaMetrics::builder().flag("-search.minStalenessInterval=5m");
    is_read_again(Receiver::Victoria(builder.start().unwrap()));
}

#[test]
fn what_is_wrong_with_the_section_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("fleetgauge.yaml");
    for (remotes, expected) in [
        ("[{url: \"http://a/w\"}]", ""),
        ("[{}]", "url"),
        ("[{url: \"ftp://a/w\"}]", "ftp"),
        (
            "[{url: \"http://a/w\"}, {url: \"http://a/x\"}]",
            "one with the name \"http://a:80\" already",
        ),
        ("[{url: \"http://a/w\"}, {name: b, url: \"http://a/x\"}]", ""),
        ("[{url: \"http://a/w\", send: [all]}]", "scraped or readings"),
        (
            "[{url: \"http://a/w\", protobuf_message: v2}]",
            "prometheus.WriteRequest or io.prometheus.write.v2.Request",
        ),
        (
            "[{url: \"http://a/w\", external_labels: {__name__: a}}]",
            "\"__name__\" is not a name",
        ),
        (
            "[{url: \"http://a/w\", external_labels: {1a: a}}]",
            "\"1a\" is not a name",
        ),
        (
            "[{url: \"http://a/w\", history: pods}]",
            "history is the name of a prometheus source",
        ),
        (
            "[{url: \"http://a/w\", history: central, send: [scraped]}]",
            "history needs all that is in memory",
        ),
        (
            "[{url: \"http://a/w\", external_labels: {replica: a}, history: central}]",
            "",
        ),
        (
            "[{url: \"http://a/w\", history: central}]",
            "warning: without external_labels the history",
        ),
        (
            "[{url: \"http://a/w\", every: 0s}]",
            "the duration must be more than zero",
        ),
    ] {
        let text = format!(
            "sources: {{pods: {{scrape: {{discovery: [{{static: [\"127.0.0.1:1\"]}}]}}}}, central: {{prometheus: {{url: \"http://a\"}}}}}}\n\
             remote_write: {remotes}\n"
        );
        fs::write(&file, text).unwrap();
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_fleetgauge"))
            .arg("check")
            .arg(&file)
            .output()
            .unwrap();
        let said =
            String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        let is_good = expected.is_empty() || expected.starts_with("warning");
        assert_eq!(output.status.success(), is_good, "{remotes}: {said}");
        assert!(said.contains(expected), "{remotes}: {said}");
    }
}

/// The server that is installed answers 2.0 as if all were well, and has nothing of it.
#[test]
fn a_server_that_knows_1_alone_is_told_of_and_has_all_when_that_is_set() {
    let directory = tempfile::tempdir().unwrap();
    let (pod, receiver) = (pod(), Receiver::prometheus());
    let remote = |more: &str| format!("url: \"{}/api/v1/write\", every: 100ms{more}", receiver.url());
    let file = written(directory.path(), &pod, &remote(BY_2));
    let daemon = Daemon::start(&file);
    let retries = || own(&daemon, "fleetgauge_remote_write_retries_total");
    until(|| retries() > 2.0);
    assert!(daemon.get("/dashboard/sources").1.contains("takes nothing now"));
    let sent = || own(&daemon, "fleetgauge_remote_write_samples_sent_total");
    assert_eq!(sent(), 0.0);
    written(directory.path(), &pod, &remote(""));
    daemon.signal(Signal::HUP);
    until(|| sent() > 0.0);
    until_equal(&daemon, &receiver, now());
    assert_eq!(own(&daemon, "fleetgauge_remote_write_samples_failed_total"), 0.0);
    assert_eq!(own(&daemon, "fleetgauge_remote_write_samples_lost_total"), 0.0);
    // What the one before had left is no loss: this one has sent it.
    let log = daemon.log().join("\n");
    assert!(!log.contains("not sent at the end"), "{log}");
}

#[test]
fn a_remote_is_counted_and_is_something_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("fleetgauge.yaml");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let said = |remotes: &str, args: &[&str]| {
        let sources = "sources: {pods: {scrape: {discovery: [{static: [\"127.0.0.1:1\"]}]}}}\n";
        fs::write(&file, format!("{sources}remote_write: {remotes}\n")).unwrap();
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_fleetgauge"))
            .args(args)
            .arg(&file)
            .output()
            .unwrap();
        [output.stdout, output.stderr]
            .map(|said| String::from_utf8_lossy(&said).into_owned())
            .concat()
    };
    let one = "[{url: \"http://127.0.0.1:1/w\"}]";
    let ok = said(one, &["check"]);
    assert!(
        ok.contains("ok, configuration with 1 source and 1 remote write\n"),
        "{ok}"
    );
    // It ends at once, since the address is taken.
    let listen = taken.local_addr().unwrap().to_string();
    let serve = ["serve", "--listen", &listen, "--config"];
    let none = "nothing to keep fresh";
    assert!(said("[]", &serve).contains(none));
    let served = said(one, &serve);
    assert!(!served.contains(none) && served.contains(&listen), "{served}");
}

#[test]
fn what_is_refused_is_told_once_and_when_it_is_over() {
    let directory = tempfile::tempdir().unwrap();
    let pod = pod();
    let server = FaultyServer::start([Answer::status(204)]).unwrap();
    let remote = format!("name: a, url: \"{}/w\", every: 50ms", server.url());
    let daemon = Daemon::start(&written(directory.path(), &pod, &remote));
    // Not before: what is logged until the daemon serves is not kept.
    server.set_script([Answer::status(400)]).unwrap();
    let told = daemon.logged("samples are refused, and lost to the server");
    assert!(told.contains("remote=a"), "{told}");
    let failed = || own(&daemon, "fleetgauge_remote_write_samples_failed_total");
    until(|| failed() > 500.0);
    server.set_script([Answer::status(503)]).unwrap();
    let retries = || own(&daemon, "fleetgauge_remote_write_retries_total");
    until(|| retries() > 2.0);
    server.set_script([Answer::status(204)]).unwrap();
    let sent = || own(&daemon, "fleetgauge_remote_write_samples_sent_total");
    let before = sent();
    until(|| sent() > before + 500.0);
    let log = daemon.log().join("\n");
    assert!(!log.contains("samples are refused, and lost"), "{log}");
    assert_eq!(log.matches("takes no samples").count(), 1, "{log}");
    assert_eq!(log.matches("takes samples again").count(), 1, "{log}");
    assert_eq!(log.matches("no samples are refused any more").count(), 1, "{log}");
}
