//! Pattern 3: everything that is registered, here a whole built-in pack. No query is named.

use fleetgauge::{MetricsSource, Pack, PrometheusSource, PrometheusSourceConfig, RefreshSpec};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let source = PrometheusSource::new(PrometheusSourceConfig::from_vars(std::env::vars())?)?;
    let pack = Pack::builtin("inference").ok_or("no such pack")?;
    pack.register_into(source.query_list())?;

    let params = [
        ("namespace", "chat"),
        ("modelID", "meta-llama/Llama-3.1-8B-Instruct"),
        ("q", "0.95"),
        ("retentionPeriod", "1h"),
    ];
    for (name, outcome) in source.refresh(RefreshSpec::all().params(params)).await.iter() {
        match outcome {
            Ok(result) => println!("{name}: {} values", result.len()),
            Err(error) => println!("{name}: {error}"),
        }
    }
    Ok(())
}
