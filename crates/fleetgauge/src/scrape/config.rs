//! What a scrape source is told: how often, how, and within which bounds.

use std::time::Duration;

use fleetgauge_core::source::{CachedSourceConfig, RangeConfig, RetryPolicy};
use fleetgauge_core::target::{Scheme, TargetDefaults};
use fleetgauge_promql::exposition::{Format, Histograms, Limits, Wanted};
use fleetgauge_promql::window::WindowConfig;

use super::coverage::Spacing;
use super::protocol::ScrapeProtocol;
use super::relabel::Relabeling;
use super::shard::Shard;
use crate::client::{Auth, ConfigError, ProxyConfig, TlsConfig};

/// How a [`ScrapeSource`](super::ScrapeSource) works.
///
/// ```
/// use std::time::Duration;
/// use fleetgauge::scrape::ScrapeConfig;
///
/// let config = ScrapeConfig::new("vllm")
///     .with_interval(Duration::from_secs(1))
///     .with_wanted(["vllm:num_requests_waiting", "vllm:kv_cache_usage_perc"]);
/// assert_eq!(config.stale_after(), Duration::from_secs(10));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ScrapeConfig {
    /// How often each target is scraped. Default: 15 s.
    pub interval: Duration,
    /// How long one scrape may take, from connecting to the last byte; no longer than the interval. Default:
    /// the interval, at most 10 s.
    pub timeout: Option<Duration>,
    /// How long the last values of a target that fails are kept, with their age; after that they are gone.
    /// Default: five intervals, at least 10 s.
    ///
    /// Prometheus lets them go at the first failure. For an autoscaler one lost scrape of a busy pod is no
    /// news, and its queue length of a second ago worth more than none.
    pub stale_after: Option<Duration>,
    /// How long a target that appeared while others were scraped already may take until it answers for the first time:
    /// until then it is not expected to report. Models load for minutes, just when load rises. Default: 10 minutes.
    pub starting_for: Duration,
    /// How old a sample may be that is answered with, where its target dates it itself. Default: 5 minutes,
    /// as in Prometheus.
    pub lookback_delta: Duration,
    /// What holds for targets whose discovery does not say otherwise: scheme, path, parameters, labels.
    pub defaults: TargetDefaults,
    /// What is made of the labels of what is discovered, before it is a target. Default: nothing.
    pub relabeling: Relabeling,
    /// Which of all targets are scraped, where others scrape the rest. Default: all.
    pub shard: Option<Shard>,
    /// Who asks.
    pub auth: Auth,
    /// Whom to trust, and what to show.
    pub tls: TlsConfig,
    /// Through which HTTP proxy targets are reached. Default: none.
    pub proxy: ProxyConfig,
    /// How a page is read whose content type is missing or names no exposition. Default: where it is missing, as
    /// text; any other is refused, as by Prometheus 3.
    pub fallback_scrape_protocol: Option<ScrapeProtocol>,
    /// Which formats are asked for, the most wanted one first; `None` is as Prometheus has it: Protocol Buffers where
    /// native histograms are scraped, then OpenMetrics 1.0 and 0.0.1, then the text format. Default: `None`.
    pub scrape_protocols: Option<Vec<ScrapeProtocol>>,
    /// Whether native histograms are kept, which pages in Protocol Buffers and OpenMetrics 2.0 have. Of one that has classic buckets too, these
    /// are left out then. Default: no, as in Prometheus; then a histogram has its classic buckets.
    pub scrape_native_histograms: bool,
    /// Whether classic histograms become native ones with custom buckets, and their series are left out. Default: no.
    pub convert_classic_histograms_to_nhcb: bool,
    /// Whether classic buckets are kept also of histograms that are native, or become so. Default: no.
    pub always_scrape_classic_histograms: bool,
    /// Whether compressed pages are asked for. Default: no. Within a cluster the network is cheap, and the
    /// processor that would compress the page is the inference server's. Pages that come compressed
    /// nevertheless are read.
    pub gzip: bool,
    /// The metrics that are kept; `None` keeps all. Default: all.
    pub wanted: Option<Wanted>,
    /// What a page may hold. Its bytes count once they are decompressed. Default: 16 MiB, 1,000,000 samples.
    pub limits: Limits,
    /// How much all pages that are being read may take together, the first MiB of each aside; a scrape that
    /// needs more waits within its timeout. Default: 256 MiB. *Unit*: bytes.
    ///
    /// This, and not a number of scrapes at once, is the bound on concurrency: 500 pods that hang would
    /// otherwise keep the others waiting for their turn. Each target has one scrape under way at most.
    pub max_bytes_in_flight: usize,
    /// How many targets are scraped at most; those beyond are left out, and that is told. Default: 10,000.
    pub max_targets: usize,
    /// What the window of samples holds.
    pub window: WindowConfig,
    /// How long a value that was read from the window holds in the cache where its query does not say.
    /// Default: 30 s.
    pub default_ttl: Duration,
    /// How long one query may take, the scrapes that it asks for included, where it does not say itself.
    /// Default: 10 s.
    pub query_timeout: Duration,
    /// How ranges are refreshed, and how large they may be.
    pub range: RangeConfig,
}

/// When a process began. *Unit* of its values: seconds since the Unix epoch.
///
/// *Source*: <https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics>.
pub(super) const PROCESS_START: &str = "process_start_time_seconds";

// === impl ScrapeConfig ===

impl Default for ScrapeConfig {
    fn default() -> Self {
        let source = CachedSourceConfig::default();
        Self {
            interval: Duration::from_secs(15),
            timeout: None,
            stale_after: None,
            starting_for: Duration::from_secs(600),
            lookback_delta: Duration::from_secs(300),
            defaults: TargetDefaults::default(),
            relabeling: Relabeling::default(),
            shard: None,
            auth: Auth::None,
            tls: TlsConfig::default(),
            proxy: ProxyConfig::none(),
            fallback_scrape_protocol: None,
            scrape_protocols: None,
            scrape_native_histograms: false,
            convert_classic_histograms_to_nhcb: false,
            always_scrape_classic_histograms: false,
            gzip: false,
            wanted: None,
            limits: Limits::default().with_body_bytes(16 << 20),
            max_bytes_in_flight: 256 << 20,
            max_targets: 10_000,
            window: WindowConfig::default(),
            default_ttl: source.cache.default_ttl,
            query_timeout: source.query_timeout,
            range: source.range,
        }
    }
}

impl ScrapeConfig {
    /// The defaults, for targets that get the label `job` where they have none.
    pub fn new(job: impl Into<String>) -> Self {
        Self::default().with_label("job", job)
    }

    fleetgauge_core::setters! {
        /// Sets how often each target is scraped.
        with_interval(interval: Duration) => interval = interval;
        /// Sets how long one scrape may take.
        with_timeout(timeout: Duration) => timeout = Some(timeout);
        /// Sets how long the last values of a target that fails are kept.
        with_stale_after(stale_after: Duration) => stale_after = Some(stale_after);
        /// Sets how long a target that appeared may take until it answers.
        with_starting_for(starting_for: Duration) => starting_for = starting_for;
        /// Sets how targets are talked to whose discovery does not say.
        with_scheme(scheme: Scheme) => defaults.scheme = scheme;
        /// Sets where the metrics are of targets whose discovery does not say.
        with_metrics_path(path: impl Into<String>) => defaults.metrics_path = path.into();
        /// Sets what is made of the labels of what is discovered.
        with_relabeling(relabeling: Relabeling) => relabeling = relabeling;
        /// Sets which of all targets are scraped.
        with_shard(shard: Shard) => shard = Some(shard);
        /// Sets who asks.
        with_auth(auth: Auth) => auth = auth;
        /// Sets whom to trust, and what to show.
        with_tls(tls: TlsConfig) => tls = tls;
        /// Sets through which HTTP proxy targets are reached.
        with_proxy(proxy: ProxyConfig) => proxy = proxy;
        /// Sets how a page is read whose content type is missing or names no exposition.
        with_fallback_scrape_protocol(protocol: ScrapeProtocol) => fallback_scrape_protocol = Some(protocol);
        /// Sets which formats are asked for, the most wanted one first.
        with_scrape_protocols(protocols: Vec<ScrapeProtocol>) => scrape_protocols = Some(protocols);
        /// Sets whether native histograms are kept.
        with_scrape_native_histograms(native: bool) => scrape_native_histograms = native;
        /// Sets whether classic histograms become native ones with custom buckets.
        with_convert_classic_histograms_to_nhcb(convert: bool) => convert_classic_histograms_to_nhcb = convert;
        /// Sets whether classic buckets are kept also of histograms that are native, or become so.
        with_always_scrape_classic_histograms(always: bool) => always_scrape_classic_histograms = always;
        /// Sets whether exposed labels win over those of the target: [`WindowConfig::honor_labels`].
        with_honor_labels(honor_labels: bool) => window.honor_labels = honor_labels;
        /// Sets whether compressed pages are asked for.
        with_gzip(gzip: bool) => gzip = gzip;
        /// Sets what a page may hold.
        with_limits(limits: Limits) => limits = limits;
        /// Sets what the window of samples holds.
        with_window(window: WindowConfig) => window = window;
        /// Sets how long a value holds in the cache where its query does not say.
        with_default_ttl(ttl: Duration) => default_ttl = ttl;
        /// Sets how long one query may take.
        with_query_timeout(timeout: Duration) => query_timeout = timeout;
    }

    /// Adds a parameter to the URL of all targets.
    #[must_use]
    pub fn with_param(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.defaults.params.push((name.into(), value.into()));
        self
    }

    /// Adds a label to targets that lack it.
    #[must_use]
    pub fn with_label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.defaults.labels.insert(name.into(), value.into());
        self
    }

    /// Asks with the bearer token in a file, which is read again when it changes.
    #[must_use]
    pub fn with_bearer_token_file(self, token_file: impl Into<std::path::PathBuf>) -> Self {
        self.with_auth(Auth::BearerFile {
            token_file: token_file.into(),
        })
    }

    /// Keeps these metrics alone: by name, or all of a histogram or summary by its family's name. When a process began
    /// (`process_start_time_seconds`) is kept in any case: what is missing from a target's samples follows from it.
    #[must_use]
    pub fn with_wanted<N: Into<Box<str>>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        let names = names.into_iter().map(Into::into);
        self.wanted = Some(Wanted::new(names.chain([Box::from(PROCESS_START)])));
        self
    }

    /// How long one scrape may take: as set, or by default.
    pub fn timeout(&self) -> Duration {
        let default = self.interval.min(Duration::from_secs(10));
        self.timeout.unwrap_or(default)
    }

    /// How long the last values of a target that fails are kept: as set, or by default.
    pub fn stale_after(&self) -> Duration {
        let default = self.interval.saturating_mul(5).max(Duration::from_secs(10));
        self.stale_after.unwrap_or(default)
    }

    /// Which formats are asked for, the most wanted one first.
    pub(super) fn protocols(&self) -> Vec<ScrapeProtocol> {
        let native = self
            .scrape_native_histograms
            .then_some(ScrapeProtocol::PrometheusProto);
        let default = || native.into_iter().chain(ScrapeProtocol::DEFAULT).collect();
        self.scrape_protocols.clone().unwrap_or_else(default)
    }

    /// Whether a page of this format is read where its content type says that it is one. OpenMetrics 2.0 may change yet, so
    /// that it is read only where it was asked for.
    pub(super) fn takes(&self, format: Format) -> bool {
        let asked_for = self.scrape_protocols.iter().flatten();
        let mut asked_for = asked_for.map(|protocol| protocol.format());
        format != Format::OpenMetrics2 || asked_for.any(|asked_for| asked_for == format)
    }

    /// Which form of histograms is kept.
    pub(super) fn histograms(&self) -> Histograms {
        match (
            self.scrape_native_histograms,
            self.always_scrape_classic_histograms,
        ) {
            (false, _) => Histograms::Classic,
            (true, false) => Histograms::Native,
            (true, true) => Histograms::Both,
        }
    }

    pub(super) fn spacing(&self) -> Spacing {
        Spacing {
            interval: self.interval,
            timeout: self.timeout(),
            stale_after: self.stale_after(),
            starting_for: self.starting_for,
        }
    }

    /// What the pipeline is told of all this.
    pub(super) fn source_config(&self) -> CachedSourceConfig {
        let mut source = CachedSourceConfig::default();
        source.cache.default_ttl = self.default_ttl;
        source.query_timeout = self.query_timeout;
        source.range = self.range.clone();
        // All queries wait for the same scrapes.
        source.max_concurrency = 1_000;
        // A scrape that failed is tried again at the next tick, not by whoever asks.
        source.retry = RetryPolicy::never();
        source
    }

    /// Whether a source can work like this.
    ///
    /// *Errors*: [`ConfigError::Invalid`], of the first setting that it cannot.
    pub fn check(&self) -> Result<(), ConfigError> {
        let invalid = |field: &str, problem: String| {
            Err(ConfigError::Invalid {
                field: field.into(),
                problem,
            })
        };
        let durations = [
            ("interval", self.interval),
            ("timeout", self.timeout()),
            ("stale_after", self.stale_after()),
            ("lookback_delta", self.lookback_delta),
            ("default_ttl", self.default_ttl),
            ("query_timeout", self.query_timeout),
        ];
        for (field, duration) in durations {
            if duration < Duration::from_millis(1) {
                return invalid(field, "must be at least 1 ms".into());
            }
            if duration > Duration::from_secs(10 * 365 * 24 * 3600) {
                return invalid(field, "must be at most ten years".into());
            }
        }
        if self.timeout() > self.interval {
            let (timeout, interval) = (self.timeout(), self.interval);
            return invalid(
                "timeout",
                format!("{timeout:?} is longer than the interval of {interval:?}"),
            );
        }
        let protocols = self.protocols();
        if protocols.is_empty() {
            return invalid("scrape_protocols", "must not be empty".into());
        }
        for (at, protocol) in protocols.iter().enumerate() {
            if protocols[..at].contains(protocol) {
                return invalid("scrape_protocols", format!("{protocol} occurs twice"));
            }
        }
        if self.max_targets == 0 {
            return invalid("max_targets", "must be more than zero".into());
        }
        if self.limits.body_bytes > self.max_bytes_in_flight {
            return invalid(
                "max_bytes_in_flight",
                "must be at least what one page may hold (limits.body_bytes)".into(),
            );
        }
        Ok(())
    }
}
