//! One ConfigMap, as it is and as it changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Client;
use kube::api::Api;
use kube::runtime::watcher;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::right::Right;
use crate::watch::{Change, WatchConfig, run};
use crate::watched::Failure;

/// What a ConfigMap says, or why that is not known.
pub type Data = Result<Arc<BTreeMap<String, String>>, String>;

/// The watch of a ConfigMap, which ends when it is dropped. What was said last stays through an outage.
#[derive(Debug)]
pub struct ConfigMapWatch {
    data: watch::Receiver<Data>,
    _tasks: JoinSet<()>,
}

// === impl ConfigMapWatch ===

impl ConfigMapWatch {
    /// Watches the ConfigMap `name` of `namespace`, for which rights to it alone are enough.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub fn start(client: &Client, namespace: &str, name: &str, config: &WatchConfig) -> Self {
        let of = format!("the ConfigMap {namespace}/{name}");
        let (sender, data) = watch::channel(Err(format!("{of} has not been read yet")));
        let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
        let which = watcher::Config::default().fields(&format!("metadata.name={name}"));
        let read = |map: &ConfigMap| Some(map.data.clone().unwrap_or_default());
        let none = format!("there is no ConfigMap {namespace}/{name}");
        let keep = move |change| {
            sender.send_modify(|known| match change {
                Change::All(found) => {
                    let data = found.into_iter().next();
                    *known = data.map(|(_, data)| Arc::new(data)).ok_or_else(|| none.clone());
                }
                Change::Is(_, data) => *known = Ok(Arc::new(data)),
                Change::Gone(_) => *known = Err(none.clone()),
                Change::Failed(_) if known.is_ok() => {}
                Change::Failed(
                    Failure::Absent { detail } | Failure::Forbidden { detail } | Failure::Other { detail },
                ) => *known = Err(format!("{of} cannot be read: {detail}")),
            });
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(run(api, which, config.clone(), read, keep));
        Self { data, _tasks: tasks }
    }

    /// What has to be allowed for it.
    pub fn right(namespace: &str, name: &str) -> Right {
        Right::to_watch("", "configmaps").in_namespace(namespace).of(name)
    }

    /// What it says, as it is and as it changes.
    pub fn data(&self) -> watch::Receiver<Data> {
        self.data.clone()
    }
}
