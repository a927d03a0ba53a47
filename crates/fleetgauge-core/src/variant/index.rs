//! The variants at one moment, filed under the names that their pods can have.
//!
//! A plain value: what reads and changes it is in one thread, so the hardest part is tested without any
//! other. [`PodVaMapper`](super::PodVaMapper) shares it.

use std::fmt;
use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::hash_table::Entry;
use hashbrown::{HashMap, HashTable};

use super::mapping::{Candidates, Mapping, UnmappedReason};
use super::name::{KubernetesNameError, PodRef, VariantRef, Workload};
use super::naming::{self, Fit, Rule};

/// The registered variants, and which pods are theirs.
///
/// *Cost*: a look-up takes at most six hash look-ups, however many variants there are; twelve for the name of
/// a rank.
#[derive(Clone, Default)]
pub struct VariantIndex {
    variants: HashMap<VariantRef, Workload, RandomState>,
    /// How many variants each namespace has.
    namespaces: HashMap<Arc<str>, usize, RandomState>,
    /// Each variant twice: under its namespace, and under none for pods whose namespace is not known.
    slots: HashTable<Slot>,
    hasher: RandomState,
}

/// Why a variant was not registered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterVariantError {
    /// A name that Kubernetes would not take.
    #[error(transparent)]
    Name(#[from] KubernetesNameError),
    /// The variant is registered, perhaps with another workload.
    #[error("variant {variant} is registered already, with {registered}")]
    Duplicate {
        /// The variant.
        variant: VariantRef,
        /// The workload that it is registered with.
        registered: Workload,
    },
}

/// What was found for a pod, without touching a reference count.
pub(super) enum Found<'a> {
    One(&'a VariantRef),
    Several(Candidates),
    Nothing(UnmappedReason),
}

/// The variants whose pods a rule names alike.
#[derive(Clone)]
struct Slot {
    /// Empty in the slots for pods whose namespace is not known.
    namespace: Arc<str>,
    rule: Rule,
    name: Arc<str>,
    variants: Variants,
}

/// Variants, sorted. Mostly it is one, which then needs no list.
#[derive(Clone)]
enum Variants {
    One(VariantRef),
    Several(Candidates),
}

// === impl VariantIndex ===

impl VariantIndex {
    /// An index without variants.
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers a variant with the workload that it scales; a name alone is a Deployment.
    ///
    /// Several variants may scale one workload. Its pods are then ambiguous.
    ///
    /// *Errors*: [`RegisterVariantError`], also where the variant is registered with this very workload; the
    /// index is then unchanged. [`replace`](Self::replace) takes either case.
    pub fn register(
        &mut self,
        variant: VariantRef,
        workload: impl Into<Workload>,
    ) -> Result<(), RegisterVariantError> {
        let workload = workload.into();
        workload.check()?;
        if let Some(registered) = self.variants.get(&variant) {
            let registered = registered.clone();
            return Err(RegisterVariantError::Duplicate { variant, registered });
        }
        self.insert(variant, workload);
        Ok(())
    }

    /// Registers a variant, or gives a registered one another workload. Answers the workload before.
    ///
    /// *Errors*: [`KubernetesNameError`], and then the index is unchanged.
    pub fn replace(
        &mut self,
        variant: VariantRef,
        workload: impl Into<Workload>,
    ) -> Result<Option<Workload>, KubernetesNameError> {
        let workload = workload.into();
        workload.check()?;
        let before = self.remove(&variant);
        self.insert(variant, workload);
        Ok(before)
    }

    /// Removes a variant. Answers the workload that it was registered with, if it was.
    pub fn remove(&mut self, variant: &VariantRef) -> Option<Workload> {
        let (variant, workload) = self.variants.remove_entry(variant)?;
        let fit = naming::filed_under(&workload);
        for namespace in [variant.namespace(), ""] {
            self.remove_slot(namespace, fit, &variant);
        }
        if let Some(variants) = self.namespaces.get_mut(variant.namespace()) {
            *variants -= 1;
            if *variants == 0 {
                self.namespaces.remove(variant.namespace());
            }
        }
        Some(workload)
    }

    /// The variant that a pod belongs to. Without a namespace, all namespaces' variants are candidates.
    pub fn variant_for(&self, pod: PodRef<'_>) -> Mapping {
        match self.find(pod) {
            Found::One(variant) => Mapping::Mapped(variant.clone()),
            Found::Several(candidates) => Mapping::Ambiguous(candidates),
            Found::Nothing(reason) => Mapping::Unmapped(reason),
        }
    }

    /// The workload that a variant is registered with.
    pub fn workload(&self, variant: &VariantRef) -> Option<&Workload> {
        self.variants.get(variant)
    }

    /// All variants with their workloads, sorted.
    pub fn list(&self) -> Vec<(&VariantRef, &Workload)> {
        let mut variants: Vec<_> = self.variants.iter().collect();
        variants.sort_unstable();
        variants
    }

    /// How many variants are registered.
    pub fn len(&self) -> usize {
        self.variants.len()
    }

    /// Whether no variant is registered.
    pub fn is_empty(&self) -> bool {
        self.variants.is_empty()
    }

    /// Pods that are known to belong to a variant by more than their name are to be looked up here, first.
    pub(super) fn find(&self, pod: PodRef<'_>) -> Found<'_> {
        let namespace = pod.namespace().unwrap_or_default();
        let found = self.find_named(namespace, pod.name());
        // A pod of that very name comes before a rank: the name may be a pod's, whose workload ends in `-rank`.
        let found = found.or_else(|| self.find_named(namespace, naming::pod_of_rank(pod.name())?));
        found.unwrap_or_else(|| Found::Nothing(self.why_nothing(namespace)))
    }

    /// What fits the name as it stands.
    fn find_named(&self, namespace: &str, pod: &str) -> Option<Found<'_>> {
        let mut found: Option<&Variants> = None;
        let mut more: Vec<VariantRef> = Vec::new();
        let mut hashed = ("", 0);
        for fit in naming::fits(pod) {
            // Several rules may read the same name, and the rule is not part of the hash.
            if !std::ptr::eq(hashed.0, fit.name) {
                hashed = (fit.name, self.hash(namespace, fit.name));
            }
            match (self.slot(hashed.1, namespace, fit), found) {
                (None, _) => {}
                (Some(slot), None) => found = Some(&slot.variants),
                (Some(slot), Some(_)) => more.extend_from_slice(slot.variants.as_slice()),
            }
        }
        Some(match found? {
            variants if !more.is_empty() => {
                more.extend_from_slice(variants.as_slice());
                Found::Several(Candidates::new(more))
            }
            Variants::One(variant) => Found::One(variant),
            Variants::Several(variants) => Found::Several(variants.clone()),
        })
    }

    fn slot(&self, hash: u64, namespace: &str, fit: Fit<'_>) -> Option<&Slot> {
        self.slots.find(hash, |slot| slot.is_for(namespace, fit))
    }

    fn hash(&self, namespace: &str, name: &str) -> u64 {
        self.hasher.hash_one((namespace, name))
    }

    #[cold]
    fn why_nothing(&self, namespace: &str) -> UnmappedReason {
        if self.is_empty() {
            UnmappedReason::NoVariants
        } else if !namespace.is_empty() && !self.namespaces.contains_key(namespace) {
            UnmappedReason::UnknownNamespace
        } else {
            UnmappedReason::NoWorkloadFits
        }
    }

    /// Files a variant that is not registered, with a workload whose name is valid.
    fn insert(&mut self, variant: VariantRef, workload: Workload) {
        let known = self.namespaces.get_key_value(variant.namespace());
        let namespace = known.map_or_else(|| variant.namespace().into(), |(namespace, _)| namespace.clone());
        *self.namespaces.entry(Arc::clone(&namespace)).or_insert(0) += 1;
        let fit = naming::filed_under(&workload);
        let name: Arc<str> = fit.name.into();
        for namespace in [namespace, Arc::default()] {
            let hash = self.hash(&namespace, &name);
            let rehash = |slot: &Slot| self.hasher.hash_one((&*slot.namespace, &*slot.name));
            match self
                .slots
                .entry(hash, |slot| slot.is_for(&namespace, fit), rehash)
            {
                Entry::Occupied(mut slot) => slot.get_mut().variants.add(variant.clone()),
                Entry::Vacant(slot) => {
                    slot.insert(Slot {
                        namespace: Arc::clone(&namespace),
                        rule: fit.rule,
                        name: Arc::clone(&name),
                        variants: Variants::One(variant.clone()),
                    });
                }
            }
        }
        self.variants.insert(variant, workload);
    }

    fn remove_slot(&mut self, namespace: &str, fit: Fit<'_>, variant: &VariantRef) {
        let hash = self.hash(namespace, fit.name);
        if let Ok(mut slot) = self.slots.find_entry(hash, |slot| slot.is_for(namespace, fit))
            && slot.get_mut().variants.remove(variant).is_empty()
        {
            slot.remove();
        }
    }
}

/// As the list of its variants.
impl fmt::Debug for VariantIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.list()).finish()
    }
}

// === impl RegisterVariantError ===

impl RegisterVariantError {
    /// One word for the variant, bounded for use as a label value.
    pub fn reason(&self) -> &'static str {
        match self {
            RegisterVariantError::Name(_) => "bad_name",
            RegisterVariantError::Duplicate { .. } => "duplicate",
        }
    }
}

// === impl Slot ===

impl Slot {
    fn is_for(&self, namespace: &str, fit: Fit<'_>) -> bool {
        // The addresses of empty texts are made up, and glibc's `memcmp` for AVX-512 takes 40 ns to find that
        // it must not read there. So these are not compared.
        let same_namespace = || match namespace {
            "" => self.namespace.is_empty(),
            _ => *self.namespace == *namespace,
        };
        self.rule == fit.rule && *self.name == *fit.name && same_namespace()
    }
}

// === impl Variants ===

impl Variants {
    fn as_slice(&self) -> &[VariantRef] {
        match self {
            Variants::One(variant) => std::slice::from_ref(variant),
            Variants::Several(variants) => variants,
        }
    }

    fn add(&mut self, variant: VariantRef) {
        match self {
            Variants::One(other) => {
                *self = Variants::Several(Candidates::new(vec![other.clone(), variant]));
            }
            Variants::Several(variants) => variants.insert(variant),
        }
    }

    /// What is left without `variant`.
    fn remove(&mut self, variant: &VariantRef) -> &[VariantRef] {
        match self {
            Variants::One(_) => &[],
            Variants::Several(variants) => {
                if let Some(last) = variants.remove(variant) {
                    *self = Variants::One(last);
                }
                self.as_slice()
            }
        }
    }
}
