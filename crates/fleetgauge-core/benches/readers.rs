//! How long does the slowest of a thousand readers of one key wait, while a hundred refreshes a second
//! replace its value?
//!
//! Prints quantiles of single reads, without and with refreshes, and the same for the usual way: a map
//! behind a read-write lock that is held while a refresh runs. Reads are timed one by one, so each figure
//! includes the cost of reading the clock, which is printed too. On a machine with fewer cores than readers
//! the tail shows the scheduler, which the run without refreshes lets one subtract.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use fleetgauge_core::params::Params;
use fleetgauge_core::query::QueryTemplate;
use fleetgauge_core::source::{FixedBackend, FixedSource, MetricsSource, RefreshSpec};

const READERS: usize = 1_000;
const READS: usize = 400;
/// How long a reader does something else between two reads.
const PAUSE: Duration = Duration::from_millis(5);
const REFRESHES_PER_SECOND: u32 = 100;
/// How long one refresh of the alternative holds its lock: the answer of a fast server.
const REFRESH_TIME: Duration = Duration::from_millis(5);

fn main() {
    // `cargo bench` passes flags that mean something to other benches only.
    let clock = times(|| {});
    report("clock alone", &clock);

    let source = warm();
    let read = {
        let source = source.clone();
        let params = params();
        move || {
            black_box(source.get("query", black_box(&params))).unwrap();
        }
    };
    report("get, idle", &crowd(&read));
    let refreshing = Background::start(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let source = source.clone();
        move || {
            runtime.block_on(source.refresh(RefreshSpec::all().params(params())));
        }
    });
    report("get, 100 refreshes/s", &crowd(&read));
    refreshing.stop();

    let map: Arc<RwLock<HashMap<&str, Arc<u64>>>> = Arc::default();
    map.write().unwrap().insert("query", Arc::new(0));
    let read = {
        let map = Arc::clone(&map);
        move || {
            black_box(map.read().unwrap().get(black_box("query")).cloned().unwrap());
        }
    };
    let refreshing = Background::start(move || {
        move || {
            let mut map = map.write().unwrap();
            std::thread::sleep(REFRESH_TIME);
            map.insert("query", Arc::new(1));
        }
    });
    report("lock held in refresh", &crowd(&read));
    refreshing.stop();
}

fn params() -> Params {
    [("namespace", "llm-inference"), ("modelID", "llama-8b")].into()
}

fn warm() -> FixedSource {
    let source = FixedBackend::new()
        .values("query", [([("pod", "a")], 1.0)])
        .into_source();
    let template = r#"up{namespace="{{.namespace}}",model_name="{{.modelID}}"}"#;
    source
        .query_list()
        .must_register(QueryTemplate::promql("query", template).params(["namespace", "modelID"]));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    assert!(
        runtime
            .block_on(source.refresh(RefreshSpec::all().params(params())))
            .is_complete()
    );
    source
}

/// Something done at a fixed rate until told to stop.
struct Background {
    done: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<()>,
}

impl Background {
    fn start<W: FnMut(), F: FnOnce() -> W + Send + 'static>(make: F) -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let done = Arc::clone(&done);
            move || {
                let mut work = make();
                while !done.load(Ordering::Relaxed) {
                    let start = Instant::now();
                    work();
                    std::thread::sleep(
                        (Duration::from_secs(1) / REFRESHES_PER_SECOND).saturating_sub(start.elapsed()),
                    );
                }
            }
        });
        Self { done, thread }
    }

    fn stop(self) {
        self.done.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
    }
}

/// The times of all reads of all readers, sorted.
fn crowd(read: &(impl Fn() + Sync)) -> Vec<Duration> {
    let mut all: Vec<_> = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..READERS).map(|_| scope.spawn(|| times(read))).collect();
        readers
            .into_iter()
            .flat_map(|reader| reader.join().unwrap())
            .collect()
    });
    all.sort_unstable();
    all
}

fn times(read: impl Fn()) -> Vec<Duration> {
    let mut times: Vec<_> = (0..READS)
        .map(|_| {
            let start = Instant::now();
            read();
            let took = start.elapsed();
            std::thread::sleep(PAUSE);
            took
        })
        .collect();
    times.sort_unstable();
    times
}

fn report(what: &str, sorted: &[Duration]) {
    let quantile = |q: f64| sorted[((sorted.len() - 1) as f64 * q) as usize];
    let [p50, p99, p999] = [0.5, 0.99, 0.999].map(quantile);
    println!(
        "{what:<22} p50 {p50:>10.1?}  p99 {p99:>10.1?}  p99.9 {p999:>10.1?}  reads {}",
        sorted.len()
    );
}
