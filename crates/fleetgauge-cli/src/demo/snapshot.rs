//! What is known of the fleet at one moment.

use std::sync::Arc;
use std::time::Duration;

use fleetgauge_core::result::{Answer, AnswerBuilder, MetricResult};
use fleetgauge_core::sample::Stamp;
use fleetgauge_core::time::Timestamp;
use fleetgauge_core::transform::{self, EvaluatedAt, TransformContext, TransformStep, VariantFold};
use fleetgauge_core::variant::{VARIANT_LABEL, VariantIndex, VariantRef};

use super::metric::{FIRST_TOKEN_RATE, Metric};

/// What is known of the fleet at one moment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Snapshot {
    pub(crate) at: Timestamp,
    /// By variant, in the order of the fleet; within one the pods that are gone last.
    pub(crate) pods: Vec<PodView>,
    /// In the order of the fleet.
    pub(crate) variants: Vec<VariantView>,
    /// What keeps the collector itself from working.
    pub(crate) problem: Option<String>,
}

/// What is known of one pod.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PodView {
    pub(crate) namespace: String,
    pub(crate) pod: String,
    pub(crate) variant: Option<VariantRef>,
    /// What is wrong with the pod as a whole.
    pub(crate) reason: Option<String>,
    /// Since the newest sample of it.
    pub(crate) age: Option<Duration>,
    /// As [`Metric::ALL`].
    pub(crate) cells: [Cell; 4],
    /// First tokens per second: how much the pod's mean counts.
    pub(crate) weight: Option<f64>,
    pub(crate) state: PodState,
    /// Whether it has told all that it can, rates included, or why it cannot.
    pub(crate) settled: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PodState {
    Listed,
    /// No longer among the pods that there are.
    Gone,
    /// There, and without an engine: an endpoint picker.
    NoEngine,
}

/// One number of one pod, or why there is none.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Cell {
    pub(crate) status: Status,
    pub(crate) value: Option<f64>,
    pub(crate) age: Option<Duration>,
    pub(crate) reason: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// Measured, and fresh.
    Value,
    /// The pod does not tell, or not yet.
    NoData,
    /// NaN or ±Inf.
    Undefined,
    /// Measured, but not lately.
    Stale,
    /// It could not be had.
    Error,
}

/// The pods of one variant together.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct VariantView {
    pub(crate) variant: VariantRef,
    /// How many pods of it there are.
    pub(crate) pods: usize,
    /// As [`Metric::ALL`].
    pub(crate) totals: [TotalView; 4],
}

/// One number for a variant, over the pods whose numbers are known and fresh.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TotalView {
    pub(crate) value: Option<f64>,
    /// How many pods are in it.
    pub(crate) counted: usize,
    /// Why there is no number, or why it is not the whole.
    pub(crate) reason: Option<String>,
}

// === impl Snapshot ===

impl Snapshot {
    /// Whether every pod has told all that it can, or why it cannot.
    pub(crate) fn is_settled(&self) -> bool {
        self.problem.is_none() && self.pods.iter().all(|pod| pod.settled)
    }
}

// === impl PodView ===

impl PodView {
    pub(crate) fn cell(&self, metric: Metric) -> &Cell {
        &self.cells[metric as usize]
    }
}

/// The reason for what has not been scraped.
pub(crate) const NOT_YET: &str = "no data yet: not scraped";

// === impl Cell ===

impl Cell {
    pub(crate) fn no_data(reason: impl Into<String>) -> Self {
        Self {
            status: Status::NoData,
            value: None,
            age: None,
            reason: Some(reason.into()),
        }
    }

    pub(crate) fn error(reason: impl Into<String>) -> Self {
        Self {
            status: Status::Error,
            ..Self::no_data(reason)
        }
    }

    /// The number, where it may be computed with.
    pub(crate) fn fresh(&self) -> Option<f64> {
        self.value.filter(|_| self.status == Status::Value)
    }
}

// === impl Status ===

impl Status {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Value => "value",
            Self::NoData => "no_data",
            Self::Undefined => "undefined",
            Self::Stale => "stale",
            Self::Error => "error",
        }
    }
}

// === impl VariantView ===

impl VariantView {
    /// The totals of `variant` over those of `pods` that are its own and there.
    pub(crate) fn new(variant: VariantRef, pods: &[PodView]) -> Self {
        let own: Vec<_> = pods
            .iter()
            .filter(|pod| pod.variant.as_ref() == Some(&variant) && pod.state != PodState::Gone)
            .collect();
        Self {
            variant,
            pods: own.len(),
            totals: Metric::ALL.map(|metric| total(metric, &own)),
        }
    }

    pub(crate) fn total(&self, metric: Metric) -> &TotalView {
        &self.totals[metric as usize]
    }
}

/// Only over numbers that are known and fresh; how many these are is told beside the total. A sum over none
/// is not a number, and not zero.
fn total(metric: Metric, pods: &[&PodView]) -> TotalView {
    let known: Vec<_> = pods
        .iter()
        .filter_map(|pod| Some((*pod, pod.cell(metric).fresh()?)))
        .collect();
    let value = folded(metric, &known, pods);
    let is_mean = matches!(metric.fold(), VariantFold::WeightedBy(_));
    let (counted, all) = (known.len(), pods.len());
    let reason = match value {
        Some(_) if counted == all || is_mean && only_idle(metric, pods) => None,
        Some(_) => Some(format!("{counted} of {all} pods")),
        None => Some(why_none(metric, pods, counted)),
    };
    TotalView {
        value,
        counted,
        reason,
    }
}

/// Whether those without a mean are those without requests: they are no part of a mean over requests.
fn only_idle(metric: Metric, pods: &[&PodView]) -> bool {
    pods.iter()
        .all(|pod| pod.cell(metric).fresh().is_some() || is_idle(pod))
}

fn is_idle(pod: &PodView) -> bool {
    pod.weight == Some(0.0)
}

/// What the source's own transformation makes of the values that are known. `None` of none, and where not each mean has a
/// weight.
fn folded(metric: Metric, known: &[(&PodView, f64)], pods: &[&PodView]) -> Option<f64> {
    let weights = pods.iter().filter_map(|pod| Some((*pod, pod.weight?)));
    let weights = MetricResult::new(
        FIRST_TOKEN_RATE.parse().ok()?,
        Timestamp::default(),
        answer(weights)?,
    );
    let context = TransformContext {
        at: EvaluatedAt::Once(Timestamp::default()),
        variants: &VariantIndex::new(),
        weights: &[Arc::new(weights)],
    };
    let by_variant = [TransformStep::ByVariant(metric.fold())];
    let folded = transform::apply(&by_variant, answer(known.iter().copied())?, context).ok()?;
    let value = folded.values().next()?.value;
    value.is_finite().then_some(value)
}

/// A row for each pod, which names its variant.
fn answer<'a>(values: impl IntoIterator<Item = (&'a PodView, f64)>) -> Option<Answer> {
    let mut answer = AnswerBuilder::new(Stamp::Evaluated);
    for (pod, value) in values {
        let labels = [
            ("namespace", &*pod.namespace),
            ("pod", &*pod.pod),
            (VARIANT_LABEL, pod.variant.as_ref()?.name()),
        ];
        answer.series(labels, value, Timestamp::default()).ok()?;
    }
    Some(answer.build())
}

fn why_none(metric: Metric, pods: &[&PodView], counted: usize) -> String {
    if pods.is_empty() {
        return "no pods".to_owned();
    }
    if counted > 0 {
        return "the pods' shares in the mean are not known".to_owned();
    }
    // What all say alike says the variant.
    let mut reasons = pods.iter().filter_map(|pod| pod.cell(metric).reason.as_deref());
    match reasons.next() {
        Some(first) if reasons.all(|reason| reason == first) => first.to_owned(),
        _ => "no pod has a value".to_owned(),
    }
}
