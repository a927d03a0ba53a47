//! What a Kubernetes cluster knows of the pods behind the metrics.
//!
//! The core knows no cluster: it is told by whom a pod is owned. Here that is found out. What was watched changes an index
//! that does no I/O, so the hard part is tested without a cluster, and the rest against a real one.
//!
//! - [`object`]: what is kept of an object, its names and its controller
//! - [`watched`]: what is known of the objects of a kind, and how sure that is
//! - [`owner`]: who controls a pod, up to the workload that is scaled
//! - [`scaler`]: what scales a workload, by which it is a variant
//! - [`miss`]: why any of it is not known
//! - [`cluster`]: all of that at one moment
//! - [`variant`]: what is told of it to whoever joins numbers with variants
//! - [`watch`]: finds it out from a cluster, and keeps it as of now
//! - [`discovery`]: pods as targets
//! - [`service`]: what is behind a Service as targets
//! - [`access`]: how the API server is reached
//! - [`config_map`]: one ConfigMap
//! - [`pod_labels`]: pods by their own labels
//! - [`right`]: what has to be allowed for all of that
//! - [`review`]: who somebody is, and what he may see
//! - [`survey`]: what a cluster says once, to whoever looks for what does not fit together

pub mod access;
mod chain;
pub mod cluster;
pub mod config_map;
pub mod discovery;
mod gone;
pub mod miss;
pub mod object;
pub mod owner;
pub mod pod_labels;
pub mod review;
pub mod right;
pub mod scaler;
pub mod service;
pub mod survey;
mod told;
mod trie;
pub mod variant;
mod version;
pub mod watch;
pub mod watched;

/// What asks the API server, and is cheap to clone.
pub use kube::Client;
