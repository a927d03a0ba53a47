//! What was scraped before this process stood still, or before its clock was set, is not answered with as if it were of now.

use std::sync::Arc;
use std::time::Duration;

use fleetgauge::scrape::ScrapeSource;
use fleetgauge::target::TargetDiscovery;
use fleetgauge::time::{Clock, Timestamp};
use fleetgauge::{MetricsSource, QueryTemplate, RefreshSpec};
use fleetgauge_promql::engine::Engine;
use fleetgauge_promql::window::Window;
use fleetgauge_testkit::{Answer, FaultyServer};

use crate::support::scrape::{NEVER, at, config};

/// When the tests begin.
const START: Timestamp = Timestamp::from_millis(1_763_930_000_000);

/// Longer than two scrapes are apart.
const LONG: Duration = NEVER.saturating_add(Duration::from_secs(3_600));

const SUM: &str = "sum(a)";
const OR_ZERO: &str = "sum(a) or vector(0)";

struct Pods {
    source: ScrapeSource,
    clock: Clock,
    _server: FaultyServer,
}

impl Pods {
    fn start(lookback: Duration) -> (Self, fleetgauge::time::ManualClock) {
        let server = FaultyServer::start([Answer::text("a 7\n")]).unwrap();
        let (clock, hand) = Clock::manual(START);
        let mut config = config();
        config.lookback_delta = lookback;
        config.window.retention = lookback;
        let window = Window::new(config.window.clone());
        let targets = Arc::new(at(&server)) as Arc<dyn TargetDiscovery>;
        let source = ScrapeSource::start_with(config, [targets], window, clock.clone()).unwrap();
        for (name, query) in [("sum", SUM), ("or_zero", OR_ZERO)] {
            source
                .query_list()
                .must_register(QueryTemplate::promql(name, query));
        }
        let _server = server;
        let pods = Self {
            source,
            clock,
            _server,
        };
        (pods, hand)
    }

    /// What is there, without a scrape, as the Prometheus API reads it: the value, and what is told beside it.
    fn read(&self, query: &str) -> (Option<f64>, String) {
        let now = self.clock.wall();
        let mut config = Engine::default().config().clone();
        config.lookback = self.source.window().config().retention;
        let answer = Engine::new(config).instant(&*self.source.queryable(now), query, now);
        let answer = answer.unwrap().answer;
        let told: Vec<_> = answer.warnings().collect();
        assert_eq!(told.is_empty(), answer.is_complete(), "{told:?}");
        (answer.values().next().map(|row| row.value), told.join("; "))
    }

    fn reads(&self, query: &str, value: f64, told: &str) {
        let (found, words) = self.read(query);
        assert_eq!(found, Some(value), "{query}: {words}");
        assert!(
            words.contains(told) && words.is_empty() == told.is_empty(),
            "{query}: {words}"
        );
    }

    /// What a refresh gives.
    async fn refreshed(&self, name: &str, max_age: Option<Duration>) -> Result<f64, String> {
        let mut spec = RefreshSpec::queries([name]);
        if let Some(max_age) = max_age {
            spec = spec.max_age(max_age);
        }
        let results = self.source.refresh(spec).await;
        match &results[name] {
            Ok(result) if result.is_complete() => Ok(result.values().next().unwrap().value),
            Ok(result) => Err(result.warnings().collect::<Vec<_>>().join("; ")),
            Err(error) => Err(error.to_string()),
        }
    }
}

const TOLD: &str = "this process stood still, or its clock was set";

#[tokio::test]
async fn the_first_answer_after_a_standstill_tells_that_it_is_of_before() {
    let (pods, hand) = Pods::start(2 * LONG);
    assert_eq!(pods.refreshed("sum", None).await, Ok(7.0));
    pods.reads(SUM, 7.0, "");
    hand.advance(NEVER);
    pods.reads(SUM, 7.0, "");
    hand.advance(LONG - NEVER);
    pods.reads(SUM, 7.0, TOLD);
    pods.reads("sum(count_over_time(a[1h:1m] offset 1s))", 60.0, TOLD);
    // Of the time before, nothing is missing.
    let (found, words) = pods.read(&format!("sum(a @ {})", START.as_secs_f64() + 60.0));
    assert_eq!((found, &*words), (Some(7.0), ""));
    // A scrape mends it.
    assert_eq!(pods.refreshed("sum", None).await, Ok(7.0));
    pods.reads(SUM, 7.0, "");
}

#[tokio::test]
async fn a_clock_that_is_set_ahead_makes_no_zero() {
    let (pods, hand) = Pods::start(Duration::from_secs(300));
    assert_eq!(pods.refreshed("or_zero", None).await, Ok(7.0));
    hand.set_wall(START.saturating_add(LONG));
    pods.reads(OR_ZERO, 0.0, TOLD);
    // By the clock that nobody sets, the scrape is young enough.
    let found = pods.refreshed("or_zero", Some(NEVER)).await;
    assert!(found.as_ref().is_err_and(|why| why.contains(TOLD)), "{found:?}");
    assert_eq!(pods.refreshed("or_zero", None).await, Ok(7.0));
    pods.reads(OR_ZERO, 7.0, "");
}

#[tokio::test]
async fn a_clock_that_is_set_back_makes_nothing_of_before_that_of_now() {
    let (pods, hand) = Pods::start(Duration::from_secs(300));
    assert_eq!(pods.refreshed("sum", None).await, Ok(7.0));
    hand.advance(Duration::from_secs(40));
    assert_eq!(pods.refreshed("sum", None).await, Ok(7.0));
    // Pages are dated just after the last one until the clock is there again, and a query of now does not see them.
    hand.set_wall(START.saturating_add(Duration::from_secs(10)));
    pods.reads(SUM, 7.0, TOLD);
    assert_eq!(pods.refreshed("sum", None).await, Ok(7.0));
    pods.reads(SUM, 7.0, TOLD);
    hand.advance(Duration::from_secs(31));
    pods.reads(SUM, 7.0, "");
}
