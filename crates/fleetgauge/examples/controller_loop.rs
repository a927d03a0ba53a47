//! A controller's loop: refresh, read, tie each pod's numbers to its variant, decide, and hold still where
//! nothing is known.

use std::time::Duration;

use fleetgauge::variant::{PodVaMapper, VariantRef, Workload};
use fleetgauge::{MetricsSource, Pack, Params, PrometheusSource, PrometheusSourceConfig, RefreshSpec};

const TURNS: usize = 3;
const INTERVAL: Duration = Duration::from_millis(200);

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let source = PrometheusSource::new(PrometheusSourceConfig::from_vars(std::env::vars())?)?;
    let pack = Pack::builtin("inference").ok_or("no such pack")?;
    pack.register_into(source.query_list())?;

    let mapper = PodVaMapper::new();
    mapper.register("llama-8b", "chat", Workload::deployment("vllm-llama-8b"))?;

    let params = Params::from([
        ("namespace", "chat"),
        ("modelID", "meta-llama/Llama-3.1-8B-Instruct"),
    ]);
    let names = [
        "inference/kv_cache_usage_instant",
        "inference/queue_length_instant",
    ];
    let mut turns = tokio::time::interval(INTERVAL);
    for _ in 0..TURNS {
        turns.tick().await;
        let spec = RefreshSpec::queries(names)
            .params(params.clone())
            .wait_at_most(INTERVAL);
        for (name, error) in source.refresh(spec).await.failures() {
            eprintln!("{name}: {error}");
        }
        decide(&source, &mapper, &params);
    }
    Ok(())
}

/// Says what the autoscaler would do. It never acts on a number that it does not have.
fn decide(source: &dyn MetricsSource, mapper: &PodVaMapper, params: &Params) {
    let Some(usage) = source.get("inference/kv_cache_usage_instant", params) else {
        println!("hold: the KV cache usage is unknown");
        return;
    };
    let join = mapper.join(usage.result());
    for (variant, values) in join.variants() {
        let known: Vec<f64> = values
            .iter()
            .filter(|value| !value.is_undefined())
            .map(|value| value.value)
            .collect();
        match mean(&known) {
            None => println!("{variant}: hold, no pod reports"),
            Some(mean) if mean > 0.8 => println!("{variant}: scale up, KV cache {:.0} % full", 100.0 * mean),
            Some(mean) => println!("{variant}: enough, KV cache {:.0} % full", 100.0 * mean),
        }
    }
    for ambiguous in join.ambiguous() {
        println!(
            "left out: {} fits several variants: {:?}",
            ambiguous.pod, ambiguous.candidates
        );
    }
    for unmapped in join.unmapped() {
        println!("left out: {}: {}", unmapped.value.labels, unmapped.reason);
    }
    if let Ok(variant) = VariantRef::new("chat", "llama-8b")
        && join.for_variant(&variant).is_none()
    {
        println!("{variant}: hold, no pod of it is known");
    }
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}
