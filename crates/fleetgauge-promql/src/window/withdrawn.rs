//! The metrics that a target exposed and exposes no longer, though it answers.
//!
//! That they have no samples is what PromQL sees, and a sum over targets then shrinks as if there were less to sum.

use std::collections::{BTreeMap, BTreeSet};

use fleetgauge_core::time::Timestamp;

/// How many are known by name.
const MAX_NAMED: usize = 1_000;

/// Metrics of one target with the time of the first page that lacked them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Withdrawn {
    named: BTreeMap<Box<str>, Timestamp>,
    /// The first page that lacked one whose name is not kept, since there are too many.
    unnamed: Option<Timestamp>,
}

// === impl Withdrawn ===

impl Withdrawn {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.named.is_empty() && self.unnamed.is_none()
    }

    /// Each with the time of the first page that lacked it; the name is `None` for those beyond the thousandth.
    pub fn iter(&self) -> impl Iterator<Item = (Option<&str>, Timestamp)> {
        let named = self.named.iter().map(|(name, at)| (Some(&**name), *at));
        named.chain(self.unnamed.map(|at| (None, at)))
    }

    /// Notes that `metrics` were not on the page of `at`, but on the one before.
    pub(super) fn add(&mut self, metrics: &BTreeSet<&str>, at: Timestamp) {
        for metric in metrics {
            if self.named.len() < MAX_NAMED {
                self.named.entry((*metric).into()).or_insert(at);
            } else if !self.named.contains_key(*metric) {
                self.unnamed.get_or_insert(at);
            }
        }
    }

    /// Notes that the metric is exposed.
    pub(super) fn remove(&mut self, metric: &str) {
        self.named.remove(metric);
    }
}
