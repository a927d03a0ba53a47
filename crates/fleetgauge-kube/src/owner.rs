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

use std::sync::Arc;

use fleetgauge_core::time::Moment;

use crate::chain::Siblings;
use crate::gone::Gone;
use crate::miss::Miss;
use crate::object::{Kind, Object, Owner, PodState};
use crate::trie::Trie;
use crate::version::Version;
use crate::watched::{Failure, Listing, Map, Watched};

/// No chain of controllers is longer, unless it is a circle.
const MAX_OWNERS: usize = 16;

/// The objects of the watched kinds, as far as each is known.
///
/// Cheap to clone: a copy shares all that is the same.
#[derive(Clone, Debug)]
pub struct OwnerIndex {
    pods: Watched<Object>,
    /// The same by namespace and name.
    names: Trie<Named>,
    /// By namespace and controller, each with how many they are.
    siblings: Trie<(Arc<Siblings>, usize)>,
    controllers: Map<Kind, Watched<Object>>,
    gone: Gone,
    /// Of all that says who controls a pod's controller.
    controllers_version: Version,
    pods_version: Version,
    numbers: Numbers,
}

/// Which numbers siblings have.
#[derive(Clone, Debug, Default)]
struct Numbers {
    /// How many have ever been given at once.
    count: usize,
    /// Those that nobody has any more.
    free: Vec<usize>,
    /// Since one was given last.
    version: Version,
}

/// A pod, and those that have its controller.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    pub(crate) pod: Arc<Object>,
    pub(crate) siblings: Arc<Siblings>,
}

// === impl OwnerIndex ===

impl OwnerIndex {
    /// An index that knows nothing yet of pods and of those of `kinds` that control them.
    pub fn new(kinds: impl IntoIterator<Item = Kind>) -> Self {
        let kinds = kinds.into_iter().filter(|kind| *kind != Kind::POD);
        Self {
            pods: Watched::new(Kind::POD),
            names: Trie::default(),
            siblings: Trie::default(),
            controllers: kinds.map(|kind| (kind.clone(), Watched::new(kind))).collect(),
            gone: Gone::default(),
            controllers_version: Version::default(),
            pods_version: Version::default(),
            numbers: Numbers::default(),
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
        self.renew(kind);
        if *kind == Kind::POD {
            let before = std::mem::take(&mut self.names);
            self.siblings = Trie::default();
            self.numbers = Numbers::default();
            let uids: Vec<_> = self.pods.objects().map(|pod| pod.uid.clone()).collect();
            uids.iter().for_each(|uid| self.name(uid, None));
            for pod in before.iter().map(|named| &named.pod) {
                if self.named_as(&pod.namespace, &pod.name).is_none() {
                    self.gone.add(&pod.namespace, &pod.name);
                }
            }
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
        let Some(watched) = self.watched_mut(kind) else {
            return false;
        };
        let object = with_past(object, watched);
        let before = watched.shared(&object.uid).cloned();
        if before.as_deref() == Some(&object) {
            return false;
        }
        let place = |object: &Object| (object.namespace.clone(), object.controller.clone());
        let is_placed_anew = before.as_deref().map(place) != Some(place(&object));
        if is_placed_anew {
            self.renew(kind);
        }
        let uid = object.uid.clone();
        if *kind == Kind::POD {
            let namesake = self.named_as(&object.namespace, &object.name).cloned();
            match namesake {
                Some(known) if known.pod.uid == uid && !is_placed_anew => {
                    self.pods.apply(&uid, object);
                    self.name(&uid, Some(known.siblings));
                }
                namesake => {
                    // It may have had another name, for all that is known of who tells this.
                    let others = [before, namesake.map(|named| named.pod)];
                    for other in others.into_iter().flatten() {
                        self.unname(&other);
                        self.pods.remove(&other.uid);
                    }
                    self.pods.apply(&uid, object);
                    self.name(&uid, None);
                }
            }
        } else if let Some(watched) = self.controllers.get_mut(kind) {
            watched.apply(&uid, object);
        }
        true
    }

    /// An object of a kind is gone.
    pub fn remove(&mut self, kind: &Kind, uid: &str) {
        let object = self.watched_mut(kind).and_then(|watched| watched.remove(uid));
        let Some(object) = object else { return };
        self.renew(kind);
        if *kind == Kind::POD {
            self.unname(&object);
            self.gone.add(&object.namespace, &object.name);
        }
    }

    /// A kind could not be listed, or not be watched any more. What is known of it stays, unless the kind itself is gone. Gives
    /// whether that is news.
    pub fn fail(&mut self, kind: &Kind, failure: Failure, now: Moment) -> bool {
        let watched = self.watched_mut(kind);
        let is_news = watched.is_some_and(|watched| watched.fail(failure, now));
        if is_news {
            self.renew(kind);
        }
        is_news
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
        Ok(&self.named(namespace, name)?.pod)
    }

    /// The same, with what it has in common with others.
    pub(crate) fn named(&self, namespace: &str, name: &str) -> Result<&Named, Miss> {
        self.pods.check()?;
        self.named_as(namespace, name).ok_or(Miss::UnknownPod)
    }

    /// All pods that are known, in no order.
    pub(crate) fn all(&self) -> impl ExactSizeIterator<Item = &Named> {
        self.names.iter()
    }

    /// By whom controllers are controlled, and who has which number.
    pub(crate) fn versions(&self) -> (&Version, &Version) {
        (&self.controllers_version, &self.numbers.version)
    }

    /// All siblings have lower numbers.
    pub(crate) fn numbers(&self) -> usize {
        self.numbers.count
    }

    /// What pods there are.
    pub(crate) fn pods_version(&self) -> &Version {
        &self.pods_version
    }

    /// Whether the pod of this name was there, and is known to be there no more.
    pub fn is_gone(&self, namespace: &str, name: &str) -> bool {
        let is_up_to_date = self.pods.listing() == Listing::Known && self.pods.fault().is_none();
        is_up_to_date && self.gone.has(namespace, name)
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
    pub(crate) fn above<'a>(&'a self, object: &'a Object) -> Result<Vec<&'a Owner>, Miss> {
        self.chain(&object.namespace, object.controller.as_ref())
    }

    /// A controller of something in `namespace`, and whoever controls that.
    ///
    /// # Errors
    /// When a part of the chain is not known.
    pub(crate) fn chain<'a>(
        &'a self,
        namespace: &str,
        mut controller: Option<&'a Owner>,
    ) -> Result<Vec<&'a Owner>, Miss> {
        let mut owners = Vec::new();
        while let Some(owner) = controller {
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
            let seen = seen
                .filter(|seen| *seen.namespace == *namespace)
                .ok_or_else(|| Miss::OwnerNotSeen(owner.clone()))?;
            controller = seen.controller.as_ref();
        }
        Ok(owners)
    }

    /// From now on, chains by objects of this kind are to be found anew.
    fn renew(&mut self, kind: &Kind) {
        match *kind == Kind::POD {
            true => self.pods_version = Version::default(),
            false => self.controllers_version = Version::default(),
        }
    }

    fn named_as(&self, namespace: &str, name: &str) -> Option<&Named> {
        let hash = self.names.hash((namespace, name));
        self.names.get(hash, |named| named.is(namespace, name))
    }

    /// Lets a pod be known by its name, among `siblings` that it is counted with already, or among those that it has.
    fn name(&mut self, uid: &str, siblings: Option<Arc<Siblings>>) {
        let Some(pod) = self.pods.shared(uid).cloned() else {
            return;
        };
        let siblings = siblings.unwrap_or_else(|| self.join(&pod));
        self.gone.remove(&pod.namespace, &pod.name);
        let hash = self.names.hash((&*pod.namespace, &*pod.name));
        let named = Named {
            pod: pod.clone(),
            siblings,
        };
        self.names
            .insert(hash, named, |named| named.is(&pod.namespace, &pod.name));
    }

    /// Counts a pod with its siblings.
    fn join(&mut self, pod: &Object) -> Arc<Siblings> {
        let (namespace, controller) = (&*pod.namespace, pod.controller.as_ref());
        let hash = self.siblings.hash((namespace, controller));
        let is_it = |(known, _): &(Arc<Siblings>, usize)| {
            *known.namespace == *namespace && known.controller.as_ref() == controller
        };
        let (siblings, count) = match self.siblings.get(hash, is_it).cloned() {
            Some(known) => known,
            None => {
                let siblings = Siblings {
                    namespace: namespace.into(),
                    controller: controller.cloned(),
                    number: self.numbers.take(),
                };
                (Arc::new(siblings), 0)
            }
        };
        self.siblings.insert(hash, (siblings.clone(), count + 1), is_it);
        siblings
    }

    fn unname(&mut self, pod: &Object) {
        let hash = self.names.hash((&*pod.namespace, &*pod.name));
        let is_it = |named: &Named| named.is(&pod.namespace, &pod.name);
        let Some(Named { siblings, .. }) = self.names.remove(hash, is_it) else {
            return;
        };
        let hash = self
            .siblings
            .hash((&*siblings.namespace, siblings.controller.as_ref()));
        let is_it = |(known, _): &(Arc<Siblings>, usize)| Arc::ptr_eq(known, &siblings);
        match self.siblings.get(hash, is_it).cloned() {
            Some((known, count)) if count > 1 => {
                self.siblings.insert(hash, (known, count - 1), is_it);
            }
            _ => {
                self.siblings.remove(hash, is_it);
                self.numbers.free.push(siblings.number);
            }
        }
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

// === impl Numbers ===

impl Numbers {
    fn take(&mut self) -> usize {
        self.version = Version::default();
        self.free.pop().unwrap_or_else(|| {
            self.count += 1;
            self.count - 1
        })
    }
}

// === impl Named ===

impl Named {
    fn is(&self, namespace: &str, name: &str) -> bool {
        *self.pod.name == *name && *self.pod.namespace == *namespace
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
