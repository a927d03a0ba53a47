//! What is found out of a cluster, by a real one.
#![allow(clippy::unwrap_used)]

mod properties;
mod real_cluster;
mod real_cluster_churn;
mod real_cluster_services;

mod support {
    pub(crate) mod line;
}
