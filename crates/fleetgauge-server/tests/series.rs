//! Readings as series: values, what is held or withheld, and what ends them.

use std::sync::Arc;
use std::time::Duration;

use fleetgauge_core::backend::FetchError;
use fleetgauge_core::policy::{OnError, Policy};
use fleetgauge_core::query::QueryTemplate;
use fleetgauge_core::source::{FixedBackend, FixedSource, MetricsSource};
use fleetgauge_core::time::Clock;
use fleetgauge_promql::engine::Engine;
use fleetgauge_server::metric::{MetricFold, MetricSpec};
use fleetgauge_server::scheduler::{Fleet, Scheduler};
use fleetgauge_server::series::{ReadingSeries, ReadingWindow};
use fleetgauge_server::store::Store;
use tokio_util::sync::CancellationToken;

struct Daemon {
    scheduler: Scheduler,
    source: Arc<FixedSource>,
    backend: FixedBackend,
    window: ReadingWindow,
    stop: CancellationToken,
}

impl Daemon {
    fn start(backend: &FixedBackend, ttl: Option<Duration>) -> Self {
        let source = Arc::new(backend.clone().into_source());
        let mut template = QueryTemplate::promql("queue", "queue");
        template.ttl = ttl;
        source.query_list().must_register(template);
        let scheduler = Scheduler::new(Store::new(Clock::system()));
        let series = ReadingSeries::new(scheduler.store().clone(), Duration::from_secs(900));
        let window = series.window();
        let stop = CancellationToken::new();
        tokio::spawn(series.follow(stop.clone()));
        Self {
            scheduler,
            source,
            backend: backend.clone(),
            window,
            stop,
        }
    }

    fn apply(&self, metrics: Vec<MetricSpec>) {
        let mut fleet = Fleet::default();
        let source = Arc::clone(&self.source) as Arc<dyn MetricsSource>;
        fleet.sources.insert("pods".to_owned(), source);
        fleet.metrics = metrics;
        self.scheduler.apply(&fleet).unwrap();
    }

    fn set(&self, value: f64) {
        self.backend.forget("queue");
        let _ = self.backend.clone().values("queue", [([("pod", "a")], value)]);
    }

    /// What the query gives now, as text, once it is as `expected`; what it gives at the end of 10 s otherwise.
    async fn until(&self, query: &str, expected: &[&str]) {
        let read = || -> Vec<String> {
            let now = Clock::system().wall().saturating_add(Duration::from_millis(2));
            let answer = Engine::default()
                .instant(&self.window, query, now)
                .unwrap()
                .answer;
            let rows = answer.values().map(|row| {
                let labels: Vec<_> = row.labels.iter().map(|(n, v)| format!("{n}={v}")).collect();
                format!("{} {}", labels.join(","), row.value)
            });
            rows.collect()
        };
        let settled = async {
            while read() != expected {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let settled = tokio::time::timeout(Duration::from_secs(10), settled).await;
        assert!(settled.is_ok(), "{query}: {:?} instead of {expected:?}", read());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn metric(name: &str, every: Duration) -> MetricSpec {
    let mut metric = MetricSpec::new(name.parse().unwrap(), "pods", "queue").unwrap();
    metric.every = every;
    metric.fold = MetricFold::Rows;
    metric
}

const SOON: Duration = Duration::from_millis(20);
/// An answer holds so long; whoever is refreshed meanwhile has a newer one.
const SHORT: Duration = Duration::from_millis(300);
const NEVER: Duration = Duration::from_secs(3_600);

fn pod(value: f64) -> FixedBackend {
    FixedBackend::new().values("queue", [([("pod", "a")], value)])
}

#[tokio::test]
async fn a_reading_is_a_series_until_it_is_withheld() {
    let daemon = Daemon::start(&pod(2.0), Some(SHORT));
    daemon.apply(vec![metric("m", SOON)]);
    daemon
        .until(
            "fleetgauge_reading",
            &["__name__=fleetgauge_reading,metric=m,pod=a 2"],
        )
        .await;
    daemon
        .until(
            "fleetgauge_reading_held",
            &["__name__=fleetgauge_reading_held,metric=m,pod=a 0"],
        )
        .await;
    daemon.until("fleetgauge_reading_withheld", &[]).await;
    daemon.set(5.0);
    daemon
        .until(
            "fleetgauge_reading",
            &["__name__=fleetgauge_reading,metric=m,pod=a 5"],
        )
        .await;
    // It fails: no number, at once, though the lookback is five minutes.
    daemon.backend.forget("queue");
    let _ = daemon.backend.clone().failure("queue", FetchError::Aborted);
    daemon.until("fleetgauge_reading", &[]).await;
    daemon.until("fleetgauge_reading_held", &[]).await;
    daemon
        .until(
            "sum by (reason) (fleetgauge_reading_withheld)",
            &["reason=expired 1"],
        )
        .await;
    // It works again.
    daemon.backend.forget("queue");
    daemon.set(3.0);
    daemon
        .until(
            "fleetgauge_reading",
            &["__name__=fleetgauge_reading,metric=m,pod=a 3"],
        )
        .await;
    daemon.until("fleetgauge_reading_withheld", &[]).await;
    // The metric is removed.
    daemon.apply(vec![metric("other", SOON)]);
    daemon
        .until(
            "fleetgauge_reading",
            &["__name__=fleetgauge_reading,metric=other,pod=a 3"],
        )
        .await;
}

#[tokio::test]
async fn a_value_that_is_held_says_so() {
    let daemon = Daemon::start(&pod(2.0), Some(SHORT));
    let mut held = metric("m", SOON);
    held.policy = Policy::default().on_error(OnError::Hold).hold(NEVER);
    daemon.apply(vec![held]);
    daemon
        .until(
            "fleetgauge_reading",
            &["__name__=fleetgauge_reading,metric=m,pod=a 2"],
        )
        .await;
    daemon.backend.forget("queue");
    let _ = daemon.backend.clone().failure("queue", FetchError::Aborted);
    daemon
        .until(
            "fleetgauge_reading_held",
            &["__name__=fleetgauge_reading_held,metric=m,pod=a 1"],
        )
        .await;
    daemon
        .until(
            "fleetgauge_reading",
            &["__name__=fleetgauge_reading,metric=m,pod=a 2"],
        )
        .await;
}

/// Nothing runs when a value expires: nobody refreshes for an hour.
#[tokio::test]
async fn time_alone_ends_a_series() {
    let daemon = Daemon::start(&pod(2.0), Some(Duration::from_millis(400)));
    daemon.apply(vec![metric("m", NEVER)]);
    daemon
        .until(
            "fleetgauge_reading",
            &["__name__=fleetgauge_reading,metric=m,pod=a 2"],
        )
        .await;
    daemon.until("fleetgauge_reading", &[]).await;
    daemon
        .until(
            "sum by (reason) (fleetgauge_reading_withheld)",
            &["reason=expired 1"],
        )
        .await;
}

#[tokio::test]
async fn labels_of_a_row_that_are_ours_are_exported() {
    let labels = [("metric", "x"), ("reason", "y"), ("exported_reason", "z")];
    let backend = FixedBackend::new().values("queue", [(labels, 1.0)]);
    let daemon = Daemon::start(&backend, None);
    daemon.apply(vec![metric("m", SOON)]);
    let expected = "__name__=fleetgauge_reading,exported_exported_reason=y,exported_metric=x,exported_reason=z,metric=m 1";
    daemon.until("fleetgauge_reading", &[expected]).await;
}

#[tokio::test]
async fn a_part_is_not_passed_as_the_whole() {
    let rows = [([("pod", "a")], 2.0), ([("pod", "b")], f64::NAN)];
    let daemon = Daemon::start(&FixedBackend::new().values("queue", rows), None);
    daemon.apply(vec![metric("m", SOON)]);
    daemon.until("sum(fleetgauge_reading)", &[" 2"]).await;
    let withheld = "fleetgauge_reading{metric=\"m\", pod=\"b\"} is withheld: undefined";
    for (query, expected) in [
        ("sum(fleetgauge_reading)", Some(withheld)),
        ("sum(fleetgauge_reading{metric=\"m\"})", Some(withheld)),
        ("{__name__=~\"fleetgauge_.+_seconds\"}", Some(withheld)),
        ("fleetgauge_reading{pod=\"b\"}", Some(withheld)),
        // None of these reads it.
        ("fleetgauge_reading{pod=\"a\"}", None),
        ("fleetgauge_reading{metric=\"n\"}", None),
        ("fleetgauge_reading{zone=\"z\"}", None),
        ("fleetgauge_reading_withheld", None),
        ("fleetgauge_reading offset 1h", None),
    ] {
        let now = Clock::system().wall().saturating_add(Duration::from_millis(2));
        let answer = Engine::default()
            .instant(&daemon.window, query, now)
            .unwrap()
            .answer;
        let warnings: Vec<_> = answer.warnings().collect();
        assert_eq!(warnings, expected.into_iter().collect::<Vec<_>>(), "{query}");
        assert_eq!(answer.is_complete(), expected.is_none(), "{query}");
    }
}
