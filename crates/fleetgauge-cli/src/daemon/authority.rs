//! The cluster that is asked who may come in, and which pods have which labels. It may be another one after the
//! configuration was read anew.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use fleetgauge_server::door::kubernetes::caller::{Access, Cluster, Unanswered, User, Verdict};
use fleetgauge_server::door::kubernetes::pods::{Pod, PodLabels, PodsUnknown};
use fleetgauge_server::door::kubernetes::trust::Trust;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

/// Whatever cluster the configuration names.
///
/// Cheap to clone; clones are of the same cluster.
#[derive(Clone, Default)]
pub(super) struct Authority(Arc<RwLock<Option<Asked>>>);

/// What is asked of a cluster.
#[derive(Clone)]
struct Asked {
    cluster: Arc<dyn Cluster>,
    pods: Arc<dyn PodLabels>,
}

// === impl Authority ===

impl Authority {
    /// Asks this one from now on.
    pub(super) fn renew(&self, cluster: Option<&crate::cluster::Cluster>) {
        let asked = cluster.map(|cluster| Asked {
            cluster: cluster.authority(),
            pods: cluster.pod_labels(),
        });
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = asked;
    }

    fn asked(&self) -> Result<Asked, String> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known
            .clone()
            .ok_or_else(|| "the configuration names no cluster".to_owned())
    }

    fn now(&self) -> Result<Arc<dyn Cluster>, Unanswered> {
        self.asked().map(|asked| asked.cluster).map_err(Unanswered)
    }
}

impl PodLabels for Authority {
    fn select(
        &self,
        namespace: &str,
        is_selected: &dyn Fn(&BTreeMap<String, String>) -> bool,
    ) -> Result<Vec<Pod>, PodsUnknown> {
        let pods = self.asked().map_err(PodsUnknown)?.pods;
        pods.select(namespace, is_selected)
    }
}

impl Cluster for Authority {
    fn trust(&self) -> Result<Arc<Trust>, Unanswered> {
        self.now()?.trust()
    }

    fn whose<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Option<User>, Unanswered>> {
        async move { self.now()?.whose(token).await }.boxed()
    }

    fn may<'a>(&'a self, user: &'a User, what: &'a Access) -> BoxFuture<'a, Result<Verdict, Unanswered>> {
        async move { self.now()?.may(user, what).await }.boxed()
    }
}
