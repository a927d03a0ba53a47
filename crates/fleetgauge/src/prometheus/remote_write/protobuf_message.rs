//! Which message a request is.

/// The messages of remote write.
///
/// *Source*: <https://prometheus.io/docs/specs/prw/remote_write_spec_2_0/>.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProtobufMessage {
    /// `prometheus.WriteRequest`, of remote write 1.0, which every server knows. It has no custom buckets: histograms that have
    /// them are left out, and counted.
    #[default]
    V1,
    /// `io.prometheus.write.v2.Request`, of remote write 2.0: smaller, with custom buckets and start timestamps, and the server
    /// says how much of it was written.
    V2,
}

// === impl ProtobufMessage ===

impl ProtobufMessage {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::V1, Self::V2];

    /// As Prometheus's `protobuf_message` names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "prometheus.WriteRequest",
            Self::V2 => "io.prometheus.write.v2.Request",
        }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|message| message.as_str() == name)
    }
}
