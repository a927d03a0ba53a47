//! How an engine evaluates, and how much it may take.

use std::time::Duration;

use fleetgauge_core::time::Clock;

pub use fleetgauge_syntax::Features;

/// How an [`Engine`](crate::engine::Engine) evaluates, and how much one query may take.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EngineConfig {
    /// How old the newest sample of a series may be to count. Default: 5 minutes, as in Prometheus.
    pub lookback: Duration,
    /// The step of a subquery that names none. Default: 1 minute, as in Prometheus.
    pub subquery_step: Duration,
    /// How many samples a query may look at and compute, all of its operations together. Default: 50 million.
    pub max_samples: usize,
    /// How many series a query may select, and each of its operations may make. Default: 500,000.
    pub max_series: usize,
    /// How many bytes a query may take for all that it makes on the way to its answer: vectors, labels, samples that
    /// it reads, and what it sorts and groups by. The labels and samples that the data holds are not among them. A
    /// little less or more may be taken than is counted, as an allocator rounds. Default: 1 GiB.
    pub max_bytes: usize,
    /// How many steps a range query may have between its start and end. Default: 11,000, as in Prometheus.
    pub max_steps: usize,
    /// How long a query may take. Default: 10 seconds.
    pub timeout: Duration,
    /// Whether the answers to instant queries tell how old each value is. Default: no.
    pub ages: bool,
    /// Whether answers may have native histograms: whoever reads them asks of each value whether it is one. Otherwise a
    /// query whose answer would have one fails, and says so. Default: no.
    pub histograms: bool,
    /// Whether an answer is incomplete, and says so, where an operation left values out of it for what they are: numbers where
    /// it is of native histograms, these where it is of numbers, or both where they came together. Prometheus remarks on it at
    /// most. Default: no.
    pub strict_kinds: bool,
    /// On how many threads a query may be computed, its own included; more than one only where it reads many series.
    /// Others than its own help only while they have nothing else to do. An answer does not depend on it. Default: one
    /// for each processor that the process may use, and at most 8.
    pub threads: usize,
    /// What is evaluated of that which is experimental, and which Prometheus has a switch for. Default: as in Prometheus.
    pub features: Features,
    /// How many parsed queries are kept. Default: 256.
    pub parsed_queries: usize,
    /// Where `timeout` is read.
    pub clock: Clock,
}

/// What is done on one thread at the end is then as much as what each of them did.
const MAX_THREADS: usize = 8;

// === impl EngineConfig ===

impl EngineConfig {
    fleetgauge_core::setters! {
        /// With another [`lookback`](Self::lookback).
        with_lookback(lookback: Duration) => lookback = lookback;
        /// With another [`subquery_step`](Self::subquery_step).
        with_subquery_step(step: Duration) => subquery_step = step;
        /// With another [`max_samples`](Self::max_samples).
        with_max_samples(samples: usize) => max_samples = samples;
        /// With another [`max_series`](Self::max_series).
        with_max_series(series: usize) => max_series = series;
        /// With another [`max_bytes`](Self::max_bytes).
        with_max_bytes(bytes: usize) => max_bytes = bytes;
        /// With another [`histograms`](Self::histograms).
        with_histograms(histograms: bool) => histograms = histograms;
        /// With [`strict_kinds`](Self::strict_kinds) or without.
        with_strict_kinds(strict: bool) => strict_kinds = strict;
        /// With another [`max_steps`](Self::max_steps).
        with_max_steps(steps: usize) => max_steps = steps;
        /// With [`ages`](Self::ages) or without.
        with_ages(ages: bool) => ages = ages;
        /// With another number of [`threads`](Self::threads); 0 means 1.
        with_threads(threads: usize) => threads = threads;
        /// With other [`features`](Self::features).
        with_features(features: Features) => features = features;
        /// With another [`timeout`](Self::timeout).
        with_timeout(timeout: Duration) => timeout = timeout;
        /// With another [`clock`](Self::clock).
        with_clock(clock: Clock) => clock = clock;
    }
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            lookback: Duration::from_secs(5 * 60),
            subquery_step: Duration::from_secs(60),
            max_samples: 50_000_000,
            max_series: 500_000,
            max_bytes: 1 << 30,
            max_steps: 11_000,
            timeout: Duration::from_secs(10),
            ages: false,
            histograms: false,
            strict_kinds: false,
            threads: std::thread::available_parallelism().map_or(1, |count| count.get().min(MAX_THREADS)),
            features: Features::default(),
            parsed_queries: 256,
            clock: Clock::system(),
        }
    }
}
