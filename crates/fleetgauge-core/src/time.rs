//! Two kinds of time that are never mixed, a [`Moment`] for what expires and a [`Timestamp`] for what is dated;
//! and durations as Prometheus writes them.
//!
//! A wall clock jumps when a node's time is set; a TTL must not. The clock is handed in, so that tests move
//! it by hand.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub use fleetgauge_syntax::duration::{DurationError, parse_duration, parse_seconds};

/// A point of wall time.
///
/// *Unit*: milliseconds since the Unix epoch, as Prometheus keeps them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// A point of monotonic time, only comparable with others of the same [`Clock`].
///
/// *Unit*: nanoseconds since the clock's own beginning, which reach for five centuries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(u64);

/// Where the time comes from: the system, or a test's hand.
///
/// Cheap to clone; clones show the same time.
#[derive(Clone, Debug, Default)]
pub struct Clock(Option<Arc<Hands>>);

/// Moves a manual [`Clock`].
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<Hands>);

#[derive(Debug)]
struct Hands {
    monotonic_ns: AtomicU64,
    wall_ms: AtomicI64,
}

// === impl Timestamp ===

impl Timestamp {
    /// From milliseconds since the Unix epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// From seconds since the Unix epoch, rounded to milliseconds. NaN becomes the epoch, what lies out of
    /// range its nearest bound.
    pub fn from_secs_f64(seconds: f64) -> Self {
        Self((seconds * 1000.0).round() as i64)
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Seconds since the Unix epoch.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    /// How long before `self` `earlier` was; zero if it was later, as when a wall clock was set back.
    pub fn saturating_since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// `self` and `duration` later; stays at the end of what can be told.
    pub fn saturating_add(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)),
        )
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let millis = |d: Duration| i64::try_from(d.as_millis()).unwrap_or(i64::MAX);
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Self(millis(after)),
            Err(before) => Self(-millis(before.duration())),
        }
    }
}

/// In seconds, as the Prometheus HTTP API writes it.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.as_secs_f64())
    }
}

// === impl Moment ===

impl Moment {
    /// How long before `self` `earlier` was; zero if it was later.
    pub fn saturating_since(self, earlier: Moment) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// `self` and `duration` later; stays at the end of what can be told.
    pub fn saturating_add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanos(duration)))
    }

    /// Seconds since the clock's own beginning, cut to whole ones.
    pub(crate) fn whole_seconds(self) -> u64 {
        self.0 / 1_000_000_000
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

// === impl Clock ===

impl Clock {
    /// The system's clocks. Monotonic time is read from the coarse clock of the kernel (a few milliseconds
    /// of resolution): it costs a quarter of the precise one, and TTLs are seconds.
    pub const fn system() -> Self {
        Self(None)
    }

    /// A clock that stands still until its [`ManualClock`] is moved; it starts at `wall`.
    pub fn manual(wall: Timestamp) -> (Self, ManualClock) {
        let hands = Hands {
            monotonic_ns: AtomicU64::new(0),
            wall_ms: AtomicI64::new(wall.0),
        };
        let hands = Arc::new(hands);
        (Self(Some(Arc::clone(&hands))), ManualClock(hands))
    }

    /// The monotonic time now.
    pub fn now(&self) -> Moment {
        Moment(match &self.0 {
            // Without the update of a cached time that all threads would write to.
            None => {
                let ticks = coarsetime::Instant::now_without_cache_update().as_ticks();
                coarsetime::Duration::from_ticks(ticks).as_nanos()
            }
            Some(hands) => hands.monotonic_ns.load(Ordering::Relaxed),
        })
    }

    /// The wall time now.
    pub fn wall(&self) -> Timestamp {
        match &self.0 {
            None => SystemTime::now().into(),
            Some(hands) => Timestamp(hands.wall_ms.load(Ordering::Relaxed)),
        }
    }
}

// === impl ManualClock ===

impl ManualClock {
    /// Lets `duration` pass on both clocks.
    pub fn advance(&self, duration: Duration) {
        self.0.monotonic_ns.fetch_add(nanos(duration), Ordering::Relaxed);
        self.0.wall_ms.fetch_add(
            i64::try_from(duration.as_millis()).unwrap_or(i64::MAX),
            Ordering::Relaxed,
        );
    }

    /// Sets the wall clock alone, as an administrator or NTP does.
    pub fn set_wall(&self, wall: Timestamp) {
        self.0.wall_ms.store(wall.0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn setting_the_wall_clock_leaves_monotonic_time_alone() {
        let (clock, hand) = Clock::manual(Timestamp::from_millis(1_000));
        let start = clock.now();
        hand.advance(Duration::from_secs(2));
        hand.set_wall(Timestamp::from_millis(-5));
        assert_eq!(clock.now().saturating_since(start), Duration::from_secs(2));
        assert_eq!(clock.wall().as_millis(), -5);
    }

    #[test]
    fn the_system_clock_never_goes_back() {
        let clock = Clock::system();
        let first = clock.now();
        assert!(clock.now() >= first);
        assert!(clock.wall() > Timestamp::from_secs_f64(1.7e9));
    }

    #[test]
    fn timestamps_survive_what_cannot_be_told() {
        assert_eq!(Timestamp::from_secs_f64(f64::NAN).as_millis(), 0);
        assert_eq!(Timestamp::from_secs_f64(1e300).as_millis(), i64::MAX);
        assert_eq!(
            Timestamp::from_millis(i64::MAX)
                .saturating_add(Duration::MAX)
                .as_millis(),
            i64::MAX
        );
        let early = Timestamp::from_millis(i64::MIN);
        assert_eq!(early.saturating_since(Timestamp::from_millis(0)), Duration::ZERO);
        assert_eq!(
            Timestamp::from_millis(1_763_930_000_500).to_string(),
            "1763930000.5"
        );
    }
}
