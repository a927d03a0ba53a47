//! The rules of prometheus-adapter, translated and run: the numbers are those that the adapter's own queries give.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use fleetgauge_testkit::{OpenMetrics, Prometheus};
use serde_json::Value;

use crate::support::binary::{fleetgauge, text};
use crate::support::daemon::{Daemon, until};

const RULES: &str = r#"
rules:
- seriesQuery: 'http_requests_total{kubernetes_namespace!="",kubernetes_pod_name!=""}'
  resources:
    overrides:
      kubernetes_namespace: {resource: "namespace"}
      kubernetes_pod_name: {resource: "pod"}
  name: {matches: "^(.*)_total$", as: "${1}_per_second"}
  metricsQuery: 'sum(rate(<<.Series>>{<<.LabelMatchers>>}[2m])) by (<<.GroupBy>>)'
- seriesQuery: '{__name__=~"^container_.*",namespace!="",pod!=""}'
  resources: {template: "<<.Resource>>"}
  metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)'
externalRules:
- seriesQuery: '{__name__="queue_lag",name!=""}'
  metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (name)'
- seriesQuery: 'queue_depth'
  resources: {namespaced: false}
  metricsQuery: 'max(<<.Series>>{<<.LabelMatchers>>})'
"#;

/// The value of the reading with these labels.
fn value(daemon: &Daemon, metric: &str, labels: &[(&str, &str)]) -> f64 {
    let has = |reading: &Value| {
        labels
            .iter()
            .all(|(name, value)| reading["labels"][*name] == *value)
    };
    let mut found = None;
    until(|| {
        let readings = daemon.json(&format!("metrics/{metric}"))["readings"].take();
        let fitting: Vec<_> = readings
            .as_array()
            .into_iter()
            .flatten()
            .filter(|reading| has(reading))
            .collect();
        assert!(fitting.len() < 2, "{readings}");
        found = fitting.first().and_then(|reading| reading["value"].as_f64());
        found.is_some()
    });
    found.unwrap()
}

#[test]
fn rules_of_prometheus_adapter_are_translated_to_queries_with_the_same_numbers() {
    let directory = tempfile::tempdir().unwrap();
    let rules = directory.path().join("rules.yaml");
    fs::write(&rules, RULES).unwrap();
    let output = fleetgauge(
        "check",
        &["--from", "prometheus-adapter", rules.to_str().unwrap()],
        &[],
    );
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    let left_out = told.lines().filter(|line| !line.contains(": warning: "));
    let left_out: Vec<_> = left_out.collect();
    assert!(
        left_out.len() == 1 && left_out[0].contains("rules.yaml:10:16: which series it finds depends on"),
        "{told}"
    );
    let made = text(&output.stdout);
    assert!(made.contains("# rules[1] (line 10) is not here"), "{made}");
    let file = directory.path().join("fleetgauge.yaml");
    fs::write(&file, made).unwrap();
    let checked = fleetgauge("check", &[file.to_str().unwrap()], &[]);
    assert!(checked.status.success(), "{}\n{made}", text(&checked.stdout));

    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as u32;
    let times = || {
        (now - 900..now + 900)
            .step_by(15)
            .map(|time| (f64::from(time), f64::from(time + 900 - now)))
    };
    let mut data = OpenMetrics::new();
    // Two namespaces have pods and queues of the same names.
    for (namespace, factor) in [("chat", 1.0), ("code", 100.0)] {
        for (pod, rate) in [("web-0", 2.0), ("web-1", 3.0)] {
            let labels = |verb| {
                [
                    ("kubernetes_namespace", namespace),
                    ("kubernetes_pod_name", pod),
                    ("verb", verb),
                ]
            };
            for verb in ["GET", "POST"] {
                let samples: Vec<_> = times()
                    .map(|(time, passed)| (time, passed * rate * factor))
                    .collect();
                data = data.series("http_requests_total", &labels(verb), &samples);
            }
        }
        for (name, lag) in [("mail", 7.0), ("sms", 5.0)] {
            for partition in ["0", "1"] {
                let labels = [("namespace", namespace), ("name", name), ("partition", partition)];
                data = data.steady("queue_lag", &labels, lag * factor, (now - 900, now + 900, 15));
            }
        }
        data = data.steady(
            "queue_depth",
            &[("namespace", namespace)],
            4.0 * factor,
            (now - 900, now + 900, 15),
        );
    }
    let prometheus = Prometheus::builder().data(&data).start().unwrap();
    // Without the cluster, in which an HPA would ask.
    let made = made.replace("http://prometheus:9090", prometheus.url().trim_end_matches('/'));
    let (sources, rest) = made.split_once("kubernetes: {}").unwrap();
    let (_, queries) = rest.split_once("queries:").unwrap();
    fs::write(&file, format!("{sources}queries:{queries}")).unwrap();
    let daemon = Daemon::start(&file);
    // What the adapter asks for these pods, or this selector, in this namespace.
    for (metric, labels, adapters) in [
        (
            "http_requests_per_second",
            &[("namespace", "chat"), ("pod", "web-1")][..],
            "sum(rate(http_requests_total{kubernetes_namespace=\"chat\",kubernetes_pod_name=~\"web-1\"}[2m])) by (kubernetes_pod_name)",
        ),
        (
            "http_requests_per_second",
            &[("namespace", "code"), ("pod", "web-0")],
            "sum(rate(http_requests_total{kubernetes_namespace=\"code\",kubernetes_pod_name=~\"web-0\"}[2m])) by (kubernetes_pod_name)",
        ),
        (
            "queue_lag",
            &[("namespace", "code"), ("name", "sms")],
            "sum(queue_lag{name=\"sms\",namespace=\"code\"}) by (name)",
        ),
        ("queue_depth", &[], "max(queue_depth{})"),
    ] {
        let told = value(&daemon, metric, labels);
        let answer = prometheus.query(adapters, Some(f64::from(now))).unwrap();
        let expected: f64 = answer[0]["value"][1]
            .as_str()
            .unwrap_or_else(|| panic!("{answer}"))
            .parse()
            .unwrap();
        assert!(
            (told - expected).abs() < 1e-6 * expected,
            "{metric} {labels:?}: {told} and not {expected}"
        );
    }
}
