//! The newest row of a target once more, where it is read without a list of rows being held.
//!
//! Most reads want the newest sample of each series, of thousands of targets: what they cost is how many lines of memory a
//! processor has to fetch for each, and whether it can fetch those of the next series meanwhile. So the row is copied into
//! tiles, each a line that has all that a reader needs: samples, their time, and a count by which he knows that none was written
//! meanwhile. If one was, the reader does not wait, but looks into the rows.

use std::array;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering, fence};

use super::column::ABSENT;

/// So many samples, their time and the count are a line of memory.
const TILE: usize = 6;
const TILES: usize = 8;
/// How many slots a part has.
const PART: usize = TILES * TILE;

/// The row, as its writer has it.
#[derive(Debug, Default)]
pub(super) struct NewestRow(Vec<Arc<Part>>);

/// Some of its slots. It is never moved, so that series hold it.
#[derive(Debug)]
pub(super) struct Part([Tile; TILES]);

/// Where the newest samples of a series are, for as long as it has its slot.
#[derive(Debug)]
pub(super) struct Place {
    part: Arc<Part>,
    slot: u32,
    generation: u32,
}

#[derive(Debug)]
#[repr(align(64))]
struct Tile {
    /// How often it was written, twice: odd while it is written. The upper half is its generation: how often a series has left
    /// one of its slots.
    state: AtomicU64,
    time: AtomicI64,
    samples: [AtomicU64; TILE],
}

const GENERATION: u32 = 32;
const VERSION: u64 = (1 << GENERATION) - 1;

// === impl NewestRow ===

impl NewestRow {
    /// The part in which a slot is; made if need be.
    pub(super) fn part(&mut self, slot: u32) -> Arc<Part> {
        let at = slot as usize / PART;
        while self.0.len() <= at {
            self.0.push(Arc::default());
        }
        Arc::clone(&self.0[at])
    }

    /// Writes the row of `time`, in which `sample` gives the sample of each slot.
    pub(super) fn write(&self, time: i64, sample: impl Fn(usize) -> u64) {
        let tiles = self.0.iter().flat_map(|part| &part.0);
        for (tile, slots) in tiles.zip((0..).step_by(TILE)) {
            tile.write(0, || {
                tile.time.store(time, Ordering::Relaxed);
                for (place, slot) in tile.samples.iter().zip(slots..) {
                    place.store(sample(slot), Ordering::Relaxed);
                }
            });
        }
    }

    /// Takes the sample of a slot away: it is looked for in the rows. `is_left` if the slot will be that of another series.
    pub(super) fn forget(&self, slot: u32, is_left: bool) {
        let Some(part) = self.0.get(slot as usize / PART) else {
            return;
        };
        let (tile, at) = part.tile(slot);
        tile.write(u64::from(is_left), || {
            tile.samples[at].store(ABSENT, Ordering::Relaxed);
        });
    }

    pub(super) fn forget_all(&self) {
        self.write(i64::MIN, |_| ABSENT);
    }

    /// Lets go of all slots, none of which a series has.
    pub(super) fn clear(&mut self) {
        self.0 = Vec::new();
    }

    /// *Unit*: bytes as asked of the allocator.
    pub(super) fn bytes(&self) -> usize {
        self.0.capacity() * size_of::<Arc<Part>>() + self.0.len() * (size_of::<Part>() + align_of::<Part>())
    }
}

// === impl Part ===

impl Default for Part {
    fn default() -> Self {
        Self(array::from_fn(|_| Tile {
            state: AtomicU64::new(0),
            time: AtomicI64::new(i64::MIN),
            samples: array::from_fn(|_| AtomicU64::new(ABSENT)),
        }))
    }
}

impl Part {
    /// The sample of a slot in the newest row, if it has one and the row is not being written.
    #[inline]
    pub(super) fn read(&self, slot: u32) -> Option<(i64, u64)> {
        self.read_if(slot, |_| true)
    }

    /// As long as no series leaves it, the slot is that of the series that has it now.
    pub(super) fn place(self: Arc<Self>, slot: u32) -> Place {
        let state = self.tile(slot).0.state.load(Ordering::Acquire);
        let generation = (state >> GENERATION) as u32;
        Place {
            part: self,
            slot,
            generation,
        }
    }

    #[inline]
    fn read_if(&self, slot: u32, is_fit: impl FnOnce(u64) -> bool) -> Option<(i64, u64)> {
        let (tile, at) = self.tile(slot);
        let state = tile.state.load(Ordering::Acquire);
        let sample = tile.samples[at].load(Ordering::Relaxed);
        let time = tile.time.load(Ordering::Relaxed);
        // What is read above is read before the state is, once more.
        fence(Ordering::Acquire);
        let is_whole = state.is_multiple_of(2) && tile.state.load(Ordering::Relaxed) == state;
        (is_whole && is_fit(state) && sample != ABSENT).then_some((time, sample))
    }

    #[inline]
    fn tile(&self, slot: u32) -> (&Tile, usize) {
        let slot = slot as usize % PART;
        (&self.0[slot / TILE], slot % TILE)
    }
}

// === impl Place ===

impl Place {
    /// The sample of its series in the newest row; none also if the series has left the slot.
    #[inline]
    pub(super) fn read(&self) -> Option<(i64, u64)> {
        let is_same = |state: u64| (state >> GENERATION) as u32 == self.generation;
        self.part.read_if(self.slot, is_same)
    }
}

// === impl Tile ===

impl Tile {
    /// Does what `write` does, and counts so many series that left. For one writer at a time.
    #[inline]
    fn write(&self, left: u64, write: impl FnOnce()) {
        let state = self.state.load(Ordering::Relaxed);
        self.state.store(state | 1, Ordering::Relaxed);
        // Who reads what is written below finds the state odd, or another one.
        fence(Ordering::Release);
        write();
        let version = state.wrapping_add(2) & VERSION;
        let generation = (state >> GENERATION).wrapping_add(left) << GENERATION;
        self.state.store(generation | version, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    const SLOTS: u32 = 1_000;

    fn row() -> (NewestRow, Vec<Arc<Part>>) {
        let mut row = NewestRow::default();
        let parts = (0..SLOTS).map(|slot| row.part(slot)).collect();
        (row, parts)
    }

    #[test]
    fn each_slot_has_a_place_of_its_own() {
        let (row, parts) = row();
        let read = |slot: u32| parts[slot as usize].read(slot);
        row.write(7, |slot| slot as u64);
        for slot in 0..SLOTS {
            assert_eq!(read(slot), Some((7, slot.into())));
        }
        row.forget(64, false);
        assert_eq!(
            (read(63), read(64), read(65)),
            (Some((7, 63)), None, Some((7, 65)))
        );
        row.forget_all();
        assert_eq!(read(63), None);
        row.write(8, |slot| if slot == 5 { ABSENT } else { slot as u64 });
        assert_eq!((read(4), read(5), read(64)), (Some((8, 4)), None, Some((8, 64))));
    }

    #[test]
    fn a_place_is_that_of_one_series() {
        let (row, parts) = row();
        row.write(7, |slot| slot as u64);
        let place = |slot: u32| Arc::clone(&parts[slot as usize]).place(slot);
        let (left, loose, apart) = (place(100), place(200), place(300));
        row.forget(100, true);
        row.forget(200, false);
        row.write(8, |slot| slot as u64);
        assert_eq!((left.read(), place(100).read()), (None, Some((8, 100))));
        assert_eq!((loose.read(), apart.read()), (Some((8, 200)), Some((8, 300))));
    }

    #[test]
    fn counts_begin_anew_beside_each_other() {
        let (row, parts) = row();
        parts[0].0[0].state.store(u64::MAX - 1, Ordering::Relaxed);
        let place = Arc::clone(&parts[0]).place(0);
        row.write(7, |_| 5);
        assert_eq!(place.read(), Some((7, 5)));
        row.forget(1, true);
        assert_eq!((place.read(), parts[0].read(0)), (None, Some((7, 5))));
    }

    #[test]
    fn a_sample_is_never_that_of_another_row() {
        let ((row, parts), done) = (row(), AtomicBool::new(false));
        let sample = |time: i64, slot: usize| (time as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ slot as u64;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                (1..20_000).for_each(|time| row.write(time, |slot| sample(time, slot)));
                done.store(true, Ordering::Release);
            });
            let (mut before, mut read) = (vec![0; SLOTS as usize], 0);
            while !done.load(Ordering::Acquire) || read == 0 {
                let slot = read % SLOTS;
                let Some((time, found)) = parts[slot as usize].read(slot) else {
                    continue;
                };
                read += 1;
                assert_eq!(found, sample(time, slot as usize), "{slot} at {time}");
                let before = &mut before[slot as usize];
                assert!(time >= *before, "{time} after {before}");
                *before = time;
            }
        });
    }
}
