//! The window's memory: what it costs, that its own count is true, and that all of it is given back.
//!
//! One test, since the allocator counts for the whole process.

#[path = "support/page.rs"]
mod page;

use std::alloc::System;

use fleetgauge_core::time::Timestamp;
use fleetgauge_promql::window::{Appender, Window, WindowConfig};
use page::Page;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn live_bytes() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

fn scrape(target: &mut Appender, page: &Page, millis: i64) {
    let mut batch = target.scrape(Timestamp::from_millis(millis));
    for (text, &value) in page.texts.iter().zip(&page.values) {
        let labels = |labels: &mut fleetgauge_promql::window::ExposedLabels| {
            page::labels(text).for_each(|(n, v)| labels.label(n, v));
        };
        batch
            .append(text, value, None, labels)
            .expect("within the limits");
    }
    batch.commit();
}

#[test]
fn a_sample_costs_no_more_than_documented() {
    const PODS: u64 = 2;
    const SECONDS: i64 = 1_800;
    for (jitter, max_per_sample) in [(0, 3.0), (2, 4.0)] {
        let mut pages: Vec<_> = (1..=PODS).map(Page::new).collect();
        // What it measures with is allocated once.
        pages.iter_mut().for_each(Page::step);
        let before = live_bytes();
        let window = Window::new(WindowConfig::default());
        let mut targets: Vec<_> = (0..PODS)
            .map(|pod| {
                let pod = format!("vllm-{pod}");
                window.appender([
                    ("job", "vllm"),
                    ("namespace", "llm"),
                    ("pod", &pod),
                    ("instance", &pod),
                ])
            })
            .collect();
        let mut start = 0;
        for second in 0..SECONDS {
            let now = 1_763_930_000_000 + second * 1000 + second * 7 % (2 * jitter + 1) - jitter;
            for (page, target) in pages.iter_mut().zip(&mut targets) {
                page.step();
                scrape(target, page, now);
            }
            if second == 0 {
                start = live_bytes() - before;
            }
        }
        let used = live_bytes() - before;
        let stats = window.stats();
        // Twice the retention went by: what is held is 15 minutes and the rest of a chunk.
        let per_sample = used as f64 / (stats.series as f64 * 900.0);
        println!(
            "jitter {jitter} ms: {} series, {per_sample:.2} bytes a sample of the retention, all included; \
             {:.0} bytes a series with its first sample",
            stats.series,
            start as f64 / stats.series as f64,
        );
        assert!(per_sample <= max_per_sample, "{per_sample}");
        // It counts a third more, for what the allocator takes beside.
        let counted = stats.bytes as f64 * 3.0 / 4.0;
        let off = (counted / used as f64 - 1.0).abs();
        assert!(off < 0.05, "the window counts {counted} bytes of {used}");

        drop(targets);
        window.expire(Timestamp::from_millis(
            1_763_930_000_000 + SECONDS * 1000 + 911_000,
        ));
        assert_eq!(window.stats().bytes, 0);
        drop(window);
        // The map of metrics gives removed entries back late, and threads keep what they read with.
        let left = live_bytes().saturating_sub(before);
        assert!(left < 20_000, "{left} bytes are left");
    }
}
