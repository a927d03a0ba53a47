//! The fleet scraped directly: no server but the pods' own.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use fleetgauge::scrape::{ConfigError, ConnectionError, ScrapeConfig, ScrapeSource, TargetStatus};
use fleetgauge_core::backend::FetchError;
use fleetgauge_core::target::{self, SnapshotStream, TargetDiscovery, TargetLabels};
use fleetgauge_sim::Fleet;
use futures_util::future::{self, BoxFuture, FutureExt as _};

use super::target::{PodKey, TargetState, Targets};

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
        error: target.last_error.map(|failure| in_few_words(&failure.error)),
    };
    ((label("namespace"), label("pod")), state)
}

/// The error of a scrape in few words: what went wrong, without the place, which stands beside it.
fn in_few_words(error: &FetchError) -> String {
    match (ConnectionError::of(error), error) {
        (Some(connection), _) if connection.is_cut_off => "page cut off".to_owned(),
        (Some(connection), _) => connection.what.clone(),
        (None, FetchError::Unreachable { detail, .. } | FetchError::Malformed { detail, .. }) => {
            detail.clone()
        }
        (None, FetchError::Rejected { message, .. }) => message.clone(),
        (None, FetchError::Timeout { after }) => format!("timeout after {after:?}"),
        (None, FetchError::Unavailable { status, .. }) => format!("HTTP {status}"),
        (None, other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use fleetgauge::scrape::PageFetcher;
    use fleetgauge_core::target::{Target, TargetDefaults};
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    use super::*;

    /// Real failures, of a server that says this and no more, then closes or hangs.
    #[tokio::test]
    async fn errors_are_told_in_few_words() {
        let check = async |answer: Option<&'static str>, hangs: bool, expected: &str| {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap().to_string();
            // Without an answer, nobody listens any more.
            let listener = answer.is_some().then_some(listener);
            let serve = async move {
                let (Some(listener), Some(answer)) = (listener, answer) else {
                    return pending().await;
                };
                let (mut connection, _) = listener.accept().await.unwrap();
                // What was asked is read, so that closing does not reset the connection.
                connection.readable().await.unwrap();
                let _ = connection.try_read(&mut [0; 4096]);
                connection.write_all(answer.as_bytes()).await.unwrap();
                if hangs {
                    pending::<()>().await;
                }
                drop(connection);
                pending().await
            };
            let config = ScrapeConfig::default().with_timeout(Duration::from_secs(1));
            let labels = [("__address__".to_owned(), address)].into();
            let target = Target::from_labels(&labels, &TargetDefaults::default()).unwrap();
            let fetcher = PageFetcher::new(config).unwrap();
            let fetched = tokio::select! {
                fetched = fetcher.fetch(&target) => fetched,
                never = serve => never,
            };
            assert_eq!(in_few_words(&fetched.unwrap_err()), expected);
        };
        check(None, false, "connection refused").await;
        let cut_off = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 9\r\n\r\na 1\n";
        check(Some(cut_off), false, "page cut off").await;
        check(Some(""), true, "timeout after 1s").await;
        let failing = "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n";
        check(Some(failing), false, "HTTP 500").await;
    }
}
