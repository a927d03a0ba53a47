//! Against real servers: Debian's Prometheus and VictoriaMetrics, as processes on loopback.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fleetgauge::prometheus::{PrometheusBackend, PrometheusSource, PrometheusSourceConfig};
use fleetgauge_core::backend::{self, Backend, FetchError};
use fleetgauge_core::query::{QueryTemplate, QueryType, Shape};
use fleetgauge_core::result::{Answer, AnswerKind, AnswerStatus};
use fleetgauge_core::sample::Stamp;
use fleetgauge_core::source::{MetricsSource, RefreshSpec};
use fleetgauge_core::time::Timestamp;
use fleetgauge_testkit::prometheus::{BASIC_AUTH, BASIC_AUTH_WEB_CONFIG};
use fleetgauge_testkit::tls::Server;
use fleetgauge_testkit::{Certificates, OpenMetrics, Prometheus, VictoriaMetrics};

fn now() -> u32 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u32::try_from(now.as_secs()).unwrap()
}

/// Two pods, one of which has no number for its cache.
fn data() -> OpenMetrics {
    let range = (now() - 600, now(), 15);
    OpenMetrics::new()
        .steady("vllm:num_requests_waiting", &[("pod", "a")], 3.0, range)
        .steady("vllm:num_requests_waiting", &[("pod", "b \"ü\"\n")], 0.5, range)
}

fn request(query_type: QueryType, text: &str) -> backend::Request {
    backend::Request::new("q".parse().unwrap(), query_type, text, Duration::from_secs(30))
}

async fn ask(backend: &PrometheusBackend, query_type: QueryType, text: &str) -> Result<Answer, FetchError> {
    backend.fetch(&request(query_type, text)).await
}

fn values(answer: &Answer) -> Vec<(String, f64)> {
    let mut values: Vec<_> = answer.values().map(|v| (v.labels.to_string(), v.value)).collect();
    values.sort_by(|a, b| a.0.cmp(&b.0));
    values
}

/// What both servers answer alike.
async fn common(backend: &PrometheusBackend) {
    let check = async |query_type, text: &str, expected: &[(&str, f64)]| {
        let answer = ask(backend, query_type, text).await.unwrap();
        let expected: Vec<_> = expected.iter().map(|(l, v)| ((*l).to_owned(), *v)).collect();
        assert_eq!(values(&answer), expected, "{text}");
        for value in answer.values() {
            let age = Timestamp::from(SystemTime::now()).saturating_since(value.timestamp);
            assert!(age < Duration::from_secs(60), "{text}: {value}");
            assert_eq!(value.stamp, Stamp::Evaluated);
        }
        answer
    };
    let waiting = "vllm:num_requests_waiting";
    let both: &[_] = &[
        (r#"vllm:num_requests_waiting{pod="a"}"#, 3.0),
        (r#"vllm:num_requests_waiting{pod="b \"ü\"\n"}"#, 0.5),
    ];
    check(QueryType::PromQl, waiting, both).await;
    check(QueryType::MetricName, waiting, both).await;
    let a_only = &[(r#"{pod="a"}"#, 3.0)];
    check(
        QueryType::PromQl,
        r#"max by (pod) (vllm:num_requests_waiting{pod="a"})"#,
        a_only,
    )
    .await;
    check(QueryType::PromQl, "1 + 1", &[("{}", 2.0)]).await;
    check(QueryType::PromQl, "vector(1) / 0", &[("{}", f64::INFINITY)]).await;
    let nothing = check(QueryType::PromQl, "no_such_metric", &[]).await;
    assert_eq!(nothing.status(), AnswerStatus::NoData);
    let nothing = check(QueryType::MetricName, "no such metric", &[]).await;
    assert_eq!(nothing.status(), AnswerStatus::NoData);

    // A query fits that is too long for many a proxy's URLs, since it is posted.
    let long = vec![r#"vllm:num_requests_waiting{pod="a"}"#; 300].join(" or ");
    check(QueryType::PromQl, &long, &both[..1]).await;
}

/// A range is answered at multiples of its step.
async fn range(backend: &PrometheusBackend) {
    let (window, step) = (Duration::from_secs(60), Duration::from_secs(20));
    let range = request(QueryType::PromQl, "sum(vllm:num_requests_waiting)");
    let range = backend
        .fetch(&range.with_shape(Shape::Range { window, step }))
        .await
        .unwrap();
    assert_eq!(
        (range.kind(), range.stamp()),
        (AnswerKind::Matrix, Stamp::Evaluated)
    );
    let times: Vec<_> = range.values().map(|value| value.timestamp.as_millis()).collect();
    assert_eq!(times.len(), 4, "{range:?}");
    assert!(times.iter().all(|time| time % 20_000 == 0), "{times:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_answers() {
    let server = Prometheus::builder().data(&data()).start().unwrap();
    let backend = PrometheusBackend::new(&PrometheusSourceConfig::new(server.url())).unwrap();
    common(&backend).await;

    let undefined = ask(&backend, QueryType::PromQl, "0 * (vector(1) / 0)")
        .await
        .unwrap();
    assert!(undefined.values().next().unwrap().is_undefined());

    let string = ask(&backend, QueryType::PromQl, r#""some text""#).await.unwrap();
    assert_eq!((string.text(), string.len()), (Some("some text"), 0));

    let matrix = ask(&backend, QueryType::PromQl, "vllm:num_requests_waiting[1m]")
        .await
        .unwrap();
    assert_eq!((matrix.kind(), matrix.series().len()), (AnswerKind::Matrix, 2));
    assert!(matrix.series().all(|series| series.len() >= 3), "{matrix:?}");
    for value in matrix.values() {
        // Every 15 seconds, so never the time of evaluation but by chance.
        let age = Timestamp::from(SystemTime::now()).saturating_since(value.sampled_at().unwrap());
        assert!(age < Duration::from_secs(75), "{value}");
        assert_eq!(value.timestamp.as_millis() % 1000, 0);
    }

    range(&backend).await;

    match ask(&backend, QueryType::PromQl, "sum(").await {
        Err(FetchError::Rejected { kind, message }) => {
            assert_eq!(kind, "bad_data");
            assert!(message.contains("parse error"), "{message}");
        }
        other => panic!("{other:?}"),
    }
    match ask(
        &backend,
        QueryType::PromQl,
        "vllm:num_requests_waiting + on () group_left () vllm:num_requests_waiting",
    )
    .await
    {
        Err(FetchError::Rejected { kind, message }) => {
            assert_eq!(kind, "execution");
            assert!(message.contains("many-to-many"), "{message}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn victoria_metrics_answers() {
    let server = VictoriaMetrics::start().unwrap();
    server.import(&data()).unwrap();
    let backend = PrometheusBackend::new(&PrometheusSourceConfig::new(server.url())).unwrap();
    common(&backend).await;
    // It has a path for each tenant's Prometheus API in a cluster, and this one on a single node.
    let prefixed = PrometheusSourceConfig::new(format!("{}/prometheus/", server.url()));
    common(&PrometheusBackend::new(&prefixed).unwrap()).await;
    range(&backend).await;

    match ask(&backend, QueryType::PromQl, "sum(").await {
        Err(FetchError::Rejected { message, .. }) => assert!(message.contains("sum("), "{message}"),
        other => panic!("{other:?}"),
    }
}

/// Labels, times and bits of the values.
fn points(answer: &Answer) -> Vec<(String, Vec<(i64, u64)>)> {
    let series = answer.series().map(|series| {
        let points = series.points();
        let points = points.map(|point| (point.timestamp.as_millis(), point.value.to_bits()));
        (series.labels().to_string(), points.collect())
    });
    series.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_that_is_refreshed_step_by_step_is_what_one_query_answers() {
    // Samples of the next two minutes are there already: a step sees those up to its own time.
    let samples = |gap: u32| -> Vec<_> {
        let times = (now() - 300..now() + 120).filter(|at| at / 7 % gap > 0);
        times
            .map(|at| (f64::from(at), f64::from(at % 1009 * 31 % 97)))
            .collect()
    };
    let data = OpenMetrics::new()
        .series("requests", &[("pod", "a")], &samples(1000))
        .series("requests", &[("pod", "b")], &samples(2))
        .series("requests", &[("pod", "c")], &samples(5));
    let server = Prometheus::builder().data(&data).start().unwrap();
    let mut config = PrometheusSourceConfig::new(server.url());
    config.range.overlap = Duration::from_secs(2);
    let source = PrometheusSource::new(config).unwrap();
    for (name, text) in [
        ("plain", "requests"),
        ("rate", "sum by (pod) (rate(requests[10s] offset 3s))"),
        ("some", "requests > 50"),
        ("subquery", "max_over_time(requests[20s:3s]) - 1"),
        ("end", "requests @ end()"),
    ] {
        source
            .query_list()
            .must_register(QueryTemplate::promql(name, text));
    }
    let (window, step) = (Duration::from_secs(30), Duration::from_secs(1));
    let mut ends = Vec::new();
    while ends.len() < 4 {
        let results = source.refresh_range(RefreshSpec::all(), window, step).await;
        for (name, outcome) in results.iter() {
            let result = outcome.as_ref().unwrap();
            let end = result.steps().unwrap().end();
            if ends.last() != Some(&end) {
                ends.push(end);
            }
            let whole = RefreshSpec::queries([name]).range(window, step).at(end);
            let whole = source.refresh(whole).await[name].clone().unwrap();
            assert_eq!(points(result.answer()), points(whole.answer()), "{name}");
            assert!(!whole.is_no_data(), "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warning_of_prometheus_is_kept() {
    // A remote store that cannot be reached makes an answer that may be incomplete.
    let config = "remote_read: [{url: 'http://127.0.0.1:1/read', read_recent: true}]\n";
    let server = Prometheus::builder()
        .data(&data())
        .config(config)
        .start()
        .unwrap();
    let backend = PrometheusBackend::new(&PrometheusSourceConfig::new(server.url())).unwrap();
    let answer = ask(&backend, QueryType::PromQl, "vllm:num_requests_waiting")
        .await
        .unwrap();
    assert_eq!(answer.len(), 2);
    let warnings: Vec<_> = answer.warnings().collect();
    assert!(
        warnings.len() == 1 && warnings[0].contains("127.0.0.1:1"),
        "{warnings:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_prefix_is_part_of_the_url() {
    let server = Prometheus::builder()
        .data(&data())
        .route_prefix("/monitoring")
        .start()
        .unwrap();
    let at = |path: &str| {
        let url = format!("http://{}{path}", server.addr());
        PrometheusBackend::new(&PrometheusSourceConfig::new(url)).unwrap()
    };
    for path in ["/monitoring", "/monitoring/"] {
        common(&at(path)).await;
    }
    match ask(&at(""), QueryType::PromQl, "up").await {
        Err(FetchError::Rejected { kind, message }) => {
            assert_eq!(kind, "http_404");
            assert!(
                message.contains("is the path prefix of the URL right?"),
                "{message}"
            );
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_costs_no_query_and_a_hang_only_its_own() {
    let server = Prometheus::builder().data(&data()).start().unwrap();
    let backend = PrometheusBackend::new(&PrometheusSourceConfig::new(server.url())).unwrap();
    let text = "count(vllm:num_requests_waiting)";
    let two = |answer: Answer| answer.values().next().unwrap().value;
    assert_eq!(two(ask(&backend, QueryType::PromQl, text).await.unwrap()), 2.0);
    // The connection of the first query is dead by now, and is not used for the next.
    let server = server.restart().unwrap();
    assert_eq!(two(ask(&backend, QueryType::PromQl, text).await.unwrap()), 2.0);

    server.pause().unwrap();
    let short = Duration::from_millis(300);
    let query = backend::Request::new("q".parse().unwrap(), QueryType::PromQl, text, short);
    let error = backend.fetch(&query).await.unwrap_err();
    assert!(
        matches!(error, FetchError::Timeout { after } if after == short),
        "{error}"
    );
    server.resume().unwrap();
    assert_eq!(two(ask(&backend, QueryType::PromQl, text).await.unwrap()), 2.0);
}

/// Connections of this process to `server`, by the kernel's table.
fn connections(server: SocketAddr) -> usize {
    const ESTABLISHED: &str = "01";
    let remote = format!("0100007F:{:04X}", server.port());
    let table = fs::read_to_string("/proc/self/net/tcp").unwrap();
    let rows = table
        .lines()
        .skip(1)
        .map(|row| row.split_whitespace().collect::<Vec<_>>());
    rows.filter(|row| row[2] == remote && row[3] == ESTABLISHED)
        .count()
}

fn ten_queries(config: PrometheusSourceConfig) -> PrometheusSource {
    let source = PrometheusSource::new(config).unwrap();
    for i in 0..10 {
        let template = QueryTemplate::promql(format!("q{i}"), format!("vllm:num_requests_waiting + {i}"));
        source.query_list().register(template).unwrap();
    }
    source
}

#[tokio::test(flavor = "multi_thread")]
async fn over_plain_http_ten_queries_share_at_most_ten_connections() {
    let server = Prometheus::builder().data(&data()).start().unwrap();
    let source = ten_queries(PrometheusSourceConfig::new(server.url()));
    for _ in 0..3 {
        assert!(source.refresh(RefreshSpec::all()).await.is_complete());
        let open = connections(server.addr());
        assert!((1..=10).contains(&open), "{open}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_http2_and_a_password() {
    let certificates = Certificates::generate().unwrap();
    let identity = certificates.server(Server::Valid).unwrap();
    let web = format!(
        "tls_server_config:\n  cert_file: {}\n  key_file: {}\n{BASIC_AUTH_WEB_CONFIG}",
        identity.cert.display(),
        identity.key.display()
    );
    let server = Prometheus::builder()
        .data(&data())
        .web_config(web)
        .start()
        .unwrap();
    let config =
        || PrometheusSourceConfig::new(format!("https://{}", server.addr())).with_ca_file(certificates.ca());
    let without = PrometheusBackend::new(&config()).unwrap();
    let error = ask(&without, QueryType::PromQl, "up").await.unwrap_err();
    assert!(
        matches!(error, FetchError::Unauthorized { status: 401, .. }),
        "{error}"
    );

    let source = ten_queries(config().with_basic_auth(BASIC_AUTH.0, BASIC_AUTH.1));
    common(source.backend()).await;
    drop(without);
    for _ in 0..3 {
        assert!(source.refresh(RefreshSpec::all()).await.is_complete());
    }
    // HTTP/2 carries them all at once: one connection, beside the one that was refused and may still close.
    assert!(connections(server.addr()) <= 2, "{}", connections(server.addr()));
}
