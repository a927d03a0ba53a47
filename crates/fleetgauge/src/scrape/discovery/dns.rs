//! Targets in DNS: the addresses behind a name, as those of a headless service, or its SRV records.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fleetgauge_core::target::{
    self, ADDRESS, Discovered, DiscoveryError, SnapshotStream, TargetDiscovery, TargetLabels,
};
use futures_util::future::join_all;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{RData, RecordType};

use crate::client::failure::excerpt;

/// Finds targets by asking DNS: one a record.
///
/// A name that does not exist, or has no such record, has no targets: so a headless service without ready
/// pods shows itself. A server that does not answer, or refuses, is an error, and the name's last targets
/// stay.
///
/// *Source*: <https://prometheus.io/docs/prometheus/latest/configuration/configuration/#dns_sd_config>.
///
/// ```no_run
/// use fleetgauge::scrape::DnsDiscovery;
/// let pods = DnsDiscovery::a(["vllm.chat.svc.cluster.local"], 8000);
/// let pods = DnsDiscovery::srv(["_metrics._tcp.vllm.chat.svc.cluster.local"]);
/// ```
pub struct DnsDiscovery {
    names: Vec<String>,
    record: Record,
    title: String,
    interval: Duration,
    servers: Vec<SocketAddr>,
    resolver: Mutex<Option<TokioResolver>>,
    /// The targets of each name, when it was last had.
    known: Mutex<BTreeMap<String, Vec<Arc<TargetLabels>>>>,
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
enum Record {
    A { port: u16 },
    Aaaa { port: u16 },
    Srv,
}

/// Where a target's name is told, as in Prometheus.
const NAME_LABEL: &str = "__meta_dns_name";

// === impl DnsDiscovery ===

impl DnsDiscovery {
    /// The IPv4 addresses of `names`, at `port`.
    pub fn a<N: Into<String>>(names: impl IntoIterator<Item = N>, port: u16) -> Self {
        Self::new(names, Record::A { port })
    }

    /// The IPv6 addresses of `names`, at `port`.
    pub fn aaaa<N: Into<String>>(names: impl IntoIterator<Item = N>, port: u16) -> Self {
        Self::new(names, Record::Aaaa { port })
    }

    /// The hosts and ports that the SRV records of `names` tell.
    pub fn srv<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Self {
        Self::new(names, Record::Srv)
    }

    /// Asks these servers, instead of those that the operating system is configured with.
    #[must_use]
    pub fn with_servers(mut self, servers: impl IntoIterator<Item = SocketAddr>) -> Self {
        self.servers = servers.into_iter().collect();
        self
    }

    /// Sets how often DNS is asked. Default: 30 s.
    #[must_use]
    pub fn with_interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    fn new<N: Into<String>>(names: impl IntoIterator<Item = N>, record: Record) -> Self {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        Self {
            title: format!("dns_sd {} {}", record.record_type(), names.join(", ")),
            names,
            record,
            interval: Duration::from_secs(30),
            servers: Vec::new(),
            resolver: Mutex::default(),
            known: Mutex::default(),
        }
    }

    /// Made when it is needed: the operating system's configuration may not be there yet before.
    fn resolver(&self) -> Result<TokioResolver, NetError> {
        let mut made = self.resolver.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(resolver) = &*made {
            return Ok(resolver.clone());
        }
        let mut builder = if self.servers.is_empty() {
            TokioResolver::builder_tokio()?
        } else {
            let servers = self.servers.iter().map(server).collect();
            let config = ResolverConfig::from_parts(None, Vec::new(), servers);
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        };
        // Asked at an interval, for what is there now.
        builder.options_mut().cache_size = 0;
        let resolver = builder.build()?;
        *made = Some(resolver.clone());
        Ok(resolver)
    }

    /// Asks for all names at once.
    async fn look(&self) -> Discovered {
        let answers = join_all(self.names.iter().map(|name| self.ask(name))).await;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut problems = Vec::new();
        for (name, answer) in self.names.iter().zip(answers) {
            match answer {
                // What has not changed keeps its pointers.
                Ok(targets) if known.get(name) == Some(&targets) => {}
                Ok(targets) => {
                    known.insert(name.clone(), targets);
                }
                Err(error) => problems.push(error),
            }
        }
        let targets = known.values().flatten().cloned().collect();
        Discovered::new(targets).with_problems(problems).ready_alone()
    }

    async fn ask(&self, name: &str) -> Result<Vec<Arc<TargetLabels>>, DiscoveryError> {
        let failed = |error: NetError| DiscoveryError::Unreachable {
            detail: format!("{name}: {}", excerpt(&error.to_string())),
        };
        let resolver = self.resolver().map_err(failed)?;
        let answer = match resolver.lookup(name, self.record.record_type()).await {
            Ok(answer) => answer,
            Err(error) if error.is_no_records_found() => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let addresses = answer.answers().iter();
        let mut addresses: Vec<String> = addresses
            .filter_map(|record| self.record.address(&record.data))
            .collect();
        // Servers rotate them.
        addresses.sort();
        let target = |address: String| {
            let labels = [(ADDRESS, address), (NAME_LABEL, name.to_owned())];
            Arc::new(labels.map(|(label, value)| (label.to_owned(), value)).into())
        };
        Ok(addresses.into_iter().map(target).collect())
    }
}

impl TargetDiscovery for DnsDiscovery {
    fn name(&self) -> &str {
        &self.title
    }

    fn watch(self: Arc<Self>) -> SnapshotStream {
        target::polled(self.interval, move || {
            let this = Arc::clone(&self);
            async move { Ok(this.look().await) }
        })
    }
}

impl fmt::Debug for DnsDiscovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DnsDiscovery").field(&self.title).finish()
    }
}

fn server(address: &SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
    let connections = connections.map(|mut connection| {
        connection.port = address.port();
        connection
    });
    NameServerConfig::new(address.ip(), true, connections.into())
}

// === impl Record ===

impl Record {
    fn record_type(self) -> RecordType {
        match self {
            Self::A { .. } => RecordType::A,
            Self::Aaaa { .. } => RecordType::AAAA,
            Self::Srv => RecordType::SRV,
        }
    }

    /// The address that a record tells, if it is one that was asked for.
    fn address(self, data: &RData) -> Option<String> {
        match (self, data) {
            (Self::A { port }, RData::A(ip)) => Some(format!("{}:{port}", ip.0)),
            (Self::Aaaa { port }, RData::AAAA(ip)) => Some(format!("[{}]:{port}", ip.0)),
            (Self::Srv, RData::SRV(srv)) => {
                let host = srv.target.to_utf8();
                Some(format!("{}:{}", host.trim_end_matches('.'), srv.port))
            }
            _ => None,
        }
    }
}
