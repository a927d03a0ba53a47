//! A forecast: how long the queue will be in five minutes, if it goes on as in the last two. The query is asked over a
//! range, and `predict_linear` looks at its answer.

use std::time::Duration;

use fleetgauge::{
    MetricsSource, Params, PrometheusSource, PrometheusSourceConfig, QueryTemplate, RefreshSpec, transform,
};

const WINDOW: Duration = Duration::from_secs(60);
const STEP: Duration = Duration::from_secs(15);

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let source = PrometheusSource::new(PrometheusSourceConfig::from_vars(std::env::vars())?)?;
    let backlog = QueryTemplate::promql("backlog", "sum(llm_d_epp_flow_control_queue_size)").unit("requests");
    let mut forecast = backlog
        .clone()
        .transform(transform::promql("predict_linear(answer[2m], 300)")?);
    forecast.name = "backlog_in_5m".to_owned();
    source.query_list().register(backlog)?;
    source.query_list().register(forecast)?;

    let names = ["backlog", "backlog_in_5m"];
    let results = source
        .refresh_range(RefreshSpec::queries(names), WINDOW, STEP)
        .await;
    for (name, error) in results.failures() {
        eprintln!("{name}: {error}");
    }
    for name in names {
        // As fast as a read of one value, and without touching the network.
        let Some(range) = source.get_range(name, &Params::new(), WINDOW, STEP) else {
            println!("{name}: unknown");
            continue;
        };
        // A step without a value is absent, so the last point may be of an earlier time: it says of which.
        match range
            .result()
            .answer()
            .series()
            .next()
            .and_then(|series| series.points().last())
        {
            Some(point) => println!("{name}: {:.0} at {}", point.value, point.timestamp),
            None => println!("{name}: no data"),
        }
    }
    Ok(())
}
