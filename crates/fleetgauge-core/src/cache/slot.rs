//! The place of one key, and which of two answers or failures stays in it: that which was sent later.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use arc_swap::{ArcSwap, Guard};

use super::value::{CachedValue, Failure};
use crate::time::Moment;

/// The place of one key. It outlives its values, so that a prepared query can hold on to it.
pub(super) struct Slot {
    state: ArcSwap<State>,
    /// Whole seconds of monotonic time at the last read, for eviction.
    last_read: AtomicU64,
}

/// All that is known of a key, behind one pointer: what is read of it belongs together.
pub(super) enum State {
    /// There is a value.
    Value(CachedValue),
    /// There was a value, or there was none yet.
    Absent {
        /// When the last value was had, and when it had been sent for.
        last: Option<(Moment, Instant)>,
        last_error: Option<Arc<Failure>>,
    },
    /// The query was replaced or removed; the place is none any more.
    Replaced,
}

/// What was known of a key when it was read. Nothing that readers share is written for it.
pub(super) type StateRef = Guard<Arc<State>>;

// === impl Slot ===

impl Slot {
    pub(super) fn new(now: Moment) -> Self {
        let (last, last_error) = (None, None);
        Self {
            state: ArcSwap::from_pointee(State::Absent { last, last_error }),
            last_read: AtomicU64::new(now.whole_seconds()),
        }
    }

    /// A place that is none, for a query that was replaced before it was prepared.
    pub(super) fn replaced() -> Self {
        Self {
            state: ArcSwap::from_pointee(State::Replaced),
            last_read: AtomicU64::new(0),
        }
    }

    /// Drops what there is: the query was replaced.
    pub(super) fn set_replaced(&self) {
        self.state.store(Arc::new(State::Replaced));
    }

    /// Remembers that the slot was read. Writes only once a second, so that readers of one key do not fight
    /// for its cache line.
    #[inline]
    pub(super) fn touch(&self, now: Moment) {
        let now = now.whole_seconds();
        if self.last_read.load(Ordering::Relaxed) != now {
            self.last_read.store(now, Ordering::Relaxed);
        }
    }

    pub(super) fn last_read(&self) -> u64 {
        self.last_read.load(Ordering::Relaxed)
    }

    #[inline]
    pub(super) fn load(&self) -> StateRef {
        self.state.load()
    }

    pub(super) fn pointer(&self) -> &ArcSwap<State> {
        &self.state
    }

    /// Replaces the state by what `change` makes of it, if anything. Only who holds the cache's write lock may
    /// do so.
    pub(super) fn update(&self, change: impl FnOnce(&State) -> Option<State>) {
        if let Some(state) = change(&self.load()) {
            self.state.store(Arc::new(state));
        }
    }
}

// === impl State ===

impl State {
    #[inline]
    pub(super) fn value(&self) -> Option<&CachedValue> {
        match self {
            State::Value(value) => Some(value),
            State::Absent { .. } | State::Replaced => None,
        }
    }

    /// The state with this answer; `None` where it has the answer to what was sent later. A failure of what
    /// was sent later stays beside it.
    pub(super) fn with_answer(&self, mut value: CachedValue) -> Option<State> {
        let (answered, failure) = self.latest();
        if answered.is_some_and(|answered| answered > value.sent()) {
            return None;
        }
        value.set_last_error(failure.filter(|failure| failure.sent > value.sent()).cloned());
        Some(State::Value(value))
    }

    /// The state with this failure; `None` where what was sent later has an answer, or has failed. That one denies
    /// what was answered earlier remains, where it comes late, and where another follows.
    pub(super) fn with_failure(&self, mut failure: Failure) -> Option<State> {
        let (answered, failed) = self.latest();
        if answered > Some(failure.sent) {
            return None;
        }
        if let Some(failed) = failed {
            let denies = failed.denies.max(failure.denies);
            if failed.sent > failure.sent {
                if denies == failed.denies {
                    return None;
                }
                failure = Failure::clone(failed);
            }
            failure.denies = denies;
        }
        let last_error = Some(Arc::new(failure));
        Some(match self {
            State::Value(value) => {
                let mut value = value.clone();
                value.set_last_error(last_error);
                State::Value(value)
            }
            State::Absent { last, .. } => State::Absent {
                last: *last,
                last_error,
            },
            State::Replaced => return None,
        })
    }

    /// The state without its value, where that is too old to be kept: when it was had, and what has failed
    /// since, remains.
    pub(super) fn without_expired(&self, now: Moment) -> Option<State> {
        let value = self.value().filter(|value| value.is_useless_at(now))?;
        Some(State::Absent {
            last: Some((value.cached(), value.sent())),
            last_error: value.shared_last_error().cloned(),
        })
    }

    /// When the last answer had been sent for, and the last failure.
    fn latest(&self) -> (Option<Instant>, Option<&Arc<Failure>>) {
        match self {
            State::Value(value) => (Some(value.sent()), value.shared_last_error()),
            State::Absent { last, last_error } => (last.map(|(_, sent)| sent), last_error.as_ref()),
            State::Replaced => (None, None),
        }
    }
}
