//! Pods joined to variants, and those of a variant folded.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::rows::{NAMED, ages, begun, listed, push_points};
use super::step::{TransformError, VariantFold};
use crate::age::Age;
use crate::completeness::{Completeness, Report};
use crate::label::{Labels, METRIC_NAME};
use crate::pod::PodIdentity;
use crate::policy::Fold;
use crate::result::{Answer, AnswerBuilder, AnswerKind, Series};
use crate::sample::Stamp;
use crate::time::Timestamp;
use crate::variant::{
    Candidates, Mapping, PodIndex, PodLabels, Told, UnmappedReason, VARIANT_LABEL, VariantRef,
};

/// The label that holds the variant of a row that was folded.
pub const VARIANT: &str = "variant";
/// The label that holds, of a row that belongs to no variant, the reason in one word.
pub const UNMAPPED: &str = "unmapped";

/// A variant in one cluster: two of one name in two clusters are two.
type Key<'a> = (VariantRef, Identity<'a>);

/// Labels that identify something: a row by all but the metric name.
pub(super) type Identity<'a> = Vec<(&'a str, &'a str)>;

/// Whose a row is.
pub(super) enum Owner {
    Variant(VariantRef),
    /// Any of these.
    Ambiguous(Candidates),
    Nobody(UnmappedReason),
    /// The same server is there once more, with the label that names its variant.
    Twice,
    /// By its name it is the variant's that is asked about, and by its label this one's.
    Disputed(VariantRef),
}

/// A row that belongs to no variant.
pub(super) struct Stray<'a> {
    row: usize,
    series: Series<'a>,
    word: &'static str,
    reason: String,
}

/// The rows of another query, by which those of the answer count.
struct Weights<'a> {
    rows: HashMap<Identity<'a>, (usize, Series<'a>)>,
    ages: Option<Vec<Age>>,
    is_sampled: bool,
}

/// What keeps means from being whole, each once.
#[derive(Default)]
struct Unweighted(BTreeSet<String>);

/// What the rows of a variant become.
struct Folded {
    points: Vec<(f64, Timestamp)>,
    age: Age,
}

/// The rows of each variant in the place of their own.
pub(super) fn fold(
    answer: Answer,
    fold: &VariantFold,
    weights: Option<&Answer>,
    index: &dyn PodIndex,
) -> Result<Answer, TransformError> {
    let weighted = match (fold, weights) {
        (VariantFold::WeightedBy(query), Some(weights)) => Some((query, weights, Weights::new(weights)?)),
        _ => None,
    };
    let kind = match fold {
        VariantFold::By(kind) => *kind,
        VariantFold::WeightedBy(_) => Fold::Mean,
    };
    let is_matrix = answer.kind() == AnswerKind::Matrix;
    let row_ages = ages(&answer);
    let mut variants: BTreeMap<Key<'_>, Vec<(usize, Series<'_>)>> = BTreeMap::new();
    let mut strays: Vec<Stray<'_>> = Vec::new();
    let mut pods: BTreeSet<Identity<'_>> = BTreeSet::new();
    for (row, series, owner) in owners(&answer, index) {
        // Its numbers are nobody's any more, and nobody lacks them.
        if matches!(owner, Owner::Nobody(UnmappedReason::Gone)) {
            continue;
        }
        pods.insert(pod(&answer, series.labels()));
        match owner {
            Owner::Variant(variant) => {
                let key = (variant, cluster(&answer, series.labels()));
                variants.entry(key).or_default().push((row, series));
            }
            nobody => strays.push(Stray::new(row, series, &nobody)),
        }
    }
    let mut builder = begun(&answer);
    let mut unweighted = Unweighted::default();
    for ((variant, cluster), rows) in &variants {
        let folded = match &weighted {
            None => folded(kind, is_matrix, rows, row_ages.as_deref()),
            Some((_, _, weights)) => weights.folded(is_matrix, rows, row_ages.as_deref(), &mut unweighted),
        };
        cluster
            .iter()
            .for_each(|(name, value)| builder.label(name, value));
        builder.label("namespace", variant.namespace());
        builder.label(VARIANT, variant.name());
        end(&mut builder, &answer, folded.points.into_iter())?;
        if row_ages.is_some() {
            builder.age(folded.age);
        }
    }
    for stray in &strays {
        let kept = stray.series.labels().iter().filter(|(name, _)| *name != UNMAPPED);
        kept.for_each(|(name, value)| builder.label(name, value));
        builder.label(UNMAPPED, stray.word);
        let points = stray.series.points().map(|point| (point.value, point.timestamp));
        end(&mut builder, &answer, points)?;
        if let Some(ages) = &row_ages {
            builder.age(ages[stray.row]);
        }
    }
    if let Some((query, told, weights)) = &weighted {
        if !weights.is_sampled {
            builder.set_stamp(Stamp::Evaluated);
        }
        weights.unused(is_matrix, &answer, &mut unweighted);
        unweighted.tell(query, &mut builder);
        let tell = match told.is_complete() {
            true => AnswerBuilder::warning,
            false => AnswerBuilder::missing,
        };
        told.warnings()
            .for_each(|warning| tell(&mut builder, &format!("{query}: {warning}")));
    }
    if !strays.is_empty() {
        let known = answer.completeness().map(|known| &**known);
        builder.completeness(Arc::new(lowered(&answer, known, &strays, pods.len())));
    }
    Ok(answer.with_rows(builder.build()))
}

/// The rows of `answer`, and whose they are. A row whose query drops the label that names the variant is whose its pod is by
/// the labels under which it is known who reports.
pub(super) fn owners<'a>(
    answer: &'a Answer,
    index: &'a dyn PodIndex,
) -> impl Iterator<Item = (usize, Series<'a>, Owner)> {
    let labels = PodLabels::default();
    let is_labelled = labelled(answer);
    let told = Told::of(answer);
    answer.series().enumerate().map(move |(row, series)| {
        let of_row = series.labels();
        let is_plain = of_row.get(VARIANT_LABEL).is_none();
        let told = is_plain.then(|| told.mapping(labels.pod_in(of_row)?, index));
        let owner = match told.flatten() {
            _ if is_plain && is_labelled.contains(&identity(of_row, &[VARIANT_LABEL])) => Owner::Twice,
            Some(mapping) => mapping.into(),
            None => labels.mapping(of_row, index).into(),
        };
        (row, series, owner)
    })
}

fn end(
    builder: &mut AnswerBuilder,
    answer: &Answer,
    points: impl Iterator<Item = (f64, Timestamp)>,
) -> Result<(), TransformError> {
    push_points(builder, answer, points).map_err(|error| TransformError::Label {
        why: error.to_string(),
    })
}

/// Who reported of those that are `known`, without those whose rows belong to no variant.
pub(super) fn lowered(
    answer: &Answer,
    known: Option<&Completeness>,
    strays: &[Stray<'_>],
    pods: usize,
) -> Completeness {
    let mut completeness = match known {
        Some(known) => known.clone(),
        None => {
            let mut completeness = Completeness::unknown();
            (0..pods).for_each(|_| completeness.add("", Report::Reported));
            completeness
        }
    };
    for (who, stray) in of_each_pod(answer, strays) {
        completeness.lose(&who, &stray.reason);
    }
    completeness
}

/// `known`, and those whose rows may be theirs and that do not count in it; `absent` count as missing.
pub(super) fn joined(
    answer: &Answer,
    mut known: Completeness,
    absent: &[&PodIdentity],
    strays: &[Stray<'_>],
) -> Completeness {
    let absent: HashSet<_> = absent
        .iter()
        .map(|pod| (pod.namespace.as_deref(), &*pod.name))
        .collect();
    for (who, stray) in of_each_pod(answer, strays) {
        let labels = stray.series.labels();
        let pod = labels.get("pod").map(|pod| (labels.get("namespace"), pod));
        if pod.is_none_or(|pod| !absent.contains(&pod)) {
            known.add(&who, Report::Missing(&stray.reason));
        }
    }
    known
}

/// The first of each pod, with what it is called.
fn of_each_pod<'s, 'a>(
    answer: &'s Answer,
    strays: &'s [Stray<'a>],
) -> impl Iterator<Item = (String, &'s Stray<'a>)> {
    let mut known: BTreeSet<Identity<'a>> = BTreeSet::new();
    let first = strays
        .iter()
        .filter(move |stray| known.insert(pod(answer, stray.series.labels())));
    first.map(|stray| {
        let labels = stray.series.labels();
        let who = match labels.get("pod") {
            Some(pod) => format!("pod {pod}"),
            None => labels.to_string(),
        };
        (who, stray)
    })
}

/// The labels that tell the cluster of a row of `answer`.
pub(super) fn cluster<'a>(answer: &Answer, labels: Labels<'a>) -> Identity<'a> {
    let labels = labels.iter();
    labels.filter(|(name, _)| answer.is_of_cluster(name)).collect()
}

/// What tells the pod of a row of `answer` from others; all its labels, where it names none.
pub(super) fn pod<'a>(answer: &Answer, labels: Labels<'a>) -> Identity<'a> {
    match labels.get("pod") {
        Some(_) => {
            let is_of_pod = |name: &str| matches!(name, "namespace" | "pod") || answer.is_of_cluster(name);
            labels.iter().filter(|(name, _)| is_of_pod(name)).collect()
        }
        None => identity(labels, &[]),
    }
}

fn identity<'a>(labels: Labels<'a>, without: &[&str]) -> Identity<'a> {
    let stays = |name: &str| name != METRIC_NAME && !without.contains(&name);
    labels.iter().filter(|(name, _)| stays(name)).collect()
}

/// The rows that a label assigns to a variant, but for that label.
fn labelled(answer: &Answer) -> BTreeSet<Identity<'_>> {
    let labels = answer.series().map(|series| series.labels());
    let labelled = labels.filter(|labels| labels.get(VARIANT_LABEL).is_some());
    labelled
        .map(|labels| identity(labels, &[VARIANT_LABEL]))
        .collect()
}

/// The values of `rows` at each time: those of a matrix by time, and otherwise all together, at the time of the oldest.
///
/// *Shape*: times, oldest first, each with the places in `rows` of those that have a value, and the values.
fn at_each_time(is_matrix: bool, rows: &[(usize, Series<'_>)]) -> BTreeMap<Timestamp, Vec<(usize, f64)>> {
    let mut times: BTreeMap<Timestamp, Vec<(usize, f64)>> = BTreeMap::new();
    for (place, (_, series)) in rows.iter().enumerate() {
        for point in series.points() {
            let of_time = times.entry(point.timestamp).or_default();
            of_time.push((place, point.value));
        }
    }
    if is_matrix || times.len() < 2 {
        return times;
    }
    let oldest = times.keys().next().copied().unwrap_or_default();
    BTreeMap::from([(oldest, times.into_values().flatten().collect())])
}

fn folded(kind: Fold, is_matrix: bool, rows: &[(usize, Series<'_>)], ages: Option<&[Age]>) -> Folded {
    let times = at_each_time(is_matrix, rows).into_iter();
    let points = times.filter_map(|(time, values)| {
        let value = kind.of(values.into_iter().map(|(_, value)| value))?;
        Some((value, time))
    });
    Folded {
        points: points.collect(),
        age: Age::oldest(rows.iter().filter_map(|(row, _)| ages?.get(*row).copied())),
    }
}

// === impl Owner ===

impl From<Mapping> for Owner {
    fn from(mapping: Mapping) -> Self {
        match mapping {
            Mapping::Mapped(variant) => Self::Variant(variant),
            Mapping::Ambiguous(candidates) => Self::Ambiguous(candidates),
            Mapping::Unmapped(reason) => Self::Nobody(reason),
        }
    }
}

/// Why a pod is not counted whose name is that of a variant's pods.
pub(super) fn disputed(labelled: &VariantRef) -> String {
    format!(
        "its name is that of a pod of this variant, and its label {VARIANT_LABEL} says that it belongs to {labelled}"
    )
}

// === impl Stray ===

impl<'a> Stray<'a> {
    pub(super) fn new(row: usize, series: Series<'a>, owner: &Owner) -> Self {
        let (word, reason) = match owner {
            Owner::Variant(variant) => ("variant", format!("it belongs to {variant}")),
            Owner::Ambiguous(candidates) => ("ambiguous", format!("ambiguous: {candidates}")),
            Owner::Nobody(reason) => (reason.reason(), reason.to_string()),
            Owner::Disputed(labelled) => ("disputed", disputed(labelled)),
            Owner::Twice => {
                let reason = format!("the same server is there once more, with the label {VARIANT_LABEL}");
                ("twice", reason)
            }
        };
        Self {
            row,
            series,
            word,
            reason,
        }
    }
}

// === impl Weights ===

impl<'a> Weights<'a> {
    /// *Errors*: [`TransformError::SameRows`] where two rows are of the same labels.
    fn new(answer: &'a Answer) -> Result<Self, TransformError> {
        let mut rows = HashMap::new();
        for (row, series) in answer.series().enumerate() {
            let identity = identity(series.labels(), &[]);
            if rows.insert(identity, (row, series)).is_some() {
                return Err(TransformError::SameRows {
                    step: "weighted_by",
                    labels: series.labels().to_string(),
                });
            }
        }
        Ok(Self {
            rows,
            ages: ages(answer),
            is_sampled: answer.stamp() == Stamp::Sampled,
        })
    }

    /// The weighted mean. It is NaN where not each value has a weight.
    fn folded(
        &self,
        is_matrix: bool,
        rows: &[(usize, Series<'_>)],
        ages: Option<&[Age]>,
        unweighted: &mut Unweighted,
    ) -> Folded {
        let weights: Vec<_> = rows
            .iter()
            .map(|(_, series)| {
                let found = self.rows.get(&identity(series.labels(), &[]));
                let points = found.map(|(_, series)| {
                    let points = series.points().map(|point| (point.timestamp, point.value));
                    points.collect::<HashMap<_, _>>()
                });
                (found, points.unwrap_or_default())
            })
            .collect();
        let weight_at = |place: usize, time: Timestamp| {
            let (_, points) = &weights[place];
            let weight = match is_matrix {
                true => points.get(&time),
                false => points.values().next(),
            };
            weight
                .copied()
                .filter(|weight| weight.is_finite() && *weight >= 0.0)
        };
        let mut points = Vec::new();
        let mut oldest_weight = None;
        for (time, values) in at_each_time(is_matrix, rows) {
            let (mut sum, mut all) = (0.0, 0.0);
            for (place, value) in values {
                match weight_at(place, time) {
                    Some(weight) => {
                        sum += value * weight;
                        all += weight;
                    }
                    None => {
                        unweighted.add(rows[place].1.labels(), "has no weight");
                        sum = f64::NAN;
                    }
                }
            }
            points.push((sum / all, time));
        }
        let mut age = Age::oldest(rows.iter().filter_map(|(row, _)| ages?.get(*row).copied()));
        for (found, times) in &weights {
            if let (Some((row, _)), Some(_)) = (found, ages) {
                let of_weight = self.ages.as_ref().and_then(|ages| ages.get(*row).copied());
                age = age.or_older(of_weight.unwrap_or(Age::UNKNOWN));
            }
            oldest_weight = oldest_weight.into_iter().chain(times.keys().copied()).min();
        }
        if let (false, true, Some(oldest), [point]) =
            (is_matrix, self.is_sampled, oldest_weight, &mut *points)
        {
            point.1 = point.1.min(oldest);
        }
        Folded { points, age }
    }

    /// Notes the rows that count, and whose value there is not.
    fn unused(&self, is_matrix: bool, answer: &Answer, unweighted: &mut Unweighted) {
        let valued: HashMap<_, _> = answer
            .series()
            .map(|series| (identity(series.labels(), &[]), series))
            .collect();
        for (identity, (_, weights)) in &self.rows {
            let times: BTreeSet<Timestamp> = match valued.get(identity) {
                Some(_) if !is_matrix => continue,
                Some(series) => series.points().map(|point| point.timestamp).collect(),
                None => BTreeSet::new(),
            };
            let mut counting = weights.points().filter(|point| point.value > 0.0);
            if counting.any(|point| !times.contains(&point.timestamp)) {
                unweighted.add(weights.labels(), "counts, and has no value");
            }
        }
    }
}

// === impl Unweighted ===

impl Unweighted {
    fn add(&mut self, labels: Labels<'_>, why: &str) {
        self.0.insert(format!("{labels} {why}"));
    }

    /// What is not in a mean could have changed it.
    fn tell(&self, query: &str, builder: &mut AnswerBuilder) {
        if !self.0.is_empty() {
            let some: Vec<_> = self.0.iter().take(NAMED).cloned().collect();
            let listed = listed(&some, self.0.len());
            builder.missing(&format!("the mean weighted by {query} is not whole: {listed}"));
        }
    }
}
