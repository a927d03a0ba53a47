//! A scripted HTTP/1.1 server on raw sockets, because faults must be exact.
//!
//! A script is a sequence of [`Answer`]s, one for each request in the order in which they arrive over
//! all connections; the last one repeats. The server runs on a thread of its own, so that it serves
//! blocking tests, benches and any tokio runtime alike; dropping it ends the thread and every
//! connection. It understands just enough HTTP to know where a request ends.
//!
//! ```
//! use fleetgauge_testkit::{Answer, FaultyServer, http};
//!
//! let server = FaultyServer::start([Answer::status(503).retry_after_seconds(1), Answer::vector(7.0, &[])])?;
//! assert_eq!(http::get(server.addr(), "/api/v1/query?query=up")?.status, 503);
//! assert_eq!(http::get(server.addr(), "/api/v1/query?query=up")?.status, 200);
//! assert_eq!(http::get(server.addr(), "/api/v1/query?query=up")?.status, 200);
//! assert_eq!(server.counters().requests, 3);
//! assert_eq!(server.requests()[0].target, "/api/v1/query?query=up");
//! # Ok::<(), fleetgauge_testkit::Error>(())
//! ```

mod answer;
mod body;
mod connection;
mod gate;
mod request;
mod server;

pub use answer::Answer;
pub use gate::Gate;
pub use request::Request;
pub use server::{Counters, FaultyServer, Refused};

#[cfg(test)]
mod tests;
