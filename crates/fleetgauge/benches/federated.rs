//! What does a federation over two members add to the time of the slower one?
//!
//! Two real Prometheus servers of 1,000 pods each, asked for a sum by model and for all series. The alternative is the same
//! query asked of one of the two alone, in turns with it. The aim is 1.3 times. Prometheus is Debian's; the bench ends
//! early where it is missing.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fleetgauge::federated::{FederatedConfig, FederatedSource, Member};
use fleetgauge::{
    MetricsSource, PrometheusSource, PrometheusSourceConfig, QueryTemplate, RefreshSpec, SourceRegistry,
};
use fleetgauge_testkit::{OpenMetrics, Prometheus};
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
    let runtime = Runtime::new().expect("a runtime");
    let sources = SourceRegistry::new();
    let mut config = FederatedConfig::new("both");
    let mut alone: Vec<Arc<dyn MetricsSource>> = Vec::new();
    for (name, server) in [("eu", &eu), ("us", &us)] {
        let source = PrometheusSource::new(PrometheusSourceConfig::new(server.url())).expect("a source");
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
            assert!(results.is_complete() && results[name].as_ref().is_ok_and(|result| !result.is_no_data()));
            begun.elapsed()
        };
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
            "federate_{name}/2_members_{PODS}_pods: {both:.2?}, the slower member alone {slower:.2?}: {ratio:.2} times"
        );
    }
}
