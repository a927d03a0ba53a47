//! What does a scrape cost once its series are known: less than 100 ns a sample, also for a fleet of 1,000 pods
//! whose series are in no cache of the processor? Is the newest sample of
//! one metric over 1,000 pods had in 50 µs? And what does a sample cost in memory, at one a second?
//!
//! Pods expose what no two pages of a fleet have in common, too: each has a line of its own in the middle of its page,
//! and another one that appears there at some time.
//!
//! The alternative in the same run is the plain one: a ring of `(i64, f64)` for each series, in a map by the
//! series' text, behind one lock.
//!
//! `cargo bench -p fleetgauge-promql --bench window`; the figures of memory are printed first.

#[path = "../tests/support/page.rs"]
mod page;

use std::alloc::System;
use std::collections::{HashMap, VecDeque};
use std::sync::RwLock;
use std::time::Duration;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use fleetgauge_core::time::Timestamp;
use fleetgauge_promql::histogram::{Buckets, FloatHistogram};
use fleetgauge_promql::matcher::{MatchOp, Matcher};
use fleetgauge_promql::window::{Appender, Window, WindowConfig};
use page::Page;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const START: i64 = 1_763_930_000_000;
const RETENTION: usize = 900;
const LOOKBACK: Duration = Duration::from_secs(300);
const METRIC: &str = "vllm:num_requests_waiting";

type Rings = RwLock<HashMap<String, VecDeque<(i64, f64)>>>;

/// One that is scraped.
struct Pod {
    appender: Appender,
    /// The line that no other pod has.
    own: String,
    /// When the line that is not there from the beginning appears.
    late: i64,
}

const LATE: &str = "vllm:request_success_total{engine=\"0\",finished_reason=\"abort\",\
                    model_name=\"meta-llama/Llama-3.1-8B-Instruct\"}";

fn main() {
    print_memory();
    print_histogram_memory();
    divan::main();
}

fn live_bytes() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

fn print_memory() {
    for (jitter, pods) in [(0, 10), (2, 10)] {
        let mut pages: Vec<_> = (1..=pods).map(Page::new).collect();
        pages.iter_mut().for_each(Page::step);
        let before = live_bytes();
        let window = Window::new(WindowConfig::default());
        let mut targets: Vec<_> = (0..pods).map(|pod| target(&window, pod as usize)).collect();
        let mut first = 0;
        for second in 0..2 * RETENTION as i64 {
            let time = START + second * 1000 + second * 7 % (2 * jitter + 1) - jitter;
            for (page, target) in pages.iter_mut().zip(&mut targets) {
                page.step();
                scrape(target, page, time);
            }
            if second == 0 {
                first = live_bytes() - before;
            }
        }
        let (used, series) = (live_bytes() - before, window.stats().series);
        println!(
            "memory, intervals of 1 s ± {jitter} ms: {:.2} bytes a sample of 15 minutes, labels and index \
             included; {} bytes a series with its first sample; {} series",
            used as f64 / (series * RETENTION) as f64,
            first / series,
            series,
        );
    }
    let page = Page::new(1);
    let before = live_bytes();
    let rings = Rings::default();
    for second in 0..RETENTION as i64 {
        scrape_rings(&rings, 0, &page, START + second * 1000);
    }
    let used = live_bytes() - before;
    println!(
        "memory, alternative: {:.2} bytes a sample",
        used as f64 / (page.texts.len() * RETENTION) as f64
    );
}

/// What native histograms of 40 buckets take: most of them are looked at once a second, a few of their buckets have grown.
fn print_histogram_memory() {
    const HISTOGRAMS: usize = 100;
    for observations in [3, 30] {
        let before = live_bytes();
        let window = Window::new(WindowConfig::default());
        let mut target = window.appender([("job", "vllm"), ("pod", "vllm-0")]);
        let mut counts = vec![[1_u32; 40]; HISTOGRAMS];
        let (mut state, mut first) = (1_u64, 0);
        let mut random = move |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % below
        };
        for second in 0..2 * RETENTION as i64 {
            let mut batch = target.scrape(Timestamp::from_millis(START + second * 1000));
            for (number, counts) in counts.iter_mut().enumerate() {
                for _ in 0..random(2 * observations) {
                    // Around the middle, as latencies are.
                    let bucket = random(20) + random(20);
                    counts[bucket as usize] += 1;
                }
                let counts = counts.map(f64::from);
                let count = counts.iter().sum::<f64>();
                let histogram = FloatHistogram::exponential(3).expect("a schema");
                let buckets = Buckets::starting_at(-30, &counts).expect("indexes");
                let histogram = histogram
                    .with_count(count)
                    .with_sum(count * 0.713)
                    .with_positive(buckets);
                let text = format!("vllm:latency_seconds{{model=\"{number}\"}}");
                let appended = batch.append_histogram(&text, histogram, None, |labels| {
                    page::labels(&text).for_each(|(n, v)| labels.label(n, v));
                });
                appended.expect("within the limits");
            }
            batch.commit();
            if second == 0 {
                first = (live_bytes() - before) / HISTOGRAMS;
            }
        }
        let used = (live_bytes() - before) as f64 / (HISTOGRAMS * RETENTION) as f64;
        println!(
            "memory, native histograms of 40 buckets that observe {observations} a second: {used:.1} bytes a histogram of \
             15 minutes, labels and index included; {first} bytes a series with its first one"
        );
    }
}

fn target(window: &Window, number: usize) -> Pod {
    let (pod, instance) = (
        format!("vllm-llama-{number}"),
        format!("10.0.{}.{}:8000", number / 250, number % 250),
    );
    let appender = window.appender([
        ("job", "vllm"),
        ("namespace", "llm"),
        ("pod", &pod),
        ("instance", &instance),
    ]);
    let blocks = 27_000 + number * 7;
    Pod {
        appender,
        own: format!("vllm:cache_config_info{{block_size=\"16\",engine=\"0\",num_gpu_blocks=\"{blocks}\"}}"),
        // Spread over the time that is measured, without an order.
        late: START + (number * 7_919 % RETENTION) as i64 * 1_000,
    }
}

fn scrape(target: &mut Pod, page: &Page, millis: i64) {
    let Pod { appender, own, late } = target;
    let mut batch = appender.scrape(Timestamp::from_millis(millis));
    let mut append = |text: &str, value| {
        let appended = batch.append(text, value, None, |labels| {
            page::labels(text).for_each(|(n, v)| labels.label(n, v));
        });
        appended.expect("within the limits");
    };
    let middle = page.texts.len() / 2;
    for (place, (text, &value)) in page.texts.iter().zip(&page.values).enumerate() {
        if place == middle {
            append(own, 1.0);
            if millis >= *late {
                append(LATE, 0.0);
            }
        }
        append(text, value);
    }
    batch.commit();
}

fn scrape_rings(rings: &Rings, pod: usize, page: &Page, millis: i64) {
    let mut rings = rings.write().expect("not poisoned");
    for (text, &value) in page.texts.iter().zip(&page.values) {
        // It keeps the target in the key, as one map of all series must.
        let key = format!("{pod}{text}");
        let ring = rings
            .entry(key)
            .or_insert_with(|| VecDeque::with_capacity(RETENTION));
        if ring.len() == RETENTION {
            ring.pop_front();
        }
        ring.push_back((millis, value));
    }
}

/// The pages of a server, second after second.
fn seconds(count: usize) -> Vec<Page> {
    (0..count)
        .map(|seconds| {
            let mut page = Page::new(1);
            (0..seconds).for_each(|_| page.step());
            page
        })
        .collect()
}

/// A page of 815 series again and again.
#[divan::bench(name = "scrape_hit/815_series")]
fn scrape_hit(bencher: Bencher<'_, '_>) {
    let pages = seconds(60);
    let window = Window::new(WindowConfig::default());
    let mut target = target(&window, 0);
    let mut second = 0;
    bencher
        .counter(ItemsCount::new(pages[0].texts.len()))
        .bench_local(|| {
            scrape(&mut target, &pages[second % 60], START + second as i64 * 1000);
            second += 1;
        });
}

#[divan::bench(name = "alternative_scrape_hit/815_series")]
fn alternative_scrape_hit(bencher: Bencher<'_, '_>) {
    let pages = seconds(60);
    let rings = Rings::default();
    let mut second = 0;
    bencher
        .counter(ItemsCount::new(pages[0].texts.len()))
        .bench_local(|| {
            scrape_rings(&rings, 0, &pages[second % 60], START + second as i64 * 1000);
            second += 1;
        });
}

/// All pods of a fleet once: the time is that out of each second, at one scrape a second.
#[divan::bench(name = "scrape_hit/1k_pods", sample_count = 40, sample_size = 1)]
fn scrape_fleet(bencher: Bencher<'_, '_>) {
    let pages = seconds(20);
    let window = Window::new(WindowConfig::default());
    let mut targets: Vec<_> = (0..1000).map(|pod| target(&window, pod)).collect();
    targets
        .iter_mut()
        .for_each(|target| scrape(target, &pages[0], START));
    let mut second = 1;
    bencher
        .counter(ItemsCount::new(pages[0].texts.len() * 1000))
        .bench_local(|| {
            for target in &mut targets {
                scrape(target, &pages[second % 20], START + second as i64 * 1000);
            }
            second += 1;
        });
}

fn fleet(seconds_of_past: usize) -> (Window, Vec<Pod>) {
    let pages = seconds(20);
    let window = Window::new(WindowConfig::default());
    let mut targets: Vec<_> = (0..1000).map(|pod| target(&window, pod)).collect();
    for second in 0..seconds_of_past {
        for target in &mut targets {
            scrape(target, &pages[second % 20], START + second as i64 * 1000);
        }
    }
    (window, targets)
}

/// Two engines a pod, so 2,000 series.
#[divan::bench(name = "latest/1k_pods_2k_series")]
fn latest(bencher: Bencher<'_, '_>) {
    let (window, _targets) = fleet(30);
    let at = Timestamp::from_millis(START + 30_000);
    bencher.bench(|| black_box(window.latest(METRIC, at, LOOKBACK)));
}

#[divan::bench(name = "alternative_latest/1k_pods_2k_series")]
fn alternative_latest(bencher: Bencher<'_, '_>) {
    let pages = seconds(2);
    let rings = Rings::default();
    (0..1000).for_each(|pod| scrape_rings(&rings, pod, &pages[0], START));
    bencher.bench(|| {
        let rings = rings.read().expect("not poisoned");
        let of_metric = rings.iter().filter(|(text, _)| text.contains(METRIC));
        let newest = of_metric.filter_map(|(text, ring)| Some((text.clone(), *ring.back()?)));
        black_box(newest.collect::<Vec<_>>())
    });
}

/// What the owner pays now and then, where nothing is old.
#[divan::bench(name = "expire_nothing/1k_pods", sample_count = 20, sample_size = 1)]
fn expire(bencher: Bencher<'_, '_>) {
    let (window, _targets) = fleet(2);
    bencher.bench(|| black_box(window.expire(Timestamp::from_millis(START + 2_000))));
}

#[divan::bench(name = "select_10_pods/1k_pods_2k_series")]
fn select(bencher: Bencher<'_, '_>) {
    let (window, _targets) = fleet(2);
    let matchers = [
        Matcher::equal("__name__", METRIC),
        Matcher::equal("engine", "0"),
        Matcher::new("pod", MatchOp::Regex, "vllm-llama-50[0-9]").expect("valid"),
    ];
    let (from, to) = (
        Timestamp::from_millis(START),
        Timestamp::from_millis(START + 60_000),
    );
    bencher.bench(|| black_box(window.select(&matchers, from, to)));
}

/// All samples of 15 minutes of one pod's page.
#[divan::bench(name = "read/1_pod_15_minutes")]
fn read(bencher: Bencher<'_, '_>) {
    let window = Window::new(WindowConfig::default());
    let mut target = target(&window, 0);
    let mut page = Page::new(1);
    for second in 0..RETENTION as i64 {
        page.step();
        scrape(&mut target, &page, START + second * 1000 + second * 7 % 5 - 2);
    }
    let (from, to) = (Timestamp::from_millis(START), Timestamp::from_millis(i64::MAX));
    let series = window.select(&[], from, to);
    bencher
        .counter(ItemsCount::new(series.len() * RETENTION))
        .bench(|| {
            let sums = series
                .iter()
                .map(|series| series.samples(from, to).iter().map(|s| s.value).sum::<f64>());
            black_box(sums.sum::<f64>())
        });
}
