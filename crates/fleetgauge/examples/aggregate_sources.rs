//! Two sources, one number: requests that wait at pods scraped from here, and at those that a Prometheus watches.
//!
//! The scraped pods are simulated ones on this machine; the Prometheus is that of `PROMETHEUS_BASE_URL`.

use std::sync::Arc;

use fleetgauge::composed::{ComposedConfig, ComposedSource, Input};
use fleetgauge::scrape::{FileDiscovery, ScrapeConfig, ScrapeSource};
use fleetgauge::{
    MetricsSource, PrometheusSource, PrometheusSourceConfig, QueryTemplate, RefreshSpec, SourceRegistry,
};
use fleetgauge_sim::{EngineKind, Fleet, Load, Variant};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let llama = Variant::new("chat", "llama", EngineKind::Vllm { ranks: 1 }, "llama-8b")
        .with_replicas(2)
        .with_load(Load::Steady { rate: 4.0 });
    let fleet = Fleet::builder().variant(llama).stepped_by_hand().start().await?;
    let folder = tempfile::tempdir()?;
    let targets = folder.path().join("targets.json");
    std::fs::write(&targets, fleet.targets_file_sd())?;
    let discovery = Arc::new(FileDiscovery::new([targets]));
    let pods = ScrapeSource::start(ScrapeConfig::new("pods"), [discovery as _])?;
    let central = PrometheusSource::new(PrometheusSourceConfig::from_vars(std::env::vars())?)?;

    let sources = SourceRegistry::new();
    sources.register("pods", Arc::new(pods.clone()))?;
    sources.register("central", Arc::new(central))?;

    // The same query of both, each under a name of its own, which is a metric name in the expressions.
    let waiting = |name| {
        let query = r#"sum by (pod) (vllm:num_requests_waiting{namespace="{{.namespace}}"})"#;
        QueryTemplate::promql(name, query).params(["namespace"])
    };
    let config = ComposedConfig::new("fleet")
        .with_input(Input::own("pods", waiting("here")))
        .with_input(Input::own("central", waiting("there")))
        .with_query(QueryTemplate::promql("here", "sum(here)"))
        .with_query(QueryTemplate::promql("there", "sum(there)"))
        // Where one of them has no pods, the sum is that of the other; where one fails, there is none.
        .with_query(QueryTemplate::promql("total", r#"sum({__name__=~"here|there"})"#));
    let composed = ComposedSource::new(config, &sources)?;

    let spec = RefreshSpec::all().params([("namespace", "chat")]);
    for (name, outcome) in composed.refresh(spec).await.iter() {
        match outcome {
            Ok(result) if result.is_no_data() => println!("{name}: no data"),
            Ok(result) => result
                .values()
                .for_each(|value| println!("{name}: {} waiting", value.value)),
            Err(error) => println!("{name}: {error}"),
        }
    }
    pods.shutdown().await;
    fleet.shutdown().await;
    Ok(())
}
