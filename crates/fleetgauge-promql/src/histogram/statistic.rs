//! What a histogram says about the observed values.

use super::bucket::Bucket;
use super::shape::FloatHistogram;
use crate::function::sum::Sum;

/// A number estimated from the buckets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The number; NaN where it is not defined.
    pub value: f64,
    /// What observations of NaN, which are in no bucket, do to it.
    pub nan_effect: Option<NanEffect>,
}

/// What observed NaNs do to an estimate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NanEffect {
    /// The quantile lies among the NaNs.
    IsResult,
    /// The quantile is lower than that of the numbers alone, as NaNs count as above them.
    Skews,
    /// The fraction is smaller than that of the numbers alone.
    LeftOut,
}

// === impl Estimate ===

impl From<f64> for Estimate {
    fn from(value: f64) -> Self {
        let nan_effect = None;
        Self { value, nan_effect }
    }
}

// === impl Histogram ===

impl FloatHistogram {
    /// The value below which the fraction `q` of the observations lies.
    pub fn quantile(&self, q: f64) -> Estimate {
        if q < 0.0 {
            return f64::NEG_INFINITY.into();
        }
        if q > 1.0 {
            return f64::INFINITY.into();
        }
        if self.count == 0.0 || q.is_nan() {
            return f64::NAN.into();
        }
        // From the nearer end, so that less is added up; NaNs would lie behind the upper one.
        let has_nan = self.sum.is_nan();
        if has_nan || q < 0.5 {
            self.quantile_along(self.buckets(), q * self.count, true)
        } else {
            self.quantile_along(self.buckets().rev(), (1.0 - q) * self.count, false)
        }
    }

    fn quantile_along(
        &self,
        mut buckets: impl Iterator<Item = Bucket>,
        rank: f64,
        is_upwards: bool,
    ) -> Estimate {
        let mut count = 0.0;
        let mut last = None;
        for bucket in buckets.by_ref() {
            last = Some(bucket);
            count += bucket.count;
            if bucket.count != 0.0 && count >= rank {
                break;
            }
        }
        let has_nan = self.sum.is_nan();
        let mut bucket = last.unwrap_or(Bucket {
            lower: 0.0,
            upper: 0.0,
            has_lower: false,
            has_upper: false,
            count: 0.0,
        });
        if !self.layout.is_custom() {
            if bucket.lower < 0.0 && bucket.upper > 0.0 {
                bucket = self.without_empty_half(bucket);
            }
        } else if bucket.lower == f64::NEG_INFINITY {
            if bucket.upper <= 0.0 {
                return bucket.upper.into();
            }
            bucket.lower = 0.0;
        } else if bucket.upper == f64::INFINITY {
            return bucket.lower.into();
        }
        let count = if count > self.count { self.count } else { count };
        if count < rank {
            return if has_nan {
                Estimate {
                    value: f64::NAN,
                    nan_effect: Some(NanEffect::IsResult),
                }
            } else {
                bucket.upper.into()
            };
        }
        let in_bucket = if is_upwards {
            rank - (count - bucket.count)
        } else {
            count - rank
        };
        let is_skewed = has_nan && buckets.fold(count, |sum, bucket| sum + bucket.count) < self.count;
        Estimate {
            value: self.within(&bucket, in_bucket / bucket.count),
            nan_effect: is_skewed.then_some(NanEffect::Skews),
        }
    }

    /// The value below which the fraction of a bucket's observations lies.
    fn within(&self, bucket: &Bucket, fraction: f64) -> f64 {
        if self.layout.is_custom() || (bucket.lower <= 0.0 && bucket.upper >= 0.0) {
            return bucket.lower + (bucket.upper - bucket.lower) * fraction;
        }
        let [lower, upper] = [bucket.lower, bucket.upper].map(|bound| bound.abs().log2());
        if bucket.lower > 0.0 {
            (lower + (upper - lower) * fraction).exp2()
        } else {
            -(upper + (lower - upper) * (1.0 - fraction)).exp2()
        }
    }

    /// The zero bucket, but for the side on which nothing else was observed.
    fn without_empty_half(&self, mut zero: Bucket) -> Bucket {
        match (self.negative.is_empty(), self.positive.is_empty()) {
            (true, false) => zero.lower = 0.0,
            (false, true) => zero.upper = 0.0,
            _ => {}
        }
        zero
    }

    /// Which fraction of the observations lies between two values.
    pub fn fraction(&self, lower: f64, upper: f64) -> Estimate {
        if self.count == 0.0 || lower.is_nan() || upper.is_nan() {
            return f64::NAN.into();
        }
        if lower >= upper {
            return 0.0.into();
        }
        let has_nan = self.sum.is_nan();
        let in_buckets = || self.buckets().map(|bucket| bucket.count).sum::<f64>();
        let count = if has_nan { in_buckets() } else { self.count };
        // Not `min`, which a NaN would pass.
        let bounded = |rank: f64| if rank > count { count } else { rank };
        let rank = |value| self.rank(value).map_or(count, bounded);
        Estimate {
            value: (rank(upper) - rank(lower)) / self.count,
            nan_effect: (has_nan && count < self.count).then_some(NanEffect::LeftOut),
        }
    }

    /// How many observations lie below `value`; none if it is above all buckets.
    fn rank(&self, value: f64) -> Option<f64> {
        let mut rank = 0.0;
        for mut bucket in self.buckets() {
            let is_zero = !self.layout.is_custom() && bucket.lower <= 0.0 && bucket.upper >= 0.0;
            if is_zero {
                bucket = self.without_empty_half(bucket);
            } else if self.layout.is_custom() && bucket.lower == f64::NEG_INFINITY && bucket.upper > 0.0 {
                bucket.lower = 0.0;
            }
            if bucket.lower >= value {
                return Some(rank);
            }
            if bucket.upper > value {
                let linear = self.layout.is_custom() || is_zero;
                if linear && bucket.lower == f64::NEG_INFINITY {
                    return Some(bucket.count);
                }
                return Some(rank + bucket.count * bucket.fraction_below(value, linear));
            }
            rank += bucket.count;
        }
        None
    }

    /// The variance of the observed values, each taken for the middle of its bucket.
    pub fn variance(&self) -> f64 {
        let mean = self.sum / self.count;
        let mut squares = Sum::default();
        for bucket in self.buckets().filter(|bucket| bucket.count != 0.0) {
            let middle = if self.layout.is_custom() {
                (bucket.upper + bucket.lower) / 2.0
            } else if bucket.lower <= 0.0 && bucket.upper >= 0.0 {
                0.0
            } else {
                (bucket.upper * bucket.lower).sqrt().copysign(bucket.upper)
            };
            let distance = middle - mean;
            squares.add(bucket.count * distance * distance);
        }
        squares.with_lost() / self.count
    }
}
