//! Until when the series of readings are written. A process that stood still, or a clock that was set, leaves a time of which
//! nothing is written, or what no longer holds: the answers of that time say so.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fleetgauge_core::time::{Clock, Moment, Timestamp};
use fleetgauge_promql::missing::Read;

/// How much later than it is due a pass may be on a busy machine.
const LATE_BY: Duration = Duration::from_secs(1);

/// More of them are told as one, from the first to the last.
const MAX_GAPS: usize = 16;

/// When the readings were written.
///
/// Cheap to clone; clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Written {
    clock: Clock,
    /// What is written anew at this interval holds for so long.
    every: Duration,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    last: Option<Pass>,
    gaps: VecDeque<Unwritten>,
}

/// What has been written so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pass {
    /// When the series were written that were written first, and last.
    pub(super) oldest: Timestamp,
    pub(super) newest: Timestamp,
    /// When time alone makes a reading another one.
    pub(super) changes_at: Option<Moment>,
}

/// A time of which what should have been written was not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unwritten {
    from: Timestamp,
    to: Timestamp,
}

// === impl Written ===

impl Written {
    pub(super) fn new(clock: Clock, every: Duration) -> Self {
        Self {
            clock,
            every,
            state: Arc::default(),
        }
    }

    /// Says that a pass begins: what was late until now stays known, since whoever reads now may have read it before.
    pub(super) fn begin(&self) {
        let now = self.clock.wall();
        let mut state = self.state();
        let Some(late) = state.last.and_then(|last| self.late(last, now, now)) else {
            return;
        };
        state.gaps.push_back(late);
        if state.gaps.len() > MAX_GAPS {
            let first = state.gaps.pop_front();
            if let (Some(first), Some(second)) = (first, state.gaps.front_mut()) {
                second.from = first.from.min(second.from);
            }
        }
    }

    /// Says that a pass has ended; `None` where there are no readings.
    pub(super) fn end(&self, pass: Option<Pass>) {
        self.state().last = pass;
    }

    /// Forgets what no query reaches any more.
    pub(super) fn expire(&self, cutoff: Timestamp) {
        self.state().gaps.retain(|gap| gap.to >= cutoff);
    }

    /// What was not written of the time that `read` asks about.
    pub(super) fn lacks(&self, read: &Read<'_>) -> Option<Unwritten> {
        let now = self.clock.wall();
        let state = self.state();
        let since = if read.newest { read.to } else { read.since };
        let is_of = |gap: &&Unwritten| gap.from < read.to && since < gap.to;
        let known = state.gaps.iter().find(is_of).copied();
        known.or_else(|| self.late(state.last?, read.to, now))
    }

    /// The time before `to`, asked for at `now`, of which there should have been another pass.
    fn late(&self, last: Pass, to: Timestamp, now: Timestamp) -> Option<Unwritten> {
        let is_of_now = now.saturating_since(to) <= self.every;
        let Pass { oldest, newest, .. } = last;
        if newest.saturating_since(now) > LATE_BY {
            // The clock was set back.
            return (is_of_now && to < newest).then_some(Unwritten { from: to, to: newest });
        }
        let to = to.min(now);
        let holds_until = oldest.saturating_add(self.every.saturating_add(LATE_BY));
        if holds_until < to {
            return Some(Unwritten {
                from: holds_until,
                to,
            });
        }
        let overdue = self.clock.now().saturating_since(last.changes_at?);
        (overdue > LATE_BY && is_of_now).then_some(Unwritten {
            from: newest.min(to),
            to,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Pass ===

impl Pass {
    /// What both have written.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            oldest: self.oldest.min(other.oldest),
            newest: self.newest.max(other.newest),
            changes_at: self.changes_at.into_iter().chain(other.changes_at).min(),
        }
    }
}

// === impl Unwritten ===

impl fmt::Display for Unwritten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to } = self;
        write!(
            f,
            "readings were not written from {from} to {to}: this process stood still, or its clock was set"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_secs(30);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    /// What is lacking of the instant `asked`.
    fn lacks(written: &Written, asked: i64) -> Option<(i64, i64)> {
        let gap = written.lacks(&Read::newest(&[], at(asked - 300), at(asked)))?;
        Some((gap.from.as_millis() / 1_000, gap.to.as_millis() / 1_000))
    }

    fn pass(seconds: i64, changes_at: Option<Moment>) -> Option<Pass> {
        Some(Pass {
            oldest: at(seconds),
            newest: at(seconds),
            changes_at,
        })
    }

    #[test]
    fn what_is_not_written_anew_in_time_is_lacking_also_later() {
        let (clock, hand) = Clock::manual(at(1_000));
        let written = Written::new(clock, EVERY);
        assert_eq!(lacks(&written, 1_000), None);
        written.end(pass(1_000, None));
        hand.advance(Duration::from_secs(31));
        assert_eq!(lacks(&written, 1_031), None);
        hand.advance(Duration::from_secs(100));
        assert_eq!(lacks(&written, 1_131), Some((1_031, 1_131)));
        assert_eq!(lacks(&written, 1_020), None);
        written.begin();
        written.end(pass(1_131, None));
        // Whoever asked before it was written may have read what was there before.
        assert_eq!(lacks(&written, 1_130), Some((1_031, 1_131)));
        assert_eq!(lacks(&written, 1_131), None);
        written.expire(at(1_132));
        assert_eq!(lacks(&written, 1_130), None);
        // Without readings there are none to be written.
        written.end(None);
        hand.advance(Duration::from_secs(1_000));
        assert_eq!(lacks(&written, 2_131), None);
    }

    #[test]
    fn what_time_alone_has_changed_is_lacking_until_it_is_written() {
        let (clock, hand) = Clock::manual(at(1_000));
        let written = Written::new(clock.clone(), EVERY);
        let changes_at = clock.now().saturating_add(Duration::from_secs(5));
        written.end(pass(1_000, Some(changes_at)));
        hand.advance(Duration::from_secs(6));
        assert_eq!(lacks(&written, 1_006), None);
        hand.advance(Duration::from_secs(2));
        assert_eq!(lacks(&written, 1_008), Some((1_000, 1_008)));
    }

    #[test]
    fn a_clock_that_is_set_makes_what_was_written_of_another_time() {
        let (clock, hand) = Clock::manual(at(10_000));
        let written = Written::new(clock, EVERY);
        written.end(pass(10_000, None));
        hand.set_wall(at(13_600));
        assert_eq!(lacks(&written, 13_600), Some((10_031, 13_600)));
        hand.set_wall(at(9_900));
        assert_eq!(lacks(&written, 9_900), Some((9_900, 10_000)));
        assert_eq!(lacks(&written, 9_000), None);
    }
}
