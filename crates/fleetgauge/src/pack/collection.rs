//! The queries of a pack, once they are read.

use fleetgauge_core::query::QueryTemplate;
use fleetgauge_core::query_list::{QueryList, RegisterError};

use crate::document::Problem;

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
    pub(super) name: String,
    pub(super) description: String,
    pub(super) queries: Vec<QueryTemplate>,
    pub(super) warnings: Vec<Problem>,
}

// === impl Pack ===

impl Pack {
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
pub(super) fn short_name(query: &QueryTemplate) -> &str {
    query.name.split_once('/').map_or(&query.name, |(_, short)| short)
}
