//! What an operator does where an operand is a histogram.
//!
//! *Source*: <https://prometheus.io/docs/prometheus/latest/querying/operators/#binary-operators>.

use std::fmt;
use std::sync::Arc;

use super::operation::Operation;
use crate::annotation::Annotations;
use crate::budget::Budget;
use crate::error::EvalError;
use crate::function::joining::Joining;
use crate::histogram::{CounterReset, FloatHistogram, Merged};
use crate::parse::BinaryOp;
use crate::sample::{SampleValue, is_histogram};
use crate::value::{Vector, is_absent};

/// A value of an operand.
#[derive(Clone, Copy)]
pub(super) enum Side<'a> {
    Number(f64),
    Histogram(&'a Arc<FloatHistogram>),
}

/// What comes of two values.
pub(super) struct Outcome {
    /// None where the two have no result at all.
    pub(super) value: Option<SampleValue>,
    /// Whether a comparison holds.
    pub(super) holds: bool,
    remark: Option<Remark>,
}

/// What there is to say.
#[derive(Clone, Copy)]
enum Remark {
    /// The kinds of the operands do not fit the operator.
    Types(&'static str, &'static str),
    Layouts,
    Conflicting(Joining),
    Mismatched(Joining),
}

/// What is said at each step: of several remarks, Prometheus tells the last one.
pub(super) struct Remarks {
    op: BinaryOp,
    at: Vec<Option<(usize, Remark)>>,
    /// Why there was no value somewhere, which a later remark may have taken the place of.
    left_out: Option<Remark>,
}

// === impl Side ===

impl<'a> Side<'a> {
    /// The value of a series at a step; none if there is none.
    pub(super) fn of(vector: &'a Vector, i: usize, step: usize) -> Option<Self> {
        let value = vector.row(i)[step];
        match is_histogram(value) {
            true => vector.histogram(i, step).map(Self::Histogram),
            false => Self::of_number(value),
        }
    }

    pub(super) fn of_number(value: f64) -> Option<Self> {
        (!is_absent(value)).then_some(Self::Number(value))
    }

    fn kind(self) -> &'static str {
        match self {
            Self::Number(_) => "float",
            Self::Histogram(_) => "histogram",
        }
    }

    fn value(self) -> SampleValue {
        match self {
            Self::Number(value) => SampleValue::Float(value),
            Self::Histogram(histogram) => SampleValue::Histogram(Arc::clone(histogram)),
        }
    }

    /// The work of computing with it.
    pub(super) fn work(self) -> usize {
        match self {
            Self::Number(_) => 0,
            Self::Histogram(histogram) => histogram.work(),
        }
    }
}

// === impl Outcome ===

impl Outcome {
    pub(super) fn new(op: BinaryOp, operation: Operation, left: Side<'_>, right: Side<'_>) -> Self {
        use Side::{Histogram, Number};
        let types = || Self {
            value: None,
            holds: false,
            remark: Some(Remark::Types(left.kind(), right.kind())),
        };
        let changed = |histogram: &Arc<FloatHistogram>, change: &dyn Fn(&mut FloatHistogram)| {
            let mut histogram = FloatHistogram::clone(histogram);
            change(&mut histogram);
            Self::of(SampleValue::Histogram(Arc::new(histogram)))
        };
        match (left, right) {
            (Number(a), Number(b)) => match operation {
                Operation::Arithmetic(compute) => Self::of(SampleValue::Float(compute(a, b))),
                Operation::Comparison(holds) => Self::compared(left, holds(a, b)),
                Operation::Trim => types(),
            },
            (Number(factor), Histogram(histogram)) | (Histogram(histogram), Number(factor))
                if op == BinaryOp::Mul =>
            {
                changed(histogram, &|histogram| {
                    histogram.multiply(factor);
                    histogram.compact();
                })
            }
            (Histogram(histogram), Number(number)) => match op {
                BinaryOp::Div => changed(histogram, &|histogram| {
                    histogram.divide(number);
                    histogram.compact();
                }),
                BinaryOp::TrimAbove => changed(histogram, &|histogram| histogram.trim_above(number)),
                BinaryOp::TrimBelow => changed(histogram, &|histogram| histogram.trim_below(number)),
                _ => types(),
            },
            (Histogram(a), Histogram(b)) => match op {
                BinaryOp::Add => Self::joined(a, b, Joining::Addition),
                BinaryOp::Sub => Self::joined(a, b, Joining::Subtraction),
                BinaryOp::Equal => Self::compared(left, a == b),
                BinaryOp::NotEqual => Self::compared(left, a != b),
                _ => types(),
            },
            (Number(_), Histogram(_)) => types(),
        }
    }

    fn of(value: SampleValue) -> Self {
        Self {
            value: Some(value),
            holds: true,
            remark: None,
        }
    }

    fn compared(left: Side<'_>, holds: bool) -> Self {
        Self {
            value: Some(left.value()),
            holds,
            remark: None,
        }
    }

    fn joined(left: &FloatHistogram, right: &FloatHistogram, how: Joining) -> Self {
        let mut histogram = left.clone();
        let joined = match how {
            Joining::Subtraction => histogram.subtract(right),
            _ => histogram.add(right),
        };
        let Ok(Merged {
            has_conflicting_resets,
            has_other_bounds,
        }) = joined
        else {
            return Self {
                value: None,
                holds: false,
                remark: Some(Remark::Layouts),
            };
        };
        histogram.compact();
        if how == Joining::Subtraction {
            histogram = histogram.with_counter_reset(CounterReset::Gauge);
        }
        let remark = match (has_conflicting_resets, has_other_bounds) {
            (true, _) => Some(Remark::Conflicting(how)),
            (false, true) => Some(Remark::Mismatched(how)),
            _ => None,
        };
        Self {
            // Of two that contradict each other, Prometheus gives nothing.
            value: (!has_conflicting_resets).then(|| SampleValue::Histogram(Arc::new(histogram))),
            holds: true,
            remark,
        }
    }
}

// === impl Remarks ===

impl Remarks {
    pub(super) fn new(op: BinaryOp, width: usize, budget: &mut Budget) -> Result<Self, EvalError> {
        budget.take_list::<Option<(usize, Remark)>>(width)?;
        Ok(Self {
            op,
            at: vec![None; width],
            left_out: None,
        })
    }

    /// Keeps what is said of the series with this place at a step.
    pub(super) fn note(&mut self, outcome: &Outcome, place: usize, step: usize) {
        let Some(remark) = outcome.remark else { return };
        if outcome.value.is_none() {
            self.left_out = Some(remark);
        }
        if self.at[step].is_none_or(|(known, _)| known <= place) {
            self.at[step] = Some((place, remark));
        }
    }

    pub(super) fn tell(self, notes: &mut Annotations) {
        let said = |remark| Said {
            op: self.op.as_str(),
            remark,
        };
        let mut told = self.at.iter().flatten();
        if let Some(remark) = self.left_out
            && told.all(|(_, remark)| matches!(remark, Remark::Mismatched(_)))
        {
            notes.leave_out(said(remark));
        }
        for &(_, remark) in self.at.iter().flatten() {
            let said = said(remark);
            match remark {
                Remark::Types(..) | Remark::Mismatched(_) => notes.info(said),
                Remark::Layouts | Remark::Conflicting(_) => notes.warn(said),
            }
        }
    }
}

struct Said {
    op: &'static str,
    remark: Remark,
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let op = self.op;
        match self.remark {
            Remark::Types(left, right) => write!(
                f,
                "incompatible sample types encountered for binary operator {op:?}: {left} {op} {right}"
            ),
            Remark::Layouts => write!(
                f,
                "incompatible bucket layout encountered for binary operator {op}"
            ),
            Remark::Conflicting(how) => f.write_str(&how.conflicting()),
            Remark::Mismatched(how) => f.write_str(&how.mismatched()),
        }
    }
}
