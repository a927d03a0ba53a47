//! The labels of a series, cheap to hand on.
//!
//! A query moves label sets far more often than it looks into them, so a set is two pointers: to its names,
//! which series of the same kind share, and to its values. What PromQL does to labels (`Projection`) makes
//! new lists of the same strings, and copies no text; without its first labels, of which the metric name mostly is
//! the only one, a set is the same two lists.

mod groups;
mod list;
mod memo;
mod projection;

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock};

pub(crate) use fleetgauge_core::label::METRIC_NAME;

/// What Prometheus calls the schema of a metric: its name, type and unit. Whatever takes the name away takes all of it.
pub(crate) const SCHEMA: [&str; 3] = [METRIC_NAME, METRIC_TYPE, "__unit__"];
/// The label that holds the type of the metric, where a server has such labels.
pub(crate) const METRIC_TYPE: &str = "__type__";
use fleetgauge_core::label::{Labels, SharedTexts, write_braced, write_series};

pub(crate) use groups::{Groups, Members};
pub use list::LabelList;
pub(crate) use memo::{Derivation, Memo};
pub(crate) use projection::Projection;

/// The labels of one series. Cheap to clone.
///
/// *Shape*: pairs of name and value, sorted by name, without empty values (which mean "no such label" in
/// Prometheus).
///
/// ```
/// use fleetgauge_promql::label::LabelSet;
///
/// let labels = LabelSet::from_pairs([("pod", "a"), ("__name__", "up"), ("zone", "")]);
/// assert_eq!(labels.get("pod"), Some("a"));
/// assert_eq!(labels.to_string(), r#"up{pod="a"}"#);
/// ```
#[derive(Clone)]
pub struct LabelSet {
    names: Arc<[Arc<str>]>,
    values: Arc<[Arc<str>]>,
    /// Where in both lists the labels begin.
    start: u32,
}

/// What an `Arc` takes beside what it holds: two counters, and what an allocator rounds up to.
const ARC_BYTES: usize = 24;

/// How many bytes a list of so many texts takes, without the texts.
fn list_bytes(len: usize) -> usize {
    ARC_BYTES + len * size_of::<Arc<str>>()
}

pub(crate) fn text_bytes(text: &str) -> usize {
    ARC_BYTES + text.len()
}

/// Whether two texts are the same. Mostly they are one, or have other lengths, and nobody looks at them: they lie far
/// apart in memory.
#[inline]
fn is_same(a: &Arc<str>, b: &Arc<str>) -> bool {
    Arc::ptr_eq(a, b) || a == b
}

/// How two lists of texts are ordered.
fn order<'a>(
    a: impl IntoIterator<Item = &'a Arc<str>>,
    b: impl IntoIterator<Item = &'a Arc<str>>,
) -> Ordering {
    let (mut a, mut b) = (a.into_iter(), b.into_iter());
    loop {
        return match (a.next(), b.next()) {
            (Some(a), Some(b)) if Arc::ptr_eq(a, b) => continue,
            (Some(a), Some(b)) => match a.cmp(b) {
                Ordering::Equal => continue,
                order => order,
            },
            (a, b) => a.is_some().cmp(&b.is_some()),
        };
    }
}

/// Looks one label up in many sets: where it is, is the same in those that share their names.
#[derive(Debug)]
pub(crate) struct Lookup<'a> {
    name: &'a str,
    shape: Option<(Arc<[Arc<str>]>, u32)>,
    place: Option<usize>,
}

// === impl LabelSet ===

impl LabelSet {
    /// The set of these pairs, in any order. An empty value adds nothing; of several values of one name the
    /// last counts.
    pub fn from_pairs<N, V>(pairs: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: Into<Arc<str>>,
        V: Into<Arc<str>>,
    {
        let mut pairs: Vec<(Arc<str>, Arc<str>)> =
            pairs.into_iter().map(|(n, v)| (n.into(), v.into())).collect();
        // Stable, and then the other way round, so that the first of equal names is the one given last.
        pairs.reverse();
        pairs.sort_by(|a, b| a.0.cmp(&b.0));
        pairs.dedup_by(|later, kept| later.0 == kept.0);
        pairs.retain(|(_, value)| !value.is_empty());
        let (names, values): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        Self::from_shared(names.into(), values.into())
    }

    /// The set of these lists: sorted by name, as long as each other, and without empty values.
    pub(crate) fn from_shared(names: Arc<[Arc<str>]>, values: Arc<[Arc<str>]>) -> Self {
        debug_assert_eq!(names.len(), values.len());
        debug_assert!(names.is_sorted());
        Self {
            names,
            values,
            start: 0,
        }
    }

    /// Names and values as they are shared with other series, and how many of the first are not its own.
    pub(crate) fn shared(&self) -> (&SharedTexts, &SharedTexts, usize) {
        (&self.names, &self.values, self.start as usize)
    }

    fn names(&self) -> &[Arc<str>] {
        &self.names[self.start as usize..]
    }

    fn values(&self) -> &[Arc<str>] {
        &self.values[self.start as usize..]
    }

    /// Without the first `count` labels.
    fn skip(&self, count: u32) -> Self {
        let mut new = self.clone();
        new.start += count;
        new
    }

    /// No labels.
    pub fn empty() -> Self {
        static EMPTY: LazyLock<LabelSet> = LazyLock::new(|| LabelSet {
            names: Arc::from([]),
            values: Arc::from([]),
            start: 0,
        });
        EMPTY.clone()
    }

    /// The value of the label `name`, if the series has it.
    pub fn get(&self, name: &str) -> Option<&str> {
        let at = self.names().iter().position(|n| **n == *name)?;
        Some(&self.values()[at])
    }

    /// The metric name; empty if there is none.
    pub fn metric_name(&self) -> &str {
        self.get(METRIC_NAME).unwrap_or_default()
    }

    /// The pairs of name and value, sorted by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> + Clone {
        self.names().iter().zip(self.values()).map(|(n, v)| (&**n, &**v))
    }

    /// How many labels there are.
    pub fn len(&self) -> usize {
        self.values().len()
    }

    /// Whether there is no label.
    pub fn is_empty(&self) -> bool {
        self.values().is_empty()
    }

    /// With `name` set to `value`, or removed if `value` is empty.
    pub(crate) fn with(&self, name: &str, value: &str) -> Self {
        let at = self.names().partition_point(|known| **known < *name);
        let known = self.names().get(at).is_some_and(|known| **known == *name);
        if known && !value.is_empty() {
            let mut values = self.values.to_vec();
            values[self.start as usize + at] = Arc::from(value);
            return Self {
                names: Arc::clone(&self.names),
                values: values.into(),
                start: self.start,
            };
        }
        if !known && value.is_empty() {
            return self.clone();
        }
        let (mut names, mut values) = (self.names().to_vec(), self.values().to_vec());
        if known {
            names.remove(at);
            values.remove(at);
        } else {
            names.insert(at, Arc::from(name));
            values.insert(at, Arc::from(value));
        }
        Self::from_shared(names.into(), values.into())
    }

    /// How many bytes [`with`](Self::with) makes at most.
    pub(crate) fn bytes_with(&self, name: &str, value: &str) -> usize {
        2 * list_bytes(self.len() + 1) + text_bytes(name) + text_bytes(value)
    }

    /// How many bytes a set takes that shares nothing with others, at most.
    pub(crate) fn bytes(&self) -> usize {
        let texts = self
            .iter()
            .map(|(name, value)| text_bytes(name) + text_bytes(value));
        2 * list_bytes(self.len()) + texts.sum::<usize>()
    }

    /// As Prometheus prints labels in its error messages: the name among them, as `__name__`.
    pub(crate) fn braced(&self) -> impl fmt::Display + '_ {
        Braced(self)
    }

    /// Whether two sets have the same list of names.
    fn is_alike(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.names, &other.names) && self.start == other.start
    }
}

impl PartialEq for LabelSet {
    fn eq(&self, other: &Self) -> bool {
        if self.is_alike(other) {
            let mut values = self.values().iter().zip(other.values());
            return Arc::ptr_eq(&self.values, &other.values) || values.all(|(a, b)| is_same(a, b));
        }
        self.iter().eq(other.iter())
    }
}

impl Eq for LabelSet {}

impl PartialEq<Labels<'_>> for LabelSet {
    fn eq(&self, other: &Labels<'_>) -> bool {
        self.iter().eq(other.iter())
    }
}

impl PartialOrd for LabelSet {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Pair by pair, as Prometheus sorts series.
impl Ord for LabelSet {
    fn cmp(&self, other: &Self) -> Ordering {
        if self.is_alike(other) {
            return order(self.values(), other.values());
        }
        self.iter().cmp(other.iter())
    }
}

impl Hash for LabelSet {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for pair in self.iter() {
            pair.hash(state);
        }
    }
}

impl Default for LabelSet {
    fn default() -> Self {
        Self::empty()
    }
}

/// As [`write_series`].
impl fmt::Display for LabelSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_series(f, self.iter())
    }
}

impl fmt::Debug for LabelSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

// === impl Lookup ===

impl<'a> Lookup<'a> {
    pub(crate) fn new(name: &'a str) -> Self {
        Self {
            name,
            shape: None,
            place: None,
        }
    }

    /// The value of the label; empty if the set lacks it.
    pub(crate) fn get<'s>(&mut self, labels: &'s LabelSet) -> &'s str {
        self.text(labels).map_or("", |text| &**text)
    }

    /// The value of the label, if the set has it, as it is shared with other sets.
    pub(crate) fn text<'s>(&mut self, labels: &'s LabelSet) -> Option<&'s Arc<str>> {
        let shape = self.shape.as_ref();
        if !shape.is_some_and(|(names, start)| Arc::ptr_eq(names, &labels.names) && *start == labels.start) {
            self.place = labels.names().iter().position(|name| **name == *self.name);
            self.shape = Some((Arc::clone(&labels.names), labels.start));
        }
        self.place.map(|place| &labels.values()[place])
    }
}

struct Braced<'a>(&'a LabelSet);

impl fmt::Display for Braced<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_braced(f, None, self.0.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(pairs: &[(&str, &str)]) -> LabelSet {
        LabelSet::from_pairs(pairs.iter().copied())
    }

    #[test]
    fn sets_are_sorted_and_without_empty_values() {
        let labels = set(&[("b", "2"), ("a", "1"), ("c", ""), ("b", "3")]);
        assert_eq!(labels.iter().collect::<Vec<_>>(), [("a", "1"), ("b", "3")]);
        // A value that is taken away again.
        assert_eq!(set(&[("a", "1"), ("a", "")]), LabelSet::empty());
    }

    #[test]
    fn labels_are_set_and_removed() {
        let labels = set(&[("__name__", "x"), ("b", "2")]);
        assert_eq!(labels.with("b", "3").to_string(), r#"x{b="3"}"#);
        assert_eq!(labels.with("a", "1").to_string(), r#"x{a="1", b="2"}"#);
        assert_eq!(labels.with("b", "").to_string(), "x");
        assert_eq!(labels.with("c", ""), labels);
        assert_eq!(labels.with("__name__", "").to_string(), r#"{b="2"}"#);
    }

    #[test]
    fn a_set_without_its_first_labels_is_as_any_other() {
        let labels = set(&[("A", "0"), ("__name__", "x"), ("b", "2"), ("c", "3")]);
        let (rest, same) = (labels.skip(2), set(&[("b", "2"), ("c", "3")]));
        assert_eq!(rest, same);
        assert_eq!(rest.cmp(&same), Ordering::Equal);
        assert_eq!(
            (rest.len(), rest.is_empty(), labels.skip(4).is_empty()),
            (2, false, true)
        );
        assert_eq!(
            (rest.get("c"), rest.get("A"), rest.metric_name()),
            (Some("3"), None, "")
        );
        assert_ne!(rest, labels.skip(1));
        assert!(labels.skip(1) < rest);
        assert_eq!(rest.with("b", "9").to_string(), r#"{b="9", c="3"}"#);
        assert_eq!(rest.with("a", "1").to_string(), r#"{a="1", b="2", c="3"}"#);
        assert_eq!(rest.with("c", "").to_string(), r#"{b="2"}"#);
        let mut c = Lookup::new("c");
        assert_eq!(
            (c.get(&labels), c.get(&rest), c.get(&rest.skip(2))),
            ("3", "3", "")
        );
    }

    #[test]
    fn series_print_as_in_prometheus() {
        assert_eq!(LabelSet::empty().to_string(), "{}");
        assert_eq!(set(&[("__name__", "x")]).to_string(), "x");
        assert_eq!(set(&[("a", "\"\\\n")]).to_string(), r#"{a="\"\\\n"}"#);
        let hostile = set(&[("__name__", "\u{9b}m"), ("q\u{1b}[31m", "\u{202e}")]);
        assert_eq!(hostile.to_string(), r#"{"\u009bm", "q\x1b[31m"="\u202e"}"#);
        let named = set(&[("__name__", "x"), ("a", "1")]);
        assert_eq!(named.braced().to_string(), r#"{__name__="x", a="1"}"#);
        let dotted = set(&[("__name__", "a:b"), ("c.d", "1"), ("e", "2")]);
        assert_eq!(dotted.to_string(), r#"a:b{"c.d"="1", e="2"}"#);
        let all = set(&[("__name__", "a.b"), ("c:d", "1")]);
        assert_eq!(all.to_string(), r#"{"a.b", "c:d"="1"}"#);
        assert_eq!(set(&[("__name__", "0")]).to_string(), r#"{"0"}"#);
    }

    #[test]
    fn order_is_pair_by_pair() {
        assert!(set(&[("a", "1")]) < set(&[("a", "1"), ("b", "0")]));
        assert!(set(&[("a", "2")]) < set(&[("b", "1")]));
        assert!(set(&[("a", "1"), ("c", "9")]) > set(&[("a", "1"), ("b", "9")]));
    }
}
