//! What does one read of a cached value cost, and does a second reading thread get as much done as the
//! first? Two threads are asked twice: where both read the same keys in the same order, and would meet at
//! whatever a read writes to, and where each has keys of its own.
//!
//! The alternative in the same run is the usual way: a joined string key into a map behind a read-write
//! lock.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use divan::Bencher;
use divan::counter::ItemsCount;
use fleetgauge_core::params::Params;
use fleetgauge_core::query::QueryTemplate;
use fleetgauge_core::source::{FixedBackend, FixedSource, MetricsSource, RefreshSpec};

#[global_allocator]
static ALLOCATIONS: divan::AllocProfiler = divan::AllocProfiler::system();

const ENTRIES: usize = 1_000;

fn main() {
    divan::main();
}

/// 10 queries with 100 sets of 2 parameters each, all refreshed.
fn warm_source() -> (FixedSource, Vec<(String, Params)>) {
    let source = FixedBackend::new().into_source();
    let queries = (0..10).map(|i| format!("query_number_{i}"));
    let template = r#"up{namespace="{{.namespace}}",model_name="{{.modelID}}"}"#;
    for name in queries {
        source
            .query_list()
            .must_register(QueryTemplate::promql(name, template).params(["namespace", "modelID"]));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut keys = Vec::new();
    for i in 0..ENTRIES / 10 {
        let model = format!("meta-llama/Llama-3.1-8B-Instruct-{i}");
        let params: Params = [("namespace", "llm-inference"), ("modelID", &model)].into();
        assert!(
            runtime
                .block_on(source.refresh(RefreshSpec::all().params(params.clone())))
                .is_complete()
        );
        keys.extend(
            source
                .query_list()
                .list()
                .into_iter()
                .map(|name| (name, params.clone())),
        );
    }
    (source, keys)
}

/// One iteration reads each of the 1,000 keys once.
#[divan::bench(threads = [1, 2])]
fn get_2_params_of_1k_entries(bencher: Bencher<'_, '_>) {
    let (source, keys) = warm_source();
    bencher.counter(ItemsCount::new(ENTRIES)).bench(|| {
        for (name, params) in &keys {
            black_box(source.get(black_box(name), black_box(params)).unwrap());
        }
    });
}

/// As many reads, of keys that no other thread reads.
#[divan::bench(threads = [1, 2])]
fn get_2_params_of_own_keys(bencher: Bencher<'_, '_>) {
    thread_local! {
        static SHARE: usize = NEXT_SHARE.fetch_add(1, Ordering::Relaxed);
    }
    static NEXT_SHARE: AtomicUsize = AtomicUsize::new(0);
    let (source, keys) = warm_source();
    let (even, odd) = keys.split_at(ENTRIES / 2);
    bencher.counter(ItemsCount::new(ENTRIES)).bench(|| {
        let own = SHARE.with(|share| if share % 2 == 0 { even } else { odd });
        for (name, params) in own.iter().chain(own) {
            black_box(source.get(black_box(name), black_box(params)).unwrap());
        }
    });
}

/// One iteration reads one key 1,000 times through a handle.
#[divan::bench(threads = [1, 2])]
fn get_prepared(bencher: Bencher<'_, '_>) {
    let (source, keys) = warm_source();
    let prepared = source.prepare(&keys[7].0, &keys[7].1).unwrap();
    bencher.counter(ItemsCount::new(ENTRIES)).bench(|| {
        let mut prepared = prepared.clone();
        for _ in 0..ENTRIES {
            black_box(black_box(&mut prepared).get().unwrap());
        }
    });
}

/// The joined key and the lock that the usual implementation pays for on every read.
#[divan::bench(threads = [1, 2])]
fn alternative_rwlock_joined_key_of_1k_entries(bencher: Bencher<'_, '_>) {
    let (_, keys) = warm_source();
    let map: HashMap<String, (Arc<()>, Instant)> = keys
        .iter()
        .map(|(name, params)| (joined(name, params), (Arc::new(()), Instant::now())))
        .collect();
    let map = RwLock::new(map);
    bencher.counter(ItemsCount::new(ENTRIES)).bench(|| {
        for (name, params) in &keys {
            let map = map.read().unwrap();
            let (value, cached) = map.get(&joined(black_box(name), black_box(params))).unwrap();
            assert!(cached.elapsed() < Duration::from_secs(3600));
            black_box(Arc::clone(value));
        }
    });
}

fn joined(name: &str, params: &Params) -> String {
    let mut pairs: Vec<_> = params.iter().map(|(n, v)| format!("{n}={v}")).collect();
    pairs.sort();
    format!("{name}:{}", pairs.join(","))
}
