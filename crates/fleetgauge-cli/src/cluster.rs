//! The Kubernetes cluster that a configuration names.

mod authority;
mod labelled;

use std::sync::Arc;

use anyhow::Context as _;
use fleetgauge_core::target::TargetDiscovery;
use fleetgauge_core::time::Clock;
use fleetgauge_kube::Client;
use fleetgauge_kube::access::Access;
use fleetgauge_kube::discovery::{self, PodDiscovery, PodSelection};
use fleetgauge_kube::pod_labels::PodLabelsWatch;
use fleetgauge_kube::watch::WatchConfig;
use fleetgauge_server::door::kubernetes::caller;
use fleetgauge_server::door::kubernetes::pods::PodLabels;

use crate::config::{Environment, KubernetesSection, PodPort, PodsSection};

use authority::Authority;
use labelled::Labelled;

/// Names kubectl's files, one or several.
const KUBECONFIG: &str = "KUBECONFIG";

/// The cluster, which is asked by one client for all that is wanted of it.
#[derive(Clone)]
pub(crate) struct Cluster {
    client: Client,
    config: WatchConfig,
    content: String,
}

// === impl Cluster ===

impl Cluster {
    /// Makes a client for the cluster; nobody is asked yet.
    ///
    /// *Errors*: it is not said how the cluster is reached, or what says so is wrong.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub(crate) fn open(section: &KubernetesSection, environment: &Environment) -> anyhow::Result<Self> {
        let access = match (&section.kubeconfig, environment.get(KUBECONFIG)) {
            (Some(file), _) => Access::Kubeconfig(vec![file.clone()]),
            (None, _) if Access::is_in_pod() => Access::ServiceAccount,
            (None, Some(files)) => {
                let files = std::env::split_paths(files).filter(|file| !file.as_os_str().is_empty());
                Access::Kubeconfig(files.collect())
            }
            (None, None) => anyhow::bail!(
                "kubernetes: this is no pod with a service account, and {KUBECONFIG} is not set; name a file with \
                 `kubernetes: {{kubeconfig: FILE}}`"
            ),
        };
        Ok(Self {
            client: access.client().context("kubernetes")?,
            config: WatchConfig::default(),
            content: section.content.clone(),
        })
    }

    /// Whether `section` names this very cluster.
    pub(crate) fn is(&self, section: &KubernetesSection) -> bool {
        self.content == section.content
    }

    /// What it says of those who ask the daemon. Whose certificates it believes is watched from now on.
    pub(crate) fn authority(&self) -> Arc<dyn caller::Cluster> {
        Arc::new(Authority::start(&self.client, &self.config))
    }

    /// Its pods by their labels, which are watched from now on.
    pub(crate) fn pod_labels(&self) -> Arc<dyn PodLabels> {
        Arc::new(Labelled(PodLabelsWatch::start(&self.client, &self.config)))
    }

    /// Pods as targets. They are watched from now on.
    pub(crate) fn pods(&self, section: &PodsSection) -> Arc<dyn TargetDiscovery> {
        let ports = section.ports.iter().map(|port| match port {
            PodPort::Number(number) => discovery::PodPort::Number(*number),
            PodPort::Name(name) => discovery::PodPort::Name(name.clone()),
        });
        let ports: Vec<_> = ports.collect();
        let (first, others) = ports
            .split_first()
            .unwrap_or((&discovery::PodPort::Annotated, &[]));
        let mut pods = PodSelection::new(first.clone()).in_namespaces(&section.namespaces);
        for port in others {
            pods = pods.with_port(port.clone());
        }
        for label in &section.labels {
            pods = pods.with_label(label);
        }
        if let Some(selector) = &section.selector {
            pods = pods.selected_by(selector);
        }
        let watched = PodDiscovery::start(&self.client, pods, &self.config, &Clock::system());
        Arc::new(watched)
    }
}
