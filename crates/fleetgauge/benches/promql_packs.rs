//! How long does the embedded evaluator take for the production queries, and how long Prometheus itself?
//!
//! Both hold the same data: a thousand vLLM pods, 15 minutes at 5 s (about 13 million samples). Prometheus
//! (Debian's, a real process) tells its own evaluation time (`stats=all`: selection, decoding and evaluation,
//! without HTTP and JSON); ours is the time of the call, with the query parsed before, as it is in both.
//! Medians; then each one's resident memory, ours before the answers of Prometheus are read. The answers are compared,
//! too: a fast wrong number is no figure.
//!
//! `FLEETGAUGE_PROMETHEUS_3` and `FLEETGAUGE_PROMTOOL_3` name another Prometheus than the one that is installed, such as the newest,
//! which `cargo xtask prometheus-newest` makes. `THREADS=1` computes each of our queries on one thread.
//!
//! `AGES=1` measures instead what it costs that the answers to instant queries tell how old each value is, without a
//! Prometheus; the aim is at most 1.3 times.
//!
//! The aim is a third of Prometheus's time on each query, with at most its memory. Takes some minutes, most of
//! them `promtool`'s. `PODS=100 cargo bench --bench promql_packs` is quicker.

#[path = "support/beside_prometheus.rs"]
mod beside_prometheus;
#[path = "support/memory.rs"]
mod memory;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::time::{Duration, Instant};

use beside_prometheus::{RUNS, RUNS_IN_TURN, ask, measure};
use fleetgauge::Pack;
use fleetgauge_core::params::Params;
use fleetgauge_core::query_list::QueryList;
use fleetgauge_core::time::Timestamp;
use fleetgauge_promql::engine::{Engine, EngineConfig};
use fleetgauge_promql::window::{Window, WindowConfig};
use fleetgauge_testkit::Prometheus;
use memory::resident_bytes;

const SAMPLES: i64 = 180;
const INTERVAL_MS: i64 = 5_000;
/// Off the borders of steps and ranges, where 2.42 takes a sample that 3.x leaves out.
const FIRST_MS: i64 = 1_763_900_001_234;
const STEPS: i64 = 60;
const STEP_MS: i64 = 10_000;
/// Of a latency histogram, the last one infinite.
const BOUNDS: [&str; 20] = [
    "0.001", "0.005", "0.01", "0.02", "0.04", "0.06", "0.08", "0.1", "0.25", "0.5", "0.75", "1.0", "2.5",
    "5.0", "7.5", "10.0", "20.0", "40.0", "80.0", "+Inf",
];

/// One series of every pod.
struct Shape {
    metric: String,
    label: Option<(&'static str, &'static str)>,
    counter: bool,
    /// By how much a counter grows in an interval, or how high a gauge goes.
    scale: f64,
}

fn main() {
    let pods = std::env::var("PODS").map_or(1_000, |pods| pods.parse().expect("PODS is a number"));
    let shapes = shapes();
    eprintln!(
        "{pods} pods, {} series each, {SAMPLES} samples each",
        shapes.len()
    );

    let before = resident_bytes("RssAnon", std::process::id());
    let window = fill(pods, &shapes);
    let window_bytes = window.stats().bytes;
    if std::env::var_os("AGES").is_some() {
        return with_ages(&window);
    }

    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("data.om");
    write_open_metrics(&file, pods, &shapes).expect("the data is written");
    let builder = Prometheus::builder().open_metrics_file(&file);
    let prometheus = match builder.named_by_environment().start() {
        Ok(prometheus) => prometheus,
        Err(error) => return println!("no Prometheus to measure with: {error}"),
    };
    drop(dir);

    println!("beside Prometheus {}", prometheus.version().expect("a version"));
    let config = EngineConfig::default();
    let engine = Engine::new(match std::env::var("THREADS") {
        Ok(threads) => config.with_threads(threads.parse().expect("THREADS is a number")),
        Err(_) => config,
    });
    let end = FIRST_MS + (SAMPLES - 1) * INTERVAL_MS + 1;
    let start = end - (STEPS - 1) * STEP_MS;
    let instant = |query: &str| {
        let answer = engine.instant(&window, query, Timestamp::from_millis(end));
        answer.expect("an answer").answer
    };
    let range = |query: &str| {
        let [start, end] = [start, end].map(Timestamp::from_millis);
        let answer = engine.range(&window, query, start, end, Duration::from_millis(STEP_MS as u64));
        answer.expect("an answer").answer
    };
    let queries = queries();
    for (_, query) in &queries {
        drop((instant(query), range(query)));
    }
    let ours = resident_bytes("RssAnon", std::process::id()) - before;

    println!(
        "{:28} {:>12} {:>12} {:>7}   {:>12} {:>12} {:>7}",
        "", "instant", "Prometheus", "ratio", "60 steps", "Prometheus", "ratio"
    );
    for (name, query) in &queries {
        let instants = measure(name, || instant(query), || ask(&prometheus, query, None, end));
        let ranges = measure(
            name,
            || range(query),
            || ask(&prometheus, query, Some((start, STEP_MS)), end),
        );
        let row = |(ours, theirs): (Duration, Duration)| {
            let ratio = theirs.as_secs_f64() / ours.as_secs_f64();
            format!(
                "{:>9.3} ms {:>9.3} ms {ratio:>6.1}x",
                ours.as_secs_f64() * 1e3,
                theirs.as_secs_f64() * 1e3
            )
        };
        println!("{name:28} {}   {}", row(instants), row(ranges));
    }
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    println!(
        "\nresident after one of each: {:.0} MiB ({:.0} MiB by the window's own count); Prometheus after all: {:.0} MiB, \
         of which {:.0} MiB are no mapped files",
        mib(ours),
        mib(window_bytes as u64),
        mib(resident_bytes("VmRSS", prometheus.pid())),
        mib(resident_bytes("RssAnon", prometheus.pid())),
    );
}

/// How long instant queries take without ages and with them, in turns.
fn with_ages(window: &Window) {
    let plain = Engine::new(EngineConfig::default());
    let aged = Engine::new(EngineConfig::default().with_ages(true));
    let end = Timestamp::from_millis(FIRST_MS + (SAMPLES - 1) * INTERVAL_MS + 1);
    let mut ratios = Vec::new();
    println!("{:28} {:>12} {:>12} {:>7}", "", "plain", "with ages", "ratio");
    for (name, query) in queries() {
        let mut times = [Vec::new(), Vec::new()];
        for _ in 0..RUNS * RUNS_IN_TURN {
            for (engine, times) in [&plain, &aged].into_iter().zip(&mut times) {
                let start = Instant::now();
                std::hint::black_box(engine.instant(window, &query, end).expect("an answer"));
                times.push(start.elapsed().as_secs_f64() * 1e3);
            }
        }
        let [plain, aged] = times.map(|mut times| {
            times.sort_unstable_by(f64::total_cmp);
            times[times.len() / 2]
        });
        println!("{name:28} {plain:>9.3} ms {aged:>9.3} ms {:>6.2}x", aged / plain);
        ratios.push(aged / plain);
    }
    ratios.sort_unstable_by(f64::total_cmp);
    let (median, most) = (ratios[ratios.len() / 2], ratios[ratios.len() - 1]);
    println!("{median:.2} times in the median, {most:.2} at most");
}

fn queries() -> Vec<(String, String)> {
    let list = QueryList::new();
    let pack = Pack::builtin("vllm").expect("a built-in pack");
    pack.register_into(&list).expect("it registers");
    let params = Params::from([
        ("namespace", "prod"),
        ("modelID", "llama"),
        ("q", "0.95"),
        ("retentionPeriod", "10m"),
    ]);
    let mut queries: Vec<_> = list
        .list()
        .into_iter()
        .map(|name| {
            let text = list.render(&name, &params).expect("it renders");
            (name, text)
        })
        .collect();
    for (name, query) in [
        (
            "rate by pod",
            "sum by (pod) (rate(vllm:generation_tokens_total[1m]))",
        ),
        (
            "histogram_quantile",
            "histogram_quantile(0.9, rate(vllm:time_to_first_token_seconds_bucket[5m]))",
        ),
        (
            "group_left join",
            "vllm:num_requests_waiting * on (pod) group_left (num_gpu_blocks) vllm:cache_config_info",
        ),
        (
            "subquery",
            "max_over_time(sum by (pod) (rate(vllm:generation_tokens_total[1m]))[5m:30s])",
        ),
    ] {
        queries.push((name.to_owned(), query.to_owned()));
    }
    queries
}

fn shapes() -> Vec<Shape> {
    let shape = |metric: &str, label, counter, scale| Shape {
        metric: format!("vllm:{metric}"),
        label,
        counter,
        scale,
    };
    let mut shapes = vec![
        shape("kv_cache_usage_perc", None, false, 1.0),
        shape("num_requests_waiting", None, false, 40.0),
        shape("num_requests_running", None, false, 200.0),
        shape("cache_config_info", Some(("num_gpu_blocks", "10240")), false, 0.0),
        shape("generation_tokens_total", None, true, 6_000.0),
        shape("prompt_tokens_total", None, true, 20_000.0),
        shape("num_preemptions_total", None, true, 0.2),
        shape("prefix_cache_hits_total", None, true, 9_000.0),
        shape("prefix_cache_queries_total", None, true, 20_000.0),
        shape(
            "request_success_total",
            Some(("finished_reason", "stop")),
            true,
            25.0,
        ),
        shape(
            "request_success_total",
            Some(("finished_reason", "length")),
            true,
            4.0,
        ),
    ];
    for (metric, scale) in [
        ("request_prompt_tokens", 20_000.0),
        ("request_generation_tokens", 6_000.0),
        ("time_to_first_token_seconds", 8.0),
        ("inter_token_latency_seconds", 120.0),
        ("e2e_request_latency_seconds", 300.0),
        ("request_queue_time_seconds", 5.0),
        ("request_inference_time_seconds", 290.0),
        ("request_prefill_time_seconds", 8.0),
        ("request_decode_time_seconds", 280.0),
    ] {
        shapes.push(shape(&format!("{metric}_sum"), None, true, scale));
        shapes.push(shape(&format!("{metric}_count"), None, true, 29.0));
    }
    for metric in ["time_to_first_token_seconds", "inter_token_latency_seconds"] {
        for (i, bound) in BOUNDS.into_iter().enumerate() {
            let scale = 29.0 * (i + 1) as f64 / BOUNDS.len() as f64;
            shapes.push(shape(
                &format!("{metric}_bucket"),
                Some(("le", bound)),
                true,
                scale,
            ));
        }
    }
    shapes
}

/// The values of one series, the same for both.
fn values(pod: usize, shape: &Shape) -> impl Iterator<Item = (i64, f64)> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(pod as u64 + 1);
    let mut dice = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as f64 / f64::from(1_u32 << 31)
    };
    let (counter, scale) = (shape.counter, shape.scale);
    // Far from zero, where 2.42 extrapolates otherwise than 3.x does.
    let mut total = 1_000.0 * scale.ceil();
    (0..SAMPLES).map(move |i| {
        let value = match (counter, scale == 0.0) {
            (_, true) => 1.0,
            (true, _) => {
                total += (dice() * scale * 2.0).round();
                total
            }
            (false, _) if scale > 1.0 => (dice() * scale).floor(),
            (false, _) => (dice() * 1e4).round() / 1e4,
        };
        (FIRST_MS + i * INTERVAL_MS, value)
    })
}

fn target_labels(pod: usize) -> [(&'static str, String); 3] {
    let instance = format!("10.0.{}.{}:8000", pod / 250, pod % 250);
    [
        ("namespace", "prod".to_owned()),
        ("pod", format!("llama-decode-7c9d8b6f5d-{pod:05}")),
        ("instance", instance),
    ]
}

fn fill(pods: usize, shapes: &[Shape]) -> Window {
    let window = Window::new(WindowConfig::default().with_retention(Duration::from_secs(1_200)));
    for pod in 0..pods {
        let mut appender = window.appender(target_labels(pod));
        let mut series: Vec<_> = shapes.iter().map(|shape| values(pod, shape)).collect();
        for i in 0..SAMPLES {
            let mut page = appender.scrape(Timestamp::from_millis(FIRST_MS + i * INTERVAL_MS));
            for (k, (shape, series)) in shapes.iter().zip(&mut series).enumerate() {
                let (_, value) = series.next().expect("as many as samples");
                let text = format!("{}#{k}", shape.metric);
                let appended = page.append(&text, value, None, |labels| {
                    labels.label("__name__", &shape.metric);
                    labels.label("engine", "0");
                    labels.label("model_name", "llama");
                    if let Some((name, value)) = shape.label {
                        labels.label(name, value);
                    }
                });
                appended.expect("within the limits");
            }
            page.commit();
        }
    }
    window
}

fn write_open_metrics(file: &std::path::Path, pods: usize, shapes: &[Shape]) -> std::io::Result<()> {
    let mut out = BufWriter::new(File::create(file)?);
    for shape in shapes {
        for pod in 0..pods {
            let mut labels = String::from(r#"engine="0",model_name="llama""#);
            for (name, value) in target_labels(pod) {
                labels.push_str(&format!(",{name}=\"{value}\""));
            }
            if let Some((name, value)) = shape.label {
                labels.push_str(&format!(",{name}=\"{value}\""));
            }
            for (at, value) in values(pod, shape) {
                writeln!(
                    out,
                    "{}{{{labels}}} {value} {}.{:03}",
                    shape.metric,
                    at / 1000,
                    at % 1000
                )?;
            }
        }
    }
    out.write_all(b"# EOF\n")
}
