//! The readings of all metrics, as of now: written by the [`scheduler`](crate::scheduler), read by the doors.
//!
//! A read takes no lock and waits for nobody. Each change has a number, larger than that of the change before; a reader
//! that remembers the last one it has seen finds what has changed since, and skips what was in between.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use fleetgauge_core::reading::{Reading, ReadingSet, Readings, Reason, ReasonCode};
use fleetgauge_core::time::{Clock, Moment};
use tokio::sync::watch;

use crate::metric::MetricSpec;

/// The readings of all metrics.
///
/// Cheap to clone; clones are the same store.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    clock: Clock,
    entries: ArcSwap<Entries>,
    /// The number of the newest change.
    changes: watch::Sender<u64>,
}

type Entries = BTreeMap<Box<str>, Arc<Entry>>;

/// A metric, and what is read of it.
pub struct Entry {
    spec: Arc<MetricSpec>,
    parts: ArcSwap<Vec<Arc<Part>>>,
    /// The number of its newest change.
    changed: AtomicU64,
}

/// The readings of one variant, or of a metric that is not read for each.
pub struct Part {
    /// What tells it from the others: the labels that all of its readings have.
    labels: Box<[(Box<str>, Box<str>)]>,
    readings: Readings,
    /// Whether its query was answered or failed, so that there is something to be said of it.
    is_settled: AtomicBool,
}

/// What is read of a metric at one time.
pub struct Snapshot {
    spec: Arc<MetricSpec>,
    parts: Vec<(Arc<Part>, Arc<ReadingSet>)>,
    now: Moment,
}

/// One reading, with all of its labels.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    part: &'a Part,
    reading: Reading<'a>,
    stands_for_all: bool,
}

// === impl Store ===

impl Store {
    /// One without metrics, by `clock`.
    pub fn new(clock: Clock) -> Self {
        Self(Arc::new(Inner {
            clock,
            entries: ArcSwap::default(),
            changes: watch::Sender::new(0),
        }))
    }

    /// The metric `name`.
    pub fn get(&self, name: &str) -> Option<Arc<Entry>> {
        self.0.entries.load().get(name).cloned()
    }

    /// All metrics, by name.
    pub fn all(&self) -> Vec<Arc<Entry>> {
        self.0.entries.load().values().cloned().collect()
    }

    /// The number of the newest change, and to be told of the next ones.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// By which it reads.
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// Puts `entries` in the place of those before, all of which count as changed.
    pub(crate) fn replace(&self, entries: impl IntoIterator<Item = Arc<Entry>>) {
        let named = entries
            .into_iter()
            .map(|entry| (entry.spec.name.as_str().into(), entry));
        let entries: Arc<Entries> = Arc::new(named.collect());
        self.0.entries.store(Arc::clone(&entries));
        self.0.changes.send_modify(|change| {
            *change += 1;
            entries
                .values()
                .for_each(|entry| entry.changed.store(*change, Ordering::Release));
        });
    }

    /// Notes that readings of `entry` have changed.
    pub(crate) fn changed(&self, entry: &Entry) {
        self.0.changes.send_modify(|change| {
            *change += 1;
            entry.changed.store(*change, Ordering::Release);
        });
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("metrics", &self.0.entries.load().len())
            .finish_non_exhaustive()
    }
}

// === impl Entry ===

impl Entry {
    pub(crate) fn new(spec: Arc<MetricSpec>) -> Self {
        Self {
            spec,
            parts: ArcSwap::default(),
            changed: AtomicU64::new(0),
        }
    }

    /// The metric.
    pub fn spec(&self) -> &Arc<MetricSpec> {
        &self.spec
    }

    /// The number of its newest change.
    pub fn changed(&self) -> u64 {
        self.changed.load(Ordering::Acquire)
    }

    /// What is read of it now.
    pub fn read(&self, clock: &Clock) -> Snapshot {
        let parts = self.parts.load();
        let sets = parts
            .iter()
            .map(|part| (Arc::clone(part), part.readings.judged()));
        Snapshot {
            spec: Arc::clone(&self.spec),
            parts: sets.collect(),
            now: clock.now(),
        }
    }

    pub(crate) fn parts(&self) -> Arc<Vec<Arc<Part>>> {
        self.parts.load_full()
    }

    pub(crate) fn set_parts(&self, parts: Vec<Arc<Part>>) {
        self.parts.store(Arc::new(parts));
    }
}

// === impl Part ===

impl Part {
    pub(crate) fn new(labels: Vec<(Box<str>, Box<str>)>, readings: Readings) -> Self {
        Self {
            labels: labels.into(),
            readings,
            is_settled: AtomicBool::new(false),
        }
    }

    pub(crate) fn labels(&self) -> &[(Box<str>, Box<str>)] {
        &self.labels
    }

    pub(crate) fn readings(&self) -> &Readings {
        &self.readings
    }

    pub(crate) fn settle(&self) {
        self.is_settled.store(true, Ordering::Release);
    }

    /// Whether its query was answered, or has failed for good reason.
    pub fn is_settled(&self) -> bool {
        self.is_settled.load(Ordering::Acquire)
    }
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part")
            .field("labels", &self.labels)
            .finish_non_exhaustive()
    }
}

// === impl Snapshot ===

impl Snapshot {
    /// The metric.
    pub fn spec(&self) -> &MetricSpec {
        &self.spec
    }

    /// Its rows; of a part without one, a reading that says why.
    ///
    /// *Shape*: empty only of a metric for each variant, where there are no variants.
    pub fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.parts.iter().flat_map(|(part, set)| {
            let is_only = set.rows(self.now).nth(1).is_none();
            set.rows(self.now).map(move |reading| Row {
                part,
                reading,
                stands_for_all: is_only
                    && reading.value().is_none()
                    && reading.labels().iter().next().is_none(),
            })
        })
    }

    /// The rows that have all of `labels`.
    pub fn select<'a>(&'a self, labels: &'a [(&'a str, &'a str)]) -> impl Iterator<Item = Row<'a>> {
        self.rows()
            .filter(|row| labels.iter().all(|(name, value)| row.label(name) == Some(value)))
    }

    /// When they were read.
    pub fn now(&self) -> Moment {
        self.now
    }
}

// === impl Row ===

impl<'a> Row<'a> {
    /// The number, or why there is none.
    pub fn reading(&self) -> Reading<'a> {
        self.reading
    }

    /// What identifies it among the rows of its metric: the labels of its variant, then those of the answer.
    pub fn labels(&self) -> impl Iterator<Item = (&'a str, &'a str)> + Clone + use<'a> {
        let part: &'a Part = self.part;
        let of_part = part.labels.iter().map(|(name, value)| (&**name, &**value));
        let is_of_part = |name: &str| part.labels.iter().any(|(known, _)| **known == *name);
        let of_row = self.reading.labels().iter();
        of_part.chain(of_row.filter(move |(name, _)| *name != "__name__" && !is_of_part(name)))
    }

    /// The value of the label `name`.
    pub fn label(&self, name: &str) -> Option<&'a str> {
        self.labels()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value)
    }

    /// Whether there is no number, and no other row of its variant, or of its metric, so that it may be the answer for any
    /// of them, whatever labels they would have.
    pub fn stands_for_all(&self) -> bool {
        self.stands_for_all
    }

    /// Why there is no number, if so.
    pub fn refusal(&self) -> Option<(ReasonCode, &'a str)> {
        match self.reading.value() {
            Some(_) => None,
            None => {
                let reason: Option<&'a Reason> = self.reading.reason();
                let unknown = (
                    ReasonCode::NeverRefreshed,
                    "the query was not refreshed since it was set",
                );
                Some(reason.map_or(unknown, |reason| (reason.code, &*reason.text)))
            }
        }
    }
}
