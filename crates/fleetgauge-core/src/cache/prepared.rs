//! A handle for reading one key in a loop.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::lookup::Lookup;
use super::slot::{Slot, State};
use super::store::Cache;
use super::value::CachedValue;
use crate::params::Params;
use crate::query_list::RegisteredQuery;

/// A query with its parameters bound: reads its value without looking up anything.
///
/// Clone it for each thread; every clone keeps the place in the cache from being evicted. When the query is
/// replaced or removed in its list, the place goes: there is no value any more, and [`lookup`](Self::lookup)
/// says [`Replaced`](Lookup::Replaced).
#[derive(Clone)]
pub struct PreparedQuery {
    cache: Cache,
    query: RegisteredQuery,
    params: Params,
    slot: Arc<Slot>,
    /// Remembers the state last seen, and asks the slot only whether it is still the one.
    state: arc_swap::cache::Cache<SlotState, Arc<State>>,
}

#[derive(Clone)]
struct SlotState(Arc<Slot>);

// === impl Cache ===

impl Cache {
    /// A handle for reading `query` with `params` over and over: the key is looked up once, here. The
    /// handle keeps its place from being evicted.
    ///
    /// `None` where the cache is full of places that are held so.
    pub fn prepare(&self, query: &RegisteredQuery, params: &Params) -> Option<PreparedQuery> {
        let slot = self.held_slot(query, params)?;
        Some(PreparedQuery {
            cache: self.clone(),
            query: query.clone(),
            params: params.clone(),
            state: arc_swap::cache::Cache::new(SlotState(Arc::clone(&slot))),
            slot,
        })
    }
}

// === impl PreparedQuery ===

impl PreparedQuery {
    /// The query.
    pub fn query(&self) -> &RegisteredQuery {
        &self.query
    }

    /// The parameters bound.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// The value, unless it expired more than the cache's `max_stale` ago, or the query was replaced.
    pub fn get(&mut self) -> Option<&CachedValue> {
        let now = self.cache.now();
        self.slot.touch(now);
        let state = self.state.load();
        self.cache.is_hit(state, now).then(|| state.value())?
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

// === impl SlotState ===

impl Deref for SlotState {
    type Target = ArcSwap<State>;

    fn deref(&self) -> &Self::Target {
        self.0.pointer()
    }
}
