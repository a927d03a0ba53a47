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

/// What [`page`] says, in OpenMetrics 2.0.
const OPEN_METRICS_2: &str = "# TYPE g gauge\ng 7\n# TYPE h histogram\nh {count:8,sum:20,schema:0,zero_threshold:0,zero_count:0,\
                              positive_spans:[1:2],positive_buckets:[4,4],bucket:[2.0:4,+Inf:8]} st@1700000000\n\
                              # TYPE k gaugehistogram\nk {gcount:3,gsum:5,bucket:[1:3,+Inf:3]}\n# EOF\n";

fn target_2(page: &str) -> FaultyServer {
    let content_type = "application/openmetrics-text; version=2.0.0; charset=utf-8";
    FaultyServer::start([Answer::respond(200, &[("Content-Type", content_type)], page)]).unwrap()
}

#[tokio::test]
async fn openmetrics_2_is_the_same_where_it_is_asked_for() {
    let queries = [
        "g",
        "histogram_count(h)",
        "histogram_quantile(0.75, h)",
        "h_count",
        "h_bucket{le=\"2.0\"}",
    ];
    let (of_messages, of_text) = (target(page(4, 4)), target_2(OPEN_METRICS_2));
    for native in [false, true] {
        for always in [false, true] {
            let config = config()
                .with_scrape_native_histograms(native)
                .with_always_scrape_classic_histograms(always);
            let by = |protocol, server| start(config.clone().with_scrape_protocols(vec![protocol]), server);
            let by_messages = by(ScrapeProtocol::PrometheusProto, &of_messages);
            let by_text = by(ScrapeProtocol::OpenMetricsText200, &of_text);
            for query in queries {
                let expected = ask(&by_messages, query).await;
                assert_eq!(ask(&by_text, query).await, expected, "{query} {native} {always}");
            }
            assert_eq!(by_text.targets()[0].problem, None);
        }
    }
    let asked = of_text.requests()[0].header("accept").unwrap().to_owned();
    let expected = "application/openmetrics-text;version=2.0.0;escaping=allow-utf-8;q=0.7,*/*;q=0.6";
    assert_eq!(asked, expected);

    let protocols = vec![ScrapeProtocol::OpenMetricsText200];
    let source = start(converting().with_scrape_protocols(protocols), &of_text);
    assert_eq!(ask(&source, "histogram_count(h)").await, "8");
    assert_eq!(ask(&source, "histogram_sum(k)").await, "5");
    assert_eq!(ask(&source, "k_gcount").await, "");
}

#[tokio::test]
async fn openmetrics_2_that_was_not_asked_for_is_refused() {
    let server = target_2(OPEN_METRICS_2);
    let error = ask(&start(config(), &server), "g").await;
    assert!(
        error.contains("`scrape_protocols` has OpenMetricsText2.0.0"),
        "{error}"
    );
    let fallback = config().with_fallback_scrape_protocol(ScrapeProtocol::OpenMetricsText100);
    let source = start(fallback, &server);
    assert_eq!(ask(&source, "g").await, "7");
    let problem = source.targets()[0].problem.clone().unwrap();
    assert!(problem.contains("2 bad lines, the first: line 4"), "{problem}");
}

#[tokio::test]
async fn a_line_that_is_a_whole_histogram_is_missed_whole() {
    let server = target_2(&OPEN_METRICS_2.replace("+Inf:8", "+Inf"));
    let protocols = vec![ScrapeProtocol::OpenMetricsText200];
    let source = start(config().with_scrape_protocols(protocols), &server);
    assert_eq!(ask(&source, "g").await, "7");
    let error = ask(&source, "h_count").await;
    assert!(
        error.contains("line 4, column 116: not a composite value: expected \":\""),
        "{error}"
    );
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

/// A number of one pod looks like that of both.
#[tokio::test]
async fn an_answer_without_the_pods_of_another_kind_is_incomplete() {
    let native = target(page(4, 4));
    let number = FaultyServer::start([Answer::text("h 5\nonly 5\n")]).unwrap();
    let pods = StaticTargets::new([&native, &number].map(|server| server.addr().to_string()));
    let config = config().with_scrape_native_histograms(true);
    let source = ScrapeSource::start(config, [Arc::new(pods) as _]).unwrap();
    assert_eq!(ask(&source, "count(h)").await, "2");
    for (promql, value, says) in [
        ("sum(histogram_count(h))", Some(8.0), "numbers are left out"),
        ("max(h)", Some(5.0), "ignored histogram in max aggregation"),
        ("sum(abs(h))", Some(5.0), "native histograms are left out"),
        ("sum(h)", None, "a mix of histograms and floats"),
        ("histogram_count(only)", None, "numbers are left out"),
    ] {
        let name = format!("q{}", source.query_list().len());
        source
            .query_list()
            .register(QueryTemplate::promql(&name, promql))
            .unwrap();
        let results = source.refresh(RefreshSpec::queries([&*name])).await;
        match (value, &results[&*name]) {
            (Some(value), Ok(result)) => {
                assert_eq!(result.values().next().unwrap().value, value, "{promql}");
                let warnings: Vec<_> = result.warnings().collect();
                assert!(
                    !result.is_complete() && warnings.concat().contains(says),
                    "{promql}: {warnings:?}"
                );
            }
            // Nothing at all is no answer, and not "no data".
            (None, Err(error)) => assert!(error.to_string().contains(says), "{promql}: {error}"),
            (_, result) => panic!("{promql}: {result:?}"),
        }
    }
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

/// A page of text with a gauge, and the histograms `h`, with these lines, and `k`, which is whole.
fn classic_page(lines: &str) -> String {
    format!(
        "# TYPE g gauge\ng 7\n# TYPE h histogram\n{lines}# TYPE k histogram\n\
         k_bucket{{le=\"+Inf\"}} 3\nk_sum 6\nk_count 3\n"
    )
}

fn converting() -> ScrapeConfig {
    config().with_convert_classic_histograms_to_nhcb(true)
}

/// What a source that converts says of a page of text.
async fn converted(config: ScrapeConfig, page: &str, queries: &[(&str, &str)]) {
    let server = FaultyServer::start([Answer::text(page)]).unwrap();
    let source = start(config, &server);
    for (promql, expected) in queries {
        assert_eq!(ask(&source, promql).await, *expected, "{promql} of {page}");
    }
    assert_eq!(source.targets()[0].problem, None, "{page}");
}

#[tokio::test]
async fn classic_histograms_are_converted_where_that_is_wanted() {
    // The parts of two, mixed and in no order.
    let page = classic_page(
        "h_bucket{pod=\"a\",le=\"2\"} 6\nh_count{pod=\"b\"} 1\nh_bucket{pod=\"a\",le=\"1\"} 2\n\
         h_sum{pod=\"a\"} 11\nh_bucket{le=\"1\",pod=\"b\"} 1\nh_count{pod=\"a\"} 8\nh_sum{pod=\"b\"} 0.5\n\
         h_bucket{le=\"+Inf\",pod=\"a\"} 8\nh_bucket{le=\"+Inf\",pod=\"b\"} 1\n",
    );
    let native = [
        ("histogram_count(h{pod=\"a\"})", "8"),
        ("histogram_sum(h{pod=\"a\"})", "11"),
        ("histogram_quantile(0.5, h{pod=\"a\"})", "1.5"),
        ("histogram_count(h{pod=\"b\"})", "1"),
        ("histogram_count(sum(h))", "9"),
        ("histogram_avg(k)", "2"),
        ("g", "7"),
    ];
    let left_out = [
        ("h_bucket", ""),
        ("h_count", ""),
        ("k_sum", ""),
        ("scrape_samples_scraped", "4"),
    ];
    converted(converting(), &page, &[&native[..], &left_out].concat()).await;
    let kept = [
        ("h_count{pod=\"a\"}", "8"),
        ("h_bucket{pod=\"a\", le=\"2.0\"}", "6"),
        ("k_sum", "6"),
        ("scrape_samples_scraped", "16"),
    ];
    let both = converting().with_always_scrape_classic_histograms(true);
    converted(both, &page, &[&native[..], &kept].concat()).await;
    // Those alone that are wanted, and by the name that they then have.
    let wanted = converting().with_wanted(["h", "k_sum"]);
    let queries = [("histogram_count(sum(h))", "9"), ("k_sum", "6")];
    converted(wanted, &page, &queries).await;
    // What no line calls a histogram is none.
    let untyped = "h_bucket{le=\"+Inf\"} 8\nh_count 8\nh_sum 11\n";
    converted(converting(), untyped, &[("h_count", "8")]).await;
}

#[tokio::test]
async fn a_native_histogram_stays_where_classic_ones_are_converted() {
    let above_all = "histogram_quantile(0.75, h)";
    let server = target(page(4, 4));
    let native = converting()
        .with_scrape_native_histograms(true)
        .with_always_scrape_classic_histograms(true);
    let source = start(native.clone(), &server);
    assert!(ask(&source, above_all).await.starts_with("2.828"));
    assert_eq!(ask(&source, "h_count").await, "8");
    // Of a page in Protocol Buffers, too: whoever takes no native ones has the classic one converted.
    let protocols = vec![ScrapeProtocol::PrometheusProto];
    let source = start(converting().with_scrape_protocols(protocols), &server);
    assert_eq!(ask(&source, above_all).await, "2");
    assert_eq!(ask(&source, "histogram_count(h)").await, "8");
    assert_eq!(ask(&source, "h_count").await, "");
}

#[tokio::test]
async fn a_histogram_that_lacks_a_part_is_never_half_of_one() {
    let whole = "h_bucket{le=\"1\"} 2\nh_bucket{le=\"2\"} 6\nh_bucket{le=\"+Inf\"} 8\nh_sum 11\nh_count 8\n";
    let check = async |(from, to): (&str, &str), says: &str| {
        assert!(whole.contains(from));
        let page = classic_page(&whole.replacen(from, to, 1));
        let server = FaultyServer::start([Answer::text(&page)]).unwrap();
        let source = start(converting(), &server);
        // What is whole is not touched.
        assert_eq!(ask(&source, "histogram_count(k)").await, "3", "{page}");
        assert_eq!(ask(&source, "g").await, "7", "{page}");
        source
            .query_list()
            .register(QueryTemplate::promql("broken", "histogram_count(h)"))
            .unwrap();
        let results = source.refresh(RefreshSpec::queries(["broken"])).await;
        let error = results["broken"].as_ref().expect_err(&page).to_string();
        assert!(error.contains(says), "{error} of {page}");
        let problem = source.targets()[0].problem.clone().unwrap();
        let told = format!("1 histogram not converted, the first: h: {says}");
        assert!(problem.contains(&told), "{problem} of {page}");
    };
    let unread = "a part of a classic histogram could not be read";
    check(("\"1\"} 2", "\"1\"} two"), unread).await;
    check(("h_sum 11", "h_sum eleven"), unread).await;
    check(("h_count 8", "h_count"), unread).await;
    let order = "a bucket of a classic histogram counts less than the one below";
    check(("\"2\"} 6", "\"2\"} 1"), order).await;
    check(("\"1\"} 2", "\"1\"} NaN"), order).await;
    let count = "a classic histogram has another count than its last bucket";
    check(("h_count 8", "h_count 9"), count).await;
    let twice = "a part of a classic histogram is there twice, with different values";
    check(("h_count 8", "h_count 8\nh_count 9"), twice).await;
    check(("h_sum", "h_bucket{le=\"1.0\"} 3\nh_sum"), twice).await;
    let dated = "the parts of a classic histogram are dated differently";
    check(("h_sum 11", "h_sum 11 1000"), dated).await;
    let bound = "a bucket of a classic histogram has no bound";
    check(("{le=\"1\"}", "{}"), bound).await;
    check(("{le=\"1\"}", "{le=\"one\"}"), bound).await;
    let end = "h_bucket{le=\"+Inf\"} 8\nh_sum 11\nh_count 8\n";
    let neither = "a classic histogram has neither a count nor a bucket up to +Inf";
    check((end, "h_sum 11\n"), neither).await;

    // Each of the two ends tells the other, and a sum that is not there is no zero.
    let good = [("histogram_count(h)", "8"), ("histogram_sum(h)", "11")];
    for lacks in ["h_bucket{le=\"+Inf\"} 8\n", "h_count 8\n"] {
        converted(converting(), &classic_page(&whole.replace(lacks, "")), &good).await;
    }
    let sumless = classic_page(&whole.replace("h_sum 11\n", ""));
    let good = [
        ("histogram_count(h)", "8"),
        ("histogram_quantile(0.5, h)", "1.5"),
        ("histogram_sum(h)", "NaN"),
        ("histogram_avg(h)", "NaN"),
    ];
    converted(converting(), &sumless, &good).await;
}
