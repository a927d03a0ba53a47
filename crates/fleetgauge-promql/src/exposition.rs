//! Reads what targets expose: the Prometheus text format 0.0.4 and OpenMetrics 1.0.
//!
//! A thousand pods of a hundred kilobytes, every second, is what this module is shaped by:
//! - Nothing is copied and nothing allocated for a sample. Names, labels and texts are borrowed from the
//!   page; only one with escapes is owned.
//! - The text of a series, `name{labels}` as exposed, is at hand before its labels are read. A scraper keys
//!   its series by that text, and reads the labels of a series once in its life.
//! - A reader who needs five families of eighty says so ([`Wanted`]), and other lines are passed over.
//!
//! It is tolerant by line, where Prometheus gives up the whole page: one bad line must not blind an
//! autoscaler to the others. But nothing is lost silently: bad lines are counted and described
//! ([`LineError`]), the metrics that may have lost samples are named ([`LostMetrics`]), a page that was not
//! read to its end is marked ([`Cut`]), and a value that cannot be held is an error, never another value.
//!
//! What Prometheus reads is read here, with the same result, save that a newline inside a label's value must
//! be escaped, and that the last line must end with a line feed, as the formats say: a page that ends within a
//! line may be cut within a number. Besides, these are read: CRLF, hexadecimal floats, negative timestamps,
//! exemplars in the text format (they are skipped, in both), and blanks and tabs wherever either format has a
//! blank.
//!
//! ```
//! use fleetgauge_promql::exposition::{Event, Format, Parser};
//!
//! let body = b"# TYPE vllm:num_requests_waiting gauge
//! vllm:num_requests_waiting{engine=\"0\"} 6
//! vllm:num_requests_waiting{engine=\"1\"} six
//! ";
//! let mut parser = Parser::new();
//! let mut page = parser.page(Format::Text, body);
//! while let Some(event) = page.next() {
//!     let Event::Sample(sample) = event else { continue };
//!     let Some(labels) = page.labels() else { continue };
//!     assert_eq!(sample.name(), "vllm:num_requests_waiting");
//!     assert_eq!(labels.get("engine").as_deref(), Some("0"));
//!     assert_eq!(sample.value, 6.0);
//! }
//! let report = page.finish();
//! assert_eq!((report.samples, report.errors), (1, 1));
//! assert_eq!(
//!     report.first_errors[0].to_string(),
//!     r#"line 3, column 39: value is not a number: "vllm:num_requests_waiting{engine=\"1\"} six""#
//! );
//! ```

mod comment;
mod encode;
mod format;
mod label;
mod limits;
mod line;
mod lost;
mod metric_type;
mod name;
mod number;
mod page;
mod report;
#[cfg(test)]
mod tests;
mod wanted;

use std::borrow::Cow;

pub use encode::Encoder;
pub use format::{Format, UnsupportedContentType};
pub use label::Labels;
pub use limits::Limits;
pub use lost::LostMetrics;
pub use metric_type::MetricType;
pub use page::Page;
pub use report::{Cut, LineError, Reason, Report};
pub use wanted::Wanted;

pub(crate) use number::parse_float;

/// Reads pages one after the other with the same limits and wishes, and reuses its memory from page to
/// page.
#[derive(Clone, Debug, Default)]
pub struct Parser {
    limits: Limits,
    wanted: Option<Wanted>,
    spans: Vec<label::Span>,
}

/// What a line of a page says.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A value.
    Sample(Sample<'a>),
    /// `# TYPE`: the type of a family, whose samples follow.
    Type {
        /// The family's name.
        family: Cow<'a, str>,
        /// Its type.
        metric_type: MetricType,
    },
    /// `# HELP`: what a family is.
    Help {
        /// The family's name.
        family: Cow<'a, str>,
        /// The text, unescaped.
        text: Cow<'a, str>,
    },
    /// `# UNIT`, in OpenMetrics.
    Unit {
        /// The family's name.
        family: Cow<'a, str>,
        /// The unit.
        unit: &'a str,
    },
}

/// One value of one series. Its labels are read with [`Page::labels`].
///
/// *Shape*: a histogram's buckets, sum and count, and a summary's quantiles, are samples each, as exposed.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample<'a> {
    name: Cow<'a, str>,
    series: &'a str,
    metric_type: Option<MetricType>,
    /// The number; NaN and ±Inf as exposed.
    pub value: f64,
    /// When the value was taken, where the target says so; it seldom does, and means the time of the scrape.
    ///
    /// *Unit*: milliseconds since the Unix epoch.
    pub timestamp: Option<i64>,
}

// === impl Parser ===

impl Parser {
    /// With the default limits, for everything on a page.
    pub fn new() -> Self {
        Self::default()
    }

    /// With these limits.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// For these metrics alone.
    #[must_use]
    pub fn with_wanted(mut self, wanted: Wanted) -> Self {
        self.wanted = Some(wanted);
        self
    }

    /// Starts a page.
    pub fn page<'p, 'a>(&'p mut self, format: Format, body: &'a [u8]) -> Page<'p, 'a> {
        Page::new(self, format, body)
    }
}

// === impl Sample ===

impl<'a> Sample<'a> {
    /// The metric's name; for a part of a histogram or summary with its suffix.
    #[inline]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The series as the page writes it, `name{labels}`.
    ///
    /// The same text is the same series in every page of a format, so it can be the key of what is known of
    /// the series. Two texts can be one series too, if a target writes its labels differently.
    #[inline]
    pub fn series(&self) -> &'a str {
        self.series
    }

    /// The type of the sample's family, if the `# TYPE` line before it says so.
    #[inline]
    pub fn metric_type(&self) -> Option<MetricType> {
        self.metric_type
    }

    /// The sample's labels with the values that Prometheus 3 keeps: see [`MetricType::kept_value`].
    ///
    /// *Shape*: pairs of name and value, in the order of the page; without the metric name.
    pub fn kept<'l>(&self, labels: Labels<'_, 'l>) -> impl Iterator<Item = (Cow<'l, str>, Cow<'l, str>)> {
        let metric_type = self.metric_type;
        labels.iter().map(move |(name, value)| {
            let value = match metric_type {
                Some(metric_type) => metric_type.kept_value(&name, value),
                None => value,
            };
            (name, value)
        })
    }
}
