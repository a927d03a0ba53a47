//! The integration tests of this crate: one binary, since each links everything anew.
#![allow(clippy::unwrap_used, missing_docs)]

mod expected;
mod flight;
mod histograms;
mod pipeline;
mod ranges;
mod retry;
mod store;
mod template_properties;

mod support {
    pub(crate) mod backend;
    pub(crate) mod template_body;
}
