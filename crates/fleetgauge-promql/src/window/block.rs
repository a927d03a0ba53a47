//! The rows of a target that no more are added to, column by column.

use super::column::{self, MAX_ROWS, PADDING, Scratch};

/// Columns whose places are counted from one base.
const GROUP: usize = 64;

/// Some rows in a row, of which each column is read by itself.
#[derive(Debug)]
pub(super) struct Block {
    /// The number of its first row.
    first_row: u64,
    times: Times,
    /// Where the columns begin: of each group its first one, and each one from there.
    bases: Box<[u32]>,
    offsets: Box<[u16]>,
    bytes: Box<[u8]>,
}

/// When rows were scraped, mostly one interval after the other.
#[derive(Debug)]
enum Times {
    Even { first: i64, interval: i64, rows: usize },
    Any(Box<[i64]>),
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
        let (mut bases, mut offsets) = (
            Vec::with_capacity(slots.div_ceil(GROUP)),
            Vec::with_capacity(slots),
        );
        let (mut bytes, mut samples) = (
            Vec::with_capacity(slots * times.len() / 2),
            Vec::with_capacity(MAX_ROWS),
        );
        for slot in 0..slots {
            if slot.is_multiple_of(GROUP) {
                // A column takes less than ten bytes a row.
                bases.push(bytes.len() as u32);
            }
            offsets.push((bytes.len() - bases[slot / GROUP] as usize) as u16);
            samples.clear();
            column(slot, &mut samples);
            column::write(&samples, &mut bytes, scratch);
        }
        bytes.resize(bytes.len() + PADDING, 0);
        Self {
            first_row,
            times: Times::new(times),
            bases: bases.into(),
            offsets: offsets.into(),
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
        self.offsets.len()
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
        let place = |slot: usize| {
            let offset = usize::from(*self.offsets.get(slot)?);
            Some(self.bases[slot / GROUP] as usize + offset)
        };
        let begin = place(slot)?;
        let end = place(slot + 1).unwrap_or(self.bytes.len() - PADDING);
        (begin < end).then_some(begin)
    }

    /// *Unit*: bytes as asked of the allocator.
    pub(super) fn bytes(&self) -> usize {
        let times = match &self.times {
            Times::Even { .. } => 0,
            Times::Any(times) => times.len() * 8,
        };
        // The two counts of an `Arc`, and its pointer in the target's list.
        size_of::<Self>() + 24 + times + self.bases.len() * 4 + self.offsets.len() * 2 + self.bytes.len()
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
