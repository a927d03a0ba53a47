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
async fn ranges_have_the_steps_since_the_first_scrape_and_say_that_earlier_ones_are_missing() {
    let server = FaultyServer::start([Answer::text("waiting{a=\"b\"} 3\n")]).unwrap();
    let pods = StaticTargets::new([server.addr().to_string()]);
    let config = ScrapeConfig::new("vllm").with_interval(Duration::from_millis(100));
    let source = ScrapeSource::start(config, [Arc::new(pods) as _]).unwrap();
    for query in [
        QueryTemplate::metric_name("name", "waiting"),
        QueryTemplate::promql("sum", "sum by (a) (waiting) + 1"),
    ] {
        source.query_list().must_register(query);
    }
    let millis = Duration::from_millis;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    // Until the last two steps have been scraped.
    let refresh = async |window, step| loop {
        let results = source.refresh_range(RefreshSpec::all(), window, step).await;
        let points = |name: &str| -> Vec<_> {
            let result = results[name].as_ref().ok();
            let series = result.into_iter().flat_map(|result| result.answer().series());
            series.flat_map(|series| series.points()).collect()
        };
        let (name, sum) = (points("name"), points("sum"));
        if name.len() >= 2 && sum.len() >= 2 {
            break (results, name, sum);
        }
        assert!(tokio::time::Instant::now() < deadline, "{results:?}");
        tokio::task::yield_now().await;
    };
    let (results, name, sum) = refresh(Duration::from_secs(60), millis(200)).await;
    assert!(name.iter().all(|point| point.value == 3.0), "{name:?}");
    assert!(sum.iter().all(|point| point.value == 4.0), "{sum:?}");
    let steps = results["sum"].as_ref().unwrap().steps().unwrap();
    assert_eq!(steps.count(), 301);
    assert!(sum.iter().all(|point| steps.position(point.timestamp).is_some()));
    let warnings = results["sum"].as_ref().unwrap().warnings().collect::<Vec<_>>();
    assert!(
        warnings[0].contains("samples are kept only since"),
        "{warnings:?}"
    );
    assert!(!results.is_complete());
    // A window that has passed since the start lacks nothing.
    let (results, ..) = refresh(millis(200), millis(200)).await;
    assert!(results.is_complete(), "{results:?}");
}

#[tokio::test]
async fn a_time_before_the_first_scrape_has_an_error_and_is_not_without_data() {
    let server = FaultyServer::start([Answer::text("waiting 3\n")]).unwrap();
    let pods = StaticTargets::new([server.addr().to_string()]);
    let source = ScrapeSource::start(ScrapeConfig::new("vllm"), [Arc::new(pods) as _]).unwrap();
    source
        .query_list()
        .must_register(QueryTemplate::metric_name("waiting", "waiting"));
    let spec = || RefreshSpec::queries(["waiting"]);
    let results = source.refresh(spec().at(Timestamp::default())).await;
    let error = results["waiting"].as_ref().unwrap_err();
    assert_eq!(error.reason(), "incomplete");
    assert!(
        error.to_string().contains("samples are kept only since"),
        "{error}"
    );
    let now = Timestamp::from(std::time::SystemTime::now());
    let results = source
        .refresh(spec().at(now.saturating_add(Duration::from_secs(5))))
        .await;
    let values: Vec<_> = results["waiting"]
        .as_ref()
        .unwrap()
        .values()
        .map(|value| value.value)
        .collect();
    assert_eq!(values, [3.0]);
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
