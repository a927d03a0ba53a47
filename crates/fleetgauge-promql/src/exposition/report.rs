//! What became of a page: counts, bad lines with their reasons, and whether it was read to its end.

use super::limits::Limits;
use super::lost::LostMetrics;
use super::wanted::Wanted;

/// How many bytes of a bad line are kept to describe it.
const EXCERPT_BYTES: usize = 120;

/// What became of a page.
///
/// Unless the page was cut, every line is counted once: `lines` is the sum of `samples`, `metadata`,
/// `ignored`, `skipped` and `errors`.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Report {
    /// Lines read.
    pub lines: usize,
    /// Samples given.
    pub samples: usize,
    /// `# TYPE`, `# HELP` and `# UNIT` lines given.
    pub metadata: usize,
    /// Blank lines, other comments and `# EOF`.
    pub ignored: usize,
    /// Lines that nobody wanted; they were not examined further.
    pub skipped: usize,
    /// Bad lines, all of them.
    pub errors: usize,
    /// The first bad lines, as many as [`Limits::described_errors`] allows.
    pub first_errors: Vec<LineError>,
    /// The metrics of which samples may be missing.
    pub lost: LostMetrics,
    /// Why what was read is not the whole page. `None` if it is.
    pub cut: Option<Cut>,
}

/// A line that could not be read. The lines around it are not affected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {reason}: {text:?}")]
#[non_exhaustive]
pub struct LineError {
    /// The line's number, from 1.
    pub line: usize,
    /// Where in the line the reason shows. *Unit*: characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub reason: Reason,
    /// The line, shortened, with invalid UTF-8 replaced.
    pub text: String,
}

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
    /// The line is too long.
    #[error("line of {bytes} bytes exceeds the limit of {limit}")]
    LineTooLong {
        /// Its length.
        bytes: usize,
        /// [`Limits::line_bytes`].
        limit: usize,
    },
    /// The metric's or a label's name is too long.
    #[error("name of {bytes} bytes exceeds the limit of {limit}")]
    NameTooLong {
        /// Its length.
        bytes: usize,
        /// [`Limits::name_bytes`].
        limit: usize,
    },
    /// A label's value is too long.
    #[error("label value of {bytes} bytes exceeds the limit of {limit}")]
    LabelValueTooLong {
        /// Its length.
        bytes: usize,
        /// [`Limits::label_value_bytes`].
        limit: usize,
    },
    /// Too many labels.
    #[error("more than {limit} labels")]
    TooManyLabels {
        /// [`Limits::labels`].
        limit: usize,
    },
}

/// Why what was read is not the whole page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Cut {
    /// The page is too large: the whole lines within the limit were read.
    #[error("page of {bytes} bytes exceeds the limit of {limit}")]
    BodyTooLarge {
        /// Its length.
        bytes: usize,
        /// [`Limits::body_bytes`].
        limit: usize,
    },
    /// The page holds too many samples: as many as allowed were read.
    #[error("more than {limit} samples")]
    TooManySamples {
        /// [`Limits::samples`].
        limit: usize,
    },
    /// The last line does not end with a line feed, which both formats demand, so something may be missing: of
    /// that line too, which was not read.
    #[error("the page may be cut off: its last line does not end with a line feed")]
    UnfinishedLine,
    /// An OpenMetrics page ends without `# EOF`, so something may be missing.
    #[error("the page ends without \"# EOF\"")]
    NoEof,
    /// An OpenMetrics page goes on after `# EOF`; what follows was not read.
    #[error("the page goes on after \"# EOF\"")]
    AfterEof,
}

/// What is wrong with a line, and at which byte of it.
#[derive(Debug, PartialEq)]
pub(super) struct Fault {
    pub(super) at: usize,
    pub(super) reason: Reason,
}

// === impl Report ===

impl Report {
    /// Whether every line was read.
    pub fn is_complete(&self) -> bool {
        self.errors == 0 && self.cut.is_none()
    }

    /// Marks the page as not read to its end; what was cut first says most.
    #[cold]
    pub(super) fn cut(&mut self, cut: Cut) {
        self.cut.get_or_insert(cut);
        self.lost.add_unnamed();
    }

    #[cold]
    pub(super) fn add(&mut self, line: &[u8], fault: Fault, limits: &Limits, wanted: Option<&Wanted>) {
        self.errors += 1;
        let is_wanted = |name: &str| wanted.is_none_or(|wanted| wanted.selects(name));
        self.lost.add_line(line, &fault, limits.name_bytes, is_wanted);
        if self.first_errors.len() >= limits.described_errors {
            return;
        }
        // A fault beyond the bound of a line would cost a scan of what the bound is there to spare.
        let before = &line[..fault.at.min(line.len()).min(limits.line_bytes)];
        self.first_errors.push(LineError {
            line: self.lines,
            column: String::from_utf8_lossy(before).chars().count() + 1,
            reason: fault.reason,
            text: excerpt(line),
        });
    }
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
            Self::UnknownType => "type",
            Self::LineTooLong { .. }
            | Self::NameTooLong { .. }
            | Self::LabelValueTooLong { .. }
            | Self::TooManyLabels { .. } => "limit",
        }
    }
}

// === impl Cut ===

impl Cut {
    /// A word for the label of a metric that counts cut pages.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::BodyTooLarge { .. } => "body_too_large",
            Self::TooManySamples { .. } => "too_many_samples",
            Self::UnfinishedLine => "unfinished_line",
            Self::NoEof => "no_eof",
            Self::AfterEof => "after_eof",
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
