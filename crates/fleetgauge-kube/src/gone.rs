//! Which pods were there and are not any more, so that their last samples are told from those of pods that nobody has seen.

use std::sync::Arc;

use crate::trie::Trie;

/// Names of pods that were there and are not any more.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gone {
    /// Each with the number of when it went.
    names: Trie<(Arc<PodName>, u64)>,
    /// The same by these numbers.
    order: Trie<(u64, Arc<PodName>)>,
    went: u64,
}

/// The namespace and name of a pod.
type PodName = (Box<str>, Box<str>);

/// So many of them are remembered, longer than a Prometheus shows their last samples.
const MAX_GONE: u64 = 5_000;

// === impl Gone ===

impl Gone {
    pub(crate) fn has(&self, namespace: &str, name: &str) -> bool {
        self.get(namespace, name).is_some()
    }

    fn get(&self, namespace: &str, name: &str) -> Option<&(Arc<PodName>, u64)> {
        let hash = self.names.hash((namespace, name));
        self.names.get(hash, |(known, _)| is(known, namespace, name))
    }

    pub(crate) fn add(&mut self, namespace: &str, name: &str) {
        self.went += 1;
        let went = self.went;
        let gone: Arc<PodName> = Arc::new((namespace.into(), name.into()));
        let hash = self.names.hash((namespace, name));
        let entry = (gone.clone(), went);
        self.names
            .insert(hash, entry, |(known, _)| is(known, namespace, name));
        let hash = self.order.hash(went);
        self.order.insert(hash, (went, gone), |(known, _)| *known == went);
        let Some(oldest) = went.checked_sub(MAX_GONE) else {
            return;
        };
        let hash = self.order.hash(oldest);
        if let Some((_, gone)) = self.order.remove(hash, |(known, _)| *known == oldest)
            // It may have come back and gone again since.
            && self.get(&gone.0, &gone.1).is_some_and(|(_, went)| *went == oldest)
        {
            self.remove(&gone.0, &gone.1);
        }
    }

    pub(crate) fn remove(&mut self, namespace: &str, name: &str) {
        let hash = self.names.hash((namespace, name));
        self.names.remove(hash, |(known, _)| is(known, namespace, name));
    }
}

fn is(known: &PodName, namespace: &str, name: &str) -> bool {
    *known.1 == *name && *known.0 == *namespace
}
