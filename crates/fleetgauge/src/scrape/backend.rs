//! Answers queries from the newest samples, after the scrapes that they ask for.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use fleetgauge_core::backend::{Backend, FetchError, RenderedQuery};
use fleetgauge_core::query::QueryType;
use fleetgauge_core::result::{Answer, AnswerBuilder};
use fleetgauge_core::sample::Stamp;
use fleetgauge_core::time::Timestamp;
use fleetgauge_promql::engine::Engine;
use fleetgauge_promql::window::{Sample, Series, Window};
use tokio::time::Instant;

use super::member::{Member, Need};
use super::pool::Pool;
use super::promql;
use super::status::TargetHealth;

/// The text of the query for the newest samples of all series.
pub(super) const ALL_METRICS: &str = r#"{__name__=~".+"}"#;

/// How many failing targets are named in an answer.
const MAX_NAMED: usize = 5;

/// How long a refresh waits for targets whose last scrape timed out. Their scrapes go on: the next caller has
/// what they bring.
const PATIENCE_WITH_HANGING: Duration = Duration::from_millis(500);

/// A [`Backend`] that scrapes targets, and answers from the newest samples of each.
///
/// Queries by metric name, and `{__name__=~".+"}`, are answered with the newest samples and their times; other
/// PromQL is evaluated as of now.
pub struct ScrapeBackend {
    pool: Arc<Pool>,
    engine: Engine,
}

/// A target whose values are not as of now, and why.
struct Lagging<'a> {
    member: &'a Member,
    error: Option<Arc<FetchError>>,
}

// === impl ScrapeBackend ===

impl ScrapeBackend {
    pub(super) fn new(pool: Arc<Pool>) -> Self {
        let config = &pool.common().config;
        let engine = promql::engine(config.lookback_delta, config.query_timeout);
        Self { pool, engine }
    }

    /// Waits for fresh scrapes until `deadline`. Gives the targets, and for each whether it was in time.
    async fn refresh(&self, need: Need, deadline: Instant) -> Result<Vec<(Arc<Member>, bool)>, FetchError> {
        if tokio::time::timeout_at(deadline, self.pool.discovered())
            .await
            .is_err()
        {
            let names = self.pool.discovery_names().join(", ");
            return Err(FetchError::Discovery {
                detail: format!("no answer yet from {names}"),
            });
        }
        let members = self.pool.members();
        members.iter().for_each(|member| member.ask(need));
        // Those that hung the last time last, and not for long: they would keep every caller waiting.
        let (hanging, others): (Vec<_>, Vec<_>) = members.into_iter().partition(|member| member.is_hanging());
        let patience = deadline.min(Instant::now() + PATIENCE_WITH_HANGING);
        let others = others.into_iter().map(|member| (member, deadline));
        let hanging = hanging.into_iter().map(|member| (member, patience));
        let mut targets = Vec::new();
        for (member, until) in others.chain(hanging) {
            let in_time = tokio::time::timeout_at(until, member.scraped(need)).await.is_ok();
            targets.push((member, in_time));
        }
        Ok(targets)
    }

    /// The answer, with what is wrong with the targets behind it.
    fn finish(
        &self,
        mut answer: AnswerBuilder,
        targets: &[(Arc<Member>, bool)],
    ) -> Result<Answer, FetchError> {
        let problems = self.pool.discovery_problems();
        let lagging: Vec<_> = targets.iter().filter_map(Lagging::find).collect();
        if answer.is_empty() {
            if targets.is_empty()
                && let Some((name, error, _)) = problems.first()
            {
                return Err(FetchError::Discovery {
                    detail: format!("{name}: {error}"),
                });
            }
            // Targets without values are no data only if somebody says so.
            if !targets.is_empty() && lagging.len() == targets.len() {
                return Err(all_fail(&lagging));
            }
        }
        for (name, error, has_answered) in &problems {
            let stay = if *has_answered {
                "; the targets known before are used"
            } else {
                ""
            };
            answer.warning(&format!("{name}: {error}{stay}"));
        }
        if targets.is_empty() {
            let names = self.pool.discovery_names().join(", ");
            answer.warning(&format!("there are no targets: none was found by {names}"));
        }
        for one in lagging.iter().take(MAX_NAMED) {
            answer.warning(&one.to_string());
        }
        if lagging.len() > MAX_NAMED {
            let (more, all) = (lagging.len() - MAX_NAMED, targets.len());
            answer.warning(&format!("and {more} more of {all} targets fail"));
        }
        Ok(answer.build())
    }

    fn values(&self, selector: Selector<'_>, at: Timestamp) -> Result<AnswerBuilder, FetchError> {
        let mut answer = AnswerBuilder::new(Stamp::Sampled);
        let lookback = self.pool.common().config.lookback_delta;
        for (series, sample) in selector.newest(self.pool.window(), at, lookback) {
            let added = answer.series(series.labels().iter(), sample.value, sample.timestamp);
            added.map_err(|error| FetchError::Malformed {
                detail: error.to_string(),
                source: Some(Arc::new(error)),
            })?;
        }
        Ok(answer)
    }
}

impl Backend for ScrapeBackend {
    async fn fetch(&self, query: &RenderedQuery) -> Result<Answer, FetchError> {
        let selector = Selector::of(query);
        // What there is by then is an answer; what comes after the deadline is none.
        let margin = (query.timeout / 10).min(Duration::from_millis(200));
        let deadline = Instant::now() + query.timeout - margin;
        let targets = self.refresh(Need::of(query), deadline).await?;
        if self.pool.is_closed() {
            return Err(FetchError::Discovery {
                detail: "the source has been shut down".into(),
            });
        }
        // A page may be dated a little ahead of a wall clock that was set back.
        let newest = targets.iter().filter_map(|(member, _)| member.last_at()).max();
        let at = newest.unwrap_or_default().max(self.pool.clock().wall());
        let answer = match selector {
            Some(selector) => self.values(selector, at)?,
            None => promql::evaluate(&self.engine, self.pool.window(), &query.text, at).await?,
        };
        self.finish(answer, &targets)
    }
}

impl fmt::Debug for ScrapeBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScrapeBackend")
            .field("discoveries", &self.pool.discovery_names())
            .field("targets", &self.pool.members().len())
            .finish_non_exhaustive()
    }
}

/// Which newest samples are asked for.
#[derive(Clone, Copy)]
enum Selector<'a> {
    Metric(&'a str),
    All,
}

impl<'a> Selector<'a> {
    /// `None` for PromQL that is to be evaluated.
    fn of(query: &'a RenderedQuery) -> Option<Self> {
        match query.query_type {
            QueryType::MetricName => Some(Self::Metric(query.text.trim())),
            QueryType::PromQl if query.text == ALL_METRICS => Some(Self::All),
            QueryType::PromQl => None,
        }
    }

    fn newest(self, window: &Window, at: Timestamp, lookback: Duration) -> Vec<(Arc<Series>, Sample)> {
        match self {
            Self::Metric(name) => window.latest(name, at, lookback),
            Self::All => {
                let millis = i64::try_from(lookback.as_millis()).unwrap_or(i64::MAX);
                let from = Timestamp::from_millis(at.as_millis().saturating_sub(millis));
                let series = window.select(&[], from, at).into_iter();
                series
                    .filter_map(|series| Some((series.clone(), series.at(at, lookback)?)))
                    .collect()
            }
        }
    }
}

// === impl Lagging ===

impl<'a> Lagging<'a> {
    fn find((member, in_time): &'a (Arc<Member>, bool)) -> Option<Self> {
        let error = member.failure();
        let is_lagging = error.is_some() || !in_time || member.health() == TargetHealth::Unknown;
        is_lagging.then_some(Self { member, error })
    }
}

impl fmt::Display for Lagging<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let target = &self.member.target;
        write!(f, "target {target} ({}): ", target.url())?;
        match &self.error {
            Some(error) => write!(f, "{error}")?,
            None => f.write_str("not scraped in time")?,
        }
        match self.member.age() {
            Some(age) => write!(f, "; its values are {:.1} s old", age.as_secs_f64()),
            None => f.write_str("; it was never scraped with success"),
        }
    }
}

/// The error of an answer without values, since no target gave any.
fn all_fail(lagging: &[Lagging<'_>]) -> FetchError {
    if let [
        Lagging {
            error: Some(error), ..
        },
    ] = lagging
    {
        return (**error).clone();
    }
    let named: Vec<_> = lagging.iter().take(MAX_NAMED).map(Lagging::to_string).collect();
    let more = match lagging.len().saturating_sub(MAX_NAMED) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    FetchError::Unreachable {
        detail: format!("all {} targets fail: {}{more}", lagging.len(), named.join("; ")),
        source: None,
    }
}
