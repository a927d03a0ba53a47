//! The newest row of a target once more, where it is read without a list of rows being held.
//!
//! Most reads want the newest sample of each series. What holds a list costs more than all of that, and keeps a processor from
//! looking ahead to the next series. So a row is copied here, and a reader takes what it finds if the row was not written
//! meanwhile. If it was, the reader does not wait, but looks into the rows.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering, fence};

use super::column::ABSENT;

/// Slots of the first part; each one after it has twice as many, and none is ever moved.
const FIRST_SLOTS: usize = 64;
/// As many as reach all slots that there can be.
const PARTS: usize = 26;

#[derive(Debug)]
pub(super) struct NewestRow {
    /// Odd while the row is written.
    version: AtomicU64,
    time: AtomicI64,
    parts: Box<[OnceLock<Box<[AtomicU64]>>]>,
}

// === impl NewestRow ===

impl Default for NewestRow {
    fn default() -> Self {
        Self {
            version: AtomicU64::new(0),
            time: AtomicI64::new(i64::MIN),
            parts: (0..PARTS).map(|_| OnceLock::new()).collect(),
        }
    }
}

impl NewestRow {
    /// The sample of a slot in the newest row, if it has one and the row is not being written.
    #[inline]
    pub(super) fn read(&self, slot: usize) -> Option<(i64, u64)> {
        let version = self.version.load(Ordering::Acquire);
        let (part, place) = part_of(slot);
        let sample = self.parts[part].get()?[place].load(Ordering::Relaxed);
        let time = self.time.load(Ordering::Relaxed);
        // What is read above is read before the version is, once more.
        fence(Ordering::Acquire);
        let is_whole = version.is_multiple_of(2) && self.version.load(Ordering::Relaxed) == version;
        (is_whole && sample != ABSENT).then_some((time, sample))
    }

    /// Writes the row of `time`, in which `sample` gives the sample of each slot. For one writer at a time.
    pub(super) fn write(&self, time: i64, slots: usize, sample: impl Fn(usize) -> u64) {
        let version = self.version.load(Ordering::Relaxed);
        self.version.store(version | 1, Ordering::Relaxed);
        // Who reads what is written below finds the version odd, or another one.
        fence(Ordering::Release);
        self.time.store(time, Ordering::Relaxed);
        let (mut part, mut slot) = (0, 0);
        while slot < slots {
            let len = FIRST_SLOTS << part;
            let places = self.parts[part].get_or_init(|| (0..len).map(|_| AtomicU64::new(ABSENT)).collect());
            for place in &places[..len.min(slots - slot)] {
                place.store(sample(slot), Ordering::Relaxed);
                slot += 1;
            }
            part += 1;
        }
        self.version.store((version | 1) + 1, Ordering::Release);
    }

    /// Takes the sample of a slot away, or of all: they are looked for in the rows. For one writer at a time.
    pub(super) fn forget(&self, slot: Option<usize>) {
        let version = self.version.load(Ordering::Relaxed);
        self.version.store(version | 1, Ordering::Relaxed);
        fence(Ordering::Release);
        match slot.map(part_of) {
            Some((part, place)) => {
                let part = self.parts[part].get();
                part.into_iter()
                    .for_each(|part| part[place].store(ABSENT, Ordering::Relaxed));
            }
            None => {
                let places = self
                    .parts
                    .iter()
                    .filter_map(OnceLock::get)
                    .flat_map(|part| part.iter());
                places.for_each(|place| place.store(ABSENT, Ordering::Relaxed));
            }
        }
        self.version.store((version | 1) + 1, Ordering::Release);
    }

    /// *Unit*: bytes as asked of the allocator.
    pub(super) fn bytes(&self) -> usize {
        let parts = self.parts.iter().filter_map(OnceLock::get);
        let places: usize = parts.map(|part| part.len() * 8).sum();
        places + self.parts.len() * size_of::<OnceLock<Box<[AtomicU64]>>>()
    }
}

/// In which part a slot is, and where.
#[inline]
fn part_of(slot: usize) -> (usize, usize) {
    let part = (slot / FIRST_SLOTS + 1).ilog2() as usize;
    (part, slot - FIRST_SLOTS * ((1 << part) - 1))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    #[test]
    fn each_slot_has_a_place_of_its_own() {
        let row = NewestRow::default();
        row.write(7, 1_000, |slot| slot as u64);
        for slot in 0..1_000 {
            assert_eq!(row.read(slot), Some((7, slot as u64)));
        }
        assert_eq!(row.read(5_000), None);
        row.forget(Some(64));
        assert_eq!((row.read(63), row.read(64)), (Some((7, 63)), None));
        row.forget(None);
        assert_eq!(row.read(63), None);
        row.write(8, 64, |slot| slot as u64);
        assert_eq!((row.read(63), row.read(64)), (Some((8, 63)), None));
    }

    #[test]
    fn a_sample_is_never_that_of_another_row() {
        const SLOTS: usize = 300;
        let (row, done) = (NewestRow::default(), AtomicBool::new(false));
        let sample = |time: i64, slot: usize| (time as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ slot as u64;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                (1..50_000).for_each(|time| row.write(time, SLOTS, |slot| sample(time, slot)));
                done.store(true, Ordering::Release);
            });
            let (mut before, mut read) = (0, 0);
            while !done.load(Ordering::Acquire) || read == 0 {
                let slot = read % SLOTS;
                let Some((time, found)) = row.read(slot) else {
                    continue;
                };
                read += 1;
                assert_eq!(found, sample(time, slot), "{slot} at {time}");
                assert!(time >= before, "{time} after {before}");
                before = time;
            }
        });
    }
}
