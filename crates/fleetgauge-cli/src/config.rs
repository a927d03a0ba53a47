//! What was meant: configuration file < environment < flags.
//!
//! The file, in YAML (or JSON):
//!
//! ```yaml
//! prometheus:
//!   url: https://prometheus.example:9090/prefix
//!   headers: {X-Scope-OrgID: tenant}
//!   query_params: {dedup: "false"}
//!   basic_auth: {username: fleet, password_file: /etc/fleetgauge/password}
//!   bearer_token_file: /var/run/secrets/kubernetes.io/serviceaccount/token
//!   tls:
//!     ca_file: ca.pem
//!     cert_file: client.pem
//!     key_file: client.key
//!     server_name: prometheus.example
//!     insecure_skip_verify: false
//!   timeout: 10s
//!   ttl: 30s
//!   max_stale: 0s
//!   max_concurrency: 16
//!   method: auto            # POST, and GET where that is refused
//!   companions: none        # or ages, or all: what is asked beside each query
//!   proxy: environment      # or a URL, or none
//! packs: [acme.yaml]        # beside the built-in ones; relative to this file
//! queries:                  # as in a pack, under their names alone
//!   - {name: up, template: up}
//! ```

mod environment;
mod file;
mod flag;
mod source;

use std::path::PathBuf;
use std::time::Duration;

use fleetgauge::document::Problem;
use fleetgauge::pack::Pack;
use fleetgauge::prometheus::{ConfigError, ProxyConfig, QueryMethod};
use fleetgauge_core::query::{Companions, QueryTemplate};

pub(crate) use environment::Environment;
pub(crate) use file::{check, read_if_given};
pub(crate) use flag::name_flag;
pub(crate) use source::{prometheus_source, proxy};

/// What a configuration file says.
#[derive(Default)]
pub(crate) struct Config {
    pub(crate) prometheus: PrometheusSection,
    /// The packs of the file, without the built-in ones.
    pub(crate) packs: Vec<Pack>,
    pub(crate) queries: Vec<QueryTemplate>,
    /// What may be meant, in the file and in its packs.
    pub(crate) warnings: Vec<Problem>,
}

/// Its section `prometheus`; what is absent is left to the environment, the flags and the defaults.
#[derive(Default)]
pub(crate) struct PrometheusSection {
    url: Option<String>,
    headers: Vec<(String, String)>,
    query_params: Vec<(String, String)>,
    auth: Option<AuthSection>,
    ca_file: Option<PathBuf>,
    cert_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
    server_name: Option<String>,
    insecure_skip_verify: Option<bool>,
    timeout: Option<Duration>,
    ttl: Option<Duration>,
    max_stale: Option<Duration>,
    max_concurrency: Option<u64>,
    method: Option<QueryMethod>,
    companions: Option<Companions>,
    /// `None`: that of the environment.
    proxy: Option<ProxyConfig>,
}

/// Who asks.
#[derive(Clone)]
enum AuthSection {
    Basic {
        username: String,
        password: String,
    },
    BasicFile {
        username: String,
        password_file: PathBuf,
    },
    Bearer(String),
    BearerFile(PathBuf),
}

/// A file that is in order, but for warnings.
pub(crate) enum Checked {
    Config(Box<Config>),
    Pack(Pack),
}

/// The proxy that `text` names, a URL or `none`; `None` leaves it to the environment.
///
/// *Errors*: what is wrong with the URL, without the password in it.
pub(crate) fn named_proxy(text: &str) -> Result<Option<ProxyConfig>, ConfigError> {
    match text {
        "environment" => Ok(None),
        "none" => Ok(Some(ProxyConfig::none())),
        url => ProxyConfig::url(url).map(Some),
    }
}

impl Checked {
    /// What may be meant.
    pub(crate) fn warnings(&self) -> &[Problem] {
        match self {
            Self::Config(config) => &config.warnings,
            Self::Pack(pack) => pack.warnings(),
        }
    }
}
