//! Broken set-ups, and what the doctor says of each.

use std::sync::Arc;
use std::time::Duration;

use fleetgauge::backend::{Backend, FetchError, Request};
use fleetgauge::completeness::{Completeness, Report};
use fleetgauge::doctor::{Doctor, Finding, Severity};
use fleetgauge::prometheus::PrometheusSourceConfig;
use fleetgauge::promql::engine::{Engine, EngineConfig};
use fleetgauge::promql::histogram::FloatHistogram;
use fleetgauge::promql::label::LabelSet;
use fleetgauge::promql::sample::Sample;
use fleetgauge::promql::store::MemoryStore;
use fleetgauge::result::Answer;
use fleetgauge::source::{CachedSourceConfig, RetryPolicy};
use fleetgauge::time::Timestamp;
use fleetgauge::{CachedSource, FixedBackend, MetricsSource, Pack, ParamKind, ParamSpec, QueryTemplate};
use fleetgauge_testkit::{Answer as Http, FaultyServer, OpenMetrics, Prometheus, Refused};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

/// When the queries are evaluated. *Unit*: seconds since the epoch.
const NOW: i64 = 1_763_930_000;

/// Series in memory, asked as a server is.
#[derive(Clone, Default)]
struct Server {
    store: MemoryStore,
}

impl Server {
    /// A series whose value grows by one a sample, at every `step` seconds up to `until` seconds ago, for half an hour.
    fn series(mut self, name: &str, labels: &[(&str, &str)], step: i64, until: i64) -> Self {
        let pairs = labels.iter().copied().chain([("__name__", name)]);
        let labels = LabelSet::from_pairs(pairs);
        for i in 0..=1_800 / step {
            let at = NOW - until - 1_800 + i * step;
            let sample = Sample {
                timestamp: Timestamp::from_millis(at * 1_000),
                value: i as f64,
            };
            self.store.append(&labels, sample).unwrap();
        }
        self
    }

    /// A native histogram of now.
    fn native(mut self, name: &str, labels: &[(&str, &str)]) -> Self {
        let pairs = labels.iter().copied().chain([("__name__", name)]);
        let histogram = FloatHistogram::exponential(0).unwrap().with_count(3.0);
        let at = Timestamp::from_millis(NOW * 1_000);
        let labels = LabelSet::from_pairs(pairs);
        self.store
            .append_histogram(&labels, at, Arc::new(histogram))
            .unwrap();
        self
    }

    fn pod(self, name: &str, labels: &[(&str, &str)]) -> Self {
        self.series(name, labels, 15, 3)
    }

    fn source(self) -> Arc<dyn MetricsSource> {
        let mut config = CachedSourceConfig::default();
        config.retry = RetryPolicy::never();
        Arc::new(CachedSource::new(Arc::new(self), config))
    }
}

impl Backend for Server {
    fn fetch<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Answer, FetchError>> {
        let engine = Engine::new(EngineConfig::default());
        let at = Timestamp::from_millis(NOW * 1_000);
        let evaluated = engine.instant(&self.store, &request.promql(), at);
        let answer = evaluated.map(|evaluation| evaluation.answer);
        let answer = answer.map_err(|error| FetchError::Rejected {
            kind: "bad_data".to_owned(),
            message: error.to_string(),
        });
        async move { answer }.boxed()
    }
}

const POD: [(&str, &str); 4] = [
    ("namespace", "chat"),
    ("pod", "llama-0"),
    ("instance", "10.0.0.7:8000"),
    ("model_name", "llama-8b"),
];

fn without<'a>(label: &str) -> Vec<(&'a str, &'a str)> {
    POD.into_iter().filter(|(name, _)| *name != label).collect()
}

fn with(label: &'static str, value: &'static str) -> Vec<(&'static str, &'static str)> {
    POD.into_iter().chain([(label, value)]).collect()
}

fn pack_query(name: &str) -> QueryTemplate {
    let (pack, _) = name.split_once('/').unwrap();
    Pack::builtin(pack).unwrap().query(name).unwrap().clone()
}

fn typed(promql: &str) -> QueryTemplate {
    QueryTemplate::promql("typed", promql)
}

async fn finding(source: Arc<dyn MetricsSource>, query: QueryTemplate, params: &[(&str, &str)]) -> Finding {
    let doctor =
        Doctor::new(Arc::clone(&source)).params(params.iter().copied().collect::<fleetgauge::Params>());
    let mut findings = doctor.examine(std::slice::from_ref(&query)).await;
    assert_eq!(findings.len(), 1);
    let own: Vec<_> = source.query_list().list();
    assert!(
        own.iter().all(|name| *name == query.name),
        "its own questions are gone: {own:?}"
    );
    findings.remove(0)
}

#[tokio::test]
async fn ten_broken_set_ups_are_each_told_in_one_run() {
    let waiting = "vllm:num_requests_waiting";
    let queue = || pack_query("vllm/queue_length_instant");
    let check = async |what: &str, advice: &str, source, query, params: &[(&str, &str)]| {
        let found = finding(source, query, params).await;
        assert_eq!((&*found.what, &*found.advice), (what, advice));
        assert_eq!(found.severity, Severity::Error, "{what}");
    };
    let http = |server: &FaultyServer| prometheus(&server.url());

    // 1: a wrong URL
    let refused = Refused::new().unwrap();
    check(
        &format!("unreachable: {}: connection refused", refused.addr()),
        "see that the URL names a host and port that are reached from here (curl URL/-/healthy), that its scheme is right, \
         and that no NetworkPolicy or proxy is in between",
        prometheus(&refused.url()),
        queue(),
        &[],
    )
    .await;

    // 2: no valid token
    let server = FaultyServer::start([Http::status(401)]).unwrap();
    check(
        "not authorised (401): \"status 401\" (text/plain)",
        "it does not accept who asks: give a token or a password that is valid now (--bearer-token-file, bearer_token_file: \
         …; in a pod /var/run/secrets/kubernetes.io/serviceaccount/token)",
        http(&server),
        queue(),
        &[],
    )
    .await;

    // 3: a permission is missing
    let body = "Forbidden (user=system:serviceaccount:chat:scaler, verb=get, resource=prometheuses, subresource=api)\n";
    let answer = Http::respond(403, &[("content-type", "text/plain; charset=utf-8")], body);
    let server = FaultyServer::start([answer]).unwrap();
    check(
        &format!("not authorised (403): {:?} (text/plain; charset=utf-8)", body.trim()),
        "the verb get is missing for system:serviceaccount:chat:scaler: bind it to a ClusterRole that has\nrules:\n\
         - apiGroups: [\"monitoring.coreos.com\"]\n  resources: [\"prometheuses/api\"]\n  verbs: [get]",
        http(&server),
        queue(),
        &[],
    )
    .await;

    // 4: no relabelling of the namespace
    check(
        "vllm:num_requests_waiting is there, but none of its series has the label namespace",
        "they have instance, model_name, pod; the scrape configuration is to add it:\nrelabel_configs:\n\
         - source_labels: [__meta_kubernetes_namespace]\n  target_label: namespace\n\
         A PodMonitor adds it by itself; for pods that are scraped without Prometheus, give it as a label of the target",
        Server::default().pod(waiting, &without("namespace")).source(),
        queue(),
        &[],
    )
    .await;

    // 5: no relabelling of the pod
    check(
        "1 of 1 rows lack the label pod, by which the query groups: pods may be counted as one (with namespace=chat, \
         modelID=llama-8b)",
        "they have instance, model_name, namespace; the scrape configuration is to add it:\nrelabel_configs:\n\
         - source_labels: [__meta_kubernetes_pod_name]\n  target_label: pod\n\
         A PodMonitor adds it by itself; for pods that are scraped without Prometheus, give it as a label of the target",
        Server::default().pod(waiting, &without("pod")).source(),
        queue(),
        &[],
    )
    .await;

    // 6: a misspelt model
    check(
        "vllm:num_requests_waiting has the label model_name, but never model_name=\"lama-8b\" (with namespace=chat)",
        "did you mean \"llama-8b\"? there is \"llama-8b\"",
        Server::default().pod(waiting, &POD).source(),
        queue(),
        &[("modelID", "lama-8b")],
    )
    .await;

    // 7: the name of another version of the engine
    check(
        "there is no metric vllm:gpu_cache_usage_perc",
        "the servers here have vllm:kv_cache_usage_perc, its name in newer versions: ask for both, \
         vllm:kv_cache_usage_perc or vllm:gpu_cache_usage_perc",
        Server::default().pod("vllm:kv_cache_usage_perc", &POD).source(),
        typed("max by (pod) (vllm:gpu_cache_usage_perc)"),
        &[],
    )
    .await;

    // 8: samples that have stopped
    check(
        "the newest sample of vllm:num_requests_waiting{namespace=\"chat\", model_name=\"llama-8b\"} is 15m old, and a server \
         looks back 5 minutes",
        "see whether the target is still scraped: `up` of it, and the page /targets of Prometheus; where samples come by \
         remote write or federation, see whether they still do",
        Server::default().series(waiting, &POD, 15, 900).source(),
        queue(),
        &[("namespace", "chat"), ("modelID", "llama-8b")],
    )
    .await;

    // 9: a window that is shorter than the scrapes are apart
    check(
        "vllm:request_success_total{namespace=\"chat\", model_name=\"llama-8b\"}[1m] holds one sample of each series, and a rate \
         needs two (with namespace=chat, modelID=llama-8b)",
        "make the window at least four scrapes long, or scrape more often (scrape_interval); after a start, wait for the \
         second scrape",
        Server::default().series("vllm:request_success_total", &POD, 60, 3).source(),
        pack_query("vllm/request_rate"),
        &[],
    )
    .await;

    // 10: ranks that are not folded
    check(
        "2 rows for llama-0, which differ by \"engine\": ranks that the query does not fold",
        "fold \"engine\" within the query, where one row for each pod is wanted: what adds up by sum, as queues and rates, \
         and fill ratios by max:\nmax by (namespace, pod, instance) (vllm:num_requests_waiting)",
        Server::default()
            .pod(waiting, &with("engine", "0"))
            .pod(waiting, &with("engine", "1"))
            .source(),
        typed(waiting),
        &[],
    )
    .await;
}

fn prometheus(url: &str) -> Arc<dyn MetricsSource> {
    let config = PrometheusSourceConfig::new(url).with_retry(RetryPolicy::never());
    Arc::new(config.build().unwrap())
}

#[tokio::test]
async fn what_is_in_order_is_told_with_what_was_asked() {
    let check = async |query, params: &[(&str, &str)], server: Server, expected: (Severity, &str, &str)| {
        let found = finding(server.source(), query, params).await;
        assert_eq!((found.severity, &*found.what, &*found.advice), expected);
    };
    let waiting = "vllm:num_requests_waiting";
    let fleet = || {
        Server::default()
            .pod(waiting, &POD)
            .pod("vllm:gpu_cache_usage_perc", &POD)
            .pod(
                waiting,
                &[("namespace", "code"), ("pod", "q-0"), ("model_name", "qwen")],
            )
            .pod(
                waiting,
                &[("namespace", "code"), ("pod", "q-1"), ("model_name", "qwen")],
            )
    };
    // Most series have these values together.
    let several = "2 rows (with namespace=code, modelID=qwen, of several; give others with -p)";
    let queue = || pack_query("vllm/queue_length_instant");
    check(queue(), &[], fleet(), (Severity::Ok, several, "")).await;
    let given = [("namespace", "chat"), ("modelID", "llama-8b")];
    check(queue(), &given, fleet(), (Severity::Ok, "1 row", "")).await;
    // What is given narrows down what is taken.
    let narrowed = "1 row (with modelID=llama-8b)";
    check(queue(), &given[..1], fleet(), (Severity::Ok, narrowed, "")).await;
    // A fallback answers.
    let fallback = "1 row, answered by vllm:gpu_cache_usage_perc (with namespace=chat, modelID=llama-8b)";
    let usage = || pack_query("vllm/kv_cache_usage_instant");
    check(usage(), &[], fleet(), (Severity::Ok, fallback, "")).await;
    // Ranks that the query tells apart on purpose.
    let by_rank = typed("max by (pod, engine) (vllm:num_requests_waiting)");
    let ranks = Server::default()
        .pod(waiting, &with("engine", "0"))
        .pod(waiting, &with("engine", "1"));
    check(by_rank, &[], ranks, (Severity::Ok, "2 rows", "")).await;
    // An idle server has no average.
    let idle = "no row now: none has a value for which vllm:num_requests_waiting > 1000 holds";
    let advice = "nothing is wrong where the servers are idle; where they are not, look at the bound that it is compared with";
    let busy = typed("vllm:num_requests_waiting > 1000");
    check(busy, &[], fleet(), (Severity::Ok, idle, advice)).await;
    let absent = "absent(vllm:num_requests_waiting) has no row, as what it looks for is there";
    let query = typed("absent(vllm:num_requests_waiting)");
    check(query, &[], fleet(), (Severity::Ok, absent, "")).await;
    let named = QueryTemplate::metric_name("typed", waiting);
    check(named, &[], fleet(), (Severity::Ok, "3 rows", "")).await;
}

#[tokio::test]
async fn the_first_reason_is_told() {
    let check = async |query: &str, server: Server, expected: (Severity, &str, &str)| {
        let found = finding(server.source(), typed(query), &[]).await;
        let told = (found.severity, &*found.what, &*found.advice);
        assert_eq!(told, expected, "{found:?}");
    };
    let waiting = "vllm:num_requests_waiting";
    let fleet = || {
        Server::default()
            .pod(waiting, &POD)
            .pod("vllm:num_requests_running", &POD)
    };
    check(
        "vllm:num_request_waiting",
        fleet(),
        (
            Severity::Error,
            "there is no metric vllm:num_request_waiting",
            "did you mean vllm:num_requests_waiting?",
        ),
    )
    .await;
    // A histogram of the other kind.
    check(
        "histogram_quantile(0.9, rate(vllm:latency_bucket[5m]))",
        fleet().native("vllm:latency", &POD),
        (
            Severity::Error,
            "there is no metric vllm:latency_bucket",
            "vllm:latency is there as a native histogram, which has no such series: ask as histogram_quantile(0.9, sum by (pod) \
             (rate(vllm:latency[5m]))), without le; or have the classic series scraped as well \
             (always_scrape_classic_histograms: true)",
        ),
    )
    .await;
    check(
        "histogram_count(rate(vllm:latency[5m]))",
        fleet().pod("vllm:latency_bucket", &with("le", "+Inf")),
        (
            Severity::Error,
            "there is no metric vllm:latency",
            "vllm:latency_bucket is there, a classic histogram: ask for that; or have the native one scraped, where the server \
             exposes it: scrape_native_histograms: true, and PrometheusProto first in scrape_protocols where these are named",
        ),
    )
    .await;
    check(
        "vllm:zzz",
        fleet(),
        (
            Severity::Error,
            "there is no metric vllm:zzz",
            "no metric that begins with vllm: has a name like it; there are: \"vllm:num_requests_running\", \
             \"vllm:num_requests_waiting\"",
        ),
    )
    .await;
    // What the packs know is not misspelt.
    check(
        "vllm:num_requests_running",
        Server::default().pod(waiting, &POD),
        (
            Severity::Error,
            "there is no metric vllm:num_requests_running",
            "servers of that engine are scraped, with \"vllm:num_requests_waiting\" and their like, and none shows it: look \
             at a page of theirs (fleetgauge scrape URL). Their version may not have it, some metrics begin with the first \
             request, and metric_relabel_configs may drop what begins with vllm:",
        ),
    )
    .await;
    // Of both sides of a fallback, the one that gets further.
    check(
        r#"vllm:no_such_thing or vllm:num_requests_waiting{pod="llama-00"}"#,
        fleet(),
        (
            Severity::Error,
            "vllm:num_requests_waiting has the label pod, but never pod=\"llama-00\"",
            "did you mean \"llama-0\"? there is \"llama-0\"",
        ),
    )
    .await;
    check(
        "x_a or x_b",
        Server::default().pod("x_bb", &POD),
        (
            Severity::Error,
            "there is no metric x_a; there is no metric x_b",
            "did you mean x_bb?",
        ),
    )
    .await;
    check(
        r#"vllm:num_requests_waiting{pod=~"qwen-.*"}"#,
        fleet(),
        (
            Severity::Error,
            "vllm:num_requests_waiting has the label pod, but never pod=~\"qwen-.*\"",
            "there is \"llama-0\"",
        ),
    )
    .await;
    check(
        r#"vllm:num_requests_waiting{model="llama-8b"}"#,
        fleet(),
        (
            Severity::Error,
            "vllm:num_requests_waiting is there, but none of its series has the label model",
            "they have instance, model_name, namespace, pod; did you mean model_name?",
        ),
    )
    .await;
    check(
        r#"vllm:num_requests_waiting{namespace="chat"}"#,
        Server::default().pod(waiting, &[("kubernetes_namespace", "chat")]),
        (
            Severity::Error,
            "vllm:num_requests_waiting is there, but none of its series has the label namespace",
            "they have kubernetes_namespace; it is called kubernetes_namespace there. Rename it in the scrape \
             configuration:\nmetric_relabel_configs:\n- source_labels: [kubernetes_namespace]\n  target_label: namespace",
        ),
    )
    .await;
    // Values that do not occur together.
    check(
        r#"vllm:num_requests_waiting{namespace="code", model_name="llama-8b"}"#,
        fleet().pod(waiting, &[("namespace", "code"), ("model_name", "qwen")]),
        (
            Severity::Error,
            "each label of vllm:num_requests_waiting is there, but no series has all of namespace=\"code\", \
             model_name=\"llama-8b\"",
            "use values that belong together, as model_name=\"llama-8b\", namespace=\"chat\"",
        ),
    )
    .await;
    check(
        "vllm:num_requests_waiting * on (model_name) vllm:num_requests_running{}",
        Server::default()
            .pod(waiting, &[("model_name", "a")])
            .pod("vllm:num_requests_running", &[("model_name", "b")]),
        (
            Severity::Error,
            "both sides of * have rows, but none of the same labels: left vllm:num_requests_waiting{model_name=\"a\"}, \
             right vllm:num_requests_running{model_name=\"b\"}",
            "aggregate both sides by the labels that they share, or name those in on (…) behind the operator",
        ),
    )
    .await;
    // Windows that hold too few samples for a rate that one may trust.
    check(
        "sum by (pod) (rate(vllm:requests_total[1m]))",
        Server::default().series("vllm:requests_total", &POD, 30, 3),
        (
            Severity::Warning,
            "rate(vllm:requests_total[1m]) has fewer than 4 samples to compute from, as they are about 30s apart: make it \
             [120s] or longer",
            "make the window at least four scrapes long, or scrape more often (scrape_interval); after a start, wait for \
             the second scrape",
        ),
    )
    .await;
    let twice = [with("job", "a"), with("job", "b")];
    check(
        waiting,
        Server::default().pod(waiting, &twice[0]).pod(waiting, &twice[1]),
        (
            Severity::Warning,
            "2 rows for llama-0, which differ by \"job\"",
            "it is scraped more than once: drop one of the jobs, or take each server once:\n\
             max by (namespace, pod, instance) (vllm:num_requests_waiting)",
        ),
    )
    .await;
    check(
        "vllm:num_requests_waiting / 0",
        fleet(),
        (
            Severity::Warning,
            "1 of 1 rows are NaN or infinite, as a quotient of an idle server is",
            "let the query drop them: `> 0` behind a divisor, `>= 0` behind a quantile",
        ),
    )
    .await;
    check(
        "sum(",
        fleet(),
        (
            Severity::Error,
            "query typed: line 1, column 4: this bracket is not closed",
            "correct the query; `fleetgauge check` shows the place",
        ),
    )
    .await;
}

#[tokio::test]
async fn an_engine_that_nobody_scrapes_is_told_with_what_to_scrape() {
    let query = pack_query("sglang/queue_length_instant");
    let found = finding(Server::default().pod("vllm:x", &POD).source(), query, &[]).await;
    assert_eq!(found.severity, Severity::Error);
    assert_eq!(found.what, "there is no metric sglang:num_queue_reqs");
    assert!(
        found.advice.starts_with("no metric begins with sglang:"),
        "{found:?}"
    );
    assert!(found.advice.contains("target_label: namespace"), "{found:?}");
}

#[tokio::test]
async fn bounds_are_told_and_nothing_is_said_to_be_in_order() {
    let queries = Pack::builtin("vllm").unwrap().queries().to_vec();
    let source = Server::default().pod("vllm:num_requests_waiting", &POD).source();
    let doctor = Doctor::new(source).max_requests(7);
    let findings = doctor.examine(&queries).await;
    assert_eq!(findings.len(), queries.len());
    let cut = findings
        .iter()
        .filter(|found| found.severity == Severity::Warning);
    let expected = "not examined to the end: the source was asked 7 times already";
    assert!(cut.clone().all(|found| found.what == expected), "{findings:?}");
    assert!(cut.count() > 15, "{findings:?}");

    let slow = FixedBackend::new().delay("typed", Duration::from_secs(3_600));
    let source = Arc::new(slow.into_source());
    let doctor = Doctor::new(source).deadline(Duration::from_millis(20));
    let found = doctor.examine(&[typed("up")]).await;
    assert_eq!(found[0].severity, Severity::Warning);
    assert_eq!(
        found[0].what,
        "not examined to the end: the time for all queries is over, 20ms"
    );
}

#[tokio::test]
async fn a_question_is_asked_once_for_all_queries() {
    let server = Server::default().pod("vllm:num_requests_waiting", &POD);
    let source = server.source();
    let query = typed("vllm:num_requests_waiting{pod='b'}");
    let other = QueryTemplate::promql("other", "sum(vllm:num_requests_waiting{pod='b'})");
    let doctor = Doctor::new(Arc::clone(&source));
    doctor.examine(std::slice::from_ref(&query)).await;
    let alone = source.stats().flights;
    doctor.examine(&[query, other]).await;
    assert_eq!(source.stats().flights - alone, alone + 1);
}

#[tokio::test]
async fn a_parameter_that_no_label_tells_is_asked_for() {
    let query = typed("vllm:num_requests_waiting * {{.factor}}");
    let query = query.param(ParamSpec::required("factor", ParamKind::MetricName));
    let found = finding(
        Server::default().pod("vllm:num_requests_waiting", &POD).source(),
        query,
        &[],
    )
    .await;
    let what = "needs the parameter factor, for which nothing can be looked up";
    assert_eq!(
        (&*found.what, &*found.advice),
        (what, "give it with -p factor=VALUE")
    );
    assert_eq!(found.severity, Severity::Warning);
}

#[tokio::test]
async fn a_server_that_is_down_is_asked_once() {
    let refused = Refused::new().unwrap();
    let source = prometheus(&refused.url());
    let queries = Pack::builtin("vllm").unwrap().queries().to_vec();
    let findings = Doctor::new(Arc::clone(&source)).examine(&queries).await;
    assert!(
        findings
            .iter()
            .all(|found| found.what.starts_with("unreachable: ")),
        "{findings:?}"
    );
    assert!(source.stats().flights == 1, "{:?}", source.stats());
}

/// What a real server tells besides: how old its values are, and that nothing has to be given for a whole pack.
#[tokio::test(flavor = "multi_thread")]
async fn a_pack_is_examined_on_a_real_prometheus() {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let now = u32::try_from(now.as_secs()).unwrap();
    let data = OpenMetrics::new()
        .steady("vllm:num_requests_waiting", &POD, 3.0, (now - 900, now, 15))
        .steady(
            "vllm:num_requests_running",
            &POD,
            3.0,
            (now - 1_800, now - 200, 15),
        )
        .steady(
            "vllm:kv_cache_usage_perc",
            &POD,
            0.5,
            (now - 2_800, now - 900, 15),
        );
    let server = Prometheus::builder().data(&data).start().unwrap();
    let queries = Pack::builtin("vllm").unwrap().queries().to_vec();
    let source = prometheus(&server.url());
    let findings = Doctor::new(Arc::clone(&source)).examine(&queries).await;
    let of = |name: &str| findings.iter().find(|found| found.query == name).unwrap();
    let queue = of("vllm/queue_length_instant");
    assert_eq!(queue.severity, Severity::Ok, "{queue:?}");
    assert!(queue.what.starts_with("1 row, at most "), "{queue:?}");
    assert!(
        queue
            .what
            .ends_with(" old (with namespace=chat, modelID=llama-8b)"),
        "{queue:?}"
    );
    let running = of("vllm/running_requests");
    assert_eq!(running.severity, Severity::Error, "{running:?}");
    assert!(
        running.what.starts_with("1 of 1 rows are too old: up to "),
        "{running:?}"
    );
    let cache = of("vllm/kv_cache_usage_instant");
    assert_eq!(cache.severity, Severity::Error, "{cache:?}");
    assert!(
        cache.what.contains(" 15m old, and a server looks back 5 minutes"),
        "{cache:?}"
    );
    let rate = of("vllm/request_rate");
    assert_eq!(rate.what, "there is no metric vllm:request_success_total");
    // The server tells by itself which side of an `or` has answered.
    for (query, side) in [
        ("vllm:num_requests_waiting or vllm:num_requests_other", "waiting"),
        ("vllm:num_requests_other or vllm:num_requests_waiting", "waiting"),
        (
            "sum(gone) or vllm:num_requests_other or sum(vllm:num_requests_waiting)",
            "waiting",
        ),
    ] {
        let found = finding(prometheus(&server.url()), typed(query), &[]).await;
        let expected = format!("answered by vllm:num_requests_{side}");
        assert!(found.what.ends_with(&expected), "{query}: {found:?}");
    }
    // A question or three for each query, and not one for each label of each metric.
    assert!(
        source.stats().flights < 6 * queries.len() as u64,
        "{:?}",
        source.stats()
    );
}

/// Nothing is broken where the windows are young.
#[tokio::test]
async fn what_has_not_been_scraped_for_long_is_told_from_what_fails() {
    let check = async |reports: &[Report<'_>], expected: &str| {
        let mut told = Completeness::known();
        reports.iter().for_each(|report| told.add("pod a", *report));
        let source = FixedBackend::new()
            .values("typed", [([("pod", "a")], 3.0)])
            .completeness("typed", told)
            .into_source();
        let finding = finding(Arc::new(source), typed("max_over_time(x[1m])"), &[]).await;
        assert_eq!(finding.severity, Severity::Warning, "{finding:?}");
        assert!(finding.advice.contains(expected), "{finding:?}");
    };
    let short = Report::Short("short_window");
    check(&[short, short], "nothing is broken").await;
    check(
        &[short, Report::Missing("it fails")],
        "mend what is named as missing",
    )
    .await;
}
