//! The demo: a simulated fleet, collected over real HTTP, and what is known of it at each moment.
//!
//! The numbers take the way that they take in production: the queries of the pack `inference`, refreshed
//! through a [`MetricsSource`](fleetgauge_core::source::MetricsSource) and tied to variants by the
//! [`PodVaMapper`](fleetgauge_core::variant::PodVaMapper). What collects them, the source, is the only thing
//! that differs between the demo's modes.
//!
//! [`observer`] makes a [`snapshot`] of what is known, with a reason for whatever is not; [`target`] is where
//! reasons come from; [`view`] and [`screen`] show it.

pub(crate) mod metric;
pub(crate) mod observer;
pub(crate) mod pods;
pub(crate) mod prometheus;
pub(crate) mod screen;
pub(crate) mod snapshot;
pub(crate) mod target;
pub(crate) mod view;

#[cfg(test)]
mod tests;
