//! The labels of one series in the window: strings that all series share.
//!
//! A series is a list of shared values under a shared list of names: a thousand pods with the same hundred
//! metrics have one copy of each name, each bucket's bound and each model, and one of each list of names.
//! [`Symbols`] gives the copies out and takes back those that no series holds any more. Readers go straight
//! to the text: there is no table that they would have to ask, or wait for.

use std::fmt;
use std::hash::BuildHasher;
use std::sync::Arc;

use fleetgauge_core::label::METRIC_NAME;
use foldhash::fast::RandomState;
use hashbrown::HashTable;

/// The labels of one series.
///
/// *Shape*: pairs of name and value, sorted by name, without empty values (which mean "no such label" in
/// Prometheus).
pub struct LabelSet {
    names: Arc<[Arc<str>]>,
    values: Box<[Arc<str>]>,
}

/// The strings and lists of names that live series hold.
#[derive(Debug, Default)]
pub(super) struct Symbols {
    strings: HashTable<Arc<str>>,
    shapes: HashTable<Arc<[Arc<str>]>>,
    hasher: RandomState,
    bytes: usize,
}

// === impl LabelSet ===

impl LabelSet {
    /// The value of the label `name`, if the series has it.
    pub fn get(&self, name: &str) -> Option<&str> {
        let at = self.names.iter().position(|n| **n == *name)?;
        Some(&self.values[at])
    }

    /// The metric name.
    pub fn metric_name(&self) -> &str {
        self.get(METRIC_NAME).unwrap_or_default()
    }

    /// The pairs of name and value, sorted by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> + Clone {
        self.names.iter().zip(&self.values).map(|(n, v)| (&**n, &**v))
    }

    /// How many labels there are.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there is no label.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// *Unit*: bytes of its own, without what it shares.
    pub(super) fn heap_bytes(&self) -> usize {
        size_of_val(&*self.values)
    }
}

impl PartialEq for LabelSet {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for LabelSet {}

/// As Prometheus prints a series: `name{a="b", c="d"}`.
impl fmt::Display for LabelSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.metric_name())?;
        let rest = self.iter().filter(|&(n, _)| n != METRIC_NAME);
        let mut open = "{";
        for (name, value) in rest {
            write!(f, "{open}{name}=\"")?;
            open = ", ";
            for c in value.chars() {
                match c {
                    '\\' => f.write_str("\\\\")?,
                    '"' => f.write_str("\\\"")?,
                    '\n' => f.write_str("\\n")?,
                    c => write!(f, "{c}")?,
                }
            }
            f.write_str("\"")?;
        }
        if open == "{" { Ok(()) } else { f.write_str("}") }
    }
}

impl fmt::Debug for LabelSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

// === impl Symbols ===

impl Symbols {
    /// The label set of these pairs, which are sorted and without empty values.
    pub(super) fn label_set<'a>(&mut self, labels: impl Iterator<Item = (&'a str, &'a str)>) -> LabelSet {
        let (names, values): (Vec<_>, Vec<_>) = labels.map(|(n, v)| (self.string(n), self.string(v))).unzip();
        LabelSet {
            names: self.shape(names),
            values: values.into_boxed_slice(),
        }
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

/// With the two counts of the `Arc` and its place in the table.
fn bytes_of_string(string: &Arc<str>) -> usize {
    string.len().next_multiple_of(8) + 16 + TABLE_SLOT
}

fn bytes_of_shape(shape: &Arc<[Arc<str>]>) -> usize {
    size_of_val(&**shape) + 16 + TABLE_SLOT
}

/// A table of pointers and lengths, on average two thirds full.
const TABLE_SLOT: usize = 26;
