//! How old the rows of a query are.
//!
//! A row is as old as its oldest contributor, and a contributor is as old as its newest sample, before the time that
//! its selector asks for: `offset` and `@` are taken off. For each kind of expression:
//!
//! | query | companion |
//! |---|---|
//! | `x` | `timestamp(x)` |
//! | `x offset 1m`, `x @ 100` | `timestamp(x offset 1m) + 60`, `timestamp(x @ 100) + (time() - 100)` |
//! | `rate(x[5m])`, any function of a range | the newest sample of each series in the range: see [`Newest`] |
//! | `x smoothed`, `rate(x[5m] smoothed)` | the same, of a range that is longer by the lookback, where it has a row |
//! | `f(x[1h:1m])` | that of what is inside, the newest over the same steps |
//! | `abs(a)`, `a * 2`, `-a` | that of `a` |
//! | `a / scalar(b)` | that of `a`, but not newer than that of `b` |
//! | `sum by (pod) (a)` | `min by (pod)` of that of `a`, whatever the aggregation |
//! | `topk(2, a)` | that of `a`: how old the rows are that were left out is not asked |
//! | `a > 5` | that of `a`, where it contributes to something only of the rows of `a > 5` |
//! | `a / on (pod) b` | the older one of both sides |
//! | `a and b`, `a unless b` | that of `a`, whose values they are |
//! | `a or b` | that of `a` where `a` answers, else that of `b` |
//! | `histogram_quantile(0.9, a)` | the oldest of the buckets |
//! | `absent(a)`, `vector(1)` | `+Inf`: nothing contributes, so it is older than nothing |
//!
//! Operations that leave out native histograms have no row of them, and their companions do. An `or`, what writes labels, and
//! a subquery ask which rows there are, so that none is told newer than it is. Where numbers and histograms are aggregated
//! together, which Prometheus warns of, a row may be told older; and at some steps of a subquery alone, also newer.
//!
//! The companion is for queries at one time, in which `start()` and `end()` are that time.

#[cfg(test)]
mod tests;

use crate::Function;
use crate::info;
use crate::tree::{
    Aggregate, AggregateOp, Binary, BinaryOp, Call, Expr, Extended, Group, Grouping, RangeSelector, Selector,
    Shift, Subquery, ValueType,
};

use super::asked::Asked;
use super::build::{aggregate, binary, by, call, labelled, matched, present, subquery, without};
use super::kind::{has_all_rows, is_number, vector_of};
use super::series::{
    BUCKET, Groups, LOOKBACK_MILLIS, METRIC_NAME, Rows, groups, has_samples, is_scalar, may_leave_out, rows,
};

/// What tells how old the rows of a query are. *Unit* of the values: seconds since the Unix epoch, so that the age is
/// the time of the evaluation less the value; `+Inf` where no sample contributes.
#[derive(Clone, Debug)]
pub enum Age {
    /// *Shape*: to each row of the query, a row of the same labels, but for the metric name. There may be rows of
    /// which the query has none. Where the query has a row and this has none, the row's age is not known.
    Exact(Expr),
    /// *Shape*: one row without labels, for no contributor of the query is older. None where nothing contributes.
    Bound(Expr),
    /// No sample is read.
    Ageless,
}

/// How the newest sample of each series in a range is asked for: `timestamp(x)` does not see series that have ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Newest {
    /// As Prometheus 2.42 knows it: `timestamp(x)`, or for a series that has ended `max_over_time(timestamp(x)[5m:15s])`
    /// with about 20 steps in the range, a second to a minute each. A series that has ended seems older than it is by at
    /// most a step, and one that ended within a step of its beginning is not seen.
    Subquery,
    /// By `ts_of_last_over_time(x[5m])`, exactly. Prometheus has it from 3.5 on, if experimental functions are
    /// enabled, and so has this project's evaluator.
    TsOfLast,
}

/// The companion that tells how old the rows of a query are.
///
/// A selector that does not name its metric may select several that differ by their names alone; servers then refuse
/// the companion ("vector cannot contain metrics with the same labelset"), and the age is not known.
///
/// ```
/// use fleetgauge_syntax::parse;
/// use fleetgauge_syntax::rewrite::{Age, Newest, age};
///
/// let Age::Exact(companion) = age(&parse("sum by (pod) (x)")?, Newest::Subquery) else {
///     panic!("there is one");
/// };
/// assert_eq!(companion.to_string(), "min by (pod) (timestamp(x))");
/// # Ok::<(), fleetgauge_syntax::ParseError>(())
/// ```
pub fn age(query: &Expr, newest: Newest) -> Age {
    if !has_samples(query) {
        return Age::Ageless;
    }
    let form = match newest {
        Newest::Subquery => Form::Subquery,
        Newest::TsOfLast => Form::TsOfLast,
    };
    match companion(query, form) {
        Some(rows) => Age::Exact(rows),
        None => Age::Bound(bound(query, form)),
    }
}

/// The companion that tells who reports: a row for each row that the query has, or would have if its comparisons let
/// all through, as long as its series have not ended. A row of the query that has no row here has ended.
///
/// The values are the times of the newest samples, as in [`age`].
///
/// *Errors*: `None` if the tree does not allow it, or if no sample is read.
pub fn reporting(query: &Expr) -> Option<Expr> {
    if !has_samples(query) {
        return None;
    }
    companion(query, Form::Live)
}

/// What has a row where a series has ended that the query still reads, in a range or at a step of a subquery: for queries of
/// which [`reporting`] cannot tell it row by row.
///
/// *Shape*: a row for each selector of which that is so; its value is the time of the oldest of their newest samples.
///
/// *Errors*: `None` if no row of the query can outlive its series ([`looks_back`]).
pub fn ended(query: &Expr, newest: Newest) -> Option<Expr> {
    let form = match newest {
        Newest::Subquery => Form::Subquery,
        Newest::TsOfLast => Form::TsOfLast,
    };
    let seen = collected(query, form, Function::MaxOverTime).into_iter();
    let live = collected(query, Form::Live, Function::MaxOverTime);
    let gone = seen
        .zip(live)
        .filter(|(seen, live)| seen.to_string() != live.to_string())
        .map(|(seen, live)| {
            let gone = binary(BinaryOp::Unless, seen, live);
            aggregate(AggregateOp::Min, Grouping::default(), gone)
        });
    let numbered = gone.enumerate().map(|(i, gone)| match i {
        0 => gone,
        _ => labelled(gone, SIDE, &i.to_string()),
    });
    let all = numbered.reduce(|all, one| binary(BinaryOp::Or, all, one))?;
    is_small(&all).then(|| finished(all))?
}

/// How the newest samples of ranges are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Subquery,
    TsOfLast,
    /// Not: only of series that have not ended, whatever is compared.
    Live,
}

/// Beyond so many parts a companion is dearer than what it tells.
const MAX_PARTS: usize = 1_000;

/// Tells the sides of an operator apart.
const SIDE: &str = "__side__";

/// *Unit*: milliseconds.
const MIN_STEP: i64 = 1_000;
const MAX_STEP: i64 = 60_000;

/// Makes the companion of one query.
struct Companion<'a> {
    form: Form,
    /// The subqueries around what is looked at, the outermost first.
    around: Vec<&'a Subquery>,
    /// Which of their steps is told: the newest, or where it is not known at which ones something contributes, the
    /// oldest.
    over_steps: Function,
}

/// The times of an expression's rows.
struct Times {
    expr: Expr,
    fit: Fit,
}

/// Which rows the times have beside those of the expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fit {
    /// None.
    Same,
    /// Those that do not contribute.
    More,
}

fn companion(query: &Expr, form: Form) -> Option<Expr> {
    let mut companion = Companion {
        form,
        around: Vec::new(),
        over_steps: Function::MaxOverTime,
    };
    let times = match query.value_type() {
        ValueType::InstantVector => companion.rows(query)?.expr,
        ValueType::Scalar => {
            let mut times = companion.of_scalar(query)?.into_iter();
            let first = call(Function::Vector, vec![times.next()?]);
            not_newer(first, times)
        }
        ValueType::RangeVector => companion.range(query)?.expr,
        ValueType::Text => return None,
    };
    is_small(&times).then(|| finished(times))?
}

/// Whether rows may be there whose series have ended. What is smoothed lies on the line to a later sample, and where there is
/// none, it stays as it was for as long as the lookback.
pub fn looks_back(expr: &Expr) -> bool {
    expr.walk().into_iter().any(|part| match part {
        Expr::Range(_) | Expr::Subquery(_) => true,
        Expr::Selector(selector) => selector.extended == Extended::Smoothed,
        _ => false,
    })
}

/// Who reports of an `or`: a row is told of by the operand that it is from, or where neither has it because of what they
/// compare, by either.
fn or_live(op: &Binary, left: Expr, right: Expr) -> Expr {
    let unless =
        |kept: Expr, others: &Expr| matched(BinaryOp::Unless, kept, others.clone(), op.matching.clone());
    // Each companion stands here once: operands that are an `or` themselves would make it twice as long each time.
    let from_right = unless(op.right.clone(), &op.left);
    let left = binary(BinaryOp::Unless, left, from_right);
    binary(BinaryOp::Or, left, unless(right, &op.left))
}

/// As the parser gives it; `None` if it is beyond a limit.
fn finished(expr: Expr) -> Option<Expr> {
    crate::parse(&expr.to_string()).ok()
}

fn is_small(expr: &Expr) -> bool {
    expr.walk().len() <= MAX_PARTS
}

// === impl Companion ===

impl<'a> Companion<'a> {
    /// The times of an instant vector's rows; `None` if the tree does not allow it.
    fn rows(&mut self, expr: &'a Expr) -> Option<Times> {
        if !has_samples(expr) {
            return Some(self.now(expr));
        }
        match expr {
            // Where its numbers and histograms mix it has no row.
            Expr::Selector(selector) if selector.extended == Extended::Smoothed => {
                Some(self.samples(selector, None, Some(expr)))
            }
            Expr::Selector(selector) => Some(self.samples(selector, None, None)),
            Expr::Negate(inner) | Expr::Once(inner) => self.rows(inner),
            Expr::Call(call) => self.call(expr, call),
            Expr::Aggregate(aggregate) => self.aggregate(aggregate),
            Expr::Binary(binary) => self.binary(expr, binary),
            Expr::Number(_) | Expr::Text(_) | Expr::Range(_) | Expr::Subquery(_) => None,
        }
    }

    /// Just the rows of the expression.
    fn strict(&mut self, expr: &'a Expr) -> Option<Expr> {
        let times = self.rows(expr)?;
        Some(self.narrowed(times, expr))
    }

    /// Those of the times that are of a row of the expression.
    fn narrowed(&self, times: Times, expr: &Expr) -> Expr {
        if times.fit == Fit::Same || self.form == Form::Live {
            return times.expr;
        }
        let rows = self.over_steps(expr.clone(), 0).0;
        binary(BinaryOp::And, times.expr, rows)
    }

    /// Times of which some did not contribute.
    fn partly(&self, times: Times) -> Option<Times> {
        // The newest sample over several steps may be of a step at which the row did not contribute.
        match (self.form, self.around.is_empty()) {
            (Form::Live, _) => Some(times),
            (_, false) => None,
            (_, true) => Some(Times {
                fit: Fit::More,
                ..times
            }),
        }
    }

    /// Of rows to which nothing contributes.
    fn now(&self, expr: &Expr) -> Times {
        let never = present(expr.clone(), Expr::Number(f64::INFINITY));
        let (expr, asked) = self.over_steps(never, 0);
        Times {
            expr: asked.added_to(expr),
            fit: Fit::Same,
        }
    }

    // --- functions ---

    fn call(&mut self, expr: &'a Expr, call: &'a Call) -> Option<Times> {
        let times = match rows(call.function) {
            Rows::Absence => return Some(self.now(expr)),
            Rows::Number => {
                // `vector(…)`
                let mut times = self.of_scalar(call.args.first()?)?.into_iter();
                let first = super::build::call(Function::Vector, vec![times.next()?]);
                return Some(Times {
                    expr: not_newer(first, times),
                    fit: Fit::Same,
                });
            }
            Rows::Joined => return None,
            Rows::Each | Rows::Ordered if may_leave_out(call.function) => {
                self.each_number(expr, vector_of(call)?)?
            }
            Rows::Each | Rows::Ordered => self.rows(vector_of(call)?)?,
            Rows::EachOrNone => {
                let times = self.rows(vector_of(call)?)?;
                self.partly(times)?
            }
            Rows::Relabelled => self.relabelled(call)?,
            Rows::EachHistogram => {
                let buckets = self.strict(vector_of(call)?)?;
                Times {
                    expr: aggregate(AggregateOp::Min, without(&[], BUCKET), buckets),
                    fit: Fit::More,
                }
            }
            kind @ (Rows::EachSeries | Rows::EachLongSeries) => {
                let range = |arg: &&Expr| arg.value_type() == ValueType::RangeVector;
                let of = call.args.iter().find(range)?;
                match of.unwrapped() {
                    _ if kind == Rows::EachSeries && !may_leave_out(call.function) => self.range(of)?,
                    // A series may be long enough, or have the right kind of samples, at some steps alone.
                    Expr::Range(range) if !self.around.is_empty() => {
                        self.samples(&range.selector, Some(range.range), Some(expr))
                    }
                    Expr::Subquery(steps)
                        if kind == Rows::EachSeries
                            && may_leave_out(call.function)
                            && !is_number(&steps.expr) =>
                    {
                        let times = self.range(of)?;
                        match self.around.is_empty() {
                            true => times,
                            false => self.partly(times)?,
                        }
                    }
                    _ if kind == Rows::EachSeries => self.range(of)?,
                    _ => {
                        let times = self.range(of)?;
                        self.partly(times)?
                    }
                }
            }
        };
        let scalars = call.args.iter().filter(|arg| is_scalar(arg));
        self.with_scalars(times, scalars)
    }

    /// Of what leaves out histograms: over several steps, those at which there is a number. At one step, what has a time and
    /// is left out makes what is computed of it look older at most, but in an `or`, which asks.
    fn each_number(&mut self, expr: &'a Expr, vector: &'a Expr) -> Option<Times> {
        match vector.unwrapped() {
            Expr::Selector(selector) if !self.around.is_empty() => {
                Some(self.samples(selector, None, Some(expr)))
            }
            _ if self.around.is_empty() || self.form == Form::Live || is_number(vector) => self.rows(vector),
            _ => None,
        }
    }

    fn relabelled(&mut self, call: &'a Call) -> Option<Times> {
        let of_name = |arg: &Expr| matches!(arg, Expr::Text(name) if **name == *METRIC_NAME);
        if call.args.iter().any(of_name) {
            return None;
        }
        // Rows that it does not have may become the same as others.
        let mut args = call.args.clone();
        args[0] = self.strict(call.args.first()?)?;
        Some(Times {
            expr: super::build::call(call.function, args),
            fit: Fit::Same,
        })
    }

    /// Of the series of a range vector.
    fn range(&mut self, expr: &'a Expr) -> Option<Times> {
        match expr.unwrapped() {
            Expr::Range(range) => Some(self.samples(&range.selector, Some(range.range), None)),
            Expr::Subquery(subquery) => {
                self.around.push(subquery);
                let times = self.rows(&subquery.expr);
                self.around.pop();
                times
            }
            _ => None,
        }
    }

    /// No newer than what its scalars stand on.
    fn with_scalars(&mut self, times: Times, scalars: impl Iterator<Item = &'a Expr>) -> Option<Times> {
        let mut expr = times.expr;
        for scalar in scalars {
            expr = not_newer(expr, self.of_scalar(scalar)?.into_iter());
        }
        Some(Times { expr, ..times })
    }

    /// The times of what a scalar stands on, each a scalar.
    fn of_scalar(&mut self, expr: &'a Expr) -> Option<Vec<Expr>> {
        if !has_samples(expr) {
            return Some(Vec::new());
        }
        // At which steps there is a row to go with it is not known.
        if self.form != Form::Live && !self.around.is_empty() {
            return None;
        }
        let parts: Vec<&Expr> = match expr {
            Expr::Call(scalar) if scalar.function == Function::Scalar => {
                let rows = self.strict(scalar.args.first()?)?;
                let oldest = aggregate(AggregateOp::Min, Grouping::default(), rows);
                // What is not there does not contribute.
                let now = call(Function::Vector, vec![call(Function::Time, Vec::new())]);
                let oldest = binary(BinaryOp::Or, oldest, now);
                return Some(vec![call(Function::Scalar, vec![oldest])]);
            }
            Expr::Call(call) => call.args.iter().collect(),
            Expr::Negate(inner) | Expr::Once(inner) => vec![inner],
            Expr::Binary(binary) => vec![&binary.left, &binary.right],
            _ => return None,
        };
        let times = parts.into_iter().map(|part| self.of_scalar(part));
        Some(times.collect::<Option<Vec<_>>>()?.into_iter().flatten().collect())
    }

    // --- aggregations ---

    fn aggregate(&mut self, aggregated: &'a Aggregate) -> Option<Times> {
        let grouping = &aggregated.grouping;
        if !grouping.without && has_name(&grouping.labels) {
            return None;
        }
        let times = match groups(aggregated.op) {
            Groups::Each => Times {
                expr: aggregate(AggregateOp::Min, grouping.clone(), self.strict(&aggregated.expr)?),
                fit: Fit::Same,
            },
            Groups::Some => {
                let times = self.rows(&aggregated.expr)?;
                self.partly(times)?
            }
            Groups::EachValue => return None,
        };
        self.with_scalars(times, aggregated.param.iter())
    }

    // --- operators ---

    fn binary(&mut self, expr: &'a Expr, op: &'a Binary) -> Option<Times> {
        let is_filter = op.op.is_comparison() && !op.returns_bool || op.op.is_trim();
        let sides = [&op.left, &op.right];
        if let Some(at) = sides.iter().position(|side| is_scalar(side)) {
            // A histogram may be multiplied with a number, and divided by one.
            let keeps = op.op == BinaryOp::Mul || op.op == BinaryOp::Div && at == 1 || is_filter;
            let times = match keeps {
                true => self.rows(sides[1 - at])?,
                false => self.each_number(expr, sides[1 - at])?,
            };
            let times = self.with_scalars(times, [sides[at]].into_iter())?;
            return if is_filter {
                self.partly(times)
            } else {
                Some(times)
            };
        }
        // Rows stand on one side alone where the other is filled.
        if op.matching.fill.is_any() {
            return None;
        }
        if has_name(&op.matching.labels) && op.matching.on || has_name(&op.matching.include) {
            return None;
        }
        match op.op {
            BinaryOp::And | BinaryOp::Unless => {
                let times = self.rows(&op.left)?;
                self.partly(times)
            }
            BinaryOp::Or => self.or(op),
            _ => {
                let times = self.older(op)?;
                if is_filter {
                    self.partly(times)
                } else {
                    Some(times)
                }
            }
        }
    }

    fn or(&mut self, op: &'a Binary) -> Option<Times> {
        // Which side answers may differ between steps.
        if !self.around.is_empty() {
            return None;
        }
        let (mut left, right) = (self.rows(&op.left)?, self.rows(&op.right)?);
        // Where an operation leaves out a histogram, the right side answers, and its times count.
        if has_samples(&op.right) && !has_all_rows(&op.left) {
            left.fit = Fit::More;
        }
        let left = self.narrowed(left, &op.left);
        let plain = || {
            matched(
                BinaryOp::Or,
                left.clone(),
                right.expr.clone(),
                op.matching.clone(),
            )
        };
        let expr = if self.form == Form::Live && (looks_back(&op.left) || looks_back(&op.right)) {
            let by_operand = or_live(op, left.clone(), right.expr.clone());
            // Of a long chain it is told less: that another operand reports is a sign of life, too. The age is not.
            if is_small(&by_operand) {
                by_operand
            } else {
                plain()
            }
        } else {
            plain()
        };
        let fit = right.fit;
        is_small(&expr).then_some(Times { expr, fit })
    }

    /// The older one of both sides.
    fn older(&mut self, op: &'a Binary) -> Option<Times> {
        // Which series match may differ between steps.
        if !self.around.is_empty() {
            return None;
        }
        let (left, right) = (self.strict(&op.left)?, self.strict(&op.right)?);
        let matching = &op.matching;
        if matching.group == Group::Neither && self.form != Form::Live {
            let sides = binary(
                BinaryOp::Or,
                labelled(left, SIDE, "left"),
                labelled(right, SIDE, "right"),
            );
            let grouping = match matching.on {
                true => by(&matching.labels),
                false => without(&matching.labels, SIDE),
            };
            // What matches nothing is among them.
            return self.partly(Times {
                expr: aggregate(AggregateOp::Min, grouping, sides),
                fit: Fit::Same,
            });
        }
        // A comparison gives the value of its left operand.
        let mut turned = matching.clone();
        turned.group = match matching.group {
            Group::Neither => Group::Neither,
            Group::Left => Group::Right,
            Group::Right => Group::Left,
        };
        let of_left = matched(BinaryOp::LessEqual, left.clone(), right.clone(), matching.clone());
        let of_right = matched(BinaryOp::Less, right, left, turned);
        let expr = binary(BinaryOp::Or, of_left, of_right);
        is_small(&expr).then_some(Times { expr, fit: Fit::Same })
    }

    // --- selectors ---

    /// The times of the newest samples of series: at the step, or in a range before it; of those that `rows` has. *Unit*
    /// of `range`: milliseconds.
    fn samples(&self, selector: &Selector, range: Option<i64>, rows: Option<&Expr>) -> Times {
        let asked = Asked::by(selector.shift);
        let shift = asked.shift();
        let at = |shift| {
            Expr::Selector(Selector {
                shift,
                ..Selector::new(selector.matchers.clone())
            })
        };
        let timestamp = |shift| call(Function::Timestamp, vec![at(shift)]);
        // With a sample behind the range or the time, one from before it counts, too.
        let range = match selector.extended {
            Extended::Smoothed => Some(range.unwrap_or(0).saturating_add(LOOKBACK_MILLIS)),
            Extended::No | Extended::Anchored => range,
        };
        let newest = match (range, self.form) {
            (None, _) | (_, Form::Live) => timestamp(shift),
            (Some(range), Form::TsOfLast) => {
                let selector = Selector {
                    shift,
                    ..Selector::new(selector.matchers.clone())
                };
                let range = Expr::Range(RangeSelector { selector, range });
                call(Function::TsOfLastOverTime, vec![range])
            }
            (Some(range), Form::Subquery) => {
                let step = (range / 20).clamp(MIN_STEP, MAX_STEP).min(range).max(1);
                let steps = subquery(timestamp(Shift::default()), range, Some(step), shift);
                let ended = call(Function::MaxOverTime, vec![steps]);
                let seen = binary(BinaryOp::Or, timestamp(shift), ended);
                // `timestamp` looks farther back than a short range, and each step of the subquery, too.
                binary(BinaryOp::GreaterEqual, seen, asked.time_before(range))
            }
        };
        let newest = match rows {
            Some(rows) if self.form != Form::Live => binary(BinaryOp::And, newest, rows.clone()),
            _ => newest,
        };
        let (expr, asked) = match asked {
            Asked::Back(back) => self.over_steps(newest, back),
            // Which is the same at every step.
            Asked::Query(_) | Asked::At(_) => (newest, asked),
        };
        Times {
            expr: asked.added_to(expr),
            fit: Fit::Same,
        }
    }

    /// The values over the steps of the subqueries around, and what these ask for, if `back` before it was asked
    /// for inside. *Unit*: milliseconds.
    fn over_steps(&self, mut expr: Expr, mut back: i64) -> (Expr, Asked) {
        for around in self.around.iter().rev() {
            let asked = Asked::by(around.shift);
            // Who has not ended is there at the last step.
            let range = match (self.form, around.step) {
                (Form::Live, Some(step)) => step,
                _ => around.range,
            };
            let steps = subquery(expr, range, around.step, asked.shift());
            expr = call(self.over_steps, vec![steps]);
            back = match asked {
                Asked::Back(more) => back.saturating_add(more),
                Asked::Query(more) => return (expr, Asked::Query(back.saturating_add(more))),
                Asked::At(at) => return (expr, Asked::At(at.saturating_sub(back))),
            };
        }
        (expr, Asked::Back(back))
    }
}

/// No newer than any of the scalars.
fn not_newer(times: Expr, scalars: impl Iterator<Item = Expr>) -> Expr {
    scalars.fold(times, |times, scalar| {
        call(Function::ClampMax, vec![times, scalar])
    })
}

/// Whether the metric name is among them, which no time has.
fn has_name(labels: &[std::sync::Arc<str>]) -> bool {
    labels.iter().any(|label| **label == *METRIC_NAME)
}

// --- the bound ---

/// The time of the oldest series that any selector finds.
fn bound(query: &Expr, form: Form) -> Expr {
    let mut found = collected(query, form, Function::MinOverTime);
    let mut texts = std::collections::BTreeSet::new();
    found.retain(|times| texts.insert(times.to_string()));
    let oldest = |times: Expr| aggregate(AggregateOp::Min, Grouping::default(), times);
    let number = |(i, times): (usize, Expr)| match i {
        0 => oldest(times),
        _ => labelled(oldest(times), SIDE, &i.to_string()),
    };
    let is_one = found.len() == 1;
    let all = found.into_iter().enumerate().map(number);
    let all = all.reduce(|all, one| binary(BinaryOp::Or, all, one));
    match all {
        Some(one) if is_one => one,
        Some(all) => oldest(all),
        // There is a selector, since the query has samples.
        None => Expr::Number(f64::NAN),
    }
}

/// The times of each selector's series.
fn collected(query: &Expr, form: Form, over_steps: Function) -> Vec<Expr> {
    let mut companion = Companion {
        form,
        around: Vec::new(),
        over_steps,
    };
    let mut found = Vec::new();
    companion.collect(query, &mut found);
    found
}

impl<'a> Companion<'a> {
    /// The times of all that is selected.
    fn collect(&mut self, expr: &'a Expr, into: &mut Vec<Expr>) {
        match expr {
            Expr::Selector(selector) => into.push(self.samples(selector, None, None).expr),
            Expr::Range(range) => into.push(self.samples(&range.selector, Some(range.range), None).expr),
            Expr::Subquery(subquery) => {
                self.around.push(subquery);
                self.collect(&subquery.expr, into);
                self.around.pop();
            }
            Expr::Call(call) if call.function == Function::Info => self.collect_info(call, into),
            other => other
                .children()
                .into_iter()
                .for_each(|part| self.collect(part, into)),
        }
    }

    /// The info series are selected by their own matchers, at the time of the argument's samples.
    fn collect_info(&mut self, call: &'a Call, into: &mut Vec<Expr>) {
        let mut matchers = match call.args.get(1) {
            Some(Expr::Selector(selector)) => selector.matchers.clone(),
            _ => Vec::new(),
        };
        let names = matchers.iter().filter(|matcher| matcher.name == METRIC_NAME);
        let implied = info::implied(names.map(|matcher| matcher.op));
        matchers.splice(0..0, implied);
        if let Some(arg) = call.args.first() {
            let shift = info::shift(arg, |a, b| Asked::by(a) == Asked::by(b));
            // That the time of the query is the one that stands in it only the evaluation tells.
            let may_be = info::shift(arg, |a, b| Asked::by(a).may_be(Asked::by(b)));
            let shifts = [Some(shift), Some(may_be).filter(|&other| other != shift)];
            for shift in shifts.into_iter().flatten() {
                let selector = Selector {
                    shift,
                    ..Selector::new(matchers.clone())
                };
                into.push(self.samples(&selector, None, None).expr);
            }
            self.collect(arg, into);
        }
    }
}
