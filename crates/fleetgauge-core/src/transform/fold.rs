//! The rows of an answer as one number, as the query says that they fold: all of them, or those of one variant's pods.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fleetgauge_syntax::rewrite;

use super::by_variant::{Identity, Owner, Stray, cluster, disputed, joined, lowered, owners, pod};
use super::rows::{NAMED, ages, begun, listed};
use crate::age::Age;
use crate::completeness::{Completeness, Meant, Report};
use crate::pod::{PodIdentity, VariantPod};
use crate::query::Folds;
use crate::result::{Answer, AnswerBuilder, Ended, Provenance, Series};
use crate::time::Timestamp;
use crate::variant::{PodIndex, PodLabels, PodRef, UnmappedReason, VariantRef, mapping_of, named_by};

/// The label of a row whose numbers belong to all variants of a model, as those of an endpoint picker do.
pub const SCOPE: &str = "scope";
/// Its value.
pub const SCOPE_MODEL: &str = "model";

type Rows<'a> = Vec<(usize, Series<'a>)>;

/// The rows of a vector as one without labels: those of a pod as `folds.pod` says, and what they become as
/// `folds.variant` says.
///
/// A row that has ended, of a pod that is known to be no more, is left out: what it says is of a past that is over.
///
/// *Shape*: one row, or none of none. It is NaN where one of them is, as old as the oldest, and of its time.
pub fn fold(answer: &Answer, folds: Folds) -> Answer {
    let mut builder = begun(answer);
    let gone = Gone::of(answer);
    let mut rows: Rows<'_> = answer.series().enumerate().collect();
    gone.leave_out(&mut rows, &mut builder);
    add(&mut builder, answer, folds, &rows);
    answer.clone().with_rows(builder.build())
}

/// The rows that concern `variant`: those of its own pods as one, and those without a pod, which belong to its model, as
/// another with the label [`SCOPE`]. Rows of several clusters stay apart, and keep the label that tells them.
///
/// Rows of other variants' pods are left out, and so are those pods from the completeness, where all rows are of pods, stand
/// on no other pod, and all who are expected are known to be pods. Those whose pod may be any variant's, or none's that is
/// known, may be its own: they lower the completeness, and never raise it. So do those whose name and label contradict
/// each other. Where `index` knows which pods the variant has, these are who is expected: one that the source has not heard of is
/// missing, one that has not been ready yet is starting, and of one that is leaving nothing is missed.
pub fn fold_for_variant(answer: &Answer, folds: Folds, variant: &VariantRef, index: &dyn PodIndex) -> Answer {
    let mut own: BTreeMap<(bool, Identity<'_>), Rows<'_>> = BTreeMap::new();
    let mut strays = Vec::new();
    let gone = Gone::of(answer);
    let mut has_nobodys = false;
    for (row, series, owner) in owners(answer, index) {
        let owner = match owner {
            Owner::Variant(labelled) if &labelled != variant => {
                match is_by_name(PodLabels::default().pod_in(series.labels()), variant, index) {
                    true => Owner::Disputed(labelled),
                    false => continue,
                }
            }
            owner => owner,
        };
        let is_of_model = match &owner {
            Owner::Nobody(UnmappedReason::NoPodLabel) => true,
            Owner::Variant(_) => false,
            owner if is_of_another(owner, variant) => {
                has_nobodys |= matches!(owner, Owner::Nobody(reason) if *reason != UnmappedReason::Gone);
                continue;
            }
            _ if gone.0.contains_key(&row) => continue,
            _ => {
                strays.push(Stray::new(row, series, &owner));
                continue;
            }
        };
        let cluster = cluster(answer, series.labels());
        own.entry((is_of_model, cluster)).or_default().push((row, series));
    }
    let mut builder = begun(answer);
    own.values_mut()
        .for_each(|rows| gone.leave_out(rows, &mut builder));
    for ((is_of_model, cluster), rows) in &own {
        cluster
            .iter()
            .for_each(|(name, value)| builder.label(name, value));
        if *is_of_model {
            builder.label(SCOPE, SCOPE_MODEL);
        }
        add(&mut builder, answer, folds, rows);
    }
    if own.keys().any(|(is_of_model, _)| *is_of_model) && would_name_pods(answer) {
        builder.warning(
            "rows that do not name a pod count as the model's: the query keeps the label pod, and the series do not have it; is \
             it lost in relabeling, or not set by discovery?",
        );
    }
    let ended = own_ended(answer, own.values().flatten());
    let of_all = answer.completeness().map(|known| &**known);
    // A number of the model, and that there is none, stand on the pods of all its variants.
    let is_by_pod = !answer.is_empty() && own.keys().all(|(is_of_model, _)| !is_of_model);
    let expected = index.pods_of(variant);
    let meant = |pod: &PodIdentity| meant(pod, variant, index);
    let of_variant = match (&expected, of_all) {
        (Some(pods), Some(known)) if is_by_pod || own.is_empty() && known.is_of_nobody() => {
            known.of_expected(pods, meant)
        }
        (None, Some(known)) if is_by_pod => known.of_pods(meant),
        (Some(pods), None)
            if !pods.is_empty() && (is_by_pod || own.is_empty()) && has_row_for_each_pod(answer) =>
        {
            Some((of_rows(answer, pods), Vec::new()))
        }
        // It has none, and of those that others have nobody is missing who could have told of this one.
        (Some(pods), known)
            if pods.is_empty() && own.is_empty() && known.is_none_or(Completeness::is_whole) =>
        {
            Some((Completeness::known(), Vec::new()))
        }
        _ => None,
    };
    let of_variant =
        of_variant.or_else(|| Some((of_all.filter(|known| known.is_of_nobody())?.clone(), Vec::new())));
    // What nobody's pods tell, as those of an endpoint picker do, may be this variant's; and who does not know which pods it
    // has does not know that it has none.
    let is_sure = expected.is_some_and(|pods| pods.is_empty()) && !has_nobodys;
    if let Some((known, absent)) = of_variant {
        let known = joined(answer, known, &absent, &strays);
        builder.completeness(Arc::new(if is_sure { known } else { known.with_others() }));
    } else if !strays.is_empty() {
        let pods = answer.series().map(|series| pod(answer, series.labels()));
        let pods: BTreeSet<Identity<'_>> = pods.collect();
        builder.completeness(Arc::new(lowered(answer, of_all, &strays, pods.len())));
    }
    let folded = answer.clone().with_rows(builder.build());
    match ended {
        Some(ended) => folded.with_ended(ended),
        None => folded,
    }
}

/// Which of the pods of `rows` have ended, where the answer tells of others as well.
fn own_ended<'a>(answer: &Answer, rows: impl Iterator<Item = &'a (usize, Series<'a>)>) -> Option<Ended> {
    let told = answer.provenance()?;
    let rows = rows.filter(|(row, _)| told.age(*row).is_ended());
    let own: BTreeSet<_> = rows
        .filter_map(|(_, series)| Some((series.labels().get("namespace"), series.labels().get("pod")?)))
        .collect();
    let ended = told
        .ended()?
        .of_pods(|namespace, pod| own.contains(&(namespace, pod)));
    (!ended.is_empty()).then_some(ended)
}

/// The rows that have ended of pods that are known to be no more, as after scaling down in order.
struct Gone(BTreeMap<usize, String>);

impl Gone {
    fn of(answer: &Answer) -> Self {
        let ages = ages(answer).unwrap_or_default();
        let rows = answer.series().zip(&ages).enumerate();
        let gone = rows.filter_map(|(row, (series, age))| {
            let (labels, known) = (series.labels(), answer.completeness()?);
            let (namespace, pod) = (labels.get("namespace"), labels.get("pod")?);
            let is_gone = age.is_ended() && known.has_lost(namespace, pod, labels.get("instance"));
            is_gone.then(|| (row, format!("pod {pod}")))
        });
        Self(gone.collect())
    }

    /// Leaves their rows out of `rows`, unless all are theirs: that nobody is left is no number.
    fn leave_out(&self, rows: &mut Rows<'_>, builder: &mut AnswerBuilder) {
        let gone: BTreeSet<_> = rows.iter().filter_map(|(row, _)| self.0.get(row)).collect();
        if gone.is_empty() || rows.iter().all(|(row, _)| self.0.contains_key(row)) {
            return;
        }
        let some: Vec<_> = gone.iter().take(NAMED).map(|who| (*who).clone()).collect();
        let listed = listed(&some, gone.len());
        builder.warning(&format!(
            "left out, since they are gone, and only their past is there: {listed}"
        ));
        rows.retain(|(row, _)| !self.0.contains_key(row));
    }
}

/// Whether the rows would name a pod if the series did. What others make of a query, or of the rows of queries, is not
/// looked at.
fn would_name_pods(answer: &Answer) -> bool {
    let origin = answer.provenance().and_then(Provenance::origin);
    let text = origin
        .filter(|origin| origin.sent.is_empty())
        .map(|origin| &origin.text);
    let query = text.and_then(|text| fleetgauge_syntax::parse(text).ok());
    query.is_some_and(|query| rewrite::keeps(&query, "pod"))
}

/// Whether each pod with series that the query reads has a row.
fn has_row_for_each_pod(answer: &Answer) -> bool {
    let told = answer.provenance().filter(|told| told.is_as_sent());
    let text = told.and_then(Provenance::origin).map(|origin| &origin.text);
    let query = text.and_then(|text| fleetgauge_syntax::parse(text).ok());
    query.is_some_and(|query| rewrite::has_row_for_each(&query, "pod"))
}

/// Who of `expected` has reported, where nobody but the rows tells it: who has one that goes on.
fn of_rows(answer: &Answer, expected: &[VariantPod<'_>]) -> Completeness {
    let told = answer.provenance();
    let rows = answer.series().enumerate();
    let live = rows.filter(|(row, _)| !told.is_some_and(|told| told.age(*row).is_ended()));
    let live: BTreeSet<_> = live
        .filter_map(|(_, series)| {
            let labels = series.labels();
            Some((labels.get("namespace")?, labels.get("pod")?))
        })
        .collect();
    let mut known = Completeness::known();
    for pod in expected {
        let label = |label: &str| match label {
            "namespace" => Some(pod.namespace),
            "pod" => Some(pod.name),
            _ => None,
        };
        let report = match pod.starting {
            _ if live.contains(&(pod.namespace, pod.name)) => Report::Reported,
            Some(why) => Report::Starting(why),
            None => Report::Missing(
                "the cluster has it, and the server has no sample of it: it is not scraped there, or not yet",
            ),
        };
        if let Some(identity) = PodIdentity::of(label).map(Arc::new) {
            known.add_pod(&identity, &identity.to_string(), report);
        }
    }
    known
}

/// What a pod is to `variant`.
fn meant(pod: &PodIdentity, variant: &VariantRef, index: &dyn PodIndex) -> Meant {
    match Owner::from(mapping_of(pod, index)) {
        Owner::Variant(labelled) if &labelled != variant => {
            match is_by_name(Some(named_by(pod)), variant, index) {
                true => Meant::Disputed(disputed(&labelled)),
                false => Meant::Other,
            }
        }
        Owner::Variant(_) => Meant::Own,
        owner if is_of_another(&owner, variant) => Meant::Other,
        _ => Meant::Perhaps,
    }
}

/// Whether without its label a pod could be nobody's but `variant`'s.
fn is_by_name(pod: Option<PodRef<'_>>, variant: &VariantRef, index: &dyn PodIndex) -> bool {
    pod.is_some_and(|pod| index.variant_of(pod, None).variant() == Some(variant))
}

/// Whether it is for sure none of `variant`'s.
fn is_of_another(owner: &Owner, variant: &VariantRef) -> bool {
    match owner {
        Owner::Variant(owner) => owner != variant,
        Owner::Ambiguous(candidates) => !candidates.contains(variant),
        Owner::Nobody(reason) => reason.is_nobodys(),
        Owner::Twice | Owner::Disputed(_) => false,
    }
}

/// Adds what `rows` become to the row whose labels were added.
fn add(builder: &mut AnswerBuilder, answer: &Answer, folds: Folds, rows: &[(usize, Series<'_>)]) {
    let ages = ages(answer);
    let mut pods: BTreeMap<_, Vec<f64>> = BTreeMap::new();
    let mut oldest: Option<Timestamp> = None;
    for (_, series) in rows {
        for point in series.points() {
            pods.entry(pod(answer, series.labels()))
                .or_default()
                .push(point.value);
            oldest = oldest.into_iter().chain([point.timestamp]).min();
        }
    }
    let of_pods = pods.into_values().filter_map(|values| folds.pod.of(values));
    let (Some(value), Some(time)) = (folds.variant.of(of_pods), oldest) else {
        return;
    };
    // Labels of an answer are labels.
    let _ = builder.end_series(value, time);
    if let Some(ages) = ages {
        builder.age(Age::oldest(
            rows.iter().filter_map(|(row, _)| ages.get(*row).copied()),
        ));
    }
}
