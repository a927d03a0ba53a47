//! Testing one's own code: a source that answers, fails and dawdles as the test says.

use std::time::Duration;

use fleetgauge::backend::FetchError;
use fleetgauge::{FixedBackend, MetricsSource, Params, QueryTemplate, RefreshSpec};

/// The code under test: how many replicas a queue needs, if that can be told.
async fn replicas_needed(source: &dyn MetricsSource) -> Result<u64, String> {
    let results = source.refresh(RefreshSpec::queries(["queue_depth"])).await;
    let result = results["queue_depth"].as_ref().map_err(ToString::to_string)?;
    if result.is_no_data() {
        return Err("no pod reports its queue".into());
    }
    let waiting: f64 = result.values().map(|value| value.value).sum();
    if waiting.is_finite() {
        Ok((waiting / 10.0).ceil() as u64)
    } else {
        Err("the queue is undefined".into())
    }
}

fn source_of(backend: FixedBackend) -> impl MetricsSource {
    let source = backend.into_source();
    source
        .query_list()
        .must_register(QueryTemplate::promql("queue_depth", "vllm:num_requests_waiting"));
    source
}

#[tokio::main]
async fn main() {
    let busy = [([("pod", "a")], 14.0), ([("pod", "b")], 7.0)];
    assert_eq!(
        replicas_needed(&source_of(FixedBackend::new().values("queue_depth", busy))).await,
        Ok(3)
    );

    let broken = [([("pod", "a")], f64::NAN)];
    let broken = source_of(FixedBackend::new().values("queue_depth", broken));
    assert_eq!(
        replicas_needed(&broken).await,
        Err("the queue is undefined".into())
    );

    // Nothing was said of the query: it has no data.
    let silent = source_of(FixedBackend::new());
    assert_eq!(
        replicas_needed(&silent).await,
        Err("no pod reports its queue".into())
    );

    let timeout = FetchError::Timeout {
        after: Duration::from_secs(10),
    };
    let down = source_of(
        FixedBackend::new()
            .values("queue_depth", busy)
            .failure("queue_depth", timeout),
    );
    assert_eq!(replicas_needed(&down).await, Ok(3));
    let error = replicas_needed(&down).await;
    assert_eq!(error, Err("query queue_depth: no answer within 10s".into()));
    assert!(
        down.get("queue_depth", &Params::new()).is_some(),
        "the last good value stays"
    );
    println!("all as expected");
}
