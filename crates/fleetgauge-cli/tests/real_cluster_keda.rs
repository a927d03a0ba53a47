//! KEDA's own operator scales a Deployment by what the daemon tells it.

use std::path::Path;

use fleetgauge_testcluster::{Cluster, Keda};
use fleetgauge_testkit::{Answer, FaultyServer};

use crate::support::daemon::{Daemon, QUEUE, config, until};

const NAMESPACE: &str = "keda-scales";

/// Without pods, which nobody here would run.
const WORKLOAD: &str = r#"{"apiVersion": "v1", "kind": "List", "items": [
    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "keda-scales"}},
    {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "chat", "namespace": "keda-scales"},
      "spec": {
        "replicas": 0,
        "selector": {"matchLabels": {"app": "chat"}},
        "template": {
          "metadata": {"labels": {"app": "chat"}},
          "spec": {"containers": [{"name": "engine", "image": "engine"}]}
        }
    }}
]}"#;

/// KEDA asks every `polling` seconds; it scales to zero when there was no work for one second.
fn scaled_object(scaler: &str, polling: u32) -> String {
    format!(
        r#"{{"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject",
          "metadata": {{"name": "chat", "namespace": "{NAMESPACE}"}},
          "spec": {{
            "scaleTargetRef": {{"name": "chat"}},
            "minReplicaCount": 0,
            "maxReplicaCount": 4,
            "pollingInterval": {polling},
            "cooldownPeriod": 1,
            "triggers": [{{"type": "external-push",
              "metadata": {{"scalerAddress": "{scaler}", "metric": "queue", "target": "5"}}}}]
        }}}}"#
    )
}

fn apply(cluster: &Cluster, file: &Path, text: &str) {
    std::fs::write(file, text).unwrap();
    cluster
        .kubectl(&[
            "apply",
            "--server-side",
            "--filename",
            &file.display().to_string(),
        ])
        .unwrap();
}

fn replicas(cluster: &Cluster) -> String {
    let get = [
        "get",
        "deployment",
        "chat",
        "--namespace",
        NAMESPACE,
        "--output",
        "jsonpath={.spec.replicas}",
    ];
    cluster.kubectl(&get).unwrap()
}

/// How many of KEDA's requests were answered with this status of gRPC's.
fn answered(daemon: &Daemon, code: &str) -> u32 {
    let own = daemon.get("/metrics").1;
    let series = format!("fleetgauge_door_requests_total{{door=\"keda\",code=\"{code}\"}} ");
    let count = own.lines().find_map(|line| line.strip_prefix(&series));
    count.map_or(0, |count| count.parse().unwrap())
}

#[test]
#[ignore = "needs a Kubernetes control plane and KEDA's operator"]
fn scales_from_zero_and_to_zero_and_not_by_what_is_withheld() {
    let directory = tempfile::tempdir().unwrap();
    let page = |waiting: u32| [Answer::text(format!("waiting{{pod=\"a\"}} {waiting}\n"))];
    let pod = FaultyServer::start(page(0)).unwrap();
    let metrics = format!("{QUEUE}keda: {{listen: \"127.0.0.1:0\"}}\n");
    let daemon = Daemon::start(&config(directory.path(), &pod, &metrics));
    let scaler = daemon
        .logged("serving KEDA at")
        .rsplit(' ')
        .next()
        .unwrap()
        .to_owned();
    daemon.reading("queue", |reading| reading["value"] == 0);

    let cluster = Cluster::shared();
    let keda = Keda::start(cluster).unwrap();
    let file = directory.path().join("objects.json");
    apply(cluster, &file, WORKLOAD);
    // It asks now, and then not for as long as this takes: what comes later is told to it.
    apply(cluster, &file, &scaled_object(&scaler, 3600));
    until(|| answered(&daemon, "Ok") > 0);
    pod.set_script(page(7)).unwrap();
    until(|| replicas(cluster) == "1");

    apply(cluster, &file, &scaled_object(&scaler, 1));
    pod.set_script([Answer::status(503)]).unwrap();
    daemon.reading("queue", |reading| reading["status"] == "withheld");
    // So many polls take longer than one second without work.
    let before = answered(&daemon, "Unavailable");
    until(|| answered(&daemon, "Unavailable") >= before + 10);
    assert_eq!(replicas(cluster), "1");
    pod.set_script(page(0)).unwrap();
    until(|| replicas(cluster) == "0");

    // Nobody is there to ask.
    pod.set_script(page(7)).unwrap();
    until(|| replicas(cluster) == "1");
    drop(daemon);
    let failures = || keda.log().matches("connection refused").count();
    let before = failures();
    until(|| failures() >= before + 5);
    assert_eq!(replicas(cluster), "1");
}
