//! Where Prometheus looks for counter resets while it reads.
//!
//! Where a query asks for the counts of histograms alone, Prometheus reads no buckets. So that resets are still seen, it
//! looks for them when it reads a sample, and what is aggregated says then that its parts contradict each other. Here all
//! buckets are read; but what is told of a query must not depend on that.

use fleetgauge_syntax::Function;

use crate::parse::{AggregateOp, BinaryOp, Expr};

/// What of histograms is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Asked {
    #[default]
    Open,
    /// Their counts and sums, or not even those.
    Counts,
    /// All, whatever is between.
    Buckets,
}

// === impl Asked ===

impl Asked {
    /// What is asked of the parts of `expr`.
    pub(super) fn below(self, expr: &Expr) -> Self {
        let own = match expr {
            Expr::Subquery(_) => Some(Self::Buckets),
            Expr::Call(call) => match call.function {
                Function::HistogramCount
                | Function::HistogramSum
                | Function::HistogramAvg
                | Function::Timestamp
                | Function::StartTimestamp
                | Function::Absent => Some(Self::Counts),
                Function::HistogramQuantile
                | Function::HistogramQuantiles
                | Function::HistogramFraction
                | Function::HistogramStddev
                | Function::HistogramStdvar
                | Function::Changes => Some(Self::Buckets),
                _ => None,
            },
            Expr::Aggregate(aggregate) => (aggregate.op == AggregateOp::CountValues).then_some(Self::Buckets),
            Expr::Binary(binary) => {
                let compares = matches!(binary.op, BinaryOp::Equal | BinaryOp::NotEqual);
                (compares || binary.op.is_trim()).then_some(Self::Buckets)
            }
            _ => None,
        };
        match self {
            Self::Buckets => self,
            _ => own.unwrap_or(self),
        }
    }
}
