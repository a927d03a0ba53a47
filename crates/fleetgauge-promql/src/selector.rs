//! Reads series: the newest sample before each step, or a range of them.
//!
//! The samples of a series are decoded once for all steps, into buffers that the next series uses again; two
//! indices then slide along with the steps.

mod buffer;
mod ended;
mod instants;
mod ranges;
mod times;

use std::sync::Arc;
use std::time::Duration;

use fleetgauge_core::result::Ended;
use fleetgauge_core::time::Timestamp;
use fleetgauge_syntax::Features;
use fleetgauge_syntax::tree::Extended;

use crate::annotation::Annotations;
use crate::budget::{Budget, SERIES_WORK};
use crate::error::EvalError;
use crate::matcher::Matcher;
use crate::missing::{Missing, Read};
use crate::parallel::Helpers;
use crate::parse::{At, Selector, Shift};
use crate::queryable::{Queryable, Selection};
use crate::value::{Steps, Vector};

use instants::Instants;
use ranges::{Extent, Source};
use times::{after, millis};

pub(crate) use buffer::Buffer;
pub(crate) use ended::EndedSeries;
pub(crate) use instants::Give;
pub(crate) use ranges::{Ranges, SubqueryRows, Window};
pub(crate) use times::Times;

/// What a selector is evaluated with.
pub(crate) struct Reader<'a> {
    pub(crate) data: &'a dyn Queryable,
    pub(crate) lookback: Duration,
    pub(crate) features: Features,
    /// The first and the last step of the whole query, for `@ start()` and `@ end()`.
    pub(crate) query: (i64, i64),
    /// Whether it is told how old the values are.
    pub(crate) tells_ages: bool,
    /// Whether it is looked for counter resets while histograms are read.
    pub(crate) finds_resets: bool,
    /// What was read so far.
    pub(crate) reads: Vec<Done<'a>>,
    /// What of it has ended.
    pub(crate) ended: Ended,
    /// Who computes.
    pub(crate) helpers: &'a Helpers,
}

/// A read that was done.
pub(crate) struct Done<'a> {
    matchers: Vec<Matcher>,
    range: (Timestamp, Timestamp),
    /// The first time that was asked about.
    since: Timestamp,
    newest: bool,
    series: Arc<dyn Selection + 'a>,
}

/// A sample of each series is looked up for so few steps; for more, all are read.
const LOOKED_UP_STEPS: usize = 1;
/// Of so many series at once, which takes a fraction of a millisecond.
const LOOKED_UP_AT_ONCE: usize = 512;
/// The work of looking a series up.
const LOOK_UP_WORK: usize = 10;
/// So many series are read at once, which takes about as long.
pub(crate) const READ_AT_ONCE: usize = 64;

// === impl Reader ===

impl<'a> Reader<'a> {
    /// The newest sample of each series at each step.
    pub(crate) fn instant(
        &mut self,
        selector: &Selector,
        steps: &Steps,
        give: Give,
        budget: &mut Budget,
        notes: &mut Annotations,
    ) -> Result<Vector, EvalError> {
        notes.enter(&[selector.place]);
        let times = self.times(selector.shift, steps);
        let lookback = millis(self.lookback);
        // When a sample was taken is not on a line between two.
        let is_smoothed = selector.extended == Extended::Smoothed && give == Give::Value;
        let (first, mut last) = times.bounds();
        if is_smoothed {
            last = last.saturating_add(lookback);
        }
        let from = after(first.saturating_sub(lookback));
        let range = (Timestamp::from_millis(from), Timestamp::from_millis(last));
        let series = match is_smoothed {
            true => self.data.select(&selector.matchers, range.0, range.1),
            false => self.data.select_newest(&selector.matchers, range.0, range.1),
        };
        let series = self.note(
            selector,
            range,
            Timestamp::from_millis(first),
            steps.count == 1 && !is_smoothed,
            series,
        );
        budget.take_list::<usize>(series.len())?;
        budget.take_result(series.len(), steps.count)?;

        let at = Instants {
            series: &*series,
            times,
            range,
            lookback: self.lookback,
            give,
            finds_resets: self.finds_resets,
            is_smoothed,
            notes: match is_smoothed {
                true => notes.of_part(),
                false => Annotations::default(),
            },
        };
        let mut result = Vector::unlabelled(steps.count, series.len(), self.tells_ages);
        let parts = if steps.count <= LOOKED_UP_STEPS && !is_smoothed && give != Give::Start {
            let work = series.len() * LOOK_UP_WORK;
            let helpers = self.helpers;
            helpers.compute(
                &mut result,
                LOOKED_UP_AT_ONCE,
                work,
                budget,
                |found, of, part, budget| at.look_up(found, of, part, budget),
            )?
        } else {
            let work = series.len() * (SERIES_WORK + steps.count);
            let helpers = self.helpers;
            helpers.compute(
                &mut result,
                READ_AT_ONCE,
                work,
                budget,
                |buffer, of, part, budget| at.read(buffer, of, part, budget),
            )?
        };
        for (ended, found, said) in parts {
            notes.add_part(said);
            self.note_ended(&*series, ended);
            result.set_found(found, budget)?;
        }
        result.label(&series.list(), budget)?;
        Ok(result)
    }

    /// Notes series that have ended.
    pub(crate) fn note_ended(
        &mut self,
        series: &dyn Selection,
        ended: impl IntoIterator<Item = EndedSeries>,
    ) {
        for EndedSeries { series: i, age, left } in ended {
            let labels = series.labels(i);
            let left = Duration::from_millis(left.max(0).unsigned_abs());
            let get = |name: &str| labels.get(name);
            self.ended.add(get, || labels.to_string(), age.duration(), left);
        }
    }

    /// The series of a range selector.
    pub(crate) fn ranges(
        &mut self,
        selector: &Selector,
        range: i64,
        steps: &Steps,
        budget: &mut Budget,
    ) -> Result<Ranges<'a>, EvalError> {
        let extent = Extent {
            times: self.times(selector.shift, steps),
            range,
            extended: selector.extended,
            lookback: millis(self.lookback),
        };
        let (from, to) = extent.bounds();
        let series = self.data.select(&selector.matchers, from, to);
        let series = self.note(selector, (from, to), from, false, series);
        budget.take_list::<usize>(series.len())?;
        budget.take_result(series.len(), 1)?;
        Ok(Ranges {
            source: Source::Series(series),
            extent,
            lookback: self.lookback,
            tells_ages: self.tells_ages,
            has_starts: self.features.start_timestamps,
            finds_resets: self.finds_resets,
        })
    }

    /// The series of a subquery.
    pub(crate) fn ranges_of(&self, rows: SubqueryRows, times: Times, range: i64) -> Ranges<'a> {
        Ranges {
            source: Source::Rows(rows),
            extent: Extent {
                times,
                range,
                extended: Extended::No,
                lookback: millis(self.lookback),
            },
            lookback: self.lookback,
            tells_ages: self.tells_ages,
            // What is computed at a step is counted from no time on.
            has_starts: false,
            finds_resets: false,
        }
    }

    /// Why what was read may lack samples. Asked last: a scraper tells what it refuses before it writes the
    /// rest of its page, so whoever has seen anything of that page is told.
    pub(crate) fn missing(&self) -> Missing {
        let mut missing = Missing::default();
        let reads: Vec<_> = self.reads.iter().map(Done::read).collect();
        self.data.missing(&reads, &mut missing);
        if self.has_changed() {
            missing.add_changed();
        }
        missing
    }

    /// Whether series came or went while they were read.
    pub(crate) fn has_changed(&self) -> bool {
        self.reads.iter().any(|done| done.series.has_changed())
    }

    /// The times at which a selector or a subquery with `shift` looks.
    pub(crate) fn times(&self, shift: Shift, steps: &Steps) -> Times {
        let at = shift.at.map(|at| match at {
            At::Time(at) => at,
            At::Start => self.query.0,
            At::End => self.query.1,
        });
        Times {
            steps: *steps,
            at,
            offset: shift.offset,
        }
    }

    /// Remembers what was read.
    fn note(
        &mut self,
        selector: &Selector,
        range: (Timestamp, Timestamp),
        since: Timestamp,
        newest: bool,
        series: Box<dyn Selection + 'a>,
    ) -> Arc<dyn Selection + 'a> {
        let series: Arc<dyn Selection + 'a> = series.into();
        self.reads.push(Done {
            matchers: selector.matchers.clone(),
            range,
            since,
            newest,
            series: Arc::clone(&series),
        });
        series
    }
}

// === impl Done ===

impl Done<'_> {
    fn read(&self) -> Read<'_> {
        let (from, to) = self.range;
        let read = match self.newest {
            true => Read::newest(&self.matchers, from, to),
            false => Read::range(&self.matchers, from, to),
        };
        read.asked_since(self.since)
    }
}
