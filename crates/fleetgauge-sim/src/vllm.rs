//! The page of a vLLM server: names, labels and bounds of its V1 metrics.
//!
//! Source: `vllm/v1/metrics/loggers.py`, around release 0.11, with the deprecated names that it still shows.

use crate::histogram::Histogram;
use crate::page::{Kind, Label, Sink};
use crate::scheduler::Engine;
use crate::tally::{Bounds, Tally};

const SECONDS: &[f64] = &[
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0,
    960.0, 1920.0, 7680.0,
];
const TOKEN_SECONDS: &[f64] = &[
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
];
/// 1, 2, 5 up to a `max_model_len` of 131,072.
const TOKENS: &[f64] = &[
    1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5,
];
const PARAMS_N: &[f64] = &[1.0, 2.0, 5.0, 10.0, 20.0];

/// vLLM's bucket bounds.
pub(crate) static BOUNDS: Bounds = Bounds {
    first_token_seconds: &[
        0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0,
        40.0, 80.0, 160.0, 640.0, 2560.0,
    ],
    inter_token_seconds: TOKEN_SECONDS,
    token_mean_seconds: TOKEN_SECONDS,
    request_seconds: SECONDS,
    queue_seconds: SECONDS,
    prompt_tokens: TOKENS,
    output_tokens: TOKENS,
    step_tokens: &[
        1.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0, 16384.0,
    ],
};

/// The engine's part of the page; `engines` in the order of their ranks.
pub(crate) fn describe(sink: &mut impl Sink, model: &str, engines: &[Engine], created: f64) {
    let families = Families {
        model,
        engines,
        created,
    };
    families.gauge(
        sink,
        "vllm:num_requests_running",
        "Number of requests in model execution batches.",
        |e| e.running() as f64,
    );
    families.gauge(
        sink,
        "vllm:num_requests_waiting",
        "Number of requests waiting to be processed.",
        |e| e.waiting() as f64,
    );
    families.sleep_state(sink);
    families.gauge(
        sink,
        "vllm:kv_cache_usage_perc",
        "KV-cache usage. 1 means 100 percent usage.",
        Engine::usage_ratio,
    );
    families.gauge(
        sink,
        "vllm:gpu_cache_usage_perc",
        "GPU KV-cache usage. 1 means 100 percent usage.DEPRECATED: Use vllm:kv_cache_usage_perc instead.",
        Engine::usage_ratio,
    );
    families.counters(sink);
    families.requests(sink);
    families.histograms(sink);
    families.cache_config(sink);
}

struct Families<'a> {
    model: &'a str,
    engines: &'a [Engine],
    created: f64,
}

type Counted = fn(&Tally) -> u64;
type Observed = fn(&Tally) -> &Histogram;

// === impl Families ===

impl Families<'_> {
    #[inline]
    fn each(&self, mut f: impl FnMut(&[Label<'_>; 2], &Engine)) {
        for (rank, engine) in self.engines.iter().enumerate() {
            let mut text = itoa::Buffer::new();
            f(
                &[("engine", text.format(rank)), ("model_name", self.model)],
                engine,
            );
        }
    }

    #[inline]
    fn gauge(&self, sink: &mut impl Sink, name: &str, help: &str, value: impl Fn(&Engine) -> f64) {
        sink.family(name, Kind::Gauge, help);
        self.each(|labels, engine| sink.sample("", labels, value(engine)));
    }

    fn sleep_state(&self, sink: &mut impl Sink) {
        let help = "Engine sleep state; awake = 0 means engine is sleeping; awake = 1 means engine is awake; weights_offloaded = 1 means sleep level 1; discard_all = 1 means sleep level 2.";
        sink.family("vllm:engine_sleep_state", Kind::Gauge, help);
        for (state, value) in [("awake", 1.0), ("weights_offloaded", 0.0), ("discard_all", 0.0)] {
            self.each(|&[engine, model], _| sink.sample("", &[engine, model, ("sleep_state", state)], value));
        }
    }

    fn counters(&self, sink: &mut impl Sink) {
        const NONE: Counted = |_| 0;
        let counters: [(&str, &str, Counted); 15] = [
            (
                "vllm:prefix_cache_queries",
                "Prefix cache queries, in terms of number of queried tokens.",
                |t| t.prefix_queries,
            ),
            (
                "vllm:prefix_cache_hits",
                "Prefix cache hits, in terms of number of cached tokens.",
                |t| t.prefix_hits,
            ),
            (
                "vllm:gpu_prefix_cache_queries",
                "GPU prefix cache queries, in terms of number of queried tokens.DEPRECATED: Use vllm:prefix_cache_queries instead.",
                |t| t.prefix_queries,
            ),
            (
                "vllm:gpu_prefix_cache_hits",
                "GPU prefix cache hits, in terms of number of cached tokens.DEPRECATED: Use vllm:prefix_cache_hits instead.",
                |t| t.prefix_hits,
            ),
            (
                "vllm:external_prefix_cache_queries",
                "External prefix cache queries from KV connector cross-instance cache sharing, in terms of number of queried tokens.",
                NONE,
            ),
            (
                "vllm:external_prefix_cache_hits",
                "External prefix cache hits from KV connector cross-instance cache sharing, in terms of number of cached tokens.",
                NONE,
            ),
            (
                "vllm:mm_cache_queries",
                "Multi-modal cache queries, in terms of number of queried items.",
                NONE,
            ),
            (
                "vllm:mm_cache_hits",
                "Multi-modal cache hits, in terms of number of cached items.",
                NONE,
            ),
            (
                "vllm:corrupted_requests",
                "Corrupted requests, in terms of total number of requests with NaNs in logits.",
                NONE,
            ),
            (
                "vllm:num_preemptions",
                "Cumulative number of preemption from the engine.",
                |t| t.preemptions,
            ),
            ("vllm:prompt_tokens", "Number of prefill tokens processed.", |t| {
                t.prompt_tokens
            }),
            (
                "vllm:generation_tokens",
                "Number of generation tokens processed.",
                |t| t.generation_tokens,
            ),
            (
                "vllm:spec_decode_num_drafts",
                "Number of spec decoding drafts.",
                NONE,
            ),
            (
                "vllm:spec_decode_num_draft_tokens",
                "Number of draft tokens.",
                NONE,
            ),
            (
                "vllm:spec_decode_num_accepted_tokens",
                "Number of accepted tokens.",
                NONE,
            ),
        ];
        for (name, help, value) in counters {
            sink.family(name, Kind::Counter, help);
            self.each(|labels, engine| sink.counter(labels, value(&engine.tally), Some(self.created)));
        }
    }

    fn requests(&self, sink: &mut impl Sink) {
        sink.family(
            "vllm:request_success",
            Kind::Counter,
            "Count of successfully processed requests.",
        );
        self.each(|&[engine_label, model], engine| {
            let tally = &engine.tally;
            for (reason, count) in [
                ("stop", tally.stopped),
                ("length", tally.cut_at_length),
                ("abort", tally.aborted),
            ] {
                sink.counter(
                    &[engine_label, ("finished_reason", reason), model],
                    count,
                    Some(self.created),
                );
            }
        });
    }

    fn histograms(&self, sink: &mut impl Sink) {
        let histograms: [(&str, &str, Observed); 15] = [
            (
                "vllm:request_prompt_tokens",
                "Number of prefill tokens processed.",
                |t| &t.request_prompt_tokens,
            ),
            (
                "vllm:request_generation_tokens",
                "Number of generation tokens processed.",
                |t| &t.request_output_tokens,
            ),
            (
                "vllm:iteration_tokens_total",
                "Histogram of number of tokens per engine_step.",
                |t| &t.step_tokens,
            ),
            (
                "vllm:request_max_num_generation_tokens",
                "Histogram of maximum number of requested generation tokens.",
                |t| &t.request_output_tokens,
            ),
            (
                "vllm:request_params_max_tokens",
                "Histogram of the max_tokens request parameter.",
                |t| &t.request_max_tokens,
            ),
            (
                "vllm:time_to_first_token_seconds",
                "Histogram of time to first token in seconds.",
                |t| &t.first_token_seconds,
            ),
            (
                "vllm:inter_token_latency_seconds",
                "Histogram of inter-token latency in seconds.",
                |t| &t.inter_token_seconds,
            ),
            (
                "vllm:time_per_output_token_seconds",
                "Histogram of time per output token in seconds.DEPRECATED: Use vllm:inter_token_latency_seconds instead.",
                |t| &t.inter_token_seconds,
            ),
            (
                "vllm:request_time_per_output_token_seconds",
                "Histogram of time_per_output_token_seconds per request.",
                |t| &t.request_token_mean_seconds,
            ),
            (
                "vllm:e2e_request_latency_seconds",
                "Histogram of e2e request latency in seconds.",
                |t| &t.request_seconds,
            ),
            (
                "vllm:request_queue_time_seconds",
                "Histogram of time spent in WAITING phase for request.",
                |t| &t.request_queue_seconds,
            ),
            (
                "vllm:request_inference_time_seconds",
                "Histogram of time spent in RUNNING phase for request.",
                |t| &t.request_inference_seconds,
            ),
            (
                "vllm:request_prefill_time_seconds",
                "Histogram of time spent in PREFILL phase for request.",
                |t| &t.request_prefill_seconds,
            ),
            (
                "vllm:request_decode_time_seconds",
                "Histogram of time spent in DECODE phase for request.",
                |t| &t.request_decode_seconds,
            ),
            (
                "vllm:request_prefill_kv_computed_tokens",
                "Histogram of number of new KV cache tokens computed during prefill (excluding cached tokens).",
                |t| &t.request_computed_tokens,
            ),
        ];
        for (name, help, read) in histograms {
            sink.family(name, Kind::Histogram, help);
            self.each(|labels, engine| sink.histogram(labels, read(&engine.tally), Some(self.created)));
        }
        sink.family(
            "vllm:request_params_n",
            Kind::Histogram,
            "Histogram of the n request parameter.",
        );
        self.each(|labels, engine| {
            // Every request asks for one answer.
            let mut ones = Histogram::new(PARAMS_N);
            ones.observe_n(1.0, engine.tally.finished());
            sink.histogram(labels, &ones, Some(self.created));
        });
    }

    fn cache_config(&self, sink: &mut impl Sink) {
        sink.family(
            "vllm:cache_config_info",
            Kind::Info,
            "Information of the LLMEngine CacheConfig",
        );
        self.each(|&[engine_label, _], engine| {
            let (mut size, mut blocks) = (itoa::Buffer::new(), itoa::Buffer::new());
            let labels = [
                ("block_size", size.format(engine.limits().block_size)),
                ("cache_dtype", "auto"),
                ("calculate_kv_scales", "False"),
                ("cpu_kvcache_space_bytes", "None"),
                ("cpu_offload_gb", "0"),
                ("enable_prefix_caching", "True"),
                engine_label,
                ("gpu_memory_utilization", "0.9"),
                ("is_attention_free", "False"),
                ("kv_cache_memory_bytes", "None"),
                ("mamba_block_size", "None"),
                ("mamba_cache_dtype", "auto"),
                ("mamba_ssm_cache_dtype", "auto"),
                ("num_cpu_blocks", "None"),
                ("num_gpu_blocks", blocks.format(engine.limits().num_gpu_blocks)),
                ("num_gpu_blocks_override", "None"),
                ("prefix_caching_hash_algo", "sha256"),
                ("sliding_window", "None"),
                ("swap_space", "4"),
                ("swap_space_bytes", "4294967296"),
            ];
            sink.sample("", &labels, 1.0);
        });
    }
}
