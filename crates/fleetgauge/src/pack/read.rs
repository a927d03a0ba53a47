//! From a document to the queries of a pack.

use std::collections::HashMap;

use fleetgauge_core::params::{ParamKind, ParamSpec};
use fleetgauge_core::printable::Excerpt;
use fleetgauge_core::query::{QueryTemplate, QueryType};
use fleetgauge_core::query_list::{QueryList, RegisterError, RegisteredQuery};

use super::union::{Known, Union};
use super::{Pack, promql};
use crate::document::{Fields, Node, Position, Reader};

/// How many parameters a query may have.
const MAX_PARAMS: usize = 100;

/// How many parameters of one template are told that are not declared.
const MAX_UNDECLARED: usize = 10;

/// The parameters that a query declares.
struct Declared {
    params: Vec<(Position, ParamSpec)>,
    /// Whether the names of all of them could be read.
    is_whole: bool,
}

/// What the queries before one have left.
#[derive(Default)]
struct Seen {
    known: Known,
    /// Where each name was given first, even to a query that had a problem.
    lines: HashMap<String, usize>,
    checked: QueryList,
}

// === impl Declared ===

impl Default for Declared {
    /// None, and none that could not be read.
    fn default() -> Self {
        Self {
            params: Vec::new(),
            is_whole: true,
        }
    }
}

/// Reads a whole file; what cannot be read is left out, and noted.
pub(super) fn read_pack(node: &Node, reader: &mut Reader) -> Pack {
    let mut pack = Pack {
        name: String::new(),
        description: String::new(),
        queries: Vec::new(),
        warnings: Vec::new(),
    };
    let Some(mut fields) = reader.fields(node, "a pack") else {
        return pack;
    };
    if let Some(name) = fields.require("name", reader) {
        pack.name = read_name(name, reader).unwrap_or_default();
    }
    if let Some(description) = fields.take("description") {
        pack.description = read_line(description, reader).unwrap_or_default();
    }
    if let Some(queries) = fields.require("queries", reader) {
        pack.queries = read_queries(queries, Some(&pack.name), reader);
    }
    fields.finish(reader);
    pack
}

/// Reads a list of queries, as it stands in a pack or in a configuration file. Their names are put behind
/// `pack/`, where there is a pack; each is checked as a [`QueryList`] would check it.
///
/// Problems are noted with `reader`; a query that has one is left out.
pub fn read_queries(node: &Node, pack: Option<&str>, reader: &mut Reader) -> Vec<QueryTemplate> {
    let mut seen = Seen::default();
    for node in reader.list(node, "a list of queries") {
        let before = reader.problem_count();
        let Some(mut fields) = reader.fields(node, "a query") else {
            continue;
        };
        let query = read_query(&mut fields, pack, &mut seen, reader);
        fields.finish(reader);
        if reader.problem_count() == before {
            seen.known.queries.extend(query);
        }
    }
    seen.known.queries
}

fn read_query(
    fields: &mut Fields<'_>,
    pack: Option<&str>,
    seen: &mut Seen,
    reader: &mut Reader,
) -> Option<QueryTemplate> {
    let name = fields.require("name", reader);
    let short = name.and_then(|name| read_name(name, reader));
    let mut query = QueryTemplate::default();
    if let Some((name, short)) = name.zip(short.as_ref()) {
        query.name = pack.map_or_else(|| short.clone(), |pack| format!("{pack}/{short}"));
        if let Some(line) = seen.lines.insert(short.clone(), name.position().line) {
            let message = format!("there is a query {short:?} already, on line {line}");
            reader.problem(name.position(), message);
        }
    }
    if let Some(unit) = fields.take("unit") {
        query.unit = read_line(unit, reader).unwrap_or_default();
    }
    if let Some(description) = fields.take("description") {
        query.description = read_line(description, reader).unwrap_or_default();
    }
    query.ttl = fields.take("ttl").and_then(|ttl| reader.positive_duration(ttl));
    query.timeout = fields
        .take("timeout")
        .and_then(|timeout| reader.positive_duration(timeout));
    let query_type = fields.take("type");
    let params = fields.take("params");
    let template = fields.take("template");
    let any_of = fields.take("any_of");
    let query_type = query_type.map(|node| read_type(node, reader));
    query.query_type = query_type.flatten().unwrap_or_default();
    let type_is_known = query_type.is_none_or(|known| known.is_some());
    match (template, any_of) {
        (Some(node), None) => {
            let declared = params.map_or_else(Declared::default, |params| read_params(params, reader));
            query.template = reader.text(node)?.trim_end().to_owned();
            query.params = declared.params.iter().map(|(_, param)| param.clone()).collect();
            if type_is_known {
                check(&query, node, declared, &seen.checked, reader);
            }
        }
        (None, Some(node)) => {
            if let Some(params) = params {
                let message = "the parameters come with the queries that any_of names; leave params away";
                reader.problem(params.position(), message);
            }
            let Union { template, params } = seen.known.union(node, reader)?;
            (query.template, query.params) = (template, params);
            check(&query, node, Declared::default(), &seen.checked, reader);
        }
        (Some(_), Some(any_of)) => {
            reader.problem(
                any_of.position(),
                "a query has either a template or any_of, not both",
            );
        }
        (None, None) => {
            fields.require("template", reader);
        }
    }
    Some(query)
}

/// Registers a query with a list that serves for nothing but to find its faults. A parameter that is not declared hides
/// what is wrong besides, so it is declared and the query looked at again.
fn check(query: &QueryTemplate, node: &Node, declared: Declared, checked: &QueryList, reader: &mut Reader) {
    // A name that was refused must not hide what is wrong with the template, nor be reported twice.
    let mut query = query.clone();
    query.name = format!("q{}", checked.len());
    for _ in 0..MAX_UNDECLARED {
        let error = match checked.register(query.clone()) {
            Ok(()) => {
                if let Some(query) = checked.get(&query.name) {
                    warn_of_unused(&query, &declared, reader);
                    promql::check(&query, node, reader);
                }
                return;
            }
            Err(RegisterError::Template { error, .. }) => error,
            Err(error) => {
                reader.problem(node.position(), error.to_string());
                return;
            }
        };
        let undeclared = error.undeclared_param();
        // It may be the one whose declaration could not be read.
        if undeclared.is_none() || declared.is_whole {
            reader.problem_within(node, error.line(), error.column(), error.message());
        }
        let Some(name) = undeclared else { return };
        query
            .params
            .push(ParamSpec::optional(name, ParamKind::default_for(name)));
    }
}

/// Notes the parameters that were declared for nothing: likely the template has forgotten one.
fn warn_of_unused(query: &RegisteredQuery, declared: &Declared, reader: &mut Reader) {
    for unused in query.unused_params() {
        for (position, param) in declared.params.iter().filter(|(_, param)| param == unused) {
            let name = Excerpt(param.name());
            reader.warning(
                *position,
                format!("the template does not use the parameter {name}"),
            );
        }
    }
}

fn read_type(node: &Node, reader: &mut Reader) -> Option<QueryType> {
    match reader.text(node)? {
        "promql" => Some(QueryType::PromQl),
        "metric" => Some(QueryType::MetricName),
        other => {
            let message = format!(
                "unknown query type {}; promql and metric are known",
                Excerpt(other)
            );
            reader.problem(node.position(), message);
            None
        }
    }
}

fn read_params(node: &Node, reader: &mut Reader) -> Declared {
    let mut declared = Declared::default();
    let nodes = reader.list(node, "a list of parameters");
    declared.is_whole = node.as_list().is_some();
    if nodes.len() > MAX_PARAMS {
        reader.problem(
            node.position(),
            format!("a query has at most {MAX_PARAMS} parameters"),
        );
    }
    for node in nodes.iter().take(MAX_PARAMS) {
        let Some((position, param)) = read_param(node, reader) else {
            declared.is_whole = false;
            continue;
        };
        let mut earlier = declared.params.iter().map(|(_, param)| param.name());
        if earlier.any(|name| name == param.name()) {
            reader.problem(
                position,
                format!("parameter {} is declared twice", Excerpt(param.name())),
            );
            continue;
        }
        declared.params.push((position, param));
    }
    declared.is_whole &= nodes.len() <= MAX_PARAMS;
    declared
}

/// `None` where its name could not be read.
fn read_param(node: &Node, reader: &mut Reader) -> Option<(Position, ParamSpec)> {
    if node.is_text() {
        let name = read_param_name(node, reader)?;
        let kind = ParamKind::default_for(&name);
        return Some((node.position(), ParamSpec::required(name, kind)));
    }
    let mut fields = reader.fields(node, "a parameter")?;
    let name_node = fields.require("name", reader);
    let name = name_node.and_then(|name| read_param_name(name, reader));
    let mut kind = name.as_deref().map_or(ParamKind::Text, ParamKind::default_for);
    if let Some(node) = fields.take("kind") {
        kind = match reader.text(node).map(str::parse) {
            Some(Ok(kind)) => kind,
            Some(Err(error)) => {
                reader.problem(node.position(), format!("{error}"));
                // It fits nearly everywhere, so that it does not look like another mistake.
                ParamKind::Text
            }
            None => ParamKind::Text,
        };
    }
    let required = fields
        .take("required")
        .is_none_or(|node| reader.bool(node).unwrap_or(true));
    fields.finish(reader);
    let name = name?;
    let param = if required {
        ParamSpec::required(name, kind)
    } else {
        ParamSpec::optional(name, kind)
    };
    Some((name_node?.position(), param))
}

/// A name that `{{.name}}` can ask for.
fn read_param_name(node: &Node, reader: &mut Reader) -> Option<String> {
    let name = reader.text(node)?;
    let first = name.starts_with(|c: char| c.is_alphabetic() || c == '_');
    if first && name.chars().all(|c| c.is_alphanumeric() || c == '_') {
        return Some(name.to_owned());
    }
    let message = format!(
        "{} is no parameter name: it takes letters, digits and _, and no digit first",
        Excerpt(name)
    );
    reader.problem(node.position(), message);
    None
}

/// A name of a pack, or of a query within one.
fn read_name(node: &Node, reader: &mut Reader) -> Option<String> {
    let name = reader.text(node)?;
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_-.:".contains(&b);
    if (1..=90).contains(&name.len()) && name.bytes().all(allowed) {
        return Some(name.to_owned());
    }
    let message = format!(
        "{} is no name: it takes 1 to 90 of A-Z a-z 0-9 _ - . :",
        Excerpt(name)
    );
    reader.problem(node.position(), message);
    None
}

/// A text whose line breaks are for the file's reader only.
fn read_line(node: &Node, reader: &mut Reader) -> Option<String> {
    let text = reader.text(node)?;
    Some(text.split_whitespace().collect::<Vec<_>>().join(" "))
}
