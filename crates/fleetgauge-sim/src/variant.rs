//! What is simulated: a variant, that is a scaled workload of equal pods.

use std::fmt;

use crate::dice::Dice;
use crate::fault::Script;
use crate::load::{Load, Shape};
use crate::scheduler::Limits;

/// What a variant's pods run.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EngineKind {
    /// vLLM with this many data-parallel ranks (label `engine`).
    Vllm {
        /// At least 1.
        ranks: u32,
    },
    /// SGLang with this many data-parallel ranks (label `dp_rank`).
    Sglang {
        /// At least 1.
        ranks: u32,
    },
    /// TensorRT-LLM (`trtllm-serve`).
    TensorRtLlm,
    /// An endpoint picker: it routes the requests of another variant to that one's pods. Its first replica
    /// leads; while that is dead, requests reach the pods by chance.
    Epp {
        /// Name of the variant that it routes for, in the same namespace.
        pool: String,
    },
}

/// The kind of the object that keeps the pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WorkloadKind {
    /// Pods are named `<name>-<hash of the template>-<five letters>`.
    Deployment,
    /// Pods are named `<name>-<ordinal>`.
    StatefulSet,
    /// Groups of pods of which the leader serves; leaders are named `<name>-<ordinal>`.
    LeaderWorkerSet,
}

/// The object that keeps the pods.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Workload {
    /// Its kind.
    pub kind: WorkloadKind,
    /// Its name.
    pub name: String,
}

/// A scaled workload of equal pods.
///
/// ```
/// use fleetgauge_sim::{EngineKind, Load, Variant};
///
/// let variant = Variant::new("chat", "llama", EngineKind::Vllm { ranks: 1 }, "meta-llama/Llama-3.1-8B-Instruct")
///     .with_replicas(3)
///     .with_load(Load::Steady { rate: 4.0 });
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Variant {
    /// Where it lives.
    pub namespace: String,
    /// Its name, unique in its namespace.
    pub name: String,
    /// What keeps its pods; by default a Deployment of the variant's name.
    pub workload: Workload,
    /// What its pods run.
    pub engine: EngineKind,
    /// The model that it serves.
    pub model: String,
    /// How many pods; by default 1.
    pub replicas: usize,
    /// How often it is asked. Without meaning for an endpoint picker.
    pub load: Load,
    /// What it is asked. Without meaning for an endpoint picker.
    pub shape: Shape,
    /// What one rank of a pod can do. Without meaning for an endpoint picker.
    pub limits: Limits,
    /// Whether its pages are compressed for those who ask; by default they are.
    pub gzip: bool,
    /// Faults by schedule: replica, and what happens to it.
    pub scripts: Vec<(usize, Script)>,
}

// === impl EngineKind ===

/// As in `vllm`.
impl fmt::Display for EngineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Vllm { .. } => "vllm",
            Self::Sglang { .. } => "sglang",
            Self::TensorRtLlm => "trtllm",
            Self::Epp { .. } => "epp",
        })
    }
}

// === impl WorkloadKind ===

/// As Kubernetes writes it.
impl fmt::Display for WorkloadKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::LeaderWorkerSet => "LeaderWorkerSet",
        })
    }
}

// === impl Workload ===

/// As in `Deployment/llama`.
impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}

impl Workload {
    /// The names of its first pods. Those of a Deployment are drawn.
    pub(crate) fn pod_names(&self, count: usize, dice: &mut Dice) -> Vec<String> {
        let hash = dice.template_hash();
        let name = |ordinal| match self.kind {
            WorkloadKind::Deployment => format!("{}-{hash}-{}", self.name, dice.suffix(5)),
            WorkloadKind::StatefulSet | WorkloadKind::LeaderWorkerSet => format!("{}-{ordinal}", self.name),
        };
        (0..count).map(name).collect()
    }

    /// Another name for the pod `name`, as its replacement gets it; `None` if it would keep its name.
    pub(crate) fn renamed(&self, name: &str, dice: &mut Dice) -> Option<String> {
        match self.kind {
            WorkloadKind::Deployment => {
                let (stem, _) = name.rsplit_once('-')?;
                Some(format!("{stem}-{}", dice.suffix(5)))
            }
            WorkloadKind::StatefulSet | WorkloadKind::LeaderWorkerSet => None,
        }
    }
}

// === impl Variant ===

impl Variant {
    /// One replica in a Deployment of the same name, with the default load.
    pub fn new(
        namespace: impl Into<String>,
        name: impl Into<String>,
        engine: EngineKind,
        model: impl Into<String>,
    ) -> Self {
        let name = name.into();
        Self {
            namespace: namespace.into(),
            workload: Workload {
                kind: WorkloadKind::Deployment,
                name: name.clone(),
            },
            name,
            engine,
            model: model.into(),
            replicas: 1,
            load: Load::default(),
            shape: Shape::default(),
            limits: Limits::default(),
            gzip: true,
            scripts: Vec::new(),
        }
    }

    /// What keeps its pods.
    #[must_use]
    pub fn with_workload(mut self, kind: WorkloadKind, name: impl Into<String>) -> Self {
        self.workload = Workload {
            kind,
            name: name.into(),
        };
        self
    }

    fleetgauge_core::setters! {
        /// How many pods.
        with_replicas(replicas: usize) => replicas = replicas;
        /// How often it is asked.
        with_load(load: Load) => load = load;
        /// What it is asked.
        with_shape(shape: Shape) => shape = shape;
        /// What one rank of a pod can do.
        with_limits(limits: Limits) => limits = limits;
        /// Whether pages are compressed for those who ask. Not, to measure collectors: compressing costs the pod
        /// more than all else.
        with_gzip(gzip: bool) => gzip = gzip;
    }

    /// What happens to one of its replicas, counted from the fleet's start. A replica that there isn't has
    /// no script.
    #[must_use]
    pub fn with_script(mut self, replica: usize, script: Script) -> Self {
        self.scripts.push((replica, script));
        self
    }

    pub(crate) fn ranks(&self) -> u32 {
        match self.engine {
            EngineKind::Vllm { ranks } | EngineKind::Sglang { ranks } => ranks.max(1),
            EngineKind::TensorRtLlm => 1,
            EngineKind::Epp { .. } => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_are_named_as_their_controllers_do() {
        let mut dice = Dice::new(1, "names");
        let variant = Variant::new("ns", "llama", EngineKind::TensorRtLlm, "m");
        let names = variant.workload.pod_names(2, &mut dice);
        let parts: Vec<Vec<&str>> = names.iter().map(|name| name.split('-').collect()).collect();
        assert_eq!((parts[0][0], parts[0][2].len()), ("llama", 5));
        let is_hash =
            |part: &str| (1..=10).contains(&part.len()) && part.chars().all(|c| "456789bcdf".contains(c));
        assert!(is_hash(parts[0][1]), "{names:?}");
        assert_eq!(parts[0][1], parts[1][1]);
        assert_ne!(parts[0][2], parts[1][2]);
        let renamed = variant.workload.renamed(&names[0], &mut dice).unwrap();
        assert!(renamed != names[0] && renamed.starts_with(&format!("llama-{}-", parts[0][1])));

        let set = variant.with_workload(WorkloadKind::StatefulSet, "big").workload;
        assert_eq!(set.pod_names(2, &mut dice), ["big-0", "big-1"]);
        assert_eq!(set.renamed("big-0", &mut dice), None);
    }
}
