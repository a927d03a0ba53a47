//! Answers as series, so that PromQL joins and aggregates what different sources have answered.
//!
//! An answer is not a store of samples: its values stand at the times that it was asked for, and at no others. So a
//! selector (`queue`) finds a value at exactly the time at which it looks, whatever the engine's lookback is, and what
//! an answer lacks at a step stays absent there. A range selector (`queue[10m]`) reads the points in its range.

mod rows;
mod table;

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use fleetgauge_core::age::Age;
use fleetgauge_core::completeness::{Completeness, Report};
use fleetgauge_core::result::Answer;
use fleetgauge_core::sample::Stamp;
use fleetgauge_core::time::Timestamp;

use crate::label::{LabelSet, METRIC_NAME};
use crate::matcher::Matcher;
use crate::missing::{Missing, Read};
use crate::queryable::{Queryable, Selection};
use crate::sample::{STALE_MARKER, Sample, Samples};
use table::Table;

pub use rows::{AnswersError, RowLabels};

/// Answers by name, to be evaluated over: the rows of an answer are series whose metric name is the answer's name.
///
/// ```
/// use fleetgauge_core::result::AnswerBuilder;
/// use fleetgauge_core::sample::Stamp;
/// use fleetgauge_core::time::Timestamp;
/// use fleetgauge_promql::answers::{Answers, ReadBy};
/// use fleetgauge_promql::engine::Engine;
///
/// let now = Timestamp::from_secs_f64(1_763_930_000.0);
/// let mut queue = AnswerBuilder::new(Stamp::Evaluated);
/// queue.series([("__name__", "vllm:num_requests_waiting"), ("pod", "a")], 3.0, now)?;
/// let mut backlog = AnswerBuilder::new(Stamp::Evaluated);
/// backlog.series([], 4.0, now)?;
///
/// let mut answers = Answers::new();
/// answers.add("queue", &queue.build(), now, ReadBy::All)?;
/// answers.add("backlog", &backlog.build(), now, ReadBy::All)?;
/// let sum = Engine::default().instant(&answers, "sum(queue) + backlog", now)?.answer;
/// assert_eq!(sum.values().next().map(|sum| sum.value), Some(7.0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Answers(BTreeMap<Box<str>, Named>);

/// Which selectors read an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadBy {
    /// All.
    All,
    /// Those without a range, `queue`.
    Selectors,
    /// Those with a range, `queue[10m]`.
    Ranges,
}

/// All that is there under one name.
#[derive(Clone, Debug, Default)]
struct Named {
    selectors: Table,
    ranges: Table,
    missing: Vec<String>,
    warnings: Vec<String>,
    /// Who was expected to report, where an answer tells it; those that do not tell it make it unknown.
    completeness: Option<Completeness>,
    /// Whether there is an answer that does not tell it.
    is_uncounted: bool,
}

/// What a selector found.
struct Selected<'a> {
    /// Which series of which table.
    rows: Vec<(&'a Table, usize)>,
    /// Whether a value counts at its own time alone.
    is_exact: bool,
}

// === impl Answers ===

impl Answers {
    /// No answer at all.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds what was answered under `name` when it was asked as of `at`.
    ///
    /// The values of a vector or scalar stand at `at`, those of a matrix at their own times. Several answers of one
    /// name are one: where two have a value of the same series at the same time, the one that was added later counts.
    /// What an answer lacks or warns of, the answers of queries that read it lack and warn of too.
    ///
    /// *Errors*: [`AnswersError`]; nothing is added then.
    pub fn add(
        &mut self,
        name: &str,
        answer: &Answer,
        at: Timestamp,
        read_by: ReadBy,
    ) -> Result<(), AnswersError> {
        let labels = RowLabels::new(name, answer)?;
        self.add_rows(name, answer, &labels, at, read_by, told_age(answer, at));
        Ok(())
    }

    /// As [`add`](Self::add), where the caller has the labels of the rows, and may know better how old the row at an index
    /// was at `at`.
    ///
    /// *Panics* if `labels` are of another number of rows.
    pub fn add_labelled(
        &mut self,
        name: &str,
        answer: &Answer,
        labels: &RowLabels,
        at: Timestamp,
        read_by: ReadBy,
        age: Option<&dyn Fn(usize) -> Age>,
    ) {
        match age {
            Some(age) => self.add_rows(name, answer, labels, at, read_by, |row, _| age(row)),
            None => self.add_rows(name, answer, labels, at, read_by, told_age(answer, at)),
        }
    }

    /// As [`add`](Self::add) of the answer to a range that ends at `end`, with what was answered for that very time, where
    /// that was asked too: it tells how old each series' last point is. As with a recorded series that is a lower bound of what
    /// is computed from the range, since a row may have stood on others before, which have ended meanwhile. A series without a
    /// point at the end has no known age.
    ///
    /// *Errors*: as [`add`](Self::add).
    pub fn add_range(
        &mut self,
        name: &str,
        answer: &Answer,
        end: Timestamp,
        newest: Option<&Answer>,
        read_by: ReadBy,
    ) -> Result<(), AnswersError> {
        let labels = RowLabels::new(name, answer)?;
        let mut table = Table::new(answer, &labels, end, |_, _| Age::UNKNOWN);
        // What cannot be read as rows tells no ages.
        let newest = newest.and_then(|newest| Some((newest, RowLabels::new(name, newest).ok()?)));
        if let Some((newest, labels)) = newest {
            table.date(end, &Table::new(newest, &labels, end, told_age(newest, end)));
        }
        self.add_all(name, answer, table, read_by);
        Ok(())
    }

    /// Adds rows that keep the metric names that they have, if any: `name` is what selectors call them, and nothing else.
    /// What the answer lacks or warns of is not taken over.
    ///
    /// *Errors*: as [`add`](Self::add).
    pub fn add_named(
        &mut self,
        name: &str,
        answer: &Answer,
        at: Timestamp,
        read_by: ReadBy,
    ) -> Result<(), AnswersError> {
        let labels = RowLabels::of(None, answer)?;
        let table = Table::new(answer, &labels, at, told_age(answer, at));
        self.named(name).merge(table, read_by);
        Ok(())
    }

    fn add_rows(
        &mut self,
        name: &str,
        answer: &Answer,
        labels: &RowLabels,
        at: Timestamp,
        read_by: ReadBy,
        age: impl Fn(usize, Timestamp) -> Age,
    ) {
        if let Some(error) = answer.not_a_number() {
            // The labels are of an answer before it.
            self.add_missing(name, &format!("{name}: {error}"));
            return;
        }
        let table = Table::new(answer, labels, at, age);
        self.add_all(name, answer, table, read_by);
    }

    /// Adds the rows of `answer`, and what it tells beside them.
    fn add_all(&mut self, name: &str, answer: &Answer, table: Table, read_by: ReadBy) {
        let named = self.named(name);
        named.merge(table, read_by);
        let counted = answer.completeness();
        match counted {
            Some(completeness) => named.count(completeness),
            None => named.is_uncounted = true,
        }
        let told = match answer.has_uncounted_loss() {
            true => &mut named.missing,
            false => &mut named.warnings,
        };
        // Who is missing is counted, and told for all together.
        let counted = counted.map(|completeness| completeness.to_string());
        let others = answer
            .warnings()
            .filter(|warning| counted.as_deref() != Some(*warning));
        told.extend(others.map(|warning| format!("{name}: {warning}")));
        if answer.has_uncounted_loss() && named.missing.is_empty() {
            named.missing.push(format!("{name}: it is incomplete"));
        }
    }

    /// Says that the answer of this name, which is expected, is not there: it counts as one who has not reported.
    pub fn add_absent(&mut self, name: &str, reason: &str) {
        let mut completeness = Completeness::known();
        completeness.add(name, Report::Missing(reason));
        self.named(name).count(&completeness);
    }

    /// Adds why something may be missing from the answers of this name, or why there is none.
    pub fn add_missing(&mut self, name: &str, reason: &str) {
        self.named(name).missing.push(reason.to_owned());
    }

    /// Adds a remark on the answers of this name that nothing is missing because of.
    pub fn add_warning(&mut self, name: &str, warning: &str) {
        self.named(name).warnings.push(warning.to_owned());
    }

    fn named(&mut self, name: &str) -> &mut Named {
        self.0.entry(name.into()).or_default()
    }

    fn selected(&self, matchers: &[Matcher], is_exact: bool) -> Box<dyn Selection + '_> {
        let (of_name, others): (Vec<_>, Vec<_>) =
            matchers.iter().partition(|matcher| matcher.name() == METRIC_NAME);
        let names = self.0.iter();
        let names = names.filter(|(name, _)| of_name.iter().all(|matcher| matcher.matches_value(name)));
        let mut rows: Vec<(&Table, usize)> = Vec::new();
        let mut is_sorted = true;
        for (_, named) in names {
            let table = if is_exact { &named.selectors } else { &named.ranges };
            let fits = |labels: &LabelSet| others.iter().all(|matcher| matcher.matches(labels));
            let found = table.labels.iter().enumerate().filter(|(_, labels)| fits(labels));
            let (first, before) = (rows.len(), rows.last().copied());
            rows.extend(found.map(|(row, _)| (table, row)));
            // Each table is sorted in itself.
            if let (Some((other, last)), Some(&(_, row))) = (before, rows.get(first)) {
                is_sorted &= other.labels[last] <= table.labels[row];
            }
        }
        if !is_sorted {
            rows.sort_by(|(a, i), (b, j)| a.labels[*i].cmp(&b.labels[*j]));
        }
        Box::new(Selected { rows, is_exact })
    }
}

impl Queryable for Answers {
    fn select(&self, matchers: &[Matcher], _from: Timestamp, _to: Timestamp) -> Box<dyn Selection + '_> {
        self.selected(matchers, false)
    }

    fn select_newest(
        &self,
        matchers: &[Matcher],
        _from: Timestamp,
        _to: Timestamp,
    ) -> Box<dyn Selection + '_> {
        self.selected(matchers, true)
    }

    fn missing(&self, reads: &[Read<'_>], into: &mut Missing) {
        let is_read = |name: &str| reads.iter().any(|read| read.may_select(Some(name), []));
        let of_reads: Vec<_> = (self.0.iter().filter(|(name, _)| is_read(name)))
            .map(|(_, named)| named)
            .collect();
        // Where none tells who is expected, neither does what is computed of them.
        let is_counted = of_reads.iter().any(|named| named.completeness.is_some());
        for named in of_reads {
            named.missing.iter().for_each(|reason| into.add(reason));
            named.warnings.iter().for_each(|warning| into.warn(warning));
            if is_counted && named.is_uncounted {
                into.count(&Completeness::unknown());
            }
            named
                .completeness
                .iter()
                .for_each(|completeness| into.count(completeness));
        }
    }
}

impl Selection for Selected<'_> {
    fn len(&self) -> usize {
        self.rows.len()
    }

    fn labels(&self, index: usize) -> LabelSet {
        let (table, row) = self.rows[index];
        table.labels[row].clone()
    }

    fn read(&self, index: usize, from: Timestamp, to: Timestamp, into: &mut Samples) {
        let (table, row) = self.rows[index];
        let (times, values) = table.points.as_slices(row);
        let first = times.partition_point(|&time| time < from.as_millis());
        let end = times.partition_point(|&time| time <= to.as_millis());
        for i in first..end.max(first) {
            let time = times[i];
            into.push(time, values[i]);
            let next = time.saturating_add(1);
            // A marker right behind it ends the value, so that no lookback carries it on.
            if self.is_exact && times.get(i + 1).is_none_or(|&after| after > next) {
                into.push(next, f64::from_bits(STALE_MARKER));
            }
        }
    }

    fn newest(
        &self,
        indices: Range<usize>,
        at: Timestamp,
        lookback: Duration,
        into: &mut Vec<Option<Sample>>,
    ) {
        into.extend(self.rows[indices].iter().map(|(table, row)| {
            let (times, values) = table.points.as_slices(*row);
            let newest = times
                .partition_point(|&time| time <= at.as_millis())
                .checked_sub(1)?;
            let sample = Sample {
                timestamp: Timestamp::from_millis(times[newest]),
                value: values[newest],
            };
            let counts = match self.is_exact {
                true => sample.timestamp == at,
                false => at.saturating_since(sample.timestamp) < lookback,
            };
            counts.then_some(sample)
        }));
    }

    /// Rows have the ages that they were given.
    fn has_ended(&self, _index: usize, _at: Timestamp, _lookback: Duration) -> bool {
        false
    }

    /// What the answer tells, and how long before it was asked for it stands.
    fn age(&self, index: usize, sample: Timestamp, asked: Timestamp, _lookback: Duration) -> Age {
        let (table, row) = self.rows[index];
        let age = table.points.age(row, sample.as_millis());
        age.older_by(asked.saturating_since(sample))
    }
}

// === impl Named ===

impl Named {
    fn merge(&mut self, table: Table, read_by: ReadBy) {
        match read_by {
            ReadBy::All => {
                self.selectors.merge(table.clone());
                self.ranges.merge(table);
            }
            ReadBy::Selectors => self.selectors.merge(table),
            ReadBy::Ranges => self.ranges.merge(table),
        }
    }

    /// Of several answers of one name, which are of the same contributors at several times, the least complete counts.
    fn count(&mut self, completeness: &Completeness) {
        let missing = |one: &Completeness| (one.expected().is_none(), one.missing().count());
        if (self.completeness.as_ref()).is_none_or(|known| missing(known) < missing(completeness)) {
            self.completeness = Some(completeness.clone());
        }
    }
}

/// How old the row at an index is at `at`, as far as the answer tells.
fn told_age(answer: &Answer, at: Timestamp) -> impl Fn(usize, Timestamp) -> Age {
    let ages = answer.provenance().filter(|provenance| provenance.has_ages());
    let stamp = answer.stamp();
    move |row, stands_at| match ages {
        Some(ages) => ages.age(row),
        None if stamp == Stamp::Sampled => Age::between(stands_at, at),
        None => Age::UNKNOWN,
    }
}

#[cfg(test)]
mod tests;
