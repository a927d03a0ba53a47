//! Federations over members with fixed answers.

mod config;
mod histogram;
mod member;
mod replica;
mod subquery;

use std::sync::Arc;
use std::time::Duration;

use fleetgauge::backend::FetchError;
use fleetgauge::completeness::Completeness;
use fleetgauge::federated::{FederatedConfig, FederatedSource, Member};
use fleetgauge::result::{Answer, AnswerBuilder, MetricResult};
use fleetgauge::sample::Stamp;
use fleetgauge::source::Outcome;
use fleetgauge::time::{Clock, ManualClock, Timestamp};
use fleetgauge::{FixedBackend, MetricsSource, QueryTemplate, RefreshSpec, SourceRegistry};

use crate::support::rows;

const SECOND: Duration = Duration::from_secs(1);
const NOW: Timestamp = Timestamp::from_millis(1_764_000_000_000);

/// Rows `label=value,… NUMBER`, of the metric that a label `name` says.
fn vector(rows: &[&str]) -> Answer {
    rows::vector(Stamp::Evaluated, NOW, rows)
}

/// Rows `label=value,… NUMBER@SECONDS …`, relative to [`NOW`].
fn matrix(rows: &[&str]) -> Answer {
    let mut answer = AnswerBuilder::new(Stamp::Evaluated);
    answer.matrix();
    for row in rows {
        let (labels, points) = row.split_once(' ').unwrap();
        rows::pairs(labels).for_each(|(name, value)| answer.label(name, value));
        for point in points.split(' ') {
            let (value, at) = point.split_once('@').unwrap();
            let at = NOW.as_millis() + at.parse::<i64>().unwrap() * 1_000;
            answer.point(value.parse().unwrap(), Timestamp::from_millis(at));
        }
        answer.end_points().unwrap();
    }
    answer.build()
}

/// The series, a line each, sorted.
fn shown(answer: &Answer) -> Vec<String> {
    let mut series = rows::shown(answer, NOW);
    series.sort();
    series
}

/// Members `eu`, `us` and so on, each with one source of that name, and the label `cluster`.
struct Fleet {
    members: Vec<(&'static str, FixedBackend)>,
    config: FederatedConfig,
    clock: (Clock, ManualClock),
}

// === impl Fleet ===

impl Fleet {
    fn new<const N: usize>(members: [(&'static str, FixedBackend); N]) -> Self {
        let config = members
            .iter()
            .fold(FederatedConfig::new("fleet"), |config, (name, _)| {
                config.with_member(Member::new(*name, *name).with_label("cluster", *name))
            });
        Self {
            members: members.into(),
            config,
            clock: Clock::manual(NOW),
        }
    }

    /// Of each of `eu` and `us` the answer to the only part of a query.
    fn of(eu: &[&str], us: &[&str]) -> Self {
        let backend = |rows| FixedBackend::new().answer("q:part0", vector(rows));
        Self::new([("eu", backend(eu)), ("us", backend(us))])
    }

    fn with(mut self, change: impl FnOnce(FederatedConfig) -> FederatedConfig) -> Self {
        self.config = change(self.config);
        self
    }

    fn source(&self) -> FederatedSource {
        let sources = SourceRegistry::new();
        for (name, backend) in &self.members {
            sources
                .register(name, Arc::new(backend.clone().into_source()))
                .unwrap();
        }
        FederatedSource::with_clock(self.config.clone(), &sources, self.clock.0.clone()).unwrap()
    }

    /// What member `name` was asked: the name after the query's, and the text.
    fn asked(&self, name: &str) -> Vec<(String, String)> {
        let (_, backend) = self.members.iter().find(|(member, _)| *member == name).unwrap();
        let asked = backend.asked().into_iter();
        let mut asked: Vec<_> = asked
            .map(|request| {
                (
                    request.name.as_str().trim_start_matches("q:").to_owned(),
                    request.text,
                )
            })
            .collect();
        asked.sort();
        asked
    }
}

async fn refreshed(source: &FederatedSource, text: &str, spec: fn(RefreshSpec) -> RefreshSpec) -> Outcome {
    source
        .query_list()
        .replace(QueryTemplate::promql("q", text))
        .unwrap();
    source.refresh(spec(RefreshSpec::queries(["q"]))).await["q"].clone()
}

async fn evaluated(source: &FederatedSource, text: &str) -> Outcome {
    refreshed(source, text, |spec| spec).await
}

async fn answered(source: &FederatedSource, text: &str) -> Arc<MetricResult> {
    let outcome = evaluated(source, text).await;
    outcome.unwrap_or_else(|error| panic!("{text}: {error}"))
}

async fn refused(source: &FederatedSource, text: &str) -> String {
    evaluated(source, text).await.expect_err(text).to_string()
}

fn completeness(result: &MetricResult) -> &Completeness {
    result.answer().completeness().unwrap()
}

fn down() -> FetchError {
    FetchError::Unavailable {
        status: 500,
        message: "the disk is full".into(),
        retry_after: None,
    }
}
