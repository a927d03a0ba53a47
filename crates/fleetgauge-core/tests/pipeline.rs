//! The pipeline against backends that count, wait and fail on command.
#![allow(clippy::unwrap_used, missing_docs)]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fleetgauge_core::backend::{Backend, FetchError, Request};
use fleetgauge_core::cache::{Failure, Lookup};
use fleetgauge_core::params::Params;
use fleetgauge_core::query::{QueryTemplate, Shape};
use fleetgauge_core::result::{Answer, AnswerBuilder};
use fleetgauge_core::sample::Stamp;
use fleetgauge_core::source::{
    CachedSource, CachedSourceConfig, FixedBackend, FixedSource, MetricsSource, RefreshSpec,
};
use fleetgauge_core::time::Timestamp;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{Semaphore, oneshot};

/// A backend whose fetches wait until the test lets them through.
#[derive(Clone, Default)]
struct Gate(Arc<GateState>);

struct GateState {
    open: Semaphore,
    calls: AtomicUsize,
    with_backend: AtomicUsize,
    most_at_once: AtomicUsize,
    /// Whether the query `panics` does.
    panics: AtomicBool,
}

impl Default for GateState {
    fn default() -> Self {
        Self {
            open: Semaphore::new(0),
            calls: AtomicUsize::new(0),
            with_backend: AtomicUsize::new(0),
            most_at_once: AtomicUsize::new(0),
            panics: AtomicBool::new(false),
        }
    }
}

impl Gate {
    fn open(&self, count: usize) {
        self.0.open.add_permits(count);
    }

    fn calls(&self) -> usize {
        self.0.calls.load(SeqCst)
    }

    async fn until_calls(&self, count: usize) {
        while self.calls() < count {
            tokio::task::yield_now().await;
        }
    }
}

impl Backend for Gate {
    fn fetch<'a>(&'a self, query: &'a Request) -> BoxFuture<'a, Result<Answer, FetchError>> {
        async move {
            self.0.calls.fetch_add(1, SeqCst);
            let now = self.0.with_backend.fetch_add(1, SeqCst) + 1;
            self.0.most_at_once.fetch_max(now, SeqCst);
            self.0.open.acquire().await.unwrap().forget();
            self.0.with_backend.fetch_sub(1, SeqCst);
            if query.name.as_str() == "panics" && self.0.panics.load(SeqCst) {
                panic!("the backend panics");
            }
            Ok(one(1.0))
        }
        .boxed()
    }
}

fn one(value: f64) -> Answer {
    let mut answer = AnswerBuilder::new(Stamp::Evaluated);
    answer
        .series([("pod", "a")], value, Timestamp::default())
        .unwrap();
    answer.build()
}

fn unavailable(retry_after: Option<Duration>) -> FetchError {
    FetchError::Unavailable {
        status: 503,
        message: "busy".into(),
        retry_after,
    }
}

fn gated(config: CachedSourceConfig) -> (Gate, CachedSource) {
    let gate = Gate::default();
    let source = CachedSource::new(Arc::new(gate.clone()), config);
    source
        .query_list()
        .must_register(QueryTemplate::promql("q", "up"));
    source
        .query_list()
        .must_register(QueryTemplate::promql("panics", "up"));
    (gate, source)
}

/// A source over fixed answers that retries, as a real one does.
fn retrying(backend: FixedBackend) -> FixedSource {
    let source = CachedSource::new(Arc::new(backend), CachedSourceConfig::default());
    source
        .query_list()
        .must_register(QueryTemplate::promql("q", "up"));
    source
}

fn q() -> RefreshSpec {
    RefreshSpec::queries(["q"])
}

fn none() -> Params {
    Params::new()
}

#[tokio::test]
async fn decision_3_a_missing_parameter_fails_its_query_alone() {
    let backend = FixedBackend::new().values("fine", [([("pod", "a")], 1.0)]);
    let source = backend.clone().into_source();
    source
        .query_list()
        .must_register(QueryTemplate::promql("fine", "up"));
    source.query_list().must_register(
        QueryTemplate::promql("needs", r#"up{namespace="{{.namespace}}"}"#).params(["namespace"]),
    );
    let results = source.refresh(RefreshSpec::all()).await;
    assert_eq!(results["fine"].as_ref().unwrap().len(), 1);
    let error = results["needs"].as_ref().unwrap_err();
    assert_eq!(error.reason(), "missing_param");
    let text = error.to_string();
    assert!(text.contains("needs") && text.contains("namespace"), "{text}");
    assert_eq!(backend.asked().len(), 1, "a question that is wrong is not sent");
}

#[tokio::test]
async fn decision_4_parameters_that_a_query_does_not_declare_make_no_difference() {
    let source = FixedBackend::new()
        .values("q", [([("pod", "a")], 1.0)])
        .into_source();
    source
        .query_list()
        .must_register(QueryTemplate::promql("q", r#"up{namespace="{{.namespace}}"}"#).params(["namespace"]));
    source
        .refresh(RefreshSpec::all().params([("namespace", "x"), ("modelID", "m")]))
        .await;
    assert!(source.get("q", &[("namespace", "x")].into()).is_some());
    assert!(source.get("q", &[("namespace", "y")].into()).is_none());
}

#[tokio::test]
async fn decision_6_a_failed_refresh_keeps_the_last_good_value() {
    let backend = FixedBackend::new().answer("q", one(7.0)).failure(
        "q",
        FetchError::Rejected {
            kind: "bad_data".into(),
            message: "no".into(),
        },
    );
    let source = backend.into_source();
    source
        .query_list()
        .must_register(QueryTemplate::promql("q", "up"));
    assert!(source.refresh(q()).await.is_complete());
    let results = source.refresh(q()).await;
    assert_eq!(results["q"].as_ref().unwrap_err().reason(), "rejected");
    let kept = source.get("q", &none()).unwrap();
    assert_eq!(kept.result().values().next().unwrap().value, 7.0);
    assert_eq!(kept.last_error().unwrap().error.reason(), "rejected");
}

#[tokio::test]
async fn decision_7_every_query_has_an_outcome_of_its_own() {
    let source = FixedBackend::new()
        .values(
            "nan",
            [([("pod", "a")], f64::NAN), ([("pod", "b")], f64::INFINITY)],
        )
        .failure(
            "fails",
            FetchError::TooLarge {
                limit: 1,
                unit: "bytes",
            },
        )
        .into_source();
    for name in ["nan", "fails", "empty"] {
        source
            .query_list()
            .must_register(QueryTemplate::promql(name, "up"));
    }
    let results = source
        .refresh(RefreshSpec::queries(["nan", "fails", "empty", "unknown", "nan"]))
        .await;
    assert_eq!(results.len(), 4, "asked twice, answered once");
    assert!(
        results["nan"]
            .as_ref()
            .unwrap()
            .values()
            .all(|value| value.is_undefined())
    );
    assert_eq!(results["fails"].as_ref().unwrap_err().reason(), "too_large");
    assert!(results["empty"].as_ref().unwrap().is_no_data());
    assert_eq!(results["unknown"].as_ref().unwrap_err().reason(), "unknown_query");
    assert!(
        source.get("empty", &none()).unwrap().result().is_no_data(),
        "no data is an answer, and cached"
    );
    assert!(matches!(source.lookup("fails", &none()), Lookup::Failed(_)));
    assert!(matches!(source.lookup("unknown", &none()), Lookup::Invalid(_)));
    let stats = source.stats();
    let failures: Vec<_> = stats.failures.into_iter().collect();
    assert_eq!(failures, [("too_large", 1), ("unknown_query", 1)]);
    assert_eq!((stats.no_data, stats.flights, stats.queries), (1, 3, 3));
}

#[tokio::test]
async fn an_incomplete_answer_says_so_and_an_empty_one_is_not_no_data() {
    let answer = |value: Option<f64>| {
        let mut answer = AnswerBuilder::new(Stamp::Evaluated);
        if let Some(value) = value {
            answer.series([], value, Timestamp::default()).unwrap();
        }
        answer.missing("store 2 did not answer");
        answer.build()
    };
    let source = FixedBackend::new()
        .values("then_nothing", [([("pod", "a")], 3.0)])
        .answer("then_nothing", answer(None))
        .answer("some", answer(Some(1.0)))
        .into_source();
    for name in ["some", "then_nothing"] {
        source
            .query_list()
            .must_register(QueryTemplate::promql(name, "up"));
    }
    let whole = source.refresh(RefreshSpec::queries(["then_nothing"])).await;
    assert!(whole.is_complete());

    let results = source.refresh(RefreshSpec::all()).await;
    assert!(!results.is_complete());
    let some = results["some"].as_ref().unwrap();
    assert!(!some.is_complete());
    assert_eq!(some.warnings().collect::<Vec<_>>(), ["store 2 did not answer"]);
    let nothing = results["then_nothing"].as_ref().unwrap_err();
    assert_eq!(nothing.reason(), "incomplete");
    assert!(
        nothing.to_string().contains("store 2 did not answer"),
        "{nothing}"
    );
    // Who gives no reason is not quoted with nothing.
    let mut silent = AnswerBuilder::new(Stamp::Evaluated);
    silent.missing(" ");
    let source_of_silence = FixedBackend::new().answer("q", silent.build()).into_source();
    source_of_silence
        .query_list()
        .must_register(QueryTemplate::promql("q", "up"));
    let error = source_of_silence.refresh(q()).await["q"]
        .as_ref()
        .unwrap_err()
        .to_string();
    assert!(
        error.ends_with("the backend does not say what is missing"),
        "{error}"
    );
    let kept = source.get("then_nothing", &none()).unwrap();
    assert_eq!(kept.result().values().next().unwrap().value, 3.0);
    assert_eq!(kept.last_error().unwrap().error.reason(), "incomplete");
}

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

#[tokio::test(start_paused = true)]
async fn decision_8_what_may_pass_is_tried_again_within_the_deadline() {
    let backend = FixedBackend::new()
        .failure("q", unavailable(None))
        .failure("q", unavailable(None));
    let source = retrying(backend.answer("q", one(1.0)));
    assert!(source.refresh(q()).await.is_complete());
    assert_eq!((source.stats().retries, source.stats().flights), (2, 1));
    assert!(
        source.stats().failures.is_empty(),
        "a failure that passed is no failure"
    );
}

#[tokio::test(start_paused = true)]
async fn decision_8_the_backend_says_when_to_come_back() {
    let wait = Duration::from_secs(4);
    let backend = FixedBackend::new().failure(
        "q",
        FetchError::RateLimited {
            retry_after: Some(wait),
        },
    );
    let source = retrying(backend.answer("q", one(1.0)));
    let start = tokio::time::Instant::now();
    assert!(source.refresh(q()).await.is_complete());
    assert!(
        start.elapsed() >= wait && start.elapsed() < wait * 2,
        "{:?}",
        start.elapsed()
    );
}

/// Sixteen queries are told to come back later; one is not. Each holds the only permits in turn.
#[tokio::test(start_paused = true)]
async fn a_query_that_waits_for_its_next_try_holds_up_no_other() {
    let wait = Duration::from_secs(4);
    let mut backend = FixedBackend::new().answer("healthy", one(1.0));
    let names: Vec<_> = (0..16).map(|i| format!("busy{i}")).collect();
    for name in &names {
        backend = backend
            .failure(name, unavailable(Some(wait)))
            .answer(name, one(1.0));
    }
    let mut config = CachedSourceConfig::default();
    config.max_concurrency = 2;
    let source = CachedSource::new(Arc::new(backend), config);
    let register = |name: &str| {
        source
            .query_list()
            .must_register(QueryTemplate::promql(name, "up"))
    };
    names.iter().for_each(|name| register(name));
    register("healthy");
    let start = tokio::time::Instant::now();
    let busy = source.refresh(RefreshSpec::queries(names));
    let params = none();
    let healthy = async { (source.get_or_refresh("healthy", &params).await, start.elapsed()) };
    let (busy, (healthy, after)) = tokio::join!(busy, healthy);
    assert!(healthy.is_ok() && after.is_zero(), "{after:?}");
    assert!(busy.is_complete());
    assert!(start.elapsed() >= wait && start.elapsed() < wait * 2);
    assert_eq!(source.stats().retries, 16);
}

/// The deadline holds while a query waits for its turn to be tried again, and the failure is what it came from.
#[tokio::test(start_paused = true)]
async fn a_try_that_does_not_get_its_turn_in_time_is_given_up() {
    let backend = FixedBackend::new()
        .failure("q", unavailable(Some(Duration::from_secs(1))))
        .answer("long", one(1.0))
        .delay("long", Duration::from_secs(60));
    let mut config = CachedSourceConfig::default();
    config.max_concurrency = 1;
    let source = CachedSource::new(Arc::new(backend.clone()), config);
    for (name, timeout) in [("q", 10), ("long", 100)] {
        let query = QueryTemplate::promql(name, "up").timeout(Duration::from_secs(timeout));
        source.query_list().must_register(query);
    }
    let start = tokio::time::Instant::now();
    let given_up = async { (source.refresh(q()).await, start.elapsed()) };
    let long = source.refresh(RefreshSpec::queries(["long"]));
    let ((results, after), long) = tokio::join!(given_up, long);
    assert!(long.is_complete());
    assert_eq!(results["q"].as_ref().unwrap_err().reason(), "unavailable");
    assert_eq!(after, Duration::from_secs(10));
    let asked: Vec<_> = backend
        .asked()
        .iter()
        .map(|query| query.name.to_string())
        .collect();
    assert_eq!(asked, ["q", "long"]);
    assert_eq!(source.stats().retries, 0);
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
async fn decision_8_a_wait_beyond_the_deadline_is_not_begun() {
    let source = retrying(FixedBackend::new().failure("q", unavailable(Some(Duration::from_secs(60)))));
    let start = tokio::time::Instant::now();
    let results = source.refresh(q()).await;
    assert_eq!(
        results["q"].as_ref().unwrap_err().reason(),
        "unavailable",
        "what failed, not `timeout`"
    );
    assert_eq!((start.elapsed(), source.stats().retries), (Duration::ZERO, 0));
}

#[tokio::test(start_paused = true)]
async fn decision_8_a_rejected_query_is_never_tried_again() {
    for error in [
        FetchError::Rejected {
            kind: "bad_data".into(),
            message: "parse error".into(),
        },
        FetchError::Unauthorized {
            status: 401,
            message: "who are you".into(),
        },
        FetchError::RateLimited { retry_after: None },
        FetchError::Malformed {
            detail: "html".into(),
            source: None,
        },
        FetchError::Unavailable {
            status: 500,
            message: "broken".into(),
            retry_after: None,
        },
    ] {
        let reason = error.reason();
        let source = retrying(FixedBackend::new().failure("q", error));
        assert_eq!(
            source.refresh(q()).await["q"].as_ref().unwrap_err().reason(),
            reason
        );
        assert_eq!(source.stats().retries, 0, "{reason}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_query_times_out_by_its_own_deadline_or_the_sources() {
    let backend = FixedBackend::new()
        .delay("q", Duration::from_secs(60))
        .delay("own", Duration::from_secs(60));
    let source = retrying(backend);
    let own = Duration::from_secs(1);
    source
        .query_list()
        .must_register(QueryTemplate::promql("own", "up").timeout(own));
    let results = source.refresh(RefreshSpec::all()).await;
    let after = |name: &str| match results[name].as_ref().unwrap_err().fetch_error() {
        Some(FetchError::Timeout { after }) => *after,
        other => panic!("{other:?}"),
    };
    assert_eq!((after("own"), after("q")), (own, Duration::from_secs(10)));
}

#[tokio::test]
async fn a_timeout_without_end_is_no_overflow() {
    let mut config = CachedSourceConfig::default();
    config.query_timeout = Duration::MAX;
    let source = CachedSource::new(Arc::new(FixedBackend::new().answer("q", one(1.0))), config);
    source
        .query_list()
        .must_register(QueryTemplate::promql("q", "up"));
    assert!(
        source
            .refresh(q().wait_at_most(Duration::MAX))
            .await
            .is_complete()
    );
}

/// Keeps the time itself, as a network client does.
struct Impatient;

impl Backend for Impatient {
    fn fetch<'a>(&'a self, query: &'a Request) -> BoxFuture<'a, Result<Answer, FetchError>> {
        async move {
            tokio::time::sleep(query.timeout).await;
            Err(FetchError::Timeout { after: query.timeout })
        }
        .boxed()
    }
}

/// Without a paused clock: what is left of the timeout is then always a little less than all of it.
#[tokio::test]
async fn a_timeout_names_what_was_configured_whoever_keeps_the_time() {
    let after = Duration::from_millis(40);
    let source = CachedSource::new(Arc::new(Impatient), CachedSourceConfig::default());
    source
        .query_list()
        .must_register(QueryTemplate::promql("q", "up").timeout(after));
    let results = source.refresh(q()).await;
    let error = results["q"].as_ref().unwrap_err();
    assert_eq!(error.to_string(), "query q: no answer within 40ms");
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
async fn a_reader_never_waits_for_a_refresh() {
    let (gate, source) = gated(CachedSourceConfig::default());
    gate.open(1);
    source.refresh(q()).await;
    let refresh = tokio::spawn({
        let source = source.clone();
        async move { source.refresh(q()).await.is_complete() }
    });
    gate.until_calls(2).await;
    assert!(
        source.get("q", &none()).is_some(),
        "read while a refresh of the same key is under way"
    );
    gate.open(1);
    assert!(refresh.await.unwrap());
}

#[tokio::test]
async fn get_or_refresh_asks_only_for_what_does_not_hold() {
    let backend = FixedBackend::new().answer("q", one(1.0));
    let source = backend.clone().into_source();
    source
        .query_list()
        .must_register(QueryTemplate::promql("q", "up"));
    for _ in 0..3 {
        source.get_or_refresh("q", &none()).await.unwrap();
    }
    assert_eq!(backend.asked().len(), 1);
    let error = source.get_or_refresh("w", &none()).await.unwrap_err();
    assert_eq!(error.reason(), "unknown_query");
}

#[tokio::test]
async fn preparing_checks_the_question_at_once() {
    let source = FixedBackend::new().answer("q", one(1.0)).into_source();
    source
        .query_list()
        .must_register(QueryTemplate::promql("q", r#"up{n="{{.n}}"}"#).params(["n"]));
    assert_eq!(
        source.prepare("x", &none()).unwrap_err().reason(),
        "unknown_query"
    );
    assert_eq!(
        source.prepare("q", &none()).unwrap_err().reason(),
        "missing_param"
    );
    let mut prepared = source.prepare("q", &[("n", "a")].into()).unwrap();
    assert!(prepared.get().is_none());
    source.refresh(q().params([("n", "a")])).await;
    assert_eq!(prepared.get().unwrap().result().len(), 1);
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

#[tokio::test]
async fn a_backend_is_told_when_it_was_asked_and_for_what_age() {
    let fixed = FixedBackend::new().values("q", [([("pod", "a")], 1.0)]);
    let source = fixed.clone().into_source();
    source.query_list().must_register(QueryTemplate::promql("q", "q"));
    let before = std::time::Instant::now();
    source
        .refresh(RefreshSpec::all().max_age(Duration::from_secs(7)))
        .await;
    let ranged = RefreshSpec::all()
        .range(MINUTE, STEP)
        .at(Timestamp::from_millis(5));
    source.refresh(ranged).await;
    let (asked, ranged) = (&fixed.asked()[0], &fixed.asked()[1]);
    assert_eq!((asked.shape, asked.at), (Shape::Instant, None));
    let range = Shape::Range {
        window: MINUTE,
        step: STEP,
    };
    assert_eq!(
        (ranged.shape, ranged.at),
        (range, Some(Timestamp::from_millis(5)))
    );
    assert_eq!(asked.max_age, Some(Duration::from_secs(7)));
    assert!(asked.asked_at >= before && asked.asked_at <= std::time::Instant::now());
}
