use std::sync::Mutex;

use fleetgauge_promql::histogram::{Buckets, CounterReset, FloatHistogram};
use fleetgauge_promql::label::LabelSet;
use fleetgauge_promql::sample::{STALE_MARKER, Samples};
use fleetgauge_promql::window::{ExposedLabels, WindowConfig};
use fleetgauge_testkit::{Answer, FaultyServer, Prometheus, Refused, VictoriaMetrics};
use prost::Message as _;

use super::*;

mod kinds;

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
    #[prost(message, repeated, tag = "4")]
    pub(super) histograms: Vec<Histogram>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Histogram {
    #[prost(uint64, optional, tag = "1")]
    count_int: Option<u64>,
    #[prost(double, optional, tag = "2")]
    count_float: Option<f64>,
    #[prost(double, tag = "3")]
    sum: f64,
    #[prost(sint32, tag = "4")]
    schema: i32,
    #[prost(double, tag = "5")]
    zero_threshold: f64,
    #[prost(uint64, optional, tag = "6")]
    zero_count_int: Option<u64>,
    #[prost(double, optional, tag = "7")]
    zero_count_float: Option<f64>,
    #[prost(message, repeated, tag = "8")]
    negative_spans: Vec<Span>,
    #[prost(sint64, repeated, tag = "9")]
    negative_deltas: Vec<i64>,
    #[prost(double, repeated, tag = "10")]
    negative_counts: Vec<f64>,
    #[prost(message, repeated, tag = "11")]
    positive_spans: Vec<Span>,
    #[prost(sint64, repeated, tag = "12")]
    positive_deltas: Vec<i64>,
    #[prost(double, repeated, tag = "13")]
    positive_counts: Vec<f64>,
    #[prost(int32, tag = "14")]
    reset_hint: i32,
    #[prost(int64, tag = "15")]
    timestamp: i64,
    #[prost(double, repeated, tag = "16")]
    custom_values: Vec<f64>,
    #[prost(int64, tag = "17")]
    start_timestamp: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Span {
    #[prost(sint32, tag = "1")]
    offset: i32,
    #[prost(uint32, tag = "2")]
    length: u32,
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
    #[prost(int64, tag = "3")]
    pub(super) start_timestamp: i64,
}

/// A request of 2.0. What has samples and what has histograms are told apart by their fields, and their times since when they
/// count stand behind them.
#[derive(prost::Message)]
struct Request2 {
    #[prost(string, repeated, tag = "4")]
    symbols: Vec<String>,
    #[prost(message, repeated, tag = "5")]
    timeseries: Vec<TimeSeries2>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct TimeSeries2 {
    #[prost(uint32, repeated, tag = "1")]
    labels_refs: Vec<u32>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
    #[prost(message, repeated, tag = "3")]
    histograms: Vec<Histogram>,
}

/// A request by another decoder than what encodes it.
pub(super) fn decoded(body: &[u8]) -> WriteRequest {
    WriteRequest::decode(&*decompressed(body)).expect("Protocol Buffers")
}

/// One of 2.0, as one of 1.0 with start timestamps.
pub(super) fn decoded_2(body: &[u8]) -> WriteRequest {
    let request = Request2::decode(&*decompressed(body)).expect("Protocol Buffers");
    let symbols = request.symbols;
    assert_eq!(symbols[0], "");
    assert_eq!(
        symbols.iter().collect::<std::collections::BTreeSet<_>>().len(),
        symbols.len(),
        "each text is there once"
    );
    let text = |at: u32| symbols[at as usize].clone();
    let series = request.timeseries.into_iter().map(|series| {
        assert!(series.samples.is_empty() != series.histograms.is_empty());
        let labels = series.labels_refs.chunks_exact(2).map(|label| Label {
            name: text(label[0]),
            value: text(label[1]),
        });
        TimeSeries {
            labels: labels.collect(),
            samples: series.samples,
            histograms: series.histograms,
        }
    });
    WriteRequest {
        timeseries: series.collect(),
    }
}

fn decompressed(body: &[u8]) -> Vec<u8> {
    let decompressed = snap::raw::Decoder::new().decompress_vec(body);
    decompressed.expect("Snappy's block format")
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

/// The one that is installed, or Prometheus 3.
fn receiving(is_3: bool, flags: &[&str]) -> Prometheus {
    let mut builder = Prometheus::builder()
        .flag("--web.enable-remote-write-receiver")
        .flag("--enable-feature=native-histograms");
    if is_3 {
        let program = std::env::var_os("FLEETGAUGE_PROMETHEUS_3").filter(|path| !path.is_empty());
        builder = builder.program(program.expect("`cargo xtask test` gets Prometheus 3 where it can"));
    }
    let builder = flags.iter().fold(builder, |builder, flag| builder.flag(*flag));
    builder.start().expect("a Prometheus")
}

#[test]
fn a_prometheus_has_the_histograms_that_the_window_had() {
    has_what_the_window_had(&receiving(false, &[]), ProtobufMessage::V1);
}

#[test]
#[ignore = "needs Prometheus 3"]
fn prometheus_3_has_what_the_window_had_by_remote_write_1() {
    has_what_the_window_had(&receiving(true, &[]), ProtobufMessage::V1);
}

#[test]
#[ignore = "needs Prometheus 3"]
fn prometheus_3_has_what_the_window_had_by_remote_write_2() {
    has_what_the_window_had(&receiving(true, &[]), ProtobufMessage::V2);
}

fn has_what_the_window_had(prometheus: &Prometheus, message: ProtobufMessage) {
    let buckets = |first, counts: &[f64]| Buckets::starting_at(first, counts).expect("indexes");
    let counted = |count: f64| {
        FloatHistogram::exponential(2)
            .and_then(|empty| empty.with_zero(0.125, 3.0))
            .expect("a schema")
            .with_count(count + 10.0)
            .with_sum(-2.5 * count)
            .with_positive(Buckets::from_spans([(-4, &[count, 0.0, 1.0][..]), (3, &[2.0])]).expect("indexes"))
            .with_negative(buckets(7, &[4.0]))
    };
    let of_fractions = FloatHistogram::exponential(-2)
        .expect("a schema")
        .with_count(1.75)
        .with_sum(9.5)
        .with_positive(buckets(1, &[1.5, 0.25]))
        .with_counter_reset(CounterReset::Gauge);
    let custom = |count: f64| {
        FloatHistogram::custom(&[0.5, 2.0])
            .expect("bounds")
            .with_count(count + 4.0)
            .with_sum(12.5)
            .with_positive(buckets(0, &[count, 0.0, 4.0]))
    };
    let window = Window::new(WindowConfig::default());
    let mut target = window.appender([("pod", "vllm-0")]);
    let now = Clock::system().wall().as_millis();
    for (at, count) in [(-2_000, 5.0), (-1_000, 6.0), (0, 1e10)] {
        let mut page = target.scrape(Timestamp::from_millis(now + at));
        let custom_of_fractions = custom(1.5).with_counter_reset(CounterReset::Gauge);
        for (name, histogram) in [
            ("whole", counted(count)),
            ("parts", of_fractions.clone()),
            ("custom", custom(count)),
            ("custom_parts", custom_of_fractions),
            ("gone", counted(count)),
        ] {
            if name == "gone" && at == 0 {
                continue;
            }
            let labels = |labels: &mut ExposedLabels| labels.label("__name__", name);
            page.append_histogram(name, histogram, None, labels)
                .expect("there is room");
        }
        page.append("x", count, None, |labels| labels.label("__name__", "x"))
            .expect("there is room");
        page.commit();
    }
    let url = format!("{}/api/v1/write", prometheus.url());
    let remote = RemoteWrite::new(config(&url).with_protobuf_message(message), [window]);
    let remote = remote.expect("a configuration");
    run(&remote);
    let stats = remote.stats();
    let left_out = match message {
        ProtobufMessage::V1 => 6,
        ProtobufMessage::V2 => 0,
    };
    assert_eq!(
        (stats.sent, stats.left_out, stats.pending),
        (18 - left_out, left_out, 0)
    );
    assert_eq!((stats.refused, stats.not_written, stats.lost), (0, 0, 0));
    let seconds = now as f64 / 1000.0;
    let asked = |name: &str, at: f64| {
        let promql = format!(r#"{name}{{pod="vllm-0", replica="a"}}"#);
        prometheus.query(&promql, Some(at)).expect("an answer")
    };
    for (name, at, expected) in [
        ("whole", seconds - 1.0, counted(6.0)),
        ("whole", seconds, counted(1e10)),
        ("parts", seconds, of_fractions),
        ("custom", seconds - 2.0, custom(5.0)),
        ("custom", seconds, custom(1e10)),
        ("custom_parts", seconds, custom(1.5)),
        ("gone", seconds - 1.0, counted(6.0)),
    ] {
        let answer = asked(name, at);
        if left_out > 0 && name.starts_with("custom") {
            assert_eq!(answer, serde_json::json!([]), "{name}");
            continue;
        }
        let number =
            |json: &serde_json::Value| -> f64 { json.as_str().expect("a text").parse().expect("a number") };
        let found = &answer[0]["histogram"][1];
        assert_eq!(
            [number(&found["count"]), number(&found["sum"])],
            [expected.count(), expected.sum()],
            "{name} at {at}"
        );
        let found = found["buckets"].as_array().expect("buckets").iter();
        let found: Vec<_> = found.map(|b| [1, 2, 3].map(|at| number(&b[at]))).collect();
        let mut expected = expected;
        expected.compact();
        let expected: Vec<_> = expected.buckets().map(|b| [b.lower, b.upper, b.count]).collect();
        assert_eq!(found, expected, "{name} at {at}");
    }
    // By a marker that came in the same request as its histograms.
    assert_eq!(asked("gone", seconds), serde_json::json!([]));
    assert_eq!(asked("x", seconds)[0]["value"][1], "10000000000");
}

#[test]
fn histograms_are_read_by_another_decoder() {
    let custom = FloatHistogram::custom(&[0.5, 2.0])
        .expect("bounds")
        .with_count(7.0)
        .with_sum(f64::NAN)
        .with_positive(Buckets::starting_at(0, &[1.0, 0.0, 4.0]).expect("indexes"))
        .with_counter_reset(CounterReset::NotReset);
    let mut samples = Samples::default();
    samples.push(1, 5.0);
    samples.push_histogram(2, Arc::new(custom));
    samples.set_start(1, -7);
    samples.push(3, f64::from_bits(STALE_MARKER));
    let mut message = message::Message::default();
    message.push(&[], &LabelSet::from_pairs([("__name__", "h")]), &samples);
    let [v1, v2] = ProtobufMessage::ALL;
    let read = decoded(&message.compressed(0..1, v1)).timeseries;
    assert_eq!((read.len(), read[0].samples.len()), (1, 1));
    let read = decoded_2(&message.compressed(0..1, v2)).timeseries;
    assert_eq!((message.series(), message.later()), (1, 2));
    assert_eq!(
        read[0].samples,
        [Sample {
            value: 5.0,
            timestamp: 1,
            start_timestamp: 0
        }]
    );
    let message = message.rest().expect("what is of another kind");
    assert_eq!((message.samples(0..1, v2), message.left_out(0..1, v2)), (2, 0));
    // 1.0 knows no custom buckets.
    assert_eq!((message.samples(0..1, v1), message.left_out(0..1, v1)), (0, 2));
    let read = decoded_2(&message.compressed(0..1, v2)).timeseries.remove(0);
    assert_eq!(
        read.labels,
        [Label {
            name: "__name__".into(),
            value: "h".into()
        }]
    );
    let expected = Histogram {
        count_int: Some(7),
        sum: f64::NAN,
        schema: -53,
        zero_count_int: Some(0),
        positive_spans: vec![Span { offset: 0, length: 3 }],
        positive_deltas: vec![1, -1, 4],
        reset_hint: 2,
        timestamp: 2,
        custom_values: vec![0.5, 2.0],
        start_timestamp: -7,
        ..Histogram::default()
    };
    let marker = Histogram {
        count_int: Some(0),
        sum: f64::NAN,
        zero_count_int: Some(0),
        timestamp: 3,
        ..Histogram::default()
    };
    assert_eq!(read.histograms[1].sum.to_bits(), STALE_MARKER);
    assert_eq!(
        format!("{:?}", read.histograms),
        format!("{:?}", [expected, marker])
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

/// Sends what `before` has left, by the other message.
fn instead(before: &RemoteWrite) -> RemoteWriteStats {
    let config = before.config().clone().with_protobuf_message(ProtobufMessage::V1);
    let remote = RemoteWrite::in_place_of(before, config).expect("a configuration");
    run(&remote);
    remote.stats()
}

fn by_2(url: &str, window: Window) -> RemoteWrite {
    let config = config(url)
        .with_protobuf_message(ProtobufMessage::V2)
        .with_flush_timeout(Duration::from_millis(50));
    RemoteWrite::new(config, [window]).expect("a configuration")
}

/// What is logged when the server takes nothing.
fn told(remote: &RemoteWrite) -> String {
    let sent = Sent {
        numbers: 1,
        histograms: 0,
    };
    let empty = snap::raw::Encoder::new().compress_vec(b"").expect("it is short");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    match runtime.block_on(remote.sender.send(empty.into(), sent)) {
        Err(Failure::Again { error, .. }) => error.to_string(),
        _ => panic!("it is to be sent again"),
    }
}

/// It answers as if all were well, and has nothing.
#[test]
fn one_that_knows_1_alone_and_does_not_say_so_is_seen_and_gets_all_by_1() {
    let prometheus = receiving(false, &[]);
    let (window, now) = window();
    let remote = by_2(&format!("{}/api/v1/write", prometheus.url()), window);
    run(&remote);
    let stats = remote.stats();
    assert_eq!(
        (stats.sent, stats.pending, stats.refused, stats.is_failing),
        (0, 6, 0, true)
    );
    let said = told(&remote);
    assert!(
        said.contains("does not say how much was written")
            && said.contains("set `protobuf_message: prometheus.WriteRequest`"),
        "{said}"
    );
    let stats = instead(&remote);
    assert_eq!((stats.sent, stats.pending, stats.is_failing), (6, 0, false));
    let answer = prometheus.query("x", Some(now)).expect("an answer");
    assert_eq!(answer[0]["value"][1], "7.5");
}

#[test]
fn one_that_does_not_take_the_message_gets_all_by_the_other() {
    let (server, url) = receiver([Answer::status(415)]);
    let remote = by_2(&url, window().0);
    run(&remote);
    let stats = remote.stats();
    assert_eq!(
        (stats.sent, stats.pending, stats.refused, stats.is_failing),
        (0, 6, 0, true)
    );
    server.set_script([Answer::status(204)]).expect("a script");
    let stats = instead(&remote);
    assert_eq!((stats.sent, stats.pending, stats.is_failing), (6, 0, false));
    let requests = server.requests();
    let [first, .., last] = &*requests else {
        panic!("{}", requests.len())
    };
    // As text, in which one NaN is like another.
    assert_eq!(
        format!("{:?}", decoded_2(&first.body)),
        format!("{:?}", decoded(&last.body))
    );
}

/// This one says 415 and writes what it was sent all the same, so what it refuses then is not lost for certain.
#[test]
#[ignore = "needs Prometheus 3"]
fn prometheus_3_that_does_not_accept_2_says_so() {
    let flag = "--web.remote-write-receiver.accepted-protobuf-messages=prometheus.WriteRequest";
    let prometheus = receiving(true, &[flag]);
    let (window, now) = window();
    let remote = by_2(&format!("{}/api/v1/write", prometheus.url()), window);
    run(&remote);
    let stats = remote.stats();
    assert_eq!((stats.sent, stats.pending, stats.is_failing), (0, 6, true));
    let said = told(&remote);
    assert!(
        said.contains("does not take io.prometheus.write.v2.Request (415)")
            && said.contains("set `protobuf_message: prometheus.WriteRequest`"),
        "{said}"
    );
    let stats = instead(&remote);
    assert_eq!(
        (stats.sent + stats.unconfirmed, stats.refused, stats.pending),
        (6, 0, 0)
    );
    let answer = prometheus.query("x", Some(now)).expect("an answer");
    assert_eq!(answer[0]["value"][1], "7.5");
}

#[test]
#[ignore = "needs Prometheus 3"]
fn prometheus_3_takes_by_2_what_is_not_at_fault_and_tells_how_much_that_is() {
    let prometheus = receiving(true, &[]);
    let url = format!("{}/api/v1/write", prometheus.url());
    let (first, now) = window();
    let remote = by_2(&url, first.clone());
    run(&remote);
    assert_eq!((remote.stats().sent, remote.stats().refused), (6, 0));
    // Of these `x` is older than what it has, and `y` is new.
    let old = Window::new(WindowConfig::default());
    let mut target = old.appender([("pod", "vllm-0")]);
    for at in [-1_500, -500] {
        let at = (now * 1_000.0) as i64 + at;
        append(&mut target, at, &["x", "y"], 1.0);
    }
    let remote = by_2(&url, old);
    run(&remote);
    let stats = remote.stats();
    assert_eq!(
        (
            stats.sent,
            stats.refused,
            stats.unconfirmed,
            stats.not_written,
            stats.retries
        ),
        (2, 2, 0, 0, 0)
    );
    let y = prometheus
        .query("count_over_time(y[1m])", Some(now))
        .expect("an answer");
    assert_eq!(y[0]["value"][1], "2");
}

#[test]
fn what_a_server_of_2_says_is_not_written_is_counted() {
    let (samples, histograms) = (
        "X-Prometheus-Remote-Write-Samples-Written",
        "X-Prometheus-Remote-Write-Histograms-Written",
    );
    for (answer, expected) in [
        // Sent, not written, refused, unconfirmed, requests.
        (Answer::status(204).header(samples, "6"), (6, 0, 0, 0, 1)),
        (Answer::status(204).header(samples, "4"), (4, 2, 0, 0, 1)),
        (
            Answer::status(204).header(samples, "4").header(histograms, "0"),
            (4, 2, 0, 0, 1),
        ),
        (Answer::status(204).header(histograms, "0"), (0, 6, 0, 0, 1)),
        (Answer::status(400).header(samples, "5"), (5, 0, 1, 0, 1)),
        // Nothing was written, so its halves are sent: two series, and then each.
        (Answer::status(400).header(samples, "0"), (0, 0, 6, 0, 3)),
        (Answer::status(413), (0, 0, 6, 0, 3)),
        // What cannot be is not believed.
        (Answer::status(204).header(samples, "9"), (0, 0, 0, 6, 1)),
        (
            Answer::status(204).header(samples, "4").header(histograms, "1"),
            (0, 0, 0, 6, 1),
        ),
        (Answer::status(204).header(histograms, "6"), (0, 0, 0, 6, 1)),
        (
            Answer::status(204).header(samples, "6").header(samples, "6"),
            (0, 0, 0, 6, 1),
        ),
        (Answer::status(204).header(samples, "many"), (0, 0, 0, 6, 1)),
        (Answer::status(400).header(samples, "9"), (0, 0, 0, 6, 3)),
    ] {
        let (server, url) = receiver([answer]);
        let remote = by_2(&url, window().0);
        run(&remote);
        let stats = remote.stats();
        let requests = server.requests();
        assert_eq!(
            (
                stats.sent,
                stats.not_written,
                stats.refused,
                stats.unconfirmed,
                requests.len()
            ),
            expected
        );
        assert_eq!((stats.pending, stats.retries), (0, 0));
        for (name, value) in [
            ("content-encoding", "snappy"),
            (
                "content-type",
                "application/x-protobuf;proto=io.prometheus.write.v2.Request",
            ),
            ("x-prometheus-remote-write-version", "2.0.0"),
        ] {
            assert_eq!(requests[0].header(name), Some(value));
        }
        assert_eq!(decoded_2(&requests[0].body).timeseries.len(), 2);
    }
    // By 1.0 nobody is believed, and nothing but the status counts.
    let (_server, url) = receiver([Answer::status(204).header(samples, "4")]);
    let stats = send(&url, &window().0);
    assert_eq!((stats.sent, stats.not_written), (6, 0));
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
    assert_eq!(
        samples,
        [
            (1_000, 1.0_f64.to_bits()),
            (1_001, STALE_MARKER),
            (2_000, 2.0_f64.to_bits())
        ]
    );
}

#[test]
fn who_asks_to_wait_is_asked_at_once_at_the_end() {
    let (server, url) = receiver([
        Answer::status(429).retry_after_seconds(3_600),
        Answer::status(204),
    ]);
    let remote = RemoteWrite::new(config(&url), [window().0]).expect("a configuration");
    let is_asked_to_wait = async {
        while remote.stats().retries == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(remote.run(is_asked_to_wait));
    assert_eq!((remote.stats().sent, remote.stats().pending), (6, 0));
    assert_eq!(server.requests().len(), 2);
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
