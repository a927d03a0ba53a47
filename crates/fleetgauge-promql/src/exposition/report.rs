//! What became of a page: counts, bad lines with their reasons, and whether it was read to its end.

use std::fmt;

use super::fault::{Fault, Reason, excerpt};
use super::limits::Limits;
use super::lost::LostMetrics;
use super::metric_type::MetricType;
use super::wanted::Wanted;

/// What became of a page.
///
/// Unless the page was cut, every line is counted once: `lines` is the sum of `samples`, `metadata`,
/// `ignored`, `skipped` and `errors`. Where a page has no lines, what the text format would have a line for counts as one,
/// and so does a metric that is broken or that nobody wanted, or a family of which that cannot be told. A line of OpenMetrics 2.0
/// with a composite value counts as the lines that the text format would have for it.
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

/// A line, or a message, that could not be read. What is around it is not affected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {reason}: {text:?}")]
#[non_exhaustive]
pub struct LineError {
    /// Where the reason shows.
    pub place: Place,
    /// What is wrong.
    pub reason: Reason,
    /// The line, shortened, with invalid UTF-8 replaced; of a message, the name of its family or its series.
    pub text: String,
}

/// A place in a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// In a page of lines.
    Line {
        /// The line's number, from 1.
        line: usize,
        /// Where in the line. *Unit*: characters, from 1.
        column: usize,
    },
    /// In a page of messages. *Unit*: bytes before it.
    Byte(usize),
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
    /// A page of Protocol Buffers ends within a message, so something may be missing: of that family too, which was not
    /// read.
    #[error("the page may be cut off: it ends within a message")]
    UnfinishedMessage,
    /// An OpenMetrics page ends without `# EOF`, so something may be missing.
    #[error("the page ends without \"# EOF\"")]
    NoEof,
    /// An OpenMetrics page goes on after `# EOF`; what follows was not read.
    #[error("the page goes on after \"# EOF\"")]
    AfterEof,
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

    /// Adds a bad line. *`metric_type`*: that of the family, if the line may be all of one; else one of a single series.
    #[cold]
    pub(super) fn add(
        &mut self,
        (number, line): (usize, &[u8]),
        metric_type: Option<MetricType>,
        fault: Fault,
        limits: &Limits,
        wanted: Option<&Wanted>,
    ) {
        self.errors += 1;
        let is_wanted = |name: &str| wanted.is_none_or(|wanted| wanted.selects(name));
        self.lost
            .add_line(line, &fault, limits.name_bytes, metric_type, is_wanted);
        let place = || Place::in_line(number, line, fault.at, limits);
        self.describe(place, line, fault.reason, limits);
    }

    /// Adds a message that is bad at a byte of the page. *`family`*: its name, if that is known; *`text`*: what it is of.
    pub(super) fn add_message(
        &mut self,
        family: (&str, Option<MetricType>),
        text: &str,
        fault: Fault,
        limits: &Limits,
        wanted: Option<&Wanted>,
    ) {
        self.add_at(Place::Byte(fault.at), family, text, fault.reason, limits, wanted);
    }

    /// As [`add_message`](Self::add_message), at any place.
    #[cold]
    pub(super) fn add_at(
        &mut self,
        place: Place,
        (family, metric_type): (&str, Option<MetricType>),
        text: &str,
        reason: Reason,
        limits: &Limits,
        wanted: Option<&Wanted>,
    ) {
        self.lines += 1;
        self.errors += 1;
        let is_wanted = |name: &str| wanted.is_none_or(|wanted| wanted.selects(name));
        self.lost.add_family(family, metric_type, is_wanted);
        self.describe(|| place, text.as_bytes(), reason, limits);
    }

    fn describe(&mut self, place: impl FnOnce() -> Place, text: &[u8], reason: Reason, limits: &Limits) {
        if self.first_errors.len() < limits.described_errors {
            let (place, text) = (place(), excerpt(text));
            self.first_errors.push(LineError { place, reason, text });
        }
    }
}

impl Place {
    /// That of the byte `at` of the line of this number.
    pub(super) fn in_line(number: usize, line: &[u8], at: usize, limits: &Limits) -> Self {
        // A fault beyond the bound of a line would cost a scan of what the bound is there to spare.
        let before = &line[..at.min(line.len()).min(limits.line_bytes)];
        Self::Line {
            line: number,
            column: String::from_utf8_lossy(before).chars().count() + 1,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line { line, column } => write!(f, "line {line}, column {column}"),
            Self::Byte(at) => write!(f, "byte {at}"),
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
            Self::UnfinishedMessage => "unfinished_message",
            Self::NoEof => "no_eof",
            Self::AfterEof => "after_eof",
        }
    }
}
