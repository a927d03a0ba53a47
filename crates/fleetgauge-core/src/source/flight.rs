//! One flight per key: whoever asks while a query is under way waits for the same answer, unless that may be
//! older than they accept.

use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use equivalent::Equivalent;
use hashbrown::HashMap;
use tokio::sync::Notify;

use crate::cache::{BuildKeyHasher, CacheKey, CachedValue, KeyRef};
use crate::error::QueryError;
use crate::time::Timestamp;

/// What a flight brings to all who wait for it.
pub(super) type FlightOutcome = Result<CachedValue, QueryError>;

/// The queries under way, by cache key and the time that was given, if one was.
#[derive(Default)]
pub(super) struct Flights(Mutex<FlightMap>);

type FlightMap = HashMap<FlightKey, Arc<Flight>, BuildKeyHasher>;

#[derive(Clone, PartialEq, Eq)]
struct FlightKey {
    key: CacheKey,
    at: Option<Timestamp>,
}

/// The same, borrowed from a caller's parameters.
pub(super) struct FlightKeyRef<'a> {
    pub(super) key: KeyRef<'a>,
    pub(super) at: Option<Timestamp>,
}

/// What a caller asks of the age of samples, or what a flight was started for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Freshness {
    pub(super) asked_at: Instant,
    pub(super) max_age: Option<Duration>,
}

/// A query under way.
pub(super) struct Flight {
    freshness: Freshness,
    outcome: OnceLock<FlightOutcome>,
    ended: Notify,
}

/// The duty to bring a flight to its end. Dropped before, as when the backend panics or the runtime shuts
/// down, it ends with what `aborted` gives: nobody waits forever, and the next caller starts anew.
pub(super) struct Leader<A: Fn(Instant) -> FlightOutcome> {
    flights: Arc<Flights>,
    key: FlightKey,
    aborted: A,
    flight: Arc<Flight>,
    /// When the latest try was sent; before the first, when it was asked for.
    pub(super) sent: Instant,
}

/// What [`Flights::join`] found.
pub(super) enum Joined<A: Fn(Instant) -> FlightOutcome> {
    /// A flight was under way.
    Follower(Arc<Flight>),
    /// There was none: the caller has to bring its outcome.
    Leader(Leader<A>, Arc<Flight>),
}

// === impl Freshness ===

impl Freshness {
    pub(super) fn now(max_age: Option<Duration>) -> Self {
        Self {
            asked_at: Instant::now(),
            max_age,
        }
    }

    /// Whether an answer that was asked for so is fresh enough for `other`.
    fn satisfies(self, other: Self) -> bool {
        match (self.max_age, other.max_age) {
            (None, None) => true,
            // Collected for the flight, or for one that was under way: when that began, nobody says.
            (None, Some(_)) => false,
            // "Now" shares what is under way, but not what may be from before.
            (Some(age), None) => age.is_zero(),
            (Some(age), Some(accepted)) => {
                // `asked_at - age`, without leaving what an `Instant` reaches.
                self.asked_at + accepted.min(MAX_AGE) >= other.asked_at + age.min(MAX_AGE)
            }
        }
    }
}

/// Longer than any sample is kept.
const MAX_AGE: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

// === impl Flights ===

impl Flights {
    /// The flight of `key` if its answer is fresh enough, or the duty to lead one. A flight whose answer may be
    /// too old is left to its followers; later callers join the new one.
    pub(super) fn join<A: Fn(Instant) -> FlightOutcome>(
        self: &Arc<Self>,
        key: FlightKeyRef<'_>,
        freshness: Freshness,
        aborted: A,
    ) -> Joined<A> {
        let mut flights = self.lock();
        if let Some(flight) = flights.get(&key)
            && flight.freshness.satisfies(freshness)
        {
            return Joined::Follower(Arc::clone(flight));
        }
        let flight = Arc::new(Flight {
            freshness,
            outcome: OnceLock::new(),
            ended: Notify::new(),
        });
        let key = FlightKey {
            key: key.key.to_owned(),
            at: key.at,
        };
        flights.insert(key.clone(), Arc::clone(&flight));
        let leader = Leader {
            flights: Arc::clone(self),
            key,
            aborted,
            flight: Arc::clone(&flight),
            sent: freshness.asked_at,
        };
        Joined::Leader(leader, flight)
    }

    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, FlightMap> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl FlightKey ===

impl Hash for FlightKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(mixed(self.key.hash_value(), self.at));
    }
}

impl Hash for FlightKeyRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(mixed(self.key.hash_value(), self.at));
    }
}

impl Equivalent<FlightKey> for FlightKeyRef<'_> {
    fn equivalent(&self, key: &FlightKey) -> bool {
        self.at == key.at && self.key.equivalent(&key.key)
    }
}

/// The hash of a key at a time: different times of one key are under way at once.
fn mixed(hash: u64, at: Option<Timestamp>) -> u64 {
    at.map_or(hash, |at| {
        // An odd number, with which no two times give the same.
        hash ^ (at.as_millis() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    })
}

// === impl Flight ===

impl Flight {
    /// What the flight brings, once it has ended.
    pub(super) async fn wait(&self) -> FlightOutcome {
        loop {
            let ended = self.ended.notified();
            if let Some(outcome) = self.outcome.get() {
                return outcome.clone();
            }
            ended.await;
        }
    }
}

// === impl Leader ===

impl<A: Fn(Instant) -> FlightOutcome> Leader<A> {
    pub(super) fn end(self, outcome: FlightOutcome) {
        // A flight has one leader, who ends it once.
        let _ = self.flight.outcome.set(outcome);
    }
}

impl<A: Fn(Instant) -> FlightOutcome> Drop for Leader<A> {
    fn drop(&mut self) {
        self.flight.outcome.get_or_init(|| (self.aborted)(self.sent));
        // Unless a fresher flight has taken its place.
        let mut flights = self.flights.lock();
        if flights
            .get(&self.key)
            .is_some_and(|flight| Arc::ptr_eq(flight, &self.flight))
        {
            flights.remove(&self.key);
        }
        drop(flights);
        self.flight.ended.notify_waiters();
    }
}
