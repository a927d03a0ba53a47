//! One query of one metric, kept fresh.

use std::hash::{BuildHasher, Hash, Hasher};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fleetgauge_core::backend::FetchError;
use fleetgauge_core::cache::Lookup;
use fleetgauge_core::label::Labels;
use fleetgauge_core::params::Params;
use fleetgauge_core::reading::Found;
use fleetgauge_core::result::{AnswerKind, MetricResult};
use fleetgauge_core::source::RefreshSpec;
use fleetgauge_core::time::Moment;
use fleetgauge_core::transform::{fold, fold_for_variant};
use fleetgauge_core::variant::{Mapping, PodIndex, PodRef, UnmappedReason, VariantRef};
use foldhash::fast::FixedState;
use futures_util::FutureExt;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::fresh::Fresh;
use crate::metric::Metric;
use crate::store::{Entry, Part, Store};
use crate::variant::Variants;

/// How long the first refreshes are spread at most: readings are wanted soon after a start.
const FIRST_WITHIN: Duration = Duration::from_secs(1);

/// What was refreshed since the start.
///
/// Cheap to clone; clones count together.
#[derive(Clone, Debug, Default)]
pub struct RefreshCounts(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    answered: AtomicU64,
    failed: AtomicU64,
    late: AtomicU64,
    /// How many parts are behind now.
    behind: AtomicU64,
    panicked: AtomicU64,
}

/// A part, and how to refresh it.
pub(super) struct Job {
    pub(super) metric: Metric,
    pub(super) params: Params,
    pub(super) variant: Option<VariantRef>,
    pub(super) variants: Arc<Variants>,
    pub(super) fresh: Fresh,
    pub(super) part: Arc<Part>,
    pub(super) entry: Arc<Entry>,
    pub(super) store: Store,
    pub(super) counts: RefreshCounts,
}

/// Whether a part's refreshes are late, which is logged when the first of all is, and when none is any more.
struct Behind<'a> {
    job: &'a Job,
    /// How many refreshes in a row were on time since one was late; `None` where none was.
    on_time: Option<u32>,
}

/// So many refreshes in a row are on time where they are not late any more.
const ON_TIME: u32 = 3;

// === impl RefreshCounts ===

impl RefreshCounts {
    /// Refreshes that were answered.
    pub fn answered(&self) -> u64 {
        self.0.answered.load(Ordering::Relaxed)
    }

    /// Refreshes that failed.
    pub fn failed(&self) -> u64 {
        self.0.failed.load(Ordering::Relaxed)
    }

    /// Refreshes that were left out, since the one before took longer than the interval.
    pub fn late(&self) -> u64 {
        self.0.late.load(Ordering::Relaxed)
    }

    /// Parts whose refreshes take longer than their interval now.
    pub fn behind(&self) -> u64 {
        self.0.behind.load(Ordering::Relaxed)
    }

    /// Refreshes that ended in a defect of this program.
    pub fn panicked(&self) -> u64 {
        self.0.panicked.load(Ordering::Relaxed)
    }

    fn count(counter: &AtomicU64, by: u64) {
        counter.fetch_add(by, Ordering::Relaxed);
    }
}

// === impl Behind ===

impl<'a> Behind<'a> {
    fn new(job: &'a Job) -> Self {
        Self { job, on_time: None }
    }

    /// Takes in how many refreshes were left out since one of them `took` so long.
    fn refreshed(&mut self, missed: u64, took: Duration) {
        let behind = &self.job.counts.0.behind;
        match (missed, self.on_time) {
            (0, None) => {}
            (0, Some(on_time)) if on_time + 1 < ON_TIME => self.on_time = Some(on_time + 1),
            (0, Some(_)) => {
                self.on_time = None;
                if behind.fetch_sub(1, Ordering::Relaxed) == 1 {
                    tracing::info!("refreshes are on time again");
                }
            }
            (_, Some(_)) => self.on_time = Some(0),
            (_, None) => {
                self.on_time = Some(0);
                if behind.fetch_add(1, Ordering::Relaxed) == 0 {
                    let spec = &self.job.metric.spec;
                    tracing::warn!(
                        metric = %spec.name,
                        source = %spec.source,
                        ?took,
                        every = ?spec.every,
                        "refreshes are late, and some are left out: the source is slow, or has more queries than its \
                         max_queries_per_second lets through"
                    );
                }
            }
        }
    }
}

impl Drop for Behind<'_> {
    fn drop(&mut self) {
        if self.on_time.is_some() {
            self.job.counts.0.behind.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

// === impl Job ===

impl Job {
    /// Refreshes the part until `stop`, and tells of what time makes of its readings meanwhile.
    pub(super) async fn keep_fresh(self, stop: CancellationToken) {
        let every = self.metric.spec.every;
        let first = Instant::now() + self.phase(every.min(FIRST_WITHIN));
        let mut ticks = tokio::time::interval_at(first, every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut changes_at = None;
        let mut behind = Behind::new(&self);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                due = ticks.tick() => {
                    let refreshed = AssertUnwindSafe(self.refresh()).catch_unwind();
                    tokio::pin!(refreshed);
                    loop {
                        tokio::select! {
                            () = stop.cancelled() => return,
                            // It may take long, and what is read becomes too old meanwhile.
                            () = self.reached(changes_at), if changes_at.is_some() => changes_at = self.aged(),
                            refreshed = &mut refreshed => {
                                match refreshed {
                                    Ok(changes) => changes_at = changes,
                                    // The readings become too old by themselves.
                                    Err(_) => {
                                        tracing::error!(metric = %self.metric.spec.name, "a refresh panicked");
                                        RefreshCounts::count(&self.counts.0.panicked, 1);
                                    }
                                }
                                break;
                            }
                        }
                    }
                    let missed = due.elapsed().as_nanos() / every.as_nanos().max(1);
                    let missed = u64::try_from(missed).unwrap_or(u64::MAX);
                    RefreshCounts::count(&self.counts.0.late, missed);
                    behind.refreshed(missed, due.elapsed());
                }
                () = self.reached(changes_at), if changes_at.is_some() => changes_at = self.aged(),
            }
        }
    }

    /// Tells that time has made a reading another one; gives when it does so next.
    fn aged(&self) -> Option<Moment> {
        self.store.changed(&self.entry);
        let judged = self.part.readings().judged();
        judged.changes_after(self.store.clock().now())
    }

    /// Where in an interval its refreshes are: the same place after each start, and spread over all metrics.
    fn phase(&self, within: Duration) -> Duration {
        let mut hasher = FixedState::default().build_hasher();
        self.metric.spec.name.hash(&mut hasher);
        self.part.labels().hash(&mut hasher);
        let share = (hasher.finish() >> 11) as f64 / (1_u64 << 53) as f64;
        within.mul_f64(share)
    }

    async fn reached(&self, at: Option<Moment>) {
        let now = self.store.clock().now();
        let left = at.map_or(Duration::ZERO, |at| at.saturating_since(now));
        tokio::time::sleep(left).await;
    }

    /// Refreshes and judges; gives when time alone will make a reading another one.
    async fn refresh(&self) -> Option<Moment> {
        let spec = &self.metric.spec;
        let source = &self.metric.source;
        let queries = [Some(&spec.query), spec.proof()];
        let names = queries
            .into_iter()
            .flatten()
            .map(|query| query.as_str().to_owned());
        let refresh = RefreshSpec::queries(names)
            .params(self.params.clone())
            .max_age(spec.every);
        let results = source.refresh(refresh).await;
        let lookup = |query: &str| source.lookup(query, &self.params);
        let found = lookup(spec.query.as_str());
        let proof = spec.proof().map(|proof| lookup(proof.as_str()));
        let counter = match results.get(spec.query.as_str()) {
            Some(Ok(_)) => &self.counts.0.answered,
            _ => &self.counts.0.failed,
        };
        RefreshCounts::count(counter, 1);
        if is_settled(&found) {
            self.part.settle();
        }
        let proof = proof.as_ref().map(Found::from);
        let found = self.folded(&found);
        let readings = self.part.readings();
        let changes_at = match self.metric.folds {
            Some(_) => readings.update_found(&found, proof.as_ref()),
            // Its rows are told as they are, and who adds them up is not to wait for those that have gone.
            None => {
                let variants = self.variants.load_full();
                let pods = variants.snapshot();
                let is_gone = |labels: Labels<'_>| self.is_of_gone(labels, &*pods);
                readings.update_but_gone(&found, proof.as_ref(), &is_gone)
            }
        };
        self.store.changed(&self.entry);
        changes_at
    }

    /// Whether a row is that of a pod that is known to have gone.
    fn is_of_gone(&self, labels: Labels<'_>, pods: &dyn PodIndex) -> bool {
        let Some(pod) = labels.get("pod") else {
            return false;
        };
        let namespace = labels.get("namespace").or(self.params.get("namespace"));
        let pod = match namespace {
            Some(namespace) => PodRef::new(pod).in_namespace(namespace),
            None => PodRef::new(pod),
        };
        matches!(
            pods.variant_of(pod, None),
            Mapping::Unmapped(UnmappedReason::Gone)
        )
    }

    /// What was found, with its rows as the metric folds them.
    fn folded(&self, found: &Lookup) -> Found {
        let mut found = Found::from(found);
        let Found::Answer {
            result, had, expires, ..
        } = &mut found
        else {
            return found;
        };
        let spec = &self.metric.spec;
        let query = self.metric.source.query_list().get(spec.query.as_str());
        if query.is_none_or(|query| query.template().ttl.is_none()) {
            // How long an answer holds was not said, and it is to hold until the next one is due, late by as much again.
            *expires = (*expires).max(had.saturating_add(spec.every.saturating_mul(2)));
        }
        let answer = result.answer();
        if !matches!(answer.kind(), AnswerKind::Vector | AnswerKind::Scalar) {
            return found;
        }
        let folded = match (self.metric.folds, &self.variant) {
            (None, _) => return found,
            (Some(folds), None) => fold(answer, folds),
            (Some(folds), Some(variant)) => {
                let variants = self.variants.load_full();
                let snapshot = variants.snapshot();
                // Who is expected, the source tells where it knows it.
                match answer.completeness() {
                    Some(_) => fold_for_variant(answer, folds, variant, &*snapshot),
                    None => {
                        let fresh = self.fresh.with(&*snapshot, variant, self.store.clock().now());
                        let folded = fold_for_variant(answer, folds, variant, &fresh);
                        self.fresh.saw(answer);
                        folded
                    }
                }
            }
        };
        *result = Arc::new(MetricResult::new(
            spec.query.clone(),
            result.collected_at(),
            folded,
        ));
        found
    }
}

/// Whether there is something to be said of the query, be it a failure; not while its targets report, and have only not done
/// so for as long as it looks back.
fn is_settled(found: &Lookup) -> bool {
    match found {
        Lookup::Value(value) => {
            let completeness = value.result().answer().completeness();
            completeness.is_none_or(|completeness| completeness.short() == 0)
        }
        Lookup::Failed(failure) => !matches!(
            failure.error.fetch_error(),
            Some(FetchError::Incomplete { is_short: true, .. })
        ),
        Lookup::NeverRefreshed => false,
        _ => true,
    }
}
