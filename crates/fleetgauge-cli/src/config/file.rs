//! Reading configuration files and packs, with every problem at its place.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::anyhow;
use fleetgauge::document::{Document, Node, Position, Problem, Problems, Reader};
use fleetgauge::file;
use fleetgauge::pack::{Pack, read_queries};
use fleetgauge::prometheus::{ConfigError, PrometheusSourceConfig, ProxyConfig, Secret, check_header};
use fleetgauge_core::printable::Printable;

use super::{AuthSection, Checked, Config, PrometheusSection, named_proxy};
use crate::input;

/// No configuration and no pack is longer.
const MAX_BYTES: u64 = 4 << 20;
/// No token and no certificate, as the client reads them.
const MAX_SECRET_BYTES: u64 = 1 << 20;

/// Reads a configuration file and the packs that it names.
///
/// *Errors*: every problem of all these files.
fn read(file: &Path) -> Result<Config, Vec<Problem>> {
    let document = open(file)?;
    let directory = file.parent().unwrap_or(Path::new(""));
    read_config(&document, directory)
}

/// Reads the configuration file that a command was given, if one was.
///
/// *Errors*: every problem, a line each.
pub(crate) fn read_if_given(file: Option<&Path>) -> anyhow::Result<Config> {
    let Some(file) = file else {
        return Ok(Config::default());
    };
    read(file).map_err(|problems| {
        let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
        anyhow!("the configuration is not valid\n{}", lines.join("\n"))
    })
}

/// Reads a configuration file or a pack, whichever it is.
///
/// *Errors*: every problem.
pub(crate) fn check(file: &Path) -> Result<Checked, Vec<Problem>> {
    let document = open(file)?;
    // A configuration has no name, and a pack must have one.
    if document.root().has_field("name") {
        return Pack::from_document(&document).map(Checked::Pack).map_err(list);
    }
    let directory = file.parent().unwrap_or(Path::new(""));
    read_config(&document, directory)
        .map(Box::new)
        .map(Checked::Config)
}

fn open(file: &Path) -> Result<Document, Vec<Problem>> {
    let name = file.display().to_string();
    let text = input::read_text(file, MAX_BYTES).map_err(|error| {
        let start = Position { line: 1, column: 1 };
        vec![Problem::new(&*name, start, error.problem().to_string())]
    })?;
    Document::parse(&name, &text).map_err(|problem| vec![problem])
}

fn list(problems: Problems) -> Vec<Problem> {
    problems.iter().cloned().collect()
}

fn read_config(document: &Document, directory: &Path) -> Result<Config, Vec<Problem>> {
    let mut config = Config::default();
    let mut reader = document.reader();
    let mut of_packs = Vec::new();
    if let Some(mut fields) = reader.fields(document.root(), "a configuration") {
        if let Some(node) = fields.take("prometheus") {
            config.prometheus = read_prometheus(node, directory, &mut reader);
        }
        if let Some(node) = fields.take("packs") {
            config.packs = read_packs(node, directory, &mut reader, &mut of_packs);
        }
        if let Some(node) = fields.take("queries") {
            config.queries = read_queries(node, None, &mut reader);
        }
        fields.finish(&mut reader);
    }
    let mut problems = reader.warnings();
    if let Err(found) = reader.finish() {
        problems = list(found);
    }
    problems.extend(of_packs);
    if problems.iter().all(|problem| problem.is_warning) {
        config.warnings = problems;
        Ok(config)
    } else {
        Err(problems)
    }
}

fn read_packs(node: &Node, directory: &Path, reader: &mut Reader, problems: &mut Vec<Problem>) -> Vec<Pack> {
    let mut packs: Vec<Pack> = Vec::new();
    let mut names: BTreeSet<String> = Pack::builtin_names().map(str::to_owned).collect();
    for node in reader.list(node, "a list of pack files") {
        let Some(file) = reader.text(node) else { continue };
        let file = directory.join(file);
        let name = file.display().to_string();
        let text = match file::read(&file, MAX_BYTES).and_then(|bytes| file::text(&file, bytes)) {
            Ok(text) => text,
            Err(error) => {
                reader.problem(node.position(), error.to_string());
                continue;
            }
        };
        let document = match Document::parse(&name, &text) {
            Ok(document) => document,
            Err(problem) => {
                problems.push(problem);
                continue;
            }
        };
        // Whoever may write a configuration may name any file in it, and must not learn what it holds.
        if !["name", "queries"]
            .iter()
            .any(|field| document.root().has_field(field))
        {
            let message = format!("{name} is not a pack: it has neither a name nor queries");
            reader.problem(node.position(), message);
            continue;
        }
        match Pack::from_document(&document) {
            Err(found) => problems.extend(list(found)),
            Ok(pack) => {
                problems.extend(pack.warnings().iter().cloned());
                if !names.insert(pack.name().to_owned()) {
                    let message = format!(
                        "there is a pack {:?} already; packs need names of their own",
                        pack.name()
                    );
                    reader.problem(node.position(), message);
                }
                packs.push(pack);
            }
        }
    }
    packs
}

fn read_prometheus(node: &Node, directory: &Path, reader: &mut Reader) -> PrometheusSection {
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
    let basic = fields.take("basic_auth");
    let token = fields.take("bearer_token");
    let token_file = fields.take("bearer_token_file");
    let mut ways = [basic, token, token_file].into_iter().flatten();
    if let (Some(_), Some(second)) = (ways.next(), ways.next()) {
        let message = "only one of basic_auth, bearer_token and bearer_token_file can be used";
        reader.problem(second.position(), message);
    }
    section.auth = basic
        .and_then(|node| read_basic_auth(node, directory, reader))
        .or_else(|| {
            token
                .and_then(|node| reader.secret(node))
                .map(|token| AuthSection::Bearer(token.to_owned()))
        })
        .or_else(|| {
            read_path(token_file, "bearer_token_file", directory, reader).map(AuthSection::BearerFile)
        });
    if let Some(tls) = fields.take("tls") {
        read_tls(tls, directory, &mut section, reader);
    }
    section.timeout = fields
        .take("timeout")
        .and_then(|node| reader.positive_duration(node));
    section.ttl = fields.take("ttl").and_then(|node| reader.positive_duration(node));
    section.max_stale = fields.take("max_stale").and_then(|node| reader.duration(node));
    section.max_concurrency = fields.take("max_concurrency").and_then(|node| reader.count(node));
    section.method = fields.take("method").and_then(|node| read_parsed(node, reader));
    section.companions = fields
        .take("companions")
        .and_then(|node| read_parsed(node, reader));
    section.proxy = fields.take("proxy").and_then(|node| read_proxy(node, reader));
    fields.finish(reader);
    section
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

fn read_proxy(node: &Node, reader: &mut Reader) -> Option<ProxyConfig> {
    match named_proxy(reader.text(node)?) {
        Ok(proxy) => proxy,
        Err(error) => {
            reader.problem(node.position(), problem_of(&error));
            None
        }
    }
}

/// What is wrong, without the name of the setting: the place in the file says more.
fn problem_of(error: &ConfigError) -> String {
    match error {
        ConfigError::Invalid { problem, .. } => problem.clone(),
        other => other.to_string(),
    }
}

fn read_url(node: &Node, reader: &mut Reader) -> Option<String> {
    // User and password may stand in it.
    let url = reader.secret(node)?;
    let vars = [("PROMETHEUS_BASE_URL".to_owned(), url.to_owned())];
    if let Err(error) = PrometheusSourceConfig::from_vars(vars) {
        reader.problem(node.position(), problem_of(&error));
        return None;
    }
    Some(url.to_owned())
}

fn read_pairs(node: &Node, reader: &mut Reader) -> Vec<(String, String)> {
    let pairs = reader.pairs(node, "names and values").unwrap_or_default();
    let read = |(_, name, value): &(&Node, &str, &Node)| {
        Some((str::to_owned(name), reader.secret(value)?.to_owned()))
    };
    pairs.iter().filter_map(read).collect()
}

/// Pairs, each of which must be a header that can be sent.
fn read_headers(node: &Node, reader: &mut Reader) -> Vec<(String, String)> {
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

fn read_basic_auth(node: &Node, directory: &Path, reader: &mut Reader) -> Option<AuthSection> {
    let mut fields = reader.fields(node, "basic_auth")?;
    let username = fields
        .require("username", reader)
        .and_then(|node| reader.text(node));
    let password = fields.take("password");
    let password_file = fields.take("password_file");
    fields.finish(reader);
    let username = username?.to_owned();
    match (password, password_file) {
        (Some(password), None) => {
            let password = reader.secret(password)?.to_owned();
            Some(AuthSection::Basic { username, password })
        }
        (None, Some(_)) => {
            let password_file = read_path(password_file, "password_file", directory, reader)?;
            Some(AuthSection::BasicFile {
                username,
                password_file,
            })
        }
        _ => {
            reader.problem(
                node.position(),
                "basic_auth takes either password or password_file",
            );
            None
        }
    }
}

fn read_tls(node: &Node, directory: &Path, section: &mut PrometheusSection, reader: &mut Reader) {
    let Some(mut fields) = reader.fields(node, "tls") else {
        return;
    };
    section.ca_file = read_path(fields.take("ca_file"), "ca_file", directory, reader);
    let (cert, key) = (fields.take("cert_file"), fields.take("key_file"));
    if cert.is_some() != key.is_some() {
        reader.problem(
            node.position(),
            "a client certificate takes both cert_file and key_file",
        );
    }
    section.cert_file = read_path(cert, "cert_file", directory, reader);
    section.key_file = read_path(key, "key_file", directory, reader);
    section.server_name = fields
        .take("server_name")
        .and_then(|node| reader.text(node))
        .map(str::to_owned);
    section.insecure_skip_verify = fields
        .take("insecure_skip_verify")
        .and_then(|node| reader.bool(node));
    fields.finish(reader);
}

/// The path in a field, from the directory of the file that it stands in; a warning if it cannot be used here. It may
/// be a secret that was put into the wrong field.
fn read_path(node: Option<&Node>, field: &str, directory: &Path, reader: &mut Reader) -> Option<PathBuf> {
    let node = node?;
    let typed = reader.secret(node)?;
    let path = directory.join(typed);
    // It may be there where the configuration is used.
    if let Err(error) = file::read(&path, MAX_SECRET_BYTES) {
        let named = if path.exists() || input::looks_like_path(typed) {
            Printable(&path.to_string_lossy()).to_string()
        } else {
            format!("<what {field} names>")
        };
        reader.warning(node.position(), format!("{named} {}", error.problem()));
    }
    Some(path)
}
