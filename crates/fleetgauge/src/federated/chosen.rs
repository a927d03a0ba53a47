//! Which replica of a member answers what is computed.
//!
//! Replicas differ: each takes its samples at times of its own, and one may lack a pod. A number that is now of one and now of
//! the other moves without anything having moved. So the one that was chosen stays, until there is a reason.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use fleetgauge_core::time::Moment;

/// The replicas that were chosen last, by what was asked.
#[derive(Default)]
pub(super) struct Chosen(Mutex<HashMap<String, Choice>>);

struct Choice {
    replica: usize,
    at: Moment,
    /// Of each replica.
    pace: HashMap<usize, Pace>,
}

/// How the newest sample of a replica moves. *Unit*: seconds.
#[derive(Clone, Copy)]
struct Pace {
    newest: f64,
    /// By how much it moves at once, at most so far.
    step: Option<f64>,
}

/// A replica that has answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offer {
    pub(super) replica: usize,
    /// How much is known to be missing from what it answers.
    pub(super) losses: u64,
    /// The time of its newest sample. *Unit*: seconds since the Unix epoch.
    pub(super) newest: f64,
}

/// Another replica than before has been chosen.
#[derive(Debug, PartialEq)]
pub(super) struct Switch {
    pub(super) from: usize,
    pub(super) to: usize,
    /// `None` where the former one has not answered.
    pub(super) why: Option<String>,
}

/// By how much the samples of the one that was chosen may be older than those of another, where it is not known how far they
/// are apart. *Unit*: seconds.
const BEHIND: f64 = 15.0;
/// Where that is known, by how many times as much: more than one is missing then.
const STEPS_BEHIND: f64 = 1.5;
/// Samples are not taken for closer than that. *Unit*: seconds.
const MIN_BEHIND: f64 = 2.0;
/// Of how many questions it is known who answered.
const MAX_KNOWN: usize = 10_000;
/// How long it is known where there are as many.
const KNOWN_FOR: Duration = Duration::from_secs(300);

// === impl Chosen ===

impl Chosen {
    /// Those of `offers`, the one that counts first. `about` tells what was asked.
    pub(super) fn order(
        &self,
        about: &str,
        mut offers: Vec<Offer>,
        now: Moment,
    ) -> (Vec<usize>, Option<Switch>) {
        offers.sort_by(|a, b| {
            let by_losses = a.losses.cmp(&b.losses);
            let by_newest = b.newest.total_cmp(&a.newest);
            by_losses.then(by_newest).then(a.replica.cmp(&b.replica))
        });
        let mut order: Vec<usize> = offers.iter().map(|offer| offer.replica).collect();
        let Some(best) = offers.first() else {
            return (order, None);
        };
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_KNOWN && !known.contains_key(about) {
            known.retain(|_, choice| now.saturating_since(choice.at) < KNOWN_FOR);
            if known.len() >= MAX_KNOWN {
                return (order, None);
            }
        }
        let Some(choice) = known.get_mut(about) else {
            let mut choice = Choice {
                replica: best.replica,
                at: now,
                pace: HashMap::new(),
            };
            choice.moved(&offers);
            known.insert(about.to_owned(), choice);
            return (order, None);
        };
        choice.at = now;
        choice.moved(&offers);
        let before = offers.iter().find(|offer| offer.replica == choice.replica);
        let why = match before {
            Some(before) => choice.refused(before, best),
            None => Some(None),
        };
        let switch = why.map(|why| Switch {
            from: std::mem::replace(&mut choice.replica, best.replica),
            to: best.replica,
            why,
        });
        // The sort is stable.
        order.sort_by_key(|replica| *replica != choice.replica);
        (order, switch)
    }
}

// === impl Choice ===

impl Choice {
    fn moved(&mut self, offers: &[Offer]) {
        for offer in offers.iter().filter(|offer| offer.newest.is_finite()) {
            let pace = self.pace.entry(offer.replica).or_insert(Pace {
                newest: offer.newest,
                step: None,
            });
            let moved = offer.newest - pace.newest;
            if moved > 0.0 {
                pace.step = Some(pace.step.map_or(moved, |step| step.max(moved)));
            }
            pace.newest = offer.newest;
        }
    }

    /// Why `before`, which was chosen last, does not stay, if it does not.
    fn refused(&self, before: &Offer, best: &Offer) -> Option<Option<String>> {
        if before.replica == best.replica {
            return None;
        }
        if best.losses < before.losses {
            return Some(Some("less is missing from what it answers".to_owned()));
        }
        let step = self.pace.get(&before.replica).and_then(|pace| pace.step);
        let may_be = step.map_or(BEHIND, |step| (step * STEPS_BEHIND).max(MIN_BEHIND));
        let behind = best.newest - before.newest;
        match behind > may_be {
            true if behind.is_finite() => Some(Some(format!("its newest sample is {behind:.0} s newer"))),
            true => Some(Some("the other does not tell how new its samples are".to_owned())),
            false => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleetgauge_core::time::Clock;

    /// Offers `REPLICA:NEWEST`, `!` for each that is missing, one after the other; of each who answers, `*` where that is a switch.
    fn check(offers: &[&str], expected: &str) {
        let (chosen, now) = (Chosen::default(), Clock::system().now());
        let mut told = Vec::new();
        for offers in offers {
            let offers = offers.split(' ').map(|offer| {
                let (replica, newest) = offer.split_once(':').unwrap();
                Offer {
                    replica: replica.parse().unwrap(),
                    losses: newest.matches('!').count() as u64,
                    newest: newest.trim_end_matches('!').parse().unwrap(),
                }
            });
            let (order, switch) = chosen.order("queue", offers.collect(), now);
            let is_switch = switch.is_some();
            assert!(switch.is_none_or(|switch| switch.to == order[0] && switch.from != order[0]));
            told.push(format!("{}{}", order[0], if is_switch { "*" } else { "" }));
        }
        assert_eq!(told.join(" "), expected, "{offers:?}");
    }

    #[test]
    fn the_one_that_was_chosen_stays_until_there_is_a_reason() {
        // They are scraped in turns.
        check(
            &["0:100 1:107", "0:115 1:107", "0:115 1:122", "0:130 1:122"],
            "1 1 1 1",
        );
        // It fails, and the other one stays when it is back.
        check(
            &["0:100 1:100", "1:110", "0:120 1:120", "0:131 1:130"],
            "0 1* 1 1",
        );
        // One that lacks something is no match, and who is no better does not take its place.
        check(
            &["0:100 1:100", "0:110! 1:110", "0:120 1:120!", "0:130! 1:130!"],
            "0 1* 0* 0",
        );
        check(&["0:100! 1:100!!", "0:110! 1:110!"], "0 0");
    }

    #[test]
    fn one_that_takes_no_samples_any_more_is_left() {
        // Its samples are a second apart.
        check(
            &["0:100 1:100", "0:101 1:101", "0:101 1:102", "0:101 1:104"],
            "0 0 0 1*",
        );
        // Samples that are a minute apart, of which each is half a minute older than the other's in turns.
        check(
            &[
                "0:0 1:-30",
                "0:0 1:30",
                "0:60 1:30",
                "0:60 1:90",
                "0:120 1:90",
                "0:120 1:150",
                "0:300 1:150",
            ],
            "0 1* 1 1 1 1 0*",
        );
        // Nothing is known of how far they are apart.
        check(&["0:100 1:100", "0:100 1:114", "0:100 1:116"], "0 0 1*");
        check(&["0:100 1:-inf", "0:-inf 1:100"], "0 1*");
    }
}
