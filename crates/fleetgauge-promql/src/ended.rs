//! Which series have ended that a range still reads, in words.

use std::collections::BTreeMap;
use std::time::Duration;

use fleetgauge_core::age::Age;
use fleetgauge_core::pod::PodIdentity;

use crate::label::LabelSet;

/// Whose series have ended, each with what is told of the one that is read for longest.
#[derive(Debug, Default)]
pub(crate) struct Ended {
    /// Of each the age, and for how long it is still read. *Unit*: milliseconds.
    who: BTreeMap<String, (Option<Duration>, i64)>,
    more: bool,
}

/// How many are known.
const MAX_KNOWN: usize = 100;

/// How many are named.
const MAX_NAMED: usize = 3;

// === impl Ended ===

impl Ended {
    /// Notes a series of this age, which is read for `left` milliseconds yet.
    pub(crate) fn add(&mut self, labels: &LabelSet, age: Age, left: i64) {
        let who = match PodIdentity::of(|name| labels.get(name)) {
            Some(pod) => format!("pod {pod}"),
            None => match labels.get("instance") {
                Some(instance) => format!("instance {instance}"),
                None => labels.to_string(),
            },
        };
        if self.who.len() >= MAX_KNOWN && !self.who.contains_key(&who) {
            self.more = true;
            return;
        }
        let known = self.who.entry(who).or_insert((age.duration(), left));
        if left > known.1 {
            *known = (age.duration(), left);
        }
    }

    /// All of them in words, if there are any.
    pub(crate) fn told(&self) -> Option<String> {
        let mut who: Vec<_> = self.who.iter().collect();
        who.sort_by_key(|(_, (_, left))| std::cmp::Reverse(*left));
        let longest = who.first()?.1.1;
        let named = who.iter().take(MAX_NAMED).map(|(who, (age, _))| match age {
            Some(age) => format!("{who} ({} s ago)", age.as_secs()),
            None => (*who).clone(),
        });
        let named: Vec<_> = named.collect();
        let more = match (who.len() - named.len(), self.more) {
            (0, false) => String::new(),
            (more, false) => format!(" and {more} more"),
            (_, true) => " and many more".to_owned(),
        };
        let seconds = longest.max(0).unsigned_abs().div_ceil(1_000);
        Some(format!(
            "{}{more}; the query looks back at it for {seconds} s more",
            named.join(", ")
        ))
    }
}
