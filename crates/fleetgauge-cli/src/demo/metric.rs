//! What the demo asks for: queries of the pack `inference`, and one of its own.

use fleetgauge::pack::Pack;
use fleetgauge_core::params::{ParamKind, ParamSpec};
use fleetgauge_core::policy::Fold;
use fleetgauge_core::query::QueryTemplate;
use fleetgauge_core::query_list::{QueryList, RegisterError};
use fleetgauge_core::transform::VariantFold;

/// A column of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Metric {
    KvCacheUsage,
    RunningRequests,
    QueueLength,
    AvgTtft,
}

/// First tokens per second over the window of `inference/avg_ttft`: the weights of its means. 0 for an idle
/// pod, no data before the second scrape.
pub(crate) const FIRST_TOKEN_RATE: &str = "demo/first_token_rate";

// === impl Metric ===

impl Metric {
    /// In the order of the columns.
    pub(crate) const ALL: [Self; 4] = [
        Self::KvCacheUsage,
        Self::RunningRequests,
        Self::QueueLength,
        Self::AvgTtft,
    ];

    /// What it is called in JSON.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::KvCacheUsage => "kv_cache_usage",
            Self::RunningRequests => "running_requests",
            Self::QueueLength => "queue_length",
            Self::AvgTtft => "avg_ttft",
        }
    }

    /// The query that gives it.
    pub(crate) const fn query(self) -> &'static str {
        match self {
            Self::KvCacheUsage => "inference/kv_cache_usage_instant",
            Self::RunningRequests => "inference/running_requests",
            Self::QueueLength => "inference/queue_length_instant",
            Self::AvgTtft => "inference/avg_ttft",
        }
    }

    pub(crate) const fn unit(self) -> &'static str {
        match self {
            Self::KvCacheUsage => "ratio",
            Self::RunningRequests | Self::QueueLength => "requests",
            Self::AvgTtft => "seconds",
        }
    }

    /// How the pods of a variant become one number.
    pub(crate) fn fold(self) -> VariantFold {
        match self {
            Self::KvCacheUsage => VariantFold::By(Fold::Max),
            Self::RunningRequests | Self::QueueLength => VariantFold::By(Fold::Sum),
            // Each pod's mean counts by the requests that it is the mean of.
            Self::AvgTtft => VariantFold::WeightedBy(FIRST_TOKEN_RATE.to_owned()),
        }
    }

    /// What that is called in JSON.
    pub(crate) fn total(self) -> &'static str {
        match self.fold() {
            VariantFold::By(fold) => fold.as_str(),
            _ => "weighted_mean",
        }
    }
}

/// Registers what the demo asks.
pub(crate) fn register(queries: &QueryList) -> Result<(), RegisterError> {
    if let Some(pack) = Pack::builtin("inference") {
        pack.register_into(queries)?;
    }
    let rate = |metric: &str| {
        format!(
            "sum by (namespace, pod, instance) \
             (rate({metric}{{namespace=\"{{{{.namespace}}}}\", model_name=\"{{{{.modelID}}}}\"}}[1m]))"
        )
    };
    let engines = ["vllm:", "sglang:", "trtllm_"];
    let rates = engines.map(|engine| rate(&format!("{engine}time_to_first_token_seconds_count")));
    queries.register(
        QueryTemplate::promql(FIRST_TOKEN_RATE, rates.join("\nor\n"))
            .param(ParamSpec::required("namespace", ParamKind::Text))
            .param(ParamSpec::required("modelID", ParamKind::Text))
            .description("First tokens per second over the last minute")
            .unit("requests per second"),
    )
}
