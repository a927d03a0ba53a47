//! What a backend answered, and what became of it for one query.

mod builder;
mod provenance;
mod times;

use std::sync::Arc;
use std::time::Duration;

use crate::age::Age;
use crate::completeness::Completeness;
use crate::label::{LabelSets, Labels};
use crate::query::name::QueryName;
use crate::range::Steps;
use crate::sample::{MetricValue, Point, Stamp};
use crate::time::Timestamp;

use times::Times;

pub use builder::AnswerBuilder;
pub use provenance::{Origin, Provenance};

/// The answer to a query, or the knowledge that there is none: of a backend, of an evaluation, in the cache.
///
/// *Shape*: by columns. [`values`](Self::values) shows them value by value, [`series`](Self::series) by series.
#[derive(Clone, Debug)]
pub struct Answer {
    kind: AnswerKind,
    labels: LabelSets,
    /// Series after series.
    values: Box<[f64]>,
    times: Times,
    stamp: Stamp,
    is_complete: bool,
    text: Option<Box<str>>,
    warnings: Box<[Box<str>]>,
    infos: Box<[Box<str>]>,
    provenance: Option<Arc<Provenance>>,
}

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

/// One query's answer as it was collected.
///
/// ```
/// use fleetgauge_core::result::{Answer, MetricResult};
/// use fleetgauge_core::time::Timestamp;
///
/// let at = Timestamp::from_secs_f64(1763930000.5);
/// let result = MetricResult::new("queue_depth".parse()?, at, Answer::no_data());
/// // "No data" is an answer of its own: it has no value that could be mistaken for zero.
/// assert!(result.is_no_data());
/// assert_eq!(result.values().next(), None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct MetricResult {
    query: QueryName,
    collected_at: Timestamp,
    answer: Answer,
    steps: Option<Steps>,
}

// === impl Answer ===

impl Answer {
    /// The answer without any value, as to a question that no series fits.
    pub fn no_data() -> Self {
        Self {
            kind: AnswerKind::Vector,
            labels: LabelSets::default(),
            values: Box::default(),
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

    /// With who was expected to report, and who did. Where somebody is missing it is incomplete, and a warning says so.
    #[must_use]
    pub fn with_completeness(mut self, completeness: Arc<Completeness>) -> Self {
        let has_uncounted_loss = self.has_uncounted_loss();
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
        // One value a series needs no walk over the points of each.
        let one_each = (!is_matrix).then(|| {
            let columns = self.labels.iter().zip(&self.values).enumerate();
            columns.map(|(i, (labels, &value))| (labels, value, self.times.of_one(i)))
        });
        let many = is_matrix.then(|| {
            self.series().flat_map(|series| {
                let points = series.points();
                points.map(move |point| (series.labels(), point.value, point.timestamp))
            })
        });
        let all = one_each.into_iter().flatten().chain(many.into_iter().flatten());
        all.map(|(labels, value, timestamp)| MetricValue {
            labels,
            value,
            timestamp,
            stamp: self.stamp,
        })
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
        self.labels.heap_bytes() + size_of_val(&*self.values) + self.times.heap_bytes() + texts + provenance
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

// === impl MetricResult ===

impl MetricResult {
    /// What `query` got at `collected_at`.
    pub fn new(query: QueryName, collected_at: Timestamp, answer: Answer) -> Self {
        Self {
            query,
            collected_at,
            answer,
            steps: None,
        }
    }

    /// Sets the steps at which the query was evaluated.
    #[must_use]
    pub fn with_steps(mut self, steps: Steps) -> Self {
        self.steps = Some(steps);
        self
    }

    /// Whether nothing is known to be missing that could have changed the answer: [`Answer::is_complete`].
    pub fn is_complete(&self) -> bool {
        self.answer.is_complete()
    }

    /// The query's name.
    pub fn query(&self) -> &QueryName {
        &self.query
    }

    /// When the answer arrived.
    pub fn collected_at(&self) -> Timestamp {
        self.collected_at
    }

    /// The steps at which the query was evaluated, if it was at several. A series lacks those at which it had no
    /// value.
    pub fn steps(&self) -> Option<Steps> {
        self.steps
    }

    /// The answer, whole.
    pub fn answer(&self) -> &Answer {
        &self.answer
    }

    /// How old the value of the series at `row` was when the answer was had: as its provenance tells, or by the time of
    /// the sample where that is known.
    pub fn age(&self, row: usize) -> Age {
        match self.answer.provenance() {
            Some(provenance) if provenance.has_ages() => provenance.age(row),
            _ if self.answer.stamp != Stamp::Sampled || row >= self.answer.labels.len() => Age::UNKNOWN,
            _ => {
                let newest = self.answer.series_at(row).points().last();
                newest.map_or(Age::UNKNOWN, |point| {
                    Age::between(point.timestamp, self.collected_at)
                })
            }
        }
    }

    /// Whether there is something in it.
    pub fn status(&self) -> AnswerStatus {
        self.answer.status()
    }

    /// Whether the backend has no value for the query. This is not zero.
    pub fn is_no_data(&self) -> bool {
        self.answer.is_no_data()
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.answer.len()
    }

    /// Whether there is no value; a text may still be there.
    pub fn is_empty(&self) -> bool {
        self.answer.is_empty()
    }

    /// The values, in the backend's order.
    pub fn values(&self) -> impl Iterator<Item = MetricValue<'_>> {
        self.answer.values()
    }

    /// What the backend warned of.
    pub fn warnings(&self) -> impl ExactSizeIterator<Item = &str> {
        self.answer.warnings()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::completeness::Report;
    use proptest::prelude::*;

    #[test]
    fn no_data_is_neither_zero_nor_a_text() {
        assert_eq!(Answer::no_data().status(), AnswerStatus::NoData);
        let mut text = AnswerBuilder::new(Stamp::Evaluated);
        text.text("", Timestamp::from_millis(5));
        let text = text.build();
        assert_eq!(text.status(), AnswerStatus::Values);
        assert_eq!(text.at(), Some(Timestamp::from_millis(5)));
    }

    #[test]
    fn what_is_missing_is_a_warning_and_makes_the_answer_incomplete() {
        let mut answer = AnswerBuilder::new(Stamp::Evaluated);
        answer.warning("not a counter");
        answer.missing("store 2 did not answer");
        let answer = answer.build();
        assert!(!answer.is_complete());
        let warnings: Vec<_> = answer.warnings().collect();
        assert_eq!(warnings, ["not a counter", "store 2 did not answer"]);
    }

    #[test]
    fn each_series_keeps_its_own_timestamp() {
        let mut answer = AnswerBuilder::new(Stamp::Sampled);
        for millis in [1, 2, 2] {
            answer
                .series([("pod", "a")], 0.0, Timestamp::from_millis(millis))
                .unwrap();
        }
        let answer = answer.build();
        let stamps: Vec<_> = answer
            .values()
            .map(|v| v.sampled_at().unwrap().as_millis())
            .collect();
        assert_eq!(stamps, [1, 2, 2]);
    }

    /// A matrix is kept on a grid where that is smaller, else with the times of each series.
    #[test]
    fn a_matrix_reads_back_as_it_was_given() {
        let check = |series: &[&[(i64, f64)]]| {
            let mut answer = AnswerBuilder::new(Stamp::Evaluated);
            for (i, points) in series.iter().enumerate() {
                answer.label("i", &i.to_string());
                for &(millis, value) in *points {
                    answer.point(value, Timestamp::from_millis(millis));
                }
                answer.end_points().unwrap();
            }
            let answer = answer.build();
            assert_eq!(answer.kind(), AnswerKind::Matrix);
            let read: Vec<(String, Vec<_>)> = answer
                .series()
                .map(|series| {
                    let points = series.points();
                    let points = points.map(|p| (p.timestamp.as_millis(), p.value.to_bits()));
                    (series.labels().to_string(), points.collect())
                })
                .collect();
            let given: Vec<(String, Vec<_>)> = (series.iter().enumerate())
                .map(|(i, points)| {
                    (
                        format!("{{i=\"{i}\"}}"),
                        points.iter().map(|&(at, v)| (at, v.to_bits())).collect(),
                    )
                })
                .collect();
            assert_eq!(read, given);
            assert_eq!(answer.values().count(), answer.len());
            answer.heap_bytes() - answer.labels.heap_bytes() - 8 * answer.len()
        };
        let row: Vec<_> = (0..60).map(|i| (i * 15_000, i as f64)).collect();
        let gaps: Vec<_> = row.iter().copied().filter(|(at, _)| at % 45_000 != 0).collect();
        let jitter: Vec<_> = row.iter().map(|&(at, value)| (at * 7 + at % 11, value)).collect();
        // All points of the grid, then some of them: a bit each; then times of their own.
        assert_eq!(check(&[&row, &row]), 0);
        assert!(check(&[&row, &gaps, &row[7..8], &row]) < 3 * 60);
        assert!(check(&[&row, &jitter]) > 8 * 100);
        check(&[&row[3..4]]);
        check(&[&[(i64::MIN, 1.0), (i64::MAX, 2.0)], &[(0, f64::NAN)]]);
        check(&[&[(5, 1.0)], &[(4, 1.0), (6, 2.0)]]);
    }

    #[test]
    fn a_scalar_is_one_value_without_labels() {
        let mut answer = AnswerBuilder::new(Stamp::Evaluated);
        answer.scalar(f64::NAN, Timestamp::from_millis(5));
        let answer = answer.build();
        assert_eq!(
            (answer.kind(), answer.status()),
            (AnswerKind::Scalar, AnswerStatus::Values)
        );
        let value = answer.values().next().unwrap();
        assert!(value.labels.is_empty() && value.is_undefined());
        assert_eq!(answer.series().len(), 1);
    }

    fn missing_one_of_two() -> Arc<Completeness> {
        let mut completeness = Completeness::known();
        completeness.add("pod a", Report::Reported);
        completeness.add("pod b", Report::Missing("timeout"));
        Arc::new(completeness)
    }

    #[test]
    fn ages_and_branches_belong_to_their_rows() {
        let mut answer = AnswerBuilder::new(Stamp::Evaluated);
        let age = |s| Age::exact(Duration::from_secs(s));
        for (pod, told) in [("a", None), ("b", Some(7)), ("c", Some(9)), ("d", None)] {
            answer.series([("pod", pod)], 1.0, Timestamp::default()).unwrap();
            if let Some(told) = told {
                answer.age(age(told));
                answer.branch(u16::from(told == 9));
            }
        }
        let answer = answer.build();
        let provenance = answer.provenance().unwrap();
        let ages = [Age::UNKNOWN, age(7), age(9), Age::UNKNOWN];
        assert_eq!([0, 1, 2, 3].map(|row| provenance.age(row)), ages);
        assert_eq!(
            [0, 1, 2, 3].map(|row| provenance.branch(row)),
            [None, Some(0), Some(1), None]
        );
        let result = MetricResult::new("q".parse().unwrap(), Timestamp::from_millis(99), answer);
        assert_eq!([0, 1, 2, 3, 4].map(|row| result.age(row))[..4], ages);
        assert_eq!(result.age(4), Age::UNKNOWN);
    }

    #[test]
    fn a_sample_knows_its_age_and_an_evaluation_does_not() {
        let check = |stamp, expected: Option<u64>| {
            let mut answer = AnswerBuilder::new(stamp);
            answer
                .series([("pod", "a")], 1.0, Timestamp::from_millis(1_000))
                .unwrap();
            answer
                .series([("pod", "b")], 1.0, Timestamp::from_millis(3_000))
                .unwrap();
            let result = MetricResult::new(
                "q".parse().unwrap(),
                Timestamp::from_millis(4_000),
                answer.build(),
            );
            assert_eq!(result.age(1).duration(), expected.map(Duration::from_millis));
        };
        check(Stamp::Sampled, Some(1_000));
        check(Stamp::Evaluated, None);
    }

    #[test]
    fn what_completeness_counts_is_told_from_what_it_does_not() {
        let check = |answer: Answer, expected: (bool, bool)| {
            assert_eq!((answer.is_complete(), answer.has_uncounted_loss()), expected);
        };
        let with = |build: fn(&mut AnswerBuilder)| {
            let mut answer = AnswerBuilder::new(Stamp::Evaluated);
            build(&mut answer);
            answer.build()
        };
        check(with(|_| {}), (true, false));
        check(with(|answer| answer.missing("a bad line")), (false, true));
        check(
            with(|answer| answer.completeness(missing_one_of_two())),
            (false, false),
        );
        check(
            with(|answer| answer.completeness(Arc::new(Completeness::known()))),
            (true, false),
        );
        let both = |answer: &mut AnswerBuilder| {
            answer.completeness(missing_one_of_two());
            answer.missing("a bad line");
        };
        check(with(both), (false, true));
        // Told anew: what is counted now does not hide what was not counted.
        check(
            with(both).with_completeness(Arc::new(Completeness::known())),
            (false, true),
        );
        let told = with(|answer| answer.completeness(missing_one_of_two()));
        check(
            told.with_completeness(Arc::new(Completeness::known())),
            (true, false),
        );
    }

    #[test]
    fn provenance_takes_room_only_where_it_is() {
        let bare = || {
            let mut answer = AnswerBuilder::new(Stamp::Evaluated);
            for row in 0..1_000 {
                let pod = format!("p{row}");
                answer
                    .series([("pod", &*pod)], 1.0, Timestamp::default())
                    .unwrap();
            }
            answer
        };
        let plain = bare().build();
        assert!(plain.provenance().is_none());
        let ages = (0..1_000).map(|s| Age::exact(Duration::from_secs(s)));
        let aged = bare().build().with_ages(ages.collect());
        assert!(aged.heap_bytes() - plain.heap_bytes() < 5 * 1_000);
        let bound = bare()
            .build()
            .with_ages(vec![Age::at_most(Duration::from_secs(5)); 1_000]);
        assert!(bound.heap_bytes() - plain.heap_bytes() < 300);
    }

    #[test]
    fn decision_9_an_evaluation_time_is_not_a_sample_time() {
        let mut answer = AnswerBuilder::new(Stamp::Evaluated);
        answer.series([], 1.0, Timestamp::from_millis(5)).unwrap();
        assert_eq!(answer.build().values().next().unwrap().sampled_at(), None);
    }

    proptest! {
        /// On a grid, with gaps and without, and off it.
        #[test]
        fn a_part_of_a_series_is_its_points_in_that_part(
            series in prop::collection::vec(prop::collection::btree_set(0..80i64, 1..60), 1..4),
            stretched in any::<bool>(),
            (from, to) in (-5..90i64, -5..90i64),
        ) {
            let time = |at: i64| Timestamp::from_millis(if stretched { at * at * 7 } else { at * 15_000 });
            let mut answer = AnswerBuilder::new(Stamp::Evaluated);
            for (row, times) in series.iter().enumerate() {
                answer.label("row", &row.to_string());
                times.iter().for_each(|&at| answer.point(at as f64, time(at)));
                answer.end_points().unwrap();
            }
            let answer = answer.build();
            let (from, to) = (time(from), Timestamp::from_millis(time(to).as_millis() + 1));
            for series in answer.series() {
                let (values, times) = series.between(from, to);
                let part: Vec<_> = times.zip(values.iter().copied()).collect();
                let points = series.points().filter(|point| (from..to).contains(&point.timestamp));
                let expected: Vec<_> = points.map(|point| (point.timestamp, point.value)).collect();
                prop_assert_eq!(part.len(), values.len());
                prop_assert_eq!(part, expected);
            }
        }
    }
}
