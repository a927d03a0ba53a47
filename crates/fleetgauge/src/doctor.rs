//! Why queries do not answer, and what to change: each is asked of a live source, and one that has no answer is taken
//! apart until the first reason is found.
//!
//! - [`Doctor`] examines queries, and gives a [`Finding`] for each
//! - what is asked is PromQL alone, through the source itself: so a Prometheus, scraped pods and composed sources are
//!   examined in one way
//! - parameters that nobody gave are taken from the labels that the source has
//!
//! It changes nothing. What it could not find out it says.
//!
//! ```
//! use std::sync::Arc;
//! use fleetgauge::doctor::{Doctor, Severity};
//! use fleetgauge::{FixedBackend, Pack, QueryTemplate};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let source = FixedBackend::new().values("waiting", [([("pod", "a")], 3.0)]).into_source();
//! let query = QueryTemplate::promql("waiting", "max by (pod) (vllm:num_requests_waiting)");
//! let findings = Doctor::new(Arc::new(source)).examine(&[query]).await;
//! assert_eq!(findings[0].severity, Severity::Ok);
//! assert_eq!(findings[0].what, "1 row");
//! # }
//! ```

mod advice;
mod dissect;
mod examine;
mod fill;
mod finding;
mod probe;
mod read;
mod rename;
mod rows;
mod selector;
mod subject;
mod words;

pub use self::examine::Doctor;
pub use self::finding::{Finding, Severity};

/// So that the example of the page compiles.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/doctor.md")]
mod page {}
