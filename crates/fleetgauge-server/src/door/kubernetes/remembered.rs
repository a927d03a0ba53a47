//! What the cluster has said, for as long as it counts.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use fleetgauge_core::time::{Clock, Moment};

/// How many answers are remembered. What is more makes the others forgotten: they are asked for again.
const MAX: usize = 4_096;

/// Answers by what was asked.
pub(super) struct Remembered<K, V> {
    clock: Clock,
    known: Mutex<HashMap<K, (V, Moment)>>,
}

// === impl Remembered ===

impl<K: Eq + Hash, V: Clone> Remembered<K, V> {
    pub(super) fn new(clock: Clock) -> Self {
        let known = Mutex::default();
        Self { clock, known }
    }

    pub(super) fn get<Q: Eq + Hash + ?Sized>(&self, asked: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let now = self.clock.now();
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (answer, until) = known.get(asked)?;
        (now < *until).then(|| answer.clone())
    }

    pub(super) fn keep(&self, asked: K, answer: V, how_long: Duration) {
        let now = self.clock.now();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX {
            known.retain(|_, (_, until)| now < *until);
        }
        if known.len() >= MAX {
            known.clear();
        }
        known.insert(asked, (answer, now.saturating_add(how_long)));
    }
}
