//! Finds a target's series by their text as exposed, without reading their labels.
//!
//! A page lists its series in the same order at every scrape, so the text is compared with the one that came
//! next the last time; only where that differs is it looked up. Entries lie in the order of the page, and a scrape
//! walks over them and over the texts, which all targets share. The table for looking up is made when it is needed, and
//! kept only while pages differ in their order.

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::series::Series;
use super::state::State;

#[derive(Debug)]
pub(super) struct ScrapeCache {
    window: Arc<State>,
    entries: Vec<Entry>,
    /// The places of all entries by their text, once one had to be looked up.
    table: Option<HashTable<u32>>,
    hasher: RandomState,
    /// The entry that is expected next.
    expected: usize,
    /// Whether a text of this page came out of turn.
    out_of_turn: bool,
    /// Whether the entries were put into the order of the page before.
    was_ordered: bool,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) series: Arc<Series>,
    /// Its slot in the rows of the target, or [`NO_SLOT`].
    pub(super) slot: u32,
    text: Arc<str>,
    /// The committed scrape that had it last; 0 if none did yet. One that the scrape before did not have either is not kept.
    pub(super) seen: u16,
    /// Whether it was in the last committed scrape, and has not been marked stale since.
    pub(super) present: bool,
    /// Whether it came without a timestamp of its own: only then its absence is told by a marker.
    pub(super) tracked: bool,
}

/// In the place of a slot, of a series that is none of the target's rows.
pub(super) const NO_SLOT: u32 = u32::MAX;

// === impl ScrapeCache ===

impl ScrapeCache {
    pub(super) fn new(window: Arc<State>) -> Self {
        Self {
            window,
            entries: Vec::new(),
            table: None,
            hasher: RandomState::default(),
            expected: 0,
            out_of_turn: false,
            was_ordered: false,
        }
    }

    /// Begins a page.
    pub(super) fn rewind(&mut self) {
        self.expected = 0;
    }

    #[inline]
    pub(super) fn find(&mut self, text: &str) -> Option<u32> {
        if let Some(entry) = self.entries.get(self.expected)
            && *entry.text == *text
        {
            self.expected += 1;
            return Some(self.expected as u32 - 1);
        }
        self.look_up(text)
    }

    /// Adds a text that is not there. `None` if there are more than what 32-bit references reach.
    pub(super) fn add(&mut self, text: &str, series: Arc<Series>, slot: u32) -> Option<u32> {
        let at = u32::try_from(self.entries.len()).ok()?;
        self.out_of_turn |= self.expected < self.entries.len();
        self.table();
        let State { lines, usage, .. } = &*self.window;
        self.entries.push(Entry {
            series,
            slot,
            text: lines.take(text, usage),
            seen: 0,
            present: false,
            tracked: false,
        });
        let hash_of = hash_of(&self.entries, &self.hasher);
        if let Some(table) = &mut self.table {
            table.insert_unique(self.hasher.hash_one(text), at, hash_of);
        }
        self.expected = self.entries.len();
        Some(at)
    }

    pub(super) fn entry_mut(&mut self, at: u32) -> &mut Entry {
        &mut self.entries[at as usize]
    }

    pub(super) fn series(&self) -> impl Iterator<Item = &Arc<Series>> {
        self.entries.iter().map(|entry| &entry.series)
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    pub(super) fn entries_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.entries.iter_mut()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Ends a page that had these entries, one after the other: if some came out of turn, the next page will have them
    /// in this order. Entries have other places then.
    ///
    /// Not for two pages in a row: those of a target that has no order of its own are better looked up.
    pub(super) fn keep_order(&mut self, page: impl Iterator<Item = u32>) {
        let out_of_turn = std::mem::take(&mut self.out_of_turn);
        if out_of_turn && std::mem::take(&mut self.was_ordered) {
            return;
        }
        self.was_ordered = out_of_turn;
        self.table = None;
        if !out_of_turn {
            return;
        }
        let mut old: Vec<_> = std::mem::take(&mut self.entries).into_iter().map(Some).collect();
        let on_page = page.filter_map(|at| old.get_mut(at as usize).and_then(Option::take));
        self.entries = on_page.collect();
        self.entries.extend(old.into_iter().flatten());
        self.shrink();
    }

    /// Keeps the entries of which `keep` says so, by their place; `drop` is told of the others.
    pub(super) fn retain(
        &mut self,
        keep: impl Fn(usize, &Entry) -> bool,
        mut drop: impl FnMut(&Arc<Series>),
    ) {
        let mut place = 0;
        let gone = self.entries.extract_if(.., |entry| {
            place += 1;
            !keep(place - 1, entry)
        });
        let texts = gone.map(|entry| {
            drop(&entry.series);
            entry.text
        });
        let State { lines, usage, .. } = &*self.window;
        lines.give_back(texts, usage);
        self.entries.shrink_to_fit();
        self.table = None;
    }

    /// Gives back what growing took in advance.
    pub(super) fn shrink(&mut self) {
        self.entries.shrink_to_fit();
    }

    /// *Unit*: bytes, without the texts.
    pub(super) fn heap_bytes(&self) -> usize {
        // A table of capacity 7/8 holds five bytes a place.
        let table = self.table.as_ref().map_or(0, HashTable::capacity);
        self.entries.capacity() * size_of::<Entry>() + table * 8 / 7 * 5
    }

    #[cfg(test)]
    pub(super) fn has_table(&self) -> bool {
        self.table.is_some()
    }

    fn look_up(&mut self, text: &str) -> Option<u32> {
        let hash = self.hasher.hash_one(text);
        self.table();
        let same = |&at: &u32| *self.entries[at as usize].text == *text;
        let at = *self.table.as_ref()?.find(hash, same)?;
        self.expected = at as usize + 1;
        self.out_of_turn = true;
        Some(at)
    }

    /// Makes the table if there is none.
    fn table(&mut self) {
        let Self {
            entries,
            table,
            hasher,
            ..
        } = self;
        table.get_or_insert_with(|| {
            let mut table = HashTable::with_capacity(entries.len());
            let hash_of = hash_of(entries, hasher);
            for at in 0..entries.len() as u32 {
                table.insert_unique(hash_of(&at), at, &hash_of);
            }
            table
        });
    }
}

#[cfg(test)]
impl Entry {
    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

impl Drop for ScrapeCache {
    fn drop(&mut self) {
        let State { lines, usage, .. } = &*self.window;
        lines.give_back(self.entries.drain(..).map(|entry| entry.text), usage);
    }
}

/// How the table of a cache with these entries hashes one.
fn hash_of(entries: &[Entry], hasher: &RandomState) -> impl Fn(&u32) -> u64 {
    move |&at| hasher.hash_one(&*entries[at as usize].text)
}
