//! Reading configuration files and packs, with every problem at its place.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;

use anyhow::anyhow;
use fleetgauge::document::{Document, Fields, Node, Position, Problem, Problems, Reader};
use fleetgauge::file;
use fleetgauge::pack::{Pack, check_queries, read_queries};
use fleetgauge_core::registry::SourceRegistry;
use fleetgauge_server::metric::MetricSpec;
use fleetgauge_server::{scheduler, variant};

use super::defaults::read_defaults;
use super::doors::{DEFAULT_ADDRESS, read_door, read_external_metrics, read_log};
use super::kubernetes::read_kubernetes;
use super::metrics::{read_metrics, read_variants};
use super::policies::{check_composed, context};
use super::prometheus::read_prometheus;
use super::remote_write::read_remote_write;
use super::shard::read_shard;
use super::sources::{PROMETHEUS, SourceKind, SourceSection, check_layers, read_sources};
use super::{Checked, Config};
use crate::input;

/// No configuration and no pack is longer.
const MAX_BYTES: u64 = 4 << 20;

/// Reads a configuration file and the packs that it names.
///
/// *Errors*: every problem of all these files.
fn read(file: &Path) -> Result<Config, Vec<Problem>> {
    let document = open(file)?;
    let directory = file.parent().unwrap_or(Path::new(""));
    let mut config = read_config(&document, directory, Pack::builtins())?;
    config.files.insert(0, file.to_owned());
    Ok(config)
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
        return Pack::from_document(&document)
            .map(Checked::Pack)
            .map_err(|problems| list(&problems));
    }
    let directory = file.parent().unwrap_or(Path::new(""));
    read_config(&document, directory, Pack::builtins())
        .map(Box::new)
        .map(Checked::Config)
}

/// Reads a file of YAML.
///
/// *Errors*: it cannot be read, or is none.
pub(crate) fn open(file: &Path) -> Result<Document, Vec<Problem>> {
    let name = file.display().to_string();
    let text = input::read_text(file, MAX_BYTES).map_err(|error| {
        let start = Position { line: 1, column: 1 };
        vec![Problem::new(&*name, start, error.problem().to_string())]
    })?;
    Document::parse(&name, &text).map_err(|problem| vec![problem])
}

fn list(problems: &Problems) -> Vec<Problem> {
    problems.iter().cloned().collect()
}

/// Reads a configuration, with the packs `builtin` beside its own.
///
/// *Errors*: every problem of the file and of its packs.
pub(super) fn read_config(
    document: &Document,
    directory: &Path,
    builtin: Vec<Pack>,
) -> Result<Config, Vec<Problem>> {
    let mut config = Config::new(builtin);
    let mut reader = document.reader();
    let (mut of_packs, mut documents) = (Vec::new(), Vec::new());
    if let Some(mut fields) = reader.fields(document.root(), "a configuration") {
        if let Some(node) = fields.take("defaults") {
            config.defaults = read_defaults(node, &mut reader);
        }
        if let Some(node) = fields.take("prometheus") {
            config.prometheus = read_prometheus(node, directory, &mut reader);
            config.prometheus_content = node.content();
        }
        if let Some(node) = fields.take("packs") {
            (config.packs, documents) = read_packs(node, directory, &mut reader, &mut of_packs);
            let texts = node
                .as_list()
                .unwrap_or_default()
                .iter()
                .filter(|node| node.is_text());
            let names = texts.filter_map(|node| reader.text(node));
            let own = names.filter(|name| !Pack::builtin_names().any(|builtin| builtin == *name));
            config.files.extend(own.map(|name| directory.join(name)));
        }
        let queries = fields.take("queries");
        if let Some(node) = queries {
            config.queries = read_queries(node, None, &mut reader);
        }
        let sources = fields.take("sources");
        if let Some(node) = sources {
            config.sources = read_sources(node, directory, &mut reader);
            if let (Some(_), Some(node)) = (config.source(PROMETHEUS), fields.take("prometheus")) {
                let message = "there is a source prometheus in sources, too; this section is the same one";
                reader.problem(node.position(), message);
            }
            check_composed(&config, node, &mut reader);
        }
        read_cluster(&mut config, &mut fields, directory, &mut reader);
        let context = context(&config);
        if let Some(node) = queries {
            check_queries(node, None, &config.queries, &context, &mut reader);
        }
        for (pack, document) in config.packs.iter().zip(&documents) {
            if let Some(node) = document.root().field("queries") {
                let mut reader = document.reader();
                check_queries(node, Some(pack.name()), pack.queries(), &context, &mut reader);
                of_packs.extend(reader.finish().err().iter().flat_map(list));
            }
        }
        let bad = bad_queries(queries, &config);
        read_daemon(&mut config, &mut fields, directory, &bad, &mut reader);
        fields.finish(&mut reader);
    }
    let mut problems = reader.warnings();
    if let Err(found) = reader.finish() {
        problems = list(&found);
    }
    problems.extend(of_packs);
    if problems.iter().all(|problem| problem.is_warning) {
        config.warnings = problems;
        Ok(config)
    } else {
        Err(problems)
    }
}

/// Reads `kubernetes`, and notes which discoveries lack it.
fn read_cluster(config: &mut Config, fields: &mut Fields<'_>, directory: &Path, reader: &mut Reader) {
    let section = fields.take("kubernetes");
    config.kubernetes = section.and_then(|node| read_kubernetes(node, directory, reader));
    config.files.extend(
        config
            .kubernetes
            .iter()
            .filter_map(|section| section.kubeconfig.clone()),
    );
    if section.is_none() {
        for position in config.sources.iter().flat_map(SourceSection::in_cluster) {
            let message = "pods are found in the cluster of the section kubernetes, and there is none; add `kubernetes: {}`";
            reader.problem(position, message);
        }
    }
}

/// The names of queries that are not what they are to be, which was noted at their place.
fn bad_queries(node: Option<&Node>, config: &Config) -> BTreeSet<String> {
    let written = node.and_then(Node::as_list).unwrap_or_default();
    let names = written.iter().filter_map(|query| query.field("name")?.as_text());
    let is_bad = |name: &&str| config.queries.iter().all(|query| query.name.as_str() != *name);
    names.filter(is_bad).map(str::to_owned).collect()
}

/// Reads what `serve` needs beside the sources and their queries, of which some are `bad`.
fn read_daemon(
    config: &mut Config,
    fields: &mut Fields<'_>,
    directory: &Path,
    bad: &BTreeSet<String>,
    reader: &mut Reader,
) {
    if let Some(node) = fields.take("variants") {
        config.variants = read_variants(node, reader);
        if let Err(error) = variant::index(&config.variants) {
            reader.problem(node.position(), error.to_string());
        }
    }
    if let Some(node) = fields.take("metrics") {
        let source = config.only_source().map(str::to_owned);
        config.metrics = read_metrics(node, source.as_deref(), config.defaults.every, reader);
    }
    if let Some(node) = fields.take("server") {
        config.server = read_door(node, "server", Some(DEFAULT_ADDRESS), directory, reader);
    }
    if let Some(node) = fields.take("keda") {
        config.keda = read_door(node, "keda", None, directory, reader);
        let listen = config.keda.as_ref().map(|door| door.listen);
        check_address(config, "keda", listen, node, reader);
    }
    if let Some(node) = fields.take("external_metrics") {
        config.external_metrics = read_external_metrics(node, directory, reader);
        let listen = config.external_metrics.as_ref().map(|door| door.listen);
        check_address(config, "external_metrics", listen, node, reader);
        if config.kubernetes.is_none() {
            let message = "who may ask for external metrics is said by the cluster of the section kubernetes, and there is \
                           none; add `kubernetes: {}`";
            reader.problem(node.position(), message);
        }
    }
    if let Some(node) = fields.take("remote_write") {
        config.remote_write = read_remote_write(node, directory, &config.sources, reader);
    }
    if let Some(node) = fields.take("shard") {
        config.shard = read_shard(node, reader);
    }
    if let Some(node) = fields.take("log") {
        config.log = read_log(node, reader);
    }
    let queries: Vec<_> = config.all_queries().collect();
    let stand_ins = check_layers(&config.sources, &queries, reader);
    check_metrics(config, &stand_ins, bad, reader);
}

/// Notes that another door listens where the door `what` does.
fn check_address(config: &Config, what: &str, listen: Option<SocketAddr>, node: &Node, reader: &mut Reader) {
    let server = config
        .server
        .as_ref()
        .map_or(DEFAULT_ADDRESS, |server| server.listen);
    let keda = config.keda.as_ref().map(|keda| keda.listen);
    let others = [("server", Some(server)), ("keda", keda)];
    let others = others.into_iter().filter(|(other, _)| *other != what);
    for (other, _) in others.filter(|(_, of_other)| *of_other == listen) {
        if let Some(listen) = listen.filter(|listen| listen.port() != 0) {
            let message =
                format!("{other} listens there, too: {listen}; choose another port for one of them");
            reader.problem(node.position(), message);
        }
    }
}

/// Puts the policies of the metrics over those beneath them, and notes what is wrong with the metrics; of those of `bad` queries,
/// nothing that only their query could tell.
fn check_metrics(config: &mut Config, sources: &SourceRegistry, bad: &BTreeSet<String>, reader: &mut Reader) {
    let named = sources.list().into_iter();
    let sources: BTreeMap<String, _> = named
        .filter_map(|name| Some((name.clone(), sources.get(&name)?)))
        .collect();
    let mut metrics = std::mem::take(&mut config.metrics);
    let mut lines: BTreeMap<String, usize> = BTreeMap::new();
    for metric in &mut metrics {
        let spec = &mut metric.spec;
        let source = config.source(&spec.source);
        let query = sources
            .get(&*spec.source)
            .and_then(|source| source.query_list().get(spec.query.as_str()));
        // Its query is registered once it is mended.
        let is_of_bad = query.is_none() && bad.contains(spec.query.as_str());
        if let Some(query) = query {
            let query = query.template();
            spec.policy = std::mem::take(&mut spec.policy).over(&config.policy_of(query));
            let is_prometheus = source.is_none_or(|source| matches!(source.kind, SourceKind::Prometheus(_)));
            spec.knows_completeness = !is_prometheus || query.expected.is_some();
        }
        spec.sample_interval = source.and_then(SourceSection::sample_interval);
        let name = spec.name.to_string();
        let part = config.shard.filter(|shard| shard.is_part());
        if let Some(scraped) = part.and_then(|_| config.scraped_by(&spec.source)) {
            let message = format!(
                "{scraped:?} scrapes the pods of one shard, and others scrape the rest, so {name} would be of a part of the \
                 fleet: ask a federated source over all shards (docs/scaling-out.md)"
            );
            reader.problem(metric.position, message);
        }
        if let Some(line) = lines.get(&name) {
            let message = format!("there is a metric {name:?} already, on line {line}");
            reader.problem(metric.position, message);
        } else if let (false, Err(error)) = (is_of_bad, scheduler::check(spec, &sources, &config.variants)) {
            reader.problem(metric.position, error.to_string());
        }
        let has_variants = !config.variants.is_empty() || config.kubernetes.is_some();
        for warning in unlikely(spec, has_variants) {
            reader.warning(metric.position, warning);
        }
        lines.entry(name).or_insert(metric.position.line);
    }
    config.metrics = metrics;
}

/// What of a metric can be followed, and is hardly meant.
fn unlikely(spec: &MetricSpec, has_variants: bool) -> Vec<String> {
    let mut told = Vec::new();
    if spec.for_each.is_some() && !has_variants {
        told.push(
            "it is read for each variant, and there are none: add `variants`, or `kubernetes: {}` for those of a cluster"
                .to_owned(),
        );
    }
    let Some(max_age) = spec.policy.max_age else {
        return told;
    };
    if let Some(hold) = spec.policy.hold.filter(|hold| !hold.is_zero() && *hold < max_age) {
        told.push(format!(
            "hold, {hold:?}, is shorter than max_age, {max_age:?}: what has become too old is never held, since both count from \
             the sample"
        ));
    }
    if spec.every > max_age {
        let every = spec.every;
        told.push(format!(
            "it is refreshed every {every:?}, and max_age is {max_age:?}: it is too old for the rest of the time"
        ));
    }
    told
}

/// The packs that a configuration names, and the documents that they were read from.
fn read_packs(
    node: &Node,
    directory: &Path,
    reader: &mut Reader,
    problems: &mut Vec<Problem>,
) -> (Vec<Pack>, Vec<Document>) {
    let (mut packs, mut documents) = (Vec::new(), Vec::new());
    let mut names: BTreeSet<String> = Pack::builtin_names().map(str::to_owned).collect();
    for node in reader.list(node, "a list of pack files") {
        let Some(file) = reader.text(node) else { continue };
        if Pack::builtin_names().any(|name| name == file) {
            // It is there anyhow.
            continue;
        }
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
            Err(found) => problems.extend(list(&found)),
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
                documents.push(document);
            }
        }
    }
    (packs, documents)
}

/// What is wrong with a configuration, a line each.
#[cfg(test)]
pub(super) fn problems(text: &str) -> String {
    let document = Document::parse("file", text).unwrap();
    match read_config(&document, Path::new("/conf"), Vec::new()) {
        Ok(_) => String::new(),
        Err(problems) => problems.iter().map(|problem| format!("{problem}\n")).collect(),
    }
}
