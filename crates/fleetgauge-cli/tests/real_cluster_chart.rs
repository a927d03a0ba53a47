//! The Helm chart in a real cluster: what it renders, what it lets the daemon do, and that an autoscaler works by it.
//!
//! No kubelet runs the chart's pods. The daemon runs beside the cluster, with the chart's ConfigMap and Secret as its files, and a
//! token of the chart's service account.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use axum::Router;
use axum::routing::get;
use fleetgauge_testcluster::{Cluster, NodeAgent};
use fleetgauge_testkit::{Answer, FaultyServer};
use k8s_openapi::ByteString;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::support::binary::fleetgauge;
use crate::support::daemon::{Daemon, until};
use crate::support::{rights, yaml};

const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/helm/fleetgauge");
const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/examples");
const EXTERNAL: &str = "v1beta1.external.metrics.k8s.io";
const CUSTOM: &str = "v1beta2.custom.metrics.k8s.io";

/// What the chart renders of these values, as a client that asks no cluster.
fn rendered(values: &[&str]) -> Result<Vec<Value>, String> {
    let args = ["template", "fleetgauge", CHART, "--namespace", "monitoring"];
    let text = Cluster::shared().helm(&[&args, values].concat());
    text.map(|text| yaml::documents(&text))
        .map_err(|error| error.to_string())
}

fn named(objects: &[Value]) -> BTreeSet<String> {
    let name = |object: &Value| {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        format!("{} {}", text(&object["kind"]), text(&object["metadata"]["name"]))
    };
    objects.iter().map(name).collect()
}

fn object<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let is_it = |object: &&Value| object["kind"] == kind && object["metadata"]["name"] == name;
    objects
        .iter()
        .find(is_it)
        .unwrap_or_else(|| panic!("no {kind} {name}"))
}

#[test]
#[ignore = "needs a Kubernetes control plane"]
fn each_set_of_values_renders_what_it_asks_for() {
    let values = |name: &str| format!("{EXAMPLES}/values-{name}.yaml");
    for given in [
        &[][..],
        &["--values", &values("hpa")],
        &["--values", &values("keda")],
    ] {
        let linted = Cluster::shared()
            .helm(&[&["lint", "--strict", CHART], given].concat())
            .unwrap();
        assert!(linted.contains("0 chart(s) failed"), "{linted}");
    }

    let about = fs::read_to_string(format!("{CHART}/Chart.yaml")).unwrap();
    let version = concat!("appVersion: \"", env!("CARGO_PKG_VERSION"), "\"");
    assert!(about.contains(version), "{about}");
    // The examples are configurations of the daemon, which a typing error would only tell from a pod.
    for name in ["hpa", "keda"] {
        let objects = rendered(&["--values", &values(name)]).unwrap();
        let config = &object(&objects, "ConfigMap", "fleetgauge")["data"]["fleetgauge.yaml"];
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("fleetgauge.yaml");
        fs::write(&file, config.as_str().unwrap()).unwrap();
        let checked = fleetgauge("check", &[&file.display().to_string()], &[]);
        let told = String::from_utf8(checked.stdout).unwrap();
        assert!(
            checked.status.success() && told.contains("1 source and 1 metric"),
            "{told}"
        );
    }

    let plain = rendered(&[]).unwrap();
    let always = [
        "ConfigMap fleetgauge",
        "Deployment fleetgauge",
        "Service fleetgauge",
        "ServiceAccount fleetgauge",
    ];
    let with = |more: &[&str]| {
        always
            .iter()
            .chain(more)
            .map(|name| (*name).to_owned())
            .collect::<BTreeSet<_>>()
    };
    let roles = [
        "ClusterRole fleetgauge-monitoring",
        "ClusterRoleBinding fleetgauge-monitoring",
    ];
    let reader = ["Role fleetgauge-monitoring", "RoleBinding fleetgauge-monitoring"];
    let groups = [
        &*format!("APIService {EXTERNAL}"),
        &*format!("APIService {CUSTOM}"),
    ];
    let all = [
        &roles[..],
        &reader,
        &groups,
        &["PodDisruptionBudget fleetgauge", "Secret fleetgauge-tls"],
    ]
    .concat();
    assert_eq!(named(&plain), with(&all));
    let pod = &object(&plain, "Deployment", "fleetgauge")["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
    assert_eq!(container["securityContext"]["allowPrivilegeEscalation"], false);
    assert_eq!(
        container["securityContext"]["capabilities"]["drop"],
        json!(["ALL"])
    );
    assert_eq!(container["readinessProbe"]["httpGet"]["path"], "/readyz");
    assert_eq!(container["livenessProbe"]["httpGet"]["path"], "/livez");
    assert!(pod["affinity"]["podAntiAffinity"].is_object(), "{pod}");
    let bundle = |objects: &[Value]| object(objects, "APIService", EXTERNAL)["spec"]["caBundle"].clone();
    assert_eq!(
        bundle(&plain),
        object(&plain, "Secret", "fleetgauge-tls")["data"]["ca.crt"]
    );

    // One that knows no cluster has no rights there, and no token.
    let alone = rendered(&[
        "--set-json",
        "config.kubernetes=null",
        "--set",
        "externalMetrics.enabled=false,replicas=1",
    ])
    .unwrap();
    assert_eq!(named(&alone), with(&[]));
    let pod = &object(&alone, "Deployment", "fleetgauge")["spec"]["template"]["spec"];
    assert_eq!(pod["automountServiceAccountToken"], false);

    let keda = rendered(&["--values", &values("keda"), "--set", "networkPolicy.enabled=true"]).unwrap();
    let more = [
        &roles[..],
        &["NetworkPolicy fleetgauge", "PodDisruptionBudget fleetgauge"],
    ]
    .concat();
    assert_eq!(named(&keda), with(&more));
    let ports: Vec<_> = object(&keda, "Service", "fleetgauge")["spec"]["ports"]
        .as_array()
        .unwrap()
        .iter()
        .map(|port| port["port"].clone())
        .collect();
    assert_eq!(ports, [9095, 9096]);
    let doors = object(&keda, "NetworkPolicy", "fleetgauge")["spec"]["ingress"]
        .as_array()
        .unwrap()
        .len();
    assert_eq!(doors, 2);

    let managed = rendered(&["--set", "externalMetrics.tls.certManager.enabled=true,metrics.serviceMonitor.enabled=true,rbac.viewersReadMetrics=true"]).unwrap();
    let more = [
        "Certificate fleetgauge-ca",
        "Certificate fleetgauge-tls",
        "ClusterRole fleetgauge-monitoring-reader",
        "Issuer fleetgauge-ca",
        "Issuer fleetgauge-self-signed",
        "PodDisruptionBudget fleetgauge",
        "ServiceMonitor fleetgauge",
    ];
    assert_eq!(
        named(&managed),
        with(&[&roles[..], &reader, &groups, &more].concat())
    );
    let service = object(&managed, "APIService", CUSTOM);
    assert_eq!(
        service["metadata"]["annotations"]["cert-manager.io/inject-ca-from"],
        "monitoring/fleetgauge-tls"
    );
    assert!(service["spec"]["caBundle"].is_null(), "{service}");
    let names = object(&managed, "Certificate", "fleetgauge-tls")["spec"]["dnsNames"].clone();
    assert_eq!(names[0], "fleetgauge.monitoring.svc");

    let own = rendered(&["--set", "externalMetrics.tls.secretName=mine,externalMetrics.tls.caBundle=abc,externalMetrics.apiServices.external=false,podDisruptionBudget.enabled=false,serviceAccount.create=false,rbac.create=false"]).unwrap();
    let expected: BTreeSet<_> = with(&[groups[1]])
        .into_iter()
        .filter(|name| !name.starts_with("ServiceAccount"))
        .collect();
    assert_eq!(named(&own), expected);
    assert_eq!(object(&own, "APIService", CUSTOM)["spec"]["caBundle"], "YWJj");

    // What the configuration says is what the daemon reads, however large its numbers.
    let config = rendered(&[
        "--set-json",
        r#"config.sources={"pods":{"scrape":{"max_bytes":4000000000}}}"#,
        "--set",
        "listenAddress=[::]",
    ])
    .unwrap();
    let text = object(&config, "ConfigMap", "fleetgauge")["data"]["fleetgauge.yaml"]
        .as_str()
        .unwrap();
    assert!(
        text.contains("max_bytes: 4000000000\n") && text.contains("listen: '[::]:6443'\n"),
        "{text}"
    );
}

#[test]
#[ignore = "needs a Kubernetes control plane"]
fn values_that_cannot_be_right_are_refused_by_name() {
    for (values, expected) in [
        ("replicas=two", "at '/replicas': got string, want integer"),
        ("replcas=2", "additional properties 'replcas' not allowed"),
        (
            "config.metrcs=1",
            "at '/config': additional properties 'metrcs' not allowed",
        ),
        (
            "externalMetrics.apiServices.external=maybe",
            "at '/externalMetrics/apiServices/external': value must be one of 'auto', true, false",
        ),
        ("listenAddress=localhost", "at '/listenAddress'"),
        ("packs.a=b", "'a'"),
        ("server.port=0", "at '/server/port'"),
        (
            "config.server.listen=x",
            "config.server.listen is said by the chart: use listenAddress and server.port",
        ),
        ("config.external_metrics.listen=x", "config.external_metrics"),
        ("config.keda.bearer_token_file=x", "set keda.enabled"),
        (
            "config.kubernetes=null",
            "set it to {}, or externalMetrics.enabled to false",
        ),
        (
            "externalMetrics.tls.secretName=x",
            "set externalMetrics.tls.caBundle",
        ),
        ("externalMetrics.tls.caBundle=x", "secretName, which is not set"),
        (
            "externalMetrics.tls.secretName=x,externalMetrics.tls.caBundle=y,externalMetrics.tls.certManager.enabled=true",
            "two certificates",
        ),
    ] {
        let error = rendered(&["--set", values]).expect_err(values);
        assert!(error.contains(expected), "{values}: {error}");
    }
}

/// The chart, installed, and the daemon as its pod would run it.
struct Release {
    cluster: &'static Cluster,
    name: &'static str,
    address: String,
    directory: tempfile::TempDir,
    values: Vec<String>,
    /// What helm said last.
    notes: String,
}

// === impl Release ===

impl Release {
    /// In a namespace of its own, of the release's name.
    fn install(cluster: &'static Cluster, name: &'static str, values: &[&str]) -> Self {
        // An address of the cluster's services is one of loopback, and other processes have others.
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let address = format!("127.96.{}.{next}", 100 + std::process::id() % 100);
        let mut all = vec![
            "--set".to_owned(),
            format!(
                "listenAddress={address},service.clusterIP={address},externalMetrics.servicePort=6443,fullnameOverride=fleetgauge"
            ),
        ];
        all.extend(values.iter().map(|&value| value.to_owned()));
        let mut release = Self {
            cluster,
            name,
            address,
            directory: tempfile::tempdir().unwrap(),
            values: all,
            notes: String::new(),
        };
        release.notes = release.helm("install", &["--create-namespace"]);
        release
    }

    fn helm(&self, verb: &str, more: &[&str]) -> String {
        let args = [verb, self.name, CHART, "--namespace", self.name];
        let values: Vec<_> = self.values.iter().map(String::as_str).collect();
        self.cluster.helm(&[&args, more, &values[..]].concat()).unwrap()
    }

    fn kubectl(&self, args: &[&str]) -> String {
        self.cluster.kubectl(args).unwrap()
    }

    fn get(&self, kind: &str, name: &str) -> Value {
        let text = self.kubectl(&["get", kind, name, "--namespace", self.name, "--output", "json"]);
        serde_json::from_str(&text).unwrap()
    }

    /// Writes what is mounted into a pod; gives the configuration.
    fn mount(&self) -> PathBuf {
        let place = |name: &str| self.directory.path().join(name);
        for folder in ["config", "tls"] {
            fs::create_dir_all(place(folder)).unwrap();
        }
        for (name, text) in self.get("configmap", "fleetgauge")["data"].as_object().unwrap() {
            fs::write(place("config").join(name), text.as_str().unwrap()).unwrap();
        }
        let secret = self.cluster.kubectl(&[
            "get",
            "secret",
            "fleetgauge-tls",
            "--namespace",
            self.name,
            "--output",
            "json",
        ]);
        if let Ok(secret) = secret {
            let secret: Value = serde_json::from_str(&secret).unwrap();
            for (name, data) in secret["data"].as_object().unwrap() {
                let data: ByteString = serde_json::from_value(data.clone()).unwrap();
                fs::write(place("tls").join(name), data.0).unwrap();
            }
        }
        place("config").join("fleetgauge.yaml")
    }

    /// Starts the daemon as the chart's service account, behind the chart's Service.
    fn run(&self) -> Daemon {
        let kubeconfig = self.directory.path().join("kubeconfig");
        fs::write(
            &kubeconfig,
            rights::kubeconfig(self.cluster, self.name, "fleetgauge"),
        )
        .unwrap();
        // The Service's pods are not there; somebody has to be, and nobody dials him.
        rights::apply(
            self.cluster,
            &json!([{
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
                "metadata": {"name": "stand-in", "namespace": self.name, "labels": {"kubernetes.io/service-name": "fleetgauge"}},
                "endpoints": [{"addresses": ["192.0.2.200"], "conditions": {"ready": true}}],
                "ports": [{"port": 6443, "name": "https"}],
            }]),
        );
        Daemon::start_with(&self.mount(), &[], &[("KUBECONFIG", &kubeconfig)])
    }

    fn until_available(&self, service: &str) {
        until(|| {
            let path = "jsonpath={.status.conditions[?(@.type==\"Available\")].status}";
            self.kubectl(&["get", "apiservice", service, "--output", path]) == "True"
        });
    }

    /// What the chart's roles allow, as `VERB RESOURCE.GROUP NAMESPACE/NAME`.
    fn granted(&self) -> BTreeSet<String> {
        let selector = format!("--selector=app.kubernetes.io/instance={}", self.name);
        let roles = self.kubectl(&[
            "get",
            "clusterroles,roles",
            "--all-namespaces",
            &selector,
            "--output",
            "json",
        ]);
        let roles: Value = serde_json::from_str(&roles).unwrap();
        let list = |value: &Value| -> Vec<String> {
            let items = value.as_array().cloned().unwrap_or_default();
            items
                .iter()
                .map(|item| item.as_str().unwrap().to_owned())
                .collect()
        };
        let mut granted = BTreeSet::new();
        for role in roles["items"].as_array().unwrap() {
            let namespace = role["metadata"]["namespace"].as_str().unwrap_or_default();
            for rule in role["rules"].as_array().unwrap() {
                let names = match list(&rule["resourceNames"]) {
                    names if names.is_empty() => vec![String::new()],
                    names => names,
                };
                for verb in list(&rule["verbs"]) {
                    for resource in list(&rule["resources"]) {
                        for group in list(&rule["apiGroups"]) {
                            granted.extend(
                                names
                                    .iter()
                                    .map(|name| format!("{verb} {resource}.{group} {namespace}/{name}")),
                            );
                        }
                    }
                }
            }
        }
        granted
    }

    /// What the daemon has asked the API server for, in the same words; and what it was refused.
    fn used(&self) -> (BTreeSet<String>, Vec<Value>) {
        let events = self
            .cluster
            .audited(&format!("system:serviceaccount:{}:fleetgauge", self.name));
        let text =
            |event: &Value, field: &str| event["objectRef"][field].as_str().unwrap_or_default().to_owned();
        let used = events.iter().map(|event| {
            let verb = event["verb"].as_str().unwrap();
            format!(
                "{verb} {}.{} {}/{}",
                text(event, "resource"),
                text(event, "apiGroup"),
                text(event, "namespace"),
                text(event, "name")
            )
        });
        let used = used.collect();
        let is_refused = |event: &Value| {
            event["annotations"]["authorization.k8s.io/decision"] == "forbid"
                || event["responseStatus"]["code"] == 403
        };
        (used, events.into_iter().filter(is_refused).collect())
    }

    /// The daemon uses each right that it has, and wants no other.
    fn until_all_is_used(&self) {
        let granted = self.granted();
        until(|| {
            let (used, refused) = self.used();
            assert!(refused.is_empty(), "{}: {refused:#?}", self.name);
            let more: Vec<_> = used.difference(&granted).collect();
            assert!(more.is_empty(), "{}: {more:?} beside {granted:?}", self.name);
            used == granted
        });
    }
}

/// A kind of somebody else's, of which only that it is there matters.
fn kind(group: &str, kind: &str, plural: &str) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{group}")},
        "spec": {
            "group": group, "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural, "singular": kind.to_lowercase()},
            "versions": [{
                "name": "v1alpha1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
            }],
        },
    })
}

/// What the daemon scrapes here.
fn values(directory: &Path, pod: &FaultyServer, metrics: &Value) -> String {
    let url = pod.url();
    let target = url.trim_start_matches("http://").trim_end_matches('/');
    let values = json!({"config": {
        "sources": {"pods": {"scrape": {"interval": "100ms", "discovery": [{"static": [target]}]}}},
        "queries": [{"name": "waiting", "template": "waiting", "fold": {"pod": "max", "variant": "sum"}}],
        "metrics": metrics,
    }});
    let file = directory.join(format!("values-{}.yaml", metrics.as_array().unwrap().len()));
    fs::write(&file, values.to_string()).unwrap();
    file.display().to_string()
}

#[test]
#[ignore = "needs a Kubernetes control plane"]
fn the_daemon_needs_the_rights_of_the_chart_and_each_of_them() {
    let cluster: &'static Cluster = Box::leak(Box::new(Cluster::start_audited().unwrap()));
    rights::apply(
        cluster,
        &json!([
            kind("keda.sh", "ScaledObject", "scaledobjects"),
            kind("llmd.ai", "VariantAutoscaling", "variantautoscalings")
        ]),
    );
    let directory = tempfile::tempdir().unwrap();
    let pod = FaultyServer::start([Answer::text("waiting{pod=\"a\"} 3\n")]).unwrap();
    let queue = json!({"name": "queue", "query": "waiting", "every": "100ms"});
    let one = values(directory.path(), &pod, &json!([queue]));
    let mut again = queue.clone();
    again["name"] = "again".into();
    let two = values(directory.path(), &pod, &json!([queue, again]));

    // All that there is: watches, and both metrics APIs by way of the aggregator.
    let mut full = Release::install(cluster, "full", &["--values", &one]);
    assert!(
        full.notes
            .contains("kubectl get apiservice v1beta1.external.metrics.k8s.io"),
        "{}",
        full.notes
    );
    let daemon = full.run();
    full.until_available(EXTERNAL);
    full.until_available(CUSTOM);
    let path = "/apis/external.metrics.k8s.io/v1beta1/namespaces/full/queue";
    let mut told = String::new();
    until(|| {
        cluster.kubectl(&["get", "--raw", path]).is_ok_and(|page| {
            told = page;
            told.contains("\"value\":\"3\"")
        })
    });
    // Somebody with a token, who passes by the aggregator.
    let token = full.kubectl(&["create", "token", "default", "--namespace", "full"]);
    let file = |name: &str| full.directory.path().join(name).display().to_string();
    let server = format!("https://{}:6443", full.address);
    let direct = [
        "--kubeconfig=/dev/null",
        "--server",
        &server,
        "--tls-server-name=fleetgauge.full.svc",
        "--certificate-authority",
        &file("tls/ca.crt"),
        "--token",
        token.trim(),
        "get",
        "--raw",
    ];
    assert!(
        full.kubectl(&[&direct[..], &["/apis"]].concat())
            .contains("external.metrics.k8s.io")
    );
    let refused = cluster
        .kubectl(&[&direct[..], &[path]].concat())
        .unwrap_err()
        .to_string();
    assert!(refused.contains("Forbidden"), "{refused}");
    full.until_all_is_used();
    assert_eq!(full.granted().len(), 18, "{:?}", full.granted());
    // The HPA needs no rights of ours.
    let hpa = "--as=system:serviceaccount:kube-system:horizontal-pod-autoscaler";
    let may = [
        "auth",
        "can-i",
        "list",
        "queue.external.metrics.k8s.io",
        hpa,
        "--namespace",
        "full",
    ];
    assert_eq!(full.kubectl(&may).trim(), "yes");

    // An upgrade keeps the certificate, and the daemon takes the new configuration.
    let kept = |release: &Release| {
        let bundle = release.kubectl(&[
            "get",
            "apiservice",
            EXTERNAL,
            "--output",
            "jsonpath={.spec.caBundle}",
        ]);
        let pods = release.get("deployment", "fleetgauge")["spec"]["template"].clone();
        (
            release.get("secret", "fleetgauge-tls")["data"].clone(),
            bundle,
            pods,
        )
    };
    let before = kept(&full);
    full.values.extend(["--values".to_owned(), two]);
    full.helm("upgrade", &[]);
    assert_eq!(kept(&full), before);
    full.mount();
    until(|| daemon.get("/api/fleetgauge/v1/metrics/again").0 == 200);
    daemon.reading("again", |reading| reading["value"] == 3);
    // What is read at the start alone asks for other pods.
    let doors = full.values.len();
    full.values
        .extend(["--set".to_owned(), "keda.enabled=true".to_owned()]);
    full.helm("upgrade", &[]);
    let after = kept(&full);
    assert_eq!((&after.0, &after.1), (&before.0, &before.1));
    assert_ne!(
        after.2["metadata"]["annotations"],
        before.2["metadata"]["annotations"]
    );
    full.values.truncate(doors);

    // Less needs less, and who is behind a Service is asked for where that is wanted.
    let services = json!({"config": {
        "sources": {"behind": {"scrape": {"discovery": [{"services": {"names": ["vllm"], "ports": ["metrics"]}}]}}},
        "metrics": [
            {"name": "queue", "source": "pods", "query": "waiting", "every": "100ms"},
            {"name": "behind", "source": "behind", "query": "waiting", "every": "100ms"},
        ],
    }});
    let services_file = directory.path().join("values-services.yaml");
    fs::write(&services_file, services.to_string()).unwrap();
    let services_file = services_file.display().to_string();
    for (name, set, count) in [
        (
            "services",
            &[
                "--set",
                "externalMetrics.enabled=false",
                "--values",
                &services_file,
            ][..],
            16,
        ),
        ("watches", &["--set", "externalMetrics.enabled=false"], 14),
        (
            "autoscalers",
            &[
                "--set",
                "externalMetrics.enabled=false,config.kubernetes.variant_kinds={HorizontalPodAutoscaler}",
            ],
            10,
        ),
        (
            "alone",
            &[
                "--set",
                "externalMetrics.enabled=false",
                "--set-json",
                "config.kubernetes=null",
            ],
            0,
        ),
    ] {
        let release = Release::install(cluster, name, &[&["--values", &one], set].concat());
        let daemon = release.run();
        daemon.reading("queue", |reading| reading["value"] == 3);
        until(|| daemon.get("/readyz").0 == 200);
        release.until_all_is_used();
        assert_eq!(release.granted().len(), count, "{name}");
    }

    // The groups have their server, until it is gone.
    let mut second = Release::install(cluster, "second", &["--values", &one]);
    assert!(
        second.notes.contains(
            "NOT registered: external.metrics.k8s.io has another server in this cluster, full/fleetgauge"
        ),
        "{}",
        second.notes
    );
    let owner = |release: &Release| {
        release.kubectl(&[
            "get",
            "apiservice",
            EXTERNAL,
            "--output",
            "jsonpath={.spec.service.namespace}",
        ])
    };
    assert_eq!(owner(&second), "full");
    drop(daemon);
    cluster
        .helm(&["uninstall", "full", "--namespace", "full"])
        .unwrap();
    second.notes = second.helm("upgrade", &[]);
    assert_eq!(owner(&second), "second");
    let _daemon = second.run();
    second.until_available(EXTERNAL);
}

/// As the chart's README goes, with its own files.
#[test]
#[ignore = "needs a Kubernetes control plane"]
fn a_hpa_scales_by_the_chart_and_its_example() {
    let cluster: &'static Cluster = Box::leak(Box::new(Cluster::start().unwrap()));
    let runtime = Runtime::new().unwrap();
    runtime.block_on(cluster.namespace("chat")).unwrap();
    let example = |name: &str| format!("{EXAMPLES}/{name}.yaml");
    let engine = |_: &_| {
        let page = "# TYPE vllm:num_requests_waiting gauge\nvllm:num_requests_waiting{model_name=\"llama-8b\",engine=\"0\"} 15\n";
        Router::new().route("/metrics", get(async move || page))
    };
    let _agent = runtime.block_on(async {
        let client = cluster.client().await.unwrap();
        NodeAgent::start(client, "chat", engine).await.unwrap()
    });
    let release = Release::install(cluster, "monitoring", &["--values", &example("values-hpa")]);
    let _daemon = release.run();
    release.until_available(EXTERNAL);
    release.kubectl(&["apply", "--filename", &example("vllm-hpa")]);
    // Fifteen wait at each, and five are to: three times as many, up to the greatest number.
    until(|| {
        let replicas = release.kubectl(&[
            "get",
            "deployment",
            "llama-8b",
            "--namespace",
            "chat",
            "--output",
            "jsonpath={.spec.replicas}",
        ]);
        replicas == "8"
    });

    rights::apply(
        cluster,
        &json!([kind("keda.sh", "ScaledObject", "scaledobjects")]),
    );
    until(|| {
        cluster
            .kubectl(&["apply", "--dry-run=server", "--filename", &example("vllm-keda")])
            .is_ok()
    });
}
