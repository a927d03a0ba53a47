//! Pods that a test starts, breaks and removes, and a source that scrapes them by a clock that the test moves.

use std::sync::Arc;
use std::time::Duration;

use fleetgauge::completeness::Completeness;
use fleetgauge::policy::Policy;
use fleetgauge::reading::{ReadingSpec, Readings, ReasonCode};
use fleetgauge::scrape::{ScrapeConfig, ScrapeSource};
use fleetgauge::target::StaticTargets;
use fleetgauge::time::{Clock, ManualClock, Timestamp};
use fleetgauge::{MetricResult, MetricsSource, Params, QueryError, QueryTemplate, RefreshSpec};
use fleetgauge_promql::window::{Window, WindowConfig};
use fleetgauge_testkit::{Answer, FaultyServer};

use super::scrape::{Told, until};

/// So long that no tick comes in a test; the tests move their clock by days instead.
pub(crate) const DAY: Duration = Duration::from_secs(86_400);
pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const START: i64 = 1_764_000_000;

/// The pods, and the source.
pub(crate) struct Fleet {
    pub(crate) pods: Vec<(String, FaultyServer)>,
    pub(crate) told: Told,
    pub(crate) source: ScrapeSource,
    pub(crate) hands: ManualClock,
    pub(crate) clock: Clock,
}

// === impl Fleet ===

impl Fleet {
    /// Of pods with these pages, all of which are there when the source starts.
    pub(crate) fn new(pods: &[(&str, Answer)]) -> Self {
        Self::with_config(pods, config())
    }

    pub(crate) fn with_config(pods: &[(&str, Answer)], config: ScrapeConfig) -> Self {
        Self::by(
            pods,
            config,
            &Clock::manual(Timestamp::from_millis(START * 1_000)),
        )
    }

    /// By a clock that others go by as well.
    pub(crate) fn by(
        pods: &[(&str, Answer)],
        config: ScrapeConfig,
        (clock, hands): &(Clock, ManualClock),
    ) -> Self {
        let pods: Vec<_> = pods.iter().map(|(name, answer)| pod(name, answer)).collect();
        let told = Told::new(targets(&pods));
        let (clock, hands) = (clock.clone(), hands.clone());
        let window = Window::new(config.window.clone());
        let discoveries = [Arc::new(told.clone()) as _];
        let source = ScrapeSource::start_with(config, discoveries, window, clock.clone()).unwrap();
        Self {
            pods,
            told,
            source,
            hands,
            clock,
        }
    }

    pub(crate) fn answers(&self, name: &str, answer: Answer) {
        let pod = self.pods.iter().find(|(of, _)| of == name).unwrap();
        pod.1.set_script([answer]).unwrap();
    }

    /// Waits until what is discovered is what there is.
    pub(crate) async fn discover(&self) {
        self.told.tell(targets(&self.pods));
        let mut expected: Vec<_> = self.pods.iter().map(|(name, _)| name.clone()).collect();
        expected.sort();
        until("discovered", || {
            let targets = self.source.targets().into_iter();
            let mut found: Vec<_> = targets.map(|target| target.labels["pod"].clone()).collect();
            found.sort();
            found == expected
        })
        .await;
    }

    pub(crate) async fn add(&mut self, pods: &[(&str, Answer)]) {
        self.pods
            .extend(pods.iter().map(|(name, answer)| pod(name, answer)));
        self.discover().await;
    }

    pub(crate) async fn remove(&mut self, name: &str) -> (String, FaultyServer) {
        let place = self.pods.iter().position(|(of, _)| of == name).unwrap();
        let removed = self.pods.remove(place);
        self.discover().await;
        removed
    }

    pub(crate) async fn ask(&self, query: &str) -> Result<Arc<MetricResult>, QueryError> {
        let name = self.register(query);
        let results = self.source.refresh(RefreshSpec::queries([name.as_str()])).await;
        results[name.as_str()].clone()
    }

    pub(crate) fn register(&self, query: &str) -> String {
        let kept = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
        let name = format!("q_{}", query.chars().map(kept).collect::<String>());
        let list = self.source.query_list();
        if list.get(&name).is_none() {
            list.must_register(QueryTemplate::promql(name.as_str(), query));
        }
        name
    }

    pub(crate) async fn completeness(&self, query: &str) -> Arc<Completeness> {
        let result = self.ask(query).await.unwrap();
        let completeness = result.answer().completeness().unwrap();
        assert_eq!(result.is_complete(), completeness.is_whole(), "{completeness}");
        Arc::clone(completeness)
    }

    /// Expected, reported, missing, starting.
    pub(crate) async fn counts(&self, query: &str) -> (Option<u64>, u64, u64, u64) {
        let of = self.completeness(query).await;
        (
            of.expected(),
            of.reported(),
            of.missing().count(),
            of.starting().count(),
        )
    }

    /// What is read of `query` by a policy, of its only row: a number, or why there is none.
    pub(crate) async fn reads(&self, query: &str, policy: Policy) -> Result<f64, ReasonCode> {
        let name = self.register(query);
        let spec = ReadingSpec::new("metric", name.parse().unwrap())
            .policy(policy)
            .knows_completeness();
        let readings = Readings::new(spec, self.clock.clone()).unwrap();
        let _ = self.ask(query).await;
        readings.update(&self.source.lookup(&name, &Params::new()), None);
        let mut reader = readings.reader();
        let reading = reader.get(&[]);
        match (reading.value(), reading.reason()) {
            (Some(value), _) => Ok(value),
            (None, Some(reason)) => Err(reason.code),
            (None, None) => panic!("neither a number nor a reason"),
        }
    }
}

pub(crate) fn config() -> ScrapeConfig {
    ScrapeConfig::new("test")
        .with_interval(DAY)
        .with_timeout(5 * SECOND)
        .with_starting_for(10 * DAY)
        .with_window(WindowConfig::default().with_retention(1_000 * DAY))
}

pub(crate) fn pod(name: &str, answer: &Answer) -> (String, FaultyServer) {
    (name.to_owned(), FaultyServer::start([answer.clone()]).unwrap())
}

pub(crate) fn targets(pods: &[(String, FaultyServer)]) -> StaticTargets {
    pods.iter()
        .fold(StaticTargets::default(), |targets, (name, server)| {
            let address = server.addr().to_string();
            targets.with_target([
                ("__address__", &*address),
                ("namespace", "chat"),
                ("pod", name),
                ("instance", name),
                ("zone", &name[..1]),
            ])
        })
}

pub(crate) fn page(text: &str) -> Answer {
    Answer::text(format!("{text}\n"))
}
