//! The integration tests of this crate: one binary, since each links everything anew.
#![allow(clippy::unwrap_used, missing_docs)]

#[cfg(target_os = "linux")]
mod demo;
mod docs;
mod doctor;
mod explain;
mod golden;
#[cfg(target_os = "linux")]
mod hostile;
mod pipe;
mod query;
#[cfg(all(target_os = "linux", feature = "kubernetes"))]
mod real_cluster;
#[cfg(all(target_os = "linux", feature = "kubernetes"))]
mod real_cluster_chart;
#[cfg(all(target_os = "linux", feature = "kubernetes"))]
mod real_cluster_doctor;
#[cfg(all(target_os = "linux", feature = "kubernetes"))]
mod real_cluster_external_metrics;
#[cfg(target_os = "linux")]
mod real_cluster_keda;
#[cfg(all(target_os = "linux", feature = "kubernetes"))]
mod real_cluster_rights;
mod scrape;
#[cfg(target_os = "linux")]
mod serve;
#[cfg(target_os = "linux")]
mod serve_config;
#[cfg(target_os = "linux")]
mod serve_days;
#[cfg(target_os = "linux")]
mod soak;
mod sources;

mod support {
    pub(crate) mod binary;
    #[cfg(target_os = "linux")]
    pub(crate) mod daemon;
    #[cfg(all(target_os = "linux", feature = "kubernetes"))]
    pub(crate) mod rights;
    pub(crate) mod terminal;
    #[cfg(all(target_os = "linux", feature = "kubernetes"))]
    pub(crate) mod yaml;
}
