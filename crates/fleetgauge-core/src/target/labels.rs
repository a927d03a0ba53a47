//! What a discovery knows of one target.

use std::collections::BTreeMap;

/// What a discovery knows of one target: labels by name.
///
/// *Shape*: `__address__` is required, `__scheme__`, `__metrics_path__` and `__param_NAME` are optional, other
/// labels that begin with `__` are dropped, and the rest are the target's own.
pub type TargetLabels = BTreeMap<String, String>;

/// The label that holds where a target listens.
pub const ADDRESS: &str = "__address__";
