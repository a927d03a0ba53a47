//! What of PromQL is switched on by its name.

use fleetgauge_promql::engine::Features;

use crate::cli::FeatureArgs;
use crate::failure::Usage;

/// Those that are there `unasked`, and those that are named.
///
/// *Errors*: there is none of that name.
pub(super) fn features(unasked: Features, args: &FeatureArgs) -> Result<Features, Usage> {
    let mut names = args.names.iter();
    let features = names.try_fold(unasked, |features, name| features.with_named(name));
    features.map_err(|error| Usage(format!("--enable-feature: {error}")))
}
