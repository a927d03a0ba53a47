//! How many queries a backend is asked a second: what is more waits for its turn, and none is dropped.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Turns that are evenly spread.
#[derive(Debug)]
pub(super) struct Pace {
    apart: Duration,
    /// Whose turn is next: whoever holds it, and then those who wait for it, in their order.
    first: tokio::sync::Mutex<()>,
    /// When the next turn is.
    next: Mutex<Option<Instant>>,
}

/// A rate that is lower is taken for one turn in a day.
const MAX_APART: Duration = Duration::from_secs(86_400);

// === impl Pace ===

impl Pace {
    /// So many turns a second; `None` where that is no rate.
    pub(super) fn new(per_second: f64) -> Option<Self> {
        (per_second > 0.0 && per_second.is_finite()).then(|| Self {
            apart: Duration::try_from_secs_f64(per_second.recip())
                .map_or(MAX_APART, |apart| apart.min(MAX_APART)),
            first: tokio::sync::Mutex::default(),
            next: Mutex::default(),
        })
    }

    /// Waits for a turn, in the order of asking.
    pub(super) async fn turn(&self) {
        let _first = self.first.lock().await;
        loop {
            let now = Instant::now();
            let at = {
                let mut next = self.next();
                let at = next.unwrap_or(now);
                if at <= now {
                    *next = Some(now + self.apart);
                    return;
                }
                at
            };
            // It may be later by then: the one before may have asked more.
            tokio::time::sleep_until(at).await;
        }
    }

    /// Says that so many more were asked: the next turn is later by as much.
    pub(super) fn spend(&self, turns: usize) {
        let turns = u32::try_from(turns).unwrap_or(u32::MAX);
        let spent = self.apart.saturating_mul(turns).min(MAX_APART);
        let mut next = self.next();
        let from = next.unwrap_or_else(Instant::now).max(Instant::now());
        *next = Some(from + spent);
    }

    fn next(&self) -> MutexGuard<'_, Option<Instant>> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_rate_bounds_nothing() {
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(Pace::new(rate).is_none(), "{rate}");
        }
        assert_eq!(Pace::new(1e-300).unwrap().apart, MAX_APART);
    }

    #[tokio::test(start_paused = true)]
    async fn turns_are_apart_and_what_was_spent_counts() {
        let pace = Pace::new(4.0).unwrap();
        let begun = Instant::now();
        let at = async || {
            pace.turn().await;
            begun.elapsed().as_millis()
        };
        assert_eq!([at().await, at().await, at().await], [0, 250, 500]);
        pace.spend(2);
        assert_eq!([at().await, at().await], [1250, 1500]);
        pace.spend(0);
        assert_eq!(at().await, 1750);
        // A pause is not made up for.
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!([at().await, at().await], [11_750, 12_000]);
    }
}
