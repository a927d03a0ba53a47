//! What the demo says of its fleet, and what to try with it.

use std::thread;

use fleetgauge_sim::SimPod;
use tokio::sync::oneshot;

/// The pod that the fleet's script is for: the second of the first variant, which a fleet of fewer than five lacks.
pub(super) fn misbehaving(pods: &[SimPod]) -> Option<&SimPod> {
    match pods {
        [first, second, ..] if first.variant == second.variant => Some(second),
        _ => None,
    }
}

/// What reads a pod of the fleet.
pub(super) fn scrape_command(pods: &[SimPod]) -> Option<String> {
    let url = &pods.first()?.url;
    Some(format!(
        "{} scrape {url} --metric vllm:num_requests_waiting",
        binary()
    ))
}

/// What asks a Prometheus that scrapes the fleet.
pub(super) fn query_command(pods: &[SimPod], prometheus: &str) -> Option<String> {
    let pod = pods.iter().find(|pod| !pod.model.is_empty())?;
    Some(format!(
        "{} query inference/queue_length --prometheus {prometheus} -p namespace={} -p modelID={}",
        binary(),
        pod.namespace,
        pod.model
    ))
}

/// Prints on a thread of its own: one that waits for its reader keeps nothing else waiting.
pub(super) async fn aside(print: impl FnOnce() -> anyhow::Result<()> + Send + 'static) -> anyhow::Result<()> {
    let (tell, printed) = oneshot::channel();
    thread::spawn(move || tell.send(print()));
    printed.await?
}

/// What this program was called by, so that hints can be pasted.
pub(super) fn binary() -> String {
    std::env::args().next().unwrap_or_else(|| "fleetgauge".to_owned())
}

pub(super) fn count(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}
