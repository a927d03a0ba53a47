//! The owners of pods are those of the cluster, also after what was missed.

use std::time::Duration;

use fleetgauge_core::time::Clock;
use fleetgauge_kube::object::Kind;
use fleetgauge_kube::owner::OwnerIndex;
use fleetgauge_kube::watch::{OwnerWatch, Resource, WatchConfig};
use fleetgauge_kube::watched::Listing;
use fleetgauge_testcluster::Cluster;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Client;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::line::Line;

fn watch(client: &Client, resources: impl IntoIterator<Item = Resource>) -> OwnerWatch {
    let config = WatchConfig::default().with_max_pause(Duration::from_millis(500));
    OwnerWatch::start(client, resources, &config, &Clock::system())
}

/// Waits until the index is as it should be.
async fn until(watch: &OwnerWatch, event: &str, check: impl FnMut(&OwnerIndex) -> bool) {
    let mut index = watch.index();
    let waited = timeout(Duration::from_secs(60), index.wait_for(check)).await;
    assert!(
        waited.is_ok(),
        "waited in vain for {event}:\n{:#?}",
        watch.index().borrow()
    );
}

/// The names of the known pods of a namespace.
fn pods(index: &OwnerIndex, namespace: &str) -> Vec<String> {
    let pods = index.watched(&Kind::POD).unwrap().objects();
    let mut pods: Vec<_> = pods
        .filter(|pod| *pod.namespace == *namespace)
        .map(|pod| pod.name.to_string())
        .collect();
    pods.sort();
    pods
}

fn is_failing(index: &OwnerIndex) -> bool {
    index.watched(&Kind::POD).unwrap().fault().is_some()
}

fn labels() -> Value {
    json!({"app": "chat"})
}

fn containers() -> Value {
    json!([{"name": "engine", "image": "engine"}])
}

async fn make_pod(client: &Client, namespace: &str, name: &str) {
    let pod = json!({"metadata": {"name": name}, "spec": {"containers": containers()}});
    let pod: Pod = serde_json::from_value(pod).unwrap();
    let pods = Api::namespaced(client.clone(), namespace);
    pods.create(&PostParams::default(), &pod).await.unwrap();
}

/// Nothing runs it, so it is gone at once.
async fn delete_pod(client: &Client, namespace: &str, name: &str) {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    pods.delete(name, &DeleteParams::default()).await.unwrap();
}

#[tokio::test]
#[ignore = "needs a Kubernetes control plane"]
async fn the_pods_of_a_deployment_are_known_as_its_own() {
    let cluster = Cluster::shared();
    cluster.namespace("owned").await.unwrap();
    let client = cluster.client().await.unwrap();
    let watch = watch(&client, Resource::controllers());
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), "owned");
    let deployment = json!({
        "metadata": {"name": "chat"},
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": labels()},
            "template": {"metadata": {"labels": labels()}, "spec": {"containers": containers()}},
        },
    });
    let deployment: Deployment = serde_json::from_value(deployment).unwrap();
    deployments
        .create(&PostParams::default(), &deployment)
        .await
        .unwrap();
    let is_chats = |index: &OwnerIndex, pod: &str| {
        let Ok(owners) = index.owners("owned", pod) else {
            return false;
        };
        let kinds: Vec<_> = owners.iter().map(|owner| &owner.kind).collect();
        kinds == [&Kind::REPLICA_SET, &Kind::DEPLOYMENT] && *owners[1].name == *"chat"
    };
    let are_chats = |index: &OwnerIndex, count: usize| {
        let pods = pods(index, "owned");
        pods.len() == count && pods.iter().all(|pod| is_chats(index, pod))
    };
    until(&watch, "three pods", |index| are_chats(index, 3)).await;
    let patch = Patch::Merge(json!({"spec": {"replicas": 1}}));
    deployments
        .patch_scale("chat", &PatchParams::default(), &patch)
        .await
        .unwrap();
    until(&watch, "one pod", |index| are_chats(index, 1)).await;
}

#[tokio::test]
#[ignore = "needs a Kubernetes control plane"]
async fn a_kind_that_the_cluster_lacks_keeps_nothing_from_being_ready_and_is_known_when_it_comes() {
    let cluster = Cluster::shared();
    let client = cluster.client().await.unwrap();
    let kind = Kind::of("coming.example/v1", "Engine");
    let watch = watch(&client, [Resource::new(kind.clone(), "v1", "engines")]);
    until(&watch, "an index that is ready", OwnerIndex::is_ready).await;
    let is = |index: &OwnerIndex, listing, count| {
        let watched = index.watched(&kind).unwrap();
        watched.listing() == listing && watched.objects().len() == count
    };
    assert!(is(&watch.index().borrow(), Listing::Absent, 0));

    let definition = json!({
        "metadata": {"name": "engines.coming.example"},
        "spec": {
            "group": "coming.example",
            "scope": "Namespaced",
            "names": {"kind": "Engine", "plural": "engines", "singular": "engine"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}],
        },
    });
    let definition: CustomResourceDefinition = serde_json::from_value(definition).unwrap();
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    definitions
        .create(&PostParams::default(), &definition)
        .await
        .unwrap();
    until(&watch, "the kind", |index| is(index, Listing::Known, 0)).await;
    let resource = ApiResource {
        group: "coming.example".into(),
        version: "v1".into(),
        api_version: "coming.example/v1".into(),
        kind: "Engine".into(),
        plural: "engines".into(),
    };
    let engines: Api<DynamicObject> = Api::namespaced_with(client.clone(), "default", &resource);
    let engine = DynamicObject::new("llama", &resource);
    engines.create(&PostParams::default(), &engine).await.unwrap();
    until(&watch, "an engine", |index| is(index, Listing::Known, 1)).await;

    definitions
        .delete("engines.coming.example", &DeleteParams::default())
        .await
        .unwrap();
    until(&watch, "the kind to go", |index| is(index, Listing::Absent, 0)).await;
    assert!(watch.index().borrow().is_ready());
}

#[tokio::test]
#[ignore = "needs a Kubernetes control plane"]
async fn what_was_missed_while_the_line_was_cut_is_made_up_for() {
    let cluster = Cluster::shared();
    cluster.namespace("missed").await.unwrap();
    let direct = cluster.client().await.unwrap();
    for pod in ["a", "b"] {
        make_pod(&direct, "missed", pod).await;
    }
    let line = Line::to(cluster.address()).await;
    let mut config = cluster.config().await.unwrap();
    config.cluster_url = format!("https://{}", line.address).parse().unwrap();
    let watch = watch(&Client::try_from(config).unwrap(), []);
    until(&watch, "a and b", |index| pods(index, "missed") == ["a", "b"]).await;

    line.cut();
    until(&watch, "the fault", is_failing).await;
    delete_pod(&direct, "missed", "a").await;
    make_pod(&direct, "missed", "c").await;
    // It does not know, and says since when.
    assert_eq!(pods(&watch.index().borrow(), "missed"), ["a", "b"]);
    assert!(is_failing(&watch.index().borrow()));

    line.mend();
    until(&watch, "the end of the fault", |index| !is_failing(index)).await;
    assert_eq!(pods(&watch.index().borrow(), "missed"), ["b", "c"]);
}

#[tokio::test]
#[ignore = "needs a Kubernetes control plane"]
async fn what_was_known_outlives_a_killed_api_server_and_is_watched_again_when_it_is_back() {
    let mut cluster = Cluster::start().unwrap();
    cluster.namespace("kept").await.unwrap();
    let client = cluster.client().await.unwrap();
    for pod in ["a", "b"] {
        make_pod(&client, "kept", pod).await;
    }
    let watch = watch(&client, Resource::controllers());
    until(&watch, "an index that is ready", OwnerIndex::is_ready).await;
    assert_eq!(pods(&watch.index().borrow(), "kept"), ["a", "b"]);

    cluster.kill_api_server();
    until(&watch, "the fault", is_failing).await;
    assert!(watch.index().borrow().is_ready());
    assert_eq!(pods(&watch.index().borrow(), "kept"), ["a", "b"]);

    let cluster = tokio::task::spawn_blocking(move || {
        cluster.start_api_server().unwrap();
        cluster
    });
    let _cluster = cluster.await.unwrap();
    until(&watch, "the end of the fault", |index| !is_failing(index)).await;
    assert_eq!(pods(&watch.index().borrow(), "kept"), ["a", "b"]);
    delete_pod(&client, "kept", "a").await;
    until(&watch, "b alone", |index| pods(index, "kept") == ["b"]).await;
}

#[tokio::test]
#[ignore = "needs a Kubernetes control plane"]
async fn a_kind_that_may_not_be_listed_costs_what_needs_it_alone() {
    let cluster = Cluster::shared();
    let client = cluster.client().await.unwrap();
    let role = json!({
        "metadata": {"name": "pods-alone"},
        "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]}],
    });
    let role: ClusterRole = serde_json::from_value(role).unwrap();
    Api::all(client.clone())
        .create(&PostParams::default(), &role)
        .await
        .unwrap();
    let binding = json!({
        "metadata": {"name": "pods-alone"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "pods-alone"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "half-blind"}],
    });
    let binding: ClusterRoleBinding = serde_json::from_value(binding).unwrap();
    Api::all(client.clone())
        .create(&PostParams::default(), &binding)
        .await
        .unwrap();
    let mut config = cluster.config().await.unwrap();
    config.auth_info.impersonate = Some("half-blind".into());
    let watch = watch(&Client::try_from(config).unwrap(), Resource::controllers());
    until(&watch, "an index that is ready", |index| {
        let pods = index.watched(&Kind::POD).unwrap().listing();
        index.is_ready() && pods == Listing::Known
    })
    .await;
    let index = watch.index();
    let index = index.borrow();
    let sets = index.watched(&Kind::REPLICA_SET).unwrap();
    assert_eq!(sets.listing(), Listing::Forbidden);
    let detail = &sets.fault().unwrap().detail;
    for part in ["half-blind", "cannot list", "replicasets", "apps"] {
        assert!(detail.contains(part), "{detail}");
    }
}
