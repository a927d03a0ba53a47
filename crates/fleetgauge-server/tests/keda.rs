//! KEDA's door, asked as KEDA asks it: over gRPC, through a listener.

mod hostile;
mod service;
mod stream;
mod value;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use fleetgauge_core::age::Age;
use fleetgauge_core::backend::FetchError;
use fleetgauge_core::params::Params;
use fleetgauge_core::policy::{Fold, OnNoData, Policy};
use fleetgauge_core::query::{Folds, QueryTemplate};
use fleetgauge_core::source::{FixedBackend, MetricsSource};
use fleetgauge_core::time::Clock;
use fleetgauge_core::variant::{VariantRef, Workload};
use fleetgauge_server::door::keda::proto::external_scaler_client::ExternalScalerClient;
use fleetgauge_server::door::keda::proto::{GetMetricsRequest, MetricSpec, ScaledObjectRef};
use fleetgauge_server::door::keda::{self, KedaConfig};
use fleetgauge_server::door::listener::{Listener, Tls};
use fleetgauge_server::metric::MetricSpec as Metric;
use fleetgauge_server::metric::{ForEach, MetricFold};
use fleetgauge_server::readiness::Readiness;
use fleetgauge_server::scheduler::{Fleet, Scheduler};
use fleetgauge_server::store::Store;
use fleetgauge_server::variant::Variant;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

type Scaler = ExternalScalerClient<Channel>;

/// Metrics that are kept fresh, behind a door that is open.
struct Door {
    backend: FixedBackend,
    scheduler: Scheduler,
    readiness: Readiness,
    stop: CancellationToken,
    address: SocketAddr,
    served: JoinHandle<()>,
}

// === impl Door ===

impl Door {
    async fn open() -> Self {
        Self::with(KedaConfig::default(), None).await
    }

    async fn with(config: KedaConfig, tls: Option<Tls>) -> Self {
        let backend = backend();
        let scheduler = Scheduler::new(Store::new(Clock::system()));
        let readiness = Readiness::new(scheduler.store().clone(), Duration::from_secs(3_600));
        scheduler.apply(&fleet(&backend)).unwrap();
        let limits = config.limits();
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), tls, limits)
            .await
            .unwrap();
        let stop = CancellationToken::new();
        let routes = routes(&scheduler, &readiness, config, &stop);
        Self {
            backend,
            scheduler,
            readiness,
            address: listener.address().unwrap(),
            served: tokio::spawn(listener.serve(routes, stop.clone())),
            stop,
        }
    }

    async fn channel(&self) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).unwrap();
        endpoint.connect().await.unwrap()
    }

    async fn scaler(&self) -> Scaler {
        ExternalScalerClient::new(self.channel().await)
    }

    /// Lets the query have this value from now on.
    fn set(&self, query: &str, value: f64) {
        self.backend.forget(query);
        let _ = self.backend.clone().values(query, [([("model", "m")], value)]);
    }

    async fn close(self) {
        self.stop.cancel();
        self.served.await.unwrap();
        self.scheduler.shutdown().await;
    }
}

fn routes(
    scheduler: &Scheduler,
    readiness: &Readiness,
    config: KedaConfig,
    stop: &CancellationToken,
) -> Router {
    keda::routes(scheduler.store().clone(), readiness.clone(), config, stop.clone())
}

fn backend() -> FixedBackend {
    let pod = |pod: &'static str, value: f64| ([("namespace", "chat"), ("pod", pod)], value);
    FixedBackend::new()
        .values("queue", [([("model", "m")], 2.5)])
        .values("tiny", [([("model", "m")], 0.000_4)])
        .values("negative", [([("model", "m")], -1.0)])
        .values("huge", [([("model", "m")], 1e16)])
        .values("undefined", [([("model", "m")], f64::NAN)])
        .values("old", [([("model", "m")], 1.0)])
        .ages("old", [Age::exact(Duration::from_secs(60))])
        .values(
            "models",
            [
                ([("model", "a"), ("pool", "x")], 1.0),
                ([("model", "b"), ("pool", "x")], 2.0),
            ],
        )
        .values("variants", [([("variant", "h100"), ("namespace", "chat")], 6.0)])
        .values(
            "pods",
            [
                pod("llama-7d4b9c6f5-xk2vp", 1.0),
                pod("llama-7d4b9c6f5-bcdfg", 2.0),
                pod("llama-a100-7d4b9c6f5-xk2vp", 4.0),
            ],
        )
        .failure("failing", FetchError::Aborted)
        .delay("slow", Duration::from_secs(3_600))
}

/// A metric of each query's name, with more of them where there is more than one way to read it.
fn fleet(backend: &FixedBackend) -> Fleet {
    let source = backend.clone().into_source();
    let mut fleet = Fleet::default();
    let mut metric = |query: &str, change: fn(&mut Metric)| {
        let mut metric = Metric::new(query.parse().unwrap(), "pods", query).unwrap();
        metric.every = Duration::from_millis(20);
        metric.fold = MetricFold::By(Fold::Sum);
        change(&mut metric);
        fleet.metrics.push(metric);
    };
    for query in [
        "tiny",
        "negative",
        "huge",
        "undefined",
        "failing",
        "slow",
        "nothing",
    ] {
        metric(query, |_| {});
    }
    metric("queue", |metric| metric.namespaces = vec!["chat".into()]);
    metric("old", |metric| {
        metric.policy = Policy::default().max_age(Duration::from_secs(30));
    });
    metric("models", |metric| metric.fold = MetricFold::Rows);
    metric("variants", |metric| metric.fold = MetricFold::Rows);
    metric("pods", |metric| metric.for_each = Some(ForEach::Variant));
    metric("queue", |metric| {
        metric.name = "held".parse().unwrap();
        metric.policy = Policy::default()
            .on_no_data(OnNoData::Hold)
            .hold(Duration::from_secs(3_600));
    });
    for query in fleet.metrics.iter().map(|metric| metric.query.as_str()) {
        if source.query_list().get(query).is_none() {
            let template = QueryTemplate::promql(query, "up").fold(Folds::new(Fold::Sum, Fold::Sum));
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

/// The ScaledObject `name` of the namespace `chat`, with this beside KEDA's own metadata.
fn object(name: &str, metadata: &[(&str, &str)]) -> ScaledObjectRef {
    let all = [("scalerAddress", "fleetgauge:9096"), ("target", "5")];
    let all = all.iter().chain(metadata);
    ScaledObjectRef {
        name: name.to_owned(),
        namespace: "chat".to_owned(),
        scaler_metadata: all
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect(),
    }
}

/// That of the variant `h100`.
fn h100(metric: &str) -> ScaledObjectRef {
    object("h100", &[("metric", metric)])
}

async fn numbers(scaler: &mut Scaler, object: &ScaledObjectRef) -> Result<(i64, f64), Status> {
    let metric_name = object.scaler_metadata.get("metric").cloned().unwrap_or_default();
    let request = GetMetricsRequest {
        scaled_object_ref: Some(object.clone()),
        metric_name: metric_name.clone(),
    };
    let values = scaler.get_metrics(request).await?.into_inner().metric_values;
    let [value] = &values[..] else {
        panic!("{values:?}");
    };
    assert_eq!(value.metric_name, metric_name);
    Ok((value.metric_value, value.metric_value_float))
}

async fn is_active(scaler: &mut Scaler, object: &ScaledObjectRef) -> Result<bool, Status> {
    Ok(scaler.is_active(object.clone()).await?.into_inner().result)
}

async fn spec(scaler: &mut Scaler, object: &ScaledObjectRef) -> Result<MetricSpec, Status> {
    let mut specs = scaler
        .get_metric_spec(object.clone())
        .await?
        .into_inner()
        .metric_specs;
    assert_eq!(specs.len(), 1);
    Ok(specs.remove(0))
}

/// Asks until the answer is as wanted, whenever something has changed; at most 20 s.
async fn until<T: std::fmt::Debug, F: Future<Output = T>>(
    door: &Door,
    mut ask: impl FnMut() -> F,
    is_wanted: impl Fn(&T) -> bool,
) -> T {
    let mut changes = door.scheduler.store().changes();
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

/// Waits until the metric has the number.
async fn until_number(door: &Door, object: &ScaledObjectRef, expected: f64) {
    let scaler = door.scaler().await;
    let ask = || {
        let (mut scaler, object) = (scaler.clone(), object.clone());
        async move { numbers(&mut scaler, &object).await.map(|(_, float)| float) }
    };
    until(
        door,
        ask,
        |answer| matches!(answer, Ok(float) if *float == expected),
    )
    .await
    .unwrap();
}

/// Holds that nothing comes: longer than a look at the store and the refresh of a metric take.
async fn assert_silent<T: std::fmt::Debug>(message: impl Future<Output = T>) {
    if let Ok(message) = tokio::time::timeout(Duration::from_millis(400), message).await {
        panic!("{message:?}");
    }
}
