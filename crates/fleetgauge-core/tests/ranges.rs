//! Ranges that are refreshed step by step are what one query for the whole range answers.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use fleetgauge_core::backend::{Backend, FetchError, Request};
use fleetgauge_core::params::Params;
use fleetgauge_core::query::QueryTemplate;
use fleetgauge_core::range::Steps;
use fleetgauge_core::result::{Answer, AnswerBuilder, MetricResult};
use fleetgauge_core::sample::Stamp;
use fleetgauge_core::source::{
    CachedSource, CachedSourceConfig, MetricsSource, RangeConfig, RefreshSpec, RetryPolicy,
};
use fleetgauge_core::time::{Clock, ManualClock, Timestamp};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use proptest::prelude::*;

const STEP: Duration = Duration::from_secs(15);
const WINDOW: Duration = Duration::from_secs(300);
const OVERLAP: Duration = Duration::from_secs(30);

/// A server whose samples arrive up to [`OVERLAP`] after their time.
#[derive(Clone)]
struct Server {
    clock: Clock,
    asked: Arc<Mutex<Vec<Request>>>,
    state: Arc<Mutex<State>>,
}

#[derive(Clone, Default)]
struct State {
    failure: Option<FetchError>,
    warning: Option<String>,
    missing: bool,
    /// Answers another step than was asked for.
    astray: bool,
}

/// Whether the series has a value at a time, when it arrives, and what it is.
fn sample(series: i64, at: i64) -> Option<(i64, f64)> {
    let step = at.div_euclid(15_000);
    // Series come and go; one of them never has a gap.
    let is_there = match series {
        0 => true,
        1 => step.rem_euclid(7) < 4,
        _ => step.rem_euclid(40) < 11,
    };
    let lag = (step * 7 + series * 13).rem_euclid(31) * 1000;
    let value = match (step + series).rem_euclid(17) {
        0 => f64::NAN,
        n => (step * 3 + series) as f64 / n as f64,
    };
    is_there.then_some((at + lag.min(OVERLAP.as_millis() as i64), value))
}

// === impl Server ===

impl Server {
    fn whole(&self, steps: Steps) -> Answer {
        let now = self.clock.wall().as_millis();
        let mut answer = AnswerBuilder::new(Stamp::Evaluated);
        answer.matrix();
        for series in 0..3 {
            let mut is_empty = true;
            for at in steps.iter() {
                if let Some((arrives, value)) = sample(series, at.as_millis())
                    && arrives <= now
                {
                    answer.point(value, at);
                    is_empty = false;
                }
            }
            if !is_empty {
                answer.label("pod", &series.to_string());
                answer.end_points().unwrap();
            }
        }
        answer.build()
    }

    fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
    }

    /// How many steps the last request was for.
    fn last_steps(&self) -> usize {
        let asked = self.asked.lock().unwrap();
        let request = asked.last().expect("a request");
        request
            .steps(Timestamp::default())
            .unwrap()
            .expect("a range")
            .count()
    }
}

impl Backend for Server {
    fn fetch<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Answer, FetchError>> {
        self.asked.lock().unwrap().push(request.clone());
        let State {
            failure,
            warning,
            missing,
            astray,
        } = self.state.lock().unwrap().clone();
        let answer = || {
            if let Some(failure) = failure {
                return Err(failure);
            }
            let steps = request.steps(self.clock.wall())?.expect("a range");
            if astray {
                let earlier = Timestamp::from_millis(steps.start().as_millis() - 15_000);
                return Ok(self.whole(Steps::until(earlier, Duration::ZERO, STEP).unwrap()));
            }
            let mut answer = self.whole(steps);
            if let Some(warning) = warning {
                answer = answer.with_warning(&warning);
            }
            if missing {
                let mut lacking = AnswerBuilder::new(Stamp::Evaluated);
                lacking.matrix();
                lacking.missing("a store did not answer");
                lacking.point(1.0, steps.end());
                lacking.end_points().unwrap();
                answer = lacking.build();
            }
            Ok(answer)
        };
        std::future::ready(answer()).boxed()
    }
}

fn source(query: &str) -> (CachedSource, Server, ManualClock) {
    let (clock, hand) = Clock::manual(Timestamp::from_millis(1_763_930_007_250));
    let server = Server {
        clock: clock.clone(),
        asked: Arc::default(),
        state: Arc::default(),
    };
    let mut config = CachedSourceConfig::default();
    config.retry = RetryPolicy::never();
    config.range.overlap = OVERLAP;
    let source = CachedSource::with_clock(Arc::new(server.clone()), config, clock);
    source
        .query_list()
        .must_register(QueryTemplate::promql("q", query));
    (source, server, hand)
}

async fn refresh(source: &CachedSource) -> Result<Arc<MetricResult>, String> {
    let results = source
        .refresh_range(RefreshSpec::queries(["q"]), WINDOW, STEP)
        .await;
    results["q"].clone().map_err(|error| error.to_string())
}

/// Labels, times and bits of the values.
fn shown(answer: &Answer) -> Vec<(String, Vec<(i64, u64)>)> {
    let series = answer.series().map(|series| {
        let points = series.points();
        let points = points.map(|point| (point.timestamp.as_millis(), point.value.to_bits()));
        (series.labels().to_string(), points.collect())
    });
    series.collect()
}

fn now(server: &Server) -> Steps {
    Steps::until_now(server.clock.wall(), WINDOW, STEP).unwrap()
}

#[tokio::test]
async fn a_refresh_asks_only_for_what_is_new_or_may_have_changed() {
    let (source, server, hand) = source("q");
    let first = refresh(&source).await.unwrap();
    assert_eq!((server.last_steps(), first.steps()), (21, Some(now(&server))));
    // (time that passes, steps asked for): the overlap is two steps long.
    for (seconds, asked) in [
        (15, 3),
        (0, 2),
        (45, 5),
        (300, 21),
        (60, 6),
        (2, 2),
        (1_000_000, 21),
    ] {
        hand.advance(Duration::from_secs(seconds));
        let result = refresh(&source).await.unwrap();
        assert_eq!(server.last_steps(), asked, "after {seconds} s");
        assert_eq!(shown(result.answer()), shown(&server.whole(now(&server))));
        assert_eq!(result.steps(), Some(now(&server)));
        let value = source
            .get_range("q", &Params::new(), WINDOW, STEP)
            .expect("a value");
        assert_eq!(shown(value.result().answer()), shown(result.answer()));
    }
}

#[tokio::test]
async fn what_would_not_be_the_same_is_asked_for_whole() {
    for query in ["q @ end()", "q offset -1m", "q[5m] keep_metric_names"] {
        let (source, server, hand) = source(query);
        refresh(&source).await.unwrap();
        hand.advance(STEP);
        refresh(&source).await.unwrap();
        assert_eq!(server.last_steps(), 21, "{query}");
    }
    // A clock that was set back.
    let (source, server, hand) = source("q");
    refresh(&source).await.unwrap();
    hand.set_wall(Timestamp::from_millis(server.clock.wall().as_millis() - 60_000));
    let result = refresh(&source).await.unwrap();
    assert_eq!(server.last_steps(), 21);
    assert_eq!(shown(result.answer()), shown(&server.whole(now(&server))));
}

#[tokio::test]
async fn what_was_missing_or_warned_of_is_asked_for_again() {
    let (source, server, hand) = source("q");
    server.set(|state| state.warning = Some("it may be wrong".into()));
    refresh(&source).await.unwrap();
    hand.advance(STEP);
    refresh(&source).await.unwrap();
    assert_eq!(server.last_steps(), 21);
    server.set(|state| {
        *state = State {
            missing: true,
            ..State::default()
        }
    });
    assert!(!refresh(&source).await.unwrap().is_complete());
    server.set(|state| *state = State::default());
    let result = refresh(&source).await.unwrap();
    assert_eq!(server.last_steps(), 21);
    assert!(result.is_complete());

    // What is missing from a few steps is missing from the whole, and not taken over.
    server.set(|state| state.missing = true);
    hand.advance(STEP);
    let result = refresh(&source).await.unwrap();
    assert_eq!(server.last_steps(), 3);
    assert!(!result.is_complete());
    assert_eq!(result.warnings().collect::<Vec<_>>(), ["a store did not answer"]);
    server.set(|state| *state = State::default());
    let result = refresh(&source).await.unwrap();
    assert_eq!(shown(result.answer()), shown(&server.whole(now(&server))));
}

#[tokio::test]
async fn a_failed_refresh_costs_no_step_that_is_held() {
    let (source, server, hand) = source("q");
    refresh(&source).await.unwrap();
    server.set(|state| state.failure = Some(FetchError::Timeout { after: STEP }));
    // Long past the time to live of a value, and swept.
    for _ in 0..3 {
        hand.advance(STEP * 2);
        let error = refresh(&source).await.unwrap_err();
        assert!(error.contains("no answer within"), "{error}");
    }
    assert!(
        source.get_range("q", &Params::new(), WINDOW, STEP).is_none(),
        "it expired"
    );
    server.set(|state| state.failure = None);
    let result = refresh(&source).await.unwrap();
    assert_eq!(server.last_steps(), 6 + 2);
    assert_eq!(shown(result.answer()), shown(&server.whole(now(&server))));
}

#[tokio::test]
async fn a_step_that_was_not_asked_for_is_refused() {
    let (source, server, hand) = source("q");
    refresh(&source).await.unwrap();
    hand.advance(STEP);
    server.set(|state| state.astray = true);
    let error = refresh(&source).await.unwrap_err();
    assert!(error.contains("not one of the steps asked for"), "{error}");
}

#[tokio::test]
async fn a_range_beyond_a_bound_is_an_error_that_says_which() {
    let bound = |change: fn(&mut RangeConfig)| async move {
        let (clock, _) = Clock::manual(Timestamp::from_millis(1_763_930_007_250));
        let server = Server {
            clock: clock.clone(),
            asked: Arc::default(),
            state: Arc::default(),
        };
        let mut config = CachedSourceConfig::default();
        change(&mut config.range);
        let source = CachedSource::with_clock(Arc::new(server), config, clock);
        source.query_list().must_register(QueryTemplate::promql("q", "q"));
        refresh(&source).await.unwrap_err()
    };
    for (error, expected) in [
        (bound(|range| range.max_steps = 20).await, "more than 20 steps"),
        (bound(|range| range.max_series = 2).await, "more than 2 series"),
        (bound(|range| range.max_bytes = 100).await, "more than 100 bytes"),
    ] {
        assert!(error.contains(expected), "{error}");
    }
    let (source, ..) = source("q");
    let spec = RefreshSpec::queries(["q"]).range(WINDOW, Duration::ZERO);
    let error = source.refresh(spec).await["q"].as_ref().unwrap_err().to_string();
    assert!(
        error.contains("the step of a range must be more than zero"),
        "{error}"
    );
}

#[derive(Clone, Debug)]
enum Event {
    Pass(u64),
    SetBack(i64),
    Fail,
    GivenTime,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (0..400_000u64).prop_map(Event::Pass),
        3 => (0..40_000u64).prop_map(Event::Pass),
        1 => (0..100_000i64).prop_map(Event::SetBack),
        2 => Just(Event::Fail),
        1 => Just(Event::GivenTime),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_refreshes_is_one_query(events in prop::collection::vec(event(), 1..20)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let (source, server, hand) = source("q");
            for event in events {
                match event {
                    Event::Pass(millis) => hand.advance(Duration::from_millis(millis)),
                    Event::SetBack(millis) => {
                        let back = server.clock.wall().as_millis() - millis;
                        hand.set_wall(Timestamp::from_millis(back));
                    }
                    Event::Fail => {
                        server.set(|state| state.failure = Some(FetchError::Timeout { after: STEP }));
                        assert!(refresh(&source).await.is_err());
                        server.set(|state| state.failure = None);
                    }
                    // A given time has nothing to do with what is held.
                    Event::GivenTime => {
                        let at = Timestamp::from_millis(server.clock.wall().as_millis() - 77_777);
                        let spec = RefreshSpec::queries(["q"]).range(WINDOW, STEP).at(at);
                        let result = source.refresh(spec).await["q"].clone().unwrap();
                        let steps = Steps::until(at, WINDOW, STEP).unwrap();
                        assert_eq!(shown(result.answer()), shown(&server.whole(steps)));
                        continue;
                    }
                }
                let result = refresh(&source).await.unwrap();
                assert_eq!(shown(result.answer()), shown(&server.whole(now(&server))));
            }
        });
    }
}
