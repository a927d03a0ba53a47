//! Pattern 4: refreshed once, read many times. A read never touches the network, and in a loop a prepared
//! query spares even the lookup.

use fleetgauge::{
    MetricsSource, Params, PrometheusSource, PrometheusSourceConfig, QueryTemplate, RefreshSpec,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let source = PrometheusSource::new(PrometheusSourceConfig::from_vars(std::env::vars())?)?;
    source.query_list().register(
        QueryTemplate::promql(
            "kv_cache",
            r#"max by (pod) (vllm:kv_cache_usage_perc{namespace="{{.namespace}}"})"#,
        )
        .params(["namespace"]),
    )?;
    let params = Params::from([("namespace", "chat")]);
    source
        .refresh(RefreshSpec::queries(["kv_cache"]).params(params.clone()))
        .await;

    for pod in ["vllm-deepseek-0", "no-such-pod"] {
        let usage = source.get("kv_cache", &params).and_then(|cached| {
            cached
                .result()
                .values()
                .find(|value| value.label("pod") == pod)
                .map(|value| value.value)
        });
        match usage {
            Some(usage) => println!("{pod}: {usage}"),
            None => println!("{pod}: unknown"),
        }
    }

    let mut prepared = source.prepare("kv_cache", &params)?;
    let fullest = (0..1_000).filter_map(|_| {
        let values = prepared.get()?.result().values();
        values.map(|value| value.value).max_by(f64::total_cmp)
    });
    println!("fullest over 1,000 reads: {:?}", fullest.max_by(f64::total_cmp));
    Ok(())
}
