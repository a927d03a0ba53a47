//! A real Prometheus and the scrape source make the same targets of the same labels by the same `relabel_configs`.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;

use fleetgauge::scrape::{RelabelConfig, Relabeling, ScrapeConfig, ScrapeSource};
use fleetgauge::target::{StaticTargets, TargetDiscovery};
use fleetgauge::{MetricsSource, QueryTemplate, RefreshSpec};
use fleetgauge_testkit::{Prometheus, http};
use serde_json::{Value, json};

/// What is discovered. Nobody listens there.
const LABELS: [(&str, &str); 9] = [
    ("__address__", "127.0.0.1:9"),
    ("__meta_kubernetes_namespace", "chat"),
    ("__meta_kubernetes_pod_name", "vllm-llama-8b-7d4b9c6f5-xk2vp"),
    ("__meta_kubernetes_pod_label_app", "vLLM"),
    ("__meta_kubernetes_pod_label_model", "llama-8b"),
    ("__meta_kubernetes_pod_annotation_port", "8001"),
    ("__meta_kubernetes_pod_annotation_path", "/stats"),
    ("zone", "eu-1"),
    ("rack", "R7"),
];

/// Lists of rules, as they are written.
const RULES: &[&str] = &[
    r#"[]"#,
    r#"[{"source_labels": ["__meta_kubernetes_namespace"], "target_label": "namespace"},
        {"source_labels": ["__meta_kubernetes_pod_name"], "target_label": "pod"}]"#,
    // The common ones of annotations.
    r#"[{"source_labels": ["__address__", "__meta_kubernetes_pod_annotation_port"], "regex": "([^:]+)(?::\\d+)?;(\\d+)",
         "replacement": "$1:$2", "target_label": "__address__"},
        {"source_labels": ["__meta_kubernetes_pod_annotation_path"], "regex": "(.+)", "target_label": "__metrics_path__"},
        {"target_label": "__scheme__", "replacement": "https"}, {"target_label": "__param_format", "replacement": "text"}]"#,
    r#"[{"regex": "__meta_kubernetes_pod_label_(.+)", "action": "labelmap"}]"#,
    r#"[{"regex": "__meta_kubernetes_pod_label_(.+)", "action": "labelmap", "replacement": "k8s_${1}"}]"#,
    // The whole value must fit.
    r#"[{"source_labels": ["__meta_kubernetes_pod_label_model"], "regex": "llama.8b", "target_label": "fits", "replacement": "yes"},
        {"source_labels": ["__meta_kubernetes_pod_label_model"], "regex": "llama", "target_label": "part", "replacement": "yes"}]"#,
    r#"[{"source_labels": ["zone", "rack"], "separator": "/", "target_label": "place"}]"#,
    r#"[{"source_labels": ["zone", "none", "rack"], "target_label": "place"}]"#,
    // An empty value takes the label away.
    r#"[{"target_label": "zone", "replacement": ""}]"#,
    r#"[{"source_labels": ["none"], "target_label": "zone"}]"#,
    r#"[{"source_labels": ["zone"], "regex": "(us)-.*", "target_label": "zone"}]"#,
    // What is written to may be captured too.
    r#"[{"source_labels": ["zone"], "regex": "(\\w+)-(\\d+)", "target_label": "zone_$1", "replacement": "$2"}]"#,
    r#"[{"source_labels": ["zone"], "regex": "(?P<region>\\w+)-.*", "target_label": "region", "replacement": "${region}!$$"}]"#,
    r#"[{"source_labels": ["zone"], "regex": "(x)?.*", "target_label": "$1", "replacement": "none"}]"#,
    r#"[{"source_labels": ["zone"], "regex": "eu-.*", "action": "keep"}]"#,
    r#"[{"source_labels": ["zone"], "regex": "eu", "action": "keep"}]"#,
    r#"[{"source_labels": ["zone"], "regex": "eu-.*", "action": "drop"}]"#,
    r#"[{"source_labels": ["none"], "regex": "", "action": "keep"}]"#,
    r#"[{"source_labels": ["zone"], "target_label": "zone", "action": "keepequal"}]"#,
    r#"[{"source_labels": ["zone"], "target_label": "rack", "action": "keepequal"}]"#,
    r#"[{"source_labels": ["zone"], "target_label": "zone", "action": "dropequal"}]"#,
    r#"[{"source_labels": ["none"], "target_label": "nothing", "action": "dropequal"}]"#,
    r#"[{"source_labels": ["__address__"], "modulus": 7, "target_label": "shard", "action": "hashmod"},
        {"source_labels": ["zone", "rack"], "modulus": 1000000007, "target_label": "hash", "action": "hashmod"},
        {"source_labels": ["none"], "modulus": 18446744073709551615, "target_label": "of_nothing", "action": "hashmod"}]"#,
    r#"[{"regex": "zo.*", "action": "labeldrop"}]"#,
    r#"[{"regex": "__.*|job|rack", "action": "labelkeep"}]"#,
    r#"[{"regex": "job", "action": "labeldrop"}]"#,
    r#"[{"source_labels": ["__meta_kubernetes_pod_label_app"], "target_label": "app", "action": "lowercase"},
        {"source_labels": ["zone", "rack"], "target_label": "place", "action": "uppercase"}]"#,
    r#"[{"target_label": "instance", "source_labels": ["__meta_kubernetes_pod_name"]}, {"target_label": "job", "replacement": "vllm"}]"#,
    // Each reads what the ones before have made.
    r#"[{"target_label": "__tmp", "replacement": "a"}, {"source_labels": ["__tmp"], "target_label": "b"},
        {"source_labels": ["b"], "regex": "a", "action": "drop"}]"#,
    r#"[{"source_labels": ["__scheme__", "__metrics_path__", "job"], "target_label": "seen"}]"#,
    r#"[{"action": "REPLACE", "target_label": "any", "replacement": "case"}]"#,
];

fn rule(written: &Value) -> RelabelConfig {
    let text = |name: &str| written[name].as_str().map(str::to_owned);
    let mut rule = RelabelConfig::default();
    let labels = written["source_labels"].as_array().into_iter().flatten();
    rule.source_labels = labels.map(|label| label.as_str().unwrap().to_owned()).collect();
    rule.separator = text("separator");
    rule.regex = text("regex");
    rule.modulus = written["modulus"].as_u64();
    rule.target_label = text("target_label");
    rule.replacement = text("replacement");
    rule.action = text("action");
    rule
}

fn relabeling(written: &Value) -> Relabeling {
    let rules: Vec<_> = written.as_array().unwrap().iter().map(rule).collect();
    Relabeling::new(&rules).unwrap()
}

/// The labels of the target, and where it is; `None` where it was dropped.
type Made = Option<(BTreeMap<String, String>, String)>;

async fn ours(job: &str, rules: &Value) -> Made {
    let config = ScrapeConfig::new(job).with_relabeling(relabeling(rules));
    let discovery = StaticTargets::default().with_target(LABELS);
    let source = ScrapeSource::start(config, [Arc::new(discovery) as Arc<dyn TargetDiscovery>]).unwrap();
    source.refresh(RefreshSpec::queries(["all_metrics"])).await;
    let targets = source.targets();
    assert_eq!(source.scrape_stats().targets_relabel_dropped, 1 - targets.len());
    assert_eq!(source.scrape_stats().targets_dropped, 0);
    let target = targets.into_iter().next()?;
    Some((target.labels.clone().into_iter().collect(), target.url))
}

#[tokio::test]
async fn targets_are_relabelled_as_by_prometheus() {
    let rules: Vec<Value> = RULES
        .iter()
        .map(|rules| serde_json::from_str(rules).unwrap())
        .collect();
    let labels: BTreeMap<_, _> = LABELS.into_iter().skip(1).collect();
    let jobs = rules.iter().enumerate().map(|(at, rules)| {
        json!({
            "job_name": format!("case{at}"), "scrape_interval": "1h", "relabel_configs": rules,
            "static_configs": [{"targets": [LABELS[0].1], "labels": labels}],
        })
    });
    let config = json!({"scrape_configs": jobs.collect::<Vec<_>>()});
    let prometheus = Prometheus::builder().config(config.to_string()).start().unwrap();
    let answer: Value = loop {
        let answer = http::get(prometheus.addr(), "/api/v1/targets").unwrap();
        let answer: Value = serde_json::from_slice(&answer.body).unwrap();
        let known = answer["data"]["activeTargets"].as_array().unwrap().len()
            + answer["data"]["droppedTargets"].as_array().unwrap().len();
        if known == rules.len() {
            break answer;
        }
        tokio::task::yield_now().await;
    };
    let theirs = |job: &str| -> Made {
        let mut targets = answer["data"]["activeTargets"].as_array().unwrap().iter();
        let target = targets.find(|target| target["scrapePool"] == job)?;
        let url = target["scrapeUrl"].as_str().unwrap();
        let url = url.split('?').next().unwrap().to_owned();
        Some((serde_json::from_value(target["labels"].clone()).unwrap(), url))
    };
    let mut dropped = 0;
    for (at, rules) in rules.iter().enumerate() {
        let job = format!("case{at}");
        let made = ours(&job, rules).await;
        dropped += usize::from(made.is_none());
        assert_eq!(made, theirs(&job), "{rules}");
    }
    assert_eq!(dropped, 6, "rules that drop the target");
}

/// Where rules drop whatever was found, that is told: it is mostly a mistake in them.
#[tokio::test]
async fn that_rules_drop_all_targets_is_told() {
    let rules = json!([{"source_labels": ["zone"], "regex": "us-.*", "action": "keep"}]);
    let config = ScrapeConfig::new("vllm").with_relabeling(relabeling(&rules));
    let discovery = StaticTargets::default()
        .with_target(LABELS)
        .with_target([("__address__", "127.0.0.2:9")]);
    let source = ScrapeSource::start(config, [Arc::new(discovery) as Arc<dyn TargetDiscovery>]).unwrap();
    let results = source.refresh(RefreshSpec::queries(["all_metrics"])).await;
    let answer = results["all_metrics"].as_ref().unwrap();
    assert!(answer.is_no_data());
    let told: Vec<_> = answer.warnings().collect();
    assert_eq!(
        told,
        ["there are no targets: relabel_configs drop all 2 that were found by static"]
    );
}

/// A rule that writes a label into itself again and again does not fill the memory, and costs its target alone.
#[tokio::test]
async fn a_label_that_grows_without_end_leaves_its_target_out() {
    let doubling = json!({"source_labels": ["long", "long"], "separator": "", "target_label": "long"});
    let mut rules = vec![json!({"source_labels": ["rack"], "target_label": "long"})];
    rules.extend(std::iter::repeat_n(doubling, 64));
    let config = ScrapeConfig::new("vllm").with_relabeling(relabeling(&json!(rules)));
    let discovery = StaticTargets::default()
        .with_target(LABELS)
        .with_target([("__address__", "127.0.0.2:9")]);
    let source = ScrapeSource::start(config, [Arc::new(discovery) as Arc<dyn TargetDiscovery>]).unwrap();
    let results = source.refresh(RefreshSpec::queries(["all_metrics"])).await;
    assert_eq!(source.targets().len(), 1);
    assert_eq!(source.scrape_stats().targets_dropped, 1);
    let told = format!("{:?}", results["all_metrics"]);
    assert!(told.contains("exceed 65536 bytes"), "{told}");
}

/// What a target is called is what rules make of it: an answer about that name lacks it.
#[tokio::test]
async fn a_target_that_rules_break_is_missed_under_its_new_name() {
    let rules = json!([
        {"target_label": "zone", "replacement": "us-2"},
        {"source_labels": ["rack"], "regex": "R7", "target_label": "__scheme__", "replacement": "gopher"},
    ]);
    let config = ScrapeConfig::new("vllm").with_relabeling(relabeling(&rules));
    let other = [("__address__", "127.0.0.2:9"), ("zone", "eu-1")];
    let discovery = StaticTargets::default().with_target(LABELS).with_target(other);
    let source = ScrapeSource::start(config, [Arc::new(discovery) as Arc<dyn TargetDiscovery>]).unwrap();
    source.query_list().must_register(QueryTemplate::promql(
        "q",
        r#"vector(1) unless absent(up{zone="us-2"})"#,
    ));
    let results = source.refresh(RefreshSpec::queries(["q"])).await;
    let answer = results["q"].as_ref().unwrap();
    assert!(!answer.is_complete(), "{answer:?}");
    let told: Vec<_> = answer.warnings().collect();
    assert!(told.iter().any(|warning| warning.contains("gopher")), "{told:?}");
}

#[test]
fn rules_that_cannot_be_used_are_refused() {
    let check = |rules: &str, expected: &str| {
        let rules: Value = serde_json::from_str(rules).unwrap();
        let rules: Vec<_> = rules.as_array().unwrap().iter().map(rule).collect();
        let (at, error) = Relabeling::new(&rules).expect_err(expected);
        assert_eq!((at, error.to_string().as_str()), (rules.len() - 1, expected));
    };
    check(
        r#"[{"target_label": "a"}, {"source_labels": ["a"]}]"#,
        "action replace requires target_label",
    );
    check(
        r#"[{"action": "hashmod", "target_label": "a"}]"#,
        "action hashmod requires a modulus of at least 1",
    );
    check(
        r#"[{"action": "hashmod", "target_label": "a", "modulus": 0}]"#,
        "action hashmod requires a modulus of at least 1",
    );
    check(
        r#"[{"action": "labeldrop", "source_labels": ["a"]}]"#,
        "action labeldrop takes no source_labels",
    );
    check(
        r#"[{"action": "keepequal", "target_label": "a", "regex": "b"}]"#,
        "action keepequal takes no regex",
    );
    check(
        r#"[{"action": "keep", "regex": "a("}]"#,
        "regex \"a(\" cannot be used: it opens a parenthesis that it does not close",
    );
    check(
        r#"[{"action": "throw"}]"#,
        "\"throw\" is no action of relabel_configs: it takes replace, keep, drop, keepequal, dropequal, hashmod, labelmap, labeldrop, labelkeep, lowercase, uppercase",
    );
    check(
        r#"[{"action": "keeep"}]"#,
        "\"keeep\" is no action of relabel_configs: it takes replace, keep, drop, keepequal, dropequal, hashmod, labelmap, labeldrop, labelkeep, lowercase, uppercase; did you mean \"keep\"?",
    );
}
