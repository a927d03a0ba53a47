//! The section `defaults`.

use std::time::Duration;

use fleetgauge::document::{Node, Reader};
use fleetgauge::pack::{check_defaults, read_policy};
use fleetgauge_core::policy::Policy;

use super::metrics::read_every;

/// What holds where nothing else is said.
#[derive(Default)]
pub(crate) struct Defaults {
    pub(crate) policy: Policy,
    /// How often metrics are refreshed.
    pub(crate) every: Option<Duration>,
}

pub(super) fn read_defaults(node: &Node, reader: &mut Reader) -> Defaults {
    let mut defaults = Defaults::default();
    let Some(mut fields) = reader.fields(node, "defaults") else {
        return defaults;
    };
    if let Some(node) = fields.take("policy") {
        defaults.policy = read_policy(node, None, reader);
        check_defaults(node, &defaults.policy, reader);
    }
    defaults.every = fields.take("every").and_then(|node| read_every(node, reader));
    fields.finish(reader);
    defaults
}
