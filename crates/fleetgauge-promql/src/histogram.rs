//! Native histograms: one sample holds a whole distribution, in buckets whose bounds follow from a schema.
//!
//! A classic histogram is a series for each bucket, and its bounds are fixed when the program is written. A native
//! one has either exponential buckets, a power of two of them between two powers of two, or a list of bounds of
//! its own. Two of the same kind can be added up whatever their resolution: the finer one is made coarser.
//!
//! Counts are numbers with fractions, for rates and means of histograms are histograms too. What this module
//! refuses to do is to mix exponential and custom buckets; no meaning could be given to the result.
//!
//! *Source*: <https://prometheus.io/docs/specs/native_histograms/>.
//!
//! ```
//! use fleetgauge_promql::histogram::{Buckets, FloatHistogram};
//!
//! // Four observations in (1, 2], and four in (2, 4].
//! let seen = FloatHistogram::exponential(0)?
//!     .with_count(8.0)
//!     .with_sum(18.0)
//!     .with_positive(Buckets::starting_at(1, &[4.0, 4.0])?);
//! assert_eq!(seen.quantile(0.5).value, 2.0);
//! assert_eq!(seen.to_string(), "{count:8, sum:18, (1,2]:4, (2,4]:4}");
//! # Ok::<(), fleetgauge_promql::histogram::HistogramError>(())
//! ```

mod answer;
mod bound;
mod bucket;
mod buckets;
mod classic;
mod error;
mod merge;
mod notation;
mod reset;
mod rows;
mod shape;
mod statistic;
mod tally;
mod text;
mod trim;

#[cfg(test)]
mod tests;

pub(crate) use bound::MAX_SCHEMA;
pub use bucket::Bucket;
pub use buckets::Buckets;
pub(crate) use buckets::Indexes;
pub use classic::{ClassicError, ClassicHistogram};
pub use error::HistogramError;
pub use merge::Merged;
pub(crate) use merge::{Join, MeanOf, TotalOf};
pub use notation::NotationError;
pub(crate) use rows::{HistogramSample, Rows};
pub use shape::{CounterReset, FloatHistogram, Histogram, Layout};
pub use statistic::{Estimate, NanEffect};
pub use tally::Tally;
