//! When the samples are from that a selector or a subquery asks for.

use crate::Function;
use crate::tree::{At, BinaryOp, Expr, Shift};

use super::build::{binary, call, seconds};

/// The time that a selector or a subquery asks for. *Unit*: milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// So long before the step.
    Back(i64),
    /// So long before the time of the query, at every step.
    Query(i64),
    /// At that time.
    At(i64),
}

// === impl Asked ===

impl Asked {
    pub(super) fn by(shift: Shift) -> Self {
        match shift.at {
            None => Self::Back(shift.offset),
            Some(At::Start | At::End) => Self::Query(shift.offset),
            Some(At::Time(time)) => Self::At(time.saturating_sub(shift.offset)),
        }
    }

    /// Whether both may be the same time.
    pub(super) fn may_be(self, other: Self) -> bool {
        match (self, other) {
            (Self::Query(_), Self::At(_)) | (Self::At(_), Self::Query(_)) => true,
            (own, other) => own == other,
        }
    }

    /// As an offset or a time, never both: in `timestamp`, Prometheus forgets the offset of such a selector.
    pub(super) fn shift(self) -> Shift {
        match self {
            Self::Back(offset) | Self::Query(offset) => Shift { offset, at: None },
            Self::At(time) => Shift {
                offset: 0,
                at: Some(At::Time(time)),
            },
        }
    }

    /// So long before the time. *Unit*: milliseconds; of the expression: seconds.
    pub(super) fn time_before(self, millis: i64) -> Expr {
        match self {
            Self::Back(back) | Self::Query(back) => {
                let now = call(Function::Time, Vec::new());
                binary(BinaryOp::Sub, now, seconds(back.saturating_add(millis)))
            }
            Self::At(time) => seconds(time.saturating_sub(millis)),
        }
    }

    /// The times as if what was asked for was the time of the evaluation.
    pub(super) fn added_to(self, times: Expr) -> Expr {
        match self {
            Self::Back(0) | Self::Query(0) => times,
            Self::Back(back) | Self::Query(back) => binary(BinaryOp::Add, times, seconds(back)),
            Self::At(time) => {
                let since = binary(BinaryOp::Sub, call(Function::Time, Vec::new()), seconds(time));
                binary(BinaryOp::Add, times, since)
            }
        }
    }
}
