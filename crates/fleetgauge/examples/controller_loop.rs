//! A controller's loop: refresh, judge, act on what is read, and hold still where it is not whole.
//!
//! Half of the pods vanish under it: the queues of the others are no queue of the fleet, so the last number that was whole
//! is held for a while, and nothing is scaled by it. The pods are simulated ones on this machine.

use std::sync::Arc;
use std::time::Duration;

use fleetgauge::policy::{OnError, OnIncomplete, Policy};
use fleetgauge::reading::{Reading, ReadingSpec, Readings, Status};
use fleetgauge::scrape::{FileDiscovery, ScrapeConfig, ScrapeSource};
use fleetgauge::time::Clock;
use fleetgauge::{MetricsSource, Params, QueryTemplate, RefreshSpec};
use fleetgauge_sim::{EngineKind, Fault, Fleet, Variant};

const QUERY: &str = "queue";
const TURNS: usize = 6;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let llama = Variant::new("chat", "llama", EngineKind::Vllm { ranks: 1 }, "llama-8b").with_replicas(4);
    let fleet = Fleet::builder().variant(llama).stepped_by_hand().start().await?;
    let folder = tempfile::tempdir()?;
    let targets = folder.path().join("targets.json");
    std::fs::write(&targets, fleet.targets_file_sd())?;
    let source = ScrapeSource::start(
        ScrapeConfig::new("pods"),
        [Arc::new(FileDiscovery::new([targets])) as _],
    )?;
    source.query_list().register(QueryTemplate::promql(
        QUERY,
        "sum by (namespace) (vllm:num_requests_waiting)",
    ))?;

    let policy = Policy::default()
        .max_age(Duration::from_secs(30))
        .min_completeness(0.9)
        .on_incomplete(OnIncomplete::Hold)
        .on_error(OnError::Hold)
        .hold(Duration::from_secs(300));
    let spec = ReadingSpec::new("queue", QUERY.parse()?)
        .policy(policy)
        .knows_completeness();
    let readings = Readings::new(spec, Clock::system())?;
    let mut reader = readings.reader();

    for turn in 0..TURNS {
        match turn {
            2 => vanish(&fleet, Fault::Die).await?,
            4 => vanish(&fleet, Fault::Recover).await?,
            _ => {}
        }
        fleet.step(Duration::from_secs(1)).await;
        source.refresh(RefreshSpec::queries([QUERY])).await;
        readings.update(&source.lookup(QUERY, &Params::new()), None);
        decide(&reader.get(&[("namespace", "chat")]));
    }
    source.shutdown().await;
    fleet.shutdown().await;
    Ok(())
}

/// Says what the autoscaler would do. It acts on a value alone.
fn decide(reading: &Reading<'_>) {
    let completeness = reading
        .completeness()
        .map_or(String::new(), |known| known.to_string());
    match (reading.status(), reading.value()) {
        (Status::Value, Some(queue)) if queue > 10.0 => println!("scale up, {queue} wait; {completeness}"),
        (Status::Value, Some(queue)) => println!("enough, {queue} wait; {completeness}"),
        (status, last) => {
            let reason = reading.reason().map_or("", |reason| reason.code.as_str());
            println!("hold, {status:?} ({reason}): {last:?} waited when it was last known");
        }
    }
}

/// Lets `fault` happen to half of the pods.
async fn vanish(fleet: &Fleet, fault: Fault) -> Result<(), Box<dyn std::error::Error>> {
    for pod in fleet.pods().iter().take(2) {
        fleet.inject(pod.id, fault).await?;
    }
    Ok(())
}
