//! From nothing to a cached number. Set `PROMETHEUS_BASE_URL`, and `NAMESPACE` where it is not the `chat` of
//! `fleetgauge demo`.

use fleetgauge::{
    MetricsSource, Params, PrometheusSource, PrometheusSourceConfig, QueryTemplate, RefreshSpec,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // 1. A source: where the numbers come from.
    let source = PrometheusSource::new(PrometheusSourceConfig::from_vars(std::env::vars())?)?;

    // 2. A query, by name. Its template is checked here, not at its first use.
    source.query_list().register(
        QueryTemplate::promql(
            "kv_cache_usage",
            r#"max by (pod) (vllm:kv_cache_usage_perc{namespace="{{.namespace}}"})"#,
        )
        .params(["namespace"])
        .description("KV cache utilisation per pod, 0 to 1"),
    )?;

    // 3. Refresh: run it, keep the answer.
    let namespace = std::env::var("NAMESPACE").unwrap_or_else(|_| "chat".into());
    let params = Params::from([("namespace", namespace)]);
    let results = source
        .refresh(RefreshSpec::queries(["kv_cache_usage"]).params(params.clone()))
        .await;
    if let Err(error) = &results["kv_cache_usage"] {
        eprintln!("not refreshed: {error}");
    }

    // 4. Read: from memory, in nanoseconds, as often as you like.
    match source.get("kv_cache_usage", &params) {
        Some(cached) if cached.result().is_no_data() => println!("no pod reports its KV cache"),
        Some(cached) => {
            for value in cached.result().values() {
                println!("{}: {:.1} %", value.label("pod"), 100.0 * value.value);
            }
        }
        None => println!("nothing is known, which is not zero"),
    }
    Ok(())
}
