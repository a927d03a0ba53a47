//! The ways to be absent by door: in no cell a number stands for what is not there, and each says why.

#[path = "../../fleetgauge/tests/absence/world.rs"]
#[allow(dead_code)]
mod world;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, BodyDataStream};
use axum::http::Request;
use fleetgauge_core::policy::{Fold, OnError, OnIncomplete, OnNoData, OnUndefined, Policy};
use fleetgauge_core::query::QueryTemplate;
use fleetgauge_core::source::{FixedBackend, MetricsSource as _};
use fleetgauge_core::time::Clock;
use fleetgauge_server::door::access::Access;
use fleetgauge_server::door::api::{self, Api};
use fleetgauge_server::door::dashboard;
use fleetgauge_server::door::keda::proto::external_scaler_client::ExternalScalerClient;
use fleetgauge_server::door::keda::proto::{GetMetricsRequest, IsActiveResponse, ScaledObjectRef};
use fleetgauge_server::door::keda::{self, KedaConfig};
use fleetgauge_server::door::own::OwnMetrics;
use fleetgauge_server::door::prometheus::{self, PrometheusApi, PrometheusApiConfig, Served};
use fleetgauge_server::metric::{MetricFold, MetricSpec};
use fleetgauge_server::readiness::Readiness;
use fleetgauge_server::scheduler::{Fleet, Scheduler};
use fleetgauge_server::series::ReadingSeries;
use fleetgauge_server::store::Store;
use fleetgauge_testkit::http::percent_encode;
use futures_util::{FutureExt as _, StreamExt as _};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};
use tower::ServiceExt as _;

use world::{Way, World};

/// By way to be absent: the reason that each door gives.
#[rustfmt::skip]
const TABLE: [(Way, &str); 33] = [
    (Way::NoTarget,               "no_data"),
    (Way::DiscoveryFails,         "failed"),
    (Way::AllTargetsFail,         "failed"),
    (Way::AllTargetsFailNow,      "incomplete"),
    (Way::SomeFail,               "incomplete"),
    (Way::LabelMissing,           "no_data"),
    (Way::ValueNeverSeen,         "no_data"),
    (Way::MetricNeverSeen,        "no_data"),
    (Way::Ended,                  "ended"),
    (Way::TooOld,                 "too_old"),
    (Way::TooOldOfPods,           "too_old"),
    (Way::NaN,                    "undefined"),
    (Way::Infinite,               "undefined"),
    (Way::Warning,                "age_unknown"),
    (Way::PartialAnswer,          "age_unknown"),
    (Way::HalfAnAnswer,           "failed"),
    (Way::MemberDown,             "failed"),
    (Way::MemberDownAnyIsEnough,  "incomplete"),
    (Way::MemberEmpty,            "expired"),
    (Way::MemberEmptyAnyIsEnough, "incomplete"),
    (Way::InputDown,              "failed"),
    (Way::OptionalInputDown,      "incomplete"),
    (Way::UnmappedPods,           "incomplete"),
    (Way::SeriesLimit,            "incomplete"),
    (Way::TargetLimit,            "incomplete"),
    (Way::Starting,               "no_data"),
    (Way::Gone,                   "no_data"),
    (Way::Idle,                   "no_data"),
    (Way::IdleUnguarded,          "undefined"),
    // Without a cluster nobody knows that there are none.
    (Way::ZeroReplicas,           "no_data"),
    (Way::NoneReady,              "completeness_unknown"),
    (Way::ShortWindow,            "incomplete"),
    (Way::FirstStart,             "failed"),
];

const MAX_AGE: Duration = Duration::from_secs(30);
const EVERY: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(60);

/// The rows as they are, their sum, and the sum that is held.
const METRICS: [&str; 3] = ["rows", "total", "held"];

/// All doors over one store.
struct Doors {
    json: Router,
    prometheus: Router,
    dashboard: Router,
    keda: Router,
    own: Router,
    scheduler: Scheduler,
    stop: CancellationToken,
}

impl Doors {
    fn open(clock: &Clock) -> Self {
        let store = Store::new(clock.clone());
        let scheduler = Scheduler::new(store.clone());
        let readiness = Readiness::new(store.clone(), Duration::ZERO);
        let stop = CancellationToken::new();
        let series = ReadingSeries::new(store.clone(), Duration::from_secs(900));
        let mut config = PrometheusApiConfig::default();
        config.engine.clock = clock.clone();
        let api = PrometheusApi::new(config);
        let mut served = Served::default();
        served.series.push(Arc::new(series.window()));
        api.serve(served);
        tokio::spawn(series.follow(stop.clone()));
        let json = Api::new(&scheduler, readiness.clone(), stop.clone());
        Self {
            own: OwnMetrics::new(&json).routes(Access::open()),
            dashboard: dashboard::routes(json.clone(), api.clone(), &Access::open()),
            json: api::routes(json, Access::open()),
            prometheus: prometheus::routes(api),
            keda: keda::routes(store, readiness, KedaConfig::default(), stop.clone()),
            scheduler,
            stop,
        }
    }

    fn keep_fresh(&self, world: &World) {
        let mut policy = Policy::default().max_age(MAX_AGE);
        if world.knows_completeness {
            policy = policy.min_completeness(0.9);
        }
        let holding = Policy::default()
            .on_error(OnError::Hold)
            .on_incomplete(OnIncomplete::Hold)
            .on_no_data(OnNoData::Hold)
            .on_undefined(OnUndefined::Hold)
            .hold(Duration::from_secs(300))
            .over(&policy);
        let mut fleet = Fleet::default();
        fleet.sources.insert("base".to_owned(), Arc::clone(&world.source));
        for name in METRICS {
            let mut metric = MetricSpec::new(name.parse().unwrap(), "base", "q").unwrap();
            metric.every = EVERY;
            metric.knows_completeness = world.knows_completeness;
            metric.fold = match name {
                "rows" => MetricFold::Rows,
                _ => MetricFold::By(Fold::Sum),
            };
            metric.policy = if name == "held" {
                holding.clone()
            } else {
                policy.clone()
            };
            fleet.metrics.push(metric);
        }
        self.scheduler.apply(&fleet).unwrap();
    }

    /// What is said of a metric: its status, and the reason if there is one; once all rows say the same.
    fn said(&self, metric: &str) -> Option<String> {
        let store = self.scheduler.store();
        let snapshot = store.get(metric)?.read(store.clock());
        let mut said = snapshot.rows().map(|row| {
            let reason = row.reading().reason().map(|reason| reason.code.as_str());
            match reason {
                None => row.reading().status().as_str().to_owned(),
                Some(reason) => format!("{}: {reason}", row.reading().status().as_str()),
            }
        });
        let first = said.next()?;
        said.all(|one| one == first).then_some(first)
    }

    async fn until(&self, metric: &str, expected: &str) -> Result<(), String> {
        let since = Instant::now();
        while self.said(metric).as_deref() != Some(expected) {
            if since.elapsed() > PATIENCE {
                let said = self.said(metric);
                return Err(format!("{metric} is {said:?} and not {expected}"));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    async fn get(&self, router: &Router, path: &str) -> (u16, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn metric(&self, name: &str) -> Value {
        let (_, body) = self
            .get(&self.json, &format!("/api/fleetgauge/v1/metrics/{name}"))
            .await;
        serde_json::from_str(&body).unwrap()
    }

    async fn events(&self, metric: &str) -> BodyDataStream {
        let path = format!("/api/fleetgauge/v1/stream?metric={metric}");
        let request = Request::get(path).body(Body::empty()).unwrap();
        self.json
            .clone()
            .oneshot(request)
            .await
            .unwrap()
            .into_body()
            .into_data_stream()
    }

    /// A query of a second later than now: the samples of readings may be some milliseconds ahead of a clock that stands.
    async fn query(&self, clock: &Clock, query: &str) -> (u16, Value) {
        let at = clock.wall().as_secs_f64() + 1.0;
        let path = format!("/api/v1/query?query={}&time={at}", percent_encode(query));
        let (status, body) = self.get(&self.prometheus, &path).await;
        (status, serde_json::from_str(&body).unwrap())
    }

    fn scaler(&self) -> ExternalScalerClient<Router> {
        ExternalScalerClient::new(self.keda.clone())
    }

    async fn number(&self, metric: &str) -> Result<f64, Status> {
        let request = GetMetricsRequest {
            scaled_object_ref: Some(object(metric)),
            metric_name: metric.to_owned(),
        };
        let answer = self.scaler().get_metrics(request).await?.into_inner();
        Ok(answer.metric_values[0].metric_value_float)
    }
}

impl Drop for Doors {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn object(metric: &str) -> ScaledObjectRef {
    let pairs = [("metric", metric), ("target", "5")];
    ScaledObjectRef {
        name: "llama".to_owned(),
        namespace: "chat".to_owned(),
        scaler_metadata: pairs
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
    }
}

/// The next event of a stream, as JSON.
async fn event(stream: &mut BodyDataStream) -> Value {
    let read = async {
        loop {
            let chunk = stream.next().await.unwrap().unwrap();
            let text = String::from_utf8(chunk.to_vec()).unwrap();
            if let Some(data) = text.lines().find_map(|line| line.strip_prefix("data: ")) {
                return serde_json::from_str(data).unwrap();
            }
        }
    };
    tokio::time::timeout(PATIENCE, read).await.expect("an event")
}

/// What is wrong with the readings of a metric as JSON, which are all to be withheld.
fn wrong_json(page: &Value, reason: &str) -> Option<String> {
    let readings = page["readings"].as_array().unwrap();
    let is_right = |reading: &Value| {
        reading["status"] == "withheld"
            && reading["value"].is_null()
            && reading["reason"]["code"] == reason
            && reading["reason"]["text"]
                .as_str()
                .is_some_and(|text| text.len() > 5)
    };
    (readings.is_empty() || !readings.iter().all(is_right)).then(|| page["readings"].to_string())
}

fn wrong_status(told: Result<impl std::fmt::Debug, Status>, reason: &str) -> Option<String> {
    match told {
        Err(status) if status.code() == Code::Unavailable && status.message().contains(reason) => None,
        Err(status) => Some(status.to_string()),
        Ok(told) => Some(format!("{told:?}")),
    }
}

/// What each door says of a metric that is withheld for this reason, where that is wrong.
async fn wrong(doors: &Doors, clock: &Clock, metric: &str, reason: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut check = |door: &str, found: Option<String>| {
        if let Some(found) = found {
            wrong.push(format!("{metric} at {door}: {found}"));
        }
    };
    check("metrics/NAME", wrong_json(&doors.metric(metric).await, reason));
    let (_, list) = doors.get(&doors.json, "/api/fleetgauge/v1/metrics").await;
    let list: Value = serde_json::from_str(&list).unwrap();
    let listed = list["metrics"].as_array().unwrap();
    let listed = listed.iter().find(|one| one["metric"] == metric).unwrap();
    check("metrics", wrong_json(listed, reason));
    check(
        "stream",
        wrong_json(&event(&mut doors.events(metric).await).await, reason),
    );

    // Readings become series some milliseconds later.
    let since = Instant::now();
    let withheld = format!("count by (reason) (fleetgauge_reading_withheld{{metric=\"{metric}\"}})");
    loop {
        let (_, answer) = doors.query(clock, &withheld).await;
        let rows = answer["data"]["result"].as_array().cloned().unwrap_or_default();
        if rows.len() == 1 && rows[0]["metric"]["reason"] == reason {
            break;
        }
        if since.elapsed() > PATIENCE {
            check("query withheld", Some(answer.to_string()));
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let number = format!("fleetgauge_reading{{metric=\"{metric}\"}}");
    for query in [
        number.clone(),
        format!("sum({number})"),
        format!("last_over_time({number}[10s])"),
        format!("fleetgauge_reading{{metric=\"{metric}\",pod=~\".*\"}}"),
    ] {
        let (status, answer) = doors.query(clock, &query).await;
        let is_error = status == 422
            && answer["errorType"] == "execution"
            && answer["error"]
                .as_str()
                .is_some_and(|error| error.contains(reason));
        // Of a range in which it was there before.
        let is_warned = query.contains("over_time") && answer["warnings"].to_string().contains(reason);
        check(&query, (!is_error && !is_warned).then(|| answer.to_string()));
    }
    let query = percent_encode(&format!("sum({number})"));
    let end = clock.wall().as_secs_f64() + 1.0;
    let path = format!(
        "/api/v1/query_range?query={query}&start={}&end={end}&step=1",
        end - 5.0
    );
    let (_, answer) = doors.get(&doors.prometheus, &path).await;
    let answer: Value = serde_json::from_str(&answer).unwrap();
    let last = answer["data"]["result"][0]["values"]
        .as_array()
        .and_then(|values| values.last()?[0].as_f64());
    let is_right = answer["warnings"].to_string().contains(reason) && last.is_none_or(|last| last < end);
    check("query_range", (!is_right).then(|| answer.to_string()));

    let matched = percent_encode("{__name__=~\"fleetgauge_reading.*\"}");
    let (_, page) = doors
        .get(&doors.prometheus, &format!("/federate?match[]={matched}"))
        .await;
    let of_metric = format!("metric=\"{metric}\"");
    let mut lines = page
        .lines()
        .filter(|line| line.contains(&of_metric) && !line.starts_with('#'));
    let is_right = |line: &str| {
        line.starts_with("fleetgauge_reading_withheld{") && line.contains(&format!("reason=\"{reason}\""))
    };
    check(
        "federate",
        (!lines.clone().any(is_right) || !lines.all(is_right)).then_some(page),
    );

    let (_, page) = doors.get(&doors.own, "/metrics").await;
    let has = |line: String| page.contains(&line);
    let is_right = has(format!(
        "fleetgauge_metric_readings{{metric=\"{metric}\",status=\"value\"}} 0"
    )) && has(format!(
        "fleetgauge_metric_withheld{{metric=\"{metric}\",reason=\"{reason}\"}}"
    )) && !has(format!("fleetgauge_metric_age_seconds{{metric=\"{metric}\"}}"));
    check("/metrics", (!is_right).then_some(page));

    let (status, page) = doors
        .get(&doors.dashboard, &format!("/dashboard/metrics/{metric}"))
        .await;
    let rows = page.matches("<tr class=\"withheld\">").count();
    let is_right = status == 200
        && rows > 0
        && page.matches(">no number<").count() == rows
        && page.matches(&format!("<code>{reason}</code>")).count() == rows
        && !page.contains("<b title=");
    check("dashboard", (!is_right).then_some(page));

    // Of several rows KEDA would be told to select one.
    if metric != "rows" {
        check("GetMetrics", wrong_status(doors.number(metric).await, reason));
        let active = doors.scaler().is_active(object(metric)).await;
        check(
            "IsActive",
            wrong_status(active.map(|told| told.into_inner().result), reason),
        );
        let stream = doors.scaler().stream_is_active(object(metric)).await;
        let mut stream = stream.unwrap().into_inner();
        // What is known is told at once.
        let told = stream.message().now_or_never();
        check("StreamIsActive", told.map(|told| format!("{told:?}")));
    }
    wrong
}

/// What each door says of a metric whose last good number, 3 of each pod, is held.
async fn wrong_held(doors: &Doors, clock: &Clock, reason: &str, value: f64) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut check = |door: &str, is_right: bool, found: &dyn std::fmt::Debug| {
        if !is_right {
            wrong.push(format!("held at {door}: {found:?}"));
        }
    };
    let page = doors.metric("held").await;
    let reading = &page["readings"][0];
    let is_right = reading["status"] == "held"
        && reading["value"] == value
        && reading["reason"]["code"] == reason
        && reading["held_since"].is_number();
    check("metrics/NAME", is_right, reading);
    let (_, page) = doors.get(&doors.dashboard, "/dashboard/metrics/held").await;
    let is_right = page.contains("<tr class=\"held\">") && page.contains(&format!("<code>{reason}</code>"));
    check("dashboard", is_right, &page);
    let held = event(&mut doors.events("held").await).await;
    check("stream", held["readings"][0]["status"] == "held", &held);
    let since = Instant::now();
    let (mut status, mut answer) = (0, Value::Null);
    while since.elapsed() < PATIENCE {
        (status, answer) = doors
            .query(clock, "fleetgauge_reading_held{metric=\"held\"}")
            .await;
        if answer["data"]["result"][0]["value"][1] == "1" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    check(
        "query held",
        answer["data"]["result"][0]["value"][1] == "1",
        &(status, answer),
    );
    let (_, answer) = doors.query(clock, "fleetgauge_reading{metric=\"held\"}").await;
    let number = answer["data"]["result"][0]["value"][1]
        .as_str()
        .and_then(|text| text.parse().ok());
    check("query", number == Some(value), &answer);
    let number = doors.number("held").await;
    check("GetMetrics", number.as_ref().ok() == Some(&value), &number);
    let (_, page) = doors.get(&doors.own, "/metrics").await;
    let line = "fleetgauge_metric_readings{metric=\"held\",status=\"held\"} 1";
    check("/metrics", page.contains(line), &page);
    wrong
}

#[tokio::test(flavor = "multi_thread")]
async fn no_door_gives_a_number_for_what_is_absent() {
    let mut wrong_cells = Vec::new();
    for (way, reason) in TABLE {
        let found = cells(way, reason).await;
        wrong_cells.extend(found.into_iter().map(|found| format!("{way:?}: {found}")));
    }
    assert!(wrong_cells.is_empty(), "\n{}", wrong_cells.join("\n"));
}

/// Before the first answer there is no number either, and a metric that is not there has none at all.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_asked_yet_and_what_nobody_knows_have_no_number() {
    let clock = Clock::system();
    let doors = Doors::open(&clock);
    let backend = FixedBackend::new().delay("q", Duration::from_secs(3_600));
    let source = backend.into_source();
    source.query_list().must_register(QueryTemplate::promql("q", "q"));
    let mut fleet = Fleet::default();
    fleet.sources.insert("base".to_owned(), Arc::new(source));
    let metric = MetricSpec::new("total".parse().unwrap(), "base", "q").unwrap();
    fleet.metrics.push(metric);
    doors.scheduler.apply(&fleet).unwrap();
    let found = wrong(&doors, &clock, "total", "never_refreshed").await;
    assert!(found.is_empty(), "\n{}", found.join("\n"));

    let (status, body) = doors.get(&doors.json, "/api/fleetgauge/v1/metrics/totl").await;
    assert!(status == 404 && body.contains("total"), "{status} {body}");
    let path = "/api/fleetgauge/v1/stream?metric=totl";
    assert_eq!(doors.get(&doors.json, path).await.0, 404);
    let number = doors.number("totl").await;
    assert_eq!(number.unwrap_err().code(), Code::NotFound);
    let mut scaler = doors.scaler();
    let active = scaler.is_active(object("totl")).await;
    assert_eq!(active.unwrap_err().code(), Code::NotFound);
    let stream = scaler.stream_is_active(object("totl")).await;
    assert_eq!(stream.unwrap_err().code(), Code::NotFound);
    // As of any Prometheus: nothing, and no number.
    let (status, answer) = doors.query(&clock, "fleetgauge_reading{metric=\"totl\"}").await;
    assert_eq!(
        (status, &answer["data"]["result"]),
        (200, &serde_json::json!([])),
        "{answer}"
    );
}

/// What is wrong at any door while it is absent in this way.
async fn cells(way: Way, reason: &str) -> Vec<String> {
    let mut world = World::new(way).await;
    world.register("q", world.text, &world.steps);
    let doors = Doors::open(&world.clock);
    doors.keep_fresh(&world);
    // What was told while it was there, and is to be taken back.
    let mut before: Option<(f64, BodyDataStream, tonic::Streaming<IsActiveResponse>)> = None;
    if world.was_good {
        for metric in METRICS {
            if let Err(found) = doors.until(metric, "value").await {
                return vec![format!("before: {found}")];
            }
        }
        let number = doors.number("total").await.unwrap();
        let mut events = doors.events("total").await;
        assert_eq!(event(&mut events).await["readings"][0]["value"], number);
        let active = doors.scaler().stream_is_active(object("total")).await;
        let mut active = active.unwrap().into_inner();
        assert!(active.message().await.unwrap().unwrap().result);
        before = Some((number, events, active));
    }
    world.spoil().await;
    for metric in ["rows", "total"] {
        if let Err(found) = doors.until(metric, &format!("withheld: {reason}")).await {
            return vec![found];
        }
    }
    let held = if before.is_some() { "held" } else { "withheld" };
    if let Err(found) = doors.until("held", &format!("{held}: {reason}")).await {
        return vec![found];
    }
    // Readings are written a millisecond after each other where the clock stands.
    world.pass(Duration::from_secs(1));
    let mut found = Vec::new();
    for metric in ["rows", "total"] {
        found.extend(wrong(&doors, &world.clock, metric, reason).await);
    }
    match before {
        None => found.extend(wrong(&doors, &world.clock, "held", reason).await),
        Some((number, mut events, mut active)) => {
            found.extend(wrong_held(&doors, &world.clock, reason, number).await);
            // Older ones may still be under way.
            let taken_back = async { while wrong_json(&event(&mut events).await, reason).is_some() {} };
            if found.is_empty() && tokio::time::timeout(PATIENCE, taken_back).await.is_err() {
                found.push("the stream of events did not take the number back".to_owned());
            }
            if let Some(told) = active.message().now_or_never() {
                found.push(format!("StreamIsActive that was open: {told:?}"));
            }
        }
    }
    doors.scheduler.shutdown().await;
    found
}
