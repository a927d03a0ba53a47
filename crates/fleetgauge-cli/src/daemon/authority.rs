//! The cluster that is asked who may come in, which may be another one after the configuration was read anew.

use std::sync::Arc;

use std::sync::{PoisonError, RwLock};

use fleetgauge_server::door::kubernetes::caller::{Access, Cluster, Unanswered, User, Verdict};
use fleetgauge_server::door::kubernetes::trust::Trust;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

/// Whatever cluster the configuration names.
///
/// Cheap to clone; clones are of the same cluster.
#[derive(Clone, Default)]
pub(super) struct Authority(Arc<RwLock<Option<Arc<dyn Cluster>>>>);

// === impl Authority ===

impl Authority {
    /// Asks this one from now on.
    pub(super) fn renew(&self, cluster: Option<Arc<dyn Cluster>>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = cluster;
    }

    fn now(&self) -> Result<Arc<dyn Cluster>, Unanswered> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let none = || Unanswered("the configuration names no cluster".to_owned());
        known.clone().ok_or_else(none)
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
