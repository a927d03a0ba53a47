//! A query with its parameters, and what the source says about it.

use std::sync::Arc;

use fleetgauge_core::printable::Printable;
use fleetgauge_core::result::MetricResult;

use super::fill::Filled;
use super::probe::{Failure, Probe};
use super::read::When;
use super::rename::Renames;

/// A query with its parameters, about which questions are asked.
pub(super) struct Subject<'e> {
    pub(super) probe: &'e Probe,
    pub(super) renames: &'e Renames,
    pub(super) filled: Filled,
}

// === impl Subject ===

impl Subject<'_> {
    pub(super) async fn ask(&self, text: &str) -> Result<Arc<MetricResult>, Failure> {
        self.probe.ask(text, &self.filled.params).await
    }

    /// When `metric` has been there last; `None`: not within the last hour.
    pub(super) async fn last_seen(&self, metric: &str) -> Result<Option<When>, Failure> {
        self.probe.last_seen(metric, &self.filled.params).await
    }

    /// The parameter that `text` stands in for, if it does.
    pub(super) fn stands_for(&self, text: &str) -> Option<&str> {
        let mut unknown = self.filled.unknown.iter();
        unknown.find(|one| one.stand_in == text).map(|one| &*one.param)
    }

    /// The parameters that nobody gave.
    pub(super) fn asked_with(&self) -> String {
        let chosen = &self.filled.chosen;
        if chosen.is_empty() {
            return String::new();
        }
        let chosen: Vec<_> = chosen
            .iter()
            .map(|(name, value)| {
                let value = Printable(value);
                format!("{name}={value}")
            })
            .collect();
        let others = match self.filled.others {
            0 => "",
            _ => ", of several; give others with -p",
        };
        format!(" (with {}{others})", chosen.join(", "))
    }
}
