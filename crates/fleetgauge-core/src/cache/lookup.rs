//! What a read gives: a value, or why there is none.

use std::fmt;
use std::ops::Deref;
use std::time::Duration;

use super::slot::{State, StateRef};
use super::value::{CachedValue, Failure};
use crate::error::QueryError;
use crate::time::Moment;

/// A value as it is in the cache, for the time of a read.
///
/// It writes nothing that other readers of the same key read or write, so they do not slow each other down. A
/// thread that holds more than a few of them at once loses this; what is to outlast the read is
/// [kept](Self::keep).
///
/// ```
/// # use fleetgauge_core::params::Params;
/// # use fleetgauge_core::query::QueryTemplate;
/// # use fleetgauge_core::source::{FixedBackend, MetricsSource, RefreshSpec};
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # let source = FixedBackend::new().values("queue_depth", [([("pod", "a")], 3.0)]).into_source();
/// # source.query_list().must_register(QueryTemplate::promql("queue_depth", "up"));
/// # source.refresh(RefreshSpec::all()).await;
/// let kept = source.get("queue_depth", &Params::new()).map(|cached| cached.keep());
/// assert_eq!(kept.unwrap().result().len(), 1);
/// # }
/// ```
pub struct CachedRef(StateRef);

/// What a read found: absence has many meanings, and none of them is zero.
#[derive(Debug)]
#[non_exhaustive]
pub enum Lookup {
    /// A value that holds, or is expired by no more than the cache's `max_stale`.
    Value(CachedRef),
    /// There was a value, but it expired too long ago.
    Expired {
        /// How long ago it was had.
        age: Duration,
        /// The last refresh's failure, if it failed.
        last_error: Option<Failure>,
    },
    /// The query was refreshed with these parameters, and never with success.
    Failed(Failure),
    /// The query was never refreshed with these parameters, or so long ago that it is forgotten, or its
    /// value was evicted.
    NeverRefreshed,
    /// The query was replaced or removed since it was prepared or looked up in its list: prepare it anew.
    Replaced,
    /// The question itself is wrong: no such query.
    Invalid(QueryError),
}

// === impl CachedRef ===

impl CachedRef {
    /// `state` is one that has a value.
    #[inline]
    pub(super) fn new(state: StateRef) -> Self {
        debug_assert!(state.value().is_some());
        Self(state)
    }

    /// The value, to be held for as long as wanted.
    pub fn keep(&self) -> CachedValue {
        CachedValue::clone(self)
    }
}

impl Deref for CachedRef {
    type Target = CachedValue;

    #[inline]
    fn deref(&self) -> &CachedValue {
        match &**self.0 {
            State::Value(value) => value,
            State::Absent { .. } | State::Replaced => unreachable!("made of states that have a value"),
        }
    }
}

impl fmt::Debug for CachedRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        CachedValue::fmt(self, f)
    }
}

// === impl Lookup ===

impl Lookup {
    /// Why there is no value to return.
    pub(super) fn of_absent(state: &State, now: Moment) -> Self {
        let (cached, last_error) = match state {
            State::Value(value) => (Some(value.cached()), value.last_error()),
            State::Absent { last, last_error } => (last.map(|(cached, _)| cached), last_error.as_deref()),
            State::Replaced => return Lookup::Replaced,
        };
        match (cached, last_error) {
            (Some(cached), last_error) => Lookup::Expired {
                age: now.saturating_since(cached),
                last_error: last_error.cloned(),
            },
            (None, Some(failure)) => Lookup::Failed(failure.clone()),
            (None, None) => Lookup::NeverRefreshed,
        }
    }

    /// The value, if there is one to return.
    pub fn value(self) -> Option<CachedRef> {
        match self {
            Lookup::Value(value) => Some(value),
            _ => None,
        }
    }
}
