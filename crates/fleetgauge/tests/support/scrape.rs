// Shared by the tests of the scrape source; each uses its part.
#![allow(dead_code)]

use std::sync::{Arc, Mutex, OnceLock};
use std::thread::ThreadId;
use std::time::Duration;

use fleetgauge::scrape::{ScrapeConfig, ScrapeSource};
use fleetgauge::target::{
    self, Discovered, DiscoveryError, Snapshot, SnapshotStream, StaticTargets, TargetDiscovery,
};
use fleetgauge::{MetricResult, MetricsSource, QueryError, QueryTemplate, RefreshSpec};
use fleetgauge_testkit::FaultyServer;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::watch;
use tracing::field::{Field, Visit};
use tracing::span;

/// So long that no tick comes in a test: scrapes are those that it asks for.
pub(crate) const NEVER: Duration = Duration::from_secs(300 * 24 * 3600);

pub(crate) fn config() -> ScrapeConfig {
    ScrapeConfig::new("test").with_interval(NEVER)
}

pub(crate) fn register(source: &ScrapeSource) {
    for metric in ["a", "b", "up", "scrape_samples_scraped", "scrape_series_added"] {
        source
            .query_list()
            .must_register(QueryTemplate::metric_name(metric, metric));
    }
}

pub(crate) fn start(config: ScrapeConfig, targets: impl TargetDiscovery) -> ScrapeSource {
    let source = ScrapeSource::start(config, [Arc::new(targets) as Arc<dyn TargetDiscovery>]).unwrap();
    register(&source);
    source
}

/// One target, whose `instance` does not depend on the port.
pub(crate) fn at(server: &FaultyServer) -> StaticTargets {
    StaticTargets::new([server.addr().to_string()]).with_label("instance", "i")
}

pub(crate) async fn refresh(source: &ScrapeSource, metric: &str) -> Result<Arc<MetricResult>, QueryError> {
    let results = source.refresh(RefreshSpec::queries([metric])).await;
    results[metric].clone()
}

/// Each series with its value, sorted.
pub(crate) fn lines(result: &MetricResult) -> Vec<String> {
    let mut lines: Vec<_> = result
        .values()
        .map(|v| format!("{} {}", v.labels, fleetgauge::sample::Number(v.value)))
        .collect();
    lines.sort();
    lines
}

pub(crate) async fn values(source: &ScrapeSource, metric: &str) -> Vec<String> {
    lines(&refresh(source, metric).await.unwrap())
}

/// Looks until it is so.
pub(crate) async fn until(what: &str, is: impl Fn() -> bool) {
    let looks = async {
        while !is() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let patience = Duration::from_secs(60);
    tokio::time::timeout(patience, looks)
        .await
        .unwrap_or_else(|_| panic!("never {what}"));
}

pub(crate) fn known(targets: StaticTargets) -> Discovered {
    match Arc::new(targets).watch().next().now_or_never() {
        Some(Some(Snapshot::Known(found))) => found,
        other => panic!("{other:?}"),
    }
}

/// A discovery that says what the test tells it, and is asked all the time.
#[derive(Clone)]
pub(crate) struct Told(Arc<Mutex<Result<Discovered, DiscoveryError>>>);

impl Told {
    pub(crate) fn new(targets: StaticTargets) -> Self {
        let told = Self(Arc::new(Mutex::new(Ok(Discovered::default()))));
        told.tell(targets);
        told
    }

    pub(crate) fn tell(&self, targets: StaticTargets) {
        *self.0.lock().unwrap() = Ok(known(targets));
    }

    pub(crate) fn fail(&self, detail: &str) {
        *self.0.lock().unwrap() = Err(DiscoveryError::Unreachable {
            detail: detail.into(),
        });
    }
}

impl TargetDiscovery for Told {
    fn name(&self) -> &str {
        "told"
    }

    fn watch(self: Arc<Self>) -> SnapshotStream {
        target::polled(Duration::from_millis(10), move || {
            futures_util::future::ready(self.0.lock().unwrap().clone())
        })
    }
}

/// A discovery that says what the test sends, when it does.
pub(crate) struct Pushed(&'static str, watch::Receiver<Snapshot>);

impl Pushed {
    /// It has ended when the sender is dropped.
    pub(crate) fn new(name: &'static str) -> (watch::Sender<Snapshot>, Self) {
        let (sender, receiver) = watch::channel(Snapshot::NotYet);
        (sender, Self(name, receiver))
    }
}

impl TargetDiscovery for Pushed {
    fn name(&self) -> &str {
        self.0
    }

    fn watch(self: Arc<Self>) -> SnapshotStream {
        target::pushed(self.1.clone())
    }
}

/// What is logged on the thread of a test from here on.
pub(crate) struct Log(usize);

type Lines = Mutex<Vec<(ThreadId, String)>>;

/// One for all tests of the process: subscribers that come and go with threads disturb each other.
static LINES: OnceLock<Arc<Lines>> = OnceLock::new();

struct Subscriber(Arc<Lines>);

impl Log {
    pub(crate) fn begin() -> Self {
        let lines = LINES.get_or_init(|| {
            let lines = Arc::new(Lines::default());
            tracing::subscriber::set_global_default(Subscriber(Arc::clone(&lines))).unwrap();
            lines
        });
        Self(lines.lock().unwrap().len())
    }

    /// The lines in which `text` occurs.
    pub(crate) fn with(&self, text: &str) -> Vec<String> {
        let thread = std::thread::current().id();
        let lines = LINES.get().unwrap().lock().unwrap();
        let own = lines[self.0..].iter().filter(|(of, _)| *of == thread);
        own.map(|(_, line)| line.clone())
            .filter(|line| line.contains(text))
            .collect()
    }
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.push_str(&format!(" {}={value:?}", field.name()));
    }
}

impl tracing::Subscriber for Subscriber {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target().starts_with("fleetgauge")
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        // As a faulty program's may.
        assert!(!line.0.contains("PANIC!"), "asked to panic");
        self.0.lock().unwrap().push((std::thread::current().id(), line.0));
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}
