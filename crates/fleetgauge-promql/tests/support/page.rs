//! A busy inference server's page, second by second: what the window's memory and speed are measured with.
//!
//! Modelled on vLLM's: two engines, seventeen histograms each whose buckets are most of the page, counters of
//! tokens and requests, a few gauges, and constants. Only values that a real page has are in it: latencies
//! and their sums are arbitrary floats, tokens whole numbers, the cache's use a ratio.

/// Text of each series and its value at the current second.
pub(crate) struct Page {
    pub(crate) texts: Vec<String>,
    pub(crate) values: Vec<f64>,
    kinds: Vec<Kind>,
    random: Random,
    /// Requests ended, and scheduler steps done, in this second; of each engine.
    events: [[usize; 2]; 2],
    measurements: Vec<f64>,
}

#[derive(Clone, Copy)]
enum Kind {
    /// Of the histogram with this number: up to this bound.
    Bucket(usize, f64),
    Count(usize),
    Sum(usize),
    /// Grows by up to this many a request.
    Counter(usize, f64),
    /// A whole number that wanders.
    Gauge,
    Ratio,
    Seconds,
    Constant,
}

/// A small generator, so that every run has the same page (Marsaglia's xorshift).
pub(crate) struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}

const HISTOGRAMS: [(&str, usize, f64, bool); 17] = [
    ("request_prompt_tokens", 17, 4_000.0, true),
    ("request_generation_tokens", 17, 800.0, true),
    ("iteration_tokens_total", 14, 2_000.0, true),
    ("request_max_num_generation_tokens", 17, 800.0, true),
    ("request_params_n", 6, 1.0, true),
    ("request_params_max_tokens", 17, 1_000.0, true),
    ("time_to_first_token_seconds", 23, 2.0, false),
    ("inter_token_latency_seconds", 20, 0.05, false),
    ("time_per_output_token_seconds", 20, 0.05, false),
    ("request_time_per_output_token_seconds", 20, 0.05, false),
    ("e2e_request_latency_seconds", 21, 20.0, false),
    ("request_queue_time_seconds", 21, 1.0, false),
    ("request_inference_time_seconds", 21, 20.0, false),
    ("request_prefill_time_seconds", 21, 1.0, false),
    ("request_decode_time_seconds", 21, 20.0, false),
    ("request_prefill_kv_computed_tokens", 17, 4_000.0, true),
    ("spec_decode_accepted_tokens", 10, 4.0, true),
];
/// Of the histograms, those that are measured at every step and not at every request.
const PER_STEP: [usize; 3] = [2, 7, 8];

impl Page {
    pub(crate) fn new(seed: u64) -> Self {
        let mut page = Self {
            texts: Vec::new(),
            values: Vec::new(),
            kinds: Vec::new(),
            random: Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            events: [[0; 2]; 2],
            measurements: Vec::new(),
        };
        for engine in 0..2 {
            let labels = format!("engine=\"{engine}\",model_name=\"meta-llama/Llama-3.1-8B-Instruct\"");
            for (number, &(name, buckets, scale, _)) in HISTOGRAMS.iter().enumerate() {
                let histogram = engine * HISTOGRAMS.len() + number;
                for bucket in 1..=buckets {
                    let bound = if bucket == buckets {
                        f64::INFINITY
                    } else {
                        scale * 8.0 * 0.5f64.powi((buckets - bucket) as i32 / 2)
                    };
                    let text = format!("vllm:{name}_bucket{{{labels},le=\"{bucket}\"}}");
                    page.add(text, Kind::Bucket(histogram, bound), 0.0);
                }
                page.add(
                    format!("vllm:{name}_count{{{labels}}}"),
                    Kind::Count(histogram),
                    0.0,
                );
                page.add(format!("vllm:{name}_sum{{{labels}}}"), Kind::Sum(histogram), 0.0);
                page.add(
                    format!("vllm:{name}_created{{{labels}}}"),
                    Kind::Constant,
                    1_763_930_000.123,
                );
            }
            for name in ["num_requests_running", "num_requests_waiting"] {
                page.add(format!("vllm:{name}{{{labels}}}"), Kind::Gauge, 20.0);
            }
            page.add(format!("vllm:kv_cache_usage_perc{{{labels}}}"), Kind::Ratio, 0.5);
            page.add(format!("vllm:gpu_cache_usage_perc{{{labels}}}"), Kind::Ratio, 0.5);
            for (name, growth) in [
                ("prompt_tokens", 4_000.0),
                ("generation_tokens", 800.0),
                ("request_success", 1.0),
            ] {
                page.add(
                    format!("vllm:{name}_total{{{labels}}}"),
                    Kind::Counter(engine, growth),
                    0.0,
                );
            }
            for number in 0..18 {
                let kind = if number % 2 == 0 {
                    Kind::Counter(engine, 3_000.0)
                } else {
                    Kind::Constant
                };
                page.add(format!("vllm:counter_{number}_total{{{labels}}}"), kind, 0.0);
                page.add(
                    format!("vllm:counter_{number}_created{{{labels}}}"),
                    Kind::Constant,
                    1.76393e9,
                );
            }
        }
        page.add("process_cpu_seconds_total".to_owned(), Kind::Seconds, 0.0);
        for number in 0..20 {
            page.add(
                format!("python_info_{number}{{version=\"3.12\"}}"),
                Kind::Constant,
                1.0,
            );
        }
        page
    }

    /// The next second.
    pub(crate) fn step(&mut self) {
        for engine in 0..2 {
            let requests = (self.random.next() * 4.0) as usize;
            self.events[engine] = [requests, 20 + (self.random.next() * 20.0) as usize];
        }
        self.measure();
        let ratio = (self.random.next() * 27_000.0).round() / 27_000.0;
        for (value, &kind) in self.values.iter_mut().zip(&self.kinds) {
            let measured = |histogram: usize| {
                self.measurements
                    .chunks(MEASUREMENTS)
                    .nth(histogram)
                    .unwrap_or_default()
                    .iter()
            };
            match kind {
                Kind::Bucket(h, bound) => *value += measured(h).filter(|&&m| m <= bound).count() as f64,
                Kind::Count(h) => *value += measured(h).filter(|m| !m.is_nan()).count() as f64,
                Kind::Sum(h) => *value += measured(h).filter(|m| !m.is_nan()).sum::<f64>(),
                Kind::Counter(engine, growth) => {
                    for _ in 0..self.events[engine][0] {
                        *value += (self.random.next() * growth).ceil();
                    }
                }
                Kind::Gauge => *value = (*value + (self.random.next() * 5.0).floor() - 2.0).max(0.0),
                Kind::Ratio => *value = ratio,
                Kind::Seconds => *value = ((*value + self.random.next()) * 100.0).round() / 100.0,
                Kind::Constant => {}
            }
        }
    }

    /// What each histogram measures in this second; NaN where there was nothing more.
    fn measure(&mut self) {
        self.measurements.clear();
        for engine in 0..2 {
            for (number, &(_, _, scale, whole)) in HISTOGRAMS.iter().enumerate() {
                let count = self.events[engine][usize::from(PER_STEP.contains(&number))];
                for i in 0..MEASUREMENTS {
                    let value = scale * -(1.0 - self.random.next()).ln();
                    let value = if whole { value.ceil() } else { value };
                    self.measurements.push(if i < count { value } else { f64::NAN });
                }
            }
        }
    }

    fn add(&mut self, text: String, kind: Kind, value: f64) {
        self.texts.push(text);
        self.kinds.push(kind);
        self.values.push(value);
    }
}

const MEASUREMENTS: usize = 40;

/// The labels in `name{a="b",…}`, where no value has an escape.
pub(crate) fn labels(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let (name, rest) = text.split_once('{').unwrap_or((text, ""));
    let pairs = rest
        .trim_end_matches('}')
        .split(',')
        .filter_map(|pair| pair.split_once('='));
    [("__name__", name)]
        .into_iter()
        .chain(pairs.map(|(name, value)| (name, value.trim_matches('"'))))
}
