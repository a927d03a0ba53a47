//! What is told of a query, and the reasons among which the first is told.

use std::fmt;

/// What became of one query.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// The query's name.
    pub query: String,
    /// How bad it is.
    pub severity: Severity,
    /// What the query answers, or the first reason that it does not.
    pub what: String,
    /// What to change; empty where nothing is to be changed. It may have several lines, as a piece of configuration has.
    pub advice: String,
}

/// How bad a [`Finding`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// The query answers, or has no rows for a good reason.
    Ok,
    /// It answers, and its numbers may be other than they look; or it could not be found out.
    Warning,
    /// It does not answer, or its rows are not those that it is made for.
    Error,
}

/// How far one gets before a reason is met. Of the sides of an `or`, the one that gets further is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    Metric,
    Label,
    Value,
    Age,
    Window,
    /// All selectors have series.
    Operation,
}

/// Why there are no rows, and what to do about it.
#[derive(Clone, Debug)]
pub(super) struct Reason {
    pub(super) rank: Rank,
    pub(super) severity: Severity,
    pub(super) what: String,
    pub(super) advice: String,
    /// Whether the advice names something that is there.
    pub(super) has_hint: bool,
}

// === impl Finding ===

impl Finding {
    /// What is found out of something, which has a name as a query has.
    pub fn new(query: impl Into<String>, severity: Severity, what: impl Into<String>) -> Self {
        Self {
            query: query.into(),
            severity,
            what: what.into(),
            advice: String::new(),
        }
    }

    /// Says what to change.
    #[must_use]
    pub fn advice(mut self, advice: impl Into<String>) -> Self {
        self.advice = advice.into();
        self
    }
}

// === impl Severity ===

impl Severity {
    /// `ok`, `warning` or `error`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

// === impl Reason ===

impl Reason {
    pub(super) fn new(rank: Rank, what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            rank,
            severity: Severity::Error,
            what: what.into(),
            advice: advice.into(),
            has_hint: false,
        }
    }

    /// Says that its advice names something that is there.
    pub(super) fn with_hint(mut self) -> Self {
        self.has_hint = true;
        self
    }

    /// Says how bad it is, where that is less than an error.
    pub(super) fn with_severity(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }

    pub(super) fn into_finding(self, query: &str) -> Finding {
        Finding {
            query: query.to_owned(),
            severity: self.severity,
            what: self.what,
            advice: self.advice,
        }
    }
}
