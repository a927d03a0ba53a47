//! What the daemon does with metrics, and what its doors answer.
#![allow(clippy::unwrap_used)]

mod absence;
mod api;
mod dashboard;
mod generated;
mod keda;
mod kubernetes;
mod listener;
mod prometheus;
mod prometheus_hostile;
mod prometheus_python;
mod prometheus_same;
mod readers;
mod scheduler;
mod series;

// The world in which answers are absent is that of the tests of the sources.
#[allow(dead_code)]
#[path = "../../fleetgauge/tests/support/fleet.rs"]
mod fleet;
#[path = "../../fleetgauge/tests/support/scrape.rs"]
mod scrape;

mod support {
    pub(crate) mod door;
    mod provided;

    pub(crate) use crate::{fleet, scrape};
    pub(crate) use provided::provided;
}
