//! What a cluster tells of pods and variants, for whoever joins numbers with them.
//!
//! The cluster's word comes first: what controls a pod, and what scales that. Then a label that names the variant, and then
//! the workloads that a configuration names. Names of pods are never parsed. What the cluster does not know, or does not know yet,
//! is told as such, so that no number is made of it.

use std::cell::OnceCell;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, ArcSwapOption};
use fleetgauge_core::time::Moment;
use fleetgauge_core::variant::{
    Mapping, PodIndex, PodRef, PodVariants, Replicas, UnmappedReason, VariantPod, VariantRef,
};

use crate::chain::{Broken, Chain, Chains, Siblings, Sources};
use crate::cluster::ClusterIndex;
use crate::miss::Miss;
use crate::object::{Kind, Object, Owner, PodState};
use crate::owner::Named;
use crate::scaler::Workload;
use crate::watched::{Listing, Map, Watched};

/// A watched cluster, and the variants that a configuration names besides.
///
/// Cheap to clone; clones know the same.
#[derive(Clone, Debug)]
pub struct ClusterVariants {
    now: Arc<ArcSwap<ClusterIndex>>,
    configured: Arc<[(VariantRef, Workload)]>,
    chains: Arc<ArcSwapOption<Chains>>,
    /// The pods of the variants, as of this many changes.
    table: Arc<Mutex<(u64, Arc<Table>)>>,
}

/// The pods of all variants.
#[derive(Debug, Default)]
struct Table {
    pods: Map<VariantRef, Vec<Member>>,
    /// Whose workloads are to have no pods.
    without_pods: HashSet<VariantRef>,
    /// What makes their pods says how many there are.
    replicas: Map<VariantRef, Replicas>,
    /// Of which it is not known whether there are others.
    unclear: HashSet<VariantRef>,
    /// In which there are pods that may be any variant's.
    unclear_namespaces: HashSet<Box<str>>,
}

#[derive(Debug)]
struct Member {
    namespace: Box<str>,
    name: Box<str>,
    starting: Option<Box<str>>,
    ready_since: Option<Moment>,
}

/// What is known at one moment.
#[derive(Debug)]
struct Now<'a> {
    index: Arc<ClusterIndex>,
    chains: Arc<Chains>,
    known: &'a ClusterVariants,
    table: OnceCell<Arc<Table>>,
}

// === impl ClusterVariants ===

impl ClusterVariants {
    /// Those of the cluster as it is `now`, and those that are `configured` where nothing in it says otherwise.
    pub fn new(
        now: Arc<ArcSwap<ClusterIndex>>,
        configured: impl IntoIterator<Item = (VariantRef, Workload)>,
    ) -> Self {
        Self {
            now,
            configured: configured.into_iter().collect(),
            chains: Arc::default(),
            table: Arc::new(Mutex::new((u64::MAX, Arc::default()))),
        }
    }

    /// What has been found out of `index`, and of those that do not differ in it.
    fn chains(&self, index: &ClusterIndex) -> Arc<Chains> {
        let (controllers, numbers) = index.owners.versions();
        let sources = Sources {
            controllers: controllers.clone(),
            numbers: numbers.clone(),
            scalers: index.scalers.version().clone(),
        };
        let known = self.chains.load();
        match &*known {
            Some(known) if known.are_of(&sources) => known.clone(),
            _ => {
                let chains = Arc::new(Chains::new(sources, index.owners.numbers()));
                self.chains.store(Some(chains.clone()));
                chains
            }
        }
    }
}

impl PodVariants for ClusterVariants {
    fn snapshot(&self) -> Box<dyn PodIndex + '_> {
        let index = self.now.load_full();
        Box::new(Now {
            chains: self.chains(&index),
            index,
            known: self,
            table: OnceCell::new(),
        })
    }
}

// === impl Now ===

impl Now<'_> {
    fn mapping(&self, pod: PodRef<'_>, labelled: Option<&VariantRef>) -> Mapping {
        let Some(namespace) = pod.namespace() else {
            return Mapping::Unmapped(UnmappedReason::NoPodNamespace);
        };
        let owners = &self.index.owners;
        match owners.named(namespace, pod.name()) {
            Ok(named) => self.mapping_of(named, labelled),
            Err(miss) => otherwise(labelled, miss, owners.is_gone(namespace, pod.name())),
        }
    }

    fn mapping_of(&self, named: &Named, labelled: Option<&VariantRef>) -> Mapping {
        self.chain(&named.siblings, |chain| {
            let broken = match &chain.scaled {
                Ok(variant) => return Mapping::Mapped(variant.clone()),
                Err(broken) => broken,
            };
            let pod = &named.pod;
            let own_label = || VariantRef::new(&pod.namespace, pod.variant.as_deref()?).ok();
            let of_pod = if labelled.is_none() { own_label() } else { None };
            let labelled = labelled.or(of_pod.as_ref());
            match broken {
                Broken::Scaler(Miss::NoVariant) if labelled.is_none() => chain.configured.clone(),
                Broken::Owners(miss) | Broken::Scaler(miss) => otherwise(labelled, miss.clone(), false),
            }
        })
    }

    /// Shows what is known of all that a controller controls.
    fn chain<R>(&self, siblings: &Siblings, show: impl FnOnce(&Chain) -> R) -> R {
        let pods = self.index.owners.pods_version();
        self.chains.show(siblings, pods, || self.find_out(siblings), show)
    }

    fn find_out(&self, siblings: &Siblings) -> Chain {
        let ClusterIndex { owners, scalers, .. } = &*self.index;
        let namespace = &siblings.namespace;
        let above = match owners.chain(namespace, siblings.controller.as_ref()) {
            Ok(above) if above.is_empty() => Err(Miss::NoController),
            other => other,
        };
        let goes_by_pods = match &above {
            Ok(above) => above.iter().any(|owner| owner.kind == Kind::POD),
            Err(Miss::NoController) => false,
            Err(_) => true,
        };
        let scaled = match &above {
            Ok(above) => {
                let variant = scalers.variant(namespace, above);
                variant.cloned().map_err(Broken::Scaler)
            }
            Err(miss) => Err(Broken::Owners(miss.clone())),
        };
        let above = above.unwrap_or_default();
        Chain {
            scaled,
            configured: configured_for(&self.index, &self.known.configured, namespace, &above),
            pods: goes_by_pods.then(|| owners.pods_version().clone()),
        }
    }

    fn table(&self) -> &Table {
        self.table.get_or_init(|| {
            let table = &self.known.table;
            let mut table = table.lock().unwrap_or_else(PoisonError::into_inner);
            if table.0 != self.index.changes {
                *table = (self.index.changes, Arc::new(Table::new(self)));
            }
            Arc::clone(&table.1)
        })
    }
}

impl PodIndex for Now<'_> {
    fn variant_of(&self, pod: PodRef<'_>, labelled: Option<&VariantRef>) -> Mapping {
        self.mapping(pod, labelled)
    }

    /// Not while the API server is silent: there may be others by now, and of these some may be gone.
    fn pods_of(&self, variant: &VariantRef) -> Option<Vec<VariantPod<'_>>> {
        let pods = self.index.owners.watched(&Kind::POD)?;
        let is_known = self.index.is_ready() && pods.listing() == Listing::Known && pods.fault().is_none();
        if !is_known {
            return None;
        }
        let table = self.table();
        let is_unclear =
            table.unclear.contains(variant) || table.unclear_namespaces.contains(variant.namespace());
        if is_unclear {
            return None;
        }
        let members = table.pods.get(variant);
        // Without one, what makes pods has to say that it is to have none; a workload that is not there says nothing.
        let is_up_to_date = |kind: &Watched<Object>| {
            kind.listing() == Listing::Absent || kind.listing() == Listing::Known && kind.fault().is_none()
        };
        let is_to_have_none =
            || table.without_pods.contains(variant) && self.index.owners.kinds().all(is_up_to_date);
        if members.is_none() && !is_to_have_none() {
            return None;
        }
        let members = members.into_iter().flatten();
        let pods = members.map(|member| VariantPod {
            namespace: &member.namespace,
            name: &member.name,
            starting: member.starting.as_deref(),
            ready_since: member.ready_since,
        });
        Some(pods.collect())
    }

    fn replicas_of(&self, variant: &VariantRef) -> Option<Replicas> {
        let table = self.table();
        table.replicas.get(variant).copied()
    }
}

// === impl Table ===

impl Table {
    fn new(now: &Now<'_>) -> Self {
        let (index, configured) = (&now.index, &now.known.configured);
        let mut table = Self::default();
        let mut made_by: Map<Box<str>, VariantRef> = Map::default();
        for named in index.owners.all() {
            let pod = &named.pod;
            let starting = match &pod.state {
                PodState::Serving => None,
                PodState::Starting(why) => Some(why.clone()),
                PodState::Ending => continue,
            };
            // A pod whose labels and owners name different variants makes neither of them one without pods.
            let mapping = match index.owners.named(&pod.namespace, &pod.name) {
                Ok(named) => now.mapping_of(named, None),
                Err(miss) => otherwise(None, miss, false),
            };
            let labelled = pod
                .variant
                .as_deref()
                .map(|name| VariantRef::new(&pod.namespace, name));
            let of_configuration = now.chain(&named.siblings, |chain| chain.configured.variant().cloned());
            let others = [of_configuration, labelled.and_then(Result::ok)];
            let others = others.into_iter().flatten();
            table
                .unclear
                .extend(others.filter(|other| mapping.variant() != Some(other)));
            if let (Some(variant), Some(maker)) = (mapping.variant(), &pod.controller) {
                made_by.insert(maker.uid.clone(), variant.clone());
            }
            match mapping {
                Mapping::Mapped(variant) => table.pods.entry(variant).or_default().push(Member {
                    namespace: pod.namespace.clone(),
                    name: pod.name.clone(),
                    starting,
                    ready_since: pod.ready_since,
                }),
                Mapping::Ambiguous(candidates) => table.unclear.extend(candidates.iter().cloned()),
                Mapping::Unmapped(reason) if reason.is_nobodys() => {}
                Mapping::Unmapped(_) => drop(table.unclear_namespaces.insert(pod.namespace.clone())),
            }
        }
        // Of several ReplicaSets all are to have none: pods that cannot be made, as beyond a quota, are not zero replicas.
        let makers = makers(index, configured);
        let to_have_some: HashSet<_> = makers
            .iter()
            .filter(|(_, maker)| maker.state == PodState::Serving)
            .map(|(variant, _)| variant.clone())
            .collect();
        for (variant, maker) in &makers {
            table.count(variant, maker);
            made_by.remove(&maker.uid);
        }
        // What labels of pods alone make a variant's.
        for (uid, variant) in &made_by {
            let maker = index.owners.kinds().find_map(|kind| kind.get(uid));
            maker.into_iter().for_each(|maker| table.count(variant, maker));
        }
        let without = makers.into_iter().map(|(variant, _)| variant);
        table.without_pods = without
            .filter(|variant| !to_have_some.contains(variant))
            .collect();
        table
    }

    fn count(&mut self, variant: &VariantRef, maker: &Object) {
        if let Some(count) = maker.replicas {
            let sum = self.replicas.entry(variant.clone()).or_default();
            sum.desired = sum.desired.saturating_add(count.desired);
            sum.current = sum.current.saturating_add(count.current);
            sum.ready = sum.ready.saturating_add(count.ready);
        }
    }
}

/// What makes the pods of variants, each with whose it is.
fn makers<'a>(
    index: &'a ClusterIndex,
    configured: &[(VariantRef, Workload)],
) -> Vec<(VariantRef, &'a Object)> {
    let mut makers = Vec::new();
    for kind in index.owners.kinds().filter(|kind| *kind.kind() != Kind::POD) {
        for object in kind.objects() {
            let itself = Owner {
                kind: kind.kind().clone(),
                name: object.name.clone(),
                uid: object.uid.clone(),
            };
            let mut owners = vec![&itself];
            owners.extend(index.owners.above(object).unwrap_or_default());
            let namespace = &object.namespace;
            let variants = match index.scalers.variant(namespace, &owners) {
                Ok(variant) => vec![variant.clone()],
                Err(Miss::SeveralVariants(variants)) => variants,
                Err(_) => match configured_for(index, configured, namespace, &owners) {
                    Mapping::Mapped(variant) => vec![variant],
                    Mapping::Ambiguous(candidates) => candidates.iter().cloned().collect(),
                    Mapping::Unmapped(_) => Vec::new(),
                },
            };
            makers.extend(variants.into_iter().map(|variant| (variant, object)));
        }
    }
    makers
}

/// What counts where the cluster names no variant.
fn otherwise(labelled: Option<&VariantRef>, miss: Miss, is_gone: bool) -> Mapping {
    let reason = match (miss, labelled) {
        // The cluster will not say more than the label does.
        (Miss::NoVariant | Miss::NoController | Miss::Forbidden(_), Some(variant)) => {
            return Mapping::Mapped(variant.clone());
        }
        (Miss::SeveralVariants(variants), _) => return Mapping::ambiguous(variants),
        (Miss::UnknownPod, _) if is_gone => UnmappedReason::Gone,
        (Miss::UnknownPod, _) => UnmappedReason::UnknownPod,
        (Miss::NotListed(_), _) => UnmappedReason::IndexNotReady,
        (Miss::Forbidden(_), None) => UnmappedReason::Forbidden,
        (Miss::NoController, None) => UnmappedReason::NoController,
        (Miss::OwnerNotSeen(_), _) => UnmappedReason::OwnerNotSeen,
        (Miss::Circle, _) => UnmappedReason::OwnersInACircle,
        (Miss::NoVariant, None) => UnmappedReason::NoVariant,
    };
    Mapping::Unmapped(reason)
}

/// The variant of the configuration, unless something in the cluster has its name and scales something else.
fn configured_for(
    index: &ClusterIndex,
    configured: &[(VariantRef, Workload)],
    namespace: &str,
    owners: &[&Owner],
) -> Mapping {
    let is_owner = |workload: &Workload| {
        let mut owners = owners.iter();
        owners.any(|owner| owner.kind == workload.kind && owner.name == workload.name)
    };
    let found = configured
        .iter()
        .filter(|(variant, workload)| variant.namespace() == namespace && is_owner(workload))
        .filter(|(variant, _)| !index.scalers.has(variant));
    let found: Vec<_> = found.map(|(variant, _)| variant.clone()).collect();
    match &*found {
        [] => Mapping::Unmapped(UnmappedReason::NoVariant),
        [variant] => Mapping::Mapped(variant.clone()),
        _ => Mapping::ambiguous(found),
    }
}

#[cfg(test)]
mod tests {
    use fleetgauge_core::time::{Clock, Timestamp};

    use super::*;
    use crate::owner::OwnerIndex;
    use crate::scaler::{Scaler, ScalerIndex};
    use crate::watched::Failure;

    fn variant(name: &str) -> VariantRef {
        VariantRef::new("chat", name).unwrap()
    }

    fn deployment(name: &str) -> Workload {
        Workload {
            kind: Kind::DEPLOYMENT,
            name: name.into(),
        }
    }

    /// A pod that a Deployment controls.
    fn pod(uid: &str, name: &str, deployment: &str) -> Object {
        Object {
            uid: uid.into(),
            namespace: "chat".into(),
            name: name.into(),
            controller: Some(Owner {
                kind: Kind::DEPLOYMENT,
                name: deployment.into(),
                uid: format!("uid of {deployment}").into(),
            }),
            state: PodState::Serving,
            ready_since: None,
            variant: None,
            replicas: None,
        }
    }

    fn shared(index: &ClusterIndex) -> Arc<ArcSwap<ClusterIndex>> {
        Arc::new(ArcSwap::from_pointee(index.clone()))
    }

    fn index() -> ClusterIndex {
        ClusterIndex::new(
            OwnerIndex::new([]),
            ScalerIndex::new([Kind::HORIZONTAL_POD_AUTOSCALER]),
        )
    }

    /// The variant of a pod, by name or reason.
    fn ask(index: &ClusterIndex, pod: &str, labelled: Option<&str>) -> String {
        let configured = [(variant("configured"), deployment("qwen"))];
        let pod = PodRef::new(pod).in_namespace("chat");
        let labelled = labelled.map(variant);
        let variants = ClusterVariants::new(shared(index), configured);
        match variants.snapshot().variant_of(pod, labelled.as_ref()) {
            Mapping::Mapped(variant) => variant.name().to_owned(),
            other => other.reason().unwrap().to_owned(),
        }
    }

    #[test]
    fn the_cluster_comes_before_a_label_and_that_before_the_configuration() {
        let mut index = index();
        assert_eq!(ask(&index, "a", Some("label")), "index_not_ready");
        index.owners.replace(
            &Kind::POD,
            [
                pod("1", "a", "llama"),
                pod("2", "b", "qwen"),
                pod("3", "c", "none"),
            ],
        );
        // An autoscaler could count before it.
        assert_eq!(ask(&index, "a", Some("label")), "index_not_ready");
        let scaler = Scaler {
            variant: variant("hpa"),
            workload: Some(deployment("llama")),
            controller: None,
            models: Vec::new(),
        };
        index
            .scalers
            .replace(&Kind::HORIZONTAL_POD_AUTOSCALER, [("s".into(), scaler)]);
        assert_eq!(ask(&index, "a", Some("label")), "hpa");
        assert_eq!(ask(&index, "a", None), "hpa");
        assert_eq!(ask(&index, "b", Some("label")), "label");
        assert_eq!(ask(&index, "b", None), "configured");
        assert_eq!(ask(&index, "c", None), "no_variant");
        // Its name is that of a pod of the configured Deployment.
        assert_eq!(ask(&index, "qwen-7d9c5b6f4-x2x9z", Some("label")), "unknown_pod");
        let variants = ClusterVariants::new(shared(&index), []);
        let anywhere = variants.snapshot().variant_of(PodRef::new("a"), None);
        assert_eq!(anywhere.reason(), Some("no_pod_namespace"));
    }

    /// Its numbers may be there for minutes, and are not those of the one that has its name now.
    #[test]
    fn a_pod_that_is_gone_is_told_from_one_that_was_never_seen() {
        let mut index = index();
        index.scalers.replace(&Kind::HORIZONTAL_POD_AUTOSCALER, []);
        index
            .owners
            .replace(&Kind::POD, [pod("1", "a", "qwen"), pod("2", "b", "qwen")]);
        index.owners.remove(&Kind::POD, "1");
        assert_eq!(ask(&index, "a", None), "gone");
        // One of that name comes back, and is another's.
        index.owners.apply(&Kind::POD, pod("3", "a", "none"));
        assert_eq!(ask(&index, "a", None), "no_variant");
        // The list after an outage lacks what went meanwhile.
        index.owners.replace(&Kind::POD, [pod("3", "a", "none")]);
        assert_eq!(ask(&index, "b", None), "gone");
        // While nothing is heard, it may be back.
        let now = Clock::manual(Timestamp::from_secs_f64(0.0)).0.now();
        let failure = Failure::Other {
            detail: "reset".into(),
        };
        index.owners.fail(&Kind::POD, failure, now);
        assert_eq!(ask(&index, "b", None), "unknown_pod");
        assert_eq!(ask(&index, "c", None), "unknown_pod");
    }

    #[test]
    fn what_may_not_be_listed_leaves_the_label() {
        let mut index = index();
        let now = Clock::manual(Timestamp::from_secs_f64(0.0)).0.now();
        let detail = "pods is forbidden".to_owned();
        index.owners.fail(&Kind::POD, Failure::Forbidden { detail }, now);
        assert_eq!(ask(&index, "a", Some("label")), "label");
        assert_eq!(ask(&index, "a", None), "forbidden");
    }

    #[test]
    fn the_pods_of_a_variant_are_known_only_when_all_that_could_be_its_own_are() {
        let mut index = index();
        index.scalers.replace(&Kind::HORIZONTAL_POD_AUTOSCALER, []);
        let starting = Object {
            state: PodState::Starting("crash loop".into()),
            ..pod("2", "b", "qwen")
        };
        let ending = Object {
            state: PodState::Ending,
            ..pod("3", "c", "qwen")
        };
        index
            .owners
            .replace(&Kind::POD, [pod("1", "a", "qwen"), starting.clone(), ending]);
        let ask = |index: &ClusterIndex, name: &str| {
            let variants = ClusterVariants::new(shared(index), [(variant("configured"), deployment("qwen"))]);
            let now = variants.snapshot();
            let pods = now.pods_of(&variant(name))?;
            let mut told: Vec<_> = pods
                .iter()
                .map(|pod| format!("{} {:?}", pod.name, pod.starting))
                .collect();
            told.sort();
            Some(told)
        };
        let expected = vec!["a None".to_owned(), "b Some(\"crash loop\")".to_owned()];
        assert_eq!(ask(&index, "configured"), Some(expected.clone()));
        // Whether its workload is to have none, nobody has said, nor whether it is there.
        assert_eq!(ask(&index, "other"), None);
        // It was ready once, and is expected from then on.
        index.owners.apply(&Kind::POD, pod("2", "b", "qwen"));
        index.owners.apply(&Kind::POD, starting);
        assert_eq!(
            ask(&index, "configured"),
            Some(vec!["a None".to_owned(), "b None".to_owned()])
        );
        // Its ReplicaSet is to have pods, and they cannot be made.
        let replica_set = |state| Object {
            state,
            ..pod("4", "chat-7d4b9c6f5", "chat")
        };
        let mut wanting = index.clone();
        wanting.owners = OwnerIndex::new([Kind::REPLICA_SET]);
        wanting.owners.replace(&Kind::POD, []);
        for (state, expected) in [(PodState::Serving, None), (PodState::Ending, Some(vec![]))] {
            wanting.owners.replace(&Kind::REPLICA_SET, [replica_set(state)]);
            let variants = ClusterVariants::new(shared(&wanting), [(variant("chat"), deployment("chat"))]);
            let now = variants.snapshot();
            assert_eq!(now.pods_of(&variant("chat")), expected);
            assert_eq!(now.pods_of(&variant("other")), None);
        }
        // One whose owner has not been seen may be anybody's.
        index.owners = OwnerIndex::new([Kind::DEPLOYMENT]);
        index.owners.replace(&Kind::DEPLOYMENT, []);
        index.owners.replace(&Kind::POD, [pod("1", "a", "qwen")]);
        assert_eq!(ask(&index, "configured"), None);
        assert_eq!(ask(&index, "other"), None);
    }
}
