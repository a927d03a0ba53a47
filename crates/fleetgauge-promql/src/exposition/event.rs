//! What the lines of a page say.

use std::borrow::Cow;

use super::label::Labels;
use super::metric_type::MetricType;
use crate::histogram::FloatHistogram;

/// What a line of a page says.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A value.
    Sample(Sample<'a>),
    /// A distribution: a native histogram.
    Histogram(Box<HistogramSample<'a>>),
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

/// One value of one series. Its labels are read with [`Page::labels`](super::Page::labels).
///
/// *Shape*: a histogram's buckets, sum and count, and a summary's quantiles, are samples each, as exposed.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample<'a> {
    pub(super) name: Cow<'a, str>,
    pub(super) series: &'a str,
    pub(super) metric_type: Option<MetricType>,
    /// The number; NaN and ±Inf as exposed.
    pub value: f64,
    /// When the value was taken, where the target says so; it seldom does, and means the time of the scrape.
    ///
    /// *Unit*: milliseconds since the Unix epoch.
    pub timestamp: Option<i64>,
    /// Since when it is counted, where the target says so beside the value.
    ///
    /// *Unit*: milliseconds since the Unix epoch.
    pub start_timestamp: Option<i64>,
}

/// One distribution of one series. Its labels are read with [`Page::labels`](super::Page::labels).
#[derive(Clone, Debug, PartialEq)]
pub struct HistogramSample<'a> {
    pub(super) name: &'a str,
    pub(super) series: &'a str,
    pub(super) metric_type: MetricType,
    /// The distribution.
    pub histogram: FloatHistogram,
    /// As of a [`Sample`].
    pub timestamp: Option<i64>,
    /// As of a [`Sample`].
    pub start_timestamp: Option<i64>,
}

// === impl HistogramSample ===

impl<'a> HistogramSample<'a> {
    /// The metric's name.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// As [`Sample::series`].
    pub fn series(&self) -> &'a str {
        self.series
    }

    /// The type of its family.
    pub fn metric_type(&self) -> MetricType {
        self.metric_type
    }
}

// === impl Sample ===

impl<'a> Sample<'a> {
    /// The metric's name; for a part of a histogram or summary with its suffix.
    #[inline]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The series as the page writes it, `name{labels}`, or as the text format would.
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
