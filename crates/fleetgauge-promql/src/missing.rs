//! What an answer may lack: the reasons, gathered while its samples are read.

use std::collections::HashSet;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use fleetgauge_core::completeness::Completeness;
use fleetgauge_core::label::METRIC_NAME;
use fleetgauge_core::result::AnswerBuilder;
use fleetgauge_core::time::Timestamp;

use crate::matcher::{MatchOp, Matcher};

/// Why an answer may lack samples, who has reported of those who were expected to, and what its data warns of besides:
/// each text once, the first of them in words.
#[derive(Clone, Debug, Default)]
pub struct Missing {
    reasons: Texts,
    warnings: Texts,
    completeness: Option<Completeness>,
}

#[derive(Clone, Debug, Default)]
struct Texts {
    named: Vec<String>,
    seen: HashSet<u64>,
    hasher: RandomState,
}

/// What an evaluation reads with one selector.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Read<'a> {
    /// Which series.
    pub matchers: &'a [Matcher],
    /// From when on, included.
    pub from: Timestamp,
    /// Until when, included.
    pub to: Timestamp,
    /// The first time that is asked about: the beginning of a range, or the first step, which the newest sample before
    /// it stands for.
    pub since: Timestamp,
    /// Whether only the newest sample before `to` counts, and not all that are in the range.
    pub newest: bool,
}

/// How many texts are told in words.
const MAX_NAMED: usize = 5;

// === impl Missing ===

impl Missing {
    /// Adds a reason, unless it is known.
    pub fn add(&mut self, reason: impl fmt::Display) {
        self.reasons.add(reason.to_string());
    }

    /// Adds a remark on the data that nothing is missing because of, unless it is known.
    pub fn warn(&mut self, warning: impl fmt::Display) {
        self.warnings.add(warning.to_string());
    }

    /// Counts those who were expected to report, and those who did, for all that was read. They are no reasons beside that.
    pub fn count(&mut self, completeness: &Completeness) {
        match &mut self.completeness {
            Some(known) => known.merge(completeness),
            None => self.completeness = Some(completeness.clone()),
        }
    }

    /// Tells all of it in `answer`.
    pub fn tell(self, answer: &mut AnswerBuilder) {
        self.warnings().for_each(|warning| answer.warning(&warning));
        self.reasons().for_each(|reason| answer.missing(&reason));
        if let Some(completeness) = self.completeness {
            answer.completeness(Arc::new(completeness));
        }
    }

    /// Adds that series came or went while they were read: half of the new ones of a target may have been seen, or
    /// the old and the new ones.
    pub fn add_changed(&mut self) {
        self.add("series came or went while they were read, again and again: some may be missing, or counted twice");
    }

    /// Whether nothing is known to be missing.
    pub fn is_empty(&self) -> bool {
        self.reasons.seen.is_empty()
    }

    /// The reasons in words; where there are many, the last one says how many more there are.
    pub fn reasons(&self) -> impl Iterator<Item = String> {
        self.reasons.all("reasons why samples may be missing")
    }

    /// The remarks that nothing is missing because of, in words, as [`reasons`](Self::reasons).
    pub fn warnings(&self) -> impl Iterator<Item = String> {
        self.warnings.all("warnings")
    }
}

// === impl Texts ===

impl Texts {
    fn add(&mut self, text: String) {
        if self.seen.insert(self.hasher.hash_one(&text)) && self.named.len() < MAX_NAMED {
            self.named.push(text);
        }
    }

    fn all(&self, what: &str) -> impl Iterator<Item = String> {
        let more = self.seen.len() - self.named.len();
        let rest = (more > 0).then(|| format!("and {more} more {what}"));
        self.named.iter().cloned().chain(rest)
    }
}

// === impl Read ===

impl<'a> Read<'a> {
    /// All samples from `from` to `to` of the series that fit `matchers`.
    pub fn range(matchers: &'a [Matcher], from: Timestamp, to: Timestamp) -> Self {
        Self {
            matchers,
            from,
            to,
            since: from,
            newest: false,
        }
    }

    /// Only the newest sample of each, from `from` to `to`.
    pub fn newest(matchers: &'a [Matcher], from: Timestamp, to: Timestamp) -> Self {
        Self {
            newest: true,
            since: to,
            ..Self::range(matchers, from, to)
        }
    }

    /// Says which is the first time that is asked about.
    #[must_use]
    pub fn asked_since(mut self, since: Timestamp) -> Self {
        self.since = since;
        self
    }

    /// The name of the metric whose series alone are read, where `matchers` say it outright.
    pub fn metric(&self) -> Option<&'a str> {
        let mut names = self
            .matchers
            .iter()
            .filter(|matcher| matcher.name() == METRIC_NAME);
        let name = names.find(|matcher| matcher.op() == MatchOp::Equal)?;
        Some(name.value())
    }

    /// Whether series of a metric, or of one whose name is not known, may be among those that are read, where
    /// all of them have `labels`.
    pub fn may_select<'l>(
        &self,
        metric: Option<&str>,
        labels: impl IntoIterator<Item = (&'l str, &'l str)>,
    ) -> bool {
        let fits = |name: &str, value: &str| {
            let mut of_label = self.matchers.iter().filter(|matcher| matcher.name() == name);
            of_label.all(|matcher| matcher.matches_value(value))
        };
        metric.is_none_or(|metric| fits(METRIC_NAME, metric))
            && labels.into_iter().all(|(name, value)| fits(name, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_told_once_and_those_beyond_are_counted() {
        let mut missing = Missing::default();
        assert!(missing.is_empty());
        for _ in 0..2 {
            (0..MAX_NAMED + 3).for_each(|i| missing.add(format_args!("reason {i}")));
        }
        let reasons: Vec<_> = missing.reasons().collect();
        assert_eq!(reasons.len(), MAX_NAMED + 1);
        assert_eq!(
            reasons[MAX_NAMED],
            "and 3 more reasons why samples may be missing"
        );
    }

    #[test]
    fn only_a_matcher_that_contradicts_rules_series_out() {
        let matchers = [
            Matcher::equal(METRIC_NAME, "a"),
            Matcher::new("pod", MatchOp::Regex, "p-.*").unwrap(),
            Matcher::equal("zone", ""),
        ];
        let check = |metric: Option<&str>, labels: &[(&str, &str)], expected: bool| {
            let read = Read::range(&matchers, Timestamp::default(), Timestamp::default());
            assert_eq!(
                read.may_select(metric, labels.iter().copied()),
                expected,
                "{metric:?} {labels:?}"
            );
        };
        check(None, &[], true);
        check(Some("a"), &[("pod", "p-1"), ("job", "x")], true);
        check(Some("b"), &[("pod", "p-1")], false);
        check(Some("a"), &[("pod", "q-1")], false);
        check(None, &[("zone", "z")], false);
    }
}
