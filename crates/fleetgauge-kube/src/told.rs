//! Watched objects as targets: what is told of them, as they change and when nothing more is heard of them.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fleetgauge_core::target::{self, DiscoveryError, Snapshot, SnapshotStream};
use fleetgauge_core::time::{Clock, Moment};
use kube::api::Api;
use kube::core::NamespaceResourceScope;
use kube::runtime::watcher;
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::object::Kind;
use crate::watch::{Change, WatchConfig, run};
use crate::watched::{Fault, Listing, Watched};

/// How often it is looked whether an outage has lasted for too long.
const MIN_LOOK: Duration = Duration::from_millis(50);
const MAX_LOOK: Duration = Duration::from_secs(3);

/// The watches of a discovery, which end when it is dropped.
pub(crate) struct Told {
    snapshots: watch::Receiver<Snapshot>,
    _tasks: JoinSet<()>,
}

/// What is known, one for each namespace that is watched, and what is made of it.
struct Known<T, F> {
    watched: Vec<Watched<T>>,
    tell: F,
}

/// A client for each of these namespaces; of none, one for all.
pub(crate) fn apis<K>(client: &Client, namespaces: &[String]) -> Vec<Api<K>>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    match namespaces {
        [] => vec![Api::all(client.clone())],
        some => some
            .iter()
            .map(|namespace| Api::namespaced(client.clone(), namespace))
            .collect(),
    }
}

// === impl Told ===

impl Told {
    /// Watches the objects of `apis`, within the present runtime; `read` gives what is kept of one, and `tell` what is told of all.
    pub(crate) fn start<K, T, F>(
        kind: &Kind,
        apis: Vec<Api<K>>,
        which: &watcher::Config,
        config: &WatchConfig,
        clock: &Clock,
        read: impl Fn(&K) -> Option<T> + Send + Sync + 'static,
        tell: F,
    ) -> Self
    where
        K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
        T: Clone + PartialEq + Send + Sync + 'static,
        F: FnMut(&[Watched<T>], Moment) -> Snapshot + Send + 'static,
    {
        let (sender, snapshots) = watch::channel(Snapshot::NotYet);
        let sender = Arc::new(sender);
        let watched = apis.iter().map(|_| Watched::new(kind.clone())).collect();
        let known = Arc::new(Mutex::new(Known { watched, tell }));
        let read = Arc::new(read);
        let mut tasks = JoinSet::new();
        for (place, api) in apis.into_iter().enumerate() {
            let (sender, known, clock) = (sender.clone(), known.clone(), clock.clone());
            let keep = move |change| {
                let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
                if keep(&mut known.watched[place], change, &clock) {
                    sender.send_replace(known.snapshot(clock.now()));
                }
            };
            let read = read.clone();
            let read = move |object: &K| read(object);
            tasks.spawn(run(api, which.clone(), config.clone(), read, keep));
        }
        tasks.spawn(tell_silence(sender, known, clock.clone(), config.silent_for));
        Self {
            snapshots,
            _tasks: tasks,
        }
    }

    /// What is told from now on, for as long as this is there.
    pub(crate) fn snapshots(&self) -> SnapshotStream {
        target::pushed(self.snapshots.clone())
    }
}

// === impl Known ===

impl<T, F: FnMut(&[Watched<T>], Moment) -> Snapshot> Known<T, F> {
    fn snapshot(&mut self, now: Moment) -> Snapshot {
        (self.tell)(&self.watched, now)
    }
}

/// Whether that is news: a kubelet tells much of a pod that is of no use here.
fn keep<T: Clone + PartialEq>(watched: &mut Watched<T>, change: Change<T>, clock: &Clock) -> bool {
    match change {
        Change::All(objects) => {
            // What has not changed keeps its pointers.
            let kept = |(uid, found): (Box<str>, T)| match watched.get(&uid) {
                Some(before) if *before == found => (uid, before.clone()),
                _ => (uid, found),
            };
            let objects: Vec<_> = objects.into_iter().map(kept).collect();
            watched.replace(objects);
        }
        Change::Is(uid, found) if watched.get(&uid) == Some(&found) => return false,
        Change::Is(uid, found) => watched.apply(&uid, found),
        Change::Gone(uid) => drop(watched.remove(&uid)),
        Change::Failed(failure) => drop(watched.fail(failure, clock.now())),
    }
    true
}

/// Tells of an outage once it has lasted for `silent_for`, though nothing else happens.
async fn tell_silence<T, F>(
    sender: Arc<watch::Sender<Snapshot>>,
    known: Arc<Mutex<Known<T, F>>>,
    clock: Clock,
    silent_for: Duration,
) where
    F: FnMut(&[Watched<T>], Moment) -> Snapshot,
{
    let mut before = clock.now();
    loop {
        tokio::time::sleep((silent_for / 20).clamp(MIN_LOOK, MAX_LOOK)).await;
        let now = clock.now();
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = |fault: &Fault| {
            before.saturating_since(fault.since) < silent_for
                && now.saturating_since(fault.since) >= silent_for
        };
        if known.watched.iter().filter_map(Watched::fault).any(is_due) {
            sender.send_replace(known.snapshot(now));
        }
        before = now;
    }
}

// === what is told of a watch ===

/// Whether it is known of all what there is, or why that is not known.
pub(crate) fn are_told<T>(known: &[Watched<T>]) -> bool {
    let is_told = |watched: &Watched<T>| watched.listing() != Listing::NotYet || watched.fault().is_some();
    known.iter().all(is_told)
}

/// That what is known may not be as of now. What was known of a cluster that has been silent for less than `silent_for` is taken for
/// what there is.
pub(crate) fn silence<T>(watched: &Watched<T>, now: Moment, silent_for: Duration) -> Option<DiscoveryError> {
    let is_told = |fault: &&Fault| {
        watched.listing() != Listing::Known || now.saturating_since(fault.since) >= silent_for
    };
    let fault = watched.fault().filter(is_told)?;
    Some(DiscoveryError::Unreachable {
        detail: fault.detail.clone(),
    })
}
