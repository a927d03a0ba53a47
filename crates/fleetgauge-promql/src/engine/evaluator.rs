//! Walks the tree of a query, every expression once for all steps.

use std::collections::BTreeMap;
use std::sync::Arc;

use fleetgauge_core::age::Age;
use fleetgauge_syntax::{Function, info as syntax_info};

use crate::aggregate;
use crate::annotation::Annotations;
use crate::binary;
use crate::function::{self, CallContext, Implementation, RangeSpec, Special, absent, info};
use crate::histogram::FloatHistogram;
use crate::label::LabelSet;
use crate::matcher::Matcher;
use crate::parse::{
    Aggregate, AggregateOp, Binary, BinaryOp, Call, Expr, Selector, Shift, Subquery, ValueType,
};
use crate::sample::is_histogram;
use crate::selector::{Buffer, Give, Ranges, Reader, SubqueryRows};
use crate::value::{ABSENT, Operand, Steps, Vector, is_absent};

use super::range;
use super::resets::Asked;
use crate::budget::{Budget, SERIES_WORK};
use crate::config::EngineConfig;
use crate::error::EvalError;

/// Histograms in an answer, by the place of their series and their time. *Unit*: milliseconds since the Unix epoch.
pub(crate) type AnsweredHistograms = BTreeMap<(usize, i64), Arc<FloatHistogram>>;

/// One evaluation under way.
pub(super) struct Evaluator<'a> {
    pub(super) reader: Reader<'a>,
    pub(super) config: &'a EngineConfig,
    pub(super) budget: Budget,
    pub(super) notes: Annotations,
    /// How old the scalars are that were evaluated since the last vector, at each step: a vector that is computed with
    /// them is as old. Empty where no sample contributes to any.
    pub(super) scalars: Vec<Age>,
    /// What is asked of histograms by what is evaluated.
    pub(super) asked: Asked,
    /// Where histograms of the answer go; none if it must not have any.
    pub(super) answered: Option<AnsweredHistograms>,
}

// === impl Evaluator ===

// Each kind of expression is a function of its own, so that the stack of a deep query stays small.
impl<'a> Evaluator<'a> {
    /// Evaluates what is not a range vector.
    pub(super) fn evaluate(&mut self, expr: &Expr, steps: &Steps) -> Result<Operand, EvalError> {
        let outer = self.asked;
        self.asked = outer.below(expr);
        let operand = self.dated(expr, steps);
        self.asked = outer;
        operand
    }

    /// With the ages of all that it is computed from.
    fn dated(&mut self, expr: &Expr, steps: &Steps) -> Result<Operand, EvalError> {
        if !self.reader.tells_ages {
            return self.operand(expr, steps);
        }
        let before = std::mem::take(&mut self.scalars);
        let mut operand = self.operand(expr, steps)?;
        let inside = std::mem::replace(&mut self.scalars, before);
        match &mut operand {
            Operand::Vector(vector) => {
                for (step, &age) in inside.iter().enumerate() {
                    (0..vector.len()).for_each(|i| vector.stand_on_at(i, step, age));
                }
            }
            Operand::Scalar(_) => self.stand_on(&inside),
            Operand::Text(_) => {}
        }
        Ok(operand)
    }

    /// Says that the scalar under way is computed from others of these ages, too.
    fn stand_on(&mut self, ages: &[Age]) {
        if self.scalars.len() < ages.len() {
            self.scalars.resize(ages.len(), Age::AGELESS);
        }
        let both = self.scalars.iter_mut().zip(ages);
        both.for_each(|(age, &other)| *age = age.or_older(other));
    }

    fn operand(&mut self, expr: &Expr, steps: &Steps) -> Result<Operand, EvalError> {
        match expr {
            Expr::Number(value) => {
                self.budget.take_scalar(steps.count)?;
                Ok(Operand::Scalar(vec![*value; steps.count]))
            }
            Expr::Text(text) => Ok(Operand::Text(text.clone())),
            Expr::Selector(selector) => {
                self.reader.finds_resets = self.asked == Asked::Counts;
                let (budget, notes) = (&mut self.budget, &mut self.notes);
                let vector = self.reader.instant(selector, steps, Give::Value, budget, notes)?;
                Ok(Operand::Vector(vector))
            }
            Expr::Call(call) => self.call(call, steps),
            Expr::Aggregate(aggregate) => self.aggregate(aggregate, steps),
            Expr::Negate(inner) => self.negate(inner, steps),
            Expr::Binary(binary) => self.binary(binary, steps),
            Expr::Once(inner) => self.once(inner, steps),
            Expr::Range(_) | Expr::Subquery(_) => Err(mismatch()),
        }
    }

    /// The series of a range vector.
    pub(super) fn ranges(&mut self, expr: &Expr, steps: &Steps) -> Result<Ranges<'a>, EvalError> {
        match expr.unwrapped() {
            Expr::Range(range) => {
                self.reader.finds_resets = self.asked == Asked::Counts;
                let budget = &mut self.budget;
                self.reader.ranges(&range.selector, range.range, steps, budget)
            }
            Expr::Subquery(subquery) => self.subquery(subquery, steps),
            _ => Err(mismatch()),
        }
    }

    fn vector(&mut self, expr: &Expr, steps: &Steps) -> Result<Vector, EvalError> {
        match self.evaluate(expr, steps)? {
            Operand::Vector(vector) => Ok(vector),
            _ => Err(mismatch()),
        }
    }

    fn aggregate(&mut self, aggregate: &Aggregate, steps: &Steps) -> Result<Operand, EvalError> {
        let param = match &aggregate.param {
            Some(param) => Some(self.evaluate(param, steps)?),
            None => None,
        };
        let vector = self.vector(&aggregate.expr, steps)?;
        let (budget, notes) = (&mut self.budget, &mut self.notes);
        notes.enter(&aggregate::places(aggregate.places));
        let result = aggregate::evaluate(aggregate.op, &aggregate.grouping, param, vector, budget, notes)?;
        Ok(Operand::Vector(result))
    }

    fn binary(&mut self, binary: &Binary, steps: &Steps) -> Result<Operand, EvalError> {
        let left = self.evaluate(&binary.left, steps)?;
        let right = self.evaluate(&binary.right, steps)?;
        let (budget, notes) = (&mut self.budget, &mut self.notes);
        notes.enter(&[binary.place]);
        binary::evaluate(binary, left, right, budget, notes)
    }

    fn negate(&mut self, inner: &Expr, steps: &Steps) -> Result<Operand, EvalError> {
        match self.evaluate(inner, steps)? {
            Operand::Scalar(mut values) => {
                self.budget.spend(values.len())?;
                values.iter_mut().for_each(|value| *value = -*value);
                Ok(Operand::Scalar(values))
            }
            Operand::Vector(mut vector) => {
                self.budget.spend(vector.len() * vector.width())?;
                vector.negate(&mut self.budget)?;
                if vector.drop_names(&mut self.budget)? {
                    vector.merge_duplicates(&mut self.budget)?;
                }
                Ok(Operand::Vector(vector))
            }
            Operand::Text(_) => Err(mismatch()),
        }
    }

    /// What has one value is evaluated at one step and holds for all.
    fn once(&mut self, inner: &Expr, steps: &Steps) -> Result<Operand, EvalError> {
        let first = Steps::instant(steps.start);
        if steps.count == 1 {
            return self.evaluate(inner, &first);
        }
        match self.evaluate(inner, &first)? {
            Operand::Scalar(values) => {
                let value = values.first().copied().unwrap_or(f64::NAN);
                self.budget.take_scalar(steps.count)?;
                if let [age] = self.scalars[..] {
                    self.scalars.resize(steps.count, age);
                }
                Ok(Operand::Scalar(vec![value; steps.count]))
            }
            Operand::Vector(vector) => {
                self.budget.take_result(vector.len(), steps.count)?;
                let mut all = Vector::with_capacity(steps.count, vector.len());
                for (i, (labels, row)) in vector.rows().enumerate() {
                    all.push_absent(labels.clone()).fill(row[0]);
                    if let Some(histogram) = vector.histogram(i, 0) {
                        (0..steps.count).for_each(|step| all.set_histogram(i, step, Arc::clone(histogram)));
                    }
                    (0..steps.count).for_each(|step| all.stand_on_at(i, step, vector.age(i, 0)));
                    all.take_namelessness(i, &vector, i);
                }
                Ok(Operand::Vector(all))
            }
            text => Ok(text),
        }
    }

    /// The inner expression is evaluated once, at all steps that any of the outer steps looks back on. They
    /// lie at multiples of the subquery's own step, whatever the query's.
    fn subquery(&mut self, subquery: &Subquery, steps: &Steps) -> Result<Ranges<'a>, EvalError> {
        let default = i64::try_from(self.config.subquery_step.as_millis()).unwrap_or(i64::MAX);
        let step = subquery.step.unwrap_or(default).max(1);
        let times = self.reader.times(subquery.shift, steps);
        let (first, last) = (times.get(0), times.until());
        let begin = first.saturating_sub(subquery.range);
        // The first multiple after the open left end.
        let start = begin.div_euclid(step).saturating_add(1).saturating_mul(step);
        let span = i128::from(last) - i128::from(start);
        let count = if span < 0 { 0 } else { span / i128::from(step) + 1 };
        let inner = Steps {
            start,
            step,
            count: usize::try_from(count).unwrap_or(usize::MAX),
            until: last,
        };
        let rows = if inner.count == 0 {
            Vector::new(0)
        } else {
            // Also a subquery without series costs a number a step.
            self.budget.take_result(1, inner.count)?;
            let outer = std::mem::replace(&mut self.asked, Asked::Buckets);
            let rows = self.vector(&subquery.expr, &inner);
            self.asked = outer;
            let mut rows = rows?;
            rows.forget_resets(&mut self.budget)?;
            rows
        };
        let rows = SubqueryRows {
            rows,
            steps: inner,
            of_one_series_each: is_of_one_series_each(&subquery.expr),
        };
        Ok(self.reader.ranges_of(rows, times, subquery.range))
    }

    // --- functions ---

    fn call(&mut self, call: &Call, steps: &Steps) -> Result<Operand, EvalError> {
        match (function::implementation(call.function), &call.args[..]) {
            (Implementation::Engine(Special::Absent), [arg]) => self.absent(arg, steps),
            (Implementation::Engine(Special::AbsentOverTime), [arg]) => self.absent_over_time(arg, steps),
            (Implementation::Engine(Special::Timestamp), [arg]) => self.timestamp(arg, steps),
            (Implementation::Engine(Special::StartTimestamp), [arg]) => self.start_timestamp(arg, steps),
            (Implementation::Engine(Special::Info), [arg]) => self.info(arg, None, steps),
            (Implementation::Engine(Special::Info), [arg, Expr::Selector(wanted)]) => {
                self.info(arg, Some(&wanted.matchers), steps)
            }
            (Implementation::Range(spec), _) => self.over_range(&spec, call, steps),
            (_, args) => {
                let args = args.iter().map(|arg| self.evaluate(arg, steps));
                let args = args.collect::<Result<Vec<_>, _>>()?;
                if let (Function::Scalar, true, [Operand::Vector(vector)]) =
                    (call.function, self.reader.tells_ages, &args[..])
                {
                    let present = |step: usize| {
                        let rows = (0..vector.len()).filter(move |&i| {
                            let value = vector.row(i)[step];
                            !is_absent(value) && !is_histogram(value)
                        });
                        rows.map(move |i| vector.age(i, step))
                    };
                    let ages: Vec<_> = (0..vector.width())
                        .map(|step| Age::oldest(present(step)))
                        .collect();
                    self.stand_on(&ages);
                }
                self.notes.enter(&call.places);
                let mut context = CallContext {
                    steps,
                    place: call.place,
                    budget: &mut self.budget,
                    notes: &mut self.notes,
                };
                function::call(call.function, args, &mut context)
            }
        }
    }

    fn over_range(&mut self, spec: &RangeSpec, call: &Call, steps: &Steps) -> Result<Operand, EvalError> {
        let (mut params, mut ranges) = (Vec::new(), None);
        for arg in &call.args {
            if arg.value_type() == ValueType::RangeVector {
                ranges = Some(self.ranges(arg, steps)?);
                continue;
            }
            match self.evaluate(arg, steps)? {
                Operand::Scalar(values) => params.push(values),
                _ => return Err(mismatch()),
            }
        }
        let ranges = ranges.ok_or_else(mismatch)?;
        self.notes.enter(&call.places);
        let (reader, budget) = (&mut self.reader, &mut self.budget);
        let vector = range::evaluate(spec, &ranges, &params, steps, reader, budget, &mut self.notes)?;
        Ok(Operand::Vector(vector))
    }

    fn absent(&mut self, arg: &Expr, steps: &Steps) -> Result<Operand, EvalError> {
        let vector = self.vector(arg, steps)?;
        let absent = absent::absent(&vector, labels_of_absent(arg), &mut self.budget)?;
        Ok(Operand::Vector(absent))
    }

    fn absent_over_time(&mut self, arg: &Expr, steps: &Steps) -> Result<Operand, EvalError> {
        let ranges = self.ranges(arg, steps)?;
        self.budget.take_vector(1, steps.count)?;
        let mut present = Vector::new(steps.count);
        let row = present.push_absent(LabelSet::empty());
        let mut samples = Buffer::default();
        for i in 0..ranges.len() {
            ranges.read(i, &mut samples, &mut self.budget)?;
            self.budget.spend(SERIES_WORK + steps.count)?;
            for (present, window) in row.iter_mut().zip(ranges.windows(&samples)) {
                if window.samples.0 < window.samples.1 {
                    *present = 1.0;
                }
            }
        }
        let absent = absent::absent(&present, labels_of_absent(arg), &mut self.budget)?;
        Ok(Operand::Vector(absent))
    }

    /// Adds the labels of info series, which are those at the time of the argument's samples.
    fn info(
        &mut self,
        arg: &Expr,
        matchers: Option<&[Matcher]>,
        steps: &Steps,
    ) -> Result<Operand, EvalError> {
        let base = self.vector(arg, steps)?;
        let wanted = info::Wanted::new(&base, matchers, &mut self.budget)?;
        let mut found = Vector::new(steps.count);
        if let Some(matchers) = wanted.selects() {
            let selector = Selector {
                shift: self.shift_of_info(arg, steps),
                ..Selector::new(matchers)
            };
            let (budget, notes) = (&mut self.budget, &mut self.notes);
            found = self
                .reader
                .instant(&selector, steps, Give::TimestampOfNumber, budget, notes)?;
        }
        let result = info::join(&base, &found, &wanted, &mut self.budget)?;
        Ok(Operand::Vector(result))
    }

    fn shift_of_info(&self, arg: &Expr, steps: &Steps) -> Shift {
        let time = |shift| self.reader.times(shift, steps).get(0);
        syntax_info::shift(arg, |a, b| time(a) == time(b))
    }

    /// Since when the sample is counted, 0 if that is not known. What is computed has no such time.
    fn start_timestamp(&mut self, arg: &Expr, steps: &Steps) -> Result<Operand, EvalError> {
        let mut vector = match arg.unwrapped() {
            Expr::Selector(selector) => {
                let (budget, notes) = (&mut self.budget, &mut self.notes);
                self.reader.instant(selector, steps, Give::Start, budget, notes)?
            }
            _ => {
                self.vector(arg, steps)?;
                Vector::new(steps.count)
            }
        };
        if vector.drop_names(&mut self.budget)? {
            vector.merge_duplicates(&mut self.budget)?;
        }
        Ok(Operand::Vector(vector))
    }

    /// The time of the sample itself if the argument is a selector; else that of the step.
    fn timestamp(&mut self, arg: &Expr, steps: &Steps) -> Result<Operand, EvalError> {
        let mut vector = match arg.unwrapped() {
            Expr::Selector(selector) => {
                let (budget, notes) = (&mut self.budget, &mut self.notes);
                self.reader
                    .instant(selector, steps, Give::Timestamp, budget, notes)?
            }
            _ => {
                let mut vector = self.vector(arg, steps)?;
                self.budget.take_scalar(steps.count)?;
                let times: Vec<f64> = steps.iter().map(|at| at as f64 / 1000.0).collect();
                for row in vector.values_mut().chunks_exact_mut(times.len()) {
                    self.budget.spend(times.len())?;
                    for (value, time) in row.iter_mut().zip(&times) {
                        *value = if is_absent(*value) { ABSENT } else { *time };
                    }
                }
                vector.forget_histograms();
                vector
            }
        };
        if vector.drop_names(&mut self.budget)? {
            vector.merge_duplicates(&mut self.budget)?;
        }
        Ok(Operand::Vector(vector))
    }
}

/// The parser checks types, so no query leads here.
fn mismatch() -> EvalError {
    EvalError::execution("an operand is not of the type that was checked")
}

/// Whether each row of `expr` is computed from one series, and from the same one at all steps.
fn is_of_one_series_each(expr: &Expr) -> bool {
    let has_samples = |expr: &Expr| {
        let mut parts = expr.walk().into_iter();
        parts.any(|part| matches!(part, Expr::Selector(_) | Expr::Range(_)))
    };
    match expr {
        Expr::Selector(_) | Expr::Range(_) => true,
        Expr::Negate(inner) | Expr::Once(inner) => is_of_one_series_each(inner),
        Expr::Subquery(subquery) => is_of_one_series_each(&subquery.expr),
        Expr::Call(call) => {
            let is_of_several = matches!(
                call.function,
                Function::HistogramQuantile
                    | Function::HistogramQuantiles
                    | Function::HistogramFraction
                    | Function::Info
                    | Function::Scalar
            );
            let mut read = call.args.iter().filter(|arg| has_samples(arg));
            !is_of_several && read.next().is_some_and(is_of_one_series_each) && read.next().is_none()
        }
        Expr::Aggregate(aggregate) => {
            use AggregateOp::{Bottomk, LimitRatio, Limitk, Topk};
            let chooses = matches!(aggregate.op, Topk | Bottomk | Limitk | LimitRatio);
            chooses && !aggregate.param.iter().any(has_samples) && is_of_one_series_each(&aggregate.expr)
        }
        Expr::Binary(binary) => match binary.op {
            BinaryOp::And | BinaryOp::Unless => is_of_one_series_each(&binary.left),
            _ => {
                let sides = [&binary.left, &binary.right].into_iter();
                let mut read = sides.filter(|side| has_samples(side));
                read.next().is_some_and(is_of_one_series_each) && read.next().is_none()
            }
        },
        Expr::Number(_) | Expr::Text(_) => false,
    }
}

/// What the selector says outright of what is not there; nothing if it is not a selector.
fn labels_of_absent(arg: &Expr) -> LabelSet {
    match arg.unwrapped() {
        Expr::Selector(selector) => absent::labels(&selector.matchers),
        Expr::Range(range) => absent::labels(&range.selector.matchers),
        _ => LabelSet::empty(),
    }
}
