//! Who controls a pod.
//!
//! Each object names its controller by UID, and the chain of controllers ends at a workload: the pod of a Deployment is
//! controlled by a ReplicaSet, and that by the Deployment; a worker of a LeaderWorkerSet by a StatefulSet, that by the pod
//! of its leader, that by another StatefulSet, and that by the LeaderWorkerSet. A link can be followed where objects of its kind
//! are watched; an owner of any other kind is the end, known by what names it.
//!
//! An owner of a watched kind that should be there and is not has not been seen *yet*, since each kind is watched by itself.
//!
//! Names come back: the pod `llama-0` of a StatefulSet is another one each time. So what is known is known by UID, and the end of
//! an object takes nothing away from the next one of its name.

use std::collections::VecDeque;

use fleetgauge_core::time::Moment;

use crate::miss::Miss;
use crate::object::{Kind, Object, Owner, PodState};
use crate::watched::{Failure, Listing, Map, Watched};

/// The namespace and name of a pod.
type PodName = (Box<str>, Box<str>);

/// No chain of controllers is longer, unless it is a circle.
const MAX_OWNERS: usize = 16;

/// The objects of the watched kinds, as far as each is known.
#[derive(Clone, Debug)]
pub struct OwnerIndex {
    pods: Watched<Object>,
    /// The UIDs of pods by namespace and name.
    names: Map<PodName, Box<str>>,
    controllers: Map<Kind, Watched<Object>>,
    gone: Gone,
}

/// Names of pods that were there and are not any more.
#[derive(Clone, Debug, Default)]
struct Gone {
    names: Map<PodName, u64>,
    /// The oldest first, with when each went.
    order: VecDeque<(u64, PodName)>,
    went: u64,
}

/// So many of them are remembered, longer than a Prometheus shows their last samples.
const MAX_GONE: usize = 5_000;

// === impl OwnerIndex ===

impl OwnerIndex {
    /// An index that knows nothing yet of pods and of those of `kinds` that control them.
    pub fn new(kinds: impl IntoIterator<Item = Kind>) -> Self {
        let kinds = kinds.into_iter().filter(|kind| *kind != Kind::POD);
        Self {
            pods: Watched::new(Kind::POD),
            names: Map::default(),
            controllers: kinds.map(|kind| (kind.clone(), Watched::new(kind))).collect(),
            gone: Gone::default(),
        }
    }

    /// These are all objects of a kind. Whoever is not among them is gone.
    pub fn replace(&mut self, kind: &Kind, objects: impl IntoIterator<Item = Object>) {
        let Some(watched) = self.watched_mut(kind) else {
            return;
        };
        let before = &*watched;
        let objects: Vec<_> = objects
            .into_iter()
            .map(|object| with_past(object, before))
            .collect();
        watched.replace(objects.into_iter().map(|object| (object.uid.clone(), object)));
        if *kind == Kind::POD {
            let pods = self.pods.objects();
            let before = std::mem::take(&mut self.names);
            self.names = pods
                .map(|pod| ((pod.namespace.clone(), pod.name.clone()), pod.uid.clone()))
                .collect();
            for name in before.into_keys().filter(|name| !self.names.contains_key(name)) {
                self.gone.add(name);
            }
            self.names.keys().for_each(|name| self.gone.remove(name));
        }
    }

    /// As [`apply`](Self::apply), of what has happened `now`: a pod that is ready, and was not or was not there, has become so.
    pub fn apply_at(&mut self, kind: &Kind, mut object: Object, now: Moment) -> bool {
        if *kind == Kind::POD && object.state == PodState::Serving {
            let before = self.pods.get(&object.uid);
            let is_news = before.is_none_or(|before| matches!(before.state, PodState::Starting(_)));
            object.ready_since = is_news.then_some(now);
        }
        self.apply(kind, object)
    }

    /// There is an object of a kind, new or changed. Gives whether it is another one than was known.
    pub fn apply(&mut self, kind: &Kind, object: Object) -> bool {
        if *kind == Kind::POD {
            let name = (object.namespace.clone(), object.name.clone());
            self.gone.remove(&name);
            if let Some(before) = self.names.insert(name, object.uid.clone())
                && before != object.uid
            {
                self.pods.remove(&before);
            }
        }
        let Some(watched) = self.watched_mut(kind) else {
            return false;
        };
        let object = with_past(object, watched);
        let is_news = watched.get(&object.uid) != Some(&object);
        if is_news {
            watched.apply(object.uid.clone(), object);
        }
        is_news
    }

    /// An object of a kind is gone.
    pub fn remove(&mut self, kind: &Kind, uid: &str) {
        let object = self.watched_mut(kind).and_then(|watched| watched.remove(uid));
        if let Some(object) = object
            && *kind == Kind::POD
        {
            let name = (object.namespace, object.name);
            self.names.remove(&name);
            self.gone.add(name);
        }
    }

    /// A kind could not be listed, or not be watched any more. What is known of it stays, unless the kind itself is gone.
    pub fn fail(&mut self, kind: &Kind, failure: Failure, now: Moment) {
        if let Some(watched) = self.watched_mut(kind) {
            watched.fail(failure, now);
        }
    }

    /// What is known of a kind, if it is watched.
    pub fn watched(&self, kind: &Kind) -> Option<&Watched<Object>> {
        match *kind == Kind::POD {
            true => Some(&self.pods),
            false => self.controllers.get(kind),
        }
    }

    fn watched_mut(&mut self, kind: &Kind) -> Option<&mut Watched<Object>> {
        match *kind == Kind::POD {
            true => Some(&mut self.pods),
            false => self.controllers.get_mut(kind),
        }
    }

    /// All kinds that are watched.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = &Watched<Object>> {
        self.controllers.values().chain([&self.pods])
    }

    /// Whether it is known of every kind what there is, or that it will not be known.
    pub fn is_ready(&self) -> bool {
        let mut all = self.controllers.values().chain([&self.pods]);
        all.all(|watched| watched.listing() != Listing::NotYet)
    }

    /// The pod of this name, as of now.
    ///
    /// # Errors
    /// When there is none, or that is not known.
    pub fn pod(&self, namespace: &str, name: &str) -> Result<&Object, Miss> {
        self.pods.check()?;
        let uid = self.names.get(&Name(namespace, name));
        uid.and_then(|uid| self.pods.get(uid)).ok_or(Miss::UnknownPod)
    }

    /// Whether the pod of this name was there, and is known to be there no more.
    pub fn is_gone(&self, namespace: &str, name: &str) -> bool {
        let is_up_to_date = self.pods.listing() == Listing::Known && self.pods.fault().is_none();
        is_up_to_date && self.gone.names.contains_key(&Name(namespace, name))
    }

    /// Who controls the pod of this name: its controller, that of its controller, and so on up to the workload.
    ///
    /// *Shape*: at least one.
    ///
    /// # Errors
    /// When a part of the chain is not known, since another part would be another answer.
    pub fn owners(&self, namespace: &str, pod: &str) -> Result<Vec<&Owner>, Miss> {
        let owners = self.above(self.pod(namespace, pod)?)?;
        if owners.is_empty() {
            return Err(Miss::NoController);
        }
        Ok(owners)
    }

    /// Who controls an object that is watched, as [`owners`](Self::owners) has it of a pod.
    ///
    /// *Shape*: empty where nothing does.
    ///
    /// # Errors
    /// When a part of the chain is not known.
    pub(crate) fn above<'a>(&'a self, mut object: &'a Object) -> Result<Vec<&'a Owner>, Miss> {
        let mut owners = Vec::new();
        while let Some(owner) = &object.controller {
            if owners.len() == MAX_OWNERS {
                return Err(Miss::Circle);
            }
            owners.push(owner);
            // The end: what is above it, if anything, is not looked for.
            let Some(watched) = self.watched(&owner.kind) else {
                break;
            };
            if watched.listing() == Listing::Absent {
                break;
            }
            watched.check()?;
            let seen = watched.get(&owner.uid);
            // An object may name any UID; owners of another namespace are none, to Kubernetes as well.
            object = seen
                .filter(|seen| seen.namespace == object.namespace)
                .ok_or_else(|| Miss::OwnerNotSeen(owner.clone()))?;
        }
        Ok(owners)
    }
}

/// A pod that has been ready once is expected from then on, ready or not.
fn with_past(mut object: Object, before: &Watched<Object>) -> Object {
    let was_ready = || {
        let before = before.get(&object.uid);
        before.is_some_and(|before| before.state == PodState::Serving)
    };
    if matches!(object.state, PodState::Starting(_)) && was_ready() {
        object.state = PodState::Serving;
    }
    let since = before.get(&object.uid).and_then(|before| before.ready_since);
    object.ready_since = object.ready_since.or(since);
    object
}

// === impl Gone ===

impl Gone {
    fn add(&mut self, name: PodName) {
        self.went += 1;
        self.names.insert(name.clone(), self.went);
        self.order.push_back((self.went, name));
        while self.order.len() > MAX_GONE {
            let Some((went, name)) = self.order.pop_front() else {
                break;
            };
            // It may have come back and gone again since.
            if self.names.get(&name) == Some(&went) {
                self.names.remove(&name);
            }
        }
    }

    fn remove(&mut self, name: &PodName) {
        self.names.remove(name);
    }
}

/// The key of a pod, without a copy of its names.
#[derive(PartialEq, Eq, Hash)]
struct Name<'a>(&'a str, &'a str);

impl hashbrown::Equivalent<PodName> for Name<'_> {
    fn equivalent(&self, key: &PodName) -> bool {
        self.0 == &*key.0 && self.1 == &*key.1
    }
}

#[cfg(test)]
mod tests {
    use fleetgauge_core::time::{Clock, Timestamp};

    use super::*;

    fn owner(kind: &Kind, uid: &str) -> Owner {
        Owner {
            kind: kind.clone(),
            name: format!("the-{uid}").into(),
            uid: uid.into(),
        }
    }

    fn object(uid: &str, name: &str, controller: Option<Owner>) -> Object {
        Object {
            uid: uid.into(),
            namespace: "chat".into(),
            name: name.into(),
            controller,
            state: PodState::Serving,
            ready_since: None,
            variant: None,
            replicas: None,
        }
    }

    fn kinds() -> [Kind; 3] {
        [Kind::REPLICA_SET, Kind::STATEFUL_SET, Kind::LEADER_WORKER_SET]
    }

    /// All kinds listed, empty.
    fn index() -> OwnerIndex {
        let mut index = OwnerIndex::new(kinds());
        for kind in kinds().iter().chain([&Kind::POD]) {
            index.replace(kind, []);
        }
        index
    }

    fn now() -> Moment {
        Clock::manual(Timestamp::from_secs_f64(0.0)).0.now()
    }

    fn other(detail: &str) -> Failure {
        Failure::Other {
            detail: detail.into(),
        }
    }

    fn absent() -> Failure {
        Failure::Absent {
            detail: "not found".into(),
        }
    }

    fn owners(index: &OwnerIndex, pod: &str) -> Result<String, &'static str> {
        let owners = index.owners("chat", pod).map_err(|miss| miss.reason())?;
        let owners: Vec<_> = owners
            .iter()
            .map(|owner| format!("{} {}", owner.kind, owner.uid))
            .collect();
        Ok(owners.join(", "))
    }

    #[test]
    fn the_chain_ends_at_the_workload() {
        let mut index = index();
        index.apply(
            &Kind::POD,
            object("p", "llama", Some(owner(&Kind::REPLICA_SET, "r"))),
        );
        index.apply(
            &Kind::REPLICA_SET,
            object("r", "the-r", Some(owner(&Kind::DEPLOYMENT, "d"))),
        );
        assert_eq!(
            owners(&index, "llama").unwrap(),
            "ReplicaSet.apps r, Deployment.apps d"
        );
        // A ReplicaSet without a Deployment is a workload itself.
        index.apply(&Kind::REPLICA_SET, object("r", "the-r", None));
        assert_eq!(owners(&index, "llama").unwrap(), "ReplicaSet.apps r");
        index.apply(&Kind::POD, object("q", "bare", None));
        assert_eq!(owners(&index, "bare"), Err("no_controller"));
        assert_eq!(owners(&index, "stranger"), Err("unknown_pod"));
        assert!(index.owners("other", "llama").is_err());
    }

    #[test]
    fn a_worker_is_its_leaders() {
        let mut index = index();
        let set = &Kind::STATEFUL_SET;
        index.apply(&Kind::POD, object("w", "llama-0-1", Some(owner(set, "workers"))));
        index.apply(set, object("workers", "llama-0", Some(owner(&Kind::POD, "l"))));
        index.apply(&Kind::POD, object("l", "llama-0", Some(owner(set, "leaders"))));
        index.apply(
            set,
            object("leaders", "llama", Some(owner(&Kind::LEADER_WORKER_SET, "g"))),
        );
        let group = "LeaderWorkerSet.leaderworkerset.x-k8s.io g";
        // It has not been seen yet, so nobody can say whether something controls it.
        assert_eq!(owners(&index, "llama-0"), Err("owner_not_seen"));
        index.apply(&Kind::LEADER_WORKER_SET, object("g", "llama", None));
        let leader = format!("StatefulSet.apps leaders, {group}");
        assert_eq!(owners(&index, "llama-0").unwrap(), leader);
        let worker = format!("StatefulSet.apps workers, Pod l, {leader}");
        assert_eq!(owners(&index, "llama-0-1").unwrap(), worker);
    }

    #[test]
    fn nothing_is_known_before_it_is_listed() {
        let mut index = OwnerIndex::new([Kind::REPLICA_SET]);
        assert_eq!(owners(&index, "llama"), Err("index_not_ready"));
        index.replace(
            &Kind::POD,
            [object("p", "llama", Some(owner(&Kind::REPLICA_SET, "r")))],
        );
        assert!(!index.is_ready());
        assert_eq!(owners(&index, "llama"), Err("index_not_ready"));
        // That it cannot be asked is no list.
        index.fail(&Kind::REPLICA_SET, other("connection refused"), now());
        assert!(!index.is_ready());
        index.replace(&Kind::REPLICA_SET, []);
        assert!(index.is_ready());
        assert_eq!(owners(&index, "llama"), Err("owner_not_seen"));
    }

    #[test]
    fn a_kind_that_is_absent_or_forbidden_costs_what_needs_it_alone() {
        let mut index = OwnerIndex::new(kinds());
        index.replace(
            &Kind::POD,
            [
                object("p", "llama", Some(owner(&Kind::REPLICA_SET, "r"))),
                object("q", "qwen-0", Some(owner(&Kind::STATEFUL_SET, "s"))),
            ],
        );
        let detail = "replicasets.apps is forbidden".to_owned();
        index.fail(&Kind::REPLICA_SET, Failure::Forbidden { detail }, now());
        index.replace(&Kind::STATEFUL_SET, [object("s", "qwen", None)]);
        assert!(!index.is_ready());
        index.fail(&Kind::LEADER_WORKER_SET, absent(), now());
        assert!(index.is_ready());
        assert_eq!(owners(&index, "llama"), Err("forbidden"));
        assert_eq!(owners(&index, "qwen-0").unwrap(), "StatefulSet.apps s");
        // What names an absent kind knows it by another version.
        index.apply(
            &Kind::POD,
            object("w", "worker", Some(owner(&Kind::LEADER_WORKER_SET, "g"))),
        );
        let group = "LeaderWorkerSet.leaderworkerset.x-k8s.io g";
        assert_eq!(owners(&index, "worker").unwrap(), group);
        let fault = index.watched(&Kind::REPLICA_SET).unwrap().fault().unwrap();
        assert_eq!(fault.detail, "replicasets.apps is forbidden");
    }

    #[test]
    fn an_outage_costs_nothing_that_was_known_and_is_told() {
        let (clock, hand) = Clock::manual(Timestamp::from_secs_f64(0.0));
        let mut index = index();
        index.apply(
            &Kind::POD,
            object("p", "llama", Some(owner(&Kind::DEPLOYMENT, "d"))),
        );
        let began = clock.now();
        for failure in [
            other("reset"),
            Failure::Forbidden { detail: "no".into() },
            absent(),
        ] {
            index.fail(&Kind::POD, failure, clock.now());
            assert_eq!(owners(&index, "llama").unwrap(), "Deployment.apps d");
            assert_eq!(index.watched(&Kind::POD).unwrap().fault().unwrap().since, began);
            hand.advance(std::time::Duration::from_secs(60));
        }
        // Gone meanwhile.
        index.replace(&Kind::POD, []);
        assert_eq!(owners(&index, "llama"), Err("unknown_pod"));
        assert_eq!(index.watched(&Kind::POD).unwrap().fault(), None);
    }

    #[test]
    fn a_known_kind_is_absent_when_it_is_said_twice() {
        let group = &Kind::LEADER_WORKER_SET;
        let mut index = index();
        index.apply(group, object("g", "llama", None));
        let state = |index: &OwnerIndex| {
            let watched = index.watched(group).unwrap();
            (watched.listing(), watched.objects().len())
        };
        index.fail(group, absent(), now());
        assert_eq!(state(&index), (Listing::Known, 1));
        // In a row: an API server that starts refuses first, and then knows few kinds.
        index.fail(group, other("connection refused"), now());
        index.fail(group, absent(), now());
        assert_eq!(state(&index), (Listing::Known, 1));
        index.fail(group, absent(), now());
        assert_eq!(state(&index), (Listing::Absent, 0));
        index.replace(group, [object("h", "llama", None)]);
        assert_eq!(state(&index), (Listing::Known, 1));
    }

    /// The pods of a StatefulSet have the names of those before them.
    #[test]
    fn a_name_that_comes_back_is_another_pod() {
        let mut index = index();
        index.apply(
            &Kind::POD,
            object("old", "qwen-0", Some(owner(&Kind::DEPLOYMENT, "a"))),
        );
        index.apply(
            &Kind::POD,
            object("new", "qwen-0", Some(owner(&Kind::DEPLOYMENT, "b"))),
        );
        // The news of its end may come last.
        index.remove(&Kind::POD, "old");
        assert_eq!(&*index.pod("chat", "qwen-0").unwrap().uid, "new");
        assert_eq!(owners(&index, "qwen-0").unwrap(), "Deployment.apps b");
        index.remove(&Kind::POD, "new");
        assert_eq!(owners(&index, "qwen-0"), Err("unknown_pod"));
        assert_eq!(index.watched(&Kind::POD).unwrap().objects().len(), 0);
    }

    #[test]
    fn owners_in_a_circle_or_of_another_namespace_are_none() {
        let mut index = index();
        let set = &Kind::REPLICA_SET;
        index.apply(&Kind::POD, object("p", "llama", Some(owner(set, "a"))));
        index.apply(set, object("a", "a", Some(owner(set, "b"))));
        index.apply(set, object("b", "b", Some(owner(set, "a"))));
        assert_eq!(owners(&index, "llama"), Err("owners_in_a_circle"));
        let mut foreign = object("a", "a", None);
        foreign.namespace = "other".into();
        index.apply(set, foreign);
        assert_eq!(owners(&index, "llama"), Err("owner_not_seen"));
    }

    #[test]
    fn a_kind_is_the_same_in_all_its_versions() {
        assert_eq!(Kind::of("apps/v1beta1", "ReplicaSet"), Kind::REPLICA_SET);
        assert_eq!(Kind::of("v1", "Pod"), Kind::POD);
        assert_eq!(Kind::POD.to_string(), "Pod");
        assert_eq!(Kind::JOB.to_string(), "Job.batch");
    }
}
