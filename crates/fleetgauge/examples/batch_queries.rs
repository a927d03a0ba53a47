//! Pattern 2: several queries in one batch. Each has an outcome of its own.

use fleetgauge::{MetricsSource, PrometheusSource, PrometheusSourceConfig, QueryTemplate, RefreshSpec};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let source = PrometheusSource::new(PrometheusSourceConfig::from_vars(std::env::vars())?)?;
    let queries = [
        (
            "kv_cache",
            r#"max by (pod) (vllm:kv_cache_usage_perc{namespace="{{.namespace}}"})"#,
        ),
        (
            "queue_depth",
            r#"sum by (pod) (vllm:num_requests_waiting{namespace="{{.namespace}}"})"#,
        ),
        (
            "running",
            r#"sum by (pod) (vllm:num_requests_running{namespace="{{.namespace}}"})"#,
        ),
    ];
    for (name, template) in queries {
        source
            .query_list()
            .register(QueryTemplate::promql(name, template).params(["namespace"]))?;
    }

    // They run at the same time, and share their parameters.
    let spec = RefreshSpec::queries(["kv_cache", "queue_depth", "running"]).params([("namespace", "chat")]);
    for (name, outcome) in source.refresh(spec).await.iter() {
        match outcome {
            Ok(result) if result.is_no_data() => println!("{name}: no data"),
            Ok(result) => result.values().for_each(|value| println!("{name}: {value}")),
            Err(error) => println!("{name}: {error}"),
        }
    }
    Ok(())
}
