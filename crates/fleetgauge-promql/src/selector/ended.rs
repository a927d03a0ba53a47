//! Series that have ended while they are still read.

use fleetgauge_core::age::Age;

/// A series that has ended, by its place among those selected.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EndedSeries {
    pub(super) series: usize,
    pub(super) age: Age,
    /// For how long it is still read. *Unit*: milliseconds.
    pub(super) left: i64,
}
