//! All that is known of a cluster at one moment.

use std::collections::{BTreeMap, BTreeSet};

use fleetgauge_core::variant::VariantRef;

use crate::miss::Miss;
use crate::object::{Kind, PodState};
use crate::owner::OwnerIndex;
use crate::scaler::{ScalerIndex, Workload};
use crate::watched::{Fault, Listing, Watched};

/// What is known of a cluster: what is read of it at once belongs together.
///
/// Cheap to clone: a copy shares all that is the same, and stays as it is.
#[derive(Clone, Debug)]
pub struct ClusterIndex {
    /// Who controls a pod.
    pub owners: OwnerIndex,
    /// What scales a workload.
    pub scalers: ScalerIndex,
    /// How often it has changed.
    pub(crate) changes: u64,
}

// === impl ClusterIndex ===

impl ClusterIndex {
    /// Whether it is known of every kind what there is, or that it will not be known.
    pub fn is_ready(&self) -> bool {
        self.owners.is_ready() && self.scalers.is_ready()
    }

    /// One that has not changed since it was made.
    pub fn new(owners: OwnerIndex, scalers: ScalerIndex) -> Self {
        Self {
            owners,
            scalers,
            changes: 0,
        }
    }

    /// The kinds of which it is not known yet what there is, sorted.
    pub fn unknown(&self) -> Vec<Kind> {
        let kinds = self.told();
        let unknown = kinds.filter(|(_, listing, _)| *listing == Listing::NotYet);
        unknown
            .map(|(kind, _, _)| kind.clone())
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect()
    }

    /// What is wrong with what is known, by kind: of a right that is missing, the API server's own words, which name the verb
    /// and the resource.
    pub fn faults(&self) -> BTreeMap<Kind, String> {
        let faults = self
            .told()
            .filter_map(|(kind, _, fault)| Some((kind.clone(), fault?.detail.clone())));
        faults.collect()
    }

    fn told(&self) -> impl Iterator<Item = (&Kind, Listing, Option<&Fault>)> {
        let of_owners = self
            .owners
            .kinds()
            .map(|kind| (kind.kind(), kind.listing(), kind.fault()));
        let of_scalers = self
            .scalers
            .kinds()
            .map(|kind| (kind.kind(), kind.listing(), kind.fault()));
        of_owners.chain(of_scalers)
    }

    /// The variants that labels of pods alone name, which nothing scales, sorted; each with what its pods belong to, if there is
    /// such a thing.
    pub fn labelled_variants(&self) -> Vec<(VariantRef, Option<Workload>)> {
        let pods = self
            .owners
            .watched(&Kind::POD)
            .into_iter()
            .flat_map(Watched::objects);
        let labelled = pods.filter(|pod| pod.state != PodState::Ending);
        let labelled = labelled.filter_map(|pod| {
            let variant = VariantRef::new(&pod.namespace, pod.variant.as_deref()?).ok()?;
            let owners = self.owners.owners(&pod.namespace, &pod.name).unwrap_or_default();
            let is_scaled = self.scalers.has(&variant)
                || !matches!(
                    self.scalers.variant(&pod.namespace, &owners),
                    Err(Miss::NoVariant | Miss::Forbidden(_))
                );
            let workload = owners.last().map(|owner| Workload {
                kind: owner.kind.clone(),
                name: owner.name.clone(),
            });
            (!is_scaled).then_some((variant, workload))
        });
        let mut variants = BTreeMap::new();
        for (variant, workload) in labelled {
            // Of several the first by name, so that it is always the same one.
            let known = variants.entry(variant).or_insert_with(|| workload.clone());
            if workload.is_some() && (known.is_none() || workload < *known) {
                *known = workload;
            }
        }
        variants.into_iter().collect()
    }

    /// The variant that a pod belongs to, by what controls it and what scales that.
    ///
    /// # Errors
    /// When there is none, or more than one, or any of it is not known.
    pub fn variant(&self, namespace: &str, pod: &str) -> Result<&VariantRef, Miss> {
        let owners = self.owners.owners(namespace, pod)?;
        self.scalers.variant(namespace, &owners)
    }
}
