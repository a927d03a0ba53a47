//! What does it cost to scrape a whole fleet every second?
//!
//! Simulated vLLM pods with two ranks, 107 KB a page and a port each, run in a process of their own. The
//! collector is this process: the bench prints its processor time per second (all threads, user and system),
//! its resident memory, and what it scraped, for 100, 1,000 and 3,000 pods; the aim is 0.6 of one core at
//! 1,000. In the same run all of it is then sent on by remote write to a process that reads and forgets it; the aim is 0.15 of
//! a core and 64 MiB beside scraping at 1,000. Then a real Prometheus scrapes the same pods, as the alternative, and then vmagent, which
//! keeps nothing. The pages are not compressed.
//!
//! Before remote write the bench also asks how late scrapes are where queries take all cores that they can get; the aim is 50 ms
//! for 99 of 100.
//!
//! Pods and collector share the machine: where the two of them need more than it has, scrapes are late, and
//! the bench says so. `cargo bench --bench scrape_fleet -- 100 500` asks for other sizes.
//!
//! `MINUTES=15 cargo bench --bench scrape_fleet -- 1000` asks instead what is resident after 15 minutes, when all that the window
//! keeps is there: of the collector, and then of the Prometheus, as long again. `PICTURE=FILE` writes both over time as SVG.

#[path = "support/memory.rs"]
mod memory;
#[path = "support/picture.rs"]
mod picture;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, available_parallelism};
use std::time::{Duration, Instant};

use fleetgauge::prometheus::remote_write::{RemoteWrite, RemoteWriteConfig};
use fleetgauge::promql::engine::Engine;
use fleetgauge::promql::matcher::Matcher;
use fleetgauge::promql::window::WindowConfig;
use fleetgauge::scrape::{FileDiscovery, ScrapeConfig, ScrapeSource};
use fleetgauge::time::{Clock, Timestamp};
use fleetgauge_sim::{EngineKind, Fleet, Load, Variant};
use fleetgauge_testkit::process::{Server, temp_dir};
use fleetgauge_testkit::{Prometheus, http};
use memory::resident_bytes;
use picture::{Line, memory_over_time};
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::runtime::Builder;

const WARM_UP: Duration = Duration::from_secs(5);
const MEASURED: Duration = Duration::from_secs(15);
/// As long as `MEASURED_PASSES` of remote write, which flushes every 10 s.
const MEASURED_LONGER: Duration = Duration::from_secs(30);
const MEASURED_PASSES: usize = 3;
/// For an alternative that begins.
const PATIENCE: Duration = Duration::from_secs(120);

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    if let [serve, pods] = &arguments[..]
        && serve == "serve"
    {
        return serve_fleet(pods.parse().expect("a number of pods"));
    }
    if arguments == ["sink"] {
        return sink();
    }
    raise_file_limit();
    let mut sizes: Vec<usize> = arguments.iter().filter_map(|size| size.parse().ok()).collect();
    if sizes.is_empty() {
        sizes = vec![100, 1_000, 3_000];
    }
    println!(
        "{:>6}  {:>28}  {:>12}  {:>12}  {:>10}",
        "pods", "collector", "cores", "resident", "scrapes/s"
    );
    let minutes = std::env::var("MINUTES").map(|minutes| minutes.parse().expect("MINUTES is a number"));
    for pods in sizes {
        let fleet = FleetProcess::start(pods);
        if let Ok(minutes) = minutes {
            resident_over(minutes, pods, &fleet);
            continue;
        }
        ours(pods, &fleet);
        // They would only tell that the machine is too small.
        if pods <= 1_000 {
            prometheus(pods, &fleet);
            vmagent(pods, &fleet);
        }
    }
}

/// What is resident over so many minutes, of us and then of Prometheus.
fn resident_over(minutes: u64, pods: usize, fleet: &FleetProcess) {
    let over_time = |name: String, pid: u32, scrapes: &dyn Fn() -> u64| {
        let (began, first, cpu) = (Instant::now(), scrapes(), cpu_of(pid));
        let mut points = Vec::new();
        while began.elapsed() < Duration::from_secs(60 * minutes) {
            let resident = resident_bytes("VmRSS", pid) as f64;
            points.push((began.elapsed().as_secs_f64(), resident));
            std::thread::sleep(Duration::from_secs(5));
        }
        row(pods, &name, began, cpu_of(pid) - cpu, pid, scrapes() - first);
        Line { name, points }
    };
    let runtime = Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let source = runtime.block_on(source(fleet));
    let scrapes = || source.scrape_stats().scrapes;
    let mut lines = vec![over_time("fleetgauge".to_owned(), std::process::id(), &scrapes)];
    println!("        {:?}", source.window().stats());
    runtime.block_on(source.shutdown());
    match start_prometheus(fleet) {
        Ok(server) => lines.push(over_time(
            format!("Prometheus {}", server.version().unwrap_or_default()),
            server.pid(),
            &|| scraped_by(&server),
        )),
        Err(error) => println!("        no Prometheus to compare with: {error}"),
    }
    if let Ok(file) = std::env::var("PICTURE") {
        std::fs::write(file, memory_over_time(&lines)).expect("the picture is written");
    }
}

async fn source(fleet: &FleetProcess) -> ScrapeSource {
    let window = WindowConfig::default()
        .with_max_series(5_000_000, 20_000)
        .with_max_bytes(8 << 30);
    let config = ScrapeConfig::new("fleet")
        .with_interval(Duration::from_secs(1))
        .with_window(window);
    let pods = FileDiscovery::new([fleet.file_sd.path()]);
    ScrapeSource::start(config, [Arc::new(pods) as _]).expect("a source")
}

/// A pod takes a descriptor, and so does each end of a connection; the fleet's process inherits the limit.
fn raise_file_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Where it stays low, the largest fleet does not start, and says so.
    let _ = setrlimit(Resource::Nofile, limit);
}

struct FleetProcess {
    child: Child,
    file_sd: tempfile::NamedTempFile,
}

impl FleetProcess {
    fn start(pods: usize) -> Self {
        let this = std::env::current_exe().expect("this program");
        let mut child = Command::new(this)
            .args(["serve", &pods.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the fleet starts");
        let mut text = String::new();
        let out = child.stdout.take().expect("piped");
        for line in BufReader::new(out).lines() {
            let line = line.expect("a line");
            if line == "END" {
                break;
            }
            text.push_str(&line);
        }
        let file_sd = tempfile::Builder::new()
            .suffix(".json")
            .tempfile()
            .expect("a file");
        std::fs::write(file_sd.path(), text).expect("written");
        Self { child, file_sd }
    }

    fn cpu(&self) -> Duration {
        cpu_of(self.child.id())
    }
}

impl Drop for FleetProcess {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// The fleet, until its standard input ends.
fn serve_fleet(pods: usize) {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let model = "meta-llama/Llama-3.1-8B-Instruct";
        let large = Variant::new("ns", "large", EngineKind::Vllm { ranks: 2 }, model)
            .with_replicas(pods)
            .with_gzip(false)
            .with_load(Load::Steady { rate: 5.0 });
        let fleet = Fleet::builder().variant(large).start().await.expect("a fleet");
        println!("{}\nEND", fleet.targets_file_sd());
        let end = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
        let _ = end.await;
        fleet.shutdown().await;
    });
}

fn ours(pods: usize, fleet: &FleetProcess) {
    let runtime = Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let source = source(fleet).await;
        tokio::time::sleep(WARM_UP).await;
        let this = std::process::id();
        let scrapes = || source.scrape_stats().scrapes;
        let (began, cpu, fleet_cpu, first) = (Instant::now(), cpu_of(this), fleet.cpu(), scrapes());
        tokio::time::sleep(MEASURED).await;
        let (cpu, fleet_cpu) = (cpu_of(this) - cpu, fleet.cpu() - fleet_cpu);
        row(pods, "fleetgauge", began, cpu, this, scrapes() - first);
        let stats = source.window().stats();
        println!(
            "        {} series, {:.0} MiB by the window's count; the pods took {:.2} cores; failed since the start: {:?}",
            stats.series,
            stats.bytes as f64 / f64::from(1 << 20),
            fleet_cpu.as_secs_f64() / began.elapsed().as_secs_f64(),
            source.scrape_stats().failures,
        );
        lateness(&source, "no queries", MEASURED);
        let queries = Queries::start(&source);
        tokio::time::sleep(MEASURED).await;
        lateness(&source, &format!("{:.1} queries a second", queries.end()), MEASURED);
        // As long without as with: the window grows meanwhile.
        let measure = async |who: &str, lasting: Pin<Box<dyn Future<Output = ()>>>| {
            let (began, cpu, first) = (Instant::now(), cpu_of(this), scrapes());
            lasting.await;
            let cpu = cpu_of(this) - cpu;
            row(pods, who, began, cpu, this, scrapes() - first);
            let beside = resident_bytes("VmRSS", this) as f64 - source.window().stats().bytes as f64;
            println!("        {:.0} MiB beside the window", beside / f64::from(1 << 20));
        };
        measure("the same for longer", Box::pin(tokio::time::sleep(MEASURED_LONGER))).await;
        let sink = SinkProcess::start();
        let config = RemoteWriteConfig::new(&sink.url).with_external_label("replica", "a");
        let remote = RemoteWrite::new(config, [source.window().clone()]).expect("a configuration");
        let remote = Arc::new(remote);
        let running = Arc::clone(&remote);
        let running = tokio::spawn(async move { running.run(std::future::pending()).await });
        // What was there by now is sent first, and what came meanwhile: that is no part of what is measured. Then whole passes
        // are, so that as much is sent as comes.
        passes(Arc::clone(&remote), 3).await;
        let (began, sent) = (Instant::now(), remote.stats().sent);
        measure("and remote write", Box::pin(passes(Arc::clone(&remote), MEASURED_PASSES))).await;
        let sent = (remote.stats().sent - sent) as f64 / began.elapsed().as_secs_f64();
        println!("        {sent:.0} samples sent a second; {:?}", remote.stats());
        running.abort();
        source.shutdown().await;
    });
}

/// Who asks for a quantile of all pods, over and over, on as many threads as there are cores.
struct Queries {
    ended: Arc<AtomicBool>,
    threads: Vec<JoinHandle<usize>>,
    began: Instant,
}

impl Queries {
    fn start(source: &ScrapeSource) -> Self {
        const QUERY: &str =
            "histogram_quantile(0.99, sum by (le, pod) (rate(vllm:time_to_first_token_seconds_bucket[10s])))";
        let (ended, engine) = (Arc::new(AtomicBool::new(false)), Arc::new(Engine::default()));
        let threads = (0..available_parallelism().map_or(1, usize::from)).map(|_| {
            let (ended, engine, window) = (Arc::clone(&ended), Arc::clone(&engine), source.window().clone());
            std::thread::spawn(move || {
                let mut count = 0;
                while !ended.load(Ordering::Relaxed) {
                    let answer = engine.instant(&window, QUERY, Clock::default().wall());
                    assert!(!answer.expect("an answer").answer.is_empty());
                    count += 1;
                }
                count
            })
        });
        let threads = threads.collect();
        let began = Instant::now();
        Self {
            ended,
            threads,
            began,
        }
    }

    /// Queries a second.
    fn end(self) -> f64 {
        self.ended.store(true, Ordering::Relaxed);
        let count: usize = self
            .threads
            .into_iter()
            .map(|thread| thread.join().expect("no panic"))
            .sum();
        count as f64 / self.began.elapsed().as_secs_f64()
    }
}

/// Prints how late the scrapes of the last seconds were, by the dates of their samples. A date up to 10 ms late is that of its turn,
/// and a target's turn is what most of its dates say.
fn lateness(source: &ScrapeSource, who: &str, of: Duration) {
    let metric = Matcher::equal("__name__", "vllm:num_requests_running");
    let engine = Matcher::equal("engine", "0");
    let now = Clock::default().wall();
    let from = Timestamp::from_millis(now.as_millis() - of.as_millis() as i64);
    let mut late = Vec::new();
    for series in source.window().select(&[metric, engine], from, now).iter() {
        let times = series.samples(from, now);
        let phases = times
            .iter()
            .map(|sample| sample.timestamp.as_millis().rem_euclid(1_000));
        let mut counts = BTreeMap::new();
        phases
            .clone()
            .for_each(|phase| *counts.entry(phase).or_insert(0) += 1);
        let Some((turn, _)) = counts.into_iter().max_by_key(|(_, count)| *count) else {
            continue;
        };
        late.extend(
            phases
                .map(|phase| (phase - turn).rem_euclid(1_000))
                .map(|late| if late > 900 { 0 } else { late }),
        );
        // A turn that was left out is as late as can be.
        late.resize(
            late.len() + (of.as_secs() as usize).saturating_sub(1 + times.len()),
            1_000,
        );
    }
    late.sort_unstable();
    let at = |share: usize| late.get(late.len() * share / 1_000).copied().unwrap_or(0);
    println!(
        "        {who}: of {} scrapes 99 % at most {} ms late, 99.9 % {} ms, all {} ms",
        late.len(),
        at(990),
        at(999),
        late.last().copied().unwrap_or(0),
    );
}

/// Waits until `remote` has sent all that there was so many times.
async fn passes(remote: Arc<RemoteWrite>, count: usize) {
    let mut ended: BTreeSet<_> = remote.stats().sent_until.into_iter().collect();
    let count = ended.len() + count;
    while ended.len() < count {
        tokio::time::sleep(Duration::from_millis(20)).await;
        ended.extend(remote.stats().sent_until);
    }
}

/// Takes whatever is sent to it.
struct SinkProcess {
    child: Child,
    url: String,
}

impl SinkProcess {
    fn start() -> Self {
        let this = std::env::current_exe().expect("this program");
        let mut child = Command::new(this)
            .arg("sink")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the sink starts");
        let mut url = String::new();
        let out = child.stdout.take().expect("piped");
        BufReader::new(out).read_line(&mut url).expect("a line");
        Self {
            child,
            url: url.trim().to_owned(),
        }
    }
}

impl Drop for SinkProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads requests and says that they were taken, one after the other.
fn sink() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    println!("http://{}/write", listener.local_addr().expect("an address"));
    for connection in listener.incoming() {
        let mut connection = BufReader::new(connection.expect("a connection"));
        loop {
            let (mut length, mut line) = (None, String::new());
            while connection.read_line(&mut line).is_ok_and(|read| read > 2) {
                let lower = line.to_ascii_lowercase();
                let found = lower.strip_prefix("content-length:");
                length = length.or(found.and_then(|length| length.trim().parse::<u64>().ok()));
                line.clear();
            }
            let Some(length) = length else { break };
            let mut body = connection.by_ref().take(length);
            std::io::copy(&mut body, &mut std::io::sink()).expect("a body");
            let answer = b"HTTP/1.1 204 No Content\r\n\r\n";
            connection.get_mut().write_all(answer).expect("an answer");
        }
    }
}

fn scrape_config(fleet: &FleetProcess) -> String {
    let path = fleet.file_sd.path().display();
    format!(
        "scrape_configs: [{{job_name: fleet, scrape_interval: 1s, scrape_timeout: 1s, file_sd_configs: [{{files: ['{path}']}}]}}]"
    )
}

fn start_prometheus(fleet: &FleetProcess) -> fleetgauge_testkit::Result<Prometheus> {
    Prometheus::builder()
        .config(scrape_config(fleet))
        .named_by_environment()
        .start()
}

fn scraped_by(server: &Prometheus) -> u64 {
    let counts = server
        .query("sum(count_over_time(up[1h]))", None)
        .expect("an answer");
    counts[0]["value"][1]
        .as_str()
        .map_or(0, |n| n.parse().expect("a count"))
}

fn prometheus(pods: usize, fleet: &FleetProcess) {
    match start_prometheus(fleet) {
        Ok(server) => alternative(pods, "Prometheus", server.pid(), &|| scraped_by(&server)),
        Err(error) => println!("        no Prometheus to compare with: {error}"),
    }
}

/// It has to send what it scrapes, and sends it to one who forgets it.
fn vmagent(pods: usize, fleet: &FleetProcess) {
    let sink = SinkProcess::start();
    let dir = temp_dir().expect("a directory");
    let file = |name: &str| dir.path().join(name).display().to_string();
    let (config, queue) = (file("scrape.yaml"), file("queue"));
    std::fs::write(&config, scrape_config(fleet)).expect("written");
    let args = |addr| {
        vec![
            format!("-promscrape.config={config}"),
            format!("-remoteWrite.url={}", sink.url),
            format!("-remoteWrite.tmpDataPath={queue}"),
            format!("-httpListenAddr={addr}"),
        ]
    };
    let ready =
        |addr, _: &str| http::get(addr, "/metrics").is_ok_and(|answer| answer.text().contains(&queue));
    match Server::start("vmagent".as_ref(), dir, None, args, ready) {
        Ok(server) => alternative(pods, "vmagent", server.pid(), &|| {
            let page = http::get(server.addr(), "/metrics")
                .expect("its own metrics")
                .text();
            let mut lines = page.lines();
            let count = lines
                .find_map(|line| line.strip_prefix(r#"vm_promscrape_scrapes_total{status_code="200"} "#));
            count.map_or(0, |count| count.parse().expect("a count"))
        }),
        Err(error) => println!("        no vmagent to compare with: {error}"),
    }
}

fn alternative(pods: usize, who: &str, pid: u32, scraped: &dyn Fn() -> u64) {
    let deadline = Instant::now() + PATIENCE;
    while scraped() < 2 * pods as u64 {
        if Instant::now() > deadline {
            return println!("        {who} does not scrape the pods");
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    std::thread::sleep(WARM_UP);
    let (began, cpu, first) = (Instant::now(), cpu_of(pid), scraped());
    std::thread::sleep(MEASURED);
    row(pods, who, began, cpu_of(pid) - cpu, pid, scraped() - first);
}

fn row(pods: usize, who: &str, began: Instant, cpu: Duration, pid: u32, scrapes: u64) {
    let seconds = began.elapsed().as_secs_f64();
    let (cores, rate) = (cpu.as_secs_f64() / seconds, scrapes as f64 / seconds);
    let resident = resident_bytes("VmRSS", pid) as f64 / f64::from(1 << 20);
    println!("{pods:>6}  {who:>28}  {cores:>12.3}  {resident:>8.0} MiB  {rate:>10.0}");
}

/// The processor time a process has used.
fn cpu_of(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("Linux");
    // After the name, which may hold anything, in parentheses.
    let fields: Vec<_> = stat
        .rsplit(')')
        .next()
        .expect("fields")
        .split_whitespace()
        .collect();
    let ticks = |field: usize| fields[field].parse::<u64>().expect("ticks");
    // Linux counts a hundred a second, whatever the kernel's own tick.
    Duration::from_millis((ticks(11) + ticks(12)) * 10)
}
