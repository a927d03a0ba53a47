//! `any_of`: one query made of several, joined with `or`.
//!
//! Each pod runs one engine, so what the engines' queries answer for a fleet are disjoint sets of series, and
//! their union is the answer for all of it. Naming them, instead of copying their text, keeps one copy of
//! each.

use std::fmt;

use fleetgauge_core::params::ParamSpec;
use fleetgauge_core::printable::Excerpt;
use fleetgauge_core::query::{QueryTemplate, QueryType};
use fleetgauge_core::similar::similar;

use super::{Pack, short_name};
use crate::document::{Node, Reader};

/// The queries that a union may name.
#[derive(Default)]
pub(super) struct Known {
    /// Those of the same file, above it.
    pub(super) queries: Vec<QueryTemplate>,
    /// The built-in packs that have been asked for: each is read once.
    builtin: Vec<Pack>,
}

/// What the named queries become together.
pub(super) struct Union {
    pub(super) template: String,
    pub(super) params: Vec<ParamSpec>,
}

struct DidYouMean<'a>(Option<&'a str>);

// === impl Known ===

impl Known {
    /// The union of the queries that `node` lists.
    pub(super) fn union(&mut self, node: &Node, reader: &mut Reader) -> Option<Union> {
        let before = reader.problem_count();
        let mut union = Union {
            template: String::new(),
            params: Vec::new(),
        };
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
        if !Pack::builtin_names().any(|known| known == name) {
            let known: Vec<_> = Pack::builtin_names().collect();
            return Err(format!(
                "any_of knows the packs {}, not {}",
                known.join(", "),
                Excerpt(name)
            ));
        }
        self.builtin.extend(Pack::builtin(name));
        self.builtin
            .last()
            .ok_or_else(|| format!("there is no pack {name:?}"))
    }
}

// === impl Union ===

impl Union {
    fn add(&mut self, query: &QueryTemplate) -> Result<(), String> {
        if query.query_type != QueryType::PromQl {
            return Err(format!(
                "{} is not PromQL, so it cannot be joined with others",
                query.name
            ));
        }
        for param in &query.params {
            match self.params.iter_mut().find(|known| known.name() == param.name()) {
                None => self.params.push(param.clone()),
                Some(known) if known.kind() == param.kind() => {
                    if param.is_required() {
                        *known = param.clone();
                    }
                }
                Some(known) => {
                    let (query, name, kind) = (&query.name, param.name(), param.kind());
                    let other = known.kind();
                    return Err(format!(
                        "{query} declares {name:?} as {kind}, and a query before it as {other}"
                    ));
                }
            }
        }
        if !self.template.is_empty() {
            self.template.push_str("\nor\n");
        }
        self.template.push_str(&query.template);
        Ok(())
    }
}

impl fmt::Display for DidYouMean<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .map_or(Ok(()), |similar| write!(f, "; did you mean {similar:?}?"))
    }
}
