//! Answers kept until they expire, read without waiting for anyone.
//!
//! A read hashes the key, loads one pointer and compares one clock: it takes no lock, allocates nothing and
//! never waits for a refresh. Writers take turns; there are few of them. A failed refresh never replaces a
//! good value: it is recorded beside it.

mod key;
mod prepared;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;

use crate::counter::Counter;
use crate::params::Params;
use crate::query_list::RegisteredQuery;
use crate::result::MetricResult;
use crate::source::QueryError;
use crate::time::{Clock, Moment, Timestamp};

pub(crate) use key::{BuildKeyHasher, CacheKey, KeyRef};
pub use prepared::PreparedQuery;

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

/// A value from the cache: the last good answer, and when it was had.
///
/// ```
/// # use fleetgauge_core::params::Params;
/// # use fleetgauge_core::query::QueryTemplate;
/// # use fleetgauge_core::source::{FixedBackend, MetricsSource, RefreshSpec};
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # let source = FixedBackend::new().values("queue_depth", [([("pod", "a")], 3.0)]).into_source();
/// # source.query_list().must_register(QueryTemplate::promql("queue_depth", "up"));
/// # source.refresh(RefreshSpec::all()).await;
/// if let Some(cached) = source.get("queue_depth", &Params::new())
///     && !cached.is_expired()
/// {
///     for value in cached.result().values() {
///         println!("{}: {} ({:?} ago)", value.label("pod"), value.value, cached.age());
///     }
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct CachedValue {
    result: Arc<MetricResult>,
    cached: Moment,
    expires: Moment,
    /// When it is too old to be returned at all.
    gone: Moment,
    cached_at: Timestamp,
    ttl: Duration,
    last_error: Option<Failure>,
    clock: Clock,
}

/// A refresh that failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Why.
    pub error: QueryError,
    /// When.
    pub at: Timestamp,
}

/// What a read found: absence has many meanings, and none of them is zero.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Lookup {
    /// A value that holds, or is expired by no more than the cache's `max_stale`.
    Value(Arc<CachedValue>),
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
    /// The question itself is wrong: no such query.
    Invalid(QueryError),
}

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

/// The place of one key. It outlives its values, so that a prepared query can hold on to it.
struct Slot {
    value: ArcSwapOption<CachedValue>,
    /// What is known while there is no value.
    absence: ArcSwapOption<Absence>,
    /// Whole seconds of monotonic time at the last read, for eviction.
    last_read: AtomicU64,
}

/// What is left of a key without a value.
struct Absence {
    /// When it had its last value.
    cached: Option<Moment>,
    last_error: Option<Failure>,
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
    pub fn get(&self, query: &RegisteredQuery, params: &Params) -> Option<Arc<CachedValue>> {
        let slots = self.0.slots.pin();
        let slot = slots.get(&KeyRef::new(query, params));
        let now = self.0.clock.now();
        let value = slot.and_then(|slot| {
            slot.touch(now);
            let value = slot.value.load();
            let value = value.as_ref()?;
            self.0.count_hit(value, now).then(|| Arc::clone(value))
        });
        if value.is_none() {
            self.0.misses.increment();
        }
        value
    }

    /// What there is of `query` with `params`, or why there is nothing.
    pub fn lookup(&self, query: &RegisteredQuery, params: &Params) -> Lookup {
        if let Some(value) = self.get(query, params) {
            return Lookup::Value(value);
        }
        match self.0.slots.pin().get(&KeyRef::new(query, params)) {
            Some(slot) => slot.absence(self.0.clock.now()),
            None => Lookup::NeverRefreshed,
        }
    }

    /// Keeps `result` as the value of its key, in place of the one before.
    pub fn store(&self, query: &RegisteredQuery, params: &Params, result: MetricResult) -> Arc<CachedValue> {
        let Inner { config, clock, .. } = &*self.0;
        let (cached, ttl) = (clock.now(), query.template().ttl.unwrap_or(config.default_ttl));
        let expires = cached.saturating_add(ttl);
        let value = Arc::new(CachedValue {
            cached,
            expires,
            gone: expires.saturating_add(config.max_stale),
            cached_at: result.collected_at(),
            result: Arc::new(result),
            ttl,
            last_error: None,
            clock: clock.clone(),
        });
        let writing = self.0.write();
        if let Some(slot) = self.0.slot(KeyRef::new(query, params), &writing) {
            slot.touch(value.cached);
            slot.value.store(Some(Arc::clone(&value)));
            slot.absence.store(None);
        }
        value
    }

    /// Records that a refresh failed, beside the last good value.
    pub fn record_failure(&self, query: &RegisteredQuery, params: &Params, error: QueryError) {
        let failure = Failure {
            error,
            at: self.0.clock.wall(),
        };
        let writing = self.0.write();
        let Some(slot) = self.0.slot(KeyRef::new(query, params), &writing) else {
            return;
        };
        slot.touch(self.0.clock.now());
        match &*slot.value.load() {
            Some(value) => slot.value.store(Some(Arc::new(value.with_failure(failure)))),
            None => {
                let cached = slot.absence.load().as_ref().and_then(|absence| absence.cached);
                slot.absence.store(Some(Arc::new(Absence {
                    cached,
                    last_error: Some(failure),
                })));
            }
        }
    }

    /// A handle for reading `query` with `params` over and over: the key is looked up once, here. The
    /// handle keeps its place from being evicted.
    ///
    /// `None` where the cache is full of places that are held so.
    pub fn prepare(&self, query: &RegisteredQuery, params: &Params) -> Option<PreparedQuery> {
        let writing = self.0.write();
        let slot = self.0.slot(KeyRef::new(query, params), &writing)?;
        Some(PreparedQuery::new(
            self.clone(),
            query.clone(),
            params.clone(),
            slot,
        ))
    }

    /// Removes values that are expired beyond `max_stale`, and then, when nobody has asked for a key for as
    /// long as the default TTL, what is known of why it has no value.
    ///
    /// Returns how many keys went.
    pub fn sweep(&self) -> usize {
        let _writing = self.0.write();
        let now = self.0.clock.now();
        let before = self.0.slots.len();
        self.0.slots.pin().retain(|_, slot| {
            if slot.value.load().as_ref().is_some_and(|value| now >= value.gone) {
                slot.expire();
            }
            let idle = now
                .whole_seconds()
                .saturating_sub(slot.last_read.load(Ordering::Relaxed));
            let forgotten = idle > self.0.config.default_ttl.as_secs();
            is_held(slot) || slot.value.load().is_some() || !forgotten
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
            .filter_map(|slot| slot.value.load().as_ref().map(|value| value.age_at(now)));
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

    /// Whether `value` may be returned at `now`; counts it if so.
    fn count_hit(&self, value: &CachedValue, now: Moment) -> bool {
        if now >= value.gone {
            return false;
        }
        if now >= value.expires {
            self.stale_hits.increment();
        }
        self.hits.increment();
        true
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
        let last_read = AtomicU64::new(self.clock.now().whole_seconds());
        let slot = Arc::new(Slot {
            value: ArcSwapOption::empty(),
            absence: ArcSwapOption::empty(),
            last_read,
        });
        slots.insert(key.to_owned(), Arc::clone(&slot));
        Some(slot)
    }

    /// Makes room: the sixteenth of the keys that was not read for longest goes at once, so that the search
    /// for it is paid seldom. Whether anything could go.
    fn evict(&self, _writing: &MutexGuard<'_, ()>) -> bool {
        let slots = self.slots.pin();
        let free = slots.iter().filter(|(_, slot)| !is_held(slot));
        let mut oldest: Vec<_> = free
            .map(|(key, slot)| (slot.last_read.load(Ordering::Relaxed), key))
            .collect();
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

// === impl Slot ===

impl Slot {
    /// Remembers that the slot was read. Writes only once a second, so that readers of one key do not fight
    /// for its cache line.
    fn touch(&self, now: Moment) {
        let now = now.whole_seconds();
        if self.last_read.load(Ordering::Relaxed) != now {
            self.last_read.store(now, Ordering::Relaxed);
        }
    }

    /// Drops the value, and keeps when it was had and what failed since.
    fn expire(&self) {
        if let Some(value) = self.value.swap(None) {
            let absence = Absence {
                cached: Some(value.cached),
                last_error: value.last_error.clone(),
            };
            self.absence.store(Some(Arc::new(absence)));
        }
    }

    /// Why there is no value to return.
    fn absence(&self, now: Moment) -> Lookup {
        if let Some(value) = &*self.value.load() {
            return Lookup::Expired {
                age: value.age_at(now),
                last_error: value.last_error.clone(),
            };
        }
        let absence = self.absence.load();
        match absence.as_deref() {
            Some(Absence {
                cached: Some(cached),
                last_error,
            }) => Lookup::Expired {
                age: now.saturating_since(*cached),
                last_error: last_error.clone(),
            },
            Some(Absence {
                cached: None,
                last_error: Some(failure),
            }) => Lookup::Failed(failure.clone()),
            Some(Absence {
                cached: None,
                last_error: None,
            })
            | None => Lookup::NeverRefreshed,
        }
    }
}

// === impl CachedValue ===

impl CachedValue {
    /// The last good answer.
    pub fn result(&self) -> &Arc<MetricResult> {
        &self.result
    }

    /// When the answer was had, by the wall clock.
    pub fn cached_at(&self) -> Timestamp {
        self.cached_at
    }

    /// When the answer expires, by the wall clock as it stood when the answer was had. What decides is
    /// monotonic time: ask [`is_expired`](Self::is_expired).
    pub fn expires_at(&self) -> Timestamp {
        self.cached_at.saturating_add(self.ttl)
    }

    /// Whether the answer no longer holds, now.
    pub fn is_expired(&self) -> bool {
        self.clock.now() >= self.expires
    }

    /// How long ago the answer was had. It says nothing of how old the samples behind it were then.
    pub fn age(&self) -> Duration {
        self.age_at(self.clock.now())
    }

    /// The failure of the latest refresh, if refreshes have failed since this answer was had.
    pub fn last_error(&self) -> Option<&Failure> {
        self.last_error.as_ref()
    }

    fn age_at(&self, now: Moment) -> Duration {
        now.saturating_since(self.cached)
    }

    fn with_failure(&self, failure: Failure) -> Self {
        Self {
            result: Arc::clone(&self.result),
            clock: self.clock.clone(),
            last_error: Some(failure),
            ..*self
        }
    }
}

// === impl Lookup ===

impl Lookup {
    /// The value, if there is one to return.
    pub fn value(self) -> Option<Arc<CachedValue>> {
        match self {
            Lookup::Value(value) => Some(value),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
