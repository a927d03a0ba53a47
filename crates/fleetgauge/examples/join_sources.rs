//! Queue lengths of the engines joined with the memory of their GPUs, which another Prometheus may know.
//!
//! The engines' Prometheus is that of `PROMETHEUS_BASE_URL`, the GPUs' that of `GPU_PROMETHEUS_URL`, or the same.

use std::sync::Arc;

use fleetgauge::composed::{ComposedConfig, ComposedSource, Input};
use fleetgauge::{
    MetricsSource, Pack, PrometheusSource, PrometheusSourceConfig, QueryTemplate, RefreshSpec, SourceRegistry,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = PrometheusSourceConfig::from_vars(std::env::vars())?;
    let of_gpus = match std::env::var("GPU_PROMETHEUS_URL") {
        Ok(url) => PrometheusSourceConfig::new(url),
        Err(_) => config.clone(),
    };
    let sources = SourceRegistry::new();
    for (name, config, pack) in [("engines", config, "inference"), ("gpus", of_gpus, "dcgm")] {
        let source = PrometheusSource::new(config)?;
        let pack = Pack::builtin(pack).ok_or("no such pack")?;
        pack.register_into(source.query_list())?;
        sources.register(name, Arc::new(source))?;
    }

    let config = ComposedConfig::new("fleet")
        .with_input(Input::new("queue", "engines", "inference/queue_length"))
        .with_input(Input::new("gpu_memory", "gpus", "dcgm/gpu_memory_usage"));
    let fleet = ComposedSource::new(config, &sources)?;
    // Requests wait though there is memory: more replicas would not help as much as more slots a replica.
    let cramped = "sum by (pod) (queue) > 0 and on (pod) gpu_memory < 0.9";
    let each = "sum by (pod) (queue) / on (pod) gpu_memory";
    for (name, expression) in [("waiting_with_memory_left", cramped), ("waiting_by_memory", each)] {
        fleet
            .query_list()
            .register(QueryTemplate::promql(name, expression))?;
    }

    // The parameters are those of the inputs; the expressions have none of their own.
    let params = [
        ("namespace", "chat"),
        ("modelID", "meta-llama/Llama-3.1-8B-Instruct"),
    ];
    for (name, outcome) in fleet.refresh(RefreshSpec::all().params(params)).await.iter() {
        match outcome {
            Ok(result) if result.is_no_data() => println!("{name}: no pod"),
            Ok(result) => {
                for value in result.values() {
                    println!("{name}: {} {:.2}", value.label("pod"), value.value);
                }
            }
            Err(error) => println!("{name}: {error}"),
        }
    }
    Ok(())
}
