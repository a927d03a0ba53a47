//! The owners of pods are those of the cluster, also after what was missed.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use fleetgauge_core::target::{ADDRESS, Snapshot, SnapshotStream, TargetDiscovery, TargetLabels};
use fleetgauge_core::time::Clock;
use fleetgauge_kube::cluster::ClusterIndex;
use fleetgauge_kube::discovery::{PodDiscovery, PodPort, PodSelection};
use fleetgauge_kube::object::Kind;
use fleetgauge_kube::watch::{ClusterWatch, Resource, WatchConfig};
use fleetgauge_kube::watched::Listing;
use fleetgauge_testcluster::{Cluster, NodeAgent};
use fleetgauge_testkit::http;
use futures_util::StreamExt as _;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::line::Line;

fn watch(client: &Client, controllers: impl IntoIterator<Item = Resource>) -> ClusterWatch {
    let config = WatchConfig::default()
        .with_controllers(controllers)
        .with_max_pause(Duration::from_millis(500));
    ClusterWatch::start(client, &config, &Clock::system())
}

/// Waits until the index is as it should be.
async fn until(watch: &ClusterWatch, event: &str, check: impl FnMut(&ClusterIndex) -> bool) {
    let mut index = watch.index();
    let waited = timeout(Duration::from_secs(60), index.wait_for(check)).await;
    assert!(
        waited.is_ok(),
        "waited in vain for {event}:\n{:#?}",
        watch.index().borrow()
    );
}

/// The names of the known pods of a namespace.
fn pods(index: &ClusterIndex, namespace: &str) -> Vec<String> {
    let pods = index.owners.watched(&Kind::POD).unwrap().objects();
    let mut pods: Vec<_> = pods
        .filter(|pod| *pod.namespace == *namespace)
        .map(|pod| pod.name.to_string())
        .collect();
    pods.sort();
    pods
}

fn is_failing(index: &ClusterIndex) -> bool {
    index.owners.watched(&Kind::POD).unwrap().fault().is_some()
}

fn labels() -> Value {
    json!({"app": "chat"})
}

fn containers() -> Value {
    let ports = json!([{"name": "metrics", "containerPort": 8123}]);
    json!([{"name": "engine", "image": "engine", "ports": ports}])
}

async fn make_pod(client: &Client, namespace: &str, name: &str) {
    let pod = json!({"metadata": {"name": name}, "spec": {"containers": containers()}});
    let pod: Pod = serde_json::from_value(pod).unwrap();
    let pods = Api::namespaced(client.clone(), namespace);
    pods.create(&PostParams::default(), &pod).await.unwrap();
}

/// One of the chat's by its label, but without its port.
async fn make_labelled_pod(client: &Client, namespace: &str, name: &str) {
    let containers = json!([{"name": "engine", "image": "engine"}]);
    let metadata = json!({"name": name, "labels": labels()});
    let pod = json!({"metadata": metadata, "spec": {"containers": containers}});
    let pod: Pod = serde_json::from_value(pod).unwrap();
    let pods = Api::namespaced(client.clone(), namespace);
    pods.create(&PostParams::default(), &pod).await.unwrap();
}

/// Nothing runs it, so it is gone at once.
async fn delete_pod(client: &Client, namespace: &str, name: &str) {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    pods.delete(name, &DeleteParams::default()).await.unwrap();
}

/// Makes the Deployment `chat`.
async fn deploy(client: &Client, namespace: &str, replicas: i32) -> Api<Deployment> {
    let deployment = json!({
        "metadata": {"name": "chat"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels()},
            "template": {"metadata": {"labels": labels()}, "spec": {"containers": containers()}},
        },
    });
    let deployment: Deployment = serde_json::from_value(deployment).unwrap();
    let deployments = Api::namespaced(client.clone(), namespace);
    deployments
        .create(&PostParams::default(), &deployment)
        .await
        .unwrap();
    deployments
}

/// Makes a kind of which anything may be said.
async fn define(client: &Client, resource: &ApiResource) -> Api<CustomResourceDefinition> {
    let anything = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let definition = json!({
        "metadata": {"name": format!("{}.{}", resource.plural, resource.group)},
        "spec": {
            "group": resource.group,
            "scope": "Namespaced",
            "names": {"kind": resource.kind, "plural": resource.plural},
            "versions": [{
                "name": resource.version,
                "served": true,
                "storage": true,
                "schema": {"openAPIV3Schema": anything},
            }],
        },
    });
    let definition: CustomResourceDefinition = serde_json::from_value(definition).unwrap();
    let definitions = Api::all(client.clone());
    definitions
        .create(&PostParams::default(), &definition)
        .await
        .unwrap();
    definitions
}

fn resource(group: &str, version: &str, kind: &str, plural: &str) -> ApiResource {
    ApiResource {
        group: group.into(),
        version: version.into(),
        api_version: format!("{group}/{version}"),
        kind: kind.into(),
        plural: plural.into(),
    }
}

#[tokio::test]
#[ignore = "needs a Kubernetes control plane"]
async fn the_pods_of_a_deployment_are_known_as_its_own() {
    let cluster = Cluster::shared();
    cluster.namespace("owned").await.unwrap();
    let client = cluster.client().await.unwrap();
    let watch = watch(&client, Resource::controllers());
    let deployments = deploy(&client, "owned", 3).await;
    let is_chats = |index: &ClusterIndex, pod: &str| {
        let Ok(owners) = index.owners.owners("owned", pod) else {
            return false;
        };
        let kinds: Vec<_> = owners.iter().map(|owner| &owner.kind).collect();
        kinds == [&Kind::REPLICA_SET, &Kind::DEPLOYMENT] && *owners[1].name == *"chat"
    };
    let are_chats = |index: &ClusterIndex, count: usize| {
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
    until(&watch, "an index that is ready", ClusterIndex::is_ready).await;
    let is = |index: &ClusterIndex, listing, count| {
        let watched = index.owners.watched(&kind).unwrap();
        watched.listing() == listing && watched.objects().len() == count
    };
    assert!(is(&watch.index().borrow(), Listing::Absent, 0));

    let resource = resource("coming.example", "v1", "Engine", "engines");
    let definitions = define(&client, &resource).await;
    until(&watch, "the kind", |index| is(index, Listing::Known, 0)).await;
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
    until(&watch, "an index that is ready", ClusterIndex::is_ready).await;
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
        let pods = index.owners.watched(&Kind::POD).unwrap().listing();
        index.is_ready() && pods == Listing::Known
    })
    .await;
    let index = watch.index();
    let index = index.borrow();
    let sets = index.owners.watched(&Kind::REPLICA_SET).unwrap();
    assert_eq!(sets.listing(), Listing::Forbidden);
    let detail = &sets.fault().unwrap().detail;
    for part in ["half-blind", "cannot list", "replicasets", "apps"] {
        assert!(detail.contains(part), "{detail}");
    }
}

#[tokio::test]
#[ignore = "needs a Kubernetes control plane"]
async fn a_pod_belongs_to_the_variant_that_scales_its_workload() {
    let cluster = Cluster::shared();
    cluster.namespace("scaled").await.unwrap();
    let client = cluster.client().await.unwrap();
    let watch = watch(&client, Resource::controllers());
    deploy(&client, "scaled", 2).await;
    // Of all pods alike, by name or reason.
    let is = |index: &ClusterIndex, expected: Result<&str, &str>| {
        let pods = pods(index, "scaled");
        let variant = |pod: &String| {
            let variant = index.variant("scaled", pod);
            variant
                .map(|variant| variant.as_str())
                .map_err(|miss| miss.reason())
        };
        pods.len() == 2 && pods.iter().all(|pod| variant(pod) == expected)
    };
    // Nothing but ours is known in this cluster, and KEDA is not installed.
    until(&watch, "pods without a variant", |index| {
        is(index, Err("no_variant"))
    })
    .await;

    let hpas: Api<HorizontalPodAutoscaler> = Api::namespaced(client.clone(), "scaled");
    for (name, managed) in [("stranger", "false"), ("chat-hpa", "true")] {
        let hpa = json!({
            "metadata": {"name": name, "labels": {"llm-d.ai/managed": managed}},
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "chat"},
                "maxReplicas": 5,
            },
        });
        let hpa: HorizontalPodAutoscaler = serde_json::from_value(hpa).unwrap();
        hpas.create(&PostParams::default(), &hpa).await.unwrap();
    }
    until(&watch, "the variant of the autoscaler", |index| {
        is(index, Ok("scaled/chat-hpa"))
    })
    .await;

    // KEDA comes, and takes the Deployment over.
    let resource = resource("keda.sh", "v1alpha1", "ScaledObject", "scaledobjects");
    let definitions = define(&client, &resource).await;
    let is_listed = |index: &ClusterIndex| {
        let objects = index.scalers.watched(&Kind::SCALED_OBJECT).unwrap();
        objects.listing() == Listing::Known
    };
    until(&watch, "ScaledObjects", is_listed).await;
    let mut object = DynamicObject::new("chat-object", &resource);
    object.metadata.labels = Some([("llm-d.ai/managed".to_owned(), "true".to_owned())].into());
    object.data = json!({"spec": {"scaleTargetRef": {"name": "chat"}}});
    let objects: Api<DynamicObject> = Api::namespaced_with(client.clone(), "scaled", &resource);
    objects.create(&PostParams::default(), &object).await.unwrap();
    until(&watch, "the variant of the ScaledObject", |index| {
        is(index, Ok("scaled/chat-object"))
    })
    .await;

    // And goes, with all that was its own.
    let gone = DeleteParams::default();
    definitions.delete("scaledobjects.keda.sh", &gone).await.unwrap();
    until(&watch, "the variant of the autoscaler again", |index| {
        is(index, Ok("scaled/chat-hpa"))
    })
    .await;
    hpas.delete("chat-hpa", &gone).await.unwrap();
    until(&watch, "pods without a variant again", |index| {
        is(index, Err("no_variant"))
    })
    .await;
}

/// Waits until the discovery tells this many targets, with or without problems.
async fn until_targets(
    snapshots: &mut SnapshotStream,
    count: usize,
    has_problems: bool,
) -> Vec<Arc<TargetLabels>> {
    let waited = timeout(Duration::from_secs(60), async {
        loop {
            match snapshots.next().await.unwrap() {
                Snapshot::Known(known)
                    if known.targets.len() == count && known.problems.is_empty() != has_problems =>
                {
                    return known.targets;
                }
                _ => {}
            }
        }
    });
    waited.await.unwrap()
}

#[tokio::test]
#[ignore = "needs a Kubernetes control plane"]
async fn pods_are_targets_from_their_address_to_their_end_and_through_an_outage() {
    let cluster = Cluster::shared();
    cluster.namespace("found").await.unwrap();
    let client = cluster.client().await.unwrap();
    let line = Line::to(cluster.address()).await;
    let mut config = cluster.config().await.unwrap();
    config.cluster_url = format!("https://{}", line.address).parse().unwrap();
    let selection = PodSelection::new(PodPort::Name("metrics".into()))
        .in_namespaces(["found"])
        .selected_by("app=chat");
    let patience = WatchConfig::default().with_max_pause(Duration::from_millis(500));
    let patience = patience.with_silent_for(Duration::from_secs(2));
    let ours = Client::try_from(config).unwrap();
    let discovery = Arc::new(PodDiscovery::start(&ours, selection, &patience, &Clock::system()));
    assert_eq!(discovery.name(), "kubernetes_sd pod found");
    let mut snapshots = discovery.watch();
    until_targets(&mut snapshots, 0, false).await;

    let deployments = deploy(&client, "found", 2).await;
    let engine = |pod: &Pod| {
        let name = pod.name_any();
        Router::new().route("/metrics", get(async move || name))
    };
    let _agent = NodeAgent::start(client.clone(), "found", engine).await.unwrap();
    let targets = until_targets(&mut snapshots, 2, false).await;
    for target in &targets {
        let address = target[ADDRESS].parse().unwrap();
        let answer = tokio::task::spawn_blocking(move || http::get(address, "/metrics"));
        assert_eq!(answer.await.unwrap().unwrap().text(), target["pod"]);
    }

    line.cut();
    let during = until_targets(&mut snapshots, 2, true).await;
    let patch = Patch::Merge(json!({"spec": {"replicas": 1}}));
    deployments
        .patch_scale("chat", &PatchParams::default(), &patch)
        .await
        .unwrap();
    line.mend();
    let left = until_targets(&mut snapshots, 1, false).await;
    // It is the same one, by its pointer, so that nobody takes it for another.
    assert!(during.iter().any(|target| Arc::ptr_eq(target, &left[0])));

    make_labelled_pod(&client, "found", "portless").await;
    let after = until_targets(&mut snapshots, 1, true).await;
    assert!(Arc::ptr_eq(&after[0], &left[0]));
}
