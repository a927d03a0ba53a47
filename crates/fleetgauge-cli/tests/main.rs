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
mod scrape;
mod serve;
#[cfg(target_os = "linux")]
mod soak;
mod sources;

mod support {
    pub(crate) mod binary;
    pub(crate) mod terminal;
}
