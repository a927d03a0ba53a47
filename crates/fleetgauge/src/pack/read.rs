//! From a document to the queries of a pack.
//!
//! `any_of` names queries of built-in packs, which are read when they are asked for: finding them belongs to reading.

use std::collections::HashMap;
use std::fmt;

use fleetgauge_core::params::{ParamKind, ParamSpec};
use fleetgauge_core::policy::OnNoData;
use fleetgauge_core::printable::Excerpt;
use fleetgauge_core::query::{Companions, QueryName, QueryTemplate, QueryType, UnknownCompanions};
use fleetgauge_core::query_list::{QueryList, RegisterError, RegisteredQuery};
use fleetgauge_core::similar::similar;
use fleetgauge_core::transform::weights;

use super::collection::{Pack, short_name};
use super::param::{Declared, read_params};
use super::policy::{check_alone, check_named, read_from, read_policy, read_query_name};
use super::transform::{read_folds, read_transform};
use super::union::Union;
use super::{builtin, promql};
use crate::document::{Document, Fields, Node, Problems, Reader};

/// How many parameters of one template are told that are not declared.
const MAX_UNDECLARED: usize = 10;

/// The queries that a union may name.
#[derive(Default)]
struct Known {
    /// Those of the same file, above it.
    queries: Vec<QueryTemplate>,
    /// The built-in packs that have been asked for: each is read once.
    builtin: Vec<Pack>,
}

/// What the queries before one have left.
#[derive(Default)]
struct Seen {
    known: Known,
    /// Where each name was given first, even to a query that had a problem.
    lines: HashMap<String, usize>,
    checked: QueryList,
}

struct DidYouMean<'a>(Option<&'a str>);

// === impl Known ===

impl Known {
    /// The union of the queries that `node` lists.
    fn union(&mut self, node: &Node, reader: &mut Reader) -> Option<Union> {
        let before = reader.problem_count();
        let mut union = Union::default();
        let names = reader.list(node, "a list of query names");
        if names.is_empty() && reader.problem_count() == before {
            reader.problem(node.position(), "any_of must name at least one query");
        }
        for node in names {
            let Some(name) = reader.text(node) else { continue };
            if let Err(message) = self.find(name).and_then(|query| union.add(query)) {
                reader.problem(node.position(), message);
            }
        }
        (reader.problem_count() == before).then_some(union)
    }

    fn find(&mut self, name: &str) -> Result<&QueryTemplate, String> {
        let Some((pack, short)) = name.split_once('/') else {
            let names = self.queries.iter().map(short_name);
            let similar = DidYouMean(similar(name, names));
            let found = self.queries.iter().find(|query| short_name(query) == name);
            return found
                .ok_or_else(|| format!("there is no query {} above this one{similar}", Excerpt(name)));
        };
        let pack = self.pack(pack)?;
        let similar = DidYouMean(similar(short, pack.queries().iter().map(short_name)));
        let missing = || {
            format!(
                "there is no query {} in the pack {}{similar}",
                Excerpt(short),
                pack.name()
            )
        };
        pack.query(short).ok_or_else(missing)
    }

    fn pack(&mut self, name: &str) -> Result<&Pack, String> {
        if let Some(at) = self.builtin.iter().position(|pack| pack.name() == name) {
            return Ok(&self.builtin[at]);
        }
        let Some(pack) = read_builtin(name) else {
            let known: Vec<_> = builtin::names().collect();
            return Err(format!(
                "any_of knows the packs {}, not {}",
                known.join(", "),
                Excerpt(name)
            ));
        };
        let at = self.builtin.len();
        self.builtin.push(pack);
        Ok(&self.builtin[at])
    }
}

// === impl DidYouMean ===

impl fmt::Display for DidYouMean<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .map_or(Ok(()), |similar| write!(f, "; did you mean {similar:?}?"))
    }
}

// === reading ===

/// Reads a pack.
///
/// *Errors*: every problem found.
pub(super) fn read_document(document: &Document) -> Result<Pack, Problems> {
    let mut reader = document.reader();
    let mut pack = read_pack(document.root(), &mut reader);
    pack.warnings = reader.warnings();
    reader.finish()?;
    Ok(pack)
}

/// Reads the built-in pack `name`.
pub(super) fn read_builtin(name: &str) -> Option<Pack> {
    let document = Document::parse(&format!("{name}.yaml"), builtin::text(name)?);
    let read = document.map_err(Problems::from);
    match read.and_then(|document| read_document(&document)) {
        Ok(pack) => Some(pack),
        Err(problems) => panic!("the built-in pack {name} is broken:\n{problems}"),
    }
}

/// Reads a whole file; what cannot be read is left out, and noted.
fn read_pack(node: &Node, reader: &mut Reader) -> Pack {
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
    check_names(node, pack, &mut seen, reader);
    seen.known.queries
}

/// Notes what is wrong with the queries of this file and of built-in packs that queries name. Those of other packs are not
/// known here.
fn check_names(node: &Node, pack: Option<&str>, seen: &mut Seen, reader: &mut Reader) {
    let Seen { known, lines, .. } = seen;
    let named = |query: &QueryTemplate| {
        let proof = match &query.policy.on_no_data {
            Some(OnNoData::Value { when, .. }) => Some(when.clone()),
            _ => None,
        };
        query.expected.clone().into_iter().chain(proof)
    };
    for name in known.queries.iter().flat_map(named).collect::<Vec<_>>() {
        if let Some((named, _)) = name
            .as_str()
            .split_once('/')
            .filter(|(named, _)| Some(*named) != pack)
        {
            // What is no built-in pack is one of another file.
            let _ = known.pack(named);
        }
    }
    let Known { queries, builtin } = &*known;
    let all = || queries.iter().chain(builtin.iter().flat_map(Pack::queries));
    let by_name: HashMap<&str, &QueryTemplate> = all().map(|query| (&*query.name, query)).collect();
    let find = |name: &QueryName| {
        let (of, short) = match name.as_str().split_once('/') {
            Some((of, short)) => (Some(of), short),
            None => (None, name.as_str()),
        };
        let is_builtin = builtin.iter().any(|pack| Some(pack.name()) == of);
        match by_name.get(name.as_str()) {
            Some(query) => Ok(Some(*query)),
            // It is of another file, or was left out for a problem of its own.
            None if (of != pack && !is_builtin) || (of == pack && lines.contains_key(short)) => Ok(None),
            None => Err(similar(name.as_str(), by_name.keys().copied())),
        }
    };
    for (node, query) in read_from(node, pack, queries) {
        check_named(node, query, find, reader);
    }
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
    if let Some(transform) = fields.take("transform") {
        query.transform = read_transform(transform, reader);
        if weights(&query.transform).any(|weights| weights == query.name) {
            let message =
                "a query cannot be weighted by itself; name the query that tells how much each pod counts";
            reader.problem(transform.position(), message);
        }
    }
    query.fold = fields.take("fold").and_then(|fold| read_folds(fold, reader));
    if let Some(node) = fields.take("policy") {
        query.policy = read_policy(node, pack, reader);
        check_alone(node, &query, reader);
    }
    if let Some(node) = fields.take("expected") {
        query.expected = read_query_name(node, pack, reader);
        if query
            .expected
            .as_ref()
            .is_some_and(|name| name.as_str() == query.name)
        {
            let message = "a query cannot tell itself who should report; name the one that has a row for each that should";
            reader.problem(node.position(), message);
            query.expected = None;
        }
    }
    query.companions = fields
        .take("companions")
        .and_then(|node| read_companions(node, reader));
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
            let Union {
                template,
                params,
                mut transform,
                ..
            } = seen.known.union(node, reader)?;
            (query.template, query.params) = (template, params);
            transform.append(&mut query.transform);
            query.transform = transform;
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

fn read_companions(node: &Node, reader: &mut Reader) -> Option<Companions> {
    let parsed = reader.text(node)?.parse();
    parsed
        .map_err(|error: UnknownCompanions| reader.problem(node.position(), error.to_string()))
        .ok()
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
