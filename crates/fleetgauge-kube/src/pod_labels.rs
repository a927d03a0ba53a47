//! The pods of a cluster by their own labels, as whoever selects pods asks for them.
//!
//! Until all of them have been listed once, none is known, which is not "there are none". An outage keeps what was known.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use k8s_openapi::api::core::v1::Pod;
use kube::api::Api;
use kube::runtime::watcher;
use kube::{Client, ResourceExt as _};
use tokio::task::JoinSet;

use crate::watch::{Change, WatchConfig, run};
use crate::watched::Failure;

/// The watch of all pods, which ends when it is dropped.
#[derive(Debug)]
pub struct PodLabelsWatch {
    known: Arc<RwLock<Known>>,
    _tasks: JoinSet<()>,
}

/// A pod that was selected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelectedPod {
    /// Its name.
    pub name: String,
    /// Whether it runs and was ready once, so that it should have something to tell.
    pub is_expected: bool,
}

type Labels = BTreeMap<String, String>;

#[derive(Debug)]
struct Known {
    /// Why they are not known.
    unknown: Option<String>,
    /// By UID.
    pods: HashMap<Box<str>, Found>,
}

/// What is kept of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Found {
    namespace: Box<str>,
    name: Box<str>,
    labels: Labels,
    /// It runs, and is not about to end.
    is_running: bool,
    was_ready: bool,
}

// === impl PodLabelsWatch ===

impl PodLabelsWatch {
    /// Watches the pods of all namespaces.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub fn start(client: &Client, config: &WatchConfig) -> Self {
        let known = Arc::new(RwLock::new(Known::default()));
        let kept = known.clone();
        let keep = move |change| kept.write().unwrap_or_else(PoisonError::into_inner).keep(change);
        let api: Api<Pod> = Api::all(client.clone());
        let mut tasks = JoinSet::new();
        let which = watcher::Config::default();
        tasks.spawn(run(api, which, config.clone(), Found::read, keep));
        Self { known, _tasks: tasks }
    }

    /// The pods of `namespace` of which `is_selected` takes the labels, but those that have finished.
    ///
    /// # Errors
    /// When the pods are not known, and why.
    pub fn select(
        &self,
        namespace: &str,
        is_selected: &dyn Fn(&BTreeMap<String, String>) -> bool,
    ) -> Result<Vec<SelectedPod>, String> {
        self.known
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .select(namespace, is_selected)
    }
}

// === impl Known ===

impl Known {
    fn select(
        &self,
        namespace: &str,
        is_selected: &dyn Fn(&BTreeMap<String, String>) -> bool,
    ) -> Result<Vec<SelectedPod>, String> {
        if let Some(why) = &self.unknown {
            return Err(why.clone());
        }
        let here = self.pods.values().filter(|pod| *pod.namespace == *namespace);
        let selected = here
            .filter(|pod| is_selected(&pod.labels))
            .map(|pod| SelectedPod {
                name: pod.name.to_string(),
                is_expected: pod.is_running && pod.was_ready,
            });
        let mut selected: Vec<_> = selected.collect();
        selected.sort_by(|a, b| a.name.cmp(&b.name));
        // One of a name that came back counts, and not the one before that is on its way out.
        selected.sort_by_key(|pod| !pod.is_expected);
        let mut names = std::collections::HashSet::new();
        selected.retain(|pod| names.insert(pod.name.clone()));
        selected.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(selected)
    }

    fn keep(&mut self, change: Change<Found>) {
        match change {
            Change::All(found) => {
                let before = std::mem::take(&mut self.pods);
                let was_ready = |uid: &str| before.get(uid).is_some_and(|pod| pod.was_ready);
                let found = found.into_iter().map(|(uid, mut pod)| {
                    pod.was_ready |= was_ready(&uid);
                    (uid, pod)
                });
                self.pods = found.collect();
                self.unknown = None;
            }
            Change::Is(uid, mut pod) => {
                pod.was_ready |= self.pods.get(&uid).is_some_and(|before| before.was_ready);
                self.pods.insert(uid, pod);
            }
            Change::Gone(uid) => {
                self.pods.remove(&*uid);
            }
            Change::Failed(
                Failure::Absent { detail } | Failure::Forbidden { detail } | Failure::Other { detail },
            ) => {
                if let Some(why) = &mut self.unknown {
                    *why = format!("pods cannot be listed: {detail}");
                }
            }
        }
    }
}

impl Default for Known {
    fn default() -> Self {
        Self {
            unknown: Some("pods have not been listed yet".to_owned()),
            pods: HashMap::new(),
        }
    }
}

// === impl Found ===

impl Found {
    /// `None` for a pod that has finished.
    fn read(pod: &Pod) -> Option<Self> {
        let status = pod.status.as_ref();
        let phase = status.and_then(|status| status.phase.as_deref());
        if matches!(phase, Some("Succeeded" | "Failed")) {
            return None;
        }
        let mut conditions = status
            .iter()
            .flat_map(|status| status.conditions.iter().flatten());
        Some(Self {
            namespace: pod.namespace()?.into(),
            name: pod.name_any().into(),
            labels: pod.labels().clone(),
            is_running: phase == Some("Running") && pod.metadata.deletion_timestamp.is_none(),
            was_ready: conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True"),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(name: &str, app: &str, phase: &str, is_ready: bool) -> Option<Found> {
        let ready = if is_ready { "True" } else { "False" };
        let pod = json!({
            "metadata": {"namespace": "chat", "name": name, "labels": {"app": app}},
            "status": {"phase": phase, "conditions": [{"type": "Ready", "status": ready}]},
        });
        Found::read(&serde_json::from_value(pod).unwrap())
    }

    fn selected(known: &Known, app: &str) -> Result<Vec<(String, bool)>, String> {
        let is_selected = |labels: &BTreeMap<String, String>| labels.get("app").is_some_and(|one| one == app);
        let selected = known.select("chat", &is_selected)?.into_iter();
        Ok(selected.map(|pod| (pod.name, pod.is_expected)).collect())
    }

    fn names(pods: &[(&str, bool)]) -> Result<Vec<(String, bool)>, String> {
        Ok(pods
            .iter()
            .map(|(name, expected)| ((*name).to_owned(), *expected))
            .collect())
    }

    #[test]
    fn pods_are_known_once_they_were_listed_and_expected_once_they_were_ready() {
        let mut known = Known::default();
        assert_eq!(
            selected(&known, "a"),
            Err("pods have not been listed yet".to_owned())
        );
        let refused = || {
            let detail = "pods is forbidden".to_owned();
            Change::Failed(Failure::Forbidden { detail })
        };
        known.keep(refused());
        assert_eq!(
            selected(&known, "a"),
            Err("pods cannot be listed: pods is forbidden".to_owned())
        );
        let found = [
            ("1", pod("a-0", "a", "Running", true)),
            ("2", pod("a-1", "a", "Pending", false)),
            ("3", pod("b-0", "b", "Running", true)),
        ];
        let found = found.map(|(uid, pod)| (uid.into(), pod.unwrap()));
        known.keep(Change::All(found.into()));
        known.keep(refused());
        assert_eq!(selected(&known, "a"), names(&[("a-0", true), ("a-1", false)]));
        assert_eq!(known.select("elsewhere", &|_| true), Ok(Vec::new()));
        // It was ready, and is missed from now on.
        known.keep(Change::Is("1".into(), pod("a-0", "a", "Running", false).unwrap()));
        assert_eq!(selected(&known, "a"), names(&[("a-0", true), ("a-1", false)]));
        let again = [
            ("1", pod("a-0", "a", "Running", false)),
            ("2", pod("a-1", "a", "Running", true)),
        ];
        let again = again.map(|(uid, pod)| (uid.into(), pod.unwrap()));
        known.keep(Change::All(again.into()));
        assert_eq!(selected(&known, "a"), names(&[("a-0", true), ("a-1", true)]));
        // Another one of the same name was never ready; the one before is on its way out.
        known.keep(Change::Is("4".into(), pod("a-0", "a", "Pending", false).unwrap()));
        assert_eq!(selected(&known, "a"), names(&[("a-0", true), ("a-1", true)]));
        known.keep(Change::Gone("1".to_owned()));
        assert_eq!(selected(&known, "a"), names(&[("a-0", false), ("a-1", true)]));
        assert_eq!(pod("a-2", "a", "Succeeded", false), None);
        assert_eq!(selected(&known, "b"), names(&[]), "it was not listed again");
    }
}
