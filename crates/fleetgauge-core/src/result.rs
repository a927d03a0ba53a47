//! What a backend answered, and what became of it for one query.

use crate::label::{LabelError, LabelSets, LabelSetsBuilder, Labels};
use crate::query::QueryName;
use crate::sample::{MetricValue, Stamp};
use crate::time::Timestamp;

/// A backend's answer to one rendered query: values, or the knowledge that there are none.
///
/// *Shape*: by columns; [`values`](Self::values) shows it by series.
#[derive(Clone, Debug)]
pub struct Answer {
    labels: LabelSets,
    values: Box<[f64]>,
    timestamps: Timestamps,
    stamp: Stamp,
    is_complete: bool,
    text: Option<Box<str>>,
    warnings: Box<[Box<str>]>,
    infos: Box<[Box<str>]>,
}

/// Timestamps of an answer: an instant query gives all its values the same one.
#[derive(Clone, Debug)]
enum Timestamps {
    Same(Timestamp),
    Each(Box<[Timestamp]>),
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
}

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
#[derive(Debug)]
pub struct AnswerBuilder {
    labels: LabelSetsBuilder,
    values: Vec<f64>,
    timestamps: Vec<Timestamp>,
    stamp: Stamp,
    is_complete: bool,
    text: Option<Box<str>>,
    warnings: Vec<Box<str>>,
    infos: Vec<Box<str>>,
}

// === impl Answer ===

impl Answer {
    /// The answer without any value, as to a question that no series fits.
    pub fn no_data() -> Self {
        AnswerBuilder::new(Stamp::Evaluated).build()
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

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there is no value; a text may still be there.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The values, in the backend's order.
    pub fn values(&self) -> impl ExactSizeIterator<Item = MetricValue<'_>> {
        let columns = self.labels.iter().zip(&self.values).enumerate();
        columns.map(|(i, (labels, &value))| MetricValue {
            labels,
            value,
            timestamp: self.timestamps.get(i),
            stamp: self.stamp,
        })
    }

    /// The labels of a series that has the same ones as a series before it, if there is such a pair. In
    /// Prometheus labels tell series apart; whoever adds up over such an answer counts twice.
    pub fn duplicate_series(&self) -> Option<Labels<'_>> {
        self.labels.duplicate()
    }

    /// Whether nothing is known to be missing that could have changed the answer: no sample that was refused
    /// or could not be read, no target that was left out or failed, no part of a backend that did not answer.
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

    /// What the backend remarked on the query itself, as `rate` of something that is no counter.
    pub fn infos(&self) -> impl ExactSizeIterator<Item = &str> {
        self.infos.iter().map(|i| &**i)
    }

    /// Heap bytes held, as asked of the allocator.
    ///
    /// *Unit*: bytes.
    pub fn heap_bytes(&self) -> usize {
        let timestamps = match &self.timestamps {
            Timestamps::Same(_) => 0,
            Timestamps::Each(each) => size_of_val(&**each),
        };
        let texts = self.warnings.iter().chain(&self.infos).chain(&self.text);
        let texts: usize = texts.map(|t| t.len() + size_of::<Box<str>>()).sum();
        self.labels.heap_bytes() + size_of_val(&*self.values) + timestamps + texts
    }
}

impl Timestamps {
    fn get(&self, index: usize) -> Timestamp {
        match self {
            Timestamps::Same(same) => *same,
            Timestamps::Each(each) => each[index],
        }
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
        }
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

    /// The answer, whole.
    pub fn answer(&self) -> &Answer {
        &self.answer
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
    pub fn values(&self) -> impl ExactSizeIterator<Item = MetricValue<'_>> {
        self.answer.values()
    }

    /// What the backend warned of.
    pub fn warnings(&self) -> impl ExactSizeIterator<Item = &str> {
        self.answer.warnings()
    }
}

// === impl AnswerBuilder ===

impl AnswerBuilder {
    /// An answer whose timestamps mean what `stamp` says.
    pub fn new(stamp: Stamp) -> Self {
        Self {
            labels: LabelSetsBuilder::default(),
            values: Vec::new(),
            timestamps: Vec::new(),
            stamp,
            is_complete: true,
            text: None,
            warnings: Vec::new(),
            infos: Vec::new(),
        }
    }

    /// Adds a series.
    ///
    /// *Errors*: [`LabelError`], and then the series is not kept; the ones before it are.
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

    /// Adds a label to the series that the next [`end_series`](Self::end_series) ends, for those who read
    /// labels from a stream.
    pub fn label(&mut self, name: &str, value: &str) {
        self.labels.label(name, value);
    }

    /// Ends the series whose labels were added.
    ///
    /// *Errors*: [`LabelError`], and then the series is not kept; the ones before it are.
    pub fn end_series(&mut self, value: f64, timestamp: Timestamp) -> Result<(), LabelError> {
        self.labels.end_series()?;
        if self.values.is_empty() {
            self.values.reserve(16);
            self.timestamps.reserve(16);
        }
        self.values.push(value);
        self.timestamps.push(timestamp);
        Ok(())
    }

    /// What the timestamps added mean, where that is known only late.
    pub fn set_stamp(&mut self, stamp: Stamp) {
        self.stamp = stamp;
    }

    /// Sets the text of a string answer.
    pub fn text(&mut self, text: &str) {
        self.text = Some(text.into());
    }

    /// Adds a warning of the backend on the query itself, by which nothing is missing from the answer.
    pub fn warning(&mut self, warning: &str) {
        self.warnings.push(warning.into());
    }

    /// Adds a warning that something is missing which could have changed the answer, and makes the answer
    /// incomplete.
    pub fn missing(&mut self, warning: &str) {
        self.is_complete = false;
        self.warning(warning);
    }

    /// Adds a remark of the backend.
    pub fn info(&mut self, info: &str) {
        self.infos.push(info.into());
    }

    /// How many series have been added.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether no series has been added yet.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The finished answer, without spare capacity.
    pub fn build(self) -> Answer {
        let first = self.timestamps.first().copied().unwrap_or_default();
        let same = self.timestamps.iter().all(|&t| t == first);
        Answer {
            labels: self.labels.build(),
            values: self.values.into_boxed_slice(),
            timestamps: if same {
                Timestamps::Same(first)
            } else {
                Timestamps::Each(self.timestamps.into_boxed_slice())
            },
            stamp: self.stamp,
            is_complete: self.is_complete,
            text: self.text,
            warnings: self.warnings.into_boxed_slice(),
            infos: self.infos.into_boxed_slice(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_data_is_neither_zero_nor_a_text() {
        assert_eq!(Answer::no_data().status(), AnswerStatus::NoData);
        let mut text = AnswerBuilder::new(Stamp::Evaluated);
        text.text("");
        assert_eq!(text.build().status(), AnswerStatus::Values);
    }

    #[test]
    fn what_is_missing_is_a_warning_and_makes_the_answer_incomplete() {
        let mut answer = AnswerBuilder::new(Stamp::Evaluated);
        answer.warning("not a counter");
        assert!(answer.is_complete);
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

    #[test]
    fn decision_9_an_evaluation_time_is_not_a_sample_time() {
        let mut answer = AnswerBuilder::new(Stamp::Evaluated);
        answer.series([], 1.0, Timestamp::from_millis(5)).unwrap();
        assert_eq!(answer.build().values().next().unwrap().sampled_at(), None);
    }
}
