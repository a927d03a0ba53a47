//! The strings of the labels in the window, which all series share.
//!
//! A series has a list of shared values under a shared list of names: a thousand pods with the same hundred
//! metrics have one copy of each name, each bucket's bound and each model, and one of each list of names.
//! [`Symbols`] gives the copies out and takes back those that no series holds any more. Readers go straight
//! to the text: there is no table that they would have to ask, or wait for.

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::label::LabelSet;

/// The strings and lists of names that live series hold.
#[derive(Debug, Default)]
pub(super) struct Symbols {
    strings: HashTable<Arc<str>>,
    shapes: HashTable<Arc<[Arc<str>]>>,
    hasher: RandomState,
    bytes: usize,
}

// === impl Symbols ===

impl Symbols {
    /// The label set of these pairs, which are sorted and without empty values.
    pub(super) fn label_set<'a>(&mut self, labels: impl Iterator<Item = (&'a str, &'a str)>) -> LabelSet {
        let (names, values): (Vec<_>, Vec<_>) = labels.map(|(n, v)| (self.string(n), self.string(v))).unzip();
        LabelSet::from_shared(self.shape(names), values.into())
    }

    /// The one copy of `string`.
    pub(super) fn string(&mut self, string: &str) -> Arc<str> {
        let hash = self.hasher.hash_one(string);
        if let Some(known) = self.strings.find(hash, |known| **known == *string) {
            return Arc::clone(known);
        }
        let new: Arc<str> = Arc::from(string);
        self.bytes += bytes_of_string(&new);
        let hasher = &self.hasher;
        self.strings
            .insert_unique(hash, Arc::clone(&new), |s| hasher.hash_one(&**s));
        new
    }

    /// Gives back what nobody else holds. A reader may hold a series that went; then it is the next time.
    pub(super) fn sweep(&mut self) {
        let bytes = &mut self.bytes;
        self.shapes.retain(|shape| {
            let held = Arc::strong_count(shape) > 1;
            *bytes -= if held { 0 } else { bytes_of_shape(shape) };
            held
        });
        self.strings.retain(|string| {
            let held = Arc::strong_count(string) > 1;
            *bytes -= if held { 0 } else { bytes_of_string(string) };
            held
        });
        if self.strings.len() < self.strings.capacity() / 4 {
            let hasher = &self.hasher;
            self.strings.shrink_to_fit(|s| hasher.hash_one(&**s));
            self.shapes.shrink_to_fit(|s| hasher.hash_one(&**s));
        }
    }

    /// *Unit*: bytes of the texts and lists.
    pub(super) fn heap_bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn len(&self) -> usize {
        self.strings.len()
    }

    fn shape(&mut self, names: Vec<Arc<str>>) -> Arc<[Arc<str>]> {
        let hash = self.hasher.hash_one(&*names);
        if let Some(known) = self.shapes.find(hash, |known| **known == *names) {
            return Arc::clone(known);
        }
        let new: Arc<[Arc<str>]> = names.into();
        self.bytes += bytes_of_shape(&new);
        let hasher = &self.hasher;
        self.shapes
            .insert_unique(hash, Arc::clone(&new), |s| hasher.hash_one(&**s));
        new
    }
}

/// What the label set of a series takes beside what it shares: pointers, and the two counts of the `Arc`.
pub(super) const fn bytes_of_values(labels: usize) -> usize {
    labels * size_of::<Arc<str>>() + 16
}

/// With the two counts of the `Arc` and its place in the table.
pub(super) fn bytes_of_string(string: &Arc<str>) -> usize {
    string.len().next_multiple_of(8) + 16 + TABLE_SLOT
}

fn bytes_of_shape(shape: &Arc<[Arc<str>]>) -> usize {
    size_of_val(&**shape) + 16 + TABLE_SLOT
}

/// A table of pointers and lengths, on average two thirds full.
const TABLE_SLOT: usize = 26;
