//! Numbers the groups of series that agree in some labels.

use std::cmp::Ordering;

use hashbrown::HashTable;

use super::{LabelSet, Projection};
use crate::budget::Budget;
use crate::error::EvalError;

/// The groups that a [`Projection`] makes, numbered from 0 as they are met.
#[derive(Debug)]
pub(crate) struct Groups {
    projection: Projection,
    /// By the hash of what is meant. Empty for as long as the groups are met in their order: they are all different then.
    table: HashTable<(u64, usize)>,
    /// The series by which each group was met.
    first: Vec<LabelSet>,
    /// Behind the group that was met last: mostly series come in the same order again and again.
    next: usize,
}

/// The series of each group, in their order, one group after the other.
#[derive(Debug)]
pub(crate) struct Members {
    series: Vec<usize>,
    /// Where each group begins, and the end.
    starts: Vec<usize>,
}

/// The work of hashing some of a series' labels, which are near.
const HASH_WORK: usize = 20;

// === impl Groups ===

impl Groups {
    pub(crate) fn new(projection: Projection) -> Self {
        Self {
            projection,
            table: HashTable::new(),
            first: Vec::new(),
            next: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.first.len()
    }

    /// The group of a series; a new one if there is none yet.
    pub(crate) fn add(&mut self, labels: &LabelSet, budget: &mut Budget) -> Result<usize, EvalError> {
        let is_after_all = match self.first.last() {
            None => true,
            Some(_) if !self.table.is_empty() => false,
            Some(last) => self.projection.order(last, labels) == Some(Ordering::Less),
        };
        let hash = match is_after_all {
            true => None,
            false => match self.met(labels, budget)? {
                Ok(known) => {
                    budget.spend_series(self.projection.made())?;
                    return Ok(known);
                }
                Err(hash) => Some(hash),
            },
        };
        budget.spend_series(self.projection.made())?;
        // Twice, as lists and tables that grow have room to spare.
        budget.take_bytes(2 * (size_of::<LabelSet>() + size_of::<(u64, usize)>()))?;
        let new = self.first.len();
        self.first.push(labels.clone());
        if let Some(hash) = hash {
            self.table.insert_unique(hash, (hash, new), |(hash, _)| *hash);
        }
        self.next = new + 1;
        Ok(new)
    }

    /// The group of a series, if there is one.
    pub(crate) fn find(
        &mut self,
        labels: &LabelSet,
        budget: &mut Budget,
    ) -> Result<Option<usize>, EvalError> {
        let met = self.met(labels, budget)?;
        budget.spend_series(self.projection.made())?;
        Ok(met.ok())
    }

    /// The labels in which the series of a group agree.
    pub(crate) fn labels(&mut self, group: usize, budget: &mut Budget) -> Result<LabelSet, EvalError> {
        let labels = self.projection.apply(&self.first[group]);
        budget.spend_series(self.projection.made())?;
        Ok(labels)
    }

    /// The group of a series that was met before; where there is none, the hash of what is meant.
    fn met(&mut self, labels: &LabelSet, budget: &mut Budget) -> Result<Result<usize, u64>, EvalError> {
        let guess = if self.next < self.len() { self.next } else { 0 };
        let Self {
            projection,
            table,
            first,
            next,
        } = self;
        if first
            .get(guess)
            .is_some_and(|first| projection.agrees(first, labels))
        {
            *next = guess + 1;
            return Ok(Ok(guess));
        }
        if table.is_empty() {
            table.reserve(first.len(), |(hash, _)| *hash);
            for (group, labels) in first.iter().enumerate() {
                budget.spend(HASH_WORK)?;
                let hash = projection.hash(labels);
                table.insert_unique(hash, (hash, group), |(hash, _)| *hash);
            }
        }
        let hash = projection.hash(labels);
        let same = |(h, group): &(u64, usize)| *h == hash && projection.agrees(&first[*group], labels);
        Ok(match table.find(hash, same) {
            Some(&(_, known)) => {
                *next = known + 1;
                Ok(known)
            }
            None => Err(hash),
        })
    }
}

// === impl Members ===

impl Members {
    /// `group_of` has the series with their groups, of which there are `count`.
    pub(crate) fn new(count: usize, group_of: impl Iterator<Item = (usize, usize)> + Clone) -> Self {
        let mut starts = vec![0; count + 1];
        for (_, group) in group_of.clone() {
            starts[group + 1] += 1;
        }
        for group in 1..starts.len() {
            starts[group] += starts[group - 1];
        }
        let mut next = starts.clone();
        let mut series = vec![0; starts[count]];
        for (one, group) in group_of {
            series[next[group]] = one;
            next[group] += 1;
        }
        Self { series, starts }
    }

    /// The series of each group.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[usize]> {
        self.starts
            .windows(2)
            .map(|group| &self.series[group[0]..group[1]])
    }
}
