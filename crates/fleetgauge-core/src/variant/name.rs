//! What variants, workloads and pods are called.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A variant: the namespace and name of its VariantAutoscaling resource.
///
/// Cheap to clone. Prints as `namespace/name`, and sorts by namespace, then name.
///
/// ```
/// use fleetgauge_core::variant::VariantRef;
///
/// let variant = VariantRef::new("default", "llama-8b-autoscaler")?;
/// assert_eq!(variant, "default/llama-8b-autoscaler".parse()?);
/// # Ok::<(), fleetgauge_core::variant::KubernetesNameError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct VariantRef {
    /// `namespace/name`; neither can hold a slash.
    text: Arc<str>,
    /// A namespace has 63 bytes at most.
    namespace_len: u8,
}

/// A pod, as one asks for it: its name, and its namespace where that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PodRef<'a> {
    namespace: Option<&'a str>,
    name: &'a str,
}

/// The workload that a variant scales.
///
/// A name alone stands for a Deployment, as in the Go original.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Workload {
    kind: WorkloadKind,
    name: Arc<str>,
}

/// The kind of a workload. It decides how the workload's pods are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum WorkloadKind {
    /// `apps/v1` Deployment.
    Deployment,
    /// `apps/v1` StatefulSet.
    StatefulSet,
    /// `leaderworkerset.x-k8s.io` LeaderWorkerSet: groups of pods that serve one replica of a model.
    LeaderWorkerSet,
    /// Any other that can be scaled. It tells nothing of how its pods are named: they are known by their owners alone.
    Other,
}

/// Why a text is not the name of what it should name in Kubernetes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is not a {what} name: it takes 1 to {max} of a-z 0-9 -{dots}, first and last a letter or digit", dots = if *.dots { " in parts joined by dots" } else { "" })]
pub struct KubernetesNameError {
    what: &'static str,
    name: String,
    max: usize,
    dots: bool,
}

// === impl VariantRef ===

impl VariantRef {
    /// The variant `name` in `namespace`.
    ///
    /// *Errors*: [`KubernetesNameError`] unless the namespace is an RFC 1123 label of up to 63 bytes and the
    /// name an RFC 1123 subdomain of up to 253.
    pub fn new(namespace: &str, name: &str) -> Result<Self, KubernetesNameError> {
        check_label("namespace", namespace)?;
        check_subdomain("variant", name)?;
        Ok(Self {
            text: format!("{namespace}/{name}").into(),
            namespace_len: u8::try_from(namespace.len()).unwrap_or(u8::MAX),
        })
    }

    /// The namespace.
    pub fn namespace(&self) -> &str {
        &self.text[..usize::from(self.namespace_len)]
    }

    /// The name within the namespace.
    pub fn name(&self) -> &str {
        &self.text[usize::from(self.namespace_len) + 1..]
    }

    /// Both, as `namespace/name`.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for VariantRef {
    type Err = KubernetesNameError;

    /// Reads `namespace/name`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (namespace, name) = text.split_once('/').unwrap_or(("", text));
        Self::new(namespace, name)
    }
}

impl Ord for VariantRef {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        // Not by the text as a whole: `-` sorts before `/`.
        (self.namespace(), self.name()).cmp(&(other.namespace(), other.name()))
    }
}

impl PartialOrd for VariantRef {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for VariantRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for VariantRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.text, f)
    }
}

// === impl PodRef ===

impl<'a> PodRef<'a> {
    /// The pod `name`, in a namespace that is not known.
    pub fn new(name: &'a str) -> Self {
        Self {
            namespace: None,
            name,
        }
    }

    /// The same pod in `namespace`. An empty namespace is an unknown one, as an empty label is none.
    pub fn in_namespace(self, namespace: &'a str) -> Self {
        let namespace = Some(namespace).filter(|namespace| !namespace.is_empty());
        Self { namespace, ..self }
    }

    /// The namespace, where it is known.
    pub fn namespace(&self) -> Option<&'a str> {
        self.namespace
    }

    /// The pod's name.
    pub fn name(&self) -> &'a str {
        self.name
    }
}

impl fmt::Display for PodRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(namespace) = self.namespace {
            write!(f, "{namespace}/")?;
        }
        f.write_str(self.name)
    }
}

// === impl Workload ===

impl Workload {
    /// The workload `name` of a kind. The name is checked when a variant is registered with it.
    pub fn new(kind: WorkloadKind, name: impl Into<Arc<str>>) -> Self {
        let name = name.into();
        Self { kind, name }
    }

    /// The Deployment `name`.
    pub fn deployment(name: impl Into<Arc<str>>) -> Self {
        Self::new(WorkloadKind::Deployment, name)
    }

    /// The StatefulSet `name`.
    pub fn stateful_set(name: impl Into<Arc<str>>) -> Self {
        Self::new(WorkloadKind::StatefulSet, name)
    }

    /// The LeaderWorkerSet `name`.
    pub fn leader_worker_set(name: impl Into<Arc<str>>) -> Self {
        Self::new(WorkloadKind::LeaderWorkerSet, name)
    }

    /// The kind.
    pub fn kind(&self) -> WorkloadKind {
        self.kind
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn check(&self) -> Result<(), KubernetesNameError> {
        check_subdomain(self.kind.as_str(), &self.name)
    }
}

impl From<&str> for Workload {
    fn from(name: &str) -> Self {
        Self::deployment(name)
    }
}

impl From<String> for Workload {
    fn from(name: String) -> Self {
        Self::deployment(name)
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

// === impl WorkloadKind ===

impl WorkloadKind {
    /// The kind as Kubernetes writes it, as in `.spec.scaleTargetRef.kind`.
    pub fn as_str(self) -> &'static str {
        match self {
            WorkloadKind::Deployment => "Deployment",
            WorkloadKind::StatefulSet => "StatefulSet",
            WorkloadKind::LeaderWorkerSet => "LeaderWorkerSet",
            WorkloadKind::Other => "other",
        }
    }
}

impl fmt::Display for WorkloadKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

// === names in Kubernetes ===
// Source: https://kubernetes.io/docs/concepts/overview/working-with-objects/names/

fn check_label(what: &'static str, name: &str) -> Result<(), KubernetesNameError> {
    let max = 63;
    check(name.len() <= max && is_label(name), what, name, max, false)
}

fn check_subdomain(what: &'static str, name: &str) -> Result<(), KubernetesNameError> {
    let max = 253;
    // Kubernetes does not hold the parts of a subdomain to 63 bytes each.
    let valid = name.len() <= max && name.split('.').all(is_label);
    check(valid, what, name, max, true)
}

fn check(
    valid: bool,
    what: &'static str,
    name: &str,
    max: usize,
    dots: bool,
) -> Result<(), KubernetesNameError> {
    if valid {
        return Ok(());
    }
    let name = name.chars().take(300).collect();
    Err(KubernetesNameError {
        what,
        name,
        max,
        dots,
    })
}

fn is_label(label: &str) -> bool {
    let bytes = label.as_bytes();
    let alphanumeric = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    bytes.first().is_some_and(alphanumeric)
        && bytes.last().is_some_and(alphanumeric)
        && bytes.iter().all(|b| *b == b'-' || alphanumeric(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_kubernetes_takes() {
        let long = ["a".repeat(63), "a".repeat(253)];
        for (namespace, name) in [("default", "llama-8b.v1"), ("0", "0"), (&*long[0], &*long[1])] {
            let variant = VariantRef::new(namespace, name).unwrap();
            assert_eq!((variant.namespace(), variant.name()), (namespace, name));
            assert_eq!(variant.to_string().parse(), Ok(variant));
        }
    }

    #[test]
    fn names_that_kubernetes_refuses_are_named() {
        let check = |namespace: &str, name: &str, expected: &str| {
            let error = VariantRef::new(namespace, name).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        };
        check(
            "a.b",
            "x",
            "\"a.b\" is not a namespace name: it takes 1 to 63 of a-z 0-9 -, first",
        );
        check(
            "a",
            "X",
            "\"X\" is not a variant name: it takes 1 to 253 of a-z 0-9 - in parts joined by dots,",
        );
        for bad in ["", "-", "a-", "-a", "a_b", "ä", "a b", "a/b", &"a".repeat(254)] {
            check(bad, "x", &format!("{bad:?} is not a namespace name"));
            check("default", bad, &format!("{bad:?} is not a variant name"));
        }
        check("default", "a..b", "\"a..b\" is not a variant name");
        let unqualified = "llama".parse::<VariantRef>().unwrap_err().to_string();
        assert!(
            unqualified.starts_with("\"\" is not a namespace name"),
            "{unqualified}"
        );
    }

    #[test]
    fn variants_sort_by_namespace_first() {
        let variant = |text: &str| text.parse::<VariantRef>().unwrap();
        assert!(variant("a/z") < variant("a-b/a"));
        assert!(variant("a/a") < variant("a/b"));
    }
}
