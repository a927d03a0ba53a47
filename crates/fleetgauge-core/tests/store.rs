//! What the cache keeps of answers that end in any order, and of which shape.
#![allow(clippy::unwrap_used, missing_docs)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use fleetgauge_core::backend::{Backend, FetchError, Request};
use fleetgauge_core::cache::{Failure, Lookup};
use fleetgauge_core::query::{QueryTemplate, Shape};
use fleetgauge_core::result::{Answer, AnswerBuilder};
use fleetgauge_core::sample::Stamp;
use fleetgauge_core::source::{CachedSource, CachedSourceConfig, MetricsSource, RefreshSpec};
use fleetgauge_core::time::Timestamp;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use crate::support::backend::{none, one, q, unavailable};

/// A backend whose fetches end one by one, as the test says, in any order.
#[derive(Clone, Default)]
struct Scripted(Arc<Mutex<Vec<Option<Ends>>>>);

type Ends = oneshot::Sender<Result<Answer, FetchError>>;

impl Scripted {
    fn end(&self, call: usize, outcome: Result<Answer, FetchError>) {
        let ends = self.0.lock().unwrap()[call].take();
        ends.unwrap().send(outcome).unwrap();
    }

    async fn until_calls(&self, count: usize) {
        while self.0.lock().unwrap().len() < count {
            tokio::task::yield_now().await;
        }
    }
}

impl Backend for Scripted {
    fn fetch<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Answer, FetchError>> {
        async move {
            let (ends, outcome) = oneshot::channel();
            self.0.lock().unwrap().push(Some(ends));
            let answer = outcome.await.unwrap()?;
            Ok(match request.shape {
                Shape::Instant => answer,
                _ => at_the_end(&answer, request),
            })
        }
        .boxed()
    }
}

/// The values as points at the last step of what was asked.
fn at_the_end(answer: &Answer, request: &Request) -> Answer {
    let mut ranged = AnswerBuilder::new(Stamp::Evaluated);
    for value in answer.values() {
        value
            .labels
            .iter()
            .for_each(|(name, value)| ranged.label(name, value));
        ranged.point(value.value, request.at.expect("a range has an end"));
        ranged.end_points().unwrap();
    }
    ranged.build()
}

fn rejected(message: &str) -> FetchError {
    FetchError::Rejected {
        kind: "bad_data".into(),
        message: message.into(),
    }
}

/// The number that is read, and what failed beside it or in its place.
fn read(source: &dyn MetricsSource) -> (Option<f64>, Option<String>) {
    let message = |failure: &Failure| match failure.error.fetch_error() {
        Some(FetchError::Rejected { message, .. }) => message.clone(),
        other => panic!("{other:?}"),
    };
    match source.lookup("q", &none()) {
        Lookup::Value(value) => (
            Some(value.result().values().next().unwrap().value),
            value.last_error().map(message),
        ),
        Lookup::Failed(failure) => (None, Some(message(&failure))),
        other => panic!("{other:?}"),
    }
}

/// Two fetches of one query, the second sent after the first, which end in either order.
#[tokio::test]
async fn what_was_sent_later_stays_whichever_ends_later() {
    type End = Result<f64, &'static str>;
    let check = async |ends: [End; 2], expected: (Option<f64>, Option<&str>)| {
        for order in [[0, 1], [1, 0]] {
            let backend = Scripted::default();
            let source = CachedSource::new(Arc::new(backend.clone()), CachedSourceConfig::default());
            source.query_list().must_register(QueryTemplate::promql("q", "q"));
            let mut callers = Vec::new();
            // The stricter one does not share the flight of the other.
            for (calls, max_age) in [(1, 10), (2, 5)] {
                let source = source.clone();
                let spec = q().max_age(Duration::from_secs(max_age));
                callers.push(tokio::spawn(async move { source.refresh(spec).await }));
                backend.until_calls(calls).await;
            }
            let mut outcomes: Vec<_> = callers.into_iter().map(Some).collect();
            for call in order {
                backend.end(call, ends[call].map(one).map_err(rejected));
                let results = outcomes[call].take().unwrap().await.unwrap();
                // Who waited for a flight has its outcome, whether it is kept or not.
                let outcome = results["q"].as_ref();
                let value = outcome.ok().map(|result| result.values().next().unwrap().value);
                assert_eq!(value, ends[call].ok(), "{ends:?} {order:?} {call}");
            }
            let (value, failure) = read(&source);
            assert_eq!((value, failure.as_deref()), expected, "{ends:?} {order:?}");
        }
    };
    check([Ok(1.0), Ok(2.0)], (Some(2.0), None)).await;
    check([Err("first"), Ok(2.0)], (Some(2.0), None)).await;
    check([Ok(1.0), Err("second")], (Some(1.0), Some("second"))).await;
    check([Err("first"), Err("second")], (None, Some("second"))).await;
}

/// The first try is older than the other flight, the second, which answers, is newer.
#[tokio::test]
async fn of_a_query_that_was_tried_again_the_try_that_answered_counts() {
    let backend = Scripted::default();
    let mut config = CachedSourceConfig::default();
    config.retry.min_delay = Duration::from_nanos(1);
    let source = CachedSource::new(Arc::new(backend.clone()), config);
    source.query_list().must_register(QueryTemplate::promql("q", "q"));
    let ask = |max_age| {
        let source = source.clone();
        let spec = q().max_age(Duration::from_secs(max_age));
        tokio::spawn(async move { source.refresh(spec).await.is_complete() })
    };
    let retried = ask(10);
    backend.until_calls(1).await;
    let other = ask(5);
    backend.until_calls(2).await;
    backend.end(0, Err(unavailable(None)));
    backend.until_calls(3).await;
    backend.end(2, Ok(one(3.0)));
    assert!(retried.await.unwrap());
    backend.end(1, Ok(one(2.0)));
    assert!(other.await.unwrap());
    assert_eq!(read(&source), (Some(3.0), None));
}

#[tokio::test]
async fn a_query_that_is_replaced_loses_values_flights_and_places_and_an_equal_one_keeps_them() {
    let query = |text: &str| QueryTemplate::promql("q", text);
    let backend = Scripted::default();
    let mut config = CachedSourceConfig::default();
    config.cache.max_entries = 1;
    let source = CachedSource::new(Arc::new(backend.clone()), config);
    let ask = || {
        let source = source.clone();
        tokio::spawn(async move { source.refresh(q()).await["q"].is_ok() })
    };
    source.query_list().must_register(query("old"));
    let mut prepared = source.prepare("q", &none()).unwrap();
    let first = ask();
    backend.until_calls(1).await;
    backend.end(0, Ok(one(1.0)));
    assert!(first.await.unwrap());
    assert!(!source.query_list().replace(query("old")).unwrap());
    assert!(prepared.get().is_some());
    assert_eq!(read(&source), (Some(1.0), None));

    let under_way = ask();
    backend.until_calls(2).await;
    assert!(source.query_list().replace(query("new")).unwrap());
    assert!(source.get("q", &none()).is_none());
    assert!(prepared.get().is_none());
    assert!(matches!(prepared.lookup(), Lookup::Replaced));
    assert_eq!(source.stats().cache.entries, 0);
    let mut anew = source.prepare("q", &none()).expect("the place is free");
    backend.end(1, Ok(one(2.0)));
    assert!(under_way.await.unwrap(), "who waited has the outcome");
    assert!(anew.get().is_none());
    assert!(matches!(source.lookup("q", &none()), Lookup::NeverRefreshed));

    let fresh = ask();
    backend.until_calls(3).await;
    backend.end(2, Err(rejected("third")));
    assert!(!fresh.await.unwrap());
    assert_eq!(read(&source), (None, Some("third".into())));
    let failing = ask();
    backend.until_calls(4).await;
    assert!(source.query_list().remove("q"));
    backend.end(3, Err(rejected("fourth")));
    assert!(!failing.await.unwrap());
    assert!(matches!(source.lookup("q", &none()), Lookup::Invalid(_)));
    assert!(matches!(anew.lookup(), Lookup::Replaced));
    assert_eq!(source.stats().cache.entries, 0);
}

const MINUTE: Duration = Duration::from_secs(60);
const STEP: Duration = Duration::from_secs(15);

#[tokio::test]
async fn each_shape_has_its_own_value_failure_and_flight() {
    let backend = Scripted::default();
    let source = CachedSource::new(Arc::new(backend.clone()), CachedSourceConfig::default());
    source.query_list().must_register(QueryTemplate::promql("q", "q"));
    let ask = |spec: RefreshSpec| {
        let source = source.clone();
        tokio::spawn(async move { source.refresh(spec).await["q"].is_ok() })
    };
    let instant = ask(q());
    backend.until_calls(1).await;
    let range = ask(q().range(MINUTE, STEP));
    backend.until_calls(2).await;
    let other = ask(q().range(MINUTE, STEP * 2));
    backend.until_calls(3).await;
    backend.end(0, Ok(one(1.0)));
    backend.end(1, Ok(one(2.0)));
    backend.end(2, Err(rejected("third")));
    assert!(instant.await.unwrap() && range.await.unwrap() && !other.await.unwrap());
    assert_eq!(read(&source), (Some(1.0), None));
    let lookup = |step| source.lookup_shape("q", &none(), Shape::Range { window: MINUTE, step });
    let value = lookup(STEP).value().unwrap();
    assert_eq!(value.result().values().next().unwrap().value, 2.0);
    assert!(value.last_error().is_none());
    assert!(matches!(lookup(STEP * 2), Lookup::Failed(_)));
    assert!(matches!(lookup(STEP * 3), Lookup::NeverRefreshed));
}

/// The answer of another time is neither read nor kept, and shared only by those who ask for that very time.
#[tokio::test]
async fn a_given_time_has_nothing_to_do_with_the_cache() {
    let backend = Scripted::default();
    let source = CachedSource::new(Arc::new(backend.clone()), CachedSourceConfig::default());
    source.query_list().must_register(QueryTemplate::promql("q", "q"));
    let ask = |spec: RefreshSpec| {
        let source = source.clone();
        tokio::spawn(async move {
            let results = source.refresh(spec).await;
            results["q"]
                .as_ref()
                .map_or(-1.0, |r| r.values().next().unwrap().value)
        })
    };
    let at = |seconds: i64| q().at(Timestamp::from_millis(seconds * 1000));
    let mut callers = Vec::new();
    // Now, at two times, and over a range until one of them: a flight each.
    let specs = [q(), at(1), at(2), at(1).range(MINUTE, STEP)];
    for (i, spec) in specs.iter().enumerate() {
        callers.push(ask(spec.clone()));
        backend.until_calls(i + 1).await;
    }
    callers.push(ask(at(2)));
    while source.stats().flights_shared < 1 {
        tokio::task::yield_now().await;
    }
    for (call, outcome) in [Ok(one(0.0)), Ok(one(1.0)), Err(rejected("at 2")), Ok(one(3.0))]
        .into_iter()
        .enumerate()
    {
        backend.end(call, outcome);
    }
    let mut values = Vec::new();
    for caller in callers {
        values.push(caller.await.unwrap());
    }
    assert_eq!(values, [0.0, 1.0, -1.0, 3.0, -1.0]);
    assert_eq!(read(&source), (Some(0.0), None));
    assert_eq!(source.stats().cache.entries, 1);
    let range = Shape::Range {
        window: MINUTE,
        step: STEP,
    };
    assert!(matches!(
        source.lookup_shape("q", &none(), range),
        Lookup::NeverRefreshed
    ));
}
