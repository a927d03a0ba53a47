//! The cluster of the tests does what tests expect of one.
#![allow(clippy::unwrap_used)]

mod real_cluster;
