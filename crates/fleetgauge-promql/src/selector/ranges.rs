//! The series of a range vector, and which of their samples are in each range.

use std::sync::Arc;
use std::time::Duration;

use fleetgauge_core::age::Age;
use fleetgauge_core::time::Timestamp;
use fleetgauge_syntax::tree::Extended;

use super::buffer::Buffer;
use super::ended::EndedSeries;
use super::times::{Times, after};
use crate::budget::{Budget, SERIES_WORK};
use crate::error::EvalError;
use crate::label::{LabelList, LabelSet};
use crate::queryable::Selection;
use crate::value::{Steps, Vector, is_absent};

/// The series of a range vector.
pub(crate) struct Ranges<'a> {
    pub(super) source: Source<'a>,
    pub(super) extent: Extent,
    pub(super) lookback: Duration,
    pub(super) tells_ages: bool,
    /// Whether it is looked at since when samples are counted.
    pub(super) has_starts: bool,
    pub(super) finds_resets: bool,
}

/// Which samples a range has at each step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    pub(super) times: Times,
    /// *Unit*: milliseconds, as of the lookback.
    pub(super) range: i64,
    pub(super) extended: Extended,
    pub(super) lookback: i64,
}

pub(super) enum Source<'a> {
    Series(Arc<dyn Selection + 'a>),
    Rows(SubqueryRows),
}

/// What the inner expression of a subquery gave.
pub(crate) struct SubqueryRows {
    pub(crate) rows: Vector,
    pub(crate) steps: Steps,
    /// Whether each row is of one series at all steps, and never of several.
    pub(crate) of_one_series_each: bool,
}

/// A range at one step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    /// Behind which time samples count: the start, or before it where the range is extended.
    pub(crate) begin: i64,
    pub(crate) start: i64,
    pub(crate) end: i64,
    /// The indices of its samples, the last one excluded.
    pub(crate) samples: (usize, usize),
}

// === impl Extent ===

impl Extent {
    /// The first and the last time of which a sample counts.
    pub(super) fn bounds(&self) -> (Timestamp, Timestamp) {
        let (first, last) = self.times.bounds();
        let from = after(self.begin(first));
        (
            Timestamp::from_millis(from),
            Timestamp::from_millis(self.reach(last)),
        )
    }

    /// Behind which time samples count for the step that looks at `time`.
    fn begin(&self, time: i64) -> i64 {
        let start = time.saturating_sub(self.range);
        match self.extended {
            Extended::No => start,
            Extended::Anchored | Extended::Smoothed => start.saturating_sub(self.lookback),
        }
    }

    /// Up to which time samples count for the step that looks at `time`.
    fn reach(&self, time: i64) -> i64 {
        match self.extended {
            Extended::No | Extended::Anchored => time,
            Extended::Smoothed => time.saturating_add(self.lookback),
        }
    }
}

// === impl Ranges ===

impl Ranges<'_> {
    pub(crate) fn len(&self) -> usize {
        match &self.source {
            Source::Series(series) => series.len(),
            Source::Rows(inner) => inner.rows.len(),
        }
    }

    pub(crate) fn labels(&self, i: usize) -> LabelSet {
        match &self.source {
            Source::Series(series) => series.labels(i),
            Source::Rows(inner) => inner.rows.labels[i].clone(),
        }
    }

    pub(crate) fn list(&self) -> LabelList {
        match &self.source {
            Source::Series(series) => series.list(),
            Source::Rows(inner) => inner.rows.labels.clone(),
        }
    }

    /// The series of a subquery, if these are.
    pub(crate) fn rows(&self) -> Option<&Vector> {
        match &self.source {
            Source::Series(_) => None,
            Source::Rows(inner) => Some(&inner.rows),
        }
    }

    /// Takes the names away that go at the end of the query.
    pub(crate) fn end_names(&mut self, budget: &mut Budget) -> Result<(), EvalError> {
        match &mut self.source {
            Source::Series(_) => Ok(()),
            Source::Rows(inner) => inner.rows.end_names(budget),
        }
    }

    /// Reads the samples of the series `i` in all ranges.
    pub(crate) fn read(&self, i: usize, into: &mut Buffer, budget: &mut Budget) -> Result<(), EvalError> {
        into.has_starts = self.has_starts;
        match &self.source {
            Source::Series(series) => {
                into.read(&**series, i, self.extent.bounds(), self.finds_resets, budget)?;
                if self.tells_ages {
                    into.note_stale();
                }
                into.samples.drop_stale();
            }
            Source::Rows(SubqueryRows { rows, steps, .. }) => {
                into.samples.clear();
                into.ages.clear();
                budget.spend(SERIES_WORK + steps.count)?;
                for (step, (at, &value)) in steps.iter().zip(rows.row(i)).enumerate() {
                    if !is_absent(value) {
                        match rows.histogram(i, step) {
                            Some(histogram) => into.samples.push_histogram(at, Arc::clone(histogram)),
                            None => into.samples.push(at, value),
                        }
                        if self.tells_ages {
                            into.ages.push(rows.age(i, step));
                        }
                    }
                }
                into.take_growth(budget)?;
            }
        }
        Ok(())
    }

    /// Whether samples beyond the borders are among those of a [`Window`].
    pub(crate) fn extended(&self) -> Extended {
        self.extent.extended
    }

    pub(crate) fn tells_ages(&self) -> bool {
        self.tells_ages
    }

    /// The series that are read, unless it is a subquery.
    pub(crate) fn selection(&self) -> Option<&dyn Selection> {
        match &self.source {
            Source::Series(series) => Some(&**series),
            Source::Rows(_) => None,
        }
    }

    /// How old what the series `i` has in `window` is, whose samples are in `of`: as old as its newest sample. Where a
    /// subquery has several series behind a row, the newest sample of each is not known, and there is a bound.
    pub(crate) fn age(&self, i: usize, of: &Buffer, window: Window, ended: &mut Vec<EndedSeries>) -> Age {
        let (from, to) = window.samples;
        match &self.source {
            Source::Series(series) => {
                let Some(newest) = of.times()[from..to].last().copied() else {
                    return Age::AGELESS;
                };
                // What lies behind the range is as new as its end.
                let newest = newest.min(window.end);
                let [sample, asked] = [newest, window.end].map(Timestamp::from_millis);
                let age = series.age(i, sample, asked, self.lookback);
                let is_stale = |&at: &i64| newest < at && at <= window.end;
                let age = match of.stale.iter().any(is_stale) {
                    true => age.with_ended(),
                    false => age,
                };
                if age.is_ended() {
                    let left = newest
                        .saturating_add(self.extent.range)
                        .saturating_sub(window.end);
                    ended.push(EndedSeries { series: i, age, left });
                }
                age
            }
            Source::Rows(inner) => {
                let steps = of.times()[from..to].iter().zip(&of.ages[from..to]);
                let ages = steps.map(|(&at, age)| {
                    let since = window.end.saturating_sub(at).unsigned_abs();
                    age.older_by(Duration::from_millis(since))
                });
                match inner.of_one_series_each {
                    true => Age::youngest(ages),
                    false => Age::oldest(ages).or_younger(),
                }
            }
        }
    }

    /// For each step, where its range begins and ends and which of the samples of `of` are in it.
    pub(crate) fn windows<'b>(&'b self, of: &'b Buffer) -> impl Iterator<Item = Window> + 'b {
        let (mut from, mut to) = (0, 0);
        let samples = of.times();
        let extent = &self.extent;
        extent.times.iter().map(move |end| {
            let (begin, reach) = (extent.begin(end), extent.reach(end));
            while samples.get(to).is_some_and(|&t| t <= reach) {
                to += 1;
            }
            while from < to && samples[from] <= begin {
                from += 1;
            }
            Window {
                begin,
                start: end.saturating_sub(extent.range),
                end,
                samples: (from, to),
            }
        })
    }
}
