//! What the daemon does with metrics, and what its doors answer.
#![allow(clippy::unwrap_used)]

mod api;
mod scheduler;
