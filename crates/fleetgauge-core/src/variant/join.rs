//! A query's values, sorted by variant.
//!
//! Nothing is added up here and nothing is left out: a sum over no values is zero, and a sum that silently
//! misses a pod is wrong. Each value is under its variant, or ambiguous, or unmapped, and in one of these
//! only.

use std::borrow::Cow;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::index::{Found, VariantIndex};
use super::mapping::{Candidates, Mapping, UnmappedReason};
use super::name::{PodRef, VariantRef};
use super::pods::PodIndex;
use super::told::{Told, named};
use crate::label::Labels;
use crate::pod::VARIANT_LABEL;
use crate::result::MetricResult;
use crate::sample::MetricValue;

/// The labels that name a series' pod.
///
/// *Shape*: by default `namespace` and `pod`, as scraping with the Prometheus operator sets them, and the label of llm-d
/// that names the variant.
///
/// Metrics that one pod reports *about* others carry the reporter's name in `pod`. The endpoint picker's name
/// the model server in `endpoint_name`, formerly `pod_name`:
///
/// ```
/// use fleetgauge_core::variant::PodLabels;
///
/// let about_endpoints = PodLabels::default().with_pod(["endpoint_name", "pod_name"]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PodLabels {
    /// The label that holds the namespace. Series without it are looked up in all namespaces.
    pub namespace: Option<Cow<'static, str>>,
    /// The labels that may hold the pod's name: the first that a series has counts.
    pub pod: Vec<Cow<'static, str>>,
    /// The label that holds the name of the variant. A series that has it belongs to that variant, in the namespace that
    /// its labels name, whatever its pod is called, and whether or not the variant is registered. Default:
    /// [`VARIANT_LABEL`].
    pub variant: Option<Cow<'static, str>>,
}

/// The values of one answer, each under its variant, ambiguous or unmapped.
///
/// ```
/// use fleetgauge_core::result::{AnswerBuilder, MetricResult};
/// use fleetgauge_core::sample::Stamp;
/// use fleetgauge_core::time::Timestamp;
/// use fleetgauge_core::variant::PodVaMapper;
///
/// let mapper = PodVaMapper::new();
/// let llama = mapper.register("llama-8b-autoscaler", "default", "llama-deployment")?;
/// let idle = mapper.register("idle-autoscaler", "default", "idle")?;
///
/// let now = Timestamp::from_secs_f64(1763930000.5);
/// let mut answer = AnswerBuilder::new(Stamp::Evaluated);
/// answer.series([("namespace", "default"), ("pod", "llama-deployment-7d9c5b6f4-x2x9z")], 3.0, now)?;
/// answer.series([("namespace", "default"), ("pod", "stranger")], 1.0, now)?;
/// let result = MetricResult::new("queue_length".parse()?, now, answer.build());
///
/// let join = mapper.join(&result);
/// assert_eq!(join.for_variant(&llama).unwrap()[0].value, 3.0);
/// assert!(join.for_variant(&idle).is_none(), "no value, which is not an empty queue");
/// assert_eq!(join.unmapped()[0].reason.to_string(), "no registered workload names its pods like this");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct VariantJoin<'a> {
    /// Each variant with the end of its values, which start where those of the one before end; sorted.
    variants: Vec<(VariantRef, usize)>,
    values: Vec<MetricValue<'a>>,
    ambiguous: Vec<AmbiguousValue<'a>>,
    unmapped: Vec<UnmappedValue<'a>>,
}

/// A value whose pod fits several variants.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct AmbiguousValue<'a> {
    /// The value.
    pub value: MetricValue<'a>,
    /// The pod.
    pub pod: PodRef<'a>,
    /// The variants that the pod fits.
    pub candidates: Candidates,
}

/// A value that belongs to no variant.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct UnmappedValue<'a> {
    /// The value.
    pub value: MetricValue<'a>,
    /// The pod, where the series names one.
    pub pod: Option<PodRef<'a>>,
    /// Why the value belongs to no variant.
    pub reason: UnmappedReason,
}

// === impl PodLabels ===

impl PodLabels {
    /// Takes the namespace from the label `name`, as `exported_namespace`.
    pub fn with_namespace(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.namespace = Some(name.into());
        self
    }

    /// Takes the namespace from no label: every pod is looked up in all namespaces.
    pub fn without_namespace(mut self) -> Self {
        self.namespace = None;
        self
    }

    /// Takes the pod from the first of the labels `names` that a series has.
    pub fn with_pod<N: Into<Cow<'static, str>>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.pod = names.into_iter().map(Into::into).collect();
        self
    }

    /// Takes the variant from the label `name`.
    pub fn with_variant(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.variant = Some(name.into());
        self
    }

    /// Takes the variant from no label: the names of pods alone tell it.
    pub fn without_variant(mut self) -> Self {
        self.variant = None;
        self
    }

    /// The pod that a value's labels name.
    pub fn pod_of<'a>(&self, value: &MetricValue<'a>) -> Option<PodRef<'a>> {
        self.pod_in(value.labels)
    }

    /// The pod that `labels` name.
    pub(crate) fn pod_in<'a>(&self, labels: Labels<'a>) -> Option<PodRef<'a>> {
        let pod = self.pod.iter().find_map(|name| labels.get(name))?;
        Some(PodRef::new(pod).in_namespace(self.namespace_in(labels).unwrap_or_default()))
    }

    fn namespace_in<'a>(&self, labels: Labels<'a>) -> Option<&'a str> {
        labels.get(self.namespace.as_ref()?)
    }

    /// The variant that a label names, or why what it holds is none.
    fn named_in(&self, labels: Labels<'_>) -> Option<Result<VariantRef, UnmappedReason>> {
        let name = labels.get(self.variant.as_ref()?)?;
        Some(named(name, self.namespace_in(labels)))
    }

    /// The variant of `index`, or the one that a label names, that a series with `labels` belongs to.
    pub(crate) fn mapping(&self, labels: Labels<'_>, index: &dyn PodIndex) -> Mapping {
        match (self.named_in(labels).transpose(), self.pod_in(labels)) {
            (Err(reason), _) => Mapping::Unmapped(reason),
            (Ok(labelled), Some(pod)) => index.variant_of(pod, labelled.as_ref()),
            (Ok(Some(variant)), None) => Mapping::Mapped(variant),
            (Ok(None), None) => Mapping::Unmapped(UnmappedReason::NoPodLabel),
        }
    }
}

impl Default for PodLabels {
    fn default() -> Self {
        Self {
            namespace: Some("namespace".into()),
            pod: vec!["pod".into()],
            variant: Some(VARIANT_LABEL.into()),
        }
    }
}

// === impl VariantJoin ===

impl<'a> VariantJoin<'a> {
    /// Sorts the values of `result` by the variants of `index`.
    pub fn new(result: &'a MetricResult, index: &VariantIndex, labels: &PodLabels) -> Self {
        let mut numbers: HashMap<VariantRef, usize, RandomState> = HashMap::default();
        let mut variants: Vec<(VariantRef, usize)> = Vec::new();
        let mut mapped: Vec<(usize, MetricValue<'a>)> = Vec::with_capacity(result.len());
        let mut ambiguous = Vec::new();
        let mut unmapped = Vec::new();
        let mut map = |variant: &VariantRef, value| {
            let number = numbers.get(variant).copied().unwrap_or_else(|| {
                numbers.insert(variant.clone(), variants.len());
                variants.push((variant.clone(), 0));
                variants.len() - 1
            });
            variants[number].1 += 1;
            mapped.push((number, value));
        };
        let told = labels.variant.is_some().then(|| Told::of(result.answer()));
        for value in result.values() {
            match labels.named_in(value.labels) {
                None => {}
                Some(Ok(variant)) => {
                    map(&variant, value);
                    continue;
                }
                Some(Err(reason)) => {
                    unmapped.push(UnmappedValue {
                        value,
                        pod: labels.pod_of(&value),
                        reason,
                    });
                    continue;
                }
            }
            let Some(pod) = labels.pod_of(&value) else {
                unmapped.push(UnmappedValue {
                    value,
                    pod: None,
                    reason: UnmappedReason::NoPodLabel,
                });
                continue;
            };
            // The query may have dropped the label that names the variant.
            let told = told.as_ref().and_then(|told| told.mapping(pod, index));
            let found = match told {
                Some(Mapping::Mapped(variant)) => {
                    map(&variant, value);
                    continue;
                }
                Some(Mapping::Ambiguous(candidates)) => Found::Several(candidates),
                Some(Mapping::Unmapped(reason)) => Found::Nothing(reason),
                None => index.find(pod),
            };
            match found {
                Found::One(variant) => map(variant, value),
                Found::Several(candidates) => ambiguous.push(AmbiguousValue {
                    value,
                    pod,
                    candidates,
                }),
                Found::Nothing(reason) => unmapped.push(UnmappedValue {
                    value,
                    pod: Some(pod),
                    reason,
                }),
            }
        }
        Self {
            values: group(&mut variants, &mapped),
            variants,
            ambiguous,
            unmapped,
        }
    }

    /// The variants that have values, sorted, each with its values in the backend's order.
    ///
    /// A variant without values is not among them: what it has is no data.
    pub fn variants(&self) -> impl ExactSizeIterator<Item = (&VariantRef, &[MetricValue<'a>])> {
        (0..self.variants.len()).map(|at| self.group_at(at))
    }

    /// The values of one variant: at least one, or `None`, which is no data and not zero.
    pub fn for_variant(&self, variant: &VariantRef) -> Option<&[MetricValue<'a>]> {
        let at = self
            .variants
            .binary_search_by(|(other, _)| other.cmp(variant))
            .ok()?;
        Some(self.group_at(at).1)
    }

    /// The values whose pods fit several variants, in the backend's order.
    pub fn ambiguous(&self) -> &[AmbiguousValue<'a>] {
        &self.ambiguous
    }

    /// The values that belong to no variant, in the backend's order.
    pub fn unmapped(&self) -> &[UnmappedValue<'a>] {
        &self.unmapped
    }

    /// Whether every value is under a variant, so that what the variants have is all there is.
    pub fn is_complete(&self) -> bool {
        self.ambiguous.is_empty() && self.unmapped.is_empty()
    }

    fn group_at(&self, at: usize) -> (&VariantRef, &[MetricValue<'a>]) {
        let start = at.checked_sub(1).map_or(0, |before| self.variants[before].1);
        let (variant, end) = &self.variants[at];
        (variant, &self.values[start..*end])
    }
}

/// Sorts `variants`, which come with the number of their values and go with the end of them, and puts the
/// values, which come with the number of their variant, into the same order.
fn group<'a>(
    variants: &mut Vec<(VariantRef, usize)>,
    mapped: &[(usize, MetricValue<'a>)],
) -> Vec<MetricValue<'a>> {
    // A counting sort: comparing names is for the variants alone.
    let mut order: Vec<usize> = (0..variants.len()).collect();
    order.sort_unstable_by(|&a, &b| variants[a].0.cmp(&variants[b].0));
    let mut next = vec![0; variants.len()];
    let mut end = 0;
    let sorted = order.iter().map(|&number| {
        let (variant, count) = &variants[number];
        next[number] = end;
        end += count;
        (variant.clone(), end)
    });
    *variants = sorted.collect();
    let mut places = vec![0; mapped.len()];
    for (at, (number, _)) in mapped.iter().enumerate() {
        places[next[*number]] = at;
        next[*number] += 1;
    }
    places.iter().map(|&at| mapped[at].1).collect()
}
