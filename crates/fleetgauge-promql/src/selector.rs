//! Reads series: the newest sample before each step, or a range of them.
//!
//! The samples of a series are decoded once for all steps, into buffers that the next series uses again; two
//! indices then slide along with the steps.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use fleetgauge_core::age::Age;
use fleetgauge_core::result::Ended;
use fleetgauge_core::time::Timestamp;
use fleetgauge_syntax::Features;
use fleetgauge_syntax::tree::Extended;

use crate::budget::{Budget, SERIES_WORK};
use crate::error::EvalError;
use crate::function::extended::between;
use crate::function::start::Point;
use crate::histogram::{CounterReset, FloatHistogram};
use crate::label::LabelSet;
use crate::matcher::Matcher;
use crate::missing::{Missing, Read};
use crate::parallel::Helpers;
use crate::parse::{At, Selector, Shift};
use crate::queryable::{Queryable, Selection};
use crate::sample::{Sample, Samples, is_histogram};
use crate::value::{ABSENT, Found, Part, Steps, Vector, is_absent};

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

/// The times at which a selector looks, one a step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    steps: Steps,
    /// Stands in for the time of every step.
    at: Option<i64>,
    offset: i64,
}

/// The series of a range vector.
pub(crate) struct Ranges<'a> {
    source: Source<'a>,
    extent: Extent,
    lookback: Duration,
    tells_ages: bool,
    /// Whether it is looked at since when samples are counted.
    has_starts: bool,
    finds_resets: bool,
}

/// Which samples a range has at each step.
#[derive(Clone, Copy, Debug)]
struct Extent {
    times: Times,
    /// *Unit*: milliseconds, as of the lookback.
    range: i64,
    extended: Extended,
    lookback: i64,
}

enum Source<'a> {
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

/// The samples of one series.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    samples: Samples,
    /// The times of the staleness markers that were among them.
    stale: Vec<i64>,
    /// Of the steps of a subquery: how old what stands there is.
    ages: Vec<Age>,
    /// Whether it is looked at since when samples are counted.
    has_starts: bool,
    /// How many samples a budget was asked for.
    taken: usize,
    /// How many bytes of histograms.
    taken_by_histograms: usize,
}

/// What an instant selector looks for.
struct Instants<'a> {
    series: &'a dyn Selection,
    times: Times,
    range: (Timestamp, Timestamp),
    lookback: Duration,
    give: Give,
    finds_resets: bool,
    is_smoothed: bool,
}

/// A series that has ended, by its place among those selected.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EndedSeries {
    series: usize,
    age: Age,
    /// For how long it is still read. *Unit*: milliseconds.
    left: i64,
}

/// What an instant selector gives of the sample it finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Give {
    Value,
    /// When it was taken, in seconds.
    Timestamp,
    /// Since when it was counted, in seconds.
    Start,
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
    ) -> Result<Vector, EvalError> {
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
        };
        let mut result = Vector::unlabelled(steps.count, series.len(), self.tells_ages);
        let ended = if steps.count <= LOOKED_UP_STEPS && !is_smoothed && give != Give::Start {
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
        for (ended, found) in ended {
            self.note_ended(&*series, ended);
            result.set_found(found, budget)?;
        }
        result.label(|i| series.labels(i), budget)?;
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

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// The first moment after `time`: ranges are open on their left.
fn after(time: i64) -> i64 {
    time.saturating_add(1)
}

// === impl Instants ===

impl Instants<'_> {
    /// Looks up the newest sample of each series at the only step.
    fn look_up(
        &self,
        found: &mut Vec<Option<Sample>>,
        of: Range<usize>,
        mut part: Part<'_>,
        budget: &mut Budget,
    ) -> Result<(Vec<EndedSeries>, Found), EvalError> {
        budget.spend(of.len() * SERIES_WORK)?;
        let at = Timestamp::from_millis(self.times.get(0));
        found.clear();
        self.series.newest(of.clone(), at, self.lookback, found);
        let (mut ended, mut histograms) = (Vec::new(), Found::new());
        for (place, (i, sample)) in of.zip(found).enumerate() {
            let (row, ages) = part.row(place);
            let Some(sample) = sample else {
                row.fill(ABSENT);
                continue;
            };
            if sample.is_histogram() && self.give == Give::Value {
                let Some(mut histogram) = self.series.histogram(i, sample.timestamp) else {
                    row.fill(ABSENT);
                    continue;
                };
                if self.finds_resets && histogram.counter_reset() == CounterReset::Unknown {
                    // What was before tells it.
                    let mut buffer = Buffer::default();
                    buffer.read(self.series, i, self.range, self.finds_resets, budget)?;
                    let last = buffer
                        .times()
                        .partition_point(|&time| time <= sample.timestamp.as_millis());
                    let found = last.checked_sub(1).and_then(|last| buffer.histogram(last));
                    histogram = found.cloned().unwrap_or(histogram);
                }
                budget.take_histogram(&histogram)?;
                histograms.push((i, 0, histogram));
            }
            row.fill(self.pick(sample.timestamp.as_millis(), sample.value));
            for told in ages {
                let age = self.series.age(i, sample.timestamp, at, self.lookback);
                *told = self.of_subquery(i, age, &mut ended);
            }
        }
        Ok((ended, histograms))
    }

    /// Reads all samples of each series, and slides along with the steps.
    fn read(
        &self,
        buffer: &mut Buffer,
        of: Range<usize>,
        mut part: Part<'_>,
        budget: &mut Budget,
    ) -> Result<(Vec<EndedSeries>, Found), EvalError> {
        let lookback = millis(self.lookback);
        let (mut ended, mut histograms) = (Vec::new(), Found::new());
        for (place, i) in of.enumerate() {
            buffer.read(self.series, i, self.range, self.finds_resets, budget)?;
            if self.is_smoothed {
                buffer.samples.drop_stale();
            }
            let samples = (buffer.times(), buffer.values());
            budget.spend(SERIES_WORK + self.times.steps.count)?;
            let (row, ages) = part.row(place);
            row.fill(ABSENT);
            if self.is_smoothed {
                self.smooth(buffer, i, row, ages)?;
                continue;
            }
            let (mut next, mut last, mut last_histogram) = (0, None, None);
            for (step, (place, time)) in row.iter_mut().zip(self.times.iter()).enumerate() {
                while samples.0.get(next).is_some_and(|&t| t <= time) {
                    next += 1;
                }
                let Some(newest) = next.checked_sub(1) else {
                    continue;
                };
                let (at, value) = (samples.0[newest], samples.1[newest]);
                if at > time.saturating_sub(lookback) && !is_absent(value) {
                    *place = match self.give {
                        Give::Start => self.pick(buffer.samples.start(newest), value),
                        _ => self.pick(at, value),
                    };
                    if is_histogram(*place)
                        && let Some(histogram) = buffer.histogram(newest)
                    {
                        // The steps up to the next sample share it.
                        if last_histogram.replace(newest) != Some(newest) {
                            budget.take_histogram(histogram)?;
                        }
                        histograms.push((i, step, Arc::clone(histogram)));
                    }
                    if let Some(age) = ages.get_mut(step) {
                        let [at, asked] = [at, time].map(Timestamp::from_millis);
                        *age = self.series.age(i, at, asked, self.lookback);
                        last = Some(*age);
                    }
                }
            }
            if last.is_some_and(|newest| self.of_subquery(i, newest, &mut ended).is_ended()) {
                let told = ages.iter_mut().zip(row).filter(|(_, value)| !is_absent(**value));
                told.for_each(|(age, _)| *age = age.with_ended());
            }
        }
        Ok((ended, histograms))
    }

    /// What the series `i` has at each step on the line between the samples around it. What it has no later sample than
    /// stays as it is.
    fn smooth(&self, of: &Buffer, i: usize, row: &mut [f64], ages: &mut [Age]) -> Result<(), EvalError> {
        if of.has_histograms() {
            return Err(EvalError::execution(
                "native histograms are not supported by smoothed selectors",
            ));
        }
        let lookback = millis(self.lookback);
        let point = |i: usize| Point {
            time: of.times()[i],
            value: of.values()[i],
            start: 0,
        };
        let mut next = 0;
        for (step, (place, time)) in row.iter_mut().zip(self.times.iter()).enumerate() {
            while of.times().get(next).is_some_and(|&t| t < time) {
                next += 1;
            }
            let is_near = |point: &Point| {
                point.time > time.saturating_sub(lookback) && point.time <= time.saturating_add(lookback)
            };
            let before = next.checked_sub(1).map(point).filter(is_near);
            let after = (next < of.times().len()).then(|| point(next)).filter(is_near);
            let (value, newest) = match (before, after) {
                (_, Some(at)) if at.time == time => (at.value, at.time),
                (Some(before), Some(after)) => (between(before, after, time, false), after.time),
                (Some(before), None) => (before.value, before.time),
                (None, _) => continue,
            };
            *place = value;
            if let Some(age) = ages.get_mut(step) {
                // What lies behind the step is as new as it.
                let [at, asked] = [newest.min(time), time].map(Timestamp::from_millis);
                *age = self.series.age(i, at, asked, self.lookback);
            }
        }
        Ok(())
    }

    fn pick(&self, time: i64, value: f64) -> f64 {
        match self.give {
            Give::Value => value,
            Give::Timestamp | Give::Start => time as f64 / 1000.0,
        }
    }

    /// The age of what the series `i` gives at the last of the times where it has something: where these are the steps of
    /// a subquery that goes on after it, the series may have ended by then.
    fn of_subquery(&self, i: usize, age: Age, ended: &mut Vec<EndedSeries>) -> Age {
        let (first, last) = self.times.bounds();
        let until = self.times.until();
        if first == until && last == until || age.is_ended() {
            return age;
        }
        if !self
            .series
            .has_ended(i, Timestamp::from_millis(until), self.lookback)
        {
            return age;
        }
        let age = age.with_ended();
        let left = last.saturating_sub(first);
        ended.push(EndedSeries { series: i, age, left });
        age
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

// === impl Times ===

impl Times {
    /// Where the step `i` looks.
    pub(crate) fn get(&self, i: usize) -> i64 {
        self.at
            .unwrap_or_else(|| self.steps.at(i))
            .saturating_sub(self.offset)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = i64> + '_ {
        (0..self.steps.count).map(|i| self.get(i))
    }

    /// Where the end that was asked for looks.
    pub(crate) fn until(&self) -> i64 {
        self.at.unwrap_or(self.steps.until).saturating_sub(self.offset)
    }

    /// The first and the last.
    pub(crate) fn bounds(&self) -> (i64, i64) {
        (self.get(0), self.get(self.steps.count.saturating_sub(1)))
    }
}

// === impl Extent ===

impl Extent {
    /// The first and the last time of which a sample counts.
    fn bounds(&self) -> (Timestamp, Timestamp) {
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

// === impl Buffer ===

impl Buffer {
    pub(crate) fn times(&self) -> &[i64] {
        self.samples.times()
    }

    pub(crate) fn values(&self) -> &[f64] {
        self.samples.values()
    }

    /// Since when the samples of a range are counted, where it is looked at.
    pub(crate) fn starts(&self, from: usize, to: usize) -> &[i64] {
        match self.has_starts {
            true => self.samples.starts(from..to),
            false => &[],
        }
    }

    /// Whether any of the samples may be a histogram.
    pub(crate) fn has_histograms(&self) -> bool {
        self.samples.has_histograms()
    }

    /// Whether any of those from `from` up to `to` is one.
    pub(crate) fn has_histogram_in(&self, from: usize, to: usize) -> bool {
        self.values()[from..to].iter().any(|&value| is_histogram(value))
    }

    /// The work of looking at all of them.
    pub(crate) fn work_in(&self, from: usize, to: usize) -> usize {
        let histograms = (from..to).filter_map(|index| self.histogram(index));
        histograms.map(|histogram| histogram.work()).sum()
    }

    pub(crate) fn samples(&self) -> &Samples {
        &self.samples
    }

    pub(crate) fn histogram(&self, index: usize) -> Option<&Arc<FloatHistogram>> {
        self.samples.histogram(index)
    }

    /// Remembers the staleness markers.
    fn note_stale(&mut self) {
        let samples = self.samples.times().iter().zip(self.samples.values());
        let stale = samples.filter(|(_, value)| is_absent(**value));
        self.stale.clear();
        self.stale.extend(stale.map(|(&at, _)| at));
    }

    /// The samples of a series, staleness markers included, in place of those before.
    fn read(
        &mut self,
        series: &dyn Selection,
        i: usize,
        (from, to): (Timestamp, Timestamp),
        finds_resets: bool,
        budget: &mut Budget,
    ) -> Result<(), EvalError> {
        self.samples.clear();
        series.read(i, from, to, &mut self.samples);
        budget.take_samples(self.samples.len())?;
        if finds_resets && self.has_histograms() {
            self.find_resets(budget)?;
        }
        self.take_growth(budget)
    }

    /// Says of each histogram of which it is not known whether its counts began anew since the one before.
    fn find_resets(&mut self, budget: &mut Budget) -> Result<(), EvalError> {
        let mut before: Option<Arc<FloatHistogram>> = None;
        for index in 0..self.samples.len() {
            let Some(histogram) = self.samples.histogram(index).cloned() else {
                continue;
            };
            let is_unknown = histogram.counter_reset() == CounterReset::Unknown;
            if let Some(before) = before.filter(|_| is_unknown) {
                budget.spend(histogram.work())?;
                let known = match histogram.is_reset_since(&before) {
                    true => CounterReset::Reset,
                    false => CounterReset::NotReset,
                };
                let told = FloatHistogram::clone(&histogram).with_counter_reset(known);
                self.samples.set_histogram(index, Arc::new(told));
            }
            before = Some(histogram);
        }
        Ok(())
    }

    /// Counts what the buffer has grown by. How many samples a series has is known only when it was read, so this
    /// is after the fact, of one series.
    fn take_growth(&mut self, budget: &mut Budget) -> Result<(), EvalError> {
        // A list grows to twice its length at most; so the count depends only on the longest series.
        let grown = (2 * self.samples.len()).saturating_sub(self.taken);
        self.taken += grown;
        // Time and value, the copy of the values that a quantile sorts, and an age.
        budget.take_list::<[f64; 4]>(grown)?;
        if self.has_histograms() {
            let histograms = (0..self.samples.len()).filter_map(|index| self.samples.histogram(index));
            let bytes = histograms.map(|histogram| size_of::<usize>() + histogram.bytes());
            let grown = bytes.sum::<usize>().saturating_sub(self.taken_by_histograms);
            self.taken_by_histograms += grown;
            budget.take_bytes(grown)?;
        }
        Ok(())
    }
}
