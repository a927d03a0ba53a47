//! Which variant a pod belongs to: one, several that are equally right, or none, with the reason.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use super::name::VariantRef;

/// The answer to "which variant does this pod belong to?".
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Mapping {
    /// This one, and the names allow no other.
    Mapped(VariantRef),
    /// Any of these; the names do not tell which. Taking the first would charge one variant with another's
    /// load.
    Ambiguous(Candidates),
    /// None that is registered.
    Unmapped(UnmappedReason),
}

/// The variants that a pod can belong to: at least two, sorted.
///
/// Cheap to clone. Reads like a slice.
#[derive(Clone, PartialEq, Eq)]
pub struct Candidates(Arc<Vec<VariantRef>>);

/// Why a pod, or a value, belongs to no variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum UnmappedReason {
    /// No variant is registered at all.
    NoVariants,
    /// No variant is registered in the pod's namespace.
    UnknownNamespace,
    /// No registered workload's controller gives its pods such a name.
    NoWorkloadFits,
    /// The series has no label that names a pod.
    NoPodLabel,
    /// The series has a label that names its variant, and none that names the namespace.
    NoNamespaceLabel,
    /// The label that names the variant holds what is not a variant's name.
    BadVariantLabel,
    /// The series names a pod, and no namespace by which the cluster could know it.
    NoPodNamespace,
    /// The cluster has not told yet which pods, owners or variants there are.
    IndexNotReady,
    /// The cluster may not be asked for what tells it.
    Forbidden,
    /// The cluster has no such pod.
    UnknownPod,
    /// The pod was there and is not any more.
    Gone,
    /// Nothing controls the pod.
    NoController,
    /// What controls the pod has not been seen.
    OwnerNotSeen,
    /// The pod's owners own each other.
    OwnersInACircle,
    /// Nothing scales what owns the pod, as the cluster has it.
    NoVariant,
}

// === impl Mapping ===

impl Mapping {
    /// The variant, where there is exactly one.
    pub fn variant(&self) -> Option<&VariantRef> {
        match self {
            Mapping::Mapped(variant) => Some(variant),
            Mapping::Ambiguous(_) | Mapping::Unmapped(_) => None,
        }
    }

    /// Any of `variants`, of which there are two or more; of one it is that one.
    pub fn ambiguous(mut variants: Vec<VariantRef>) -> Self {
        match (variants.pop(), variants.is_empty()) {
            (None, _) => Mapping::Unmapped(UnmappedReason::NoVariant),
            (Some(variant), true) => Mapping::Mapped(variant),
            (Some(variant), false) => {
                variants.push(variant);
                Mapping::Ambiguous(Candidates::new(variants))
            }
        }
    }

    /// One word for why there is not exactly one variant, bounded for use as a label value.
    pub fn reason(&self) -> Option<&'static str> {
        match self {
            Mapping::Mapped(_) => None,
            Mapping::Ambiguous(_) => Some("ambiguous"),
            Mapping::Unmapped(reason) => Some(reason.reason()),
        }
    }
}

impl fmt::Display for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mapping::Mapped(variant) => write!(f, "{variant}"),
            Mapping::Ambiguous(candidates) => write!(f, "ambiguous: {candidates}"),
            Mapping::Unmapped(reason) => write!(f, "unmapped: {reason}"),
        }
    }
}

// === impl Candidates ===

impl Candidates {
    /// Takes two variants or more.
    pub(super) fn new(mut candidates: Vec<VariantRef>) -> Self {
        debug_assert!(candidates.len() > 1);
        candidates.sort_unstable();
        Self(Arc::new(candidates))
    }

    /// All that `mappings` name, if they are two or more.
    pub(crate) fn of(mappings: &[Mapping]) -> Option<Self> {
        let mut all: Vec<_> = mappings
            .iter()
            .flat_map(|mapping| match mapping {
                Mapping::Mapped(variant) => std::slice::from_ref(variant),
                Mapping::Ambiguous(candidates) => &**candidates,
                Mapping::Unmapped(_) => &[],
            })
            .cloned()
            .collect();
        all.sort_unstable();
        all.dedup();
        (all.len() > 1).then(|| Self::new(all))
    }

    pub(super) fn insert(&mut self, variant: VariantRef) {
        let at = self.0.partition_point(|other| *other < variant);
        Arc::make_mut(&mut self.0).insert(at, variant);
    }

    /// Removes a variant, and answers the one that is left if it is the only one.
    pub(super) fn remove(&mut self, variant: &VariantRef) -> Option<VariantRef> {
        if let Ok(at) = self.0.binary_search(variant) {
            Arc::make_mut(&mut self.0).remove(at);
        }
        match &**self {
            [last] => Some(last.clone()),
            _ => None,
        }
    }
}

impl Deref for Candidates {
    type Target = [VariantRef];

    fn deref(&self) -> &[VariantRef] {
        &self.0
    }
}

impl<'a> IntoIterator for &'a Candidates {
    type Item = &'a VariantRef;
    type IntoIter = std::slice::Iter<'a, VariantRef>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl fmt::Debug for Candidates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

/// As `a/x or b/y`; after five the rest is only counted.
impl fmt::Display for Candidates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self[..self.len().min(5)];
        for (i, variant) in shown.iter().enumerate() {
            let separator = if i == 0 { "" } else { " or " };
            write!(f, "{separator}{variant}")?;
        }
        match self.len() - shown.len() {
            0 => Ok(()),
            more => write!(f, " or {more} more"),
        }
    }
}

// === impl UnmappedReason ===

impl UnmappedReason {
    /// Whether the pod is for sure none of any variant's that is known.
    pub fn is_nobodys(self) -> bool {
        use UnmappedReason::{Gone, NoController, NoVariant, UnknownNamespace};
        matches!(self, UnknownNamespace | Gone | NoController | NoVariant)
    }

    /// One word for the reason, bounded for use as a label value.
    pub fn reason(self) -> &'static str {
        match self {
            UnmappedReason::NoVariants => "no_variants",
            UnmappedReason::UnknownNamespace => "unknown_namespace",
            UnmappedReason::NoWorkloadFits => "no_workload_fits",
            UnmappedReason::NoPodLabel => "no_pod_label",
            UnmappedReason::NoNamespaceLabel => "no_namespace_label",
            UnmappedReason::BadVariantLabel => "bad_variant_label",
            UnmappedReason::NoPodNamespace => "no_pod_namespace",
            UnmappedReason::IndexNotReady => "index_not_ready",
            UnmappedReason::Forbidden => "forbidden",
            UnmappedReason::UnknownPod => "unknown_pod",
            UnmappedReason::Gone => "gone",
            UnmappedReason::NoController => "no_controller",
            UnmappedReason::OwnerNotSeen => "owner_not_seen",
            UnmappedReason::OwnersInACircle => "owners_in_a_circle",
            UnmappedReason::NoVariant => "no_variant",
        }
    }
}

impl fmt::Display for UnmappedReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            UnmappedReason::NoVariants => "no variant is registered",
            UnmappedReason::UnknownNamespace => "no variant is registered in the pod's namespace",
            UnmappedReason::NoWorkloadFits => "no registered workload names its pods like this",
            UnmappedReason::NoPodLabel => "the series has no label that names a pod",
            UnmappedReason::NoNamespaceLabel => {
                "the series has a label that names its variant, and none that names the namespace"
            }
            UnmappedReason::BadVariantLabel => "the label that names the variant holds no variant's name",
            UnmappedReason::NoPodNamespace => "the series names a pod, and not the namespace that it is in",
            UnmappedReason::IndexNotReady => {
                "the cluster has not told yet which pods, owners and variants there are"
            }
            UnmappedReason::Forbidden => "the cluster may not be asked whose pods are whose",
            UnmappedReason::UnknownPod => "the cluster has no such pod",
            UnmappedReason::Gone => "the pod is gone",
            UnmappedReason::NoController => "nothing controls the pod",
            UnmappedReason::OwnerNotSeen => "what controls the pod has not been seen yet",
            UnmappedReason::OwnersInACircle => "the owners of the pod own each other",
            UnmappedReason::NoVariant => "no variant scales what owns the pod",
        })
    }
}
