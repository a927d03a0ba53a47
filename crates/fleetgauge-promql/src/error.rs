//! Why a query has no answer.

use std::fmt;
use std::time::Duration;

use fleetgauge_core::printable::Printable;

use crate::parse::ParseError;

/// A query without an answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EvalError {
    /// It is not PromQL, or uses what is refused here.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// It would take more than it may.
    #[error("query exceeds the limit of {limit} {bound}")]
    Bound {
        /// Of what.
        bound: Bound,
        /// How many it may take.
        limit: usize,
    },
    /// It took too long.
    #[error("query exceeds the time limit of {limit:?}")]
    Timeout {
        /// How long it may take.
        limit: Duration,
    },
    /// It cannot be computed over the series there are.
    #[error("{}", Printable(.message))]
    Execution {
        /// Why, in the words of Prometheus.
        message: String,
    },
}

/// What an evaluation is bounded in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Bound {
    /// [`EngineConfig::max_samples`](crate::engine::EngineConfig::max_samples)
    Samples,
    /// [`EngineConfig::max_series`](crate::engine::EngineConfig::max_series)
    Series,
    /// [`EngineConfig::max_bytes`](crate::engine::EngineConfig::max_bytes)
    Bytes,
    /// [`EngineConfig::max_steps`](crate::engine::EngineConfig::max_steps)
    Steps,
}

// === impl EvalError ===

impl EvalError {
    pub(crate) fn execution(message: impl Into<String>) -> Self {
        Self::Execution {
            message: message.into(),
        }
    }

    /// A word for it, of a bounded set, for the label of a metric.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Parse(_) => "parse",
            Self::Bound { bound, .. } => bound.as_str(),
            Self::Timeout { .. } => "timeout",
            Self::Execution { .. } => "execution",
        }
    }
}

// === impl Bound ===

impl Bound {
    /// What it counts, as a word for messages and for the label of a metric.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Samples => "samples",
            Self::Series => "series",
            Self::Bytes => "bytes",
            Self::Steps => "steps",
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
