//! `fleetgauge doctor` of a configuration with a cluster: each thing that does not fit together there is found, and named.

use std::fs;
use std::path::Path;

use fleetgauge_testcluster::Cluster;
use fleetgauge_testkit::tls::{Certificates, Server};
use fleetgauge_testkit::{Answer, FaultyServer};
use k8s_openapi::ByteString;
use serde_json::{Value, json};

use crate::support::binary::fleetgauge;
use crate::support::daemon::{Daemon, until};
use crate::support::rights;

const EXTERNAL: &str = "v1beta1.external.metrics.k8s.io";

/// A cluster, and a configuration for it.
struct World {
    cluster: Cluster,
    directory: tempfile::TempDir,
    pod: FaultyServer,
}

/// What is found of one thing: severities, what is said, and what is advised.
type Found = Vec<(String, String, String)>;

// === impl World ===

impl World {
    fn start() -> Self {
        let cluster = Cluster::start().unwrap();
        cluster.kubectl(&["create", "namespace", "chat"]).unwrap();
        let pod = FaultyServer::start([Answer::text("waiting{pod=\"a\"} 3\n")]).unwrap();
        Self {
            cluster,
            directory: tempfile::tempdir().unwrap(),
            pod,
        }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a configuration for whoever the kubeconfig is of.
    fn config(&self, kubeconfig: &Path, more: &str) {
        let url = self.pod.url();
        let target = url.trim_start_matches("http://").trim_end_matches('/');
        let text = format!(
            "sources:\n  pods: {{scrape: {{interval: 100ms, discovery: [{{static: [\"{target}\"]}}, {{kubernetes: {{namespaces: [chat], \
             selector: app=engine, ports: [8124]}}}}]}}}}\n\
             queries:\n  - {{name: waiting, template: waiting, fold: {{pod: max, variant: sum}}}}\n  \
             - {{name: fullest, template: waiting, fold: {{pod: max, variant: max}}}}\n\
             metrics:\n  - {{name: queue, query: waiting}}\n  - {{name: usage, query: fullest}}\n  \
             - {{name: rows, query: waiting, fold: none}}\n  - {{name: secret, query: waiting, namespaces: [elsewhere]}}\n\
             kubernetes: {{kubeconfig: '{}'}}\n\
             external_metrics: {{listen: \"127.0.0.1:0\", tls: {{cert_file: tls.crt, key_file: tls.key}}}}\n{more}",
            kubeconfig.display()
        );
        fs::write(self.path("fleetgauge.yaml"), text).unwrap();
    }

    /// What the doctor finds of the cluster, and of the targets.
    fn findings(&self, args: &[&str]) -> Vec<Value> {
        let file = self.path("fleetgauge.yaml").display().to_string();
        let output = fleetgauge(
            "doctor",
            &[&["--config", &file, "-o", "json"], args].concat(),
            &[],
        );
        let told: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
        let found = told["findings"].as_array().unwrap().clone();
        let is_bad = found.iter().any(|finding| finding["severity"] == "error");
        assert_eq!(output.status.code(), Some(i32::from(is_bad)));
        found
    }

    /// What is found of `subject`.
    fn found(&self, subject: &str) -> Found {
        of(&self.findings(&[]), subject)
    }

    /// That it is found of `subject`, with advice that has `advice` in it.
    fn until_found(&self, subject: &str, severity: &str, what: &str, advice: &str) {
        let mut last = Vec::new();
        for _ in 0..20 {
            last = self.found(subject);
            let fits = |(of, told, advised): &(String, String, String)| {
                of == severity && told.contains(what) && advised.contains(advice)
            };
            if last.iter().any(fits) {
                return;
            }
        }
        panic!("{subject}: {severity} {what} {advice} is not among {last:#?}");
    }

    fn apply(&self, objects: &Value) {
        rights::apply(&self.cluster, objects);
    }

    /// Registers whoever listens at a port of loopback, behind a Service.
    fn register(&self, (namespace, name): (&str, &str), port: u16, trust: &Value) {
        let mut spec = json!({
            "group": "external.metrics.k8s.io", "version": "v1beta1",
            "groupPriorityMinimum": 100, "versionPriority": 100,
            "service": {"namespace": namespace, "name": name, "port": port},
        });
        spec.as_object_mut()
            .unwrap()
            .extend(trust.as_object().unwrap().clone());
        // What was said before is not to be merged with this.
        let _ = self.cluster.kubectl(&["delete", "apiservice", EXTERNAL]);
        self.apply(&json!([
            {
                "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace},
                "spec": {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": port}]},
            },
            {"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": EXTERNAL}, "spec": spec},
        ]));
    }

    /// An HPA of the Deployment `there`.
    fn hpa(&self, name: &str, target: &str, metric: &Value) -> Value {
        json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": name, "namespace": "chat", "labels": {"llm-d.ai/managed": "true"}},
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": target},
                "maxReplicas": 3, "metrics": [metric],
            },
        })
    }
}

fn of(findings: &[Value], subject: &str) -> Found {
    let text = |finding: &Value, field: &str| finding[field].as_str().unwrap().to_owned();
    let findings = findings.iter().filter(|finding| finding["query"] == subject);
    let parts = |finding: &Value| {
        (
            text(finding, "severity"),
            text(finding, "what"),
            text(finding, "advice"),
        )
    };
    findings.map(parts).collect()
}

fn external(name: &str, kind: &str) -> Value {
    let target = match kind {
        "Value" => json!({"type": "Value", "value": "5"}),
        _ => json!({"type": "AverageValue", "averageValue": "5"}),
    };
    json!({"type": "External", "external": {"metric": {"name": name}, "target": target}})
}

#[test]
#[ignore = "needs a Kubernetes control plane"]
fn rights_that_are_missing_are_named_with_what_depends_on_them() {
    let world = World::start();
    rights::certificate(world.directory.path(), "fleetgauge.chat.svc");
    world
        .cluster
        .kubectl(&["create", "serviceaccount", "poor"])
        .unwrap();
    let all = [
        (
            "list and watch pods in all namespaces",
            "whose pods are whose is not known",
            "apiGroups: [\"\"]\n  resources: [pods]",
        ),
        (
            "list and watch pods in the namespace chat",
            "the source pods finds no pods there",
            "a Role and a RoleBinding in chat",
        ),
        (
            "list and watch replicasets.apps in all namespaces",
            "whose pods are whose",
            "apiGroups: [\"apps\"]",
        ),
        (
            "list and watch statefulsets.apps in all namespaces",
            "whose pods are whose",
            "resources: [statefulsets]",
        ),
        (
            "list and watch jobs.batch in all namespaces",
            "whose pods are whose",
            "verbs: [list, watch]",
        ),
        (
            "list and watch horizontalpodautoscalers.autoscaling in all namespaces",
            "that a HorizontalPodAutoscaler scales",
            "ClusterRole",
        ),
        (
            "list and watch scaledobjects.keda.sh in all namespaces",
            "that a ScaledObject scales",
            "ClusterRole",
        ),
        (
            "list and watch variantautoscalings.llmd.ai in all namespaces",
            "that a VariantAutoscaling scales",
            "ClusterRole",
        ),
        (
            "list and watch configmaps extension-apiserver-authentication in the namespace kube-system",
            "whose certificates external_metrics believes",
            "resourceNames: [extension-apiserver-authentication]",
        ),
        (
            "create tokenreviews.authentication.k8s.io",
            "cannot find out who asks",
            "verbs: [create]",
        ),
        (
            "create subjectaccessreviews.authorization.k8s.io",
            "cannot find out who asks",
            "verbs: [create]",
        ),
    ];
    let check = |found: &Found| {
        for (right, depends, advice) in all {
            let what = format!("system:serviceaccount:default:poor may not {right}: ");
            let fits = |(severity, told, advised): &&(String, String, String)| {
                severity == "error"
                    && told.starts_with(&what)
                    && told.contains(depends)
                    && advised.contains(advice)
            };
            assert_eq!(
                found.iter().filter(fits).count(),
                1,
                "{what}{depends} {advice}: {found:#?}"
            );
        }
        assert_eq!(found.len(), all.len(), "{found:#?}");
    };
    // As an administrator who asks for another's rights, and as he himself.
    world.config(&world.cluster.kubeconfig(), "");
    check(&of(
        &world.findings(&["--service-account", "default/poor"]),
        "rights",
    ));
    let kubeconfig = world.path("kubeconfig");
    fs::write(&kubeconfig, rights::kubeconfig(&world.cluster, "default", "poor")).unwrap();
    world.config(&kubeconfig, "");
    let findings = world.findings(&[]);
    check(&of(&findings, "rights"));
    // What he may not see is not said to be in order.
    let hidden = of(&findings, "horizontalpodautoscalers");
    assert!(
        hidden[0].0 == "warning" && hidden[0].1.starts_with("not examined: "),
        "{hidden:?}"
    );

    // Each by itself is missed by itself.
    let rule = |groups: &[&str], resources: &[&str], verbs: &[&str]| json!({"apiGroups": groups, "resources": resources, "verbs": verbs});
    rights::give_config_map(&world.cluster, "poor");
    let watched = [
        "pods",
        "replicasets",
        "statefulsets",
        "jobs",
        "horizontalpodautoscalers",
        "scaledobjects",
        "variantautoscalings",
    ];
    let groups = ["", "apps", "batch", "autoscaling", "keda.sh", "llmd.ai"];
    let mut rules = vec![
        rule(&groups, &watched, &["list"]),
        rule(&groups, &watched[1..], &["watch"]),
        rule(&["authentication.k8s.io"], &["tokenreviews"], &["create"]),
        rule(&["authorization.k8s.io"], &["subjectaccessreviews"], &["create"]),
    ];
    rights::give(&world.cluster, "poor", &json!(rules));
    let found = world.found("rights");
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(
        found
            .iter()
            .all(|(_, what, _)| what.contains("may not watch pods in ")),
        "{found:#?}"
    );
    rules.push(rule(&[""], &["pods"], &["watch"]));
    rights::give(&world.cluster, "poor", &json!(rules));
    let found = world.found("rights");
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(
        found[0].0 == "ok" && found[0].1.contains("default:poor may do all"),
        "{found:?}"
    );

    // Nobody listens there: said once, and nothing else of the cluster.
    let text = fs::read_to_string(&kubeconfig).unwrap();
    fs::write(
        &kubeconfig,
        text.replace(&world.cluster.address().to_string(), "127.0.0.1:1"),
    )
    .unwrap();
    let findings = world.findings(&[]);
    let of_cluster: Vec<_> = findings
        .iter()
        .filter(|finding| finding["source"] == "kubernetes")
        .collect();
    assert_eq!(of_cluster.len(), 1, "{of_cluster:#?}");
    let what = of_cluster[0]["what"].as_str().unwrap();
    assert!(
        what.contains("does not say who we are") && what.contains("refused"),
        "{what}"
    );
}

#[test]
#[ignore = "needs a Kubernetes control plane"]
fn who_has_an_api_group_and_what_is_wrong_with_it() {
    let world = World::start();
    let authority = rights::certificate(world.directory.path(), "fleetgauge.chat.svc");
    let bundle = |pem: &str| json!({"caBundle": ByteString(pem.to_owned().into_bytes())});
    world.config(&world.cluster.kubeconfig(), "");
    let subject = &format!("apiservice {EXTERNAL}");
    world.until_found(
        subject,
        "warning",
        "nobody is registered for external.metrics.k8s.io",
        "register the daemon",
    );

    let daemon = Daemon::start(&world.path("fleetgauge.yaml"));
    let logged = daemon.logged("serving the metrics APIs of Kubernetes at");
    let port = logged.rsplit(':').next().unwrap().parse().unwrap();
    let ours = ("chat", "fleetgauge");
    world.register(ours, port, &json!({}));
    world.until_found(
        subject,
        "error",
        "it has no caBundle",
        "cert-manager.io/inject-ca-from",
    );
    world.until_found(
        subject,
        "error",
        "chat/fleetgauge is not available: FailedDiscoveryCheck",
        "targetPort",
    );
    let other = tempfile::tempdir().unwrap();
    let stranger = rights::certificate(other.path(), "fleetgauge.chat.svc");
    world.register(ours, port, &bundle(&stranger));
    world.until_found(
        subject,
        "error",
        "its caBundle is not of who has signed",
        "authority",
    );
    world.register(("chat", "misnamed"), port, &bundle(&authority));
    world.until_found(
        subject,
        "error",
        "tls.crt is not for misnamed.chat.svc",
        "for the name of the Service",
    );
    world.register(ours, port, &json!({"insecureSkipTLSVerify": true}));
    world.until_found(subject, "warning", "insecureSkipTLSVerify", "caBundle");
    world.register(ours, port, &bundle(&authority));
    world.until_found(
        subject,
        "ok",
        "external.metrics.k8s.io is answered by chat/fleetgauge",
        "",
    );
    world
        .cluster
        .kubectl(&["delete", "service", "fleetgauge", "--namespace", "chat"])
        .unwrap();
    world.until_found(
        subject,
        "error",
        "is not available: ServiceNotFound",
        "spec.service",
    );

    // KEDA has it.
    world.apply(&json!([world.hpa(
        "asks-keda",
        "there",
        &external("queue", "AverageValue")
    )]));
    let certificates = Certificates::generate().unwrap();
    let list = json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "external.metrics.k8s.io/v1beta1", "resources": []});
    let keda = FaultyServer::start_tls(
        [Answer::json(list.to_string())],
        certificates.server_config(Server::Valid).unwrap(),
    )
    .unwrap();
    world.cluster.kubectl(&["create", "namespace", "keda"]).unwrap();
    let skips = json!({"insecureSkipTLSVerify": true});
    world.register(
        ("keda", "keda-operator-metrics-apiserver"),
        keda.addr().port(),
        &skips,
    );
    let said = "answered by keda/keda-operator-metrics-apiserver, and not by this daemon";
    world.until_found(subject, "warning", said, "open the door `keda`");
    world.until_found(
        "hpa chat/asks-keda",
        "error",
        "it asks keda/keda-operator-metrics-apiserver for \"queue\"",
        "ScaledObject",
    );
    world.config(&world.cluster.kubeconfig(), "keda: {listen: \"127.0.0.1:0\"}\n");
    world.until_found(
        subject,
        "warning",
        said,
        "let ScaledObjects ask, which come in by the door keda",
    );
    // Somebody else's.
    world
        .cluster
        .kubectl(&["create", "namespace", "monitoring"])
        .unwrap();
    world.register(("monitoring", "prometheus-adapter"), keda.addr().port(), &skips);
    world.until_found(
        subject,
        "warning",
        "answered by monitoring/prometheus-adapter",
        "to move from prometheus-adapter",
    );
}

#[test]
#[ignore = "needs a Kubernetes control plane"]
fn autoscalers_that_cannot_work_are_found_and_those_that_can_are_not() {
    let world = World::start();
    let authority = rights::certificate(world.directory.path(), "fleetgauge.chat.svc");
    let more = "keda: {listen: \"127.0.0.1:0\"}\n";
    world.config(&world.cluster.kubeconfig(), more);
    let daemon = Daemon::start(&world.path("fleetgauge.yaml"));
    let logged = daemon.logged("serving the metrics APIs of Kubernetes at");
    let port = logged.rsplit(':').next().unwrap().parse().unwrap();
    let bundle = json!({"caBundle": ByteString(authority.into_bytes())});
    world.register(("chat", "fleetgauge"), port, &bundle);
    world.until_found(&format!("apiservice {EXTERNAL}"), "ok", "answered by", "");

    let labels = json!({"app": "engine"});
    world.apply(&json!([
        {
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "scaledobjects.keda.sh"},
            "spec": {
                "group": "keda.sh", "scope": "Namespaced",
                "names": {"kind": "ScaledObject", "plural": "scaledobjects"},
                "versions": [{
                    "name": "v1alpha1", "served": true, "storage": true,
                    "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
                }],
            },
        },
        {
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "there", "namespace": "chat"},
            "spec": {
                "replicas": 0, "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "engine", "image": "engine"}]}},
            },
        },
    ]));
    let of_pods = |name: &str| json!({"type": "Pods", "pods": {"metric": {"name": name}, "target": {"type": "AverageValue", "averageValue": "5"}}});
    let resource = json!({"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}});
    let mut unmanaged = world.hpa("not-ours", "lost", &resource);
    unmanaged["metadata"]["labels"] = json!({});
    let mut made_by_keda = world.hpa("keda-hpa", "lost", &external("s0-queue", "AverageValue"));
    made_by_keda["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "name": "gone", "uid": "00000000-0000-0000-0000-000000000000",
    }]);
    let mut odd = world.hpa("odd", "there", &external("queue", "Value"));
    odd["spec"]["scaleTargetRef"] = json!({"apiVersion": "acme.example/v1", "kind": "Engine", "name": "a"});
    world.apply(&json!([
        world.hpa("right", "there", &external("queue", "AverageValue")),
        world.hpa("right-too", "there", &external("usage", "Value")),
        world.hpa("misspelled", "there", &external("queu", "AverageValue")),
        world.hpa("averaged", "there", &external("usage", "AverageValue")),
        world.hpa("hidden", "there", &external("secret", "AverageValue")),
        world.hpa("by-pods", "there", &of_pods("queue")),
        world.hpa("lost", "lost", &resource),
        odd,
        unmanaged,
        made_by_keda,
    ]));
    let scaled = |name: &str, target: &str, trigger: Value| {
        json!({
            "apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject",
            "metadata": {"name": name, "namespace": "chat", "labels": {"llm-d.ai/managed": "true"}},
            "spec": {"scaleTargetRef": {"name": target}, "triggers": [trigger]},
        })
    };
    let trigger = |metric: &str| json!({"type": "external-push", "metadata": {"scalerAddress": "a:1", "metric": metric, "target": "5"}});
    let mut of_value = trigger("usage");
    of_value["metricType"] = "Value".into();
    // The kind has to be known to the API server.
    let objects = json!([
        scaled("right", "there", trigger("queue")),
        scaled("right-too", "there", of_value),
        scaled("misspelled", "there", trigger("queu")),
        scaled("averaged", "there", trigger("usage")),
        scaled("hidden", "there", trigger("secret")),
        scaled("lost", "lost", json!({"type": "cron", "metadata": {}})),
    ]);
    until(|| {
        world
            .cluster
            .kubectl(&["get", "scaledobjects", "--namespace", "chat"])
            .is_ok()
    });
    world.apply(&objects);

    let more = "keda: {listen: \"127.0.0.1:0\"}\nvariants:\n  \
                - {name: right, namespace: chat, workload: {kind: Deployment, name: there}}\n  \
                - {name: configured, namespace: chat, workload: {kind: StatefulSet, name: lost}}\n  \
                - {name: grouped, namespace: chat, workload: {kind: LeaderWorkerSet, name: lost}}\n";
    world.config(&world.cluster.kubeconfig(), more);
    let file = world.path("fleetgauge.yaml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("kubernetes: {kubeconfig", "kubernetes: {variant_kinds: [VariantAutoscaling, HorizontalPodAutoscaler, ScaledObject], kubeconfig")).unwrap();
    let findings = world.findings(&[]);
    let check = |subject: &str, severity: &str, what: &str, advice: &str| {
        let found = of(&findings, subject);
        assert_eq!(found.len(), 1, "{subject}: {found:#?}");
        let (told, said, advised) = &found[0];
        assert_eq!(told, severity, "{subject}: {found:#?}");
        assert!(
            said.contains(what) && advised.contains(advice),
            "{subject}: {found:#?}"
        );
    };
    for right in [
        "hpa chat/right",
        "hpa chat/right-too",
        "hpa chat/not-ours",
        "hpa chat/keda-hpa",
        "scaledobject chat/right",
        "scaledobject chat/right-too",
        "variant chat/right",
    ] {
        assert_eq!(of(&findings, right), [], "{right}");
    }
    check(
        "hpa chat/misspelled",
        "error",
        "it asks for \"queu\", which nobody offers",
        "did you mean \"queue\"?",
    );
    check(
        "hpa chat/averaged",
        "warning",
        "it divides \"usage\" by the number of replicas",
        "`type: Value` in the target",
    );
    check(
        "hpa chat/hidden",
        "error",
        "it asks for \"secret\", which the namespace chat may not see",
        "add chat to `namespaces`",
    );
    check(
        "hpa chat/by-pods",
        "error",
        "nobody is registered for such metrics",
        "register the daemon",
    );
    check(
        "hpa chat/lost",
        "error",
        "it scales the Deployment lost, which is not there in the namespace chat",
        "correct the name",
    );
    check(
        "hpa chat/odd",
        "error",
        "the cluster has no kind Engine in acme.example/v1",
        "correct apiVersion and kind",
    );
    check(
        "scaledobject chat/misspelled",
        "warning",
        "its trigger asks for \"queu\"",
        "did you mean \"queue\"?",
    );
    check(
        "scaledobject chat/averaged",
        "warning",
        "that is the max over the pods",
        "`metricType: Value`",
    );
    check(
        "scaledobject chat/hidden",
        "error",
        "its trigger asks for \"secret\"",
        "add chat to `namespaces`",
    );
    check(
        "scaledobject chat/lost",
        "error",
        "it scales the Deployment lost, which is not there",
        "correct the name",
    );
    check(
        "variant chat/configured",
        "error",
        "it scales the StatefulSet lost, which is not there",
        "correct the name",
    );
    check(
        "variant chat/grouped",
        "error",
        "the cluster has no kind LeaderWorkerSet in leaderworkerset.x-k8s.io/v1",
        "install",
    );
    check(
        "kubernetes.variant_kinds",
        "warning",
        "the cluster has no kind VariantAutoscaling.llmd.ai",
        "leave it out of variant_kinds",
    );
    // A target that is given by hand has no pod of the cluster.
    let targets = of(&findings, "targets");
    assert_eq!(targets.len(), 2, "{targets:#?}");
    assert!(
        targets[0].0 == "warning" && targets[0].1.contains("1 of 1 targets have no label namespace"),
        "{targets:#?}"
    );

    // A trigger that comes to a door that is closed.
    world.config(&world.cluster.kubeconfig(), "");
    world.until_found(
        "scaledobject chat/right",
        "error",
        "the door keda is not open",
        "docs/keda.md",
    );
    // For people, too.
    let output = fleetgauge("doctor", &["--config", &file.display().to_string()], &[]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains(
            "error    hpa chat/misspelled of kubernetes: it asks for \"queu\", which nobody offers"
        ),
        "{text}"
    );
}
