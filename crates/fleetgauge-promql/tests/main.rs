//! The integration tests of this crate: one binary, since each links everything anew, and one whose allocator counts
//! for the whole process.
#![allow(clippy::unwrap_used, missing_docs)]

mod asked_again;
mod differential;
mod exposition;
mod exposition_open_metrics_2;
mod exposition_open_metrics_2_properties;
mod exposition_prometheus;
mod exposition_protobuf;
mod exposition_protobuf_broken;
mod page;
mod parse;
mod rewrite;
mod scrape_path;
mod scripts;
mod threads;
mod token_soup;

mod support {
    pub(crate) mod any_family;
    pub(crate) mod exposition_body;
    pub(crate) mod metric_family;
    pub(crate) mod prometheus_3;
    pub(crate) mod promql_body;
    pub(crate) mod said;
    pub(crate) mod vllm_page;
}
