//! What the cluster says of those who ask the daemon, in the words of its door.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fleetgauge_kube::Client;
use fleetgauge_kube::config_map::{ConfigMapWatch, Data};
use fleetgauge_kube::review::{Attributes, ReviewError, Reviews, Subject};
use fleetgauge_kube::watch::WatchConfig;
use fleetgauge_server::door::kubernetes::caller::{Access, Cluster, Unanswered, User, Verdict};
use fleetgauge_server::door::kubernetes::trust::Trust;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Says it.
pub(super) struct Authority {
    reviews: Reviews,
    trust: watch::Receiver<Result<Arc<Trust>, Unanswered>>,
    /// The cluster did not say what it was asked last.
    is_silent: AtomicBool,
    _reading: JoinSet<()>,
}

// === impl Authority ===

impl Authority {
    /// Within the present runtime.
    pub(super) fn start(client: &Client, config: &WatchConfig) -> Self {
        let name = "extension-apiserver-authentication";
        let config_map = ConfigMapWatch::start(client, "kube-system", name, config);
        let (sender, trust) = watch::channel(read(&config_map.data().borrow()));
        let mut reading = JoinSet::new();
        reading.spawn(follow(config_map, sender));
        Self {
            reviews: Reviews::new(client.clone()),
            trust,
            is_silent: AtomicBool::new(false),
            _reading: reading,
        }
    }
}

/// Reads what the ConfigMap says whenever it says something else. That it cannot be used is logged when that begins and when it
/// ends.
async fn follow(config_map: ConfigMapWatch, trust: watch::Sender<Result<Arc<Trust>, Unanswered>>) {
    let mut data = config_map.data();
    let mut is_unknown = false;
    while data.changed().await.is_ok() {
        let read = read(&data.borrow_and_update());
        match &read {
            Err(Unanswered(why)) if !is_unknown => {
                tracing::error!(
                    "external_metrics: whose certificates are believed is not known, and nobody is let in: {why}"
                );
            }
            Ok(_) if is_unknown => {
                tracing::info!("external_metrics: whose certificates are believed is known again")
            }
            _ => {}
        }
        is_unknown = read.is_err();
        drop(trust.send_replace(read));
    }
}

fn read(data: &Data) -> Result<Arc<Trust>, Unanswered> {
    let data = data.as_ref().map_err(|why| Unanswered(why.clone()))?;
    let trust = Trust::read(data).map_err(|error| Unanswered(error.to_string()))?;
    Ok(Arc::new(trust))
}

impl Authority {
    /// What was answered. That the cluster does not say is logged when it begins and when it ends, since whoever asks has
    /// seldom the means to mend it.
    fn answered<T>(&self, answer: Result<T, ReviewError>) -> Result<T, Unanswered> {
        match answer {
            Ok(answer) => {
                if self.is_silent.swap(false, Ordering::Relaxed) {
                    tracing::info!("external_metrics: the cluster says again who asks and what he may see");
                }
                Ok(answer)
            }
            Err(error) => {
                let text = format!("{:#}", anyhow::Error::new(error));
                if !self.is_silent.swap(true, Ordering::Relaxed) {
                    tracing::warn!("external_metrics: the cluster does not say who asks: {text}");
                }
                Err(Unanswered(text))
            }
        }
    }
}

impl Cluster for Authority {
    fn trust(&self) -> Result<Arc<Trust>, Unanswered> {
        self.trust.borrow().clone()
    }

    fn whose<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Option<User>, Unanswered>> {
        async move {
            let subject = self.answered(self.reviews.whose(token).await)?;
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
            let decision = self.answered(self.reviews.may(&subject, &attributes).await)?;
            Ok(Verdict {
                is_allowed: decision.is_allowed,
                reason: decision.reason,
            })
        }
        .boxed()
    }
}
