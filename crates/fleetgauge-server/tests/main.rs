//! What the daemon does with metrics, and what its doors answer.
#![allow(clippy::unwrap_used)]

mod api;
mod keda;
mod prometheus;
mod prometheus_hostile;
mod prometheus_same;
mod scheduler;
mod series;

mod support {
    pub(crate) mod door;
}
