//! Mistakes in a file, each with its place.

use std::fmt;
use std::sync::Arc;

use fleetgauge_core::printable::Printable;

/// A place in a file.
///
/// *Unit*: lines and columns count from 1; columns count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

/// One mistake in a file: where it is, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}:{position}: {}{}", Printable(.file), if *.is_warning { "warning: " } else { "" }, Printable(.message))]
#[non_exhaustive]
pub struct Problem {
    /// The file, as the reader was told.
    pub file: Arc<str>,
    /// The place in it.
    pub position: Position,
    /// What is wrong, and what would be right.
    pub message: String,
    /// Whether it may be meant, and does not keep the file from being used.
    pub is_warning: bool,
}

/// All mistakes found in one file, in the order of their places; never empty.
///
/// *Shape*: prints as one line `file:line:column: message` a problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub(super) Vec<Problem>);

// === impl Position ===

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

// === impl Problem ===

impl Problem {
    /// A problem that was not found by a [`Reader`](super::Reader).
    pub fn new(file: impl Into<Arc<str>>, position: Position, message: impl Into<String>) -> Self {
        Self {
            file: file.into(),
            position,
            message: message.into(),
            is_warning: false,
        }
    }
}

// === impl Problems ===

impl Problems {
    /// The problems, in the order of their places.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Problem> {
        self.0.iter()
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.0.iter().enumerate() {
            let separator = if i == 0 { "" } else { "\n" };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
