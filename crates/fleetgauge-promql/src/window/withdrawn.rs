//! The metrics that a target exposed and exposes no longer, though it answers.
//!
//! That they have no samples is what PromQL sees, and a sum over targets then shrinks as if there were less to sum.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use fleetgauge_core::time::Timestamp;

/// How many are known by name.
const MAX_NAMED: usize = 1_000;

/// Metrics of one target, with the times at which its pages lacked them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Withdrawn {
    named: BTreeMap<Box<str>, Timestamp>,
    /// The first page that lacked one whose name is not kept, since there are too many.
    unnamed: Option<Timestamp>,
    /// Those that are exposed again, or by a process that began anew, the ones that came back first at the front.
    back: VecDeque<Lacked>,
}

/// What pages lacked for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lacked {
    /// The metric; `None` for one of many whose names are not kept.
    pub metric: Option<Box<str>>,
    /// The time of the first page that lacked it.
    pub from: Timestamp,
    /// The time of the first page that had it again; `None` while it is lacking.
    pub to: Option<Timestamp>,
}

/// What is known of a target that was let go, for when it is back.
#[derive(Clone, Debug, Default)]
pub struct Past {
    pub(super) withdrawn: Withdrawn,
    /// The metrics that it exposed. Targets of one kind share them.
    pub(super) exposed: Arc<BTreeSet<Box<str>>>,
}

// === impl Withdrawn ===

impl Withdrawn {
    /// Whether there are none, nor were any.
    pub fn is_empty(&self) -> bool {
        !self.has_open() && self.back.is_empty()
    }

    /// Each with the time of the first page that lacked it; the name is `None` for those beyond the thousandth.
    pub fn iter(&self) -> impl Iterator<Item = (Option<&str>, Timestamp)> {
        let named = self.named.iter().map(|(name, at)| (Some(&**name), *at));
        named.chain(self.unnamed.map(|at| (None, at)))
    }

    /// Those that were lacking for a while.
    pub fn back(&self) -> impl Iterator<Item = &Lacked> {
        self.back.iter()
    }

    pub(super) fn has_open(&self) -> bool {
        !self.named.is_empty() || self.unnamed.is_some()
    }

    /// Notes that `metrics` were not on the page of `at`, but on the one before.
    pub(super) fn add<'a>(&mut self, metrics: impl IntoIterator<Item = &'a str>, at: Timestamp) {
        for metric in metrics {
            if self.named.len() < MAX_NAMED {
                self.named.entry(metric.into()).or_insert(at);
            } else if !self.named.contains_key(metric) {
                self.unnamed.get_or_insert(at);
            }
        }
    }

    /// Notes that the metric is exposed, on the page of `at`.
    pub(super) fn remove(&mut self, metric: &str, at: Timestamp) {
        if let Some((metric, from)) = self.named.remove_entry(metric) {
            self.came_back(Some(metric), from, at);
        }
    }

    /// Notes that the process began anew before the page of `at`: what is lacking may be exposed later.
    pub(super) fn began_anew(&mut self, at: Timestamp) {
        let named = std::mem::take(&mut self.named).into_iter();
        let named = named.map(|(metric, from)| (Some(metric), from));
        for (metric, from) in named.chain(self.unnamed.take().map(|from| (None, from))) {
            self.came_back(metric, from, at);
        }
    }

    /// Forgets what came back before `cutoff`.
    pub(super) fn expire(&mut self, cutoff: Timestamp) {
        self.back
            .retain(|lacked| lacked.to.is_some_and(|to| to >= cutoff));
    }

    fn came_back(&mut self, metric: Option<Box<str>>, from: Timestamp, to: Timestamp) {
        if from >= to {
            return;
        }
        let to = Some(to);
        self.back.push_back(Lacked { metric, from, to });
        // Too many are told as one, of any metric.
        if self.back.len() > MAX_NAMED
            && let Some(first) = self.back.pop_front()
            && let Some(second) = self.back.front_mut()
        {
            *second = Lacked {
                metric: None,
                from: first.from.min(second.from),
                to: first.to.max(second.to),
            };
        }
    }
}

// === impl Past ===

impl Past {
    /// Whether it exposed nothing.
    pub fn is_empty(&self) -> bool {
        self.exposed.is_empty() && self.withdrawn.is_empty()
    }

    /// The same, with the names of `other` where both exposed the same.
    #[must_use]
    pub fn sharing(mut self, other: &Self) -> Self {
        if self.exposed == other.exposed {
            self.exposed = Arc::clone(&other.exposed);
        }
        self
    }
}
