//! Sources over sources: fixed answers beneath, PromQL above.

mod config;
mod input;
mod namesake;
mod param;
mod provenance;
mod range;

use std::sync::Arc;
use std::time::Duration;

use fleetgauge::composed::{ComposedConfig, ComposedSource, Input};
use fleetgauge::result::{Answer, MetricResult};
use fleetgauge::sample::Stamp;
use fleetgauge::source::Outcome;
use fleetgauge::time::{Clock, ManualClock, Timestamp};
use fleetgauge::{FixedBackend, MetricsSource, QueryTemplate, RefreshSpec, SourceRegistry};

use crate::support::rows;

/// Two sources: `pods` has `inference/queue_length` and `gpu/memory`, `central` has `epp/queue_size`.
struct Fleet {
    pods: FixedBackend,
    central: FixedBackend,
    sources: SourceRegistry,
}

const SECOND: Duration = Duration::from_secs(1);
/// Where a test moves the time itself.
const NOW: Timestamp = Timestamp::from_millis(1_764_000_000_000);

// === impl Fleet ===

impl Fleet {
    /// `queue_length` of three pods of two variants, `memory` of three GPUs of two of them, a backlog of each variant.
    fn new() -> Self {
        Self::of(
            FixedBackend::new()
                .answer(
                    "inference/queue_length",
                    vector(
                        NOW,
                        &["pod=a,variant=x 3", "pod=b,variant=x 4", "pod=c,variant=y 0"],
                    ),
                )
                .answer(
                    "gpu/memory",
                    vector(NOW, &["gpu=0,pod=a 2", "gpu=1,pod=a 4", "gpu=0,pod=b 8"]),
                ),
            FixedBackend::new().answer("epp/queue_size", vector(NOW, &["variant=x 10", "variant=y 20"])),
        )
    }

    fn of(pods: FixedBackend, central: FixedBackend) -> Self {
        let sources = SourceRegistry::new();
        for (name, backend, queries) in [
            ("pods", &pods, &["inference/queue_length", "gpu/memory"][..]),
            ("central", &central, &["epp/queue_size"]),
        ] {
            let source = backend.clone().into_source();
            for query in queries {
                source
                    .query_list()
                    .must_register(QueryTemplate::promql(*query, "up"));
            }
            sources.register(name, Arc::new(source)).unwrap();
        }
        Self {
            pods,
            central,
            sources,
        }
    }

    fn config() -> ComposedConfig {
        ComposedConfig::new("fleet")
            .with_input(Input::new("queue", "pods", "inference/queue_length"))
            .with_input(Input::new("gpu_memory", "pods", "gpu/memory"))
            .with_input(Input::new("backlog", "central", "epp/queue_size"))
    }

    fn composed(&self) -> ComposedSource {
        ComposedSource::with_clock(Self::config(), &self.sources, clock().0).unwrap()
    }

    /// How often each input was asked: queue, memory, backlog.
    fn asked(&self) -> [usize; 3] {
        let of = |backend: &FixedBackend, query: &str| {
            let asked = backend.asked();
            asked
                .iter()
                .filter(|request| request.name.as_str() == query)
                .count()
        };
        [
            of(&self.pods, "inference/queue_length"),
            of(&self.pods, "gpu/memory"),
            of(&self.central, "epp/queue_size"),
        ]
    }
}

fn clock() -> (Clock, ManualClock) {
    Clock::manual(NOW)
}

/// Rows `label=value,… NUMBER`.
fn vector(at: Timestamp, rows: &[&str]) -> Answer {
    rows::vector(Stamp::Evaluated, at, rows)
}

/// The series, a line each, with the times of a matrix relative to [`NOW`] in seconds.
fn shown(answer: &Answer) -> Vec<String> {
    rows::shown(answer, NOW)
}

async fn refreshed(
    source: &dyn MetricsSource,
    name: &str,
    spec: impl FnOnce(RefreshSpec) -> RefreshSpec,
) -> Outcome {
    let results = source.refresh(spec(RefreshSpec::queries([name]))).await;
    results[name].clone()
}

/// Registers `text` and asks for it.
async fn evaluated(source: &ComposedSource, text: &str) -> Outcome {
    source
        .query_list()
        .replace(QueryTemplate::promql("q", text))
        .unwrap();
    refreshed(source, "q", |spec| spec).await
}

async fn check(source: &ComposedSource, text: &str, expected: &[&str]) {
    let result = evaluated(source, text)
        .await
        .unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!(shown(result.answer()), expected, "{text}");
}

/// The error of `text`, with its reason in one word.
async fn refused(source: &ComposedSource, text: &str) -> (&'static str, String) {
    let error = evaluated(source, text).await.expect_err(text);
    (error.reason(), error.to_string())
}

fn warnings(result: &MetricResult) -> Vec<String> {
    result.warnings().map(str::to_owned).collect()
}

/// `seconds` before [`NOW`].
fn ago(seconds: i64) -> Option<Timestamp> {
    Some(Timestamp::from_millis(NOW.as_millis() - 1_000 * seconds))
}
