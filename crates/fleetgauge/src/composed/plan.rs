//! Which inputs an expression reads, and at which times: what has to be fetched before it can be evaluated.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use fleetgauge_core::label::METRIC_NAME;
use fleetgauge_core::printable::Quoted;
use fleetgauge_core::similar::similar;
use fleetgauge_promql::answers::ReadBy;
use fleetgauge_promql::matcher;
use fleetgauge_syntax::info;
use fleetgauge_syntax::tree::{Expr, MatchOp, Matcher};

use super::input::SourceInput;
use crate::layered::did_you_mean;
use crate::reads::{self, Grid, Reads, Span, Times, When, joined};

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
    /// It looks beyond its ranges.
    Extended,
}

/// Whether what a matcher says is known, and not stood in for a parameter.
pub(super) type IsKnown<'a> = dyn Fn(&Matcher) -> bool + 'a;

struct Walk<'a> {
    inputs: &'a [SourceInput],
    is_known: &'a IsKnown<'a>,
    /// Whether lengths of ranges are known.
    knows_ranges: bool,
    is_open: bool,
    selectors: BTreeSet<(usize, When)>,
    ranges: BTreeSet<(usize, When)>,
}

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
        if expr.is_extended() {
            return Err(PlanError::Extended);
        }
        let mut walk = Walk {
            inputs,
            is_known,
            knows_ranges,
            is_open: false,
            selectors: BTreeSet::new(),
            ranges: BTreeSet::new(),
        };
        reads::walk(expr, times, &mut walk)?;
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

// === impl Walk ===

impl Reads for Walk<'_> {
    type Error = PlanError;

    fn selector(&mut self, matchers: &[Matcher], when: When) -> Result<(), PlanError> {
        for input in self.inputs_of(matchers)? {
            self.selectors.insert((input, when));
        }
        Ok(())
    }

    /// The points of an input are at multiples of its own step.
    fn range(&mut self, matchers: &[Matcher], span: Span) -> Result<(), PlanError> {
        let Span { first, last, range } = span;
        for input in self.inputs_of(matchers)? {
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
}

impl Walk<'_> {
    /// Which inputs a selector means.
    fn inputs_of(&mut self, matchers: &[Matcher]) -> Result<Vec<usize>, PlanError> {
        let of_name = || matchers.iter().filter(|matcher| matcher.name == METRIC_NAME);
        if !of_name().all(|matcher| info::is_implied(matcher) || (self.is_known)(matcher)) {
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
            Self::Extended => f.write_str(
                "`anchored` and `smoothed` read samples beyond a range, which inputs are not asked for",
            ),
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
