//! The field `discovery` of a scraped source: who there is to scrape.

use std::path::Path;
use std::sync::Arc;

use fleetgauge::document::{Node, Position, Reader};
use fleetgauge::scrape::{DnsDiscovery, FileDiscovery};
use fleetgauge_core::target::{
    ADDRESS, StaticTargets, Target, TargetDefaults, TargetDiscovery, TargetLabels,
};

use super::kubernetes::{PodsSection, ServicesSection, read_pods, read_services};
use super::text::{read_labels, texts};

/// One way to know who there is to scrape.
pub(crate) enum Discovery {
    /// It needs nothing else.
    Made(Arc<dyn TargetDiscovery>),
    /// Pods of the cluster.
    Pods(PodsSection),
    /// What is behind Services of the cluster.
    Services(ServicesSection),
}

// === impl Discovery ===

impl Discovery {
    /// Where it stands, if it needs a cluster.
    pub(super) fn in_cluster(&self) -> Option<Position> {
        match self {
            Self::Made(_) => None,
            Self::Pods(pods) => Some(pods.position),
            Self::Services(services) => Some(services.position),
        }
    }
}

pub(super) fn read_discoveries(
    node: &Node,
    directory: &Path,
    defaults: &TargetDefaults,
    reader: &mut Reader,
) -> Vec<Discovery> {
    let nodes = reader.list(node, "a list of discoveries");
    if nodes.is_empty() {
        reader.problem(
            node.position(),
            "there is no discovery, so nothing would ever be scraped",
        );
    }
    let mut discoveries = Vec::with_capacity(nodes.len());
    for node in nodes {
        let Some(mut fields) = reader.fields(node, "a discovery") else {
            continue;
        };
        let fixed = fields.take("static");
        let files = fields.take("files");
        let dns = fields.take("dns");
        let pods = fields.take("kubernetes");
        let services = fields.take("services");
        fields.finish(reader);
        match (fixed, files, dns, pods, services) {
            (Some(node), None, None, None, None) => {
                discoveries.push(Discovery::Made(Arc::new(read_static(node, defaults, reader))));
            }
            (None, Some(node), None, None, None) => {
                let paths = texts(
                    node,
                    "a list of files, with * for any characters of a name",
                    reader,
                );
                let paths: Vec<_> = paths.into_iter().map(|path| directory.join(path)).collect();
                for path in paths.iter().filter(|path| !may_be_there(path)) {
                    let message = format!("there is no file {}", path.display());
                    reader.warning(node.position(), message);
                }
                discoveries.push(Discovery::Made(Arc::new(FileDiscovery::new(paths))));
            }
            (None, None, Some(node), None, None) => {
                if let Some(dns) = read_dns(node, reader) {
                    discoveries.push(Discovery::Made(Arc::new(dns)));
                }
            }
            (None, None, None, Some(node), None) => {
                discoveries.extend(read_pods(node, reader).map(Discovery::Pods))
            }
            (None, None, None, None, Some(node)) => {
                discoveries.extend(read_services(node, reader).map(Discovery::Services));
            }
            _ => reader.problem(
                node.position(),
                "a discovery is one of static, files, dns, kubernetes and services",
            ),
        }
    }
    check_overlap(&discoveries, reader);
    discoveries
}

/// What a Service tells of a pod are not all of the labels that the pod has, so that both would be targets.
fn check_overlap(discoveries: &[Discovery], reader: &mut Reader) {
    let pods = discoveries.iter().filter_map(|discovery| match discovery {
        Discovery::Pods(pods) => Some(&pods.namespaces),
        _ => None,
    });
    let pods: Vec<_> = pods.collect();
    for discovery in discoveries {
        let Discovery::Services(services) = discovery else {
            continue;
        };
        let may_share = |others: &&Vec<String>| {
            let mut namespaces = services.namespaces.iter();
            services.namespaces.is_empty()
                || others.is_empty()
                || namespaces.any(|namespace| others.contains(namespace))
        };
        if pods.iter().copied().any(|others| may_share(&others)) {
            let message = "a pod that services and kubernetes both find would be scraped twice, and counted twice; take one of them, \
                           or other namespaces";
            reader.problem(services.position, message);
        }
    }
}

/// Whether a file of targets is there; of a pattern, its directory.
fn may_be_there(path: &Path) -> bool {
    let is_pattern = path
        .file_name()
        .is_some_and(|name| name.to_string_lossy().contains('*'));
    match path.parent() {
        Some(directory) if is_pattern => directory.as_os_str().is_empty() || directory.is_dir(),
        _ => path.exists(),
    }
}

/// A list of addresses, or `targets` with `labels`.
fn read_static(node: &Node, defaults: &TargetDefaults, reader: &mut Reader) -> StaticTargets {
    let (addresses, labels) = match node.as_list() {
        Some(_) => (Some(node), TargetLabels::new()),
        None => {
            let Some(mut fields) = reader.fields(node, "a list of addresses, or targets and labels") else {
                return StaticTargets::default();
            };
            let targets = fields.require("targets", reader);
            let labels = fields.take("labels").map(|node| read_labels(node, reader));
            fields.finish(reader);
            (targets, labels.unwrap_or_default())
        }
    };
    let mut targets = StaticTargets::default();
    let before = reader.problem_count();
    let nodes = addresses.map_or(&[][..], |node| reader.list(node, "a list of addresses"));
    if let (Some(node), true, true) = (addresses, nodes.is_empty(), reader.problem_count() == before) {
        reader.problem(node.position(), "expected a list of addresses, found none in it");
    }
    for node in nodes {
        let Some(address) = reader.text(node) else {
            continue;
        };
        let mut labels = labels.clone();
        labels.insert(ADDRESS.to_owned(), address.to_owned());
        if let Err(error) = Target::from_labels(&labels, defaults) {
            reader.problem(node.position(), error.to_string());
        }
        targets = targets.with_target(labels.iter().map(|(name, value)| (&**name, &**value)));
    }
    targets
}

/// `names`, with `type` (`SRV`, as in Prometheus, or `A` or `AAAA`) and `port`.
fn read_dns(node: &Node, reader: &mut Reader) -> Option<DnsDiscovery> {
    let mut fields = reader.fields(node, "dns")?;
    let names = fields
        .require("names", reader)
        .map(|node| texts(node, "a list of names", reader));
    let (record, port) = (fields.take("type"), fields.take("port"));
    fields.finish(reader);
    let port = match port {
        None => None,
        Some(node) => match reader.count(node)?.try_into() {
            Ok(port) => Some(port),
            Err(_) => {
                reader.problem(node.position(), "a port is at most 65535");
                return None;
            }
        },
    };
    let record_name = record.map_or(Some("SRV"), |node| reader.text(node))?;
    let names = names?;
    match (record_name, port) {
        ("SRV", None) => Some(DnsDiscovery::srv(names)),
        ("A", Some(port)) => Some(DnsDiscovery::a(names, port)),
        ("AAAA", Some(port)) => Some(DnsDiscovery::aaaa(names, port)),
        ("SRV", Some(_)) => {
            let message = "SRV records tell the port; with port, the type is A or AAAA";
            reader.problem(node.position(), message);
            None
        }
        ("A" | "AAAA", None) => {
            let message = format!("{record_name} records tell no port; set it with port");
            reader.problem(node.position(), message);
            None
        }
        _ => {
            let at = record.map_or(node.position(), Node::position);
            reader.problem(at, "type is one of SRV, A and AAAA");
            None
        }
    }
}
