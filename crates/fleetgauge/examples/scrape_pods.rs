//! Pods scraped directly, without a Prometheus: who waits where, how old the number is, and who does not
//! answer, and why.
//!
//! The pods are simulated ones on this machine, so that the example runs anywhere.

use std::sync::Arc;

use fleetgauge::scrape::{FileDiscovery, ScrapeConfig, ScrapeSource};
use fleetgauge::{MetricsSource, QueryTemplate, RefreshSpec};
use fleetgauge_sim::{EngineKind, Fault, Fleet, Load, Variant};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let llama = Variant::new("chat", "llama", EngineKind::Vllm { ranks: 1 }, "llama-8b")
        .with_replicas(3)
        .with_load(Load::Steady { rate: 4.0 });
    let fleet = Fleet::builder().variant(llama).stepped_by_hand().start().await?;
    fleet.inject(fleet.pods()[2].id, Fault::Die).await?;

    let folder = tempfile::tempdir()?;
    let targets = folder.path().join("targets.json");
    std::fs::write(&targets, fleet.targets_file_sd())?;

    let source = ScrapeSource::start(
        ScrapeConfig::new("pods"),
        [Arc::new(FileDiscovery::new([targets])) as _],
    )?;
    source
        .query_list()
        .register(QueryTemplate::metric_name("waiting", "vllm:num_requests_waiting"))?;

    let results = source.refresh(RefreshSpec::queries(["waiting"])).await;
    let waiting = results["waiting"].as_ref().map_err(Clone::clone)?;
    for value in waiting.values() {
        println!("{}: {} waiting", value.label("pod"), value.value);
    }
    for target in source.targets() {
        if let Some(failure) = target.last_error {
            println!("{}: unknown, {}", target.labels["pod"], failure.reason());
        }
    }
    source.shutdown().await;
    fleet.shutdown().await;
    Ok(())
}
