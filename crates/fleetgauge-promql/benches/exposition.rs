//! How fast is a vLLM page read on one core, and what do a scraper's two shortcuts spare: knowing the
//! series by its text, and wanting only some families?
//!
//! The alternative in the same run is the fastest crate that reads the page: `prom_text_format_parser`,
//! which yields owned families. It does not unescape, and knows no OpenMetrics, no quoted names, no CRLF, no
//! trailing comma, no lone `#` and no empty page. Of the others, prometheus-parse drops every name with
//! a colon, so all of vLLM's, and openmetrics-parser refuses two untyped metrics in a row.
//!
//! None of ours may allocate: the profiler says so in each row.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::HashMap;
use std::hint::black_box;

use divan::Bencher;
use divan::counter::BytesCount;
use fleetgauge_promql::exposition::{Event, Format, Page, Parser, Wanted};

#[path = "../tests/support/vllm_page.rs"]
mod vllm_page;

#[global_allocator]
static ALLOCATIONS: divan::AllocProfiler = divan::AllocProfiler::system();

/// What the autoscaler's pack needs of a page.
const FIVE_FAMILIES: [&str; 5] = [
    "vllm:num_requests_running",
    "vllm:num_requests_waiting",
    "vllm:kv_cache_usage_perc",
    "vllm:time_to_first_token_seconds",
    "vllm:request_success",
];

fn main() {
    divan::main();
}

fn page() -> String {
    vllm_page::vllm_page(7)
}

/// Reads the page once before, so that the parser's memory is there.
fn bench(bencher: Bencher<'_, '_>, mut parser: Parser, read: impl Fn(&mut Page<'_>) -> usize + Sync) {
    let page = page();
    let mut run = || {
        let mut events = parser.page(Format::Text, page.as_bytes());
        black_box(read(&mut events));
        let report = events.finish();
        assert!(report.is_complete());
        report.samples
    };
    assert!(run() > 0);
    bencher.counter(BytesCount::of_str(&page)).bench_local(run);
}

fn read_with_labels(page: &mut Page<'_>) -> usize {
    let mut length = 0;
    while let Some(event) = page.next() {
        let Event::Sample(sample) = event else { continue };
        let Some(labels) = page.labels() else { continue };
        for (name, value) in labels.iter() {
            length += name.len() + value.len();
        }
        black_box((sample.name(), sample.value));
    }
    length
}

/// Names, labels and values of every sample.
#[divan::bench(name = "parse/with_labels")]
fn with_labels(bencher: Bencher<'_, '_>) {
    bench(bencher, Parser::new(), read_with_labels);
}

/// As a scraper reads a page it has read before: each series found by its text.
#[divan::bench(name = "parse/known_series")]
fn known_series(bencher: Bencher<'_, '_>) {
    let body = page();
    let mut series: HashMap<Box<str>, usize, foldhash::fast::FixedState> = HashMap::default();
    for event in Parser::new().page(Format::Text, body.as_bytes()) {
        if let Event::Sample(sample) = event {
            series.insert(sample.series().into(), series.len());
        }
    }
    bench(bencher, Parser::new(), |page| {
        let mut known = 0;
        for event in page {
            let Event::Sample(sample) = event else { continue };
            known += series[sample.series()];
            black_box(sample.value);
        }
        known
    });
}

/// As above, where the scraper guesses that the series come in the order of the page before.
#[divan::bench(name = "parse/known_series_in_order")]
fn known_series_in_order(bencher: Bencher<'_, '_>) {
    let body = page();
    let series: Vec<Box<str>> = Parser::new()
        .page(Format::Text, body.as_bytes())
        .filter_map(|event| match event {
            Event::Sample(sample) => Some(sample.series().into()),
            _ => None,
        })
        .collect();
    bench(bencher, Parser::new(), |page| {
        let mut known = 0;
        for event in page {
            let Event::Sample(sample) = event else { continue };
            assert!(*series[known] == *sample.series());
            known += 1;
            black_box(sample.value);
        }
        known
    });
}

/// Five families of thirty-odd, with labels.
#[divan::bench(name = "parse/five_families")]
fn five_families(bencher: Bencher<'_, '_>) {
    let parser = Parser::new().with_wanted(Wanted::new(FIVE_FAMILIES));
    bench(bencher, parser, read_with_labels);
}

/// The least that any reader does: find the lines.
#[divan::bench(name = "floor/find_lines")]
fn find_lines(bencher: Bencher<'_, '_>) {
    let page = page();
    bencher
        .counter(BytesCount::of_str(&page))
        .bench_local(|| memchr::memchr_iter(b'\n', page.as_bytes()).map(black_box).count());
}

#[divan::bench(name = "parse/prom_text_format_parser")]
fn prom_text_format_parser(bencher: Bencher<'_, '_>) {
    let page = page();
    bencher
        .counter(BytesCount::of_str(&page))
        .bench_local(|| prom_text_format_parser::Scrape::parse(&page).unwrap());
}
