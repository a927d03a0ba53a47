//! Whether kinds and workloads are there that are named.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use fleetgauge_core::variant::WorkloadKind;
use fleetgauge_kube::survey::{Survey, SurveyError};
use fleetgauge_kube::watch::WatchConfig;
use fleetgauge_server::variant::Variant;

use super::report::Report;
use crate::config::Config;

/// Something that is scaled, as it is named.
pub(super) struct Target {
    pub(super) namespace: String,
    pub(super) api_version: String,
    pub(super) kind: String,
    pub(super) name: String,
}

/// The kinds of a cluster, which are looked up once.
pub(super) struct Kinds {
    survey: Survey,
    /// By group and version: the names of kinds in paths, by kind; `None` where there is no such version.
    known: Mutex<BTreeMap<String, Option<BTreeMap<String, String>>>>,
}

// === impl Target ===

impl Target {
    /// The workload of a variant of the configuration.
    pub(super) fn configured(variant: &Variant) -> Self {
        let (api_version, kind) = match variant.workload.kind() {
            WorkloadKind::Deployment => ("apps/v1", "Deployment"),
            WorkloadKind::StatefulSet => ("apps/v1", "StatefulSet"),
            WorkloadKind::LeaderWorkerSet => ("leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet"),
            _ => ("", ""),
        };
        Self {
            namespace: variant.variant.namespace().to_owned(),
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            name: variant.workload.name().to_owned(),
        }
    }
}

// === impl Kinds ===

impl Kinds {
    pub(super) fn new(survey: Survey) -> Self {
        Self {
            survey,
            known: Mutex::default(),
        }
    }

    /// The names in paths of the kinds of a version.
    async fn of(&self, api_version: &str) -> Result<Option<BTreeMap<String, String>>, SurveyError> {
        let known = self
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(api_version)
            .cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let page = self.survey.get(&root(api_version)).await?;
        let kinds = page.map(|page| {
            let resources = page.body["resources"].as_array().cloned().unwrap_or_default();
            let named = resources.iter().filter_map(|resource| {
                let name = resource["name"].as_str()?;
                (!name.contains('/'))
                    .then(|| Some((resource["kind"].as_str()?.to_owned(), name.to_owned())))?
            });
            named.collect::<BTreeMap<_, _>>()
        });
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(api_version.to_owned(), kinds.clone());
        Ok(kinds)
    }

    /// Kinds that the configuration asks for by name have to be there.
    pub(super) async fn examine(&self, watched: &WatchConfig, config: &Config, report: &mut Report) {
        let names = config
            .kubernetes
            .as_ref()
            .is_some_and(|section| section.kinds.is_some());
        if !names {
            return;
        }
        for scaler in &watched.scalers {
            let (path, _) = scaler.place();
            let kind = &scaler.kind().name;
            let subject = "kubernetes.variant_kinds";
            match self.of(path.trim_start_matches("/apis/")).await {
                Ok(Some(kinds)) if kinds.contains_key(&**kind) => {}
                Ok(_) => report.warning(
                    subject,
                    format!(
                        "the cluster has no kind {}: there are no variants by it",
                        scaler.kind()
                    ),
                    "install what brings it, or leave it out of variant_kinds",
                ),
                Err(error) => report.unread(subject, &error),
            }
        }
    }

    /// What `subject` scales has to be there.
    pub(super) async fn examine_workload(&self, subject: &str, target: &Target, report: &mut Report) {
        let Target {
            namespace,
            api_version,
            kind,
            name,
        } = target;
        // One of the configuration whose kind has no name there.
        if kind.is_empty() {
            return;
        }
        let plural = match self.of(api_version).await {
            Ok(kinds) => kinds.and_then(|kinds| kinds.get(kind).cloned()),
            Err(error) => return report.unread(&format!("kinds of {api_version}"), &error),
        };
        let Some(plural) = plural else {
            return report.error(
                subject,
                format!("it scales the {kind} {name}, and the cluster has no kind {kind} in {api_version}"),
                "correct apiVersion and kind, or install what brings them",
            );
        };
        let path = format!("{}/namespaces/{namespace}/{plural}/{name}", root(api_version));
        match self.survey.get(&path).await {
            Ok(Some(_)) => {}
            Ok(None) => report.error(
                subject,
                format!("it scales the {kind} {name}, which is not there in the namespace {namespace}"),
                "correct the name, or make it: until then its number is withheld, and not 0",
            ),
            Err(error) => report.unread(&format!("{plural} of {namespace}"), &error),
        }
    }
}

/// The path of a version of a group.
fn root(api_version: &str) -> String {
    match api_version.contains('/') {
        true => format!("/apis/{api_version}"),
        false => format!("/api/{api_version}"),
    }
}
