//! What a cluster tells of pods and variants, for whoever joins numbers with them.
//!
//! The cluster's word comes first: what controls a pod, and what scales that. Then a label that names the variant, and then
//! the workloads that a configuration names. Names of pods are never parsed. What the cluster does not know, or does not know yet,
//! is told as such, so that no number is made of it.

use std::sync::Arc;

use fleetgauge_core::variant::{Mapping, PodIndex, PodRef, PodVariants, UnmappedReason, VariantRef};
use tokio::sync::watch;

use crate::cluster::ClusterIndex;
use crate::miss::Miss;
use crate::object::Owner;
use crate::scaler::Workload;

/// A watched cluster, and the variants that a configuration names besides.
///
/// Cheap to clone; clones know the same.
#[derive(Clone, Debug)]
pub struct ClusterVariants {
    index: watch::Receiver<ClusterIndex>,
    configured: Arc<[(VariantRef, Workload)]>,
}

/// What is known at one moment; whoever changes it waits meanwhile.
#[derive(Debug)]
struct Now<'a> {
    index: watch::Ref<'a, ClusterIndex>,
    configured: &'a [(VariantRef, Workload)],
}

// === impl ClusterVariants ===

impl ClusterVariants {
    /// Those of `index`, and those that are `configured` where nothing in the cluster says otherwise.
    pub fn new(
        index: watch::Receiver<ClusterIndex>,
        configured: impl IntoIterator<Item = (VariantRef, Workload)>,
    ) -> Self {
        Self {
            index,
            configured: configured.into_iter().collect(),
        }
    }
}

impl PodVariants for ClusterVariants {
    fn snapshot(&self) -> Box<dyn PodIndex + '_> {
        Box::new(Now {
            index: self.index.borrow(),
            configured: &self.configured,
        })
    }
}

// === impl Now ===

impl PodIndex for Now<'_> {
    fn variant_of(&self, pod: PodRef<'_>, labelled: Option<&VariantRef>) -> Mapping {
        variant_of(&self.index, self.configured, pod, labelled)
    }
}

fn variant_of(
    index: &ClusterIndex,
    configured: &[(VariantRef, Workload)],
    pod: PodRef<'_>,
    labelled: Option<&VariantRef>,
) -> Mapping {
    let Some(namespace) = pod.namespace() else {
        return Mapping::Unmapped(UnmappedReason::NoPodNamespace);
    };
    let owners = match index.owners.owners(namespace, pod.name()) {
        Ok(owners) => owners,
        Err(miss) => return otherwise(labelled, miss, index.owners.is_gone(namespace, pod.name())),
    };
    match index.scalers.variant(namespace, &owners) {
        Ok(variant) => Mapping::Mapped(variant.clone()),
        Err(Miss::NoVariant) if labelled.is_none() => configured_for(configured, namespace, &owners),
        Err(miss) => otherwise(labelled, miss, false),
    }
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

fn configured_for(configured: &[(VariantRef, Workload)], namespace: &str, owners: &[&Owner]) -> Mapping {
    let is_owner = |workload: &Workload| {
        let mut owners = owners.iter();
        owners.any(|owner| owner.kind == workload.kind && owner.name == workload.name)
    };
    let found = configured
        .iter()
        .filter(|(variant, workload)| variant.namespace() == namespace && is_owner(workload));
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
    use crate::object::{Kind, Object};
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
        }
    }

    fn index() -> ClusterIndex {
        ClusterIndex {
            owners: OwnerIndex::new([]),
            scalers: ScalerIndex::new([Kind::HORIZONTAL_POD_AUTOSCALER]),
        }
    }

    /// The variant of a pod, by name or reason.
    fn ask(index: &ClusterIndex, pod: &str, labelled: Option<&str>) -> String {
        let configured = [(variant("configured"), deployment("qwen"))];
        let pod = PodRef::new(pod).in_namespace("chat");
        let labelled = labelled.map(variant);
        match variant_of(index, &configured, pod, labelled.as_ref()) {
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
            model: None,
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
        let anywhere = variant_of(&index, &[], PodRef::new("a"), None);
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
}
