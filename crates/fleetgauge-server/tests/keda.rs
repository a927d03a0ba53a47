//! KEDA's door, asked as KEDA asks it: over gRPC, through a listener.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, Version};
use fleetgauge_core::age::Age;
use fleetgauge_core::backend::FetchError;
use fleetgauge_core::params::Params;
use fleetgauge_core::policy::{Fold, OnNoData, Policy};
use fleetgauge_core::query::{Folds, QueryTemplate};
use fleetgauge_core::source::{FixedBackend, MetricsSource};
use fleetgauge_core::time::Clock;
use fleetgauge_core::variant::{VariantRef, Workload};
use fleetgauge_server::door::access::Access;
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
use fleetgauge_testkit::Certificates;
use fleetgauge_testkit::tls::{Client, Server};
use futures_util::future::join_all;
use futures_util::stream;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tower::ServiceExt as _;

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

#[tokio::test]
async fn a_value_is_told_as_a_whole_number_and_as_it_is() {
    let door = Door::open().await;
    let mut scaler = door.scaler().await;
    for (object, whole, float, active) in [
        (h100("queue"), 3, 2.5, true),
        (
            object("h100", &[("metric", "queue"), ("activation", "2.5")]),
            3,
            2.5,
            false,
        ),
        (
            object("h100", &[("metric", "queue"), ("activation", "2.4")]),
            3,
            2.5,
            true,
        ),
        // Three decimals is all that KEDA tells of a number, and 0.000 would be none.
        (h100("tiny"), 1, 0.001, true),
        // A row for each variant: that of the variant's own pods.
        (h100("pods"), 3, 3.0, true),
        (object("a100", &[("metric", "pods")]), 4, 4.0, true),
        (
            object("other", &[("metric", "pods"), ("selector", "variant=a100")]),
            4,
            4.0,
            true,
        ),
        (h100("variants"), 6, 6.0, true),
        (
            object(
                "h100",
                &[("metric", "models"), ("selector", "model=b, pool=x, scope=")],
            ),
            2,
            2.0,
            true,
        ),
    ] {
        until_number(&door, &object, float).await;
        assert_eq!(
            numbers(&mut scaler, &object).await.unwrap(),
            (whole, float),
            "{object:?}"
        );
        assert_eq!(
            is_active(&mut scaler, &object).await.unwrap(),
            active,
            "{object:?}"
        );
    }
    // One that is held is a number.
    door.backend.forget("queue");
    let ask = || {
        let mut scaler = scaler.clone();
        async move { numbers(&mut scaler, &h100("queue")).await }
    };
    assert!(until(&door, ask, Result::is_err).await.is_err());
    assert_eq!(numbers(&mut scaler, &h100("held")).await.unwrap(), (3, 2.5));
    assert!(is_active(&mut scaler, &h100("held")).await.unwrap());
    // Zero that was measured is zero, and there is no work.
    door.set("queue", 0.0);
    until_number(&door, &h100("queue"), 0.0).await;
    assert_eq!(numbers(&mut scaler, &h100("queue")).await.unwrap(), (0, 0.0));
    assert!(!is_active(&mut scaler, &h100("queue")).await.unwrap());
    door.close().await;
}

#[tokio::test]
async fn whatever_is_absent_is_an_error_with_its_reason() {
    let door = Door::open().await;
    let mut scaler = door.scaler().await;
    let selector = |metric: &'static str, selector: &'static str| {
        object("h100", &[("metric", metric), ("selector", selector)])
    };
    let elsewhere = |metric: &str| ScaledObjectRef {
        namespace: "elsewhere".to_owned(),
        ..h100(metric)
    };
    // Whether the specification is told all the same.
    let (told, refused) = (true, false);
    for (object, code, text, has_spec) in [
        (
            h100("slow"),
            Code::Unavailable,
            "metric slow: never_refreshed",
            told,
        ),
        (
            selector("slow", "model=m"),
            Code::Unavailable,
            "never_refreshed",
            told,
        ),
        (h100("failing"), Code::Unavailable, "metric failing: failed", told),
        (selector("failing", "model=m"), Code::Unavailable, "failed", told),
        (
            h100("nothing"),
            Code::Unavailable,
            "metric nothing: no_data",
            told,
        ),
        (
            h100("undefined"),
            Code::Unavailable,
            "metric undefined: undefined",
            told,
        ),
        (h100("old"), Code::Unavailable, "metric old: too_old", told),
        (h100("negative"), Code::OutOfRange, "it is -1", told),
        (h100("huge"), Code::OutOfRange, "it is 10000000000000000", told),
        // Rows: which one, and whose.
        (
            h100("models"),
            Code::InvalidArgument,
            "2 of its rows are meant: select one by `selector: LABEL=VALUE` of model",
            told,
        ),
        (
            selector("models", "pool=x"),
            Code::InvalidArgument,
            "of model",
            told,
        ),
        (
            selector("models", "model=c"),
            Code::Unavailable,
            "no_data: it has no row of model=\"c\"",
            told,
        ),
        (
            selector("models", "modle=a"),
            Code::FailedPrecondition,
            "the label \"modle\"; they have model, pool",
            told,
        ),
        (
            selector("queue", "model=m"),
            Code::FailedPrecondition,
            "they have no labels",
            told,
        ),
        (
            selector("models", "model"),
            Code::InvalidArgument,
            "`label=value`",
            refused,
        ),
        (
            object("b200", &[("metric", "pods")]),
            Code::FailedPrecondition,
            "no variant \"b200\" in the namespace \"chat\"",
            told,
        ),
        (
            elsewhere("pods"),
            Code::FailedPrecondition,
            "no variant \"h100\" in the namespace \"elsewhere\"",
            told,
        ),
        // Its only row is another variant's.
        (
            object("a100", &[("metric", "variants")]),
            Code::Unavailable,
            "no row of variant=\"a100\"",
            told,
        ),
        (
            elsewhere("variants"),
            Code::Unavailable,
            "namespace=\"elsewhere\"",
            told,
        ),
        // Metrics: one that is not there, and one that others may see.
        (
            h100("queu"),
            Code::NotFound,
            "no metric \"queu\" that the namespace \"chat\" may see; did you mean \"queue\"?",
            refused,
        ),
        (
            elsewhere("queue"),
            Code::NotFound,
            "no metric \"queue\" that the namespace \"elsewhere\" may see",
            refused,
        ),
        (
            elsewhere("queu"),
            Code::NotFound,
            "no metric \"queu\" that the namespace \"elsewhere\" may see",
            refused,
        ),
        // Metadata.
        (
            object("h100", &[]),
            Code::InvalidArgument,
            "lacks `metric`",
            refused,
        ),
        (
            object("h100", &[("metric", "queue"), ("target", "0")]),
            Code::InvalidArgument,
            "`target`",
            refused,
        ),
        (
            object("h100", &[("metric", "queue"), ("activationTarget", "3")]),
            Code::InvalidArgument,
            "did you mean `activation`?",
            refused,
        ),
    ] {
        let is_wanted = |status: &Status| status.code() == code && status.message().contains(text);
        let asked = scaler.clone();
        let ask = || {
            let (mut scaler, object) = (asked.clone(), object.clone());
            async move { numbers(&mut scaler, &object).await }
        };
        let answer = until(&door, ask, |answer| answer.as_ref().is_err_and(is_wanted)).await;
        let status = answer.unwrap_err();
        assert!(!status.message().contains("2.5"), "{status}");
        assert_eq!(
            status.message().contains("did you mean"),
            text.contains("did you mean"),
            "{status}"
        );
        let status = is_active(&mut scaler, &object).await.unwrap_err();
        assert!(is_wanted(&status), "{object:?}: {status}");
        match spec(&mut scaler, &object).await {
            Ok(spec) => assert!(has_spec && spec.target_size == 5, "{object:?}: {spec:?}"),
            Err(status) => assert!(!has_spec && is_wanted(&status), "{object:?}: {status}"),
        }
    }
    let request = GetMetricsRequest {
        scaled_object_ref: Some(h100("queue")),
        metric_name: "s0-queue".to_owned(),
    };
    let status = scaler.get_metrics(request).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    door.close().await;
}

#[tokio::test]
async fn a_metric_is_held_to_what_its_trigger_says() {
    let door = Door::open().await;
    let mut scaler = door.scaler().await;
    for (target, whole, float) in [
        ("5", 5, 5.0),
        ("2.5", 2, 2.5),
        ("0.25", 1, 0.25),
        ("1e15", 1_000_000_000_000_000, 1e15),
    ] {
        // There is no data, and none will come.
        let object = object("h100", &[("metric", "slow"), ("target", target)]);
        let expected = MetricSpec {
            metric_name: "slow".to_owned(),
            target_size: whole,
            target_size_float: float,
        };
        assert_eq!(spec(&mut scaler, &object).await.unwrap(), expected);
        let mut stream = scaler.stream_metric_spec(object).await.unwrap().into_inner();
        let told = stream.message().await.unwrap().unwrap();
        assert_eq!(told.metric_specs, [expected]);
        assert_silent(stream.message()).await;
    }
    let status = scaler.stream_metric_spec(h100("queu")).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    door.close().await;
}

/// Holds that nothing comes: longer than a look at the store and the refresh of a metric take.
async fn assert_silent<T: std::fmt::Debug>(message: impl Future<Output = T>) {
    if let Ok(message) = tokio::time::timeout(Duration::from_millis(400), message).await {
        panic!("{message:?}");
    }
}

#[tokio::test]
async fn work_is_told_when_it_comes_and_when_it_goes() {
    let door = Door::open().await;
    let mut scaler = door.scaler().await;
    let object = object("h100", &[("metric", "queue"), ("activation", "3")]);
    until_number(&door, &object, 2.5).await;
    let stream = scaler.stream_is_active(object.clone()).await;
    let mut stream = stream.unwrap().into_inner();
    let mut next = async || stream.message().await.unwrap().unwrap().result;
    assert!(!next().await);

    // The slowest of them tells of this machine; the fastest tells of the door.
    let mut fastest = Duration::MAX;
    for value in [4.0, 0.0, 4.0, 0.0, 4.0] {
        let since = Instant::now();
        door.set("queue", value);
        assert_eq!(next().await, value > 3.0);
        fastest = fastest.min(since.elapsed());
    }
    assert!(fastest < Duration::from_secs(1), "{fastest:?}");

    // Another number, and none at all, are no news of whether there is work.
    door.set("queue", 5.0);
    until_number(&door, &object, 5.0).await;
    assert_silent(next()).await;
    door.backend.forget("queue");
    let asked = scaler.clone();
    let ask = || async { is_active(&mut asked.clone(), &object).await };
    assert!(until(&door, ask, Result::is_err).await.is_err());
    assert_silent(next()).await;
    door.set("queue", 6.0);
    until_number(&door, &object, 6.0).await;
    assert_silent(next()).await;
    door.set("queue", 0.0);
    assert!(!next().await);

    // One that opens while there is no number is told the first that comes.
    door.backend.forget("queue");
    let ask = || async { is_active(&mut asked.clone(), &object).await };
    assert!(until(&door, ask, Result::is_err).await.is_err());
    let mut late = scaler
        .stream_is_active(object.clone())
        .await
        .unwrap()
        .into_inner();
    assert_silent(late.message()).await;
    door.set("queue", 7.0);
    assert!(late.message().await.unwrap().unwrap().result);
    assert!(next().await);

    // What no time will mend ends it, or does not let it begin.
    let status = scaler.stream_is_active(h100("queu")).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    let mut fleet = fleet(&door.backend);
    fleet.metrics.retain(|metric| metric.name.as_str() != "queue");
    door.scheduler.apply(&fleet).unwrap();
    assert_eq!(late.message().await.unwrap_err().code(), Code::NotFound);
    door.close().await;
}

#[tokio::test]
async fn streams_end_well_when_the_door_closes_and_when_their_caller_gives_up() {
    let door = Door::open().await;
    let mut scaler = door.scaler().await;
    let mut activity = scaler.stream_is_active(h100("slow")).await.unwrap().into_inner();
    let mut specs = scaler
        .stream_metric_spec(h100("slow"))
        .await
        .unwrap()
        .into_inner();
    assert!(specs.message().await.unwrap().is_some());

    let mut request = tonic::Request::new(h100("slow"));
    request.set_timeout(Duration::from_millis(500));
    let mut short = scaler.stream_is_active(request).await.unwrap().into_inner();
    assert_eq!(short.message().await.unwrap_err().code(), Code::DeadlineExceeded);

    let since = Instant::now();
    door.close().await;
    // The listener would have cut them after 5 s, which is an error.
    assert!(since.elapsed() < Duration::from_secs(4));
    assert!(activity.message().await.unwrap().is_none());
    assert!(specs.message().await.unwrap().is_none());
}

#[tokio::test]
async fn it_says_whether_it_serves_and_what() {
    let mut config = KedaConfig::default();
    config.access = Access::new(Some("secret"), false);
    let door = Door::with(config, None).await;
    let channel = door.channel().await;
    let mut health = HealthClient::new(channel.clone());
    let of = |service: &str| HealthCheckRequest {
        service: service.to_owned(),
    };
    let is = |status: ServingStatus| HealthCheckResponse {
        status: status.into(),
    };
    // One metric has no answer yet.
    let mut watched = health.watch(of("")).await.unwrap().into_inner();
    assert_eq!(
        watched.message().await.unwrap().unwrap(),
        is(ServingStatus::NotServing)
    );
    let mut fleet = fleet(&door.backend);
    fleet.metrics.retain(|metric| metric.name.as_str() != "slow");
    door.scheduler.apply(&fleet).unwrap();
    assert_eq!(
        watched.message().await.unwrap().unwrap(),
        is(ServingStatus::Serving)
    );
    for service in ["", "externalscaler.ExternalScaler"] {
        let checked = health.check(of(service)).await.unwrap().into_inner();
        assert_eq!(checked, is(ServingStatus::Serving));
    }
    let status = health.check(of("other")).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    let mut other = health.watch(of("other")).await.unwrap().into_inner();
    assert_eq!(
        other.message().await.unwrap().unwrap(),
        is(ServingStatus::ServiceUnknown)
    );
    door.readiness.end();
    assert_eq!(
        watched.message().await.unwrap().unwrap(),
        is(ServingStatus::NotServing)
    );

    // The rest is for those who have the token.
    let mut stranger = door.scaler().await;
    let status = numbers(&mut stranger, &h100("queue")).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated, "{status}");
    let asks = |request: MessageRequest| {
        let message = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(request),
        };
        let mut request = tonic::Request::new(stream::iter([message]));
        let token = "Bearer secret".parse().unwrap();
        request.metadata_mut().insert("authorization", token);
        let mut reflection = ServerReflectionClient::new(channel.clone());
        async move {
            let mut answers = reflection
                .server_reflection_info(request)
                .await
                .unwrap()
                .into_inner();
            answers
                .message()
                .await
                .unwrap()
                .unwrap()
                .message_response
                .unwrap()
        }
    };
    let MessageResponse::ListServicesResponse(services) =
        asks(MessageRequest::ListServices(String::new())).await
    else {
        panic!("no list of services");
    };
    let mut names: Vec<_> = services.service.into_iter().map(|service| service.name).collect();
    names.sort();
    assert_eq!(
        names,
        [
            "externalscaler.ExternalScaler",
            "grpc.health.v1.Health",
            "grpc.reflection.v1.ServerReflection",
        ]
    );
    let symbol = "externalscaler.ExternalScaler.StreamMetricSpec".to_owned();
    let file = asks(MessageRequest::FileContainingSymbol(symbol)).await;
    assert!(
        matches!(file, MessageResponse::FileDescriptorResponse(_)),
        "{file:?}"
    );
    door.close().await;
}

#[tokio::test]
async fn it_speaks_tls_and_asks_for_certificates() {
    let certificates = Certificates::generate().unwrap();
    let read = |path| std::fs::read(path).unwrap();
    let identity = |kind| {
        let client = certificates.client(kind).unwrap();
        Identity::from_pem(read(client.cert), read(client.key))
    };
    let trusting = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(read(certificates.ca())))
        .domain_name("localhost");
    let plain = certificates.server_config(Server::Valid).unwrap();
    let mutual = certificates.server_config_requiring_client().unwrap();
    let valid = trusting.clone().identity(identity(Client::Valid));
    let wrong = trusting.clone().identity(identity(Client::WrongCa));
    for (server, clients) in [
        (plain, [(&trusting, true), (&valid, true), (&wrong, true)]),
        (mutual, [(&trusting, false), (&valid, true), (&wrong, false)]),
    ] {
        let door = Door::with(KedaConfig::default(), Some(Tls::new(Arc::new(server)))).await;
        for (client, expected) in clients {
            let endpoint = Endpoint::from_shared(format!("https://{}", door.address)).unwrap();
            let channel = endpoint.tls_config(client.clone()).unwrap().connect_lazy();
            let mut scaler = ExternalScalerClient::new(channel);
            let told = spec(&mut scaler, &h100("queue")).await;
            assert_eq!(told.is_ok(), expected, "{told:?}");
        }
        let mut scaler = ExternalScalerClient::new(
            Endpoint::from_shared(format!("http://{}", door.address))
                .unwrap()
                .connect_lazy(),
        );
        assert!(spec(&mut scaler, &h100("queue")).await.is_err());
        door.close().await;
    }
}

#[tokio::test]
async fn a_thousand_streams_are_told_and_cost_the_others_nothing() {
    let mut config = KedaConfig::default();
    config.max_streams = 1_000;
    let door = Door::with(config, None).await;
    let mut fleet = fleet(&door.backend);
    fleet.metrics.retain(|metric| metric.name.as_str() == "queue");
    fleet.metrics[0].every = Duration::from_millis(200);
    door.scheduler.apply(&fleet).unwrap();
    until_number(&door, &h100("queue"), 2.5).await;
    let scaler = door.scaler().await;
    let open = |_| {
        let mut scaler = scaler.clone();
        async move {
            let mut stream = scaler.stream_is_active(h100("queue")).await.unwrap().into_inner();
            assert!(stream.message().await.unwrap().unwrap().result);
            stream
        }
    };
    let mut streams = join_all((0..1_000).map(open)).await;

    // One more is refused and not kept waiting, on this connection and on another one; numbers are told on both.
    let mut other = door.scaler().await;
    for scaler in [&mut scaler.clone(), &mut other] {
        let status = scaler.stream_is_active(h100("queue")).await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
        for _ in 0..20 {
            assert_eq!(numbers(scaler, &h100("queue")).await.unwrap(), (3, 2.5));
        }
    }
    door.set("queue", 0.0);
    let told = join_all(streams.iter_mut().map(|stream| stream.message())).await;
    assert!(told.into_iter().all(|told| !told.unwrap().unwrap().result));

    // Whoever goes makes room.
    streams.truncate(999);
    let ask = || async { scaler.clone().stream_is_active(h100("queue")).await };
    until(&door, ask, Result::is_ok).await.unwrap();
    door.close().await;
}

#[tokio::test]
async fn a_client_that_misbehaves_costs_the_others_nothing() {
    let mut config = KedaConfig::default();
    config.max_streams = 8;
    let door = Door::with(config, None).await;
    until_number(&door, &h100("queue"), 2.5).await;
    let mut scaler = door.scaler().await;

    // Too large to be read.
    let mut large = h100("queue");
    large
        .scaler_metadata
        .insert("comment".to_owned(), "x".repeat(64 << 10));
    let status = door.scaler().await.is_active(large).await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange, "{status}");
    assert_eq!(numbers(&mut scaler, &h100("queue")).await.unwrap(), (3, 2.5));

    // Streams that are taken back as soon as they are asked for, until the connection is cut.
    let storms = (0..4).map(|_| reset_storm(door.address));
    let asking = async {
        for _ in 0..50 {
            assert_eq!(numbers(&mut scaler, &h100("queue")).await.unwrap(), (3, 2.5));
        }
    };
    tokio::join!(join_all(storms), asking);
    // They have left nothing open.
    let asked = scaler.clone();
    let ask = || async {
        let open = (0..8).map(|_| {
            let mut scaler = asked.clone();
            async move { scaler.stream_is_active(h100("queue")).await }
        });
        join_all(open).await.into_iter().collect::<Result<Vec<_>, _>>()
    };
    until(&door, ask, Result::is_ok).await.unwrap();
    door.close().await;
}

/// Opens streams and resets each at once, 20,000 of them, or until the server no longer wants to hear of it.
async fn reset_storm(address: SocketAddr) {
    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = length[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        frame
    }
    const HEADERS: u8 = 1;
    const RST_STREAM: u8 = 3;
    const SETTINGS: u8 = 4;
    const END_HEADERS: u8 = 4;
    const CANCEL: u32 = 8;
    // `:method: POST` and `:scheme: http` of the static table, then a path and the type of the content.
    let mut head = vec![0x83, 0x86];
    for (name, value) in [
        (&[0x04][..], "/externalscaler.ExternalScaler/StreamIsActive"),
        (&[0x01], "localhost"),
        (&[0x0f, 0x10], "application/grpc"),
    ] {
        head.extend(name);
        head.push(u8::try_from(value.len()).unwrap());
        head.extend(value.bytes());
    }
    let (mut reader, mut writer) = TcpStream::connect(address).await.unwrap().into_split();
    let mut drain = tokio::spawn(async move {
        let mut buffer = [0; 4_096];
        while reader.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
    });
    let mut begin = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    begin.extend(frame(SETTINGS, 0, 0, &[]));
    writer.write_all(&begin).await.unwrap();
    for chunk in 0..200 {
        let mut frames = Vec::new();
        for at in 0..100 {
            let stream = 2 * (chunk * 100 + at) + 1;
            frames.extend(frame(HEADERS, END_HEADERS, stream, &head));
            frames.extend(frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes()));
        }
        if writer.write_all(&frames).await.is_err() {
            break;
        }
    }
    let cut = tokio::time::timeout(Duration::from_secs(10), &mut drain).await;
    assert!(cut.is_ok(), "the connection goes on");
}

#[tokio::test(start_paused = true)]
async fn half_a_request_is_not_waited_for_and_http_1_is_refused() {
    let scheduler = Scheduler::new(Store::new(Clock::system()));
    let readiness = Readiness::new(scheduler.store().clone(), Duration::ZERO);
    let routes = routes(
        &scheduler,
        &readiness,
        KedaConfig::default(),
        &CancellationToken::new(),
    );
    let half = |version: Version, timeout: Option<&str>| {
        let mut request = Request::post("/externalscaler.ExternalScaler/GetMetrics")
            .version(version)
            .header("content-type", "application/grpc");
        if let Some(timeout) = timeout {
            request = request.header("grpc-timeout", timeout);
        }
        let never = stream::pending::<Result<Vec<u8>, std::io::Error>>();
        routes
            .clone()
            .oneshot(request.body(Body::from_stream(never)).unwrap())
    };
    for (timeout, expected, within) in [
        (None, Code::DeadlineExceeded, Duration::from_secs(10)),
        (Some("200m"), Code::DeadlineExceeded, Duration::from_millis(200)),
        (Some("1H"), Code::DeadlineExceeded, Duration::from_secs(10)),
        (Some("soon"), Code::InvalidArgument, Duration::ZERO),
    ] {
        let since = tokio::time::Instant::now();
        let response = half(Version::HTTP_2, timeout).await.unwrap();
        let status = Status::from_header_map(response.headers()).unwrap();
        assert_eq!(status.code(), expected, "{timeout:?}: {status}");
        let waited = since.elapsed();
        assert!(
            waited >= within && waited < within + Duration::from_millis(100),
            "{waited:?}"
        );
    }
    let response = half(Version::HTTP_11, None).await.unwrap();
    assert_eq!(response.status(), StatusCode::HTTP_VERSION_NOT_SUPPORTED);
}

#[tokio::test]
async fn the_documented_scaled_object_is_understood() {
    let docs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/keda.md");
    let text = std::fs::read_to_string(docs).unwrap();
    let (_, trigger) = text.split_once("external-push\n      metadata:\n").unwrap();
    let pairs = trigger
        .lines()
        .map_while(|line| line.strip_prefix("        ")?.split_once(": "));
    let metadata: Vec<_> = pairs.map(|(key, value)| (key, value.trim_matches('"'))).collect();
    assert_eq!(metadata.len(), 4, "{metadata:?}");
    let door = Door::open().await;
    let mut object = object("llama-8b-autoscaler", &metadata);
    let named = object
        .scaler_metadata
        .insert("metric".to_owned(), "queue".to_owned());
    assert_eq!(named.as_deref(), Some("variant_queue"));
    let spec = spec(&mut door.scaler().await, &object).await.unwrap();
    assert_eq!((spec.target_size, spec.target_size_float), (5, 5.0));
    door.close().await;
}
