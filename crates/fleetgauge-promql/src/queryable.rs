//! Where an evaluation reads its samples: a [`Window`](crate::window::Window), or anything else that holds series.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use fleetgauge_core::age::Age;
use fleetgauge_core::time::Timestamp;

use crate::histogram::FloatHistogram;
use crate::label::{LabelList, LabelSet};
use crate::matcher::Matcher;
use crate::missing::{Missing, Read};
use crate::sample::{Sample, Samples};

/// Holds series that PromQL can be evaluated over.
pub trait Queryable: Send + Sync {
    /// The series that fit all `matchers` and have samples from `from` to `to`, both included.
    ///
    /// *Shape*: sorted by labels, each label set once, so that what is computed over them does not depend on
    /// how they are stored. A series without samples there may be among them.
    fn select(&self, matchers: &[Matcher], from: Timestamp, to: Timestamp) -> Box<dyn Selection + '_>;

    /// As [`select`](Self::select), for a selector without a range, which looks for the newest sample of each series at
    /// one or several times. Holders whose samples count at their own times alone give others then.
    fn select_newest(&self, matchers: &[Matcher], from: Timestamp, to: Timestamp) -> Box<dyn Selection + '_> {
        self.select(matchers, from, to)
    }

    /// The names of the labels of the series that [`select`](Self::select) finds: the first `limit` in their order.
    fn label_names(&self, matchers: &[Matcher], from: Timestamp, to: Timestamp, limit: usize) -> Listed {
        Listed::of(&*self.select(matchers, from, to), limit, |labels, list| {
            labels.iter().for_each(|(name, _)| list.add(name));
        })
    }

    /// The values of the label `name` of the series that [`select`](Self::select) finds: the first `limit` in
    /// their order. Series without the label have none.
    fn label_values(
        &self,
        name: &str,
        matchers: &[Matcher],
        from: Timestamp,
        to: Timestamp,
        limit: usize,
    ) -> Listed {
        Listed::of(&*self.select(matchers, from, to), limit, |labels, list| {
            labels.get(name).into_iter().for_each(|value| list.add(value));
        })
    }

    /// Adds why samples may be missing from what a query has read: they were refused, could not be read, or were
    /// dropped; and counts who was expected to report. Holders that know of nothing add nothing.
    fn missing(&self, _reads: &[Read<'_>], _into: &mut Missing) {}
}

/// Names of labels, or values of one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Listed {
    /// Sorted, each once.
    pub texts: Vec<Arc<str>>,
    /// Whether there are more than were asked for.
    pub was_cut: bool,
    /// Whether series came or went meanwhile: some of theirs may lack, or be there still.
    pub has_changed: bool,
}

/// The first texts of those that were added.
struct List {
    texts: BTreeSet<Arc<str>>,
    limit: usize,
    was_cut: bool,
}

/// The series that [`Queryable::select`] found.
///
/// Its series are read by several threads at once.
pub trait Selection: Send + Sync {
    /// How many there are.
    fn len(&self) -> usize;

    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What identifies the series at `index`.
    fn labels(&self, index: usize) -> LabelSet;

    /// What identifies each of them.
    fn list(&self) -> LabelList {
        (0..self.len()).map(|index| self.labels(index)).collect()
    }

    /// Appends the samples of the series at `index` from `from` to `to`, both included.
    ///
    /// *Shape*: oldest first, staleness markers included.
    fn read(&self, index: usize, from: Timestamp, to: Timestamp, into: &mut Samples);

    /// Appends for each series of `indices` its newest sample at `at` that is younger than `lookback`; none if
    /// the series went stale before.
    fn newest(
        &self,
        indices: Range<usize>,
        at: Timestamp,
        lookback: Duration,
        into: &mut Vec<Option<Sample>>,
    );

    /// The histogram of the series at `index` at exactly this time, where [`newest`](Self::newest) said that
    /// [there is one](Sample::is_histogram); none if it is gone by now.
    fn histogram(&self, index: usize, at: Timestamp) -> Option<Arc<FloatHistogram>> {
        let mut samples = Samples::default();
        self.read(index, at, at, &mut samples);
        match samples.is_empty() {
            true => None,
            false => samples.histogram(0).cloned(),
        }
    }

    /// How old what was read of the series at `index` for the time `asked` is, `sample` being the time of the newest
    /// sample that was read. It has ended where that is as old as `lookback`. Holders of what is no raw sample know
    /// more.
    fn age(&self, _index: usize, sample: Timestamp, asked: Timestamp, lookback: Duration) -> Age {
        let age = Age::between(sample, asked);
        match asked.saturating_since(sample) >= lookback {
            true => age.with_ended(),
            false => age,
        }
    }

    /// Whether the series at `index`, of which samples were read, has ended by `at`. Holders of what is no raw sample know
    /// more.
    fn has_ended(&self, index: usize, at: Timestamp, lookback: Duration) -> bool {
        let mut newest = Vec::new();
        self.newest(index..index + 1, at, lookback, &mut newest);
        newest.first().is_none_or(Option::is_none)
    }

    /// Whether series came or went since they were selected, or were just coming or going: what was read of them
    /// may lack some, and have both the old and the new ones of a target.
    fn has_changed(&self) -> bool {
        false
    }
}

// === impl Listed ===

impl Listed {
    fn of(series: &dyn Selection, limit: usize, add: impl Fn(&LabelSet, &mut List)) -> Self {
        let mut list = List {
            texts: BTreeSet::new(),
            limit,
            was_cut: false,
        };
        (0..series.len()).for_each(|index| add(&series.labels(index), &mut list));
        Self {
            texts: list.texts.into_iter().collect(),
            was_cut: list.was_cut,
            has_changed: series.has_changed(),
        }
    }
}

// === impl List ===

impl List {
    fn add(&mut self, text: &str) {
        if self.texts.contains(text) {
            return;
        }
        if self.texts.len() >= self.limit {
            self.was_cut = true;
            if self.texts.last().is_none_or(|last| **last < *text) {
                return;
            }
            self.texts.pop_last();
        }
        self.texts.insert(text.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matcher::MatchOp;
    use crate::store::MemoryStore;
    use crate::window::{Window, WindowConfig};

    const AT: Timestamp = Timestamp::from_millis(1_000);

    fn store() -> MemoryStore {
        let mut store = MemoryStore::new();
        for (name, pod, at) in [
            ("up", "c", 1_000),
            ("up", "a", 1_000),
            ("load", "b", 1_000),
            ("up", "old", 10),
        ] {
            let labels = LabelSet::from_pairs([("__name__", name), ("pod", pod)]);
            let timestamp = Timestamp::from_millis(at);
            let sample = Sample {
                timestamp,
                value: 1.0,
            };
            store.append(&labels, sample).expect("no conflict");
        }
        store
    }

    /// The same series in a window, beside one of another target.
    fn window() -> Window {
        let window = Window::new(WindowConfig::default());
        for (pod, names) in [("c", &["up"][..]), ("a", &["up"]), ("b", &["load"])] {
            let mut target = window.appender([("pod", pod)]);
            let mut page = target.scrape(AT);
            for name in names {
                let appended = page.append(name, 1.0, None, |labels| labels.label("__name__", name));
                appended.expect("there is room");
            }
            page.commit();
        }
        window
    }

    fn texts(listed: &Listed) -> Vec<&str> {
        listed.texts.iter().map(|text| &**text).collect()
    }

    #[test]
    fn names_and_values_are_sorted_and_say_when_there_are_more() {
        let up = [Matcher::new("__name__", MatchOp::Equal, "up").expect("a matcher")];
        let (store, window) = (store(), window());
        for data in [&store as &dyn Queryable, &window] {
            let names = |limit| data.label_names(&[], AT, AT, limit);
            assert_eq!(texts(&names(9)), ["__name__", "pod"]);
            assert!(!names(2).was_cut && names(1).was_cut && names(0).was_cut);
            assert_eq!(texts(&names(1)), ["__name__"]);

            let pods = |limit| data.label_values("pod", &[], AT, AT, limit);
            for (limit, expected, was_cut) in [
                (9, &["a", "b", "c"][..], false),
                (3, &["a", "b", "c"], false),
                (2, &["a", "b"], true),
                (0, &[], true),
            ] {
                let listed = pods(limit);
                assert_eq!(
                    (texts(&listed), listed.was_cut),
                    (expected.to_vec(), was_cut),
                    "of {limit}"
                );
                assert!(!listed.has_changed);
            }
            assert_eq!(texts(&data.label_values("pod", &up, AT, AT, 9)), ["a", "c"]);
            assert_eq!(data.label_values("zone", &[], AT, AT, 0), Listed::default());
        }
    }
}
