//! What is kept of an object: a cluster has many, and little of each is of use here.

use std::borrow::Cow;
use std::fmt;

use fleetgauge_core::time::Moment;
use fleetgauge_core::variant::Replicas;

/// What kind of object something is, as owner references tell it: without a version, which may differ between them and
/// the watch.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kind {
    /// The API group; empty for the core's.
    pub group: Cow<'static, str>,
    /// The kind, such as `ReplicaSet`.
    pub name: Cow<'static, str>,
}

/// An object, as far as owners are concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its UID, which no other object ever has, whatever its name.
    pub uid: Box<str>,
    /// Its namespace; empty for an object without one.
    pub namespace: Box<str>,
    /// Its name.
    pub name: Box<str>,
    /// The one among its owners that controls it.
    pub controller: Option<Owner>,
    /// Of a pod, whether numbers are expected of it; of what makes pods, whether it is to have any (`Serving`) or not (`Ending`).
    pub state: PodState,
    /// Of a pod, when it has become ready, if that was seen.
    pub ready_since: Option<Moment>,
    /// Of a pod, the variant that its label names.
    pub variant: Option<Box<str>>,
    /// Of what makes pods, how many it is to have, and has.
    pub replicas: Option<Replicas>,
}

/// Whether numbers are expected of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PodState {
    /// They are: it has been ready.
    #[default]
    Serving,
    /// Not yet, since it has not been ready so far, for this reason.
    Starting(Box<str>),
    /// No longer: it is being deleted, or has finished.
    Ending,
}

/// An object, as those that it controls name it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Owner {
    /// What it is.
    pub kind: Kind,
    /// Its name, in the namespace of what it controls.
    pub name: Box<str>,
    /// Its UID.
    pub uid: Box<str>,
}

// === impl Kind ===

impl Kind {
    /// A pod.
    pub const POD: Self = Self::known("", "Pod");
    /// What makes the pods of a Deployment.
    pub const REPLICA_SET: Self = Self::known("apps", "ReplicaSet");
    /// A StatefulSet.
    pub const STATEFUL_SET: Self = Self::known("apps", "StatefulSet");
    /// A Deployment.
    pub const DEPLOYMENT: Self = Self::known("apps", "Deployment");
    /// A Job.
    pub const JOB: Self = Self::known("batch", "Job");
    /// Groups of pods, each of which serves one replica of a model.
    pub const LEADER_WORKER_SET: Self = Self::known("leaderworkerset.x-k8s.io", "LeaderWorkerSet");
    /// What Kubernetes itself scales workloads by.
    pub const HORIZONTAL_POD_AUTOSCALER: Self = Self::known("autoscaling", "HorizontalPodAutoscaler");
    /// What KEDA scales workloads by.
    pub const SCALED_OBJECT: Self = Self::known("keda.sh", "ScaledObject");
    /// The variants of llm-d, where it has a kind of its own for them.
    pub const VARIANT_AUTOSCALING: Self = Self::known("llmd.ai", "VariantAutoscaling");

    const fn known(group: &'static str, name: &'static str) -> Self {
        Self {
            group: Cow::Borrowed(group),
            name: Cow::Borrowed(name),
        }
    }

    /// Of an `apiVersion`, such as `apps/v1` or `v1`, and a kind.
    pub fn of(api_version: &str, name: &str) -> Self {
        const KNOWN: [Kind; 4] = [Kind::REPLICA_SET, Kind::STATEFUL_SET, Kind::DEPLOYMENT, Kind::JOB];
        let (group, _) = api_version.split_once('/').unwrap_or(("", api_version));
        // Most of a cluster's pods name one of these, and each would have a copy of its name.
        let known = KNOWN
            .into_iter()
            .find(|known| known.group == group && known.name == name);
        known.unwrap_or_else(|| Self {
            group: Cow::Owned(group.to_owned()),
            name: Cow::Owned(name.to_owned()),
        })
    }

    /// Whether every cluster has it: a group without a dot is Kubernetes' own, and none of anybody else's may be.
    pub fn is_built_in(&self) -> bool {
        !self.group.contains('.')
    }
}

/// As Kubernetes writes it, `ReplicaSet.apps`.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        Ok(())
    }
}
