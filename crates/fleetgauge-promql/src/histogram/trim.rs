//! What remains of a histogram below or above a value.

use super::bucket::Bucket;
use super::buckets::Buckets;
use super::shape::FloatHistogram;

/// What of a bucket remains.
struct Kept {
    count: f64,
    /// What its observations are taken for.
    middle: f64,
}

#[derive(Clone, Copy)]
struct Cut {
    at: f64,
    keeps_below: bool,
    is_custom: bool,
}

// === impl Histogram ===

impl FloatHistogram {
    /// Drops the observations above `value`, as the operator `</` does.
    pub fn trim_above(&mut self, value: f64) {
        self.trim(value, true);
    }

    /// Drops the observations below `value`, as the operator `>/` does.
    pub fn trim_below(&mut self, value: f64) {
        self.trim(value, false);
    }

    fn trim(&mut self, at: f64, keeps_below: bool) {
        let cut = Cut {
            at,
            keeps_below,
            is_custom: self.layout.is_custom(),
        };
        let (mut count, mut sum, mut is_trimmed) = (0.0, 0.0, false);
        let mut keep = |own: &mut f64, kept: Kept| {
            count += kept.count;
            sum += kept.middle * kept.count;
            is_trimmed |= *own != kept.count;
            *own = kept.count;
        };
        let positive: Vec<Bucket> = bounded(&self.positive, |index, own| self.positive_bucket(index, own));
        let negative: Vec<Bucket> = bounded(&self.negative, |index, own| self.negative_bucket(index, own));
        let zero = self.zero_bucket();
        let has_counted = |buckets: &[Bucket]| buckets.iter().any(|bucket| bucket.count != 0.0);
        let (has_positive, has_negative) = (has_counted(&positive), has_counted(&negative));
        for (buckets, own, sign) in [
            (positive, &mut self.positive, 1.0),
            (negative, &mut self.negative, -1.0),
        ] {
            let counts = own.counts_mut().iter_mut().zip(buckets);
            for (own, bucket) in counts.filter(|(own, _)| **own != 0.0) {
                keep(own, cut.bucket(&bucket, sign));
            }
        }
        if zero.count > 0.0 {
            keep(
                &mut self.zero_count,
                cut.zero_bucket(zero, has_negative, has_positive),
            );
        }
        // As long as all is kept, the sum is known better than the buckets tell.
        if is_trimmed {
            (self.count, self.sum) = (count, sum);
            self.compact();
        }
    }
}

fn bounded(buckets: &Buckets, bounds: impl Fn(i32, f64) -> Bucket) -> Vec<Bucket> {
    buckets
        .iter()
        .map(|(index, count)| bounds(index, count))
        .collect()
}

// === impl Kept ===

impl Kept {
    const NONE: Self = Self {
        count: 0.0,
        middle: 0.0,
    };
}

// === impl Cut ===

impl Cut {
    /// *`sign`*: on which side of zero the observations lie, which matters to exponential buckets.
    fn bucket(&self, bucket: &Bucket, sign: f64) -> Kept {
        let (keeps_all, keeps_some) = if self.keeps_below {
            (bucket.upper <= self.at, bucket.lower < self.at)
        } else {
            (bucket.lower >= self.at, bucket.upper > self.at)
        };
        if keeps_all {
            let middle = self.middle(bucket.lower, bucket.upper, sign);
            let count = bucket.count;
            return Kept { count, middle };
        }
        if !keeps_some {
            return Kept::NONE;
        }
        if bucket.lower == f64::NEG_INFINITY || bucket.upper == f64::INFINITY {
            return self.unbounded(bucket);
        }
        // A cut at NaN keeps nothing of it, above.
        let below = bucket.count * bucket.fraction_below(self.at, self.is_custom);
        if self.keeps_below {
            let middle = self.middle(bucket.lower, self.at, sign);
            Kept { count: below, middle }
        } else {
            let middle = self.middle(self.at, bucket.upper, sign);
            let count = bucket.count - below;
            Kept { count, middle }
        }
    }

    /// Of a bucket with one end only, nobody knows how far its observations reach: all or none are kept, but for
    /// the first of a histogram whose other bounds are positive, which is taken to begin at zero.
    fn unbounded(&self, bucket: &Bucket) -> Kept {
        let all = |middle| Kept {
            count: bucket.count,
            middle,
        };
        let part = |fraction, middle| Kept {
            count: bucket.count * fraction,
            middle,
        };
        let (at, upper) = (self.at, bucket.upper);
        if bucket.lower == f64::NEG_INFINITY {
            let begins_at_zero = upper > 0.0 && upper < f64::INFINITY;
            return match self.keeps_below {
                true if at > 0.0 && begins_at_zero => part(at / upper, at / 2.0),
                true if upper <= 0.0 => all(at),
                false if at >= 0.0 && begins_at_zero => part(1.0 - at / upper, f64::midpoint(at, upper)),
                _ => Kept::NONE,
            };
        }
        if !self.keeps_below && at >= bucket.lower {
            all(at)
        } else {
            Kept::NONE
        }
    }

    /// Where there are observations on one side only, those of the zero bucket are taken to lie there, too.
    fn zero_bucket(&self, mut zero: Bucket, has_negative: bool, has_positive: bool) -> Kept {
        match (has_negative, has_positive) {
            (true, false) => zero.upper = 0.0,
            (false, true) => zero.lower = 0.0,
            _ => {}
        }
        let kept = |fraction, from: f64, to: f64| Kept {
            count: zero.count * fraction,
            middle: f64::midpoint(from, to),
        };
        let (lower, upper, width) = (zero.lower, zero.upper, zero.upper - zero.lower);
        let is_below = self.at <= lower;
        let is_above = self.at >= upper;
        match self.keeps_below {
            true if is_below => Kept::NONE,
            true if is_above => kept(1.0, lower, upper),
            true => kept((self.at - lower) / width, lower, self.at),
            false if is_below => kept(1.0, lower, upper),
            false if is_above => Kept::NONE,
            false => kept((upper - self.at) / width, self.at, upper),
        }
    }

    /// What observations between two bounds are taken for.
    fn middle(&self, lower: f64, upper: f64, sign: f64) -> f64 {
        match (lower.is_infinite(), upper.is_infinite()) {
            (true, true) => 0.0,
            (true, false) if upper > 0.0 => upper / 2.0,
            (true, false) => upper,
            (false, true) => lower,
            (false, false) if self.is_custom => (lower + upper) / 2.0,
            (false, false) => sign * (lower * upper).abs().sqrt(),
        }
    }
}
