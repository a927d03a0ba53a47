//! What does a federation over two members add to the time of the slower one?
//!
//! Two real Prometheus servers of 1,000 pods each, asked for a sum by model and for all series. The alternative is the same
//! query asked of one of the two alone, in turns with it. The aim is 1.3 times. Prometheus is Debian's; the bench ends
//! early where it is missing.
//!
//! `shared`: both servers and the client share the processors of this machine, so that two members cost each other time.
//! `own`: each member answers as if it had a machine of its own. In its place is a server that gives the answers that it
//! has given, each after as long as it took when nothing else was asked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fleetgauge::federated::{FederatedConfig, FederatedSource, Member};
use fleetgauge::{
    MetricsSource, PrometheusSource, PrometheusSourceConfig, QueryTemplate, RefreshSpec, SourceRegistry,
};
use fleetgauge_testkit::{Answer, FaultyServer, OpenMetrics, Prometheus, http};
use tokio::runtime::Runtime;

const PODS: usize = 1_000;
const REFRESHES: usize = 101;

fn main() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    let now = u32::try_from(now.as_secs()).expect("before 2106");
    let data = (0..PODS).fold(OpenMetrics::new(), |data, pod| {
        let (name, model) = (format!("llama-8b-decode-{pod:05}"), format!("model-{}", pod % 20));
        let labels = [("namespace", "llm"), ("pod", &*name), ("model_name", &*model)];
        data.steady(
            "vllm:num_requests_waiting",
            &labels,
            pod as f64,
            (now - 300, now + 1800, 15),
        )
    });
    let servers = [(); 2].map(|()| Prometheus::builder().data(&data).start());
    let [Ok(eu), Ok(us)] = servers else {
        return println!("no Prometheus to measure with");
    };
    measure("shared", [eu.url(), us.url()]);
    let stand_ins = [eu, us].map(|server| FaultyServer::start([as_alone(server)]).expect("a server"));
    measure("own", stand_ins.each_ref().map(FaultyServer::url));
}

/// What `server` answers, and after the time that it takes while nobody else asks.
fn as_alone(server: Prometheus) -> Answer {
    const TIMES: usize = 21;
    let known: Mutex<HashMap<String, Answer>> = Mutex::default();
    Answer::choose(move |request| {
        let form = form_urlencoded::parse(&request.body);
        let mut query = form.filter(|(name, _)| name == "query");
        let (_, query) = query.next().expect("a query");
        let mut known = known.lock().expect("no panic");
        let answer = known.entry(query.into_owned()).or_insert_with(|| {
            let mut times = Vec::new();
            let mut ask = || {
                let target = format!("{}?{}", request.target, request.body_text());
                let begun = Instant::now();
                let answer = http::get(server.addr(), &target).expect("an answer");
                times.push(begun.elapsed());
                answer
            };
            let answers: Vec<_> = (0..TIMES).map(|_| ask()).collect();
            times.sort();
            Answer::json(&answers[0].body).after(times[TIMES / 2])
        });
        answer.clone()
    })
}

fn measure(kind: &str, urls: [String; 2]) {
    let runtime = Runtime::new().expect("a runtime");
    let sources = SourceRegistry::new();
    let mut config = FederatedConfig::new("both");
    let mut alone: Vec<Arc<dyn MetricsSource>> = Vec::new();
    for (name, url) in ["eu", "us"].into_iter().zip(urls) {
        let source = PrometheusSource::new(PrometheusSourceConfig::new(url)).expect("a source");
        let source: Arc<dyn MetricsSource> = Arc::new(source);
        sources.register(name, Arc::clone(&source)).expect("a new name");
        config = config.with_member(Member::new(name, name).with_label("cluster", name));
        alone.push(source);
    }
    let both: Arc<dyn MetricsSource> = Arc::new(FederatedSource::new(config, &sources).expect("stands up"));
    for (name, text) in [
        ("sum", "sum by (model_name) (vllm:num_requests_waiting)"),
        ("average", "avg by (model_name) (vllm:num_requests_waiting)"),
        ("series", "vllm:num_requests_waiting"),
        (
            "quantile",
            "quantile by (model_name) (0.9, vllm:num_requests_waiting)",
        ),
    ] {
        for source in alone.iter().chain([&both]) {
            source
                .query_list()
                .must_register(QueryTemplate::promql(name, text));
        }
        let took = |source: &Arc<dyn MetricsSource>| {
            let begun = Instant::now();
            let results = runtime.block_on(source.refresh(RefreshSpec::queries([name])));
            let is_whole = results[name].as_ref().is_ok_and(|result| !result.is_no_data());
            assert!(results.is_complete() && is_whole, "{:?}", results[name]);
            begun.elapsed()
        };
        // What stands in for a member asks it first, and the sources learn how far samples are apart.
        for source in [&alone[0], &alone[1], &both, &both] {
            let _ = runtime.block_on(source.refresh(RefreshSpec::queries([name])));
        }
        let mut times: [Vec<Duration>; 3] = Default::default();
        for _ in 0..REFRESHES {
            for (times, source) in times.iter_mut().zip(alone.iter().chain([&both])) {
                times.push(took(source));
            }
        }
        let [eu, us, both] = times.map(|mut times| {
            times.sort();
            times[REFRESHES / 2]
        });
        let slower = eu.max(us);
        let ratio = both.as_secs_f64() / slower.as_secs_f64();
        println!(
            "federate_{name}/2_members_{PODS}_pods ({kind}): {both:.2?}, the slower member alone {slower:.2?}: {ratio:.2} times"
        );
    }
}
