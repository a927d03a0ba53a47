//! Native histograms, as answers have them: what was counted between which bounds.
//!
//! It is what Prometheus's API tells of one, and the end of a computation. Schemas, spans and resets, by which histograms are
//! added up, are of the evaluator.
//!
//! *Source*: <https://prometheus.io/docs/prometheus/latest/querying/api/#native-histograms>

use std::fmt;

use fleetgauge_syntax::number::GoFloat;

/// A distribution: one sample of a series, and no number.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// How many observations there are.
    pub count: f64,
    /// What they add up to.
    pub sum: f64,
    /// From the lowest to the highest; those that have observed nothing are left out.
    pub buckets: Box<[Bucket]>,
}

/// How many observations lie between two bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    /// Which of the bounds lie in it.
    pub bounds: Bounds,
    /// Where it begins.
    pub lower: f64,
    /// Where it ends.
    pub upper: f64,
    /// How many.
    pub count: f64,
}

/// Which of its bounds lie in a bucket. The API tells it by a number, from 0 in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bounds {
    /// The upper one, `(1,2]`.
    OpenLeft,
    /// The lower one, `[1,2)`.
    OpenRight,
    /// Neither, `(1,2)`.
    Open,
    /// Both, `[1,2]`.
    Closed,
}

// === impl Histogram ===

impl Histogram {
    /// *Unit*: bytes.
    pub fn heap_bytes(&self) -> usize {
        size_of_val(&*self.buckets)
    }
}

/// As Prometheus shows it: `{count:8, sum:18, (1,2]:4, (2,4]:4}`.
impl fmt::Display for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{count:{}, sum:{}", GoFloat(self.count), GoFloat(self.sum))?;
        for bucket in self.buckets.iter().filter(|bucket| bucket.count != 0.0) {
            write!(f, ", {bucket}")?;
        }
        f.write_str("}")
    }
}

// === impl Bucket ===

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open = if self.bounds.has_lower() { '[' } else { '(' };
        let close = if self.bounds.has_upper() { ']' } else { ')' };
        let [lower, upper, count] = [self.lower, self.upper, self.count].map(GoFloat);
        write!(f, "{open}{lower},{upper}{close}:{count}")
    }
}

// === impl Bounds ===

impl Bounds {
    /// Those of a bucket in which the lower and the upper bound lie, or do not.
    pub const fn new(has_lower: bool, has_upper: bool) -> Self {
        match (has_lower, has_upper) {
            (false, true) => Self::OpenLeft,
            (true, false) => Self::OpenRight,
            (false, false) => Self::Open,
            (true, true) => Self::Closed,
        }
    }

    /// By the number that the API has for it.
    pub const fn from_number(number: u64) -> Option<Self> {
        match number {
            0 => Some(Self::OpenLeft),
            1 => Some(Self::OpenRight),
            2 => Some(Self::Open),
            3 => Some(Self::Closed),
            _ => None,
        }
    }

    /// The number that the API has for it.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// Whether the lower bound lies in it.
    pub const fn has_lower(self) -> bool {
        matches!(self, Self::OpenRight | Self::Closed)
    }

    /// Whether the upper bound lies in it.
    pub const fn has_upper(self) -> bool {
        matches!(self, Self::OpenLeft | Self::Closed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_is_shown_as_prometheus_shows_it() {
        let bucket = |number, lower, upper, count| Bucket {
            bounds: Bounds::from_number(number).unwrap(),
            lower,
            upper,
            count,
        };
        let histogram = Histogram {
            count: 9.5,
            sum: 1e6,
            buckets: [
                bucket(1, -2.0, -1.0, 1.5),
                bucket(3, -0.5, 0.5, 2.0),
                bucket(2, 0.5, 1.0, 0.0),
                bucket(0, 1.0, f64::INFINITY, 6.0),
            ]
            .into(),
        };
        let expected = "{count:9.5, sum:1e+06, [-2,-1):1.5, [-0.5,0.5]:2, (1,+Inf]:6}";
        assert_eq!(histogram.to_string(), expected);
    }

    #[test]
    fn bounds_are_read_as_they_are_numbered() {
        for number in 0..4 {
            let bounds = Bounds::from_number(number).unwrap();
            assert_eq!(u64::from(bounds.number()), number);
            assert_eq!(Bounds::new(bounds.has_lower(), bounds.has_upper()), bounds);
        }
        assert_eq!(Bounds::from_number(4), None);
    }
}
