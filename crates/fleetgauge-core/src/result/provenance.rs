//! What the numbers of an answer stand on. Most answers carry none of it, and then it takes no room.

use std::sync::Arc;
use std::time::Duration;

use super::ended::Ended;
use super::shard::ShardMark;
use crate::age::{Age, Ages, Column};
use crate::completeness::Completeness;

/// What an answer tells of where its numbers come from, beside the numbers.
#[derive(Clone, Debug, Default)]
pub struct Provenance {
    ages: Option<Ages>,
    branches: Option<Column<u16>>,
    completeness: Option<Arc<Completeness>>,
    origin: Option<Arc<Origin>>,
    sample_interval: Option<Duration>,
    ended: Option<Arc<Ended>>,
    cluster_labels: Option<Arc<[Box<str>]>>,
    shard: Option<ShardMark>,
    /// Whether the rows are those that the query's text gives, untouched.
    is_as_sent: bool,
    /// Whether something is missing that the completeness does not count.
    has_uncounted_loss: bool,
}

/// Where an answer comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Origin {
    /// The source's name; empty where nobody told it.
    pub source: Box<str>,
    /// The query's name.
    pub query: Box<str>,
    /// The query's text as it was sent; empty where nobody told it.
    pub text: Box<str>,
    /// What was asked beside it or in its place: companions, the parts for members, the queries of inputs. Empty where it
    /// is the text alone.
    pub sent: Box<[Box<str>]>,
    /// What was warned of.
    pub warnings: Box<[Box<str>]>,
}

/// Which branch gave no row of its own: the query has none, or it was not asked.
const NO_BRANCH: u16 = u16::MAX;

// === impl Provenance ===

impl Provenance {
    /// How old the value of the series at `row` was when the answer was had.
    pub fn age(&self, row: usize) -> Age {
        let age = self.ages.as_ref().and_then(|ages| ages.at(row));
        age.unwrap_or(Age::UNKNOWN)
    }

    /// Whether it tells ages.
    pub fn has_ages(&self) -> bool {
        self.ages.is_some()
    }

    /// Which branch of the query gave the series at `row`, counted from 0, where the query has several and that was asked.
    pub fn branch(&self, row: usize) -> Option<u16> {
        let branch = self.branches.as_ref()?.at(row)?;
        (branch != NO_BRANCH).then_some(branch)
    }

    /// Who was expected to report, and who did.
    pub fn completeness(&self) -> Option<&Arc<Completeness>> {
        self.completeness.as_ref()
    }

    /// Source, query and rendered text.
    pub fn origin(&self) -> Option<&Arc<Origin>> {
        self.origin.as_ref()
    }

    /// How far the samples are apart that the query reads, those that are farthest.
    pub fn sample_interval(&self) -> Option<Duration> {
        self.sample_interval
    }

    /// Which series have ended that its rows stand on, and for how long these still read them.
    pub fn ended(&self) -> Option<&Ended> {
        self.ended.as_deref()
    }

    /// The labels that tell clusters apart, where their names are not the usual one.
    pub fn cluster_labels(&self) -> &[Box<str>] {
        self.cluster_labels.as_deref().unwrap_or_default()
    }

    /// Which shard it is of, where it is of one.
    pub fn shard(&self) -> Option<ShardMark> {
        self.shard
    }

    /// Whether the rows are those that the text of its [origin](Self::origin) gives, and nobody has touched them since.
    pub fn is_as_sent(&self) -> bool {
        self.is_as_sent
    }

    /// Whether it tells nothing.
    pub(super) fn is_blank(&self) -> bool {
        let Self {
            ages,
            branches,
            completeness,
            origin,
            sample_interval,
            ended,
            cluster_labels,
            shard,
            is_as_sent: _,
            has_uncounted_loss: _,
        } = self;
        let rows = ages.is_none() && branches.is_none() && cluster_labels.is_none() && shard.is_none();
        rows && completeness.is_none() && origin.is_none() && sample_interval.is_none() && ended.is_none()
    }

    /// Takes what `rows` tells of each row in the place of what it tells itself.
    pub(super) fn take_rows(&mut self, rows: Self) {
        self.ages = rows.ages;
        self.branches = rows.branches;
        self.is_as_sent = false;
    }

    pub(super) fn has_uncounted_loss(&self) -> bool {
        self.has_uncounted_loss
    }

    pub(super) fn set_ages(&mut self, mut ages: Vec<Age>, rows: usize) {
        ages.resize(rows, Age::UNKNOWN);
        self.ages = Some(Ages::new(&ages));
    }

    pub(super) fn set_branches(&mut self, mut branches: Vec<Option<u16>>, rows: usize) {
        branches.resize(rows, None);
        let branches = branches.into_iter().map(|branch| branch.unwrap_or(NO_BRANCH));
        self.branches = Some(Column::new(branches.collect()));
    }

    pub(super) fn set_completeness(&mut self, completeness: Arc<Completeness>, has_uncounted_loss: bool) {
        self.completeness = Some(completeness);
        self.has_uncounted_loss = has_uncounted_loss;
    }

    pub(super) fn set_sample_interval(&mut self, interval: Duration) {
        self.sample_interval = Some(interval);
    }

    pub(super) fn set_ended(&mut self, ended: Arc<Ended>) {
        self.ended = Some(ended);
    }

    pub(super) fn set_cluster_labels(&mut self, labels: Arc<[Box<str>]>) {
        self.cluster_labels = Some(labels);
    }

    pub(super) fn set_shard(&mut self, shard: ShardMark) {
        self.shard = Some(shard);
    }

    pub(super) fn set_as_sent(&mut self) {
        self.is_as_sent = true;
    }

    pub(super) fn set_origin(&mut self, origin: Arc<Origin>) {
        self.origin = Some(origin);
    }

    /// *Unit*: bytes.
    pub(super) fn heap_bytes(&self) -> usize {
        let ages = self.ages.as_ref().map_or(0, Ages::heap_bytes);
        let branches = self.branches.as_ref().map_or(0, Column::heap_bytes);
        let completeness = self.completeness.as_ref();
        let completeness = completeness.map_or(0, |c| size_of_val(&**c) + c.heap_bytes());
        let origin = self.origin.as_ref();
        let origin = origin.map_or(0, |origin| size_of_val(&**origin) + origin.heap_bytes());
        let ended = self.ended.as_ref().map_or(0, |ended| ended.heap_bytes());
        let clusters = self.cluster_labels();
        let clusters: usize = clusters
            .iter()
            .map(|label| label.len() + size_of::<Box<str>>())
            .sum();
        size_of_val(self) + clusters + ages + branches + completeness + origin + ended
    }
}

// === impl Origin ===

impl Origin {
    /// That of the query `query` of `source`.
    pub fn new(source: &str, query: &str) -> Self {
        Self {
            source: source.into(),
            query: query.into(),
            ..Self::default()
        }
    }

    /// Sets the query's text as it was sent.
    #[must_use]
    pub fn with_text(mut self, text: &str) -> Self {
        self.text = text.into();
        self
    }

    /// Sets what was asked beside the text or in its place.
    #[must_use]
    pub fn with_sent(mut self, sent: impl IntoIterator<Item = impl Into<Box<str>>>) -> Self {
        self.sent = sent.into_iter().map(Into::into).collect();
        self
    }

    /// Sets what was warned of.
    #[must_use]
    pub fn with_warnings<'a>(mut self, warnings: impl IntoIterator<Item = &'a str>) -> Self {
        self.warnings = warnings.into_iter().map(Box::from).collect();
        self
    }

    fn heap_bytes(&self) -> usize {
        let lists = self.warnings.iter().chain(&self.sent);
        let lists: usize = lists.map(|text| text.len() + size_of::<Box<str>>()).sum();
        self.source.len() + self.query.len() + self.text.len() + lists
    }
}
