//! The values of all keys, and who reads, writes and removes them.

use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::key::{BuildKeyHasher, CacheKey, KeyRef};
use super::lookup::{CachedRef, Lookup};
use super::slot::{Slot, State, StateRef};
use super::value::{CachedValue, Failure};
use crate::counter::Counter;
use crate::error::QueryError;
use crate::params::Params;
use crate::query::Shape;
use crate::query_list::RegisteredQuery;
use crate::result::MetricResult;
use crate::time::{Clock, Moment};

/// How long values hold, and how many are kept.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct CacheConfig {
    /// How long a value holds where its query does not say. Default: 30 s.
    pub default_ttl: Duration,
    /// How long past its expiry a value is still returned, marked expired. Default: 0, nothing expired is
    /// returned.
    pub max_stale: Duration,
    /// How many keys are kept at most; at least 1. Beyond it the least recently read ones go. Default:
    /// 10,000.
    pub max_entries: usize,
}

/// The cached answers of one source.
///
/// Cheap to clone; clones show the same values. A [`CachedSource`](crate::source::CachedSource) has one;
/// those who fetch by other means can use it alone:
///
/// ```
/// use fleetgauge_core::cache::{Cache, CacheConfig};
/// use fleetgauge_core::params::Params;
/// use fleetgauge_core::query::QueryTemplate;
/// use fleetgauge_core::query_list::QueryList;
/// use fleetgauge_core::result::{Answer, MetricResult};
/// use fleetgauge_core::time::Clock;
///
/// let queries = QueryList::new();
/// queries.must_register(QueryTemplate::promql("up", "up"));
/// let up = queries.find("up")?;
///
/// let clock = Clock::system();
/// let cache = Cache::new(CacheConfig::default(), clock.clone());
/// cache.store(&up, &Params::new(), MetricResult::new(up.name().clone(), clock.wall(), Answer::no_data()));
/// assert!(cache.get(&up, &Params::new()).unwrap().result().is_no_data());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Cache(Arc<Inner>);

/// Counts of a cache since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheStats {
    /// Reads that found a value.
    pub hits: u64,
    /// Those of the hits whose value was expired, within `max_stale`.
    pub stale_hits: u64,
    /// Reads that found none.
    pub misses: u64,
    /// Keys that went because there were too many.
    pub evictions: u64,
    /// Keys kept now.
    pub entries: usize,
    /// The age of the oldest value kept.
    pub oldest: Option<Duration>,
}

struct Inner {
    config: CacheConfig,
    clock: Clock,
    slots: papaya::HashMap<CacheKey, Arc<Slot>, BuildKeyHasher>,
    /// Held by who adds, replaces or removes: a sweep must not remove a slot that is just being filled.
    writing: Mutex<()>,
    hits: Counter,
    stale_hits: Counter,
    misses: Counter,
    evictions: AtomicU64,
    sweeper: Mutex<Option<Sweeper>>,
}

/// Ends the background task when the cache is dropped.
struct Sweeper(tokio::task::AbortHandle);

// === impl CacheConfig ===

impl Default for CacheConfig {
    fn default() -> Self {
        Self {
            default_ttl: Duration::from_secs(30),
            max_stale: Duration::ZERO,
            max_entries: 10_000,
        }
    }
}

// === impl Cache ===

impl Cache {
    /// An empty cache.
    pub fn new(config: CacheConfig, clock: Clock) -> Self {
        Self(Arc::new(Inner {
            config,
            clock,
            slots: papaya::HashMap::default(),
            writing: Mutex::new(()),
            hits: Counter::default(),
            stale_hits: Counter::default(),
            misses: Counter::default(),
            evictions: AtomicU64::new(0),
            sweeper: Mutex::new(None),
        }))
    }

    /// The value of `query` with `params`, unless it expired more than `max_stale` ago.
    pub fn get(&self, query: &RegisteredQuery, params: &Params) -> Option<CachedRef> {
        self.read(&KeyRef::new(query, params, Shape::Instant))?.ok()
    }

    /// What there is of `query` with `params`, or why there is nothing.
    pub fn lookup(&self, query: &RegisteredQuery, params: &Params) -> Lookup {
        self.lookup_shape(query, params, Shape::Instant)
    }

    /// What there is of `query` with `params` in this shape, or why there is nothing.
    pub fn lookup_shape(&self, query: &RegisteredQuery, params: &Params, shape: Shape) -> Lookup {
        match self.read(&KeyRef::new(query, params, shape)) {
            Some(Ok(value)) => Lookup::Value(value),
            Some(Err((state, now))) => Lookup::of_absent(&state, now),
            None if query.is_replaced() => Lookup::Replaced,
            None => Lookup::NeverRefreshed,
        }
    }

    /// Keeps `result` as the value of its key, in place of the one before, as what was asked for just now.
    pub fn store(&self, query: &RegisteredQuery, params: &Params, result: MetricResult) -> CachedValue {
        self.store_sent(query, params, Shape::Instant, result, Instant::now())
    }

    /// Keeps `result`, which was asked for at `sent` in this shape, as the value of its key, unless the key has the answer
    /// to what was sent later.
    ///
    /// Returns the value, whether it is kept or not.
    pub fn store_sent(
        &self,
        query: &RegisteredQuery,
        params: &Params,
        shape: Shape,
        result: MetricResult,
        sent: Instant,
    ) -> CachedValue {
        let value = self.value(query, result, sent);
        self.0
            .update(query, params, shape, |state| state.with_answer(value.clone()));
        value
    }

    /// The last good answer of `query` with `params` in this shape, however old it is.
    pub(crate) fn held(&self, query: &RegisteredQuery, params: &Params, shape: Shape) -> Option<CachedValue> {
        let slots = self.0.slots.pin();
        let slot = slots.get(&KeyRef::new(query, params, shape))?;
        slot.load().value().cloned()
    }

    /// `result` as a value of `query`, which is not kept.
    pub(crate) fn value(&self, query: &RegisteredQuery, result: MetricResult, sent: Instant) -> CachedValue {
        let Inner { config, clock, .. } = &*self.0;
        let ttl = query.template().ttl.unwrap_or(config.default_ttl);
        CachedValue::new(result, sent, ttl, config.max_stale, clock)
    }

    /// Records that a refresh which was sent just now failed, beside the last good value.
    pub fn record_failure(&self, query: &RegisteredQuery, params: &Params, error: QueryError) {
        self.record_failure_sent(query, params, Shape::Instant, error, Instant::now());
    }

    /// Records that a refresh which was sent at `sent` failed, beside the last good value, unless the key has
    /// the answer to what was sent later, or its failure.
    pub fn record_failure_sent(
        &self,
        query: &RegisteredQuery,
        params: &Params,
        shape: Shape,
        error: QueryError,
        sent: Instant,
    ) {
        let at = self.0.clock.wall();
        let failure = Failure::new(error, at, sent);
        self.0
            .update(query, params, shape, |state| state.with_failure(failure));
    }

    /// Removes all that is kept of `queries`, which were replaced or removed in their list. Who has prepared one
    /// of them is told by [`Lookup::Replaced`], and no longer holds a place.
    ///
    /// A [`CachedSource`](crate::source::CachedSource) does so itself.
    pub fn forget(&self, queries: &[RegisteredQuery]) {
        let gone: HashSet<_> = queries.iter().map(RegisteredQuery::id).collect();
        let _writing = self.0.write();
        self.0.slots.pin().retain(|key, slot| {
            let stays = !gone.contains(&key.query_id());
            if !stays {
                slot.set_replaced();
            }
            stays
        });
    }

    pub(crate) fn downgrade(&self) -> impl Fn() -> Option<Cache> + Send + Sync + use<> {
        let inner = Arc::downgrade(&self.0);
        move || inner.upgrade().map(Cache)
    }

    /// Removes values that are expired beyond `max_stale`, and ranges of which no step lies in their window any more;
    /// then, when nobody has asked for a key for as
    /// long as the default TTL, what is known of why it has no value.
    ///
    /// Returns how many keys went.
    pub fn sweep(&self) -> usize {
        let _writing = self.0.write();
        let now = self.0.clock.now();
        let before = self.0.slots.len();
        self.0.slots.pin().retain(|_, slot| {
            slot.update(|state| state.without_expired(now));
            let idle = now.whole_seconds().saturating_sub(slot.last_read());
            let forgotten = idle > self.0.config.default_ttl.as_secs();
            is_held(slot) || slot.load().value().is_some() || !forgotten
        });
        before - self.0.slots.len()
    }

    /// Sweeps every `interval` in the background of the current Tokio runtime, until the cache is dropped
    /// or the runtime ends. Does nothing where a sweeper runs already.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub fn sweep_in_background(&self, interval: Duration) {
        let mut sweeper = self.0.sweeper.lock().unwrap_or_else(PoisonError::into_inner);
        if sweeper.as_ref().is_some_and(|running| !running.0.is_finished()) {
            return;
        }
        let cache = Arc::downgrade(&self.0);
        let task = tokio::spawn(async move {
            loop {
                tokio::time::sleep(interval).await;
                let Some(inner) = cache.upgrade() else { return };
                Cache(inner).sweep();
            }
        });
        *sweeper = Some(Sweeper(task.abort_handle()));
    }

    /// Counts since the cache was made. Looks at every key.
    pub fn stats(&self) -> CacheStats {
        let now = self.0.clock.now();
        let slots = self.0.slots.pin();
        let ages = slots
            .values()
            .filter_map(|slot| slot.load().value().map(|value| value.age_at(now)));
        CacheStats {
            hits: self.0.hits.sum(),
            stale_hits: self.0.stale_hits.sum(),
            misses: self.0.misses.sum(),
            evictions: self.0.evictions.load(Ordering::Relaxed),
            entries: slots.len(),
            oldest: ages.max(),
        }
    }
}

impl Cache {
    /// The place of `query` with `params`, which is not evicted while the caller holds it. `None` where all that
    /// there is room for is held.
    pub(super) fn held_slot(&self, query: &RegisteredQuery, params: &Params) -> Option<Arc<Slot>> {
        let writing = self.0.write();
        if query.is_replaced() {
            return Some(Arc::new(Slot::replaced()));
        }
        self.0.slot(KeyRef::new(query, params, Shape::Instant), &writing)
    }

    #[inline]
    pub(super) fn now(&self) -> Moment {
        self.0.clock.now()
    }

    /// Whether what is known at `now` is a value that may be returned; counts the read.
    #[inline]
    pub(super) fn is_hit(&self, state: &State, now: Moment) -> bool {
        match state.value() {
            Some(value) if !value.is_gone_at(now) => {
                if value.is_expired_at(now) {
                    self.0.stale_hits.increment();
                }
                self.0.hits.increment();
                true
            }
            _ => {
                self.0.misses.increment();
                false
            }
        }
    }

    /// The value of `key`; otherwise all that is known of it, and when it was asked. `None` where nothing is.
    #[inline]
    fn read(&self, key: &KeyRef<'_>) -> Option<Result<CachedRef, (StateRef, Moment)>> {
        let now = self.0.clock.now();
        let slots = self.0.slots.pin();
        let Some(slot) = slots.get(key) else {
            self.0.misses.increment();
            return None;
        };
        slot.touch(now);
        // Loaded once: an absence that is told is that of the value which was not returned.
        let state = slot.load();
        Some(if self.is_hit(&state, now) {
            Ok(CachedRef::new(state))
        } else {
            Err((state, now))
        })
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("config", &self.0.config)
            .field("stats", &self.stats())
            .finish()
    }
}

// === impl Inner ===

impl Inner {
    fn write(&self) -> MutexGuard<'_, ()> {
        // The lock guards no data that a panic could leave half-written.
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces what is known of a key by what `change` makes of it, if it makes anything of it and the key has
    /// a place. Those of replaced queries have none.
    fn update(
        &self,
        query: &RegisteredQuery,
        params: &Params,
        shape: Shape,
        change: impl FnOnce(&State) -> Option<State>,
    ) {
        let writing = self.write();
        if query.is_replaced() {
            return;
        }
        if let Some(slot) = self.slot(KeyRef::new(query, params, shape), &writing) {
            slot.touch(self.clock.now());
            slot.update(change);
        }
    }

    /// The place of `key`, made if there is room, or room can be made.
    fn slot(&self, key: KeyRef<'_>, writing: &MutexGuard<'_, ()>) -> Option<Arc<Slot>> {
        let slots = self.slots.pin();
        if let Some(slot) = slots.get(&key) {
            return Some(Arc::clone(slot));
        }
        if slots.len() >= self.config.max_entries && !self.evict(writing) {
            return None;
        }
        let slot = Arc::new(Slot::new(self.clock.now()));
        slots.insert(key.to_owned(), Arc::clone(&slot));
        Some(slot)
    }

    /// Makes room: the sixteenth of the keys that was not read for longest goes at once, so that the search
    /// for it is paid seldom. Whether anything could go.
    fn evict(&self, _writing: &MutexGuard<'_, ()>) -> bool {
        let slots = self.slots.pin();
        let free = slots.iter().filter(|(_, slot)| !is_held(slot));
        let mut oldest: Vec<_> = free.map(|(key, slot)| (slot.last_read(), key)).collect();
        let count = (self.config.max_entries / 16).max(1).min(oldest.len());
        if count < oldest.len() {
            oldest.select_nth_unstable_by_key(count, |&(last_read, _)| last_read);
        }
        oldest[..count].iter().for_each(|&(_, key)| {
            slots.remove(key);
        });
        self.evictions.fetch_add(count as u64, Ordering::Relaxed);
        count > 0
    }
}

/// Whether a prepared query holds on to the slot. The map's own reference is the one; all others are made
/// under the write lock.
fn is_held(slot: &Arc<Slot>) -> bool {
    Arc::strong_count(slot) > 1
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests;
