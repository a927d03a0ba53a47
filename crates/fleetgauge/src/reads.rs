//! At which times an expression reads its selectors: what has to be fetched before it can be evaluated.
//!
//! The tree is walked as the evaluator walks it, with the times at which each selector looks: those of the query, moved
//! by `offset` and `@`, or the steps of a subquery. So what is read is asked for at exactly these, and no value has to
//! stand in for that of another time.

use std::collections::BTreeSet;
use std::time::Duration;

use fleetgauge_core::label::METRIC_NAME;
use fleetgauge_core::range::Steps as RangeSteps;
use fleetgauge_core::time::Timestamp;
use fleetgauge_promql::engine::EngineConfig;
use fleetgauge_syntax::tree::{At, Call, Expr, Matcher, RangeSelector, Selector, Shift};
use fleetgauge_syntax::{Function, info};

/// The times at which a selector looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum When {
    /// Now.
    Now,
    /// A time that is given.
    At(Timestamp),
    /// Every step of a range.
    Over(Grid),
}

/// The range of a selector, at each of the times from the first to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span {
    /// *Unit*: milliseconds since the Unix epoch.
    pub(crate) first: i64,
    pub(crate) last: i64,
    /// How far back it looks from each. *Unit*: milliseconds.
    pub(crate) range: i64,
}

/// Times that are a step apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Grid {
    /// *Unit*: milliseconds, at least one.
    pub(crate) step: i64,
    /// *Unit*: milliseconds since the Unix epoch.
    pub(crate) start: i64,
    pub(crate) end: i64,
}

/// The times at which a query is evaluated.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) start: i64,
    pub(crate) step: i64,
    /// At least one.
    pub(crate) count: i64,
    pub(crate) shape: TimesShape,
}

/// Whether it is one time or a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimesShape {
    /// Now, which no caller has given.
    Now,
    At,
    Range,
}

/// Who is told what an expression reads.
pub(crate) trait Reads {
    /// Why it cannot be read.
    type Error;

    /// A selector, at these times.
    fn selector(&mut self, matchers: &[Matcher], when: When) -> Result<(), Self::Error>;

    /// A selector with a range.
    fn range(&mut self, matchers: &[Matcher], span: Span) -> Result<(), Self::Error>;
}

struct Walk<'a, R> {
    reads: &'a mut R,
    query: Times,
    /// The step of a subquery that names none. *Unit*: milliseconds.
    subquery_step: i64,
}

/// Steps of the query or of a subquery.
#[derive(Clone, Copy)]
struct Steps {
    start: i64,
    step: i64,
    count: i64,
    /// Where the end that was asked for is.
    until: i64,
}

/// Tells `reads` what `expr` reads when it is evaluated at `times`.
///
/// *Errors*: the first of `reads`.
pub(crate) fn walk<R: Reads>(expr: &Expr, times: Times, reads: &mut R) -> Result<(), R::Error> {
    let step = EngineConfig::default().subquery_step;
    let mut walk = Walk {
        reads,
        query: times,
        subquery_step: i64::try_from(step.as_millis()).unwrap_or(i64::MAX),
    };
    let steps = Steps {
        start: times.start,
        step: times.step,
        count: times.count,
        until: times.end(),
    };
    walk.expr(expr, steps)
}

/// The same times with as few ranges as there need be: those that share their steps, and overlap or follow each other,
/// are one, and a time of its own that is a step of a range is not asked for again.
pub(crate) fn joined(reads: BTreeSet<(usize, When)>) -> Vec<(usize, When)> {
    let mut joined: Vec<(usize, When)> = Vec::new();
    let mut grids: Vec<(usize, Grid)> = Vec::new();
    for &(input, when) in &reads {
        if let When::Over(grid) = when {
            grids.push((input, grid));
        }
    }
    grids.sort_by_key(|(input, grid)| (*input, grid.step, grid.start.rem_euclid(grid.step), grid.start));
    grids.dedup_by(|(input, next), (of, grid)| input == of && grid.join(*next));
    for (input, when) in reads {
        let is_in =
            |(of, grid): &(usize, Grid)| *of == input && matches!(when, When::At(at) if grid.contains(at));
        if !matches!(when, When::Over(_)) && !grids.iter().any(is_in) {
            joined.push((input, when));
        }
    }
    joined.extend(grids.into_iter().map(|(input, grid)| (input, When::Over(grid))));
    joined
}

// === impl Times ===

impl Times {
    /// That time.
    pub(crate) fn once(at: Timestamp, shape: TimesShape) -> Self {
        let (start, step, count) = (at.as_millis(), 1, 1);
        Self {
            start,
            step,
            count,
            shape,
        }
    }

    /// All of `steps`.
    pub(crate) fn over(steps: RangeSteps) -> Self {
        Self {
            start: steps.start().as_millis(),
            step: i64::try_from(steps.step().as_millis()).unwrap_or(i64::MAX),
            count: i64::try_from(steps.count()).unwrap_or(i64::MAX),
            shape: TimesShape::Range,
        }
    }

    /// The last of them.
    pub(crate) fn end(&self) -> i64 {
        self.start
            .saturating_add(self.step.saturating_mul(self.count - 1))
    }
}

// === impl Grid ===

impl Grid {
    pub(crate) fn end(self) -> Timestamp {
        Timestamp::from_millis(self.end)
    }

    pub(crate) fn step(self) -> Duration {
        Duration::from_millis(self.step.unsigned_abs())
    }

    /// From the first to the last.
    pub(crate) fn window(self) -> Duration {
        Duration::from_millis(self.end.saturating_sub(self.start).unsigned_abs())
    }

    /// Becomes both, if `next`, which does not begin before it, shares its steps and leaves no gap.
    fn join(&mut self, next: Self) -> bool {
        let shares = self.step == next.step
            && self.start.rem_euclid(self.step) == next.start.rem_euclid(next.step)
            && next.start <= self.end.saturating_add(self.step);
        if shares {
            self.end = self.end.max(next.end);
        }
        shares
    }

    fn contains(self, at: Timestamp) -> bool {
        let at = at.as_millis();
        (self.start..=self.end).contains(&at) && at.rem_euclid(self.step) == self.start.rem_euclid(self.step)
    }
}

// === impl Walk ===

impl<R: Reads> Walk<'_, R> {
    fn expr(&mut self, expr: &Expr, steps: Steps) -> Result<(), R::Error> {
        match expr {
            Expr::Number(_) | Expr::Text(_) => Ok(()),
            Expr::Selector(selector) => self.selector(selector, steps),
            Expr::Range(range) => self.range(range, steps),
            Expr::Subquery(subquery) => {
                let step = subquery.step.unwrap_or(self.subquery_step).max(1);
                let (first, until) = (
                    self.time(subquery.shift, steps.start),
                    self.time(subquery.shift, steps.until),
                );
                // The first multiple after the open left end.
                let begin = first.saturating_sub(subquery.range);
                let start = begin.div_euclid(step).saturating_add(1).saturating_mul(step);
                if start > until {
                    return Ok(());
                }
                let count = until.saturating_sub(start) / step + 1;
                let inner = Steps {
                    start,
                    step,
                    count,
                    until,
                };
                self.expr(&subquery.expr, inner)
            }
            Expr::Call(call) if call.function == Function::Info => self.info(call, steps),
            Expr::Call(call) => call.args.iter().try_for_each(|arg| self.expr(arg, steps)),
            Expr::Aggregate(aggregate) => {
                let param = aggregate.param.iter();
                param
                    .chain([&aggregate.expr])
                    .try_for_each(|part| self.expr(part, steps))
            }
            Expr::Negate(inner) => self.expr(inner, steps),
            Expr::Binary(binary) => {
                self.expr(&binary.left, steps)?;
                self.expr(&binary.right, steps)
            }
            Expr::Once(inner) => {
                let count = 1;
                let until = if steps.count == 1 {
                    steps.until
                } else {
                    steps.start
                };
                self.expr(
                    inner,
                    Steps {
                        count,
                        until,
                        ..steps
                    },
                )
            }
        }
    }

    fn selector(&mut self, selector: &Selector, steps: Steps) -> Result<(), R::Error> {
        let when = self.when(selector.shift, steps);
        self.reads.selector(&selector.matchers, when)
    }

    fn range(&mut self, range: &RangeSelector, steps: Steps) -> Result<(), R::Error> {
        let shift = range.selector.shift;
        let span = Span {
            first: self.time(shift, steps.start),
            last: self.time(shift, steps.last()),
            range: range.range,
        };
        self.reads.range(&range.selector.matchers, span)
    }

    /// The labels that `info` adds are those at the time of its argument's samples.
    fn info(&mut self, call: &Call, steps: Steps) -> Result<(), R::Error> {
        let mut args = call.args.iter();
        let Some(base) = args.next() else {
            return Ok(());
        };
        self.expr(base, steps)?;
        let mut matchers = match args.next() {
            Some(Expr::Selector(wanted)) => wanted.matchers.clone(),
            _ => Vec::new(),
        };
        let names = matchers.iter().filter(|matcher| matcher.name == METRIC_NAME);
        let implied = info::implied(names.map(|matcher| matcher.op));
        matchers.extend(implied);
        let shift = info::shift(base, |a, b| {
            self.time(a, steps.start) == self.time(b, steps.start)
        });
        let selector = Selector {
            shift,
            ..Selector::new(matchers)
        };
        self.selector(&selector, steps)
    }

    /// When a selector looks.
    fn when(&self, shift: Shift, steps: Steps) -> When {
        let (start, end) = (self.time(shift, steps.start), self.time(shift, steps.last()));
        let shape = self.query.shape;
        match shape {
            TimesShape::Now if start == end && start == self.query.start => When::Now,
            TimesShape::Now | TimesShape::At if start == end => When::At(Timestamp::from_millis(start)),
            _ => When::Over(Grid {
                step: steps.step.max(1),
                start,
                end,
            }),
        }
    }

    /// Where a selector looks from the step `time`.
    fn time(&self, shift: Shift, time: i64) -> i64 {
        let at = match shift.at {
            None => time,
            Some(At::Time(at)) => at,
            Some(At::Start) => self.query.start,
            Some(At::End) => self.query.end(),
        };
        at.saturating_sub(shift.offset)
    }
}

// === impl Steps ===

impl Steps {
    fn last(self) -> i64 {
        self.start
            .saturating_add(self.step.saturating_mul(self.count - 1))
    }
}
