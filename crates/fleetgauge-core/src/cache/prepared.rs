//! A handle for reading one key in a loop.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use arc_swap::ArcSwapOption;

use super::{Cache, CachedValue, Lookup, Slot};
use crate::params::Params;
use crate::query_list::RegisteredQuery;

/// A query with its parameters bound: reads its value without looking up anything.
///
/// Clone it for each thread; every clone keeps the place in the cache from being evicted.
#[derive(Clone)]
pub struct PreparedQuery {
    cache: Cache,
    query: RegisteredQuery,
    params: Params,
    slot: Arc<Slot>,
    /// Remembers the value last seen, and asks the slot only whether it is still the one.
    value: arc_swap::cache::Cache<SlotValue, Option<Arc<CachedValue>>>,
}

#[derive(Clone)]
struct SlotValue(Arc<Slot>);

// === impl PreparedQuery ===

impl PreparedQuery {
    pub(super) fn new(cache: Cache, query: RegisteredQuery, params: Params, slot: Arc<Slot>) -> Self {
        let value = arc_swap::cache::Cache::new(SlotValue(Arc::clone(&slot)));
        Self {
            cache,
            query,
            params,
            slot,
            value,
        }
    }

    /// The query.
    pub fn query(&self) -> &RegisteredQuery {
        &self.query
    }

    /// The parameters bound.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// The value, unless it expired more than the cache's `max_stale` ago.
    pub fn get(&mut self) -> Option<&CachedValue> {
        let inner = &*self.cache.0;
        let now = inner.clock.now();
        self.slot.touch(now);
        let value = self.value.load().as_deref();
        match value {
            Some(value) if inner.count_hit(value, now) => Some(value),
            _ => {
                inner.misses.increment();
                None
            }
        }
    }

    /// What there is, or why there is nothing.
    pub fn lookup(&self) -> Lookup {
        self.cache.lookup(&self.query, &self.params)
    }
}

impl fmt::Debug for PreparedQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PreparedQuery")
            .field("query", self.query.name())
            .field("params", &self.params)
            .finish()
    }
}

// === impl SlotValue ===

impl Deref for SlotValue {
    type Target = ArcSwapOption<CachedValue>;

    fn deref(&self) -> &Self::Target {
        &self.0.value
    }
}
