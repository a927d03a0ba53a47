//! A page as a busy vLLM server with two data-parallel ranks exposes it: some 100 KB, 850 samples, most of
//! them buckets of histograms. Names, labels and number formats are those of vLLM and its Python client.
#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;

const SECONDS: &[&str] = &[
    "0.001", "0.005", "0.01", "0.02", "0.04", "0.06", "0.08", "0.1", "0.25", "0.5", "0.75", "1.0", "2.5",
    "5.0", "7.5", "10.0", "20.0", "40.0", "80.0", "160.0", "640.0", "2560.0", "+Inf",
];
const TOKENS: &[&str] = &[
    "1.0", "2.0", "5.0", "10.0", "20.0", "50.0", "100.0", "200.0", "500.0", "1000.0", "2000.0", "5000.0",
    "10000.0", "20000.0", "50000.0", "100000.0", "+Inf",
];
const HISTOGRAMS: &[(&str, &str, &[&str])] = &[
    (
        "time_to_first_token_seconds",
        "Histogram of time to first token in seconds.",
        SECONDS,
    ),
    (
        "inter_token_latency_seconds",
        "Histogram of inter-token latency in seconds.",
        SECONDS,
    ),
    (
        "time_per_output_token_seconds",
        "Histogram of time per output token in seconds.",
        SECONDS,
    ),
    (
        "request_time_per_output_token_seconds",
        "Histogram of time per output token, per request.",
        SECONDS,
    ),
    (
        "e2e_request_latency_seconds",
        "Histogram of e2e request latency in seconds.",
        SECONDS,
    ),
    (
        "request_queue_time_seconds",
        "Histogram of time spent in WAITING phase for request.",
        SECONDS,
    ),
    (
        "request_inference_time_seconds",
        "Histogram of time spent in RUNNING phase for request.",
        SECONDS,
    ),
    (
        "request_prefill_time_seconds",
        "Histogram of time spent in PREFILL phase for request.",
        SECONDS,
    ),
    (
        "request_decode_time_seconds",
        "Histogram of time spent in DECODE phase for request.",
        SECONDS,
    ),
    (
        "request_prompt_tokens",
        "Number of prefill tokens processed.",
        TOKENS,
    ),
    (
        "request_generation_tokens",
        "Number of generation tokens processed.",
        TOKENS,
    ),
    (
        "request_max_num_generation_tokens",
        "Histogram of maximum number of requested tokens.",
        TOKENS,
    ),
    (
        "request_params_max_tokens",
        "Histogram of the max_tokens request parameter.",
        TOKENS,
    ),
    (
        "iteration_tokens_total",
        "Histogram of number of tokens per engine_step.",
        TOKENS,
    ),
    (
        "request_params_n",
        "Histogram of the n request parameter.",
        &["1.0", "2.0", "5.0", "10.0", "20.0", "+Inf"],
    ),
];
const COUNTERS: &[(&str, &str)] = &[
    ("prompt_tokens", "Number of prefill tokens processed."),
    ("generation_tokens", "Number of generation tokens processed."),
    (
        "num_preemptions",
        "Cumulative number of preemption from the engine.",
    ),
    (
        "prefix_cache_queries",
        "Prefix cache queries, in terms of number of queried tokens.",
    ),
    (
        "prefix_cache_hits",
        "Prefix cache hits, in terms of number of cached tokens.",
    ),
    (
        "mm_cache_queries",
        "Multi-modal cache queries, in terms of number of queried items.",
    ),
    (
        "mm_cache_hits",
        "Multi-modal cache hits, in terms of number of cached items.",
    ),
    ("spec_decode_num_drafts", "Number of spec decoding drafts."),
    ("spec_decode_num_draft_tokens", "Number of draft tokens."),
    ("spec_decode_num_accepted_tokens", "Number of accepted tokens."),
];
const GAUGES: &[(&str, &str)] = &[
    (
        "num_requests_running",
        "Number of requests in model execution batches.",
    ),
    (
        "num_requests_waiting",
        "Number of requests waiting to be processed.",
    ),
    (
        "kv_cache_usage_perc",
        "KV-cache usage. 1 means 100 percent usage.",
    ),
    (
        "engine_sleep_state",
        "Engine sleep state; awake = 0 means engine is sleeping.",
    ),
];
const MODEL: &str = "meta-llama/Llama-3.1-8B-Instruct";

/// The page of `seed`: the same text for the same seed, other values for another.
pub(crate) fn vllm_page(seed: u64) -> String {
    let mut state = seed;
    let mut random = move |below: u64| {
        // Knuth's MMIX generator; its high bits are good enough for a page.
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let mut page = String::new();

    for (name, value) in [
        ("process_resident_memory_bytes", "1.583788032e+09"),
        ("process_open_fds", "143.0"),
    ] {
        head(&mut page, name, "As the Python client has it.", "gauge");
        writeln!(page, "{name} {value}").unwrap();
    }
    for (gauge, help) in GAUGES {
        let name = format!("vllm:{gauge}");
        head(&mut page, &name, help, "gauge");
        for engine in 0..2 {
            let value = match *gauge {
                "kv_cache_usage_perc" => format!("0.{:016}", 1 + random(1 << 31) * 4_000_000),
                _ => format!("{}.0", random(100)),
            };
            writeln!(
                page,
                "{name}{{engine=\"{engine}\",model_name=\"{MODEL}\"}} {value}"
            )
            .unwrap();
        }
    }
    for (counter, help) in COUNTERS {
        let name = format!("vllm:{counter}");
        head(&mut page, &format!("{name}_total"), help, "counter");
        for engine in 0..2 {
            let value = random(900_000_000);
            writeln!(
                page,
                "{name}_total{{engine=\"{engine}\",model_name=\"{MODEL}\"}} {value}.0"
            )
            .unwrap();
        }
        created(&mut page, &name, help);
    }
    head(
        &mut page,
        "vllm:request_success_total",
        "Count of successfully processed requests.",
        "counter",
    );
    for (engine, reason) in [
        (0, "stop"),
        (0, "length"),
        (0, "abort"),
        (1, "stop"),
        (1, "length"),
        (1, "abort"),
    ] {
        writeln!(
            page,
            "vllm:request_success_total{{engine=\"{engine}\",finished_reason=\"{reason}\",model_name=\"{MODEL}\"}} {}.0",
            random(50_000)
        )
        .unwrap();
    }
    for (histogram, help, bounds) in HISTOGRAMS {
        let name = format!("vllm:{histogram}");
        head(&mut page, &name, help, "histogram");
        for engine in 0..2 {
            let mut count = 0;
            for bound in *bounds {
                count += random(4_000);
                writeln!(
                    page,
                    "{name}_bucket{{engine=\"{engine}\",le=\"{bound}\",model_name=\"{MODEL}\"}} {count}.0"
                )
                .unwrap();
            }
            let labels = format!("{{engine=\"{engine}\",model_name=\"{MODEL}\"}}");
            writeln!(page, "{name}_count{labels} {count}.0").unwrap();
            writeln!(
                page,
                "{name}_sum{labels} {}.{:011}",
                random(90_000),
                random(1 << 31)
            )
            .unwrap();
        }
        created(&mut page, &name, help);
    }
    head(
        &mut page,
        "http_requests_total",
        "Total number of requests by method, status and handler.",
        "counter",
    );
    for handler in [
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/models",
        "/metrics",
        "/health",
        "none",
    ] {
        for status in ["2xx", "4xx", "5xx"] {
            writeln!(
                page,
                "http_requests_total{{handler=\"{handler}\",method=\"POST\",status=\"{status}\"}} {}.0",
                random(50_000)
            )
            .unwrap();
        }
    }
    per_position(&mut page, &mut random);
    server(&mut page, &mut random);
    page
}

fn head(page: &mut String, name: &str, help: &str, kind: &str) {
    writeln!(page, "# HELP {name} {help}\n# TYPE {name} {kind}").unwrap();
}

/// Speculative decoding, by position.
fn per_position(page: &mut String, random: &mut impl FnMut(u64) -> u64) {
    let name = "vllm:spec_decode_num_accepted_tokens_per_pos";
    head(
        page,
        &format!("{name}_total"),
        "Accepted tokens per draft position.",
        "counter",
    );
    for (engine, position) in (0..2).flat_map(|engine| (0..5).map(move |position| (engine, position))) {
        let labels = format!("engine=\"{engine}\",model_name=\"{MODEL}\",position=\"{position}\"");
        writeln!(page, "{name}_total{{{labels}}} {}.0", random(500_000)).unwrap();
    }
    head(
        page,
        &format!("{name}_created"),
        "Accepted tokens per draft position.",
        "gauge",
    );
    for (engine, position) in (0..2).flat_map(|engine| (0..5).map(move |position| (engine, position))) {
        let labels = format!("engine=\"{engine}\",model_name=\"{MODEL}\",position=\"{position}\"");
        writeln!(page, "{name}_created{{{labels}}} 1.7554632207196174e+09").unwrap();
    }
}

/// What the HTTP server and the interpreter expose, with short lines.
fn server(page: &mut String, random: &mut impl FnMut(u64) -> u64) {
    for name in [
        "python_gc_objects_collected_total",
        "python_gc_objects_uncollectable_total",
        "python_gc_collections_total",
    ] {
        head(page, name, "Garbage collection.", "counter");
        for generation in 0..3 {
            writeln!(page, "{name}{{generation=\"{generation}\"}} {}.0", random(20_000)).unwrap();
        }
    }
    let name = "http_request_duration_highr_seconds";
    head(
        page,
        name,
        "Latency with many buckets but no API specific labels.",
        "histogram",
    );
    for bound in SECONDS {
        writeln!(page, "{name}_bucket{{le=\"{bound}\"}} {}.0", random(90_000)).unwrap();
    }
    let name = "http_request_duration_seconds";
    head(
        page,
        name,
        "Latency with only few buckets by handler.",
        "histogram",
    );
    for handler in [
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/models",
        "/metrics",
        "/health",
        "none",
    ] {
        for bound in ["0.1", "0.5", "1.0", "+Inf"] {
            let labels = format!("handler=\"{handler}\",le=\"{bound}\",method=\"POST\"");
            writeln!(page, "{name}_bucket{{{labels}}} {}.0", random(90_000)).unwrap();
        }
        let labels = format!("handler=\"{handler}\",method=\"POST\"");
        writeln!(page, "{name}_count{{{labels}}} {}.0", random(90_000)).unwrap();
        writeln!(
            page,
            "{name}_sum{{{labels}}} {}.{:011}",
            random(90_000),
            random(1 << 31)
        )
        .unwrap();
    }
}

/// When the counter or histogram was made, which the Python client exposes as a gauge.
fn created(page: &mut String, name: &str, help: &str) {
    writeln!(page, "# HELP {name}_created {help}\n# TYPE {name}_created gauge").unwrap();
    for engine in 0..2 {
        writeln!(
            page,
            "{name}_created{{engine=\"{engine}\",model_name=\"{MODEL}\"}} 1.755463220719{engine}74e+09"
        )
        .unwrap();
    }
}
