//! Which format a page is written in.

/// The formats of an exposition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Format {
    /// Prometheus text format 0.0.4: timestamps in milliseconds, no end mark.
    ///
    /// *Source*: <https://prometheus.io/docs/instrumenting/exposition_formats/>.
    #[default]
    Text,
    /// OpenMetrics 1.0: timestamps in seconds, exemplars, units, ended by `# EOF`.
    ///
    /// *Source*: <https://prometheus.io/docs/specs/om/open_metrics_spec/>.
    OpenMetrics,
    /// OpenMetrics 2.0: as 1.0, but a histogram or summary is one line with a composite value, and a value may say since when
    /// it is counted. Read as Prometheus 3.16 reads it behind its feature flag `openmetrics2`.
    ///
    /// *Source*: <https://prometheus.io/docs/specs/om/open_metrics_spec_2_0/>.
    OpenMetrics2,
    /// Protocol Buffers: messages `io.prometheus.client.MetricFamily`, each behind its length.
    ///
    /// *Source*: <https://prometheus.io/docs/instrumenting/exposition_formats/#protobuf-format>.
    Protobuf,
}

/// A content type that is not an exposition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("content type {content_type:?} is not an exposition")]
#[non_exhaustive]
pub struct UnsupportedContentType {
    /// The header's value, shortened to 100 characters.
    pub content_type: String,
}

// === impl Format ===

impl Format {
    /// The format that a `Content-Type` header names; parameters such as `charset` make no difference.
    ///
    /// An empty header and every `text/plain` is [`Format::Text`]: much that exposes metrics says no more
    /// than that.
    ///
    /// *Errors*: everything else. Prometheus 2 read it as text, Prometheus 3 refuses it, and so do we: a login page that is
    /// answered with status 200 is one clear reason and not a thousand bad lines. A reader who knows better says
    /// `.unwrap_or_default()`.
    ///
    /// ```
    /// use fleetgauge_promql::exposition::Format;
    /// let header = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    /// assert_eq!(Format::from_content_type(header), Ok(Format::OpenMetrics));
    /// ```
    pub fn from_content_type(content_type: &str) -> Result<Self, UnsupportedContentType> {
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        let is = |name: &str| media_type.eq_ignore_ascii_case(name);
        let parameters = content_type.split(';').skip(1);
        let parameters = parameters.filter_map(|parameter| parameter.split_once('='));
        // Where a parameter is not given, it has any value.
        let may_be = |name: &str, value: &str| {
            let mut parameters = parameters.clone();
            let given = parameters.find(|(given, _)| given.trim().eq_ignore_ascii_case(name));
            given.is_none_or(|(_, given)| given.trim().trim_matches('"').eq_ignore_ascii_case(value))
        };
        let is_version_2 = !may_be("version", "") && may_be("version", "2.0.0");
        if media_type.is_empty() || is("text/plain") {
            Ok(Self::Text)
        } else if is("application/openmetrics-text") {
            Ok(if is_version_2 {
                Self::OpenMetrics2
            } else {
                Self::OpenMetrics
            })
        } else if is("application/vnd.google.protobuf")
            && may_be("proto", "io.prometheus.client.MetricFamily")
            && may_be("encoding", "delimited")
        {
            Ok(Self::Protobuf)
        } else {
            Err(UnsupportedContentType {
                content_type: content_type.chars().take(100).collect(),
            })
        }
    }

    /// Whether it is a version of OpenMetrics.
    pub(super) const fn is_open_metrics(self) -> bool {
        matches!(self, Self::OpenMetrics | Self::OpenMetrics2)
    }

    /// The `Content-Type` under which a page of this format is served.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::OpenMetrics2 => "application/openmetrics-text; version=2.0.0; charset=utf-8",
            Self::Protobuf => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_types_name_formats() {
        let check = |header: &str, expected: Option<Format>| {
            assert_eq!(Format::from_content_type(header).ok(), expected, "{header}");
        };
        check("", Some(Format::Text));
        check("text/plain", Some(Format::Text));
        check("text/plain; version=0.0.4; charset=utf-8", Some(Format::Text));
        check(
            "Text/Plain ;version=1.0.0;escaping=allow-utf-8",
            Some(Format::Text),
        );
        check("application/openmetrics-text", Some(Format::OpenMetrics));
        check(Format::Text.content_type(), Some(Format::Text));
        check(Format::OpenMetrics.content_type(), Some(Format::OpenMetrics));
        check(
            "APPLICATION/openmetrics-text;version=0.0.1",
            Some(Format::OpenMetrics),
        );
        check("text/html; charset=utf-8", None);
        check("application/json", None);
        check(
            "application/openmetrics-text; version=2.0.0",
            Some(Format::OpenMetrics2),
        );
        check(Format::OpenMetrics2.content_type(), Some(Format::OpenMetrics2));
        check(Format::Protobuf.content_type(), Some(Format::Protobuf));
        check("application/vnd.google.protobuf", Some(Format::Protobuf));
        check(
            "application/vnd.google.protobuf;Encoding=\"delimited\"",
            Some(Format::Protobuf),
        );
        check("application/vnd.google.protobuf; encoding=text", None);
        check("application/vnd.google.protobuf; proto=other.Message", None);
        check("text/plainer", None);
    }

    #[test]
    fn a_long_content_type_is_shortened() {
        let error = Format::from_content_type(&"é".repeat(1_000)).unwrap_err();
        assert_eq!(error.content_type.chars().count(), 100);
    }
}
