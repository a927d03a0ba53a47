use std::sync::Mutex;

use fleetgauge_promql::window::WindowConfig;
use fleetgauge_testkit::{Answer, FaultyServer, Prometheus, Refused, VictoriaMetrics};
use prost::Message as _;

use super::*;

#[derive(prost::Message)]
pub(super) struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    pub(super) timeseries: Vec<TimeSeries>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    pub(super) labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    pub(super) samples: Vec<Sample>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Label {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) value: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Sample {
    #[prost(double, tag = "1")]
    pub(super) value: f64,
    #[prost(int64, tag = "2")]
    pub(super) timestamp: i64,
}

/// A request by another decoder than what encodes it.
pub(super) fn decoded(body: &[u8]) -> WriteRequest {
    let bytes = snap::raw::Decoder::new()
        .decompress_vec(body)
        .expect("Snappy's block format");
    WriteRequest::decode(&*bytes).expect("Protocol Buffers")
}

/// The metric names of a request.
fn names(request: &WriteRequest) -> Vec<String> {
    let labels = request.timeseries.iter().map(|series| series.labels.iter());
    let names = labels.filter_map(|mut labels| labels.find(|label| label.name == "__name__"));
    names.map(|name| name.value.clone()).collect()
}

/// A window with three samples of one series, and one with a marker as its newest; and when the newest are.
fn window() -> (Window, f64) {
    let window = Window::new(WindowConfig::default());
    let mut target = window.appender([("pod", "vllm-0")]);
    let now = Clock::system().wall().as_millis();
    for (at, names) in [
        (-2_000, &["x", "gone"][..]),
        (-1_000, &["x", "gone"]),
        (0, &["x"]),
    ] {
        append(&mut target, now + at, names, 7.5 + at as f64);
    }
    (window, now as f64 / 1000.0)
}

fn append(target: &mut fleetgauge_promql::window::Appender, at: i64, names: &[impl AsRef<str>], value: f64) {
    let mut page = target.scrape(Timestamp::from_millis(at));
    for name in names {
        let name = name.as_ref();
        let appended = page.append(name, value, None, |labels| labels.label("__name__", name));
        appended.expect("there is room");
    }
    page.commit();
}

fn config(url: &str) -> RemoteWriteConfig {
    RemoteWriteConfig::new(url).with_external_label("replica", "a")
}

/// Sends all that is there, and ends.
fn run(remote: &RemoteWrite) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(remote.run(async {}));
}

/// Sends all that `window` has to `url`, and ends.
fn send(url: &str, window: &Window) -> RemoteWriteStats {
    let remote = RemoteWrite::new(config(url), [window.clone()]).expect("a configuration");
    run(&remote);
    remote.stats()
}

#[test]
fn a_prometheus_and_a_victoria_metrics_have_what_the_window_had() {
    let prometheus = Prometheus::builder()
        .flag("--web.enable-remote-write-receiver")
        .start()
        .expect("a Prometheus");
    let victoria = VictoriaMetrics::start().expect("a VictoriaMetrics");
    let (window, now) = window();
    for url in [prometheus.url(), victoria.url()] {
        let stats = send(&format!("{url}/api/v1/write"), &window);
        // With the marker.
        assert_eq!((stats.sent, stats.refused, stats.retries), (6, 0, 0), "{url}");
        assert!(stats.sent_until.is_some() && stats.pending == 0 && stats.lost == 0);
    }
    victoria.wait_for("x").expect("it becomes searchable");
    let value = |answer: &serde_json::Value| answer[0]["value"][1].clone();
    let mut answers = Vec::new();
    for (promql, at) in [
        (r#"x{pod="vllm-0", replica="a"}"#, now),
        ("x", now - 1.0),
        ("x", now - 2.0),
        ("gone", now - 1.0),
        ("gone", now),
    ] {
        let of_prometheus = prometheus.query(promql, Some(at)).expect("an answer");
        let of_victoria = victoria.query(promql, Some(at)).expect("an answer");
        assert_eq!(value(&of_prometheus), value(&of_victoria), "{promql} at {at}");
        answers.push(value(&of_prometheus));
    }
    let texts: Vec<_> = answers.iter().map(|value| value.as_str()).collect();
    assert_eq!(
        texts,
        [Some("7.5"), Some("-992.5"), Some("-1992.5"), Some("-992.5"), None]
    );
}

fn receiver(script: impl IntoIterator<Item = Answer>) -> (FaultyServer, String) {
    let server = FaultyServer::start(script).expect("a server");
    let url = format!("{}/api/v1/write", server.url());
    (server, url)
}

#[test]
fn what_fails_is_sent_again_byte_by_byte_and_what_is_refused_is_told() {
    let (server, url) = receiver([
        Answer::reset(),
        Answer::close(),
        Answer::status(500),
        Answer::status(429).retry_after_seconds(0),
        Answer::status(401),
        Answer::status(204),
    ]);
    let stats = send(&url, &window().0);
    assert_eq!(
        (stats.sent, stats.retries, stats.refused, stats.unconfirmed),
        (6, 5, 0, 0)
    );
    let requests = server.requests();
    assert_eq!(requests.len(), 6);
    for request in &requests {
        assert_eq!(request.body, requests[0].body);
        for (name, value) in [
            ("content-encoding", "snappy"),
            ("content-type", "application/x-protobuf"),
            ("x-prometheus-remote-write-version", "0.1.0"),
        ] {
            assert_eq!(request.header(name), Some(value));
        }
    }

    let (_server, url) = receiver([Answer::status(400)]);
    let stats = send(&url, &window().0);
    assert_eq!(
        (stats.sent, stats.retries, stats.refused, stats.unconfirmed),
        (0, 0, 6, 0)
    );

    // The first try may have been taken.
    let (_server, url) = receiver([Answer::reset(), Answer::status(400)]);
    let stats = send(&url, &window().0);
    assert_eq!(
        (stats.sent, stats.retries, stats.refused, stats.unconfirmed),
        (0, 1, 0, 6)
    );
}

/// The server decides by what is in the request, so what is sent again after a refusal is what it was, in parts.
#[test]
fn of_a_request_that_is_refused_what_is_not_at_fault_is_taken() {
    let window = Window::new(WindowConfig::default());
    let mut target = window.appender([("pod", "a")]);
    let all: Vec<String> = (0..1_000).map(|at| format!("m{at:03}")).collect();
    for at in [1_000, 2_000] {
        append(&mut target, at, &all, 1.0);
    }
    let taken = Arc::new(Mutex::new(Vec::new()));
    let of_server = Arc::clone(&taken);
    let guilty = ["m017", "m500", "m501"];
    let (server, url) = receiver([Answer::choose(move |request| {
        let names = names(&decoded(&request.body));
        if names.iter().any(|name| guilty.contains(&&**name)) {
            return Answer::status(400);
        }
        of_server.lock().expect("no panic").extend(names);
        Answer::status(204)
    })]);
    let stats = send(&url, &window);
    assert_eq!((stats.sent, stats.refused, stats.retries), (2 * 997, 2 * 3, 0));
    let mut taken = std::mem::take(&mut *taken.lock().expect("no panic"));
    taken.sort();
    let expected = all.iter().filter(|name| !guilty.contains(&&***name));
    assert!(taken.iter().eq(expected), "{}", taken.len());
    assert!(server.requests().len() < 80, "{}", server.requests().len());

    // One that refuses all is not asked about each.
    let (server, url) = receiver([Answer::status(400)]);
    let stats = send(&url, &window);
    assert_eq!((stats.sent, stats.refused), (0, 2_000));
    assert!(server.requests().len() < 600, "{}", server.requests().len());
}

#[test]
fn one_that_takes_the_place_of_another_goes_on_where_it_was() {
    let window = Window::new(WindowConfig::default());
    let mut target = window.appender([("pod", "a")]);
    append(&mut target, 1_000, &["x"], 1.0);
    let (server, url) = receiver([Answer::status(204), Answer::status(503)]);
    let short = config(&url).with_flush_timeout(Duration::from_millis(50));
    let first = RemoteWrite::new(short, [window.clone()]).expect("a configuration");
    run(&first);
    append(&mut target, 2_000, &["x"], 2.0);
    let second = RemoteWrite::in_place_of(&first, first.config().clone()).expect("a configuration");
    run(&second);
    let stats = second.stats();
    assert_eq!((stats.sent, stats.pending, stats.is_failing), (1, 1, true));

    append(&mut target, 3_000, &["x"], 3.0);
    server.set_script([Answer::status(204)]).expect("a script");
    let third = RemoteWrite::in_place_of(&second, config(&url)).expect("a configuration");
    run(&third);
    let stats = third.stats();
    assert_eq!((stats.sent, stats.pending, stats.lost), (3, 0, 0));
    assert!(!stats.is_failing);
    let requests = server.requests();
    let [first, second @ .., third] = &requests[..] else {
        panic!("{}", requests.len())
    };
    let times = |body: &[u8]| {
        let samples = decoded(body)
            .timeseries
            .into_iter()
            .flat_map(|series| series.samples);
        samples.map(|sample| sample.timestamp).collect::<Vec<_>>()
    };
    assert_eq!(
        (times(&first.body), times(&third.body)),
        (vec![1_000], vec![3_000])
    );
    assert!(second.iter().all(|request| times(&request.body) == [2_000]));
    assert!(second.len() > 1);
}

#[test]
fn a_window_that_is_left_ends_with_markers_and_before_what_follows_it() {
    let (old, new) = (
        Window::new(WindowConfig::default()),
        Window::new(WindowConfig::default()),
    );
    append(&mut old.appender([("pod", "a")]), 1_000, &["x"], 1.0);
    let (server, url) = receiver([Answer::status(204)]);
    let remote = RemoteWrite::new(config(&url), [old]).expect("a configuration");
    run(&remote);
    append(&mut new.appender([("pod", "a")]), 2_000, &["x"], 2.0);
    remote.set_windows([new]);
    run(&remote);
    run(&remote);
    let sent = server.requests().into_iter();
    let sent = sent.flat_map(|request| decoded(&request.body).timeseries);
    let samples = sent.flat_map(|series| series.samples);
    let samples: Vec<_> = samples
        .map(|sample| (sample.timestamp, sample.value.to_bits()))
        .collect();
    let marker = fleetgauge_promql::sample::STALE_MARKER;
    assert_eq!(
        samples,
        [
            (1_000, 1.0_f64.to_bits()),
            (1_001, marker),
            (2_000, 2.0_f64.to_bits())
        ]
    );
}

#[test]
fn what_is_not_sent_at_the_end_is_pending_and_what_hangs_is_given_up() {
    let refused = Refused::new().expect("a port");
    let hanging = receiver([Answer::hang()]);
    for url in [format!("{}/write", refused.url()), hanging.1.clone()] {
        let config = config(&url).with_flush_timeout(Duration::from_millis(50));
        let remote = RemoteWrite::new(config, [window().0]).expect("a configuration");
        run(&remote);
        let stats = remote.stats();
        assert_eq!((stats.sent, stats.pending, stats.lost), (0, 6, 0), "{url}");
        assert_eq!(stats.sent_until, None);
    }
}
