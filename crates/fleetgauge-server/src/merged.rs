//! The series of several holders as those of one: of scrape windows, and of the readings.
//!
//! A label set that several of them have is one series, whose samples are theirs by time. It is then not known which of
//! them tells the truth, so the answer says that there were several.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fleetgauge_core::age::Age;
use fleetgauge_core::time::Timestamp;
use fleetgauge_promql::label::LabelSet;
use fleetgauge_promql::matcher::Matcher;
use fleetgauge_promql::missing::{Missing, Read};
use fleetgauge_promql::queryable::{Listed, Queryable, Selection};
use fleetgauge_promql::sample::{Sample, SampleValue, Samples};

/// Several holders of series as one, for one query: it remembers whether it has met a series twice.
pub struct Merged {
    members: Vec<Arc<dyn Queryable>>,
    /// The first series that several members had.
    shared: Mutex<Option<LabelSet>>,
}

/// The selections of the members, as one.
struct MergedSelection<'a> {
    members: Vec<Box<dyn Selection + 'a>>,
    series: Vec<Merging>,
}

/// A series, and who has it.
struct Merging {
    labels: LabelSet,
    /// The member, and the place there.
    first: (usize, usize),
    others: Vec<(usize, usize)>,
}

// === impl Merged ===

impl Merged {
    /// Of these members.
    pub fn new(members: Vec<Arc<dyn Queryable>>) -> Self {
        Self {
            members,
            shared: Mutex::default(),
        }
    }

    fn merge<'a>(&'a self, members: Vec<Box<dyn Selection + 'a>>) -> Box<dyn Selection + 'a> {
        // Mostly a query reads series of one member alone.
        let is_quiet = |member: &(dyn Selection + 'a)| member.is_empty() && !member.has_changed();
        let mut members = members;
        if members.iter().filter(|member| is_quiet(&***member)).count() + 1 == members.len()
            && let Some(only) = members.iter().position(|member| !is_quiet(&**member))
        {
            return members.swap_remove(only);
        }
        let merged = MergedSelection::new(members);
        if let Some(shared) = merged.series.iter().find(|series| !series.others.is_empty()) {
            let mut known = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
            known.get_or_insert_with(|| shared.labels.clone());
        }
        Box::new(merged)
    }

    fn listed(&self, limit: usize, list: impl Fn(&dyn Queryable) -> Listed) -> Listed {
        let mut all = Listed::default();
        let mut texts = BTreeSet::new();
        for member in &self.members {
            let listed = list(&**member);
            all.was_cut |= listed.was_cut;
            all.has_changed |= listed.has_changed;
            texts.extend(listed.texts);
        }
        all.was_cut |= texts.len() > limit;
        all.texts = texts.into_iter().take(limit).collect();
        all
    }
}

impl Queryable for Merged {
    fn select(&self, matchers: &[Matcher], from: Timestamp, to: Timestamp) -> Box<dyn Selection + '_> {
        self.merge(
            self.members
                .iter()
                .map(|member| member.select(matchers, from, to))
                .collect(),
        )
    }

    fn select_newest(&self, matchers: &[Matcher], from: Timestamp, to: Timestamp) -> Box<dyn Selection + '_> {
        self.merge(
            self.members
                .iter()
                .map(|member| member.select_newest(matchers, from, to))
                .collect(),
        )
    }

    fn label_names(&self, matchers: &[Matcher], from: Timestamp, to: Timestamp, limit: usize) -> Listed {
        self.listed(limit, |member| member.label_names(matchers, from, to, limit))
    }

    fn label_values(
        &self,
        name: &str,
        matchers: &[Matcher],
        from: Timestamp,
        to: Timestamp,
        limit: usize,
    ) -> Listed {
        self.listed(limit, |member| {
            member.label_values(name, matchers, from, to, limit)
        })
    }

    fn missing(&self, reads: &[Read<'_>], into: &mut Missing) {
        self.members.iter().for_each(|member| member.missing(reads, into));
        let shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(labels) = &*shared {
            into.warn(format_args!(
                "several sources have the series {labels}, and maybe others: their samples are merged by time"
            ));
        }
    }
}

// === impl MergedSelection ===

impl<'a> MergedSelection<'a> {
    fn new(members: Vec<Box<dyn Selection + 'a>>) -> Self {
        let places = members.iter().enumerate();
        let places = places.flat_map(|(member, selection)| (0..selection.len()).map(move |at| (member, at)));
        let mut all: Vec<_> = places
            .map(|place| (members[place.0].labels(place.1), place))
            .collect();
        // Of runs that are sorted already; of equal labels the first member comes first.
        all.sort_by(|a, b| a.0.cmp(&b.0));
        let mut series: Vec<Merging> = Vec::with_capacity(all.len());
        for (labels, place) in all {
            match series.last_mut() {
                Some(last) if last.labels.cmp(&labels) == Ordering::Equal => last.others.push(place),
                _ => series.push(Merging {
                    labels,
                    first: place,
                    others: Vec::new(),
                }),
            }
        }
        Self { members, series }
    }

    /// The samples of all members by time. Of two of one time that of the first member counts, a staleness marker less
    /// than a value.
    fn merged(&self, series: &Merging, from: Timestamp, to: Timestamp) -> Vec<(Sample, SampleValue)> {
        let mut all = Vec::new();
        for &(member, at) in [&series.first].into_iter().chain(&series.others) {
            let mut samples = Samples::default();
            self.members[member].read(at, from, to, &mut samples);
            let places = samples.times().iter().zip(samples.values()).enumerate();
            all.extend(places.map(|(place, (&time, &value))| {
                let timestamp = Timestamp::from_millis(time);
                (Sample { timestamp, value }, samples.value(place))
            }));
        }
        all.sort_by_key(|(sample, _)| (sample.timestamp, sample.is_stale()));
        all.dedup_by_key(|(sample, _)| sample.timestamp);
        all
    }
}

impl Selection for MergedSelection<'_> {
    fn len(&self) -> usize {
        self.series.len()
    }

    fn labels(&self, index: usize) -> LabelSet {
        self.series[index].labels.clone()
    }

    fn read(&self, index: usize, from: Timestamp, to: Timestamp, into: &mut Samples) {
        let series = &self.series[index];
        match series.others.is_empty() {
            true => self.members[series.first.0].read(series.first.1, from, to, into),
            false => {
                let merged = self.merged(series, from, to);
                into.reserve(merged.len());
                for (sample, value) in merged {
                    let time = sample.timestamp.as_millis();
                    match value {
                        SampleValue::Float(value) => into.push(time, value),
                        SampleValue::Histogram(histogram) => into.push_histogram(time, histogram),
                    }
                }
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
        for series in &self.series[indices] {
            let (member, place) = series.first;
            if series.others.is_empty() {
                self.members[member].newest(place..place + 1, at, lookback, into);
                continue;
            }
            // One whose age is the lookback is too old.
            let lookback = i64::try_from(lookback.as_millis()).unwrap_or(i64::MAX);
            let from = at.as_millis().saturating_sub(lookback).saturating_add(1);
            let merged = self.merged(series, Timestamp::from_millis(from), at);
            let newest = merged.last().map(|(newest, _)| *newest);
            into.push(newest.filter(|newest| !newest.is_stale()));
        }
    }

    fn age(&self, index: usize, sample: Timestamp, asked: Timestamp, lookback: Duration) -> Age {
        let series = &self.series[index];
        let places = [&series.first].into_iter().chain(&series.others);
        let ages = places.map(|&(member, at)| self.members[member].age(at, sample, asked, lookback));
        Age::oldest(ages)
    }

    fn has_changed(&self) -> bool {
        self.members.iter().any(|member| member.has_changed())
    }
}

#[cfg(test)]
mod tests {
    use fleetgauge_promql::engine::Engine;
    use fleetgauge_promql::sample::STALE_MARKER;
    use fleetgauge_promql::store::MemoryStore;

    use super::*;

    /// The series `x{pod=POD}` with these samples, by second.
    fn store(series: &[(&str, &[(i64, f64)])]) -> Arc<dyn Queryable> {
        let mut store = MemoryStore::new();
        for (pod, samples) in series {
            for &(second, value) in *samples {
                let timestamp = Timestamp::from_millis(second * 1_000);
                let labels = LabelSet::from_pairs([("__name__", "x"), ("pod", *pod)]);
                let sample = Sample { timestamp, value };
                store.append(&labels, sample).expect("no conflict");
            }
        }
        Arc::new(store)
    }

    #[test]
    fn series_of_all_members_are_answered_in_their_order() {
        let members = || {
            vec![
                store(&[("b", &[(10, 2.0)]), ("d", &[(10, 4.0)])]),
                store(&[]),
                store(&[("a", &[(10, 1.0)]), ("c", &[(10, 3.0)])]),
            ]
        };
        let at = Timestamp::from_millis(10_000);
        let check = |query: &str, expected: &[f64]| {
            let merged = Merged::new(members());
            let evaluation = Engine::default().instant(&merged, query, at).expect("an answer");
            let values: Vec<_> = evaluation.answer.values().map(|value| value.value).collect();
            assert_eq!(values, expected, "{query}");
            assert_eq!(evaluation.answer.warnings().count(), 0, "{query}");
        };
        check("x", &[1.0, 2.0, 3.0, 4.0]);
        check("sum(x)", &[10.0]);
        check("x{pod=\"c\"}", &[3.0]);
        check("nothing", &[]);

        let merged = Merged::new(members());
        let pods = |limit| merged.label_values("pod", &[], at, at, limit);
        assert_eq!(pods(9).texts.len(), 4);
        let first: Vec<_> = pods(2).texts.iter().map(|text| text.to_string()).collect();
        assert_eq!(
            (first, pods(2).was_cut, pods(4).was_cut),
            (vec!["a".into(), "b".into()], true, false)
        );
    }

    #[test]
    fn a_series_of_two_members_is_one_by_time_and_the_answer_says_so() {
        let stale = f64::from_bits(STALE_MARKER);
        let check = |at: i64, expected: Option<f64>| {
            let merged = Merged::new(vec![
                store(&[("a", &[(10, 1.0), (20, 2.0), (50, stale)])]),
                store(&[("a", &[(15, 9.0), (20, 8.0), (30, 7.0)])]),
            ]);
            let at = Timestamp::from_millis(at * 1_000);
            let answer = Engine::default()
                .instant(&merged, "x", at)
                .expect("an answer")
                .answer;
            assert_eq!(
                answer.values().next().map(|value| value.value),
                expected,
                "at {at}"
            );
            let warnings: Vec<_> = answer.warnings().collect();
            let is_told = warnings.iter().any(|one| one.contains("merged by time"));
            // Before that only one of them has it.
            assert_eq!(is_told, at.as_millis() >= 15_000, "{warnings:?}");
            let step = Duration::from_secs(1);
            let range = Engine::default()
                .range(&merged, "x", at, at, step)
                .expect("an answer");
            let points = range
                .answer
                .series()
                .next()
                .and_then(|series| series.points().next());
            assert_eq!(points.map(|point| point.value), expected, "a range at {at}");
        };
        check(12, Some(1.0));
        check(15, Some(9.0));
        check(20, Some(2.0));
        check(49, Some(7.0));
        check(50, None);
    }
}
