//! What an instant selector gives: the newest sample before each step, or what lies on the line to the next.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use fleetgauge_core::age::Age;
use fleetgauge_core::time::Timestamp;

use super::buffer::Buffer;
use super::ended::EndedSeries;
use super::times::{Times, millis};
use crate::annotation::Annotations;
use crate::budget::{Budget, SERIES_WORK};
use crate::error::EvalError;
use crate::function::extended::between;
use crate::function::extended_mixed::{self, Taken};
use crate::function::joining::{warn_of_kinds, warn_of_mix};
use crate::function::start::Point;
use crate::histogram::{CounterReset, FloatHistogram};
use crate::queryable::Selection;
use crate::sample::{HISTOGRAM, Sample, is_histogram};
use crate::value::{ABSENT, Found, Part, is_absent};

/// What an instant selector looks for.
pub(super) struct Instants<'a> {
    pub(super) series: &'a dyn Selection,
    pub(super) times: Times,
    pub(super) range: (Timestamp, Timestamp),
    pub(super) lookback: Duration,
    pub(super) give: Give,
    pub(super) finds_resets: bool,
    pub(super) is_smoothed: bool,
    /// Without texts, for what there is to say of a part.
    pub(super) notes: Annotations,
}

/// What was read of some of the series.
pub(super) type Done = (Vec<EndedSeries>, Found, Annotations);

/// What an instant selector gives of the sample it finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Give {
    Value,
    /// When it was taken, in seconds.
    Timestamp,
    /// The same, but of a histogram, that it is one.
    TimestampOfNumber,
    /// Since when it was counted, in seconds.
    Start,
}

// === impl Instants ===

impl Instants<'_> {
    /// Looks up the newest sample of each series at the only step.
    pub(super) fn look_up(
        &self,
        found: &mut Vec<Option<Sample>>,
        of: Range<usize>,
        mut part: Part<'_>,
        budget: &mut Budget,
    ) -> Result<Done, EvalError> {
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
        Ok((ended, histograms, Annotations::default()))
    }

    /// Reads all samples of each series, and slides along with the steps.
    pub(super) fn read(
        &self,
        buffer: &mut Buffer,
        of: Range<usize>,
        mut part: Part<'_>,
        budget: &mut Budget,
    ) -> Result<Done, EvalError> {
        let lookback = millis(self.lookback);
        let (mut ended, mut histograms, mut notes) = (Vec::new(), Found::new(), self.notes.clone());
        for (place, i) in of.enumerate() {
            buffer.read(self.series, i, self.range, self.finds_resets, budget)?;
            if self.is_smoothed {
                buffer.note_stale();
                buffer.samples.drop_stale();
            }
            let samples = (buffer.times(), buffer.values());
            budget.spend(SERIES_WORK + self.times.steps.count)?;
            let (row, ages) = part.row(place);
            row.fill(ABSENT);
            if self.is_smoothed {
                let found = self.smooth(buffer, i, row, (ages, &mut ended), budget, &mut notes)?;
                histograms.extend(found.into_iter().map(|(step, histogram)| (i, step, histogram)));
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
                    if self.give == Give::Value
                        && is_histogram(*place)
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
        Ok((ended, histograms, notes))
    }

    /// What the series `i` has at each step on the line between the samples around it; the histograms it returns, by their
    /// step. What it has no later sample than stays as it is.
    fn smooth(
        &self,
        of: &Buffer,
        i: usize,
        row: &mut [f64],
        (ages, ended): (&mut [Age], &mut Vec<EndedSeries>),
        budget: &mut Budget,
        notes: &mut Annotations,
    ) -> Result<Vec<(usize, Arc<FloatHistogram>)>, EvalError> {
        let lookback = millis(self.lookback);
        let (times, values) = (of.times(), of.values());
        let labels = of.has_histograms().then(|| self.series.labels(i));
        let metric = labels.as_ref().map_or("", |labels| labels.metric_name());
        let mut found = Vec::new();
        // The first sample near the step, the first at it or behind, the first too late to be near; and how many of those
        // near are histograms.
        let (mut from, mut next, mut to, mut histograms) = (0, 0, 0, 0);
        for (step, (place, time)) in row.iter_mut().zip(self.times.iter()).enumerate() {
            while to < times.len() && times[to] <= time.saturating_add(lookback) {
                histograms += usize::from(is_histogram(values[to]));
                to += 1;
            }
            while from < to && times[from] <= time.saturating_sub(lookback) {
                histograms -= usize::from(is_histogram(values[from]));
                from += 1;
            }
            while next < times.len() && times[next] < time {
                next += 1;
            }
            if histograms > 0 && histograms < to - from {
                warn_of_mix(metric, notes);
                continue;
            }
            let (before, after) = match () {
                () if next < to && times[next] == time => (next, next),
                () if next <= from => continue,
                () => (next - 1, next.min(to - 1)),
            };
            let value = match (of.histogram(before), of.histogram(after)) {
                (Some(first), Some(second)) => {
                    budget.spend(first.work() + second.work())?;
                    let taken = ((times[before], &**first), (times[after], &**second));
                    let Some(smooth) = smooth_histogram(taken, time, metric, notes) else {
                        continue;
                    };
                    budget.take_histogram(&smooth)?;
                    found.push((step, Arc::new(smooth)));
                    HISTOGRAM
                }
                _ if before == after => values[before],
                _ => {
                    let [before, after] = [before, after].map(|place| Point {
                        time: times[place],
                        value: values[place],
                        start: 0,
                    });
                    between(before, after, time, false)
                }
            };
            *place = value;
            if let Some(age) = ages.get_mut(step) {
                // What lies behind the step is as new as it.
                let newest = times[after].min(time);
                let [at, asked] = [newest, time].map(Timestamp::from_millis);
                let of_sample = self.series.age(i, at, asked, self.lookback);
                // A series that is gone stays as it was for as long as the lookback.
                *age = match of.stale.iter().any(|&at| newest < at && at <= time) {
                    true => of_sample.with_ended(),
                    false => of_sample,
                };
                if age.is_ended() {
                    let left = newest.saturating_add(lookback).saturating_sub(time);
                    ended.push(EndedSeries {
                        series: i,
                        age: *age,
                        left,
                    });
                }
            }
        }
        Ok(found)
    }

    fn pick(&self, time: i64, value: f64) -> f64 {
        match self.give {
            Give::Value => value,
            Give::TimestampOfNumber if is_histogram(value) => value,
            Give::Timestamp | Give::TimestampOfNumber | Give::Start => time as f64 / 1000.0,
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

/// The histogram at `time` between two, or as the only one. `None` if their buckets are of different kinds.
fn smooth_histogram(
    (before, after): (Taken<'_>, Taken<'_>),
    time: i64,
    metric: &str,
    notes: &mut Annotations,
) -> Option<FloatHistogram> {
    if before.0 == after.0 {
        let histogram = before.1.clone();
        // What is known of resets is about the sample before it.
        return Some(match before.0 == time {
            true => histogram,
            false => histogram.with_counter_reset(CounterReset::Unknown),
        });
    }
    let is_gauge = [before, after]
        .iter()
        .all(|(_, one)| one.counter_reset() == CounterReset::Gauge);
    let between = extended_mixed::between(before, after, time, !is_gauge, notes);
    if between.is_err() {
        warn_of_kinds(metric, notes);
    }
    between.ok()
}
