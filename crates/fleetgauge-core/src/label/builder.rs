//! Builds label sets, one series after the other.

use std::cell::Cell;
use std::fmt;
use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::{LabelSets, bytes_at, string_at};

/// Why a series' labels could not be stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LabelError {
    /// A label name occurs twice in one series.
    #[error("label {name:?} occurs twice in one series")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// The distinct strings of one answer exceed what 32-bit references reach.
    #[error("the labels of one answer exceed 4 GiB")]
    TooLarge,
}

/// Builds [`LabelSets`], one series after the other.
///
/// ```
/// use fleetgauge_core::label::LabelSetsBuilder;
///
/// let mut sets = LabelSetsBuilder::default();
/// sets.label("pod", "a");
/// sets.label("namespace", "default");
/// sets.end_series()?;
/// let sets = sets.build();
/// assert_eq!(sets.get(0).unwrap().get("pod"), Some("a"));
/// assert_eq!(sets.get(0).unwrap().to_string(), r#"{namespace="default", pod="a"}"#);
/// # Ok::<(), fleetgauge_core::label::LabelError>(())
/// ```
///
/// The room that a builder took is used again by the next one of its thread: small answers come by the hundred, and half of
/// the work of building one was to ask for room.
pub struct LabelSetsBuilder {
    text: String,
    ends: Vec<u32>,
    strings: HashTable<u32>,
    hasher: FixedState,
    shapes: Vec<Box<[u32]>>,
    /// The shapes by the hash of their names.
    known_shapes: HashTable<u32>,
    rows: Vec<u32>,
    cells: Vec<u32>,
    /// The series being built: names and values as they came.
    names: Vec<u32>,
    values: Vec<u32>,
    /// The series before, as it came. Answers repeat the names, and most values, from series to series;
    /// comparing with the neighbour is cheaper than looking up in the table.
    previous_names: Vec<u32>,
    previous_values: Vec<u32>,
    /// How the names of the series before are sorted: its shape, and for each name of it the position at
    /// which it came.
    previous_shape: u32,
    previous_order: Vec<u32>,
    /// The lists that [`shared`](Self::shared) gave for the series being built.
    pending: Option<SharedLabels>,
    /// Those of the series before, if it was given so.
    previous: Option<SharedLabels>,
    overflow: bool,
}

thread_local! {
    /// One that has built its sets.
    static SPARE: Cell<Option<LabelSetsBuilder>> = const { Cell::new(None) };
}

/// Lists of more bytes are handed over as they are, and take their room along.
const KEPT_BYTES: usize = 16 << 10;

/// A list of texts that several series share.
pub type SharedTexts = Arc<[Arc<str>]>;

/// Names and values but for the first of them.
struct SharedLabels {
    names: SharedTexts,
    values: SharedTexts,
    skipped: usize,
}

// === impl SharedLabels ===

impl SharedLabels {
    fn names(&self) -> &[Arc<str>] {
        self.names.get(self.skipped..).unwrap_or_default()
    }

    fn values(&self) -> &[Arc<str>] {
        self.values.get(self.skipped..).unwrap_or_default()
    }

    fn one_by_one(&self, into: &mut LabelSetsBuilder) {
        let labels = self.names().iter().zip(self.values());
        labels.for_each(|(name, value)| into.label(name, value));
    }
}

// === impl LabelSetsBuilder ===

impl LabelSetsBuilder {
    /// Adds a label to the series being built. An empty value is "no such label" and adds nothing.
    pub fn label(&mut self, name: &str, value: &str) {
        if value.is_empty() {
            return;
        }
        if self.ends.is_empty() {
            self.reserve_for_a_few();
        }
        let at = self.names.len();
        let name = self.reference(name, self.previous_names.get(at).copied());
        let value = self.reference(value, self.previous_values.get(at).copied());
        self.names.push(name);
        self.values.push(value);
    }

    /// Sets all labels of the series being built, but the first `skipped` of these. Many texts are those of the series
    /// before: these are known by their addresses, which is several times as fast as by their bytes.
    pub fn shared(&mut self, names: &SharedTexts, values: &SharedTexts, skipped: usize) {
        let labels = SharedLabels {
            names: Arc::clone(names),
            values: Arc::clone(values),
            skipped,
        };
        if names.len() == values.len() && labels.values().iter().all(|value| !value.is_empty()) {
            self.pending = Some(labels);
        } else {
            labels.one_by_one(self);
        }
    }

    /// Makes room for so many series.
    pub fn reserve(&mut self, series: usize) {
        self.rows.reserve(series);
        self.ends.reserve(series);
        let Self {
            text,
            ends,
            strings,
            hasher,
            ..
        } = self;
        strings.reserve(series, |&r| hasher.hash_one(string_at(text, ends, r)));
    }

    /// Ends the series being built.
    ///
    /// *Errors*: [`LabelError`], and then the series is not kept; the ones before it are.
    pub fn end_series(&mut self) -> Result<(), LabelError> {
        let previous = self.previous.take();
        let ended = match self.pending.take() {
            Some(labels) if self.names.is_empty() => self.try_end_shared(labels, previous),
            Some(labels) => {
                labels.one_by_one(self);
                self.try_end_series()
            }
            None => self.try_end_series(),
        };
        self.names.clear();
        self.values.clear();
        ended
    }

    /// How many series have been ended.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether no series has been ended yet.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The finished sets, without spare capacity.
    pub fn build(mut self) -> LabelSets {
        let sets = LabelSets {
            text: match self.text.capacity() <= KEPT_BYTES {
                true => Box::from(&*self.text),
                false => std::mem::take(&mut self.text).into_boxed_str(),
            },
            ends: taken(&mut self.ends),
            shapes: taken(&mut self.shapes),
            rows: taken(&mut self.rows),
            cells: taken(&mut self.cells),
        };
        // A thread that ends has no room for it any more.
        let _ = SPARE.try_with(|spare| spare.set(Some(self.emptied())));
        sets
    }

    fn empty() -> Self {
        Self {
            text: String::new(),
            ends: Vec::new(),
            strings: HashTable::new(),
            hasher: FixedState::default(),
            shapes: Vec::new(),
            known_shapes: HashTable::new(),
            rows: Vec::new(),
            cells: Vec::new(),
            names: Vec::new(),
            values: Vec::new(),
            previous_names: Vec::new(),
            previous_values: Vec::new(),
            previous_shape: 0,
            previous_order: Vec::new(),
            pending: None,
            previous: None,
            overflow: false,
        }
    }

    /// Without series, and with the room that it has, where that is not large.
    fn emptied(mut self) -> Self {
        self.text.clear();
        self.shapes.clear();
        empty_table(&mut self.strings);
        empty_table(&mut self.known_shapes);
        for list in [
            &mut self.ends,
            &mut self.rows,
            &mut self.cells,
            &mut self.names,
            &mut self.values,
            &mut self.previous_names,
            &mut self.previous_values,
            &mut self.previous_order,
        ] {
            match list.capacity() * size_of::<u32>() <= KEPT_BYTES {
                true => list.clear(),
                false => *list = Vec::new(),
            }
        }
        (self.pending, self.previous, self.previous_shape) = (None, None, 0);
        self.overflow = false;
        self
    }

    fn try_end_shared(
        &mut self,
        labels: SharedLabels,
        previous: Option<SharedLabels>,
    ) -> Result<(), LabelError> {
        let is_same = |before: &SharedLabels| {
            Arc::ptr_eq(&before.names, &labels.names) && before.skipped == labels.skipped
        };
        if previous.as_ref().is_some_and(is_same) {
            self.names.extend_from_slice(&self.previous_names);
        } else {
            for (at, name) in labels.names().iter().enumerate() {
                let name = self.reference(name, self.previous_names.get(at).copied());
                self.names.push(name);
            }
        }
        let before = previous.as_ref().map_or(&[][..], SharedLabels::values);
        for (at, value) in labels.values().iter().enumerate() {
            let guess = self.previous_values.get(at).copied();
            let value = match (before.get(at), guess) {
                (Some(before), Some(known)) if Arc::ptr_eq(before, value) => known,
                _ => self.reference(value, guess),
            };
            self.values.push(value);
        }
        self.try_end_series()?;
        self.previous = Some(labels);
        Ok(())
    }

    fn try_end_series(&mut self) -> Result<(), LabelError> {
        if self.overflow {
            return Err(LabelError::TooLarge);
        }
        if self.rows.is_empty() || self.names != self.previous_names {
            self.find_shape()?;
        }
        let row = u32::try_from(self.cells.len()).map_err(|_| LabelError::TooLarge)?;
        self.rows.push(row);
        self.cells.push(self.previous_shape);
        self.cells
            .extend(self.previous_order.iter().map(|&at| self.values[at as usize]));
        std::mem::swap(&mut self.names, &mut self.previous_names);
        std::mem::swap(&mut self.values, &mut self.previous_values);
        Ok(())
    }

    /// Sorts the names of the series being built and finds their shape, or adds it.
    fn find_shape(&mut self) -> Result<(), LabelError> {
        let string = |reference| string_at(&self.text, &self.ends, reference);
        let mut order: Vec<u32> = (0..).take(self.names.len()).collect();
        order.sort_unstable_by_key(|&at| string(self.names[at as usize]));
        let sorted: Box<[u32]> = order.iter().map(|&at| self.names[at as usize]).collect();
        if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(LabelError::Duplicate {
                name: string(pair[0]).to_owned(),
            });
        }
        let Self {
            shapes,
            known_shapes,
            hasher,
            ..
        } = self;
        let next = u32::try_from(shapes.len()).map_err(|_| LabelError::TooLarge)?;
        let entry = known_shapes.entry(
            hasher.hash_one(&sorted),
            |&known| shapes[known as usize] == sorted,
            |&known| hasher.hash_one(&shapes[known as usize]),
        );
        self.previous_shape = match entry {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(vacant) => {
                vacant.insert(next);
                shapes.push(sorted);
                next
            }
        };
        self.previous_order = order;
        Ok(())
    }

    /// Room for the answer of a small fleet, so that it is built without growing piece by piece; an answer
    /// without series allocates nothing.
    fn reserve_for_a_few(&mut self) {
        self.text.reserve(512);
        self.ends.reserve(24);
        self.strings.reserve(24, |_| 0);
        self.rows.reserve(16);
        self.cells.reserve(96);
        for row in [
            &mut self.names,
            &mut self.values,
            &mut self.previous_names,
            &mut self.previous_values,
        ] {
            row.reserve(8);
        }
    }

    #[inline]
    fn reference(&mut self, string: &str, guess: Option<u32>) -> u32 {
        match guess {
            Some(guess) if bytes_at(&self.text, &self.ends, guess) == string.as_bytes() => guess,
            _ => self.look_up(string),
        }
    }

    fn look_up(&mut self, string: &str) -> u32 {
        let Self {
            text,
            ends,
            strings,
            hasher,
            overflow,
            ..
        } = self;
        let hash = hasher.hash_one(string);
        if let Some(&known) = strings.find(hash, |&r| bytes_at(text, ends, r) == string.as_bytes()) {
            return known;
        }
        let (Ok(reference), Ok(end)) = (
            u32::try_from(ends.len()),
            u32::try_from(text.len() + string.len()),
        ) else {
            *overflow = true;
            return 0;
        };
        text.push_str(string);
        ends.push(end);
        strings.insert_unique(hash, reference, |&r| hasher.hash_one(string_at(text, ends, r)));
        reference
    }
}

/// What is in the list, without spare capacity; the list is empty then.
fn taken<T>(list: &mut Vec<T>) -> Box<[T]> {
    match list.capacity() * size_of::<T>() <= KEPT_BYTES {
        true => list.drain(..).collect(),
        false => std::mem::take(list).into_boxed_slice(),
    }
}

fn empty_table(table: &mut HashTable<u32>) {
    match table.capacity() * size_of::<u32>() <= KEPT_BYTES {
        true => table.clear(),
        false => *table = HashTable::new(),
    }
}

impl Default for LabelSetsBuilder {
    fn default() -> Self {
        let spare = SPARE.try_with(Cell::take).ok().flatten();
        spare.unwrap_or_else(Self::empty)
    }
}

impl fmt::Debug for LabelSetsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LabelSetsBuilder")
            .field("series", &self.len())
            .finish_non_exhaustive()
    }
}
