//! The functions of PromQL: those over a range of samples, and those over what was evaluated already.
//!
//! What a function is called, takes and gives is a row of [`Function`]; here is how it is evaluated. `absent`,
//! `absent_over_time` and `timestamp` look at how their argument is written, and `info` selects series of its own, so
//! the engine evaluates them itself.

pub(crate) mod absent;
mod bucket;
mod calendar;
mod elementwise;
pub(crate) mod extended;
pub(crate) mod extended_mixed;
mod histogram;
pub(crate) mod info;
mod integral;
pub(crate) mod joining;
mod maths;
mod mixed;
mod native;
mod over_time;
mod quantile;
mod range;
mod rate;
mod regression;
mod relabel;
mod scalar;
mod sort;
pub(crate) mod start;
pub(crate) mod sum;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use fleetgauge_syntax::Function;

pub(crate) use quantile::{quantile, warn_of_quantile};
pub(crate) use range::{Mixed, OfHistograms, RangeFunction, RangeInput, RangeSpec};
pub(crate) use sum::{Mean, Sum};

use crate::annotation::Annotations;
use crate::budget::Budget;
use crate::error::EvalError;
use crate::value::{Operand, Steps, Vector};

/// What the functions without a range know of the query.
#[derive(Debug)]
pub(crate) struct CallContext<'a> {
    pub(crate) steps: &'a Steps,
    /// Where the call begins in the query.
    pub(crate) place: usize,
    pub(crate) budget: &'a mut Budget,
    pub(crate) notes: &'a mut Annotations,
}

/// How a function is evaluated.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Implementation {
    /// Over the samples of a range.
    Range(RangeSpec),
    /// Each number for itself, in place.
    EachNumber(fn(&mut [f64])),
    /// Of each number as a time, or of the step's own.
    OfTime(fn(f64) -> f64),
    /// Of two numbers.
    OfTwo(fn(f64, f64) -> f64),
    /// Of all of its arguments.
    OfArguments(CallFunction),
    /// By the engine.
    Engine(Special),
    /// Not at all: the parser puts a number in its place.
    Folded,
}

/// What looks at more than the values of its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Special {
    Absent,
    AbsentOverTime,
    Info,
    Timestamp,
    StartTimestamp,
}

pub(crate) type CallFunction = fn(&mut Args<'_>, &mut CallContext<'_>) -> Result<Operand, EvalError>;

/// The arguments of a call, taken one after the other.
#[derive(Debug)]
pub(crate) struct Args<'a> {
    function: &'a str,
    rest: std::vec::IntoIter<Operand>,
}

/// Sorts a vector; some do so by labels.
type SortFunction = fn(&Vector, &[Arc<str>], &mut Budget) -> Result<Vector, EvalError>;

/// How `function` is evaluated.
pub(crate) fn implementation(function: Function) -> Implementation {
    use elementwise::each_number;
    use native::of_histograms;

    let range = |call: RangeFunction, of_histograms| RangeSpec {
        call,
        of_histograms,
        keeps_name: function.keeps_name(),
        check: None,
        remark: None,
    };
    let over = |call: RangeFunction| Implementation::Range(range(call, OfHistograms::LeftOut));
    let over_any = |call: RangeFunction| Implementation::Range(range(call, OfHistograms::Alike));
    let over_both =
        |call: RangeFunction, of_mixed| Implementation::Range(range(call, OfHistograms::Own(of_mixed)));
    let over_counter = |call: RangeFunction, of_mixed| {
        Implementation::Range(RangeSpec {
            remark: Some(rate::remark_non_counter),
            ..range(call, OfHistograms::Own(of_mixed))
        })
    };
    let of = Implementation::OfArguments;
    match function {
        // --- over a range ---
        Function::Rate => over_counter(rate::rate, mixed::rate),
        Function::Increase => over_counter(rate::increase, mixed::increase),
        Function::Delta => over_both(rate::delta, mixed::delta),
        Function::Irate => over_both(rate::irate, mixed::irate),
        Function::Idelta => over_both(rate::idelta, mixed::idelta),
        Function::Changes => over_both(rate::changes, mixed::changes),
        Function::Resets => over_both(rate::resets, mixed::resets),
        Function::Deriv => over(regression::deriv),
        Function::PredictLinear => over(regression::predict_linear),
        Function::AvgOverTime => over_both(over_time::avg, mixed::avg),
        Function::SumOverTime => over_both(over_time::sum, mixed::sum),
        Function::MinOverTime => over(over_time::min),
        Function::MaxOverTime => over(over_time::max),
        Function::CountOverTime => over_any(over_time::count),
        Function::PresentOverTime => over_any(over_time::present),
        Function::QuantileOverTime => over(over_time::quantile_over_time),
        Function::StddevOverTime => over(over_time::stddev),
        Function::StdvarOverTime => over(over_time::stdvar),
        Function::MadOverTime => over(over_time::mad),
        Function::Integral => over(integral::integral),
        Function::FirstOverTime => over_both(over_time::first, mixed::first),
        Function::LastOverTime => over_both(over_time::last, mixed::last),
        Function::TsOfFirstOverTime => over_any(over_time::ts_of_first),
        Function::TsOfLastOverTime => over_any(over_time::ts_of_last),
        Function::TsOfMinOverTime => over(over_time::ts_of_min),
        Function::TsOfMaxOverTime => over(over_time::ts_of_max),
        Function::DoubleExponentialSmoothing => Implementation::Range(RangeSpec {
            check: Some(regression::check_smoothing),
            ..range(regression::smoothing, OfHistograms::LeftOut)
        }),

        // --- of each number ---
        Function::Abs => each_number!(f64::abs),
        Function::Ceil => each_number!(f64::ceil),
        Function::Floor => each_number!(f64::floor),
        Function::Exp => each_number!(f64::exp),
        Function::Ln => each_number!(f64::ln),
        Function::Log2 => each_number!(maths::log2),
        Function::Log10 => each_number!(maths::log10),
        Function::Sqrt => each_number!(f64::sqrt),
        Function::Sgn => each_number!(maths::sgn),
        Function::Sin => each_number!(f64::sin),
        Function::Cos => each_number!(f64::cos),
        Function::Tan => each_number!(f64::tan),
        Function::Asin => each_number!(f64::asin),
        Function::Acos => each_number!(f64::acos),
        Function::Atan => each_number!(f64::atan),
        Function::Sinh => each_number!(f64::sinh),
        Function::Cosh => each_number!(f64::cosh),
        Function::Tanh => each_number!(f64::tanh),
        Function::Asinh => each_number!(maths::asinh),
        Function::Acosh => each_number!(maths::acosh),
        Function::Atanh => each_number!(maths::atanh),
        Function::Deg => each_number!(maths::deg),
        Function::Rad => each_number!(maths::rad),

        // --- of a time ---
        Function::Minute => Implementation::OfTime(calendar::minute),
        Function::Hour => Implementation::OfTime(calendar::hour),
        Function::DayOfWeek => Implementation::OfTime(calendar::day_of_week),
        Function::DayOfMonth => Implementation::OfTime(calendar::day_of_month),
        Function::DayOfYear => Implementation::OfTime(calendar::day_of_year),
        Function::DaysInMonth => Implementation::OfTime(calendar::days_in_month),
        Function::Month => Implementation::OfTime(calendar::month),
        Function::Year => Implementation::OfTime(calendar::year),

        // --- of two numbers ---
        Function::MinOf => Implementation::OfTwo(maths::min),
        Function::MaxOf => Implementation::OfTwo(maths::max),

        // --- of their arguments ---
        Function::Time => of(|_, ctx| Ok(Operand::Scalar(scalar::time(ctx.steps)))),
        Function::Pi => of(|_, ctx| Ok(Operand::Scalar(scalar::pi(ctx.steps)))),
        Function::Scalar => of(|args, ctx| {
            let vector = args.numbers(ctx.notes)?;
            scalar::scalar(&vector, ctx.budget).map(Operand::Scalar)
        }),
        Function::Vector => of(|args, _| Ok(Operand::Vector(scalar::vector(&args.scalar()?)))),
        Function::Round => of(|args, ctx| {
            let vector = args.numbers(ctx.notes)?;
            let to_nearest = match args.is_left() {
                true => args.scalar()?,
                false => ctx.always(1.0),
            };
            elementwise::round(vector, &to_nearest, ctx.budget).map(Operand::Vector)
        }),
        Function::Clamp => of(|args, ctx| {
            let (vector, min, max) = (args.numbers(ctx.notes)?, args.scalar()?, args.scalar()?);
            elementwise::clamp(vector, &min, &max, ctx.budget).map(Operand::Vector)
        }),
        Function::ClampMin => of(|args, ctx| {
            let (vector, min, max) = (
                args.numbers(ctx.notes)?,
                args.scalar()?,
                ctx.always(f64::INFINITY),
            );
            elementwise::clamp(vector, &min, &max, ctx.budget).map(Operand::Vector)
        }),
        Function::ClampMax => of(|args, ctx| {
            let (vector, min, max) = (
                args.numbers(ctx.notes)?,
                ctx.always(f64::NEG_INFINITY),
                args.scalar()?,
            );
            elementwise::clamp(vector, &min, &max, ctx.budget).map(Operand::Vector)
        }),
        Function::HistogramAvg => of_histograms!(|histogram| histogram.sum() / histogram.count()),
        Function::HistogramCount => of_histograms!(|histogram| histogram.count()),
        Function::HistogramStddev => of_histograms!(|histogram| histogram.variance().sqrt()),
        Function::HistogramStdvar => of_histograms!(|histogram| histogram.variance()),
        Function::HistogramSum => of_histograms!(|histogram| histogram.sum()),
        Function::HistogramFraction => of(|args, ctx| {
            let (lower, upper, vector) = (args.scalar()?, args.scalar()?, args.vector()?);
            histogram::fraction(&lower, &upper, vector, ctx.budget, ctx.notes).map(Operand::Vector)
        }),
        Function::HistogramQuantile => of(|args, ctx| {
            let (q, vector) = (args.scalar()?, args.vector()?);
            histogram::quantile(&q, vector, ctx.budget, ctx.notes).map(Operand::Vector)
        }),
        Function::HistogramQuantiles => of(|args, ctx| {
            let (vector, label) = (args.vector()?, args.text()?);
            let mut qs = Vec::new();
            while args.is_left() {
                qs.push(args.scalar()?);
            }
            histogram::quantiles(vector, &label, &qs, ctx.budget, ctx.notes).map(Operand::Vector)
        }),
        Function::LabelReplace => of(|args, ctx| {
            let vector = args.vector()?;
            let [destination, replacement] = [args.text()?, args.text()?];
            let [source, pattern] = [args.text()?, args.text()?];
            relabel::label_replace(vector, &destination, &replacement, &source, &pattern, ctx.budget)
                .map(Operand::Vector)
        }),
        Function::LabelJoin => of(|args, ctx| {
            let (vector, destination, separator) = (args.vector()?, args.text()?, args.text()?);
            relabel::label_join(vector, &destination, &separator, &args.texts()?, ctx.budget)
                .map(Operand::Vector)
        }),
        Function::Sort => of(|args, ctx| sorted_by_value(args, ctx, false)),
        Function::SortDesc => of(|args, ctx| sorted_by_value(args, ctx, true)),
        Function::SortByLabel => of(|args, ctx| sorted(args, ctx, |v, l, b| sort::by_label(v, l, false, b))),
        Function::SortByLabelDesc => {
            of(|args, ctx| sorted(args, ctx, |v, l, b| sort::by_label(v, l, true, b)))
        }

        // --- by the engine ---
        Function::Absent => Implementation::Engine(Special::Absent),
        Function::AbsentOverTime => Implementation::Engine(Special::AbsentOverTime),
        Function::Info => Implementation::Engine(Special::Info),
        Function::Timestamp => Implementation::Engine(Special::Timestamp),
        Function::StartTimestamp => Implementation::Engine(Special::StartTimestamp),

        // --- by the parser ---
        Function::Step | Function::Range | Function::Start | Function::End => Implementation::Folded,
    }
}

/// Evaluates a function that takes no range vector and is not the engine's. Optional arguments that were not written
/// are missing from `args`.
///
/// *Errors*: Prometheus's, for labels that cannot be and for series that would be the same.
pub(crate) fn call(
    function: Function,
    args: Vec<Operand>,
    ctx: &mut CallContext<'_>,
) -> Result<Operand, EvalError> {
    let mut args = Args {
        function: function.name(),
        rest: args.into_iter(),
    };
    // What a function of no argument, or one that is not written, takes.
    ctx.budget.take_scalar(ctx.steps.count)?;
    match implementation(function) {
        Implementation::EachNumber(function) => {
            elementwise::apply(function, args.numbers(ctx.notes)?, ctx.budget).map(Operand::Vector)
        }
        Implementation::OfTime(function) => {
            let vector = args.is_left().then(|| args.numbers(ctx.notes)).transpose()?;
            calendar::apply(function, vector, ctx.steps, ctx.budget).map(Operand::Vector)
        }
        Implementation::OfTwo(function) => {
            let (a, b) = (args.scalar()?, args.scalar()?);
            Ok(Operand::Scalar(scalar::of_two(function, a, &b)))
        }
        Implementation::OfArguments(function) => function(&mut args, ctx),
        Implementation::Range(_) | Implementation::Engine(_) | Implementation::Folded => {
            Err(args.mismatch("what the parser lets through"))
        }
    }
}

/// Histograms have no order and are left out, also where there is none.
fn sorted_by_value(
    args: &mut Args<'_>,
    ctx: &mut CallContext<'_>,
    descending: bool,
) -> Result<Operand, EvalError> {
    let vector = args.numbers(ctx.notes)?;
    ctx.warn_of_sorting();
    Ok(Operand::Vector(match ctx.steps.count {
        1 => sort::by_value(&vector, descending, ctx.budget)?,
        _ => vector,
    }))
}

/// The order of a range query's answer is that of its labels.
fn sorted(args: &mut Args<'_>, ctx: &mut CallContext<'_>, sort: SortFunction) -> Result<Operand, EvalError> {
    let (vector, labels) = (args.vector()?, args.texts()?);
    ctx.warn_of_sorting();
    Ok(Operand::Vector(match ctx.steps.count {
        1 => sort(&vector, &labels, ctx.budget)?,
        _ => vector,
    }))
}

// === impl CallContext ===

impl CallContext<'_> {
    /// The same number at each step.
    fn always(&self, value: f64) -> Vec<f64> {
        vec![value; self.steps.count]
    }

    /// Several steps have no order that holds for all of them.
    fn warn_of_sorting(&mut self) {
        if self.steps.start != self.steps.until {
            self.notes.warn_at(
                self.place,
                "sort is ineffective for range queries since results are always ordered by labels",
            );
        }
    }
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

    /// An instant vector without its histograms, and tells so.
    fn numbers(&mut self, notes: &mut Annotations) -> Result<Vector, EvalError> {
        let mut vector = self.vector()?;
        if vector.drop_histograms() {
            joining::tell_no_numbers(notes);
        }
        Ok(vector)
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
