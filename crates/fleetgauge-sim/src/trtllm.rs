//! The page of `trtllm-serve`, TensorRT-LLM's server.
//!
//! Source: `tensorrt_llm/metrics/collector.py`; the gauges of the KV cache and the queue from its iteration
//! statistics.

use crate::page::{Kind, Sink};
use crate::scheduler::Engine;
use crate::tally::Bounds;

const SECONDS: &[f64] = &[
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0,
    960.0, 1920.0, 7680.0,
];

/// TensorRT-LLM's bucket bounds.
pub(crate) static BOUNDS: Bounds = Bounds {
    first_token_seconds: &[
        0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0,
        40.0, 80.0, 160.0, 640.0, 2560.0,
    ],
    inter_token_seconds: &[],
    token_mean_seconds: &[
        0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0,
        80.0,
    ],
    request_seconds: SECONDS,
    queue_seconds: SECONDS,
    prompt_tokens: &[],
    output_tokens: &[],
    step_tokens: &[],
};

/// The whole page but the interpreter's and the process' part.
pub(crate) fn describe(sink: &mut impl Sink, model: &str, engine: &Engine, created: f64) {
    let (tally, kv, limits) = (&engine.tally, engine.kv(), engine.limits());
    let labels = [("engine_type", "trtllm"), ("model_name", model)];
    let created = Some(created);
    let gauges = [
        (
            "trtllm_kv_cache_utilization",
            "KV cache utilization",
            engine.usage_ratio(),
        ),
        (
            "trtllm_kv_cache_max_blocks",
            "Blocks of the KV cache",
            f64::from(kv.total()),
        ),
        (
            "trtllm_kv_cache_tokens_per_block",
            "Tokens per block of the KV cache",
            f64::from(limits.block_size),
        ),
        (
            "trtllm_kv_cache_used_blocks",
            "Blocks of the KV cache in use",
            f64::from(kv.used()),
        ),
        (
            "trtllm_num_requests_running",
            "Number of active requests",
            engine.running() as f64,
        ),
        (
            "trtllm_num_requests_waiting",
            "Number of queued requests",
            engine.waiting() as f64,
        ),
    ];
    for (name, help, value) in gauges {
        sink.gauge(name, help, &labels, value);
    }
    let blocks = |tokens: u64| tokens / u64::from(limits.block_size);
    sink.family(
        "trtllm_kv_cache_reused_blocks",
        Kind::Counter,
        "Blocks found in the KV cache",
    );
    sink.counter(&labels, blocks(tally.prefix_hits), created);
    sink.family(
        "trtllm_kv_cache_missed_blocks",
        Kind::Counter,
        "Blocks not found in the KV cache",
    );
    sink.counter(
        &labels,
        blocks(tally.prefix_queries) - blocks(tally.prefix_hits),
        created,
    );
    sink.family(
        "trtllm_request_success",
        Kind::Counter,
        "Count of successfully processed requests.",
    );
    for (reason, count) in [("stop", tally.stopped), ("length", tally.cut_at_length)] {
        sink.counter(
            &[labels[0], ("finished_reason", reason), labels[1]],
            count,
            created,
        );
    }
    let tokens = [
        ("trtllm_prompt_tokens", "Prompt tokens", tally.prompt_tokens),
        (
            "trtllm_generation_tokens",
            "Generated tokens",
            tally.generation_tokens,
        ),
    ];
    for (name, help, count) in tokens {
        sink.family(name, Kind::Counter, help);
        sink.counter(&labels, count, created);
    }
    let histograms = [
        (
            "trtllm_time_to_first_token_seconds",
            "Histogram of time to first token in seconds.",
            &tally.first_token_seconds,
        ),
        (
            "trtllm_time_per_output_token_seconds",
            "Histogram of time per output token in seconds.",
            &tally.request_token_mean_seconds,
        ),
        (
            "trtllm_e2e_request_latency_seconds",
            "Histogram of end to end request latency in seconds.",
            &tally.request_seconds,
        ),
        (
            "trtllm_request_queue_time_seconds",
            "Histogram of time spent in WAITING phase for request.",
            &tally.request_queue_seconds,
        ),
    ];
    for (name, help, histogram) in histograms {
        sink.family(name, Kind::Histogram, help);
        sink.histogram(&labels, histogram, created);
    }
}
