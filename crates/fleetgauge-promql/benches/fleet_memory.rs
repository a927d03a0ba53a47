//! How much memory does a fleet take that has been scraped once a second for 15 minutes, where the process has nothing else?
//!
//! Pages are appended without HTTP and without waiting for the next second, so that 15 minutes take one or two; the memory is what
//! the system counts as resident, freed and fragmented room included. The aims are 1.4 GiB for 1,000 pods of 815 series and 2.5 GiB
//! for 10,000 of 200. `scrape_fleet` of the crate `fleetgauge` measures the same by HTTP in real time.
//!
//! Each size runs in a process of its own. `cargo bench -p fleetgauge-promql --bench fleet_memory`; `-- PODS SERIES` for one size;
//! `PICTURE=FOLDER` writes the memory of each over time as SVG.

#[path = "../../fleetgauge/benches/support/memory.rs"]
mod memory;
#[path = "../tests/support/page.rs"]
mod page;
#[path = "../../fleetgauge/benches/support/picture.rs"]
mod picture;

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use fleetgauge_core::time::Timestamp;
use fleetgauge_promql::window::{Appender, Window, WindowConfig};
use memory::resident_bytes;
use page::Page;
use picture::{Line, memory_over_time};

const START: i64 = 1_763_930_000_000;
const SECONDS: usize = 900;
/// So often the memory is looked at.
const LOOK_SECONDS: usize = 15;
/// Pods take turns with so many pages: each keeps its samples by itself, whatever others have.
const PAGES: u64 = 40;

fn main() {
    let sizes: Vec<usize> = std::env::args()
        .skip(1)
        .filter_map(|size| size.parse().ok())
        .collect();
    match sizes[..] {
        [pods, series] => measure(pods, series),
        _ => {
            for size in [["1000", "815"], ["10000", "200"]] {
                let this = std::env::current_exe().expect("this program");
                let status = Command::new(this).args(size).status();
                assert!(status.expect("it starts").success());
            }
        }
    }
}

fn measure(pods: usize, series: usize) {
    let config = WindowConfig::default()
        .with_max_series(5_000_000, 20_000)
        .with_max_bytes(16 << 30);
    let window = Window::new(config);
    let mut pages: Vec<_> = (1..=PAGES).map(Page::new).collect();
    let mut pods: Vec<_> = (0..pods).map(|pod| target(&window, pod)).collect();
    let (began, mut points) = (Instant::now(), Vec::new());
    for second in 0..=SECONDS {
        if second.is_multiple_of(LOOK_SECONDS) {
            let resident = resident_bytes("VmRSS", std::process::id());
            points.push((second as f64, resident as f64));
        }
        pages.iter_mut().for_each(Page::step);
        let at = Timestamp::from_millis(START + second as i64 * 1000);
        for (number, (pod, own)) in pods.iter_mut().enumerate() {
            append(pod, own, &pages[number % pages.len()], series, at);
        }
    }
    let stats = window.stats();
    let gib = |bytes: f64| bytes / f64::from(1 << 30);
    let name = format!("{} pods, {series} series each", pods.len());
    let resident = points.last().map_or(0.0, |point| point.1);
    println!(
        "{name}: {:.2} GiB resident after 15 minutes, {:.2} by the window's own count; {} series; it took {:.0} s",
        gib(resident),
        gib(stats.bytes as f64),
        stats.series,
        began.elapsed().as_secs_f64(),
    );
    if let Some(folder) = std::env::var_os("PICTURE") {
        let file = Path::new(&folder).join(format!("memory-{}.svg", pods.len()));
        std::fs::write(file, memory_over_time(&[Line { name, points }])).expect("the picture is written");
    }
}

/// A pod, and the line that no other pod has.
fn target(window: &Window, number: usize) -> (Appender, String) {
    let (pod, instance) = (
        format!("vllm-llama-{number}"),
        format!(
            "10.{}.{}.{}:8000",
            number / 62_500,
            number / 250 % 250,
            number % 250
        ),
    );
    let appender = window.appender([
        ("job", "vllm"),
        ("namespace", "llm"),
        ("pod", &pod),
        ("instance", &instance),
    ]);
    let blocks = 27_000 + number * 7;
    let own = format!("vllm:cache_config_info{{block_size=\"16\",engine=\"0\",num_gpu_blocks=\"{blocks}\"}}");
    (appender, own)
}

fn append(pod: &mut Appender, own: &str, page: &Page, series: usize, at: Timestamp) {
    let mut batch = pod.scrape(at);
    let lines = page.texts.iter().zip(&page.values).take(series - 1);
    for (text, value) in lines
        .map(|(text, value)| (text.as_str(), *value))
        .chain([(own, 1.0)])
    {
        let appended = batch.append(text, value, None, |labels| {
            page::labels(text).for_each(|(name, value)| labels.label(name, value));
        });
        appended.expect("within the limits");
    }
    batch.commit();
}
