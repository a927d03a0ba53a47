//! Who should have reported to a real Prometheus, by a query that tells it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fleetgauge::prometheus::{PrometheusSource, PrometheusSourceConfig};
use fleetgauge::variant::{PodVaMapper, Workload};
use fleetgauge::{MetricResult, MetricsSource, Params, QueryTemplate, RefreshSpec};
use fleetgauge_core::policy::{Fold, Policy};
use fleetgauge_core::reading::{ReadingSpec, Readings, ReasonCode};
use fleetgauge_core::time::Clock;
use fleetgauge_core::transform::{TransformStep, VariantFold};
use fleetgauge_testkit::{Answer as Page, FaultyServer, Prometheus};

/// How long something that is waited for may take.
const PATIENCE: Duration = Duration::from_secs(60);

const BUSY: &str = "sum by (namespace, pod) (busy) > 0";

async fn ask(source: &PrometheusSource, query: &str) -> Arc<MetricResult> {
    let results = source.refresh(RefreshSpec::queries([query])).await;
    results[query].clone().unwrap()
}

async fn until(source: &PrometheusSource, query: &str, told: &str) -> Arc<MetricResult> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let results = source.refresh(RefreshSpec::queries([query])).await;
        let found = match &results[query] {
            Ok(result) => {
                let found = result.answer().completeness().map(|found| found.to_string());
                if found.as_deref() == Some(told) {
                    return Arc::clone(result);
                }
                format!("{result:?}")
            }
            Err(error) => error.to_string(),
        };
        assert!(Instant::now() < deadline, "{query}: not {told}, but {found}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Of each row that is read of `query`, of which nine tenths must have reported.
fn read(source: &PrometheusSource, query: &str) -> Vec<Result<f64, ReasonCode>> {
    let policy = Policy::default().min_completeness(0.9);
    let mut spec = ReadingSpec::new("m", query.parse().unwrap()).policy(policy);
    spec.knows_completeness = true;
    let readings = Readings::new(spec, Clock::system()).unwrap();
    readings.update(&source.lookup(query, &Params::new()), None);
    let judged = readings.judged();
    let rows = judged.rows(Clock::system().now());
    rows.map(|row| row.value().ok_or_else(|| row.reason().unwrap().code))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_stops_is_missing_and_one_that_is_idle_is_not() {
    let start = |page: &str| FaultyServer::start([Page::text(page)]).unwrap();
    let (busy, idle) = (start("busy 3\n"), start("busy 0\n"));
    let second = Duration::from_secs(1);
    let server = Prometheus::builder()
        .scrape(
            "a",
            busy.addr(),
            second,
            &[("namespace", "chat"), ("pod", "llama-0")],
        )
        .scrape(
            "b",
            idle.addr(),
            second,
            &[("namespace", "chat"), ("pod", "llama-1")],
        )
        .start()
        .unwrap();
    let source = PrometheusSource::new(PrometheusSourceConfig::new(server.url())).unwrap();
    let queries = source.query_list();
    let mapper = PodVaMapper::new();
    let workload = Workload::stateful_set("llama");
    mapper.register("llama-va", "chat", workload).unwrap();
    queries.set_variants(&mapper);
    let query =
        |name: &str, expected: &str| QueryTemplate::promql(name, BUSY).expected(expected.parse().unwrap());
    queries.must_register(QueryTemplate::promql("pods", "group by (namespace, pod) (up)"));
    queries.must_register(QueryTemplate::promql("nobody", "up{job=\"misspelt\"}"));
    queries.must_register(QueryTemplate::promql(
        "broken",
        "label_replace(up, \"x\", \"\", \"pod\", \"(\")",
    ));
    queries.must_register(query("busy", "pods"));
    queries
        .must_register(query("all", "pods").transform(TransformStep::ByVariant(VariantFold::By(Fold::Sum))));
    queries.must_register(query("unknown", "nobody"));
    queries.must_register(query("lost", "broken"));

    let both = until(&source, "busy", "2 of 2 reported").await;
    assert_eq!(both.values().map(|value| value.value).collect::<Vec<_>>(), [3.0]);
    assert!(
        both.is_complete() && both.answer().warnings().len() == 0,
        "{both:?}"
    );
    assert_eq!(read(&source, "busy"), [Ok(3.0)]);
    let all = ask(&source, "all").await;
    let row = all.values().next().unwrap();
    assert_eq!((row.labels.get("variant"), row.value), (Some("llama-va"), 3.0));
    assert_eq!(read(&source, "all"), [Ok(3.0)]);

    // It must not be taken for all of them, nor for none.
    let unknown = ask(&source, "unknown").await;
    let warnings: Vec<_> = unknown.answer().warnings().collect();
    assert!(
        warnings[0].contains("\"nobody\" tells that nobody should report"),
        "{warnings:?}"
    );
    assert_eq!(unknown.answer().completeness().unwrap().ratio(), None);
    assert_eq!(read(&source, "unknown"), [Err(ReasonCode::CompletenessUnknown)]);
    let lost = ask(&source, "lost").await;
    let warnings: Vec<_> = lost.answer().warnings().collect();
    assert!(
        !lost.is_complete() && warnings[0].contains("who should report is not known: query broken: rejected"),
        "{warnings:?}"
    );
    assert_eq!(read(&source, "lost"), [Err(ReasonCode::Incomplete)]);

    drop(idle);
    let half =
        "1 of 2 reported; missing: {namespace=\"chat\", pod=\"llama-1\"} (the query has no series of it)";
    let one = until(&source, "busy", half).await;
    assert!(!one.is_complete());
    assert_eq!(read(&source, "busy"), [Err(ReasonCode::Incomplete)]);
    let all = ask(&source, "all").await;
    assert_eq!(all.answer().completeness().unwrap().to_string(), half);
    assert_eq!(read(&source, "all"), [Err(ReasonCode::Incomplete)]);
    drop(busy);
}
