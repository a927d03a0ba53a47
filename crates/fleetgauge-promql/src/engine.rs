//! Evaluates PromQL as Prometheus 3 does.
//!
//! An expression is evaluated once for all steps of a query: every series is read once, and vectors are
//! matched once, however many steps there are. What does not depend on the step (`@`) is evaluated once.
//!
//! Every query ends: what it may look at, compute and take is bounded, and a query beyond a bound has an
//! error that names it. What Prometheus refuses is refused, in its words.
//!
//! ```
//! use fleetgauge_core::time::Timestamp;
//! use fleetgauge_promql::engine::{Engine, EngineConfig};
//! use fleetgauge_promql::window::{Window, WindowConfig};
//!
//! let window = Window::new(WindowConfig::default());
//! let now = Timestamp::from_secs_f64(1_763_930_000.0);
//! for (pod, waiting) in [("a", 3.0), ("b", 4.0)] {
//!     let mut target = window.appender([("pod", pod)]);
//!     let mut page = target.scrape(now);
//!     page.append("vllm:num_requests_waiting", waiting, None, |labels| {
//!         labels.label("__name__", "vllm:num_requests_waiting");
//!     })?;
//!     page.commit();
//! }
//!
//! let engine = Engine::new(EngineConfig::default());
//! let evaluation = engine.instant(&window, "sum(vllm:num_requests_waiting)", now)?;
//! let sum = evaluation.answer.values().next().expect("a value");
//! assert_eq!(sum.value, 7.0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod cache;
mod evaluator;
mod range;
mod resets;
#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;
use std::time::Duration;

use fleetgauge_core::age::Age;
use fleetgauge_core::histogram::Histogram;
use fleetgauge_core::label::LabelError;
use fleetgauge_core::result::{Answer, AnswerBuilder, Ended};
use fleetgauge_core::sample::Stamp;
use fleetgauge_core::time::Timestamp;
use fleetgauge_syntax::Times;
use fleetgauge_syntax::tree::Extended;

use crate::annotation::Annotations;
use crate::budget::{Budget, SERIES_WORK};
use crate::function::RangeInput;
use crate::histogram::FloatHistogram;
use crate::label::{Derivation, LabelList, LabelSet};
use crate::parallel::Helpers;
use crate::parse::{Expr, Expression, ParseError, ValueType};
use crate::queryable::Queryable;
use crate::sample::SampleValue;
use crate::selector::{Buffer, Ranges, Reader, Window};
use crate::value::{Operand, Steps, Vector, is_absent};

pub use crate::annotation::Annotation;
pub use crate::config::{EngineConfig, Features};
pub use crate::error::{Bound, EvalError};

use cache::ParsedQueries;
pub(crate) use evaluator::AnsweredHistograms;
use evaluator::Evaluator;
use resets::Asked;

/// Evaluates queries within bounds, and keeps those it parsed.
///
/// Cheap to clone; clones share the parsed queries, and the threads that help queries.
#[derive(Clone, Debug)]
pub struct Engine(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: EngineConfig,
    parsed: Arc<ParsedQueries>,
    helpers: Arc<Helpers>,
}

/// An answer, and what came with it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Evaluation {
    /// The answer, which has the warnings and infos as text, and the reasons why samples may be missing.
    pub answer: Answer,
    /// What is probably wrong with the query or its data, as Prometheus says it.
    pub warnings: Vec<Annotation>,
    /// What is worth a look, as Prometheus says it.
    pub infos: Vec<Annotation>,
    /// How many samples were looked at and computed.
    pub samples: usize,
    /// The values of the answer that are histograms.
    #[cfg_attr(not(feature = "script"), allow(dead_code, reason = "scripts compare them"))]
    pub(crate) histograms: AnsweredHistograms,
}

/// How long it is tried again where series come and go: a large page is written in a few milliseconds. Queries
/// that take longer are tried so often.
const SETTLING: Duration = Duration::from_millis(20);
const MIN_TRIES: usize = 3;
/// Also where the clock stands still.
const MAX_TRIES: usize = 1_000;

// === impl Engine ===

impl Engine {
    /// An engine with these bounds.
    pub fn new(config: EngineConfig) -> Self {
        let parsed = Arc::new(ParsedQueries::new(config.parsed_queries, config.features));
        let helpers = Arc::new(Helpers::new(config.threads));
        Self(Arc::new(Inner {
            config,
            parsed,
            helpers,
        }))
    }

    /// The bounds.
    pub fn config(&self) -> &EngineConfig {
        &self.0.config
    }

    /// One with other bounds, which shares the parsed queries unless it has other features, and, where it has as many, the
    /// threads.
    pub fn with_config(&self, config: EngineConfig) -> Self {
        if config.features != self.0.config.features {
            return Self::new(config);
        }
        let parsed = Arc::clone(&self.0.parsed);
        let helpers = match self.0.helpers.threads() == config.threads.max(1) {
            true => Arc::clone(&self.0.helpers),
            false => Arc::new(Helpers::new(config.threads)),
        };
        Self(Arc::new(Inner {
            config,
            parsed,
            helpers,
        }))
    }

    /// Parses and checks a query without evaluating it.
    ///
    /// *Errors*: [`ParseError`], with the place.
    pub fn parse(&self, query: &str) -> Result<Arc<Expression>, ParseError> {
        self.0.parsed.get_or_parse(query)
    }

    /// Evaluates a query at one time.
    ///
    /// *Shape*: sorted by labels, but where the query asks for an order (`sort`, `topk`). A range vector is a matrix
    /// of samples as they were taken.
    ///
    /// *Errors*: [`EvalError`]
    pub fn instant(&self, data: &dyn Queryable, query: &str, at: Timestamp) -> Result<Evaluation, EvalError> {
        self.instant_with(data, query, at, None)
    }

    /// As [`instant`](Self::instant). Histograms go to `histograms`, and are refused where there is none.
    pub(crate) fn instant_with(
        &self,
        data: &dyn Queryable,
        query: &str,
        at: Timestamp,
        histograms: Option<AnsweredHistograms>,
    ) -> Result<Evaluation, EvalError> {
        let steps = Steps::instant(at.as_millis());
        let expression = self.timed(self.parse(query)?, &steps)?;
        self.settled(data, query, &steps, self.0.config.ages, |evaluator| {
            evaluator.answered.clone_from(&histograms);
            evaluator.instant(expression.root(), &steps)
        })
    }

    /// Evaluates a query from `start` to `end`, both included, every `step`.
    ///
    /// *Shape*: a matrix. A scalar is a series without labels.
    ///
    /// *Errors*: [`EvalError`]; also if the query is a string or a range vector, if `end` is before `start`,
    /// or if `step` is less than a millisecond.
    pub fn range(
        &self,
        data: &dyn Queryable,
        query: &str,
        start: Timestamp,
        end: Timestamp,
        step: Duration,
    ) -> Result<Evaluation, EvalError> {
        self.range_with(data, query, (start, end), step, None)
    }

    /// As [`range`](Self::range). Histograms go to `histograms`, and are refused where there is none.
    pub(crate) fn range_with(
        &self,
        data: &dyn Queryable,
        query: &str,
        (start, end): (Timestamp, Timestamp),
        step: Duration,
        histograms: Option<AnsweredHistograms>,
    ) -> Result<Evaluation, EvalError> {
        let expression = self.parse(query)?;
        let kind = expression.value_type();
        if !matches!(kind, ValueType::Scalar | ValueType::InstantVector) {
            let why = format!(
                "invalid expression type \"{kind}\" for range query, must be Scalar or instant Vector"
            );
            return Err(EvalError::execution(why));
        }
        let steps = self.steps(start, end, step)?;
        let expression = self.timed(expression, &steps)?;
        self.settled(data, query, &steps, false, |evaluator| {
            evaluator.answered.clone_from(&histograms);
            evaluator.range(expression.root(), &steps)
        })
    }

    /// The expression for these steps, where it differs by them.
    fn timed(&self, expression: Arc<Expression>, steps: &Steps) -> Result<Arc<Expression>, ParseError> {
        if !expression.is_timed() {
            return Ok(expression);
        }
        let times = Times {
            step: steps.step,
            range: steps.until.saturating_sub(steps.start),
            start: steps.start,
            end: steps.until,
        };
        Expression::parse_with(expression.text(), self.0.config.features, Some(times)).map(Arc::new)
    }

    /// Evaluates anew for as long as series came or went meanwhile, so that no answer has a half of the new ones of
    /// a target, or the old and the new ones. Where that does not end, the answer says so.
    fn settled(
        &self,
        data: &dyn Queryable,
        query: &str,
        steps: &Steps,
        tells_ages: bool,
        evaluate: impl Fn(&mut Evaluator<'_>) -> Result<AnswerBuilder, EvalError>,
    ) -> Result<Evaluation, EvalError> {
        let begun = Budget::new(&self.0.config);
        let begun = if tells_ages { begun.with_ages() } else { begun };
        let mut tries = 0;
        loop {
            let mut evaluator = self.evaluator(data, steps, tells_ages, begun.clone());
            let answer = evaluate(&mut evaluator)?;
            tries += 1;
            let is_over = tries >= MAX_TRIES || tries >= MIN_TRIES && begun.elapsed() >= SETTLING;
            if is_over || !evaluator.reader.has_changed() {
                return Ok(evaluator.finish(query, answer));
            }
            std::thread::yield_now();
        }
    }

    fn steps(&self, start: Timestamp, end: Timestamp, step: Duration) -> Result<Steps, EvalError> {
        let step = i64::try_from(step.as_millis()).unwrap_or(i64::MAX);
        if step == 0 {
            return Err(EvalError::execution(
                "zero or negative query resolution step widths are not accepted. Try a positive integer",
            ));
        }
        let span = i128::from(end.as_millis()) - i128::from(start.as_millis());
        if span < 0 {
            return Err(EvalError::execution(
                "end timestamp must not be before start time",
            ));
        }
        let limit = self.0.config.max_steps;
        match usize::try_from(span / i128::from(step)) {
            // As many intervals as that, and so a step more, as Prometheus counts.
            Ok(intervals) if intervals <= limit => Ok(Steps {
                start: start.as_millis(),
                step,
                count: intervals + 1,
                until: end.as_millis(),
            }),
            _ => Err(EvalError::Bound {
                bound: Bound::Steps,
                limit,
            }),
        }
    }

    fn evaluator<'a>(
        &'a self,
        data: &'a dyn Queryable,
        steps: &Steps,
        tells_ages: bool,
        budget: Budget,
    ) -> Evaluator<'a> {
        let config = &self.0.config;
        Evaluator {
            reader: Reader {
                data,
                lookback: config.lookback,
                features: config.features,
                query: (steps.start, steps.until),
                tells_ages,
                finds_resets: false,
                reads: Vec::new(),
                ended: Ended::default(),
                helpers: &self.0.helpers,
            },
            config,
            budget,
            notes: Annotations::default(),
            scalars: Vec::new(),
            asked: Asked::default(),
            answered: None,
        }
    }
}

impl Evaluation {
    /// What the point of the answer's series `series` is that has this time and number.
    #[cfg_attr(not(feature = "script"), allow(dead_code, reason = "scripts compare them"))]
    pub(crate) fn value(&self, series: usize, at: Timestamp, number: f64) -> SampleValue {
        match self.histograms.get(&(series, at.as_millis())) {
            Some(histogram) => SampleValue::Histogram(Arc::clone(histogram)),
            None => SampleValue::Float(number),
        }
    }
}

impl Default for Engine {
    fn default() -> Self {
        Self::new(EngineConfig::default())
    }
}

// === impl Evaluator: answers ===

impl Evaluator<'_> {
    /// No histogram may be taken for a number by whoever reads an answer.
    fn refuse_histograms(&self, has_any: bool) -> Result<(), EvalError> {
        let is_refused = has_any && !self.config.histograms && self.answered.is_none();
        match is_refused {
            true => Err(EvalError::execution(
                "the answer has native histograms, which are no numbers; reduce them in the query, as with \
                 histogram_quantile or histogram_count",
            )),
            false => Ok(()),
        }
    }

    /// A histogram as the answer's series `series` has it.
    fn answered(
        &mut self,
        series: usize,
        at: i64,
        histogram: &Arc<FloatHistogram>,
    ) -> Result<Histogram, EvalError> {
        let answered = Histogram::from(&**histogram);
        self.budget
            .take_bytes(size_of::<Histogram>() + answered.heap_bytes())?;
        if let Some(known) = &mut self.answered {
            self.budget.take_list::<[usize; 4]>(1)?;
            known.insert((series, at), Arc::clone(histogram));
        }
        Ok(answered)
    }

    fn instant(&mut self, root: &Expr, steps: &Steps) -> Result<AnswerBuilder, EvalError> {
        let at = Timestamp::from_millis(steps.start);
        if root.value_type() == ValueType::RangeVector {
            return self.range_vector(root, steps);
        }
        let mut answer = AnswerBuilder::new(Stamp::Evaluated);
        match self.evaluate(root, steps)? {
            Operand::Scalar(values) => {
                answer.scalar(values.first().copied().unwrap_or(f64::NAN), at);
                if self.reader.tells_ages {
                    answer.age(Age::oldest(self.scalars.iter().copied()));
                }
            }
            Operand::Text(text) => answer.text(&text, at),
            Operand::Vector(mut vector) => {
                vector.end_names(&mut self.budget)?;
                self.refuse_histograms(vector.has_histograms())?;
                answer.reserve(vector.labels.len(), 1);
                for i in self.order(&vector.labels, root.is_ordered())?.iter().copied() {
                    let value = vector.row(i)[0];
                    if !is_absent(value) {
                        self.labels(&vector.labels[i], &mut answer)?;
                        match vector.histogram(i, 0) {
                            None => answer.end_series(value, at),
                            Some(histogram) => {
                                let histogram = self.answered(answer.len(), steps.start, histogram)?;
                                answer.end_histogram(histogram, at)
                            }
                        }
                        .map_err(unanswerable)?;
                        if self.reader.tells_ages {
                            answer.age(vector.age(i, 0));
                        }
                    }
                }
            }
        }
        Ok(answer)
    }

    fn range(&mut self, root: &Expr, steps: &Steps) -> Result<AnswerBuilder, EvalError> {
        let vector = match self.evaluate(root, steps)? {
            Operand::Scalar(values) => {
                self.budget.take_vector(1, steps.count)?;
                let mut vector = Vector::new(steps.count);
                vector.push(Default::default(), &values);
                vector
            }
            Operand::Vector(mut vector) => {
                vector.end_names(&mut self.budget)?;
                vector
            }
            Operand::Text(_) => return Err(EvalError::execution("a string has no steps")),
        };
        self.refuse_histograms(vector.has_histograms())?;
        let mut answer = AnswerBuilder::new(Stamp::Evaluated);
        answer.matrix();
        answer.reserve(vector.labels.len(), 0);
        let mut series = 0;
        for i in self.order(&vector.labels, false)?.iter().copied() {
            let row = vector.row(i);
            self.budget.spend(steps.count)?;
            let count = row.iter().filter(|value| !is_absent(**value)).count();
            if count == 0 {
                continue;
            }
            self.budget.take_list::<(i64, f64)>(count)?;
            self.labels(&vector.labels[i], &mut answer)?;
            let steps = steps.iter().zip(row).enumerate();
            for (step, (time, &value)) in steps.filter(|(_, (_, value))| !is_absent(**value)) {
                let at = Timestamp::from_millis(time);
                match vector.histogram(i, step) {
                    None => answer.point(value, at),
                    Some(histogram) => answer.histogram(self.answered(series, time, histogram)?, at),
                }
            }
            series += 1;
            answer.end_points().map_err(unanswerable)?;
        }
        Ok(answer)
    }

    fn range_vector(&mut self, root: &Expr, steps: &Steps) -> Result<AnswerBuilder, EvalError> {
        let mut ranges = self.ranges(root, steps)?;
        ranges.end_names(&mut self.budget)?;
        self.budget.take_list::<LabelSet>(ranges.len())?;
        let labels = ranges.list();
        let mut buffer = Buffer::default();
        let mut answer = AnswerBuilder::new(Stamp::Sampled);
        answer.matrix();
        let mut series = 0;
        for i in self.order(&labels, false)?.iter().copied() {
            self.budget.spend(SERIES_WORK)?;
            ranges.read(i, &mut buffer, &mut self.budget)?;
            let Some(window) = ranges.windows(&buffer).next() else {
                continue;
            };
            let (from, to) = window.samples;
            if from == to {
                continue;
            }
            if let Some(modifier) = ranges.extended().as_str()
                && buffer.has_histograms()
            {
                let why = format!("{modifier} modifier is not supported with histograms");
                return Err(EvalError::execution(why));
            }
            // Those at the borders of an extended one.
            self.budget.take_list::<(i64, f64)>(to - from + 2)?;
            let Some(samples) = samples_of(&ranges, window, &buffer) else {
                continue;
            };
            self.labels(&labels[i], &mut answer)?;
            self.refuse_histograms(buffer.has_histogram_in(from, to))?;
            if buffer.has_histograms() {
                for place in from..to {
                    let (time, value) = (buffer.times()[place], buffer.values()[place]);
                    let at = Timestamp::from_millis(time);
                    match buffer.histogram(place) {
                        None => answer.point(value, at),
                        Some(histogram) => answer.histogram(self.answered(series, time, histogram)?, at),
                    }
                }
            } else {
                let samples = samples.into_iter();
                samples.for_each(|(time, value)| answer.point(value, Timestamp::from_millis(time)));
            }
            series += 1;
            answer.end_points().map_err(unanswerable)?;
        }
        Ok(answer)
    }

    /// The places of the series in the order in which they are answered.
    fn order(&mut self, labels: &LabelList, is_ordered: bool) -> Result<Arc<Vec<usize>>, EvalError> {
        let in_turn = |budget: &mut Budget| {
            budget.take_list::<usize>(labels.len())?;
            Ok((0..labels.len()).collect::<Vec<_>>())
        };
        if is_ordered {
            return in_turn(&mut self.budget).map(Arc::new);
        }
        labels.derived(Derivation::Order, &mut self.budget, |budget| {
            let mut order = in_turn(budget)?;
            budget.sort_by(&mut order, |&a, &b| labels[a].cmp(&labels[b]))?;
            Ok(order)
        })
    }

    fn labels(&mut self, labels: &LabelSet, answer: &mut AnswerBuilder) -> Result<(), EvalError> {
        // A reference for each name and value, the value and where its text ends, and the series itself.
        let texts = labels.iter().map(|(_, value)| value.len() + 16);
        self.budget.take_bytes(texts.sum::<usize>() + 24)?;
        let (names, values, skipped) = labels.shared();
        answer.shared_labels(names, values, skipped);
        Ok(())
    }

    fn finish(self, query: &str, mut answer: AnswerBuilder) -> Evaluation {
        let located = self.notes.located(query);
        let missing = match self.config.strict_kinds {
            true => located.left_out,
            false => Vec::new(),
        };
        let (warnings, infos) = (located.warnings, located.infos);
        let others = |note: &&Annotation| !missing.contains(note);
        for warning in warnings.iter().filter(others) {
            answer.warning(&warning.to_string());
        }
        for info in infos.iter().filter(others) {
            answer.info(&info.to_string());
        }
        missing.iter().for_each(|note| answer.missing(&note.to_string()));
        self.reader.missing().tell(&mut answer);
        let answer = match self.reader.ended {
            ended if ended.is_empty() => answer.build(),
            ended => answer.build().with_ended(ended),
        };
        Evaluation {
            answer,
            warnings,
            infos,
            samples: self.budget.used(),
            histograms: self.answered.unwrap_or_default(),
        }
    }
}

/// What is answered of a range; nothing of an extended one that a series has ended before.
fn samples_of(ranges: &Ranges<'_>, window: Window, of: &Buffer) -> Option<Vec<(i64, f64)>> {
    let (from, to) = window.samples;
    let (times, values) = (&of.times()[from..to], &of.values()[from..to]);
    if ranges.extended() == Extended::No {
        return Some(times.iter().copied().zip(values.iter().copied()).collect());
    }
    let input = RangeInput {
        times,
        values,
        starts: &[],
        falls: true,
        start: window.start,
        end: window.end,
        at: window.end,
        extended: ranges.extended(),
        lookback_start: window.begin,
    };
    input.bordered()
}

fn unanswerable(error: LabelError) -> EvalError {
    EvalError::execution(error.to_string())
}
