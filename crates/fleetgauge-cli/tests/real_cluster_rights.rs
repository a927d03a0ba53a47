//! The daemon in a real cluster that lets it do little, and is away for a while: what it lacks is logged once, and costs what needs
//! it alone.

use std::fs;

use fleetgauge_testcluster::Cluster;
use fleetgauge_testkit::{Answer, FaultyServer};
use serde_json::{Value, json};

use crate::support::daemon::{Daemon, QUEUE, config, until};
use crate::support::rights;

const ACCOUNT: &str = "system:serviceaccount:default:poor";

/// What the daemon watches, as it names it and as the API server does.
const WATCHED: [(&str, &str, &str); 6] = [
    ("Pod", "", "pods"),
    ("ReplicaSet.apps", "apps", "replicasets"),
    ("StatefulSet.apps", "apps", "statefulsets"),
    ("Job.batch", "batch", "jobs"),
    (
        "HorizontalPodAutoscaler.autoscaling",
        "autoscaling",
        "horizontalpodautoscalers",
    ),
    ("ScaledObject.keda.sh", "keda.sh", "scaledobjects"),
];

/// How often the API server has answered a list of `resource` with this status.
fn answered(cluster: &Cluster, resource: &str, code: u16) -> usize {
    let of_resource = |event: &Value| {
        event["objectRef"]["resource"] == resource
            && event["verb"] == "list"
            && event["responseStatus"]["code"] == code
    };
    cluster
        .audited(ACCOUNT)
        .iter()
        .filter(|event| of_resource(event))
        .count()
}

#[test]
#[ignore = "needs a Kubernetes control plane"]
fn a_right_that_is_missing_is_logged_once_and_costs_what_needs_it_alone() {
    let mut cluster = Cluster::start_audited().unwrap();
    cluster.kubectl(&["create", "serviceaccount", "poor"]).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let kubeconfig = directory.path().join("kubeconfig");
    fs::write(&kubeconfig, rights::kubeconfig(&cluster, "default", "poor")).unwrap();
    rights::certificate(directory.path(), "fleetgauge.default.svc");
    let pod = FaultyServer::start([Answer::text("waiting{pod=\"a\"} 3\n")]).unwrap();
    let metrics = format!(
        "{QUEUE}  - {{name: variant_queue, query: waiting, every: 100ms, for_each: variant}}\n\
         kubernetes: {{kubeconfig: kubeconfig, variant_kinds: [ScaledObject, HorizontalPodAutoscaler]}}\n\
         external_metrics: {{listen: \"127.0.0.1:0\", tls: {{cert_file: tls.crt, key_file: tls.key}}}}\n"
    );
    let daemon = Daemon::start(&config(directory.path(), &pod, &metrics));

    // Who looks behind a Service needs another one.
    let behind = directory.path().join("behind.yaml");
    let text = "kubernetes: {kubeconfig: kubeconfig}\n\
        sources: {behind: {scrape: {interval: 100ms, discovery: [{services: {names: [kubernetes], namespaces: [default], ports: [https]}}]}}}\n\
        metrics: [{name: queue, query: waiting, every: 100ms}]\n\
        queries: [{name: waiting, template: waiting}]\n";
    fs::write(&behind, text).unwrap();
    let behind = Daemon::start(&behind);

    // What needs no cluster is there.
    daemon.reading("queue", |reading| reading["value"] == 3);
    // Each was asked for again and again.
    for (_, _, resource) in WATCHED {
        until(|| answered(&cluster, resource, 403) >= 3);
    }
    until(|| answered(&cluster, "configmaps", 403) >= 3);
    let (status, ready) = daemon.get("/readyz");
    assert_eq!(status, 503, "{ready}");
    assert!(
        ready.contains("extension-apiserver-authentication") && ready.contains("forbidden"),
        "{ready}"
    );
    let log = daemon.log();
    let faults: Vec<_> = log
        .iter()
        .filter(|line| line.contains("ERROR") || line.contains("WARN"))
        .collect();
    for (kind, group, resource) in WATCHED {
        let lines: Vec<_> = faults
            .iter()
            .filter(|line| line.contains(&format!("{kind} cannot be watched")))
            .collect();
        assert_eq!(lines.len(), 1, "{kind}: {faults:#?}");
        // The API server's own words.
        for part in ["cannot list", resource, group, "at the cluster scope"] {
            assert!(lines[0].contains(part), "{part}: {lines:?}");
        }
    }
    let believed: Vec<_> = faults
        .iter()
        .filter(|line| line.contains("whose certificates are believed"))
        .collect();
    assert_eq!(believed.len(), 1, "{faults:#?}");
    assert!(
        believed[0].contains("configmaps") && believed[0].contains("kube-system"),
        "{believed:?}"
    );
    assert_eq!(faults.len(), WATCHED.len() + 1, "{faults:#?}");

    until(|| answered(&cluster, "endpointslices", 403) >= 3);
    let withheld = behind.reading("queue", |reading| {
        reading["status"] == "withheld" && reading.to_string().contains("cannot list")
    });
    let told = withheld.to_string();
    assert!(
        told.contains("cannot list resource") && told.contains("endpointslices"),
        "{told}"
    );
    let log = behind.log();
    let failed = log.iter().filter(|line| line.contains("discovery failed"));
    // It may have been told before there was a door.
    assert!(failed.count() <= 1, "{log:#?}");

    // What has one right needs no other, to be watched.
    let rule = |group: &str, resource: &str| json!({"apiGroups": [group], "resources": [resource], "verbs": ["list", "watch"]});
    rights::give(&cluster, "poor", &json!([rule("", "pods")]));
    daemon.logged("Pod is watched again");
    let rules: Vec<_> = WATCHED
        .iter()
        .map(|(_, group, resource)| rule(group, resource))
        .collect();
    let rules = [&rules[..], &[rule("discovery.k8s.io", "endpointslices")]].concat();
    rights::give(&cluster, "poor", &json!(rules));
    // There it is, and nobody is behind it: the API server of this cluster writes no endpoints of its own.
    behind.reading("queue", |reading| {
        let told = reading.to_string();
        told.contains("the Service default/kubernetes has no EndpointSlice")
    });
    rights::apply(
        &cluster,
        &json!([{
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": "by-hand", "namespace": "default", "labels": {"kubernetes.io/service-name": "kubernetes"}},
            "endpoints": [{"addresses": ["192.0.2.200"], "conditions": {"ready": true}}],
            "ports": [{"port": 6443, "name": "https"}],
        }]),
    );
    // What works again has been told to fail.
    behind.logged("discovery works again");
    drop(behind);
    let mut log = Vec::new();
    until(|| {
        log.extend(daemon.log());
        // One kind is not there, which is all that has to be known of it.
        let again = |(kind, ..): &(&str, &str, &str)| {
            log.iter()
                .any(|line| line.contains(&format!("{kind} is watched again")))
        };
        WATCHED[1..].iter().all(again)
    });
    rights::give_config_map(&cluster, "poor");
    daemon.logged("whose certificates are believed is known again");
    until(|| daemon.get("/readyz").0 == 200);

    // Nobody answers for a while.
    cluster.kill_api_server();
    let mut log = Vec::new();
    // The kind that is not there is asked for now and then, and may be within the outage or not.
    let told = |log: &[String], what: &str| {
        let of = |(kind, ..): &&(&str, &str, &str)| {
            log.iter()
                .filter(|line| line.contains(&format!("{kind} {what}")))
                .count()
        };
        WATCHED[..WATCHED.len() - 1]
            .iter()
            .map(|kind| of(&kind))
            .collect::<Vec<_>>()
    };
    until(|| {
        log.extend(daemon.log());
        told(&log, "cannot be watched").iter().all(|count| *count > 0)
    });
    // What is known is kept, and the rest goes on.
    assert_eq!(daemon.get("/readyz").0, 200);
    cluster.start_api_server().unwrap();
    until(|| {
        log.extend(daemon.log());
        told(&log, "is watched again").iter().all(|count| *count > 0)
    });
    assert!(
        told(&log, "cannot be watched").iter().all(|count| *count == 1),
        "{log:#?}"
    );
    let faults = log
        .iter()
        .filter(|line| line.contains("ERROR") || line.contains("WARN"));
    assert!(faults.count() <= WATCHED.len(), "{log:#?}");
    daemon.reading("queue", |reading| reading["value"] == 3);
}
