//! How this crate talks HTTP: who asks, whom it trusts, what it bounds, and what it says when that fails.
//!
//! Shared by all that fetches: the Prometheus source asks one server for many answers, the scrape source many
//! servers for one page each.

pub(crate) mod alert;
pub(crate) mod body;
pub(crate) mod cause;
mod config;
pub(crate) mod connector;
pub(crate) mod credentials;
pub(crate) mod endpoint;
pub(crate) mod failure;
pub(crate) mod proxy;
mod secret;
pub(crate) mod tls;
pub(crate) mod watch;

pub use cause::ConnectionError;
pub use config::{Auth, ConfigError, TlsConfig};
pub use proxy::ProxyConfig;
pub use secret::Secret;
