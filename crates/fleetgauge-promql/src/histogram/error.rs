//! What makes a histogram unusable.

/// Why a histogram is not one, or why two cannot be brought together.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum HistogramError {
    /// Only schemas from −4 to 8 are known.
    #[error("schema {0} is not between -4 and 8")]
    Schema(i64),
    /// The width of the zero bucket is negative or not a number.
    #[error("zero bucket of width {0}")]
    ZeroThreshold(f64),
    /// A bound is not above the one before it.
    #[error("custom bound {after} follows {before}")]
    Order {
        /// The bound before.
        before: f64,
        /// The bound that should be above it.
        after: f64,
    },
    /// A bound is not a finite number; the last bucket ends at +Inf by itself.
    #[error("custom bound {0}")]
    Bound(f64),
    /// Buckets lie beyond what can be numbered, or beyond the custom bounds.
    #[error("bucket {0} is out of range")]
    Index(i64),
    /// Custom buckets know no zero bucket, and no negative ones.
    #[error("custom buckets beside a zero bucket or negative buckets")]
    CustomOnly,
    /// Something was observed less than zero times.
    #[error("negative count {0}")]
    Count(f64),
    /// One has exponential buckets, and the other custom ones.
    #[error("exponential and custom buckets do not mix")]
    Mixed,
}
