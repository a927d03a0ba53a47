//! What an autoscaler scales: a workload under the name of its variant.

use std::sync::Arc;

use arc_swap::ArcSwap;
use fleetgauge_core::params::Params;
use fleetgauge_core::variant::{PodVariants, RegisterVariantError, VariantIndex, VariantRef, Workload};

/// A variant, with what queries are asked for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Variant {
    /// Its name and namespace.
    pub variant: VariantRef,
    /// Whose pods are its own.
    pub workload: Workload,
    /// The parameters that queries are rendered with; they are put over those of the metric. `namespace` is the variant's
    /// where nothing else is said.
    pub params: Params,
    /// By what its model is known, in the order in which that counts: the first is the one that queries are rendered with.
    pub models: Vec<ToldModel>,
}

/// A model, and what tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToldModel {
    /// What tells it, such as `annotation llm-d.ai/model`.
    pub by: Box<str>,
    /// The model.
    pub model: Box<str>,
}

/// What knows whose pods are whose, as it is now.
pub(crate) type Variants = ArcSwap<Arc<dyn PodVariants>>;

/// The label of a reading that tells which model its variant serves.
pub const MODEL_PARAM: &str = "modelID";

impl Variant {
    /// The parameters of a query for it, over those of a metric.
    pub(crate) fn params_over(&self, metric: &Params) -> Params {
        let mut params = metric.clone();
        let names: std::collections::BTreeSet<&str> = self.params.iter().map(|(name, _)| name).collect();
        if params.get("namespace").is_none() && !names.contains("namespace") {
            params.insert("namespace", self.variant.namespace());
        }
        for name in names {
            let mut values = self.params.values(name);
            params.insert(name, values.next().unwrap_or_default());
            values.for_each(|value| params.push(name, value));
        }
        params
    }

    /// The labels that each of its readings has.
    pub(crate) fn labels(&self) -> Vec<(Box<str>, Box<str>)> {
        let mut labels: Vec<(Box<str>, Box<str>)> = vec![
            ("namespace".into(), self.variant.namespace().into()),
            ("variant".into(), self.variant.name().into()),
        ];
        if let Some(model) = self.params.get(MODEL_PARAM) {
            labels.insert(0, ("model".into(), model.into()));
        }
        labels
    }
}

/// The index that joins pods to `variants`.
///
/// *Errors*: two are of one name, or one workload's.
pub fn index(variants: &[Variant]) -> Result<VariantIndex, RegisterVariantError> {
    let mut index = VariantIndex::new();
    for variant in variants {
        index.register(variant.variant.clone(), variant.workload.clone())?;
    }
    Ok(index)
}
