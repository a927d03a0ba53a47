//! What a cached value is found by: a query, and the values of the parameters that it declares.
//!
//! The key is structural. A joined string would collide (`a=1,b=2` is one value or two parameters), and
//! building it would allocate on every read. Parameters that the query does not declare make no difference,
//! since a batch shares its parameters.

use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher};

use equivalent::Equivalent;
use foldhash::SharedSeed;
use foldhash::fast::{FoldHasher, SeedableRandomState};

use crate::params::Params;
use crate::query::Shape;
use crate::query_list::RegisteredQuery;

/// A key that owns its values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CacheKey {
    hash: u64,
    query_id: u64,
    shape: Shape,
    /// The values in declared order, each as its [`mark`] in four bytes and then its text: one block of
    /// memory to compare with, instead of one per value.
    values: Box<[u8]>,
}

/// The same key, borrowed from a caller's parameters, each looked up once.
pub(crate) struct KeyRef<'a> {
    hash: u64,
    query_id: u64,
    shape: Shape,
    few: [Option<&'a str>; FEW],
    many: Vec<Option<&'a str>>,
    count: usize,
}

/// Hands through the hash that a key has computed while its values were looked up.
#[derive(Default)]
pub(crate) struct KeyHasher(u64);

/// Makes [`KeyHasher`]s.
pub(crate) type BuildKeyHasher = BuildHasherDefault<KeyHasher>;

/// Keys of up to this many parameters are made without allocating.
const FEW: usize = 4;

// === impl KeyRef ===

impl<'a> KeyRef<'a> {
    #[inline]
    pub(crate) fn new(query: &RegisteredQuery, params: &'a Params, shape: Shape) -> Self {
        let specs = query.params();
        if specs.len() > FEW || query.takes_lists() {
            return Self::of_many(query, params, shape);
        }
        let mut hasher = hasher(query, shape);
        let mut few = [None; FEW];
        for (place, spec) in few.iter_mut().zip(specs) {
            let Ok(value) = params.at_most_one(spec.name()) else {
                return Self::of_many(query, params, shape);
            };
            add(&mut hasher, value);
            *place = value;
        }
        Self {
            hash: hasher.finish(),
            query_id: query.id(),
            shape,
            few,
            many: Vec::new(),
            count: specs.len(),
        }
    }

    /// A key of more values than `few` has places for, or of lists.
    #[cold]
    fn of_many(query: &RegisteredQuery, params: &'a Params, shape: Shape) -> Self {
        let mut query_id = query.id();
        let mut hasher = hasher(query, shape);
        let mut many = Vec::new();
        for spec in query.params() {
            match params.entries(spec.name()) {
                values if spec.kind().is_list() => {
                    many.extend(values.iter().map(|(_, value)| Some(&**value)));
                    // The end of the list: its values are never absent.
                    many.push(None);
                }
                [] => many.push(None),
                [(_, value)] => many.push(Some(value)),
                // Cannot be rendered, so nothing is cached for it: no query has this number.
                [..] => query_id = u64::MAX,
            }
        }
        many.iter().for_each(|value| add(&mut hasher, *value));
        Self {
            hash: hasher.finish(),
            query_id,
            shape,
            few: [None; FEW],
            many,
            count: 0,
        }
    }

    pub(crate) fn hash_value(&self) -> u64 {
        self.hash
    }

    pub(crate) fn to_owned(&self) -> CacheKey {
        let mut values = Vec::new();
        for value in self.values() {
            values.extend_from_slice(&mark(*value).to_le_bytes());
            values.extend_from_slice(value.unwrap_or_default().as_bytes());
        }
        CacheKey {
            hash: self.hash,
            query_id: self.query_id,
            shape: self.shape,
            values: values.into_boxed_slice(),
        }
    }

    #[inline]
    fn values(&self) -> &[Option<&'a str>] {
        if self.many.is_empty() {
            &self.few[..self.count]
        } else {
            &self.many
        }
    }
}

impl Hash for KeyRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl Equivalent<CacheKey> for KeyRef<'_> {
    #[inline]
    fn equivalent(&self, key: &CacheKey) -> bool {
        if self.hash != key.hash || self.query_id != key.query_id || self.shape != key.shape {
            return false;
        }
        let mut rest = &*key.values;
        for &value in self.values() {
            let Some((marked, text, after)) = next(rest) else {
                return false;
            };
            // Empty texts are equal by their marks. The C library's comparison of two empty slices, whose
            // addresses dangle, takes longer than that of two full ones.
            if marked != mark(value) || !(text.is_empty() || text == value.unwrap_or_default().as_bytes()) {
                return false;
            }
            rest = after;
        }
        rest.is_empty()
    }
}

// === impl CacheKey ===

impl CacheKey {
    pub(crate) fn hash_value(&self) -> u64 {
        self.hash
    }

    pub(crate) fn query_id(&self) -> u64 {
        self.query_id
    }
}

impl Hash for CacheKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

// === impl KeyHasher ===

impl Hasher for KeyHasher {
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn write(&mut self, bytes: &[u8]) {
        // Keys write one number; whatever else may come is hashed, not lost.
        let mut hasher = SeedableRandomState::with_seed(self.0, SharedSeed::global_random()).build_hasher();
        hasher.write(bytes);
        self.0 = hasher.finish();
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[inline]
fn hasher(query: &RegisteredQuery, shape: Shape) -> FoldHasher<'static> {
    let mut hasher = SeedableRandomState::with_seed(query.id(), SharedSeed::global_random()).build_hasher();
    if shape != Shape::Instant {
        shape.hash(&mut hasher);
    }
    hasher
}

#[inline]
fn add(hasher: &mut impl Hasher, value: Option<&str>) {
    hasher.write_u32(mark(value));
    hasher.write(value.unwrap_or_default().as_bytes());
}

/// Tells apart values of different length, and an empty value from an absent one: they render differently.
///
/// A value's length fits: whatever could be longer cannot be rendered, and what was not rendered is not
/// cached.
#[inline]
fn mark(value: Option<&str>) -> u32 {
    value.map_or(0, |value| value.len() as u32 + 1)
}

/// The first value in `bytes` and what comes after it.
#[inline]
fn next(bytes: &[u8]) -> Option<(u32, &[u8], &[u8])> {
    let (marked, rest) = bytes.split_first_chunk()?;
    let marked = u32::from_le_bytes(*marked);
    let (text, rest) = rest.split_at_checked(marked.saturating_sub(1) as usize)?;
    Some((marked, text, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::QueryTemplate;
    use crate::query_list::QueryList;
    use std::time::Duration;

    /// Whether two sets of parameters mean the same entry, asked of hash and equality both ways.
    fn same(a: &[(&str, &str)], b: &[(&str, &str)]) -> bool {
        let list = QueryList::new();
        let optional = crate::params::ParamSpec::optional("podFilter", crate::params::ParamKind::Regex);
        list.must_register(
            QueryTemplate::promql("q", "up")
                .params(["a", "b"])
                .param(optional),
        );
        let query = list.get("q").unwrap();
        let (a, b): (Params, Params) = (a.iter().copied().collect(), b.iter().copied().collect());
        let (a, b) = (
            KeyRef::new(&query, &a, Shape::Instant),
            KeyRef::new(&query, &b, Shape::Instant),
        );
        let hash = |key: &dyn Fn(&mut _)| {
            let mut hasher = BuildKeyHasher::default().build_hasher();
            key(&mut hasher);
            hasher.finish()
        };
        let borrowed = hash(&|h| a.hash(h));
        assert_eq!(
            borrowed,
            hash(&|h| a.to_owned().hash(h)),
            "owned and borrowed hash alike"
        );
        let equal = a.equivalent(&b.to_owned());
        assert_eq!(equal, a.to_owned() == b.to_owned());
        if equal {
            assert_eq!(borrowed, hash(&|h| b.hash(h)));
        }
        equal
    }

    #[test]
    fn keys_of_many_parameters_are_keys_like_any_other() {
        let names: Vec<_> = (0..20).map(|i| format!("p{i}")).collect();
        let list = QueryList::new();
        list.must_register(QueryTemplate::promql("q", "up").params(names.clone()));
        let query = list.get("q").unwrap();
        let params: Params = names.iter().map(|name| (name, name)).collect();
        let other = params.clone().with("p19", "x");
        let key = KeyRef::new(&query, &params, Shape::Instant);
        assert!(key.equivalent(&key.to_owned()));
        assert!(!KeyRef::new(&query, &other, Shape::Instant).equivalent(&key.to_owned()));
    }

    #[test]
    fn lists_are_part_of_the_key_value_by_value() {
        use crate::params::{ParamKind, ParamSpec};
        let list = QueryList::new();
        let specs = ["a", "b"].map(|name| ParamSpec::optional(name, ParamKind::Texts));
        let specs = specs
            .into_iter()
            .chain([ParamSpec::optional("c", ParamKind::Text)]);
        list.must_register(specs.fold(QueryTemplate::promql("q", "up"), QueryTemplate::param));
        let query = list.get("q").unwrap();
        let key = |a: &[&str], b: &[&str], c: &[&str]| {
            let params = Params::new()
                .with_list("a", a)
                .with_list("b", b)
                .with_list("c", c);
            let key = KeyRef::new(&query, &params, Shape::Instant);
            assert!(key.equivalent(&key.to_owned()));
            key.to_owned()
        };
        let keys = [
            key(&[], &[], &[]),
            key(&["x"], &[], &[]),
            key(&[], &["x"], &[]),
            key(&[], &[], &["x"]),
            key(&["x", "y"], &[], &[]),
            key(&["x"], &["y"], &[]),
            key(&["x"], &[], &["y"]),
            key(&["xy"], &[], &[]),
            key(&["y", "x"], &[], &[]),
            // Several values of what takes one: an entry of its own, never that of the first.
            key(&[], &[], &["x", "y"]),
        ];
        for (i, one) in keys.iter().enumerate() {
            for (j, other) in keys.iter().enumerate() {
                assert_eq!(one == other, i == j, "{i} and {j}");
            }
        }
    }

    #[test]
    fn each_shape_has_a_key_of_its_own() {
        let list = QueryList::new();
        list.must_register(QueryTemplate::promql("q", "up"));
        let query = list.get("q").unwrap();
        let range = |window, step| Shape::Range {
            window: Duration::from_secs(window),
            step: Duration::from_secs(step),
        };
        let params = Params::new();
        let keys = [Shape::Instant, range(60, 15), range(60, 30), range(15, 60)]
            .map(|shape| KeyRef::new(&query, &params, shape));
        for (i, one) in keys.iter().enumerate() {
            for (j, other) in keys.iter().enumerate() {
                assert_eq!(one.equivalent(&other.to_owned()), i == j, "{i} and {j}");
                assert_eq!(one.hash_value() == other.hash_value(), i == j, "{i} and {j}");
            }
        }
    }

    #[test]
    fn decision_4_the_key_is_structural() {
        assert!(
            same(&[("a", "1"), ("b", "2")], &[("b", "2"), ("a", "1")]),
            "order is nothing"
        );
        assert!(
            same(&[("a", "1")], &[("a", "1"), ("other", "x")]),
            "undeclared parameters are nothing"
        );
        assert!(
            !same(&[("a", "1"), ("b", "2")], &[("a", "2"), ("b", "1")]),
            "values belong to names"
        );
        assert!(
            !same(&[("a", "1,b=2")], &[("a", "1"), ("b", "2")]),
            "nothing is joined"
        );
        assert!(!same(&[("a", ""), ("b", "x")], &[("a", "x"), ("b", "")]));
        assert!(!same(&[("podFilter", "")], &[]), "empty is not absent");
    }
}
