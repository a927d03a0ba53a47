//! A Prometheus in memory, without sockets or files: pages go in, numbers come out.
//!
//! - [`exposition`]: reads and prints what targets expose
//! - [`window`]: keeps the newest samples of every series

pub mod exposition;
pub mod window;
