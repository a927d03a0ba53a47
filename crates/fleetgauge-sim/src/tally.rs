//! What one engine has counted since its process started.

use crate::histogram::Histogram;

/// The bucket bounds an engine uses.
#[derive(Debug)]
pub(crate) struct Bounds {
    pub(crate) first_token_seconds: &'static [f64],
    pub(crate) inter_token_seconds: &'static [f64],
    pub(crate) token_mean_seconds: &'static [f64],
    pub(crate) request_seconds: &'static [f64],
    pub(crate) queue_seconds: &'static [f64],
    pub(crate) prompt_tokens: &'static [f64],
    pub(crate) output_tokens: &'static [f64],
    pub(crate) step_tokens: &'static [f64],
}

/// Bounds of `prometheus_fastapi_instrumentator`, which both Python engines mount.
pub(crate) mod http {
    pub(crate) const COARSE_SECONDS: &[f64] = &[0.1, 0.5, 1.0];
    pub(crate) const FINE_SECONDS: &[f64] = &[
        0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 7.5,
        10.0, 30.0, 60.0,
    ];
}

/// Counters and histograms of one engine (data-parallel rank).
///
/// A finished request is in every `request_*` histogram once; an aborted one only in `aborted`.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) arrived: u64,
    pub(crate) stopped: u64,
    pub(crate) cut_at_length: u64,
    pub(crate) aborted: u64,
    pub(crate) preemptions: u64,
    /// Prompt tokens of requests that got their first token.
    pub(crate) prompt_tokens: u64,
    pub(crate) generation_tokens: u64,
    /// Prompt tokens that were looked up in the prefix cache.
    pub(crate) prefix_queries: u64,
    pub(crate) prefix_hits: u64,
    /// Time in which the engine was computing. *Unit*: nanoseconds.
    pub(crate) busy_ns: u64,
    pub(crate) first_token_seconds: Histogram,
    pub(crate) inter_token_seconds: Histogram,
    pub(crate) step_tokens: Histogram,
    pub(crate) request_seconds: Histogram,
    pub(crate) request_queue_seconds: Histogram,
    pub(crate) request_inference_seconds: Histogram,
    pub(crate) request_prefill_seconds: Histogram,
    pub(crate) request_decode_seconds: Histogram,
    pub(crate) request_token_mean_seconds: Histogram,
    pub(crate) request_prompt_tokens: Histogram,
    pub(crate) request_output_tokens: Histogram,
    pub(crate) request_max_tokens: Histogram,
    pub(crate) request_computed_tokens: Histogram,
    pub(crate) http_fine_seconds: Histogram,
    /// By handler: chat completions, completions.
    pub(crate) http_seconds: [Histogram; 2],
}

// === impl Tally ===

impl Tally {
    /// All zero.
    pub(crate) fn new(bounds: &Bounds) -> Self {
        Self {
            arrived: 0,
            stopped: 0,
            cut_at_length: 0,
            aborted: 0,
            preemptions: 0,
            prompt_tokens: 0,
            generation_tokens: 0,
            prefix_queries: 0,
            prefix_hits: 0,
            busy_ns: 0,
            first_token_seconds: Histogram::new(bounds.first_token_seconds),
            inter_token_seconds: Histogram::new(bounds.inter_token_seconds),
            step_tokens: Histogram::new(bounds.step_tokens),
            request_seconds: Histogram::new(bounds.request_seconds),
            request_queue_seconds: Histogram::new(bounds.queue_seconds),
            request_inference_seconds: Histogram::new(bounds.request_seconds),
            request_prefill_seconds: Histogram::new(bounds.request_seconds),
            request_decode_seconds: Histogram::new(bounds.request_seconds),
            request_token_mean_seconds: Histogram::new(bounds.token_mean_seconds),
            request_prompt_tokens: Histogram::new(bounds.prompt_tokens),
            request_output_tokens: Histogram::new(bounds.output_tokens),
            request_max_tokens: Histogram::new(bounds.output_tokens),
            request_computed_tokens: Histogram::new(bounds.prompt_tokens),
            http_fine_seconds: Histogram::new(http::FINE_SECONDS),
            http_seconds: [http::COARSE_SECONDS; 2].map(Histogram::new),
        }
    }

    /// Requests that were served to their end.
    pub(crate) fn finished(&self) -> u64 {
        self.stopped + self.cut_at_length
    }
}
