//! What callers share, and what becomes of it when some of them leave, panic or are shut down.
#![allow(clippy::unwrap_used, missing_docs)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use fleetgauge_core::backend::{Backend, FetchError, Request};
use fleetgauge_core::params::Params;
use fleetgauge_core::query::QueryTemplate;
use fleetgauge_core::result::{Answer, Origin};
use fleetgauge_core::source::{CachedSource, CachedSourceConfig, FixedBackend, MetricsSource, RefreshSpec};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::support::backend::{Gate, gated, none, one, q, retrying};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn decision_8_a_thousand_callers_share_one_flight() {
    let (gate, source) = gated(CachedSourceConfig::default());
    let callers: Vec<_> = (0..1000)
        .map(|i| {
            let source = source.clone();
            tokio::spawn(async move {
                if i % 2 == 0 {
                    source.refresh(q()).await["q"].is_ok()
                } else {
                    source.get_or_refresh("q", &Params::new()).await.is_ok()
                }
            })
        })
        .collect();
    while source.stats().flights_shared < 999 {
        tokio::task::yield_now().await;
    }
    gate.open(1);
    for caller in callers {
        assert!(caller.await.unwrap());
    }
    assert_eq!((gate.calls(), source.stats().flights), (1, 1));
}

#[tokio::test]
async fn decision_8_concurrency_is_bounded_however_many_queries_are_asked() {
    let gate = Gate::default();
    let mut config = CachedSourceConfig::default();
    config.max_concurrency = 7;
    let source = CachedSource::new(Arc::new(gate.clone()), config);
    for i in 0..500 {
        source
            .query_list()
            .must_register(QueryTemplate::promql(format!("q{i}"), "up"));
    }
    let refresh = tokio::spawn({
        let source = source.clone();
        async move { source.refresh(RefreshSpec::all()).await.is_complete() }
    });
    gate.until_calls(7).await;
    assert_eq!(source.stats().in_flight, 500);
    gate.open(500);
    assert!(refresh.await.unwrap());
    assert_eq!((gate.calls(), gate.0.most_at_once.load(SeqCst)), (500, 7));
}

/// An answer to which two more questions were asked.
struct Companied;

impl Backend for Companied {
    fn fetch<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Answer, FetchError>> {
        let origin = Origin::new("", request.name.as_str()).with_sent(["ages", "live"]);
        futures_util::future::ready(Ok(one(1.0).with_origin(Arc::new(origin)))).boxed()
    }
}

/// Nothing is dropped, and no timeout runs while a query waits for its turn.
#[tokio::test(start_paused = true)]
async fn what_is_over_the_budget_of_a_second_waits_for_its_turn() {
    let gate = Gate::default();
    gate.open(10);
    for (backend, seconds) in [
        (Arc::new(gate) as Arc<dyn Backend>, 4.5),
        (Arc::new(Companied), 13.5),
    ] {
        let mut config = CachedSourceConfig::default();
        config.max_queries_per_second = Some(2.0);
        config.query_timeout = Duration::from_secs(1);
        let source = CachedSource::new(backend, config);
        for i in 0..10 {
            source
                .query_list()
                .must_register(QueryTemplate::promql(format!("q{i}"), "up"));
        }
        let begun = tokio::time::Instant::now();
        let results = source.refresh(RefreshSpec::all()).await;
        assert!(results.is_complete(), "{results:?}");
        let taken = begun.elapsed().as_secs_f64();
        assert!((taken - seconds).abs() < 0.1, "{taken} instead of {seconds}");
    }
}

/// Computes for as long as the caller wants to wait, without awaiting anything.
struct Computing(Duration, AtomicUsize);

impl Backend for Computing {
    fn fetch<'a>(&'a self, _: &'a Request) -> BoxFuture<'a, Result<Answer, FetchError>> {
        async move {
            self.1.fetch_add(1, SeqCst);
            std::thread::sleep(self.0);
            Ok(one(1.0))
        }
        .boxed()
    }
}

/// By the real clock, which alone runs on while a backend computes.
#[tokio::test]
async fn who_waits_no_longer_does_not_wait_for_backends_that_compute() {
    let wait = Duration::from_millis(100);
    let backend = Arc::new(Computing(wait, AtomicUsize::new(0)));
    let source = CachedSource::new(backend.clone(), CachedSourceConfig::default());
    let names: Vec<_> = (0..8).map(|i| format!("q{i}")).collect();
    for name in &names {
        source
            .query_list()
            .must_register(QueryTemplate::promql(name, "up"));
    }
    let results = source.refresh(RefreshSpec::all().wait_at_most(wait)).await;
    // Of the one that was being computed when the time was over there is an answer.
    assert_eq!(backend.1.load(SeqCst), 1);
    assert_eq!((results.answers().count(), results.failures().count()), (1, 7));
    assert!(results.failures().all(|(_, error)| error.reason() == "timeout"));
    while names.iter().any(|name| source.get(name, &none()).is_none()) {
        tokio::task::yield_now().await;
    }
    assert_eq!(source.stats().flights, 8);
}

#[tokio::test(start_paused = true)]
async fn who_waits_no_longer_gets_what_is_there_and_the_rest_is_cached() {
    let backend = FixedBackend::new()
        .answer("q", one(1.0))
        .delay("q", Duration::from_secs(5));
    let source = retrying(backend.clone());
    source
        .query_list()
        .must_register(QueryTemplate::promql("fast", "up"));
    let spec = RefreshSpec::all().wait_at_most(Duration::from_secs(1));
    let results = source.refresh(spec).await;
    assert!(results["fast"].is_ok());
    assert_eq!(results["q"].as_ref().unwrap_err().reason(), "timeout");
    assert!(source.get_or_refresh("q", &none()).await.is_ok());
    assert_eq!(backend.asked().len(), 2, "the flight under way was shared");
}

#[tokio::test]
async fn a_dropped_caller_neither_poisons_nor_duplicates_a_flight() {
    let (gate, source) = gated(CachedSourceConfig::default());
    let first = tokio::spawn({
        let source = source.clone();
        async move { source.refresh(q()).await }
    });
    gate.until_calls(1).await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    let params = none();
    let second = source.get_or_refresh("q", &params);
    gate.open(1);
    assert!(second.await.is_ok());
    assert_eq!(gate.calls(), 1);
}

#[tokio::test]
async fn an_abandoned_flight_still_fills_the_cache() {
    let (gate, source) = gated(CachedSourceConfig::default());
    drop(source.refresh(q()));
    assert_eq!(gate.calls(), 0, "nothing is sent before the first poll");
    let refresh = tokio::time::timeout(Duration::ZERO, source.refresh(q()));
    assert!(refresh.await.is_err());
    gate.open(1);
    while source.get("q", &none()).is_none() {
        tokio::task::yield_now().await;
    }
    assert_eq!(gate.calls(), 1);
}

#[tokio::test]
async fn a_backend_that_panics_aborts_its_flight_and_nothing_else() {
    let (gate, source) = gated(CachedSourceConfig::default());
    gate.open(2);
    assert!(source.refresh(RefreshSpec::all()).await.is_complete());
    gate.0.panics.store(true, SeqCst);
    let both = tokio::spawn({
        let source = source.clone();
        async move { source.refresh(RefreshSpec::all()).await }
    });
    gate.until_calls(4).await;
    gate.open(2);
    let results = both.await.unwrap();
    assert!(results["q"].is_ok());
    assert_eq!(results["panics"].as_ref().unwrap_err().reason(), "aborted");
    assert_aborted(&source, "panics");
    gate.open(1);
    assert!(
        source.refresh(q()).await.is_complete(),
        "and its permit came back"
    );
}

/// Whether the query has its last good value, the abort beside it and in the counts, and no flight.
fn assert_aborted(source: &CachedSource, query: &str) {
    let kept = source.get(query, &none()).unwrap();
    assert_eq!(kept.result().values().next().unwrap().value, 1.0);
    assert_eq!(kept.last_error().unwrap().error.reason(), "aborted");
    let stats = source.stats();
    assert_eq!(stats.failures.into_iter().collect::<Vec<_>>(), [("aborted", 1)]);
    assert_eq!(stats.in_flight, 0);
}

#[test]
fn a_runtime_that_shuts_down_aborts_its_flights() {
    let (gate, source) = gated(CachedSourceConfig::default());
    gate.open(1);
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    };
    let first = runtime();
    assert!(first.block_on(source.refresh(q())).is_complete());
    let given_up = first.block_on(async { tokio::time::timeout(Duration::ZERO, source.refresh(q())).await });
    assert!(given_up.is_err());
    assert_eq!((gate.calls(), source.stats().in_flight), (2, 1));
    drop(first);
    assert_aborted(&source, "q");
    gate.open(1);
    assert!(
        runtime().block_on(source.refresh(q())).is_complete(),
        "the next caller starts anew"
    );
}

#[tokio::test]
async fn a_flight_whose_answer_may_be_too_old_is_not_joined() {
    let gate = Gate::default();
    let source = CachedSource::new(Arc::new(gate.clone()), CachedSourceConfig::default());
    source.query_list().must_register(QueryTemplate::promql("q", "q"));
    let ask = |max_age: Option<u64>| {
        let source = source.clone();
        let mut spec = RefreshSpec::queries(["q"]);
        spec.max_age = max_age.map(Duration::from_secs);
        tokio::spawn(async move { source.refresh(spec).await.is_complete() })
    };
    let mut callers = Vec::new();
    let mut check = async |max_age: Option<u64>, flights: u64| {
        let before = source.stats().queries;
        callers.push(ask(max_age));
        while source.stats().queries == before {
            tokio::task::yield_now().await;
        }
        assert_eq!(source.stats().flights, flights, "{max_age:?}");
    };
    check(Some(10), 1).await;
    check(Some(20), 1).await;
    // Stricter than what is under way; then shared by those who are not stricter still.
    check(Some(5), 2).await;
    check(Some(6), 2).await;
    check(Some(10), 2).await;
    // "Now" is not served by what may be from before.
    check(None, 3).await;
    check(None, 3).await;
    // What was collected "now" may have been under way, since when, nobody says.
    check(Some(10), 4).await;
    check(Some(0), 5).await;
    // From here on: another moment.
    check(Some(0), 6).await;
    // That is fresh enough for "now".
    check(None, 6).await;
    gate.open(6);
    for caller in callers {
        assert!(caller.await.unwrap());
    }
    assert_eq!(source.stats().in_flight, 0);
}
