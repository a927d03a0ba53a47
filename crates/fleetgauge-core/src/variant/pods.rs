//! What ties pods to variants, be it their names or a cluster that knows their owners.
//!
//! Whoever joins numbers with variants does not care which it is. What is asked within one join is asked of one index, so
//! that all rows are judged alike: a pod that changed hands in the midst of a sum would be in neither variant's.

use std::fmt;
use std::sync::Arc;

use super::index::VariantIndex;
use super::mapping::Mapping;
use super::name::{PodRef, VariantRef};
use crate::pod::VariantPod;

/// Knows, and goes on knowing, which variant each pod belongs to.
pub trait PodVariants: fmt::Debug + Send + Sync {
    /// What is known at this moment. It may keep whoever changes it waiting, so it is to be given back soon, and not asked
    /// for again before that.
    fn snapshot(&self) -> Box<dyn PodIndex + '_>;
}

/// How many replicas a variant is to have, and has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replicas {
    /// So many it is to have.
    pub desired: u32,
    /// So many there are.
    pub current: u32,
    /// So many of them are ready.
    pub ready: u32,
}

/// Which variant each pod belongs to, at one moment.
pub trait PodIndex: fmt::Debug {
    /// The variant that the pod belongs to; `labelled` is the one that a label names.
    fn variant_of(&self, pod: PodRef<'_>, labelled: Option<&VariantRef>) -> Mapping;

    /// The pods from which a variant's numbers are expected, and those that are starting. `None` where that is not known: names
    /// do not tell which pods there are.
    fn pods_of(&self, _variant: &VariantRef) -> Option<Vec<VariantPod<'_>>> {
        None
    }

    /// How many replicas a variant has. `None` where that is not known: names do not tell.
    fn replicas_of(&self, _variant: &VariantRef) -> Option<Replicas> {
        None
    }
}

// === by name ===

/// A label comes before the name.
impl PodIndex for VariantIndex {
    fn variant_of(&self, pod: PodRef<'_>, labelled: Option<&VariantRef>) -> Mapping {
        labelled.map_or_else(
            || self.variant_for(pod),
            |variant| Mapping::Mapped(variant.clone()),
        )
    }
}

impl PodVariants for VariantIndex {
    fn snapshot(&self) -> Box<dyn PodIndex + '_> {
        Box::new(self)
    }
}

// === whatever points to one ===

impl<T: PodIndex + ?Sized> PodIndex for &T {
    fn variant_of(&self, pod: PodRef<'_>, labelled: Option<&VariantRef>) -> Mapping {
        (**self).variant_of(pod, labelled)
    }

    fn pods_of(&self, variant: &VariantRef) -> Option<Vec<VariantPod<'_>>> {
        (**self).pods_of(variant)
    }

    fn replicas_of(&self, variant: &VariantRef) -> Option<Replicas> {
        (**self).replicas_of(variant)
    }
}

impl<T: PodIndex + ?Sized> PodIndex for Arc<T> {
    fn variant_of(&self, pod: PodRef<'_>, labelled: Option<&VariantRef>) -> Mapping {
        (**self).variant_of(pod, labelled)
    }

    fn pods_of(&self, variant: &VariantRef) -> Option<Vec<VariantPod<'_>>> {
        (**self).pods_of(variant)
    }

    fn replicas_of(&self, variant: &VariantRef) -> Option<Replicas> {
        (**self).replicas_of(variant)
    }
}

impl<T: PodVariants + ?Sized> PodVariants for Arc<T> {
    fn snapshot(&self) -> Box<dyn PodIndex + '_> {
        (**self).snapshot()
    }
}
