//! How much of a page is read at most.

/// Bounds on what one page may cost.
///
/// What exceeds a bound on a line costs that line; what exceeds the bound on the page's size or samples
/// ends the page, marked as [`Cut`](super::Cut). The defaults are far above what an inference server
/// exposes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The size of a page, and, of one in Protocol Buffers, that of its series' texts. *Unit*: bytes. Default 64 MiB.
    pub body_bytes: usize,
    /// The samples of a page. Default 1,000,000.
    pub samples: usize,
    /// The length of a line, or of a series' text where there are no lines. *Unit*: bytes. Default 64 KiB; never more than 4 GiB.
    pub line_bytes: usize,
    /// The length of a metric or label name. *Unit*: bytes, as exposed. Default 1 KiB.
    pub name_bytes: usize,
    /// The labels of a sample. Default 64.
    pub labels: usize,
    /// The length of a label's value. *Unit*: bytes, as exposed. Default 16 KiB.
    pub label_value_bytes: usize,
    /// The buckets of a histogram that is one message, and the quantiles of such a summary. Default 10,000.
    pub buckets: usize,
    /// How many bad lines are described; all are counted. Default 10.
    pub described_errors: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 64 << 20,
            samples: 1_000_000,
            line_bytes: 64 << 10,
            name_bytes: 1 << 10,
            labels: 64,
            label_value_bytes: 16 << 10,
            buckets: 10_000,
            described_errors: 10,
        }
    }
}

impl Limits {
    fleetgauge_core::setters! {
        /// At most this many bytes a page.
        with_body_bytes(bytes: usize) => body_bytes = bytes;
        /// At most this many samples a page.
        with_samples(samples: usize) => samples = samples;
        /// At most this many bytes a line.
        with_line_bytes(bytes: usize) => line_bytes = bytes;
        /// At most this many bytes a metric or label name.
        with_name_bytes(bytes: usize) => name_bytes = bytes;
        /// At most this many labels a sample.
        with_labels(labels: usize) => labels = labels;
        /// At most this many bytes a label value.
        with_label_value_bytes(bytes: usize) => label_value_bytes = bytes;
        /// At most this many buckets a histogram.
        with_buckets(buckets: usize) => buckets = buckets;
        /// Describe at most this many bad lines.
        with_described_errors(errors: usize) => described_errors = errors;
    }
}
