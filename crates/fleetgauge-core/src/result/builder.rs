//! Builds an answer, series by series.

use std::sync::Arc;

use crate::age::Age;
use crate::completeness::Completeness;
use crate::histogram::Histogram;
use crate::label::{LabelError, LabelSetsBuilder, SharedTexts};
use crate::sample::{SampleValue, Stamp};
use crate::time::Timestamp;

use super::mixed::Histograms;
use super::times::Times;
use super::{Answer, AnswerKind, Origin};

/// Builds an [`Answer`], series by series.
///
/// ```
/// use fleetgauge_core::result::AnswerBuilder;
/// use fleetgauge_core::sample::Stamp;
/// use fleetgauge_core::time::Timestamp;
///
/// let now = Timestamp::from_secs_f64(1763930000.5);
/// let mut answer = AnswerBuilder::new(Stamp::Evaluated);
/// answer.series([("pod", "a")], 3.0, now)?;
/// answer.series([("pod", "b")], f64::NAN, now)?;
/// let answer = answer.build();
/// assert_eq!(answer.values().next().unwrap().label("pod"), "a");
/// assert!(answer.values().nth(1).unwrap().is_undefined());
/// # Ok::<(), fleetgauge_core::label::LabelError>(())
/// ```
///
/// A matrix has several points a series:
///
/// ```
/// # use fleetgauge_core::result::{AnswerBuilder, AnswerKind};
/// # use fleetgauge_core::sample::Stamp;
/// # use fleetgauge_core::time::Timestamp;
/// let mut answer = AnswerBuilder::new(Stamp::Evaluated);
/// answer.label("pod", "a");
/// answer.point(3.0, Timestamp::from_millis(0));
/// answer.point(4.0, Timestamp::from_millis(15_000));
/// answer.end_points()?;
/// let answer = answer.build();
/// assert_eq!(answer.kind(), AnswerKind::Matrix);
/// assert_eq!(answer.series().next().unwrap().points().last().unwrap().value, 4.0);
/// # Ok::<(), fleetgauge_core::label::LabelError>(())
/// ```
#[derive(Debug)]
pub struct AnswerBuilder {
    kind: AnswerKind,
    labels: LabelSetsBuilder,
    values: Vec<f64>,
    histograms: Histograms,
    times: Vec<Timestamp>,
    /// Of a matrix: where the points of each series end.
    ends: Vec<usize>,
    stamp: Stamp,
    is_complete: bool,
    text: Option<Box<str>>,
    warnings: Vec<Box<str>>,
    infos: Vec<Box<str>>,
    /// Those of the series that have been ended, from the first to the last that was given one.
    ages: Vec<Age>,
    branches: Vec<Option<u16>>,
    completeness: Option<Arc<Completeness>>,
    origin: Option<Arc<Origin>>,
}

impl AnswerBuilder {
    /// An answer without series; `stamp` says what their timestamps mean.
    pub fn new(stamp: Stamp) -> Self {
        Self {
            kind: AnswerKind::Vector,
            labels: LabelSetsBuilder::default(),
            values: Vec::new(),
            histograms: Histograms::default(),
            times: Vec::new(),
            ends: Vec::new(),
            stamp,
            is_complete: true,
            text: None,
            warnings: Vec::new(),
            infos: Vec::new(),
            ages: Vec::new(),
            branches: Vec::new(),
            completeness: None,
            origin: None,
        }
    }

    /// Adds a series with its value.
    ///
    /// *Errors*: [`LabelError`], and then the series is not added.
    pub fn series<'a>(
        &mut self,
        labels: impl IntoIterator<Item = (&'a str, &'a str)>,
        value: f64,
        timestamp: Timestamp,
    ) -> Result<(), LabelError> {
        labels
            .into_iter()
            .for_each(|(name, value)| self.label(name, value));
        self.end_series(value, timestamp)
    }

    /// Adds a label to the series being built, for decoders that meet labels one by one.
    pub fn label(&mut self, name: &str, value: &str) {
        self.labels.label(name, value);
    }

    /// Sets all labels of the series being built, as [`LabelSetsBuilder::shared`].
    pub fn shared_labels(&mut self, names: &SharedTexts, values: &SharedTexts, skipped: usize) {
        self.labels.shared(names, values, skipped);
    }

    /// Makes room for so many series, and so many values of each.
    pub fn reserve(&mut self, series: usize, values: usize) {
        self.labels.reserve(series);
        self.values.reserve(series.saturating_mul(values));
        self.times.reserve(series.saturating_mul(values));
    }

    /// Ends the series being built, with its value.
    ///
    /// *Errors*: [`LabelError`], and then the series is not added.
    pub fn end_series(&mut self, value: f64, timestamp: Timestamp) -> Result<(), LabelError> {
        self.labels.end_series()?;
        if self.values.is_empty() {
            self.values.reserve(16);
            self.times.reserve(16);
        }
        self.values.push(value);
        self.times.push(timestamp);
        Ok(())
    }

    /// Says how old the value of the series that was ended last is. Where some series are given an age, nothing is known
    /// of those that are not.
    pub fn age(&mut self, age: Age) {
        set_last(&mut self.ages, self.labels.len(), age, Age::UNKNOWN);
    }

    /// Says which branch of the query gave the series that was ended last, counted from 0.
    pub fn branch(&mut self, branch: u16) {
        set_last(&mut self.branches, self.labels.len(), Some(branch), None);
    }

    /// Says who was expected to report, and who did. Where somebody is missing the answer is incomplete, and a warning says
    /// so: it need not be told as [`missing`](Self::missing), which is for what no name is missing for.
    pub fn completeness(&mut self, completeness: Arc<Completeness>) {
        self.completeness = Some(completeness);
    }

    /// Says where the answer comes from.
    pub fn origin(&mut self, origin: Arc<Origin>) {
        self.origin = Some(origin);
    }

    /// Ends the series being built, with a native histogram in the place of a number.
    ///
    /// *Errors*: [`LabelError`], and then the series is not added.
    pub fn end_histogram(&mut self, histogram: Histogram, timestamp: Timestamp) -> Result<(), LabelError> {
        self.end_series(f64::NAN, timestamp)?;
        self.histograms.push(self.values.len() - 1, histogram);
        Ok(())
    }

    /// Adds a point that is a native histogram to the series being built, as [`point`](Self::point) adds a number.
    pub fn histogram(&mut self, histogram: Histogram, timestamp: Timestamp) {
        self.histograms.push(self.values.len(), histogram);
        self.point(f64::NAN, timestamp);
    }

    /// Adds a point as another answer has it.
    pub fn sample(&mut self, sample: SampleValue<'_>, timestamp: Timestamp) {
        match sample {
            SampleValue::Number(value) => self.point(value, timestamp),
            SampleValue::Histogram(histogram) => self.histogram(histogram.clone(), timestamp),
        }
    }

    /// Puts native histograms between the numbers that were added to the series being built, by their times; both come
    /// oldest first.
    ///
    /// *Errors*: a time that both have, and then they are not added.
    pub fn merge_histograms(&mut self, histograms: Vec<(Timestamp, Histogram)>) -> Result<(), Timestamp> {
        let first = self.ends.last().copied().unwrap_or_default();
        let times = &self.times[first..];
        let both = histograms.iter().find(|(at, _)| times.binary_search(at).is_ok());
        if let Some((both, _)) = both {
            return Err(*both);
        }
        let numbers = self.times.split_off(first).into_iter();
        let mut numbers = numbers.zip(self.values.split_off(first)).peekable();
        for (at, histogram) in histograms {
            while let Some((before, value)) = numbers.next_if(|(time, _)| *time < at) {
                self.point(value, before);
            }
            self.histogram(histogram, at);
        }
        numbers.for_each(|(at, value)| self.point(value, at));
        Ok(())
    }

    /// Makes it a matrix, which it is also without any series.
    pub fn matrix(&mut self) {
        self.kind = AnswerKind::Matrix;
    }

    /// Adds a point to the series being built, which is one of a matrix. They come oldest first.
    pub fn point(&mut self, value: f64, timestamp: Timestamp) {
        self.values.push(value);
        self.times.push(timestamp);
    }

    /// Adds points to the series being built, which is one of a matrix: a time for each of the values, oldest first.
    pub(crate) fn points(&mut self, values: &[f64], times: impl Iterator<Item = Timestamp>) {
        self.values.extend_from_slice(values);
        self.times.reserve(values.len());
        // Of a chain of iterators `extend` asks at each item which it is at, which took a third of joining a range.
        times.for_each(|time| self.times.push(time));
        // A value without a time is none, nor a time without a value.
        let points = self.values.len().min(self.times.len());
        self.values.truncate(points);
        self.times.truncate(points);
    }

    /// Ends the series being built, with the points that were added.
    ///
    /// *Errors*: [`LabelError`], and then the series is not added.
    pub fn end_points(&mut self) -> Result<(), LabelError> {
        self.matrix();
        let ended = self.labels.end_series();
        match ended {
            Ok(()) => self.ends.push(self.values.len()),
            Err(_) => self.drop_points(),
        }
        ended
    }

    /// Takes the points of the series being built away again.
    fn drop_points(&mut self) {
        let kept = self.ends.last().copied().unwrap_or_default();
        self.values.truncate(kept);
        self.times.truncate(kept);
        self.histograms.truncate(kept);
    }

    /// Makes it a scalar.
    pub fn scalar(&mut self, value: f64, timestamp: Timestamp) {
        self.kind = AnswerKind::Scalar;
        // Without labels there is nothing to go wrong.
        let _ = self.series([], value, timestamp);
    }

    /// Makes it a string.
    pub fn text(&mut self, text: &str, timestamp: Timestamp) {
        self.kind = AnswerKind::String;
        self.times.push(timestamp);
        self.text = Some(text.into());
    }

    /// Changes what the timestamps mean, where that is known only after the answer was begun.
    pub fn set_stamp(&mut self, stamp: Stamp) {
        self.stamp = stamp;
    }

    /// Adds a remark on the query that nothing is missing because of.
    pub fn warning(&mut self, warning: &str) {
        self.warnings.push(warning.into());
    }

    /// Adds a warning that something is missing that could have changed the answer, which is incomplete then; not what
    /// its [`completeness`](Self::completeness) counts. Where the text is blank, it says that.
    pub fn missing(&mut self, warning: &str) {
        self.is_complete = false;
        self.warning(match warning.trim() {
            "" => "the backend does not say what is missing",
            _ => warning,
        });
    }

    /// Adds a remark of the backend that is not a problem.
    pub fn info(&mut self, info: &str) {
        self.infos.push(info.into());
    }

    /// Tells what `answer` tells beside its values: warnings, infos, what is missing, who has reported, where it comes
    /// from.
    pub fn told_by(&mut self, answer: &Answer) {
        let completeness = answer.completeness();
        // Who is missing is told by the completeness.
        let counted = completeness.map(|completeness| completeness.to_string());
        for warning in answer.warnings() {
            if counted.as_deref() == Some(warning) {
                continue;
            }
            match answer.has_uncounted_loss() {
                true => self.missing(warning),
                false => self.warning(warning),
            }
        }
        answer.infos().for_each(|info| self.info(info));
        self.is_complete &= !answer.has_uncounted_loss();
        self.completeness = completeness.cloned();
        self.origin = answer.provenance().and_then(|told| told.origin()).cloned();
    }

    /// How many values there are so far.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there is no value so far.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The finished answer.
    pub fn build(mut self) -> Answer {
        let times = match self.kind {
            AnswerKind::Matrix => {
                // Of a series that was begun and not ended.
                self.drop_points();
                Times::of_matrix(self.times, self.ends)
            }
            _ => Times::one_each(self.times),
        };
        self.histograms.shrink();
        let answer = Answer {
            kind: self.kind,
            labels: self.labels.build(),
            values: self.values.into_boxed_slice(),
            histograms: (!self.histograms.is_empty()).then(|| Arc::new(self.histograms)),
            times,
            stamp: self.stamp,
            is_complete: self.is_complete,
            text: self.text,
            warnings: self.warnings.into_boxed_slice(),
            infos: self.infos.into_boxed_slice(),
            provenance: None,
        };
        let answer = match self.ages.is_empty() {
            true => answer,
            false => answer.with_ages(self.ages),
        };
        let answer = match self.branches.is_empty() {
            true => answer,
            false => answer.with_branches(self.branches),
        };
        let answer = match self.completeness {
            Some(completeness) => answer.with_completeness(completeness),
            None => answer,
        };
        match self.origin {
            Some(origin) => answer.with_origin(origin),
            None => answer,
        }
    }
}

/// Sets the last of `rows` values; those before that were not set are `otherwise`.
fn set_last<T: Clone>(column: &mut Vec<T>, rows: usize, value: T, otherwise: T) {
    let Some(before) = rows.checked_sub(1) else {
        return;
    };
    column.resize(before, otherwise);
    column.push(value);
}
