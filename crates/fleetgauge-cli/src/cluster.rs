//! The Kubernetes cluster that a configuration names.

mod authority;
mod examine;
mod labelled;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use anyhow::Context as _;
use fleetgauge::doctor::Finding;
use fleetgauge_core::params::Params;
use fleetgauge_core::target::TargetDiscovery;
use fleetgauge_core::time::Clock;
use fleetgauge_core::variant::{PodVariants, VariantRef, Workload, WorkloadKind};
use fleetgauge_kube::Client;
use fleetgauge_kube::access::Access;
use fleetgauge_kube::discovery::{self, PodDiscovery, PodSelection};
use fleetgauge_kube::object::Kind;
use fleetgauge_kube::pod_labels::PodLabelsWatch;
use fleetgauge_kube::scaler;
use fleetgauge_kube::service::{ServiceDiscovery, ServiceSelection};
use fleetgauge_kube::variant::ClusterVariants;
use fleetgauge_kube::watch::{self, ClusterWatch, Resource, WatchConfig};
use fleetgauge_server::door::kubernetes::caller;
use fleetgauge_server::door::kubernetes::pods::PodLabels;
use fleetgauge_server::variant::{MODEL_PARAM, ToldModel, Variant};

use crate::config::{
    Config, Environment, KubernetesSection, ModelFrom, PodPort, PodsSection, ServicesSection, VariantKind,
};
use crate::kubeconfig::Account;

use authority::Authority;
use labelled::Labelled;

/// Names kubectl's files, one or several.
const KUBECONFIG: &str = "KUBECONFIG";

/// The cluster, which is asked by one client for all that is wanted of it.
#[derive(Clone)]
pub(crate) struct Cluster {
    client: Client,
    config: WatchConfig,
    /// Those whose variants are read; none for all.
    namespaces: Arc<[String]>,
    content: String,
    /// Once somebody wants to know whose pods are whose.
    watch: Arc<OnceLock<ClusterWatch>>,
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
            config: config(section),
            namespaces: section.namespaces.as_slice().into(),
            content: section.content.clone(),
            watch: Arc::default(),
        })
    }

    /// Whether `section` names this very cluster.
    pub(crate) fn is(&self, section: &KubernetesSection) -> bool {
        self.content == section.content
    }

    /// Whether both are watched by the same watches.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.watch, &other.watch)
    }

    /// What does not fit together in it, of what `config` asks for; the rights are those of `account`.
    pub(crate) async fn examine(&self, config: &Config, account: &Account) -> Vec<Finding> {
        examine::examine(&self.client, &self.config, config, account).await
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
        let ports = ports(&section.ports);
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
        if let Some(selector) = &section.field_selector {
            pods = pods.with_fields(selector);
        }
        let watched = PodDiscovery::start(&self.client, pods, &self.config, &Clock::system());
        Arc::new(watched)
    }

    /// What is behind Services as targets, which are watched from now on.
    pub(crate) fn services(&self, section: &ServicesSection) -> Arc<dyn TargetDiscovery> {
        let ports = ports(&section.ports);
        // There is always one.
        let (first, others) = ports
            .split_first()
            .unwrap_or((&discovery::PodPort::Annotated, &[]));
        let mut services =
            ServiceSelection::new(&section.names, first.clone()).in_namespaces(&section.namespaces);
        for port in others {
            services = services.with_port(port.clone());
        }
        let watched = ServiceDiscovery::start(&self.client, services, &self.config, &Clock::system());
        Arc::new(watched)
    }

    /// Who owns which pods, and what scales that; watched from now on.
    fn watch(&self) -> &ClusterWatch {
        let start = || ClusterWatch::start(&self.client, &self.config, &Clock::system());
        self.watch.get_or_init(start)
    }

    /// What knows whose pods are whose, with those of `configured` where the cluster names no variant.
    pub(crate) fn pod_variants(&self, configured: &[Variant]) -> Arc<dyn PodVariants> {
        let configured = configured.iter().filter_map(|variant| {
            let kind = match variant.workload.kind() {
                WorkloadKind::Deployment => Kind::DEPLOYMENT,
                WorkloadKind::StatefulSet => Kind::STATEFUL_SET,
                WorkloadKind::LeaderWorkerSet => Kind::LEADER_WORKER_SET,
                _ => return None,
            };
            let name = variant.workload.name().into();
            Some((variant.variant.clone(), scaler::Workload { kind, name }))
        });
        Arc::new(ClusterVariants::new(self.watch().now(), configured))
    }

    /// The variants of the cluster, with the parameters that are `configured` for them, and those that are configured alone. Of
    /// two for one workload it is that of the cluster.
    pub(crate) fn variants(&self, configured: &[Variant]) -> Vec<Variant> {
        let (found, labelled) = {
            let index = self.watch().now().load_full();
            (index.scalers.variants(), index.labelled_variants())
        };
        let found = found.into_iter().map(|found| {
            let known = configured.iter().find(|variant| variant.variant == found.variant);
            let mut params = known.map_or_else(Params::new, |known| known.params.clone());
            // What the configuration says counts before what the cluster does.
            let mut models = known.map_or_else(Vec::new, |known| known.models.clone());
            models.extend(found.models.into_iter().map(|told| ToldModel {
                by: format!("{} of the {}", told.by, found.scaled_by).into(),
                model: told.model,
            }));
            if let (None, Some(told)) = (params.get(MODEL_PARAM), models.first()) {
                params.insert(MODEL_PARAM, &told.model);
            }
            Variant {
                variant: found.variant,
                workload: workload(&found.workload),
                params,
                models,
            }
        });
        let mut all: Vec<Variant> = found.collect();
        let names: BTreeSet<_> = all.iter().map(|variant| variant.variant.clone()).collect();
        let scaled: BTreeSet<_> = all
            .iter()
            .map(|variant| (variant.variant.namespace().to_owned(), variant.workload.clone()))
            .collect();
        let is_alone = |variant: &&Variant| {
            let place = (variant.variant.namespace().to_owned(), variant.workload.clone());
            !names.contains(&variant.variant) && !scaled.contains(&place)
        };
        all.extend(configured.iter().filter(is_alone).cloned());
        let names: BTreeSet<_> = all.iter().map(|variant| variant.variant.clone()).collect();
        let labelled = labelled
            .into_iter()
            .filter(|(variant, _)| !names.contains(variant));
        all.extend(labelled.map(|(variant, of)| Variant {
            variant,
            workload: of.as_ref().map_or_else(labels_alone, workload),
            params: Params::new(),
            models: Vec::new(),
        }));
        all.retain(|variant| self.is_read(&variant.variant));
        all
    }

    /// Whether a variant is in a namespace whose variants are read.
    fn is_read(&self, variant: &VariantRef) -> bool {
        let mut namespaces = self.namespaces.iter();
        self.namespaces.is_empty() || namespaces.any(|namespace| namespace == variant.namespace())
    }

    /// Calls `changed` whenever there are other variants, with what is not known yet, until it is dropped. What is wrong is
    /// logged when it begins and when it ends.
    pub(crate) async fn follow(self, mut changed: impl FnMut(Option<String>)) {
        let mut index = self.watch().index();
        let mut faults = BTreeMap::new();
        let mut known = None;
        loop {
            let (variants, unknown, told) = {
                let index = index.borrow_and_update();
                let variants = (index.scalers.variants(), index.labelled_variants());
                (variants, index.unknown(), index.faults())
            };
            for (kind, fault) in told.iter().filter(|(kind, _)| !faults.contains_key(*kind)) {
                tracing::error!("kubernetes: {kind} cannot be watched: {fault}");
            }
            for kind in faults.keys().filter(|kind| !told.contains_key(*kind)) {
                tracing::info!("kubernetes: {kind} is watched again");
            }
            faults = told;
            let now = Some((variants, unknown));
            if now != known {
                let unknown = now.iter().flat_map(|(_, unknown)| unknown);
                let kinds: Vec<_> = unknown.map(ToString::to_string).collect();
                let waiting =
                    (!kinds.is_empty()).then(|| format!("the cluster to list {}", kinds.join(", ")));
                known = now;
                changed(waiting);
            }
            if index.changed().await.is_err() {
                return;
            }
        }
    }
}

/// What tells the model of a variant, the first place that has one counting before the others.
pub(crate) fn model_places(section: &KubernetesSection) -> Vec<String> {
    let places = config(section).model;
    places.iter().map(ToString::to_string).collect()
}

fn config(section: &KubernetesSection) -> WatchConfig {
    let mut config = WatchConfig::default();
    let selector = section.selector.as_deref().unwrap_or(watch::MANAGED);
    let mut scalers = Resource::scalers(selector).to_vec();
    if let Some(kinds) = &section.kinds {
        let wanted: Vec<_> = kinds.iter().map(|kind| kind_of(*kind)).collect();
        scalers.retain(|resource| wanted.contains(resource.kind()));
    }
    config = config.with_scalers(scalers);
    if let Some(label) = &section.variant_label {
        config = config.with_variant_label(label);
    }
    if let Some(model) = &section.model {
        let model = model.iter().map(|from| match from {
            ModelFrom::Field(path) => watch::ModelFrom::Field(path.clone()),
            ModelFrom::Annotation(name) => watch::ModelFrom::Annotation(name.clone()),
            ModelFrom::Label(name) => watch::ModelFrom::Label(name.clone()),
        });
        config = config.with_model(model);
    }
    config
}

fn ports(ports: &[PodPort]) -> Vec<discovery::PodPort> {
    let ports = ports.iter().map(|port| match port {
        PodPort::Number(number) => discovery::PodPort::Number(*number),
        PodPort::Name(name) => discovery::PodPort::Name(name.clone()),
    });
    ports.collect()
}

fn kind_of(kind: VariantKind) -> Kind {
    match kind {
        VariantKind::ScaledObject => Kind::SCALED_OBJECT,
        VariantKind::HorizontalPodAutoscaler => Kind::HORIZONTAL_POD_AUTOSCALER,
        VariantKind::VariantAutoscaling => Kind::VARIANT_AUTOSCALING,
    }
}

/// The workload of pods that nothing controls.
fn labels_alone() -> Workload {
    Workload::new(WorkloadKind::Other, "Pod")
}

/// What is scaled, under its kind too where that is none of those that everybody has.
fn workload(scaled: &scaler::Workload) -> Workload {
    let kinds = [
        (Kind::DEPLOYMENT, WorkloadKind::Deployment),
        (Kind::STATEFUL_SET, WorkloadKind::StatefulSet),
        (Kind::LEADER_WORKER_SET, WorkloadKind::LeaderWorkerSet),
    ];
    match kinds.into_iter().find(|(kind, _)| *kind == scaled.kind) {
        Some((_, kind)) => Workload::new(kind, &*scaled.name),
        None => Workload::new(WorkloadKind::Other, format!("{}/{}", scaled.kind, scaled.name)),
    }
}
