//! The inputs of a composed source, with the sources that they are asked of.

use std::sync::Arc;

use fleetgauge_core::params::{ParamSpec, Params};
use fleetgauge_core::source::MetricsSource;

/// All inputs of a composed source.
pub(super) type Inputs = Arc<[SourceInput]>;

/// An input, and the source that it is asked of.
pub(super) struct SourceInput {
    pub(super) name: String,
    pub(super) source_name: String,
    pub(super) source: Arc<dyn MetricsSource>,
    /// The name of the query there.
    pub(super) query: String,
    /// Parameters that are the same for every caller.
    pub(super) params: Params,
    pub(super) is_optional: bool,
    /// How far the times of a range are apart. *Unit*: milliseconds, at least one.
    pub(super) step: i64,
}

// === impl SourceInput ===

impl SourceInput {
    /// The caller's parameters, and its own.
    pub(super) fn params(&self, callers: &Params) -> Params {
        let mut params = callers.clone();
        params.extend(self.params.iter());
        params
    }

    /// The parameters that the query takes from the caller.
    pub(super) fn declared(&self) -> Vec<ParamSpec> {
        let query = self.source.query_list().get(&self.query);
        let declared = query.iter().flat_map(|query| query.params());
        let is_free = |spec: &&ParamSpec| self.params.get(spec.name()).is_none();
        declared.filter(is_free).cloned().collect()
    }
}
