//! All readings of a metric, each with what time alone will make of it.

use std::fmt;
use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::phase::{Measured, Phases};
use super::{Reading, ReadingSpec};
use crate::label::{LabelSets, LabelSetsBuilder, Labels, METRIC_NAME};
use crate::time::Moment;

/// The readings of a metric, as they were judged at one time and for all times after it.
pub struct ReadingSet {
    pub(super) spec: Arc<ReadingSpec>,
    labels: LabelSets,
    /// By labels.
    rows: Box<[Row]>,
    index: HashTable<(u64, u32)>,
    /// The reading of labels that no row has.
    absent: Phases,
    /// No labels, for it.
    no_labels: LabelSets,
    /// When the answer was had that was judged.
    pub(super) had: Option<Moment>,
    /// When time alone will make a reading another one.
    changes_at: Option<Moment>,
    pub(super) forgotten: u64,
}

/// One row of a metric.
#[derive(Clone)]
pub(super) struct Row {
    pub(super) phases: Phases,
    /// The last good value, for as long as it may be held.
    pub(super) good: Option<Measured>,
    /// Since when the answers lack it.
    pub(super) vanished: Option<Moment>,
}

/// Builds a [`ReadingSet`], row by row.
#[derive(Default)]
pub(super) struct SetBuilder<'a> {
    /// By labels: their hash, and the row.
    index: HashTable<(u64, u32)>,
    labels: Vec<Labels<'a>>,
    pub(super) rows: Vec<Row>,
}

// === impl ReadingSet ===

impl ReadingSet {
    /// The readings at `now` of all rows that are known, of one without labels where none is: it says why.
    ///
    /// A row that the answers no longer have is withheld, or held, for an hour; after that it is known no more, and
    /// [counted](Self::forgotten).
    pub fn rows(&self, now: Moment) -> impl Iterator<Item = Reading<'_>> {
        let known = self.labels.iter().zip(&self.rows);
        let known = known.map(move |(labels, row)| self.reading(labels, &row.phases, now));
        let none = self.rows.is_empty().then(|| self.absent(now));
        known.chain(none)
    }

    /// The reading at `now` of the row with just these labels, in any order. Of labels that no row has it is withheld, with
    /// the reason.
    #[inline]
    pub fn get(&self, labels: &[(&str, &str)], now: Moment) -> Reading<'_> {
        let pairs = labels.iter().copied().filter(|(_, value)| !value.is_empty());
        match self.find(pairs) {
            Some(row) => self.reading(self.labels.at(row), &self.rows[row].phases, now),
            None => self.absent(now),
        }
    }

    /// The metric.
    pub fn spec(&self) -> &ReadingSpec {
        &self.spec
    }

    /// When time alone will make a reading another one than when this was judged; `None` where it will not.
    pub fn changes_at(&self) -> Option<Moment> {
        self.changes_at
    }

    /// As [`changes_at`](Self::changes_at), of what they are at `now`.
    pub fn changes_after(&self, now: Moment) -> Option<Moment> {
        let phases = self.rows.iter().map(|row| &row.phases).chain([&self.absent]);
        phases.filter_map(|phases| phases.change_after(now)).min()
    }

    /// How many rows that vanished are no longer known.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    pub(super) fn known(&self) -> impl Iterator<Item = (Labels<'_>, &Row)> {
        self.labels.iter().zip(&self.rows)
    }

    pub(super) fn row_of(&self, labels: Labels<'_>) -> Option<&Row> {
        self.find(pairs(labels)).map(|row| &self.rows[row])
    }

    #[inline]
    fn find<'l>(&self, pairs: impl Iterator<Item = (&'l str, &'l str)> + Clone) -> Option<usize> {
        let is_same = |&(_, row): &(u64, u32)| {
            let labels = self.labels.at(row as usize);
            let mut count = 0;
            let all = pairs.clone().all(|(name, value)| {
                count += 1;
                labels.get(name) == Some(value)
            });
            all && count == labels.len()
        };
        self.index
            .find(hash(pairs.clone()), is_same)
            .map(|&(_, row)| row as usize)
    }

    fn absent(&self, now: Moment) -> Reading<'_> {
        self.reading(self.no_labels.at(0), &self.absent, now)
    }

    #[inline]
    fn reading<'a>(&'a self, labels: Labels<'a>, phases: &'a Phases, now: Moment) -> Reading<'a> {
        Reading {
            spec: &self.spec,
            labels,
            phase: phases.at(now),
            now,
        }
    }
}

impl fmt::Debug for ReadingSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadingSet")
            .field("metric", &self.spec.metric)
            .field("rows", &self.rows.len())
            .field("changes_at", &self.changes_at)
            .finish_non_exhaustive()
    }
}

// === impl SetBuilder ===

impl<'a> SetBuilder<'a> {
    /// Adds a row, or gives the one that has these labels already.
    pub(super) fn add(&mut self, labels: Labels<'a>, row: Row) -> Result<(), &mut Row> {
        let hash = hash(pairs(labels));
        let is_same = |&(_, row): &(u64, u32)| pairs(self.labels[row as usize]).eq(pairs(labels));
        match self.index.entry(hash, is_same, |&(hash, _)| hash) {
            Entry::Occupied(known) => Err(&mut self.rows[known.get().1 as usize]),
            Entry::Vacant(vacant) => {
                // An answer has no more rows than 32-bit references reach, and few rows outlast theirs.
                vacant.insert((hash, u32::try_from(self.rows.len()).unwrap_or(u32::MAX)));
                self.labels.push(labels);
                self.rows.push(row);
                Ok(())
            }
        }
    }

    pub(super) fn has(&self, labels: Labels<'a>) -> bool {
        let is_same = |&(_, row): &(u64, u32)| pairs(self.labels[row as usize]).eq(pairs(labels));
        self.index.find(hash(pairs(labels)), is_same).is_some()
    }

    /// What is judged at `now`, with what is read of labels that no row has.
    pub(super) fn build(self, spec: &Arc<ReadingSpec>, absent: Phases, now: Moment) -> ReadingSet {
        let mut labels = LabelSetsBuilder::default();
        for row in &self.labels {
            pairs(*row).for_each(|(name, value)| labels.label(name, value));
            // They could be stored in the answer that they are from.
            let _ = labels.end_series();
        }
        let rows: Box<[Row]> = (self.rows.into_iter())
            .map(|row| Row {
                phases: row.phases.from(now),
                ..row
            })
            .collect();
        let absent = absent.from(now);
        let changes = rows.iter().map(|row| &row.phases).chain([&absent]);
        let mut no_labels = LabelSetsBuilder::default();
        let _ = no_labels.end_series();
        ReadingSet {
            spec: Arc::clone(spec),
            changes_at: changes.filter_map(|phases| phases.change_after(now)).min(),
            labels: labels.build(),
            rows,
            index: self.index,
            absent,
            no_labels: no_labels.build(),
            had: None,
            forgotten: 0,
        }
    }
}

/// That of labels in any order.
#[inline]
fn hash<'l>(pairs: impl Iterator<Item = (&'l str, &'l str)>) -> u64 {
    let hasher = FixedState::default();
    pairs.fold(0, |sum: u64, pair| sum.wrapping_add(hasher.hash_one(pair)))
}

/// The labels that identify a row: the metric's name aside, which says nothing that the query does not.
pub(super) fn pairs<'l>(labels: Labels<'l>) -> impl Iterator<Item = (&'l str, &'l str)> + Clone {
    labels.iter().filter(|(name, _)| *name != METRIC_NAME)
}
