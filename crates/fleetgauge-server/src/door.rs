//! What is served of the store, and how. A door is a thin encoder: it parses, authorises, reads and encodes, and never
//! waits for a source.

pub mod access;
pub mod api;
pub mod dashboard;
pub mod fallback;
pub mod health;
pub mod keda;
pub mod kubernetes;
pub mod listener;
pub mod own;
pub mod prometheus;
pub mod reload;

mod excess;
mod problem;
