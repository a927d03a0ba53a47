//! The series of a metric in the order of their labels, and those of them that have one value of a label without looking
//! at all others: most queries ask for the few pods of one workload.

use std::ops::{Index, Range};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use fleetgauge_core::time::Timestamp;

use super::newest_row::Place;
use super::series::Series;
use crate::label::{LabelList, Lookup, Memo};
use crate::matcher::{MatchOp, Matcher};
use crate::sample::Sample;

/// The series of a metric sorted by labels, so that each query need not.
#[derive(Debug, Default)]
pub(super) struct Sorted {
    series: Vec<Arc<Series>>,
    /// Where each has the sample of the newest row, so that a query need not go from one series to the next for it.
    places: Vec<Option<Place>>,
    labels: OnceLock<LabelList>,
    /// By the labels that were asked for.
    orders: Mutex<Vec<Order>>,
}

/// Positions of all series in the order of their values of one label; of those of equal values, in their own order.
#[derive(Clone, Debug)]
struct Order {
    name: Box<str>,
    positions: Arc<[u32]>,
}

/// Which of the series of a metric a selector may fit.
pub(super) enum Fitting {
    All,
    /// Those at these of the positions.
    Some(Arc<[u32]>, Range<usize>),
}

/// Fewer are looked at one by one.
const MIN_SERIES: usize = 64;

/// An order costs four bytes a series, and there are no more of a metric.
const MAX_ORDERS: usize = 8;

// === impl Sorted ===

impl Sorted {
    pub(super) fn new(mut series: Vec<Arc<Series>>) -> Self {
        series.sort_unstable_by(|a, b| a.labels().cmp(b.labels()));
        Self {
            places: series.iter().map(|series| series.place()).collect(),
            series,
            labels: OnceLock::new(),
            orders: Mutex::default(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.series.len()
    }

    /// Those of all series. The list is made when the first query needs it, and stays the same one.
    pub(super) fn labels(&self, memo: &Arc<Memo>) -> LabelList {
        let list = self.labels.get_or_init(|| {
            let labels = self.series.iter().map(|series| series.labels().clone());
            LabelList::kept(labels.collect(), Arc::clone(memo))
        });
        list.clone()
    }

    /// As [`Series::at`], of the series at a position.
    #[inline]
    pub(super) fn at(&self, position: usize, at: Timestamp, lookback: Duration) -> Option<Sample> {
        self.series[position].at_from(self.in_newest_row(position), at, lookback)
    }

    /// Whether the series at a position can have a sample from `from` to `to`, and is not gone.
    #[inline]
    pub(super) fn overlaps(&self, position: usize, from: i64, to: i64) -> bool {
        self.series[position].overlaps(self.in_newest_row(position), from, to)
    }

    #[inline]
    fn in_newest_row(&self, position: usize) -> Option<(i64, u64)> {
        self.places[position].as_ref()?.read()
    }

    /// The positions of the series that are `fitting`, sorted by labels.
    pub(super) fn positions<'a>(&self, fitting: &'a Fitting) -> Box<dyn Iterator<Item = usize> + 'a> {
        match fitting {
            Fitting::All => Box::new(0..self.series.len()),
            Fitting::Some(positions, range) => {
                let positions = positions[range.clone()].iter();
                Box::new(positions.map(|at| *at as usize))
            }
        }
    }

    /// The fewest series that hold all which `matchers` fit, by one of the values that they ask for.
    pub(super) fn fitting<'a>(&self, matchers: impl IntoIterator<Item = &'a Matcher>) -> Fitting {
        if self.series.len() < MIN_SERIES {
            return Fitting::All;
        }
        let equal = matchers.into_iter();
        let equal = equal.filter(|matcher| matcher.op() == MatchOp::Equal && !matcher.value().is_empty());
        let found = equal.filter_map(|matcher| {
            let positions = self.order(matcher.name())?;
            let range = self.range(&positions, matcher);
            Some((positions, range))
        });
        let fewest = found.min_by_key(|(_, range)| range.len());
        fewest.map_or(Fitting::All, |(positions, range)| Fitting::Some(positions, range))
    }

    /// The places in `positions` whose series have the value.
    fn range(&self, positions: &[u32], matcher: &Matcher) -> Range<usize> {
        let mut label = Lookup::new(matcher.name());
        let mut value = |at: &u32| label.get(self.series[*at as usize].labels());
        let start = positions.partition_point(|at| value(at) < matcher.value());
        let len = positions[start..].partition_point(|at| value(at) == matcher.value());
        start..start + len
    }

    /// The order by the label `name`; `None` if there are too many orders, or no series has the label.
    fn order(&self, name: &str) -> Option<Arc<[u32]>> {
        // Held while it is made: who comes meanwhile wants the same one.
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(order) = orders.iter().find(|order| *order.name == *name) {
            return Some(Arc::clone(&order.positions));
        }
        if orders.len() >= MAX_ORDERS {
            return None;
        }
        let count = u32::try_from(self.series.len()).ok()?;
        let mut label = Lookup::new(name);
        let values = self.series.iter().map(|series| label.get(series.labels()));
        let mut by_value: Vec<_> = values.zip(0..count).collect();
        if by_value.iter().all(|(value, _)| value.is_empty()) {
            return None;
        }
        by_value.sort_unstable();
        let positions: Arc<[u32]> = by_value.into_iter().map(|(_, at)| at).collect();
        orders.push(Order {
            name: name.into(),
            positions: Arc::clone(&positions),
        });
        Some(positions)
    }
}

impl Index<usize> for Sorted {
    type Output = Arc<Series>;

    fn index(&self, position: usize) -> &Arc<Series> {
        &self.series[position]
    }
}
