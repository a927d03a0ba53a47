//! A map of which a copy costs nothing, since copies share what is the same in them.
//!
//! Whoever reads the index has a copy of his own, which nobody changes: he neither waits nor keeps anybody waiting. A change copies
//! the way to what it changes, which is two arrays of pointers and a few entries. Two levels do for as many pods as a cluster may
//! have: of 150,000, a leaf has 40.

use std::hash::{BuildHasher as _, Hash};
use std::sync::Arc;

use foldhash::fast::RandomState;

/// Entries by the hashes of their keys, which are parts of them.
#[derive(Clone, Debug)]
pub(crate) struct Trie<T> {
    root: Level<Level<Leaf<T>>>,
    len: usize,
    hasher: RandomState,
}

/// Below each of these are the entries whose hashes have its number in some of their bits.
type Level<T> = Arc<[Option<T>; WIDTH]>;

/// Entries with their hashes: at least one.
type Leaf<T> = Arc<[(u64, T)]>;

const BITS: u32 = 6;
const WIDTH: usize = 1 << BITS;

/// Items of which it is known how many there are.
struct Counted<I> {
    items: I,
    left: usize,
}

// === impl Trie ===

impl<T: Clone> Trie<T> {
    /// The hash by which an entry of this key is found.
    pub(crate) fn hash(&self, key: impl Hash) -> u64 {
        self.hasher.hash_one(key)
    }

    /// The entry of this hash that is the one.
    pub(crate) fn get(&self, hash: u64, is_it: impl Fn(&T) -> bool) -> Option<&T> {
        let leaf = self.root[place(hash, 0)].as_ref()?[place(hash, 1)].as_ref()?;
        let (_, entry) = leaf.iter().find(|(of, entry)| *of == hash && is_it(entry))?;
        Some(entry)
    }

    /// Puts an entry in, in the place of the one that is the same; gives back that one.
    pub(crate) fn insert(&mut self, hash: u64, entry: T, is_it: impl Fn(&T) -> bool) -> Option<T> {
        let leaf = self.leaf(hash);
        let mut entries = leaf.as_deref().unwrap_or_default().to_vec();
        let same = entries.iter_mut().find(|(of, entry)| *of == hash && is_it(entry));
        let before = match same {
            Some((_, known)) => Some(std::mem::replace(known, entry)),
            None => {
                entries.push((hash, entry));
                None
            }
        };
        *leaf = Some(entries.into());
        self.len += usize::from(before.is_none());
        before
    }

    /// Takes the entry out, and gives it back.
    pub(crate) fn remove(&mut self, hash: u64, is_it: impl Fn(&T) -> bool) -> Option<T> {
        // Nothing is copied for what is not there.
        let before = self.get(hash, &is_it)?.clone();
        let leaf = self.leaf(hash);
        let others = leaf.as_deref().unwrap_or_default().iter();
        let others = others.filter(|(of, entry)| *of != hash || !is_it(entry));
        let others: Vec<_> = others.cloned().collect();
        *leaf = (!others.is_empty()).then(|| others.into());
        self.len -= 1;
        Some(before)
    }

    /// All entries, in no order.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &T> {
        let levels = self.root.iter().flatten();
        let leaves = levels.flat_map(|level| level.iter().flatten());
        Counted {
            items: leaves.flat_map(|leaf| leaf.iter()).map(|(_, entry)| entry),
            left: self.len,
        }
    }

    fn leaf(&mut self, hash: u64) -> &mut Option<Leaf<T>> {
        let level = &mut Arc::make_mut(&mut self.root)[place(hash, 0)];
        &mut Arc::make_mut(level.get_or_insert_with(empty))[place(hash, 1)]
    }
}

impl<T> Default for Trie<T> {
    fn default() -> Self {
        Self {
            root: empty(),
            len: 0,
            hasher: RandomState::default(),
        }
    }
}

fn empty<T>() -> Level<T> {
    Arc::new([const { None }; WIDTH])
}

/// Where at a level the entries of a hash are.
fn place(hash: u64, level: u32) -> usize {
    (hash >> (level * BITS)) as usize % WIDTH
}

// === impl Counted ===

impl<I: Iterator> Iterator for Counted<I> {
    type Item = I::Item;

    fn next(&mut self) -> Option<I::Item> {
        let item = self.items.next()?;
        self.left -= 1;
        Some(item)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<I: Iterator> ExactSizeIterator for Counted<I> {}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    type Known = Trie<(u16, u32)>;

    fn put(trie: &mut Known, hash: u64, key: u16, value: u32) -> Option<u32> {
        let before = trie.insert(hash, (key, value), |(known, _)| *known == key);
        before.map(|(_, value)| value)
    }

    fn all(trie: &Known) -> BTreeMap<u16, u32> {
        assert_eq!(trie.iter().len(), trie.iter().count());
        trie.iter().copied().collect()
    }

    proptest! {
        /// Keys are few, and hashes fewer, so that they collide at every level.
        #[test]
        fn it_is_a_map_and_copies_stay_as_they_were(
            changes in prop::collection::vec((0_u16..40, any::<Option<u32>>(), any::<bool>()), 0..200),
        ) {
            let (mut trie, mut map) = (Known::default(), BTreeMap::new());
            let mut copies = Vec::new();
            for (key, value, is_copied) in changes {
                let hash = u64::from(key % 5) | u64::from(key % 3) << BITS | u64::from(key % 2) << (2 * BITS);
                let before = match value {
                    Some(value) => {
                        prop_assert_eq!(put(&mut trie, hash, key, value), map.get(&key).copied());
                        map.insert(key, value)
                    }
                    None => {
                        let before = trie.remove(hash, |(known, _)| *known == key);
                        prop_assert_eq!(before.map(|(_, value)| value), map.get(&key).copied());
                        map.remove(&key)
                    }
                };
                let found = trie.get(hash, |(known, _)| *known == key);
                prop_assert_eq!(found.map(|(_, value)| *value), value, "{} was {:?}", key, before);
                prop_assert_eq!(all(&trie), map.clone());
                if is_copied {
                    copies.push((trie.clone(), map.clone()));
                }
            }
            for (trie, map) in copies {
                prop_assert_eq!(all(&trie), map);
            }
        }
    }
}
