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
//!   proxy: environment      # or a URL, or none
//!   companions: ages        # asks how old each value is, as well
//! packs: [acme.yaml]        # beside the built-in ones; relative to this file
//! queries:                  # as in a pack, under their names alone
//!   - {name: up, template: up}
//! defaults:                 # beneath what queries say
//!   policy: {max_age: 1m}
//! ```

mod access;
mod composed;
mod defaults;
mod discovery;
mod doors;
mod environment;
mod federated;
mod file;
mod flag;
#[cfg_attr(
    not(feature = "kubernetes"),
    allow(dead_code, reason = "without a cluster, it is checked alone")
)]
mod kubernetes;
mod metrics;
mod policies;
mod prometheus;
mod relabel;
mod remote_write;
mod schema;
mod scrape;
mod shard;
mod source;
mod sources;
mod text;

use std::collections::BTreeSet;
use std::path::PathBuf;

use fleetgauge::document::Problem;
use fleetgauge::pack::Pack;
use fleetgauge_core::policy::Policy;
use fleetgauge_core::query::QueryTemplate;
use fleetgauge_server::variant::Variant;

use defaults::Defaults;
use metrics::MetricSection;
use prometheus::PrometheusSection;

pub(crate) use discovery::Discovery;
pub(crate) use doors::{DEFAULT_ADDRESS, DoorSection, DoorTls, LogSection};
pub(crate) use environment::Environment;
pub(crate) use file::{check, open, read_if_given};
pub(crate) use flag::name_flag;
pub(crate) use kubernetes::{KubernetesSection, PodsSection, ServicesSection};
#[cfg(feature = "kubernetes")]
pub(crate) use kubernetes::{ModelFrom, PodPort, VariantKind};
pub(crate) use prometheus::{described_source, proxy};
pub(crate) use remote_write::RemoteWriteSection;
pub(crate) use schema::SCHEMA;
pub(crate) use shard::ShardSection;
pub(crate) use source::{names_prometheus, prometheus_source};
pub(crate) use sources::{PROMETHEUS, SourceKind, SourceSection};

/// What a configuration file says.
pub(crate) struct Config {
    /// The short form of a source of this name.
    prometheus: PrometheusSection,
    pub(crate) sources: Vec<SourceSection>,
    /// The built-in packs, which are always there.
    pub(crate) builtin: Vec<Pack>,
    /// The packs of the file, without the built-in ones.
    pub(crate) packs: Vec<Pack>,
    pub(crate) queries: Vec<QueryTemplate>,
    /// What the daemon keeps fresh.
    pub(crate) metrics: Vec<MetricSection>,
    pub(crate) variants: Vec<Variant>,
    pub(crate) kubernetes: Option<KubernetesSection>,
    pub(crate) server: Option<DoorSection>,
    pub(crate) keda: Option<DoorSection>,
    pub(crate) external_metrics: Option<DoorSection>,
    /// Which servers get samples and readings.
    pub(crate) remote_write: Vec<RemoteWriteSection>,
    pub(crate) shard: Option<ShardSection>,
    pub(crate) log: LogSection,
    /// The file and its packs.
    pub(crate) files: Vec<PathBuf>,
    /// What the file says of the source `prometheus` in its short form.
    pub(crate) prometheus_content: String,
    pub(crate) defaults: Defaults,
    /// What may be meant, in the file and in its packs.
    pub(crate) warnings: Vec<Problem>,
}

/// A file that is in order, but for warnings.
pub(crate) enum Checked {
    Config(Box<Config>),
    Pack(Pack),
}

impl Default for Config {
    fn default() -> Self {
        Self::new(Pack::builtins())
    }
}

impl Config {
    /// One that says nothing.
    fn new(builtin: Vec<Pack>) -> Self {
        Self {
            prometheus: PrometheusSection::default(),
            sources: Vec::new(),
            builtin,
            packs: Vec::new(),
            queries: Vec::new(),
            metrics: Vec::new(),
            variants: Vec::new(),
            kubernetes: None,
            server: None,
            keda: None,
            external_metrics: None,
            remote_write: Vec::new(),
            shard: None,
            log: LogSection::default(),
            files: Vec::new(),
            prometheus_content: String::new(),
            defaults: Defaults::default(),
            warnings: Vec::new(),
        }
    }

    /// The source `name` of the section `sources`.
    pub(crate) fn source(&self, name: &str) -> Option<&SourceSection> {
        self.sources.iter().find(|source| source.name == name)
    }

    /// The scrape source that `source` is, or computes from without a federated source between them.
    fn scraped_by<'a>(&'a self, source: &'a str) -> Option<&'a str> {
        // There may be a circle, which is told elsewhere.
        let (mut seen, mut waiting) = (BTreeSet::new(), vec![source]);
        while let Some(name) = waiting.pop() {
            let section = self.source(name).filter(|_| seen.insert(name));
            match section.map(|section| (section, &section.kind)) {
                Some((_, SourceKind::Scrape(_))) => return Some(name),
                Some((section, SourceKind::Composed(_))) => waiting.extend(section.needs()),
                _ => {}
            }
        }
        None
    }

    /// The one source that the file describes, if it is one.
    fn only_source(&self) -> Option<&str> {
        let has_short_form = self.prometheus.url.is_some() && self.source(PROMETHEUS).is_none();
        match (&*self.sources, has_short_form) {
            ([], _) => Some(PROMETHEUS),
            ([one], false) => Some(&one.name),
            _ => None,
        }
    }

    /// The source named `prometheus`, wherever it is described.
    fn prometheus(&self) -> &PrometheusSection {
        match self.source(PROMETHEUS).map(|source| &source.kind) {
            Some(SourceKind::Prometheus(section)) => section,
            _ => &self.prometheus,
        }
    }

    /// What is accepted of the answers of `query`: its own policy over the defaults.
    pub(crate) fn policy_of(&self, query: &QueryTemplate) -> Policy {
        query.policy.clone().over(&self.defaults.policy)
    }

    /// Its packs, and behind them the built-in ones.
    pub(crate) fn all_packs(&self) -> impl Iterator<Item = &Pack> + Clone {
        self.packs.iter().chain(&self.builtin)
    }

    /// Its own queries, and those of all packs.
    pub(crate) fn all_queries(&self) -> impl Iterator<Item = &QueryTemplate> + Clone {
        let of_packs = self.all_packs().flat_map(Pack::queries);
        self.queries.iter().chain(of_packs)
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
