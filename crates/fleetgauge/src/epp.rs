//! The preset for endpoint pickers (EPP): where they expose their metrics, who may read them, and what the
//! metrics are called.
//!
//! *Source*: the metrics of the Gateway API inference extension
//! (<https://gateway-api-inference-extension.sigs.k8s.io/guides/metrics-and-observability/>), and of llm-d's
//! inference scheduler, which has the same ones under a newer prefix.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use fleetgauge::scrape::ScrapeSource;
//! use fleetgauge::target::StaticTargets;
//! use fleetgauge::{MetricsSource, RefreshSpec, epp};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let pickers = StaticTargets::new([format!("10.0.0.5:{}", epp::PORT)]).with_label("namespace", "chat");
//! let config = epp::scrape_config().with_bearer_token_file(epp::TOKEN_FILE);
//! let source = ScrapeSource::start(config, [Arc::new(pickers) as _])?;
//! epp::register_into(source.query_list())?;
//! source.refresh(RefreshSpec::queries(["llm_d_epp_flow_control_queue_size"])).await;
//! # Ok(())
//! # }
//! ```

use fleetgauge_core::query::QueryTemplate;
use fleetgauge_core::query_list::{QueryList, RegisterError};

use crate::scrape::ScrapeConfig;

/// The port of an endpoint picker's metrics.
pub const PORT: u16 = 9090;

/// The path of an endpoint picker's metrics.
pub const METRICS_PATH: &str = "/metrics";

/// Where a pod finds the token of its service account, which an endpoint picker may ask for. The account then
/// needs a role that may `get` the non-resource URL `/metrics`.
///
/// *Source*: <https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/>.
pub const TOKEN_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// The prefixes of an endpoint picker's own metrics, newer first.
pub const PREFIXES: [&str; 2] = ["llm_d_epp_", "inference_extension_"];

/// The metrics behind each of [`PREFIXES`], with the unit and what they tell.
const OWN: [(&str, &str, &str); 3] = [
    (
        "flow_control_queue_size",
        "requests",
        "requests that wait in the flow control queues",
    ),
    (
        "flow_control_queue_bytes",
        "bytes",
        "size of the requests that wait in the flow control queues",
    ),
    (
        "scheduler_attempts_total",
        "requests",
        "attempts to schedule a request, by status and chosen endpoint",
    ),
];

/// The metrics of the pools behind, newer names first.
const POOL: [(&str, &str, &str); 6] = [
    ("llm_d_epp_average_queue_size", "requests", POOL_QUEUE_SIZE),
    ("llm_d_epp_average_kv_cache_utilization", "ratio", POOL_KV_CACHE),
    ("llm_d_epp_ready_endpoints", "pods", POOL_READY),
    ("inference_pool_average_queue_size", "requests", POOL_QUEUE_SIZE),
    (
        "inference_pool_average_kv_cache_utilization",
        "ratio",
        POOL_KV_CACHE,
    ),
    ("inference_pool_ready_pods", "pods", POOL_READY),
];

const POOL_QUEUE_SIZE: &str = "mean of the requests that wait in the pool's model servers";
const POOL_KV_CACHE: &str = "mean KV cache utilisation of the pool's model servers";
const POOL_READY: &str = "ready pods of the pool";

/// The names of all metrics that are kept, newer and older ones.
pub fn metric_names() -> Vec<String> {
    templates()
        .into_iter()
        .map(|template| template.template)
        .collect()
}

/// How endpoint pickers are scraped: [`METRICS_PATH`], the label `job="epp"`, and [`metric_names`] alone.
///
/// Add [`with_bearer_token_file`](ScrapeConfig::with_bearer_token_file) with [`TOKEN_FILE`] where they ask for
/// a token. Discoveries give the port: that is [`PORT`].
pub fn scrape_config() -> ScrapeConfig {
    ScrapeConfig::new("epp")
        .with_metrics_path(METRICS_PATH)
        .with_wanted(metric_names())
}

/// Registers a query by metric name for each of [`metric_names`], under that name.
///
/// *Errors*: [`RegisterError`] where a query of that name is there already; those before it are then
/// registered.
pub fn register_into(queries: &QueryList) -> Result<(), RegisterError> {
    templates()
        .into_iter()
        .try_for_each(|template| queries.register(template))
}

fn templates() -> Vec<QueryTemplate> {
    let own = OWN.iter().flat_map(|&(name, unit, description)| {
        PREFIXES.map(|prefix| (format!("{prefix}{name}"), unit, description))
    });
    let pool = POOL
        .iter()
        .map(|&(name, unit, description)| (name.to_owned(), unit, description));
    let template = |(name, unit, description): (String, &str, &str)| {
        QueryTemplate::metric_name(name.clone(), name)
            .unit(unit)
            .description(description)
    };
    own.chain(pool).map(template).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pack::Pack;

    #[test]
    fn what_the_pack_asks_for_is_kept() {
        let pack = Pack::builtin("epp").unwrap();
        let is_own = |word: &&str| {
            PREFIXES
                .iter()
                .chain(&["inference_pool_"])
                .any(|p| word.starts_with(p))
        };
        let mut asked: Vec<_> = (pack.queries().iter())
            .flat_map(|query| {
                query
                    .template
                    .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            })
            .filter(is_own)
            .collect();
        asked.sort_unstable();
        asked.dedup();
        let mut kept = metric_names();
        kept.sort_unstable();
        assert_eq!(asked, kept);
    }
}
