//! The fleet scraped directly: no server but the pods' own.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use fleetgauge::scrape::{ConfigError, ScrapeConfig, ScrapeSource, TargetStatus};
use fleetgauge_core::target::{self, SnapshotStream, TargetDiscovery, TargetLabels};
use fleetgauge_sim::Fleet;
use futures_util::future::{self, BoxFuture, FutureExt as _};

use super::target::{PodKey, TargetState, Targets, in_few_words};

/// Scrapes the fleet every `interval`, and keeps the last values of a pod that fails for five of them, until the last clone of the source is dropped.
pub(crate) fn scrape(fleet: &Arc<Fleet>, interval: Duration) -> Result<ScrapeSource, ConfigError> {
    let config = ScrapeConfig::new("fleet")
        .with_interval(interval)
        .with_stale_after(5 * interval);
    ScrapeSource::start(config, [Arc::new(FleetPods(Arc::downgrade(fleet))) as _])
}

/// Stands in for the Kubernetes API: says which pods there are.
struct FleetPods(Weak<Fleet>);

/// What the source says of its targets.
pub(crate) struct PodTargets(pub(crate) ScrapeSource);

// === impl FleetPods ===

impl TargetDiscovery for FleetPods {
    fn name(&self) -> &str {
        "simulated fleet"
    }

    fn watch(self: Arc<Self>) -> SnapshotStream {
        target::polled(Duration::from_millis(100), move || {
            let pods = self.0.upgrade().map(|fleet| fleet.pods()).unwrap_or_default();
            let targets = pods.into_iter().map(|pod| {
                let labels = [
                    ("__address__", pod.address.to_string()),
                    ("namespace", pod.namespace),
                    ("pod", pod.name),
                    ("job", pod.variant),
                ];
                TargetLabels::from(labels.map(|(name, value)| (name.to_owned(), value)))
            });
            future::ready(Ok(targets.collect()))
        })
    }
}

// === impl PodTargets ===

impl Targets for PodTargets {
    fn states(&self) -> BoxFuture<'_, Result<HashMap<PodKey, TargetState>, String>> {
        let errors = self.0.discovery_errors();
        let states = match errors.first() {
            Some((name, error)) => Err(format!("{name}: {error}")),
            None => Ok(self.0.targets().into_iter().map(state).collect()),
        };
        future::ready(states).boxed()
    }
}

fn state(target: TargetStatus) -> (PodKey, TargetState) {
    let label = |name: &str| target.labels.get(name).cloned().unwrap_or_default();
    let state = TargetState {
        scraped_at: target.last_success,
        error: target
            .last_error
            .map(|failure| in_few_words(&failure.to_string())),
    };
    ((label("namespace"), label("pod")), state)
}
