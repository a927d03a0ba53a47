//! What all streams have in common: what is sent of each metric, made once, and how many streams there are.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use fleetgauge_core::time::Clock;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::view::MetricEntry;
use crate::store::Entry;

/// How many streams there are at once.
pub(super) const MAX_STREAMS: usize = 1_000;

/// What streams have in common.
pub(super) struct Events {
    pub(super) stop: CancellationToken,
    slots: Arc<Semaphore>,
    /// What is sent of each metric, as of which of its changes.
    made: Mutex<HashMap<Box<str>, Made>>,
}

/// What is sent of a metric, and as of which of its changes.
type Made = (u64, Arc<str>);

// === impl Events ===

impl Events {
    pub(super) fn new(stop: CancellationToken) -> Self {
        Self {
            stop,
            slots: Arc::new(Semaphore::new(MAX_STREAMS)),
            made: Mutex::default(),
        }
    }

    /// A place for one more stream, if there is one.
    pub(super) fn slot(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.slots).try_acquire_owned().ok()
    }

    /// How many streams are open.
    pub(super) fn open(&self) -> usize {
        MAX_STREAMS - self.slots.available_permits()
    }

    /// What is sent of `entry`, and as of which change.
    pub(super) fn of(&self, clock: &Clock, entry: &Entry) -> Made {
        let name = entry.spec().name.as_str();
        let changed = entry.changed();
        let known = |made: &HashMap<Box<str>, Made>| made.get(name).filter(|(at, _)| *at >= changed).cloned();
        let lock = || self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known(&lock()) {
            return known;
        }
        let snapshot = entry.read(clock);
        let text = serde_json::to_string(&MetricEntry::new(&snapshot, |_| true));
        // It is made of texts and numbers.
        let text: Arc<str> = text.unwrap_or_default().into();
        lock().insert(name.into(), (changed, Arc::clone(&text)));
        (changed, text)
    }
}
