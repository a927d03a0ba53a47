//! A real Kubernetes control plane for tests, as plain processes on loopback, and a node whose pods are simulated engines.
//!
//! There is no kubelet, no container and no network beside loopback: what runs is what decides, the API server and the
//! controllers, with the HPA's among them. What a kubelet would do for a pod, a [`NodeAgent`] does in the test's own
//! process. It is a crate of its own beside the test kit, since few tests need it and its dependencies are many.
//!
//! - [`Cluster`]: etcd, API server and controller manager on free ports; ended when it is dropped, or with the process;
//! - [`NodeAgent`]: gives each pod of a namespace an address, on which the test's router answers, and says that it is ready;
//! - [`Engines`]: such routers, of engines that have work to do and can fail, and what they truly have;
//! - [`Keda`]: KEDA's operator beside it.
//!
//! The programs are in the folder that `KUBEBUILDER_ASSETS` names, which `cargo xtask control-plane` makes, and KEDA's
//! in the one that `FLEETGAUGE_KEDA` names, which `cargo xtask keda` makes. Tests that need
//! them are marked `#[ignore]` and lie in a module `real_cluster`, so that `cargo xtask test` includes them where they are.

mod agent;
mod assets;
mod authority;
mod cluster;
mod engines;
mod error;
mod keda;

pub use agent::NodeAgent;
pub use cluster::Cluster;
pub use engines::Engines;
pub use error::{Error, Result};
pub use keda::Keda;
