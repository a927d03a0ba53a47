//! One series: its labels and its samples, oldest first.
//!
//! Writers take turns under the series' own lock, which readers never touch: they find the newest sample in
//! [`Newest`], and all of them in a list of chunks that is replaced as a whole when a chunk comes or goes.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use fleetgauge_core::time::Timestamp;

use crate::label::LabelSet;
use crate::sample::{STALE_MARKER, Sample, Samples};

use super::chunk::{self, Chunk, Encoder};
use super::limit::Usage;
use super::newest::Newest;

/// One series of the window. It stays readable for who holds it, also after the window has let it go.
#[derive(Debug)]
pub struct Series {
    newest: Newest,
    writer: Mutex<Option<Encoder>>,
    chunks: ArcSwapOption<Box<[Chunk]>>,
    /// Set under the writer's lock: the window let the series go, and nothing may be appended.
    gone: AtomicBool,
    /// Whether it had no sample when the window last looked: a page that is under way may bring one yet.
    was_empty: AtomicBool,
    /// How many scrapers have it on the page that they read last.
    exposed: AtomicU32,
    labels: LabelSet,
    /// How many series the target that made this one has.
    of_target: Arc<AtomicUsize>,
}

/// What became of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Appended,
    /// The series has this very sample already.
    Repeated,
    Duplicate,
    OutOfOrder,
    /// The window let the series go meanwhile.
    Gone,
}

/// A series that was let go before its time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gone {
    /// The times of its first and its newest sample.
    pub(super) first: i64,
    pub(super) last: i64,
    /// Whether the newest said that it is gone.
    pub(super) was_stale: bool,
}

// === impl Series ===

impl Series {
    pub(super) fn new(labels: LabelSet, of_target: Arc<AtomicUsize>) -> Self {
        of_target.fetch_add(1, Ordering::Relaxed);
        Self {
            newest: Newest::default(),
            writer: Mutex::default(),
            chunks: ArcSwapOption::empty(),
            gone: AtomicBool::new(false),
            was_empty: AtomicBool::new(false),
            exposed: AtomicU32::new(0),
            labels,
            of_target,
        }
    }

    /// What identifies the series.
    pub fn labels(&self) -> &LabelSet {
        &self.labels
    }

    /// The newest sample, also if it is a staleness marker.
    pub fn newest(&self) -> Option<Sample> {
        self.newest.read().map(Sample::new)
    }

    /// How many samples it has been given so far, those that are gone included, and the newest.
    pub(super) fn counted(&self) -> (u64, Option<Sample>) {
        let (count, newest) = self.newest.read_counted();
        (count, newest.map(Sample::new))
    }

    /// The newest sample at `at` that is younger than `lookback`; none if the series went stale before.
    ///
    /// As Prometheus 3 selects for an instant query: a sample as old as `lookback` is too old.
    pub fn at(&self, at: Timestamp, lookback: Duration) -> Option<Sample> {
        let at = at.as_millis();
        let lookback = i64::try_from(lookback.as_millis()).unwrap_or(i64::MAX);
        let newest = self.newest.read()?;
        let found = if newest.0 <= at {
            newest
        } else {
            self.last_until(at)?
        };
        let fresh = found.0 > at.saturating_sub(lookback) && found.1 != STALE_MARKER;
        fresh.then(|| Sample::new(found))
    }

    /// The samples from `from` to `to`, both included.
    ///
    /// *Shape*: oldest first, staleness markers included. What is appended meanwhile may or may not be among them,
    /// but never a sample without those before it.
    pub fn samples(&self, from: Timestamp, to: Timestamp) -> Vec<Sample> {
        let mut samples = Samples::default();
        self.read(from, to, &mut samples);
        let samples = samples.times().iter().zip(samples.values());
        samples
            .map(|(&time, value)| Sample::new((time, value.to_bits())))
            .collect()
    }

    /// As [`samples`](Self::samples), appended to `into`.
    pub fn read(&self, from: Timestamp, to: Timestamp, into: &mut Samples) {
        let (from, to) = (from.as_millis(), to.as_millis());
        let chunks = self.chunks.load();
        let Some(chunks) = chunks.as_ref() else { return };
        for chunk in &chunks[first_with(chunks, from)..] {
            if chunk.first_time() > to {
                return;
            }
            let samples = chunk.decoder();
            into.reserve(samples.len());
            for (time, value) in samples {
                if time > to {
                    return;
                }
                if time >= from {
                    into.push(time, f64::from_bits(value));
                }
            }
        }
    }

    /// Whether there can be a sample from `from` to `to`. It may say yes where a gap is.
    pub(super) fn overlaps(&self, from: i64, to: i64) -> bool {
        let Some(newest) = self.newest.read() else {
            return false;
        };
        // Mostly the newest sample decides, without a look at the chunks.
        newest.0 >= from
            && (newest.0 <= to
                || self
                    .chunks
                    .load()
                    .as_ref()
                    .is_some_and(|c| c[0].first_time() <= to))
    }

    /// Appends a sample. `steps_clock` if it has the time of its scrape and not its own: then one that is
    /// far too early means that the clock was set back.
    pub(super) fn append(&self, sample: (i64, u64), steps_clock: bool, usage: &Usage) -> Outcome {
        let mut writer = self.lock();
        if self.is_gone() {
            return Outcome::Gone;
        }
        let Some(mut last) = self.newest.read() else {
            self.begin_chunk(&mut writer, sample, usage);
            return Outcome::Appended;
        };
        if sample.0 <= last.0 {
            if sample == last {
                return Outcome::Repeated;
            }
            if sample.0 == last.0 {
                return Outcome::Duplicate;
            }
            if !steps_clock || last.0.saturating_sub(sample.0) <= usage.clock_step_ms {
                return Outcome::OutOfOrder;
            }
            self.cut(&mut writer, sample.0, usage);
            match self.newest.read() {
                Some(newest) => last = newest,
                None => {
                    self.begin_chunk(&mut writer, sample, usage);
                    return Outcome::Appended;
                }
            }
        }
        if writer.as_mut().is_some_and(|encoder| encoder.push(last, sample)) {
            self.newest.publish(sample);
        } else {
            self.begin_chunk(&mut writer, sample, usage);
        }
        Outcome::Appended
    }

    /// Appends a staleness marker, unless there is one, or a sample as new.
    pub(super) fn mark_stale(&self, at: i64, usage: &Usage) -> bool {
        let newest = self.newest.read();
        newest.is_some_and(|newest| newest.1 != STALE_MARKER && newest.0 != at)
            && self.append((at, STALE_MARKER), true, usage) == Outcome::Appended
    }

    /// Drops what is out of the retention or of the future. `true` if nothing is left: then the series is
    /// gone.
    pub(super) fn expire(&self, now: i64, max_ahead: i64, usage: &Usage) -> bool {
        let mut writer = self.lock();
        if self.is_gone() {
            return false;
        }
        let cutoff = now.saturating_sub(usage.retention_ms);
        if self
            .newest
            .read()
            .is_some_and(|newest| newest.0 > now.saturating_add(max_ahead))
        {
            self.cut(&mut writer, now.saturating_add(1), usage);
        }
        let is_over = match self.newest.read() {
            None => self.was_empty.swap(true, Ordering::Relaxed),
            Some(newest) => newest.0 < cutoff,
        };
        if is_over {
            if let Some(newest) = self.newest.read() {
                usage.expired(newest.0);
            }
            self.let_go(&mut writer, usage);
            return true;
        }
        let old = self.old_chunks(cutoff);
        if old > 0 {
            usage.expired(cutoff);
            let chunks = self.chunks.load();
            let kept = chunks.iter().flat_map(|c| c.iter()).skip(old).cloned().collect();
            self.replace_chunks(kept, usage);
        }
        false
    }

    /// Lets the series go if no scraper has it on its page: it makes room.
    pub(super) fn make_room(&self, usage: &Usage) -> Option<Gone> {
        let mut writer = self.lock();
        if self.is_gone() || self.is_exposed() {
            return None;
        }
        let newest = self.newest.read().unwrap_or((i64::MIN, STALE_MARKER));
        let first = self
            .chunks
            .load()
            .as_ref()
            .map_or(newest.0, |c| c[0].first_time());
        self.let_go(&mut writer, usage);
        Some(Gone {
            first,
            last: newest.0,
            was_stale: newest.1 == STALE_MARKER,
        })
    }

    fn let_go(&self, writer: &mut Option<Encoder>, usage: &Usage) {
        self.gone.store(true, Ordering::Relaxed);
        usage.let_go(self.counted().0);
        *writer = None;
        self.replace_chunks(Vec::new(), usage);
    }

    /// Says that a scraper has it on its page.
    pub(super) fn expose(&self, usage: &Usage) {
        if self.exposed.fetch_add(1, Ordering::Relaxed) == 0 {
            usage.exposed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Says that a scraper has it no longer.
    pub(super) fn conceal(&self, usage: &Usage) {
        if self.exposed.fetch_sub(1, Ordering::Relaxed) == 1 {
            usage.exposed.fetch_sub(1, Ordering::Relaxed);
        }
    }

    pub(super) fn is_exposed(&self) -> bool {
        self.exposed.load(Ordering::Relaxed) > 0
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    pub(super) fn of_target(&self) -> &AtomicUsize {
        &self.of_target
    }

    fn lock(&self) -> MutexGuard<'_, Option<Encoder>> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a writer holds while it writes.
    #[cfg(test)]
    pub(super) fn hold_for_test(&self) -> impl Sized + '_ {
        self.lock()
    }

    fn last_until(&self, at: i64) -> Option<(i64, u64)> {
        let chunks = self.chunks.load();
        let chunks = chunks.as_ref()?;
        let chunk = chunks
            .partition_point(|chunk| chunk.first_time() <= at)
            .checked_sub(1)?;
        chunks[chunk].decoder().take_while(|sample| sample.0 <= at).last()
    }

    /// How many chunks have no sample at or after `cutoff`.
    fn old_chunks(&self, cutoff: i64) -> usize {
        let chunks = self.chunks.load();
        let Some(chunks) = chunks.as_ref() else { return 0 };
        first_with(chunks, cutoff)
    }

    /// Begins a chunk with `sample`, and drops those that are out of the retention then.
    fn begin_chunk(&self, writer: &mut Option<Encoder>, sample: (i64, u64), usage: &Usage) {
        let cutoff = sample.0.saturating_sub(usage.retention_ms);
        let mut chunks: Vec<Chunk> = Vec::new();
        if self.newest.read().is_some_and(|newest| newest.0 >= cutoff) {
            let all = self.chunks.load();
            let old = self.old_chunks(cutoff);
            if old > 0 {
                usage.expired(cutoff);
            }
            chunks.extend(all.iter().flat_map(|c| c.iter()).skip(old).cloned());
        } else if let Some(newest) = self.newest.read() {
            usage.expired(newest.0);
        }
        let mut words = writer.as_ref().map_or(chunk::FIRST_WORDS, Encoder::next_words);
        // Over the memory limit, the oldest chunk makes room for one that is no larger.
        let after = bytes_of(&chunks) + Chunk::bytes_of(words);
        if !usage.fits(after.saturating_sub(self.chunk_bytes())) {
            words = words.min(chunk::FIRST_WORDS.max(chunks.first().map_or(0, Chunk::words)));
            if !chunks.is_empty() {
                chunks.remove(0);
                let newest = self.newest.read().map_or(sample.0, |newest| newest.0);
                usage.dropped_chunk(chunks.first().map_or(newest, |next| next.first_time() - 1));
            }
        }
        let encoder = Encoder::new(words, sample);
        chunks.push(encoder.chunk().clone());
        *writer = Some(encoder);
        self.replace_chunks(chunks, usage);
        self.newest.publish(sample);
    }

    /// Drops the samples at and after `time`.
    fn cut(&self, writer: &mut Option<Encoder>, time: i64, usage: &Usage) {
        usage.clock_steps.fetch_add(1, Ordering::Relaxed);
        let all = self.chunks.load_full();
        let mut chunks: Vec<Chunk> = all.iter().flat_map(|c| c.iter()).cloned().collect();
        chunks.retain(|chunk| chunk.first_time() < time);
        let mut last = None;
        *writer = None;
        if let Some(cut) = chunks.pop() {
            let mut samples = cut.decoder().take_while(|sample| sample.0 < time);
            // What fitted before fits again: it is written by the same codes.
            if let Some(first) = samples.next() {
                let mut encoder = Encoder::new(cut.words(), first);
                last = Some(samples.fold(first, |last, sample| {
                    encoder.push(last, sample);
                    sample
                }));
                chunks.push(encoder.chunk().clone());
                *writer = Some(encoder);
            }
        }
        self.newest.go_back(last);
        self.replace_chunks(chunks, usage);
    }

    fn replace_chunks(&self, chunks: Vec<Chunk>, usage: &Usage) {
        let before = self.chunk_bytes();
        let after = bytes_of(&chunks);
        let list = (!chunks.is_empty()).then(|| Arc::new(chunks.into_boxed_slice()));
        self.chunks.store(list);
        if after > before {
            usage.take(after - before);
        } else {
            usage.give_back(before - after);
        }
    }

    fn chunk_bytes(&self) -> usize {
        self.chunks.load().as_ref().map_or(0, |chunks| bytes_of(chunks))
    }
}

// === helpers ===

/// The first chunk that can have a sample at or after `from`: the last one that begins there or before, else the
/// first.
fn first_with(chunks: &[Chunk], from: i64) -> usize {
    let later = chunks.partition_point(|chunk| chunk.first_time() <= from);
    later.saturating_sub(1)
}

fn bytes_of(chunks: &[Chunk]) -> usize {
    chunks.iter().map(Chunk::bytes).sum()
}
