//! What a Kubernetes cluster knows of the pods behind the metrics.
//!
//! The core knows no cluster: it is told by whom a pod is owned. Here that is found out. What was watched changes an index
//! that does no I/O, so the hard part is tested without a cluster, and the rest against a real one.
//!
//! - [`object`]: what is kept of an object, its names and its controller
//! - [`owner`]: who controls a pod, up to the workload that is scaled; or why that is not known
//! - [`watch`]: fills the index from a cluster, and keeps it as of now

pub mod object;
pub mod owner;
pub mod watch;
