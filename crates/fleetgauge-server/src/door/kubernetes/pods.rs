//! What the door has to know of pods, which the store does not: their own labels.

use std::collections::BTreeMap;

/// A pod, as far as metrics are concerned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// Whether it should report: it runs, and was ready once. One that starts has nothing to tell yet.
    pub is_expected: bool,
}

/// Why the pods of a namespace are not known, which is not "there are none".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PodsUnknown(pub String);

/// The pods of a cluster, as of now. Nobody is waited for.
pub trait PodLabels: Send + Sync + 'static {
    /// The pods of `namespace` of which `is_selected` takes their own labels.
    ///
    /// *Errors*: they are not known.
    fn select(
        &self,
        namespace: &str,
        is_selected: &dyn Fn(&BTreeMap<String, String>) -> bool,
    ) -> Result<Vec<Pod>, PodsUnknown>;
}

/// Of a cluster that nobody watches: no pod can be selected by its labels.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPodLabels;

// === impl NoPodLabels ===

impl PodLabels for NoPodLabels {
    fn select(
        &self,
        _: &str,
        _: &dyn Fn(&BTreeMap<String, String>) -> bool,
    ) -> Result<Vec<Pod>, PodsUnknown> {
        Err(PodsUnknown(
            "the labels of pods are not known to this server".to_owned(),
        ))
    }
}
