//! When a target is scraped, and how its pages are dated.

use std::hash::BuildHasher;
use std::time::Duration;

use fleetgauge_core::target::Target;
use fleetgauge_core::time::{Clock, Timestamp};
use foldhash::fast::FixedState;
use tokio::time::Instant;

/// The ticks of one target.
///
/// Targets are spread over the interval by a hash, so that they do not all come at once; and a target keeps
/// its place when this process starts again, as in Prometheus.
pub(super) struct Schedule {
    interval: Duration,
    next: Instant,
    /// The wall time of a tick, from which the others are counted.
    anchor: Option<(Instant, i64)>,
}

/// How much later than its tick a page may be scraped and be dated by the tick nevertheless, as part of the
/// interval. The window keeps samples at even distances in less memory.
const TOLERANCE: u32 = 100;
const MAX_TOLERANCE: Duration = Duration::from_millis(10);

// === impl Schedule ===

impl Schedule {
    pub(super) fn new(interval: Duration, target: &Target, clock: &Clock) -> Self {
        let wall = clock.wall().as_millis();
        Self {
            next: Instant::now() + first_delay(interval, target, wall),
            interval,
            anchor: None,
        }
    }

    /// Waits for the next tick, and gives it. Ticks that were missed are left out.
    pub(super) async fn tick(&mut self) -> Instant {
        tokio::time::sleep_until(self.next).await;
        let due = self.next;
        let late = Instant::now().saturating_duration_since(due);
        let missed = late.as_nanos() / self.interval.as_nanos().max(1);
        let missed = u32::try_from(missed).unwrap_or(u32::MAX - 1);
        self.next = due + self.interval.saturating_mul(missed + 1);
        due
    }

    /// The date of a page that is scraped at `wall` for the tick `due`: that of the tick, if it is only a
    /// little late.
    pub(super) fn date(&mut self, due: Instant, wall: Timestamp) -> Timestamp {
        let tolerance = (self.interval / TOLERANCE).min(MAX_TOLERANCE);
        if let Some((anchor, millis)) = self.anchor {
            let since = due.saturating_duration_since(anchor);
            let aligned = Timestamp::from_millis(millis).saturating_add(since);
            let late = wall.as_millis().saturating_sub(aligned.as_millis());
            if late >= 0 && u128::from(late.unsigned_abs()) <= tolerance.as_millis() {
                return aligned;
            }
        }
        // The wall clock was set, or goes faster than the other one.
        self.anchor = Some((due, wall.as_millis()));
        wall
    }
}

fn first_delay(interval: Duration, target: &Target, wall_millis: i64) -> Duration {
    let interval = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX).max(1);
    let offset = FixedState::default().hash_one(target) % interval;
    let now = wall_millis.unsigned_abs() % interval;
    Duration::from_millis((offset + interval - now) % interval)
}

#[cfg(test)]
mod tests {
    use fleetgauge_core::target::{ADDRESS, TargetDefaults, TargetLabels};

    use super::*;

    fn targets(count: usize) -> Vec<Target> {
        let addresses = (0..count).map(|i| format!("10.0.0.1:{}", i + 1));
        let made = |address: String| {
            let labels = TargetLabels::from([(ADDRESS.to_owned(), address)]);
            Target::from_labels(&labels, &TargetDefaults::default()).unwrap()
        };
        addresses.map(made).collect()
    }

    #[test]
    fn targets_are_spread_over_the_interval() {
        let interval = Duration::from_secs(10);
        let mut tenths = [0; 10];
        for target in targets(1_000) {
            let delay = first_delay(interval, &target, 1_763_930_000_123);
            tenths[delay.as_secs() as usize] += 1;
        }
        assert!(tenths.iter().all(|&n| (60..150).contains(&n)), "{tenths:?}");
    }

    #[test]
    fn a_target_keeps_its_place() {
        let interval = Duration::from_secs(10);
        let target = &targets(1)[0];
        let place = |wall: i64| (wall + first_delay(interval, target, wall).as_millis() as i64) % 10_000;
        assert_eq!(place(1_763_930_000_000), place(1_763_930_004_321));
    }

    #[tokio::test]
    async fn pages_are_dated_by_their_tick_if_they_are_a_little_late() {
        let start = Instant::now();
        let mut schedule = Schedule {
            interval: Duration::from_secs(1),
            next: start,
            anchor: None,
        };
        let mut check = |tick: u64, wall: i64, expected: i64| {
            let due = start + Duration::from_secs(tick);
            let dated = schedule.date(due, Timestamp::from_millis(wall));
            assert_eq!(dated.as_millis(), expected, "tick {tick}");
        };
        check(0, 1_003, 1_003);
        check(1, 2_004, 2_003);
        check(3, 4_013, 4_003);
        // Too late, and before the tick: the clocks differ.
        check(4, 5_020, 5_020);
        check(5, 6_019, 6_019);
        check(6, 7_029, 7_019);
        // The wall clock is set back.
        check(7, 500, 500);
        check(8, 1_501, 1_500);
    }
}
