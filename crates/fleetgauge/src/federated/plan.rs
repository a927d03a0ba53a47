//! What is asked of the members for a query: its parts, each at the times at which the rest reads it.

use std::collections::BTreeSet;
use std::time::Duration;

use fleetgauge_core::backend::{FetchError, Request};
use fleetgauge_core::label::METRIC_NAME;
use fleetgauge_core::query::{QueryName, QueryType, Shape};
use fleetgauge_core::range::Steps;
use fleetgauge_core::time::Timestamp;
use fleetgauge_promql::answers::ReadBy;
use fleetgauge_promql::matcher;
use fleetgauge_syntax::parse;
use fleetgauge_syntax::rewrite::{Part, Plan, distribute, present};
use fleetgauge_syntax::tree::{Expr, Matcher, RangeSelector, Shift, Subquery};

use crate::reads::{self, Grid, Reads, Span, Times, TimesShape, When, joined};

/// A query that has been split.
pub(super) struct Split {
    pub(super) plan: Plan,
    pub(super) questions: Vec<Question>,
}

/// A part at some times.
pub(super) struct Question {
    /// Which of the parts.
    pub(super) part: usize,
    pub(super) text: String,
    pub(super) shape: Shape,
    /// The time, or the last one.
    pub(super) at: Timestamp,
    /// Whether that is now, and not given.
    is_now: bool,
    pub(super) read_by: ReadBy,
    /// Whether it gives series as they are stored, so that what one replica lacks can be had of another.
    pub(super) is_raw: bool,
    /// What has a row where the series are there that the part needs.
    pub(super) present: Option<String>,
    /// What is as old, and has ended, as what is computed from its values at several times, which themselves tell no ages.
    pub(super) last: Option<String>,
}

/// What a query reads of its parts.
struct PartReads<'a> {
    parts: &'a [Part],
    selectors: BTreeSet<(usize, When)>,
    ranges: BTreeSet<(usize, Span)>,
}

// === impl Split ===

impl Split {
    /// Splits the query `text`, to be evaluated at `at`, which is now or given, or at all of `steps`.
    ///
    /// *Errors*: [`FetchError::Rejected`]
    pub(super) fn new(
        text: &str,
        labels: &[&str],
        (at, is_now): (Timestamp, bool),
        steps: Option<Steps>,
    ) -> Result<Self, FetchError> {
        let expr = parse(text).map_err(rejected)?;
        let plan = distribute(&expr, labels).map_err(rejected)?;
        let (start, end) = steps.map_or((at, at), |steps| (steps.start(), steps.end()));
        let plan = plan.between(start.as_millis(), end.as_millis());
        let shape = if is_now { TimesShape::Now } else { TimesShape::At };
        let times = steps.map_or(Times::once(at, shape), Times::over);
        let mut read = PartReads {
            parts: &plan.pushed,
            selectors: BTreeSet::new(),
            ranges: BTreeSet::new(),
        };
        reads::walk(&plan.rest, times, &mut read).map_err(rejected)?;
        let (selectors, ranges) = (read.selectors, read.ranges);
        let mut questions: Vec<Question> = Vec::new();
        for (part, when) in joined(selectors) {
            questions.push(Question::of_values(part, &plan.pushed[part], when, at));
        }
        for (part, span) in ranges {
            let mut question = Question::of_samples(part, &plan.pushed[part], span);
            question.is_now = is_now && steps.is_none() && question.at == at;
            questions.push(question);
        }
        if steps.is_some() {
            // The answers to ranges tell no ages.
            questions.iter_mut().for_each(|question| question.last = None);
        }
        Ok(Self { plan, questions })
    }

    /// Which of the questions `labels`, which are those of a member, may have an answer to: the others are read under
    /// conditions that no row of it meets.
    pub(super) fn concerning(&self, labels: &[(String, String)]) -> Vec<usize> {
        let is_read = |part: &str| {
            let selectors = self.plan.rest.walk().into_iter().filter_map(|expr| match expr {
                Expr::Selector(selector) | Expr::Range(RangeSelector { selector, .. }) => Some(selector),
                _ => None,
            });
            let mut selectors = selectors.filter(|selector| part_of(&selector.matchers) == Some(part));
            selectors.any(|selector| selector.matchers.iter().all(|matcher| may_fit(matcher, labels)))
        };
        let concerns = |question: &Question| is_read(&self.plan.pushed[question.part].name);
        let questions = self.questions.iter().enumerate();
        questions
            .filter(|(_, question)| concerns(question))
            .map(|(place, _)| place)
            .collect()
    }

    /// Whether the rest is the only part, asked once.
    pub(super) fn is_whole(&self) -> bool {
        matches!(self.plan.rest.unwrapped(), Expr::Selector(_)) && self.questions.len() == 1
    }
}

/// Whether a row with these labels, and others, may fit.
fn may_fit(condition: &Matcher, labels: &[(String, String)]) -> bool {
    let Some((_, value)) = labels.iter().find(|(name, _)| *name == condition.name) else {
        return true;
    };
    let compiled = matcher::Matcher::new(&condition.name, condition.op, &condition.value);
    compiled.is_ok_and(|compiled| compiled.matches_value(value))
}

fn part_of(matchers: &[Matcher]) -> Option<&str> {
    let name = matchers.iter().find(|matcher| matcher.name == METRIC_NAME)?;
    Some(&name.value)
}

impl Reads for PartReads<'_> {
    type Error = String;

    fn selector(&mut self, matchers: &[Matcher], when: When) -> Result<(), String> {
        let part = self.part(matchers)?;
        self.selectors.insert((part, when));
        Ok(())
    }

    fn range(&mut self, matchers: &[Matcher], span: Span) -> Result<(), String> {
        let part = self.part(matchers)?;
        self.ranges.insert((part, span));
        Ok(())
    }
}

impl PartReads<'_> {
    fn part(&self, matchers: &[Matcher]) -> Result<usize, String> {
        let name = part_of(matchers);
        let part = self.parts.iter().position(|part| Some(&*part.name) == name);
        part.ok_or_else(|| "the query cannot be split for the members of a federation".to_owned())
    }
}

// === impl Question ===

impl Question {
    fn of_values(place: usize, part: &Part, when: When, now: Timestamp) -> Self {
        let (shape, at) = match when {
            When::Now => (Shape::Instant, now),
            When::At(at) => (Shape::Instant, at),
            When::Over(grid) => (over(grid), grid.end()),
        };
        Self {
            part: place,
            text: part.expr.to_string(),
            shape,
            at,
            is_now: when == When::Now,
            read_by: ReadBy::Selectors,
            is_raw: matches!(part.expr.unwrapped(), Expr::Selector(_)),
            present: present(&part.expr).map(|expr| expr.to_string()),
            last: match when {
                When::Over(grid) => Some(last_over(&part.expr, grid)),
                When::Now | When::At(_) => None,
            },
        }
    }

    /// All samples that one of the ranges reads.
    fn of_samples(place: usize, part: &Part, span: Span) -> Self {
        let mut expr = part.expr.clone();
        if let Expr::Range(range) = &mut expr {
            range.range = span.range.saturating_add(span.last.saturating_sub(span.first));
        }
        Self {
            part: place,
            text: expr.to_string(),
            shape: Shape::Instant,
            at: Timestamp::from_millis(span.last),
            is_now: false,
            read_by: ReadBy::Ranges,
            is_raw: true,
            present: present(&expr).map(|expr| expr.to_string()),
            last: Some(format!("last_over_time({expr})")),
        }
    }

    /// Whether its answer has values at several times.
    pub(super) fn is_matrix(&self) -> bool {
        self.read_by == ReadBy::Ranges || self.shape != Shape::Instant
    }

    /// What a source is asked.
    pub(super) fn request(&self, name: QueryName, timeout: Duration) -> Request {
        self.beside(name, &self.text, timeout).with_shape(self.shape)
    }

    /// What a source is asked beside it, for its time.
    pub(super) fn beside(&self, name: QueryName, text: &str, timeout: Duration) -> Request {
        let request = Request::new(name, QueryType::PromQl, text, timeout);
        match self.is_now {
            true => request.with_now(self.at),
            false => request.with_at(self.at),
        }
    }
}

/// The last of the values that `expr` has at the steps of `grid`, at the end of it.
fn last_over(expr: &Expr, grid: Grid) -> String {
    let subquery = Subquery {
        expr: expr.clone(),
        // The left end is open.
        range: grid.end.saturating_sub(grid.start).saturating_add(grid.step),
        step: Some(grid.step),
        shift: Shift::default(),
    };
    format!("last_over_time({})", Expr::Subquery(Box::new(subquery)))
}

fn over(grid: Grid) -> Shape {
    Shape::Range {
        window: grid.window(),
        step: grid.step(),
    }
}

pub(super) fn rejected(why: impl std::fmt::Display) -> FetchError {
    FetchError::Rejected {
        kind: "bad_data".into(),
        message: why.to_string(),
    }
}
