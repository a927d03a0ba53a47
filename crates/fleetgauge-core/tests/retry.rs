//! What is tried again, how often, and until when.
#![allow(clippy::unwrap_used, missing_docs)]

use std::sync::Arc;
use std::time::Duration;

use fleetgauge_core::backend::{Backend, FetchError, Request};
use fleetgauge_core::query::QueryTemplate;
use fleetgauge_core::result::Answer;
use fleetgauge_core::source::{CachedSource, CachedSourceConfig, FixedBackend, MetricsSource, RefreshSpec};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::support::backend::{none, one, q, retrying, unavailable};

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
