//! A metric's readings beside the cache: judged by who refreshes, read by everybody.

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use super::judge::{judge, judge_but_gone};
use super::{Found, Reading, ReadingSet, ReadingSpec};
use crate::cache::Lookup;
use crate::label::Labels;
use crate::policy::PolicyErrors;
use crate::time::{Clock, Moment};

/// The readings of a metric.
///
/// Cheap to clone; clones show the same readings. Whoever refreshes the query calls [`update`](Self::update) after it; those
/// who read have a [`reader`](Self::reader) each. A read takes no lock and allocates nothing.
///
/// ```
/// use std::time::Duration;
/// use fleetgauge_core::params::Params;
/// use fleetgauge_core::policy::Policy;
/// use fleetgauge_core::query::QueryTemplate;
/// use fleetgauge_core::reading::{ReadingSpec, Readings, Status};
/// use fleetgauge_core::source::{FixedBackend, MetricsSource, RefreshSpec};
/// use fleetgauge_core::time::Clock;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let source = FixedBackend::new().values("queue", [([("variant", "a")], 3.0)]).into_source();
/// source.query_list().must_register(QueryTemplate::promql("queue", "sum by (variant) (queue)"));
///
/// let readings = Readings::new(ReadingSpec::new("queue", "queue".parse()?), Clock::system())?;
/// let mut reader = readings.reader();
/// assert_eq!(reader.get(&[("variant", "a")]).status(), Status::Withheld);
///
/// source.refresh(RefreshSpec::all()).await;
/// readings.update(&source.lookup("queue", &Params::new()), None);
/// assert_eq!(reader.get(&[("variant", "a")]).value(), Some(3.0));
/// assert_eq!(reader.get(&[("variant", "b")]).value(), None);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Readings(Arc<Inner>);

/// Reads a metric's readings in a loop. Clone it for each thread.
#[derive(Clone)]
pub struct ReadingsReader {
    clock: Clock,
    /// Remembers the set last seen, and asks only whether it is still the one.
    set: arc_swap::cache::Cache<Current, Arc<ReadingSet>>,
}

struct Inner {
    spec: Arc<ReadingSpec>,
    clock: Clock,
    set: ArcSwap<ReadingSet>,
    /// Held by who judges: what is judged stands on what was judged before.
    judging: Mutex<()>,
}

#[derive(Clone)]
struct Current(Arc<Inner>);

// === impl Readings ===

impl Readings {
    /// Those of the metric `spec`, of whose query nothing is known yet. `clock` is the one of the query's source.
    ///
    /// *Errors*: what is wrong with its policy.
    pub fn new(spec: ReadingSpec, clock: Clock) -> Result<Self, PolicyErrors> {
        spec.policy.check(&spec.facts())?;
        let spec = Arc::new(spec);
        let nothing = Found::from(&Lookup::NeverRefreshed);
        let set = judge(&spec, &nothing, None, None, clock.now());
        Ok(Self(Arc::new(Inner {
            set: ArcSwap::from_pointee(set),
            spec,
            clock,
            judging: Mutex::new(()),
        })))
    }

    /// The metric.
    pub fn spec(&self) -> &ReadingSpec {
        &self.0.spec
    }

    /// Judges what was found of the query, and of the query that proves its absence where the policy names one. An answer
    /// that was had before the one that was judged last changes nothing.
    ///
    /// Returns when time alone will make a reading another one, for those that are told of changes; who reads sees it anyway.
    pub fn update(&self, found: &Lookup, proof: Option<&Lookup>) -> Option<Moment> {
        self.update_found(&found.into(), proof.map(Found::from).as_ref())
    }

    /// As [`update`](Self::update), of what was had by other means than a lookup.
    pub fn update_found(&self, found: &Found, proof: Option<&Found>) -> Option<Moment> {
        self.update_but_gone(found, proof, &|_| false)
    }

    /// As [`update_found`](Self::update_found), where `is_gone` tells by the labels of a row whether it is of a pod that is known to be
    /// no more: what the answer no longer has of it is not missed.
    pub fn update_but_gone(
        &self,
        found: &Found,
        proof: Option<&Found>,
        is_gone: &dyn Fn(Labels<'_>) -> bool,
    ) -> Option<Moment> {
        let Inner { spec, clock, set, .. } = &*self.0;
        // The lock guards no data that a panic could leave half-written.
        let _judging = self.0.judging.lock().unwrap_or_else(PoisonError::into_inner);
        let before = set.load();
        if found
            .had()
            .is_some_and(|had| before.had.is_some_and(|judged| had < judged))
        {
            return before.changes_at();
        }
        let judged = judge_but_gone(spec, found, proof, Some(&before), clock.now(), is_gone);
        let changes_at = judged.changes_at();
        set.store(Arc::new(judged));
        changes_at
    }

    /// All of them as they were judged last, to be held for as long as wanted; read with the time of its clock.
    pub fn judged(&self) -> Arc<ReadingSet> {
        self.0.set.load_full()
    }

    /// A handle for reading them over and over.
    pub fn reader(&self) -> ReadingsReader {
        ReadingsReader {
            clock: self.0.clock.clone(),
            set: arc_swap::cache::Cache::new(Current(Arc::clone(&self.0))),
        }
    }
}

impl fmt::Debug for Readings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.set.load().fmt(f)
    }
}

// === impl ReadingsReader ===

impl ReadingsReader {
    /// The reading now of the row with just these labels, in any order and without the metric's name. Of labels that no row
    /// has it is withheld, with the reason.
    #[inline]
    pub fn get(&mut self, labels: &[(&str, &str)]) -> Reading<'_> {
        let now = self.clock.now();
        self.set.load().get(labels, now)
    }

    /// The readings now of all rows: as [`ReadingSet::rows`].
    pub fn rows(&mut self) -> impl Iterator<Item = Reading<'_>> {
        let now = self.clock.now();
        self.set.load().rows(now)
    }
}

impl fmt::Debug for ReadingsReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadingsReader").finish_non_exhaustive()
    }
}

// === impl Current ===

impl Deref for Current {
    type Target = ArcSwap<ReadingSet>;

    fn deref(&self) -> &Self::Target {
        &self.0.set
    }
}
