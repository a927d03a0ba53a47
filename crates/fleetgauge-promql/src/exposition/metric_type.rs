//! The types of metrics, and which samples belong to a family of each.

use std::borrow::Cow;
use std::fmt;

use fleetgauge_syntax::number::OpenMetricsFloat;

use super::number::parse_float;

/// The type of a metric family, as its `# TYPE` line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MetricType {
    /// Only grows, until it is reset.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts observations in buckets by upper bound (`le`), with their sum and number.
    Histogram,
    /// A histogram of a current state, which may shrink. OpenMetrics only.
    GaugeHistogram,
    /// Quantiles of observations, with their sum and number.
    Summary,
    /// Labels that describe, with the value 1. OpenMetrics only.
    Info,
    /// One of several states. OpenMetrics only.
    StateSet,
    /// `unknown` in OpenMetrics, `untyped` in the text format.
    Unknown,
}

/// Every suffix that a family's samples carry.
///
/// *Source*: the OpenMetrics specification, "Suffixes".
pub(super) const SUFFIXES: [&str; 8] = [
    "_bucket", "_sum", "_count", "_total", "_created", "_info", "_gsum", "_gcount",
];

impl MetricType {
    /// The type that a `# TYPE` line names; the words of both formats are known in both.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "counter" => Self::Counter,
            "gauge" => Self::Gauge,
            "histogram" => Self::Histogram,
            "gaugehistogram" => Self::GaugeHistogram,
            "summary" => Self::Summary,
            "info" => Self::Info,
            "stateset" => Self::StateSet,
            "unknown" | "untyped" => Self::Unknown,
            _ => return None,
        })
    }

    /// The type that a number of the enumeration `MetricType` of Protocol Buffers stands for.
    pub(super) fn from_message(number: u64) -> Option<Self> {
        Some(match number {
            0 => Self::Counter,
            1 => Self::Gauge,
            2 => Self::Summary,
            3 => Self::Unknown,
            4 => Self::Histogram,
            5 => Self::GaugeHistogram,
            _ => return None,
        })
    }

    /// Whether a metric of this type is several series.
    pub(super) fn has_parts(self) -> bool {
        matches!(self, Self::Histogram | Self::GaugeHistogram | Self::Summary)
    }

    /// The name in OpenMetrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::GaugeHistogram => "gaugehistogram",
            Self::Summary => "summary",
            Self::Info => "info",
            Self::StateSet => "stateset",
            Self::Unknown => "unknown",
        }
    }

    /// The value of a label as Prometheus 3 keeps it: the bound of a histogram's bucket (`le`) and a summary's
    /// quantile are written as in OpenMetrics, `1.0` for `1` and `1e+06` for `1000000`. All else stays.
    ///
    /// *Source*: <https://prometheus.io/docs/prometheus/latest/migration/#le-and-quantile-label-values>.
    pub fn kept_value<'v>(self, label: &str, value: Cow<'v, str>) -> Cow<'v, str> {
        let is_number = matches!(
            (self, label),
            (Self::Histogram, "le") | (Self::Summary, "quantile")
        );
        match parse_float(&value) {
            Some(number) if is_number => Cow::Owned(OpenMetricsFloat(number).to_string()),
            _ => value,
        }
    }

    /// Whether a sample `name` belongs to the family `family` of this type.
    pub(super) fn covers(self, family: &str, name: &str) -> bool {
        let Some(suffix) = name.strip_prefix(family) else {
            return false;
        };
        let suffixes: &[&str] = match self {
            Self::Counter => &["", "_total", "_created"],
            Self::Histogram => &["_bucket", "_sum", "_count", "_created"],
            Self::GaugeHistogram => &["_bucket", "_gsum", "_gcount"],
            Self::Summary => &["", "_sum", "_count", "_created"],
            Self::Info => &["_info"],
            Self::Gauge | Self::StateSet | Self::Unknown => &[""],
        };
        suffixes.contains(&suffix)
    }
}

impl fmt::Display for MetricType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_and_quantiles_are_kept_as_openmetrics_writes_them() {
        let check = |metric_type: MetricType, label: &str, value: &str, expected: &str| {
            assert_eq!(metric_type.kept_value(label, value.into()), expected);
        };
        use MetricType::{Gauge, GaugeHistogram, Histogram, Summary};
        check(Histogram, "le", "1", "1.0");
        check(Histogram, "le", "1.0", "1.0");
        check(Histogram, "le", "0.50", "0.5");
        check(Histogram, "le", "1048576", "1.048576e+06");
        check(Histogram, "le", "inf", "+Inf");
        check(Histogram, "le", "-0", "0.0");
        check(Histogram, "le", "one", "one");
        check(Histogram, "le", "", "");
        check(Histogram, "quantile", "1", "1");
        check(Summary, "quantile", "1", "1.0");
        check(Summary, "le", "1", "1");
        check(GaugeHistogram, "le", "1", "1");
        check(Gauge, "le", "1", "1");
    }
}
