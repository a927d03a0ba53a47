//! The newest samples of every series, in memory and within bounds: what scrapers fill and queries read.
//!
//! An autoscaler needs the last minutes of many series, often. So the window keeps
//! - samples at about a byte each: all of a page have one time and lie in one row of their target, and what is older than
//!   the newest rows is kept by columns, in blocks that are dropped whole when they are out of the retention;
//! - each label string once, given back when the last series that has it goes;
//! - a scrape's path short: a series is found by its text as exposed, without reading its labels; pods that expose
//!   the same line share its text;
//! - readers free: no reader ever waits for a scrape, and none holds one up. All they read is published with
//!   atomics, and stays intact while they hold it.
//!
//! It says what it refuses and what it drops before its time: counted by reason, and for each read that this
//! may touch ([`missing`](Window::missing)). It does not write to disk, knows no time of its own, and starts no thread: the owner scrapes, and calls
//! [`expire`](Window::expire) now and then.
//!
//! # Memory
//!
//! Measured with `cargo bench -p fleetgauge-promql --bench window`, on a page like a busy vLLM's (815 series,
//! most of them buckets; counters, latencies, ratios), scraped once a second and kept for 15 minutes, labels and
//! index included:
//!
//! | | |
//! |---|---|
//! | a sample, scraped every 1,000 ms, or every 1,000 ± 2 ms | 1.23 bytes |
//! | a series of 8 labels with one sample, of 10 pods that share their lines | 435 bytes |
//!
//! [`WindowStats::bytes`] adds a third to them, which is more than a process takes.
//!
//! A series that dates its samples itself, or that several targets expose, costs about 3 bytes a sample, and 150 more.
//! A native histogram of 40 buckets takes 36 to 44 bytes, where 3 to 30 observations come a second; its series takes 6 KiB,
//! most of them for its newest histograms, which are not columns yet.
//!
//! ```
//! use std::time::Duration;
//!
//! use fleetgauge_core::time::Timestamp;
//! use fleetgauge_promql::window::{Window, WindowConfig};
//!
//! let window = Window::new(WindowConfig::default());
//! let mut target = window.appender([("job", "vllm"), ("pod", "vllm-0")]);
//!
//! let now = Timestamp::from_secs_f64(1_763_930_000.0);
//! let mut page = target.scrape(now);
//! page.append(r#"vllm:num_requests_waiting{engine="0"}"#, 6.0, None, |labels| {
//!     // From `exposition::Page::labels`, which is not called again for this text.
//!     labels.label("__name__", "vllm:num_requests_waiting");
//!     labels.label("engine", "0");
//! })?;
//! page.commit();
//!
//! let newest = window.latest("vllm:num_requests_waiting", now, Duration::from_secs(300));
//! let (series, sample) = newest.iter().next().expect("just scraped");
//! assert_eq!(sample.value, 6.0);
//! assert_eq!(
//!     series.labels().to_string(),
//!     r#"vllm:num_requests_waiting{engine="0", job="vllm", pod="vllm-0"}"#
//! );
//! # Ok::<(), fleetgauge_promql::window::AppendError>(())
//! ```

mod appender;
mod block;
mod chunk;
mod code;
mod column;
mod cursor;
mod exposed;
mod histogram_store;
mod index;
mod limit;
mod lines;
mod loose;
mod loss;
mod newest;
mod newest_row;
mod outcome;
mod pending;
mod recent;
mod scrape_cache;
mod series;
mod sorted;
mod state;
mod symbols;
mod target;
#[cfg(test)]
mod tests;
mod withdrawn;

use std::ops::{Index, Range};
use std::sync::Arc;
use std::time::Duration;

use fleetgauge_core::label::METRIC_NAME;
use fleetgauge_core::time::Timestamp;

use crate::label::{LabelList, LabelSet, Lookup, Memo};
use crate::matcher::{MatchOp, Matcher};
use crate::missing::{Missing, Read};
use crate::queryable::{Queryable, Selection};
use crate::sample::{Sample, Samples};
pub use appender::{Appender, ScrapeBatch, ScrapeReport};
pub use cursor::Cursor;
pub use exposed::ExposedLabels;
pub use limit::{AppendError, WindowConfig, WindowStats};
pub use series::Series;
pub use withdrawn::{Lacked, Past, Withdrawn};

use index::Seen;
use sorted::Sorted;
use state::{MAX_AHEAD_MS, State};

/// The bounded in-memory series of many targets.
///
/// Cheap to clone; clones show the same series.
#[derive(Clone, Debug)]
pub struct Window(Arc<State>);

/// The series that [`Window::select`] found. They stay readable, also when the window lets them go.
#[derive(Debug)]
pub struct Selected {
    /// Those of each metric, selected or not: to hold each series by itself would take longer than to read it.
    metrics: Vec<Arc<Sorted>>,
    series: Vec<Selectee>,
    seen: Seen,
    memo: Arc<Memo>,
}

#[derive(Clone, Copy, Debug)]
struct Selectee {
    metric: u32,
    position: u32,
}

/// The series that [`Window::latest`] found, each with its newest sample.
#[derive(Debug, Default)]
pub struct Latest {
    series: Arc<Sorted>,
    /// With the positions of their series.
    samples: Vec<(u32, Sample)>,
    has_changed: bool,
}

/// So often the newest samples of a metric are read at most: as long as the largest page takes to be written, and
/// some milliseconds more.
const MAX_LATEST_READS: usize = 1_000;

// === impl Window ===

impl Window {
    /// An empty window.
    pub fn new(config: WindowConfig) -> Self {
        Self(Arc::new(State::new(config)))
    }

    /// What it was made with.
    pub fn config(&self) -> &WindowConfig {
        &self.0.usage.config
    }

    /// Whether both are the same series.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The way in for one target, whose labels are added to all of its series and win over exposed ones.
    ///
    /// What a scraper reports itself (`up` and the like) goes through an appender of its own: those series
    /// do not go stale when the target fails.
    pub fn appender<N, V>(&self, target: impl IntoIterator<Item = (N, V)>) -> Appender
    where
        N: Into<String>,
        V: Into<String>,
    {
        let target = target.into_iter().map(|(n, v)| (n.into(), v.into())).collect();
        Appender::new(Arc::clone(&self.0), target)
    }

    /// The newest sample of each series of the metric `name` at `at`, if it is younger than `lookback` and
    /// the series has not gone stale.
    ///
    /// *Shape*: one pair a series, sorted by labels.
    pub fn latest(&self, name: &str, at: Timestamp, lookback: Duration) -> Latest {
        let mut latest = Latest::default();
        for _ in 0..MAX_LATEST_READS {
            let Some(metric) = self.0.index.find_metric(name) else {
                return latest;
            };
            let mut seen = Seen::default();
            seen.add(&metric);
            latest.series = metric.sorted();
            latest.samples.clear();
            let newest = |position: u32| Some((position, latest.series.at(position as usize, at, lookback)?));
            let positions = 0..latest.series.len() as u32;
            latest.samples.extend(positions.filter_map(newest));
            latest.has_changed = seen.has_changed();
            if !latest.has_changed {
                return latest;
            }
            std::thread::yield_now();
        }
        latest
    }

    /// The series that fit all `matchers` and have samples from `from` to `to`, both included.
    ///
    /// *Shape*: sorted by labels. A series whose only samples are outside, before and after, may be among them;
    /// reading it then gives none.
    pub fn select(&self, matchers: &[Matcher], from: Timestamp, to: Timestamp) -> Selected {
        let (by_name, others): (Vec<_>, Vec<_>) = matchers.iter().partition(|m| m.name() == METRIC_NAME);
        let (from, to) = (from.as_millis(), to.as_millis());
        // Every series has a name, so one that must be empty selects nothing.
        let equal = by_name.iter().find(|m| m.op() == MatchOp::Equal);
        let metrics = match equal {
            Some(name) => self.0.index.find_metric(name.value()).into_iter().collect(),
            None => self.0.index.metrics(),
        };
        let (mut selected, mut seen) = (Vec::new(), Seen::default());
        let mut listed = Vec::new();
        let mut conditions: Vec<_> = others.iter().map(|m| (m, Lookup::new(m.name()))).collect();
        for metric in metrics {
            if !by_name.iter().all(|m| m.matches_value(metric.name())) {
                continue;
            }
            seen.add(&metric);
            let sorted = metric.sorted();
            let of_metric = listed.len() as u32;
            for position in sorted.positions(&sorted.fitting(others.iter().copied())) {
                let labels = || sorted[position].labels();
                let mut conditions = conditions.iter_mut();
                if conditions.all(|(m, label)| m.matches_value(label.get(labels())))
                    && sorted.overlaps(position, from, to)
                {
                    selected.push(Selectee {
                        metric: of_metric,
                        position: position as u32,
                    });
                }
            }
            listed.push(sorted);
        }
        let mut selected = Selected {
            metrics: listed,
            series: selected,
            seen,
            memo: Arc::clone(&self.0.memo),
        };
        if selected.metrics.len() > 1 {
            selected.sort();
        }
        selected
    }

    /// Adds why samples may be missing from what is read: they were refused or could not be read, or were there
    /// and have been dropped.
    pub fn missing(&self, read: Read<'_>, into: &mut Missing) {
        self.0.losses.missing(read, into);
        self.0.usage.missing(read, into);
    }

    /// Drops what is older than the retention at `now`, the series without samples, and the labels that no
    /// series has any more. Returns how many series went.
    ///
    /// A series that is appended to drops its old samples by itself; this is for those that are not. Samples
    /// more than ten minutes in the future are dropped, too: they are from before the clock was set back.
    pub fn expire(&self, now: Timestamp) -> usize {
        let State {
            index,
            spare_pages,
            usage,
            losses,
            ..
        } = &*self.0;
        spare_pages.clear(usage);
        losses.expire(now.as_millis().saturating_sub(usage.retention_ms));
        index.expire(
            |series| series.expire(now.as_millis(), MAX_AHEAD_MS, usage),
            usage,
        )
    }

    /// Since when it holds all that has come, but for what was refused; `None` if nothing has come.
    pub fn held_since(&self) -> Option<Timestamp> {
        self.0.usage.held_since().map(Timestamp::from_millis)
    }

    /// What is held, and what was refused so far.
    pub fn stats(&self) -> WindowStats {
        self.0.usage.stats()
    }
}

// === impl Selected, Latest ===

impl Selected {
    /// How many series there are.
    pub fn len(&self) -> usize {
        self.series.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// The series, sorted by labels.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Arc<Series>> {
        self.series.iter().map(|one| self.series_of(*one))
    }

    #[inline]
    fn series_of(&self, one: Selectee) -> &Arc<Series> {
        &self.metrics[one.metric as usize][one.position as usize]
    }

    fn sort(&mut self) {
        let mut series = std::mem::take(&mut self.series);
        series.sort_unstable_by(|a, b| self.series_of(*a).labels().cmp(self.series_of(*b).labels()));
        self.series = series;
    }

    /// Whether series came or went since they were selected, or were just coming or going: the samples of one page
    /// are written one by one, and a reader may have seen a part of them.
    pub fn has_changed(&self) -> bool {
        self.seen.has_changed()
    }
}

impl Index<usize> for Selected {
    type Output = Arc<Series>;

    fn index(&self, index: usize) -> &Arc<Series> {
        self.series_of(self.series[index])
    }
}

impl Latest {
    /// How many series there are.
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// The series, sorted by labels, each with its newest sample.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Arc<Series>, Sample)> {
        let samples = self.samples.iter();
        samples.map(|&(position, sample)| (&self.series[position as usize], sample))
    }

    /// Whether series came or went while they were read, although they were read again and again.
    pub fn has_changed(&self) -> bool {
        self.has_changed
    }
}

// === impl Queryable ===

impl Queryable for Window {
    fn select(&self, matchers: &[Matcher], from: Timestamp, to: Timestamp) -> Box<dyn Selection + '_> {
        Box::new(Window::select(self, matchers, from, to))
    }

    fn missing(&self, reads: &[Read<'_>], into: &mut Missing) {
        reads.iter().for_each(|read| Window::missing(self, *read, into));
    }
}

impl Selection for Selected {
    fn len(&self) -> usize {
        Selected::len(self)
    }

    fn labels(&self, index: usize) -> LabelSet {
        self[index].labels().clone()
    }

    fn list(&self) -> LabelList {
        let [metric] = &self.metrics[..] else {
            return (0..self.len()).map(|index| self.labels(index)).collect();
        };
        let all = metric.labels(&self.memo);
        match self.len() == all.len() {
            true => all,
            false => all.chosen(self.series.iter().map(|one| one.position).collect()),
        }
    }

    fn read(&self, index: usize, from: Timestamp, to: Timestamp, into: &mut Samples) {
        self[index].read(from, to, into);
    }

    fn newest(
        &self,
        indices: Range<usize>,
        at: Timestamp,
        lookback: Duration,
        into: &mut Vec<Option<Sample>>,
    ) {
        let newest =
            |one: &Selectee| self.metrics[one.metric as usize].at(one.position as usize, at, lookback);
        into.extend(self.series[indices].iter().map(newest));
    }

    fn has_changed(&self) -> bool {
        Selected::has_changed(self)
    }
}
