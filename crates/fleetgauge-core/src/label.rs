//! Label sets, stored together for all series of one answer.
//!
//! The series of one answer repeat the same few strings: every one carries the same label names, and most
//! share namespace, model and job. [`LabelSets`] therefore keeps each distinct string once, in one block of
//! text, and a series is a handful of 32-bit references into it. Reading needs no lock, cloning a result
//! clones one pointer, and the storage is given back as a whole when the answer goes: there is no global
//! table that could leak the names of pods long gone.

mod builder;

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{BuildHasher, Hash, Hasher};
use std::ops::Range;

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

pub use builder::{LabelError, LabelSetsBuilder, SharedTexts};
pub use fleetgauge_syntax::name::is_plain;

use crate::printable::Quoted;

/// The label that holds a series' metric name, `__name__`.
///
/// Source: <https://prometheus.io/docs/concepts/data_model/>.
pub const METRIC_NAME: &str = "__name__";

/// The label sets of one answer, in the order of its series.
#[derive(Clone, Default)]
pub struct LabelSets {
    text: Box<str>,
    /// Where each distinct string ends in `text`; it starts where the one before ends.
    ends: Box<[u32]>,
    /// For each distinct list of label names: those names, sorted.
    shapes: Box<[Box<[u32]>]>,
    /// For each series: where its row starts in `cells`.
    rows: Box<[u32]>,
    /// Rows of a shape's index followed by one string per name of that shape.
    cells: Box<[u32]>,
}

/// The labels of one series: a cheap view into its answer.
///
/// *Shape*: pairs of name and value, sorted by name, without empty values (which mean "no such label" in
/// Prometheus).
#[derive(Clone, Copy)]
pub struct Labels<'a> {
    sets: &'a LabelSets,
    names: &'a [u32],
    values: &'a [u32],
}

// === impl LabelSets ===

impl LabelSets {
    /// How many series there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no series.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The labels of the series at `index`.
    pub fn get(&self, index: usize) -> Option<Labels<'_>> {
        (index < self.len()).then(|| self.at(index))
    }

    /// As [`get`](Self::get), of a series that there is.
    pub(crate) fn at(&self, index: usize) -> Labels<'_> {
        let start = self.rows[index] as usize;
        let names = &*self.shapes[self.cells[start] as usize];
        Labels {
            sets: self,
            names,
            values: &self.cells[start + 1..start + 1 + names.len()],
        }
    }

    /// The labels of all series, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Labels<'_>> {
        (0..self.len()).map(|index| self.at(index))
    }

    /// The first labels that equal those of a series before them.
    pub fn duplicate(&self) -> Option<Labels<'_>> {
        // Equal labels have equal references, as each string and each shape is kept once.
        let hasher = FixedState::default();
        let row = |index: usize| {
            let start = self.rows[index] as usize;
            let end = self
                .rows
                .get(index + 1)
                .map_or(self.cells.len(), |&end| end as usize);
            &self.cells[start..end]
        };
        let mut seen: HashTable<u32> = HashTable::with_capacity(self.len());
        for (index, at) in (0..self.len()).zip(0u32..) {
            let cells = row(index);
            let entry = seen.entry(
                hasher.hash_one(cells),
                |&other| row(other as usize) == cells,
                |&other| hasher.hash_one(row(other as usize)),
            );
            match entry {
                Entry::Occupied(_) => return self.get(index),
                Entry::Vacant(vacant) => vacant.insert(at),
            };
        }
        None
    }

    /// Whether the same series were added in the same way: each has the labels of the one at its place in `other`.
    pub(crate) fn is_laid_out_as(&self, other: &Self) -> bool {
        let Self {
            text,
            ends,
            rows,
            cells,
            shapes,
        } = self;
        (rows, cells, ends) == (&other.rows, &other.cells, &other.ends)
            && (text, shapes) == (&other.text, &other.shapes)
    }

    /// Heap bytes held, as asked of the allocator.
    ///
    /// *Unit*: bytes.
    pub fn heap_bytes(&self) -> usize {
        let words = self.ends.len() + self.rows.len() + self.cells.len();
        let shapes: usize = self
            .shapes
            .iter()
            .map(|s| size_of_val(s) + size_of_val(&**s))
            .sum();
        self.text.len() + words * size_of::<u32>() + shapes
    }

    fn string(&self, reference: u32) -> &str {
        string_at(&self.text, &self.ends, reference)
    }
}

impl fmt::Debug for LabelSets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

// === impl Labels ===

impl<'a> Labels<'a> {
    /// The value of the label `name`, if the series has it.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        let at = self.names.iter().position(|&n| self.sets.string(n) == name)?;
        Some(self.sets.string(self.values[at]))
    }

    /// The metric name, if the series has one. Aggregations and most functions drop it.
    pub fn metric_name(&self) -> Option<&'a str> {
        self.get(METRIC_NAME)
    }

    /// The pairs of name and value, sorted by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&'a str, &'a str)> + Clone + use<'a> {
        let sets = self.sets;
        self.names
            .iter()
            .zip(self.values)
            .map(|(&n, &v)| (sets.string(n), sets.string(v)))
    }

    /// How many labels there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether the series has no label, as the one of a scalar.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// An owned copy, to keep labels beyond their answer.
    pub fn to_map(&self) -> BTreeMap<String, String> {
        self.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect()
    }
}

impl Hash for Labels<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.iter().for_each(|pair| pair.hash(state));
    }
}

impl PartialEq for Labels<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl Eq for Labels<'_> {}

/// As [`write_series`].
impl fmt::Display for Labels<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_series(f, self.iter())
    }
}

impl fmt::Debug for Labels<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The distinct string that a reference stands for.
#[inline]
fn string_at<'a>(text: &'a str, ends: &[u32], reference: u32) -> &'a str {
    &text[range_of(ends, reference)]
}

/// The same to compare with, without a look at where its characters begin.
#[inline]
fn bytes_at<'a>(text: &'a str, ends: &[u32], reference: u32) -> &'a [u8] {
    &text.as_bytes()[range_of(ends, reference)]
}

#[inline]
fn range_of(ends: &[u32], reference: u32) -> Range<usize> {
    let at = reference as usize;
    let start = if at == 0 { 0 } else { ends[at - 1] };
    start as usize..ends[at] as usize
}

/// Writes labels as Prometheus prints a series: `name{a="b", c="d"}`; `{}` if there is none. Names that PromQL reads
/// in quotes alone stand in quotes, `{"a.b", "c d"="e"}`, and what a terminal would obey is escaped.
pub fn write_series<'a>(
    f: &mut fmt::Formatter<'_>,
    labels: impl Iterator<Item = (&'a str, &'a str)> + Clone,
) -> fmt::Result {
    let name = labels.clone().find(|(label, _)| *label == METRIC_NAME);
    let name = name.map_or("", |(_, name)| name);
    let mut rest = labels.filter(|(label, _)| *label != METRIC_NAME).peekable();
    if !is_plain(name, true) {
        return write_braced(f, Some(name), rest);
    }
    f.write_str(name)?;
    if !name.is_empty() && rest.peek().is_none() {
        return Ok(());
    }
    write_braced(f, None, rest)
}

/// Writes labels in braces, a metric name that cannot stand before them first.
pub fn write_braced<'a>(
    f: &mut fmt::Formatter<'_>,
    metric_name: Option<&str>,
    labels: impl Iterator<Item = (&'a str, &'a str)>,
) -> fmt::Result {
    f.write_str("{")?;
    let mut separator = "";
    if let Some(name) = metric_name {
        write!(f, "{}", Quoted(name))?;
        separator = ", ";
    }
    for (name, value) in labels {
        f.write_str(separator)?;
        separator = ", ";
        match is_plain(name, false) {
            true => f.write_str(name)?,
            false => write!(f, "{}", Quoted(name))?,
        }
        write!(f, "={}", Quoted(value))?;
    }
    f.write_str("}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::Arc;

    fn sets(series: &[&[(&str, &str)]]) -> LabelSets {
        let mut builder = LabelSetsBuilder::default();
        for labels in series {
            labels.iter().for_each(|(n, v)| builder.label(n, v));
            builder.end_series().unwrap();
        }
        builder.build()
    }

    #[test]
    fn labels_are_sorted_and_empty_values_are_absent() {
        let sets = sets(&[&[("pod", "a"), ("__name__", "up"), ("job", "")]]);
        let labels = sets.get(0).unwrap();
        assert_eq!(
            labels.iter().collect::<Vec<_>>(),
            [("__name__", "up"), ("pod", "a")]
        );
        assert_eq!(labels.get("job"), None);
        assert_eq!(labels.metric_name(), Some("up"));
    }

    proptest! {
        /// The room of one builder is used by the next of its thread; that of a new thread has none. Names that occur twice
        /// leave a series unfinished, and a long value makes lists that are not kept.
        #[test]
        fn nothing_of_one_answer_is_in_the_next(
            answers in prop::collection::vec(
                prop::collection::vec(prop::collection::vec((0..4usize, 0..6usize), 0..4), 0..6),
                1..5,
            ),
        ) {
            let long = "x".repeat(20_000);
            let build = |answer: &Vec<Vec<(usize, usize)>>| {
                let values = ["", "a", "b", "c", "d", &long];
                let mut builder = LabelSetsBuilder::default();
                let ended: Vec<_> = answer.iter().map(|labels| {
                    labels.iter().for_each(|&(n, v)| builder.label(["p", "q", "r", "s"][n], values[v]));
                    builder.end_series()
                }).collect();
                builder.label("q", "of a series that never ended");
                (ended, builder.build().iter().map(|labels| labels.to_string()).collect::<Vec<_>>())
            };
            for answer in &answers {
                let alone = std::thread::scope(|scope| scope.spawn(|| build(answer)).join());
                prop_assert_eq!(build(answer), alone.expect("no panic"));
            }
        }

        /// Lists that share texts and addresses, in any order of ways to give them.
        #[test]
        fn shared_labels_are_the_labels_that_they_hold(
            series in prop::collection::vec((0..3usize, prop::collection::vec(0..4usize, 4), 0..6usize, any::<bool>()), 0..20),
        ) {
            let list = |texts: &[&str]| -> SharedTexts { texts.iter().map(|&text| text.into()).collect() };
            let names = [list(&["a", "b", "c", "d"]), list(&["a", "b", "c", "d"]), list(&["a", "b", "b", "c"])];
            let texts: [Arc<str>; 4] = ["x".into(), "y".into(), "x".into(), "".into()];
            let (mut shared, mut each) = (LabelSetsBuilder::default(), LabelSetsBuilder::default());
            for (names_at, values, skipped, one_by_one) in series {
                let values: SharedTexts = values.iter().map(|&at| Arc::clone(&texts[at])).collect();
                let labels = || names[names_at].iter().zip(values.iter()).skip(skipped);
                match one_by_one {
                    true => labels().for_each(|(name, value)| shared.label(name, value)),
                    false => shared.shared(&names[names_at], &values, skipped),
                }
                labels().for_each(|(name, value)| each.label(name, value));
                prop_assert_eq!(shared.end_series(), each.end_series());
            }
            let (shared, each) = (shared.build(), each.build());
            prop_assert_eq!(shared.iter().collect::<Vec<_>>(), each.iter().collect::<Vec<_>>());
            prop_assert_eq!(shared.heap_bytes(), each.heap_bytes());
        }
    }

    #[test]
    fn a_duplicate_name_is_refused_and_costs_only_its_series() {
        let mut builder = LabelSetsBuilder::default();
        builder.label("pod", "a");
        builder.end_series().unwrap();
        builder.label("pod", "b");
        builder.label("pod", "c");
        assert_eq!(
            builder.end_series(),
            Err(LabelError::Duplicate { name: "pod".into() })
        );
        builder.label("pod", "d");
        builder.end_series().unwrap();
        let pods: Vec<_> = builder
            .build()
            .iter()
            .map(|l| l.get("pod").unwrap().to_owned())
            .collect();
        assert_eq!(pods, ["a", "d"]);
    }

    #[test]
    fn equal_labels_are_found_whatever_their_order() {
        let check = |series: &[&[(&str, &str)]], expected: Option<&str>| {
            assert_eq!(
                sets(series).duplicate().map(|l| l.to_string()).as_deref(),
                expected
            );
        };
        check(&[], None);
        check(&[&[("a", "1")], &[("a", "2")], &[("b", "1")], &[]], None);
        let swapped: [&[_]; 3] = [&[("a", "1"), ("b", "2")], &[], &[("b", "2"), ("a", "1")]];
        check(&swapped, Some(r#"{a="1", b="2"}"#));
        check(&[&[], &[("a", "")]], Some("{}"));
    }

    #[test]
    fn labels_print_as_prometheus_prints_them() {
        let check = |labels: &[(&str, &str)], expected: &str| {
            assert_eq!(sets(&[labels]).get(0).unwrap().to_string(), expected);
        };
        check(&[], "{}");
        check(&[("__name__", "up")], "up");
        check(
            &[("__name__", "up"), ("a", "b"), ("c", "d")],
            r#"up{a="b", c="d"}"#,
        );
        check(&[("a", "q\"b\\s\nn")], r#"{a="q\"b\\s\nn"}"#);
        check(
            &[("__name__", "a.b"), ("c-d", "e"), ("f", "g")],
            r#"{"a.b", "c-d"="e", f="g"}"#,
        );
        // What a terminal would obey.
        check(
            &[("__name__", "x\u{9b}m"), ("q\u{1b}[31m", "\u{202e}\u{7}")],
            r#"{"x\u009bm", "q\x1b[31m"="\u202e\x07"}"#,
        );
        check(&[("a\u{200b}", "b")], r#"{"a\u200b"="b"}"#);
    }

    /// A linear search for each shape took 8.8 s for so many.
    #[test]
    fn as_many_lists_of_names_as_series_cost_no_more_than_their_number() {
        let names: Vec<_> = (0..100_000).map(|i| format!("l{i}")).collect();
        let series: Vec<_> = names.iter().map(|name| [(name.as_str(), "x")]).collect();
        let series: Vec<&[(&str, &str)]> = series.iter().map(|labels| &labels[..]).collect();
        let sets = sets(&series);
        assert_eq!((sets.len(), sets.shapes.len()), (100_000, 100_000));
        assert_eq!(sets.get(99_999).unwrap().to_string(), r#"{l99999="x"}"#);
    }

    proptest! {
        #[test]
        fn every_series_reads_back_as_it_was_given(
            series in prop::collection::vec(prop::collection::btree_map("[a-c]{1,2}", "[xy]{0,2}", 0..5), 0..20),
            reversed in any::<bool>(),
        ) {
            let mut builder = LabelSetsBuilder::default();
            for labels in &series {
                let mut pairs: Vec<_> = labels.iter().collect();
                if reversed {
                    pairs.reverse();
                }
                pairs.into_iter().for_each(|(n, v)| builder.label(n, v));
                builder.end_series().unwrap();
            }
            let sets = builder.build();
            prop_assert_eq!(sets.len(), series.len());
            for (labels, mut given) in sets.iter().zip(series) {
                given.retain(|_, v| !v.is_empty());
                prop_assert_eq!(labels.to_map(), given);
            }
        }
    }
}
