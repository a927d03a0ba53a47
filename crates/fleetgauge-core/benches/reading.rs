//! What does one reading cost to read, where 100 ns are the aim, and what does judging an answer of 1,000 rows cost?
//!
//! The alternative in the same run judges at each read, as who has an answer and a policy would otherwise do: it looks up
//! the answer behind a read-write lock, finds its row, and compares its age.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::RwLock;
use std::time::{Duration, Instant};

use divan::Bencher;
use divan::counter::ItemsCount;
use fleetgauge_core::age::Age;
use fleetgauge_core::cache::{Cache, CacheConfig};
use fleetgauge_core::params::Params;
use fleetgauge_core::policy::{OnError, Policy};
use fleetgauge_core::query::QueryTemplate;
use fleetgauge_core::query_list::QueryList;
use fleetgauge_core::reading::{ReadingSpec, Readings};
use fleetgauge_core::result::{Answer, AnswerBuilder, MetricResult};
use fleetgauge_core::sample::Stamp;
use fleetgauge_core::time::{Clock, Timestamp};

#[global_allocator]
static ALLOCATIONS: divan::AllocProfiler = divan::AllocProfiler::system();

const ROWS: usize = 1_000;

fn main() {
    divan::main();
}

fn names() -> Vec<String> {
    (0..ROWS).map(|i| format!("llama-8b-decode-{i}")).collect()
}

fn answer() -> Answer {
    let mut answer = AnswerBuilder::new(Stamp::Evaluated);
    for (i, name) in names().iter().enumerate() {
        let labels = [("namespace", "llm-inference"), ("variant", name)];
        answer.series(labels, i as f64, Timestamp::default()).unwrap();
        answer.age(Age::exact(Duration::from_millis(i as u64)));
    }
    answer.build()
}

/// Readings of 1,000 rows, and what judges them again.
fn judged() -> (Readings, impl Fn()) {
    let queries = QueryList::new();
    queries.must_register(QueryTemplate::promql("queue", "up").ttl(Duration::from_secs(3_600)));
    let query = queries.get("queue").unwrap();
    let clock = Clock::system();
    let cache = Cache::new(CacheConfig::default(), clock.clone());
    let result = MetricResult::new(query.name().clone(), clock.wall(), answer());
    cache.store(&query, &Params::new(), result);
    let policy = Policy::default()
        .max_age(Duration::from_secs(1_800))
        .on_error(OnError::Hold)
        .hold(Duration::from_secs(3_600));
    let spec = ReadingSpec::new("queue", query.name().clone()).policy(policy);
    let readings = Readings::new(spec, clock).unwrap();
    let judge = {
        let readings = readings.clone();
        move || {
            readings.update(&cache.lookup(&query, &Params::new()), None);
        }
    };
    judge();
    (readings, judge)
}

/// One iteration reads each of the 1,000 rows once.
#[divan::bench(threads = [1, 2])]
fn get_2_labels_of_1k_rows(bencher: Bencher<'_, '_>) {
    let (readings, _) = judged();
    let names = names();
    bencher.counter(ItemsCount::new(ROWS)).bench(|| {
        let mut reader = readings.reader();
        for name in &names {
            let labels = [("namespace", "llm-inference"), ("variant", name)];
            black_box(reader.get(black_box(&labels)).value().unwrap());
        }
    });
}

/// One iteration reads all rows in their order.
#[divan::bench]
fn rows_1k(bencher: Bencher<'_, '_>) {
    let (readings, _) = judged();
    bencher.counter(ItemsCount::new(ROWS)).bench(|| {
        let mut reader = readings.reader();
        reader.rows().for_each(|reading| {
            black_box(reading.value().unwrap());
        });
    });
}

#[divan::bench]
fn judge_1k_rows(bencher: Bencher<'_, '_>) {
    let (_, judge) = judged();
    bencher.counter(ItemsCount::new(ROWS)).bench(judge);
}

#[divan::bench(threads = [1, 2])]
fn alternative_rwlock_map_of_1k_rows(bencher: Bencher<'_, '_>) {
    let rows = names().into_iter().enumerate();
    let rows: HashMap<_, _> = rows
        .map(|(i, name)| (format!("llm-inference/{name}"), (i as f64, Instant::now())))
        .collect();
    let rows = RwLock::new(rows);
    let names = names();
    bencher.counter(ItemsCount::new(ROWS)).bench(|| {
        for name in &names {
            let rows = rows.read().unwrap();
            let (value, sampled) = rows[&format!("{}/{name}", black_box("llm-inference"))];
            assert!(sampled.elapsed() < Duration::from_secs(1_800));
            black_box(value);
        }
    });
}
