//! Where an evaluation reads its samples: a [`Window`], or anything else that holds series.

use std::sync::Arc;
use std::time::Duration;

use fleetgauge_core::time::Timestamp;

use crate::label::LabelSet;
use crate::missing::{Missing, Read};
use crate::window::{Matcher, Sample, Series, Window};

/// Holds series that PromQL can be evaluated over.
pub trait Queryable: Send + Sync {
    /// The series that fit all `matchers` and have samples from `from` to `to`, both included.
    ///
    /// *Shape*: sorted by labels, each label set once, so that what is computed over them does not depend on
    /// how they are stored. A series without samples there may be among them.
    fn select(&self, matchers: &[Matcher], from: Timestamp, to: Timestamp) -> Vec<Arc<dyn SeriesSamples>>;

    /// Adds why samples may be missing from what is read: they were refused, could not be read, or were
    /// dropped. Holders that know of nothing add nothing.
    fn missing(&self, _read: Read<'_>, _into: &mut Missing) {}
}

/// One series of a [`Queryable`].
pub trait SeriesSamples: Send + Sync {
    /// What identifies the series.
    fn labels(&self) -> &LabelSet;

    /// Appends the samples from `from` to `to`, both included, to `times` (in milliseconds) and `values`.
    ///
    /// *Shape*: oldest first, staleness markers included; as many times as values.
    fn read(&self, from: Timestamp, to: Timestamp, times: &mut Vec<i64>, values: &mut Vec<f64>);

    /// The newest sample at `at` that is younger than `lookback`; none if the series went stale before.
    fn at(&self, at: Timestamp, lookback: Duration) -> Option<Sample>;
}

// === impl Window ===

impl Queryable for Window {
    fn select(&self, matchers: &[Matcher], from: Timestamp, to: Timestamp) -> Vec<Arc<dyn SeriesSamples>> {
        let series = Window::select(self, matchers, from, to);
        series.into_iter().map(|s| s as Arc<dyn SeriesSamples>).collect()
    }

    fn missing(&self, read: Read<'_>, into: &mut Missing) {
        Window::missing(self, read, into);
    }
}

impl SeriesSamples for Series {
    fn labels(&self) -> &LabelSet {
        Series::labels(self)
    }

    fn read(&self, from: Timestamp, to: Timestamp, times: &mut Vec<i64>, values: &mut Vec<f64>) {
        Series::read(self, from, to, times, values);
    }

    fn at(&self, at: Timestamp, lookback: Duration) -> Option<Sample> {
        Series::at(self, at, lookback)
    }
}
