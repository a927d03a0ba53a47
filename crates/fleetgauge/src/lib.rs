#![doc = include_str!("../README.md")]

pub use fleetgauge_core::{
    age, backend, cache, completeness, histogram, label, params, policy, printable, query, query_list,
    reading, registry, result, sample, source, target, template, time, variant,
};
#[cfg(feature = "promql")]
pub use fleetgauge_promql as promql;

#[cfg(feature = "client")]
// Some of it serves only one of the two that share it.
#[cfg_attr(
    not(all(feature = "prometheus", feature = "scrape")),
    allow(dead_code, unused_imports)
)]
mod client;
#[cfg(feature = "promql")]
pub mod composed;
#[cfg(feature = "packs")]
pub mod doctor;
#[cfg(any(feature = "packs", feature = "scrape"))]
pub mod document;
#[cfg(all(feature = "packs", feature = "scrape"))]
pub mod epp;
#[cfg(feature = "promql")]
mod evaluation;
#[cfg(feature = "promql")]
pub mod federated;
#[cfg(any(feature = "client", feature = "packs"))]
pub mod file;
#[cfg(feature = "promql")]
mod layered;
#[cfg(feature = "packs")]
pub mod pack;
#[cfg(feature = "prometheus")]
pub mod prometheus;
#[cfg(feature = "promql")]
mod reads;
#[cfg(feature = "scrape")]
pub mod scrape;
#[cfg(any(feature = "packs", feature = "promql"))]
pub mod transform;

#[cfg(feature = "promql")]
pub use composed::{ComposedConfig, ComposedSource};
#[cfg(feature = "promql")]
pub use federated::{FederatedConfig, FederatedSource};
pub use fleetgauge_core::cache::{Cache, CachedRef, CachedValue, Lookup, PreparedQuery};
pub use fleetgauge_core::params::{ParamKind, ParamSpec, Params};
pub use fleetgauge_core::query::{QueryTemplate, QueryType};
pub use fleetgauge_core::query_list::QueryList;
pub use fleetgauge_core::registry::SourceRegistry;
pub use fleetgauge_core::result::MetricResult;
pub use fleetgauge_core::sample::MetricValue;
pub use fleetgauge_core::source::{
    CachedSource, FixedBackend, FixedSource, MetricsSource, NoOpSource, QueryError, RefreshResults,
    RefreshSpec,
};
pub use fleetgauge_core::variant::PodVaMapper;
#[cfg(feature = "packs")]
pub use pack::Pack;
#[cfg(feature = "prometheus")]
pub use prometheus::{PrometheusSource, PrometheusSourceConfig};
#[cfg(feature = "scrape")]
pub use scrape::{ScrapeConfig, ScrapeSource};
