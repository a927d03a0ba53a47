//! Native histograms: which formats are asked for, what is kept, and what queries make of it.
#![allow(clippy::unwrap_used, missing_docs)]

use std::sync::Arc;
use std::time::Duration;

use fleetgauge::scrape::{ScrapeConfig, ScrapeProtocol, ScrapeSource, TargetHealth};
use fleetgauge::target::StaticTargets;
use fleetgauge::{MetricsSource, QueryTemplate, RefreshSpec};
use fleetgauge_testkit::{Answer, FaultyServer};
use prost::Message;

const PROTOBUF: &str =
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";

#[derive(Clone, PartialEq, Message)]
struct Family {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(int32, tag = "3")]
    metric_type: i32,
    #[prost(message, repeated, tag = "4")]
    metric: Vec<Metric>,
}

#[derive(Clone, PartialEq, Message)]
struct Metric {
    #[prost(message, optional, tag = "2")]
    gauge: Option<Gauge>,
    #[prost(message, optional, tag = "7")]
    histogram: Option<Histogram>,
}

#[derive(Clone, PartialEq, Message)]
struct Gauge {
    #[prost(double, tag = "1")]
    value: f64,
}

#[derive(Clone, PartialEq, Message)]
struct Histogram {
    #[prost(uint64, tag = "1")]
    sample_count: u64,
    #[prost(double, tag = "2")]
    sample_sum: f64,
    #[prost(message, repeated, tag = "3")]
    bucket: Vec<Bucket>,
    #[prost(sint32, tag = "5")]
    schema: i32,
    #[prost(message, repeated, tag = "12")]
    positive_span: Vec<Span>,
    #[prost(sint64, repeated, tag = "13")]
    positive_delta: Vec<i64>,
}

#[derive(Clone, PartialEq, Message)]
struct Bucket {
    #[prost(uint64, tag = "1")]
    cumulative_count: u64,
    #[prost(double, tag = "2")]
    upper_bound: f64,
}

#[derive(Clone, PartialEq, Message)]
struct Span {
    #[prost(sint32, tag = "1")]
    offset: i32,
    #[prost(uint32, tag = "2")]
    length: u32,
}

/// A page with a gauge, and a histogram in both forms that has observed `count` values in (1, 2], and as many in (2, 4].
fn page(count: u64, of_buckets: i64) -> Vec<u8> {
    let histogram = Histogram {
        sample_count: 2 * count,
        sample_sum: 5.0 * count as f64,
        bucket: vec![Bucket {
            cumulative_count: count,
            upper_bound: 2.0,
        }],
        schema: 0,
        positive_span: vec![Span { offset: 1, length: 2 }],
        positive_delta: vec![of_buckets, 0],
    };
    let gauge = Metric {
        gauge: Some(Gauge { value: 7.0 }),
        histogram: None,
    };
    let histogram = Metric {
        gauge: None,
        histogram: Some(histogram),
    };
    let families = [("g", 1, gauge), ("h", 4, histogram)].map(|(name, metric_type, metric)| Family {
        name: name.to_owned(),
        metric_type,
        metric: vec![metric],
    });
    families
        .iter()
        .flat_map(Family::encode_length_delimited_to_vec)
        .collect()
}

/// A target that has native histograms for who asks for Protocol Buffers first.
fn target(page: Vec<u8>) -> FaultyServer {
    let answer = Answer::choose(move |request| {
        let accept = request.header("accept").unwrap_or_default();
        match accept.starts_with("application/vnd.google.protobuf") {
            true => Answer::respond(200, &[("Content-Type", PROTOBUF)], &page),
            false => Answer::text("g 7\nh_count 8\nh_sum 20\nh_bucket{le=\"+Inf\"} 8\n"),
        }
    });
    FaultyServer::start([answer]).unwrap()
}

fn start(config: ScrapeConfig, server: &FaultyServer) -> ScrapeSource {
    let pods = StaticTargets::new([server.addr().to_string()]);
    ScrapeSource::start(config, [Arc::new(pods) as _]).unwrap()
}

fn config() -> ScrapeConfig {
    ScrapeConfig::new("vllm").with_interval(Duration::from_secs(1))
}

/// The value of a query's only series; none if it has none; or its error.
async fn ask(source: &ScrapeSource, promql: &str) -> String {
    let name = format!("q{}", source.query_list().len());
    let query = QueryTemplate::promql(&name, promql);
    source.query_list().register(query).unwrap();
    let results = source.refresh(RefreshSpec::queries([&*name])).await;
    match &results[&*name] {
        Err(error) => format!("error: {}", error.fetch_error().unwrap()),
        Ok(result) => {
            assert!(
                result.is_complete(),
                "{promql}: {:?}",
                result.warnings().collect::<Vec<_>>()
            );
            let values: Vec<_> = result.values().map(|value| value.value.to_string()).collect();
            values.join(" ")
        }
    }
}

#[tokio::test]
async fn native_histograms_are_kept_where_they_are_wanted() {
    let server = target(page(4, 4));
    let source = start(config().with_scrape_native_histograms(true), &server);
    assert_eq!(ask(&source, "g").await, "7");
    assert_eq!(ask(&source, "histogram_count(h)").await, "8");
    assert_eq!(ask(&source, "histogram_sum(h)").await, "20");
    assert_eq!(ask(&source, "histogram_quantile(0.5, h)").await, "2");
    // Of a histogram that is native, the classic buckets are left out.
    assert_eq!(ask(&source, "h_count").await, "");
    assert_eq!(ask(&source, "scrape_samples_scraped").await, "2");
    let status = &source.targets()[0];
    assert_eq!((status.health, status.samples), (TargetHealth::Up, 2));

    let both = config()
        .with_scrape_native_histograms(true)
        .with_always_scrape_classic_histograms(true);
    let source = start(both, &server);
    assert_eq!(ask(&source, "histogram_count(h)").await, "8");
    assert_eq!(ask(&source, "h_count").await, "8");
    assert_eq!(ask(&source, "h_bucket{le=\"2.0\"}").await, "4");
}

#[tokio::test]
async fn by_default_a_histogram_has_its_classic_buckets() {
    let server = target(page(4, 4));
    let source = start(config(), &server);
    assert_eq!(ask(&source, "h_count").await, "8");
    assert_eq!(ask(&source, "histogram_count(h)").await, "");
    let accept = server.requests()[0].header("accept").unwrap().to_owned();
    assert!(!accept.contains("protobuf"), "{accept}");

    // Asked for by name, the format alone changes nothing.
    let protocols = vec![
        ScrapeProtocol::PrometheusProto,
        ScrapeProtocol::OpenMetricsText100,
    ];
    let source = start(config().with_scrape_protocols(protocols), &server);
    assert_eq!(ask(&source, "h_count").await, "8");
    assert_eq!(ask(&source, "h_bucket{le=\"2.0\"}").await, "4");
    assert_eq!(ask(&source, "histogram_count(h)").await, "");
}

#[tokio::test]
async fn a_histogram_that_is_broken_is_missed_and_costs_nothing_else() {
    let server = target(page(4, 5));
    let source = start(config().with_scrape_native_histograms(true), &server);
    assert_eq!(ask(&source, "g").await, "7");
    let name = "broken";
    let query = QueryTemplate::promql(name, "histogram_count(h)");
    source.query_list().register(query).unwrap();
    let results = source.refresh(RefreshSpec::queries([name])).await;
    let error = results[name].as_ref().unwrap_err().to_string();
    let says = "10 observations in the buckets, and a count of 8";
    assert!(error.contains(says), "{error}");
    let problem = source.targets()[0].problem.clone().unwrap();
    assert!(problem.contains(says), "{problem}");
}

#[tokio::test]
async fn a_page_whose_end_nothing_tells_is_refused() {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {PROTOBUF}\r\n\r\n");
    let whole = [head.as_bytes(), &page(4, 4)].concat();
    let server = FaultyServer::start([Answer::raw(whole)]).unwrap();
    let source = start(config().with_scrape_native_histograms(true), &server);
    let error = ask(&source, "g").await;
    assert!(error.contains("the page may be cut off"), "{error}");
    // One that ends within a message, too.
    let mut cut = page(4, 4);
    cut.pop();
    let server = target(cut);
    let source = start(config().with_scrape_native_histograms(true), &server);
    let error = ask(&source, "g").await;
    assert!(error.contains("it ends within a message"), "{error}");
}
