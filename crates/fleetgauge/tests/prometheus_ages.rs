//! Ages against real servers: each sample's value is the time at which it was taken.

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fleetgauge::prometheus::{Companions, PrometheusBackend, PrometheusSourceConfig};
use fleetgauge_core::age::{Age, AgeKind};
use fleetgauge_core::backend::{self, Backend};
use fleetgauge_core::query::QueryType;
use fleetgauge_core::result::Answer;
use fleetgauge_testkit::prometheus::Builder;
use fleetgauge_testkit::{Answer as Page, FaultyServer, OpenMetrics, Prometheus, VictoriaMetrics, http};

/// How long something that is waited for may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// By how much what is told may differ: samples are a second apart, and asking takes time on a busy machine.
const SLACK: f64 = 3.0;

fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs_f64()
}

fn backend(url: String) -> PrometheusBackend {
    let config = PrometheusSourceConfig::new(url).with_companions(Companions::all());
    PrometheusBackend::new(&config).unwrap()
}

async fn ask(backend: &PrometheusBackend, text: &str) -> Answer {
    let request = backend::Request::new(
        "q".parse().unwrap(),
        QueryType::PromQl,
        text,
        Duration::from_secs(30),
    );
    backend.fetch(&request).await.unwrap()
}

fn age(answer: &Answer, row: usize) -> Age {
    answer.provenance().unwrap().age(row)
}

/// A pod that goes on, and one whose samples end at `end`, without a staleness marker: those up to `now`, and those after.
fn data(end: u32) -> [OpenMetrics; 2] {
    let samples =
        |times: std::ops::Range<u32>| -> Vec<_> { times.map(|at| (f64::from(at), f64::from(at))).collect() };
    let (begin, now) = (end - 400, now() as u32);
    let until_now = OpenMetrics::new()
        .series("x", &[("pod", "a")], &samples(begin..now))
        .series("x", &[("pod", "b")], &samples(begin..end + 1));
    [
        until_now,
        OpenMetrics::new().series("x", &[("pod", "a")], &samples(now..now + 300)),
    ]
}

/// With samples of the next minutes, which it shows when their time comes.
fn victoria_metrics(end: u32, latency: &str) -> VictoriaMetrics {
    let builder = VictoriaMetrics::builder().flag(format!("-search.latencyOffset={latency}"));
    let server = builder.start().unwrap();
    let [until_now, later] = data(end);
    let path = "/api/v1/import/prometheus";
    http::post(server.addr(), path, later.to_prometheus_text().as_bytes()).unwrap();
    server.import(&until_now).unwrap();
    server
}

/// Ages of the rows of each query, in the order of their labels, `latency` seconds after which a sample is seen.
async fn ages_are_those_of_the_samples(backend: &PrometheusBackend, end: u32, latency: f64) {
    // Of the pod that goes on, and of the other one; if it is asked for some time ago.
    let check = async |text: &str, expected: &[(f64, AgeKind)]| {
        let answer = ask(backend, text).await;
        let had = now();
        let mut told: Vec<_> = (answer.series().enumerate())
            .map(|(row, series)| (series.labels().to_string(), age(&answer, row)))
            .collect();
        told.sort_by(|a, b| a.0.cmp(&b.0));
        let warnings: Vec<_> = answer.warnings().collect();
        assert_eq!(told.len(), expected.len(), "{text}: {told:?} {warnings:?}");
        for ((labels, told), (expected, kind)) in told.iter().zip(expected) {
            assert_eq!(told.kind(), *kind, "{text}: {labels} {warnings:?}");
            let seconds = told.duration().map_or(f64::NAN, |age| age.as_secs_f64());
            // What has ended is known by when it did.
            let expected = if *expected > 0.0 {
                *expected
            } else {
                had - f64::from(end) + *expected
            };
            assert!(
                (seconds - expected).abs() < SLACK,
                "{text}: {labels} {seconds}, not {expected}"
            );
            assert!(!told.is_ended(), "{text}: {labels}");
        }
        assert_eq!(answer.series().len(), answer.len());
        answer
    };
    use AgeKind::{AtMost, Exact};
    let fresh = (latency.max(0.1), Exact);
    let old = (-0.0, Exact);
    let both = [fresh, old];
    let answer = check("x", &both).await;
    // The value itself says when it was taken.
    let taken = answer.values().map(|value| value.value).fold(f64::NAN, f64::max);
    assert!((now() - taken - latency).abs() < SLACK, "{answer:?}");
    check("-x * 2", &both).await;
    check("sum(x)", &[old]).await;
    check("max by (pod) (x > 0)", &both).await;
    check("max_over_time(x[4m])", &both).await;
    check("sum(rate(x[4m]))", &[old]).await;
    check("x{pod='a'} or x{pod='b'}", &both).await;
    check("x{pod='a'} + on () x{pod='b'}", &[old]).await;
    check("scalar(x{pod='b'}) + x{pod='a'}", &[old]).await;
    check("label_replace(x, 'who', '$1', 'pod', '(.*)')", &both).await;
    // Asked for the time when it went on.
    check("x offset 2m", &[fresh, fresh]).await;
    // 30 seconds after its end, or as late as the server sees it.
    check("x{pod='b'} offset 30s", &[(-30.0, Exact)]).await;
    check("count_values('v', x)", &[(-0.0, AtMost), (-0.0, AtMost)]).await;
    let answer = ask(backend, "vector(1)").await;
    assert_eq!(age(&answer, 0), Age::AGELESS);
    let answer = ask(backend, "y or vector(1)").await;
    assert_eq!(age(&answer, 0), Age::AGELESS);
    assert_eq!(answer.provenance().unwrap().branch(0), Some(1));
    let interval = answer.provenance().unwrap().sample_interval();
    assert_eq!(interval, None, "nothing is known of what is not there");
    let interval = ask(backend, "x")
        .await
        .provenance()
        .unwrap()
        .sample_interval()
        .unwrap();
    assert!((0.9..1.1).contains(&interval.as_secs_f64()), "{interval:?}");
}

fn a_while_ago() -> u32 {
    now() as u32 - 100
}

async fn prometheus_tells_ages(builder: Builder) {
    let end = a_while_ago();
    let [until_now, later] = data(end);
    let server = builder.data(&until_now).data(&later).start().unwrap();
    ages_are_those_of_the_samples(&backend(server.url()), end, 0.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ages_of_prometheus_are_those_of_its_samples() {
    prometheus_tells_ages(Prometheus::builder()).await;
}

/// Of one of the environment variables by which the test command tells where Prometheus 3 is.
fn prometheus_3(variable: &str) -> PathBuf {
    let path = std::env::var_os(variable).filter(|path| !path.is_empty());
    let path = path.unwrap_or_else(|| {
        panic!("{variable} is not set: `cargo xtask test` gets Prometheus 3 where it can")
    });
    path.into()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Prometheus 3"]
async fn ages_of_prometheus_3_are_those_of_its_samples() {
    let builder = Prometheus::builder()
        .program(prometheus_3("FLEETGAUGE_PROMETHEUS_3"))
        .promtool(prometheus_3("FLEETGAUGE_PROMTOOL_3"));
    prometheus_tells_ages(builder).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ages_of_victoria_metrics_are_those_of_its_samples() {
    let end = a_while_ago();
    let server = victoria_metrics(end, "0s");
    ages_are_those_of_the_samples(&backend(server.url()), end, 0.0).await;
}

/// By default it does not show what is younger than 30 seconds.
#[tokio::test(flavor = "multi_thread")]
async fn ages_of_victoria_metrics_tell_what_it_holds_back() {
    let end = a_while_ago();
    let server = victoria_metrics(end, "30s");
    ages_are_those_of_the_samples(&backend(server.url()), end, 30.0).await;
}

/// Asks until `is_wanted`.
async fn until(backend: &PrometheusBackend, text: &str, is_wanted: impl Fn(&Answer) -> bool) -> Answer {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = ask(backend, text).await;
        if is_wanted(&answer) {
            return answer;
        }
        assert!(Instant::now() < deadline, "{text}: {answer:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_stopped_target_leaves_behind_has_ended_and_grows_old() {
    let target = FaultyServer::start([Page::text("x_total 5\n")]).unwrap();
    let server = Prometheus::builder()
        .scrape("pods", target.addr(), Duration::from_secs(1), &[("pod", "a")])
        .start()
        .unwrap();
    let backend = backend(server.url());
    let rate = "sum by (pod) (rate(x_total[1m]))";
    let live = until(&backend, rate, |answer| !answer.is_no_data()).await;
    let told = age(&live, 0);
    assert_eq!((told.kind(), told.is_ended()), (AgeKind::Exact, false));
    assert!(told.duration().unwrap().as_secs_f64() < 1.0 + SLACK, "{told:?}");

    // The companion's steps are three seconds apart: of what is shorter, none may tell.
    until(&backend, "count_over_time(x_total[1m]) > 6", |answer| {
        !answer.is_no_data()
    })
    .await;
    drop(target);
    let stopped = now();
    // Prometheus notices by the next scrape.
    let gone = until(&backend, "x_total", Answer::is_no_data).await;
    assert!(gone.is_complete());
    let mut before = 0.0;
    for least in [2.0, 6.0] {
        let is_old = |answer: &Answer| {
            age(answer, 0)
                .duration()
                .is_some_and(|age| age.as_secs_f64() > least)
        };
        let ended = until(&backend, rate, is_old).await;
        let (told, since) = (age(&ended, 0), now() - stopped);
        assert!(told.is_ended(), "{told:?}");
        // It may seem older by the scrape before the end, and by a step of the companion.
        let seconds = told.duration().unwrap().as_secs_f64();
        assert!(
            seconds > since - SLACK && seconds < since + 1.0 + 3.0 + SLACK,
            "{seconds} of {since}"
        );
        assert!(seconds > before);
        before = seconds;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_age_of_what_prometheus_records_is_a_lower_bound() {
    let end = a_while_ago();
    let dir = tempfile::tempdir().unwrap();
    let rules = dir.path().join("rules.yml");
    let text = "groups: [{name: g, interval: 1s, rules: [{record: 'x:sum', expr: 'sum(x)'}]}]\n";
    std::fs::write(&rules, text).unwrap();
    let config = format!("rule_files: ['{}']\n", rules.display());
    let server = Prometheus::builder()
        .data(&data(end)[0])
        .config(config)
        .start()
        .unwrap();
    server.wait_for("x:sum").unwrap();
    let backend = backend(server.url());
    for (text, kind) in [
        ("x:sum", AgeKind::AtLeast),
        ("sum(x:sum + on () sum(x))", AgeKind::AtLeast),
        ("{__name__=~'x:.*'}", AgeKind::AtLeast),
        ("sum(x)", AgeKind::Exact),
    ] {
        let told = age(&ask(&backend, text).await, 0);
        assert_eq!(told.kind(), kind, "{text}");
        assert!(told.duration().is_some());
    }
}
