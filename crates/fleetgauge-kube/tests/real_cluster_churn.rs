//! The index while all of a cluster changes at once, is cut off and comes back: in the end it is what a fresh list says, and at no
//! moment was a pod another variant's.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::env;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use fleetgauge_core::time::Clock;
use fleetgauge_core::variant::{Mapping, PodRef, PodVariants as _};
use fleetgauge_kube::cluster::ClusterIndex;
use fleetgauge_kube::object::Kind;
use fleetgauge_kube::variant::ClusterVariants;
use fleetgauge_kube::watch::{ClusterWatch, Resource, WatchConfig};
use fleetgauge_testcluster::Cluster;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, PropagationPolicy};
use kube::{Client, ResourceExt as _};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::watch::Receiver;

use crate::support::line::Line;

const NAMESPACE: &str = "churn";

/// How many pods there are at once of those that the test makes itself, by names that come again and again.
const NAMES: usize = 200;

const WORKERS: usize = 8;

/// How many pods come and go; more where `FLEETGAUGE_CHURN_PODS` says so.
fn count() -> usize {
    let more = env::var("FLEETGAUGE_CHURN_PODS")
        .ok()
        .and_then(|count| count.parse().ok());
    more.unwrap_or(2_000)
}

fn object<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

async fn make<T>(client: &Client, value: Value) -> T
where
    T: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + serde::Serialize
        + std::fmt::Debug,
{
    let api: Api<T> = Api::namespaced(client.clone(), NAMESPACE);
    api.create(&PostParams::default(), &object(value)).await.unwrap()
}

/// Does it again until it succeeds: the API server is away now and then.
async fn again<T, F: Future<Output = kube::Result<T>>>(mut what: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match what().await {
            Ok(done) => return done,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn template(name: &str) -> Value {
    json!({
        "metadata": {"labels": {"of": name}},
        "spec": {"containers": [{"name": "engine", "image": "engine"}]},
    })
}

/// Two workloads of each kind, each with what scales it, under the workload's name; what the test's own pods are controlled by is a kind
/// that no controller makes pods of.
async fn make_workloads(client: &Client) -> BTreeMap<&'static str, String> {
    let mut owners = BTreeMap::new();
    for name in ["left", "right"] {
        let selector = json!({"matchLabels": {"of": name}});
        let spec = json!({"replicas": 4, "selector": selector, "template": template(name)});
        make::<Deployment>(client, json!({"metadata": {"name": name}, "spec": spec})).await;
    }
    for name in ["set-left", "set-right"] {
        let selector = json!({"matchLabels": {"of": name}});
        let spec = json!({
            "replicas": 3, "selector": selector, "template": template(name), "serviceName": "none",
            "podManagementPolicy": "Parallel",
        });
        make::<StatefulSet>(client, json!({"metadata": {"name": name}, "spec": spec})).await;
    }
    for name in ["lease-left", "lease-right"] {
        let lease = make::<Lease>(client, json!({"metadata": {"name": name}})).await;
        owners.insert(name, lease.uid().unwrap());
    }
    for (api_version, kind, prefix) in [
        ("apps/v1", "Deployment", ""),
        ("apps/v1", "StatefulSet", "set-"),
        ("coordination.k8s.io/v1", "Lease", "lease-"),
    ] {
        for side in ["left", "right"] {
            let name = format!("{prefix}{side}");
            let target = json!({"apiVersion": api_version, "kind": kind, "name": name});
            let metadata = json!({"name": name, "labels": {"llm-d.ai/managed": "true"}});
            let spec = json!({"scaleTargetRef": target, "maxReplicas": 5});
            make::<HorizontalPodAutoscaler>(client, json!({"metadata": metadata, "spec": spec})).await;
        }
    }
    owners
}

/// Pods by UID and name, each with whose it is, or why nobody's.
type Whose = BTreeSet<(String, String, String)>;

/// Asks one state of the index after the other as those do who join numbers with variants: all of the test by one, so that what was
/// found out while all changed is still believed in the end.
struct Joining {
    now: Arc<ArcSwap<ClusterIndex>>,
    variants: Mutex<ClusterVariants>,
}

impl Joining {
    fn of(index: &ClusterIndex) -> Self {
        let now = Arc::new(ArcSwap::from_pointee(index.clone()));
        let variants = Mutex::new(ClusterVariants::new(now.clone(), []));
        Self { now, variants }
    }

    /// The test's pods as `index` has them.
    fn whose(&self, index: Arc<ClusterIndex>) -> Whose {
        let variants = self.variants.lock().unwrap();
        self.now.store(index.clone());
        let joined = variants.snapshot();
        let pods = index.owners.watched(&Kind::POD).unwrap().objects();
        let pods = pods.filter(|pod| *pod.namespace == *NAMESPACE);
        let whose = |name: &str| match joined.variant_of(PodRef::new(name).in_namespace(NAMESPACE), None) {
            Mapping::Mapped(variant) => variant.name().to_owned(),
            other => format!("? {}", other.reason().unwrap()),
        };
        pods.map(|pod| (pod.uid.to_string(), pod.name.to_string(), whose(&pod.name)))
            .collect()
    }
}

/// Writes down whose each pod has ever been said to be: by UID and name.
async fn observe(
    mut index: Receiver<ClusterIndex>,
    joining: Arc<Joining>,
    seen: Arc<Mutex<HashSet<(String, String, String)>>>,
) {
    loop {
        let now = Arc::new(index.borrow_and_update().clone());
        let known = joining.whose(now).into_iter();
        let known = known.filter(|(_, _, whose)| !whose.starts_with('?'));
        seen.lock().unwrap().extend(known);
        if index.changed().await.is_err() {
            return;
        }
    }
}

/// Makes every so many pods, each by a name that another one had, which was often another variant's. Whose each is, it writes down.
async fn churn(
    client: Client,
    worker: usize,
    owners: Arc<BTreeMap<&'static str, String>>,
    truth: Arc<Mutex<HashMap<String, &'static str>>>,
    done: Arc<AtomicUsize>,
) {
    let pods: Api<Pod> = Api::namespaced(client, NAMESPACE);
    for number in (worker..count()).step_by(WORKERS) {
        let name = format!("pod-{}", number % NAMES);
        let at_once = DeleteParams::default().grace_period(0);
        let gone = || async {
            match pods.delete(&name, &at_once).await {
                Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
                other => other.map(drop),
            }
        };
        again(gone).await;
        let side = match (number / NAMES).is_multiple_of(2) {
            true => "lease-left",
            false => "lease-right",
        };
        let owner = json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "name": side, "uid": owners[side], "controller": true,
        });
        let metadata = json!({"name": name, "labels": {"of": side}, "ownerReferences": [owner]});
        let spec = template(side)["spec"].take();
        let pod: Pod = object(json!({"metadata": metadata, "spec": spec}));
        let post = PostParams::default();
        let made = || async {
            match pods.create(&post, &pod).await {
                // It was made, and the answer did not come; or the one before is still going.
                Err(kube::Error::Api(status)) if status.code == 409 => {
                    let there = pods.get(&name).await?;
                    match there.labels().get("of").map(String::as_str) == Some(side) {
                        true => Ok(there),
                        false => Err(kube::Error::Api(status)),
                    }
                }
                other => other,
            }
        };
        let uid = again(made).await.uid().unwrap();
        truth.lock().unwrap().insert(uid, side);
        done.fetch_add(1, Ordering::Relaxed);
    }
}

/// Deployments roll over, and StatefulSets go down and come up again, for as long as pods are made.
async fn roll(client: Client, done: Arc<AtomicUsize>) {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), NAMESPACE);
    let sets: Api<StatefulSet> = Api::namespaced(client, NAMESPACE);
    let params = PatchParams::default();
    for round in 0_usize.. {
        if done.load(Ordering::Relaxed) >= count() {
            break;
        }
        for side in ["left", "right"] {
            let template = json!({"metadata": {"annotations": {"round": round.to_string()}}});
            let patch = Patch::Merge(json!({"spec": {"template": template}}));
            again(|| deployments.patch(side, &params, &patch)).await;
            let replicas = if round % 2 == 0 { 0 } else { 3 };
            let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
            let set = format!("set-{side}");
            again(|| sets.patch(&set, &params, &patch)).await;
        }
        let before = done.load(Ordering::Relaxed);
        until_done(&done, (before + 40).min(count())).await;
    }
}

async fn until_done(done: &AtomicUsize, many: usize) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while done.load(Ordering::Relaxed) < many {
        assert!(
            Instant::now() < deadline,
            "{} of {many}",
            done.load(Ordering::Relaxed)
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn is_failing(index: &ClusterIndex) -> bool {
    index.owners.watched(&Kind::POD).unwrap().fault().is_some()
}

/// What there is, by owner references alone.
async fn listed(client: &Client) -> Whose {
    let (params, pods, sets) = (
        ListParams::default(),
        Api::<Pod>::namespaced(client.clone(), NAMESPACE),
        Api::<ReplicaSet>::namespaced(client.clone(), NAMESPACE),
    );
    let controller =
        |owned: &dyn Fn() -> Vec<k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference>| {
            owned()
                .into_iter()
                .find(|owner| owner.controller == Some(true))
                .map(|owner| owner.name)
        };
    let sets: HashMap<String, String> = sets
        .list(&params)
        .await
        .unwrap()
        .into_iter()
        .filter_map(|set| Some((set.name_any(), controller(&|| set.owner_references().to_vec())?)))
        .collect();
    let pods = pods.list(&params).await.unwrap().into_iter();
    pods.map(|pod| {
        let owner = pod.owner_references().first().cloned().unwrap();
        let whose = match &*owner.kind {
            "ReplicaSet" => sets.get(&owner.name).cloned(),
            _ => Some(owner.name),
        };
        let whose = whose.unwrap_or_else(|| "? no_variant".to_owned());
        (pod.uid().unwrap(), pod.name_any(), whose)
    })
    .collect()
}

/// Waits until the index is what a fresh list says, and what is listed `is_expected`.
async fn becomes_as_listed(
    watch: &ClusterWatch,
    joining: &Joining,
    client: &Client,
    is_expected: impl Fn(&Whose) -> bool,
) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let listed = listed(client).await;
        let known = joining.whose(watch.now().load_full());
        if known == listed && is_expected(&listed) {
            return;
        }
        let differ: Vec<_> = known.symmetric_difference(&listed).collect();
        assert!(
            Instant::now() < deadline,
            "{} known, {} listed: {differ:#?}",
            known.len(),
            listed.len()
        );
    }
}

/// A Deployment goes and leaves its pods behind, and comes back and takes them up: no pod changes, but whose it is does.
async fn orphan_and_adopt(watch: &ClusterWatch, joining: &Joining, client: &Client, name: &str) {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), NAMESPACE);
    let before = deployments.get(name).await.unwrap();
    let orphaning = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Orphan),
        ..DeleteParams::default()
    };
    again(|| deployments.delete(name, &orphaning)).await;
    let is_anybodys = |listed: &Whose, whose: &str| listed.iter().any(|(.., one)| one == whose);
    becomes_as_listed(watch, joining, client, |listed| {
        is_anybodys(listed, "? no_variant") && !is_anybodys(listed, name)
    })
    .await;
    let back = object(json!({"metadata": {"name": name}, "spec": before.spec}));
    // Until the one before is gone, its name is taken.
    let post = PostParams::default();
    again(|| deployments.create(&post, &back)).await;
    becomes_as_listed(watch, joining, client, |listed| {
        is_anybodys(listed, name) && !is_anybodys(listed, "? no_variant")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Kubernetes control plane"]
async fn under_churn_the_index_ends_as_a_fresh_list_and_no_pod_is_ever_anothers() {
    let cluster = Cluster::start().unwrap();
    cluster.namespace(NAMESPACE).await.unwrap();
    let direct = cluster.client().await.unwrap();
    let line = Line::to(cluster.address()).await;
    let mut config = cluster.config().await.unwrap();
    config.cluster_url = format!("https://{}", line.address).parse().unwrap();
    let owners = Arc::new(make_workloads(&direct).await);
    let watching = WatchConfig::default()
        .with_controllers(Resource::controllers())
        .with_max_pause(Duration::from_millis(500));
    let watch = ClusterWatch::start(&Client::try_from(config).unwrap(), &watching, &Clock::system());
    watch.index().wait_for(ClusterIndex::is_ready).await.unwrap();

    let (seen, truth, done) = (Arc::default(), Arc::default(), Arc::new(AtomicUsize::new(0)));
    let joining = Arc::new(Joining::of(&watch.now().load()));
    let observer = tokio::spawn(observe(watch.index(), joining.clone(), Arc::clone(&seen)));
    let mut tasks = tokio::task::JoinSet::new();
    for worker in 0..WORKERS {
        let (client, owners) = (direct.clone(), owners.clone());
        tasks.spawn(churn(client, worker, owners, Arc::clone(&truth), done.clone()));
    }
    tasks.spawn(roll(direct.clone(), done.clone()));

    // The line is cut, and mended when much has changed.
    until_done(&done, count() / 6).await;
    line.cut();
    watch.index().wait_for(is_failing).await.unwrap();
    until_done(&done, count() / 3).await;
    line.mend();
    watch.index().wait_for(|index| !is_failing(index)).await.unwrap();
    // It is cut, and what has been missed is no longer remembered by anybody: the API server is a new one, and etcd is compacted.
    until_done(&done, count() / 2).await;
    line.cut();
    watch.index().wait_for(is_failing).await.unwrap();
    until_done(&done, count() * 2 / 3).await;
    let cluster = tokio::task::spawn_blocking(move || {
        let mut cluster = cluster;
        cluster.compact().unwrap();
        cluster.kill_api_server();
        cluster.start_api_server().unwrap();
        cluster
    });
    let _cluster = cluster.await.unwrap();
    line.mend();
    watch.index().wait_for(|index| !is_failing(index)).await.unwrap();
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }

    // More than the test's own pods.
    becomes_as_listed(&watch, &joining, &direct, |listed| listed.len() > NAMES).await;
    orphan_and_adopt(&watch, &joining, &direct, "left").await;
    // What comes again under its name, or is listed anew, would hide what was not taken out: now pods only go.
    let pods: Api<Pod> = Api::namespaced(direct.clone(), NAMESPACE);
    let at_once = DeleteParams::default().grace_period(0);
    for number in 0..NAMES / 2 {
        let name = format!("pod-{number}");
        again(|| pods.delete(&name, &at_once)).await;
    }
    let sets: Api<StatefulSet> = Api::namespaced(direct.clone(), NAMESPACE);
    let params = PatchParams::default();
    let to_none = Patch::Merge(json!({"spec": {"replicas": 0}}));
    for set in ["set-left", "set-right"] {
        again(|| sets.patch(set, &params, &to_none)).await;
    }
    becomes_as_listed(&watch, &joining, &direct, |listed| listed.len() < NAMES).await;
    observer.abort();
    let truth: &Mutex<HashMap<String, &'static str>> = &truth;
    let truth = truth.lock().unwrap();
    let seen: &Mutex<HashSet<(String, String, String)>> = &seen;
    let seen = seen.lock().unwrap();
    let of_tests = seen.iter().filter(|(uid, ..)| truth.contains_key(uid)).count();
    println!(
        "{} pods were seen, {of_tests} of {} that the test made",
        seen.len(),
        truth.len()
    );
    assert_eq!(truth.len(), count());
    assert!(of_tests > count() / 4, "{of_tests}");
    for (uid, name, variant) in seen.iter() {
        // The others are called as what makes them.
        let expected = match truth.get(uid) {
            Some(variant) => variant,
            None => name
                .trim_end_matches(|char: char| char != '-')
                .trim_end_matches('-'),
        };
        let is_right = expected == variant || expected.starts_with(&format!("{variant}-"));
        assert!(is_right, "{name} ({uid}) was {variant}'s");
    }
}
