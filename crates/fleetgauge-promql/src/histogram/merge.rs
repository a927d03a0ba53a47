//! Two histograms into one.

use super::buckets::{Buckets, BucketsView};
use super::error::HistogramError;
use super::shape::{CounterReset, FloatHistogram, Histogram, Layout};
use super::tally::Tally;
use crate::function::sum::Sum;

/// What there is to say about two histograms that were brought together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// One says that its counts started anew, and the other that they did not.
    pub has_conflicting_resets: bool,
    /// Their custom bounds differ, so that only those remain that both have.
    pub has_other_bounds: bool,
}

/// Many histograms of one kind that become one.
pub(crate) trait Join {
    fn starting_at(first: &FloatHistogram) -> Self;

    /// *Errors*: [`HistogramError::Mixed`], after which it is of no use.
    fn add(&mut self, other: &FloatHistogram) -> Result<(), HistogramError>;

    fn finish(self) -> (FloatHistogram, Merged);
}

/// Their sum, in which nothing is rounded away.
pub(crate) struct TotalOf {
    total: Histogram<Sum>,
    merged: Merged,
}

/// Their mean: the sum divided by their number as long as the sum is finite, and then a mean that is moved by each.
pub(crate) struct MeanOf {
    mean: Histogram<Sum>,
    merged: Merged,
    count: f64,
    is_moving: bool,
}

// === impl Histogram ===

impl FloatHistogram {
    /// The sum of many, in which nothing is rounded away; none if there are none.
    ///
    /// *Errors*: [`HistogramError::Mixed`].
    pub fn total_of<'h>(
        histograms: impl IntoIterator<Item = &'h Self>,
    ) -> Result<Option<(Self, Merged)>, HistogramError> {
        joined::<TotalOf>(histograms)
    }

    /// The mean of many; none if there are none. It is the sum divided by their number as long as the sum is finite,
    /// and then a mean that is moved by each.
    ///
    /// *Errors*: [`HistogramError::Mixed`].
    pub fn mean_of<'h>(
        histograms: impl IntoIterator<Item = &'h Self>,
    ) -> Result<Option<(Self, Merged)>, HistogramError> {
        joined::<MeanOf>(histograms)
    }
}

fn joined<'h, J: Join>(
    histograms: impl IntoIterator<Item = &'h FloatHistogram>,
) -> Result<Option<(FloatHistogram, Merged)>, HistogramError> {
    let mut histograms = histograms.into_iter();
    let Some(first) = histograms.next() else {
        return Ok(None);
    };
    let mut joined = J::starting_at(first);
    histograms.try_for_each(|other| joined.add(other))?;
    Ok(Some(joined.finish()))
}

// === impl TotalOf ===

impl Join for TotalOf {
    fn starting_at(first: &FloatHistogram) -> Self {
        Self {
            total: first.compensated(),
            merged: Merged::default(),
        }
    }

    fn add(&mut self, other: &FloatHistogram) -> Result<(), HistogramError> {
        self.merged.join(self.total.add(other)?);
        Ok(())
    }

    fn finish(self) -> (FloatHistogram, Merged) {
        (self.total.total(), self.merged)
    }
}

// === impl MeanOf ===

impl Join for MeanOf {
    fn starting_at(first: &FloatHistogram) -> Self {
        Self {
            mean: first.compensated(),
            merged: Merged::default(),
            count: 1.0,
            is_moving: false,
        }
    }

    fn add(&mut self, other: &FloatHistogram) -> Result<(), HistogramError> {
        self.count += 1.0;
        if !self.is_moving {
            let before = self.mean.clone();
            let joined = self.mean.add(other)?;
            if !self.mean.has_overflow() {
                self.merged.join(joined);
                return Ok(());
            }
            self.mean = before;
            self.mean
                .numbers_mut()
                .for_each(|number| *number = number.divided(self.count - 1.0));
            self.is_moving = true;
        }
        let weight = (self.count - 1.0) / self.count;
        self.mean
            .numbers_mut()
            .for_each(|number| *number = number.multiplied(weight));
        let mut share = other.clone();
        share.divide(self.count);
        self.merged.join(self.mean.add(&share)?);
        Ok(())
    }

    fn finish(mut self) -> (FloatHistogram, Merged) {
        if !self.is_moving {
            self.mean
                .numbers_mut()
                .for_each(|number| *number = number.divided(self.count));
        }
        (self.mean.total(), self.merged)
    }
}

// === impl Merged ===

impl Merged {
    /// Adds what there is to say about others.
    pub(crate) fn join(&mut self, other: Self) {
        self.has_conflicting_resets |= other.has_conflicting_resets;
        self.has_other_bounds |= other.has_other_bounds;
    }
}

// === impl Histogram ===

impl<N: Tally> Histogram<N> {
    /// Adds another one, in the resolution of the coarser of both.
    ///
    /// *Errors*: [`HistogramError::Mixed`], and nothing is added.
    pub fn add(&mut self, other: &FloatHistogram) -> Result<Merged, HistogramError> {
        self.merge(other, false)
    }

    /// Subtracts another one, in the resolution of the coarser of both. Counts may become negative.
    ///
    /// *Errors*: [`HistogramError::Mixed`], and nothing is subtracted.
    pub fn subtract(&mut self, other: &FloatHistogram) -> Result<Merged, HistogramError> {
        self.merge(other, true)
    }

    fn merge(&mut self, other: &FloatHistogram, subtract: bool) -> Result<Merged, HistogramError> {
        if self.layout.is_custom() != other.layout.is_custom() {
            return Err(HistogramError::Mixed);
        }
        let has_conflicting_resets = self.merge_resets(other.counter_reset);
        let other_zero = self.widen_zero_bucket(other);
        for (own, added) in [
            (&mut self.zero_count, other_zero),
            (&mut self.count, other.count.into()),
            (&mut self.sum, other.sum.into()),
        ] {
            own.join(if subtract { added.negated() } else { added });
        }
        let mut has_other_bounds = false;
        match (&self.layout, &other.layout) {
            (Layout::Custom(own), Layout::Custom(bounds)) => {
                if own == bounds {
                    self.positive.merge(&other.positive.view(), subtract);
                } else {
                    has_other_bounds = true;
                    self.merge_custom(other, subtract);
                }
            }
            (&Layout::Exponential(own), &Layout::Exponential(schema)) if own < schema => {
                let [positive, negative] = other.behind_zero_bucket(self.zero_threshold);
                let levels = u32::from(schema.abs_diff(own));
                self.positive
                    .merge::<N>(&positive.reduced(levels).view(), subtract);
                self.negative
                    .merge::<N>(&negative.reduced(levels).view(), subtract);
            }
            (_, &Layout::Exponential(schema)) => {
                self.reduce_to(schema);
                let [positive, negative] = other.behind_zero_bucket(self.zero_threshold);
                self.positive.merge(&positive, subtract);
                self.negative.merge(&negative, subtract);
            }
            // Refused above.
            (Layout::Exponential(_), Layout::Custom(_)) => {}
        }
        Ok(Merged {
            has_conflicting_resets,
            has_other_bounds,
        })
    }

    /// What is known of resets of both together. `true` if they contradict each other.
    fn merge_resets(&mut self, other: CounterReset) -> bool {
        use CounterReset::{Gauge, Unknown};
        let own = self.counter_reset;
        self.counter_reset = match (own, other) {
            (Gauge, _) | (_, Gauge) => Gauge,
            (own, other) if own == other => own,
            _ => Unknown,
        };
        own != other && ![own, other].iter().any(|known| matches!(known, Gauge | Unknown))
    }

    // --- exponential buckets ---

    /// Makes the zero bucket as wide as that of `other` would be, and gives what that one would have counted.
    fn widen_zero_bucket(&mut self, other: &FloatHistogram) -> N {
        let mut zero = (N::from(other.zero_count), other.zero_threshold);
        while zero.1 != self.zero_threshold {
            if self.zero_threshold > zero.1 {
                zero = other.zero_of_width(self.zero_threshold);
            }
            if zero.1 > self.zero_threshold {
                (self.zero_count, self.zero_threshold) = self.zero_of_width(zero.1);
                self.drop_in_zero_bucket();
            }
        }
        zero.0
    }

    /// What the zero bucket would have counted if it were so wide, and how wide it becomes then: it ends with a
    /// bucket that has counted something, as nobody knows on which side of a bound within it those lie.
    pub(super) fn zero_of_width<M: Tally + From<N>>(&self, mut threshold: f64) -> (M, f64) {
        if threshold <= self.zero_threshold {
            return (self.zero_count.into(), self.zero_threshold);
        }
        loop {
            let mut count = M::from(self.zero_count);
            let before = threshold;
            for buckets in [&self.positive, &self.negative] {
                for (index, own) in buckets.iter() {
                    let (lower, upper) = self.layout.bounds(index);
                    if lower >= threshold {
                        break;
                    }
                    count.join(own.into());
                    if upper > threshold {
                        if !own.is_zero() {
                            threshold = upper;
                        }
                        break;
                    }
                }
            }
            // Where it grew, buckets of the other side may lie within now.
            if threshold == before {
                return (count, threshold);
            }
        }
    }

    /// The buckets behind a zero bucket so wide. Looked at before they are made coarser: a coarse bucket that begins within the
    /// zero bucket would count again what the fine ones there have counted, as it happens in Prometheus.
    pub(super) fn behind_zero_bucket(&self, threshold: f64) -> [BucketsView<'_, N>; 2] {
        let signs = [&self.positive, &self.negative];
        if threshold == 0.0 {
            return signs.map(Buckets::view);
        }
        signs.map(|buckets| {
            let uppers = buckets.iter().map(|(index, _)| self.layout.bounds(index).1);
            buckets
                .view()
                .skip(uppers.take_while(|&upper| upper <= threshold).count())
        })
    }

    /// Drops what reaches into the zero bucket.
    pub(super) fn drop_in_zero_bucket(&mut self) {
        let (layout, threshold) = (&self.layout, self.zero_threshold);
        for buckets in [&mut self.positive, &mut self.negative] {
            let lowers = buckets.iter().map(|(index, _)| layout.bounds(index).0);
            let dropped = lowers.take_while(|&lower| lower < threshold).count();
            buckets.drop_first(dropped);
            buckets.compact();
        }
    }

    // --- custom buckets ---

    /// Adds or subtracts one with other bounds: those that both have remain.
    fn merge_custom(&mut self, other: &FloatHistogram, subtract: bool) {
        let (Layout::Custom(own), Layout::Custom(bounds)) = (&self.layout, &other.layout) else {
            return;
        };
        let shared: Vec<f64> = own
            .iter()
            .copied()
            .filter(|bound| bounds.contains(bound))
            .collect();
        // The bucket of what is counted up to the bound of the bucket `index`.
        let target = |layout: &Layout, index| {
            let upper = layout.bounds(index).1;
            shared.partition_point(|&bound| bound < upper)
        };
        let mut counts = vec![N::from(0.0); shared.len() + 1];
        for (index, count) in self.positive.iter() {
            counts[target(&self.layout, index)].join(count);
        }
        // One by one, as Prometheus does, so that sums round alike.
        for (index, count) in other.positive.iter() {
            let count = N::from(if subtract { -count } else { count });
            counts[target(&other.layout, index)].join(count);
        }
        self.positive = (0..).zip(counts).collect();
        self.positive.compact();
        self.layout = Layout::Custom(shared.into());
    }
}
