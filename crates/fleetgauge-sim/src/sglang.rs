//! The page of an SGLang server.
//!
//! Its schedulers and its front are processes of their own, so the Python client runs in its multi-process
//! mode: no `_created`, and neither `process_*` nor `python_*`. Gauges of the queue exist once without a
//! priority (the total, `priority=""`) and once per priority (parts of it).
//!
//! Source: `sglang/srt/metrics/collector.py`.

use crate::histogram::Histogram;
use crate::page::{Kind, Label, Sink};
use crate::scheduler::{Engine, seconds};
use crate::tally::{Bounds, Tally};

const TOKENS: &[f64] = &[
    100.0, 300.0, 500.0, 700.0, 1e3, 1.5e3, 2e3, 3e3, 4e3, 5e3, 6e3, 7e3, 8e3, 9e3, 1e4, 1.2e4, 1.5e4, 2e4,
    2.2e4, 2.5e4, 3e4, 3.5e4, 4e4, 6.6e4, 9.9e4, 1.32e5, 3e5, 6e5, 9e5, 1.1e6,
];

/// SGLang's bucket bounds.
pub(crate) static BOUNDS: Bounds = Bounds {
    first_token_seconds: &[
        0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 2.0, 4.0, 6.0, 8.0, 10.0, 20.0, 40.0, 60.0, 80.0, 100.0, 200.0, 400.0,
    ],
    inter_token_seconds: &[
        0.002, 0.004, 0.006, 0.008, 0.01, 0.015, 0.02, 0.025, 0.03, 0.035, 0.04, 0.06, 0.08, 0.1, 0.2, 0.4,
        0.6, 0.8, 1.0, 2.0, 4.0, 6.0, 8.0,
    ],
    token_mean_seconds: &[],
    request_seconds: &[
        0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 2.0, 4.0, 6.0, 8.0, 10.0, 20.0, 40.0, 60.0, 80.0, 100.0, 200.0, 400.0,
        600.0, 1200.0, 1800.0, 2400.0,
    ],
    queue_seconds: &[
        0.0, 0.001, 0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.09, 0.1, 0.2, 0.3, 0.4, 0.5,
        0.6, 0.7, 0.8, 0.9, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 20.0,
        30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 100.0, 200.0, 300.0, 400.0, 500.0, 600.0, 700.0, 800.0,
        900.0, 1000.0, 1200.0, 1400.0, 1600.0, 1800.0, 2000.0,
    ],
    prompt_tokens: TOKENS,
    output_tokens: TOKENS,
    step_tokens: &[],
};

/// The priorities that clients use.
const PRIORITIES: [(&str, u8); 2] = [("0", 0), ("1", 1)];

/// The whole page; `engines` in the order of their ranks. `uptime_ns` since the process started.
pub(crate) fn describe(sink: &mut impl Sink, model: &str, engines: &[Engine], uptime_ns: u64) {
    let page = Page { model, engines };
    page.by_priority(
        sink,
        "sglang:num_running_reqs",
        "The number of running requests.",
        Engine::running,
        |e, p| e.of_priority(p).0,
    );
    page.by_priority(
        sink,
        "sglang:num_queue_reqs",
        "The number of requests in the waiting queue.",
        Engine::waiting,
        |e, p| e.of_priority(p).1,
    );
    let capacity = |e: &Engine| f64::from(e.capacity_tokens());
    page.gauge(
        sink,
        "sglang:num_used_tokens",
        "The number of used tokens.",
        |e| f64::from(e.used_tokens()),
    );
    page.gauge(sink, "sglang:token_usage", "The token usage.", |e| {
        f64::from(e.used_tokens()) / capacity(e)
    });
    page.gauge(
        sink,
        "sglang:swa_token_usage",
        "The token usage for SWA layers.",
        |_| 0.0,
    );
    page.gauge(
        sink,
        "sglang:gen_throughput",
        "The generation throughput (token/s).",
        |e| e.tally.generation_tokens as f64 / seconds(uptime_ns).max(1e-9),
    );
    page.gauge(
        sink,
        "sglang:num_grammar_queue_reqs",
        "The number of requests in the grammar waiting queue.",
        |_| 0.0,
    );
    page.gauge(
        sink,
        "sglang:num_running_reqs_offline_batch",
        "The number of running low-priority offline batch requests(label is 'batch').",
        |_| 0.0,
    );
    page.gauge(sink, "sglang:cache_hit_rate", "The prefix cache hit rate.", |e| {
        e.tally.prefix_hits as f64 / (e.tally.prefix_queries as f64).max(1.0)
    });
    page.gauge(
        sink,
        "sglang:spec_accept_length",
        "The average acceptance length of speculative decoding.",
        |_| 0.0,
    );
    page.gauge(
        sink,
        "sglang:max_total_num_tokens",
        "Maximum total number of tokens in the KV cache pool.",
        capacity,
    );
    page.gauge(
        sink,
        "sglang:num_retracted_reqs",
        "The number of retracted requests.",
        |e| e.tally.preemptions as f64,
    );
    page.gauge(sink, "sglang:utilization", "The utilization.", |e| {
        e.running() as f64 / f64::from(e.limits().max_num_seqs)
    });
    page.front(sink);
}

type Observed = fn(&Tally) -> &Histogram;

struct Page<'a> {
    model: &'a str,
    engines: &'a [Engine],
}

// === impl Page ===

impl Page<'_> {
    #[inline]
    fn each(&self, mut f: impl FnMut(&[Label<'_>; 5], &Engine)) {
        for (rank, engine) in self.engines.iter().enumerate() {
            let mut text = itoa::Buffer::new();
            let labels = [
                ("dp_rank", text.format(rank)),
                ("engine_type", "unified"),
                ("model_name", self.model),
                ("pp_rank", "0"),
                ("tp_rank", "0"),
            ];
            f(&labels, engine);
        }
    }

    #[inline]
    fn gauge(&self, sink: &mut impl Sink, name: &str, help: &str, value: impl Fn(&Engine) -> f64) {
        sink.family(name, Kind::Gauge, help);
        self.each(|labels, engine| sink.sample("", labels, value(engine)));
    }

    fn by_priority(
        &self,
        sink: &mut impl Sink,
        name: &str,
        help: &str,
        total: impl Fn(&Engine) -> usize,
        part: impl Fn(&Engine, u8) -> usize,
    ) {
        sink.family(name, Kind::Gauge, help);
        self.each(|&[rank, kind, model, pp, tp], engine| {
            sink.sample(
                "",
                &[rank, kind, model, pp, ("priority", ""), tp],
                total(engine) as f64,
            );
            for (text, priority) in PRIORITIES {
                let labels = [rank, kind, model, pp, ("priority", text), tp];
                sink.sample("", &labels, part(engine, priority) as f64);
            }
        });
    }

    /// What the tokenizer process counts: of all ranks together.
    fn front(&self, sink: &mut impl Sink) {
        let labels = [("engine_type", "unified"), ("model_name", self.model)];
        let sum = |read: fn(&Tally) -> u64| self.engines.iter().map(|e| read(&e.tally)).sum::<u64>();
        sink.family(
            "sglang:prompt_tokens",
            Kind::Counter,
            "Number of prefill tokens processed.",
        );
        sink.counter(&labels, sum(|t| t.prompt_tokens), None);
        sink.family(
            "sglang:generation_tokens",
            Kind::Counter,
            "Number of generation tokens processed.",
        );
        sink.counter(&labels, sum(|t| t.generation_tokens), None);
        sink.family(
            "sglang:cached_tokens",
            Kind::Counter,
            "Number of cached prompt tokens.",
        );
        sink.counter(
            &[("cache_source", "device"), labels[0], labels[1]],
            sum(|t| t.prefix_hits),
            None,
        );
        sink.family(
            "sglang:num_requests",
            Kind::Counter,
            "Number of requests processed.",
        );
        sink.counter(&labels, sum(Tally::finished), None);
        sink.family(
            "sglang:num_so_requests",
            Kind::Counter,
            "Number of structured output requests processed.",
        );
        sink.counter(&labels, 0, None);
        sink.family(
            "sglang:num_aborted_requests",
            Kind::Counter,
            "Number of requests aborted.",
        );
        sink.counter(&labels, sum(|t| t.aborted), None);
        let histograms: [(&str, &str, Observed); 6] = [
            (
                "sglang:prompt_tokens_histogram",
                "Histogram of prompt token length.",
                |t| &t.request_prompt_tokens,
            ),
            (
                "sglang:generation_tokens_histogram",
                "Histogram of generation token length.",
                |t| &t.request_output_tokens,
            ),
            (
                "sglang:time_to_first_token_seconds",
                "Histogram of time to first token in seconds.",
                |t| &t.first_token_seconds,
            ),
            (
                "sglang:inter_token_latency_seconds",
                "Histogram of inter-token latency in seconds.",
                |t| &t.inter_token_seconds,
            ),
            (
                "sglang:e2e_request_latency_seconds",
                "Histogram of End-to-end request latency in seconds",
                |t| &t.request_seconds,
            ),
            (
                "sglang:queue_time_seconds",
                "Histogram of queueing time in seconds.",
                |t| &t.request_queue_seconds,
            ),
        ];
        for (name, help, read) in histograms {
            sink.family(name, Kind::Histogram, help);
            sink.merged(&labels, self.engines.iter().map(|e| read(&e.tally)), None);
        }
    }
}
