//! A pod as the labels of a target name it.

use std::fmt;

use super::join::{VARIANT_LABEL, named};
use super::{Mapping, PodRef, VariantIndex};
use crate::printable::Printable;

/// What tells a pod, and its variant, from others: the values of the labels `namespace`, `pod` and [`VARIANT_LABEL`].
///
/// ```
/// use fleetgauge_core::variant::{Mapping, PodIdentity, VariantIndex, VariantRef};
///
/// let mut index = VariantIndex::new();
/// index.register(VariantRef::new("chat", "llama-h100")?, "llama")?;
/// let labels = [("namespace", "chat"), ("pod", "llama-7d9c5b6f4-x2x9z")];
/// let pod = PodIdentity::of(|name| labels.iter().find(|label| label.0 == name).map(|label| label.1)).unwrap();
/// assert_eq!(pod.to_string(), "chat/llama-7d9c5b6f4-x2x9z");
/// assert!(matches!(pod.mapping(&index), Mapping::Mapped(_)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PodIdentity {
    namespace: Option<Box<str>>,
    name: Box<str>,
    variant: Option<Box<str>>,
}

// === impl PodIdentity ===

impl PodIdentity {
    /// The pod whose labels `get` gives, if they name one.
    pub fn of<'a>(get: impl Fn(&str) -> Option<&'a str>) -> Option<Self> {
        Some(Self {
            namespace: get("namespace").map(Box::from),
            name: get("pod")?.into(),
            variant: get(VARIANT_LABEL).map(Box::from),
        })
    }

    /// The variant that it belongs to.
    pub fn mapping(&self, index: &VariantIndex) -> Mapping {
        let namespace = self.namespace.as_deref();
        match self.variant.as_deref().map(|variant| named(variant, namespace)) {
            Some(Ok(variant)) => Mapping::Mapped(variant),
            Some(Err(reason)) => Mapping::Unmapped(reason),
            None => index.variant_for(PodRef::new(&self.name).in_namespace(namespace.unwrap_or_default())),
        }
    }
}

/// `namespace/pod`.
impl fmt::Display for PodIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(namespace) = &self.namespace {
            write!(f, "{}/", Printable(namespace))?;
        }
        write!(f, "{}", Printable(&self.name))
    }
}
