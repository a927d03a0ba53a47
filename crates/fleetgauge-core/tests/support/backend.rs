//! Backends that wait and fail on command, and sources over them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use fleetgauge_core::backend::{Backend, FetchError, Request};
use fleetgauge_core::params::Params;
use fleetgauge_core::query::QueryTemplate;
use fleetgauge_core::result::{Answer, AnswerBuilder};
use fleetgauge_core::sample::Stamp;
use fleetgauge_core::source::{
    CachedSource, CachedSourceConfig, FixedBackend, FixedSource, MetricsSource, RefreshSpec,
};
use fleetgauge_core::time::Timestamp;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::Semaphore;

/// A backend whose fetches wait until the test lets them through.
#[derive(Clone, Default)]
pub(crate) struct Gate(pub(crate) Arc<GateState>);

pub(crate) struct GateState {
    pub(crate) open: Semaphore,
    pub(crate) calls: AtomicUsize,
    pub(crate) with_backend: AtomicUsize,
    pub(crate) most_at_once: AtomicUsize,
    /// Whether the query `panics` does.
    pub(crate) panics: AtomicBool,
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
    pub(crate) fn open(&self, count: usize) {
        self.0.open.add_permits(count);
    }

    pub(crate) fn calls(&self) -> usize {
        self.0.calls.load(SeqCst)
    }

    pub(crate) async fn until_calls(&self, count: usize) {
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

pub(crate) fn one(value: f64) -> Answer {
    let mut answer = AnswerBuilder::new(Stamp::Evaluated);
    answer
        .series([("pod", "a")], value, Timestamp::default())
        .unwrap();
    answer.build()
}

pub(crate) fn unavailable(retry_after: Option<Duration>) -> FetchError {
    FetchError::Unavailable {
        status: 503,
        message: "busy".into(),
        retry_after,
    }
}

pub(crate) fn gated(config: CachedSourceConfig) -> (Gate, CachedSource) {
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
pub(crate) fn retrying(backend: FixedBackend) -> FixedSource {
    let source = CachedSource::new(Arc::new(backend), CachedSourceConfig::default());
    source
        .query_list()
        .must_register(QueryTemplate::promql("q", "up"));
    source
}

pub(crate) fn q() -> RefreshSpec {
    RefreshSpec::queries(["q"])
}

pub(crate) fn none() -> Params {
    Params::new()
}
