//! The values of an answer that are native histograms. Most answers have none, and then it takes no room.

use std::ops::Range;

use crate::histogram::Histogram;

/// Some of an answer's values, by their places among all of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Histograms {
    /// Ascending.
    places: Vec<usize>,
    histograms: Vec<Histogram>,
}

/// An answer has a native histogram where numbers were asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the native histogram {series}, which is no number; reduce it in the query, as with histogram_quantile or histogram_count"
)]
#[non_exhaustive]
pub struct NotANumber {
    /// The series that has it, or the beginning of its labels.
    pub series: Box<str>,
}

/// So much is told of the labels of a series.
const MAX_SHOWN: usize = 200;

// === impl Histograms ===

impl Histograms {
    /// Adds one, behind all others.
    pub(super) fn push(&mut self, place: usize, histogram: Histogram) {
        self.places.push(place);
        self.histograms.push(histogram);
    }

    /// Takes those away that are at `len` or behind it.
    pub(super) fn truncate(&mut self, len: usize) {
        let kept = self.places.partition_point(|&place| place < len);
        self.places.truncate(kept);
        self.histograms.truncate(kept);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The one at `place`, if there is one.
    pub(super) fn at(&self, place: usize) -> Option<&Histogram> {
        let found = self.places.binary_search(&place).ok()?;
        Some(&self.histograms[found])
    }

    /// Whether there is one at one of `places`.
    pub(super) fn is_among(&self, places: Range<usize>) -> bool {
        let next = self.places.partition_point(|&place| place < places.start);
        self.places.get(next).is_some_and(|&place| place < places.end)
    }

    /// The place of the first one.
    pub(super) fn first(&self) -> Option<usize> {
        self.places.first().copied()
    }

    pub(super) fn shrink(&mut self) {
        self.places.shrink_to_fit();
        self.histograms.shrink_to_fit();
    }

    /// *Unit*: bytes.
    pub(super) fn heap_bytes(&self) -> usize {
        let buckets: usize = self.histograms.iter().map(Histogram::heap_bytes).sum();
        self.places.capacity() * size_of::<usize>()
            + self.histograms.capacity() * size_of::<Histogram>()
            + buckets
    }
}

// === impl NotANumber ===

impl NotANumber {
    pub(super) fn of(series: &str) -> Self {
        Self {
            series: match series.char_indices().nth(MAX_SHOWN) {
                Some((end, _)) => format!("{}…", &series[..end]).into(),
                None => series.into(),
            },
        }
    }
}
