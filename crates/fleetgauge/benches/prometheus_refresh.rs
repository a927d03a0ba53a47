//! What does a refresh of 10 queries cost the client, against a real Prometheus?
//!
//! Prints the processor time of this process (all threads, user and system) and the wall time of one
//! refresh, as medians over batches, and how many connections are open afterwards. The aim is 1 ms of
//! processor time, with connections reused. Prometheus is Debian's; the bench ends early where it is missing.
//!
//! Variants: `h1` is the plain case of the aim, `h2` goes over TLS, `current_thread` is `h1` in a runtime
//! without worker threads.
//!
//! And what do companions cost, which tell how old values are, for the client and for the server? Refreshes without and
//! with them in turns; the aims are 1.3 times the client's processor time, and 2.5 times the server's.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fleetgauge::prometheus::{Companions, PrometheusSource, PrometheusSourceConfig};
use fleetgauge_core::query::QueryTemplate;
use fleetgauge_core::source::{MetricsSource, RefreshSpec};
use fleetgauge_testkit::tls::Server;
use fleetgauge_testkit::{Certificates, OpenMetrics, Prometheus, http};
use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::{Builder, Runtime};

const QUERIES: usize = 10;
const SERIES: usize = 10;
const MANY: usize = 1_000;
const BATCHES: usize = 21;
const REFRESHES: u32 = 50;

fn main() {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_secs();
    let now = u32::try_from(now).expect("before 2106");
    let data = (0..SERIES).fold(OpenMetrics::new(), |data, i| {
        let labels = [("namespace", "llm"), ("pod", &*format!("llama-8b-decode-{i}"))];
        data.steady(
            "vllm:num_requests_waiting",
            &labels,
            i as f64,
            (now - 600 - i as u32 % 15, now + 3600, 15),
        )
    });
    let data = (0..MANY).fold(data, |data, i| {
        let labels = [("namespace", "llm"), ("pod", &*format!("many-{i}"))];
        data.steady(
            "vllm:num_requests_waiting",
            &labels,
            i as f64,
            (now - 600 - i as u32 % 15, now + 1800, 15),
        )
    });
    let prometheus = match Prometheus::builder().data(&data).named_by_environment().start() {
        Ok(prometheus) => prometheus,
        Err(error) => return println!("no Prometheus to measure with: {error}"),
    };
    let config = PrometheusSourceConfig::new(prometheus.url());
    let threads = Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let threads = threads.expect("a runtime");
    measure("h1", &threads, config.clone());
    let single = Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    measure("h1, current_thread", &single, config);
    companions("10_series", &threads, &prometheus, "llama-8b-decode-.*", SERIES);
    companions("1000_series", &threads, &prometheus, "many-.*", MANY);

    let certificates = Certificates::generate().expect("certificates");
    let identity = certificates.server(Server::Valid).expect("a certificate");
    let (cert, key) = (identity.cert.display(), identity.key.display());
    let web = format!("tls_server_config:\n  cert_file: {cert}\n  key_file: {key}\n");
    let prometheus = Prometheus::builder()
        .data(&data)
        .web_config(web)
        .named_by_environment()
        .start()
        .expect("Prometheus");
    let url = format!("https://{}", prometheus.addr());
    measure(
        "h2",
        &threads,
        PrometheusSourceConfig::new(url).with_ca_file(certificates.ca()),
    );
}

fn measure(name: &str, runtime: &Runtime, config: PrometheusSourceConfig) {
    let source = PrometheusSource::new(config).expect("a source");
    for i in 0..QUERIES {
        let template = format!(r#"sum by (pod) (vllm:num_requests_waiting{{pod=~"llama.*"}}) + {i}"#);
        let query = QueryTemplate::promql(format!("q{i}"), template);
        source.query_list().register(query).expect("a query");
    }
    let refresh = || {
        let results = runtime.block_on(source.refresh(RefreshSpec::all()));
        assert!(results.answers().all(|(_, answer)| answer.len() == SERIES));
        assert!(results.is_complete(), "{:?}", results.failures().next());
    };
    refresh();
    let mut batches: Vec<(Duration, Duration)> = (0..BATCHES)
        .map(|_| {
            let (cpu, wall) = (processor_time(), Instant::now());
            (0..REFRESHES).for_each(|_| refresh());
            ((processor_time() - cpu) / REFRESHES, wall.elapsed() / REFRESHES)
        })
        .collect();
    batches.sort();
    let cpu = batches[BATCHES / 2].0;
    batches.sort_by_key(|batch| batch.1);
    let wall = batches[BATCHES / 2].1;
    println!("refresh/{QUERIES}_queries_{SERIES}_series ({name}): client CPU {cpu:?}, wall {wall:?}");
}

/// What asking for ages costs, of plain selectors and of rates.
fn companions(name: &str, runtime: &Runtime, server: &Prometheus, pods: &str, series: usize) {
    for (kind, before, after) in [("newest", "", ""), ("rate", "rate(", "[5m])")] {
        let sources = [Companions::none(), Companions::ages()].map(|companions| {
            let config = PrometheusSourceConfig::new(server.url()).with_companions(companions);
            let source = PrometheusSource::new(config).expect("a source");
            for i in 0..QUERIES {
                // No two of them read by the same selector: what is asked twice is asked once.
                let read = format!(r#"vllm:num_requests_waiting{{pod=~"{pods}",pod!="{i}"}}"#);
                let text = format!("sum by (pod) ({before}{read}{after})");
                let query = QueryTemplate::promql(format!("q{i}"), text);
                source.query_list().register(query).expect("a query");
            }
            source
        });
        let refresh = |source: &PrometheusSource| {
            let results = runtime.block_on(source.refresh(RefreshSpec::all()));
            assert!(results.answers().all(|(_, answer)| answer.len() == series));
            assert!(results.is_complete(), "{:?}", results.failures().next());
            results
        };
        // On a machine that is busy the first may come too late, since it asks for each row.
        let are_told = || {
            let results = refresh(&sources[1]);
            let mut ages = results
                .answers()
                .flat_map(|(_, answer)| (0..series).map(|row| answer.age(row)));
            ages.all(|age| age.duration().is_some())
        };
        assert!((0..10).any(|_| are_told()));
        let refreshes = if series > 100 { 2 } else { REFRESHES };
        let mut batches: [Vec<[Duration; 3]>; 2] = Default::default();
        for _ in 0..BATCHES {
            for (source, batches) in sources.iter().zip(&mut batches) {
                let (theirs, ours, wall) = (server_time(server), processor_time(), Instant::now());
                (0..refreshes).for_each(|_| {
                    refresh(source);
                });
                let wall = wall.elapsed();
                let (ours, theirs) = (processor_time() - ours, server_time(server) - theirs);
                batches.push([ours, theirs, wall].map(|time| time / refreshes));
            }
        }
        let median = |batches: &[[Duration; 3]], what: usize| {
            let mut times: Vec<_> = batches.iter().map(|batch| batch[what]).collect();
            times.sort();
            times[times.len() / 2]
        };
        for (what, label) in ["client CPU", "server CPU", "wall"].into_iter().enumerate() {
            let [without, with] = [0, 1].map(|i| median(&batches[i], what));
            let times = with.as_secs_f64() / without.as_secs_f64();
            println!(
                "companions/{QUERIES}_queries_{name} ({kind}): {label} {without:?} without, {with:?} with: {times:.2} times"
            );
        }
    }
}

/// What the server says of its own processor time.
fn server_time(server: &Prometheus) -> Duration {
    let page = http::get(server.addr(), "/metrics").expect("its metrics").text();
    let line = page
        .lines()
        .find_map(|line| line.strip_prefix("process_cpu_seconds_total "));
    let seconds: f64 = line
        .and_then(|seconds| seconds.parse().ok())
        .expect("its processor time");
    Duration::from_secs_f64(seconds)
}

/// Of this process, with all its threads.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}
