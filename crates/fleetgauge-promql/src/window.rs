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
//! | a sample, scraped every 1,000 ms, or every 1,000 ± 2 ms | 1.25 bytes |
//! | a series of 8 labels with one sample, of 10 pods that share their lines | 455 bytes |
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
//! let (series, sample) = &newest[0];
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

use std::ops::Deref;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use fleetgauge_core::label::METRIC_NAME;
use fleetgauge_core::time::Timestamp;

use crate::label::{LabelSet, Lookup};
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
use state::{MAX_AHEAD_MS, State};

/// The bounded in-memory series of many targets.
///
/// Cheap to clone; clones show the same series.
#[derive(Clone, Debug)]
pub struct Window(Arc<State>);

/// The series that [`Window::select`] found. They stay readable, also when the window lets them go.
#[derive(Debug)]
pub struct Selected {
    series: Vec<Arc<Series>>,
    seen: Seen,
}

/// The series that [`Window::latest`] found, each with its newest sample.
#[derive(Debug, Default)]
pub struct Latest {
    samples: Vec<(Arc<Series>, Sample)>,
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
    /// *Shape*: one pair a series, in no particular order.
    pub fn latest(&self, name: &str, at: Timestamp, lookback: Duration) -> Latest {
        let mut latest = Latest::default();
        let newest = |s: &Arc<Series>| s.at(at, lookback).map(|sample| (Arc::clone(s), sample));
        for _ in 0..MAX_LATEST_READS {
            let Some(metric) = self.0.index.find_metric(name) else {
                return latest;
            };
            let mut seen = Seen::default();
            seen.add(&metric);
            latest.samples.clear();
            latest.samples.extend(metric.series().iter().filter_map(newest));
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
        let mut conditions: Vec<_> = others.iter().map(|m| (m, Lookup::new(m.name()))).collect();
        let mut met = 0;
        for metric in metrics {
            if !by_name.iter().all(|m| m.matches_value(metric.name())) {
                continue;
            }
            met += 1;
            seen.add(&metric);
            let (_, sorted) = &*metric.sorted();
            for series in sorted.iter(&sorted.fitting(others.iter().copied())) {
                let labels = series.labels();
                let mut conditions = conditions.iter_mut();
                if conditions.all(|(m, label)| m.matches_value(label.get(labels)))
                    && series.overlaps(from, to)
                    && !series.is_gone()
                {
                    selected.push(Arc::clone(series));
                }
            }
        }
        if met > 1 {
            selected.sort_unstable_by(|a, b| a.labels().cmp(b.labels()));
        }
        Selected {
            series: selected,
            seen,
        }
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
            index, usage, losses, ..
        } = &*self.0;
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

/// The series, sorted by labels.
impl Deref for Selected {
    type Target = [Arc<Series>];

    fn deref(&self) -> &Self::Target {
        &self.series
    }
}

impl Selected {
    /// Whether series came or went since they were selected, or were just coming or going: the samples of one page
    /// are written one by one, and a reader may have seen a part of them.
    pub fn has_changed(&self) -> bool {
        self.seen.has_changed()
    }
}

impl Deref for Latest {
    type Target = [(Arc<Series>, Sample)];

    fn deref(&self) -> &Self::Target {
        &self.samples
    }
}

impl Latest {
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
        <[_]>::len(self)
    }

    fn labels(&self, index: usize) -> LabelSet {
        self[index].labels().clone()
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
        into.extend(self[indices].iter().map(|series| series.at(at, lookback)));
    }

    fn has_changed(&self) -> bool {
        Selected::has_changed(self)
    }
}
