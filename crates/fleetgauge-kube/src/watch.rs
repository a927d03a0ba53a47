//! Fills a [`ClusterIndex`] from a cluster and keeps it as of now: one watch a kind.
//!
//! A watch that fails is begun anew with a list, and not where it was, although the API server could often go on from
//! there: a list has an end, so that it is known when the outage is over, and what was missed is made up for, whatever
//! the server remembers. What was known stays until the list is complete, and is then exchanged at once.
//!
//! Lists are as of now, in pages, and not as of what an API server has at hand, which may be older than what it told before.

use std::error::Error;
use std::fmt::{self, Debug};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use backon::{BackoffBuilder as _, ExponentialBuilder};
use fleetgauge_core::time::Clock;
use fleetgauge_core::variant::{Replicas, VariantRef};
use futures_util::{Stream, StreamExt as _};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ApiResource, DynamicObject};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, ResourceExt as _};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::cluster::ClusterIndex;
use crate::object::{Kind, Object, Owner, PodState};
use crate::owner::OwnerIndex;
use crate::right::Right;
use crate::scaler::{Scaler, ScalerIndex, ToldModel, Workload};
use crate::watched::Failure;

/// A kind of objects, as it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    kind: Kind,
    version: String,
    plural: String,
    selector: Option<String>,
}

/// What is watched, and how patiently.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WatchConfig {
    /// What controls pods and can be controlled itself. Default: [`Resource::controllers`].
    pub controllers: Vec<Resource>,
    /// What scales workloads, the first of which counts before the others. Default: [`Resource::scalers`], selected by
    /// [`MANAGED`].
    pub scalers: Vec<Resource>,
    /// What tells the model that a variant serves: the first of these that what scales it has. Default: `spec.modelID`, and then
    /// the annotation and the label [`MODEL`].
    pub model: Vec<ModelFrom>,
    /// The label of pods that names their variant. Default: [`VARIANT`].
    pub variant_label: String,
    /// How long to wait after a failure. It doubles each time, up to `max_pause`, and a random part is added. Default: 200 ms.
    pub min_pause: Duration,
    /// How long to wait at most, such as for a kind that the cluster lacks to come. Default: 10 s.
    pub max_pause: Duration,
    /// How long a page of a list may take. Default: 60 s.
    pub page_timeout: Duration,
    /// For how long the API server may be silent until the pods that were found are said to be perhaps no longer all that there
    /// are. Default: 60 s.
    pub silent_for: Duration,
}

/// What of an object tells the model that is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelFrom {
    /// A field, as `spec.modelID`.
    Field(String),
    /// An annotation.
    Annotation(String),
    /// A label. It cannot hold a slash, which names of models often do.
    Label(String),
}

/// The label of pods that names their variant.
pub const VARIANT: &str = "llm-d.ai/variant";

/// The annotation, or label, that tells the model.
pub const MODEL: &str = "llm-d.ai/model";

/// The label of what llm-d scales, as a selector.
pub const MANAGED: &str = "llm-d.ai/managed=true";

/// The watches of a cluster, which end when it is dropped.
///
/// Each reader has a receiver of its own. It sees the index as a whole: a change waits for whoever is reading, and the other way
/// round, so what is borrowed is to be given back soon. Who reads [`now`](Self::now) waits for nobody.
#[derive(Debug)]
pub struct ClusterWatch {
    index: watch::Receiver<ClusterIndex>,
    now: Arc<ArcSwap<ClusterIndex>>,
    _tasks: JoinSet<()>,
}

/// Where the watches write what they find out.
#[derive(Clone, Debug)]
struct Writer {
    index: Arc<watch::Sender<ClusterIndex>>,
    now: Arc<ArcSwap<ClusterIndex>>,
}

impl fmt::Display for ModelFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(path) => write!(f, "field {path}"),
            Self::Annotation(name) => write!(f, "annotation {name}"),
            Self::Label(name) => write!(f, "label {name}"),
        }
    }
}

// === impl Resource ===

impl Resource {
    /// A kind in a version of its group, and its name in paths, such as `leaderworkersets`.
    pub fn new(kind: Kind, version: &str, plural: &str) -> Self {
        Self {
            kind,
            version: version.to_owned(),
            plural: plural.to_owned(),
            selector: None,
        }
    }

    /// Only those whose labels a selector fits, such as `app=chat`.
    #[must_use]
    pub fn selected_by(mut self, selector: &str) -> Self {
        self.selector = Some(selector.to_owned());
        self
    }

    /// What pods are controlled by, as far as it can be controlled itself: ReplicaSets, StatefulSets and Jobs.
    pub fn controllers() -> [Self; 3] {
        [
            Self::new(Kind::REPLICA_SET, "v1", "replicasets"),
            Self::new(Kind::STATEFUL_SET, "v1", "statefulsets"),
            Self::new(Kind::JOB, "v1", "jobs"),
        ]
    }

    /// What scales workloads: KEDA's ScaledObjects and HorizontalPodAutoscalers that `selector` fits, and VariantAutoscalings.
    pub fn scalers(selector: &str) -> [Self; 3] {
        [
            Self::new(Kind::SCALED_OBJECT, "v1alpha1", "scaledobjects").selected_by(selector),
            Self::new(Kind::HORIZONTAL_POD_AUTOSCALER, "v2", "horizontalpodautoscalers")
                .selected_by(selector),
            Self::new(Kind::VARIANT_AUTOSCALING, "v1alpha1", "variantautoscalings"),
        ]
    }

    /// The kind.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Which of them, by their labels, where that is said.
    pub fn selector(&self) -> Option<&str> {
        self.selector.as_deref()
    }

    /// Its path in the API server, and its name at the end of it.
    pub fn place(&self) -> (String, &str) {
        (
            format!("/apis/{}/{}", self.kind.group, self.version),
            &self.plural,
        )
    }

    /// What has to be allowed to watch it.
    pub fn right(&self) -> Right {
        Right::to_watch(&self.kind.group, &self.plural)
    }

    fn resource(&self) -> ApiResource {
        let Kind { group, name } = &self.kind;
        let api_version = match &**group {
            "" => self.version.clone(),
            group => format!("{group}/{}", self.version),
        };
        ApiResource {
            group: group.to_string(),
            version: self.version.clone(),
            api_version,
            kind: name.to_string(),
            plural: self.plural.clone(),
        }
    }

    fn config(&self) -> watcher::Config {
        let all = watcher::Config::default();
        match &self.selector {
            Some(selector) => all.labels(selector),
            None => all,
        }
    }
}

// === impl ClusterWatch ===

impl ClusterWatch {
    /// Watches all namespaces, within the present runtime.
    pub fn start(client: &Client, config: &WatchConfig, clock: &Clock) -> Self {
        let kinds = |resources: &[Resource]| -> Vec<_> {
            let kinds = resources.iter().map(|resource| resource.kind.clone());
            kinds.collect()
        };
        let nothing = ClusterIndex::new(
            OwnerIndex::new(kinds(&config.controllers)),
            ScalerIndex::new(kinds(&config.scalers)),
        );
        let now = Arc::new(ArcSwap::from_pointee(nothing.clone()));
        let (sender, index) = watch::channel(nothing);
        let writer = Writer {
            index: Arc::new(sender),
            now: now.clone(),
        };
        let mut tasks = JoinSet::new();
        let pods: Api<Pod> = Api::all(client.clone());
        let keep = keep_owner(&writer, Kind::POD, clock);
        let label = config.variant_label.clone();
        let read = move |found: &Pod| pod(found, &label);
        tasks.spawn(run(pods, watcher::Config::default(), config.clone(), read, keep));
        for resource in &config.controllers {
            let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource.resource());
            let keep = keep_owner(&writer, resource.kind.clone(), clock);
            tasks.spawn(run(api, resource.config(), config.clone(), object, keep));
        }
        for resource in &config.scalers {
            let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource.resource());
            let keep = keep_scaler(&writer, resource.kind.clone(), clock);
            let models = config.model.clone();
            let read = move |found: &DynamicObject| scaler(found, &models);
            tasks.spawn(run(api, resource.config(), config.clone(), read, keep));
        }
        Self {
            index,
            now,
            _tasks: tasks,
        }
    }

    /// The index, as it is and as it changes.
    pub fn index(&self) -> watch::Receiver<ClusterIndex> {
        self.index.clone()
    }

    /// Copies of the index as it is, each of which stays as it was.
    pub fn now(&self) -> Arc<ArcSwap<ClusterIndex>> {
        self.now.clone()
    }
}

// === impl Writer ===

impl Writer {
    /// Changes the index, and tells of it if that was news.
    fn change(&self, change: impl FnOnce(&mut ClusterIndex) -> bool) {
        self.index.send_if_modified(|index| {
            let is_news = change(index);
            if is_news {
                index.changes += 1;
                self.now.store(Arc::new(index.clone()));
            }
            is_news
        });
    }
}

// === impl WatchConfig ===

impl Default for WatchConfig {
    fn default() -> Self {
        Self {
            controllers: Resource::controllers().into(),
            scalers: Resource::scalers(MANAGED).into(),
            model: vec![
                ModelFrom::Field("spec.modelID".to_owned()),
                ModelFrom::Annotation(MODEL.to_owned()),
                ModelFrom::Label(MODEL.to_owned()),
            ],
            variant_label: VARIANT.to_owned(),
            min_pause: Duration::from_millis(200),
            max_pause: Duration::from_secs(10),
            page_timeout: Duration::from_secs(60),
            silent_for: Duration::from_secs(60),
        }
    }
}

impl WatchConfig {
    /// Watches these as controllers of pods.
    #[must_use]
    pub fn with_controllers(mut self, controllers: impl IntoIterator<Item = Resource>) -> Self {
        self.controllers = controllers.into_iter().collect();
        self
    }

    /// Watches these as what scales workloads, the first of which counts before the others.
    #[must_use]
    pub fn with_scalers(mut self, scalers: impl IntoIterator<Item = Resource>) -> Self {
        self.scalers = scalers.into_iter().collect();
        self
    }

    /// Takes this label of pods as the name of their variant.
    #[must_use]
    pub fn with_variant_label(mut self, label: impl Into<String>) -> Self {
        self.variant_label = label.into();
        self
    }

    /// Finds models there, the first of which counts before the others.
    #[must_use]
    pub fn with_model(mut self, from: impl IntoIterator<Item = ModelFrom>) -> Self {
        self.model = from.into_iter().collect();
        self
    }

    /// Takes what was known of a silent cluster for what there is for this long.
    #[must_use]
    pub fn with_silent_for(mut self, silent_for: Duration) -> Self {
        self.silent_for = silent_for;
        self
    }

    /// Waits this long at most after a failure.
    #[must_use]
    pub fn with_max_pause(mut self, max_pause: Duration) -> Self {
        self.max_pause = max_pause;
        self
    }

    fn pauses(&self) -> impl Iterator<Item = Duration> + use<> {
        ExponentialBuilder::default()
            .with_min_delay(self.min_pause)
            .with_max_delay(self.max_pause)
            .with_jitter()
            .without_max_times()
            .build()
    }
}

// === a watch ===

/// What has been found out of a kind; objects with their UIDs.
pub(crate) enum Change<T> {
    All(Vec<(Box<str>, T)>),
    Is(Box<str>, T),
    Gone(String),
    Failed(Failure),
}

/// Watches for ever, and keeps what is read of the objects.
pub(crate) async fn run<K, T>(
    api: Api<K>,
    which: watcher::Config,
    config: WatchConfig,
    read: impl Fn(&K) -> Option<T>,
    keep: impl Fn(Change<T>),
) where
    K: kube::Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let mut pauses = config.pauses();
    loop {
        let events = pin!(watcher(api.clone(), which.clone()));
        let (failure, was_listed) = follow(events, config.page_timeout, &read, &keep).await;
        if was_listed {
            pauses = config.pauses();
        }
        keep(Change::Failed(failure));
        sleep(pauses.next().unwrap_or(config.max_pause)).await;
    }
}

/// Lists, and watches until that fails. Gives why, and whether the list was complete before.
async fn follow<K, T>(
    mut events: impl Stream<Item = watcher::Result<Event<K>>> + Unpin,
    page_timeout: Duration,
    read: &impl Fn(&K) -> Option<T>,
    keep: &impl Fn(Change<T>),
) -> (Failure, bool)
where
    K: kube::Resource,
{
    let read = |found: &K| Some((found.uid()?.into(), read(found)?));
    let mut listed = Some(Vec::new());
    loop {
        let event = match &listed {
            Some(_) => match timeout(page_timeout, events.next()).await {
                Ok(event) => event,
                Err(_) => {
                    let detail = format!("no answer within {page_timeout:?}");
                    return (Failure::Other { detail }, false);
                }
            },
            None => events.next().await,
        };
        match event {
            Some(Ok(Event::Init)) => listed = Some(Vec::new()),
            Some(Ok(Event::InitApply(found))) => listed.get_or_insert_default().extend(read(&found)),
            Some(Ok(Event::InitDone)) => keep(Change::All(listed.take().unwrap_or_default())),
            Some(Ok(Event::Apply(found))) => keep(match read(&found) {
                Some((uid, object)) => Change::Is(uid, object),
                None => Change::Gone(found.uid().unwrap_or_default()),
            }),
            Some(Ok(Event::Delete(gone))) => keep(Change::Gone(gone.uid().unwrap_or_default())),
            Some(Err(error)) => return (failure(&error), listed.is_none()),
            None => {
                let detail = "the watch has ended".to_owned();
                return (Failure::Other { detail }, listed.is_none());
            }
        }
    }
}

/// Keeps what is found out of pods, or of what controls them. A kubelet tells much of a pod that is of no use here, and nobody is
/// told of that.
fn keep_owner(writer: &Writer, kind: Kind, clock: &Clock) -> impl Fn(Change<Object>) + use<> {
    let (writer, clock) = (writer.clone(), clock.clone());
    move |change| {
        writer.change(|index| {
            let owners = &mut index.owners;
            match change {
                Change::All(objects) => owners.replace(&kind, objects.into_iter().map(|(_, object)| object)),
                Change::Is(_, object) => return owners.apply_at(&kind, object, clock.now()),
                Change::Gone(uid) => owners.remove(&kind, &uid),
                Change::Failed(failure) => return owners.fail(&kind, failure, clock.now()),
            }
            true
        });
    }
}

/// Keeps what is found out of what scales workloads.
fn keep_scaler(writer: &Writer, kind: Kind, clock: &Clock) -> impl Fn(Change<Scaler>) + use<> {
    let (writer, clock) = (writer.clone(), clock.clone());
    move |change| {
        writer.change(|index| {
            let scalers = &mut index.scalers;
            match change {
                Change::All(all) => scalers.replace(&kind, all),
                Change::Is(uid, scaler) => return scalers.apply(&kind, &uid, scaler),
                Change::Gone(uid) => scalers.remove(&kind, &uid),
                Change::Failed(failure) => return scalers.fail(&kind, failure, clock.now()),
            }
            true
        });
    }
}

// === what is read of an object ===

fn object(found: &DynamicObject) -> Option<Object> {
    // A Job has none of its own, and may yet make pods.
    let replicas = found.data["spec"]["replicas"].as_i64().unwrap_or(1);
    let count = |of: &str, what: &str| {
        let count = found.data[of][what].as_u64();
        count.map(|count| u32::try_from(count).unwrap_or(u32::MAX))
    };
    let counts = count("spec", "replicas").map(|desired| Replicas {
        desired,
        current: count("status", "replicas").unwrap_or(0),
        ready: count("status", "readyReplicas").unwrap_or(0),
    });
    Some(Object {
        uid: found.uid()?.into(),
        namespace: found.namespace().unwrap_or_default().into(),
        name: found.name_any().into(),
        controller: controller(found),
        state: match replicas {
            0 => PodState::Ending,
            _ => PodState::Serving,
        },
        ready_since: None,
        variant: None,
        replicas: counts,
    })
}

fn pod(found: &Pod, variant_label: &str) -> Option<Object> {
    Some(Object {
        uid: found.uid()?.into(),
        namespace: found.namespace().unwrap_or_default().into(),
        name: found.name_any().into(),
        controller: controller(found),
        state: pod_state(found),
        ready_since: None,
        variant: (found.labels().get(variant_label)).map(|variant| variant.as_str().into()),
        replicas: None,
    })
}

/// Longer than a kubelet takes from a pod's start to its first word on whether it is ready.
const FIRST_WORD_SECONDS: i64 = 5;

fn pod_state(pod: &Pod) -> PodState {
    let Some(status) = &pod.status else {
        return PodState::Starting("pending".into());
    };
    let phase = status.phase.as_deref().unwrap_or("Pending");
    if pod.metadata.deletion_timestamp.is_some() || matches!(phase, "Succeeded" | "Failed") {
        return PodState::Ending;
    }
    let condition = |kind: &str| {
        let mut conditions = status.conditions.iter().flatten();
        conditions.find(|condition| condition.type_ == kind)
    };
    let ready = condition("Ready");
    // Later it can only have changed from ready to not.
    let has_changed = || {
        let changed = ready?.last_transition_time.as_ref()?.0.as_second();
        let started = status.start_time.as_ref()?.0.as_second();
        Some(changed > started + FIRST_WORD_SECONDS)
    };
    let is_ready = ready.is_some_and(|ready| ready.status == "True");
    if status.pod_ip.is_some() && (is_ready || has_changed().unwrap_or(false)) {
        return PodState::Serving;
    }
    let containers = status.init_container_statuses.iter().flatten();
    let containers = containers.chain(status.container_statuses.iter().flatten());
    let mut waiting =
        containers.filter_map(|container| container.state.as_ref()?.waiting.as_ref()?.reason.as_deref());
    let why = match (waiting.next(), phase, condition("PodScheduled")) {
        (Some("CrashLoopBackOff"), ..) => "crash loop".to_owned(),
        (Some(reason), "Pending", _) => format!("pending: {reason}"),
        (None, "Pending", Some(scheduled)) if scheduled.status == "False" => {
            format!(
                "pending: {}",
                scheduled.reason.as_deref().unwrap_or("not scheduled")
            )
        }
        (_, "Pending", _) => "pending".to_owned(),
        _ => "not ready".to_owned(),
    };
    PodState::Starting(why.into())
}

/// `None` for a name that Kubernetes would not take.
fn scaler(found: &DynamicObject, models: &[ModelFrom]) -> Option<Scaler> {
    let target = &found.data["spec"]["scaleTargetRef"];
    let text = |field: &str| target[field].as_str();
    let workload = text("name").map(|name| Workload {
        // As KEDA has it where they are not given; elsewhere they always are.
        kind: Kind::of(
            text("apiVersion").unwrap_or("apps/v1"),
            text("kind").unwrap_or("Deployment"),
        ),
        name: name.into(),
    });
    Some(Scaler {
        variant: VariantRef::new(&found.namespace()?, &found.name_any()).ok()?,
        workload,
        controller: controller(found),
        models: models
            .iter()
            .filter_map(|from| {
                Some(ToldModel {
                    by: from.to_string().into(),
                    model: model(found, from)?.into(),
                })
            })
            .collect(),
    })
}

fn model<'a>(found: &'a DynamicObject, from: &ModelFrom) -> Option<&'a str> {
    let told = match from {
        ModelFrom::Field(path) => {
            let mut path = path.split('.');
            path.try_fold(&found.data, |value, name| value.get(name))?
                .as_str()
        }
        ModelFrom::Annotation(name) => found.annotations().get(name).map(String::as_str),
        ModelFrom::Label(name) => found.labels().get(name).map(String::as_str),
    };
    told.filter(|told| !told.is_empty())
}

fn controller<K: kube::Resource>(found: &K) -> Option<Owner> {
    let mut owners = found.owner_references().iter();
    let controller = owners.find(|owner| owner.controller == Some(true))?;
    Some(Owner {
        kind: Kind::of(&controller.api_version, &controller.kind),
        name: controller.name.as_str().into(),
        uid: controller.uid.as_str().into(),
    })
}

fn failure(error: &watcher::Error) -> Failure {
    let (code, detail) = match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => (status.code, status.message.clone()),
        _ => (0, with_cause(error)),
    };
    match code {
        403 => Failure::Forbidden { detail },
        404 => Failure::Absent { detail },
        _ => Failure::Other { detail },
    }
}

/// An error and the innermost of its causes, which says what the others only pass on.
fn with_cause(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    let (text, cause) = (error.to_string(), cause.to_string());
    if text.ends_with(&cause) {
        text
    } else {
        format!("{text}: {cause}")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_place_tells_its_model_in_the_order_in_which_they_count() {
        let found = json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
            "metadata": {
                "namespace": "chat", "name": "llama",
                "annotations": {MODEL: "meta/llama"}, "labels": {MODEL: "llama"},
            },
            "spec": {"modelID": "", "scaleTargetRef": {"kind": "Deployment", "name": "llama"}},
        });
        let found: DynamicObject = serde_json::from_value(found).unwrap();
        let mut places = WatchConfig::default().model;
        let told = |places: &[ModelFrom]| {
            let models = scaler(&found, places).unwrap().models;
            let told = models.iter().map(|told| format!("{}: {}", told.by, told.model));
            told.collect::<Vec<_>>()
        };
        let [annotation, label] = [
            "annotation llm-d.ai/model: meta/llama",
            "label llm-d.ai/model: llama",
        ];
        // An empty one tells none.
        assert_eq!(told(&places), [annotation, label]);
        places.reverse();
        assert_eq!(told(&places), [label, annotation]);
    }
}
