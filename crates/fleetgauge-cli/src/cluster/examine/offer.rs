//! What the daemon of a configuration offers to those who scale by it.

use fleetgauge_core::policy::Fold;
use fleetgauge_core::similar::similar;
use fleetgauge_server::metric::{MetricFold, MetricSpec};

use crate::config::Config;

/// The metrics of a configuration, and the doors that tell them.
pub(super) struct Offer<'a> {
    config: &'a Config,
}

// === impl Offer ===

impl<'a> Offer<'a> {
    pub(super) fn new(config: &'a Config) -> Self {
        Self { config }
    }

    pub(super) fn metric(&self, name: &str) -> Option<&'a MetricSpec> {
        let mut metrics = self.config.metrics.iter().map(|metric| &metric.spec);
        metrics.find(|spec| spec.name.as_str() == name)
    }

    /// How several rows of a metric, or its pods, become one number.
    pub(super) fn folds_by(&self, spec: &MetricSpec) -> Option<Fold> {
        match spec.fold {
            MetricFold::By(fold) => Some(fold),
            MetricFold::Declared | MetricFold::Rows => {
                let query = self
                    .config
                    .all_queries()
                    .find(|query| query.name == spec.query.as_str());
                query.and_then(fleetgauge_core::query::QueryTemplate::folds_by)
            }
        }
    }

    pub(super) fn has_external_metrics(&self) -> bool {
        self.config.external_metrics.is_some()
    }

    pub(super) fn has_keda(&self) -> bool {
        self.config.keda.is_some()
    }

    /// What may be meant by a name that is not there.
    pub(super) fn hint(&self, name: &str, namespace: &str) -> String {
        let visible = self.config.metrics.iter().map(|metric| &metric.spec);
        let visible = visible.filter(|spec| spec.is_visible_in(namespace));
        let names: Vec<&str> = visible.map(|spec| spec.name.as_str()).collect();
        match similar(name, names.iter().copied()) {
            Some(similar) => format!("did you mean {similar:?}?"),
            None if names.is_empty() => "the configuration has no metrics for this namespace".to_owned(),
            None => format!("there are {}", names.join(", ")),
        }
    }
}
