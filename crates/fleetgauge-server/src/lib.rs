//! The daemon behind `fleetgauge serve`: named metrics kept fresh, one store of readings, and the doors that serve them.
//!
//! A consumer never waits for a backend: doors answer from memory. This crate knows neither Kubernetes nor files; who uses
//! it makes the sources, and says what is to be kept fresh.
//!
//! - [`metric`]: what is kept fresh, under a name that consumers use
//! - [`variant`]: what an autoscaler scales, and what each query is asked for it
//! - [`store`]: the readings of all metrics, as of now
//! - [`scheduler`]: refreshes each metric at its interval
//! - [`readiness`]: whether the daemon may be asked
//! - [`door`]: what is served of it, and how
//! - [`json`]: the shapes that doors and command line have in common

pub mod door;
pub mod json;
pub mod metric;
pub mod readiness;
pub mod scheduler;
pub mod store;
pub mod variant;
