//! A histogram: its parts, and what can be done with one alone.

use std::sync::Arc;

use super::bound::{self, MAX_SCHEMA, MIN_SCHEMA};
use super::bucket::Bucket;
use super::buckets::Buckets;
use super::error::HistogramError;
use super::tally::Tally;

/// A distribution, as a sample has it.
pub type FloatHistogram = Histogram<f64>;

/// A distribution; `N` is what it counts with.
#[derive(Clone, Debug)]
pub struct Histogram<N = f64> {
    pub(super) layout: Layout,
    pub(super) counter_reset: CounterReset,
    pub(super) zero_threshold: f64,
    pub(super) zero_count: N,
    pub(super) count: N,
    pub(super) sum: N,
    pub(super) positive: Buckets<N>,
    pub(super) negative: Buckets<N>,
}

/// What the bounds of the buckets follow from.
#[derive(Clone, Debug, PartialEq)]
pub enum Layout {
    /// The schema, from −4 to 8: the higher it is, the finer they are.
    Exponential(i8),
    /// The upper bounds themselves, but for that of the last bucket, which is +Inf.
    Custom(Arc<[f64]>),
}

/// What is known of whether the counts started anew since the sample before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CounterReset {
    /// Nothing: it shows in the counts.
    #[default]
    Unknown,
    /// They did.
    Reset,
    /// They did not.
    NotReset,
    /// They are not of a counter, and may fall as they like.
    Gauge,
}

// === impl Layout ===

impl Layout {
    /// Whether the bounds are given one by one.
    pub fn is_custom(&self) -> bool {
        matches!(self, Self::Custom(_))
    }

    /// The bounds of the positive bucket `index`, or, of an exponential one, how far from zero the negative one begins and ends.
    pub(super) fn bounds(&self, index: i32) -> (f64, f64) {
        (self.upper(index.saturating_sub(1)), self.upper(index))
    }

    fn upper(&self, index: i32) -> f64 {
        match self {
            Self::Exponential(schema) => bound::upper(index, *schema),
            Self::Custom(bounds) => match usize::try_from(index) {
                Ok(index) => bounds.get(index).copied().unwrap_or(f64::INFINITY),
                Err(_) => f64::NEG_INFINITY,
            },
        }
    }
}

// === impl Histogram ===

impl FloatHistogram {
    /// One with exponential buckets that has observed nothing.
    ///
    /// *Errors*: [`HistogramError::Schema`].
    pub fn exponential(schema: i64) -> Result<Self, HistogramError> {
        let known = i8::try_from(schema).ok();
        let known = known.filter(|schema| (MIN_SCHEMA..=MAX_SCHEMA).contains(schema));
        let schema = known.ok_or(HistogramError::Schema(schema))?;
        Ok(Self::empty(Layout::Exponential(schema)))
    }

    /// One with custom buckets that has observed nothing.
    ///
    /// *Errors*: [`HistogramError::Order`] and [`HistogramError::Bound`].
    pub fn custom(bounds: &[f64]) -> Result<Self, HistogramError> {
        // The first one may be -Inf.
        let is_bound = |&bound: &f64| bound.is_nan() || bound == f64::INFINITY;
        if let Some(&bound) = bounds.iter().find(|bound| is_bound(bound)) {
            return Err(HistogramError::Bound(bound));
        }
        if let Some(two) = bounds.windows(2).find(|two| two[1] <= two[0]) {
            let (before, after) = (two[0], two[1]);
            return Err(HistogramError::Order { before, after });
        }
        Ok(Self::empty(Layout::Custom(bounds.into())))
    }

    /// With the zero bucket: what is at most `threshold` away from zero was observed so often.
    ///
    /// *Errors*: [`HistogramError::ZeroThreshold`].
    pub fn with_zero(mut self, threshold: f64, count: f64) -> Result<Self, HistogramError> {
        if threshold.is_nan() || threshold < 0.0 {
            return Err(HistogramError::ZeroThreshold(threshold));
        }
        (self.zero_threshold, self.zero_count) = (threshold, count);
        Ok(self)
    }

    /// With so many observations; more than in the buckets if some were NaN.
    #[must_use]
    pub fn with_count(mut self, count: f64) -> Self {
        self.count = count;
        self
    }

    /// With the sum of all observed values.
    #[must_use]
    pub fn with_sum(mut self, sum: f64) -> Self {
        self.sum = sum;
        self
    }

    /// With the buckets above zero; custom buckets are all of them.
    #[must_use]
    pub fn with_positive(mut self, buckets: Buckets) -> Self {
        self.positive = buckets;
        self
    }

    /// With the buckets below zero.
    #[must_use]
    pub fn with_negative(mut self, buckets: Buckets) -> Self {
        self.negative = buckets;
        self
    }

    /// With what is known of resets.
    #[must_use]
    pub fn with_counter_reset(mut self, known: CounterReset) -> Self {
        self.counter_reset = known;
        self
    }

    /// Whether it can be what a program has counted.
    ///
    /// The result of a computation need not be: a difference may well be negative.
    ///
    /// *Errors*: what is wrong first.
    pub fn check(&self) -> Result<(), HistogramError> {
        if let Layout::Custom(bounds) = &self.layout {
            if self.zero_count != 0.0 || self.zero_threshold != 0.0 || !self.negative.is_empty() {
                return Err(HistogramError::CustomOnly);
            }
            let first = self.positive.first_index().filter(|&index| index < 0);
            let last = self
                .positive
                .last_index()
                .filter(|&index| index as usize > bounds.len());
            if let Some(index) = first.or(last) {
                return Err(HistogramError::Index(index.into()));
            }
        }
        let counts = [self.count, self.zero_count].into_iter();
        let mut counts = counts.chain(
            self.negative
                .counts()
                .iter()
                .chain(self.positive.counts())
                .copied(),
        );
        match counts.find(|&count| count < 0.0) {
            Some(count) => Err(HistogramError::Count(count)),
            None => Ok(()),
        }
    }

    /// Each bucket that there is, from the lowest to the highest; the zero bucket if it has observed something.
    pub fn buckets(&self) -> impl DoubleEndedIterator<Item = Bucket> + '_ {
        let negative = self.negative.iter().rev();
        let zero = (self.zero_count > 0.0).then(|| self.zero_bucket());
        let clipped = move |bucket: Bucket| {
            let zero = self.zero_threshold;
            let mut bucket = bucket;
            if bucket.upper < 0.0 && bucket.upper > -zero {
                bucket.upper = -zero;
            }
            if bucket.lower > 0.0 && bucket.lower < zero {
                bucket.lower = zero;
            }
            bucket
        };
        let negative = negative.map(move |(index, count)| clipped(self.negative_bucket(index, count)));
        let positive = self.positive.iter();
        let positive = positive.map(move |(index, count)| clipped(self.positive_bucket(index, count)));
        negative.chain(zero).chain(positive)
    }

    pub(super) fn positive_bucket(&self, index: i32, count: f64) -> Bucket {
        let (lower, upper) = self.layout.bounds(index);
        Bucket {
            lower,
            upper,
            has_lower: self.layout.is_custom() && index == 0,
            has_upper: true,
            count,
        }
    }

    pub(super) fn negative_bucket(&self, index: i32, count: f64) -> Bucket {
        let (lower, upper) = self.layout.bounds(index);
        Bucket {
            lower: -upper,
            upper: -lower,
            has_lower: true,
            has_upper: false,
            count,
        }
    }

    pub(super) fn zero_bucket(&self) -> Bucket {
        Bucket {
            lower: -self.zero_threshold,
            upper: self.zero_threshold,
            has_lower: true,
            has_upper: true,
            count: self.zero_count,
        }
    }

    /// Multiplies all counts and the sum. By less than zero, it is no counter any more.
    pub fn multiply(&mut self, factor: f64) {
        self.numbers_mut().for_each(|number| *number *= factor);
        self.turn_to_gauge_if(factor < 0.0);
    }

    /// Divides all counts and the sum. By less than zero, it is no counter any more; by zero, no bucket remains.
    pub fn divide(&mut self, divisor: f64) {
        self.numbers_mut().for_each(|number| *number /= divisor);
        if divisor == 0.0 {
            (self.positive, self.negative) = Default::default();
        }
        self.turn_to_gauge_if(divisor < 0.0);
    }

    fn turn_to_gauge_if(&mut self, is_negative: bool) {
        if is_negative {
            self.counter_reset = CounterReset::Gauge;
        }
    }

    /// Whether it has the same buckets, those that have observed nothing left out, and numbers of which `close` says
    /// that they are the same. What is known of resets is no part of it.
    pub fn is_like(&self, other: &Self, close: impl Fn(f64, f64) -> bool) -> bool {
        let numbers = |one: &Self| [one.count, one.sum, one.zero_count];
        let mut numbers = numbers(self).into_iter().zip(numbers(other));
        let same = |own: &Buckets, other: &Buckets| {
            let observed = |buckets: &Buckets| {
                let observed = buckets.iter().filter(|(_, count)| *count != 0.0);
                observed.collect::<Vec<_>>()
            };
            let (own, other) = (observed(own), observed(other));
            let mut pairs = own.iter().zip(&other);
            own.len() == other.len() && pairs.all(|(own, other)| own.0 == other.0 && close(own.1, other.1))
        };
        self.layout == other.layout
            && self.zero_threshold == other.zero_threshold
            && numbers.all(|(own, other)| close(own, other))
            && same(&self.positive, &other.positive)
            && same(&self.negative, &other.negative)
    }

    /// The same, to be added to without rounding anything away.
    pub(super) fn compensated<N: Tally>(&self) -> Histogram<N> {
        Histogram {
            layout: self.layout.clone(),
            counter_reset: self.counter_reset,
            zero_threshold: self.zero_threshold,
            zero_count: self.zero_count.into(),
            count: self.count.into(),
            sum: self.sum.into(),
            positive: self.positive.map(N::from),
            negative: self.negative.map(N::from),
        }
    }

    /// What it takes in memory, custom bounds included, which several may share.
    pub(crate) fn bytes(&self) -> usize {
        Self::bytes_with(&self.layout, self.positive.len() + self.negative.len())
    }

    /// What one with so many buckets takes in memory.
    pub(super) fn bytes_with(layout: &Layout, buckets: usize) -> usize {
        let bounds = match layout {
            Layout::Exponential(_) => 0,
            Layout::Custom(bounds) => bounds.len(),
        };
        // Beside it the counts of those who share it.
        size_of::<(Self, [usize; 2])>() + buckets * size_of::<(f64, i32)>() + bounds * size_of::<f64>()
    }

    /// The work of looking at all of its buckets, in the units of a budget.
    pub(crate) fn work(&self) -> usize {
        Self::work_with(self.positive.len() + self.negative.len())
    }

    /// The work of looking at so many buckets.
    pub(super) fn work_with(buckets: usize) -> usize {
        20 + 2 * buckets
    }

    /// How far from zero the zero bucket ends.
    pub fn zero_threshold(&self) -> f64 {
        self.zero_threshold
    }

    /// How many observations are in the zero bucket.
    pub fn zero_count(&self) -> f64 {
        self.zero_count
    }

    /// The buckets above zero; custom buckets are all of them.
    pub fn positive(&self) -> &Buckets {
        &self.positive
    }

    /// The buckets below zero.
    pub fn negative(&self) -> &Buckets {
        &self.negative
    }

    /// One that has been taken apart: its zero bucket, its count and sum, and its buckets above and below zero.
    pub(crate) fn of_parts(
        layout: Layout,
        (zero_threshold, zero_count): (f64, f64),
        (count, sum): (f64, f64),
        (positive, negative): (Buckets, Buckets),
    ) -> Self {
        Self {
            layout,
            counter_reset: CounterReset::Unknown,
            zero_threshold,
            zero_count,
            count,
            sum,
            positive,
            negative,
        }
    }

    /// How many observations there are.
    pub fn count(&self) -> f64 {
        self.count
    }

    /// The sum of all observed values.
    pub fn sum(&self) -> f64 {
        self.sum
    }
}

impl<N: Tally> Histogram<N> {
    fn empty(layout: Layout) -> Self {
        let zero = N::from(0.0);
        Self {
            layout,
            counter_reset: CounterReset::Unknown,
            zero_threshold: 0.0,
            zero_count: zero,
            count: zero,
            sum: zero,
            positive: Buckets::default(),
            negative: Buckets::default(),
        }
    }

    pub(super) fn numbers_mut(&mut self) -> impl Iterator<Item = &mut N> {
        let buckets = self.positive.counts_mut().iter_mut();
        let buckets = buckets.chain(self.negative.counts_mut());
        [&mut self.zero_count, &mut self.count, &mut self.sum]
            .into_iter()
            .chain(buckets)
    }

    /// Whether a number of it is infinite, as after an overflow.
    pub fn has_overflow(&self) -> bool {
        let buckets = self.positive.counts().iter().chain(self.negative.counts());
        [&self.zero_count, &self.count, &self.sum]
            .into_iter()
            .chain(buckets)
            .any(|number| number.total().is_infinite())
    }

    /// The schema of exponential buckets.
    pub fn schema(&self) -> Option<i8> {
        match self.layout {
            Layout::Exponential(schema) => Some(schema),
            Layout::Custom(_) => None,
        }
    }

    /// What the bounds of its buckets follow from.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// What is known of resets.
    pub fn counter_reset(&self) -> CounterReset {
        self.counter_reset
    }

    /// Drops buckets that have observed nothing.
    pub fn compact(&mut self) {
        self.positive.compact();
        self.negative.compact();
    }

    /// Makes the buckets coarser, down to a schema; does nothing if they are as coarse, or custom.
    pub fn reduce_to(&mut self, schema: i8) {
        let Layout::Exponential(own) = self.layout else {
            return;
        };
        let Ok(levels) = u32::try_from(i32::from(own) - i32::from(schema.max(MIN_SCHEMA))) else {
            return;
        };
        if levels > 0 {
            self.positive = self.positive.reduced(levels);
            self.negative = self.negative.reduced(levels);
            self.layout = Layout::Exponential(schema.max(MIN_SCHEMA));
        }
    }

    /// The numbers, when all is added up.
    pub(super) fn total(&self) -> FloatHistogram {
        Histogram {
            layout: self.layout.clone(),
            counter_reset: self.counter_reset,
            zero_threshold: self.zero_threshold,
            zero_count: self.zero_count.total(),
            count: self.count.total(),
            sum: self.sum.total(),
            positive: self.positive.map(N::total),
            negative: self.negative.map(N::total),
        }
    }
}

/// By the bits of their numbers, so that NaN is equal to itself; what is known of resets is no part of it. A bucket
/// that has observed nothing differs from none: [`compact`](Histogram::compact) both where that is not meant.
impl PartialEq for FloatHistogram {
    fn eq(&self, other: &Self) -> bool {
        let numbers = |one: &Self| [one.count, one.sum, one.zero_count].map(f64::to_bits);
        let same = |one: &Buckets, other: &Buckets| {
            let bits =
                |buckets| Buckets::iter(buckets).map(|(index, count): (i32, f64)| (index, count.to_bits()));
            bits(one).eq(bits(other))
        };
        self.layout == other.layout
            && self.zero_threshold == other.zero_threshold
            && numbers(self) == numbers(other)
            && same(&self.positive, &other.positive)
            && same(&self.negative, &other.negative)
    }
}
