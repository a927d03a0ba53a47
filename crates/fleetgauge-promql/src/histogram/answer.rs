//! A histogram as answers have it.

use fleetgauge_core::histogram::{self, Bounds};

use super::bucket::Bucket;
use super::shape::FloatHistogram;

/// The buckets that have observed something. What lies in the zero bucket lies in no other: their bounds end at it.
impl From<&FloatHistogram> for histogram::Histogram {
    fn from(histogram: &FloatHistogram) -> Self {
        let buckets = histogram.buckets().filter(|bucket| bucket.count != 0.0);
        Self {
            count: histogram.count(),
            sum: histogram.sum(),
            buckets: buckets.map(histogram::Bucket::from).collect(),
        }
    }
}

impl From<Bucket> for histogram::Bucket {
    fn from(bucket: Bucket) -> Self {
        Self {
            bounds: Bounds::new(bucket.has_lower, bucket.has_upper),
            lower: bucket.lower,
            upper: bucket.upper,
            count: bucket.count,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Buckets;
    use super::*;

    #[test]
    fn an_answer_has_the_buckets_that_prometheus_shows() {
        let buckets = |counts: &[f64]| Buckets::starting_at(0, counts).expect("buckets");
        let histogram = FloatHistogram::exponential(0)
            .and_then(|histogram| histogram.with_zero(0.5, 2.0))
            .expect("a histogram")
            .with_count(8.0)
            .with_sum(-1.5)
            .with_positive(buckets(&[4.0, 0.0, 1.0]))
            .with_negative(buckets(&[1.0]));
        let answered = histogram::Histogram::from(&histogram);
        let expected = "{count:8, sum:-1.5, [-1,-0.5):1, [-0.5,0.5]:2, (0.5,1]:4, (2,4]:1}";
        assert_eq!(answered.to_string(), expected);
        assert_eq!(histogram.to_string(), expected);
        assert_eq!(answered.buckets.len(), 4, "empty ones are left out");
    }
}
