//! The integration tests of this crate: one binary, since each links everything anew.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;
mod faults;
mod pages;
