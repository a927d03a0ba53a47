//! What a backend answered, and what became of it for one query.

mod builder;
mod collected;
mod ended;
mod mixed;
mod provenance;
mod shard;
mod times;

use std::sync::Arc;
use std::time::Duration;

use crate::age::Age;
use crate::completeness::Completeness;
use crate::label::{LabelSets, Labels};
use crate::sample::{MetricValue, Point, SampleValue, Stamp};
use crate::time::Timestamp;

use mixed::Histograms;
use times::Times;

pub use builder::AnswerBuilder;
pub use collected::MetricResult;
pub use ended::Ended;
pub use mixed::NotANumber;
pub use provenance::{Origin, Provenance};
pub use shard::{SHARD_HEADER, ShardMark, ShardMarkError};

/// The answer to a query, or the knowledge that there is none: of a backend, of an evaluation, in the cache.
///
/// *Shape*: by columns. [`values`](Self::values) shows them value by value, [`series`](Self::series) by series.
///
/// A value may be a native histogram, where who asked said that it takes them
/// ([`Request::histograms`](crate::backend::Request::histograms)): then the number in its place is NaN, and
/// [`has_histograms`](Self::has_histograms) says so. [`numbers`](Self::numbers) refuses such an answer.
#[derive(Clone, Debug)]
pub struct Answer {
    kind: AnswerKind,
    labels: LabelSets,
    /// Series after series; NaN in the place of a histogram.
    values: Box<[f64]>,
    histograms: Option<Arc<Histograms>>,
    times: Times,
    stamp: Stamp,
    is_complete: bool,
    text: Option<Box<str>>,
    warnings: Box<[Box<str>]>,
    infos: Box<[Box<str>]>,
    provenance: Option<Arc<Provenance>>,
}

/// The label that tells clusters apart, where nobody names others.
const CLUSTER: &str = "cluster";

/// What an answer is, as Prometheus names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AnswerKind {
    /// One value a series.
    #[default]
    Vector,
    /// Values of each series at several times, oldest first.
    Matrix,
    /// One number, of a series without labels.
    Scalar,
    /// A text, and no value.
    String,
}

/// One series of an answer.
///
/// *Shape*: a view into its [`Answer`].
#[derive(Clone, Copy, Debug)]
pub struct Series<'a> {
    answer: &'a Answer,
    index: usize,
    /// Which of the answer's values are its own.
    first: usize,
    end: usize,
}

/// Whether an answer holds values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AnswerStatus {
    /// At least one value, or a text.
    Values,
    /// The backend answered that it has none. This is not zero.
    NoData,
}

// === impl Answer ===

impl Answer {
    /// The answer without any value, as to a question that no series fits.
    pub fn no_data() -> Self {
        Self {
            kind: AnswerKind::Vector,
            labels: LabelSets::default(),
            values: Box::default(),
            histograms: None,
            times: Times::Same(Timestamp::default()),
            stamp: Stamp::Evaluated,
            is_complete: true,
            text: None,
            warnings: Box::default(),
            infos: Box::default(),
            provenance: None,
        }
    }

    /// Whether there is something in it.
    pub fn status(&self) -> AnswerStatus {
        if self.values.is_empty() && self.text.is_none() {
            AnswerStatus::NoData
        } else {
            AnswerStatus::Values
        }
    }

    /// Whether the backend has no value for the query.
    pub fn is_no_data(&self) -> bool {
        self.status() == AnswerStatus::NoData
    }

    /// With a remark that nothing is missing because of, behind those it has.
    #[must_use]
    pub fn with_warning(mut self, warning: &str) -> Self {
        let mut warnings = self.warnings.into_vec();
        warnings.push(warning.into());
        self.warnings = warnings.into_boxed_slice();
        self
    }

    /// With a warning that something is missing that could have changed it, and that no completeness counts.
    #[must_use]
    pub fn with_loss(mut self, warning: &str) -> Self {
        self = self.with_warning(warning);
        self.is_complete = false;
        if let Some(completeness) = self.completeness().cloned() {
            self.provenance_mut().set_completeness(completeness, true);
        }
        self
    }

    /// With values that all stand at `at`, and `stamp` for what that means; a matrix keeps its times.
    #[must_use]
    pub fn stamped(mut self, at: Timestamp, stamp: Stamp) -> Self {
        self.stamp = stamp;
        if self.kind != AnswerKind::Matrix {
            self.times = Times::Same(at);
        }
        self
    }

    /// With the ages of its series, in their order; of those that are left out nothing is known.
    #[must_use]
    pub fn with_ages(mut self, ages: Vec<Age>) -> Self {
        let rows = self.labels.len();
        self.provenance_mut().set_ages(ages, rows);
        self
    }

    /// With ages that are so much longer, where it tells them: what has passed since it was evaluated.
    #[must_use]
    pub fn older_by(mut self, more: Duration) -> Self {
        let tells_ages = self.provenance().is_some_and(Provenance::has_ages);
        if tells_ages && !more.is_zero() {
            let rows = self.labels.len();
            let provenance = self.provenance_mut();
            let ages = (0..rows).map(|row| provenance.age(row).older_by(more));
            let ages = ages.collect();
            provenance.set_ages(ages, rows);
        }
        self
    }

    /// With the branches of the query that gave its series, in their order, each counted from 0.
    #[must_use]
    pub fn with_branches(mut self, branches: Vec<Option<u16>>) -> Self {
        let rows = self.labels.len();
        self.provenance_mut().set_branches(branches, rows);
        self
    }

    /// With who was expected to report, and who did, in the place of what it told of that. Where somebody is missing it is
    /// incomplete, and a warning says so.
    #[must_use]
    pub fn with_completeness(mut self, completeness: Arc<Completeness>) -> Self {
        let has_uncounted_loss = self.has_uncounted_loss();
        if let Some(before) = self.completeness().map(|before| before.to_string()) {
            let mut warnings = self.warnings.into_vec();
            warnings.retain(|warning| **warning != *before);
            self.warnings = warnings.into_boxed_slice();
        }
        if !completeness.is_whole() {
            self = self.with_warning(&completeness.to_string());
        }
        self.is_complete = !has_uncounted_loss && completeness.is_whole();
        self.provenance_mut()
            .set_completeness(completeness, has_uncounted_loss);
        self
    }

    /// With where it comes from.
    #[must_use]
    pub fn with_origin(mut self, origin: Arc<Origin>) -> Self {
        self.provenance_mut().set_origin(origin);
        self
    }

    /// With how far the samples are apart that the query reads, those that are farthest.
    #[must_use]
    pub fn with_sample_interval(mut self, interval: Duration) -> Self {
        self.provenance_mut().set_sample_interval(interval);
        self
    }

    /// With which series have ended that its rows stand on.
    #[must_use]
    pub fn with_ended(mut self, ended: Ended) -> Self {
        self.provenance_mut().set_ended(Arc::new(ended));
        self
    }

    /// With the names of the labels that tell clusters apart in its rows: two pods of one name that differ in them are two.
    /// The label `cluster` does so in any case.
    #[must_use]
    pub fn with_cluster_labels(mut self, labels: Arc<[Box<str>]>) -> Self {
        self.provenance_mut().set_cluster_labels(labels);
        self
    }

    /// With which shard it is of.
    #[must_use]
    pub fn with_shard(mut self, shard: ShardMark) -> Self {
        self.provenance_mut().set_shard(shard);
        self
    }

    /// Says that its rows are those that the text of its origin gives, until others take their place.
    #[must_use]
    pub fn as_sent(mut self) -> Self {
        self.provenance_mut().set_as_sent();
        self
    }

    /// What it tells beside its rows (warnings, completeness, origin) with the rows of `rows` in their place, and what
    /// these tell beside. The ages are those of `rows`; a completeness of `rows` takes the place of its own.
    #[must_use]
    pub fn with_rows(self, mut rows: Self) -> Self {
        let lost = self.has_uncounted_loss() || rows.has_uncounted_loss();
        let mut warnings = self.warnings.into_vec();
        let new = rows.provenance.take();
        let replaced = new.as_ref().and_then(|new| new.completeness().cloned());
        let mut provenance = self.provenance.map(Arc::unwrap_or_clone).unwrap_or_default();
        if let (Some(_), Some(before)) = (&replaced, provenance.completeness()) {
            // The new one says it anew.
            let told = before.to_string();
            warnings.retain(|warning| **warning != *told);
        }
        warnings.append(&mut rows.warnings.into_vec());
        rows.warnings = warnings.into_boxed_slice();
        let infos = self.infos.iter().chain(&rows.infos).cloned().collect();
        rows.infos = infos;
        provenance.take_rows(new.map(Arc::unwrap_or_clone).unwrap_or_default());
        let completeness = replaced.or_else(|| provenance.completeness().cloned());
        rows.is_complete = !lost && completeness.as_ref().is_none_or(|known| known.is_whole());
        if let Some(completeness) = completeness {
            provenance.set_completeness(completeness, lost);
        }
        rows.provenance = (!provenance.is_blank()).then(|| Arc::new(provenance));
        rows
    }

    /// Its rows with their ages, and nothing of what else it tells.
    #[must_use]
    pub fn rows_alone(&self) -> Self {
        let mut provenance = Provenance::default();
        provenance.take_rows(self.provenance().cloned().unwrap_or_default());
        Self {
            is_complete: true,
            warnings: Box::default(),
            infos: Box::default(),
            provenance: (!provenance.is_blank()).then(|| Arc::new(provenance)),
            ..self.clone()
        }
    }

    fn provenance_mut(&mut self) -> &mut Provenance {
        Arc::make_mut(self.provenance.get_or_insert_default())
    }

    /// What it tells of ages, completeness and origin, if anything.
    pub fn provenance(&self) -> Option<&Provenance> {
        self.provenance.as_deref()
    }

    /// Whether rows that differ in this label are of different clusters.
    pub fn is_of_cluster(&self, label: &str) -> bool {
        let others = self.provenance().map_or(&[][..], Provenance::cluster_labels);
        label == CLUSTER || others.iter().any(|other| **other == *label)
    }

    /// Who was expected to report, and who did, where the source told it.
    pub fn completeness(&self) -> Option<&Arc<Completeness>> {
        self.provenance()?.completeness()
    }

    /// Whether something is missing that [`completeness`](Self::completeness) does not count: no name is missing for it.
    pub fn has_uncounted_loss(&self) -> bool {
        match self.provenance() {
            Some(provenance) if provenance.completeness().is_some() => provenance.has_uncounted_loss(),
            _ => !self.is_complete,
        }
    }

    /// What it is.
    pub fn kind(&self) -> AnswerKind {
        self.kind
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there is no value; a text may still be there.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The values, in the backend's order; those of a matrix series after series.
    pub fn values(&self) -> impl Iterator<Item = MetricValue<'_>> {
        let is_matrix = self.kind == AnswerKind::Matrix;
        let one_each = self.one_each().map(|points| {
            let rows = self.labels.iter().zip(points);
            let rows = rows.zip(0..);
            rows.map(|((labels, point), place)| (labels, point.value, point.timestamp, place))
        });
        let many = is_matrix.then(|| {
            self.series().flat_map(|series| {
                let points = series.points().zip(series.first..);
                points.map(move |(point, place)| (series.labels(), point.value, point.timestamp, place))
            })
        });
        let all = one_each.into_iter().flatten().chain(many.into_iter().flatten());
        let histograms = self.histograms.as_deref();
        all.map(move |(labels, value, timestamp, place)| MetricValue {
            labels,
            value,
            histogram: histograms.and_then(|histograms| histograms.at(place)),
            timestamp,
            stamp: self.stamp,
        })
    }

    /// Whether at least one of its values is a native histogram, and no number.
    pub fn has_histograms(&self) -> bool {
        self.histograms.is_some()
    }

    /// The answer, if all of its values are numbers.
    ///
    /// *Errors*: [`NotANumber`], with the first series of which a value is a native histogram.
    pub fn numbers(self) -> Result<Self, NotANumber> {
        match self.not_a_number() {
            None => Ok(self),
            Some(error) => Err(error),
        }
    }

    /// Why it cannot be read as numbers, if it cannot.
    pub fn not_a_number(&self) -> Option<NotANumber> {
        let place = self.histograms.as_deref()?.first()?;
        let series = self.series().find(|series| place < series.end)?;
        Some(NotANumber::of(&series.labels().to_string()))
    }

    /// The one point that each series has, in their order; `None` of a matrix, whose series have many.
    pub fn one_each(&self) -> Option<impl ExactSizeIterator<Item = Point>> {
        // One value a series needs no walk over the points of each.
        let rows = (self.kind != AnswerKind::Matrix).then(|| self.values.iter().enumerate())?;
        Some(rows.map(|(row, &value)| Point {
            value,
            timestamp: self.times.of_one(row),
        }))
    }

    /// The series, in the backend's order; of a scalar one without labels.
    pub fn series(&self) -> impl ExactSizeIterator<Item = Series<'_>> {
        let mut first = 0;
        (0..self.labels.len()).map(move |index| {
            let end = self.times.end(index);
            Series {
                answer: self,
                index,
                first: std::mem::replace(&mut first, end),
                end,
            }
        })
    }

    /// The series at `row`, which there is.
    fn series_at(&self, row: usize) -> Series<'_> {
        Series {
            answer: self,
            index: row,
            first: row.checked_sub(1).map_or(0, |before| self.times.end(before)),
            end: self.times.end(row),
        }
    }

    /// What the timestamps mean.
    pub fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// The time of its oldest value; `None` where it has none.
    pub fn oldest(&self) -> Option<Timestamp> {
        match &self.times {
            _ if self.is_empty() => None,
            Times::Same(at) => Some(*at),
            _ => self.values().map(|value| value.timestamp).min(),
        }
    }

    /// Whether its series are known to be those of `other`, in the same order. It is a comparison of a few blocks of
    /// memory, and may say no where they are.
    pub fn has_series_of(&self, other: &Self) -> bool {
        self.labels.is_laid_out_as(&other.labels)
    }

    /// The time of all of its values, or of its text, if they have one.
    pub fn at(&self) -> Option<Timestamp> {
        match self.times {
            Times::Same(at) if !self.is_no_data() => Some(at),
            _ => None,
        }
    }

    /// The labels of a series that has the same ones as a series before it, if there is such a pair. In
    /// Prometheus labels tell series apart; whoever adds up over such an answer counts twice.
    pub fn duplicate_series(&self) -> Option<Labels<'_>> {
        self.labels.duplicate()
    }

    /// Whether nothing is known to be missing that could have changed the answer: no sample that was refused
    /// or could not be read, no target that was left out or failed, no part of a backend that did not answer, nobody who
    /// was expected to report.
    /// What is missing, [`warnings`](Self::warnings) say.
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// The string that a PromQL string literal evaluates to; no other query yields one.
    pub fn text(&self) -> Option<&str> {
        self.text.as_deref()
    }

    /// What the backend warned of: the values may be wrong or incomplete, as when a store did not answer.
    pub fn warnings(&self) -> impl ExactSizeIterator<Item = &str> {
        self.warnings.iter().map(|w| &**w)
    }

    /// What the backend remarked on the query itself, as `rate` of something that is not a counter.
    pub fn infos(&self) -> impl ExactSizeIterator<Item = &str> {
        self.infos.iter().map(|i| &**i)
    }

    /// Heap bytes held, as asked of the allocator.
    ///
    /// *Unit*: bytes.
    pub fn heap_bytes(&self) -> usize {
        let texts = self.warnings.iter().chain(&self.infos).chain(&self.text);
        let texts: usize = texts.map(|t| t.len() + size_of::<Box<str>>()).sum();
        let provenance = self.provenance().map_or(0, Provenance::heap_bytes);
        let histograms = self.histograms.as_deref();
        let histograms = histograms.map_or(0, |all| size_of_val(all) + all.heap_bytes());
        let values = size_of_val(&*self.values) + histograms;
        self.labels.heap_bytes() + values + self.times.heap_bytes() + texts + provenance
    }
}

// === impl Series ===

impl<'a> Series<'a> {
    /// What identifies it.
    pub fn labels(&self) -> Labels<'a> {
        self.answer.labels.at(self.index)
    }

    /// How many points it has; at least one.
    pub fn len(&self) -> usize {
        self.end - self.first
    }

    /// Whether it has no point, which no series of an answer is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its points, oldest first.
    pub fn points(&self) -> impl Iterator<Item = Point> + use<'a> {
        let times = self.answer.times.of(self.index, self.first..self.end);
        let values = &self.answer.values[self.first..self.end];
        times
            .zip(values)
            .map(|(timestamp, &value)| Point { timestamp, value })
    }

    /// Whether at least one of its samples is a native histogram.
    pub fn has_histograms(&self) -> bool {
        let histograms = self.answer.histograms.as_deref();
        histograms.is_some_and(|histograms| histograms.is_among(self.first..self.end))
    }

    /// What it has at each of its times, oldest first: numbers, and native histograms.
    pub fn samples(&self) -> impl Iterator<Item = (Timestamp, SampleValue<'a>)> + use<'a> {
        let histograms = self.answer.histograms.as_deref();
        self.points().zip(self.first..).map(move |(point, place)| {
            let histogram = histograms.and_then(|histograms| histograms.at(place));
            let value = histogram.map_or(SampleValue::Number(point.value), SampleValue::Histogram);
            (point.timestamp, value)
        })
    }

    /// Its points from `from` on and before `to`, oldest first: values, and their times.
    pub(crate) fn between(
        &self,
        from: Timestamp,
        to: Timestamp,
    ) -> (&'a [f64], impl Iterator<Item = Timestamp> + use<'a>) {
        let answer = self.answer;
        let (range, times) = answer.times.between(self.index, self.first..self.end, from, to);
        (&answer.values[range], times)
    }
}

#[cfg(test)]
mod tests;
