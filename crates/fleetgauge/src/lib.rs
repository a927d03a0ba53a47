#![doc = include_str!("../README.md")]

pub use fleetgauge_core::{
    backend, cache, label, params, printable, query, query_list, registry, result, sample, source, target,
    template, time, variant,
};
pub use fleetgauge_promql as promql;

mod client;
pub mod document;
pub mod epp;
pub mod file;
pub mod pack;
pub mod prometheus;
pub mod scrape;

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
pub use pack::Pack;
pub use prometheus::{PrometheusSource, PrometheusSourceConfig};
pub use scrape::{ScrapeConfig, ScrapeSource};
