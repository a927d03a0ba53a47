//! Which inputs an expression reads, and at which times: what has to be fetched before it can be evaluated.
//!
//! The tree is walked as the evaluator walks it, with the times at which each selector looks: those of the query, moved
//! by `offset` and `@`, or the steps of a subquery. So an input is asked for exactly these, and no value has to stand in
//! for that of another time.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use fleetgauge_core::label::METRIC_NAME;
use fleetgauge_core::printable::Quoted;
use fleetgauge_core::similar::similar;
use fleetgauge_core::time::Timestamp;
use fleetgauge_promql::answers::ReadBy;
use fleetgauge_promql::engine::EngineConfig;
use fleetgauge_promql::matcher;
use fleetgauge_syntax::Function;
use fleetgauge_syntax::tree::{At, Call, Expr, MatchOp, Matcher, Selector, Shift};

use super::error::did_you_mean;
use super::input::SourceInput;

/// What is to be fetched for an expression.
#[derive(Debug)]
pub(super) struct Plan {
    /// Each input and time once.
    pub(super) fetches: Vec<Fetch>,
    /// Whether a name is not known yet, so that any input may be read.
    pub(super) is_open: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fetch {
    /// Which of the inputs.
    pub(super) input: usize,
    pub(super) when: When,
    pub(super) read_by: ReadBy,
}

/// The times for which an input is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum When {
    /// Now.
    Now,
    /// A time that is given.
    At(Timestamp),
    /// Every step of a range.
    Over(Grid),
}

/// Times that are a step apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Grid {
    /// *Unit*: milliseconds, at least one.
    step: i64,
    /// *Unit*: milliseconds since the Unix epoch.
    start: i64,
    end: i64,
}

/// The times at which a query is evaluated.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub(super) start: i64,
    pub(super) step: i64,
    /// At least one.
    pub(super) count: i64,
    pub(super) shape: TimesShape,
}

/// Whether it is one time or a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TimesShape {
    /// Now, which no caller has given.
    Now,
    At,
    Range,
}

/// Why an expression cannot be answered from the inputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PlanError {
    /// No input has the name of a metric that is selected.
    UnknownInput {
        name: String,
        similar: Option<String>,
        known: Vec<String>,
    },
    /// No input has a name that fits.
    NoInput { matchers: String, known: Vec<String> },
    /// A range in which there may be no step of an input.
    ShortRange { name: String, range: i64, step: i64 },
    /// A matcher that cannot be compiled.
    Matcher(String),
}

/// Whether what a matcher says is known, and not stood in for a parameter.
pub(super) type IsKnown<'a> = dyn Fn(&Matcher) -> bool + 'a;

struct Walk<'a> {
    inputs: &'a [SourceInput],
    query: Times,
    /// The step of a subquery that names none. *Unit*: milliseconds.
    subquery_step: i64,
    is_known: &'a IsKnown<'a>,
    /// Whether lengths of ranges are known.
    knows_ranges: bool,
    is_open: bool,
    selectors: BTreeSet<(usize, When)>,
    ranges: BTreeSet<(usize, When)>,
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

/// What `info` reads where it does not say.
const TARGET_INFO: &str = "target_info";

// === impl Plan ===

impl Plan {
    /// What `expr` reads of `inputs` when it is evaluated at `times`.
    ///
    /// *Errors*: [`PlanError`]
    pub(super) fn new(expr: &Expr, inputs: &[SourceInput], times: Times) -> Result<Self, PlanError> {
        Self::of_known(expr, inputs, times, &|_| true, true)
    }

    /// The same of an expression with stand-ins for parameters.
    ///
    /// *Errors*: [`PlanError`], as far as it is certain.
    pub(super) fn of_known(
        expr: &Expr,
        inputs: &[SourceInput],
        times: Times,
        is_known: &IsKnown<'_>,
        knows_ranges: bool,
    ) -> Result<Self, PlanError> {
        let mut walk = Walk {
            inputs,
            query: times,
            subquery_step: i64::try_from(EngineConfig::default().subquery_step.as_millis())
                .unwrap_or(i64::MAX),
            is_known,
            knows_ranges,
            is_open: false,
            selectors: BTreeSet::new(),
            ranges: BTreeSet::new(),
        };
        let steps = Steps {
            start: times.start,
            step: times.step,
            count: times.count,
            until: times.end(),
        };
        walk.expr(expr, steps)?;
        let mut fetches: BTreeMap<(usize, When), ReadBy> = BTreeMap::new();
        for read in joined(walk.selectors) {
            fetches.insert(read, ReadBy::Selectors);
        }
        for read in joined(walk.ranges) {
            let both = |read_by: &mut ReadBy| *read_by = ReadBy::All;
            fetches.entry(read).and_modify(both).or_insert(ReadBy::Ranges);
        }
        let fetches = fetches.into_iter();
        let fetches = fetches.map(|((input, when), read_by)| Fetch { input, when, read_by });
        Ok(Self {
            // What is had now comes last, and so counts where a range has the same time.
            fetches: fetches.rev().collect(),
            is_open: walk.is_open,
        })
    }
}

/// The same times with as few ranges as there need be: those that share their steps, and overlap or follow each other,
/// are one, and a time of its own that is a step of a range is not asked for again.
fn joined(reads: BTreeSet<(usize, When)>) -> Vec<(usize, When)> {
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
    fn end(&self) -> i64 {
        self.start
            .saturating_add(self.step.saturating_mul(self.count - 1))
    }
}

// === impl Grid ===

impl Grid {
    pub(super) fn end(self) -> Timestamp {
        Timestamp::from_millis(self.end)
    }

    pub(super) fn step(self) -> Duration {
        Duration::from_millis(self.step.unsigned_abs())
    }

    /// From the first to the last.
    pub(super) fn window(self) -> Duration {
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

impl Walk<'_> {
    fn expr(&mut self, expr: &Expr, steps: Steps) -> Result<(), PlanError> {
        match expr {
            Expr::Number(_) | Expr::Text(_) => Ok(()),
            Expr::Selector(selector) => self.selector(selector, steps),
            Expr::Range(range) => self.range(&range.selector, range.range, steps),
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

    fn selector(&mut self, selector: &Selector, steps: Steps) -> Result<(), PlanError> {
        let when = self.when(selector.shift, steps);
        for input in self.inputs_of(&selector.matchers)? {
            self.selectors.insert((input, when));
        }
        Ok(())
    }

    /// The points of an input are at multiples of its own step.
    fn range(&mut self, selector: &Selector, range: i64, steps: Steps) -> Result<(), PlanError> {
        let (first, last) = (
            self.time(selector.shift, steps.start),
            self.time(selector.shift, steps.last()),
        );
        for input in self.inputs_of(&selector.matchers)? {
            let SourceInput { step, name, .. } = &self.inputs[input];
            if range < *step && self.knows_ranges {
                return Err(PlanError::ShortRange {
                    name: name.clone(),
                    range,
                    step: *step,
                });
            }
            // The first multiple after the open left end.
            let begin = first.saturating_sub(range);
            let start = begin.div_euclid(*step).saturating_add(1).saturating_mul(*step);
            let end = last.saturating_sub(last.rem_euclid(*step));
            if start <= end {
                let grid = Grid {
                    step: *step,
                    start,
                    end,
                };
                self.ranges.insert((input, When::Over(grid)));
            }
        }
        Ok(())
    }

    /// The labels that `info` adds are those at the step, whatever the offset of its argument is.
    fn info(&mut self, call: &Call, steps: Steps) -> Result<(), PlanError> {
        let mut args = call.args.iter();
        args.next().map_or(Ok(()), |base| self.expr(base, steps))?;
        let mut matchers = match args.next() {
            Some(Expr::Selector(wanted)) => wanted.matchers.clone(),
            _ => Vec::new(),
        };
        if !matchers.iter().any(|matcher| matcher.name == METRIC_NAME) {
            matchers.push(Matcher {
                name: METRIC_NAME.to_owned(),
                op: MatchOp::Equal,
                value: TARGET_INFO.to_owned(),
                place: 0,
            });
        }
        let shift = Shift::default();
        self.selector(&Selector { matchers, shift }, steps)
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

    /// Which inputs a selector means.
    fn inputs_of(&mut self, matchers: &[Matcher]) -> Result<Vec<usize>, PlanError> {
        let of_name = || matchers.iter().filter(|matcher| matcher.name == METRIC_NAME);
        // That of `info` stands nowhere in the query.
        let is_own = |matcher: &Matcher| matcher.place == 0 && matcher.value == TARGET_INFO;
        if !of_name().all(|matcher| is_own(matcher) || (self.is_known)(matcher)) {
            self.is_open = true;
            return Ok(Vec::new());
        }
        let known = || self.inputs.iter().map(|input| input.name.as_str());
        let all = || known().map(str::to_owned).collect::<Vec<_>>();
        let is_unknown =
            |matcher: &&Matcher| matcher.op == MatchOp::Equal && !known().any(|name| name == matcher.value);
        if let Some(unknown) = of_name().find(is_unknown) {
            return Err(PlanError::UnknownInput {
                similar: similar(&unknown.value, known()).map(str::to_owned),
                name: unknown.value.clone(),
                known: all(),
            });
        }
        let compile = |written: &Matcher| matcher::Matcher::new(&written.name, written.op, &written.value);
        let compiled: Vec<_> = of_name()
            .map(compile)
            .collect::<Result<_, _>>()
            .map_err(|error| PlanError::Matcher(error.to_string()))?;
        let fits = |(_, name): &(usize, &str)| compiled.iter().all(|matcher| matcher.matches_value(name));
        let found: Vec<_> = known().enumerate().filter(fits).map(|(place, _)| place).collect();
        if found.is_empty() {
            let matchers: Vec<_> = matchers.iter().map(ToString::to_string).collect();
            return Err(PlanError::NoInput {
                matchers: matchers.join(","),
                known: all(),
            });
        }
        Ok(found)
    }
}

// === impl Steps ===

impl Steps {
    fn last(self) -> i64 {
        self.start
            .saturating_add(self.step.saturating_mul(self.count - 1))
    }
}

// === impl PlanError ===

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownInput { name, similar, known } => {
                let similar = did_you_mean(similar.as_deref());
                write!(
                    f,
                    "{} is not an input of this source{similar}{}",
                    Quoted(name),
                    Known(known)
                )
            }
            Self::NoInput { matchers, known } => {
                write!(f, "no input of this source fits {{{matchers}}}{}", Known(known))
            }
            Self::ShortRange { name, range, step } => write!(
                f,
                "a range of {range} ms over {name} may hold none of its points, which are {step} ms apart; lengthen the \
                 range, or shorten the input's step"
            ),
            Self::Matcher(error) => f.write_str(error),
        }
    }
}

struct Known<'a>(&'a [String]);

/// How many inputs are named in a message.
const MAX_KNOWN: usize = 10;

impl fmt::Display for Known<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("; it has none");
        }
        let shown = self.0.iter().take(MAX_KNOWN).map(String::as_str);
        let shown = shown.collect::<Vec<_>>().join(", ");
        let more = self.0.len().saturating_sub(MAX_KNOWN);
        let rest = if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        };
        write!(f, "; its inputs are {shown}{rest}")
    }
}
