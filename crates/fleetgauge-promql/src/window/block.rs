//! The rows of a target that no more are added to, column by column.
//!
//! Who reads a column of each of many targets waits for memory and for little else, so that what leads to a column lies in as few
//! lines of it as can be: a block is a part of its target's list, and the places of columns are groups of one line each.

use std::sync::Arc;

use super::column::{self, MAX_ROWS, PADDING, Scratch};

/// Some rows in a row, of which each column is read by itself. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Block {
    /// The number of its first row.
    first_row: u64,
    times: Times,
    slots: usize,
    places: Arc<[Places]>,
    bytes: Arc<[u8]>,
}

/// When rows were scraped, mostly one interval after the other.
#[derive(Clone, Debug)]
enum Times {
    Even { first: i64, interval: i64, rows: usize },
    Any(Arc<[i64]>),
}

/// Where some columns begin: a line of memory.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Places {
    base: u32,
    /// From the base on; [`EMPTY`] of a column without samples.
    offsets: [u16; Places::COLUMNS],
}

const EMPTY: u16 = u16::MAX;

impl Places {
    const COLUMNS: usize = 30;
}

// === impl Block ===

impl Block {
    /// The block of the rows of these times, in the columns that `column` fills in for each slot.
    pub(super) fn new(
        first_row: u64,
        times: &[i64],
        slots: usize,
        scratch: &mut Scratch,
        mut column: impl FnMut(usize, &mut Vec<u64>),
    ) -> Self {
        debug_assert!(!times.is_empty() && times.len() <= MAX_ROWS);
        let mut places = Vec::with_capacity(slots.div_ceil(Places::COLUMNS));
        let (mut bytes, mut samples) = (
            Vec::with_capacity(slots * times.len() / 2),
            Vec::with_capacity(MAX_ROWS),
        );
        for first in (0..slots).step_by(Places::COLUMNS) {
            let base = bytes.len();
            let mut offsets = [EMPTY; Places::COLUMNS];
            for (slot, offset) in (first..slots).zip(&mut offsets) {
                samples.clear();
                column(slot, &mut samples);
                let begin = bytes.len();
                column::write(&samples, &mut bytes, scratch);
                if bytes.len() > begin {
                    // A column takes less than ten bytes a row.
                    *offset = (begin - base) as u16;
                }
            }
            places.push(Places {
                base: base as u32,
                offsets,
            });
        }
        bytes.resize(bytes.len() + PADDING, 0);
        Self {
            first_row,
            times: Times::new(times),
            slots,
            places: places.into(),
            bytes: bytes.into(),
        }
    }

    pub(super) fn first_row(&self) -> u64 {
        self.first_row
    }

    pub(super) fn rows(&self) -> usize {
        match &self.times {
            Times::Even { rows, .. } => *rows,
            Times::Any(times) => times.len(),
        }
    }

    pub(super) fn slots(&self) -> usize {
        self.slots
    }

    pub(super) fn time(&self, row: usize) -> i64 {
        match &self.times {
            Times::Even { first, interval, .. } => first + interval * row as i64,
            Times::Any(times) => times[row],
        }
    }

    pub(super) fn last_time(&self) -> i64 {
        self.time(self.rows() - 1)
    }

    /// Gives each sample of a slot with its row, in their order.
    #[inline]
    pub(super) fn read(&self, slot: usize, give: impl FnMut(usize, u64)) {
        if let Some(begin) = self.begin(slot) {
            column::read(&self.bytes[begin..], self.rows(), give);
        }
    }

    /// Where the column of a slot begins that has samples.
    #[inline]
    fn begin(&self, slot: usize) -> Option<usize> {
        let places = self.places.get(slot / Places::COLUMNS)?;
        let offset = places.offsets[slot % Places::COLUMNS];
        (offset != EMPTY).then_some(places.base as usize + usize::from(offset))
    }

    /// *Unit*: bytes as asked of the allocator.
    pub(super) fn bytes(&self) -> usize {
        let times = match &self.times {
            Times::Even { .. } => 0,
            Times::Any(times) => 16 + times.len() * 8,
        };
        // With the counts of an `Arc` each, of which those before aligned ones take a line.
        size_of::<Self>() + 64 + size_of_val(&*self.places) + 16 + self.bytes.len() + times
    }
}

// === impl Times ===

impl Times {
    fn new(times: &[i64]) -> Self {
        let interval = times.get(1).map_or(0, |second| second.saturating_sub(times[0]));
        let is_even = times
            .windows(2)
            .all(|pair| pair[1].saturating_sub(pair[0]) == interval);
        // Far apart, a sum of intervals may not be the time.
        match is_even && interval < 1 << 40 {
            true => Self::Even {
                first: times[0],
                interval,
                rows: times.len(),
            },
            false => Self::Any(times.into()),
        }
    }
}
