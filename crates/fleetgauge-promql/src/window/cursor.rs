//! How far somebody has read a window that hands all of its samples on, series by series.
//!
//! A page is dated when its scrape begins and is there only when it has been read, and series are scraped at different
//! times: one time for all of them would pass over what comes late. So each series has its own, in sixteen bytes and a place
//! in a table. They are forgotten with their series.

use std::hash::BuildHasher;
use std::sync::{Arc, Weak};

use fleetgauge_core::time::Timestamp;
use foldhash::fast::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::Window;
use super::index::Metric;
use super::series::Series;
use crate::label::LabelSet;
use crate::sample::Samples;

/// Reads what has come into a window, each sample once.
///
/// ```
/// use fleetgauge_core::time::Timestamp;
/// use fleetgauge_promql::window::{Cursor, Window, WindowConfig};
///
/// let window = Window::new(WindowConfig::default());
/// let mut target = window.appender([("pod", "vllm-0")]);
/// let now = Timestamp::from_millis(1_000);
/// let mut page = target.scrape(now);
/// page.append("up", 1.0, None, |labels| labels.label("__name__", "up"))?;
/// page.commit();
///
/// let mut cursor = Cursor::new(window);
/// let mut read = 0;
/// for _ in 0..2 {
///     cursor.begin(now);
///     while cursor.read(now, |_labels, samples| { read += samples.len(); true }) {}
/// }
/// assert_eq!(read, 1);
/// # Ok::<(), fleetgauge_promql::window::AppendError>(())
/// ```
#[derive(Debug)]
pub struct Cursor {
    window: Window,
    hasher: RandomState,
    read: HashTable<Read>,
    metrics: Vec<Arc<Metric>>,
    /// Of the metric that is being read, the last one first.
    series: Vec<Arc<Series>>,
    samples: Samples,
    /// When the pass began before the one that is under way.
    before: Option<i64>,
    began: Option<i64>,
    lost: u64,
}

/// How far a series was read.
#[derive(Debug)]
struct Read {
    /// Its address is not used again while this is there.
    series: Weak<Series>,
    until: i64,
}

// === impl Cursor ===

impl Cursor {
    /// Before all that `window` holds.
    pub fn new(window: Window) -> Self {
        Self {
            window,
            hasher: RandomState::default(),
            read: HashTable::new(),
            metrics: Vec::new(),
            series: Vec::new(),
            samples: Samples::default(),
            before: None,
            began: None,
            lost: 0,
        }
    }

    /// The window that is read.
    pub fn window(&self) -> &Window {
        &self.window
    }

    /// Begins a pass over all series at `now`.
    pub fn begin(&mut self, now: Timestamp) {
        self.before = self.began.replace(now.as_millis());
        self.metrics = self.window.0.index.metrics();
        let lasts = self.is_over(now);
        let mut went = 0;
        self.read.retain(|read| {
            let stays = read.series.upgrade().is_some_and(|series| !series.is_gone());
            went += u64::from(!stays);
            stays
        });
        if lasts {
            self.lost += went;
        }
    }

    /// Goes on with the pass: `visit` is given each series that has samples which it was not given, with these, and says
    /// whether it takes more. `false` at the end of the pass.
    ///
    /// *Shape*: samples oldest first, staleness markers included.
    pub fn read(&mut self, now: Timestamp, mut visit: impl FnMut(&LabelSet, &Samples) -> bool) -> bool {
        loop {
            let Some(series) = self.series.pop() else {
                let Some(metric) = self.metrics.pop() else {
                    return false;
                };
                self.series = metric.series().iter().cloned().collect();
                continue;
            };
            if self.read_series(&series, now) && !visit(series.labels(), &self.samples) {
                return true;
            }
        }
    }

    /// How many series may have lost samples so far: what came into the window and was out of its retention before it was
    /// read.
    pub fn lost_series(&self) -> u64 {
        self.lost
    }

    /// Whether what came after the last pass may be out of the retention.
    fn is_over(&self, now: Timestamp) -> bool {
        let retention = i64::try_from(self.window.config().retention.as_millis()).unwrap_or(i64::MAX);
        self.before
            .is_some_and(|before| now.as_millis().saturating_sub(before) > retention)
    }

    /// Whether the series has samples that were not read; they are in `samples` then.
    fn read_series(&mut self, series: &Arc<Series>, now: Timestamp) -> bool {
        let Some(newest) = series.newest() else {
            return false;
        };
        let is_over = self.is_over(now);
        let address = |read: &Read| read.series.as_ptr();
        let key = Arc::as_ptr(series);
        let hash = self.hasher.hash_one(key);
        let entry = self.read.entry(
            hash,
            |read| address(read) == key,
            |read| self.hasher.hash_one(address(read)),
        );
        let until = match &entry {
            Entry::Occupied(read) => read.get().until,
            Entry::Vacant(_) => i64::MIN,
        };
        if newest.timestamp.as_millis() <= until {
            return false;
        }
        let from = Timestamp::from_millis(until.saturating_add(1));
        self.samples.clear();
        series.read(from, Timestamp::from_millis(i64::MAX), &mut self.samples);
        let (Some(&first), Some(&last)) = (self.samples.times().first(), self.samples.times().last()) else {
            return false;
        };
        match entry {
            Entry::Occupied(mut read) => {
                let was_cut = is_over && self.before.is_some_and(|before| first > before);
                self.lost += u64::from(was_cut);
                read.get_mut().until = last;
            }
            Entry::Vacant(free) => {
                free.insert(Read {
                    series: Arc::downgrade(series),
                    until: last,
                });
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::window::{Appender, WindowConfig};

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn append(target: &mut Appender, time: i64, names: &[&str]) {
        let mut page = target.scrape(at(time));
        for name in names {
            let appended = page.append(name, time as f64, None, |labels| labels.label("__name__", name));
            appended.expect("there is room");
        }
        page.commit();
    }

    /// What a pass reads, sorted: series, time, and whether it is a marker.
    fn pass(cursor: &mut Cursor, now: i64) -> Vec<(String, i64, bool)> {
        let mut read = Vec::new();
        cursor.begin(at(now));
        // Series by series, as requests that are full at once.
        while cursor.read(at(now), |labels, samples| {
            for (time, value) in samples.times().iter().zip(samples.values()) {
                let is_stale = value.to_bits() == crate::sample::STALE_MARKER;
                read.push((labels.to_string(), *time, is_stale));
            }
            false
        }) {}
        read.sort();
        read
    }

    #[test]
    fn each_sample_is_read_once_also_those_that_come_late() {
        let window = Window::new(WindowConfig::default());
        let (mut a, mut b) = (window.appender([("pod", "a")]), window.appender([("pod", "b")]));
        let mut cursor = Cursor::new(window);
        append(&mut a, 1_000, &["up", "x"]);
        append(&mut a, 2_000, &["up"]);
        let of = |pod: &str, name: &str, time, is_stale| (format!("{name}{{pod=\"{pod}\"}}"), time, is_stale);
        assert_eq!(
            pass(&mut cursor, 2_000),
            [
                of("a", "up", 1_000, false),
                of("a", "up", 2_000, false),
                of("a", "x", 1_000, false),
                of("a", "x", 2_000, true),
            ]
        );
        assert_eq!(pass(&mut cursor, 2_000), []);
        // Dated before what was read of another series.
        append(&mut b, 1_500, &["up"]);
        assert_eq!(pass(&mut cursor, 3_000), [of("b", "up", 1_500, false)]);
        assert_eq!(cursor.lost_series(), 0);
    }

    #[test]
    fn what_is_out_of_the_retention_before_it_is_read_is_told_and_forgotten() {
        let window = Window::new(WindowConfig {
            retention: Duration::from_secs(10),
            ..WindowConfig::default()
        });
        let (mut a, mut b) = (window.appender([("pod", "a")]), window.appender([("pod", "b")]));
        let mut cursor = Cursor::new(window.clone());
        append(&mut a, 1_000, &["up"]);
        append(&mut b, 1_000, &["up"]);
        assert_eq!(pass(&mut cursor, 1_000).len(), 2);
        for second in 2..200 {
            append(&mut a, second * 1_000, &["up"]);
        }
        drop(b);
        window.expire(at(199_000));
        let read = pass(&mut cursor, 199_000);
        assert!(!read.is_empty() && read[0].1 > 2_000, "{read:?}");
        assert_eq!(cursor.lost_series(), 2);
        assert_eq!(cursor.read.len(), 1);
        // An idle time is no loss.
        append(&mut a, 200_000, &["up"]);
        assert_eq!(pass(&mut cursor, 200_000).len(), 1);
        assert_eq!(cursor.lost_series(), 2);
    }
}
