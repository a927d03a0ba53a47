//! A real Prometheus and the scrape source scrape the same simulated fleet, and find the same.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fleetgauge::MetricsSource;
use fleetgauge::RefreshSpec;
use fleetgauge::promql::exposition::MetricType;
use fleetgauge::scrape::{FileDiscovery, ScrapeConfig, ScrapeSource};
use fleetgauge::target::TargetDiscovery;
use fleetgauge_sim::{EngineKind, Fault, Fleet, Load, Variant};
use fleetgauge_testkit::{Answer, FaultyServer, Prometheus};
use serde_json::Value;

/// What differs from scrape to scrape, or is Prometheus's alone.
const OWN: [&str; 3] = [
    "scrape_duration_seconds",
    "scrape_series_added",
    "scrape_samples_post_metric_relabeling",
];

/// What both find, by series.
type Found = BTreeMap<String, u64>;

fn insert(found: &mut Found, labels: &BTreeMap<String, String>, value: f64) {
    if !OWN.contains(&labels["__name__"].as_str()) {
        // NaN is NaN, of whatever bits.
        let value = if value.is_nan() { f64::NAN } else { value };
        assert_eq!(
            found.insert(format!("{labels:?}"), value.to_bits()),
            None,
            "{labels:?} twice"
        );
    }
}

/// Prometheus 2 keeps bounds and quantiles as they are exposed.
fn keep_as_3_does(labels: &mut BTreeMap<String, String>) {
    for (label, metric_type) in [("le", MetricType::Histogram), ("quantile", MetricType::Summary)] {
        if let Some(value) = labels.get_mut(label) {
            *value = metric_type.kept_value(label, value.as_str().into()).into_owned();
        }
    }
}

fn of_prometheus(result: &Value, version: &str) -> Found {
    let mut found = Found::new();
    for series in result.as_array().unwrap() {
        let mut labels: BTreeMap<String, String> = serde_json::from_value(series["metric"].clone()).unwrap();
        if version.starts_with("2.") {
            keep_as_3_does(&mut labels);
        }
        let value = series["value"][1].as_str().unwrap();
        insert(&mut found, &labels, value.parse().unwrap());
    }
    found
}

async fn of_ours(source: &ScrapeSource) -> Found {
    let results = source.refresh(RefreshSpec::queries(["all_metrics"])).await;
    let mut found = Found::new();
    for value in results["all_metrics"].as_ref().unwrap().values() {
        insert(&mut found, &value.labels.to_map(), value.value);
    }
    found
}

/// Labels that the target has, escapes, a UTF-8 value, special numbers.
const PAGE: &str = r#"# HELP a words
# TYPE a gauge
a{job="own",instance="own",namespace="own",x="1"} 1
a{pod="own",exported_pod="taken"} 2
a{x="q\"b\\n\n",y="ü",empty=""} -0
b +Inf
c NaN
f 1.5e-300
"#;

async fn fleet() -> Fleet {
    let load = Load::Steady { rate: 6.0 };
    let variant = |name: &str, engine| Variant::new("chat", name, engine, "org/model-8b").with_load(load);
    let fleet = Fleet::builder()
        .seed(11)
        .variant(variant("vllm", EngineKind::Vllm { ranks: 1 }).with_replicas(2))
        .variant(variant("ranks", EngineKind::Vllm { ranks: 2 }))
        .variant(variant("sglang", EngineKind::Sglang { ranks: 2 }))
        .variant(variant("trt", EngineKind::TensorRtLlm))
        .variant(variant("picker", EngineKind::Epp { pool: "vllm".into() }))
        .variant(variant("dead", EngineKind::Vllm { ranks: 1 }))
        .variant(variant("nan", EngineKind::Vllm { ranks: 1 }))
        .stepped_by_hand();
    let fleet = fleet.start().await.unwrap();
    fleet.step(Duration::from_secs(30)).await;
    for pod in fleet.pods() {
        match pod.variant.as_str() {
            "dead" => fleet.inject(pod.id, Fault::Die).await.unwrap(),
            "nan" => fleet.inject(pod.id, Fault::NotANumber).await.unwrap(),
            _ => {}
        }
    }
    fleet
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_prometheus_finds_the_same_series_with_the_same_values() {
    let fleet = fleet().await;
    let odd = FaultyServer::start([Answer::text(PAGE)]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (pods, others) = (dir.path().join("pods.json"), dir.path().join("others.yml"));
    std::fs::write(&pods, fleet.targets_file_sd()).unwrap();
    let other = format!(
        "- targets: ['{}']\n  labels:\n    namespace: tools\n    pod: odd-0\n    __meta_gone: x\n",
        odd.addr()
    );
    std::fs::write(&others, other).unwrap();
    let files = [pods, others];

    let config = format!(
        "scrape_configs:\n- job_name: pods\n  scrape_interval: 1s\n  scrape_timeout: 1s\n  file_sd_configs:\n  - files: {files:?}\n"
    );
    let prometheus = tokio::task::spawn_blocking(move || {
        let prometheus = Prometheus::builder().config(config).start().unwrap();
        // Every target scraped: seven that answer, and one that does not.
        prometheus
            .wait_for("count(up == 1) == 8 and on () (count(up == 0) == 1)")
            .unwrap();
        prometheus
    });
    let config = ScrapeConfig::new("pods").with_interval(Duration::from_millis(500));
    let discovery: Arc<dyn TargetDiscovery> = Arc::new(FileDiscovery::new(files));
    let source = ScrapeSource::start(config, [discovery]).unwrap();
    let prometheus = prometheus.await.unwrap();

    let ours = of_ours(&source).await;
    let result = tokio::task::spawn_blocking(move || {
        let all = r#"{__name__=~".+"}"#;
        (
            prometheus.version().unwrap(),
            prometheus.query(all, None).unwrap(),
        )
    });
    let (version, result) = result.await.unwrap();
    let theirs = of_prometheus(&result, &version);
    let differences: Vec<_> = ours
        .iter()
        .filter(|(series, value)| theirs.get(*series) != Some(value))
        .chain(theirs.iter().filter(|(series, _)| !ours.contains_key(*series)))
        .map(|(series, _)| format!("{series}: {:?} {:?}", ours.get(series), theirs.get(series)))
        .collect();
    assert!(
        differences.is_empty(),
        "{} of {}: {:#?}",
        differences.len(),
        ours.len(),
        &differences[..differences.len().min(10)]
    );
    assert!(ours.len() > 2_500, "{}", ours.len());
    let exported = ours
        .keys()
        .filter(|series| series.contains("\"exported_"))
        .count();
    assert!(exported >= 2, "{exported}");
}
