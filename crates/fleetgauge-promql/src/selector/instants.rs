//! What an instant selector gives: the newest sample before each step, or what lies on the line to the next.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use fleetgauge_core::age::Age;
use fleetgauge_core::time::Timestamp;

use super::buffer::Buffer;
use super::ended::EndedSeries;
use super::times::{Times, millis};
use crate::budget::{Budget, SERIES_WORK};
use crate::error::EvalError;
use crate::function::extended::between;
use crate::function::start::Point;
use crate::histogram::CounterReset;
use crate::queryable::Selection;
use crate::sample::{Sample, is_histogram};
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

// === impl Instants ===

impl Instants<'_> {
    /// Looks up the newest sample of each series at the only step.
    pub(super) fn look_up(
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
    pub(super) fn read(
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
                "smoothed modifier is not supported with histograms",
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
