//! What the tests share: real servers started as plain processes, and a scripted faulty HTTP server.
//!
//! Everything listens on a free loopback port, ends when its handle is dropped, and is waited for by
//! polling for the event itself. Nothing here is needed at run time, so no other crate may depend on
//! it except for its tests.
//!
//! - [`prometheus`] and [`victoria_metrics`]: the real thing, with deterministic data;
//! - [`openmetrics`]: writes that data;
//! - [`faulty`]: answers every request exactly as badly as a script says, also behind [`tls`];
//! - [`process`]: what the real ones are started with;
//! - [`http`]: the small blocking client that the above poll with.

mod error;
pub mod faulty;
pub mod http;
pub mod openmetrics;
pub mod process;
pub mod prometheus;
pub mod proxy;
mod response;
pub mod tls;
pub mod victoria_metrics;

pub use error::{Error, Result};
pub use faulty::{Answer, FaultyServer, Gate, Refused};
pub use openmetrics::OpenMetrics;
pub use prometheus::Prometheus;
pub use response::Response;
pub use tls::Certificates;
pub use victoria_metrics::VictoriaMetrics;
