//! What the cluster says of those who ask the daemon, in the words of its door.

use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};

use fleetgauge_kube::Client;
use fleetgauge_kube::config_map::{ConfigMapWatch, Data};
use fleetgauge_kube::review::{Attributes, ReviewError, Reviews, Subject};
use fleetgauge_kube::watch::WatchConfig;
use fleetgauge_server::door::kubernetes::caller::{Access, Cluster, Unanswered, User, Verdict};
use fleetgauge_server::door::kubernetes::trust::Trust;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

/// Says it.
pub(super) struct Authority {
    reviews: Reviews,
    config_map: ConfigMapWatch,
    trust: Mutex<Option<LastTrust>>,
}

/// What was read last, and what was made of it.
struct LastTrust {
    of: Data,
    trust: Result<Arc<Trust>, Unanswered>,
}

// === impl Authority ===

impl Authority {
    pub(super) fn start(client: &Client, config: &WatchConfig) -> Self {
        let name = "extension-apiserver-authentication";
        Self {
            reviews: Reviews::new(client.clone()),
            config_map: ConfigMapWatch::start(client, "kube-system", name, config),
            trust: Mutex::default(),
        }
    }
}

impl Cluster for Authority {
    fn trust(&self) -> Result<Arc<Trust>, Unanswered> {
        let data = self.config_map.data().borrow().clone();
        let mut known = self.trust.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = known.as_ref().filter(|last| last.of == data) {
            return last.trust.clone();
        }
        let trust = match &data {
            Ok(data) => Trust::read(data).map(Arc::new).map_err(|error| error.to_string()),
            Err(error) => Err(error.clone()),
        };
        if let Err(error) = &trust {
            tracing::warn!("whose certificates external_metrics believes is not known: {error}");
        }
        let trust = trust.map_err(Unanswered);
        *known = Some(LastTrust {
            of: data,
            trust: trust.clone(),
        });
        trust
    }

    fn whose<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Option<User>, Unanswered>> {
        async move {
            let subject = self.reviews.whose(token).await.map_err(unanswered)?;
            Ok(subject.map(|subject| User {
                name: subject.name,
                uid: subject.uid,
                groups: subject.groups,
                extra: subject.extra,
            }))
        }
        .boxed()
    }

    fn may<'a>(&'a self, user: &'a User, what: &'a Access) -> BoxFuture<'a, Result<Verdict, Unanswered>> {
        let subject = Subject {
            name: user.name.clone(),
            uid: user.uid.clone(),
            groups: user.groups.clone(),
            extra: user.extra.clone(),
        };
        let attributes = match what {
            Access::Page { path } => Attributes::Page { path: path.clone() },
            Access::Resource {
                verb,
                group,
                version,
                namespace,
                resource,
                name,
                subresource,
            } => Attributes::Resource {
                verb: (*verb).to_owned(),
                group: (*group).to_owned(),
                version: (*version).to_owned(),
                namespace: namespace.clone(),
                resource: resource.clone(),
                name: name.clone(),
                subresource: subresource.clone(),
            },
        };
        async move {
            let decision = self
                .reviews
                .may(&subject, &attributes)
                .await
                .map_err(unanswered)?;
            Ok(Verdict {
                is_allowed: decision.is_allowed,
                reason: decision.reason,
            })
        }
        .boxed()
    }
}

/// Logged, since whoever asks has seldom the means to mend it.
fn unanswered(error: ReviewError) -> Unanswered {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    tracing::warn!("external_metrics: {text}");
    Unanswered(text)
}
