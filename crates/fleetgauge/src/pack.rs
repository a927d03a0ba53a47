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
//!     params: [namespace, modelID, {name: podFilter, kind: regex, required: false}]
//!     template: |
//!       sum by (namespace, pod, instance) (
//!         acme_queue{namespace="{{.namespace}}", model_name="{{.modelID}}"{{if .podFilter}}, pod=~"{{.podFilter}}"{{end}}}
//!       )
//!     ttl: 30s                            # the source's default where absent
//!     companions: ages                    # none, ages or all; what a Prometheus source says where absent
//!     timeout: 10s                        # likewise
//!     fold: {pod: sum, variant: sum}      # what the rows of a pod, and the pods of a variant, are together
//!     transform:                          # what is done with each answer, step after step
//!       - promql: answer / 2
//!     policy:                             # what is accepted of its answers; what is absent the defaults say
//!       max_age: 30s
//!       min_completeness: 0.9
//!       on_incomplete: at_least           # fail, hold or at_least
//!       on_error: hold                    # fail or hold
//!       on_no_data: {value: 0, when: ready}  # fail, hold, or a number where a query proves it
//!       on_undefined: fail                # fail or hold
//!       hold: 5m
//!     expected: ready                     # each row of this query is one who should report
//!   - name: ready
//!     description: The pods that are ready.
//!     params: [namespace]
//!     template: group by (namespace, pod) (acme_ready{namespace="{{.namespace}}"} == 1)
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

mod builtin;
mod collection;
mod metricsql;
mod param;
mod policy;
mod promql;
mod read;
mod transform;
mod union;

use crate::document::{Document, Problems};

pub use collection::Pack;
pub use policy::{QueryContext, check_defaults, check_policy, check_queries, read_policy};
pub use read::read_queries;

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
        read::read_document(document)
    }

    /// The built-in pack `name`, one of [`builtin_names`](Self::builtin_names).
    ///
    /// # Panics
    /// Never: the built-in packs are read by a test.
    pub fn builtin(name: &str) -> Option<Self> {
        read::read_builtin(name)
    }

    /// All built-in packs, the one that most need first.
    pub fn builtins() -> Vec<Self> {
        Self::builtin_names().filter_map(Self::builtin).collect()
    }

    /// The names of the built-in packs.
    pub fn builtin_names() -> impl Iterator<Item = &'static str> {
        builtin::names()
    }

    /// The text of the built-in pack `name`, as a start for one's own.
    pub fn builtin_text(name: &str) -> Option<&'static str> {
        builtin::text(name)
    }
}

#[cfg(test)]
mod tests;
