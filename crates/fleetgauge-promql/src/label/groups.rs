//! Numbers the groups of series that agree in some labels.

use hashbrown::HashTable;

use super::{LabelSet, Projection};
use crate::budget::Budget;
use crate::error::EvalError;

/// The groups that a [`Projection`] makes, numbered from 0 as they are met.
#[derive(Debug)]
pub(crate) struct Groups {
    projection: Projection,
    table: HashTable<(u64, usize)>,
    /// The series by which each group was met.
    first: Vec<LabelSet>,
}

/// The series of each group, in their order, one group after the other.
#[derive(Debug)]
pub(crate) struct Members {
    series: Vec<usize>,
    /// Where each group begins, and the end.
    starts: Vec<usize>,
}

// === impl Groups ===

impl Groups {
    pub(crate) fn new(projection: Projection) -> Self {
        Self {
            projection,
            table: HashTable::new(),
            first: Vec::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.first.len()
    }

    /// The group of a series; a new one if there is none yet.
    pub(crate) fn add(&mut self, labels: &LabelSet, budget: &mut Budget) -> Result<usize, EvalError> {
        let hash = self.projection.hash(labels);
        budget.spend_series(self.projection.made())?;
        if let Some(known) = self.get(hash, labels) {
            return Ok(known);
        }
        // Twice, as lists and tables that grow have room to spare.
        budget.take_bytes(2 * (size_of::<LabelSet>() + size_of::<(u64, usize)>()))?;
        let new = self.first.len();
        self.first.push(labels.clone());
        self.table.insert_unique(hash, (hash, new), |(hash, _)| *hash);
        Ok(new)
    }

    /// The group of a series, if there is one.
    pub(crate) fn find(
        &mut self,
        labels: &LabelSet,
        budget: &mut Budget,
    ) -> Result<Option<usize>, EvalError> {
        let hash = self.projection.hash(labels);
        budget.spend_series(self.projection.made())?;
        Ok(self.get(hash, labels))
    }

    /// The labels in which the series of a group agree.
    pub(crate) fn labels(&mut self, group: usize, budget: &mut Budget) -> Result<LabelSet, EvalError> {
        let labels = self.projection.apply(&self.first[group]);
        budget.spend_series(self.projection.made())?;
        Ok(labels)
    }

    fn get(&mut self, hash: u64, labels: &LabelSet) -> Option<usize> {
        let Self {
            projection,
            table,
            first,
        } = self;
        let same = |(h, group): &(u64, usize)| *h == hash && projection.agrees(&first[*group], labels);
        table.find(hash, same).map(|(_, group)| *group)
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
