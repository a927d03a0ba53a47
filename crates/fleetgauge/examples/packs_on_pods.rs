//! The production queries of the pack `inference` on pods that are scraped directly: the same names and the same
//! answers as with a Prometheus, and none is needed.
//!
//! The pods are simulated ones on this machine, of three engines, so that the example runs anywhere.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fleetgauge::scrape::{FileDiscovery, ScrapeConfig, ScrapeSource};
use fleetgauge::{MetricsSource, Pack, Params, RefreshSpec};
use fleetgauge_sim::{EngineKind, Fleet, Variant};

const MODEL: &str = "llama-8b";
const COLUMNS: [&str; 4] = [
    "inference/kv_cache_usage",
    "inference/running_requests",
    "inference/request_rate",
    "inference/avg_ttft",
];

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let variant = |name, engine| Variant::new("chat", name, engine, MODEL);
    let fleet = Fleet::builder()
        .variant(variant("vllm", EngineKind::Vllm { ranks: 2 }).with_replicas(2))
        .variant(variant("sglang", EngineKind::Sglang { ranks: 1 }))
        .variant(variant("trtllm", EngineKind::TensorRtLlm))
        .warm_up(Duration::from_secs(30))
        .stepped_by_hand();
    let fleet = fleet.start().await?;
    let folder = tempfile::tempdir()?;
    let targets = folder.path().join("targets.json");
    std::fs::write(&targets, fleet.targets_file_sd())?;

    // The pack needs labels `namespace` and `pod`: here they are in the file, as they would be for a Prometheus.
    let config = ScrapeConfig::new("pods");
    let source = ScrapeSource::start(config, [Arc::new(FileDiscovery::new([targets])) as _])?;
    let pack = Pack::builtin("inference").ok_or("no such pack")?;
    pack.register_into(source.query_list())?;

    // A rate takes two scrapes: after the first there is none, which is not a rate of zero.
    let params = Params::from([("namespace", "chat"), ("modelID", MODEL)]);
    for after in [Duration::ZERO, Duration::from_secs(20)] {
        fleet.step(after).await;
        let results = source
            .refresh(RefreshSpec::queries(COLUMNS).params(params.clone()))
            .await;
        for (name, error) in results.failures() {
            eprintln!("{name}: {error}");
        }
        table(&source, &params);
    }
    source.shutdown().await;
    fleet.shutdown().await;
    Ok(())
}

/// A row a pod, from the cache.
fn table(source: &dyn MetricsSource, params: &Params) {
    let mut rows: BTreeMap<String, [Option<f64>; COLUMNS.len()]> = BTreeMap::new();
    for (column, name) in COLUMNS.iter().enumerate() {
        let Some(cached) = source.get(name, params) else {
            continue;
        };
        for value in cached.result().values() {
            rows.entry(value.label("pod").into()).or_default()[column] = Some(value.value);
        }
    }
    println!(
        "{:28}{:>8}{:>9}{:>9}{:>9}",
        "POD", "KV", "RUNNING", "REQ/S", "TTFT S"
    );
    for (pod, [kv, running, rate, ttft]) in rows {
        let show = |value: Option<f64>, digits| value.map_or("-".into(), |v| format!("{v:.digits$}"));
        let (kv, running, rate, ttft) = (show(kv, 2), show(running, 0), show(rate, 2), show(ttft, 3));
        println!("{pod:28}{kv:>8}{running:>9}{rate:>9}{ttft:>9}");
    }
    println!();
}
