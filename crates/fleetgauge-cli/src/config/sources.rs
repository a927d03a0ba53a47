//! The section `sources`: who is asked, by names.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fleetgauge::composed::{ComposedConfig, ComposedError, ComposedSource, Input};
use fleetgauge::document::{Node, Position, Reader};
use fleetgauge::federated::{FederatedConfig, FederatedError, FederatedSource, Member, Require};
use fleetgauge::pack::read_queries;
use fleetgauge::scrape::{DnsDiscovery, FileDiscovery, ScrapeConfig};
use fleetgauge_core::query::QueryTemplate;
use fleetgauge_core::registry::SourceRegistry;
use fleetgauge_core::source::{FixedBackend, MetricsSource};
use fleetgauge_core::target::{
    ADDRESS, StaticTargets, Target, TargetDefaults, TargetDiscovery, TargetLabels,
};

use super::access::{Access, read_access};
use super::environment::Environment;
use super::prometheus::{PrometheusSection, proxy, read_prometheus};

/// The source of the section `prometheus`, of the environment and of the flags.
pub(crate) const PROMETHEUS: &str = "prometheus";

/// One source of the section.
pub(crate) struct SourceSection {
    pub(crate) name: String,
    pub(crate) kind: SourceKind,
    position: Position,
}

pub(crate) enum SourceKind {
    Prometheus(Box<PrometheusSection>),
    Scrape(Box<ScrapeSection>),
    Composed(Box<ComposedSection>),
    Federated(Box<FederatedSection>),
}

/// Pods that are scraped.
pub(crate) struct ScrapeSection {
    config: ScrapeConfig,
    access: Access,
    pub(crate) discoveries: Vec<Arc<dyn TargetDiscovery>>,
}

/// Several sources as one.
pub(crate) struct FederatedSection {
    pub(crate) config: FederatedConfig,
    /// Where each member stands in the file.
    members: BTreeMap<String, Position>,
}

/// Queries over queries of other sources.
pub(crate) struct ComposedSection {
    pub(crate) config: ComposedConfig,
    /// Where each input stands in the file.
    inputs: BTreeMap<String, Position>,
}

// === impl SourceSection ===

impl SourceSection {
    /// Whether it has other queries than those of the file and its packs.
    pub(super) fn has_own_queries(&self) -> bool {
        matches!(self.kind, SourceKind::Composed(_))
    }

    /// How far its samples are apart, where the file tells it.
    pub(crate) fn sample_interval(&self) -> Option<Duration> {
        match &self.kind {
            SourceKind::Scrape(scrape) => Some(scrape.config.interval),
            _ => None,
        }
    }

    /// The sources that it asks.
    pub(crate) fn needs(&self) -> Vec<&str> {
        match &self.kind {
            SourceKind::Prometheus(_) | SourceKind::Scrape(_) => Vec::new(),
            SourceKind::Composed(composed) => {
                let inputs = composed.config.inputs.iter();
                inputs.map(|input| &*input.source).collect()
            }
            SourceKind::Federated(federated) => {
                let members = federated.config.members.iter();
                members
                    .flat_map(|member| member.sources.iter().map(|source| &**source))
                    .collect()
            }
        }
    }
}

// === impl ScrapeSection ===

impl ScrapeSection {
    /// How the pods are scraped; through the proxy of the environment where the file names none.
    pub(crate) fn source_config(&self, environment: &Environment) -> anyhow::Result<ScrapeConfig> {
        let mut config = self.config.clone();
        config.auth = self.access.auth.clone();
        config.tls = self.access.tls.clone();
        config.proxy = proxy(None, self.access.proxy.as_ref(), environment)?;
        Ok(config)
    }
}

// === reading ===

/// Reads the section.
pub(super) fn read_sources(node: &Node, directory: &Path, reader: &mut Reader) -> Vec<SourceSection> {
    let pairs = reader.pairs(node, "names and sources").unwrap_or_default();
    let mut sources = Vec::with_capacity(pairs.len());
    for (key, name, node) in pairs {
        if name.is_empty() {
            reader.problem(key.position(), "a source needs a name");
        }
        let Some(kind) = read_kind(name, node, directory, reader) else {
            continue;
        };
        if name == PROMETHEUS && !matches!(kind, SourceKind::Prometheus(_)) {
            let message = "the source named prometheus is that of PROMETHEUS_BASE_URL and --prometheus; give this one \
                           another name";
            reader.problem(key.position(), message);
        }
        sources.push(SourceSection {
            name: name.to_owned(),
            kind,
            position: key.position(),
        });
    }
    sources
}

fn read_kind(name: &str, node: &Node, directory: &Path, reader: &mut Reader) -> Option<SourceKind> {
    let mut fields = reader.fields(node, "a source")?;
    let prometheus = fields.take("prometheus");
    let scrape = fields.take("scrape");
    let composed = fields.take("composed");
    let federated = fields.take("federated");
    fields.finish(reader);
    match (prometheus, scrape, composed, federated) {
        (Some(node), None, None, None) => {
            let section = read_prometheus(node, directory, reader);
            // That of the environment and of the flags may have its URL from there.
            if section.url.is_none() && name != PROMETHEUS {
                reader.problem(node.position(), "field \"url\" is missing in prometheus");
            }
            Some(SourceKind::Prometheus(Box::new(section)))
        }
        (None, Some(node), None, None) => {
            let section = read_scrape(name, node, directory, reader)?;
            Some(SourceKind::Scrape(Box::new(section)))
        }
        (None, None, Some(node), None) => {
            let section = read_composed(name, node, reader)?;
            Some(SourceKind::Composed(Box::new(section)))
        }
        (None, None, None, Some(node)) => {
            let section = read_federated(name, node, reader)?;
            Some(SourceKind::Federated(Box::new(section)))
        }
        _ => {
            let message = "a source is one of prometheus, scrape, composed and federated";
            reader.problem(node.position(), message);
            None
        }
    }
}

fn read_scrape(name: &str, node: &Node, directory: &Path, reader: &mut Reader) -> Option<ScrapeSection> {
    let mut fields = reader.fields(node, "scrape")?;
    let mut config = ScrapeConfig::new(name);
    let positive =
        |node: Option<&Node>, reader: &mut Reader| node.and_then(|node| reader.positive_duration(node));
    if let Some(interval) = positive(fields.take("interval"), reader) {
        config.interval = interval;
    }
    config.timeout = positive(fields.take("timeout"), reader);
    config.stale_after = positive(fields.take("stale_after"), reader);
    if let Some(ttl) = positive(fields.take("ttl"), reader) {
        config.default_ttl = ttl;
    }
    if let Some(timeout) = positive(fields.take("query_timeout"), reader) {
        config.query_timeout = timeout;
    }
    if let Some(path) = fields.take("metrics_path").and_then(|node| reader.text(node)) {
        config.defaults.metrics_path = path.to_owned();
    }
    if let Some(node) = fields.take("scheme")
        && let Some(text) = reader.text(node)
    {
        match text.parse() {
            Ok(scheme) => config.defaults.scheme = scheme,
            Err(error) => reader.problem(node.position(), format!("{error}")),
        }
    }
    if let Some(node) = fields.take("labels") {
        config.defaults.labels.extend(read_labels(node, reader));
    }
    if let Some(node) = fields.take("metrics") {
        let names: Vec<&str> = reader
            .list(node, "a list of metric names")
            .iter()
            .filter_map(|node| reader.text(node))
            .collect();
        config = config.with_wanted(names);
    }
    let access = read_access(&mut fields, directory, reader);
    let discoveries = match fields.require("discovery", reader) {
        Some(node) => read_discoveries(node, directory, &config.defaults, reader),
        None => Vec::new(),
    };
    fields.finish(reader);
    if let Err(error) = config.check() {
        reader.problem(node.position(), format!("scrape: {error}"));
    }
    Some(ScrapeSection {
        config,
        access,
        discoveries,
    })
}

fn read_labels(node: &Node, reader: &mut Reader) -> TargetLabels {
    let pairs = reader.pairs(node, "labels and values").unwrap_or_default();
    let read =
        |(_, name, value): (&Node, &str, &Node)| Some((name.to_owned(), reader.text(value)?.to_owned()));
    pairs.into_iter().filter_map(read).collect()
}

fn read_discoveries(
    node: &Node,
    directory: &Path,
    defaults: &TargetDefaults,
    reader: &mut Reader,
) -> Vec<Arc<dyn TargetDiscovery>> {
    let nodes = reader.list(node, "a list of discoveries");
    if nodes.is_empty() {
        reader.problem(
            node.position(),
            "there is no discovery, so nothing would ever be scraped",
        );
    }
    let mut discoveries: Vec<Arc<dyn TargetDiscovery>> = Vec::with_capacity(nodes.len());
    for node in nodes {
        let Some(mut fields) = reader.fields(node, "a discovery") else {
            continue;
        };
        let fixed = fields.take("static");
        let files = fields.take("files");
        let dns = fields.take("dns");
        fields.finish(reader);
        match (fixed, files, dns) {
            (Some(node), None, None) => discoveries.push(Arc::new(read_static(node, defaults, reader))),
            (None, Some(node), None) => {
                let paths = texts(
                    node,
                    "a list of files, with * for any characters of a name",
                    reader,
                );
                let paths = paths.into_iter().map(|path| directory.join(path));
                discoveries.push(Arc::new(FileDiscovery::new(paths)));
            }
            (None, None, Some(node)) => {
                if let Some(dns) = read_dns(node, reader) {
                    discoveries.push(Arc::new(dns));
                }
            }
            _ => reader.problem(node.position(), "a discovery is one of static, files and dns"),
        }
    }
    discoveries
}

/// The texts of a list, of which there is at least one.
fn texts<'n>(node: &'n Node, what: &str, reader: &mut Reader) -> Vec<&'n str> {
    let before = reader.problem_count();
    let nodes = reader.list(node, what);
    if nodes.is_empty() && reader.problem_count() == before {
        reader.problem(node.position(), format!("expected {what}, found none in it"));
    }
    nodes.iter().filter_map(|node| reader.text(node)).collect()
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

fn read_composed(name: &str, node: &Node, reader: &mut Reader) -> Option<ComposedSection> {
    let mut fields = reader.fields(node, "composed")?;
    let mut config = ComposedConfig::new(name);
    let mut places = BTreeMap::new();
    let inputs = fields.require("inputs", reader);
    let inputs = inputs.and_then(|node| reader.pairs(node, "names and inputs"));
    for (key, input, node) in inputs.unwrap_or_default() {
        places.insert(input.to_owned(), key.position());
        if let Some(input) = read_input(input, node, reader) {
            config.inputs.push(input);
        }
    }
    if let Some(node) = fields.take("queries") {
        config.queries = read_queries(node, None, reader);
    }
    if let Some(ttl) = fields.take("ttl").and_then(|node| reader.positive_duration(node)) {
        config.default_ttl = ttl;
    }
    if let Some(timeout) = fields
        .take("timeout")
        .and_then(|node| reader.positive_duration(node))
    {
        config.query_timeout = timeout;
    }
    fields.finish(reader);
    Some(ComposedSection {
        config,
        inputs: places,
    })
}

fn read_input(name: &str, node: &Node, reader: &mut Reader) -> Option<Input> {
    let mut fields = reader.fields(node, "an input")?;
    let source = fields
        .require("source", reader)
        .and_then(|node| reader.text(node));
    let (query, promql) = (fields.take("query"), fields.take("promql"));
    let params = fields.take("params").map(|node| read_labels(node, reader));
    let optional = fields.take("optional").and_then(|node| reader.bool(node));
    let step = fields
        .take("step")
        .and_then(|node| reader.positive_duration(node));
    fields.finish(reader);
    let source = source?;
    let mut input = match (query, promql) {
        (Some(query), None) => Input::new(name, source, reader.text(query)?),
        (None, Some(promql)) => Input::own(source, QueryTemplate::promql(name, reader.text(promql)?)),
        _ => {
            let message = "an input takes either query, the name of one that its source has, or promql";
            reader.problem(node.position(), message);
            return None;
        }
    };
    for (name, value) in params.unwrap_or_default() {
        input = input.with_param(name, value);
    }
    input.is_optional = optional.unwrap_or(false);
    input.step = step.unwrap_or(input.step);
    Some(input)
}

fn read_federated(name: &str, node: &Node, reader: &mut Reader) -> Option<FederatedSection> {
    let mut fields = reader.fields(node, "federated")?;
    let mut config = FederatedConfig::new(name);
    let mut places = BTreeMap::new();
    let members = fields.require("members", reader);
    let members = members.and_then(|node| reader.pairs(node, "names and members"));
    for (key, member, node) in members.unwrap_or_default() {
        places.insert(member.to_owned(), key.position());
        config.members.extend(read_member(member, node, reader));
    }
    if let Some(node) = fields.take("require") {
        config.require = read_require(node, reader).unwrap_or_default();
    }
    if let Some(ttl) = fields.take("ttl").and_then(|node| reader.positive_duration(node)) {
        config.default_ttl = ttl;
    }
    if let Some(timeout) = fields
        .take("timeout")
        .and_then(|node| reader.positive_duration(node))
    {
        config.query_timeout = timeout;
    }
    fields.finish(reader);
    Some(FederatedSection {
        config,
        members: places,
    })
}

fn read_member(name: &str, node: &Node, reader: &mut Reader) -> Option<Member> {
    let mut fields = reader.fields(node, "a member")?;
    let sources = fields.require("sources", reader);
    let labels = fields.take("labels").map(|node| read_labels(node, reader));
    let timeout = fields
        .take("timeout")
        .and_then(|node| reader.positive_duration(node));
    fields.finish(reader);
    let sources = texts(
        sources?,
        "a list of sources, which are replicas of each other",
        reader,
    );
    let (first, replicas) = sources.split_first()?;
    let mut member = Member::new(name, *first);
    for replica in replicas {
        member = member.with_replica(*replica);
    }
    for (name, value) in labels.unwrap_or_default() {
        member = member.with_label(name, value);
    }
    member.timeout = timeout;
    Some(member)
}

/// `all`, `majority`, `any` or a number.
fn read_require(node: &Node, reader: &mut Reader) -> Option<Require> {
    match reader.verbatim(node)? {
        "all" => Some(Require::All),
        "majority" => Some(Require::Majority),
        "any" => Some(Require::Any),
        number => match number.parse() {
            Ok(number) => Some(Require::AtLeast(number)),
            Err(_) => {
                reader.problem(
                    node.position(),
                    "require is all, majority, any or a number of members",
                );
                None
            }
        },
    }
}

/// Notes what is wrong with how the sources need each other, with all `queries` on those that have none of their own.
pub(super) fn check_layers(sources: &[SourceSection], queries: &[&QueryTemplate], reader: &mut Reader) {
    let registry = SourceRegistry::new();
    let register = |name: &str, queries: &[&QueryTemplate], source: Arc<dyn MetricsSource>| {
        for query in queries {
            // What is wrong with the query itself has been told at its own place.
            let _ = source.query_list().register((*query).clone());
        }
        // Twice the same name has been told, too.
        let _ = registry.register(name, source);
    };
    let stand_in = || Arc::new(FixedBackend::new().into_source());
    // The one of the environment and of the flags is always there.
    register(PROMETHEUS, queries, stand_in());
    let (mut waiting, leaves): (Vec<_>, Vec<_>) =
        sources.iter().partition(|source| !source.needs().is_empty());
    leaves
        .iter()
        .for_each(|leaf| register(&leaf.name, queries, stand_in()));
    while !waiting.is_empty() {
        let is_waiting = |name: &&str| waiting.iter().any(|other| other.name == **name);
        let (blocked, ready): (Vec<&SourceSection>, Vec<_>) =
            (waiting.iter().copied()).partition(|source| source.needs().iter().any(is_waiting));
        if let (true, Some(first)) = (ready.is_empty(), blocked.first()) {
            let message = format!(
                "sources need each other in a circle: {}; none of them could ever be asked",
                circle(&blocked).join(" -> ")
            );
            reader.problem(first.position, message);
            return;
        }
        for source in ready {
            let refused = |place: Option<&Position>, error: String, reader: &mut Reader| {
                reader.problem(*place.unwrap_or(&source.position), error);
            };
            match &source.kind {
                SourceKind::Composed(composed) => {
                    match ComposedSource::new(composed.config.clone(), &registry) {
                        Ok(made) => register(&source.name, &[], Arc::new(made)),
                        Err(error) => {
                            let place = input_of(&error).and_then(|input| composed.inputs.get(input));
                            refused(place, error.to_string(), reader);
                            let own: Vec<_> = composed.config.queries.iter().collect();
                            register(&source.name, &own, stand_in());
                        }
                    }
                }
                SourceKind::Federated(federated) => {
                    match FederatedSource::new(federated.config.clone(), &registry) {
                        Ok(made) => register(&source.name, queries, Arc::new(made)),
                        Err(error) => {
                            let place = member_of(&error).and_then(|member| federated.members.get(member));
                            refused(place, error.to_string(), reader);
                            register(&source.name, queries, stand_in());
                        }
                    }
                }
                SourceKind::Prometheus(_) | SourceKind::Scrape(_) => {}
            }
        }
        waiting = blocked;
    }
}

/// A circle among sources each of which needs another of them.
fn circle<'a>(blocked: &[&'a SourceSection]) -> Vec<&'a str> {
    let mut path: Vec<&str> = Vec::new();
    let mut next = blocked.first().copied();
    while let Some(source) = next {
        let begin = path.iter().position(|name| *name == source.name);
        path.push(&source.name);
        if let Some(begin) = begin {
            path.drain(..begin);
            break;
        }
        let needs = source.needs();
        next = blocked
            .iter()
            .copied()
            .find(|other| needs.contains(&&*other.name));
    }
    path
}

fn member_of(error: &FederatedError) -> Option<&str> {
    match error {
        FederatedError::Member { member, .. } | FederatedError::UnknownSource { member, .. } => Some(member),
        _ => None,
    }
}

fn input_of(error: &ComposedError) -> Option<&str> {
    match error {
        ComposedError::InputName { input, .. }
        | ComposedError::DuplicateInput { input, .. }
        | ComposedError::Step { input, .. }
        | ComposedError::UnknownSource { input, .. }
        | ComposedError::UnknownQuery { input, .. } => Some(input),
        _ => None,
    }
}
