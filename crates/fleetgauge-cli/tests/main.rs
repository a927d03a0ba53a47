//! The integration tests of this crate: one binary, since each links everything anew.
#![allow(clippy::unwrap_used, missing_docs)]

#[cfg(target_os = "linux")]
mod adapter;
#[cfg(target_os = "linux")]
mod dashboard;
#[cfg(target_os = "linux")]
mod demo;
mod docs;
mod doctor;
mod explain;
mod golden;
#[cfg(target_os = "linux")]
mod hostile;
#[cfg(target_os = "linux")]
mod native_histograms;
mod pipe;
mod query;
#[cfg(all(target_os = "linux", feature = "kubernetes"))]
mod real_cluster;
#[cfg(all(target_os = "linux", feature = "kubernetes"))]
mod real_cluster_chart;
#[cfg(all(target_os = "linux", feature = "kubernetes"))]
mod real_cluster_closed_loop;
#[cfg(all(target_os = "linux", feature = "kubernetes"))]
mod real_cluster_doctor;
#[cfg(all(target_os = "linux", feature = "kubernetes"))]
mod real_cluster_external_metrics;
#[cfg(target_os = "linux")]
mod real_cluster_keda;
#[cfg(all(target_os = "linux", feature = "kubernetes"))]
mod real_cluster_rights;
#[cfg(target_os = "linux")]
mod scaling_out;
mod scrape;
#[cfg(target_os = "linux")]
mod serve;
#[cfg(target_os = "linux")]
mod serve_config;
#[cfg(target_os = "linux")]
mod serve_days;
#[cfg(target_os = "linux")]
mod serve_remote_write;
#[cfg(target_os = "linux")]
mod soak;
mod sources;

mod support {
    #[cfg(all(target_os = "linux", feature = "kubernetes"))]
    pub(crate) mod aggregation;
    pub(crate) mod binary;
    #[cfg(target_os = "linux")]
    pub(crate) mod browser;
    #[cfg(all(target_os = "linux", feature = "kubernetes"))]
    pub(crate) mod closed_loop;
    #[cfg(target_os = "linux")]
    pub(crate) mod daemon;
    #[cfg(all(target_os = "linux", feature = "kubernetes"))]
    pub(crate) mod rights;
    #[cfg(all(target_os = "linux", feature = "kubernetes"))]
    #[allow(dead_code, reason = "the example uses the rest")]
    pub(crate) mod show;
    pub(crate) mod terminal;
    #[cfg(all(target_os = "linux", feature = "kubernetes"))]
    pub(crate) mod yaml;
}
