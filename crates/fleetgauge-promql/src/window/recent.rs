//! The newest rows of a target, while more are added.
//!
//! A row is written by one thread and read by any number: its samples are stored first, and then how many rows there are.
//! Samples lie in tiles of eight slots, row after row, so that a page is written to one line of memory for eight of its series,
//! and the rows of a slot are lines that follow each other.

use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};

use super::column::ABSENT;

/// How many rows there are at most until they are made a block.
const MAX_ROWS: usize = 16;
/// How many there are at first: many targets live for no more.
const FIRST_ROWS: usize = 4;
/// How many turns there are, so that targets which began together do not all make their blocks with the same scrape.
pub(super) const TURNS: usize = MAX_ROWS - FIRST_ROWS;
const TILE: usize = 8;

#[derive(Debug)]
pub(super) struct Recent {
    /// The number of its first row.
    first_row: u64,
    /// For how many rows there is room.
    max_rows: usize,
    times: [AtomicI64; MAX_ROWS],
    samples: Box<[AtomicU64]>,
    /// How many samples each slot had been given before.
    given: Box<[u32]>,
    /// How many rows can be read.
    published: AtomicUsize,
}

// === impl Recent ===

impl Recent {
    /// Without rows, to follow these, and with room for more slots than `slots`.
    pub(super) fn next(&self, slots: usize) -> Self {
        let rows = self.rows();
        let mut given: Vec<_> = (0..self.slots())
            .map(|slot| self.given(slot) + self.present(slot, rows))
            .collect();
        // Lines that appear later are not to begin a new one each.
        let slots = (slots + slots / 16 + 4).next_multiple_of(TILE);
        given.resize(slots, 0);
        let max_rows = match self.has_few_rows() {
            true => FIRST_ROWS,
            false => MAX_ROWS,
        };
        Self::sized(self.first_row + rows as u64, max_rows, given.into())
    }

    /// Without slots, and so without rows.
    pub(super) fn empty(first_row: u64) -> Self {
        Self::sized(first_row, 0, Box::default())
    }

    fn sized(first_row: u64, rows: usize, given: Box<[u32]>) -> Self {
        Self {
            first_row,
            max_rows: rows,
            times: [const { AtomicI64::new(0) }; MAX_ROWS],
            samples: (0..rows * given.len()).map(|_| AtomicU64::new(ABSENT)).collect(),
            given,
            published: AtomicUsize::new(0),
        }
    }

    /// With these rows, and room for more; with less of it the higher the `turn`, which is below [`TURNS`].
    pub(super) fn with_more_rows(&self, turn: usize) -> Self {
        let new = Self::sized(self.first_row, MAX_ROWS - turn, self.given.clone());
        for row in 0..self.rows() {
            (0..self.slots()).for_each(|slot| new.put(slot, row, self.sample(slot, row)));
            new.publish(row, self.time(row));
        }
        new
    }

    pub(super) fn first_row(&self) -> u64 {
        self.first_row
    }

    /// How many rows can be read by now.
    #[inline]
    pub(super) fn rows(&self) -> usize {
        self.published.load(Ordering::Acquire)
    }

    /// Whether there is no room for one more.
    pub(super) fn is_full(&self) -> bool {
        self.rows() == self.max_rows
    }

    /// Whether there is room for the first few rows alone.
    pub(super) fn has_few_rows(&self) -> bool {
        self.max_rows <= FIRST_ROWS
    }

    /// For how many slots there is room.
    pub(super) fn slots(&self) -> usize {
        self.given.len()
    }

    #[inline]
    pub(super) fn time(&self, row: usize) -> i64 {
        self.times[row].load(Ordering::Relaxed)
    }

    #[inline]
    fn place(&self, slot: usize, row: usize) -> &AtomicU64 {
        &self.samples[slot / TILE * TILE * self.max_rows + row * TILE + slot % TILE]
    }

    /// The sample, or [`ABSENT`].
    #[inline]
    pub(super) fn sample(&self, slot: usize, row: usize) -> u64 {
        if slot >= self.slots() {
            return ABSENT;
        }
        self.place(slot, row).load(Ordering::Relaxed)
    }

    /// Stores a sample of a row that cannot be read yet. For the writer alone.
    #[inline]
    pub(super) fn put(&self, slot: usize, row: usize, sample: u64) {
        self.place(slot, row).store(sample, Ordering::Relaxed);
    }

    /// Lets the row be read, and all before it. For the writer alone.
    pub(super) fn publish(&self, row: usize, time: i64) {
        self.times[row].store(time, Ordering::Relaxed);
        self.published.store(row + 1, Ordering::Release);
    }

    /// How many samples a slot has been given before these rows.
    pub(super) fn given(&self, slot: usize) -> u32 {
        self.given.get(slot).copied().unwrap_or(0)
    }

    /// How many samples of its first `rows` rows a slot has.
    pub(super) fn present(&self, slot: usize, rows: usize) -> u32 {
        (0..rows)
            .map(|row| u32::from(self.sample(slot, row) != ABSENT))
            .sum()
    }

    /// The first row that is one of a series which began with the row `born`.
    #[inline]
    pub(super) fn own(&self, born: u64) -> usize {
        usize::try_from(born.saturating_sub(self.first_row)).unwrap_or(usize::MAX)
    }

    /// *Unit*: bytes as asked of the allocator.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + 16 + self.samples.len() * 8 + self.given.len() * 4
    }
}
