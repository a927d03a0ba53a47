//! Which variant a pod belongs to.
//!
//! An autoscaler scales variants, but servers report by pod. The mapper ties the two together from names
//! alone, without asking the Kubernetes API: each controller names its pods by a fixed rule, so a pod's name
//! tells which workloads it can belong to. The rules and their sources stand in `variant/naming.rs`.
//!
//! It never guesses. A pod that fits several variants is [`Ambiguous`](Mapping::Ambiguous), with all of them;
//! one that fits none is [`Unmapped`](Mapping::Unmapped), with the reason. What names cannot show is whether
//! a workload exists that was never registered: its pods are taken for another's if they look like that
//! other's, as the pods `llama-0-1` of a StatefulSet `llama-0` look like those of a LeaderWorkerSet `llama`.
//!
//! A server with several ranks is several endpoints to the endpoint picker, which names them after the pod:
//! `llama-7d9c5b6f4-x2x9z-rank-3`. Such a name stands for the pod without the suffix, unless the names of a
//! registered workload's pods look like that as they stand, as those of a StatefulSet `llama-rank` do.
//!
//! # Beside the Go original
//! | seed | here |
//! |---|---|
//! | `NewPodVAMapper()` | [`PodVaMapper::new`] |
//! | `Register("llama-8b-autoscaler", "default", "llama-deployment")` | [`PodVaMapper::register`], the same arguments |
//! | `GetVAForPod(pod)` | [`PodVaMapper::variant_for_pod`], or [`variant_for_pod_in`](PodVaMapper::variant_for_pod_in) where the namespace is known |
//! | "filter metrics by VariantAutoscaling resource" | [`PodVaMapper::join`] |
//!
//! The seed's `llama-deployment-abc123-xyz` is not a name that Kubernetes gives to a pod: hashes hold no `a`,
//! `1` or `3`, and five characters end the name. It is unmapped here.

mod index;
mod join;
mod mapping;
mod name;
mod naming;
mod pods;
mod told;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

pub use self::index::{RegisterVariantError, VariantIndex};
pub use self::join::{AmbiguousValue, PodLabels, UnmappedValue, VariantJoin};
pub use self::mapping::{Candidates, Mapping, UnmappedReason};
pub use self::name::{KubernetesNameError, PodRef, VariantRef, Workload, WorkloadKind};
pub use self::pods::{PodIndex, PodVariants, Replicas};
pub(crate) use self::told::{Told, mapping_of, named_by};

pub use crate::pod::{VARIANT_LABEL, VariantPod};
use crate::result::MetricResult;

/// Ties pods to the variants that they belong to.
///
/// Cheap to clone; clones show the same variants. Readers take no lock and never wait: a change is made on a
/// copy of the index, which then takes the index's place. So a change costs time in proportion to the number
/// of variants; for many changes take [`update`](Self::update) or [`replace_all`](Self::replace_all), which
/// copy once.
///
/// ```
/// use fleetgauge_core::variant::{Mapping, PodVaMapper, Workload};
///
/// let mapper = PodVaMapper::new();
/// let llama = mapper.register("llama-8b-autoscaler", "default", "llama-deployment")?;
/// let qwen = mapper.register("qwen-autoscaler", "default", Workload::stateful_set("qwen"))?;
///
/// assert_eq!(mapper.variant_for_pod("llama-deployment-7d9c5b6f4-x2x9z"), Mapping::Mapped(llama));
/// assert_eq!(mapper.variant_for_pod_in("default", "qwen-0"), Mapping::Mapped(qwen.clone()));
/// assert_eq!(mapper.variant_for_pod_in("prod", "qwen-0").reason(), Some("unknown_namespace"));
///
/// // Nobody can tell whose pods these are now.
/// let second = mapper.register("qwen-autoscaler", "prod", Workload::stateful_set("qwen"))?;
/// let Mapping::Ambiguous(candidates) = mapper.variant_for_pod("qwen-0") else { panic!() };
/// assert_eq!(*candidates, [qwen, second]);
/// # Ok::<(), fleetgauge_core::variant::RegisterVariantError>(())
/// ```
#[derive(Clone, Default)]
pub struct PodVaMapper(Arc<Inner>);

#[derive(Default)]
struct Inner {
    index: ArcSwap<VariantIndex>,
    /// Held by the one who changes the index.
    writer: Mutex<()>,
}

// === impl PodVaMapper ===

impl PodVaMapper {
    /// A mapper without variants.
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers the variant `name` in `namespace` with the workload that it scales; a workload's name alone
    /// is a Deployment.
    ///
    /// *Errors*: [`RegisterVariantError`], also where the variant is registered with this very workload;
    /// [`replace`](Self::replace) takes either case.
    pub fn register(
        &self,
        name: &str,
        namespace: &str,
        workload: impl Into<Workload>,
    ) -> Result<VariantRef, RegisterVariantError> {
        let variant = VariantRef::new(namespace, name)?;
        self.update(|index| index.register(variant.clone(), workload))?;
        Ok(variant)
    }

    /// Registers a variant, or gives a registered one another workload. Answers the workload before.
    ///
    /// *Errors*: [`KubernetesNameError`] for the workload's name.
    pub fn replace(
        &self,
        variant: VariantRef,
        workload: impl Into<Workload>,
    ) -> Result<Option<Workload>, KubernetesNameError> {
        self.update(|index| index.replace(variant, workload))
    }

    /// Removes a variant. Answers the workload that it was registered with, if it was.
    pub fn remove(&self, variant: &VariantRef) -> Option<Workload> {
        // `Err` publishes nothing: there is nothing to publish for a variant that was not there.
        self.update(|index| index.remove(variant).ok_or(())).ok()
    }

    /// Makes many changes at once. Readers see all of them or none; with an error, none are made.
    ///
    /// Other writers wait meanwhile. Calling a writing method of this mapper from `change` never returns.
    pub fn update<T, E>(&self, change: impl FnOnce(&mut VariantIndex) -> Result<T, E>) -> Result<T, E> {
        let _writer = self.0.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let mut index = VariantIndex::clone(&self.0.index.load());
        let changed = change(&mut index)?;
        self.0.index.store(Arc::new(index));
        Ok(changed)
    }

    /// Puts `index` in the place of all that was registered, as after listing every variant anew.
    pub fn replace_all(&self, index: VariantIndex) {
        let _writer = self.0.writer.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.index.store(Arc::new(index));
    }

    /// The variant that the pod belongs to, in whichever namespace. `GetVAForPod` of the Go original.
    pub fn variant_for_pod(&self, pod: &str) -> Mapping {
        self.variant_for(PodRef::new(pod))
    }

    /// The variant that the pod belongs to.
    pub fn variant_for_pod_in(&self, namespace: &str, pod: &str) -> Mapping {
        self.variant_for(PodRef::new(pod).in_namespace(namespace))
    }

    /// The variant that the pod belongs to. Allocates nothing where that is exactly one.
    pub fn variant_for(&self, pod: PodRef<'_>) -> Mapping {
        self.0.index.load().variant_for(pod)
    }

    /// Sorts the values of `result` by the variants that their pods belong to; the pods are named by the
    /// labels `namespace` and `pod`.
    pub fn join<'a>(&self, result: &'a MetricResult) -> VariantJoin<'a> {
        self.join_by(result, &PodLabels::default())
    }

    /// Sorts the values of `result` by the variants that their pods belong to; the pods are named by
    /// `labels`.
    pub fn join_by<'a>(&self, result: &'a MetricResult, labels: &PodLabels) -> VariantJoin<'a> {
        // One index for all the values, so that they are judged alike while a writer is at work.
        VariantJoin::new(result, &self.0.index.load(), labels)
    }

    /// The variants at this moment, for several questions that must be answered alike.
    pub fn snapshot(&self) -> Arc<VariantIndex> {
        self.0.index.load_full()
    }
}

impl PodVariants for PodVaMapper {
    fn snapshot(&self) -> Box<dyn PodIndex + '_> {
        Box::new(PodVaMapper::snapshot(self))
    }
}

impl fmt::Debug for PodVaMapper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PodVaMapper").field(&self.snapshot()).finish()
    }
}
