//! One bucket, with its bounds.

/// How often something between two bounds was observed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    /// Where it begins.
    pub lower: f64,
    /// Where it ends.
    pub upper: f64,
    /// Whether the lower bound lies in it.
    pub has_lower: bool,
    /// Whether the upper bound lies in it.
    pub has_upper: bool,
    /// How often.
    pub count: f64,
}

// === impl Bucket ===

impl Bucket {
    /// Which part of it lies below `value`, as if its observations were spread evenly: over the numbers themselves
    /// (`linear`), or over their logarithms, as exponential buckets take it.
    pub(super) fn fraction_below(&self, value: f64, linear: bool) -> f64 {
        if linear {
            return (value - self.lower) / (self.upper - self.lower);
        }
        let [lower, upper, at] = [self.lower, self.upper, value].map(|number| number.abs().log2());
        if value > 0.0 {
            (at - lower) / (upper - lower)
        } else {
            1.0 - (at - upper) / (lower - upper)
        }
    }
}
