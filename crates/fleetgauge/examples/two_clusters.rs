//! Two clusters as one source: a query pack over both, and a total that says when one of them is missing.
//!
//! The first cluster is the Prometheus of `PROMETHEUS_BASE_URL`; the second one is simulated on this machine, and its pods
//! are scraped from here.

use std::sync::Arc;

use fleetgauge::federated::{FederatedConfig, FederatedSource, Member, Require};
use fleetgauge::scrape::{FileDiscovery, ScrapeConfig, ScrapeSource};
use fleetgauge::{
    MetricsSource, Pack, PrometheusSource, PrometheusSourceConfig, QueryTemplate, RefreshSpec, SourceRegistry,
};
use fleetgauge_sim::{EngineKind, Fleet, Load, Variant};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let model = "meta-llama/Llama-3.1-8B-Instruct";
    let llama = Variant::new("chat", "llama", EngineKind::Vllm { ranks: 1 }, model)
        .with_replicas(2)
        .with_load(Load::Steady { rate: 4.0 });
    let simulated = Fleet::builder().variant(llama).stepped_by_hand().start().await?;
    let folder = tempfile::tempdir()?;
    let targets = folder.path().join("targets.json");
    std::fs::write(&targets, simulated.targets_file_sd())?;
    let discovery = Arc::new(FileDiscovery::new([targets]));
    let us = ScrapeSource::start(ScrapeConfig::new("us"), [discovery as _])?;
    let eu = PrometheusSource::new(PrometheusSourceConfig::from_vars(std::env::vars())?)?;

    let sources = SourceRegistry::new();
    sources.register("eu", Arc::new(eu))?;
    sources.register("us", Arc::new(us.clone()))?;
    let config = FederatedConfig::new("fleet")
        .with_member(Member::new("eu", "eu").with_label("cluster", "eu"))
        .with_member(Member::new("us", "us").with_label("cluster", "us"))
        // An answer of one cluster alone is better than none, as long as it says so.
        .with_require(Require::Any)
        .with_query(QueryTemplate::promql(
            "by_cluster",
            "count by (cluster) (vllm:num_requests_running)",
        ));
    let fleet = FederatedSource::new(config, &sources)?;
    if let Some(pack) = Pack::builtin("inference") {
        pack.register_into(fleet.query_list())?;
    }

    let spec = RefreshSpec::queries(["by_cluster", "inference/queue_length"]);
    let spec = spec.params([("namespace", "chat"), ("modelID", model)]);
    let print = |name: &str, source: &FederatedSource| {
        let cached = source.get(name, &[("namespace", "chat"), ("modelID", model)].into());
        let Some(cached) = cached else {
            return println!("{name}: no answer");
        };
        let result = cached.result();
        match name {
            "by_cluster" => result
                .values()
                .for_each(|value| println!("{}: {} series", value.label("cluster"), value.value)),
            _ => println!("{name}: {} pods", result.len()),
        }
        if let Some(completeness) = result.answer().completeness() {
            println!("{name}: {completeness}");
        }
    };
    fleet.refresh(spec.clone()).await;
    print("by_cluster", &fleet);
    print("inference/queue_length", &fleet);

    // The second cluster is lost.
    us.shutdown().await;
    fleet.refresh(spec).await;
    print("by_cluster", &fleet);
    simulated.shutdown().await;
    Ok(())
}
