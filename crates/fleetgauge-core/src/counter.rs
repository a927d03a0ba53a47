//! A counter that many threads increment at once without slowing each other.

use std::sync::atomic::{AtomicU64, Ordering};

use thread_local::ThreadLocal;

/// A sum kept per thread. A single atomic would make the readers of the cache wait for each other on every
/// hit.
#[derive(Debug, Default)]
pub(crate) struct Counter(ThreadLocal<AtomicU64>);

impl Counter {
    pub(crate) fn increment(&self) {
        // Each thread writes its own, so a load and a store do what a locked addition would cost more for.
        let mine = self.0.get_or_default();
        mine.store(mine.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    pub(crate) fn sum(&self) -> u64 {
        self.0.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }
}
