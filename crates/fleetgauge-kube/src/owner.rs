//! Who controls a pod.
//!
//! Each object names its controller by UID, and the chain of controllers ends at a workload: the pod of a Deployment is
//! controlled by a ReplicaSet, and that by the Deployment; a worker of a LeaderWorkerSet by a StatefulSet, that by the pod
//! of its leader, that by another StatefulSet, and that by the LeaderWorkerSet. A link can be followed where objects of its kind
//! are watched; an owner of any other kind is the end, known by what names it.
//!
//! An index that does not know is never taken for one that knows of nothing: until a kind has been listed once, whoever
//! needs it gets [`Miss::NotListed`], and an owner that should be there and is not has not been seen *yet*, since
//! each kind is watched by itself. An outage costs nothing that was known; it is told beside it, with the time that it began.
//!
//! Names come back: the pod `llama-0` of a StatefulSet is another one each time. So what is known is known by UID, and the end of
//! an object takes nothing away from the next one of its name.

use fleetgauge_core::time::Moment;
use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::object::{Kind, Object, Owner};

type Map<K, V> = HashMap<K, V, RandomState>;

/// No chain of controllers is longer, unless it is a circle.
const MAX_OWNERS: usize = 16;

/// The objects of the watched kinds, as far as each is known.
#[derive(Clone, Debug)]
pub struct OwnerIndex {
    kinds: Map<Kind, Watched>,
    /// The UIDs of pods by namespace and name.
    pods: Map<(Box<str>, Box<str>), Box<str>>,
}

/// What is known of a kind.
#[derive(Clone, Debug, Default)]
pub struct Watched {
    listing: Listing,
    fault: Option<Fault>,
    objects: Map<Box<str>, Object>,
}

/// Whether the objects of a kind are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Listing {
    /// Nothing has been found out yet, which is not "there are none".
    #[default]
    NotYet,
    /// All of them were listed, and what changed since is known as far as there is no [`Fault`].
    Known,
    /// The cluster has no such kind, so that there are none.
    Absent,
    /// They may not be listed.
    Forbidden,
}

/// Why what is known of a kind may not be as of now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Since when: what is known is as of then.
    pub since: Moment,
    /// What was said last.
    pub detail: String,
}

/// Why objects of a kind cannot be listed or watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The cluster says that it has no such kind.
    Absent {
        /// What was said.
        detail: String,
    },
    /// It says that we may not.
    Forbidden {
        /// What was said, with the verb and the resource.
        detail: String,
    },
    /// It cannot be asked, or answered something else.
    Other {
        /// What was said.
        detail: String,
    },
}

/// Why it is not known who controls a pod.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Miss {
    /// A kind has not been listed yet.
    #[error("{0} has not been listed yet")]
    NotListed(Kind),
    /// A kind may not be listed.
    #[error("{0} may not be listed")]
    Forbidden(Kind),
    /// There is no such pod.
    #[error("there is no such pod")]
    UnknownPod,
    /// Nothing controls it.
    #[error("the pod has no controller")]
    NoController,
    /// An owner of a watched kind has not been seen, or is gone.
    #[error("{} {} has not been seen", .0.kind, .0.name)]
    OwnerNotSeen(Owner),
    /// Its owners own each other.
    #[error("the owners of the pod go in a circle")]
    Circle,
}

// === impl OwnerIndex ===

impl OwnerIndex {
    /// An index that knows nothing yet of pods and of `kinds`.
    pub fn new(kinds: impl IntoIterator<Item = Kind>) -> Self {
        let kinds = kinds.into_iter().chain([Kind::POD]);
        Self {
            kinds: kinds.map(|kind| (kind, Watched::default())).collect(),
            pods: Map::default(),
        }
    }

    /// These are all objects of a kind. Whoever is not among them is gone.
    pub fn replace(&mut self, kind: &Kind, objects: impl IntoIterator<Item = Object>) {
        let Some(watched) = self.kinds.get_mut(kind) else {
            return;
        };
        watched.listing = Listing::Known;
        watched.fault = None;
        watched.objects = objects
            .into_iter()
            .map(|object| (object.uid.clone(), object))
            .collect();
        if *kind == Kind::POD {
            let pods = watched.objects.values();
            self.pods = pods
                .map(|pod| ((pod.namespace.clone(), pod.name.clone()), pod.uid.clone()))
                .collect();
        }
    }

    /// There is an object of a kind, new or changed.
    pub fn apply(&mut self, kind: &Kind, object: Object) {
        let Some(watched) = self.kinds.get_mut(kind) else {
            return;
        };
        if *kind == Kind::POD {
            let name = (object.namespace.clone(), object.name.clone());
            if let Some(before) = self.pods.insert(name, object.uid.clone())
                && before != object.uid
            {
                watched.objects.remove(&before);
            }
        }
        watched.objects.insert(object.uid.clone(), object);
    }

    /// An object of a kind is gone.
    pub fn remove(&mut self, kind: &Kind, uid: &str) {
        let object = self
            .kinds
            .get_mut(kind)
            .and_then(|watched| watched.objects.remove(uid));
        if let Some(object) = object
            && *kind == Kind::POD
        {
            self.pods.remove(&(object.namespace, object.name));
        }
    }

    /// A kind could not be listed, or not be watched any more.
    ///
    /// What is known stays. That a known kind is absent is believed at the second time in a row, since an API server that
    /// starts says so of kinds that it has not looked up yet, and of a built-in one never: then it is not an API server
    /// that answers.
    pub fn fail(&mut self, kind: &Kind, failure: Failure, now: Moment) {
        let Some(watched) = self.kinds.get_mut(kind) else {
            return;
        };
        let listing = match failure {
            Failure::Absent { .. } if kind.is_built_in() => None,
            Failure::Absent { .. } => {
                (watched.listing != Listing::Known || watched.fault.is_some()).then_some(Listing::Absent)
            }
            Failure::Forbidden { .. } => (watched.listing != Listing::Known).then_some(Listing::Forbidden),
            Failure::Other { .. } => None,
        };
        let (Failure::Absent { detail } | Failure::Forbidden { detail } | Failure::Other { detail }) =
            failure;
        let since = watched.fault.as_ref().map_or(now, |fault| fault.since);
        watched.fault = Some(Fault { since, detail });
        watched.listing = listing.unwrap_or(watched.listing);
        if watched.listing == Listing::Absent {
            watched.fault = None;
            watched.objects.clear();
        }
    }

    /// What is known of a kind, if it is watched.
    pub fn watched(&self, kind: &Kind) -> Option<&Watched> {
        self.kinds.get(kind)
    }

    /// Whether it is known of every kind what there is, or that it will not be known.
    pub fn is_ready(&self) -> bool {
        self.kinds
            .values()
            .all(|watched| watched.listing != Listing::NotYet)
    }

    /// The pod of this name, as of now.
    ///
    /// # Errors
    /// When there is none, or that is not known.
    pub fn pod(&self, namespace: &str, name: &str) -> Result<&Object, Miss> {
        let pods = &self.kinds[&Kind::POD];
        pods.check(&Kind::POD)?;
        // `Equivalent` has no pair of borrowed texts for a pair of owned ones.
        let uid = self.pods.get(&Name(namespace, name)).ok_or(Miss::UnknownPod)?;
        pods.objects.get(uid).ok_or(Miss::UnknownPod)
    }

    /// Who controls the pod of this name: its controller, that of its controller, and so on up to the workload.
    ///
    /// *Shape*: at least one.
    ///
    /// # Errors
    /// When a part of the chain is not known, since another part would be another answer.
    pub fn owners(&self, namespace: &str, pod: &str) -> Result<Vec<&Owner>, Miss> {
        let mut object = self.pod(namespace, pod)?;
        let mut owners = Vec::new();
        while let Some(owner) = &object.controller {
            if owners.len() == MAX_OWNERS {
                return Err(Miss::Circle);
            }
            owners.push(owner);
            // The end: what is above it, if anything, is not looked for.
            let Some(watched) = self.kinds.get(&owner.kind) else {
                break;
            };
            if watched.listing == Listing::Absent {
                break;
            }
            watched.check(&owner.kind)?;
            let seen = watched.objects.get(&owner.uid);
            // An object may name any UID; owners of another namespace are none, to Kubernetes as well.
            object = seen
                .filter(|seen| seen.namespace == object.namespace)
                .ok_or_else(|| Miss::OwnerNotSeen(owner.clone()))?;
        }
        if owners.is_empty() {
            return Err(Miss::NoController);
        }
        Ok(owners)
    }
}

/// The key of a pod, without a copy of its names.
#[derive(PartialEq, Eq, Hash)]
struct Name<'a>(&'a str, &'a str);

impl hashbrown::Equivalent<(Box<str>, Box<str>)> for Name<'_> {
    fn equivalent(&self, key: &(Box<str>, Box<str>)) -> bool {
        self.0 == &*key.0 && self.1 == &*key.1
    }
}

// === impl Watched ===

impl Watched {
    /// Whether its objects are known.
    pub fn listing(&self) -> Listing {
        self.listing
    }

    /// Why it may not be as of now.
    pub fn fault(&self) -> Option<&Fault> {
        self.fault.as_ref()
    }

    /// The objects that are known, in no order.
    pub fn objects(&self) -> impl ExactSizeIterator<Item = &Object> {
        self.objects.values()
    }

    fn check(&self, kind: &Kind) -> Result<(), Miss> {
        match self.listing {
            Listing::NotYet => Err(Miss::NotListed(kind.clone())),
            Listing::Forbidden => Err(Miss::Forbidden(kind.clone())),
            Listing::Known | Listing::Absent => Ok(()),
        }
    }
}

// === impl Miss ===

impl Miss {
    /// One word for the variant, bounded for use as a label value.
    pub fn reason(&self) -> &'static str {
        match self {
            Miss::NotListed(_) => "index_not_ready",
            Miss::Forbidden(_) => "forbidden",
            Miss::UnknownPod => "unknown_pod",
            Miss::NoController => "no_controller",
            Miss::OwnerNotSeen(_) => "owner_not_seen",
            Miss::Circle => "owners_in_a_circle",
        }
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
