//! How long does a query take over 1,000 pods with 15 minutes of samples at 5 s: at one time, and as a range of 60
//! steps? And where a join, a histogram or a subquery is involved?
//!
//! `cargo bench -p fleetgauge-promql --bench engine`; `THREADS=1` for one thread, `PODS=10000` for more pods. `CHURN=1` asks how
//! long it takes when a pod has come since the last query, so that nothing of it can be used again.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use divan::{Bencher, black_box};
use fleetgauge_core::time::Timestamp;
use fleetgauge_promql::engine::{Engine, EngineConfig};
use fleetgauge_promql::window::{Appender, ScrapeBatch, Window, WindowConfig};

const START: i64 = 1_763_930_000_000;
const SAMPLES: i64 = 180;
const STEP: i64 = 5_000;
const BUCKETS: usize = 20;

const QUERIES: [(&str, &str); 10] = [
    ("selector", "vllm:num_requests_waiting"),
    (
        "sum_by",
        r#"sum by (namespace, pod, instance) (max_over_time(vllm:num_requests_waiting{namespace="llm", model_name="qwen"}[1m]))"#,
    ),
    (
        "max_or_max",
        r#"max by (namespace, pod, instance) (max_over_time(vllm:kv_cache_usage_perc{namespace="llm", pod=~"vllm-.*"}[1m])) or max by (namespace, pod, instance) (max_over_time(vllm:gpu_cache_usage_perc{namespace="llm"}[1m]))"#,
    ),
    (
        "rate",
        r#"sum by (pod) (rate(vllm:generation_tokens_total{namespace="llm"}[5m]))"#,
    ),
    (
        "ratio",
        r#"sum by (namespace, pod, instance) (rate(vllm:request_prompt_tokens_sum{namespace="llm"}[5m])) / (sum by (namespace, pod, instance) (rate(vllm:request_prompt_tokens_count{namespace="llm"}[5m])) > 0)"#,
    ),
    (
        "histogram",
        "histogram_quantile(0.95, sum by (le, pod) (rate(vllm:ttft_seconds_bucket[5m])))",
    ),
    (
        "join",
        "vllm:num_requests_waiting * on (pod) group_left (node) kube_pod_info",
    ),
    (
        "subquery",
        "max_over_time(sum by (pod) (rate(vllm:generation_tokens_total[1m]))[5m:30s])",
    ),
    ("topk", "topk(10, vllm:num_requests_waiting)"),
    ("avg_over_time", "avg_over_time(vllm:kv_cache_usage_perc[10m])"),
];

fn main() {
    divan::main();
}

fn pods() -> usize {
    std::env::var("PODS").map_or(1_000, |pods| pods.parse().expect("PODS is a number"))
}

fn window() -> &'static Window {
    static WINDOW: std::sync::OnceLock<Window> = std::sync::OnceLock::new();
    WINDOW.get_or_init(|| {
        let window = Window::new(WindowConfig::default());
        let mut targets: Vec<_> = (0..pods()).map(|pod| target(&window, pod)).collect();
        for sample in 0..SAMPLES {
            for (pod, target) in targets.iter_mut().enumerate() {
                let page = target.scrape(Timestamp::from_millis(START + sample * STEP));
                expose(page, pod, sample);
            }
        }
        window
    })
}

fn target(window: &Window, pod: usize) -> Appender {
    window.appender([
        ("namespace", "llm".to_owned()),
        ("pod", format!("vllm-{pod}")),
        ("instance", format!("10.0.{}.{}:8000", pod / 250, pod % 250)),
        ("job", "vllm".to_owned()),
    ])
}

/// What a pod exposes at one time.
fn expose(mut page: ScrapeBatch<'_>, pod: usize, sample: i64) {
    let mut add = |name: &str, le: Option<usize>, value: f64| {
        let text = format!("{name}{le:?}");
        let added = page.append(&text, value, None, |labels| {
            labels.label("__name__", name);
            labels.label("model_name", "qwen");
            if name == "kube_pod_info" {
                labels.label("node", &format!("node-{}", pod % 50));
            }
            if let Some(le) = le {
                let bound = if le + 1 == BUCKETS {
                    "+Inf".to_owned()
                } else {
                    format!("0.{le:02}")
                };
                labels.label("le", &bound);
            }
        });
        added.expect("room for it");
    };
    let i = (sample as usize * 31 + pod * 7) as f64;
    add("vllm:num_requests_waiting", None, i % 17.0);
    add("vllm:kv_cache_usage_perc", None, (i % 100.0) / 100.0);
    add("vllm:gpu_cache_usage_perc", None, (i % 90.0) / 100.0);
    add(
        "vllm:generation_tokens_total",
        None,
        (sample * 400 + pod as i64) as f64,
    );
    add("vllm:request_prompt_tokens_sum", None, (sample * 900) as f64);
    add("vllm:request_prompt_tokens_count", None, (sample * 2) as f64);
    add("kube_pod_info", None, 1.0);
    for le in 0..BUCKETS {
        add(
            "vllm:ttft_seconds_bucket",
            Some(le),
            (sample as usize * (le + 1)) as f64,
        );
    }
    page.commit();
}

/// One more pod, if that is asked.
fn churn() {
    static COME: AtomicUsize = AtomicUsize::new(0);
    if std::env::var_os("CHURN").is_some() {
        let pod = pods() + COME.fetch_add(1, Ordering::Relaxed);
        let mut target = target(window(), pod);
        expose(target.scrape(end()), pod, SAMPLES - 1);
    }
}

fn engine() -> Engine {
    // So many pods are beyond the default over 60 steps.
    let config = EngineConfig::default().with_max_samples(50_000 * pods().max(1_000));
    Engine::new(match std::env::var("THREADS") {
        Ok(threads) => config.with_threads(threads.parse().expect("THREADS is a number")),
        Err(_) => config,
    })
}

fn end() -> Timestamp {
    Timestamp::from_millis(START + (SAMPLES - 1) * STEP)
}

#[divan::bench(args = QUERIES.map(|(name, _)| name), sample_count = 20)]
fn instant(bencher: Bencher<'_, '_>, name: &str) {
    let (window, engine, query) = (window(), engine(), query(name));
    engine.instant(window, query, end()).expect("an answer");
    bencher
        .with_inputs(churn)
        .bench_values(|()| engine.instant(black_box(window), query, end()));
}

#[divan::bench(args = QUERIES.map(|(name, _)| name), sample_count = 20)]
fn range_60_steps(bencher: Bencher<'_, '_>, name: &str) {
    let (window, engine, query) = (window(), engine(), query(name));
    let start = Timestamp::from_millis(end().as_millis() - 59 * 10_000);
    let run = || engine.range(black_box(window), query, start, end(), Duration::from_secs(10));
    run().expect("an answer");
    bencher.with_inputs(churn).bench_values(|()| run());
}

fn query(name: &str) -> &'static str {
    QUERIES
        .iter()
        .find(|(known, _)| *known == name)
        .map_or("", |(_, query)| query)
}
