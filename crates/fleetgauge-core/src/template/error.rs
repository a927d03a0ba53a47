//! Why a template is refused, and why a value is.

use super::limit::{MAX_RENDERED_LEN, MAX_STEPS, MAX_VALUE_LEN};
use crate::params::ParamKind;
use crate::printable::{Excerpt, Printable};
use crate::similar::similar;

/// Why a template did not compile, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {}", Printable(.message))]
pub struct TemplateError {
    line: usize,
    column: usize,
    message: String,
    undeclared: Option<String>,
}

/// Why a query could not be rendered from the values given.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// A required parameter has no value, or an optional one is printed without one.
    #[error("parameter {param:?} is missing")]
    MissingParam {
        /// The parameter's name.
        param: String,
    },
    /// A parameter whose kind takes one value was given several.
    #[error(
        "parameter {param:?} has several values, and its kind {kind} takes one; texts and labels are lists"
    )]
    SeveralValues {
        /// The parameter's name.
        param: String,
        /// Its kind.
        kind: ParamKind,
    },
    /// A value cannot stand where the template puts it.
    #[error(
        "{param} does not fit at line {line}, column {column}: {reason} (the value is {value}; {fits} fits there)"
    )]
    Unplaceable {
        /// The parameter, or the action that computed the value.
        param: String,
        /// The value, quoted and shortened.
        value: String,
        /// Line of the placeholder, from 1.
        line: usize,
        /// Column of the placeholder in characters, from 1.
        column: usize,
        /// What fits there.
        fits: &'static str,
        /// Why this value does not.
        reason: &'static str,
    },
    /// A function of the template cannot work on what it was given.
    #[error("line {line}, column {column}: {}", Printable(.message))]
    Exec {
        /// Line of the call, from 1.
        line: usize,
        /// Column of the call in characters, from 1.
        column: usize,
        /// What it cannot do.
        message: String,
    },
    /// The rendered text of a metric-name template is not one metric name.
    #[error("the template renders to {rendered}, which is not one metric name: {reason}")]
    NotAMetricName {
        /// What was rendered, quoted and shortened.
        rendered: String,
        /// Why it is none.
        reason: &'static str,
    },
    /// A value is longer than [`MAX_VALUE_LEN`].
    #[error("{param} is {len} bytes long, and at most {MAX_VALUE_LEN} are allowed")]
    ValueTooLong {
        /// The parameter, or the action that computed the value.
        param: String,
        /// The value's length in bytes.
        len: usize,
    },
    /// The query would be longer than [`MAX_RENDERED_LEN`].
    #[error("the rendered query is longer than {MAX_RENDERED_LEN} bytes")]
    TooLong,
    /// The template's loops and calls take too much work.
    #[error("the template takes more than {MAX_STEPS} steps to render")]
    TooMuchWork,
}

/// A place in a template's source: a byte offset, which becomes line and column only when an error needs them.
pub(super) type Offset = usize;

/// What is wrong and at which byte, before the position is counted out.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) at: Offset,
    pub(super) message: String,
    /// The parameter that is not declared, if that is what is wrong.
    pub(super) undeclared: Option<String>,
}

// === impl TemplateError ===

impl TemplateError {
    pub(super) fn new(source: &str, fault: Fault) -> Self {
        let (line, column) = position(source, fault.at);
        Self {
            line,
            column,
            message: fault.message,
            undeclared: fault.undeclared,
        }
    }

    /// The line of the fault, from 1.
    #[must_use]
    pub fn line(&self) -> usize {
        self.line
    }

    /// The column of the fault in characters, from 1.
    #[must_use]
    pub fn column(&self) -> usize {
        self.column
    }

    /// What is wrong and what would be right, without the position.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The parameter that is not declared, if that is what is wrong: once it is declared, what is wrong besides shows.
    #[must_use]
    pub fn undeclared_param(&self) -> Option<&str> {
        self.undeclared.as_deref()
    }
}

// === impl RenderError ===

impl RenderError {
    /// A bounded word for the variant, for metric labels.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::MissingParam { .. } => "missing_param",
            Self::SeveralValues { .. } => "several_values",
            Self::Unplaceable { .. } => "unplaceable",
            Self::Exec { .. } => "exec",
            Self::NotAMetricName { .. } => "not_a_metric_name",
            Self::ValueTooLong { .. } | Self::TooLong | Self::TooMuchWork => "limit",
        }
    }

    pub(super) fn not_a_metric_name(rendered: &str, reason: &'static str) -> Self {
        Self::NotAMetricName {
            rendered: Excerpt(rendered).to_string(),
            reason,
        }
    }
}

// === impl Fault ===

impl Fault {
    pub(super) fn new(at: Offset, message: impl Into<String>) -> Self {
        Self {
            at,
            message: message.into(),
            undeclared: None,
        }
    }
}

/// `(did you mean "…"?)` when one of the known names is near.
pub(super) fn did_you_mean<'n>(name: &str, known: impl Iterator<Item = &'n str> + Clone) -> String {
    similar(name, known).map_or_else(String::new, |known| {
        format!(" (did you mean {}?)", Excerpt(known))
    })
}

/// Line and column, both from 1, the column in characters.
pub(super) fn position(source: &str, at: Offset) -> (usize, usize) {
    let mut at = at.min(source.len());
    while !source.is_char_boundary(at) {
        at -= 1;
    }
    let before = &source[..at];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (
        before.matches('\n').count() + 1,
        before[line_start..].chars().count() + 1,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters() {
        for (source, at, expected) in [
            ("", 0, (1, 1)),
            ("ab", 9, (1, 3)),
            ("é\n日x", 6, (2, 2)),
            ("a\n", 2, (2, 1)),
            ("日", 1, (1, 1)),
        ] {
            assert_eq!(position(source, at), expected, "{source:?} at {at}");
        }
    }
}
