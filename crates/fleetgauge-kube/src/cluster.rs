//! All that is known of a cluster at one moment.

use fleetgauge_core::variant::VariantRef;

use crate::miss::Miss;
use crate::owner::OwnerIndex;
use crate::scaler::ScalerIndex;

/// What is known of a cluster: what is read of it at once belongs together.
#[derive(Clone, Debug)]
pub struct ClusterIndex {
    /// Who controls a pod.
    pub owners: OwnerIndex,
    /// What scales a workload.
    pub scalers: ScalerIndex,
}

// === impl ClusterIndex ===

impl ClusterIndex {
    /// Whether it is known of every kind what there is, or that it will not be known.
    pub fn is_ready(&self) -> bool {
        self.owners.is_ready() && self.scalers.is_ready()
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
