//! One flight per key: whoever asks while a query is under way waits for the same answer.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use hashbrown::HashMap;
use tokio::sync::Notify;

use super::QueryError;
use crate::backend::FetchError;
use crate::cache::{BuildKeyHasher, CacheKey, CachedValue, KeyRef};
use crate::query::QueryName;

/// What a flight brings to all who wait for it.
pub(super) type Landed = Result<Arc<CachedValue>, QueryError>;

/// The queries under way, by cache key.
#[derive(Default)]
pub(super) struct Flights(Mutex<HashMap<CacheKey, Arc<Flight>, BuildKeyHasher>>);

/// A query under way.
pub(super) struct Flight {
    landed: OnceLock<Landed>,
    landing: Notify,
}

/// The duty to land a flight. Dropped without having landed, as when the backend panics or the runtime
/// shuts down, it lands as aborted: nobody waits forever, and the next caller starts anew.
pub(super) struct Pilot {
    flights: Arc<Flights>,
    key: CacheKey,
    query: QueryName,
    flight: Arc<Flight>,
}

/// What [`Flights::board`] found.
pub(super) enum Boarding {
    /// A flight was under way.
    Passenger(Arc<Flight>),
    /// There was none: the caller has to fly.
    Pilot(Pilot, Arc<Flight>),
}

// === impl Flights ===

impl Flights {
    /// The flight of `key`, or the duty to fly it.
    pub(super) fn board(self: &Arc<Self>, key: KeyRef<'_>, query: &QueryName) -> Boarding {
        let mut flights = self.lock();
        if let Some(flight) = flights.get(&key) {
            return Boarding::Passenger(Arc::clone(flight));
        }
        let flight = Arc::new(Flight {
            landed: OnceLock::new(),
            landing: Notify::new(),
        });
        let key = key.to_owned();
        flights.insert(key.clone(), Arc::clone(&flight));
        let pilot = Pilot {
            flights: Arc::clone(self),
            key,
            query: query.clone(),
            flight: Arc::clone(&flight),
        };
        Boarding::Pilot(pilot, flight)
    }

    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<CacheKey, Arc<Flight>, BuildKeyHasher>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Flight ===

impl Flight {
    /// What the flight brings, once it has landed.
    pub(super) async fn wait(&self) -> Landed {
        loop {
            let landing = self.landing.notified();
            if let Some(landed) = self.landed.get() {
                return landed.clone();
            }
            landing.await;
        }
    }
}

// === impl Pilot ===

impl Pilot {
    pub(super) fn land(self, landed: Landed) {
        // A flight has one pilot, who lands once.
        let _ = self.flight.landed.set(landed);
    }
}

impl Drop for Pilot {
    fn drop(&mut self) {
        let _ = self
            .flight
            .landed
            .set(Err(QueryError::fetch(&self.query, FetchError::Aborted)));
        self.flights.lock().remove(&self.key);
        self.flight.landing.notify_waiters();
    }
}
