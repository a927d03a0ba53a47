//! Finds a target's series by their text as exposed, without reading their labels.
//!
//! A page lists its series in the same order at every scrape, so the text is compared with the one that came
//! next the last time; only where that differs is it looked up. Texts and entries lie in the order of the
//! page, and a scrape walks over both.

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::series::Series;

#[derive(Debug, Default)]
pub(super) struct ScrapeCache {
    text: String,
    entries: Vec<Entry>,
    table: HashTable<u32>,
    hasher: RandomState,
    /// The entry that is expected next.
    expected: usize,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) series: Arc<Series>,
    /// Its slot in the rows of the target, or [`NO_SLOT`].
    pub(super) slot: u32,
    start: u32,
    end: u32,
    /// The committed scrape that had it last; 0 if none did yet.
    pub(super) seen: u32,
    /// Whether it was in the last committed scrape, and has not been marked stale since.
    pub(super) present: bool,
    /// Whether it came without a timestamp of its own: only then its absence is told by a marker.
    pub(super) tracked: bool,
}

/// In the place of a slot, of a series that is none of the target's rows.
pub(super) const NO_SLOT: u32 = u32::MAX;

// === impl ScrapeCache ===

impl ScrapeCache {
    /// Begins a page.
    pub(super) fn rewind(&mut self) {
        self.expected = 0;
    }

    #[inline]
    pub(super) fn find(&mut self, text: &str) -> Option<u32> {
        if let Some(entry) = self.entries.get(self.expected)
            && self.text_of(entry) == text
        {
            self.expected += 1;
            return Some(self.expected as u32 - 1);
        }
        self.look_up(text)
    }

    /// Adds a text that is not there. `None` if the texts exceed what 32-bit references reach.
    pub(super) fn add(&mut self, text: &str, series: Arc<Series>, slot: u32) -> Option<u32> {
        let at = u32::try_from(self.entries.len()).ok()?;
        let start = u32::try_from(self.text.len()).ok()?;
        let end = u32::try_from(self.text.len() + text.len()).ok()?;
        self.text.push_str(text);
        self.entries.push(Entry {
            series,
            slot,
            start,
            end,
            seen: 0,
            present: false,
            tracked: false,
        });
        let Self {
            text: texts,
            entries,
            table,
            hasher,
            ..
        } = self;
        let hash_of = hash_of(texts, entries, hasher);
        table.insert_unique(hasher.hash_one(text), at, hash_of);
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

    /// Keeps the entries of which `keep` says so, by their place; `drop` is told of the others.
    pub(super) fn retain(
        &mut self,
        keep: impl Fn(usize, &Entry) -> bool,
        mut drop: impl FnMut(&Arc<Series>),
    ) {
        let mut place = 0;
        let old = std::mem::take(&mut self.text);
        self.entries.retain_mut(|entry| {
            place += 1;
            if !keep(place - 1, entry) {
                drop(&entry.series);
                return false;
            }
            let start = self.text.len() as u32;
            self.text.push_str(&old[entry.start as usize..entry.end as usize]);
            (entry.start, entry.end) = (start, self.text.len() as u32);
            true
        });
        self.text.shrink_to_fit();
        self.entries.shrink_to_fit();
        self.table.clear();
        let Self {
            text,
            entries,
            table,
            hasher,
            ..
        } = self;
        let hash_of = hash_of(text, entries, hasher);
        table.shrink_to(entries.len(), &hash_of);
        for at in 0..entries.len() as u32 {
            table.insert_unique(hash_of(&at), at, &hash_of);
        }
    }

    /// Gives back what growing took in advance.
    pub(super) fn shrink(&mut self) {
        self.text.shrink_to_fit();
        self.entries.shrink_to_fit();
    }

    /// *Unit*: bytes.
    pub(super) fn heap_bytes(&self) -> usize {
        // A table of capacity 7/8 holds five bytes a place.
        self.text.capacity()
            + self.entries.capacity() * size_of::<Entry>()
            + self.table.capacity() * 8 / 7 * 5
    }

    fn look_up(&mut self, text: &str) -> Option<u32> {
        let hash = self.hasher.hash_one(text);
        let same = |&at: &u32| self.text_of(&self.entries[at as usize]) == text;
        let at = *self.table.find(hash, same)?;
        self.expected = at as usize + 1;
        Some(at)
    }

    fn text_of(&self, entry: &Entry) -> &str {
        &self.text[entry.start as usize..entry.end as usize]
    }
}

/// How the table of a cache with these texts and entries hashes an entry.
fn hash_of(text: &str, entries: &[Entry], hasher: &RandomState) -> impl Fn(&u32) -> u64 {
    move |&at| {
        let entry = &entries[at as usize];
        hasher.hash_one(&text[entry.start as usize..entry.end as usize])
    }
}
