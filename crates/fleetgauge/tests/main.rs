//! The integration tests of this crate: one binary, since each links everything anew.
#![allow(clippy::unwrap_used, missing_docs)]

mod absence;
mod composed;
mod doctor;
mod federated;
mod federated_same;
mod packs;
mod packs_scraped;
mod prometheus_ages;
mod prometheus_answer;
mod prometheus_companions;
mod prometheus_expected;
mod prometheus_faults;
mod prometheus_http;
mod prometheus_real;
mod proxy;
mod scrape;
mod scrape_clock;
mod scrape_discovery;
mod scrape_faults;
mod scrape_histograms;
mod scrape_missing;
mod scrape_prometheus;
mod scrape_promql;
mod scrape_provenance;
mod scrape_relabel;
mod scrape_tls;
mod scrape_variants;
mod scrape_withdrawn;
mod transform;

mod support {
    pub(crate) mod answer_body;
    pub(crate) mod fleet;
    pub(crate) mod rows;
    pub(crate) mod scrape;
}
