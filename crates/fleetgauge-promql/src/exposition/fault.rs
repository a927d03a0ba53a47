//! What is wrong with a line, and where.

/// How many bytes of a bad line are kept to describe it.
const EXCERPT_BYTES: usize = 120;

/// Why a line could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// The line is not UTF-8.
    #[error("invalid UTF-8")]
    NotUtf8,
    /// The line does not start as a sample or comment does.
    #[error("expected a metric name")]
    ExpectedName,
    /// A name that needs quotes has none.
    #[error("character that a name cannot hold without quotes")]
    NameNeedsQuotes,
    /// The metric's name is given before and in the braces, or twice in them.
    #[error("the metric name is given twice")]
    NameTwice,
    /// A `{` without its `}`.
    #[error("labels without closing brace")]
    UnclosedLabels,
    /// Something else where a label's name, or the end of the labels, should be.
    #[error("expected a label name")]
    ExpectedLabelName,
    /// A label without `=`.
    #[error("expected \"=\" after the label name")]
    ExpectedEquals,
    /// A label whose value is not in quotes.
    #[error("expected a label value in quotes")]
    ExpectedLabelValue,
    /// A `"` without its `"`.
    #[error("text without closing quote")]
    UnclosedQuote,
    /// Two labels without a comma between, in OpenMetrics.
    #[error("expected \",\" between labels")]
    ExpectedComma,
    /// A label name occurs twice.
    #[error("label {name:?} occurs twice")]
    DuplicateLabel {
        /// The name, shortened.
        name: String,
    },
    /// The line ends before the value.
    #[error("expected a value")]
    ExpectedValue,
    /// The value is not a number.
    #[error("value is not a number")]
    BadValue,
    /// The value is finite, but beyond what 64 bits hold; it is not made infinite.
    #[error("value out of range")]
    ValueOutOfRange,
    /// The timestamp is not one.
    #[error("invalid timestamp")]
    BadTimestamp,
    /// More after the sample.
    #[error("unexpected text after the sample")]
    TrailingText,
    /// The page's last line, which would be good if a line feed ended it.
    #[error("the last line does not end with a line feed")]
    UnfinishedLine,
    /// `# TYPE` with a type that does not exist.
    #[error("unknown metric type")]
    UnknownType,
    /// Bytes that are no Protocol Buffers, or are of another kind than the field that they stand for.
    #[error("broken field")]
    BrokenField,
    /// What cannot be a histogram.
    #[error("not a histogram: {problem}")]
    BadHistogram {
        /// Why not.
        problem: String,
    },
    /// What cannot be a composite value.
    #[error("not a composite value: {problem}")]
    BadComposite {
        /// Why not.
        problem: String,
    },
    /// What a family of this type cannot have.
    #[error("{problem}")]
    NotOfType {
        /// What that is.
        problem: &'static str,
    },
    /// Too many buckets or quantiles.
    #[error("more than {limit} buckets")]
    TooManyBuckets {
        /// [`Limits::buckets`](super::Limits::buckets).
        limit: usize,
    },
    /// The line is too long.
    #[error("line of {bytes} bytes exceeds the limit of {limit}")]
    LineTooLong {
        /// Its length.
        bytes: usize,
        /// [`Limits::line_bytes`](super::Limits::line_bytes).
        limit: usize,
    },
    /// The metric's or a label's name is too long.
    #[error("name of {bytes} bytes exceeds the limit of {limit}")]
    NameTooLong {
        /// Its length.
        bytes: usize,
        /// [`Limits::name_bytes`](super::Limits::name_bytes).
        limit: usize,
    },
    /// A label's value is too long.
    #[error("label value of {bytes} bytes exceeds the limit of {limit}")]
    LabelValueTooLong {
        /// Its length.
        bytes: usize,
        /// [`Limits::label_value_bytes`](super::Limits::label_value_bytes).
        limit: usize,
    },
    /// Too many labels.
    #[error("more than {limit} labels")]
    TooManyLabels {
        /// [`Limits::labels`](super::Limits::labels).
        limit: usize,
    },
}

/// What is wrong with a line, and at which byte of it.
#[derive(Debug, PartialEq)]
pub(super) struct Fault {
    pub(super) at: usize,
    pub(super) reason: Reason,
}

// === impl Reason ===

impl Reason {
    pub(super) fn at(self, at: usize) -> Fault {
        Fault { at, reason: self }
    }

    /// A word for the label of a metric that counts bad lines.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NotUtf8 => "utf8",
            Self::ExpectedName | Self::NameNeedsQuotes | Self::NameTwice => "name",
            Self::UnclosedLabels
            | Self::ExpectedLabelName
            | Self::ExpectedEquals
            | Self::ExpectedLabelValue
            | Self::UnclosedQuote
            | Self::ExpectedComma => "labels",
            Self::DuplicateLabel { .. } => "duplicate_label",
            Self::ExpectedValue | Self::BadValue | Self::ValueOutOfRange => "value",
            Self::BadTimestamp => "timestamp",
            Self::TrailingText => "trailing_text",
            Self::UnfinishedLine => "unfinished_line",
            Self::UnknownType | Self::NotOfType { .. } => "type",
            Self::BrokenField => "broken_field",
            Self::BadHistogram { .. } => "histogram",
            Self::BadComposite { .. } => "composite",
            Self::LineTooLong { .. }
            | Self::TooManyBuckets { .. }
            | Self::NameTooLong { .. }
            | Self::LabelValueTooLong { .. }
            | Self::TooManyLabels { .. } => "limit",
        }
    }
}

pub(super) fn excerpt(line: &[u8]) -> String {
    let short = String::from_utf8_lossy(&line[..line.len().min(EXCERPT_BYTES)]);
    match line.len() > EXCERPT_BYTES {
        // The cut may have gone through a character.
        true => format!("{}…", short.trim_end_matches('\u{fffd}')),
        false => short.into_owned(),
    }
}
