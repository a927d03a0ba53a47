//! Testing one's own code: a source that answers, fails and dawdles as the test says.

use std::time::Duration;

use fleetgauge::age::Age;
use fleetgauge::backend::FetchError;
use fleetgauge::completeness::{Completeness, Report};
use fleetgauge::{FixedBackend, MetricsSource, Params, QueryTemplate, RefreshSpec};

const MAX_AGE: Duration = Duration::from_secs(30);

/// The code under test: how many replicas a queue needs, if that can be told.
async fn replicas_needed(source: &dyn MetricsSource) -> Result<u64, String> {
    let results = source.refresh(RefreshSpec::queries(["queue_depth"])).await;
    let result = results["queue_depth"].as_ref().map_err(ToString::to_string)?;
    if result.is_no_data() {
        return Err("no pod reports its queue".into());
    }
    if !result.is_complete() {
        return Err("not all pods report".into());
    }
    // What nothing is known of may be as old as it likes.
    let is_fresh = |row| result.age(row).duration().is_some_and(|age| age <= MAX_AGE);
    if !(0..result.len()).all(is_fresh) {
        return Err("a number is too old".into());
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

/// Answers with these values, all of them this old.
fn answers<const N: usize>(values: [([(&str, &str); 1], f64); N], seconds: u64) -> FixedBackend {
    let age = Age::exact(Duration::from_secs(seconds));
    FixedBackend::new()
        .values("queue_depth", values)
        .ages("queue_depth", [age; N])
}

#[tokio::main]
async fn main() {
    let busy = [([("pod", "a")], 14.0), ([("pod", "b")], 7.0)];
    assert_eq!(replicas_needed(&source_of(answers(busy, 3))).await, Ok(3));

    let broken = [([("pod", "a")], f64::NAN)];
    let broken = source_of(answers(broken, 3));
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

    let old = source_of(answers(busy, 40));
    assert_eq!(replicas_needed(&old).await, Err("a number is too old".into()));

    let mut one_of_two = Completeness::known();
    one_of_two.add("pod a", Report::Reported);
    one_of_two.add("pod b", Report::Missing("connection refused"));
    let partial = source_of(answers([busy[0]], 3).completeness("queue_depth", one_of_two));
    assert_eq!(replicas_needed(&partial).await, Err("not all pods report".into()));

    let timeout = FetchError::Timeout {
        after: Duration::from_secs(10),
    };
    let down = source_of(answers(busy, 3).failure("queue_depth", timeout));
    assert_eq!(replicas_needed(&down).await, Ok(3));
    let error = replicas_needed(&down).await;
    assert_eq!(error, Err("query queue_depth: no answer within 10s".into()));
    assert!(
        down.get("queue_depth", &Params::new()).is_some(),
        "the last good value stays"
    );
    println!("all as expected");
}
