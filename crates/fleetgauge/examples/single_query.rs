//! Pattern 1: one query, registered at start, run at every turn of a loop.

use fleetgauge::{MetricsSource, PrometheusSource, PrometheusSourceConfig, QueryTemplate, RefreshSpec};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let source = PrometheusSource::new(PrometheusSourceConfig::from_vars(std::env::vars())?)?;

    // Once, at start.
    source.query_list().register(
        QueryTemplate::promql(
            "queue_depth",
            r#"vllm:num_requests_waiting{namespace="{{.namespace}}"}"#,
        )
        .params(["namespace"]),
    )?;

    // At every turn.
    let spec = RefreshSpec::queries(["queue_depth"]).params([("namespace", "chat")]);
    let results = source.refresh(spec).await;
    match &results["queue_depth"] {
        Ok(result) if result.is_no_data() => println!("no data"),
        Ok(result) => result.values().for_each(|value| println!("{value}")),
        Err(error) => println!("{error}"),
    }
    Ok(())
}
