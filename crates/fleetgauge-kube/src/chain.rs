//! What is the same for all pods of a controller: the chain of its owners, and what scales one of them.
//!
//! A cluster has twenty pods a controller and more, and whoever joins an answer, or counts the pods of all variants, asks for each
//! of them.

use std::cell::RefCell;

use fleetgauge_core::variant::{Mapping, VariantRef};

use crate::cluster::ClusterIndex;
use crate::miss::Miss;
use crate::object::{Object, Owner};
use crate::watched::Map;

/// What has been found out of one index while nobody changes it.
#[derive(Debug, Default)]
pub(crate) struct Chains {
    /// By the controller's UID.
    known: RefCell<Map<Box<str>, Chain>>,
}

/// What is known of those that a controller controls.
#[derive(Clone, Debug)]
pub(crate) struct Chain {
    /// The namespace of the pods, and the controller as they name it: they may name any UID.
    of: (Box<str>, Option<Owner>),
    /// The variant in the cluster, or why none is known.
    pub(crate) scaled: Result<VariantRef, Broken>,
    /// The variant of the configuration.
    pub(crate) configured: Mapping,
}

/// Where a chain ends without a variant.
#[derive(Clone, Debug)]
pub(crate) enum Broken {
    /// It is not known who its owners are.
    Owners(Miss),
    /// They are known, and what scales them is not.
    Scaler(Miss),
}

// === impl Chains ===

impl Chains {
    /// Shows the chain above a pod; `configured` tells what the configuration makes of owners.
    pub(crate) fn of<R>(
        &self,
        index: &ClusterIndex,
        pod: &Object,
        configured: impl FnOnce(&[&Owner]) -> Mapping,
        show: impl FnOnce(&Chain) -> R,
    ) -> R {
        let controller = pod.controller.as_ref();
        if let Some(controller) = controller
            && let Some(chain) = self.known.borrow().get(&controller.uid)
            && chain.of.0 == pod.namespace
            && chain.of.1.as_ref() == Some(controller)
        {
            return show(chain);
        }
        let owners = index
            .owners
            .above(pod)
            .and_then(|owners| match owners.is_empty() {
                true => Err(Miss::NoController),
                false => Ok(owners),
            });
        let scaled = match &owners {
            Ok(owners) => {
                let variant = index.scalers.variant(&pod.namespace, owners);
                variant.cloned().map_err(Broken::Scaler)
            }
            Err(miss) => Err(Broken::Owners(miss.clone())),
        };
        let chain = Chain {
            of: (pod.namespace.clone(), controller.cloned()),
            scaled,
            configured: configured(&owners.unwrap_or_default()),
        };
        let shown = show(&chain);
        if let Some(controller) = controller {
            self.known.borrow_mut().insert(controller.uid.clone(), chain);
        }
        shown
    }
}
