//! Python's `prometheus-api-client` makes of the Prometheus door what it makes of a Prometheus that holds the same.

use std::process::Command;

use fleetgauge_testkit::Prometheus;
use serde_json::Value;

use crate::support::door::{Door, START, open_metrics};
use crate::support::provided;

/// What the package makes of the answers of `url`.
fn made_of(url: &str) -> Value {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/ask.py");
    let output = Command::new(provided("FLEETGAUGE_PYTHON"))
        .args([script, url, &START.to_string()])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Prometheus 3 and Python's prometheus-api-client"]
async fn prometheus_api_client_takes_it_for_a_prometheus() {
    let door = Door::open().await;
    let prometheus = Prometheus::builder()
        .program(provided("FLEETGAUGE_PROMETHEUS_3"))
        .promtool(provided("FLEETGAUGE_PROMTOOL_3"))
        .data(&open_metrics())
        .start()
        .unwrap();
    let url = format!("http://{}", door.addr);
    let mut ours = tokio::task::spawn_blocking(move || made_of(&url)).await.unwrap();
    // It asks for the page at the root, which Debian's Prometheus is built without.
    assert_eq!(ours["connected"].take(), true);
    assert_eq!(ours["current"].as_array().unwrap().len(), 2);
    assert_eq!(ours["query"].as_array().unwrap().len(), 3);
    let mut theirs = made_of(&prometheus.url());
    theirs["connected"].take();
    assert_eq!(ours, theirs);
}
