//! The Prometheus that the daemon is compared with.

use fleetgauge_testkit::Prometheus;
use serde_json::{Value, json};

/// A Prometheus that has scraped most of the pods in the file `targets` and scrapes them every second: the one that the
/// environment names, else the one that is installed.
pub(crate) fn prometheus_of(targets: &str, relabeling: &Value) -> Prometheus {
    let config = json!({"scrape_configs": [{
        "job_name": "pods", "scrape_interval": "1s", "scrape_timeout": "1s",
        "file_sd_configs": [{"files": [targets]}], "relabel_configs": relabeling,
    }]});
    let prometheus = Prometheus::builder()
        .config(config.to_string())
        .named_by_environment();
    let prometheus = prometheus.start().expect("a Prometheus");
    prometheus
        .wait_for("count(vllm:num_requests_waiting) >= 80")
        .expect("scraped");
    prometheus
}
