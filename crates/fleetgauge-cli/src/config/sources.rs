//! The section `sources`: who is asked, by names.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fleetgauge::composed::ComposedSource;
use fleetgauge::document::{Node, Position, Reader};
use fleetgauge::federated::FederatedSource;
use fleetgauge_core::printable::Quoted;
use fleetgauge_core::query::QueryTemplate;
use fleetgauge_core::registry::SourceRegistry;
use fleetgauge_core::source::{FixedBackend, MetricsSource};

use super::composed::{ComposedSection, read_composed};
use super::federated::{FederatedSection, read_federated};
use super::prometheus::{PrometheusSection, read_prometheus};
use super::scrape::{ScrapeSection, read_scrape};

/// The source of the section `prometheus`, of the environment and of the flags.
pub(crate) const PROMETHEUS: &str = "prometheus";

/// One source of the section.
pub(crate) struct SourceSection {
    pub(crate) name: String,
    pub(crate) kind: SourceKind,
    /// What the file says of it: as long as that is the same, it is the same source.
    pub(crate) content: String,
    position: Position,
}

pub(crate) enum SourceKind {
    Prometheus(Box<PrometheusSection>),
    Scrape(Box<ScrapeSection>),
    Composed(Box<ComposedSection>),
    Federated(Box<FederatedSection>),
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

    /// How often it scrapes, and how long a scrape may take; `None` if it does not scrape.
    pub(crate) fn scrape_times(&self) -> Option<(Duration, Duration)> {
        match &self.kind {
            SourceKind::Scrape(scrape) => {
                let interval = scrape.config.interval;
                Some((interval, scrape.config.timeout.unwrap_or(interval)))
            }
            _ => None,
        }
    }

    /// Where its discoveries stand that need a cluster.
    pub(super) fn in_cluster(&self) -> impl Iterator<Item = Position> {
        let scrape = match &self.kind {
            SourceKind::Scrape(scrape) => Some(scrape.in_cluster()),
            _ => None,
        };
        scrape.into_iter().flatten()
    }

    /// Whether it is another source in another cluster.
    pub(crate) fn needs_cluster(&self) -> bool {
        self.in_cluster().next().is_some()
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
            content: node.content(),
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

/// Notes what is wrong with how the sources need each other, with all `queries` on those that have none of their own. Gives
/// stand-ins for those that could be made, with their queries.
pub(super) fn check_layers(
    sources: &[SourceSection],
    queries: &[&QueryTemplate],
    reader: &mut Reader,
) -> SourceRegistry {
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
            return registry;
        }
        for source in ready {
            let refused = |place: Option<&Position>, error: String, reader: &mut Reader| {
                reader.problem(*place.unwrap_or(&source.position), error);
            };
            match &source.kind {
                SourceKind::Composed(composed) => {
                    // Its queries one by one: each is refused at its own place.
                    let mut config = composed.config.clone();
                    let queries = std::mem::take(&mut config.queries);
                    let before = reader.problem_count();
                    match ComposedSource::new(config, &registry) {
                        Ok(made) => {
                            for query in queries {
                                let place = composed.place_of_query(&query.name);
                                if let Err(error) = made.query_list().register(query) {
                                    let of = Quoted(&source.name);
                                    refused(place, format!("composed source {of}: {error}"), reader);
                                }
                            }
                            if reader.problem_count() == before {
                                register(&source.name, &[], Arc::new(made));
                            }
                        }
                        Err(error) => refused(composed.place_of(&error), error.to_string(), reader),
                    }
                    if reader.problem_count() > before {
                        let own: Vec<_> = composed.config.queries.iter().collect();
                        register(&source.name, &own, stand_in());
                    }
                }
                SourceKind::Federated(federated) => {
                    match FederatedSource::new(federated.config.clone(), &registry) {
                        Ok(made) => register(&source.name, queries, Arc::new(made)),
                        Err(error) => {
                            refused(federated.place_of(&error), error.to_string(), reader);
                            register(&source.name, queries, stand_in());
                        }
                    }
                }
                SourceKind::Prometheus(_) | SourceKind::Scrape(_) => {}
            }
        }
        waiting = blocked;
    }
    registry
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
