//! PromQL on pods that are scraped directly.
#![allow(clippy::unwrap_used, missing_docs)]

use std::sync::Arc;
use std::time::Duration;

use fleetgauge::scrape::{ScrapeConfig, ScrapeSource};
use fleetgauge::target::StaticTargets;
use fleetgauge::time::Timestamp;
use fleetgauge::{MetricsSource, QueryTemplate, RefreshSpec};
use fleetgauge_testkit::{Answer, FaultyServer};

/// What a query gives, a line a series; or its error.
async fn ask(source: &ScrapeSource, promql: &str) -> String {
    let name = format!("q{}", source.query_list().len());
    source
        .query_list()
        .register(QueryTemplate::promql(&name, promql))
        .unwrap();
    let results = source.refresh(RefreshSpec::queries([&*name])).await;
    match &results[&*name] {
        Err(error) => format!("error: {}", error.fetch_error().unwrap()),
        Ok(result) => {
            let values = result
                .values()
                .map(|value| format!("{} {}", value.labels, value.value));
            let text = result.answer().text().map(str::to_owned);
            values.chain(text).collect::<Vec<_>>().join("\n")
        }
    }
}

#[tokio::test]
async fn queries_are_evaluated_over_what_was_scraped() {
    let page = "waiting{engine=\"0\"} 3\nwaiting{engine=\"1\"} 4\n";
    let server = FaultyServer::start([Answer::text(page)]).unwrap();
    let pods = StaticTargets::new([server.addr().to_string()]).with_label("pod", "a");
    let config = ScrapeConfig::new("vllm").with_interval(Duration::from_secs(1));
    let source = ScrapeSource::start(config, [Arc::new(pods) as _]).unwrap();
    assert_eq!(ask(&source, "sum by (pod) (waiting)").await, "{pod=\"a\"} 7");
    assert_eq!(ask(&source, "max(waiting) / 2").await, "{} 2");
    assert_eq!(ask(&source, "count(up == 1)").await, "{} 1");
    assert_eq!(ask(&source, "1 + 1").await, "{} 2");
    assert_eq!(ask(&source, "\"a text\"").await, "a text");
    assert_eq!(ask(&source, "sum(nothing)").await, "");
    let range = ask(&source, "sum_over_time(waiting{engine=\"1\"}[1m]) >= bool 4").await;
    assert!(range.ends_with(" 1") && range.contains("pod=\"a\""), "{range}");
    // Several samples a series are not one value.
    let matrix = ask(&source, "waiting{engine=\"1\"}[1m]").await;
    assert!(
        matrix.starts_with("error: not supported by this source: the query gives a range vector"),
        "{matrix}"
    );

    let many = ask(&source, "waiting + on(pod) waiting").await;
    assert!(many.starts_with("error: rejected by the backend: "), "{many}");
    // What the template's check lets pass.
    let wrong = ask(&source, "sum by waiting").await;
    assert!(wrong.starts_with("error: rejected by the backend: "), "{wrong}");
}

#[tokio::test]
async fn ranges_and_given_times_are_not_supported() {
    let server = FaultyServer::start([Answer::text("waiting 3\n")]).unwrap();
    let pods = StaticTargets::new([server.addr().to_string()]);
    let source = ScrapeSource::start(ScrapeConfig::new("vllm"), [Arc::new(pods) as _]).unwrap();
    let waiting = QueryTemplate::metric_name("waiting", "waiting");
    source.query_list().must_register(waiting);
    let spec = || RefreshSpec::queries(["waiting"]);
    let second = Duration::from_secs(1);
    for spec in [spec().range(second, second), spec().at(Timestamp::default())] {
        let results = source.refresh(spec).await;
        assert_eq!(results["waiting"].as_ref().unwrap_err().reason(), "unsupported");
    }
    assert!(source.refresh(spec()).await["waiting"].is_ok());
}

#[tokio::test]
async fn where_every_target_fails_there_is_an_error_and_no_empty_sum() {
    let server = FaultyServer::start([Answer::status(500)]).unwrap();
    let pods = StaticTargets::new([server.addr().to_string()]);
    let config = ScrapeConfig::new("vllm").with_interval(Duration::from_secs(1));
    let source = ScrapeSource::start(config, [Arc::new(pods) as _]).unwrap();
    let error = ask(&source, "sum(waiting)").await;
    assert!(error.starts_with("error: ") && error.contains("500"), "{error}");
}
