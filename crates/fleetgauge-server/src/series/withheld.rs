//! What a query of readings may lack: those that are withheld have no number, and a sum over the others is not the whole.

use fleetgauge_core::label::METRIC_NAME;
use fleetgauge_core::time::Timestamp;
use fleetgauge_promql::label::LabelSet;
use fleetgauge_promql::matcher::Matcher;
use fleetgauge_promql::missing::{Missing, Read};
use fleetgauge_promql::queryable::{Listed, Queryable, Selection};
use fleetgauge_promql::sample::{STALE_MARKER, Samples};
use fleetgauge_promql::window::Window;

use super::name::{READING, READING_AGE, READING_HELD, READING_WITHHELD};
use super::written::Written;

/// The readings as series; a query that reads numbers is told of those that are withheld.
///
/// Cheap to clone; clones show the same series.
#[derive(Clone, Debug)]
pub struct ReadingWindow {
    pub(super) window: Window,
    pub(super) written: Written,
}

/// The labels that a reading has also while nobody knows which rows its query gives.
const OF_PARTS: [&str; 5] = ["metric", "model", "namespace", "scope", "variant"];

impl Queryable for ReadingWindow {
    fn select(&self, matchers: &[Matcher], from: Timestamp, to: Timestamp) -> Box<dyn Selection + '_> {
        Queryable::select(&self.window, matchers, from, to)
    }

    fn select_newest(&self, matchers: &[Matcher], from: Timestamp, to: Timestamp) -> Box<dyn Selection + '_> {
        Queryable::select_newest(&self.window, matchers, from, to)
    }

    fn label_names(&self, matchers: &[Matcher], from: Timestamp, to: Timestamp, limit: usize) -> Listed {
        Queryable::label_names(&self.window, matchers, from, to, limit)
    }

    fn label_values(
        &self,
        name: &str,
        matchers: &[Matcher],
        from: Timestamp,
        to: Timestamp,
        limit: usize,
    ) -> Listed {
        Queryable::label_values(&self.window, name, matchers, from, to, limit)
    }

    fn missing(&self, reads: &[Read<'_>], into: &mut Missing) {
        Queryable::missing(&self.window, reads, into);
        let numbers = [READING, READING_AGE, READING_HELD];
        let reads_any =
            |read: &Read<'_>, names: &[&str]| names.iter().any(|name| read.may_select(Some(name), []));
        for read in reads {
            let is_of_numbers = reads_any(read, &numbers);
            if is_of_numbers {
                self.add_withheld(read, into);
            }
            if (is_of_numbers || reads_any(read, &[READING_WITHHELD]))
                && let Some(unwritten) = self.written.lacks(read)
            {
                into.add(unwritten);
            }
        }
    }
}

impl ReadingWindow {
    /// The series as they are.
    pub fn window(&self) -> &Window {
        &self.window
    }

    fn add_withheld(&self, read: &Read<'_>, into: &mut Missing) {
        let name = [Matcher::equal(METRIC_NAME, READING_WITHHELD)];
        let withheld = Queryable::select(&self.window, &name, read.from, read.to);
        let mut samples = Samples::default();
        for index in 0..withheld.len() {
            let labels = withheld.labels(index);
            if !may_be_meant(read, &labels) {
                continue;
            }
            samples.clear();
            withheld.read(index, read.from, read.to, &mut samples);
            if is_withheld(&samples, read) {
                into.add(format_args!("{}", Told(&labels)));
            }
        }
    }
}

/// Whether the number of which `labels` say that it is withheld would be among those that are read.
fn may_be_meant(read: &Read<'_>, labels: &LabelSet) -> bool {
    let is_own = |name: &str| name != METRIC_NAME && name != "reason";
    let known = labels.iter().filter(|(name, _)| is_own(name));
    if !read.may_select(None, known) {
        return false;
    }
    // While there is no answer, its rows may have any labels.
    let is_without_rows = labels
        .iter()
        .all(|(name, _)| !is_own(name) || OF_PARTS.contains(&name));
    let mut absent = read
        .matchers
        .iter()
        .filter(|matcher| is_own(matcher.name()) && labels.get(matcher.name()).is_none());
    is_without_rows || absent.all(|matcher| matcher.matches_value(""))
}

/// Whether the series said so at a time that is asked about: at the first one, or later.
fn is_withheld(samples: &Samples, read: &Read<'_>) -> bool {
    let since = if read.newest { read.to } else { read.since };
    let since = since.as_millis();
    let is_stale = |value: f64| value.to_bits() == STALE_MARKER;
    let mut before = None;
    for (time, value) in samples.times().iter().zip(samples.values()) {
        match *time <= since {
            true => before = Some(*value),
            false if is_stale(*value) => {}
            false => return true,
        }
    }
    before.is_some_and(|value| !is_stale(value))
}

/// Which reading is withheld, and why.
struct Told<'a>(&'a LabelSet);

impl std::fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let own = self
            .0
            .iter()
            .filter(|(name, _)| *name != METRIC_NAME && *name != "reason");
        let reason = self.0.get("reason").unwrap_or_default();
        let labels = LabelSet::from_pairs(own.chain([(METRIC_NAME, READING)]));
        write!(f, "{labels} is withheld: {reason}")
    }
}
