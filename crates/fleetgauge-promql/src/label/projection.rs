//! What `by`, `without`, `on`, `ignoring` and the dropping of names do to labels.
//!
//! Which of a series' labels are meant depends on its names alone, and series of one kind share theirs. So
//! the places are found once for each list of names, and then only values are looked at.

use std::cmp::Ordering;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::{LabelSet, SCHEMA, is_same, list_bytes, order};

/// Some of the labels of each series, by their names.
#[derive(Debug)]
pub(crate) struct Projection {
    listed: Vec<Arc<str>>,
    keeps_listed: bool,
    shapes: Vec<Shape>,
    /// Where a shape is, by the hash of all names of its sets.
    known: HashTable<(u64, usize)>,
    /// The lists of names that were met last, and the shape of each: the answers of two sources have lists of their own
    /// that are equal.
    lists: Vec<(LabelSet, usize)>,
    /// The one that was met last; mostly it is the next one, too.
    last: usize,
    hasher: RandomState,
    /// How many bytes were made for labels since it was asked.
    made: usize,
}

#[derive(Debug)]
struct Shape {
    /// A set with these names, all of them.
    of: LabelSet,
    places: Vec<u32>,
    names: Arc<[Arc<str>]>,
    /// Of these names.
    hash: u64,
    /// How many are left out, if those are the first ones.
    skipped: Option<u32>,
}

/// So many lists are looked through before names are hashed.
const FEW_LISTS: usize = 8;

// === impl Projection ===

impl Projection {
    /// The labels in `listed`, as of `by` and `on`.
    pub(crate) fn keep(listed: &[Arc<str>]) -> Self {
        Self::new(listed.to_vec(), true)
    }

    /// All labels but those in `listed` and the metric's name, type and unit, as of `without` and `ignoring`.
    pub(crate) fn drop(listed: &[Arc<str>]) -> Self {
        let mut listed = listed.to_vec();
        listed.extend(SCHEMA.map(Arc::from));
        Self::new(listed, false)
    }

    /// The metric's name, type and unit alone.
    pub(crate) fn of_schema() -> Self {
        Self::new(SCHEMA.map(Arc::from).to_vec(), true)
    }

    /// All labels but the metric's name, type and unit.
    pub(crate) fn without_name() -> Self {
        Self::drop(&[])
    }

    /// All labels but those in `listed`; the metric name stays.
    pub(crate) fn drop_exactly(listed: &[Arc<str>]) -> Self {
        Self::new(listed.to_vec(), false)
    }

    fn new(listed: Vec<Arc<str>>, keeps_listed: bool) -> Self {
        Self {
            listed,
            keeps_listed,
            shapes: Vec::new(),
            known: HashTable::new(),
            lists: Vec::new(),
            last: 0,
            hasher: RandomState::default(),
            made: 0,
        }
    }

    /// How many bytes were made for labels since the last call, for whoever bounds them.
    #[inline]
    pub(crate) fn made(&mut self) -> usize {
        std::mem::take(&mut self.made)
    }

    /// The labels that are meant, as a set.
    pub(crate) fn apply(&mut self, labels: &LabelSet) -> LabelSet {
        let shape = self.shape(labels);
        if let Some(count) = shape.skipped {
            return labels.skip(count);
        }
        let names = Arc::clone(&shape.names);
        let values = shape.places.iter();
        let values = values.map(|&at| Arc::clone(&labels.values()[at as usize]));
        let values: Arc<[_]> = values.collect();
        self.made += list_bytes(values.len());
        LabelSet::from_shared(names, values)
    }

    /// A hash of the labels that are meant: equal for sets that agree in them.
    pub(crate) fn hash(&mut self, labels: &LabelSet) -> u64 {
        let mut state = self.hasher.build_hasher();
        let shape = self.shape(labels);
        // Without it, sets of the same values under many names would all be compared with each other.
        state.write_u64(shape.hash);
        for &at in &shape.places {
            labels.values()[at as usize].hash(&mut state);
        }
        state.finish()
    }

    /// Whether two sets agree in the labels that are meant.
    pub(crate) fn agrees(&mut self, a: &LabelSet, b: &LabelSet) -> bool {
        let in_a = self.shape_at(a);
        let in_b = self.shape_at(b);
        let pairs = |at: usize, labels: &LabelSet| -> Vec<_> {
            let shape = &self.shapes[at];
            let pairs = shape.places.iter().zip(&*shape.names);
            pairs
                .map(|(&at, name)| (Arc::clone(name), Arc::clone(&labels.values()[at as usize])))
                .collect()
        };
        if in_a == in_b {
            let places = &self.shapes[in_a].places;
            return places
                .iter()
                .all(|&at| is_same(&a.values()[at as usize], &b.values()[at as usize]));
        }
        pairs(in_a, a) == pairs(in_b, b)
    }

    /// How two sets are ordered by the values of the labels that are meant; `None` where not all of their names are the
    /// same.
    pub(crate) fn order(&mut self, a: &LabelSet, b: &LabelSet) -> Option<Ordering> {
        let in_a = self.shape_at(a);
        let places = (in_a == self.shape_at(b)).then(|| &self.shapes[in_a].places)?;
        let values = |of| places.iter().map(move |&at| &LabelSet::values(of)[at as usize]);
        Some(order(values(a), values(b)))
    }

    fn shape(&mut self, labels: &LabelSet) -> &Shape {
        let at = self.shape_at(labels);
        &self.shapes[at]
    }

    fn shape_at(&mut self, labels: &LabelSet) -> usize {
        let is_of = |(of, _): &(LabelSet, usize)| of.is_alike(labels);
        if let Some(list) = self.lists.get(self.last).filter(|list| is_of(list)) {
            return list.1;
        }
        // Mostly there are few.
        if let Some(place) = self.lists.iter().position(is_of) {
            self.last = place;
            return self.lists[place].1;
        }
        let at = self.equal_shape_at(labels);
        let list = (labels.clone(), at);
        if self.lists.len() < FEW_LISTS {
            self.last = self.lists.len();
            self.lists.push(list);
        } else {
            self.last = (self.last + 1) % FEW_LISTS;
            self.lists[self.last] = list;
        }
        at
    }

    /// Lists that are equal but not the same are rare and would be many: each series of `label_replace` could have
    /// one of its own.
    fn equal_shape_at(&mut self, labels: &LabelSet) -> usize {
        let hash = self.hasher.hash_one(labels.names());
        let is_same = |&(h, at): &(u64, usize)| h == hash && self.shapes[at].of.names() == labels.names();
        if let Some(&(_, at)) = self.known.find(hash, is_same) {
            return at;
        }
        let (new, at) = (self.new_shape(labels), self.shapes.len());
        self.made += size_of::<Shape>() + list_bytes(new.places.len()) + new.places.len() * size_of::<u32>();
        self.shapes.push(new);
        self.known.insert_unique(hash, (hash, at), |&(h, _)| h);
        at
    }

    fn new_shape(&self, labels: &LabelSet) -> Shape {
        let names = labels.names();
        let is_meant = |name: &Arc<str>| self.listed.contains(name) == self.keeps_listed;
        let places: Vec<u32> = (0..)
            .zip(names)
            .filter(|(_, n)| is_meant(n))
            .map(|(at, _)| at)
            .collect();
        let kept: Arc<[_]> = places.iter().map(|&at| Arc::clone(&names[at as usize])).collect();
        let skipped = (names.len() - places.len()) as u32;
        Shape {
            of: labels.clone(),
            skipped: places
                .iter()
                .copied()
                .eq(skipped..names.len() as u32)
                .then_some(skipped),
            places,
            hash: self.hasher.hash_one(&kept),
            names: kept,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(pairs: &[(&str, &str)]) -> LabelSet {
        LabelSet::from_pairs(pairs.iter().copied())
    }

    #[test]
    fn labels_are_kept_and_dropped() {
        let labels = set(&[("__name__", "x"), ("a", "1"), ("b", "2")]);
        let check = |mut projection: Projection, expected: &str| {
            assert_eq!(projection.apply(&labels).braced().to_string(), expected);
        };
        let a = [Arc::from("a"), Arc::from("z")];
        check(Projection::keep(&a), r#"{a="1"}"#);
        check(Projection::drop(&a), r#"{b="2"}"#);
        check(Projection::drop_exactly(&a), r#"{__name__="x", b="2"}"#);
        check(Projection::without_name(), r#"{a="1", b="2"}"#);
        check(Projection::keep(&[Arc::from("__name__")]), r#"{__name__="x"}"#);
        // One projection of sets whose names are parts of the same list.
        let mut drop_a = Projection::drop_exactly(&a);
        let drops =
            [labels.clone(), labels.skip(1), labels.skip(2)].map(|of| drop_a.apply(&of).braced().to_string());
        assert_eq!(drops, [r#"{__name__="x", b="2"}"#, r#"{b="2"}"#, r#"{b="2"}"#]);
    }

    #[test]
    fn sets_of_different_names_agree_by_what_is_meant() {
        let mut on = Projection::keep(&[Arc::from("a")]);
        let (x, y) = (set(&[("a", "1"), ("b", "2")]), set(&[("a", "1"), ("c", "3")]));
        let (z, none) = (set(&[("a", "2"), ("b", "2")]), set(&[("b", "2")]));
        assert!(on.agrees(&x, &y) && on.hash(&x) == on.hash(&y));
        assert!(!on.agrees(&x, &z));
        assert!(!on.agrees(&x, &none));
        assert!(on.made() > 0 && on.made() == 0);
        assert!(on.agrees(&none, &LabelSet::empty()));
    }

    /// More lists of names than are remembered, each looked at again and again.
    #[test]
    fn sets_of_equal_lists_of_names_are_of_one_shape() {
        let mut on = Projection::keep(&[Arc::from("a"), Arc::from("b")]);
        let sets: Vec<_> = (0..2 * FEW_LISTS)
            .map(|i| set(&[("a", "1"), ("b", &(i % 3).to_string())]))
            .collect();
        for (i, one) in sets.iter().enumerate() {
            for (j, other) in sets.iter().enumerate() {
                let order = (i % 3).cmp(&(j % 3));
                assert_eq!(on.order(one, other), Some(order));
                assert_eq!(on.agrees(one, other), order.is_eq());
                assert_eq!(on.hash(one) == on.hash(other), order.is_eq());
            }
        }
        assert_eq!((on.shapes.len(), on.lists.len()), (1, FEW_LISTS));
        assert_eq!(on.order(&sets[0], &set(&[("a", "1")])), None);
    }
}
