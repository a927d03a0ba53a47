//! The daemon in a real cluster: what it is told of pods is what it reads from them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use axum::Router;
use axum::routing::get;
use fleetgauge_testcluster::{Cluster, NodeAgent};
use fleetgauge_testkit::Prometheus;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt as _};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::support::daemon::{Daemon, PATIENCE, until};

/// A namespace whose pods are engines, each of which says that three requests wait.
struct Namespace {
    name: &'static str,
    runtime: Runtime,
    client: Client,
    _agent: NodeAgent,
}

// === impl Namespace ===

impl Namespace {
    fn new(name: &'static str) -> Self {
        Self::saying(name, |_: &Pod| 3)
    }

    /// As many requests wait at each engine as `waiting` says of its pod.
    fn saying(name: &'static str, waiting: impl Fn(&Pod) -> u32 + Send + Sync + 'static) -> Self {
        let runtime = Runtime::new().unwrap();
        let cluster = Cluster::shared();
        let (client, agent) = runtime.block_on(async {
            cluster.namespace(name).await.unwrap();
            let client = cluster.client().await.unwrap();
            let engine = move |pod: &Pod| {
                let page = format!("waiting{{from=\"{}\"}} {}\n", pod.name_any(), waiting(pod));
                Router::new().route("/metrics", get(async move || page))
            };
            let agent = NodeAgent::start(client.clone(), name, engine).await.unwrap();
            (client, agent)
        });
        Self {
            name,
            runtime,
            client,
            _agent: agent,
        }
    }

    fn deploy(&self, deployment: &str, replicas: i32) {
        self.deploy_at(deployment, replicas, None);
    }

    /// On a node that may not be there, where pods never start.
    fn deploy_at(&self, deployment: &str, replicas: i32, node: Option<&str>) {
        let mut labels = json!({"app": "engine", "of": deployment});
        if deployment == "llama" {
            labels["llm-d.ai/variant"] = json!("llama");
        }
        let ports = json!([{"name": "metrics", "containerPort": 8124}]);
        let made = json!({
            "metadata": {"name": deployment},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {"nodeName": node, "containers": [{"name": "engine", "image": "engine", "ports": ports}]},
                },
            },
        });
        let made: Deployment = serde_json::from_value(made).unwrap();
        let deployments: Api<Deployment> = Api::namespaced(self.client.clone(), self.name);
        let post = PostParams::default();
        self.runtime.block_on(deployments.create(&post, &made)).unwrap();
    }

    /// Makes a pod that nothing controls, with a name as if a Deployment did.
    fn bare_pod(&self, name: &str) {
        let ports = json!([{"name": "metrics", "containerPort": 8124}]);
        let pod = json!({
            "metadata": {"name": name, "labels": {"app": "engine"}},
            "spec": {"containers": [{"name": "engine", "image": "engine", "ports": ports}]},
        });
        let pod: Pod = serde_json::from_value(pod).unwrap();
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), self.name);
        self.runtime
            .block_on(pods.create(&PostParams::default(), &pod))
            .unwrap();
    }

    /// Makes an autoscaler of a Deployment, which is a variant.
    fn autoscale(&self, name: &str, deployment: &str) {
        let hpa = json!({
            "metadata": {
                "name": name,
                "labels": {"llm-d.ai/managed": "true"},
                "annotations": {"llm-d.ai/model": format!("models/{deployment}")},
            },
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": deployment},
                "maxReplicas": 5,
            },
        });
        let hpa: HorizontalPodAutoscaler = serde_json::from_value(hpa).unwrap();
        let made = self.autoscalers();
        self.runtime
            .block_on(made.create(&PostParams::default(), &hpa))
            .unwrap();
    }

    /// Puts other pods in the place of those that a Deployment has.
    fn roll_out(&self, deployment: &str) {
        self.roll_out_as(deployment, 1);
    }

    fn roll_out_as(&self, deployment: &str, revision: i32) {
        let deployments: Api<Deployment> = Api::namespaced(self.client.clone(), self.name);
        let template = json!({"metadata": {"annotations": {"again": revision.to_string()}}});
        let patch = Patch::Merge(json!({"spec": {"template": template}}));
        let params = PatchParams::default();
        self.runtime
            .block_on(deployments.patch(deployment, &params, &patch))
            .unwrap();
    }

    fn autoscalers(&self) -> Api<HorizontalPodAutoscaler> {
        Api::namespaced(self.client.clone(), self.name)
    }

    fn scale(&self, deployment: &str, replicas: i32) {
        let deployments: Api<Deployment> = Api::namespaced(self.client.clone(), self.name);
        let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
        let params = PatchParams::default();
        let scaled = deployments.patch_scale(deployment, &params, &patch);
        self.runtime.block_on(scaled).unwrap();
    }
}

/// The configuration of a daemon that scrapes the engines of a namespace.
fn config(directory: &Path, namespace: &str, metrics: &str) -> PathBuf {
    let file = directory.join("fleetgauge.yaml");
    let kubeconfig = Cluster::shared().kubeconfig();
    let text = format!(
        "kubernetes: {{kubeconfig: '{}'}}\nsources:\n  pods:\n    scrape:\n      interval: 100ms\n      discovery:\n        \
         - {{kubernetes: {{namespaces: [{namespace}], selector: app=engine, ports: [metrics], labels: [llm-d.ai/variant]}}}}\n      \
         relabel_configs: [{{source_labels: [__meta_kubernetes_pod_uid], target_label: uid}}]\n\
         queries:\n  - {{name: waiting, template: waiting, fold: {{pod: max, variant: sum}}}}\n  - {{name: per_pod, template: \"sum by (namespace, pod) (waiting)\", fold: {{pod: max, variant: sum}}}}\nmetrics:\n{metrics}",
        kubeconfig.display()
    );
    fs::write(&file, text).unwrap();
    file
}

const QUEUE: &str = "  - {name: queue, query: waiting, every: 100ms, fold: sum}\n";

const FOR_EACH: &str = "  - {name: variant_queue, query: per_pod, every: 100ms, for_each: variant}\n";

/// The readings for each variant, as `VARIANT MODEL VALUE`, or with the reason that there is none.
fn for_each(daemon: &Daemon, namespace: &str) -> Vec<String> {
    let metric = daemon.json("metrics/variant_queue");
    let reading = |reading: &Value| {
        let label = |name: &str| reading["labels"][name].as_str().unwrap_or("-").to_owned();
        let told = match reading["value"].as_f64() {
            Some(value) => value.to_string(),
            None => reading["reason"]["code"].to_string(),
        };
        format!("{} {} {told}", label("variant"), label("model"))
    };
    let mut told: Vec<_> = metric["readings"]
        .as_array()
        .unwrap()
        .iter()
        // Other tests have variants of their own in this cluster.
        .filter(|reading| reading["labels"]["namespace"] == namespace)
        .map(reading)
        .collect();
    told.sort();
    told
}

fn until_for_each(daemon: &Daemon, namespace: &Namespace, expected: &[&str]) {
    let mut told = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    while told != expected {
        assert!(Instant::now() < deadline, "{told:?} instead of {expected:?}");
        told = for_each(daemon, namespace.name);
    }
}

/// How often the source has been asked.
fn flights(daemon: &Daemon) -> u64 {
    let sources = daemon.json("sources");
    sources["sources"][0]["flights"]
        .as_u64()
        .unwrap_or_else(|| panic!("{sources}"))
}

#[test]
#[ignore = "needs a Kubernetes control plane"]
fn pods_are_scraped_as_they_come_and_go_and_a_reload_keeps_what_is_known() {
    let namespace = Namespace::new("daemon-scrapes");
    let directory = tempfile::tempdir().unwrap();
    let file = config(directory.path(), namespace.name, QUEUE);
    let daemon = Daemon::start(&file);
    namespace.deploy("llama", 2);
    daemon.reading("queue", |reading| reading["value"] == 6);
    let targets = daemon.json("targets")["targets"].take();
    for target in targets.as_array().unwrap() {
        let labels = &target["labels"];
        assert_eq!(
            (&labels["namespace"], &labels["container"]),
            (&json!("daemon-scrapes"), &json!("engine"))
        );
        assert_eq!(labels["llm_d_ai_variant"], "llama");
        assert!(labels["pod"].as_str().unwrap().starts_with("llama-"), "{target}");
        assert_eq!(labels["uid"].as_str().unwrap().len(), 36, "{target}");
    }
    namespace.scale("llama", 3);
    daemon.reading("queue", |reading| reading["value"] == 9);
    namespace.scale("llama", 1);
    daemon.reading("queue", |reading| reading["value"] == 3);

    // What is said of cluster and source is the same, so they are, and nothing is listed anew.
    let before = flights(&daemon);
    assert!(before > 2, "{before}");
    let more = format!("{QUEUE}  - {{name: again, query: waiting, every: 100ms, fold: max}}\n");
    config(directory.path(), namespace.name, &more);
    daemon.signal(Signal::HUP);
    until(|| daemon.get("/api/fleetgauge/v1/metrics/again").0 == 200);
    assert!(flights(&daemon) >= before);
    daemon.reading("queue", |reading| reading["value"] == 3);
    namespace.scale("llama", 2);
    daemon.reading("queue", |reading| reading["value"] == 6);
}

/// The cluster is another one as soon as its kubeconfig is.
#[test]
#[ignore = "needs a Kubernetes control plane"]
fn a_kubeconfig_that_is_broken_is_not_taken_and_one_that_changes_is_used() {
    let namespace = Namespace::new("daemon-kubeconfig");
    namespace.deploy("llama", 1);
    let directory = tempfile::tempdir().unwrap();
    let kubeconfig = directory.path().join("kubeconfig");
    let right = fs::read_to_string(Cluster::shared().kubeconfig()).unwrap();
    let file = config(directory.path(), namespace.name, QUEUE);
    let text = fs::read_to_string(&file).unwrap();
    let given = Cluster::shared().kubeconfig().display().to_string();
    fs::write(&file, text.replace(&given, "kubeconfig")).unwrap();

    // Nobody listens there.
    let address = Cluster::shared().address().to_string();
    fs::write(&kubeconfig, right.replace(&address, "127.0.0.1:1")).unwrap();
    let daemon = Daemon::start(&file);
    let (status, ready) = daemon.get("/-/ready");
    assert!(status == 503 && ready.contains("the cluster"), "{status} {ready}");
    let refused = daemon.reading("queue", |reading| {
        reading["reason"]["text"].to_string().contains("onnect")
    });
    assert_eq!(
        (&refused["status"], &refused["value"]),
        (&json!("withheld"), &Value::Null),
        "{refused}"
    );

    fs::write(&kubeconfig, "users: [{name: u, user: {token: [hunter2").unwrap();
    daemon.logged("is not taken");
    let told = daemon.json("metrics")["configuration"]["error"].to_string();
    assert!(told.contains("kubeconfig") && !told.contains("hunter2"), "{told}");

    fs::write(&kubeconfig, right).unwrap();
    daemon.reading("queue", |reading| reading["value"] == 3);
}

/// By the owners of pods, whatever their names and labels look like.
#[test]
#[ignore = "needs a Kubernetes control plane"]
fn variants_are_those_of_the_cluster_and_their_readings_come_and_go_with_them() {
    let namespace = Namespace::new("daemon-variants");
    namespace.deploy("llama", 2);
    namespace.deploy("qwen", 1);
    namespace.bare_pod("llama-7d9c5b6f4-x2x9z");
    let directory = tempfile::tempdir().unwrap();
    let configured = "variants:\n  - {name: configured, namespace: daemon-variants, workload: {kind: Deployment, name: qwen}}\n  \
                      - {name: shadowed, namespace: daemon-variants, workload: {kind: Deployment, name: llama}}\n";
    let file = config(
        directory.path(),
        namespace.name,
        &format!("{QUEUE}{FOR_EACH}{configured}"),
    );
    namespace.autoscale("llama-hpa", "llama");
    let daemon = Daemon::start(&file);
    // All four are scraped, and each counts for its own.
    daemon.reading("queue", |reading| reading["value"] == 12);
    until_for_each(
        &daemon,
        &namespace,
        &["configured - 3", "llama-hpa models/llama 6"],
    );

    namespace.scale("llama", 3);
    until_for_each(
        &daemon,
        &namespace,
        &["configured - 3", "llama-hpa models/llama 9"],
    );
    namespace.autoscale("qwen-hpa", "qwen");
    until_for_each(
        &daemon,
        &namespace,
        &["llama-hpa models/llama 9", "qwen-hpa models/qwen 3"],
    );
    daemon.logged("the variant daemon-variants/qwen-hpa is there");

    // Several are nobody's: a number would be one variant's load at another's door.
    namespace.autoscale("second", "llama");
    until(|| {
        let told = for_each(&daemon, namespace.name);
        told.len() == 3 && told[0].ends_with("\"incomplete\"") && told[2].ends_with("\"incomplete\"")
    });
    let gone = |name: &str| {
        let gone = DeleteParams::default();
        namespace
            .runtime
            .block_on(namespace.autoscalers().delete(name, &gone))
            .unwrap();
    };
    gone("second");
    until_for_each(
        &daemon,
        &namespace,
        &["llama-hpa models/llama 9", "qwen-hpa models/qwen 3"],
    );
    gone("llama-hpa");
    daemon.logged("the variant daemon-variants/llama-hpa is gone");
    // The label of its pods comes before the configuration, which is then not one without pods.
    until_for_each(
        &daemon,
        &namespace,
        &["llama - 9", "qwen-hpa models/qwen 3", "shadowed - \"no_data\""],
    );
}

/// Nothing scales these: labels of pods alone name the variants, and fields select the pods.
#[test]
#[ignore = "needs a Kubernetes control plane"]
fn labels_of_pods_name_variants_fields_select_pods_and_replicas_are_counted() {
    let namespace = Namespace::new("daemon-labelled");
    namespace.deploy("llama", 2);
    namespace.deploy("qwen", 1);
    namespace.bare_pod("odd");
    let directory = tempfile::tempdir().unwrap();
    let file = config(directory.path(), namespace.name, &format!("{QUEUE}{FOR_EACH}"));
    let change = |changes: &[(&str, &str)]| {
        let text = fs::read_to_string(&file).unwrap();
        let text = changes
            .iter()
            .fold(text, |text, (from, to)| text.replacen(from, to, 1));
        fs::write(&file, text).unwrap();
    };
    change(&[
        (
            "kubernetes: {",
            "kubernetes: {variant_label: of, namespaces: [daemon-labelled], ",
        ),
        (
            "selector: app=engine",
            "selector: app=engine, field_selector: 'metadata.name!=odd'",
        ),
    ]);
    let daemon = Daemon::start(&file);
    daemon.reading("queue", |reading| reading["value"] == 9);
    until_for_each(&daemon, &namespace, &["llama - 6", "qwen - 3"]);
    let replicas = |variant: &str| {
        let variants = daemon.json("variants");
        let mut variants = variants["variants"].as_array().unwrap().iter();
        let found = variants.find(|found| found["variant"] == variant);
        found.map(|found| (found["replicas"].clone(), found["workload"].clone()))
    };
    let counts = |count: u32| {
        let replicas = json!({"desired": count, "current": count, "ready": count});
        Some((replicas, json!({"kind": "Deployment", "name": "llama"})))
    };
    let until_counted = |expected: &Option<(Value, Value)>| {
        let deadline = Instant::now() + PATIENCE;
        let mut told = None;
        while told != *expected {
            assert!(Instant::now() < deadline, "{told:?}");
            told = replicas("llama");
        }
    };
    until_counted(&counts(2));
    namespace.scale("llama", 3);
    until_for_each(&daemon, &namespace, &["llama - 9", "qwen - 3"]);
    until_counted(&counts(3));
    // Variants of other namespaces are not read.
    change(&[("namespaces: [daemon-labelled], ", "namespaces: [elsewhere], ")]);
    daemon.signal(Signal::HUP);
    until_for_each(&daemon, &namespace, &[]);
}

/// The UIDs of the pods that are scraped.
fn scraped(daemon: &Daemon) -> Vec<String> {
    let targets = daemon.json("targets")["targets"].take();
    let uid = |target: &Value| target["labels"]["uid"].as_str().unwrap().to_owned();
    targets.as_array().unwrap().iter().map(uid).collect()
}

#[test]
#[ignore = "needs a Kubernetes control plane"]
fn zero_replicas_are_zero_and_what_has_not_started_is_not() {
    let namespace = Namespace::new("daemon-zero");
    namespace.deploy("llama", 2);
    namespace.autoscale("llama-hpa", "llama");
    namespace.deploy_at("slow", 1, Some("nowhere"));
    namespace.autoscale("slow-hpa", "slow");
    let directory = tempfile::tempdir().unwrap();
    let file = config(directory.path(), namespace.name, &format!("{QUEUE}{FOR_EACH}"));
    let daemon = Daemon::start(&file);
    let slow = "slow-hpa models/slow \"no_data\"";
    until_for_each(&daemon, &namespace, &["llama-hpa models/llama 6", slow]);
    let readings = daemon.json("metrics/variant_queue")["readings"].take();
    let of_slow = readings.as_array().unwrap().iter().find(|reading| {
        reading["labels"]["variant"] == "slow-hpa" && reading["labels"]["namespace"] == namespace.name
    });
    let starting = of_slow.unwrap()["completeness"]["starting"].to_string();
    assert!(
        starting.contains("daemon-zero/slow-") && starting.contains("pending"),
        "{readings}"
    );

    // Others come, and none of those before is counted in the end.
    let before = scraped(&daemon);
    namespace.roll_out("llama");
    until(|| {
        let now = scraped(&daemon);
        now.len() == 2 && now.iter().all(|uid| !before.contains(uid))
    });
    until_for_each(&daemon, &namespace, &["llama-hpa models/llama 6", slow]);

    namespace.scale("llama", 0);
    until_for_each(&daemon, &namespace, &["llama-hpa models/llama 0", slow]);
    let zero = daemon.json("metrics/variant_queue")["readings"].take();
    let is_told = |reading: &Value| {
        reading["labels"]["variant"] == "llama-hpa"
            && reading["labels"]["namespace"] == namespace.name
            && reading["value"] == 0
            && reading["reason"]["code"] == "no_replicas"
    };
    assert_eq!(
        zero.as_array()
            .unwrap()
            .iter()
            .filter(|reading| is_told(reading))
            .count(),
        1,
        "{zero}"
    );

    namespace.scale("llama", 1);
    until_for_each(&daemon, &namespace, &["llama-hpa models/llama 3", slow]);
}

/// Tells the server in `directory` which pods there are.
fn write_targets(namespace: &Namespace, directory: &Path) {
    let pods: Api<Pod> = Api::namespaced(namespace.client.clone(), namespace.name);
    let pods = namespace
        .runtime
        .block_on(pods.list(&ListParams::default()))
        .unwrap();
    let target = |pod: Pod| {
        let address = pod
            .status
            .as_ref()?
            .pod_ip
            .clone()
            .filter(|address| !address.is_empty())?;
        let labels = json!({"namespace": namespace.name, "pod": pod.name_any()});
        Some(json!({"targets": [format!("{address}:8124")], "labels": labels}))
    };
    let targets: Vec<_> = pods.into_iter().filter_map(target).collect();
    let (written, file) = (directory.join("targets.tmp"), directory.join("targets.json"));
    fs::write(&written, json!(targets).to_string()).unwrap();
    fs::rename(written, file).unwrap();
}

/// A server that reads its targets from there.
fn prometheus(directory: &Path) -> Prometheus {
    let config = json!({
        "global": {"scrape_interval": "500ms", "scrape_timeout": "400ms"},
        "scrape_configs": [{
            "job_name": "engines",
            "file_sd_configs": [{"files": [directory.join("targets.json")], "refresh_interval": "1s"}],
        }],
    });
    // JSON is YAML.
    Prometheus::builder().config(config.to_string()).start().unwrap()
}

/// A server that is asked knows of pods later than the cluster does, and shows those that have gone for a while.
#[test]
#[ignore = "needs a Kubernetes control plane"]
fn pods_that_have_just_come_or_gone_withhold_nothing_of_a_server_that_is_asked() {
    let namespace = Namespace::new("daemon-fresh");
    namespace.deploy("llama", 2);
    namespace.autoscale("llama-hpa", "llama");
    let directory = tempfile::tempdir().unwrap();
    write_targets(&namespace, directory.path());
    let server = prometheus(directory.path());
    let metrics = "  - {name: variant_queue, source: server, query: per_pod, every: 100ms, for_each: variant}\n  \
        - {name: rows, source: server, query: per_pod, every: 100ms, fold: none}\n";
    let file = config(directory.path(), namespace.name, metrics);
    let text = fs::read_to_string(&file).unwrap();
    let source = format!(
        "sources:\n  server: {{prometheus: {{url: '{}', companions: ages}}}}\n",
        server.url()
    );
    fs::write(&file, text.replacen("sources:\n", &source, 1)).unwrap();
    let daemon = Daemon::start(&file);
    let until_value = |expected: &str| {
        until(|| {
            write_targets(&namespace, directory.path());
            for_each(&daemon, namespace.name) == [format!("llama-hpa models/llama {expected}")]
        });
    };
    until_value("6");

    // The server is not told of the third one.
    namespace.scale("llama", 3);
    let of_variant = || {
        let readings = daemon.json("metrics/variant_queue")["readings"].take();
        let mut readings = readings.as_array().unwrap().clone();
        readings.retain(|reading| reading["labels"]["namespace"] == namespace.name);
        readings.remove(0)
    };
    let mut reading = Value::Null;
    until(|| {
        reading = of_variant();
        assert_eq!(
            (&reading["status"], &reading["value"]),
            (&json!("value"), &json!(6)),
            "{reading}"
        );
        let starting = reading["completeness"]["starting"].to_string();
        starting.contains("within the last two minutes")
    });
    until_value("9");

    // Of those that have gone, nobody waits for a row.
    namespace.scale("llama", 2);
    until_value("6");
    until(|| {
        let readings = daemon.json("metrics/rows")["readings"].take();
        let mut readings = readings.as_array().unwrap().clone();
        readings.retain(|reading| reading["labels"]["namespace"] == namespace.name);
        readings.len() == 2 && readings.iter().all(|reading| reading["value"] == 3)
    });

    // One that was seen before, and is ready, is missing at once.
    let targets = directory.path().join("targets.json");
    let mut left: Vec<Value> = serde_json::from_str(&fs::read_to_string(&targets).unwrap()).unwrap();
    left.truncate(1);
    fs::write(&targets, json!(left).to_string()).unwrap();
    until(|| {
        reading = of_variant();
        reading["status"] == "withheld" && reading["reason"]["code"] == "incomplete"
    });
    let missing = reading["completeness"]["missing"].to_string();
    assert!(missing.contains("the server has no sample of it"), "{reading}");
}

/// What the engines of one say is a thousand times what those of the other say, so that a number shows whose it is.
#[test]
#[ignore = "needs a Kubernetes control plane"]
fn no_variant_ever_has_anothers_numbers_while_pods_come_and_go() {
    let namespace = Namespace::saying("daemon-churn", |pod: &Pod| {
        if pod.name_any().starts_with("llama-") {
            1
        } else {
            1000
        }
    });
    for (deployment, replicas) in [("llama", 2), ("qwen", 2)] {
        namespace.deploy(deployment, replicas);
        namespace.autoscale(&format!("{deployment}-hpa"), deployment);
    }
    let directory = tempfile::tempdir().unwrap();
    write_targets(&namespace, directory.path());
    let server = prometheus(directory.path());
    let asked = "  - {name: asked_queue, source: server, query: per_pod, every: 100ms, for_each: variant}\n";
    let metrics = format!("{}{asked}", FOR_EACH.replace("query:", "source: pods, query:"));
    let file = config(directory.path(), namespace.name, &metrics);
    let text = fs::read_to_string(&file).unwrap();
    // Beside the other source.
    let source = format!(
        "sources:\n  server: {{prometheus: {{url: '{}', companions: ages}}}}\n",
        server.url()
    );
    let text = text.replacen("sources:\n", &source, 1);
    fs::write(&file, text).unwrap();
    let daemon = Daemon::start(&file);
    // Of both metrics, by the source: what each variant has.
    let look = || {
        write_targets(&namespace, directory.path());
        let mut all = Vec::new();
        for metric in ["variant_queue", "asked_queue"] {
            let readings = daemon.json(&format!("metrics/{metric}"))["readings"].take();
            for reading in readings.as_array().unwrap() {
                let labels = &reading["labels"];
                if labels["namespace"] != namespace.name {
                    continue;
                }
                let Some(value) = reading["value"].as_u64() else {
                    continue;
                };
                let (ours, others) = match labels["variant"].as_str().unwrap() {
                    "llama-hpa" => (value, value / 1000),
                    "qwen-hpa" => (value / 1000, value % 1000),
                    other => panic!("{other}"),
                };
                // Never more than are there at once, and none of the other's.
                assert!(others == 0 && ours <= 12, "{metric}: {reading}");
                all.push((metric, labels["variant"].to_string(), ours));
            }
        }
        all
    };
    let until_all_are = |expected: u64| {
        until(|| {
            let all = look();
            all.len() == 4 && all.iter().all(|(.., pods)| *pods == expected)
        });
    };
    until_all_are(2);
    for replicas in [5, 1, 4, 2] {
        for deployment in ["llama", "qwen"] {
            namespace.scale(deployment, replicas);
        }
        // Both roll over as well, each time to pods of other names.
        namespace.roll_out_as("llama", replicas);
        namespace.roll_out_as("qwen", replicas);
        until_all_are(replicas.try_into().unwrap());
    }
}
