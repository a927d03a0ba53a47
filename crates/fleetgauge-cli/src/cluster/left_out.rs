//! In the place of the cluster, in a binary that was built without Kubernetes.

use std::sync::Arc;

use fleetgauge::doctor::Finding;
use fleetgauge_core::target::TargetDiscovery;
use fleetgauge_core::variant::PodVariants;
use fleetgauge_server::door::kubernetes::caller;
use fleetgauge_server::door::kubernetes::pods::PodLabels;
use fleetgauge_server::variant::Variant;

use crate::config::{Config, Environment, KubernetesSection, PodsSection, ServicesSection};
use crate::kubeconfig::{Account, LEFT_OUT};

/// There is none.
#[derive(Clone)]
pub(crate) struct Cluster(std::convert::Infallible);

pub(crate) fn model_places(_section: &KubernetesSection) -> Vec<String> {
    Vec::new()
}

impl Cluster {
    pub(crate) fn open(_section: &KubernetesSection, _environment: &Environment) -> anyhow::Result<Self> {
        anyhow::bail!(LEFT_OUT.unwrap_or_default())
    }

    pub(crate) fn is(&self, _section: &KubernetesSection) -> bool {
        match self.0 {}
    }

    pub(crate) fn is_same(&self, _other: &Self) -> bool {
        match self.0 {}
    }

    pub(crate) fn examine(&self, _config: &Config, _account: &Account) -> std::future::Ready<Vec<Finding>> {
        match self.0 {}
    }

    pub(crate) fn authority(&self) -> Arc<dyn caller::Cluster> {
        match self.0 {}
    }

    pub(crate) fn pod_labels(&self) -> Arc<dyn PodLabels> {
        match self.0 {}
    }

    pub(crate) fn pods(&self, _section: &PodsSection) -> Arc<dyn TargetDiscovery> {
        match self.0 {}
    }

    pub(crate) fn services(&self, _section: &ServicesSection) -> Arc<dyn TargetDiscovery> {
        match self.0 {}
    }

    pub(crate) fn pod_variants(&self, _configured: &[Variant]) -> Arc<dyn PodVariants> {
        match self.0 {}
    }

    pub(crate) fn variants(&self, _configured: &[Variant]) -> Vec<Variant> {
        match self.0 {}
    }

    pub(crate) fn follow(self, _changed: impl FnMut(Option<String>)) -> std::future::Ready<()> {
        match self.0 {}
    }
}
