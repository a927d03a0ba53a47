//! What a script says, line by line.

use std::fmt;
use std::time::Duration;

use fleetgauge_core::time::Timestamp;
use regex::Regex;

use crate::label::LabelSet;
use crate::sample::SampleValue;

#[derive(Debug)]
pub(super) enum Command {
    Load(Load),
    /// Forget all samples.
    Clear,
    Eval(Box<Eval>),
}

/// Samples to add.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) line: usize,
    pub(super) series: Vec<(LabelSet, Vec<(Timestamp, SampleValue)>)>,
    pub(super) unread: Vec<Unread>,
}

/// A line that cannot be honoured, and why: whatever it belongs to fails, and the rest of the script is run.
#[derive(Debug)]
pub(super) struct Unread {
    pub(super) line: usize,
    pub(super) why: &'static str,
}

/// An expression, and what should come of it.
#[derive(Debug)]
pub(super) struct Eval {
    pub(super) line: usize,
    pub(super) query: String,
    pub(super) when: When,
    pub(super) expected: Expected,
    pub(super) unread: Vec<Unread>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum When {
    At(Timestamp),
    Range(Grid),
}

/// `from A to B step S`
#[derive(Clone, Copy, Debug)]
pub(super) struct Grid {
    pub(super) start: Timestamp,
    pub(super) end: Timestamp,
    pub(super) step: Duration,
}

#[derive(Debug, Default)]
pub(super) struct Expected {
    pub(super) ordered: bool,
    /// `Some` if the evaluation must fail.
    pub(super) fail: Option<Patterns>,
    /// `Some` if there must be such warnings, and no others.
    pub(super) warn: Option<Patterns>,
    pub(super) info: Option<Patterns>,
    pub(super) no_warn: bool,
    pub(super) no_info: bool,
    pub(super) text: Option<String>,
    pub(super) scalar: Option<f64>,
    /// When the values of `series` are, if an instant query gives a range vector.
    pub(super) grid: Option<Grid>,
    pub(super) series: Vec<ExpectedSeries>,
}

#[derive(Clone, Debug)]
pub(super) struct ExpectedSeries {
    pub(super) labels: LabelSet,
    /// One for each step; `None` where there must be no sample.
    pub(super) values: Vec<Option<Item>>,
}

/// A value of a series.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) value: SampleValue,
    /// Whether what it says of counter resets is meant: a histogram says so outright.
    pub(super) tells_resets: bool,
}

/// Texts that a message must be or fit; any message if there is none.
#[derive(Debug, Default)]
pub(super) struct Patterns(pub(super) Vec<Pattern>);

#[derive(Debug)]
pub(super) enum Pattern {
    Text(String),
    Regex(Regex),
}

// === impl Item ===

impl From<f64> for Item {
    fn from(value: f64) -> Self {
        Self {
            value: value.into(),
            tells_resets: false,
        }
    }
}

// === impl Unread ===

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.why)
    }
}

// === impl Patterns ===

impl Patterns {
    pub(super) fn matches(&self, message: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|pattern| pattern.matches(message))
    }
}

impl Pattern {
    pub(super) fn matches(&self, message: &str) -> bool {
        match self {
            Self::Text(text) => text == message,
            Self::Regex(regex) => regex.is_match(message),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Regex(regex) => write!(f, "/{regex}/"),
        }
    }
}

// === impl Grid ===

impl Grid {
    /// The time of the step `index`, if the grid has so many.
    pub(super) fn at(&self, index: usize) -> Option<Timestamp> {
        let after = self.step.checked_mul(u32::try_from(index).ok()?)?;
        Some(self.start.saturating_add(after)).filter(|at| *at <= self.end)
    }

    /// Which step a time is, if it is one.
    pub(super) fn index(&self, at: Timestamp) -> Option<usize> {
        if at < self.start || at > self.end {
            return None;
        }
        let after = at.saturating_since(self.start).as_millis();
        match self.step.as_millis() {
            0 => (after == 0).then_some(0),
            step => after.is_multiple_of(step).then(|| (after / step) as usize),
        }
    }
}
