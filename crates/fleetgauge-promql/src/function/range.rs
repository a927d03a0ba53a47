//! What a function over a range vector is given, and what it gives.

use fleetgauge_syntax::Features;
use fleetgauge_syntax::tree::Extended;

use crate::annotation::Annotations;
use crate::error::EvalError;
use crate::label::LabelSet;

/// The samples of one series in the range that ends at one step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RangeInput<'a> {
    /// *Unit*: milliseconds; each in `(start, end]`, or beyond it as far as the range is extended. At least one.
    pub(crate) times: &'a [i64],
    /// As many; without staleness markers.
    pub(crate) values: &'a [f64],
    /// Since when each was counted, 0 where that is not known; none at all where nobody knows of any.
    pub(crate) starts: &'a [i64],
    /// Whether any of the values is lower than the one before it in the range. Ranges overlap, so it is looked for
    /// once a series, and a counter without a reset needs no walk over its samples at every step.
    pub(crate) falls: bool,
    /// The left end of the range, which is not in it.
    pub(crate) start: i64,
    /// The right end: the step's time with `@` and `offset` applied.
    pub(crate) end: i64,
    /// The step's time.
    pub(crate) at: i64,
    /// Whether there are samples beyond the range.
    pub(crate) extended: Extended,
    /// The left end of the lookback before the range.
    pub(crate) lookback_start: i64,
}

/// Computes one step; `params` are the function's scalar arguments at that step, in their order. `None`: no
/// sample.
pub(crate) type RangeFunction = fn(&RangeInput<'_>, params: &[f64], &mut Annotations) -> Option<f64>;

/// Refuses scalar arguments with which a function cannot be computed.
pub(crate) type CheckParams = fn(params: &[f64]) -> Result<(), EvalError>;

/// How a function over a range vector is evaluated.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RangeSpec {
    /// What it is called.
    pub(crate) name: &'static str,
    pub(crate) call: RangeFunction,
    /// Whether the metric name stays (`last_over_time`).
    pub(crate) keeps_name: bool,
    /// Refuses scalar arguments; called where there are samples.
    pub(crate) check: Option<CheckParams>,
    /// Says what is odd about a series that got a value, in a query with these features.
    pub(crate) remark: Option<fn(&LabelSet, Features, &mut Annotations)>,
}
