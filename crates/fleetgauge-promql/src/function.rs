//! The functions of PromQL: those over a range of samples, and those over what was evaluated already.
//!
//! `absent`, `absent_over_time` and `timestamp` look at how their argument is written, and `info` selects series
//! of its own, so the engine evaluates them itself.

pub(crate) mod absent;
mod bucket;
mod calendar;
mod elementwise;
mod expand;
mod histogram;
pub(crate) mod info;
mod maths;
mod over_time;
mod quantile;
mod rate;
mod regression;
mod relabel;
mod scalar;
mod sort;
mod sum;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub(crate) use quantile::{quantile, warn_of_quantile};
pub(crate) use sum::{Mean, Sum};

use crate::annotation::Annotations;
use crate::engine::{Budget, EvalError};
use crate::value::{Operand, Steps, Vector};

/// The samples of one series in the range that ends at one step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RangeInput<'a> {
    /// *Unit*: milliseconds; each in `(start, end]`. At least one.
    pub(crate) times: &'a [i64],
    /// As many; without staleness markers.
    pub(crate) values: &'a [f64],
    /// Whether any of the values is lower than the one before it in the range. Ranges overlap, so it is looked for
    /// once a series, and a counter without a reset needs no walk over its samples at every step.
    pub(crate) falls: bool,
    /// The left end of the range, which is not in it.
    pub(crate) start: i64,
    /// The right end: the step's time with `@` and `offset` applied.
    pub(crate) end: i64,
    /// The step's time.
    pub(crate) at: i64,
}

/// Computes one step; `params` are the function's scalar arguments at that step, in their order. `None`: no
/// sample.
pub(crate) type RangeFunction = fn(&RangeInput<'_>, params: &[f64], &mut Annotations) -> Option<f64>;

/// Refuses scalar arguments with which a function cannot be computed.
pub(crate) type CheckParams = fn(params: &[f64]) -> Result<(), EvalError>;

/// How a function over a range vector is evaluated.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RangeSpec {
    pub(crate) call: RangeFunction,
    /// Whether the metric name stays (`last_over_time`).
    pub(crate) keeps_name: bool,
    /// Refuses scalar arguments; called where there are samples.
    pub(crate) check: Option<CheckParams>,
    /// Says what is odd about a metric of this name; called once for each series that got a value.
    pub(crate) remark: Option<fn(metric: &str, &mut Annotations)>,
}

/// What the functions without a range know of the query.
#[derive(Debug)]
pub(crate) struct CallContext<'a> {
    pub(crate) steps: &'a Steps,
    pub(crate) budget: &'a mut Budget,
    pub(crate) notes: &'a mut Annotations,
}

/// The arguments of a call, taken one after the other.
struct Args<'a> {
    function: &'a str,
    rest: std::vec::IntoIter<Operand>,
}

/// The function over a range vector called `name`.
pub(crate) fn range_function(name: &str) -> Option<RangeSpec> {
    let plain = |call: RangeFunction| RangeSpec {
        call,
        keeps_name: false,
        check: None,
        remark: None,
    };
    let of_counter = |call: RangeFunction| RangeSpec {
        remark: Some(rate::remark_non_counter),
        ..plain(call)
    };
    let picked = |call: RangeFunction| RangeSpec {
        keeps_name: true,
        ..plain(call)
    };
    Some(match name {
        "rate" => of_counter(rate::rate),
        "increase" => of_counter(rate::increase),
        "delta" => plain(rate::delta),
        "irate" => plain(rate::irate),
        "idelta" => plain(rate::idelta),
        "changes" => plain(rate::changes),
        "resets" => plain(rate::resets),
        "deriv" => plain(regression::deriv),
        "predict_linear" => plain(regression::predict_linear),
        "double_exponential_smoothing" => RangeSpec {
            check: Some(regression::check_smoothing),
            ..plain(regression::smoothing)
        },
        "avg_over_time" => plain(over_time::avg),
        "sum_over_time" => plain(over_time::sum),
        "min_over_time" => plain(over_time::min),
        "max_over_time" => plain(over_time::max),
        "count_over_time" => plain(over_time::count),
        "present_over_time" => plain(over_time::present),
        "quantile_over_time" => plain(over_time::quantile_over_time),
        "stddev_over_time" => plain(over_time::stddev),
        "stdvar_over_time" => plain(over_time::stdvar),
        "mad_over_time" => plain(over_time::mad),
        "first_over_time" => picked(over_time::first),
        "last_over_time" => picked(over_time::last),
        "ts_of_first_over_time" => plain(over_time::ts_of_first),
        "ts_of_last_over_time" => plain(over_time::ts_of_last),
        "ts_of_min_over_time" => plain(over_time::ts_of_min),
        "ts_of_max_over_time" => plain(over_time::ts_of_max),
        _ => return None,
    })
}

/// Evaluates a function that takes no range vector. Optional arguments that were not written are missing
/// from `args`.
///
/// *Errors*: Prometheus's, for labels that cannot be and for series that would be the same.
pub(crate) fn call(name: &str, args: Vec<Operand>, ctx: &mut CallContext<'_>) -> Result<Operand, EvalError> {
    let mut args = Args {
        function: name,
        rest: args.into_iter(),
    };
    let (steps, budget, notes) = (ctx.steps, &mut *ctx.budget, &mut *ctx.notes);
    // What a function of no argument, or one that is not written, takes.
    budget.take_scalar(steps.count)?;
    let always = |value: f64| vec![value; steps.count];
    if let Some(function) = elementwise::function(name) {
        return elementwise::apply(function, args.vector()?, budget).map(Operand::Vector);
    }
    if let Some(function) = calendar::function(name) {
        let vector = args.is_left().then(|| args.vector()).transpose()?;
        return calendar::apply(function, vector, steps, budget).map(Operand::Vector);
    }
    if let Some(function) = scalar::function_of_two(name) {
        return Ok(Operand::Scalar(scalar::of_two(
            function,
            args.scalar()?,
            &args.scalar()?,
        )));
    }
    Ok(Operand::Vector(match name {
        "time" => return Ok(Operand::Scalar(scalar::time(steps))),
        "pi" => return Ok(Operand::Scalar(scalar::pi(steps))),
        "scalar" => return scalar::scalar(&args.vector()?, budget).map(Operand::Scalar),
        "vector" => scalar::vector(&args.scalar()?),
        "round" => {
            let vector = args.vector()?;
            let to_nearest = if args.is_left() {
                args.scalar()?
            } else {
                always(1.0)
            };
            elementwise::round(vector, &to_nearest, budget)?
        }
        "clamp" => elementwise::clamp(args.vector()?, &args.scalar()?, &args.scalar()?, budget)?,
        "clamp_min" => elementwise::clamp(args.vector()?, &args.scalar()?, &always(f64::INFINITY), budget)?,
        "clamp_max" => elementwise::clamp(
            args.vector()?,
            &always(f64::NEG_INFINITY),
            &args.scalar()?,
            budget,
        )?,
        "histogram_fraction" => {
            let [lower, upper] = [args.scalar()?, args.scalar()?];
            histogram::fraction(&lower, &upper, &args.vector()?, budget, notes)?
        }
        "histogram_quantile" => histogram::quantile(&args.scalar()?, &args.vector()?, budget, notes)?,
        "histogram_quantiles" => {
            let (vector, label) = (args.vector()?, args.text()?);
            let mut qs = Vec::new();
            while args.is_left() {
                qs.push(args.scalar()?);
            }
            histogram::quantiles(&vector, &label, &qs, budget, notes)?
        }
        "label_replace" => {
            let vector = args.vector()?;
            let [destination, replacement] = [args.text()?, args.text()?];
            let [source, pattern] = [args.text()?, args.text()?];
            relabel::label_replace(vector, &destination, &replacement, &source, &pattern, budget)?
        }
        "label_join" => {
            let (vector, destination, separator) = (args.vector()?, args.text()?, args.text()?);
            relabel::label_join(vector, &destination, &separator, &args.texts()?, budget)?
        }
        // The order of a range query's answer is that of its labels.
        "sort" | "sort_desc" | "sort_by_label" | "sort_by_label_desc" if steps.count != 1 => args.vector()?,
        "sort" => sort::by_value(&args.vector()?, false, budget)?,
        "sort_desc" => sort::by_value(&args.vector()?, true, budget)?,
        "sort_by_label" => sort::by_label(&args.vector()?, &args.texts()?, false, budget)?,
        "sort_by_label_desc" => sort::by_label(&args.vector()?, &args.texts()?, true, budget)?,
        _ => return Err(EvalError::execution(format!("unknown function {name}"))),
    }))
}

// === impl Args ===

impl Args<'_> {
    fn is_left(&self) -> bool {
        self.rest.len() > 0
    }

    fn vector(&mut self) -> Result<Vector, EvalError> {
        match self.rest.next() {
            Some(Operand::Vector(vector)) => Ok(vector),
            _ => Err(self.mismatch("an instant vector")),
        }
    }

    fn scalar(&mut self) -> Result<Vec<f64>, EvalError> {
        match self.rest.next() {
            Some(Operand::Scalar(values)) => Ok(values),
            _ => Err(self.mismatch("a scalar")),
        }
    }

    fn text(&mut self) -> Result<Arc<str>, EvalError> {
        match self.rest.next() {
            Some(Operand::Text(text)) => Ok(text),
            _ => Err(self.mismatch("a string")),
        }
    }

    /// All that are left.
    fn texts(&mut self) -> Result<Vec<Arc<str>>, EvalError> {
        (0..self.rest.len()).map(|_| self.text()).collect()
    }

    /// The parser checks types, so this is the fault of neither query nor data.
    fn mismatch(&self, expected: &str) -> EvalError {
        EvalError::execution(format!("function {} expects {expected}", self.function))
    }
}
