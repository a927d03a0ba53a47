//! Histograms of a series as they are read from where rows are kept column by column.
//!
//! A range has many of them, and mostly the first and the last one tell all: the others are looked at for what is known of
//! their resets alone. So the columns are copied as they are, and a histogram is made of its row when it is asked for.

use std::sync::{Arc, OnceLock};

use super::buckets::{Buckets, Indexes};
use super::error::HistogramError;
use super::shape::{CounterReset, FloatHistogram, Layout};

/// Histograms whose buckets have the same bounds, column by column.
#[derive(Debug)]
pub(crate) struct Rows {
    layout: Layout,
    zero_threshold: f64,
    /// Of the buckets below zero and of those above.
    indexes: [Indexes; 2],
    /// Counts, sums and counts of the zero bucket; then each bucket's. [`Rows::NO_BUCKET`] where a row lacks it.
    columns: Vec<f64>,
    counter_resets: Vec<CounterReset>,
    made: Vec<OnceLock<Arc<FloatHistogram>>>,
}

/// A histogram that is there, or that a row can be made into.
#[derive(Clone, Debug)]
pub(crate) enum HistogramSample {
    Made(Arc<FloatHistogram>),
    Row(Arc<Rows>, u32),
}

// === impl Rows ===

impl Rows {
    /// The columns before those of the buckets.
    pub(crate) const FIXED: usize = 3;
    /// Marks a bucket that a row lacks: a NaN that no computation gives.
    pub(crate) const NO_BUCKET: f64 = f64::from_bits(0x7ff0_0000_0000_0003);

    /// A row for each of `counter_resets`. *`columns`*: counts, sums, counts of the zero bucket, and a column for each of
    /// `indexes`.
    pub(crate) fn new(
        (layout, zero_threshold): (Layout, f64),
        indexes: [Indexes; 2],
        columns: Vec<f64>,
        counter_resets: Vec<CounterReset>,
    ) -> Self {
        let width = Self::FIXED + indexes.iter().map(Indexes::len).sum::<usize>();
        debug_assert_eq!(columns.len(), width * counter_resets.len());
        Self {
            layout,
            zero_threshold,
            indexes,
            columns,
            made: counter_resets.iter().map(|_| OnceLock::new()).collect(),
            counter_resets,
        }
    }

    /// What the row `last` has more than the row `first`, without buckets in which that is nothing: the one less the other.
    fn change(&self, first: usize, last: usize) -> FloatHistogram {
        let mut columns = self.columns.chunks_exact(self.counter_resets.len());
        let mut fixed = columns.by_ref().map(|column| column[last] - column[first]);
        let [count, sum, zero_count] = [(); Self::FIXED].map(|()| fixed.next().unwrap_or(f64::NAN));
        let change = |column: &[f64]| match (column[last], column[first]) {
            (last, first) if is_bucket(last) && is_bucket(first) => last - first,
            (last, _) if is_bucket(last) => last,
            (_, first) if is_bucket(first) => -first,
            _ => 0.0,
        };
        let [negative, positive] = self.indexes.each_ref().map(|indexes| {
            let columns = columns.by_ref().take(indexes.len());
            let mut buckets = Buckets::of(indexes.clone(), columns.map(change).collect());
            buckets.compact();
            buckets
        });
        FloatHistogram::of_parts(
            self.layout.clone(),
            (self.zero_threshold, zero_count),
            (count, sum),
            (positive, negative),
        )
    }

    /// Whether all buckets count when a row is subtracted, which those within the zero bucket do not.
    fn have_plain_changes(&self) -> bool {
        match self.layout {
            Layout::Custom(_) => self.indexes[0].len() == 0,
            Layout::Exponential(_) if self.zero_threshold == 0.0 => true,
            Layout::Exponential(_) => self.indexes.iter().all(|indexes| {
                let first = indexes.get().first();
                first.is_none_or(|&first| self.layout.bounds(first).1 > self.zero_threshold)
            }),
        }
    }

    fn get(&self, row: usize) -> &Arc<FloatHistogram> {
        self.made[row].get_or_init(|| Arc::new(self.make(row)))
    }

    fn make(&self, row: usize) -> FloatHistogram {
        let mut of_row = self
            .columns
            .chunks_exact(self.counter_resets.len())
            .map(|column| column[row]);
        let [count, sum, zero_count] = [(); Self::FIXED].map(|()| of_row.next().unwrap_or(f64::NAN));
        let [negative, positive] = self.indexes.each_ref().map(|indexes| {
            let counts: Vec<f64> = of_row.by_ref().take(indexes.len()).collect();
            // Mostly a row has each bucket: then it shares the list of them with others.
            if counts.iter().all(|&count| is_bucket(count)) {
                return Buckets::of(indexes.clone(), counts);
            }
            let all = indexes.get().iter().copied().zip(counts);
            all.filter(|&(_, count)| is_bucket(count)).collect()
        });
        let histogram = FloatHistogram::of_parts(
            self.layout.clone(),
            (self.zero_threshold, zero_count),
            (count, sum),
            (positive, negative),
        );
        histogram.with_counter_reset(self.counter_resets[row])
    }

    fn buckets(&self) -> usize {
        self.indexes.iter().map(Indexes::len).sum()
    }
}

/// Whether a row has this bucket.
fn is_bucket(count: f64) -> bool {
    count.to_bits() != Rows::NO_BUCKET.to_bits()
}

// === impl HistogramSample ===

impl HistogramSample {
    pub(crate) fn get(&self) -> &Arc<FloatHistogram> {
        match self {
            Self::Made(histogram) => histogram,
            Self::Row(rows, row) => rows.get(*row as usize),
        }
    }

    /// How many observations there are.
    pub(crate) fn count(&self) -> f64 {
        match self {
            Self::Made(histogram) => histogram.count(),
            Self::Row(rows, row) => rows.columns[*row as usize],
        }
    }

    /// What it has more than an earlier one of the same bounds, without buckets in which that is nothing.
    ///
    /// *Errors*: [`HistogramError::Mixed`].
    pub(crate) fn change_since(&self, first: &Self) -> Result<FloatHistogram, HistogramError> {
        match (self, first) {
            (Self::Row(rows, last), Self::Row(others, first))
                if Arc::ptr_eq(rows, others) && rows.have_plain_changes() =>
            {
                Ok(rows.change(*first as usize, *last as usize))
            }
            _ => {
                let mut change = FloatHistogram::clone(self.get());
                change.subtract(first.get())?;
                change.compact();
                Ok(change)
            }
        }
    }

    /// What is known of resets.
    pub(crate) fn counter_reset(&self) -> CounterReset {
        match self {
            Self::Made(histogram) => histogram.counter_reset(),
            Self::Row(rows, row) => rows.counter_resets[*row as usize],
        }
    }

    /// What the bounds of its buckets follow from.
    pub(crate) fn layout(&self) -> &Layout {
        match self {
            Self::Made(histogram) => histogram.layout(),
            Self::Row(rows, _) => &rows.layout,
        }
    }

    /// What it takes in memory when it is made, its part of the columns included; as if it had each bucket that others have.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Made(histogram) => histogram.bytes(),
            Self::Row(rows, _) => {
                let columns = (Rows::FIXED + rows.buckets()) * size_of::<f64>();
                let made = size_of::<(OnceLock<Arc<FloatHistogram>>, CounterReset)>();
                columns + made + FloatHistogram::bytes_with(&rows.layout, rows.buckets())
            }
        }
    }

    /// The work of looking at all of its buckets, as if it had each that others have.
    pub(crate) fn work(&self) -> usize {
        match self {
            Self::Made(histogram) => histogram.work(),
            Self::Row(rows, _) => FloatHistogram::work_with(rows.buckets()),
        }
    }
}
