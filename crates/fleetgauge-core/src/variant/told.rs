//! Which pods have labels that name their variant, as it is known who reports: of rows whose query drops that label.

use std::collections::HashMap;

use super::mapping::{Candidates, Mapping, UnmappedReason};
use super::name::{PodRef, VariantRef};
use super::pods::PodIndex;
use crate::pod::PodIdentity;
use crate::result::Answer;

/// The pods whose labels name their variant, by their names.
pub(crate) struct Told<'a>(HashMap<&'a str, Vec<&'a PodIdentity>>);

/// The variant of `index`, or the one that a label names, that a pod belongs to.
pub(crate) fn mapping_of(pod: &PodIdentity, index: &dyn PodIndex) -> Mapping {
    let namespace = pod.namespace.as_deref();
    let labelled = pod.variant.as_deref().map(|variant| named(variant, namespace));
    match labelled.transpose() {
        Err(reason) => Mapping::Unmapped(reason),
        Ok(labelled) => index.variant_of(named_by(pod), labelled.as_ref()),
    }
}

/// A pod by its name alone, whatever its labels say.
pub(crate) fn named_by(pod: &PodIdentity) -> PodRef<'_> {
    PodRef::new(&pod.name).in_namespace(pod.namespace.as_deref().unwrap_or_default())
}

/// The variant that a label names, or why what it holds is none.
pub(super) fn named(name: &str, namespace: Option<&str>) -> Result<VariantRef, UnmappedReason> {
    let namespace = namespace.ok_or(UnmappedReason::NoNamespaceLabel)?;
    VariantRef::new(namespace, name).map_err(|_| UnmappedReason::BadVariantLabel)
}

// === impl Told ===

impl<'a> Told<'a> {
    pub(crate) fn of(answer: &'a Answer) -> Self {
        let mut told: HashMap<_, Vec<_>> = HashMap::new();
        let pods = answer.completeness().into_iter().flat_map(|known| known.pods());
        for pod in pods.filter(|pod| pod.variant.is_some()) {
            told.entry(&*pod.name).or_default().push(pod);
        }
        Self(told)
    }

    /// The variant that the labels of `pod` name, if they do.
    pub(crate) fn mapping(&self, pod: PodRef<'_>, index: &dyn PodIndex) -> Option<Mapping> {
        let same = self.0.get(pod.name())?.iter();
        let same = same.filter(|one| {
            let namespace = pod.namespace();
            namespace.is_none() || one.namespace.as_deref() == namespace
        });
        let mut mappings: Vec<_> = same.map(|pod| mapping_of(pod, index)).collect();
        mappings.dedup();
        match mappings.len() {
            0 | 1 => mappings.pop(),
            // They are several, and the row may be any one's, or all of theirs.
            _ => Some(Candidates::of(&mappings).map_or(
                Mapping::Unmapped(UnmappedReason::BadVariantLabel),
                Mapping::Ambiguous,
            )),
        }
    }
}
