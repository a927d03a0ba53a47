//! The samples of a page on its way into the window.
//!
//! A page is collected first and written then. What it is collected in is lent for as long as that takes, to one target after
//! the other: a list for each target would be out of all caches each time it is filled.

use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use super::limit::Usage;
use crate::histogram::FloatHistogram;
use crate::sample::is_histogram;

/// The samples of one page, in its order.
#[derive(Debug, Default)]
pub(super) struct PendingPage {
    pub(super) samples: Vec<Pending>,
    /// The times of those that were exposed with one.
    own_times: Vec<i64>,
    /// Those that are no numbers.
    histograms: Vec<Arc<FloatHistogram>>,
    /// What is counted as used.
    counted: usize,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Pending {
    /// Its place in the cache of the scraper.
    pub(super) entry: u32,
    /// Where its own time is, [`NO_TIME`] without one; and [`HISTOGRAM`].
    own_time: u32,
    /// The bits of a number, or the place of a histogram.
    value: u64,
}

/// Lists that no page is collected in.
#[derive(Debug, Default)]
pub(super) struct SparePages(Mutex<Vec<PendingPage>>);

const HISTOGRAM: u32 = 1 << 31;
const NO_TIME: u32 = HISTOGRAM - 1;

/// So many are kept: more pages than there are threads to write them are seldom on their way at once.
const MAX_SPARE: usize = 16;

// === impl PendingPage ===

impl PendingPage {
    #[inline]
    pub(super) fn push(&mut self, entry: u32, own_time: Option<i64>, value: f64) {
        let own_time = self.add_time(own_time);
        // The one NaN that stands for a histogram is an ordinary one where a number has it.
        let value = if is_histogram(value) { f64::NAN } else { value };
        self.samples.push(Pending {
            entry,
            own_time,
            value: value.to_bits(),
        });
    }

    pub(super) fn push_histogram(&mut self, entry: u32, own_time: Option<i64>, histogram: FloatHistogram) {
        let own_time = self.add_time(own_time) | HISTOGRAM;
        self.samples.push(Pending {
            entry,
            own_time,
            value: self.histograms.len() as u64,
        });
        self.histograms.push(Arc::new(histogram));
    }

    #[inline]
    fn add_time(&mut self, own_time: Option<i64>) -> u32 {
        own_time.map_or(NO_TIME, |time| {
            self.own_times.push(time);
            // Two thousand million samples are in no page.
            self.own_times.len() as u32 - 1
        })
    }

    /// The histogram that a sample of this page is.
    pub(super) fn histogram(&self, sample: Pending) -> Option<&Arc<FloatHistogram>> {
        let place = sample.is_histogram().then_some(sample.value)?;
        self.histograms.get(place as usize)
    }

    /// The time that a sample of this page was exposed with.
    #[inline]
    pub(super) fn own_time(&self, sample: Pending) -> Option<i64> {
        self.own_times
            .get((sample.own_time & !HISTOGRAM) as usize)
            .copied()
    }

    pub(super) fn clear(&mut self) {
        self.samples.clear();
        self.own_times.clear();
        // The series hold on to their newest ones.
        self.histograms = Vec::new();
    }
}

// === impl Pending ===

impl Pending {
    #[inline]
    pub(super) fn has_own_time(&self) -> bool {
        self.own_time & !HISTOGRAM != NO_TIME
    }

    #[inline]
    pub(super) fn is_histogram(&self) -> bool {
        self.own_time & HISTOGRAM != 0
    }

    /// Whether it is what rows hold: a number of the page's time.
    #[inline]
    pub(super) fn fits_rows(&self) -> bool {
        self.own_time == NO_TIME
    }

    /// The bits of a number.
    #[inline]
    pub(super) fn bits(&self) -> u64 {
        self.value
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
