//! Series on several threads.
//!
//! What is computed of one series does not depend on others, so it can be computed anywhere; what has an order is
//! done afterwards, on the thread of the query: labels, notes, and the counts of the budget. So an answer does not
//! depend on how many threads there were.
//!
//! A query always works on its own thread. Threads that have nothing to do at that moment help it, and it never waits
//! for one that is busy: with as many queries as cores each is alone, and no more threads compute than there are
//! queries and helpers.
//!
//! Each thread has an equal share of what the budget has left, so that a limit holds with all of them together. Whoever
//! meets the end of its share, or any other error, has said nothing yet about the query: everything is then computed
//! once more on one thread, which finds the first error in the order of the series, or none. Only the time limit is
//! the same for all.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use rayon_core::{ThreadPool, ThreadPoolBuilder};

use crate::budget::Budget;
use crate::error::EvalError;
use crate::value::{Part, Vector};

/// The threads that help queries; they are started when the first query needs them.
#[derive(Debug)]
pub(crate) struct Helpers {
    count: usize,
    /// How many have nothing to do.
    free: AtomicUsize,
    /// `None` where the operating system gives no threads.
    pool: OnceLock<Option<ThreadPool>>,
}

/// Helpers that were taken, until they have nothing to do again.
struct Taken<'a> {
    helpers: &'a Helpers,
    pool: &'a ThreadPool,
    count: usize,
}

/// Less work than this is not worth waking a thread up: about a third of a millisecond.
const MIN_WORK: usize = 40_000;

// === impl Helpers ===

impl Helpers {
    /// Helpers for queries on so many threads, their own included.
    pub(crate) fn new(threads: usize) -> Self {
        let count = threads.saturating_sub(1);
        Self {
            count,
            free: AtomicUsize::new(count),
            pool: OnceLock::new(),
        }
    }

    /// On how many threads a query may be, its own included.
    pub(crate) fn threads(&self) -> usize {
        self.count + 1
    }

    /// Computes the rows of `vector`, so many at a time, and returns what `compute` did for each part, in their order.
    /// Each thread has a scratch of its own, and spends from the budget that it is given. `work` is about how much
    /// there is to do, in the budget's units.
    pub(crate) fn compute<S: Default, T: Send>(
        &self,
        vector: &mut Vector,
        at_once: usize,
        work: usize,
        budget: &mut Budget,
        compute: impl Fn(&mut S, Range<usize>, Part<'_>, &mut Budget) -> Result<T, EvalError> + Sync,
    ) -> Result<Vec<T>, EvalError> {
        let parts = vector.len_of_rows().div_ceil(at_once);
        let wanted = match work < MIN_WORK {
            true => 0,
            false => parts.saturating_sub(1),
        };
        if let Some(taken) = self.take(wanted) {
            match taken.compute(vector, at_once, budget, &compute) {
                Ok(done) => return Ok(done),
                Err(timeout @ EvalError::Timeout { .. }) => return Err(timeout),
                Err(_) => {}
            }
        }
        let mut scratch = S::default();
        let parts = vector.parts_mut(at_once);
        parts
            .map(|(rows, part)| compute(&mut scratch, rows, part, budget))
            .collect()
    }

    /// As many of the wanted ones as have nothing to do; `None` if that is none.
    fn take(&self, wanted: usize) -> Option<Taken<'_>> {
        if wanted == 0 || self.count == 0 {
            return None;
        }
        let pool = self.pool.get_or_init(|| {
            let pool = ThreadPoolBuilder::new()
                .num_threads(self.count)
                .thread_name(|_| "promql".to_owned());
            pool.build().ok()
        });
        let pool = pool.as_ref()?;
        let left = |free: usize| (free > 0).then(|| free.saturating_sub(wanted));
        let free = self
            .free
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, left)
            .ok()?;
        Some(Taken {
            helpers: self,
            pool,
            count: free.min(wanted),
        })
    }
}

// === impl Taken ===

impl Taken<'_> {
    fn compute<S: Default, T: Send>(
        &self,
        vector: &mut Vector,
        at_once: usize,
        budget: &mut Budget,
        compute: &(impl Fn(&mut S, Range<usize>, Part<'_>, &mut Budget) -> Result<T, EvalError> + Sync),
    ) -> Result<Vec<T>, EvalError> {
        let share = budget.share(self.count + 1);
        let parts = Mutex::new(vector.parts_mut(at_once).enumerate());
        let next = || parts.lock().unwrap_or_else(PoisonError::into_inner).next();
        let is_over = AtomicBool::new(false);
        let done = Mutex::new(Vec::new());
        let work = || {
            let (mut scratch, mut budget, mut mine) = (S::default(), share.clone(), Vec::new());
            let mut all = || {
                while let Some((index, (rows, part))) = next().filter(|_| !is_over.load(Ordering::Relaxed)) {
                    mine.push((index, compute(&mut scratch, rows, part, &mut budget)?));
                }
                Ok(())
            };
            let result = all();
            is_over.fetch_or(result.is_err(), Ordering::Relaxed);
            let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
            done.push((result.map(|()| mine), budget));
        };
        self.pool.in_place_scope(|scope| {
            (0..self.count).for_each(|_| scope.spawn(|_| work()));
            work();
        });
        let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        let (mut results, mut shares) = (Vec::new(), Vec::new());
        let mut failed = None;
        for (result, share) in done {
            shares.push(share);
            match result {
                Ok(mine) => results.extend(mine),
                Err(timeout @ EvalError::Timeout { .. }) => return Err(timeout),
                Err(error) => failed = Some(error),
            }
        }
        if let Some(error) = failed {
            return Err(error);
        }
        budget.add_shares(&shares);
        results.sort_unstable_by_key(|(index, _)| *index);
        Ok(results.into_iter().map(|(_, result)| result).collect())
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.helpers.free.fetch_add(self.count, Ordering::AcqRel);
    }
}
