//! What does a simulated pod cost: a page, and a second of its life? 3,000 of them should be a part of one
//! core.
//!
//! Pages are of a vLLM server under load, with one and with two data-parallel ranks (the latter about
//! 100 KB). Everything is made anew each time; served pages are kept until the pod's next turn.
#![allow(missing_docs)]

use std::time::Duration;

use divan::Bencher;
use divan::counter::BytesCount;
use fleetgauge_sim::bench::Bench;
use fleetgauge_sim::{EngineKind, Load, Variant};

fn main() {
    divan::main();
}

fn pod(ranks: u32) -> Bench {
    let model = "meta-llama/Llama-3.1-8B-Instruct";
    let variant =
        Variant::new("ns", "v", EngineKind::Vllm { ranks }, model).with_load(Load::Steady { rate: 5.0 });
    let mut pod = Bench::new(variant);
    pod.step(Duration::from_secs(60));
    pod
}

#[divan::bench(name = "render/vllm", args = [1, 2])]
fn render(bencher: Bencher<'_, '_>, ranks: u32) {
    let pod = pod(ranks);
    let mut page = Vec::new();
    pod.render(&mut page);
    bencher
        .counter(BytesCount::new(page.len()))
        .bench_local(|| pod.render(&mut page));
}

#[divan::bench(name = "render_and_gzip/vllm", args = [1, 2])]
fn gzip(bencher: Bencher<'_, '_>, ranks: u32) {
    let mut pod = pod(ranks);
    bencher.bench_local(|| pod.compress());
}

#[divan::bench(name = "step/1_second_5_requests", args = [1, 2])]
fn step(bencher: Bencher<'_, '_>, ranks: u32) {
    let mut pod = pod(ranks);
    bencher.bench_local(|| pod.step(Duration::from_secs(1)));
}
