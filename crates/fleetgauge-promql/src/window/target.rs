//! What a target has exposed, row by row: all samples of a page have one time, and are read whole or not at all.
//!
//! The newest pages lie as rows ([`Recent`]); then they are made columns ([`Block`]), which take little and are read one by
//! one. A series has a slot, a place in each row, for as long as it is in the window. What rows cannot express, as samples
//! with times of their own, is kept by the series itself.
//!
//! The writer's lock is the target's own, and readers never touch it: all that they read is in one list, which is replaced as
//! a whole when rows become a block, and in the count of the rows that came since.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::{ArcSwap, Guard};

use super::block::Block;
use super::column::{ABSENT, MAX_ROWS, Scratch};
use super::limit::Usage;
use super::newest_row::{NewestRow, Part};
use super::outcome::Outcome;
use super::recent::{self, Recent};
use crate::sample::{STALE_MARKER, Samples};

/// The rows of one target. Its bytes are counted as long as it is there.
#[derive(Debug)]
pub(super) struct Target {
    columns: ArcSwap<Columns>,
    writer: Mutex<Writer>,
    usage: Arc<Usage>,
    /// How often a series has left its slot otherwise than by what the appender did.
    changes: AtomicU64,
    /// Whether an appender writes it.
    is_taken: AtomicBool,
    /// When the last row of the oldest block was scraped; the end of time without blocks.
    oldest: AtomicI64,
    /// Which of the [`TURNS`](recent::TURNS) is its own.
    turn: usize,
}

/// All rows there are, the oldest first.
#[derive(Debug)]
struct Columns {
    blocks: Vec<Block>,
    recent: Arc<Recent>,
}

/// A place in the rows of a target.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub(super) at: u32,
    /// The row with which it began to be that of its series.
    born: u64,
    /// How many samples it had been given by then.
    given_before: u32,
}

// === impl Slot ===

impl Slot {
    /// A place that has been that of one and the same since the first row.
    pub(super) fn kept(at: u32) -> Self {
        Self {
            at,
            born: 0,
            given_before: 0,
        }
    }
}

/// The rows as they are now.
pub(super) struct Snapshot {
    columns: Guard<Arc<Columns>>,
    /// How many of the newest there are.
    rows: usize,
}

/// Which rows were scraped within some time.
pub(super) struct Within {
    /// How many blocks lie before it.
    skipped: usize,
    /// Of each block behind those.
    blocks: Vec<Range<usize>>,
    recent: Range<usize>,
    /// Of all of them.
    pub(super) times: Vec<i64>,
}

/// A row that is being written, during which nobody else writes the target.
pub(super) struct Row<'a> {
    recent: Arc<Recent>,
    row: usize,
    time: i64,
    /// Whether there is a row of this time already.
    is_again: bool,
    is_empty: bool,
    writer: MutexGuard<'a, Writer>,
}

#[derive(Debug, Default)]
struct Writer {
    /// How many slots there are, and those of them that no series has.
    slots: u32,
    free: Vec<u32>,
    newest: NewestRow,
    scratch: Scratch,
    /// What is counted as used.
    counted: usize,
}

// === impl Target ===

impl Target {
    /// Without rows, and taken.
    pub(super) fn new(usage: Arc<Usage>) -> Self {
        let columns = Columns {
            blocks: Vec::new(),
            recent: Arc::new(Recent::empty(0)),
        };
        Self {
            columns: ArcSwap::from_pointee(columns),
            writer: Mutex::default(),
            turn: usage.targets_begun.fetch_add(1, Ordering::Relaxed) % recent::TURNS,
            usage,
            changes: AtomicU64::new(0),
            is_taken: AtomicBool::new(true),
            oldest: AtomicI64::new(i64::MAX),
        }
    }

    /// Takes it for an appender, if none has it.
    pub(super) fn take(&self) -> bool {
        !self.is_taken.swap(true, Ordering::AcqRel)
    }

    /// Gives it back.
    pub(super) fn release(&self) {
        self.is_taken.store(false, Ordering::Release);
    }

    pub(super) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// A slot for a new series, and where the sample of the newest row is.
    pub(super) fn add_slot(&self) -> (Slot, Arc<Part>) {
        let mut writer = self.lock();
        let at = writer.free.pop().unwrap_or_else(|| {
            writer.slots += 1;
            writer.slots - 1
        });
        let now = self.snapshot();
        let slot = Slot {
            at,
            born: now.columns.recent.first_row() + now.rows as u64,
            given_before: now.given(at as usize),
        };
        (slot, writer.newest.part(at))
    }

    /// Lets a slot go, whose series is, in `leave`, told that it has none. `None` if `leave` says that it stays.
    pub(super) fn let_go<T>(&self, slot: Slot, leave: impl FnOnce(&Snapshot) -> Option<T>) -> Option<T> {
        let mut writer = self.lock();
        let left = leave(&self.snapshot())?;
        self.changes.fetch_add(1, Ordering::Release);
        writer.newest.forget(slot.at, true);
        writer.free.push(slot.at);
        if writer.free.len() == writer.slots as usize {
            let columns = self.columns.load();
            let next = columns.recent.first_row() + columns.recent.rows() as u64;
            writer.free.clear();
            writer.slots = 0;
            writer.newest.clear();
            self.replace(&mut writer, Vec::new(), Recent::empty(next));
        }
        Some(left)
    }

    /// Does what `leave` does while nobody writes, after which the slot is not written any more, but kept.
    pub(super) fn leave(&self, slot: Slot, leave: impl FnOnce(&Snapshot)) {
        let writer = self.lock();
        leave(&self.snapshot());
        writer.newest.forget(slot.at, false);
        self.changes.fetch_add(1, Ordering::Release);
    }

    /// Begins a row, if it is not older than the newest one. One that is much older means that the clock was set back: then
    /// the rows of the future go.
    pub(super) fn open(&self, time: i64) -> Option<Row<'_>> {
        let mut writer = self.lock();
        let last = self.snapshot().last_time();
        if let Some(last) = last.filter(|last| time < *last) {
            if last.saturating_sub(time) <= self.usage.clock_step_ms {
                return None;
            }
            self.cut(&mut writer, time);
        }
        let recent = &self.columns.load().recent;
        if recent.is_full() || (writer.slots as usize) > recent.slots() {
            self.make_room(&mut writer, time);
        }
        let recent = Arc::clone(&self.columns.load().recent);
        Some(Row {
            row: recent.rows(),
            recent,
            time,
            is_again: last == Some(time),
            is_empty: true,
            writer,
        })
    }

    /// Drops what is out of the retention or of the future.
    pub(super) fn expire(&self, cutoff: i64, now: i64, max_ahead: i64) {
        let last = self.snapshot().last_time();
        let is_ahead = last.is_some_and(|last| last > now.saturating_add(max_ahead));
        if !self.has_old(cutoff) && !is_ahead {
            return;
        }
        let mut writer = self.lock();
        if is_ahead {
            self.cut(&mut writer, now.saturating_add(1));
        }
        let columns = self.columns.load_full();
        let kept = self.kept(&columns, cutoff);
        if kept.len() < columns.blocks.len() {
            let recent = Arc::clone(&columns.recent);
            self.store(&mut writer, Columns { blocks: kept, recent });
        }
    }

    /// Whether there are rows that are out of the retention.
    pub(super) fn has_old(&self, cutoff: i64) -> bool {
        self.oldest.load(Ordering::Relaxed) < cutoff
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let columns = self.columns.load();
        let rows = columns.recent.rows();
        Snapshot { columns, rows }
    }

    /// The blocks that are not out of the retention.
    fn kept(&self, columns: &Columns, cutoff: i64) -> Vec<Block> {
        let old = columns
            .blocks
            .iter()
            .take_while(|block| block.last_time() < cutoff)
            .count();
        if old > 0 {
            self.usage.expired(cutoff);
        }
        columns.blocks[old..].to_vec()
    }

    /// Makes room for one more row, and for all slots.
    fn make_room(&self, writer: &mut Writer, time: i64) {
        let columns = self.columns.load_full();
        let (recent, slots) = (&columns.recent, writer.slots as usize);
        let grows = recent.rows() > 0 && recent.has_few_rows() && slots <= recent.slots();
        if grows && self.usage.fits(recent.bytes() * 3) {
            let blocks = columns.blocks.clone();
            return self.replace(writer, blocks, recent.with_more_rows(self.turn));
        }
        let mut blocks = self.kept(&columns, time.saturating_sub(self.usage.retention_ms));
        let rows = recent.rows();
        if rows > 0 {
            let is_next = |last: &&Block| {
                last.rows() + rows <= MAX_ROWS && last.first_row() + last.rows() as u64 == recent.first_row()
            };
            let last = blocks.last().filter(is_next).cloned();
            if last.is_some() {
                blocks.pop();
            }
            let block = joined(last.as_ref(), recent, rows, &mut writer.scratch);
            // Over the limit, the oldest rows make room for those that are no more.
            if !self.usage.fits(block.bytes()) && !blocks.is_empty() {
                let gone = blocks.remove(0);
                self.usage.dropped_chunk(gone.last_time());
            }
            blocks.push(block);
        }
        self.replace(writer, blocks, recent.next(slots));
    }

    /// Drops the rows at and after `time`.
    fn cut(&self, writer: &mut Writer, time: i64) {
        self.usage.clock_steps.fetch_add(1, Ordering::Relaxed);
        let columns = self.columns.load_full();
        let recent = &columns.recent;
        let rows = recent.rows();
        let mut blocks = columns.blocks.clone();
        let kept = (0..rows).take_while(|&row| recent.time(row) < time).count();
        if kept > 0 {
            blocks.push(joined(None, recent, kept, &mut writer.scratch));
        }
        while let Some(last) = blocks.pop_if(|last| last.last_time() >= time) {
            let kept = (0..last.rows()).take_while(|&row| last.time(row) < time).count();
            if kept > 0 {
                blocks.push(first_rows(&last, kept, &mut writer.scratch));
            }
        }
        writer.newest.forget_all();
        let slots = writer.slots as usize;
        self.replace(writer, blocks, recent.next(slots));
    }

    fn replace(&self, writer: &mut Writer, blocks: Vec<Block>, recent: Recent) {
        let recent = Arc::new(recent);
        self.store(writer, Columns { blocks, recent });
    }

    fn store(&self, writer: &mut Writer, columns: Columns) {
        let blocks: usize = columns.blocks.iter().map(|block| block.bytes()).sum();
        let bytes = blocks + columns.recent.bytes() + writer.newest.bytes() + size_of::<Columns>() + 16;
        self.usage.take(bytes);
        self.usage.give_back(writer.counted);
        writer.counted = bytes;
        let oldest = columns.blocks.first().map_or(i64::MAX, |block| block.last_time());
        self.oldest.store(oldest, Ordering::Relaxed);
        self.columns.store(Arc::new(columns));
    }

    fn lock(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a writer holds while it writes.
    #[cfg(test)]
    pub(super) fn hold_for_test(&self) -> impl Sized + '_ {
        self.lock()
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        let writer = self.writer.get_mut().unwrap_or_else(PoisonError::into_inner);
        self.usage.give_back(writer.counted);
    }
}

/// The rows of a block, and the first `rows` of the newest ones behind them.
fn joined(before: Option<&Block>, recent: &Recent, rows: usize, scratch: &mut Scratch) -> Block {
    let old = before.map_or(0, Block::rows);
    let times = before
        .into_iter()
        .flat_map(|block| (0..old).map(|row| block.time(row)));
    let times: Vec<_> = times.chain((0..rows).map(|row| recent.time(row))).collect();
    let first_row = before.map_or(recent.first_row(), Block::first_row);
    let slots = recent.slots().max(before.map_or(0, Block::slots));
    Block::new(first_row, &times, slots, scratch, |slot, samples| {
        samples.resize(old, ABSENT);
        if let Some(block) = before {
            block.read(slot, |row, sample| samples[row] = sample);
        }
        samples.extend((0..rows).map(|row| recent.sample(slot, row)));
    })
}

fn first_rows(block: &Block, rows: usize, scratch: &mut Scratch) -> Block {
    let times: Vec<_> = (0..rows).map(|row| block.time(row)).collect();
    Block::new(
        block.first_row(),
        &times,
        block.slots(),
        scratch,
        |slot, samples| {
            samples.resize(rows, ABSENT);
            block.read(slot, |row, sample| {
                if let Some(place) = samples.get_mut(row) {
                    *place = sample;
                }
            });
        },
    )
}

// === impl Snapshot ===

impl Snapshot {
    /// When the newest row was scraped.
    pub(super) fn last_time(&self) -> Option<i64> {
        match self.rows.checked_sub(1) {
            Some(row) => Some(self.columns.recent.time(row)),
            None => self.columns.blocks.last().map(|block| block.last_time()),
        }
    }

    /// The newest sample of a slot.
    #[inline]
    pub(super) fn newest(&self, slot: Slot) -> Option<(i64, u64)> {
        self.last_until(slot, i64::MAX)
    }

    /// The newest sample of a slot that is not after `at`.
    #[inline]
    pub(super) fn last_until(&self, slot: Slot, at: i64) -> Option<(i64, u64)> {
        let (recent, place) = (&self.columns.recent, slot.at as usize);
        for row in (recent.own(slot.born)..self.rows).rev() {
            let time = recent.time(row);
            if time <= at {
                let sample = recent.sample(place, row);
                if sample != ABSENT {
                    return Some((time, sample));
                }
            }
        }
        for block in self.columns.blocks.iter().rev() {
            let own = own(block, slot.born);
            if own >= block.rows() {
                break;
            }
            if block.time(own) > at {
                continue;
            }
            let mut found = None;
            block.read(place, |row, sample| {
                if row >= own && block.time(row) <= at {
                    found = Some((row, sample));
                }
            });
            if let Some((row, sample)) = found {
                return Some((block.time(row), sample));
            }
        }
        None
    }

    /// Since when there can be samples of a slot.
    pub(super) fn first_time(&self, slot: Slot) -> Option<i64> {
        for block in &self.columns.blocks {
            let own = own(block, slot.born);
            if own < block.rows() {
                return Some(block.time(own));
            }
        }
        let own = self.columns.recent.own(slot.born);
        (own < self.rows).then(|| self.columns.recent.time(own))
    }

    /// Appends the samples of a slot from `from` to `to`.
    pub(super) fn read(&self, slot: Slot, (from, to): (i64, i64), into: &mut Samples) {
        let (recent, place) = (&self.columns.recent, slot.at as usize);
        let blocks = &self.columns.blocks;
        let first = blocks.partition_point(|block| block.last_time() < from);
        let count: usize = blocks[first..].iter().map(|block| block.rows()).sum();
        into.reserve(count.min(4 * MAX_ROWS) + self.rows);
        for block in &blocks[first..] {
            if block.time(0) > to {
                return;
            }
            let own = own(block, slot.born);
            if own >= block.rows() {
                continue;
            }
            let (begins, ends) = (block.time(own), block.last_time());
            let is_whole = own == 0 && from <= begins && ends <= to;
            block.read(place, |row, sample| {
                let time = block.time(row);
                if is_whole || row >= own && (from..=to).contains(&time) {
                    into.push(time, f64::from_bits(sample));
                }
            });
        }
        for row in recent.own(slot.born)..self.rows {
            let time = recent.time(row);
            if (from..=to).contains(&time) {
                let sample = recent.sample(place, row);
                if sample != ABSENT {
                    into.push(time, f64::from_bits(sample));
                }
            }
        }
    }

    /// The rows from `from` to `to`.
    pub(super) fn within(&self, (from, to): (i64, i64)) -> Within {
        let Columns { blocks, recent } = &**self.columns;
        let mut times = Vec::new();
        let mut rows_of = |rows: usize, time: &dyn Fn(usize) -> i64| {
            let begin = (0..rows).take_while(|&row| time(row) < from).count();
            let known = times.len();
            times.extend((begin..rows).map(time).take_while(|&time| time <= to));
            begin..begin + times.len() - known
        };
        let skipped = blocks.partition_point(|block| block.last_time() < from);
        let in_blocks = blocks[skipped..]
            .iter()
            .map(|block| rows_of(block.rows(), &|row| block.time(row)));
        let blocks = in_blocks.collect();
        let recent = rows_of(self.rows, &|row| recent.time(row));
        Within {
            skipped,
            blocks,
            recent,
            times,
        }
    }

    /// Appends the number that a slot has in each of these rows; `absent` where it has none.
    pub(super) fn read_column(&self, slot: Slot, within: &Within, absent: f64, into: &mut Vec<f64>) {
        let (recent, place) = (&self.columns.recent, slot.at as usize);
        let blocks = &self.columns.blocks[within.skipped..];
        for (block, rows) in blocks
            .iter()
            .zip(&within.blocks)
            .filter(|(_, rows)| !rows.is_empty())
        {
            let begin = into.len();
            into.resize(begin + rows.len(), absent);
            let column = &mut into[begin..];
            block.read(place, |row, sample| {
                // A row before the first wraps around, and so is behind the last.
                if let Some(number) = column.get_mut(row.wrapping_sub(rows.start)) {
                    *number = f64::from_bits(sample);
                }
            });
        }
        into.extend(within.recent.clone().map(|row| match recent.sample(place, row) {
            ABSENT => absent,
            sample => f64::from_bits(sample),
        }));
    }

    /// How many samples the series of a slot has been given.
    pub(super) fn count(&self, slot: Slot) -> u64 {
        u64::from(self.given(slot.at as usize).wrapping_sub(slot.given_before))
    }

    fn given(&self, slot: usize) -> u32 {
        let recent = &self.columns.recent;
        recent.given(slot).wrapping_add(recent.present(slot, self.rows))
    }
}

/// The first row of a block that is one of a series which began with the row `born`.
fn own(block: &Block, born: u64) -> usize {
    usize::try_from(born.saturating_sub(block.first_row())).unwrap_or(usize::MAX)
}

// === impl Row ===

impl Row<'_> {
    /// Puts the sample of a slot; `newest` gives what its series has had.
    #[inline]
    pub(super) fn put(
        &mut self,
        slot: u32,
        sample: u64,
        newest: impl FnOnce() -> Option<(i64, u64)>,
    ) -> Outcome {
        let sample = without_absent(sample);
        let mut known = self.recent.sample(slot as usize, self.row);
        if self.is_again && known == ABSENT {
            known = newest()
                .filter(|newest| newest.0 == self.time)
                .map_or(ABSENT, |newest| newest.1);
        }
        if known != ABSENT {
            return match known == sample {
                true => Outcome::Repeated,
                false => Outcome::Duplicate,
            };
        }
        self.recent.put(slot as usize, self.row, sample);
        self.is_empty = false;
        Outcome::Appended
    }

    /// Says that a series has ended, unless it has a sample of this row.
    pub(super) fn mark_stale(&mut self, slot: u32, newest: impl FnOnce() -> Option<(i64, u64)>) -> bool {
        let is_in_row = self.recent.sample(slot as usize, self.row) != ABSENT;
        let may_end = |newest: (i64, u64)| newest.1 != STALE_MARKER && newest.0 != self.time;
        if is_in_row || !newest().is_some_and(may_end) {
            return false;
        }
        self.recent.put(slot as usize, self.row, STALE_MARKER);
        self.is_empty = false;
        true
    }

    /// Lets it be read, as a whole.
    pub(super) fn publish(self) {
        if !self.is_empty {
            self.recent.publish(self.row, self.time);
            let sample = |slot| self.recent.sample(slot, self.row);
            self.writer.newest.write(self.time, sample);
        }
    }
}

/// A sample as it is kept: the one pattern that stands for none becomes an ordinary NaN.
pub(super) fn without_absent(sample: u64) -> u64 {
    match sample {
        ABSENT => f64::NAN.to_bits(),
        sample => sample,
    }
}

#[cfg(test)]
mod tests {
    use super::super::limit::WindowConfig;
    use super::*;

    #[test]
    fn targets_that_begin_together_make_their_blocks_in_turns() {
        const TARGETS: usize = 10 * recent::TURNS;
        let usage = Arc::new(Usage::new(WindowConfig::default()));
        let targets: Vec<_> = (0..TARGETS).map(|_| Target::new(Arc::clone(&usage))).collect();
        let slots: Vec<_> = targets.iter().map(|target| target.add_slot().0).collect();
        let mut rows = vec![0; TARGETS];
        let mut made = Vec::new();
        for scrape in 0..200_i64 {
            let mut together = 0;
            for ((target, slot), rows) in targets.iter().zip(&slots).zip(&mut rows) {
                let mut row = target.open(scrape * 1_000).unwrap();
                row.put(slot.at, (scrape as f64).to_bits(), || None);
                row.publish();
                let own = target.snapshot();
                let in_blocks: usize = own.columns.blocks.iter().map(Block::rows).sum();
                together += usize::from(in_blocks > *rows);
                *rows = in_blocks;
                assert_eq!(own.count(*slot), scrape as u64 + 1);
            }
            made.push(together);
        }
        assert!(made.iter().all(|&together| together <= 10), "{made:?}");
        // Each of them after every sixteenth scrape.
        assert!(made.iter().sum::<usize>() >= TARGETS * 11, "{made:?}");
    }
}
