//! How long does the embedded evaluator take for the quantile of the rates of native histograms, and how long Prometheus itself?
//!
//! Both hold the same data: a thousand pods with one histogram of 40 buckets each, 15 minutes at 5 s, sent to Prometheus by
//! remote write. Prometheus (a real process) tells its own evaluation time (`stats=all`: selection, decoding and evaluation,
//! without HTTP and JSON); ours is the time of the call, with the query parsed before, as it is in both. Medians; then each one's
//! resident memory, ours before the answers of Prometheus are read. The answers are compared, too.
//!
//! `FLEETGAUGE_PROMETHEUS_3` and `FLEETGAUGE_PROMTOOL_3` name a Prometheus 3: the one that may be installed knows native histograms
//! as an experiment alone. `THREADS=1` computes each of our queries on one thread. `OURS=1` asks no Prometheus, for a profiler.
//!
//! The aim is a third of Prometheus's time, with at most its memory.

#[path = "support/beside_prometheus.rs"]
mod beside_prometheus;
#[path = "support/memory.rs"]
mod memory;

use std::time::Duration;

use beside_prometheus::{RUNS, RUNS_IN_TURN, ask, measure};
use fleetgauge::prometheus::remote_write::{RemoteWrite, RemoteWriteConfig};
use fleetgauge_core::time::{Clock, Timestamp};
use fleetgauge_promql::engine::{Engine, EngineConfig};
use fleetgauge_promql::histogram::{Buckets, FloatHistogram};
use fleetgauge_promql::window::{Window, WindowConfig};
use fleetgauge_testkit::Prometheus;
use memory::resident_bytes;

const PODS: usize = 1_000;
const BUCKETS: usize = 40;
const SAMPLES: i64 = 180;
const INTERVAL_MS: i64 = 5_000;
const STEPS: i64 = 60;
const STEP_MS: i64 = 10_000;

const QUERIES: [(&str, &str); 3] = [
    ("quantile", "histogram_quantile(0.99, sum(rate(h[5m])))"),
    ("quantile by pod", "histogram_quantile(0.99, rate(h[5m]))"),
    ("count", "sum(histogram_count(rate(h[5m])))"),
];

fn main() {
    let before = resident_bytes("RssAnon", std::process::id());
    // Off the borders of ranges, and lately: a server may refuse what is old.
    let first = Clock::system().wall().as_millis() / 10_000 * 10_000 + 1_234 - SAMPLES * INTERVAL_MS;
    let window = fill(first);
    let config = EngineConfig::default();
    let engine = Engine::new(match std::env::var("THREADS") {
        Ok(threads) => config.with_threads(threads.parse().expect("THREADS is a number")),
        Err(_) => config,
    });
    let end = first + (SAMPLES - 1) * INTERVAL_MS + 1;
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
    for (_, query) in QUERIES {
        drop((instant(query), range(query)));
    }
    let ours = resident_bytes("RssAnon", std::process::id()) - before;
    if std::env::var_os("OURS").is_some() {
        for _ in 0..RUNS * RUNS_IN_TURN {
            drop((instant(QUERIES[0].1), range(QUERIES[0].1)));
        }
        return;
    }

    let builder = Prometheus::builder()
        .flag("--web.enable-remote-write-receiver")
        .flag("--enable-feature=native-histograms");
    let prometheus = match builder.named_by_environment().start() {
        Ok(prometheus) => prometheus,
        Err(error) => return println!("no Prometheus to measure with: {error}"),
    };
    send(&window, &prometheus);
    println!("beside Prometheus {}", prometheus.version().expect("a version"));
    println!(
        "{:18} {:>12} {:>12} {:>7}   {:>12} {:>12} {:>7}",
        "", "instant", "Prometheus", "ratio", "60 steps", "Prometheus", "ratio"
    );
    for (name, query) in QUERIES {
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
        println!("{name:18} {}   {}", row(instants), row(ranges));
    }
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    println!(
        "\nresident after one of each: {:.0} MiB ({:.0} MiB by the window's own count); Prometheus after all: {:.0} MiB, of which \
         {:.0} MiB are no mapped files",
        mib(ours),
        mib(window.stats().bytes as u64),
        mib(resident_bytes("VmRSS", prometheus.pid())),
        mib(resident_bytes("RssAnon", prometheus.pid())),
    );
}

fn fill(first: i64) -> Window {
    let window = Window::new(WindowConfig::default().with_retention(Duration::from_secs(1_200)));
    for pod in 0..PODS {
        let mut appender = window.appender([("pod", format!("llama-decode-7c9d8b6f5d-{pod:05}"))]);
        let mut dice = dice(pod);
        let mut counts = [0.0; BUCKETS];
        let mut sum = 0.0;
        for i in 0..SAMPLES {
            for _ in 0..30 {
                // More in the middle.
                let bucket = (dice() + dice()) / 2.0 * BUCKETS as f64;
                counts[bucket as usize] += 1.0;
                sum += (bucket / 8.0).exp2();
            }
            let histogram = FloatHistogram::exponential(3).expect("a schema");
            let buckets = Buckets::starting_at(1, &counts).expect("indexes");
            let histogram = histogram
                .with_count(counts.iter().sum())
                .with_sum(sum)
                .with_positive(buckets);
            let mut page = appender.scrape(Timestamp::from_millis(first + i * INTERVAL_MS));
            let labels =
                |labels: &mut fleetgauge_promql::window::ExposedLabels| labels.label("__name__", "h");
            page.append_histogram("h", histogram, None, labels)
                .expect("within the limits");
            page.commit();
        }
    }
    window
}

/// Numbers from 0 to 1, the same for a pod on every run.
fn dice(pod: usize) -> impl FnMut() -> f64 {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(pod as u64 + 1);
    move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as f64 / f64::from(1_u32 << 31)
    }
}

fn send(window: &Window, to: &Prometheus) {
    let config = RemoteWriteConfig::new(format!("{}/api/v1/write", to.url()));
    let config = config.with_flush_timeout(Duration::from_secs(120));
    let remote = RemoteWrite::new(config, [window.clone()]).expect("a configuration");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(remote.run(async {}));
    let sent = remote.stats().sent;
    assert_eq!(sent, PODS as u64 * SAMPLES as u64, "all is sent");
}
