//! What queries have made of lists of labels, for those that ask for the same again.
//!
//! An autoscaler asks the same queries every few seconds, and the series are mostly the same ones. Which of them are a
//! group, what they are called without their metric name, in which order they are answered: all of that is of the labels
//! alone. It is kept by the list it was made of, which is the same list for as long as no series comes or goes.

use std::any::Any;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::LabelSet;

/// The kept results, the ones that were asked for last, of so many bytes as a window allows them.
#[derive(Debug)]
pub(crate) struct Memo {
    max_bytes: usize,
    kept: Mutex<Kept>,
}

/// What is made of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Derivation {
    /// The labels at these places.
    Chosen(Arc<[u32]>),
    /// Those without metric name, type and unit.
    Nameless,
    /// The groups by some labels.
    Grouped { labels: Vec<Arc<str>>, without: bool },
    /// The classic histograms.
    Buckets,
    /// Which of them are equal.
    Duplicates,
    /// The order in which they are answered.
    Order,
}

#[derive(Debug, Default)]
struct Kept {
    /// By the address of the list of which they are made; it stays where it is, since the results hold it.
    results: HashMap<usize, Vec<Made>, RandomState>,
    bytes: usize,
}

#[derive(Debug)]
struct Made {
    of: Arc<Vec<LabelSet>>,
    how: Derivation,
    result: Arc<dyn Any + Send + Sync>,
    bytes: usize,
    used: Instant,
}

/// What nobody has asked for in this time is let go when something else is kept: its series may be gone.
const IDLE: Duration = Duration::from_secs(60);

// === impl Memo ===

impl Memo {
    pub(crate) fn new(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            kept: Mutex::default(),
        }
    }

    /// What was made of the list so, and how many bytes that took.
    pub(super) fn get<T: Any + Send + Sync>(
        &self,
        of: &Arc<Vec<LabelSet>>,
        how: &Derivation,
    ) -> Option<(Arc<T>, usize)> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let made = kept.results.get_mut(&address(of))?;
        let is_it = |made: &&mut Made| Arc::ptr_eq(&made.of, of) && made.how == *how;
        let made = made.iter_mut().find(is_it)?;
        made.used = Instant::now();
        let result = Arc::clone(&made.result).downcast().ok()?;
        Some((result, made.bytes))
    }

    /// Keeps what was made of the list so, unless it is larger than all that may be kept.
    pub(super) fn put<T: Any + Send + Sync>(
        &self,
        of: &Arc<Vec<LabelSet>>,
        how: Derivation,
        result: &Arc<T>,
        bytes: usize,
    ) {
        if bytes > self.max_bytes {
            return;
        }
        let now = Instant::now();
        let result = Arc::clone(result) as _;
        let new = Made {
            of: Arc::clone(of),
            how,
            result,
            bytes,
            used: now,
        };
        // Let go when the lock is free again: there may be much of it.
        let mut gone = Vec::new();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(&mut gone, |made| now.duration_since(made.used) < IDLE);
        let list = kept.results.entry(address(of)).or_default();
        // Another query may have made it meanwhile.
        if list.iter().any(|made| made.how == new.how) {
            return;
        }
        list.push(new);
        kept.bytes += bytes;
        while kept.bytes > self.max_bytes {
            let Some(oldest) = kept.results.values().flatten().map(|made| made.used).min() else {
                break;
            };
            kept.retain(&mut gone, |made| made.used > oldest);
        }
        drop(kept);
    }
}

fn address(of: &Arc<Vec<LabelSet>>) -> usize {
    Arc::as_ptr(of).addr()
}

// === impl Kept ===

impl Kept {
    fn retain(&mut self, gone: &mut Vec<Made>, mut stays: impl FnMut(&Made) -> bool) {
        let bytes = &mut self.bytes;
        self.results.retain(|_, list| {
            for made in list.extract_if(.., |made| !stays(made)) {
                *bytes -= made.bytes;
                gone.push(made);
            }
            !list.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(value: &str) -> Arc<Vec<LabelSet>> {
        Arc::new(vec![LabelSet::from_pairs([("a", value)])])
    }

    #[test]
    fn what_was_made_of_a_list_is_found_by_that_list_alone() {
        let memo = Memo::new(1_000);
        let (one, other) = (list("1"), list("1"));
        memo.put(&one, Derivation::Order, &Arc::new(7_u32), 10);
        let found = |of, how| memo.get::<u32>(of, how).map(|(result, bytes)| (*result, bytes));
        assert_eq!(found(&one, &Derivation::Order), Some((7, 10)));
        assert_eq!(found(&other, &Derivation::Order), None);
        assert_eq!(found(&one, &Derivation::Nameless), None);
    }

    #[test]
    fn the_one_that_was_used_least_recently_goes_first() {
        let memo = Memo::new(25);
        let lists = ["1", "2", "3", "4"].map(list);
        let kept = || {
            lists
                .each_ref()
                .map(|of| memo.get::<()>(of, &Derivation::Order).is_some())
        };
        for of in &lists[..2] {
            memo.put(of, Derivation::Order, &Arc::new(()), 10);
        }
        assert!(memo.get::<()>(&lists[0], &Derivation::Order).is_some());
        memo.put(&lists[2], Derivation::Order, &Arc::new(()), 10);
        assert_eq!(kept(), [true, false, true, false]);
        // Too large for anybody.
        memo.put(&lists[3], Derivation::Order, &Arc::new(()), 26);
        assert_eq!(kept(), [true, false, true, false]);
        memo.put(&lists[3], Derivation::Order, &Arc::new(()), 25);
        assert_eq!(kept(), [false, false, false, true]);
        let kept = memo.kept.lock().expect("no panic");
        assert_eq!((kept.bytes, kept.results.len()), (25, 1));
    }
}
