//! A histogram with fixed bounds, as the Python and Go clients keep it.

use std::borrow::Cow;

/// Counts per bucket, and the sum of what was observed.
#[derive(Clone, Debug)]
pub(crate) struct Histogram {
    bounds: &'static [f64],
    /// One per bound and one for `+Inf`; not cumulated, so that observing touches one of them.
    counts: Box<[u64]>,
    sum: f64,
    count: u64,
}

// === impl Histogram ===

impl Histogram {
    /// An empty one. `bounds` rise and leave `+Inf` out.
    pub(crate) fn new(bounds: &'static [f64]) -> Self {
        Self {
            bounds,
            counts: vec![0; bounds.len() + 1].into(),
            sum: 0.0,
            count: 0,
        }
    }

    /// Counts `value`.
    pub(crate) fn observe(&mut self, value: f64) {
        self.observe_n(value, 1);
    }

    /// Counts `value` `n` times.
    pub(crate) fn observe_n(&mut self, value: f64, n: u64) {
        let bucket = self.bounds.partition_point(|&bound| bound < value);
        self.counts[bucket] += n;
        self.sum += value * n as f64;
        self.count += n;
    }

    /// All that these observed, which have the same bounds; `None` if there are none.
    pub(crate) fn merged<'a>(mut parts: impl Iterator<Item = &'a Self>) -> Option<Cow<'a, Self>> {
        let mut whole = Cow::Borrowed(parts.next()?);
        for part in parts {
            let whole = whole.to_mut();
            whole.sum += part.sum;
            whole.count += part.count;
            for (count, more) in whole.counts.iter_mut().zip(&part.counts) {
                *count += more;
            }
        }
        Some(whole)
    }

    /// How many values were observed.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The sum of the observed values.
    pub(crate) fn sum(&self) -> f64 {
        self.sum
    }

    /// Upper bounds with the cumulated count of each, `+Inf` last.
    pub(crate) fn buckets(&self) -> impl Iterator<Item = (f64, u64)> {
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        bounds.zip(self.counts.iter().scan(0, |total, &count| {
            *total += count;
            Some(*total)
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_own_bucket() {
        let mut histogram = Histogram::new(&[1.0, 2.0]);
        for value in [0.5, 1.0, 1.5, 2.0, 9.0] {
            histogram.observe(value);
        }
        histogram.observe_n(3.0, 2);
        let buckets: Vec<_> = histogram.buckets().collect();
        assert_eq!(buckets, [(1.0, 2), (2.0, 4), (f64::INFINITY, 7)]);
        assert_eq!((histogram.count(), histogram.sum()), (7, 20.0));
    }
}
