//! Who should have reported for an answer, where the query names another query that tells it.
//!
//! Each row of that query's answer is one who should report, by its labels without the metric's name. It has reported if
//! a row of those that report has all of these labels. Who reports is asked beside the query, since a query gives a pod
//! that is idle no row; what it cannot be asked for is read from the query's own rows.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::Arc;

use crate::age::Age;
use crate::completeness::{Completeness, Report};
use crate::error::FetchError;
use crate::label::{Labels, write_braced};
use crate::printable::Quoted;
use crate::query::QueryName;
use crate::result::{Answer, AnswerKind, Provenance};
use crate::source::Outcome;
use crate::variant::PodIdentity;

/// The label that holds a metric's name.
const METRIC_NAME: &str = "__name__";

/// How many lists of label names the rows of those expected may have: the rows that report are looked at once for each.
const MAX_SHAPES: usize = 16;

/// How many warnings of an answer that cannot be used are repeated.
const MAX_WARNINGS: usize = 3;

/// What was asked beside a query to learn who should have reported.
pub(super) struct Expectation<'a> {
    /// The query that tells who should report.
    pub(super) by: &'a QueryName,
    /// What became of it.
    pub(super) expected: Outcome,
    /// The text that asks who reports, and what became of it; `None` where the query allows none.
    pub(super) reporting: Option<(String, Result<Answer, FetchError>)>,
}

/// What is known of those who should report.
enum Told {
    Counted(Completeness),
    /// How complete the answer is cannot be told, and this is why. Nothing is known to be missing.
    Unknown(String),
    /// Who should report could not be learnt, and this is why: the answer must not look whole.
    Lost(String),
}

/// Labels without the metric's name.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Identity<'a>(Vec<(&'a str, &'a str)>);

// === impl Expectation ===

impl Expectation<'_> {
    /// `answer`, with how complete it is, and with what was asked to learn that.
    pub(super) fn tell(&self, answer: Answer) -> Answer {
        let told = self.told(&answer);
        let answer = self.sent_beside(answer);
        match told {
            Told::Counted(told) => with_both(answer, told),
            Told::Unknown(why) => {
                let mut both = Completeness::unknown();
                if let Some(own) = answer.completeness() {
                    both.merge(own);
                }
                answer.with_completeness(Arc::new(both)).with_warning(&why)
            }
            Told::Lost(why) => answer.with_loss(&why),
        }
    }

    fn told(&self, answer: &Answer) -> Told {
        let by = Quoted(self.by.as_str());
        let lost = |why: &dyn fmt::Display| Told::Lost(format!("who should report is not known: {why}"));
        let result = match &self.expected {
            Ok(result) => result,
            Err(error) => return lost(error),
        };
        let expected = result.answer();
        if !expected.is_complete() {
            let warnings: Vec<_> = expected.warnings().take(MAX_WARNINGS).collect();
            return lost(&format!(
                "the answer of {by} is incomplete: {}",
                warnings.join("; ")
            ));
        }
        if expected.kind() != AnswerKind::Vector {
            return lost(&format!("{by} does not give a row for each that should report"));
        }
        if let Some(value) = expected.values().find(|value| value.is_undefined()) {
            let row = Identity::of(value.labels);
            return lost(&format!("{by} is undefined for {row}"));
        }
        let reporting = self.reporting(answer);
        if expected.is_no_data() {
            return match answer.is_no_data() && reporting.is_empty() {
                true => Told::Counted(Completeness::known()),
                false => Told::Unknown(format!(
                    "{by} tells that nobody should report, and somebody does: look whether its labels are right; how \
                     complete the answer is, is not known"
                )),
            };
        }
        self.counted(answer, expected, &reporting)
    }

    fn counted(&self, answer: &Answer, expected: &Answer, reporting: &[Labels<'_>]) -> Told {
        let by = Quoted(self.by.as_str());
        let unknown = |why: String| Told::Unknown(format!("{why}; how complete the answer is, is not known"));
        let mut shapes = BTreeMap::new();
        let mut all = HashSet::new();
        let mut who = Vec::new();
        for value in expected.values() {
            let one = Identity::of(value.labels);
            if all.insert(one.clone()) {
                let found = shapes
                    .entry(one.names())
                    .or_insert((HashSet::new(), HashSet::new()));
                let _: &mut (HashSet<Identity<'_>>, HashSet<Identity<'_>>) = found;
                who.push(one);
            }
        }
        if shapes.contains_key(&Vec::new()) {
            return unknown(format!(
                "a row of {by} has no labels, so that it is not clear who should report: group it by those, as \
                 `group by (namespace, pod) (...)`"
            ));
        }
        if shapes.len() > MAX_SHAPES {
            return unknown(format!(
                "the rows of {by} have more than {MAX_SHAPES} different lists of labels: group them by those that tell \
                 who should report"
            ));
        }
        for (names, (report, answered)) in &mut shapes {
            report.extend(reporting.iter().filter_map(|labels| Identity::by(*labels, names)));
            let rows = answer.series().map(|series| series.labels());
            answered.extend(rows.filter_map(|labels| Identity::by(labels, names)));
        }
        let is_comparable = shapes.values().any(|(report, _)| !report.is_empty());
        if !is_comparable && let Some(names) = shapes.keys().next().filter(|_| !reporting.is_empty()) {
            return unknown(format!(
                "no row of the query has the labels {} of the rows of {by}, so that it is not clear who has reported: \
                 group both by the same labels",
                names.join(", ")
            ));
        }
        let not_there = match &self.reporting {
            Some((_, Ok(_))) => "the query has no series of it".to_owned(),
            Some((_, Err(error))) => {
                format!("the answer has no row of it, and who reports could not be asked: {error}")
            }
            None => "the answer has no row of it".to_owned(),
        };
        let mut completeness = Completeness::known();
        for one in who {
            let Some((report, answered)) = shapes.get(&one.names()) else {
                continue;
            };
            let done = match (report.contains(&one), answered.contains(&one)) {
                (true, _) => Report::Reported,
                (false, true) => Report::Missing("its series have ended"),
                (false, false) => Report::Missing(&not_there),
            };
            match PodIdentity::of(|name| one.get(name)) {
                Some(pod) => completeness.add_pod(&Arc::new(pod), &one.to_string(), done),
                None => completeness.add(&one.to_string(), done),
            }
        }
        Told::Counted(completeness)
    }

    /// The rows that report. Those of `answer` itself, where that is all there is, but for those that have ended.
    fn reporting<'r>(&'r self, answer: &'r Answer) -> Vec<Labels<'r>> {
        match &self.reporting {
            Some((_, Ok(reporting))) => reporting.series().map(|series| series.labels()).collect(),
            _ => {
                let age = |row| {
                    answer
                        .provenance()
                        .map_or(Age::UNKNOWN, |told: &Provenance| told.age(row))
                };
                let rows = answer.series().enumerate();
                let alive = rows.filter(|(row, _)| !age(*row).is_ended());
                alive.map(|(_, series)| series.labels()).collect()
            }
        }
    }

    /// `answer`, whose origin tells what was asked beside it.
    fn sent_beside(&self, answer: Answer) -> Answer {
        let Some(origin) = answer.provenance().and_then(Provenance::origin) else {
            return answer;
        };
        let expected = self.expected.as_ref().ok();
        let expected = expected.and_then(|result| result.answer().provenance()?.origin());
        let expected = expected
            .map(|origin| &*origin.text)
            .filter(|text| !text.is_empty());
        let reporting = self.reporting.as_ref().map(|(text, _)| &**text);
        let beside = reporting.into_iter().chain(expected);
        let sent: Vec<_> = origin.sent.iter().map(|text| &**text).chain(beside).collect();
        let origin = (**origin).clone().with_sent(sent);
        answer.with_origin(Arc::new(origin))
    }
}

/// `answer` with the less complete one of what it tells itself and `told`: each must be as complete as is asked for, and
/// who is counted by one may be the one whom the other counts.
fn with_both(answer: Answer, told: Completeness) -> Answer {
    let Some(own) = answer.completeness().cloned() else {
        return answer.with_completeness(Arc::new(told));
    };
    match (own.ratio(), told.ratio()) {
        (None, _) if own.is_whole() => answer.with_completeness(Arc::new(told)),
        (Some(of_own), Some(of_told)) if of_own < of_told => match told.is_whole() {
            true => answer,
            false => answer.with_warning(&told.to_string()),
        },
        (Some(_), Some(_)) => {
            let answer = answer.with_completeness(Arc::new(told));
            match own.is_whole() {
                true => answer,
                false => answer.with_warning(&own.to_string()),
            }
        }
        _ => {
            let mut both = (*own).clone();
            both.merge(&told);
            answer.with_completeness(Arc::new(both))
        }
    }
}

// === impl Identity ===

impl<'a> Identity<'a> {
    fn of(labels: Labels<'a>) -> Self {
        Self(labels.iter().filter(|(name, _)| *name != METRIC_NAME).collect())
    }

    /// The labels of these names; `None` where one of them is absent.
    fn by(labels: Labels<'a>, names: &[&str]) -> Option<Self> {
        // Both are sorted by names.
        let found: Vec<_> = labels.iter().filter(|(name, _)| names.contains(name)).collect();
        (found.len() == names.len()).then_some(Self(found))
    }

    fn get(&self, label: &str) -> Option<&'a str> {
        let mut labels = self.0.iter();
        labels.find(|(name, _)| *name == label).map(|(_, value)| *value)
    }

    fn names(&self) -> Vec<&'a str> {
        self.0.iter().map(|(name, _)| *name).collect()
    }
}

impl fmt::Display for Identity<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_braced(f, None, self.0.iter().copied())
    }
}
