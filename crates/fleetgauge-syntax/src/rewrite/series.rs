//! What functions and aggregations do with series.

use crate::Function;
use crate::tree::{AggregateOp, Expr, ValueType};

/// The label that holds the name of the metric.
pub(super) const METRIC_NAME: &str = "__name__";
/// The label that holds the bound of a histogram's bucket.
pub(super) const BUCKET: &str = "le";
/// How far a server looks back for the newest sample of a series, unless it is told otherwise.
pub(super) const LOOKBACK_MILLIS: i64 = 300_000;

/// Which rows a function gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rows {
    /// One for each of its vector.
    Each,
    /// One for each of its vector, or none at all.
    EachOrNone,
    /// One for each of its vector, with other labels.
    Relabelled,
    /// One for each of its vector, in an order that means something.
    Ordered,
    /// One for each series of its range.
    EachSeries,
    /// One for each series of its range that has samples enough, which is two mostly.
    EachLongSeries,
    /// One for each histogram of its vector.
    EachHistogram,
    /// One, where there is none.
    Absence,
    /// None, or one that no series stands behind.
    Number,
    /// Those of several vectors, or several for each.
    Joined,
}

/// Which rows an aggregation gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Groups {
    /// One for each group.
    Each,
    /// Some of each group, as they are.
    Some,
    /// One for each value in a group.
    EachValue,
}

/// Whether a function may leave out rows for what they are: one of numbers alone leaves out histograms, and most of those
/// of ranges leave out a range that has both.
pub(super) fn may_leave_out(function: Function) -> bool {
    use Function as F;
    let takes_both = [
        F::Changes,
        F::CountOverTime,
        F::FirstOverTime,
        F::LabelJoin,
        F::LabelReplace,
        F::LastOverTime,
        F::PresentOverTime,
        F::Resets,
        F::SortByLabel,
        F::SortByLabelDesc,
        F::StartTimestamp,
        F::Timestamp,
        F::TsOfFirstOverTime,
        F::TsOfLastOverTime,
    ];
    !takes_both.contains(&function)
}

pub(super) fn rows(function: Function) -> Rows {
    use Function as F;
    match function {
        F::Abs | F::Acos | F::Acosh | F::Asin | F::Asinh | F::Atan | F::Atanh | F::Ceil => Rows::Each,
        F::ClampMax | F::ClampMin | F::Cos | F::Cosh | F::Deg | F::Exp | F::Floor | F::Ln => Rows::Each,
        F::Log10 | F::Log2 | F::Rad | F::Round | F::Sgn | F::Sin | F::Sinh | F::Sqrt => Rows::Each,
        F::Tan | F::Tanh | F::Timestamp | F::StartTimestamp => Rows::Each,
        F::DayOfMonth | F::DayOfWeek | F::DayOfYear | F::DaysInMonth => Rows::Each,
        F::Hour | F::Minute | F::Month | F::Year => Rows::Each,
        // A number is left out.
        F::HistogramAvg | F::HistogramCount | F::HistogramStddev => Rows::EachOrNone,
        F::HistogramStdvar | F::HistogramSum => Rows::EachOrNone,
        F::Clamp => Rows::EachOrNone,
        F::LabelJoin | F::LabelReplace => Rows::Relabelled,
        F::Sort | F::SortByLabel | F::SortByLabelDesc | F::SortDesc => Rows::Ordered,
        F::AvgOverTime | F::Changes | F::CountOverTime | F::FirstOverTime => Rows::EachSeries,
        F::LastOverTime | F::MadOverTime | F::MaxOverTime | F::MinOverTime => Rows::EachSeries,
        F::Integral | F::PresentOverTime | F::QuantileOverTime | F::Resets => Rows::EachSeries,
        F::StddevOverTime | F::StdvarOverTime | F::SumOverTime => Rows::EachSeries,
        F::TsOfFirstOverTime | F::TsOfLastOverTime => Rows::EachSeries,
        F::TsOfMaxOverTime | F::TsOfMinOverTime => Rows::EachSeries,
        F::Delta | F::Deriv | F::DoubleExponentialSmoothing | F::Idelta => Rows::EachLongSeries,
        F::Increase | F::Irate | F::PredictLinear | F::Rate => Rows::EachLongSeries,
        F::HistogramFraction | F::HistogramQuantile => Rows::EachHistogram,
        F::Absent | F::AbsentOverTime => Rows::Absence,
        F::MaxOf | F::MinOf | F::Pi | F::Scalar | F::Time | F::Vector => Rows::Number,
        F::End | F::Range | F::Start | F::Step => Rows::Number,
        F::HistogramQuantiles | F::Info => Rows::Joined,
    }
}

pub(super) fn groups(op: AggregateOp) -> Groups {
    use AggregateOp as A;
    match op {
        A::Sum | A::Avg | A::Min | A::Max | A::Count | A::Group => Groups::Each,
        A::Stddev | A::Stdvar | A::Quantile => Groups::Each,
        A::Topk | A::Bottomk | A::Limitk | A::LimitRatio => Groups::Some,
        A::CountValues => Groups::EachValue,
    }
}

/// Whether samples stand behind it.
pub(super) fn has_samples(expr: &Expr) -> bool {
    let is_read = |part: &&Expr| matches!(part, Expr::Selector(_) | Expr::Range(_));
    expr.walk().iter().any(is_read)
}

pub(super) fn is_scalar(expr: &Expr) -> bool {
    expr.value_type() == ValueType::Scalar
}
