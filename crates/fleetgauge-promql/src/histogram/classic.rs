//! Classic histograms as native ones with custom buckets: what `load_with_nhcb` of scripts makes, and a scrape that converts
//! what it reads.
//!
//! *Source*: <https://prometheus.io/docs/specs/native_histograms/#nhcbs>.

use super::buckets::Buckets;
use super::shape::FloatHistogram;

/// A classic histogram at one time, put together from its series in any order.
///
/// ```
/// use fleetgauge_promql::histogram::ClassicHistogram;
///
/// let mut seen = ClassicHistogram::default();
/// seen.add_bucket(2.0, 5.0);
/// seen.add_bucket(1.0, 3.0);
/// seen.set_count(6.0);
/// seen.set_sum(9.0);
/// let native = seen.convert()?;
/// assert_eq!(native.to_string(), "{count:6, sum:9, [-Inf,1]:3, (1,2]:2, (2,+Inf]:1}");
/// # Ok::<(), fleetgauge_promql::histogram::ClassicError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct ClassicHistogram {
    /// Their bounds, ascending, and how much is counted up to them.
    buckets: Vec<(f64, f64)>,
    count: Option<f64>,
    sum: Option<f64>,
}

/// Why series are no classic histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.reason())]
#[non_exhaustive]
pub enum ClassicError {
    /// Neither a count nor a bucket is there.
    NoCount,
    /// The last bucket, which has no upper bound, counts something else than there is in all.
    Count,
    /// A bucket counts less than the one below it, or not at all.
    Order,
    /// A bound is not a number, or there is no end of them.
    Bound,
}

// === impl ClassicHistogram ===

impl ClassicHistogram {
    /// Adds a bucket: so much is counted up to `bound`. Of two with one bound the first counts; `false` if the second one
    /// says something else.
    pub fn add_bucket(&mut self, bound: f64, count: f64) -> bool {
        let place = self.buckets.partition_point(|(known, _)| *known < bound);
        match self.buckets.get(place) {
            Some((known, before)) if *known == bound => *before == count,
            _ => {
                self.buckets.insert(place, (bound, count));
                true
            }
        }
    }

    /// Sets how much is counted in all; `false` if something else was set before.
    pub fn set_count(&mut self, count: f64) -> bool {
        self.count.replace(count).is_none_or(|before| before == count)
    }

    /// Sets the sum of all observed values; `false` if something else was set before.
    pub fn set_sum(&mut self, sum: f64) -> bool {
        let is_same = |before: f64| before == sum || before.is_nan() && sum.is_nan();
        self.sum.replace(sum).is_none_or(is_same)
    }

    /// Whether it is known how much is counted in all, which is the last bucket's count where no other is told.
    pub fn has_count(&self) -> bool {
        let last = self.buckets.last();
        self.count.is_some() || last.is_some_and(|(bound, _)| *bound == f64::INFINITY)
    }

    /// Whether the sum is known.
    pub fn has_sum(&self) -> bool {
        self.sum.is_some()
    }

    /// As a native histogram, the way Prometheus makes it: where no count is known, it is that of the highest bucket; where
    /// that one is not the last, what is above it counts the rest; and a sum that is not known is 0. Who cannot vouch
    /// for that asks [`has_count`](Self::has_count) and [`has_sum`](Self::has_sum) before.
    ///
    /// *Errors*: [`ClassicError`]
    pub fn convert(mut self) -> Result<FloatHistogram, ClassicError> {
        let last = self.buckets.last().map(|(_, count)| *count);
        let count = self.count.or(last).ok_or(ClassicError::NoCount)?;
        let has_last = self.buckets.last().map(|(bound, _)| *bound) == Some(f64::INFINITY);
        if !has_last {
            self.buckets.push((f64::INFINITY, count));
        }
        let mut before = 0.0;
        let mut counts = Vec::with_capacity(self.buckets.len());
        for (_, count) in &self.buckets {
            // What is not a number is not more than anything.
            if count.is_nan() || *count < before {
                return Err(ClassicError::Order);
            }
            counts.push(count - before);
            before = *count;
        }
        if before != count {
            return Err(ClassicError::Count);
        }
        let bounds: Vec<f64> = self.buckets.iter().map(|(bound, _)| *bound).collect();
        let finite = &bounds[..bounds.len() - 1];
        // A Prometheus takes no such histogram, and is asked again and again for those that come with it.
        if finite.first() == Some(&f64::NEG_INFINITY) {
            return Err(ClassicError::Bound);
        }
        let empty = FloatHistogram::custom(finite).map_err(|_| ClassicError::Bound)?;
        let buckets = Buckets::starting_at(0, &counts).map_err(|_| ClassicError::Bound)?;
        let mut histogram = empty
            .with_count(count)
            .with_sum(self.sum.unwrap_or_default())
            .with_positive(buckets);
        histogram.compact();
        Ok(histogram)
    }
}

// === impl ClassicError ===

impl ClassicError {
    /// In words.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoCount => "a classic histogram has no count",
            Self::Count => "a classic histogram has another count than its last bucket",
            Self::Order => "a bucket of a classic histogram counts less than the one below",
            Self::Bound => "a classic histogram has bounds that cannot be",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_become_a_histogram_or_are_told_why_not() {
        let check = |buckets: &[(f64, f64)], count: Option<f64>, expected: Result<&str, ClassicError>| {
            let mut classic = ClassicHistogram::default();
            for &(bound, count) in buckets {
                assert!(classic.add_bucket(bound, count));
            }
            count.map(|count| classic.set_count(count));
            let converted = classic.convert().map(|histogram| histogram.to_string());
            assert_eq!(
                converted.as_deref().map_err(|error| *error),
                expected,
                "{buckets:?}"
            );
        };
        let infinity = f64::INFINITY;
        let whole = Ok("{count:6, sum:0, [-Inf,1]:3, (2,+Inf]:3}");
        check(&[(infinity, 6.0), (2.0, 3.0), (1.0, 3.0)], Some(6.0), whole);
        // Each of the two ends says the other.
        check(&[(1.0, 3.0), (2.0, 3.0)], Some(6.0), whole);
        check(&[(1.0, 3.0), (2.0, 3.0), (infinity, 6.0)], None, whole);
        check(&[], Some(2.5), Ok("{count:2.5, sum:0, [-Inf,+Inf]:2.5}"));
        check(&[(1.0, 3.0)], None, Ok("{count:3, sum:0, [-Inf,1]:3}"));
        check(&[], None, Err(ClassicError::NoCount));
        check(&[(infinity, 6.0)], Some(7.0), Err(ClassicError::Count));
        check(&[(1.0, 4.0), (2.0, 3.0)], Some(6.0), Err(ClassicError::Order));
        check(&[(1.0, 4.0)], Some(3.0), Err(ClassicError::Order));
        check(&[(1.0, -1.0)], Some(3.0), Err(ClassicError::Order));
        check(&[(1.0, f64::NAN)], Some(3.0), Err(ClassicError::Order));
        check(&[], Some(f64::NAN), Err(ClassicError::Order));
        check(&[(f64::NAN, 1.0)], Some(3.0), Err(ClassicError::Bound));
        check(&[(-infinity, 0.0)], Some(3.0), Err(ClassicError::Bound));
    }

    #[test]
    fn a_part_that_contradicts_the_one_before_is_told() {
        let mut classic = ClassicHistogram::default();
        assert!(!classic.has_count() && !classic.has_sum());
        assert!(classic.add_bucket(1.0, 2.0) && classic.add_bucket(1.0, 2.0));
        assert!(!classic.has_count() && !classic.add_bucket(1.0, 3.0));
        assert!(classic.add_bucket(f64::INFINITY, 2.0) && classic.has_count());
        assert!(classic.set_count(2.0) && classic.set_count(2.0) && !classic.set_count(3.0));
        assert!(classic.set_sum(f64::NAN) && classic.set_sum(f64::NAN) && !classic.set_sum(1.0));
        assert!(classic.has_sum());
    }
}
