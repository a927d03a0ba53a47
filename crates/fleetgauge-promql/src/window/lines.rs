//! The texts by which scrapers find their series, one copy for all targets.
//!
//! Pods of one engine expose the same lines. With a copy for each pod the texts of a fleet are in no cache of the
//! processor; with one for all of them they stay there while one target after the other is scraped, and take the
//! memory of one pod.

use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::limit::Usage;
use super::symbols::bytes_of_string;

/// The texts that scrapers hold. Each is held under the lock, and given back under it, so that a text which only the
/// table holds is one that nobody is about to take.
#[derive(Debug, Default)]
pub(super) struct Lines {
    texts: Mutex<HashTable<Arc<str>>>,
    hasher: RandomState,
}

// === impl Lines ===

impl Lines {
    /// The one copy of `text`.
    pub(super) fn take(&self, text: &str, usage: &Usage) -> Arc<str> {
        let hash = self.hasher.hash_one(text);
        let mut texts = self.lock();
        if let Some(known) = texts.find(hash, |known| **known == *text) {
            return Arc::clone(known);
        }
        let new: Arc<str> = Arc::from(text);
        usage.take(bytes_of_string(&new));
        texts.insert_unique(hash, Arc::clone(&new), |text| self.hasher.hash_one(&**text));
        new
    }

    /// Takes texts back; those that no other target has go.
    pub(super) fn give_back(&self, given: impl Iterator<Item = Arc<str>>, usage: &Usage) {
        let mut texts = self.lock();
        for text in given {
            // One more is that of the table.
            if Arc::strong_count(&text) > 2 {
                continue;
            }
            let hash = self.hasher.hash_one(&*text);
            if let Ok(known) = texts.find_entry(hash, |known| Arc::ptr_eq(known, &text)) {
                known.remove();
                usage.give_back(bytes_of_string(&text));
            }
        }
        if texts.len() < texts.capacity() / 4 {
            texts.shrink_to_fit(|text| self.hasher.hash_one(&**text));
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashTable<Arc<str>>> {
        self.texts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
