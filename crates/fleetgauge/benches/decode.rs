//! How fast does the body of an instant query become an answer, and what does the answer cost to keep?
//!
//! `decode` is ours; `owned_maps` is what a client does that lets serde build its types (a hash map of
//! owned labels and the number as a string), in the same run. The aim is 400 MB/s, and 120 bytes of live
//! heap per cached series; `cargo bench --bench decode` prints the latter first.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::ops::Range;

use divan::counter::BytesCount;
use divan::{AllocProfiler, Bencher, black_box};
use fleetgauge::prometheus::decode_answer;
use serde::Deserialize;

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    let answers: Vec<_> = (0..10)
        .map(|answer| decode_answer(&vector(answer * 10_000..(answer + 1) * 10_000)).expect("a valid body"))
        .collect();
    let bytes: usize = answers.iter().map(|answer| answer.heap_bytes()).sum();
    let series: usize = answers.iter().map(|answer| answer.len()).sum();
    println!(
        "live heap per series ({series} series of 6 labels in 10 answers): {:.1} B",
        bytes as f64 / series as f64
    );
    drop(answers);
    divan::main();
}

/// An instant vector as a fleet of vLLM pods gives it: of the 6 labels, two differ from series to series.
fn vector(series: Range<usize>) -> Vec<u8> {
    let mut json = String::from(r#"{"status":"success","data":{"resultType":"vector","result":["#);
    let first = series.start;
    for i in series {
        let comma = if i == first { "" } else { "," };
        let (a, b, c, d) = (i / 65536, i / 256 % 256, i % 256, (i * 40503) % 1_000_000);
        write!(
            json,
            "{comma}{{\"metric\":{{\"__name__\":\"vllm:kv_cache_usage_perc\",\
             \"instance\":\"10.{a}.{b}.{c}:8000\",\"job\":\"vllm-inference-pods\",\
             \"model_name\":\"meta-llama/Llama-3.1-8B-Instruct\",\"namespace\":\"llm-inference-production\",\
             \"pod\":\"llama-8b-decode-7c9d8b6f5d-{i:05}\"}},\"value\":[1763930000.512,\"0.{d:06}\"]}}"
        )
        .expect("writing to a string");
    }
    json.push_str("]}}");
    json.into_bytes()
}

#[derive(Deserialize)]
struct Envelope {
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    result: Vec<Series>,
}

#[derive(Deserialize)]
struct Series {
    metric: HashMap<String, String>,
    value: (f64, String),
}

#[divan::bench]
fn decode_10k_series_6_labels(bencher: Bencher<'_, '_>) {
    let body = vector(0..10_000);
    bencher
        .counter(BytesCount::of_slice(&body))
        .bench(|| decode_answer(black_box(&body)));
}

#[divan::bench]
fn owned_maps_10k_series_6_labels(bencher: Bencher<'_, '_>) {
    let body = vector(0..10_000);
    bencher.counter(BytesCount::of_slice(&body)).bench(|| {
        let decoded: Envelope = serde_json::from_slice(black_box(&body)).expect("the body is valid");
        let values = decoded.data.result.into_iter().map(|s| {
            let value: f64 = s.value.1.parse().expect("a number");
            (s.metric, s.value.0, value)
        });
        values.collect::<Vec<_>>()
    });
}
