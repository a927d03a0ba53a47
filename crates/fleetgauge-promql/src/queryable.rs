//! Where an evaluation reads its samples: a [`Window`](crate::window::Window), or anything else that holds series.

use std::ops::Range;
use std::time::Duration;

use fleetgauge_core::time::Timestamp;

use crate::label::LabelSet;
use crate::matcher::Matcher;
use crate::missing::{Missing, Read};
use crate::sample::{Sample, Samples};

/// Holds series that PromQL can be evaluated over.
pub trait Queryable: Send + Sync {
    /// The series that fit all `matchers` and have samples from `from` to `to`, both included.
    ///
    /// *Shape*: sorted by labels, each label set once, so that what is computed over them does not depend on
    /// how they are stored. A series without samples there may be among them.
    fn select(&self, matchers: &[Matcher], from: Timestamp, to: Timestamp) -> Box<dyn Selection + '_>;

    /// Adds why samples may be missing from what is read: they were refused, could not be read, or were
    /// dropped. Holders that know of nothing add nothing.
    fn missing(&self, _read: Read<'_>, _into: &mut Missing) {}
}

/// The series that [`Queryable::select`] found.
pub trait Selection {
    /// How many there are.
    fn len(&self) -> usize;

    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What identifies the series at `index`.
    fn labels(&self, index: usize) -> LabelSet;

    /// Appends the samples of the series at `index` from `from` to `to`, both included.
    ///
    /// *Shape*: oldest first, staleness markers included.
    fn read(&self, index: usize, from: Timestamp, to: Timestamp, into: &mut Samples);

    /// Appends for each series of `indices` its newest sample at `at` that is younger than `lookback`; none if
    /// the series went stale before.
    fn newest(
        &self,
        indices: Range<usize>,
        at: Timestamp,
        lookback: Duration,
        into: &mut Vec<Option<Sample>>,
    );

    /// Whether series came or went since they were selected, or were just coming or going: what was read of them
    /// may lack some, and have both the old and the new ones of a target.
    fn has_changed(&self) -> bool {
        false
    }
}
