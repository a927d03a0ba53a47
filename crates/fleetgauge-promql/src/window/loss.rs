//! What was exposed and is not in the window: why, of which target and metric, and for which answers it
//! matters.
//!
//! A sample that is refused must not be a silent zero. Each target whose samples do not all arrive has a log;
//! most have none, and cost nothing.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;

use super::limit::AppendError;
use super::series::Gone;
use crate::missing::{Missing, Read};

/// Why samples that a target exposed are not in the window.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Loss {
    /// The series was not taken.
    #[error("{0}")]
    Refused(AppendError),
    /// The series has another value for the same time.
    #[error("the series has another value for the same time")]
    Duplicate,
    /// The series has a newer sample.
    #[error("the series has a newer sample")]
    OutOfOrder,
    /// The sample's own timestamp is too far from the scrape's.
    #[error("dated before the retention, or more than ten minutes ahead")]
    OutOfBounds,
    /// A bucket of the histogram is missing, and a quantile of the others would be wrong.
    #[error("a bucket of the histogram is missing, so the others are left out")]
    BrokenHistogram,
    /// The series was exposed no longer, and a limit was reached.
    #[error("its series were exposed no longer, and made room for others at a limit")]
    MadeRoom,
    /// The scraper could not read them, or left them out; it says why.
    #[error("{0}")]
    Unread(String),
}

/// The logs of all targets that have one.
#[derive(Debug, Default)]
pub(super) struct LossLogs {
    logs: papaya::HashMap<u64, Arc<LossLog>, RandomState>,
    next: AtomicU64,
}

/// What is missing of one target.
#[derive(Debug)]
pub(super) struct LossLog {
    target: Vec<(String, String)>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// When the target was scraped last and the time before, or was marked as gone: what was missing earlier is
    /// not missing from the newest samples.
    scrapes: [i64; 2],
    entries: Vec<Entry>,
}

/// The losses of one metric for one reason.
#[derive(Debug)]
struct Entry {
    /// `None` where it is not known, or there are too many.
    metric: Option<Box<str>>,
    loss: Loss,
    first: i64,
    last: i64,
    /// Whether the newest samples lack it, too, however often the target was scraped since.
    lasting: bool,
}

/// What one page loses, until it is committed.
#[derive(Debug, Default)]
pub(super) struct Losses(Vec<(Option<Box<str>>, Loss)>);

/// How many metrics and reasons a target's log, or a page, tells apart.
const MAX_ENTRIES: usize = 64;

// === impl Losses ===

impl Losses {
    /// Adds that samples of `metric` are lost. Beyond the bound it is no longer said which metric they are of.
    pub(super) fn add(&mut self, metric: Option<&str>, loss: Loss) {
        let is_same = |(known, of): &(Option<Box<str>>, Loss)| known.as_deref() == metric && *of == loss;
        // The samples of a metric come together.
        if self.0.iter().rev().any(is_same) {
            return;
        }
        if self.0.len() < MAX_ENTRIES {
            self.0.push((metric.map(Box::from), loss));
        } else if !self.0.iter().any(|(known, _)| known.is_none()) {
            self.0.push((None, loss));
        }
    }

    /// Whether samples of `metric` may be among them.
    pub(super) fn may_include(&self, metric: &str) -> bool {
        self.0
            .iter()
            .any(|(known, _)| known.as_deref().is_none_or(|known| known == metric))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

// === impl LossLogs ===

impl LossLogs {
    /// A new log of the target with these labels, of which all its series have those; of any target if there
    /// are none.
    pub(super) fn begin(&self, target: &[(String, String)]) -> Arc<LossLog> {
        let log = Arc::new(LossLog {
            target: target.to_vec(),
            state: Mutex::default(),
        });
        let key = self.next.fetch_add(1, Ordering::Relaxed);
        self.logs.pin().insert(key, Arc::clone(&log));
        log
    }

    /// Adds what may be missing from `read`.
    pub(super) fn missing(&self, read: Read<'_>, into: &mut Missing) {
        if self.logs.is_empty() {
            return;
        }
        for log in self.logs.pin().values() {
            log.missing(read, into);
        }
    }

    /// Forgets what no query reaches any more.
    pub(super) fn expire(&self, cutoff: i64) {
        let logs = self.logs.pin();
        for (key, log) in &logs {
            // One that a target holds on to is needed again.
            if log.expire(cutoff) && Arc::strong_count(log) == 1 {
                logs.remove(key);
            }
        }
    }
}

// === impl LossLog ===

impl LossLog {
    /// Says that the target was scraped at `at`, and lost this. What is from before `cutoff` is forgotten.
    pub(super) fn scraped(&self, at: i64, losses: Losses, cutoff: i64) {
        let mut state = self.lock();
        state.advance(at);
        state.entries.retain(|entry| entry.last >= cutoff);
        for (metric, loss) in losses.0 {
            state.add(metric, loss, (at, at), false);
        }
    }

    /// Says that a series of `metric` was let go to make room.
    pub(super) fn made_room(&self, metric: &str, gone: Gone) {
        // A stale series is missing from no newest samples, however recently it was.
        let lasting = !gone.was_stale;
        let mut state = self.lock();
        state.add(
            Some(metric.into()),
            Loss::MadeRoom,
            (gone.first, gone.last),
            lasting,
        );
    }

    /// Says that the target's series are known to be gone at `at`.
    pub(super) fn advance(&self, at: i64) {
        self.lock().advance(at);
    }

    fn missing(&self, read: Read<'_>, into: &mut Missing) {
        let target = || self.target.iter().map(|(n, v)| (n.as_str(), v.as_str()));
        if !read.may_select(None, target()) {
            return;
        }
        let (from, to) = (read.from.as_millis(), read.to.as_millis());
        let state = self.lock();
        // What counts for the newest samples is what the last scrape before `to` lost.
        let last_scrape = state.scrapes.iter().rev().find(|&&at| at <= to);
        let since = last_scrape.map_or(from, |&at| from.max(at));
        for entry in &state.entries {
            let was_stale = entry.loss == Loss::MadeRoom && !entry.lasting;
            if read.newest && was_stale && entry.last <= to {
                // Whoever asks for a time before they were stale lacks them.
                continue;
            }
            let since = if read.newest && !entry.lasting && !was_stale {
                since
            } else {
                from
            };
            if entry.first <= to && entry.last >= since && read.may_select(entry.metric.as_deref(), []) {
                into.add(format_args!("{}{entry}", Of(&self.target)));
            }
        }
    }

    fn expire(&self, cutoff: i64) -> bool {
        let mut state = self.lock();
        state.entries.retain(|entry| entry.last >= cutoff);
        state.entries.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn advance(&mut self, at: i64) {
        if at > self.scrapes[1] {
            self.scrapes = [self.scrapes[1], at];
        }
    }

    fn add(&mut self, metric: Option<Box<str>>, loss: Loss, (first, last): (i64, i64), lasting: bool) {
        let mut entry = Entry {
            metric,
            loss,
            first,
            last,
            lasting,
        };
        let is_full = self.entries.len() >= MAX_ENTRIES;
        let mut known = self.entries.iter_mut();
        let same = if !is_full {
            known.find(|known| known.is_like(&entry))
        } else {
            // Which metrics they are of is no longer told apart.
            entry.metric = None;
            known.find(|known| known.metric.is_none())
        };
        match same {
            Some(known) => known.extend(entry),
            None => self.entries.push(entry),
        }
    }
}

// === impl Entry ===

impl Entry {
    /// Whether it is of the same metric, for the same reason, whatever its details.
    fn is_like(&self, other: &Self) -> bool {
        let reason = |entry: &Self| std::mem::discriminant(&entry.loss);
        self.metric == other.metric && self.lasting == other.lasting && reason(self) == reason(other)
    }

    fn extend(&mut self, other: Self) {
        self.first = self.first.min(other.first);
        self.lasting |= other.lasting;
        if other.last >= self.last {
            (self.last, self.loss) = (other.last, other.loss);
        }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.loss {
            Loss::MadeRoom => "earlier samples",
            _ => "samples",
        };
        match &self.metric {
            Some(metric) => write!(f, "{what} of {metric:?} are missing: {}", self.loss),
            None => write!(f, "{what} are missing: {}", self.loss),
        }
    }
}

/// Which target it is about.
struct Of<'a>(&'a [(String, String)]);

impl fmt::Display for Of<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (name, value)) in self.0.iter().enumerate() {
            let begin = if at == 0 { "target {" } else { ", " };
            write!(f, "{begin}{name}={value:?}")?;
        }
        f.write_str(if self.0.is_empty() { "" } else { "}: " })
    }
}
