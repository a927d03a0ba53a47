//! Runs a script against an engine.

use std::time::Duration;

use fleetgauge_core::result::{AnswerBuilder, AnswerKind};
use fleetgauge_core::time::Timestamp;

use super::command::{Command, Eval, Grid, When};
use super::report::{Failure, Report};
use super::{Script, compare, show};
use crate::engine::{AnsweredHistograms, Engine, Evaluation, Features};
use crate::error::EvalError;
use crate::sample::{Sample, SampleValue};
use crate::store::MemoryStore;

/// Runs scripts with one engine.
///
/// ```
/// use fleetgauge_promql::engine::{Engine, EngineConfig};
/// use fleetgauge_promql::script::{Runner, Script};
///
/// let script = Script::parse("up.test", "load 1m\n  up 0 1\n\neval instant at 1m up\n  up 1\n")?;
/// let report = Runner::new(Engine::new(EngineConfig::default())).run(&script);
/// println!("{report}");
/// # Ok::<(), fleetgauge_promql::script::ScriptError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Runner {
    engine: Engine,
    tolerance: f64,
}

/// Before and after the time of an instant query, when it is evaluated as a range too.
const AROUND: Duration = Duration::from_secs(60);

// === impl Runner ===

impl Runner {
    /// How far from an expected number another may be, relative to both: as in Prometheus's own tests, whose
    /// expected numbers are written with few digits. NaN equals NaN, and infinities only themselves.
    pub const DEFAULT_TOLERANCE: f64 = 1e-6;

    /// With this engine, and the tolerance of Prometheus. Those [`Features`] are switched on that are in its own
    /// tests.
    pub fn new(engine: Engine) -> Self {
        let config = engine.config().clone().with_features(Features::of_scripts());
        Self {
            engine: engine.with_config(config),
            tolerance: Self::DEFAULT_TOLERANCE,
        }
    }

    /// With other features: those that Prometheus's server has unasked are `Features::default()`.
    #[must_use]
    pub fn with_features(mut self, features: Features) -> Self {
        let config = self.engine.config().clone().with_features(features);
        self.engine = self.engine.with_config(config);
        self
    }

    /// With another tolerance: `1e-9` for scripts whose numbers are written in full; 0 for the same number.
    #[must_use]
    pub fn with_tolerance(mut self, tolerance: f64) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// Runs a script, and does not stop at a failure. It starts without samples.
    pub fn run(&self, script: &Script) -> Report {
        let mut report = Report {
            script: script.name.clone(),
            ..Report::default()
        };
        let mut store = MemoryStore::new();
        for command in &script.commands {
            match command {
                Command::Clear => store.clear(),
                Command::Load(load) => {
                    let samples = load
                        .series
                        .iter()
                        .flat_map(|(labels, samples)| samples.iter().map(move |sample| (labels, sample)));
                    let mut conflicts = samples.filter_map(|(labels, sample)| {
                        let timestamp = sample.at;
                        let appended = match sample.value.clone() {
                            SampleValue::Float(value) => store.append(labels, Sample { timestamp, value }),
                            SampleValue::Histogram(value) => store.append_histogram(labels, timestamp, value),
                        };
                        if let Some(start) = sample.start {
                            store.set_start(labels, timestamp, start);
                        }
                        appended.err()
                    });
                    let mut differences: Vec<_> = load.unread.iter().map(ToString::to_string).collect();
                    differences.extend(conflicts.next().map(|conflict| conflict.to_string()));
                    if !differences.is_empty() {
                        report.failures.push(Failure {
                            script: script.name.clone(),
                            line: load.line,
                            command: "load".to_owned(),
                            differences,
                            expected: Vec::new(),
                            got: Vec::new(),
                        });
                    }
                }
                Command::Eval(eval) => match self.eval(eval, &store) {
                    None => report.passed += 1,
                    Some(failure) => report.failures.push(Failure {
                        script: script.name.clone(),
                        ..failure
                    }),
                },
            }
        }
        report
    }

    fn eval(&self, eval: &Eval, store: &MemoryStore) -> Option<Failure> {
        let outcome = match eval.when {
            When::At(at) => self
                .engine
                .instant_with(store, &eval.query, at, Some(AnsweredHistograms::new())),
            When::Range(Grid { start, end, step }) => self.range(store, &eval.query, (start, end), step),
        };
        let mut got = Vec::new();
        let mut differences = compare::outcome(eval, &outcome, self.tolerance);
        if differences.is_empty()
            && let (When::At(at), Ok(evaluation)) = (eval.when, &outcome)
            && let Some((wrong, shown)) = self.as_range(eval, store, at, evaluation)
        {
            differences = wrong;
            got = shown;
        } else if !differences.is_empty() {
            got = show::outcome(&outcome, eval.when);
        }
        if differences.is_empty() {
            return None;
        }
        Some(Failure {
            script: String::new(),
            line: eval.line,
            command: show::command(eval),
            differences,
            expected: show::expected(&eval.expected),
            got,
        })
    }

    fn range(
        &self,
        store: &MemoryStore,
        query: &str,
        ends: (Timestamp, Timestamp),
        step: Duration,
    ) -> Result<Evaluation, EvalError> {
        let histograms = Some(AnsweredHistograms::new());
        self.engine.range_with(store, query, ends, step, histograms)
    }

    /// Evaluates an instant query as the middle of a range, where the answer must be the same.
    fn as_range(
        &self,
        eval: &Eval,
        store: &MemoryStore,
        at: Timestamp,
        instant: &Evaluation,
    ) -> Option<(Vec<String>, Vec<String>)> {
        // Text and range vectors are not for ranges, whose series have no order besides.
        let kind = instant.answer.kind();
        let has_range = matches!(kind, AnswerKind::Scalar | AnswerKind::Vector);
        let is_timed = || self.engine.parse(&eval.query).is_ok_and(|query| query.is_timed());
        if !has_range || eval.expected.ordered || names_its_ends(&eval.query) || is_timed() {
            return None;
        }
        let start = Timestamp::from_millis(
            at.as_millis()
                .saturating_sub(i64::try_from(AROUND.as_millis()).unwrap_or(i64::MAX)),
        );
        let end = at.saturating_add(AROUND);
        let outcome = self.range(store, &eval.query, (start, end), AROUND);
        let outcome = outcome.map(|evaluation| at_step(evaluation, at, kind));
        let differences = match &outcome {
            Ok(evaluation) => compare::value(&eval.expected, evaluation, self.tolerance),
            Err(_) => vec!["it fails".to_owned()],
        };
        if differences.is_empty() {
            return None;
        }
        let mut all = vec!["right as an instant query, but not as a step of a range query".to_owned()];
        all.extend(differences);
        Some((all, show::outcome(&outcome, eval.when)))
    }
}

/// Whether `@ start()` or `@ end()` makes a query's answer depend on the range that it is asked for.
fn names_its_ends(query: &str) -> bool {
    let text: String = query.split_whitespace().collect();
    text.contains("@start(") || text.contains("@end(")
}

/// What the series of a range are at a time, as an answer of the kind that the instant query has.
fn at_step(range: Evaluation, at: Timestamp, kind: AnswerKind) -> Evaluation {
    let mut answer = AnswerBuilder::new(range.answer.stamp());
    let mut histograms = AnsweredHistograms::new();
    for (place, series) in range.answer.series().enumerate() {
        let Some(point) = series.points().find(|point| point.timestamp == at) else {
            continue;
        };
        if let SampleValue::Histogram(histogram) = range.value(place, at, point.value) {
            histograms.insert((answer.len(), at.as_millis()), histogram);
        }
        match kind {
            AnswerKind::Scalar => answer.scalar(point.value, at),
            _ => answer
                .series(series.labels().iter(), point.value, at)
                .expect("labels of one answer fit another"),
        }
    }
    Evaluation {
        answer: answer.build(),
        histograms,
        ..range
    }
}
