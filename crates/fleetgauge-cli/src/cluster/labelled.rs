//! Pods by their labels, in the words of the door that asks for them.

use std::collections::BTreeMap;

use fleetgauge_kube::pod_labels::PodLabelsWatch;
use fleetgauge_server::door::kubernetes::pods::{Pod, PodLabels, PodsUnknown};

/// Those of the cluster.
pub(super) struct Labelled(pub(super) PodLabelsWatch);

// === impl Labelled ===

impl PodLabels for Labelled {
    fn select(
        &self,
        namespace: &str,
        is_selected: &dyn Fn(&BTreeMap<String, String>) -> bool,
    ) -> Result<Vec<Pod>, PodsUnknown> {
        let selected = self.0.select(namespace, is_selected).map_err(PodsUnknown)?;
        let pods = selected.into_iter().map(|pod| Pod {
            name: pod.name,
            is_expected: pod.is_expected,
        });
        Ok(pods.collect())
    }
}
