//! Whether the daemon may be asked: a rolling update must not replace warm replicas by blind ones.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fleetgauge_core::time::Moment;

use crate::store::Store;

/// How many metrics are named that are waited for.
const NAMED: usize = 5;

/// Whether the daemon may be asked.
///
/// Cheap to clone; clones tell the same.
#[derive(Clone, Debug)]
pub struct Readiness(Arc<Inner>);

struct Inner {
    store: Store,
    since: Moment,
    /// How long metrics are waited for.
    ready_after: Duration,
    is_ending: AtomicBool,
    /// What is to be known before it is known what there is to answer.
    unknown: Mutex<Option<String>>,
    /// What doors need beside numbers.
    needed: Mutex<Vec<Needed>>,
}

/// Tells what is waited for, if it is.
type Needed = Box<dyn Fn() -> Result<(), String> + Send + Sync>;

impl Readiness {
    /// That of a daemon that has just begun to fill `store`. It is ready when each metric was answered or has failed; one
    /// whose samples have only begun to come is waited for, for at most `ready_after`.
    pub fn new(store: Store, ready_after: Duration) -> Self {
        let since = store.clock().now();
        Self(Arc::new(Inner {
            store,
            since,
            ready_after,
            is_ending: AtomicBool::new(false),
            unknown: Mutex::default(),
            needed: Mutex::default(),
        }))
    }

    /// Says that the daemon is ending: it is ready no more.
    pub fn end(&self) {
        self.0.is_ending.store(true, Ordering::Release);
    }

    /// Says what is to be known first, before it is known what there is to answer; `None` when it is.
    pub fn wait_for(&self, what: Option<String>) {
        *self.0.unknown.lock().unwrap_or_else(PoisonError::into_inner) = what;
    }

    /// Says what a door needs before it can answer anybody: it is asked whenever the daemon is, and tells what is waited for.
    pub fn need(&self, check: impl Fn() -> Result<(), String> + Send + Sync + 'static) {
        let mut needed = self.0.needed.lock().unwrap_or_else(PoisonError::into_inner);
        needed.push(Box::new(check));
    }

    /// Whether it may be asked.
    ///
    /// *Errors*: what is waited for.
    pub fn check(&self) -> Result<(), String> {
        let Inner {
            store,
            since,
            ready_after,
            is_ending,
            unknown,
            needed,
        } = &*self.0;
        if is_ending.load(Ordering::Acquire) {
            return Err("the daemon is shutting down".to_owned());
        }
        let passed = store.clock().now().saturating_since(*since);
        let left = ready_after.saturating_sub(passed);
        if left.is_zero() {
            return Ok(());
        }
        if let Some(what) = &*unknown.lock().unwrap_or_else(PoisonError::into_inner) {
            return Err(format!("waiting for {what}"));
        }
        let needed = needed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(what) = needed.iter().find_map(|check| check().err()) {
            return Err(format!("waiting for {what}"));
        }
        let all = store.all();
        let waiting = all
            .iter()
            .filter(|entry| entry.parts().iter().any(|part| !part.is_settled()));
        let mut names: Vec<&str> = waiting.map(|entry| entry.spec().name.as_str()).collect();
        let count = names.len();
        if count == 0 {
            return Ok(());
        }
        names.truncate(NAMED);
        let more = match count - names.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        Err(format!(
            "waiting for the first answers of {}{more}, or until their samples reach back far enough; for {} s at most",
            names.join(", "),
            left.as_millis().div_ceil(1_000)
        ))
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readiness").finish_non_exhaustive()
    }
}
