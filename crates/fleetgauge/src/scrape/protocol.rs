//! The formats of a page by the names that Prometheus's configuration has for them.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use fleetgauge_promql::exposition::Format;

use crate::client::failure::excerpt;

/// A format of a page, as Prometheus's `scrape_protocols` and `fallback_scrape_protocol` name it.
///
/// *Source*: <https://prometheus.io/docs/prometheus/latest/configuration/configuration/#scrape_config>.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ScrapeProtocol {
    /// `PrometheusProto`: Protocol Buffers, which have native histograms.
    PrometheusProto,
    /// `PrometheusText0.0.4`.
    PrometheusText004,
    /// `PrometheusText1.0.0`.
    PrometheusText100,
    /// `OpenMetricsText0.0.1`.
    OpenMetricsText001,
    /// `OpenMetricsText1.0.0`.
    OpenMetricsText100,
    /// `OpenMetricsText2.0.0`, which has native histograms, and is read only where it is asked for.
    OpenMetricsText200,
}

/// What names no [`ScrapeProtocol`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{given:?} is not a format that is read; there are PrometheusProto, PrometheusText0.0.4, PrometheusText1.0.0, \
     OpenMetricsText0.0.1, OpenMetricsText1.0.0 and OpenMetricsText2.0.0"
)]
#[non_exhaustive]
pub struct UnknownScrapeProtocol {
    /// What was given.
    pub given: String,
}

// === impl ScrapeProtocol ===

impl ScrapeProtocol {
    const ALL: [Self; 6] = [
        Self::PrometheusProto,
        Self::PrometheusText004,
        Self::PrometheusText100,
        Self::OpenMetricsText001,
        Self::OpenMetricsText100,
        Self::OpenMetricsText200,
    ];

    /// What is asked for by default, the most wanted one first.
    pub(super) const DEFAULT: [Self; 4] = [
        Self::OpenMetricsText100,
        Self::OpenMetricsText001,
        Self::PrometheusText100,
        Self::PrometheusText004,
    ];

    /// The value of a header `Accept` that asks for these, the most wanted one first, and for anything else last; as
    /// Prometheus asks.
    pub(super) fn accept(protocols: &[Self]) -> String {
        let mut weight = 7;
        let mut header = String::new();
        for protocol in protocols {
            let media_type = match protocol {
                Self::PrometheusProto => {
                    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
                }
                Self::PrometheusText004 => "text/plain;version=0.0.4",
                Self::PrometheusText100 => "text/plain;version=1.0.0;escaping=allow-utf-8",
                Self::OpenMetricsText001 => "application/openmetrics-text;version=0.0.1",
                Self::OpenMetricsText100 => "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8",
                Self::OpenMetricsText200 => "application/openmetrics-text;version=2.0.0;escaping=allow-utf-8",
            };
            // Writing to a string does not fail.
            let _ = write!(header, "{media_type};q=0.{weight},");
            weight -= 1;
        }
        let _ = write!(header, "*/*;q=0.{weight}");
        header
    }

    /// How such a page is read.
    pub fn format(self) -> Format {
        match self {
            Self::PrometheusProto => Format::Protobuf,
            Self::PrometheusText004 | Self::PrometheusText100 => Format::Text,
            Self::OpenMetricsText001 | Self::OpenMetricsText100 => Format::OpenMetrics,
            Self::OpenMetricsText200 => Format::OpenMetrics2,
        }
    }
}

impl fmt::Display for ScrapeProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PrometheusProto => "PrometheusProto",
            Self::PrometheusText004 => "PrometheusText0.0.4",
            Self::PrometheusText100 => "PrometheusText1.0.0",
            Self::OpenMetricsText001 => "OpenMetricsText0.0.1",
            Self::OpenMetricsText100 => "OpenMetricsText1.0.0",
            Self::OpenMetricsText200 => "OpenMetricsText2.0.0",
        })
    }
}

impl FromStr for ScrapeProtocol {
    type Err = UnknownScrapeProtocol;

    fn from_str(text: &str) -> Result<Self, UnknownScrapeProtocol> {
        let known = Self::ALL.into_iter().find(|known| known.to_string() == text);
        known.ok_or_else(|| UnknownScrapeProtocol { given: excerpt(text) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_asked_for_as_prometheus_asks() {
        let protocols = [ScrapeProtocol::PrometheusProto, ScrapeProtocol::PrometheusText004];
        assert_eq!(
            ScrapeProtocol::accept(&protocols),
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7,\
             text/plain;version=0.0.4;q=0.6,*/*;q=0.5"
        );
    }

    #[test]
    fn names_are_those_of_prometheus() {
        let check = |name: &str, expected: Option<Format>| {
            let protocol: Option<ScrapeProtocol> = name.parse().ok();
            assert_eq!(protocol.map(ScrapeProtocol::format), expected, "{name}");
            if let Some(protocol) = protocol {
                assert_eq!(protocol.to_string(), name);
            }
        };
        check("PrometheusText0.0.4", Some(Format::Text));
        check("PrometheusText1.0.0", Some(Format::Text));
        check("OpenMetricsText0.0.1", Some(Format::OpenMetrics));
        check("OpenMetricsText1.0.0", Some(Format::OpenMetrics));
        check("PrometheusProto", Some(Format::Protobuf));
        check("OpenMetricsText2.0.0", Some(Format::OpenMetrics2));
        check("prometheustext0.0.4", None);
        check("", None);
    }
}
