//! Answers queries from the newest samples, after the scrapes that they ask for.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use fleetgauge_core::backend::{Backend, FetchError, Request};
use fleetgauge_core::label::METRIC_NAME;
use fleetgauge_core::query::QueryType;
use fleetgauge_core::result::{Answer, AnswerBuilder, Origin};
use fleetgauge_core::sample::Stamp;
use fleetgauge_core::time::Timestamp;
use fleetgauge_promql::engine::Engine;
use fleetgauge_promql::matcher::Matcher;
use fleetgauge_promql::missing::{Missing, Read};
use fleetgauge_promql::queryable::Queryable;
use fleetgauge_promql::sample::{Sample, Samples};
use fleetgauge_promql::window::Series;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::absence::{Absence, Absent};
use super::active::{ActiveTarget, Need};
use super::config::ScrapeConfig;
use super::pool::{Known, Pool};
use super::targets::Targets;
use super::view::View;
use crate::evaluation::{self, Times};

/// The text of the query for the newest samples of all series.
pub(super) const ALL_METRICS: &str = r#"{__name__=~".+"}"#;

/// How many failing targets or discoveries are named in an error.
const MAX_NAMED: usize = 5;

/// How long a refresh waits for targets whose last scrape timed out. Their scrapes go on: the next caller has
/// what they bring.
const WAIT_FOR_HANGING: Duration = Duration::from_millis(500);

/// A [`Backend`] that scrapes targets, and answers from the newest samples of each.
///
/// Queries by metric name, and `{__name__=~".+"}`, are answered with the newest samples and their times, where what is
/// now is asked for; other PromQL, given times and ranges are evaluated over the samples that are kept.
pub struct ScrapeBackend {
    pool: Arc<Pool>,
    engine: Engine,
}

// === impl ScrapeBackend ===

impl ScrapeBackend {
    pub(super) fn new(pool: Arc<Pool>) -> Self {
        let config = &pool.common().config;
        let engine = evaluation::engine(config.lookback_delta, config.query_timeout);
        Self { pool, engine }
    }

    async fn answer(&self, query: &Request) -> Result<Answer, FetchError> {
        // What there is by then is an answer; what comes after the deadline is none.
        let margin = (query.timeout / 10).min(Duration::from_millis(200));
        let deadline = Instant::now() + query.timeout - margin;
        let need = Need::of(query);
        self.pool.discovered(need, deadline).await;
        let known = self.pool.known();
        if known.is_closed {
            return Err(shut_down());
        }
        let targets = Self::refresh(self.read_by(query, &known.targets), need, deadline).await;
        if self.pool.is_closed() {
            return Err(shut_down());
        }
        // A page may be dated a little ahead of a wall clock that was set back.
        let newest = targets.iter().filter_map(|(active, _)| active.last_at()).max();
        let at = newest.unwrap_or_default().max(self.pool.clock().wall());
        let late: Vec<_> = (targets.iter())
            .filter_map(|(active, in_time)| Some((Arc::clone(active), active.lagging(*in_time)?)))
            .collect();
        let count = targets.len();
        let config = Arc::clone(&self.pool.common().config);
        let view = View::new(self.pool.window().clone(), config, &known, targets, at);
        let answer = match (Selector::of(query), query.steps(at)?) {
            // Its samples with their own times are those of now.
            (Some(selector), None) if query.at.is_none() => {
                let lookback = self.pool.common().config.lookback_delta;
                // All series are walked over, of which there may be millions.
                let reading = tokio::task::spawn_blocking(move || selector.newest(&view, at, lookback));
                reading.await.map_err(|_| FetchError::Aborted)??
            }
            (_, steps) => {
                let once = query.at.unwrap_or(at);
                let first = steps.map_or(once, |steps| steps.start());
                let view = view.from(first, self.pool.kept_since(at));
                let times = steps.map_or(Times::Once(once), Times::Steps);
                let begun = self.pool.clock().now();
                let answer = evaluation::evaluate(&self.engine, || Ok(view), query.promql(), times).await?;
                // What is asked for a given time is as old as it was then.
                match query.at {
                    None => answer.older_by(self.pool.clock().now().saturating_since(begun)),
                    Some(_) => answer,
                }
            }
        };
        let answer = finish(answer, count, &known, &late, &self.pool.common().config)?;
        let origin = Origin::new("", query.name.as_str()).with_text(&query.promql());
        Ok(answer.with_origin(Arc::new(origin)))
    }

    /// The targets that may have what `query` asks for.
    fn read_by(&self, query: &Request, targets: &Targets) -> Vec<Arc<ActiveTarget>> {
        // Where exposed labels win, series may have any others than their target's.
        match query.query_type {
            QueryType::PromQl if !self.pool.window().config().honor_labels => targets.read_by(&query.text),
            _ => targets.all().to_vec(),
        }
    }

    /// Waits for fresh scrapes of `known` until `deadline`. Gives the targets, and for each whether it was in time.
    async fn refresh(
        known: Vec<Arc<ActiveTarget>>,
        need: Need,
        deadline: Instant,
    ) -> Vec<(Arc<ActiveTarget>, bool)> {
        known.iter().for_each(|active| active.ask(need));
        // Those that hung the last time last, and not for long: they would keep every caller waiting.
        let (hanging, others): (Vec<_>, Vec<_>) = known.into_iter().partition(|active| active.is_hanging());
        let soon = deadline.min(Instant::now() + WAIT_FOR_HANGING);
        let others = others.into_iter().map(|active| (active, deadline));
        let hanging = hanging.into_iter().map(|active| (active, soon));
        let mut targets = Vec::new();
        for (active, until) in others.chain(hanging) {
            let in_time = tokio::time::timeout_at(until, active.scraped(need)).await.is_ok();
            targets.push((active, in_time));
        }
        targets
    }
}

impl Backend for ScrapeBackend {
    fn fetch<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Answer, FetchError>> {
        self.answer(request).boxed()
    }
}

impl fmt::Debug for ScrapeBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScrapeBackend")
            .field("discoveries", &self.pool.discovery_names())
            .field("targets", &self.pool.known().targets.all().len())
            .finish_non_exhaustive()
    }
}

/// Which newest samples are asked for.
enum Selector {
    Metric(String),
    All,
}

impl Selector {
    /// `None` for PromQL that is to be evaluated.
    fn of(query: &Request) -> Option<Self> {
        match query.query_type {
            QueryType::MetricName => Some(Self::Metric(query.text.trim().to_owned())),
            QueryType::PromQl if query.text == ALL_METRICS => Some(Self::All),
            QueryType::PromQl => None,
        }
    }

    fn newest(&self, view: &View, at: Timestamp, lookback: Duration) -> Result<Answer, FetchError> {
        let millis = i64::try_from(lookback.as_millis()).unwrap_or(i64::MAX);
        let from = Timestamp::from_millis(at.as_millis().saturating_sub(millis));
        let mut answer = AnswerBuilder::new(Stamp::Sampled);
        let mut add = |series: &Series, sample: Sample| {
            let added = if sample.is_histogram() {
                let mut samples = Samples::default();
                series.read(sample.timestamp, sample.timestamp, &mut samples);
                let first = (!samples.is_empty()).then(|| samples.histogram(0)).flatten();
                // One that is gone by now was dropped, of which is told below.
                let Some(histogram) = first else { return Ok(()) };
                let labels = series.labels().iter();
                labels.for_each(|(name, value)| answer.label(name, value));
                answer.end_histogram((&**histogram).into(), sample.timestamp)
            } else {
                answer.series(series.labels().iter(), sample.value, sample.timestamp)
            };
            added.map_err(|error| FetchError::Malformed {
                detail: error.to_string(),
                source: Some(Arc::new(error)),
            })
        };
        let mut matchers = Vec::new();
        let has_changed = match self {
            Self::Metric(name) => {
                matchers.push(Matcher::equal(METRIC_NAME, name));
                let latest = view.window().latest(name, at, lookback);
                latest
                    .iter()
                    .try_for_each(|(series, sample)| add(series, sample))?;
                latest.has_changed()
            }
            Self::All => {
                let selected = view.window().select(&[], from, at);
                for series in selected.iter() {
                    if let Some(sample) = series.at(at, lookback) {
                        add(series, sample)?;
                    }
                }
                selected.has_changed()
            }
        };
        // Asked last: who has seen anything of a page is told what it lacks.
        let mut missing = Missing::default();
        if has_changed {
            missing.add_changed();
        }
        view.missing(&[Read::newest(&matchers, from, at)], &mut missing);
        missing.tell(&mut answer);
        Ok(answer.build())
    }
}

/// The answer, or why the lack of one says nothing; `targets` may have had what was asked for, and those that are `late`
/// did not answer.
fn finish(
    answer: Answer,
    targets: usize,
    known: &Known,
    late: &[(Arc<ActiveTarget>, Absence)],
    config: &ScrapeConfig,
) -> Result<Answer, FetchError> {
    if !answer.is_empty() {
        return Ok(answer);
    }
    if known.targets.all().is_empty() {
        let of_discovery = known.gaps.iter().filter(|gap| gap.reason.is_of_discovery());
        let unknown: Vec<_> = of_discovery.map(|gap| gap.reason.to_string()).collect();
        if !unknown.is_empty() {
            return Err(FetchError::Discovery {
                detail: named(&unknown),
            });
        }
    } else if targets > 0 && late.len() == targets {
        // Where others report, those that are only starting are not expected to.
        let are_starting = late.iter().all(|(active, _)| active.is_starting(config));
        if are_starting && targets < known.targets.all().len() {
            return Ok(answer);
        }
        // Targets without values are no data only if somebody says so.
        return Err(all_fail(late));
    }
    Ok(answer)
}

/// The error of an answer without values, since no target gave any.
fn all_fail<'a>(late: &'a [(Arc<ActiveTarget>, Absence)]) -> FetchError {
    if let [(_, Absence::Failed { error, .. })] = late {
        return FetchError::AllTargets(Box::new(FetchError::clone(error)));
    }
    let absent = |(active, why): &'a (Arc<ActiveTarget>, Absence)| Absent {
        target: &active.target,
        why,
    };
    let late: Vec<_> = late.iter().map(absent).collect();
    FetchError::AllTargets(Box::new(FetchError::Unreachable {
        detail: format!("all {} targets fail: {}", late.len(), named(&late)),
        source: None,
    }))
}

/// The first of them, and how many there are more.
fn named(all: &[impl ToString]) -> String {
    let mut named: Vec<_> = all.iter().take(MAX_NAMED).map(ToString::to_string).collect();
    if all.len() > MAX_NAMED {
        named.push(format!("and {} more", all.len() - MAX_NAMED));
    }
    named.join("; ")
}

fn shut_down() -> FetchError {
    FetchError::Discovery {
        detail: "the source has been shut down".into(),
    }
}
