//! What the rows of an answer are called as series.

use std::sync::Arc;

use fleetgauge_core::label::Labels;
use fleetgauge_core::result::{Answer, AnswerKind, NotANumber};
use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::label::{LabelSet, METRIC_NAME};

/// An answer that cannot be read as series.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AnswersError {
    /// Two rows differ in their metric names alone, which the name of the answer takes the place of.
    #[error(
        "two rows of the answer are {series} once its name has taken the place of theirs; aggregate them, or tell them apart by a label"
    )]
    SameSeries {
        /// The series that they become.
        series: LabelSet,
    },
    /// It is a text.
    #[error("the answer is a string, and has no numbers")]
    Text,
    /// It has a native histogram.
    #[error(transparent)]
    NotANumber(#[from] NotANumber),
}

/// The labels that the rows of an answer have under a name. They depend on nothing else, and take longer to make than
/// all that is read of the rows: whoever reads the same series again may keep them. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RowLabels {
    /// Sorted, each label set once.
    labels: Arc<[LabelSet]>,
    /// Which rows of the answer they are of; `None` where those are in the same order.
    rows: Option<Arc<[usize]>>,
}

/// Gives rows their labels: texts that several rows have are there once, and so are lists of names.
struct Relabel<'a> {
    /// That of all rows; without it they keep theirs.
    name: Option<Arc<str>>,
    /// The last list of names, and where the metric name stands in it.
    names: Vec<&'a str>,
    shape: (Arc<[Arc<str>]>, usize),
    texts: HashMap<&'a str, Arc<str>, RandomState>,
}

// === impl RowLabels ===

impl RowLabels {
    /// The labels of `answer` with `name` in the place of its rows' metric names.
    ///
    /// *Errors*: [`AnswersError`]
    pub fn new(name: &str, answer: &Answer) -> Result<Self, AnswersError> {
        Self::of(Some(name), answer)
    }

    /// Without a name the rows keep theirs.
    pub(super) fn of(name: Option<&str>, answer: &Answer) -> Result<Self, AnswersError> {
        if answer.kind() == AnswerKind::String {
            return Err(AnswersError::Text);
        }
        if let Some(error) = answer.not_a_number() {
            return Err(error.into());
        }
        let mut relabel = Relabel::new(name);
        let labels: Vec<_> = (answer.series())
            .map(|series| relabel.apply(series.labels()))
            .collect();
        if labels.is_sorted_by(|a, b| a < b) {
            let labels = labels.into();
            return Ok(Self { labels, rows: None });
        }
        let mut rows: Vec<usize> = (0..labels.len()).collect();
        rows.sort_by(|&a, &b| labels[a].cmp(&labels[b]));
        if let Some(same) = rows.windows(2).find(|pair| labels[pair[0]] == labels[pair[1]]) {
            return Err(AnswersError::SameSeries {
                series: labels[same[0]].clone(),
            });
        }
        let labels = rows.iter().map(|&row| labels[row].clone()).collect();
        Ok(Self {
            labels,
            rows: Some(rows.into()),
        })
    }

    /// Sorted, each label set once.
    pub(super) fn shared(&self) -> &Arc<[LabelSet]> {
        &self.labels
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// What is told of each row of the answer, in the order of the labels.
    pub(super) fn sorted<T: Clone>(&self, of_rows: Vec<T>) -> Vec<T> {
        assert_eq!(of_rows.len(), self.len(), "the labels are those of the answer");
        match &self.rows {
            None => of_rows,
            Some(rows) => rows.iter().map(|&row| of_rows[row].clone()).collect(),
        }
    }
}

// === impl Relabel ===

impl<'a> Relabel<'a> {
    fn new(name: Option<&str>) -> Self {
        Self {
            name: name.map(Arc::from),
            names: Vec::new(),
            shape: (name.iter().map(|_| Arc::from(METRIC_NAME)).collect(), 0),
            texts: HashMap::default(),
        }
    }

    /// `labels`, with the answer's name as their metric name, if it takes the place of theirs.
    fn apply(&mut self, labels: Labels<'a>) -> LabelSet {
        let is_named = self.name.is_some();
        let others = || (labels.iter()).filter(move |(name, _)| !is_named || *name != METRIC_NAME);
        if !others().map(|(name, _)| name).eq(self.names.iter().copied()) {
            self.names = others().map(|(name, _)| name).collect();
            let place = self.names.partition_point(|name| *name < METRIC_NAME);
            let mut names: Vec<Arc<str>> = self.names.iter().map(|&name| name.into()).collect();
            if is_named {
                names.insert(place, METRIC_NAME.into());
            }
            self.shape = (names.into(), place);
        }
        let (names, place) = (Arc::clone(&self.shape.0), self.shape.1);
        let mut values = Vec::with_capacity(names.len());
        for (_, value) in others() {
            let text = self.texts.entry(value).or_insert_with(|| value.into());
            values.push(Arc::clone(text));
        }
        if let Some(name) = &self.name {
            values.insert(place, Arc::clone(name));
        }
        LabelSet::from_shared(names, values.into())
    }
}
