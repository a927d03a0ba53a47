//! The buckets of one sign, without their bounds.

use std::sync::Arc;

use super::bound;
use super::error::HistogramError;
use super::tally::Tally;

/// Counts by the index of their bucket, in the order of the indexes.
///
/// Prometheus keeps spans of neighbours and the counts behind them. An index for each count is a little larger, and
/// adding two of the same shape, which is what queries do, is one loop over numbers. Histograms that follow one another
/// mostly have the same buckets, and share the list of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Buckets<N = f64> {
    indexes: Indexes,
    counts: Vec<N>,
}

/// The indexes of buckets; none takes no memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Indexes(Option<Arc<Vec<i32>>>);

/// Some neighbours of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct BucketsView<'b, N> {
    indexes: &'b [i32],
    counts: &'b [N],
}

// === impl Buckets ===

impl<N> Default for Buckets<N> {
    fn default() -> Self {
        Self {
            indexes: Indexes::default(),
            counts: Vec::new(),
        }
    }
}

impl Buckets {
    /// As many counts as indexes, which ascend.
    pub(crate) fn of(indexes: Indexes, counts: Vec<f64>) -> Self {
        debug_assert_eq!(indexes.get().len(), counts.len());
        Self { indexes, counts }
    }

    /// Neighbours, of which the first has the index `first`.
    ///
    /// *Errors*: [`HistogramError::Index`] if an index is out of range.
    pub fn starting_at(first: i32, counts: &[f64]) -> Result<Self, HistogramError> {
        let mut buckets = Self::default();
        buckets.push_span(0, first, counts)?;
        Ok(buckets)
    }

    /// Buckets as spans have them: each is so many indexes behind the end of the one before, and has these counts.
    ///
    /// *Errors*: [`HistogramError::Index`] if an index is out of range, or not above the ones before.
    pub fn from_spans<'c>(spans: impl IntoIterator<Item = (i32, &'c [f64])>) -> Result<Self, HistogramError> {
        let mut buckets = Self::default();
        let mut end = 0;
        for (offset, counts) in spans {
            end = buckets.push_span(end, offset, counts)?;
        }
        Ok(buckets)
    }

    fn push_span(&mut self, end: i64, offset: i32, counts: &[f64]) -> Result<i64, HistogramError> {
        let first = end + i64::from(offset);
        let after = first + counts.len() as i64;
        let is_behind = self
            .indexes
            .get()
            .last()
            .is_none_or(|&last| i64::from(last) < first);
        // The lowest has no lower bound that could be numbered.
        if !is_behind || first <= i64::from(i32::MIN) {
            return Err(HistogramError::Index(first));
        }
        if after - 1 > i64::from(i32::MAX) {
            return Err(HistogramError::Index(after - 1));
        }
        if !counts.is_empty() {
            self.indexes
                .own()
                .extend((first..after).map(|index| index as i32));
            self.counts.extend(counts);
        }
        Ok(after)
    }
}

impl<N: Tally> Buckets<N> {
    /// How many there are, those that count nothing included.
    pub fn len(&self) -> usize {
        self.counts.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// Each with its index.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (i32, N)> + '_ {
        self.indexes
            .get()
            .iter()
            .copied()
            .zip(self.counts.iter().copied())
    }

    /// The last index.
    pub(super) fn last_index(&self) -> Option<i32> {
        self.indexes.get().last().copied()
    }

    /// The first index.
    pub(super) fn first_index(&self) -> Option<i32> {
        self.indexes.get().first().copied()
    }

    pub(super) fn counts(&self) -> &[N] {
        &self.counts
    }

    pub(super) fn counts_mut(&mut self) -> &mut [N] {
        &mut self.counts
    }

    /// Adds one behind the last; of the same index, to the last.
    pub(crate) fn push(&mut self, index: i32, count: N) {
        match (self.indexes.get().last(), self.counts.last_mut()) {
            (Some(&last), Some(known)) if last == index => known.join(count),
            _ => {
                self.indexes.own().push(index);
                self.counts.push(count);
            }
        }
    }

    /// Drops those that count nothing.
    pub(super) fn compact(&mut self) {
        // Mostly there is none.
        if self.counts.iter().any(|count| count.is_zero()) {
            let kept = self.iter().filter(|(_, count)| !count.is_zero());
            let (indexes, counts): (Vec<_>, Vec<_>) = kept.unzip();
            *self = Self {
                indexes: indexes.into(),
                counts,
            };
        }
    }

    /// Drops the first `count`.
    pub(super) fn drop_first(&mut self, count: usize) {
        if count > 0 {
            self.indexes.own().drain(..count);
            self.counts.drain(..count);
        }
    }

    /// All of them, to be read.
    pub(super) fn view(&self) -> BucketsView<'_, N> {
        BucketsView {
            indexes: self.indexes.get(),
            counts: &self.counts,
        }
    }

    /// What they are `levels` schemas below.
    pub(crate) fn reduced<M: Tally + From<N>>(&self, levels: u32) -> Buckets<M> {
        self.view().reduced(levels)
    }

    /// The same buckets with other counts.
    pub(super) fn map<M>(&self, count: impl Fn(N) -> M) -> Buckets<M> {
        Buckets {
            indexes: self.indexes.clone(),
            counts: self.counts.iter().map(|&own| count(own)).collect(),
        }
    }

    /// Adds or subtracts others.
    pub(super) fn merge<M: Tally>(&mut self, other: &BucketsView<'_, M>, subtract: bool)
    where
        N: From<M>,
    {
        let signed = |count: M| {
            let count = N::from(count);
            if subtract { count.negated() } else { count }
        };
        let own = self.indexes.get();
        if std::ptr::eq(own, other.indexes) || own == other.indexes {
            for (known, &count) in self.counts.iter_mut().zip(other.counts) {
                known.join(signed(count));
            }
            return;
        }
        // Mostly all of them are known, though not all that are known are among them.
        let (mut at, mut others) = (0, other.iter().peekable());
        while let Some(&(index, count)) = others.peek() {
            at += own[at..].iter().take_while(|&&known| known < index).count();
            if own.get(at) != Some(&index) {
                break;
            }
            self.counts[at].join(signed(count));
            others.next();
        }
        if others.peek().is_none() {
            return;
        }
        let own = std::mem::take(self);
        let mut own = own.iter().peekable();
        for (index, count) in others {
            while let Some((before, known)) = own.next_if(|&(known, _)| known <= index) {
                self.push(before, known);
            }
            self.push(index, signed(count));
        }
        own.for_each(|(index, count)| self.push(index, count));
    }
}

// === impl Indexes ===

impl Indexes {
    pub(super) fn len(&self) -> usize {
        self.get().len()
    }

    pub(super) fn get(&self) -> &[i32] {
        self.0.as_deref().map_or(&[], Vec::as_slice)
    }

    /// To be changed, by whoever does not share them from now on.
    fn own(&mut self) -> &mut Vec<i32> {
        Arc::make_mut(self.0.get_or_insert_default())
    }
}

impl PartialEq for Indexes {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl From<Vec<i32>> for Indexes {
    fn from(indexes: Vec<i32>) -> Self {
        Self((!indexes.is_empty()).then(|| Arc::new(indexes)))
    }
}

impl FromIterator<i32> for Indexes {
    fn from_iter<I: IntoIterator<Item = i32>>(indexes: I) -> Self {
        indexes.into_iter().collect::<Vec<_>>().into()
    }
}

// === impl BucketsView ===

impl<'b, N: Tally> BucketsView<'b, N> {
    /// All but the first `count`.
    pub(super) fn skip(self, count: usize) -> Self {
        Self {
            indexes: &self.indexes[count..],
            counts: &self.counts[count..],
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (i32, N)> + 'b {
        self.indexes.iter().copied().zip(self.counts.iter().copied())
    }

    /// What they are `levels` schemas below.
    pub(super) fn reduced<M: Tally + From<N>>(&self, levels: u32) -> Buckets<M> {
        self.iter()
            .map(|(index, count)| (bound::coarser(index, levels), M::from(count)))
            .collect()
    }
}

/// In the order of the indexes; counts of the same one are added up.
impl<N: Tally> FromIterator<(i32, N)> for Buckets<N> {
    fn from_iter<I: IntoIterator<Item = (i32, N)>>(items: I) -> Self {
        let mut buckets = Self::default();
        for (index, count) in items {
            buckets.push(index, count);
        }
        buckets
    }
}
