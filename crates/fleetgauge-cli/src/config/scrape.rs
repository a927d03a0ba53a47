//! A source of pods that are scraped.

use std::path::Path;
use std::time::Duration;

use fleetgauge::document::{Node, Position, Reader};
use fleetgauge::scrape::{ScrapeConfig, ScrapeProtocol};

use super::access::{Access, read_access};
use super::discovery::{Discovery, read_discoveries};
use super::environment::Environment;
use super::prometheus::proxy;
use super::relabel::read_relabeling;
use super::text::read_labels;

/// Pods that are scraped.
pub(crate) struct ScrapeSection {
    pub(super) config: ScrapeConfig,
    access: Access,
    pub(crate) discoveries: Vec<Discovery>,
}

// === impl ScrapeSection ===

impl ScrapeSection {
    /// Where its discoveries stand that need a cluster.
    pub(super) fn in_cluster(&self) -> impl Iterator<Item = Position> {
        self.discoveries.iter().filter_map(Discovery::in_cluster)
    }

    /// How the pods are scraped; through the proxy of the environment where the file names none.
    pub(crate) fn source_config(&self, environment: &Environment) -> anyhow::Result<ScrapeConfig> {
        let mut config = self.config.clone();
        config.auth = self.access.auth.clone();
        config.tls = self.access.tls.clone();
        config.proxy = proxy(None, self.access.proxy.as_ref(), environment)?;
        Ok(config)
    }
}

pub(super) fn read_scrape(
    name: &str,
    node: &Node,
    directory: &Path,
    reader: &mut Reader,
) -> Option<ScrapeSection> {
    let mut fields = reader.fields(node, "scrape")?;
    let mut config = ScrapeConfig::new(name);
    let known = reader.problem_count();
    let interval = fields.positive_duration("interval", reader);
    let is_interval_known = reader.problem_count() == known;
    config.interval = match is_interval_known {
        true => interval.unwrap_or(config.interval),
        // Nothing is too short for it: what is wrong is told once.
        false => Duration::from_millis(1),
    };
    config.timeout = fields.positive_duration("timeout", reader);
    config.stale_after = fields.positive_duration("stale_after", reader);
    let ttl = fields.positive_duration("ttl", reader);
    config.default_ttl = ttl.unwrap_or(config.default_ttl);
    let timeout = fields.positive_duration("query_timeout", reader);
    config.query_timeout = timeout.unwrap_or(config.query_timeout);
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
    if let Some(node) = fields.take("relabel_configs") {
        config.relabeling = read_relabeling(node, reader);
    }
    if let Some(node) = fields.take("metrics") {
        let names: Vec<&str> = reader
            .list(node, "a list of metric names")
            .iter()
            .filter_map(|node| reader.text(node))
            .collect();
        config = config.with_wanted(names);
    }
    if let Some(native) = fields
        .take("scrape_native_histograms")
        .and_then(|node| reader.bool(node))
    {
        config.scrape_native_histograms = native;
    }
    if let Some(convert) = fields
        .take("convert_classic_histograms_to_nhcb")
        .and_then(|node| reader.bool(node))
    {
        config.convert_classic_histograms_to_nhcb = convert;
    }
    if let Some(always) = fields
        .take("always_scrape_classic_histograms")
        .and_then(|node| reader.bool(node))
    {
        config.always_scrape_classic_histograms = always;
    }
    if let Some(node) = fields.take("scrape_protocols") {
        config.scrape_protocols = Some(read_protocols(node, reader));
    }
    let access = read_access(&mut fields, directory, reader);
    let discoveries = match fields.require("discovery", reader) {
        Some(node) => read_discoveries(node, directory, &config.defaults, reader),
        None => Vec::new(),
    };
    fields.finish(reader);
    if is_interval_known && let Err(error) = config.check() {
        reader.problem(node.position(), format!("scrape: {error}"));
    }
    Some(ScrapeSection {
        config,
        access,
        discoveries,
    })
}

/// Formats that are asked for, by Prometheus's names.
fn read_protocols(node: &Node, reader: &mut Reader) -> Vec<ScrapeProtocol> {
    let nodes = reader.list(node, "a list of formats");
    let mut protocols = Vec::new();
    for node in nodes {
        let Some(text) = reader.text(node) else { continue };
        match text.parse() {
            Ok(protocol) if protocols.contains(&protocol) => {
                reader.problem(node.position(), format!("{protocol} occurs twice"));
            }
            Ok(protocol) => protocols.push(protocol),
            Err(error) => reader.problem(node.position(), format!("{error}")),
        }
    }
    if nodes.is_empty() {
        reader.problem(node.position(), "scrape_protocols must name a format");
    }
    match protocols.is_empty() {
        // What is wrong is told once.
        true => vec![ScrapeProtocol::PrometheusText004],
        false => protocols,
    }
}
