//! The samples of a page on its way into the window.
//!
//! A page is collected first and written then. What it is collected in is lent for as long as that takes, to one target after
//! the other: a list for each target would be out of all caches each time it is filled.

use std::mem;
use std::sync::{Mutex, PoisonError};

use super::limit::Usage;

/// The samples of one page, in its order.
#[derive(Debug, Default)]
pub(super) struct PendingPage {
    pub(super) samples: Vec<Pending>,
    /// The times of those that were exposed with one.
    own_times: Vec<i64>,
    /// What is counted as used.
    counted: usize,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Pending {
    /// Its place in the cache of the scraper.
    pub(super) entry: u32,
    /// Where its own time is; [`NO_TIME`] without one.
    own_time: u32,
    pub(super) value: u64,
}

/// Lists that no page is collected in.
#[derive(Debug, Default)]
pub(super) struct SparePages(Mutex<Vec<PendingPage>>);

const NO_TIME: u32 = u32::MAX;

/// So many are kept: more pages than there are threads to write them are seldom on their way at once.
const MAX_SPARE: usize = 16;

// === impl PendingPage ===

impl PendingPage {
    #[inline]
    pub(super) fn push(&mut self, entry: u32, own_time: Option<i64>, value: u64) {
        let own_time = own_time.map_or(NO_TIME, |time| {
            self.own_times.push(time);
            // Four thousand million samples are in no page.
            self.own_times.len() as u32 - 1
        });
        self.samples.push(Pending {
            entry,
            own_time,
            value,
        });
    }

    /// The time that a sample of this page was exposed with.
    #[inline]
    pub(super) fn own_time(&self, sample: Pending) -> Option<i64> {
        self.own_times.get(sample.own_time as usize).copied()
    }

    pub(super) fn clear(&mut self) {
        self.samples.clear();
        self.own_times.clear();
    }
}

// === impl Pending ===

impl Pending {
    #[inline]
    pub(super) fn has_own_time(&self) -> bool {
        self.own_time != NO_TIME
    }
}

// === impl SparePages ===

impl SparePages {
    /// An empty list; mostly the one that was given back last.
    pub(super) fn take(&self) -> PendingPage {
        let spare = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        spare.unwrap_or_default()
    }

    /// Lets all of them go.
    pub(super) fn clear(&self, usage: &Usage) {
        let spare = mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        spare.iter().for_each(|page| usage.give_back(page.counted));
    }

    pub(super) fn give_back(&self, mut page: PendingPage, usage: &Usage) {
        page.clear();
        usage.give_back(mem::take(&mut page.counted));
        let mut spare = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if page.samples.capacity() > 0 && spare.len() < MAX_SPARE {
            page.counted = page.samples.capacity() * size_of::<Pending>() + page.own_times.capacity() * 8;
            usage.take(page.counted);
            spare.push(page);
        }
    }
}
