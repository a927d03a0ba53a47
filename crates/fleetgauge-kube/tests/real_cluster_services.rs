//! What is behind a Service, as the cluster's own controller writes it into EndpointSlices.

use std::sync::Arc;
use std::time::Duration;

use fleetgauge_core::target::{
    ADDRESS, Discovered, Snapshot, SnapshotStream, TargetDiscovery as _, TargetLabels,
};
use fleetgauge_core::time::Clock;
use fleetgauge_kube::discovery::PodPort;
use fleetgauge_kube::service::{ServiceDiscovery, ServiceSelection};
use fleetgauge_kube::watch::WatchConfig;
use fleetgauge_testcluster::Cluster;
use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::{Client, Config};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::timeout;

const NODE: &str = "gpu-7";

/// A namespace of the cluster.
struct Place {
    client: Client,
    namespace: &'static str,
}

impl Place {
    async fn new(cluster: &Cluster, namespace: &'static str) -> Self {
        cluster.namespace(namespace).await.unwrap();
        let client = cluster.client().await.unwrap();
        // Pods of a node that is not there are behind no Service. It may be there by another test.
        let node: Node = serde_json::from_value(json!({"metadata": {"name": NODE}})).unwrap();
        let nodes: Api<Node> = Api::all(client.clone());
        let _ = nodes.create(&PostParams::default(), &node).await;
        nodes.get(NODE).await.unwrap();
        Self { client, namespace }
    }

    async fn make<K>(&self, object: Value)
    where
        K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + serde::Serialize
            + std::fmt::Debug,
    {
        let object: K = serde_json::from_value(object).unwrap();
        let objects: Api<K> = Api::namespaced(self.client.clone(), self.namespace);
        objects.create(&PostParams::default(), &object).await.unwrap();
    }

    /// One that selects by the label `app=chat`.
    async fn make_service(&self, name: &str) {
        let ports = json!([{"name": "metrics", "port": 80, "targetPort": "stats"}]);
        let spec = json!({"selector": {"app": "chat"}, "ports": ports});
        self.make::<Service>(json!({"metadata": {"name": name}, "spec": spec}))
            .await;
    }

    async fn make_pod(&self, name: &str) {
        let ports = json!([{"name": "stats", "containerPort": 8123}]);
        let containers = json!([{"name": "engine", "image": "engine", "ports": ports}]);
        let metadata = json!({"name": name, "labels": {"app": "chat"}});
        let spec = json!({"containers": containers, "nodeName": NODE});
        self.make::<Pod>(json!({"metadata": metadata, "spec": spec}))
            .await;
    }

    /// What a kubelet says of a pod.
    async fn say(&self, pod: &str, address: &str, is_ready: bool) {
        let ready = if is_ready { "True" } else { "False" };
        let status = json!({
            "phase": "Running", "podIP": address, "podIPs": [{"ip": address}],
            "conditions": [{"type": "Ready", "status": ready}],
        });
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), self.namespace);
        let patch = Patch::Merge(json!({"status": status}));
        pods.patch_status(pod, &PatchParams::default(), &patch)
            .await
            .unwrap();
    }

    async fn delete_pod(&self, pod: &str) {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), self.namespace);
        let now = DeleteParams::default().grace_period(0);
        pods.delete(pod, &now).await.unwrap();
    }

    /// An EndpointSlice of `service` that no controller keeps.
    async fn make_slice(&self, name: &str, service: &str, endpoints: Value) {
        let slice = json!({
            "metadata": {"name": name, "labels": {"kubernetes.io/service-name": service}},
            "addressType": "IPv4",
            "ports": [{"name": "metrics", "port": 8123}],
            "endpoints": endpoints,
        });
        self.make::<EndpointSlice>(slice).await;
    }

    fn watch(&self, services: &[&str], config: Config) -> SnapshotStream {
        let client = Client::try_from(config).unwrap();
        let selection = ServiceSelection::new(services.iter().copied(), PodPort::Name("metrics".into()))
            .in_namespaces([self.namespace]);
        let patience = WatchConfig::default()
            .with_max_pause(Duration::from_millis(500))
            .with_silent_for(Duration::from_secs(2));
        Arc::new(ServiceDiscovery::start(
            &client,
            selection,
            &patience,
            &Clock::system(),
        ))
        .watch()
    }
}

/// Waits until exactly these are the targets, by address, and of the problems each has one of these words.
async fn until(snapshots: &mut SnapshotStream, targets: &[&str], problems: &[&str]) -> Discovered {
    let mut last = Snapshot::NotYet;
    let waited = timeout(Duration::from_secs(60), async {
        loop {
            last = snapshots.next().await.unwrap();
            let Snapshot::Known(found) = &last else {
                continue;
            };
            let mut addresses: Vec<_> = found.targets.iter().map(|target| &target[ADDRESS]).collect();
            addresses.sort();
            let are_told = found.problems.len() == problems.len()
                && found
                    .problems
                    .iter()
                    .zip(problems)
                    .all(|(problem, words)| problem.to_string().contains(words));
            if addresses == targets && are_told {
                return found.clone();
            }
        }
    });
    let waited = waited.await;
    waited.unwrap_or_else(|_| panic!("waited in vain for {targets:?} and {problems:?}: {last:#?}"))
}

#[tokio::test]
#[ignore = "needs a Kubernetes control plane"]
async fn a_pod_behind_a_service_is_a_target_while_it_is_ready_and_else_there_is_a_reason() {
    let cluster = Cluster::shared();
    let place = Place::new(cluster, "served").await;
    let mut snapshots = place.watch(&["chat"], cluster.config().await.unwrap());
    until(
        &mut snapshots,
        &[],
        &["the Service served/chat has no EndpointSlice"],
    )
    .await;
    place.make_service("chat").await;
    until(&mut snapshots, &[], &["the Service served/chat has no endpoints"]).await;

    place.make_pod("a").await;
    place.say("a", "10.1.0.1", false).await;
    let told = until(&mut snapshots, &[], &["served/a is not ready yet"]).await;
    assert_eq!(told.problems[0].reason(), "starting");
    place.say("a", "10.1.0.1", true).await;
    let told = until(&mut snapshots, &["10.1.0.1:8123"], &[]).await;
    let expected = [("namespace", "served"), ("pod", "a"), ("node", NODE)];
    let shown = |labels: &TargetLabels| {
        let own = labels.iter().filter(|(name, _)| !name.starts_with("__"));
        own.map(|(name, value)| (name.clone(), value.clone()))
            .collect::<TargetLabels>()
    };
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(shown(&told.targets[0]), TargetLabels::from(expected));

    // What it has to tell may be what the others wait for.
    place.say("a", "10.1.0.1", false).await;
    let told = until(&mut snapshots, &[], &["served/a is not ready, by"]).await;
    assert_eq!(told.problems[0].reason(), "target");
    place.make_pod("b").await;
    place.say("b", "10.1.0.2", true).await;
    until(&mut snapshots, &["10.1.0.2:8123"], &["served/a is not ready, by"]).await;
    place.delete_pod("a").await;
    until(&mut snapshots, &["10.1.0.2:8123"], &[]).await;
    place.delete_pod("b").await;
    until(&mut snapshots, &[], &["the Service served/chat has no endpoints"]).await;
}

#[tokio::test]
#[ignore = "needs a Kubernetes control plane"]
async fn a_pod_behind_two_services_and_in_two_slices_is_one_target() {
    let cluster = Cluster::shared();
    let place = Place::new(cluster, "twice").await;
    for service in ["chat", "chat-direct"] {
        place.make_service(service).await;
    }
    place.make_pod("a").await;
    place.say("a", "10.1.1.1", true).await;
    // The controller writes one slice after the other.
    let mut both = place.watch(&["chat", "chat-direct"], cluster.config().await.unwrap());
    until(&mut both, &["10.1.1.1:8123"], &[]).await;

    let pods: Api<Pod> = Api::namespaced(place.client.clone(), "twice");
    let pod = |name: &str, uid: &str, address: &str| {
        let target = json!({"kind": "Pod", "name": name, "uid": uid, "namespace": "twice"});
        json!({"addresses": [address], "conditions": {"ready": true}, "targetRef": target})
    };
    let uid = pods.get("a").await.unwrap().metadata.uid.unwrap();
    let a = pod("a", &uid, "10.1.1.1");
    let mut split = place.watch(&["split"], cluster.config().await.unwrap());
    place
        .make_slice("split-1", "split", json!([a, pod("b", "another", "10.1.1.2")]))
        .await;
    until(&mut split, &["10.1.1.1:8123", "10.1.1.2:8123"], &[]).await;
    // While one moves between slices, both have it.
    place
        .make_slice("split-2", "split", json!([a, pod("c", "third", "10.1.1.3")]))
        .await;
    let all = ["10.1.1.1:8123", "10.1.1.2:8123", "10.1.1.3:8123"];
    until(&mut split, &all, &[]).await;
    let slices: Api<EndpointSlice> = Api::namespaced(place.client.clone(), "twice");
    slices.delete("split-1", &DeleteParams::default()).await.unwrap();
    until(&mut split, &["10.1.1.1:8123", "10.1.1.3:8123"], &[]).await;
}

#[tokio::test]
#[ignore = "needs a Kubernetes control plane"]
async fn who_may_not_see_slices_is_told_so_and_sees_them_when_he_may() {
    let cluster = Cluster::shared();
    let place = Place::new(cluster, "hidden").await;
    place.make_service("chat").await;
    place.make_pod("a").await;
    place.say("a", "10.1.2.1", true).await;
    let mut config = cluster.config().await.unwrap();
    config.auth_info.impersonate = Some("slice-blind".into());
    let mut snapshots = place.watch(&["chat"], config);
    let told = until(&mut snapshots, &[], &["cannot list resource \"endpointslices\""]).await;
    assert_eq!(told.problems[0].reason(), "unreachable");
    let right = ServiceDiscovery::right();
    let rule = json!({"apiGroups": [right.group], "resources": [right.resource], "verbs": right.verbs});
    place
        .make::<Role>(json!({"metadata": {"name": "slices"}, "rules": [rule]}))
        .await;
    let group = "rbac.authorization.k8s.io";
    let binding = json!({
        "metadata": {"name": "slices"},
        "roleRef": {"apiGroup": group, "kind": "Role", "name": "slices"},
        "subjects": [{"apiGroup": group, "kind": "User", "name": "slice-blind"}],
    });
    place.make::<RoleBinding>(binding).await;
    until(&mut snapshots, &["10.1.2.1:8123"], &[]).await;
}

#[tokio::test]
#[ignore = "needs a Kubernetes control plane"]
async fn targets_behind_a_service_outlive_the_api_server_and_change_again_when_it_is_back() {
    let mut cluster = Cluster::start().unwrap();
    let place = Place::new(&cluster, "outage").await;
    place.make_service("chat").await;
    for (pod, address) in [("a", "10.1.3.1"), ("b", "10.1.3.2")] {
        place.make_pod(pod).await;
        place.say(pod, address, true).await;
    }
    let mut snapshots = place.watch(&["chat"], cluster.config().await.unwrap());
    let both = ["10.1.3.1:8123", "10.1.3.2:8123"];
    let before = until(&mut snapshots, &both, &[]).await;
    cluster.kill_api_server();
    let during = until(&mut snapshots, &both, &[""]).await;
    assert_eq!(during.problems[0].reason(), "unreachable");
    let cluster = tokio::task::spawn_blocking(move || {
        cluster.start_api_server().unwrap();
        cluster
    });
    let _cluster = cluster.await.unwrap();
    let after = until(&mut snapshots, &both, &[]).await;
    // They are the same ones, by their pointers, so that nobody takes them for others.
    let is_same = |target: &Arc<TargetLabels>| before.targets.iter().any(|known| Arc::ptr_eq(known, target));
    assert!(after.targets.iter().all(is_same));
    place.say("a", "10.1.3.1", false).await;
    until(&mut snapshots, &["10.1.3.2:8123"], &["outage/a is not ready, by"]).await;
}
