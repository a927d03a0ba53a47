//! Why something is not known of a pod. Each is another answer than "none".

use fleetgauge_core::variant::VariantRef;

use crate::object::{Kind, Owner};

/// Why it is not known who controls a pod, or which variant it belongs to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Miss {
    /// A kind has not been listed yet.
    #[error("{0} has not been listed yet")]
    NotListed(Kind),
    /// A kind may not be listed.
    #[error("{0} may not be listed")]
    Forbidden(Kind),
    /// There is no such pod.
    #[error("there is no such pod")]
    UnknownPod,
    /// Nothing controls it.
    #[error("the pod has no controller")]
    NoController,
    /// An owner of a watched kind has not been seen, or is gone.
    #[error("{} {} has not been seen", .0.kind, .0.name)]
    OwnerNotSeen(Owner),
    /// Its owners own each other.
    #[error("the owners of the pod go in a circle")]
    Circle,
    /// Nothing scales any of its owners.
    #[error("no variant scales an owner of the pod")]
    NoVariant,
    /// Several things scale its owners.
    #[error("several variants scale the owners of the pod: {}", listed(.0))]
    SeveralVariants(Vec<VariantRef>),
}

// === impl Miss ===

impl Miss {
    /// One word for the variant, bounded for use as a label value.
    pub fn reason(&self) -> &'static str {
        match self {
            Miss::NotListed(_) => "index_not_ready",
            Miss::Forbidden(_) => "forbidden",
            Miss::UnknownPod => "unknown_pod",
            Miss::NoController => "no_controller",
            Miss::OwnerNotSeen(_) => "owner_not_seen",
            Miss::Circle => "owners_in_a_circle",
            Miss::NoVariant => "no_variant",
            Miss::SeveralVariants(_) => "several_variants",
        }
    }
}

fn listed(variants: &[VariantRef]) -> String {
    let variants: Vec<_> = variants.iter().map(VariantRef::as_str).collect();
    variants.join(", ")
}
