//! Since when the samples of a target are whole: what a range asks for may reach back before its first scrape, or over a
//! time in which it did not answer.
//!
//! A counter that is read for the first time has grown before, by nobody knows how much: its increase over ten minutes is
//! not the little that was seen of it. Only where the process itself is as young is there nothing to miss.

use std::collections::VecDeque;
use std::time::Duration;

use fleetgauge_core::time::Timestamp;

/// What is known of the times at which a target was scraped.
#[derive(Debug, Default)]
pub(super) struct Coverage {
    /// When it was discovered, if it was not there before.
    is_new_since: Option<Timestamp>,
    scraped: Option<Scraped>,
    /// Times without samples, oldest first.
    gaps: VecDeque<Gap>,
    /// The last of them in which the process began anew: what was before is not missing from a range, but a given time in it
    /// has no value.
    restarted: Option<Gap>,
}

/// From the first scrape that succeeded to the last one.
#[derive(Clone, Copy, Debug)]
struct Scraped {
    first: Timestamp,
    last: Timestamp,
    /// When the process that was scraped first began, if it says so.
    process_start: Option<Timestamp>,
}

/// From the last scrape that succeeded to the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gap {
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
}

/// How far scrapes are apart, and what follows from it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spacing {
    /// So much is always missing at the beginning of a range.
    pub(super) interval: Duration,
    /// How long a scrape may take.
    pub(super) timeout: Duration,
    /// What is longer is a gap: values are let go after it.
    pub(super) stale_after: Duration,
    /// How long a process may take from its start to its first answer.
    pub(super) starting_for: Duration,
}

/// More of them are told as one, from the first to the last.
const MAX_GAPS: usize = 16;

/// How much later than at its tick a scrape may begin on a busy machine.
const LATE_BY: Duration = Duration::from_secs(1);

/// By how much the clocks of a process and of its scraper may differ.
const CLOCKS_DIFFER_BY: Duration = Duration::from_secs(5);

// === impl Coverage ===

impl Coverage {
    /// Of a target that has not been scraped yet, and was discovered then if it is new.
    pub(super) fn new(is_new_since: Option<Timestamp>) -> Self {
        Self {
            is_new_since,
            ..Self::default()
        }
    }

    /// Says that a scrape that began at `at` succeeded; `process_start` is what the page says of it.
    pub(super) fn scraped(&mut self, at: Timestamp, process_start: Option<Timestamp>, spacing: Spacing) {
        // A start that is yet to come is none.
        let process_start = process_start.filter(|&start| start <= at.saturating_add(CLOCKS_DIFFER_BY));
        let Some(scraped) = &mut self.scraped else {
            self.scraped = Some(Scraped {
                first: at,
                last: at,
                process_start,
            });
            return;
        };
        let gap = Gap {
            from: scraped.last,
            to: at,
        };
        scraped.last = at;
        // A process that began meanwhile has nothing to be missed of the time before.
        let began_meanwhile = process_start.is_some_and(|start| start > gap.from);
        if gap.length() > spacing.stale_after && began_meanwhile {
            self.restarted = Some(gap);
        } else if gap.length() > spacing.stale_after {
            self.gaps.push_back(gap);
            if self.gaps.len() > MAX_GAPS {
                let first = self.gaps.pop_front();
                if let (Some(first), Some(second)) = (first, self.gaps.front_mut()) {
                    second.from = first.from;
                }
            }
        }
    }

    /// Whether a scrape has succeeded.
    pub(super) fn has_answered(&self) -> bool {
        self.scraped.is_some()
    }

    /// When it answered for the first time, if that was after `time`.
    pub(super) fn first_after(&self, time: Timestamp) -> Option<Timestamp> {
        let first = self.scraped?.first;
        (first > time).then_some(first)
    }

    /// The first time without samples of what is asked for from `since` to `to`, if there is one that counts. Of a target
    /// that has never answered this is not known.
    pub(super) fn lacks(&self, since: Timestamp, to: Timestamp, spacing: Spacing) -> Option<Gap> {
        let scraped = self.scraped?;
        let begun = self
            .begun(scraped, spacing)
            .map_or(since, |begun| begun.max(since));
        let before = Gap {
            from: begun,
            to: scraped.first,
        };
        let is_instant = since == to;
        // A range begins within an interval before its first sample. A given time before it has none, however short that is:
        // a target may answer for the first time while others are read.
        let is_before = if is_instant {
            to < scraped.first
        } else {
            before.length() > spacing.interval
        };
        if begun <= to && is_before {
            return Some(before);
        }
        let is_lacking = |gap: &&Gap| {
            let (from, until) = (gap.from.max(since), gap.to.min(to));
            if is_instant {
                // Its last values stood for a while.
                return gap.from.saturating_add(spacing.stale_after) < to && to < gap.to;
            }
            until.saturating_since(from) > spacing.interval
        };
        let restarted = self.restarted.iter().filter(|_| is_instant);
        self.gaps.iter().chain(restarted).find(is_lacking).copied()
    }

    /// The time from `newest`, the newest scrape that a query could read, to `to`, which it asks for at `now`, if that is
    /// longer than scrapes are apart: this process stood still, or its clock was set, and what is read is of before. Of a
    /// clock that was set back, the times from `now` to `newest` come twice, and what is read is of the first time.
    pub(super) fn ends_before(
        newest: Timestamp,
        to: Timestamp,
        now: Timestamp,
        spacing: Spacing,
    ) -> Option<Gap> {
        let apart = spacing
            .interval
            .saturating_add(spacing.timeout)
            .saturating_add(LATE_BY);
        if newest.saturating_since(now) > LATE_BY {
            let is_of_now = to < newest && now.saturating_since(to) <= apart;
            return is_of_now.then_some(Gap { from: to, to: newest });
        }
        // What is yet to come is not missing.
        let to = to.min(now);
        (to.saturating_since(newest) > apart).then_some(Gap { from: newest, to })
    }

    /// When it began, as far as that is known: nothing is missing of what was before.
    fn begun(&self, scraped: Scraped, spacing: Spacing) -> Option<Timestamp> {
        let Scraped {
            first, process_start, ..
        } = scraped;
        let in_time = |since: Timestamp| first.saturating_since(since) <= spacing.starting_for;
        // Discovered when it was new, and asked ever since: before its first answer it had nothing to tell.
        let is_new = self.is_new_since.is_some_and(in_time) && process_start.is_none_or(in_time);
        if is_new { Some(first) } else { process_start }
    }

    /// Forgets what no query reaches any more.
    pub(super) fn expire(&mut self, cutoff: Timestamp) {
        while self.gaps.front().is_some_and(|gap| gap.to < cutoff) {
            self.gaps.pop_front();
        }
    }
}

// === impl Gap ===

impl Gap {
    fn length(self) -> Duration {
        self.to.saturating_since(self.from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPACING: Spacing = Spacing {
        interval: Duration::from_secs(15),
        timeout: Duration::from_secs(10),
        stale_after: Duration::from_secs(75),
        starting_for: Duration::from_secs(600),
    };

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    /// A target that is scraped at these times, and at each says when its process began.
    fn target(is_new_since: Option<i64>, scrapes: &[(i64, Option<i64>)]) -> Coverage {
        let mut coverage = Coverage::new(is_new_since.map(at));
        for &(time, start) in scrapes {
            coverage.scraped(at(time), start.map(at), SPACING);
        }
        coverage
    }

    fn lacks(coverage: &Coverage, since: i64, to: i64) -> Option<(i64, i64)> {
        let gap = coverage.lacks(at(since), at(to), SPACING)?;
        Some((gap.from.as_millis() / 1_000, gap.to.as_millis() / 1_000))
    }

    #[test]
    fn a_range_before_the_first_scrape_lacks_what_the_process_did_before() {
        let check = |is_new_since, first: (i64, Option<i64>), expected| {
            let coverage = target(is_new_since, &[first]);
            assert_eq!(
                lacks(&coverage, 9_420, 10_020),
                expected,
                "{is_new_since:?} {first:?}"
            );
        };
        check(None, (10_000, None), Some((9_420, 10_000)));
        // Ranges begin within an interval before their first sample.
        check(None, (9_435, None), None);
        check(None, (9_436, None), Some((9_420, 9_436)));
        // A process that began within the range, and was scraped at once, or only later.
        check(None, (10_000, Some(9_990)), None);
        check(None, (10_000, Some(9_700)), Some((9_700, 10_000)));
        check(None, (10_000, Some(1_000)), Some((9_420, 10_000)));
        // A start that is yet to come tells nothing.
        check(None, (10_000, Some(20_000)), Some((9_420, 10_000)));
        // One that appeared while others were watched, and took a while to answer; or was there before it was found.
        check(Some(9_700), (10_000, None), None);
        check(Some(9_700), (10_000, Some(9_650)), None);
        check(Some(9_700), (10_000, Some(1_000)), Some((9_420, 10_000)));
        check(Some(9_300), (10_000, None), Some((9_420, 10_000)));
    }

    #[test]
    fn a_time_before_a_target_began_is_not_missing_from_it() {
        let coverage = target(None, &[(10_000, Some(9_995))]);
        assert_eq!(lacks(&coverage, 9_000, 9_000), None);
        let coverage = target(None, &[(10_000, None)]);
        assert_eq!(lacks(&coverage, 9_000, 9_000), Some((9_000, 10_000)));
        assert_eq!(lacks(&coverage, 10_000, 10_000), None);
        // One that answered just after what is asked for, as while the others were read.
        assert_eq!(lacks(&coverage, 9_999, 9_999), Some((9_999, 10_000)));
        let coverage = target(Some(9_700), &[(10_000, None)]);
        assert_eq!(lacks(&coverage, 9_999, 9_999), None);
        assert_eq!(lacks(&Coverage::default(), 0, 10), None);
    }

    #[test]
    fn a_range_over_a_gap_lacks_it_unless_the_process_began_in_it() {
        let scrapes = |start| [(0, None), (15, None), (200, start), (215, start)];
        let coverage = target(None, &scrapes(None));
        let gap = Some((15, 200));
        assert_eq!(lacks(&coverage, 0, 215), gap);
        assert_eq!(lacks(&coverage, 180, 215), gap);
        // As much as between any two scrapes.
        assert_eq!(lacks(&coverage, 185, 215), None);
        assert_eq!(lacks(&coverage, 90, 90), None);
        assert_eq!(lacks(&coverage, 91, 91), gap);
        assert_eq!(lacks(&coverage, 200, 200), None);
        let restarted = target(None, &scrapes(Some(100)));
        assert_eq!(lacks(&restarted, 0, 215), None);
        assert_eq!(lacks(&restarted, 199, 199), gap);
        assert_eq!(lacks(&restarted, 200, 200), None);
        assert_eq!(lacks(&target(None, &scrapes(Some(10))), 0, 215), gap);
        // One scrape that is lost is no gap.
        assert_eq!(lacks(&target(None, &[(0, None), (75, None)]), 0, 75), None);
    }

    #[test]
    fn what_is_asked_for_and_is_later_than_the_newest_scrape_by_far_is_lacking() {
        let check = |newest, to, now, expected: Option<(i64, i64)>| {
            let gap = Coverage::ends_before(at(newest), at(to), at(now), SPACING);
            let gap = gap.map(|gap| (gap.from.as_millis() / 1_000, gap.to.as_millis() / 1_000));
            assert_eq!(gap, expected, "{newest} {to} {now}");
        };
        check(1_000, 1_000, 1_000, None);
        // A scrape is under way that may yet end.
        check(1_000, 1_026, 1_026, None);
        check(1_000, 1_027, 1_027, Some((1_000, 1_027)));
        // Whoever asks for a time in the past, or one that is yet to come.
        check(1_000, 1_010, 2_000, None);
        check(1_000, 1_500, 2_000, Some((1_000, 1_500)));
        check(1_000, 9_000, 1_020, None);
        // The clock was set back: times just before now were lived through twice.
        check(1_000, 900, 900, Some((900, 1_000)));
        check(1_000, 890, 900, Some((890, 1_000)));
        check(1_000, 800, 900, None);
        check(1_000, 1_000, 970, None);
        // A page is dated just after another one.
        check(1_000, 999, 999, None);
    }

    #[test]
    fn many_gaps_are_one_and_those_out_of_reach_are_forgotten() {
        let scrapes: Vec<_> = (0..40).map(|i| (i * 100, None)).collect();
        let mut coverage = target(None, &scrapes);
        assert_eq!(coverage.gaps.len(), MAX_GAPS);
        assert_eq!(lacks(&coverage, 0, 150), Some((0, 2_400)));
        coverage.expire(at(3_000));
        assert_eq!(lacks(&coverage, 0, 2_500), None);
        assert_eq!(lacks(&coverage, 0, 3_100), Some((2_900, 3_000)));
    }
}
