//! What a number can be: a value, or undefined.

use std::fmt;

pub use fleetgauge_syntax::number::Number;

use crate::histogram::Histogram;
use crate::label::Labels;
use crate::time::Timestamp;

/// One series' value in an answer: labels, number and timestamp.
///
/// *Shape*: a view into its [`Answer`](crate::result::Answer).
///
/// ```
/// # use fleetgauge_core::result::AnswerBuilder;
/// # use fleetgauge_core::sample::Stamp;
/// # let mut answer = AnswerBuilder::new(Stamp::Evaluated);
/// # answer.series([("pod", "a")], f64::NAN, Default::default())?;
/// # let answer = answer.build();
/// for value in answer.values() {
///     match value.is_undefined() {
///         true => println!("{}: undefined", value.label("pod")),
///         false => println!("{}: {}", value.label("pod"), value.value),
///     }
/// }
/// # Ok::<(), fleetgauge_core::label::LabelError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct MetricValue<'a> {
    /// The labels of the series.
    pub labels: Labels<'a>,
    /// The number as it was collected. NaN and ±Inf pass through; [`is_undefined`](Self::is_undefined)
    /// tells them apart.
    pub value: f64,
    /// What there is in the place of a number, which is NaN then. Only an answer to who said that he takes them has any.
    pub histogram: Option<&'a Histogram>,
    /// When the value holds; what that says of its age depends on [`Stamp`].
    pub timestamp: Timestamp,
    /// What `timestamp` is.
    pub stamp: Stamp,
}

/// What a series has at a time.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum SampleValue<'a> {
    /// A number.
    Number(f64),
    /// A native histogram, which is none.
    Histogram(&'a Histogram),
}

/// A number at a time.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Point {
    /// When it holds.
    pub timestamp: Timestamp,
    /// The number.
    pub value: f64,
}

/// What the timestamp of a value means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stamp {
    /// When the query was evaluated. It says nothing about the age of the samples behind the value:
    /// Prometheus answers an instant query from samples up to five minutes old.
    Evaluated,
    /// When the sample itself was taken.
    Sampled,
}

// === impl MetricValue ===

impl<'a> MetricValue<'a> {
    /// The number, or the native histogram.
    pub fn sample(&self) -> SampleValue<'a> {
        self.histogram
            .map_or(SampleValue::Number(self.value), SampleValue::Histogram)
    }

    /// Whether the number is NaN or ±Inf: an answer, but not one to compute with.
    pub fn is_undefined(&self) -> bool {
        !self.value.is_finite()
    }

    /// The label `name`, or `""` where the series lacks it, as PromQL treats an absent label.
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).unwrap_or_default()
    }

    /// When the sample was taken, if the answer says so.
    ///
    /// `None` for an instant query, whose timestamp is that of the evaluation.
    pub fn sampled_at(&self) -> Option<Timestamp> {
        (self.stamp == Stamp::Sampled).then_some(self.timestamp)
    }
}

/// As Prometheus prints a sample: `name{a="b"} => 3 @[1763930000.5]`.
impl fmt::Display for MetricValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} => {} @[{}]", self.labels, self.sample(), self.timestamp)
    }
}

// === impl SampleValue ===

/// A number as Prometheus's API prints it, a histogram as its tools do.
impl fmt::Display for SampleValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => Number(*number).fmt(f),
            Self::Histogram(histogram) => histogram.fmt(f),
        }
    }
}
