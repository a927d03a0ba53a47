//! Fills an [`OwnerIndex`] from a cluster and keeps it as of now: one watch a kind, of metadata alone.
//!
//! A watch that fails is begun anew with a list, and not where it was, although the API server could often go on from
//! there: a list has an end, so that it is known when the outage is over, and what was missed is made up for, whatever
//! the server remembers. What was known stays until the list is complete, and is then exchanged at once.
//!
//! Lists are as of now, in pages, and not as of what an API server has at hand, which may be older than what it told before.

use std::error::Error;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use fleetgauge_core::time::Clock;
use futures_util::StreamExt as _;
use kube::api::{Api, ApiResource, DynamicObject};
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, ResourceExt as _};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::object::{Kind, Object, Owner};
use crate::owner::OwnerIndex;
use crate::watched::Failure;

/// A kind of objects, as it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    kind: Kind,
    version: String,
    plural: String,
}

/// How patient a watch is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WatchConfig {
    /// How long to wait after a failure. It doubles each time, up to `max_pause`, and a random part is added. Default: 200 ms.
    pub min_pause: Duration,
    /// How long to wait at most, such as for a kind that the cluster lacks to come. Default: 10 s.
    pub max_pause: Duration,
    /// How long a page of a list may take. Default: 60 s.
    pub page_timeout: Duration,
}

/// The watches of a cluster's owners, which end when it is dropped.
///
/// Each reader has a receiver of its own. It sees the index as a whole: a change waits for whoever is reading, and the other way
/// round, so what is borrowed is to be given back soon.
#[derive(Debug)]
pub struct OwnerWatch {
    index: watch::Receiver<OwnerIndex>,
    _tasks: JoinSet<()>,
}

// === impl Resource ===

impl Resource {
    /// A kind in a version of its group, and its name in paths, such as `leaderworkersets`.
    pub fn new(kind: Kind, version: &str, plural: &str) -> Self {
        Self {
            kind,
            version: version.to_owned(),
            plural: plural.to_owned(),
        }
    }

    /// What pods are controlled by, as far as it can be controlled itself: ReplicaSets, StatefulSets and Jobs.
    pub fn controllers() -> [Self; 3] {
        [
            Self::new(Kind::REPLICA_SET, "v1", "replicasets"),
            Self::new(Kind::STATEFUL_SET, "v1", "statefulsets"),
            Self::new(Kind::JOB, "v1", "jobs"),
        ]
    }

    /// The kind.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    fn api(&self, client: Client) -> Api<PartialObjectMeta<DynamicObject>> {
        let Kind { group, name } = &self.kind;
        let api_version = match &**group {
            "" => self.version.clone(),
            group => format!("{group}/{}", self.version),
        };
        let resource = ApiResource {
            group: group.to_string(),
            version: self.version.clone(),
            api_version,
            kind: name.to_string(),
            plural: self.plural.clone(),
        };
        Api::all_with(client, &resource)
    }
}

// === impl OwnerWatch ===

impl OwnerWatch {
    /// Watches pods and `resources` in all namespaces, within the present runtime.
    pub fn start(
        client: &Client,
        resources: impl IntoIterator<Item = Resource>,
        config: &WatchConfig,
        clock: &Clock,
    ) -> Self {
        let mut resources: Vec<_> = resources.into_iter().collect();
        resources.push(Resource::new(Kind::POD, "v1", "pods"));
        let kinds = resources.iter().map(|resource| resource.kind.clone());
        let (sender, index) = watch::channel(OwnerIndex::new(kinds));
        let sender = Arc::new(sender);
        let mut tasks = JoinSet::new();
        for resource in resources {
            let kept = Kept {
                kind: resource.kind.clone(),
                index: sender.clone(),
            };
            tasks.spawn(run(
                resource.api(client.clone()),
                kept,
                config.clone(),
                clock.clone(),
            ));
        }
        Self { index, _tasks: tasks }
    }

    /// The index, as it is and as it changes.
    pub fn index(&self) -> watch::Receiver<OwnerIndex> {
        self.index.clone()
    }
}

/// What one watch changes of the index.
struct Kept {
    kind: Kind,
    index: Arc<watch::Sender<OwnerIndex>>,
}

// === impl Kept ===

impl Kept {
    fn change(&self, change: impl FnOnce(&mut OwnerIndex, &Kind)) {
        self.index.send_modify(|index| change(index, &self.kind));
    }
}

// === impl WatchConfig ===

impl Default for WatchConfig {
    fn default() -> Self {
        Self {
            min_pause: Duration::from_millis(200),
            max_pause: Duration::from_secs(10),
            page_timeout: Duration::from_secs(60),
        }
    }
}

impl WatchConfig {
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

async fn run(api: Api<PartialObjectMeta<DynamicObject>>, kept: Kept, config: WatchConfig, clock: Clock) {
    let mut pauses = config.pauses();
    loop {
        let (failure, was_listed) = follow(&api, &kept, config.page_timeout).await;
        if was_listed {
            pauses = config.pauses();
        }
        kept.change(|index, kind| index.fail(kind, failure, clock.now()));
        sleep(pauses.next().unwrap_or(config.max_pause)).await;
    }
}

/// Lists, and watches until that fails. Gives why, and whether the list was complete before.
async fn follow(
    api: &Api<PartialObjectMeta<DynamicObject>>,
    kept: &Kept,
    page_timeout: Duration,
) -> (Failure, bool) {
    let mut events = pin!(watcher(api.clone(), watcher::Config::default()));
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
            Some(Ok(Event::InitApply(found))) => listed.get_or_insert_default().push(object(&found)),
            Some(Ok(Event::InitDone)) => {
                let all = listed.take().unwrap_or_default();
                kept.change(|index, kind| index.replace(kind, all));
            }
            Some(Ok(Event::Apply(found))) => {
                let found = object(&found);
                kept.change(|index, kind| index.apply(kind, found));
            }
            Some(Ok(Event::Delete(gone))) => {
                let uid = gone.uid().unwrap_or_default();
                kept.change(|index, kind| index.remove(kind, &uid));
            }
            Some(Err(error)) => return (failure(&error), listed.is_none()),
            None => {
                let detail = "the watch has ended".to_owned();
                return (Failure::Other { detail }, listed.is_none());
            }
        }
    }
}

fn object(found: &PartialObjectMeta<DynamicObject>) -> Object {
    let mut owners = found.metadata.owner_references.iter().flatten();
    let controller = owners.find(|owner| owner.controller == Some(true));
    Object {
        uid: found.uid().unwrap_or_default().into(),
        namespace: found.namespace().unwrap_or_default().into(),
        name: found.name_any().into(),
        controller: controller.map(|owner| Owner {
            kind: Kind::of(&owner.api_version, &owner.kind),
            name: owner.name.as_str().into(),
            uid: owner.uid.as_str().into(),
        }),
    }
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
