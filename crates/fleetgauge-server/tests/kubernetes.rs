//! The door of the External and Custom Metrics API, asked as Kubernetes asks it.

mod answers;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderValue, Request};
use fleetgauge_core::age::Age;
use fleetgauge_core::backend::FetchError;
use fleetgauge_core::completeness::Completeness;
use fleetgauge_core::params::Params;
use fleetgauge_core::policy::{Fold, OnNoData, Policy};
use fleetgauge_core::query::{Folds, QueryTemplate};
use fleetgauge_core::source::{FixedBackend, MetricsSource};
use fleetgauge_core::time::Clock;
use fleetgauge_core::variant::{VariantRef, Workload};
use fleetgauge_server::door::kubernetes;
use fleetgauge_server::door::kubernetes::caller::{Access, Cluster, Unanswered, User, Verdict};
use fleetgauge_server::door::kubernetes::pods::{Pod, PodLabels, PodsUnknown};
use fleetgauge_server::door::kubernetes::trust::Trust;
use fleetgauge_server::metric::{ForEach, MetricFold, MetricSpec};
use fleetgauge_server::readiness::Readiness;
use fleetgauge_server::scheduler::{Fleet, Scheduler};
use fleetgauge_server::store::Store;
use fleetgauge_server::variant::Variant;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http_body_util::BodyExt as _;
use serde_json::Value;
use tower::ServiceExt as _;

/// Metrics that are kept fresh, and the routes over them.
struct Door {
    backend: FixedBackend,
    scheduler: Scheduler,
    router: Router,
}

/// An answer: status, headers and body.
#[derive(Debug)]
struct Answer {
    code: u16,
    headers: HeaderMap,
    body: Value,
}

// === impl Door ===

impl Door {
    fn open() -> Self {
        let backend = backend();
        let scheduler = Scheduler::new(Store::new(Clock::system()));
        let readiness = Readiness::new(scheduler.store().clone(), Duration::from_secs(3_600));
        scheduler.apply(&fleet(&backend)).unwrap();
        let router = kubernetes::routes(scheduler.store().clone(), readiness, Arc::new(Anyone), Pods);
        Self {
            backend,
            scheduler,
            router,
        }
    }

    async fn send(&self, mut request: Request<Body>) -> Answer {
        let token = HeaderValue::from_static("Bearer anyone");
        request.headers_mut().insert(AUTHORIZATION, token);
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer {
            code: head.status.as_u16(),
            headers: head.headers,
            body: serde_json::from_slice(&body).unwrap_or_default(),
        }
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    /// Of the namespace `chat`.
    async fn external(&self, rest: &str) -> Answer {
        self.get(&format!(
            "/apis/external.metrics.k8s.io/v1beta1/namespaces/chat/{rest}"
        ))
        .await
    }

    async fn custom(&self, rest: &str) -> Answer {
        self.get(&format!(
            "/apis/custom.metrics.k8s.io/v1beta2/namespaces/chat/{rest}"
        ))
        .await
    }

    /// Asks until the answer is as wanted, whenever something has changed; at most 20 s.
    async fn until(
        &self,
        mut ask: impl AsyncFnMut() -> Answer,
        is_wanted: impl Fn(&Answer) -> bool,
    ) -> Answer {
        let mut changes = self.scheduler.store().changes();
        let since = Instant::now();
        loop {
            changes.borrow_and_update();
            let answer = ask().await;
            if is_wanted(&answer) {
                return answer;
            }
            assert!(since.elapsed() < Duration::from_secs(20), "{answer:?}");
            let _ = tokio::time::timeout(Duration::from_secs(1), changes.changed()).await;
        }
    }

    /// All queries that answer have answered.
    async fn settled(&self) {
        let store = self.scheduler.store();
        let mut changes = store.changes();
        let since = Instant::now();
        let is_known = || {
            let entries = store.all();
            let mut answering = entries
                .iter()
                .filter(|entry| entry.spec().query.as_str() != "slow");
            answering.all(|entry| {
                let snapshot = entry.read(store.clock());
                let mut codes = snapshot.rows().filter_map(|row| row.refusal());
                !codes.any(|(code, _)| code.as_str() == "never_refreshed")
            })
        };
        while !is_known() {
            assert!(since.elapsed() < Duration::from_secs(20));
            let _ = tokio::time::timeout(Duration::from_secs(1), changes.changed()).await;
        }
    }

    async fn close(self) {
        self.scheduler.shutdown().await;
    }
}

// === impl Answer ===

impl Answer {
    fn message(&self) -> &str {
        self.body["message"].as_str().unwrap_or_default()
    }

    /// The values, in order.
    fn values(&self) -> Vec<&str> {
        let items = self.body["items"]
            .as_array()
            .unwrap_or_else(|| panic!("{self:?}"));
        items.iter().map(|item| item["value"].as_str().unwrap()).collect()
    }
}

/// A cluster in which everybody may do everything; who may not is in the door's own tests.
struct Anyone;

impl Cluster for Anyone {
    fn trust(&self) -> Result<Arc<Trust>, Unanswered> {
        Err(Unanswered("no certificate is shown here".to_owned()))
    }

    fn whose<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Option<User>, Unanswered>> {
        let user = User {
            name: token.to_owned(),
            ..User::default()
        };
        async { Ok(Some(user)) }.boxed()
    }

    fn may<'a>(&'a self, _: &'a User, _: &'a Access) -> BoxFuture<'a, Result<Verdict, Unanswered>> {
        let verdict = Verdict {
            is_allowed: true,
            reason: String::new(),
        };
        async { Ok(verdict) }.boxed()
    }
}

/// The pods of the namespace `chat`.
struct Pods;

impl PodLabels for Pods {
    fn select(
        &self,
        namespace: &str,
        is_selected: &dyn Fn(&BTreeMap<String, String>) -> bool,
    ) -> Result<Vec<Pod>, PodsUnknown> {
        if namespace != "chat" {
            return Err(PodsUnknown("pods have not been listed yet".to_owned()));
        }
        let all = [
            ("llama-0", "llama", true),
            ("llama-1", "llama", true),
            ("llama-2", "llama", true),
            ("llama-3", "llama", false),
            ("qwen-0", "qwen", true),
            ("twice-0", "twice", true),
        ];
        let is_selected =
            |(_, app, _): &(&str, &str, bool)| is_selected(&[("app".to_owned(), (*app).to_owned())].into());
        let selected = all.into_iter().filter(is_selected);
        let pods = selected.map(|(name, _, is_expected)| Pod {
            name: name.to_owned(),
            is_expected,
        });
        Ok(pods.collect())
    }
}

fn backend() -> FixedBackend {
    let pod = |pod: &'static str, value: f64| ([("namespace", "chat"), ("pod", pod)], value);
    FixedBackend::new()
        .values("queue", [([("model", "m")], 2.5)])
        .ages("queue", [Age::exact(Duration::from_secs(20))])
        .values("tiny", [([("model", "m")], 1e-12)])
        .values("huge", [([("model", "m")], 1e16)])
        .values("undefined", [([("model", "m")], f64::NAN)])
        .values("zero", [([("model", "m")], 0.0)])
        .values("old", [([("model", "m")], 1.0)])
        .ages("old", [Age::exact(Duration::from_secs(60))])
        .values(
            "raw",
            [
                ([("model", "a"), ("namespace", "chat")], 1.0),
                ([("model", "b"), ("namespace", "chat")], 2.25),
                ([("model", "c"), ("namespace", "chat")], f64::NAN),
                ([("model", "d"), ("namespace", "elsewhere")], 8.0),
            ],
        )
        .values("kv", [pod("llama-0", 0.9), pod("llama-1", 0.9)])
        .values("unsaid", [pod("llama-0", 1.0), pod("llama-1", 1.0)])
        .values("window", [([("model", "m")], 4.0)])
        .values(
            "pods",
            [
                pod("llama-7d4b9c6f5-xk2vp", 1.0),
                pod("llama-7d4b9c6f5-bcdfg", 2.0),
                pod("llama-a100-7d4b9c6f5-xk2vp", 4.0),
            ],
        )
        .values("backlog", [([("namespace", "chat")], 5.0)])
        .values(
            "each",
            [
                pod("llama-0", 1.0),
                pod("llama-1", 1.5),
                pod("llama-2", f64::NAN),
                pod("qwen-0", 7.0),
                pod("gone-0", 9.0),
                ([("namespace", "elsewhere"), ("pod", "llama-2")], 5.0),
            ],
        )
        .completeness("each", Completeness::known())
        .values(
            "twice",
            [
                ([("namespace", "chat"), ("pod", "twice-0"), ("gpu", "0")], 1.0),
                ([("namespace", "chat"), ("pod", "twice-0"), ("gpu", "1")], 2.0),
            ],
        )
        .values("nowhere", [([("pod", "llama-0")], 1.0)])
        .failure("failing", FetchError::Aborted)
        .delay("slow", Duration::from_secs(3_600))
}

/// A metric of each query's name, with more of them where there is more than one way to read it.
fn fleet(backend: &FixedBackend) -> Fleet {
    let source = backend.clone().into_source();
    let mut fleet = Fleet::default();
    let mut metric = |name: &str, query: &str, change: &dyn Fn(&mut MetricSpec)| {
        let mut spec = MetricSpec::new(name.parse().unwrap(), "pods", query).unwrap();
        spec.every = Duration::from_millis(50);
        change(&mut spec);
        fleet.metrics.push(spec);
    };
    for query in [
        "queue",
        "tiny",
        "huge",
        "undefined",
        "zero",
        "failing",
        "slow",
        "nothing",
        "kv",
        "window",
    ] {
        metric(query, query, &|_| {});
    }
    let rows = |metric: &mut MetricSpec| metric.fold = MetricFold::Rows;
    for query in ["raw", "each", "twice", "nowhere", "unsaid"] {
        metric(query, query, &rows);
    }
    metric("kv-raw", "kv", &rows);
    metric("backlog", "backlog", &|metric| {
        metric.for_each = Some(ForEach::Variant)
    });
    metric("pods", "pods", &|metric| metric.for_each = Some(ForEach::Variant));
    metric("private", "queue", &|metric| {
        metric.namespaces = vec!["elsewhere".into()]
    });
    metric("old", "old", &|metric| {
        metric.policy = Policy::default().max_age(Duration::from_secs(30));
    });
    metric("held", "queue", &|metric| {
        metric.policy = Policy::default()
            .on_no_data(OnNoData::Hold)
            .hold(Duration::from_secs(3_600));
    });
    metric("half", "each", &|metric| {
        metric.fold = MetricFold::Rows;
        metric.policy = Policy::default().min_completeness(0.7);
        metric.knows_completeness = true;
    });
    let folds = |query: &str| match query {
        "kv" => Some(Folds::new(Fold::Mean, Fold::Mean)),
        "unsaid" => None,
        _ => Some(Folds::new(Fold::Sum, Fold::Sum)),
    };
    for query in fleet.metrics.iter().map(|metric| metric.query.as_str()) {
        if source.query_list().get(query).is_none() {
            let text = if query == "window" {
                "sum(rate(requests_total[90s]))"
            } else {
                "up"
            };
            let mut template = QueryTemplate::promql(query, text);
            template.fold = folds(query);
            source.query_list().must_register(template);
        }
    }
    let variant = |name: &str, deployment: &str| Variant {
        variant: VariantRef::new("chat", name).unwrap(),
        workload: Workload::deployment(deployment),
        params: Params::new(),
        models: Vec::new(),
    };
    fleet.variants = vec![variant("h100", "llama"), variant("a100", "llama-a100")];
    let source: Arc<dyn MetricsSource> = Arc::new(source);
    fleet.sources.insert("pods".to_owned(), source);
    fleet
}
