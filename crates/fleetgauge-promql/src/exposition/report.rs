//! What became of a page: counts, bad lines with their reasons, and whether it was read to its end.

use super::fault::{Fault, Reason, excerpt};
use super::limits::Limits;
use super::lost::LostMetrics;
use super::wanted::Wanted;

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
