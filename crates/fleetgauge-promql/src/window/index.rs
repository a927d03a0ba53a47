//! Which series there are: by their labels for writers, by metric name for readers.
//!
//! Writers add and remove under one lock. Readers look a metric up in a map that needs none, and walk its
//! series in blocks whose places are filled once; a metric's blocks are replaced as a whole when a block is
//! full or series go.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use arc_swap::{ArcSwap, ArcSwapOption};
use foldhash::fast::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::limit::{AppendError, Usage};
use super::loss::LossLog;
use super::newest_row::Part;
use super::series::Series;
use super::sorted::Sorted;
use super::symbols::{self, Symbols};
use super::target::{Slot, Target};

#[derive(Debug, Default)]
pub(super) struct Index {
    metrics: papaya::HashMap<Arc<str>, Arc<Metric>, RandomState>,
    tables: Mutex<Tables>,
    hasher: RandomState,
}

/// The series of one metric.
#[derive(Debug)]
pub(super) struct Metric {
    name: Arc<str>,
    blocks: ArcSwap<Blocks>,
    /// How many times a target began to change which series it has of this metric, and how many times it had
    /// done so.
    changes_begun: AtomicU64,
    changes_ended: AtomicU64,
    /// What the last reader sorted; of no use any more once `blocks` has others.
    sorted: ArcSwapOption<(Arc<Blocks>, Arc<Sorted>)>,
}

/// Series of some metrics are coming or going: until this is dropped, what a reader sees of them is a part. A
/// metric may be there twice.
#[derive(Debug, Default)]
pub(super) struct Change(Vec<Arc<Metric>>);

/// Metrics as a reader met them, to ask later whether their series have changed.
#[derive(Debug, Default)]
pub(super) struct Seen(Vec<(Arc<Metric>, u64)>);

type Blocks = Vec<Arc<Block>>;
type Block = Box<[OnceLock<Arc<Series>>]>;

#[derive(Debug, Default)]
struct Tables {
    series: HashTable<(u64, Arc<Series>)>,
    symbols: Symbols,
}

/// What a series costs without its labels and chunks: itself, its places in the table, in its metric's
/// blocks and in a list of chunks.
const SERIES_BYTES: usize = size_of::<Series>() + 16 + 26 + 16 + 32;
/// What a metric costs: itself, its blocks and its place in the map.
const METRIC_BYTES: usize = size_of::<Metric>() + 16 + 150;
const FIRST_BLOCK: usize = 4;
const MAX_BLOCK: usize = 512;

// === impl Index ===

impl Index {
    /// The series with these labels, which are sorted and have a metric name; made if there is none, in the slot that is given
    /// then.
    pub(super) fn get_or_add<'a>(
        &self,
        name: &str,
        labels: impl ExactSizeIterator<Item = (&'a str, &'a str)> + Clone,
        of_target: &Arc<AtomicUsize>,
        usage: &Usage,
        slot: impl FnOnce() -> Option<(Arc<Target>, Slot, Arc<Part>)>,
    ) -> Result<Arc<Series>, AppendError> {
        let mut state = self.hasher.build_hasher();
        labels.clone().for_each(|label| label.hash(&mut state));
        let hash = state.finish();

        let mut tables = self.lock();
        let Tables { series, symbols } = &mut *tables;
        let same = |(h, known): &(u64, Arc<Series>)| *h == hash && same_labels(known, labels.clone());
        let entry = series.entry(hash, same, |(h, _)| *h);
        if let Entry::Occupied(known) = &entry
            && !known.get().1.is_gone()
        {
            return Ok(Arc::clone(&known.get().1));
        }
        let own = symbols::bytes_of_values(labels.len());
        usage.admit(of_target.load(Ordering::Relaxed), SERIES_BYTES + own)?;
        usage.series.fetch_add(1, Ordering::Relaxed);
        let before = symbols.heap_bytes();
        let new = Arc::new(Series::new(
            symbols.label_set(labels),
            slot(),
            Arc::clone(of_target),
        ));
        // One that is gone is found by its address when it is removed, so its place can be taken.
        entry.insert((hash, Arc::clone(&new)));
        let metric = self.metric(name, usage);
        usage.take(symbols.heap_bytes() - before);
        usage.strings.store(symbols.len(), Ordering::Relaxed);
        metric.push(Arc::clone(&new));
        Ok(new)
    }

    /// Drops what `expired` says is gone. Returns how many series went.
    pub(super) fn expire(&self, expired: impl Fn(&Series) -> bool, usage: &Usage) -> usize {
        let mut went = 0;
        for metric in self.metrics() {
            let gone: Vec<_> = metric.series().iter().filter(|s| expired(s)).cloned().collect();
            if !gone.is_empty() {
                went += gone.len();
                // One metric at a time, so that targets with new series do not wait for all of them.
                self.remove(&metric, &gone, usage);
            }
        }
        let symbols = &mut self.lock().symbols;
        let before = symbols.heap_bytes();
        symbols.sweep();
        usage.give_back(before - symbols.heap_bytes());
        usage.strings.store(symbols.len(), Ordering::Relaxed);
        went
    }

    /// Lets go of up to `count` of `series` that no scraper has on its page, the first ones first, and logs it.
    /// Returns how many went.
    pub(super) fn make_room(
        &self,
        series: &[Arc<Series>],
        count: usize,
        usage: &Usage,
        log: &LossLog,
    ) -> usize {
        let mut by_metric: HashMap<&str, Vec<Arc<Series>>> = HashMap::new();
        let mut went = 0;
        for one in series {
            if went == count {
                break;
            }
            let Some(gone) = one.make_room(usage) else {
                continue;
            };
            went += 1;
            let name = one.labels().metric_name();
            log.made_room(name, gone);
            by_metric.entry(name).or_default().push(Arc::clone(one));
        }
        for (name, gone) in by_metric {
            if let Some(metric) = self.find_metric(name) {
                self.remove(&metric, &gone, usage);
            }
        }
        usage
            .series_dropped_early
            .fetch_add(went as u64, Ordering::Relaxed);
        went
    }

    /// The series that no scraper has on its page, those that are silent for the longest time first.
    pub(super) fn unexposed(&self) -> Vec<Arc<Series>> {
        let metrics = self.metrics();
        let all = metrics.iter().map(|metric| metric.series());
        let mut found: Vec<_> = all
            .flat_map(|series| {
                series
                    .iter()
                    .filter(|s| !s.is_exposed())
                    .cloned()
                    .collect::<Vec<_>>()
            })
            .map(|series| (series.newest().map(|newest| newest.timestamp), series))
            .collect();
        found.sort_unstable_by_key(|(newest, _)| *newest);
        found.into_iter().map(|(_, series)| series).collect()
    }

    pub(super) fn find_metric(&self, name: &str) -> Option<Arc<Metric>> {
        self.metrics.pin().get(name).cloned()
    }

    pub(super) fn metrics(&self) -> Vec<Arc<Metric>> {
        self.metrics.pin().values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a writer holds while it writes.
    #[cfg(test)]
    pub(super) fn hold_for_test(&self) -> impl Sized + '_ {
        self.lock()
    }

    fn metric(&self, name: &str, usage: &Usage) -> Arc<Metric> {
        let metrics = self.metrics.pin();
        if let Some(metric) = metrics.get(name) {
            return Arc::clone(metric);
        }
        // A copy of its own: the map gives removed keys back late, which would keep a symbol.
        let name: Arc<str> = Arc::from(name);
        let metric = Arc::new(Metric {
            name: Arc::clone(&name),
            blocks: ArcSwap::default(),
            changes_begun: AtomicU64::new(0),
            changes_ended: AtomicU64::new(0),
            sorted: ArcSwapOption::empty(),
        });
        usage.take(METRIC_BYTES + name.len());
        metrics.insert(name, Arc::clone(&metric));
        metric
    }

    fn remove(&self, metric: &Metric, gone: &[Arc<Series>], usage: &Usage) {
        let mut tables = self.lock();
        for series in gone {
            let mut state = self.hasher.build_hasher();
            series.labels().iter().for_each(|label| label.hash(&mut state));
            let hash = state.finish();
            let same = |(_, known): &(u64, Arc<Series>)| Arc::ptr_eq(known, series);
            if let Ok(entry) = tables.series.find_entry(hash, same) {
                entry.remove();
            }
            series.of_target().fetch_sub(1, Ordering::Relaxed);
            usage.give_back(SERIES_BYTES + symbols::bytes_of_values(series.labels().len()));
        }
        usage.series.fetch_sub(gone.len(), Ordering::Relaxed);
        if tables.series.len() < tables.series.capacity() / 4 {
            tables.series.shrink_to_fit(|(h, _)| *h);
        }
        // Another call may have removed it before, and a target added it anew since.
        let metrics = self.metrics.pin();
        let is_current = metrics
            .get(&*metric.name)
            .is_some_and(|known| std::ptr::eq(&**known, metric));
        if metric.retain_live() == 0 && is_current {
            metrics.remove(&*metric.name);
            usage.give_back(METRIC_BYTES + metric.name.len());
        }
    }
}

fn same_labels<'a>(series: &Series, labels: impl ExactSizeIterator<Item = (&'a str, &'a str)>) -> bool {
    let known = series.labels();
    known.len() == labels.len() && known.iter().zip(labels).all(|(a, b)| a.0 == b.0 && a.1 == b.1)
}

// === impl Metric ===

impl Metric {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Its series, as of now.
    pub(super) fn series(&self) -> SeriesOfMetric {
        SeriesOfMetric(self.blocks.load_full())
    }

    /// Its series as of now, sorted by labels.
    pub(super) fn sorted(&self) -> Arc<Sorted> {
        let now = self.series();
        if let Some((of, sorted)) = self.sorted.load().as_deref()
            && Arc::ptr_eq(of, &now.0)
            && sorted.len() == now.len()
        {
            return Arc::clone(sorted);
        }
        let sorted = Arc::new(Sorted::new(now.iter().cloned().collect()));
        self.sorted
            .store(Some(Arc::new((Arc::clone(&now.0), Arc::clone(&sorted)))));
        // Series that went meanwhile must not be held by it.
        if !Arc::ptr_eq(&now.0, &self.blocks.load()) {
            self.sorted.store(None);
        }
        sorted
    }

    fn begin_change(&self) {
        self.changes_begun.fetch_add(1, Ordering::Relaxed);
        // A reader that sees what is written from here on sees that it was begun.
        fence(Ordering::Release);
    }

    fn end_change(&self) {
        self.changes_ended.fetch_add(1, Ordering::Release);
    }

    /// Under the index's lock, as the others that change it.
    fn push(&self, series: Arc<Series>) {
        let blocks = self.blocks.load();
        let mut series = Some(series);
        if let Some(last) = blocks.last() {
            let free = last.partition_point(|place| place.get().is_some());
            if let Some(place) = last.get(free) {
                // It is empty: no other thread fills places at the same time.
                place.get_or_init(|| series.take().expect("taken once"));
                return;
            }
        }
        let all: usize = blocks.iter().map(|block| block.len()).sum();
        let block: Block = (0..(all / 2).clamp(FIRST_BLOCK, MAX_BLOCK))
            .map(|_| series.take().map_or_else(OnceLock::new, OnceLock::from))
            .collect();
        let mut more = Blocks::clone(&blocks);
        more.push(Arc::new(block));
        self.blocks.store(Arc::new(more));
    }

    /// Drops the series that are gone. Returns how many are left.
    fn retain_live(&self) -> usize {
        let block: Block = (self.series().iter())
            .filter(|series| !series.is_gone())
            .map(|series| OnceLock::from(Arc::clone(series)))
            .collect();
        let left = block.len();
        self.blocks.store(Arc::new(vec![Arc::new(block)]));
        self.sorted.store(None);
        left
    }
}

// === impl Change, Seen ===

impl Change {
    /// Begins a change of the series of these metrics, each of which may be named many times.
    pub(super) fn begin<'a>(&mut self, names: impl Iterator<Item = &'a str>, index: &Index) {
        let mut last = "";
        for name in names {
            // A page has the series of a metric one after the other.
            if std::mem::replace(&mut last, name) == name {
                continue;
            }
            if let Some(metric) = index.find_metric(name) {
                metric.begin_change();
                self.0.push(metric);
            }
        }
    }
}

impl Drop for Change {
    fn drop(&mut self) {
        self.0.iter().for_each(|metric| metric.end_change());
    }
}

impl Seen {
    /// Remembers `metric`, before its series are looked at.
    pub(super) fn add(&mut self, metric: &Arc<Metric>) {
        let ended = metric.changes_ended.load(Ordering::Acquire);
        self.0.push((Arc::clone(metric), ended));
    }

    /// Whether one of their series came or went meanwhile, or was just about to.
    pub(super) fn has_changed(&self) -> bool {
        // After all that was read.
        fence(Ordering::Acquire);
        let begun = |metric: &Metric| metric.changes_begun.load(Ordering::Relaxed);
        self.0.iter().any(|(metric, ended)| begun(metric) != *ended)
    }
}

/// The series of a metric at one time.
pub(super) struct SeriesOfMetric(Arc<Blocks>);

impl SeriesOfMetric {
    fn len(&self) -> usize {
        let filled = |block: &Arc<Block>| block.partition_point(|place| place.get().is_some());
        self.0.iter().map(filled).sum()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Series>> {
        self.0
            .iter()
            .flat_map(|block| block.iter().map_while(OnceLock::get))
    }
}
