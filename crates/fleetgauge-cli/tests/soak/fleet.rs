//! Who there is by the targets file, and whether a number is one that these pods have said.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::pod::{NAMES, PODS, Pod, pages};

/// Files of targets are looked at every 5 s, and the daemon may stand still for some more; then what was known before is
/// refreshed, and may be shown a while longer.
const TAKEN_WITHIN: Duration = Duration::from_secs(10);
/// What the daemon's coarse clock may be off by.
const SLACK: Duration = Duration::from_millis(100);
/// A pod that has sent so many pages is no longer starting.
const STARTED: u64 = 200;

pub(super) struct Fleet {
    pub(super) pods: Vec<Arc<Pod>>,
    file: PathBuf,
    state: Mutex<State>,
}

struct State {
    /// Since when the file names whom.
    named: VecDeque<(Instant, [bool; PODS])>,
    /// Since when it names each of them, and how many pages that had sent by then.
    named_at: [Instant; PODS],
    count_then: [u64; PODS],
    /// When a number was shown first with a page since then: before it the pod may be starting, and is not missed.
    is_shown: [Option<Instant>; PODS],
}

/// A number that a door has shown.
#[derive(Clone, Copy)]
pub(super) struct Shown {
    pub(super) value: f64,
    /// When it was asked for, and when it was there.
    pub(super) asked: Instant,
    pub(super) until: Instant,
    /// How old its pages may be.
    pub(super) max_age: Duration,
    /// How old it is said to be.
    pub(super) age: Option<f64>,
    /// Whether nothing reserves that somebody may be missing.
    pub(super) is_whole: bool,
    /// Whose it is.
    pub(super) of: [bool; PODS],
}

// === impl Shown ===

impl Shown {
    /// A number that somebody may be missing from, asked for and there at these times.
    pub(super) fn at(asked: Instant, until: Instant, max_age: Duration) -> Self {
        Self {
            value: 0.0,
            asked,
            until,
            max_age,
            age: None,
            is_whole: false,
            of: [true; PODS],
        }
    }
}

// === impl Fleet ===

impl Fleet {
    pub(super) fn new(directory: &Path, pods: Vec<Arc<Pod>>) -> Self {
        let state = State {
            named: VecDeque::new(),
            named_at: [Instant::now(); PODS],
            count_then: [0; PODS],
            is_shown: [None; PODS],
        };
        let fleet = Self {
            pods,
            file: directory.join("targets.yaml"),
            state: Mutex::new(state),
        };
        fleet.name([true; PODS]);
        fleet
    }

    /// Whom the file names.
    pub(super) fn named(&self) -> [bool; PODS] {
        self.state.lock().unwrap().named.back().unwrap().1
    }

    /// Has the file name these pods.
    pub(super) fn name(&self, named: [bool; PODS]) {
        let mut state = self.state.lock().unwrap();
        let now = Instant::now();
        let before = state.named.back().map_or([false; PODS], |(_, named)| *named);
        for (number, pod) in self.pods.iter().enumerate() {
            if named[number] && !before[number] {
                state.named_at[number] = now;
                state.count_then[number] = pod.count();
                state.is_shown[number] = None;
            }
        }
        state.named.push_back((now, named));
        while state
            .named
            .get(1)
            .is_some_and(|(since, _)| now - *since > 4 * TAKEN_WITHIN)
        {
            state.named.pop_front();
        }
        drop(state);
        let named = self.pods.iter().filter(|pod| named[pod.number]);
        let groups = named.map(|pod| {
            let (address, name) = (pod.address, NAMES[pod.number]);
            format!("- {{targets: [\"{address}\"], labels: {{namespace: soak, pod: {name}}}}}\n")
        });
        let groups: String = groups.collect();
        self.write(if groups.is_empty() { "[]" } else { &groups });
    }

    /// Has the file be in no state to be taken, until it names somebody again.
    pub(super) fn spoil(&self, text: &str) {
        std::fs::write(&self.file, text).unwrap();
    }

    fn write(&self, text: &str) {
        let next = self.file.with_extension("next");
        std::fs::write(&next, text).unwrap();
        std::fs::rename(&next, &self.file).unwrap();
    }

    /// Whether that number may be shown.
    pub(super) fn judge(&self, shown: Shown) -> Result<(), String> {
        let long_ago = shown.asked - TAKEN_WITHIN - shown.max_age;
        let versions = self.versions(long_ago, shown.until);
        if shown.value == 0.0 {
            let is_empty =
                |named: &[bool; PODS]| (0..PODS).all(|number| !(named[number] && shown.of[number]));
            let was_empty = versions.iter().any(is_empty);
            return was_empty.then_some(()).ok_or("0, but there are pods".to_owned());
        }
        let pages = pages(shown.value)?;
        let there = pages.iter().enumerate();
        for (number, page) in there.filter_map(|(number, page)| Some((number, (*page)?))) {
            let wrong = |what: String| Err(format!("{}: page {page} of pod {number} {what}", shown.value));
            let Some(served) = self.pods[number].served(page, shown.until) else {
                return wrong("was not sent lately".to_owned());
            };
            let age = shown.asked.saturating_duration_since(served);
            let said = shown.age.map_or(shown.max_age, Duration::from_secs_f64);
            if age > said.min(shown.max_age) + SLACK {
                return wrong(format!("is {age:?} old, and said to be {said:?}"));
            }
            if !shown.of[number] || !versions.iter().any(|named| named[number]) {
                return wrong("is of somebody else, or of one who has gone".to_owned());
            }
            let mut state = self.state.lock().unwrap();
            if served >= state.named_at[number] {
                state.is_shown[number].get_or_insert(shown.until);
            }
        }
        let missing = self.misses(pages.map(|page| page.is_some()), shown);
        match missing {
            Some(number) => Err(format!("{}: pod {number} is not in it", shown.value)),
            None => Ok(()),
        }
    }

    /// A pod that should be among those, where nothing says that somebody may be missing.
    pub(super) fn misses(&self, has: [bool; PODS], shown: Shown) -> Option<usize> {
        let versions = self.versions(shown.asked - TAKEN_WITHIN, shown.until);
        let state = self.state.lock().unwrap();
        let is_due = |number: usize| {
            let earlier = shown.asked - shown.max_age;
            let has_started = self.pods[number].count() > state.count_then[number] + STARTED
                || state.is_shown[number].is_some_and(|since| since < earlier);
            versions.iter().all(|named| named[number]) && has_started
        };
        (0..PODS).find(|number| shown.is_whole && shown.of[*number] && !has[*number] && is_due(*number))
    }

    /// Whom the file has named from then to then.
    fn versions(&self, from: Instant, to: Instant) -> Vec<[bool; PODS]> {
        let state = self.state.lock().unwrap();
        let ends = state.named.iter().skip(1).map(|(since, _)| *since).chain([to]);
        let versions = state.named.iter().zip(ends);
        let during = versions.filter(|((since, _), end)| *since <= to && *end >= from);
        during.map(|((_, named), _)| *named).collect()
    }
}
