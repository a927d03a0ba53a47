//! How a histogram is shown to people.

use std::fmt;

use fleetgauge_syntax::number::GoFloat;

use super::bucket::Bucket;
use super::shape::FloatHistogram;

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open = if self.has_lower { '[' } else { '(' };
        let close = if self.has_upper { ']' } else { ')' };
        let [lower, upper, count] = [self.lower, self.upper, self.count].map(GoFloat);
        write!(f, "{open}{lower},{upper}{close}:{count}")
    }
}

/// As Prometheus shows it: the count, the sum, and each bucket that has observed something.
impl fmt::Display for FloatHistogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{count:{}, sum:{}", GoFloat(self.count), GoFloat(self.sum))?;
        let negative = self.negative.iter().rev();
        let negative = negative.map(|(index, count)| self.negative_bucket(index, count));
        let positive = self.positive.iter();
        let positive = positive.map(|(index, count)| self.positive_bucket(index, count));
        let buckets = negative.chain([self.zero_bucket()]).chain(positive);
        for bucket in buckets.filter(|bucket| bucket.count != 0.0) {
            write!(f, ", {bucket}")?;
        }
        f.write_str("}")
    }
}
