//! Query packs: the production queries of an inference engine, as data.
//!
//! A pack is a YAML (or JSON) file. The built-in ones are written in the same format as a user's own and
//! take the same way through [`Pack::parse`], so that each of them is an example of how to write one:
//!
//! ```yaml
//! name: acme
//! description: The queries of Acme's fleet.
//! queries:
//!   - name: queue_length                  # registered as acme/queue_length
//!     description: Requests that wait for a slot.
//!     unit: requests
//!     type: promql                        # the default; or metric, for the name of a metric alone
//!     params: [namespace, {name: podFilter, kind: regex, required: false}]
//!     template: |
//!       sum by (namespace, pod) (acme_queue{namespace="{{.namespace}}"{{if .podFilter}}, pod=~"{{.podFilter}}"{{end}}})
//!     ttl: 30s                            # the source's default where absent
//!     timeout: 10s                        # likewise
//!   - name: queue_length_anywhere         # a union: the first of these that answers, series by series
//!     description: Requests that wait, on Acme's engine or on vLLM.
//!     any_of: [queue_length, vllm/queue_length]
//! ```
//!
//! Parameters are declared with a kind (`text`, `regex`, `metric`, `label`, `duration`, `number`, `quantile`, and the
//! lists `texts` and `labels`) or by name alone, which makes them required and of the kind that their name has by
//! default. `any_of` joins the templates of queries of the same file and of built-in packs with PromQL's `or`.
//!
//! A pack is checked as a whole when it is read: every mistake in it is reported, with its place.

mod metricsql;
mod promql;
mod read;
mod union;

use fleetgauge_core::query::QueryTemplate;
use fleetgauge_core::query_list::{QueryList, RegisterError};

use crate::document::{Document, Problem, Problems};

pub use read::read_queries;

/// A named collection of queries.
///
/// ```
/// use fleetgauge::pack::Pack;
/// use fleetgauge::QueryList;
///
/// let queries = QueryList::new();
/// Pack::builtin("vllm").unwrap().register_into(&queries)?;
/// let query = queries.get("vllm/queue_length").unwrap();
/// assert!(query.template().description.contains("wait"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Pack {
    name: String,
    description: String,
    queries: Vec<QueryTemplate>,
    warnings: Vec<Problem>,
}

/// The built-in packs: name and text.
const BUILTIN: [(&str, &str); 11] = [
    ("inference", include_str!("../packs/inference.yaml")),
    ("vllm", include_str!("../packs/vllm.yaml")),
    ("sglang", include_str!("../packs/sglang.yaml")),
    ("trtllm", include_str!("../packs/trtllm.yaml")),
    ("ray", include_str!("../packs/ray.yaml")),
    ("triton", include_str!("../packs/triton.yaml")),
    ("tgi", include_str!("../packs/tgi.yaml")),
    ("llamacpp", include_str!("../packs/llamacpp.yaml")),
    ("dynamo", include_str!("../packs/dynamo.yaml")),
    ("dcgm", include_str!("../packs/dcgm.yaml")),
    ("epp", include_str!("../packs/epp.yaml")),
];

// === impl Pack ===

impl Pack {
    /// Reads a pack; `source_name` is what problems are reported under, usually the file's path.
    ///
    /// *Errors*: every problem found: broken YAML, unknown or repeated fields, wrong types, bad names, bad
    /// templates, what is not PromQL on some way through a template's conditions, duplicates.
    pub fn parse(source_name: &str, text: &str) -> Result<Self, Problems> {
        Self::from_document(&Document::parse(source_name, text)?)
    }

    /// Reads a pack from a document that has been parsed already.
    ///
    /// *Errors*: as [`parse`](Self::parse).
    pub fn from_document(document: &Document) -> Result<Self, Problems> {
        let mut reader = document.reader();
        let mut pack = read::read_pack(document.root(), &mut reader);
        pack.warnings = reader.warnings();
        reader.finish()?;
        Ok(pack)
    }

    /// The built-in pack `name`, one of [`builtin_names`](Self::builtin_names).
    ///
    /// # Panics
    /// Never: the built-in packs are read by a test.
    pub fn builtin(name: &str) -> Option<Self> {
        let (name, text) = BUILTIN.iter().find(|(builtin, _)| *builtin == name)?;
        match Self::parse(&format!("{name}.yaml"), text) {
            Ok(pack) => Some(pack),
            Err(problems) => panic!("the built-in pack {name} is broken:\n{problems}"),
        }
    }

    /// All built-in packs, the one that most need first.
    pub fn builtins() -> Vec<Self> {
        Self::builtin_names().filter_map(Self::builtin).collect()
    }

    /// The names of the built-in packs.
    pub fn builtin_names() -> impl Iterator<Item = &'static str> {
        BUILTIN.iter().map(|(name, _)| *name)
    }

    /// The text of the built-in pack `name`, as a start for one's own.
    pub fn builtin_text(name: &str) -> Option<&'static str> {
        BUILTIN
            .iter()
            .find(|(builtin, _)| *builtin == name)
            .map(|(_, text)| *text)
    }

    /// The pack's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the pack is for.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// The queries, in the file's order, under their full names `pack/query`.
    pub fn queries(&self) -> &[QueryTemplate] {
        &self.queries
    }

    /// What may be meant, but not every server takes: MetricsQL, and what Fleetgauge's own evaluator refuses.
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }

    /// The query `name`, given with or without the pack's own name before it.
    pub fn query(&self, name: &str) -> Option<&QueryTemplate> {
        let short = name
            .strip_prefix(&self.name)
            .and_then(|rest| rest.strip_prefix('/'))
            .unwrap_or(name);
        self.queries.iter().find(|query| short_name(query) == short)
    }

    /// Registers all queries.
    ///
    /// *Errors*: [`RegisterError::Duplicate`] where a name is taken; the queries before it are registered.
    pub fn register_into(&self, queries: &QueryList) -> Result<(), RegisterError> {
        self.queries
            .iter()
            .try_for_each(|query| queries.register(query.clone()))
    }
}

/// A query's name within its pack.
fn short_name(query: &QueryTemplate) -> &str {
    query.name.split_once('/').map_or(&query.name, |(_, short)| short)
}

#[cfg(test)]
mod tests;
