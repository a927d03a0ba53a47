//! What is the same for all pods of a controller: the chain of its owners, and what scales one of them.
//!
//! A cluster has twenty pods a controller and more, and whoever joins an answer, or counts the pods of all variants, asks for each
//! of them. What was found out once is kept for as long as nothing that it was found in changes; whoever reads it waits for nobody.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use fleetgauge_core::variant::{Mapping, VariantRef};

use crate::miss::Miss;
use crate::object::Owner;
use crate::version::Version;

/// The pods of a controller in a namespace.
#[derive(Debug)]
pub(crate) struct Siblings {
    pub(crate) namespace: Box<str>,
    /// The controller as they name it: they may name any UID.
    pub(crate) controller: Option<Owner>,
    /// No others of the same index have it.
    pub(crate) number: usize,
}

/// What is known of those that a controller controls.
#[derive(Debug)]
pub(crate) struct Chain {
    /// The variant in the cluster, or why none is known.
    pub(crate) scaled: Result<VariantRef, Broken>,
    /// The variant of the configuration.
    pub(crate) configured: Mapping,
    /// Where pods are among the owners, as the leader of a group is: which pods there were.
    pub(crate) pods: Option<Version>,
}

/// Where a chain ends without a variant.
#[derive(Clone, Debug)]
pub(crate) enum Broken {
    /// It is not known who its owners are.
    Owners(Miss),
    /// They are known, and what scales them is not.
    Scaler(Miss),
}

/// All that chains are found in but pods: of an index, what controls controllers, who has which number, and what scales.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sources {
    pub(crate) controllers: Version,
    pub(crate) numbers: Version,
    pub(crate) scalers: Version,
}

/// Chains that have been found out, by the numbers of siblings.
#[derive(Debug)]
pub(crate) struct Chains {
    of: Sources,
    known: Box<[OnceLock<Chain>]>,
    /// A chain was met that other pods were in.
    is_stale: AtomicBool,
}

// === impl Chains ===

impl Chains {
    /// None yet, of siblings whose numbers are less than `count`.
    pub(crate) fn new(of: Sources, count: usize) -> Self {
        Self {
            of,
            known: (0..count).map(|_| OnceLock::new()).collect(),
            is_stale: AtomicBool::new(false),
        }
    }

    /// Whether they can be those of these sources.
    pub(crate) fn are_of(&self, sources: &Sources) -> bool {
        self.of == *sources && !self.is_stale.load(Ordering::Relaxed)
    }

    /// Shows the chain above siblings: the one that is known, if there are the same `pods`, or the one that is found out.
    pub(crate) fn show<R>(
        &self,
        siblings: &Siblings,
        pods: &Version,
        find_out: impl FnOnce() -> Chain,
        show: impl FnOnce(&Chain) -> R,
    ) -> R {
        let place = self.known.get(siblings.number);
        match place.and_then(OnceLock::get) {
            Some(chain) if chain.pods.as_ref().is_none_or(|of| of == pods) => return show(chain),
            Some(_) => self.is_stale.store(true, Ordering::Relaxed),
            None => {}
        }
        let chain = find_out();
        let shown = show(&chain);
        if let Some(place) = place {
            // Whoever was first has found the same.
            let _ = place.set(chain);
        }
        shown
    }
}
