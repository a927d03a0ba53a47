//! A Prometheus, as the section `prometheus` and those of `sources` describe it.

use std::fmt::Display;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use fleetgauge::document::{Node, Reader};
use fleetgauge::prometheus::{PrometheusSourceConfig, ProxyConfig, QueryMethod, Secret, check_header};
use fleetgauge_core::query::Companions;

use super::access::{Access, named_proxy, problem_of, read_access};
use super::environment::Environment;
use crate::failure::Usage;

/// What a section says; what is absent is left to the environment, the flags and the defaults.
#[derive(Default)]
pub(crate) struct PrometheusSection {
    pub(super) url: Option<String>,
    headers: Vec<(String, String)>,
    query_params: Vec<(String, String)>,
    pub(super) access: Access,
    timeout: Option<Duration>,
    ttl: Option<Duration>,
    max_stale: Option<Duration>,
    max_concurrency: Option<u64>,
    max_queries_per_second: Option<f64>,
    method: Option<QueryMethod>,
    companions: Option<Companions>,
}

pub(super) fn read_prometheus(node: &Node, directory: &Path, reader: &mut Reader) -> PrometheusSection {
    let mut section = PrometheusSection::default();
    let Some(mut fields) = reader.fields(node, "prometheus") else {
        return section;
    };
    if let Some(url) = fields.take("url") {
        section.url = read_url(url, reader);
    }
    section.headers = fields
        .take("headers")
        .map_or_else(Vec::new, |node| read_headers(node, reader));
    section.query_params = fields
        .take("query_params")
        .map_or_else(Vec::new, |node| read_pairs(node, reader));
    section.access = read_access(&mut fields, directory, reader);
    section.timeout = fields.positive_duration("timeout", reader);
    section.ttl = fields.positive_duration("ttl", reader);
    section.max_stale = fields.take("max_stale").and_then(|node| reader.duration(node));
    section.max_concurrency = fields.take("max_concurrency").and_then(|node| reader.count(node));
    section.max_queries_per_second = fields
        .take("max_queries_per_second")
        .and_then(|node| read_rate(node, reader));
    section.method = fields.take("method").and_then(|node| read_parsed(node, reader));
    section.companions = fields
        .take("companions")
        .and_then(|node| read_parsed(node, reader));
    fields.finish(reader);
    section
}

fn read_rate(node: &Node, reader: &mut Reader) -> Option<f64> {
    let rate = reader.number(node)?;
    if rate > 0.0 && rate.is_finite() {
        return Some(rate);
    }
    reader.problem(node.position(), "the rate must be more than zero");
    None
}

fn read_parsed<T: FromStr<Err: Display>>(node: &Node, reader: &mut Reader) -> Option<T> {
    match reader.text(node)?.parse() {
        Ok(value) => Some(value),
        Err(error) => {
            reader.problem(node.position(), error.to_string());
            None
        }
    }
}

pub(super) fn read_url(node: &Node, reader: &mut Reader) -> Option<String> {
    // User and password may stand in it.
    let url = reader.secret(node)?;
    let vars = [("PROMETHEUS_BASE_URL".to_owned(), url.to_owned())];
    if let Err(error) = PrometheusSourceConfig::from_vars(vars) {
        reader.problem(node.position(), problem_of(&error));
        return None;
    }
    Some(url.to_owned())
}

pub(super) fn read_pairs(node: &Node, reader: &mut Reader) -> Vec<(String, String)> {
    let pairs = reader.pairs(node, "names and values").unwrap_or_default();
    let read = |(_, name, value): &(&Node, &str, &Node)| {
        Some((str::to_owned(name), reader.secret(value)?.to_owned()))
    };
    pairs.iter().filter_map(read).collect()
}

/// Pairs, each of which must be a header that can be sent.
pub(super) fn read_headers(node: &Node, reader: &mut Reader) -> Vec<(String, String)> {
    let pairs = reader.pairs(node, "names and values").unwrap_or_default();
    let mut headers = Vec::with_capacity(pairs.len());
    for (key, name, value) in pairs {
        let Some(value) = reader.secret(value) else {
            continue;
        };
        if let Err(error) = check_header(name, &Secret::from(value)) {
            reader.problem(key.position(), error.to_string());
        }
        headers.push((name.to_owned(), value.to_owned()));
    }
    headers
}

pub(super) fn from_section(section: &PrometheusSection) -> PrometheusSourceConfig {
    let mut source = PrometheusSourceConfig::new(section.url.clone().unwrap_or_default());
    for (name, value) in &section.headers {
        source = source.with_header(name, value.as_str());
    }
    for (name, value) in &section.query_params {
        source = source.with_query_param(name, value.as_str());
    }
    source.auth = section.access.auth.clone();
    source.tls = section.access.tls.clone();
    source.query_timeout = section.timeout.unwrap_or(source.query_timeout);
    source.default_ttl = section.ttl.unwrap_or(source.default_ttl);
    source.max_stale = section.max_stale.unwrap_or(source.max_stale);
    let concurrency = section
        .max_concurrency
        .and_then(|count| usize::try_from(count).ok());
    source.max_concurrency = concurrency.unwrap_or(source.max_concurrency);
    source.max_queries_per_second = section.max_queries_per_second;
    source.method = section.method.unwrap_or_default();
    source.companions = section.companions.unwrap_or(source.companions);
    source
}

/// A Prometheus of the section `sources`, to which environment and flags say nothing but the proxy.
pub(crate) fn described_source(
    section: &PrometheusSection,
    environment: &Environment,
) -> anyhow::Result<PrometheusSourceConfig> {
    let mut source = from_section(section);
    source.proxy = proxy(None, section.access.proxy.as_ref(), environment)?;
    Ok(source)
}

/// The proxy of the flag, else of the file, else of the environment: what is set for this server goes before what
/// is set for all programs.
pub(crate) fn proxy(
    flag: Option<&str>,
    section: Option<&ProxyConfig>,
    environment: &Environment,
) -> anyhow::Result<ProxyConfig> {
    let named = flag.map(named_proxy).transpose();
    let named = named.map_err(|error| Usage(error.to_string().replacen("proxy", "--proxy", 1)))?;
    match named
        .flatten()
        .or_else(|| section.cloned().filter(|_| flag.is_none()))
    {
        Some(proxy) => Ok(proxy),
        None => Ok(ProxyConfig::from_vars(environment.vars())?),
    }
}
