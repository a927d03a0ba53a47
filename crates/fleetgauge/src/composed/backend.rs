//! Fetches the inputs that an expression reads, side by side, and evaluates it over their answers.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use fleetgauge_core::age::Age;
use fleetgauge_core::backend::{Backend, FetchError, Request};
use fleetgauge_core::cache::Lookup;
use fleetgauge_core::params::Params;
use fleetgauge_core::query::{QueryType, Shape};
use fleetgauge_core::query_list::QueryList;
use fleetgauge_core::range::Steps;
use fleetgauge_core::result::{Answer, MetricResult, Origin, Provenance};
use fleetgauge_core::sample::Stamp;
use fleetgauge_core::source::{QueryError, RefreshSpec};
use fleetgauge_core::time::{Clock, Moment, Timestamp};
use fleetgauge_promql::answers::{Answers, ReadBy};
use fleetgauge_syntax::parse;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join, try_join_all};
use tokio::time::Instant;

use super::input::{Inputs, SourceInput};
use super::known::KnownLabels;
use super::namesake::{self, Told};
use super::plan::{Fetch, Plan};
use crate::evaluation::{self, Evaluator};
use crate::reads::{Times, TimesShape, When};

/// A [`Backend`] whose answers are computed from those of other sources.
pub(super) struct ComposedBackend {
    /// The name of its source.
    name: String,
    inputs: Inputs,
    evaluator: Evaluator,
    known: Arc<KnownLabels>,
    clock: Clock,
    /// Those of the source before it.
    queries: OnceLock<QueryList>,
}

/// What an input was asked, and what became of it.
struct Had {
    fetch: Fetch,
    /// The time for which it was asked.
    at: Timestamp,
    /// When it was had; `None` if it was asked for a given time, and so is as old as it was then.
    since: Option<Moment>,
    /// How long it had been in the cache of its source then.
    cached_for: Duration,
    outcome: Result<Arc<MetricResult>, Arc<FetchError>>,
    /// Of a range, what it answered for the end of it.
    newest: Option<Arc<MetricResult>>,
    /// What else is to be told of it.
    warning: Option<&'static str>,
}

/// What all inputs are asked with.
struct Ask<'a> {
    request: &'a Request,
    params: Params,
    now: Timestamp,
    deadline: Instant,
}

/// A range of such an input is not continued from its last answer.
const LOOKS_AHEAD: &str = "an input looks at other times than each step's past (@, a negative offset), so ranges are asked for whole";

// === impl ComposedBackend ===

impl ComposedBackend {
    pub(super) fn new(name: String, inputs: Inputs, timeout: Duration, clock: Clock) -> Self {
        Self {
            name,
            inputs,
            evaluator: Evaluator::over_answers(timeout),
            known: Arc::default(),
            clock,
            queries: OnceLock::new(),
        }
    }

    /// Sets the queries of the source that asks it, whose parameters say what an answer may depend on.
    pub(super) fn set_queries(&self, queries: QueryList) {
        // It has one source.
        let _ = self.queries.set(queries);
    }

    async fn answer(&self, request: &Request) -> Result<Answer, FetchError> {
        // What is asked here in turn begins on a stack of its own, however deep sources lie on sources.
        tokio::task::yield_now().await;
        // An input that is late is named by then, and what there is without it is evaluated.
        let margin = (request.timeout / 10).min(Duration::from_millis(200));
        let now = self.clock.wall();
        let steps = request.steps(now)?;
        let at = request.at.unwrap_or(now);
        let text = request.promql();
        let expr = parse(&text).map_err(rejected)?;
        let plan = Plan::new(&expr, &self.inputs, times(request, at, steps)).map_err(rejected)?;
        let ask = Ask {
            request,
            params: self.params(request),
            now,
            deadline: Instant::now() + request.timeout.saturating_sub(margin),
        };
        let fetches = plan.fetches.iter().map(|fetch| self.fetch(*fetch, &ask));
        let had = try_join_all(fetches).await?;
        let dated = dated(&had);
        let origin = self.origin(request, &text, &had);
        let clusters = cluster_labels(&had);
        let namesakes = namesake::namesakes(&self.told(&had));
        let (inputs, known) = (Arc::clone(&self.inputs), Arc::clone(&self.known));
        let times = steps.map_or(evaluation::Times::Once(at), evaluation::Times::Steps);
        let begun = self.clock.now();
        let data = move || gathered(&inputs, &known, &had, begun);
        let answer = self.evaluator.evaluate(data, text, times).await?;
        let answer = answer.with_origin(Arc::new(origin));
        let answer = match clusters.is_empty() {
            true => answer,
            false => answer.with_cluster_labels(clusters),
        };
        let answer = match namesake::mixed(&expr, &namesakes, &answer) {
            Some(why) => answer.with_loss(&why),
            None => answer,
        };
        let answer = match request.at {
            None => answer.older_by(self.clock.now().saturating_since(begun)),
            Some(_) => answer,
        };
        Ok(match (steps, dated) {
            (None, Some((lag, stamp))) => answer.stamped(before(at, lag), stamp),
            _ => answer,
        })
    }

    /// What inputs have answered.
    fn told<'a>(&'a self, had: &'a [Had]) -> Vec<Told<'a>> {
        let told = had.iter().filter_map(|had| {
            let input = &self.inputs[had.fetch.input];
            Some(Told {
                input: &input.name,
                source: &input.source_name,
                answer: had.outcome.as_ref().ok()?.answer(),
            })
        });
        told.collect()
    }

    /// Where an answer comes from: each input once.
    fn origin(&self, request: &Request, text: &str, had: &[Had]) -> Origin {
        let read: BTreeSet<_> = had.iter().map(|had| had.fetch.input).collect();
        let inputs = read.into_iter().map(|input| {
            let SourceInput {
                name,
                source_name,
                query,
                ..
            } = &self.inputs[input];
            format!("{name}: {source_name} {query}")
        });
        Origin::new(&self.name, request.name.as_str())
            .with_text(text)
            .with_sent(inputs)
    }

    /// The caller's parameters, but for those that the query does not declare: the answer must not depend on them, since
    /// the cache does not tell them apart.
    fn params(&self, request: &Request) -> Params {
        let query = self
            .queries
            .get()
            .and_then(|queries| queries.get(request.name.as_str()));
        let declared = query.iter().flat_map(|query| query.params());
        let mut params = Params::new();
        for spec in declared {
            let values = request.params.values(spec.name());
            values.for_each(|value| params.push(spec.name(), value));
        }
        params
    }

    /// *Errors*: [`FetchError::Input`], unless the input is optional.
    async fn fetch(&self, fetch: Fetch, ask: &Ask<'_>) -> Result<Had, FetchError> {
        let input = &self.inputs[fetch.input];
        let params = input.params(&ask.params);
        let warning =
            (ask.request.shape != Shape::Instant && looks_ahead(input, &params)).then_some(LOOKS_AHEAD);
        let newest = newest(input, fetch, params.clone(), ask);
        let (outcome, newest) = join(asked(input, fetch.when, params, ask), newest).await;
        let cached_for = outcome
            .as_ref()
            .map_or(Duration::ZERO, |(_, cached_for)| *cached_for);
        let since = (fetch.when == When::Now).then(|| self.clock.now());
        let outcome = outcome
            .map(|(result, _)| result)
            .map_err(|error| FetchError::Input {
                input: input.name.clone(),
                of: input.source_name.clone(),
                asked: match fetch.when {
                    When::Now => "",
                    When::At(_) => ", at a given time",
                    When::Over(_) => ", over a range",
                },
                error: Box::new(error),
            });
        let outcome = match outcome {
            Err(error) if !input.is_optional => return Err(error),
            outcome => outcome.map_err(Arc::new),
        };
        let at = match fetch.when {
            When::Now => ask.now,
            When::At(at) => at,
            When::Over(grid) => grid.end(),
        };
        Ok(Had {
            fetch,
            at,
            since,
            cached_for,
            outcome,
            newest,
            warning,
        })
    }
}

impl Backend for ComposedBackend {
    fn fetch<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Answer, FetchError>> {
        self.answer(request).boxed()
    }
}

/// The times at which the query is evaluated.
fn times(request: &Request, at: Timestamp, steps: Option<Steps>) -> Times {
    let shape = match request.at {
        Some(_) => TimesShape::At,
        None => TimesShape::Now,
    };
    steps.map_or(Times::once(at, shape), Times::over)
}

/// The labels that tell clusters apart in any of the inputs.
fn cluster_labels(had: &[Had]) -> Arc<[Box<str>]> {
    let answers = had
        .iter()
        .filter_map(|had| Some(had.outcome.as_ref().ok()?.answer()));
    let told = answers.filter_map(Answer::provenance);
    let labels: BTreeSet<_> = told.flat_map(Provenance::cluster_labels).cloned().collect();
    labels.into_iter().collect()
}

/// What `input` answers, and for how long that has been in the cache of its source.
async fn asked(
    input: &SourceInput,
    when: When,
    params: Params,
    ask: &Ask<'_>,
) -> Result<(Arc<MetricResult>, Duration), QueryError> {
    let max_age = ask.request.max_age;
    if let (When::Now, Some(max_age)) = (when, max_age)
        && let Lookup::Value(value) = input.source.lookup(&input.query, &params)
        && !value.is_expired()
        && value.age().max(lag(value.result(), ask.now)) <= max_age
    {
        return Ok((Arc::clone(value.result()), value.age()));
    }
    let wait = ask.deadline.saturating_duration_since(Instant::now());
    let mut spec = RefreshSpec::queries([&*input.query])
        .params(params)
        .wait_at_most(wait);
    spec.max_age = max_age;
    spec = match when {
        When::Now => spec,
        When::At(at) => spec.at(at),
        When::Over(grid) => spec.range(grid.window(), grid.step()).at(grid.end()),
    };
    let results = input.source.refresh(spec).await;
    match results.get(&input.query) {
        Some(outcome) => Ok((outcome.clone()?, Duration::ZERO)),
        None => Err(QueryError::NoSource {
            query: input.query.clone(),
        }),
    }
}

/// What `input` answers for the end of a range, where an age is wanted: a range tells none. A source that has no answer to
/// it leaves the ages unknown.
async fn newest(
    input: &SourceInput,
    fetch: Fetch,
    params: Params,
    ask: &Ask<'_>,
) -> Option<Arc<MetricResult>> {
    match (fetch.when, fetch.read_by, ask.request.shape) {
        (When::Over(grid), ReadBy::Ranges | ReadBy::All, Shape::Instant) => {
            let outcome = asked(input, When::At(grid.end()), params, ask).await;
            Some(outcome.ok()?.0)
        }
        _ => None,
    }
}

/// What was had of the inputs, as series, and as old as it is at `now`.
fn gathered(
    inputs: &[SourceInput],
    known: &KnownLabels,
    had: &[Had],
    now: Moment,
) -> Result<Answers, FetchError> {
    let mut answers = Answers::new();
    for Had {
        fetch,
        at,
        since,
        cached_for,
        outcome,
        newest,
        warning,
    } in had
    {
        let input = &inputs[fetch.input];
        let result = match outcome {
            Ok(result) => result,
            Err(error) => {
                answers.add_absent(&input.name, &format!("optional {error}"));
                continue;
            }
        };
        let (answer, read_by) = (result.answer(), fetch.read_by);
        let added = match fetch.when {
            When::Over(_) if since.is_none() => {
                let newest = newest.as_ref().map(|newest| newest.answer());
                answers.add_range(&input.name, answer, *at, newest, read_by)
            }
            _ => known.of(fetch.input, &input.name, result).map(|labels| {
                let later = since.map(|since| now.saturating_since(since).saturating_add(*cached_for));
                let age = later.map(|later| move |row| result.age(row).older_by(later));
                let age = age.as_ref().map(|age| age as &dyn Fn(usize) -> Age);
                answers.add_labelled(&input.name, answer, &labels, *at, read_by, age);
            }),
        };
        if let Err(error) = added {
            let why = format!(
                "input {:?} of source {:?}: {error}",
                input.name, input.source_name
            );
            match input.is_optional {
                true => answers.add_absent(&input.name, &format!("optional {why}")),
                false => {
                    return Err(FetchError::Rejected {
                        kind: "execution".into(),
                        message: why,
                    });
                }
            }
        }
        if let Some(warning) = warning {
            answers.add_warning(&input.name, warning);
        }
    }
    Ok(answers)
}

/// How old the oldest value was when it was asked for, and what the times of values mean; nothing where there are none.
fn dated(had: &[Had]) -> Option<(Duration, Stamp)> {
    let with_values = had
        .iter()
        .filter_map(|had| Some((had, had.outcome.as_ref().ok()?)));
    let mut with_values = with_values.filter(|(_, result)| !result.is_empty()).peekable();
    with_values.peek()?;
    let mut oldest = (Duration::ZERO, Stamp::Sampled);
    for (had, result) in with_values {
        if matches!(had.fetch.when, When::Over(_)) {
            // Its points are dated by the steps.
            oldest.1 = Stamp::Evaluated;
            continue;
        }
        oldest.0 = oldest.0.max(lag(result, had.at));
        if result.answer().stamp() == Stamp::Evaluated {
            oldest.1 = Stamp::Evaluated;
        }
    }
    Some(oldest)
}

/// How long before `at` the oldest value stands.
fn lag(result: &MetricResult, at: Timestamp) -> Duration {
    let oldest = result.answer().oldest();
    oldest.map_or(Duration::ZERO, |oldest| at.saturating_since(oldest))
}

fn before(at: Timestamp, lag: Duration) -> Timestamp {
    let lag = i64::try_from(lag.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millis(at.as_millis().saturating_sub(lag))
}

/// Whether a step of the input's query depends on other times than its past. What cannot be read, as a dialect of
/// PromQL, may.
fn looks_ahead(input: &SourceInput, params: &Params) -> bool {
    let queries = input.source.query_list();
    let Ok(query) = queries.find(&input.query) else {
        return false;
    };
    let Ok(text) = query.render(params) else {
        return false;
    };
    query.template().query_type == QueryType::PromQl && !parse(&text).is_ok_and(|expr| expr.is_causal())
}

fn rejected(why: impl std::fmt::Display) -> FetchError {
    FetchError::Rejected {
        kind: "bad_data".into(),
        message: why.to_string(),
    }
}
