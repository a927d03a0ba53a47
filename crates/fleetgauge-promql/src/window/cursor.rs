//! How far somebody has read a window that hands all of its samples on, series by series.
//!
//! A page is dated when its scrape begins and is there only when it has been read, and series are scraped at different
//! times: one time for all of them would pass over what comes late. So each series has its own, in 24 bytes and a place in a
//! table, and beside it how many samples it had been given by then: what was dropped before it was read is the difference,
//! for whatever reason it was dropped.

use std::hash::BuildHasher;
use std::sync::Arc;

use fleetgauge_core::time::Timestamp;
use foldhash::fast::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::Window;
use super::index::Metric;
use super::series::Series;
use crate::label::LabelSet;
use crate::sample::{STALE_MARKER, Samples};

/// Reads what has come into a window, each sample once.
///
/// ```
/// use fleetgauge_core::time::Timestamp;
/// use fleetgauge_promql::window::{Cursor, Window, WindowConfig};
///
/// let window = Window::new(WindowConfig::default());
/// let mut target = window.appender([("pod", "vllm-0")]);
/// let mut page = target.scrape(Timestamp::from_millis(1_000));
/// page.append("up", 1.0, None, |labels| labels.label("__name__", "up"))?;
/// page.commit();
///
/// let mut cursor = Cursor::new(window);
/// let mut read = 0;
/// for _ in 0..2 {
///     cursor.begin();
///     while cursor.read(|_labels, samples| { read += samples.len(); true }) {}
/// }
/// assert_eq!((read, cursor.lost()), (1, 0));
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
    /// How many passes have begun.
    passes: u64,
    /// Samples since then are given again in this pass.
    again_from: i64,
    /// Whether each series gets a staleness marker.
    ends: bool,
    /// Samples of series that were met, and went before they were read.
    lost: u64,
    /// What the series have been given that were let go: before the first pass, of those that were met, and of those that
    /// were not.
    gone_before: u64,
    gone_known: u64,
    gone_unknown: u64,
}

/// How far a series was read.
#[derive(Debug)]
struct Read {
    series: Arc<Series>,
    until: i64,
    /// How many samples it had been given by then.
    count: u64,
}

// === impl Cursor ===

impl Cursor {
    /// Before all that `window` holds.
    pub fn new(window: Window) -> Self {
        Self {
            gone_before: window.0.usage.samples_let_go(),
            window,
            hasher: RandomState::default(),
            read: HashTable::new(),
            metrics: Vec::new(),
            series: Vec::new(),
            samples: Samples::default(),
            passes: 0,
            again_from: i64::MAX,
            ends: false,
            lost: 0,
            gone_known: 0,
            gone_unknown: 0,
        }
    }

    /// The window that is read.
    pub fn window(&self) -> &Window {
        &self.window
    }

    /// Begins a pass over all series.
    pub fn begin(&mut self) {
        self.again_from = i64::MAX;
        self.passes += 1;
        self.metrics = self.window.0.index.metrics();
        self.series.clear();
        self.forget();
    }

    /// Begins a pass in which samples since `from` are given again, for whoever does not have any more what it was given.
    pub fn begin_again(&mut self, from: Timestamp) {
        self.begin();
        self.again_from = from.as_millis();
    }

    /// Begins the last pass, in which each series that has not gone stale gets a staleness marker behind its newest sample:
    /// nobody writes into the window any more.
    pub fn end(&mut self) {
        self.begin();
        self.ends = true;
    }

    /// Forgets the series that the window has let go. Whoever makes long pauses in a pass calls it in them, too: until then
    /// these series take memory.
    pub fn forget(&mut self) {
        // First: whatever it counts is known to be gone below.
        let gone = self.window.0.usage.samples_let_go();
        let (lost, known) = (&mut self.lost, &mut self.gone_known);
        self.read.retain(|read| {
            if !read.series.is_gone() {
                return true;
            }
            let (count, _) = read.series.counted();
            *lost += count.saturating_sub(read.count);
            *known += count;
            false
        });
        let unknown = gone.saturating_sub(self.gone_before.saturating_add(self.gone_known));
        self.gone_unknown = self.gone_unknown.max(unknown);
    }

    /// Goes on with the pass: `visit` is given each series that has samples which it was not given, with these, and says
    /// whether it takes more. `false` at the end of the pass.
    ///
    /// *Shape*: samples oldest first, staleness markers included.
    pub fn read(&mut self, mut visit: impl FnMut(&LabelSet, &Samples) -> bool) -> bool {
        loop {
            let Some(series) = self.series.pop() else {
                let Some(metric) = self.metrics.pop() else {
                    return false;
                };
                self.series.extend(metric.series().iter().cloned());
                continue;
            };
            if self.read_series(&series) && !visit(series.labels(), &self.samples) {
                return true;
            }
        }
    }

    /// How many samples were dropped before they were read: they came into the window and were out of its retention, or went
    /// at one of its limits or when the clock was set back.
    pub fn lost(&self) -> u64 {
        self.lost.saturating_add(self.gone_unknown)
    }

    /// Whether the series has samples that were not read; they are in `samples` then.
    fn read_series(&mut self, series: &Arc<Series>) -> bool {
        let (count, newest) = series.counted();
        let (Some(newest), false) = (newest, series.is_gone()) else {
            return false;
        };
        let (now, is_stale) = (newest.timestamp.as_millis(), newest.is_stale());
        let key = Arc::as_ptr(series);
        let hash = self.hasher.hash_one(key);
        let entry = self.read.entry(
            hash,
            |read| Arc::as_ptr(&read.series) == key,
            |read| self.hasher.hash_one(Arc::as_ptr(&read.series)),
        );
        let before = match &entry {
            Entry::Occupied(read) => Some((read.get().until, read.get().count)),
            Entry::Vacant(_) => None,
        };
        self.samples.clear();
        let (until, known) = before.unwrap_or((i64::MIN, 0));
        let new = count.saturating_sub(known);
        let samples = &mut self.samples;
        if new > 0 || now >= self.again_from {
            // What was given at later times by then went when the clock was set back.
            let was_set_back = new > 0 && now <= until;
            let from = match was_set_back {
                true => i64::MIN,
                false => until.saturating_add(1).min(self.again_from),
            };
            series.read(Timestamp::from_millis(from), newest.timestamp, samples);
            if was_set_back {
                samples.keep_last(usize::try_from(new).unwrap_or(usize::MAX));
            }
            let known = samples
                .times()
                .iter()
                .filter(|time| !was_set_back && **time <= until);
            let missing = new.saturating_sub((samples.len() - known.count()) as u64);
            // What it was given before the first pass is none of the reader's.
            if before.is_some() || self.passes > 1 {
                self.lost += missing;
            }
            match entry {
                Entry::Occupied(mut read) => (read.get_mut().until, read.get_mut().count) = (now, count),
                Entry::Vacant(free) => {
                    free.insert(Read {
                        series: Arc::clone(series),
                        until: now,
                        count,
                    });
                }
            }
        }
        if self.ends && !is_stale {
            samples.push(now.saturating_add(1), f64::from_bits(STALE_MARKER));
        }
        !samples.is_empty()
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

    /// What is left of a pass, sorted: series, time, and whether it is a marker.
    fn rest(cursor: &mut Cursor) -> Vec<(String, i64, bool)> {
        let mut read = Vec::new();
        // Series by series, as requests that are full at once.
        while cursor.read(|labels, samples| {
            for (time, value) in samples.times().iter().zip(samples.values()) {
                let is_stale = value.to_bits() == STALE_MARKER;
                read.push((labels.to_string(), *time, is_stale));
            }
            false
        }) {}
        read.sort();
        read
    }

    fn pass(cursor: &mut Cursor) -> Vec<(String, i64, bool)> {
        cursor.begin();
        rest(cursor)
    }

    fn of(pod: &str, name: &str, time: i64, is_stale: bool) -> (String, i64, bool) {
        (format!("{name}{{pod=\"{pod}\"}}"), time, is_stale)
    }

    #[test]
    fn each_sample_is_read_once_also_those_that_come_late() {
        let window = Window::new(WindowConfig::default());
        let (mut a, mut b) = (window.appender([("pod", "a")]), window.appender([("pod", "b")]));
        let mut cursor = Cursor::new(window);
        append(&mut a, 1_000, &["up", "x"]);
        append(&mut a, 2_000, &["up"]);
        assert_eq!(
            pass(&mut cursor),
            [
                of("a", "up", 1_000, false),
                of("a", "up", 2_000, false),
                of("a", "x", 1_000, false),
                of("a", "x", 2_000, true),
            ]
        );
        assert_eq!(pass(&mut cursor), []);
        // Dated before what was read of another series.
        append(&mut b, 1_500, &["up"]);
        assert_eq!(pass(&mut cursor), [of("b", "up", 1_500, false)]);
        assert_eq!(cursor.lost(), 0);
    }

    #[test]
    fn what_is_out_of_the_retention_before_it_is_read_is_counted_and_forgotten() {
        let window = Window::new(WindowConfig {
            retention: Duration::from_secs(10),
            ..WindowConfig::default()
        });
        let (mut a, mut b) = (window.appender([("pod", "a")]), window.appender([("pod", "b")]));
        let mut cursor = Cursor::new(window.clone());
        append(&mut a, 1_000, &["up"]);
        append(&mut b, 1_000, &["up"]);
        assert_eq!(pass(&mut cursor).len(), 2);
        append(&mut b, 2_000, &["up"]);
        let mut c = window.appender([("pod", "c")]);
        append(&mut c, 3_000, &["up", "x"]);
        for second in 2..200 {
            append(&mut a, second * 1_000, &["up"]);
        }
        drop((b, c));
        window.expire(at(199_000));
        let read = pass(&mut cursor);
        assert!(!read.is_empty() && read[0].1 > 2_000, "{read:?}");
        // Of `a`, what is not there any more of 198; one of `b`; two of `c`, which was never met.
        assert_eq!(cursor.lost(), 198 - read.len() as u64 + 1 + 2);
        assert_eq!(cursor.read.len(), 1);
        // An idle time is no loss.
        let lost = cursor.lost();
        append(&mut a, 200_000, &["up"]);
        assert_eq!(pass(&mut cursor).len(), 1);
        assert_eq!(cursor.lost(), lost);
    }

    #[test]
    fn what_went_at_a_limit_before_it_was_read_is_counted() {
        let window = Window::new(WindowConfig::default().with_max_series(10, 2));
        let mut a = window.appender([("pod", "a")]);
        let mut cursor = Cursor::new(window.clone());
        append(&mut a, 1_000, &["x", "y"]);
        assert_eq!(pass(&mut cursor).len(), 2);
        append(&mut a, 2_000, &["x", "y"]);
        // `y` gets its marker, and makes room: two samples that nobody has read.
        let mut page = a.scrape(at(3_000));
        for is_again in [false, true] {
            for name in ["x", "z"] {
                let appended = page.append(name, 1.0, None, |labels| labels.label("__name__", name));
                assert!(appended.is_ok() || !is_again && name == "z");
            }
            assert_eq!(page.make_room(), !is_again);
        }
        page.commit();
        let read: Vec<_> = pass(&mut cursor)
            .into_iter()
            .map(|read| (read.0, read.1))
            .collect();
        let of = |name, time| (format!("{name}{{pod=\"a\"}}"), time);
        assert_eq!(read, [of("x", 2_000), of("x", 3_000), of("z", 3_000)]);
        assert_eq!(cursor.lost(), 2);

        // Of the chunks that went since memory was used up.
        let window = Window::new(WindowConfig::default().with_max_bytes(8_000));
        let mut target = window.appender([("pod", "a")]);
        let mut cursor = Cursor::new(window.clone());
        append(&mut target, 0, &["x"]);
        assert_eq!(pass(&mut cursor).len(), 1);
        let count = 2_000;
        for at in 1..=count {
            let mut page = target.scrape(Timestamp::from_millis(at * 1_000));
            let value = 1.0 / at as f64;
            let _ = page.append("x", value, None, |labels| labels.label("__name__", "x"));
            page.commit();
        }
        assert!(window.stats().chunks_dropped_early > 0);
        let read = pass(&mut cursor).len() as u64;
        assert!(read > 0 && read < count as u64);
        assert_eq!(read + cursor.lost(), count as u64);
    }

    #[test]
    fn after_a_clock_was_set_back_what_comes_then_is_read() {
        let window = Window::new(WindowConfig::default());
        let mut a = window.appender([("pod", "a")]);
        let mut cursor = Cursor::new(window.clone());
        for second in 1_000..1_010 {
            append(&mut a, second * 1_000, &["up"]);
        }
        assert_eq!(pass(&mut cursor).len(), 10);
        for second in 500..503 {
            append(&mut a, second * 1_000, &["up"]);
        }
        let read: Vec<_> = pass(&mut cursor).into_iter().map(|read| read.1).collect();
        assert_eq!(read, [500_000, 501_000, 502_000]);
        assert_eq!(pass(&mut cursor), []);
        assert_eq!(cursor.lost(), 0);
    }

    #[test]
    fn a_window_that_is_written_no_more_ends_with_markers() {
        let window = Window::new(WindowConfig::default());
        let mut a = window.appender([("pod", "a")]);
        let mut cursor = Cursor::new(window.clone());
        append(&mut a, 1_000, &["x", "y"]);
        append(&mut a, 2_000, &["x"]);
        pass(&mut cursor);
        append(&mut a, 3_000, &["x"]);
        cursor.end();
        // `y` has one.
        assert_eq!(
            rest(&mut cursor),
            [of("a", "x", 3_000, false), of("a", "x", 3_001, true)]
        );
    }

    #[test]
    fn what_was_given_is_given_again_where_that_is_asked_for() {
        let window = Window::new(WindowConfig::default());
        let mut a = window.appender([("pod", "a")]);
        let mut cursor = Cursor::new(window);
        for second in 1..5 {
            append(&mut a, second * 1_000, &["up"]);
        }
        assert_eq!(pass(&mut cursor).len(), 4);
        append(&mut a, 5_000, &["up"]);
        for expected in [vec![3_000, 4_000, 5_000], vec![3_000, 4_000, 5_000]] {
            cursor.begin_again(at(2_500));
            let read: Vec<_> = rest(&mut cursor).into_iter().map(|read| read.1).collect();
            assert_eq!(read, expected);
        }
        assert_eq!(pass(&mut cursor), []);
        assert_eq!(cursor.lost(), 0);
    }

    #[test]
    fn who_begins_late_has_lost_nothing() {
        let window = Window::new(WindowConfig::default().with_retention(Duration::from_secs(10)));
        let mut a = window.appender([("pod", "a")]);
        for second in 0..500 {
            append(&mut a, second * 1_000, &["up"]);
        }
        let mut cursor = Cursor::new(window);
        assert!(pass(&mut cursor).len() < 200);
        assert_eq!(cursor.lost(), 0);
    }
}
