//! What is started is Kubernetes, and its pods answer.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use fleetgauge_testcluster::{Cluster, NodeAgent};
use fleetgauge_testkit::http;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt as _};
use serde_json::json;

/// Asks until there is what is waited for.
async fn until<T>(event: &str, mut check: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = check().await {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {event}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Makes a Deployment in a namespace of its own.
async fn deploy(namespace: &str, replicas: i32) -> Client {
    let cluster = Cluster::shared();
    cluster.namespace(namespace).await.unwrap();
    let client = cluster.client().await.unwrap();
    let labels = json!({"app": "chat"});
    let deployment = json!({
        "metadata": {"name": "chat"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "engine", "image": "engine", "ports": [{"containerPort": 8123}]}]},
            },
        },
    });
    let deployment: Deployment = serde_json::from_value(deployment).unwrap();
    Api::namespaced(client.clone(), namespace)
        .create(&PostParams::default(), &deployment)
        .await
        .unwrap();
    client
}

/// Pods that tell their names.
async fn agent(client: &Client, namespace: &str) -> NodeAgent {
    let engine = |pod: &Pod| {
        let name = pod.name_any();
        Router::new().route("/name", get(async move || name))
    };
    NodeAgent::start(client.clone(), namespace, engine).await.unwrap()
}

async fn until_ready(client: &Client, namespace: &str, count: i32) {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    until("ready replicas", async || {
        let status = deployments.get_status("chat").await.unwrap().status?;
        (status.ready_replicas.unwrap_or(0) == count && status.replicas == Some(count)).then_some(())
    })
    .await;
}

/// Names and addresses of all pods.
async fn pods(client: &Client, namespace: &str) -> Vec<(String, SocketAddr)> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let pods = pods.list(&ListParams::default()).await.unwrap();
    let address = |pod: &Pod| {
        let address = pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok()?;
        Some((pod.name_any(), SocketAddr::new(address, 8123)))
    };
    pods.items.iter().filter_map(address).collect()
}

async fn ask(address: SocketAddr) -> Option<String> {
    let answer = tokio::task::spawn_blocking(move || http::get(address, "/name"));
    answer.await.unwrap().ok().map(|response| response.text())
}

#[tokio::test]
#[ignore = "needs a Kubernetes control plane"]
async fn the_api_server_answers_clients_and_kubectl() {
    let cluster = Cluster::shared();
    let version = cluster.client().await.unwrap().apiserver_version().await.unwrap();
    assert!(version.git_version.starts_with("v1."), "{}", version.git_version);
    let printed = cluster.kubectl(&["version"]).unwrap();
    assert!(
        printed.contains(&format!("Server Version: {}", version.git_version)),
        "{printed}"
    );
    let error = cluster.kubectl(&["get", "nonsense"]).unwrap_err().to_string();
    assert!(error.contains("doesn't have a resource type"), "{error}");
}

#[tokio::test]
#[ignore = "needs a Kubernetes control plane"]
async fn each_pod_of_a_deployment_becomes_ready_and_answers_at_an_address_of_its_own() {
    let client = deploy("ready", 3).await;
    let _agent = agent(&client, "ready").await;
    until_ready(&client, "ready", 3).await;
    let pods = pods(&client, "ready").await;
    let addresses: BTreeSet<_> = pods.iter().map(|(_, address)| address).collect();
    assert_eq!(addresses.len(), 3, "{pods:?}");
    for (name, address) in pods {
        assert!(address.ip().is_loopback());
        assert_eq!(ask(address).await, Some(name));
    }
}

#[tokio::test]
#[ignore = "needs a Kubernetes control plane"]
async fn a_pod_that_a_smaller_deployment_has_no_place_for_ends() {
    let client = deploy("smaller", 3).await;
    let _agent = agent(&client, "smaller").await;
    until_ready(&client, "smaller", 3).await;
    let before = pods(&client, "smaller").await;
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), "smaller");
    let patch = Patch::Merge(json!({"spec": {"replicas": 1}}));
    deployments
        .patch_scale("chat", &PatchParams::default(), &patch)
        .await
        .unwrap();
    let after = until("two pods to go", async || {
        let pods = pods(&client, "smaller").await;
        (pods.len() == 1).then_some(pods)
    })
    .await;
    for (name, address) in before {
        let stays = after.contains(&(name.clone(), address));
        assert_eq!(ask(address).await, stays.then_some(name));
    }
}

#[tokio::test]
#[ignore = "needs a Kubernetes control plane"]
async fn a_pod_that_is_said_not_to_be_ready_is_no_ready_replica() {
    let client = deploy("unready", 2).await;
    let agent = agent(&client, "unready").await;
    until_ready(&client, "unready", 2).await;
    let (name, address) = pods(&client, "unready").await.remove(0);
    agent.set_ready(&name, false).await.unwrap();
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), "unready");
    until("a replica that is not ready", async || {
        let status = deployments.get_status("chat").await.unwrap().status?;
        (status.replicas == Some(2) && status.ready_replicas == Some(1)).then_some(())
    })
    .await;
    assert_eq!(ask(address).await, Some(name.clone()));
    agent.set_ready(&name, true).await.unwrap();
    until_ready(&client, "unready", 2).await;
}

#[tokio::test]
#[ignore = "needs a Kubernetes control plane"]
async fn the_hpa_controller_tells_that_a_metric_is_nowhere() {
    let client = deploy("nowhere", 1).await;
    let _agent = agent(&client, "nowhere").await;
    let hpa = json!({
        "metadata": {"name": "chat"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "chat"},
            "minReplicas": 1,
            "maxReplicas": 5,
            "metrics": [{"type": "External", "external": {
                "metric": {"name": "chat_queue"},
                "target": {"type": "AverageValue", "averageValue": "10"},
            }}],
        },
    });
    let hpa: HorizontalPodAutoscaler = serde_json::from_value(hpa).unwrap();
    let hpas: Api<HorizontalPodAutoscaler> = Api::namespaced(client.clone(), "nowhere");
    hpas.create(&PostParams::default(), &hpa).await.unwrap();
    let condition = until("the condition ScalingActive", async || {
        let conditions = hpas.get_status("chat").await.unwrap().status?.conditions?;
        conditions
            .into_iter()
            .find(|condition| condition.type_ == "ScalingActive")
    })
    .await;
    assert_eq!(
        (condition.status.as_str(), condition.reason.as_deref()),
        ("False", Some("FailedGetExternalMetric"))
    );
}

#[test]
#[ignore = "needs a Kubernetes control plane"]
fn what_was_written_is_there_when_the_api_server_is_back() {
    let mut cluster = Cluster::start().unwrap();
    cluster.kubectl(&["create", "namespace", "kept"]).unwrap();
    cluster.kill_api_server();
    assert!(cluster.kubectl(&["get", "namespace", "kept"]).is_err());
    cluster.start_api_server().unwrap();
    let kept = cluster
        .kubectl(&["get", "namespace", "kept", "-o", "name"])
        .unwrap();
    assert_eq!(kept, "namespace/kept\n");
}

#[test]
#[ignore = "needs a Kubernetes control plane"]
fn a_test_that_panics_leaves_no_process_behind() {
    let (told, pids) = std::sync::mpsc::channel();
    let test = std::thread::spawn(move || {
        let cluster = Cluster::start().unwrap();
        told.send(cluster.pids()).unwrap();
        panic!("as a test does");
    });
    assert!(test.join().is_err());
    let pids = pids.recv().unwrap();
    assert_eq!(pids.len(), 3);
    for pid in pids {
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    }
}
