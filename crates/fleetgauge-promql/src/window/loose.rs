//! The samples of a series that is no part of its target's rows: it dates them itself, or several targets write it.
//!
//! Writers take turns under the series' own lock, which readers never touch: they find the newest sample in
//! [`Newest`], and all of them in a list of chunks that is replaced as a whole when a chunk comes or goes.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use arc_swap::ArcSwapOption;

use super::chunk::{self, Chunk, Encoder};
use super::histogram_store::HistogramStore;
use super::limit::Usage;
use super::newest::Newest;
use super::outcome::Outcome;
use crate::histogram::{FloatHistogram, HistogramSample};
use crate::sample::{HISTOGRAM, Samples};

/// The samples of one series, oldest first.
#[derive(Debug, Default)]
pub(super) struct Loose {
    newest: Newest,
    writer: Mutex<Writer>,
    chunks: ArcSwapOption<Box<[Chunk]>>,
    /// Of the samples that are histograms, for each of which there is a mark among the others.
    histograms: OnceLock<Box<HistogramStore>>,
    /// How many samples it had been given that were not taken over into it.
    given_before: u64,
}

#[derive(Debug, Default)]
struct Writer {
    encoder: Option<Encoder>,
    is_gone: bool,
}

// === impl Loose ===

impl Loose {
    /// With these samples, of so many that were given.
    pub(super) fn new(samples: &Samples, given: u64, usage: &Usage) -> Self {
        let mut loose = Self::default();
        for (&time, value) in samples.times().iter().zip(samples.values()) {
            loose.append((time, value.to_bits()), false, usage);
        }
        loose.given_before = given.saturating_sub(samples.len() as u64);
        loose
    }

    /// How many samples it has been given so far, those that are gone included, and the newest.
    pub(super) fn counted(&self) -> (u64, Option<(i64, u64)>) {
        let (count, newest) = self.newest.read_counted();
        (self.given_before + count, newest)
    }

    /// Since when there are samples.
    pub(super) fn first_time(&self) -> Option<i64> {
        self.chunks.load().as_ref().map(|chunks| chunks[0].first_time())
    }

    /// The newest sample.
    pub(super) fn newest(&self) -> Option<(i64, u64)> {
        self.newest.read()
    }

    /// Appends the samples from `from` to `to`.
    pub(super) fn read(&self, range: (i64, i64), into: &mut Samples) {
        let Some(store) = self.histograms.get() else {
            let push = |into: &mut Samples, time, value| into.push(time, f64::from_bits(value));
            return self.each(range, into, Samples::reserve, push);
        };
        let mut samples = Vec::new();
        self.each(range, &mut samples, Vec::reserve, |into, time, value| {
            into.push((time, value))
        });
        // After the marks for them, so that each is there that has not been dropped.
        let mut histograms = match samples[..] {
            [(time, _)] => {
                let found = store.at(time).map(HistogramSample::Made);
                found.map(|one| (time, one)).into_iter().collect()
            }
            _ => store.read(range),
        };
        let mut histograms = histograms.drain(..).peekable();
        let mut read = Samples::default();
        for (time, value) in samples {
            if value != HISTOGRAM.to_bits() {
                read.push(time, f64::from_bits(value));
                continue;
            }
            while histograms.next_if(|(before, _)| *before < time).is_some() {}
            match histograms.next_if(|(at, _)| *at == time) {
                Some((_, histogram)) => read.push_histogram_sample(time, histogram),
                // Dropped, for its age or at a limit, so what was before is not to be read any more.
                None => read.clear(),
            }
        }
        match into.is_empty() {
            true => *into = read,
            false => into.extend_from(&read, 0..read.len()),
        }
    }

    /// Gives the samples from `from` to `to`, marks for histograms among them.
    #[inline]
    fn each<T>(
        &self,
        (from, to): (i64, i64),
        into: &mut T,
        reserve: impl Fn(&mut T, usize),
        give: impl Fn(&mut T, i64, u64),
    ) {
        let chunks = self.chunks.load();
        let Some(chunks) = chunks.as_ref() else { return };
        for chunk in &chunks[first_with(chunks, from)..] {
            if chunk.first_time() > to {
                return;
            }
            let samples = chunk.decoder();
            reserve(into, samples.len());
            for (time, value) in samples {
                if time > to {
                    return;
                }
                if time >= from {
                    give(into, time, value);
                }
            }
        }
    }

    /// Appends a sample. `steps_clock` if it has the time of its scrape and not its own: then one that is
    /// far too early means that the clock was set back.
    pub(super) fn append(&self, sample: (i64, u64), steps_clock: bool, usage: &Usage) -> Outcome {
        self.append_with(sample, steps_clock, usage, None)
    }

    /// Appends a sample that is a histogram.
    pub(super) fn append_histogram(
        &self,
        time: i64,
        histogram: &Arc<FloatHistogram>,
        steps_clock: bool,
        usage: &Arc<Usage>,
    ) -> Outcome {
        self.histograms
            .get_or_init(|| Box::new(HistogramStore::new(usage)));
        self.append_with((time, HISTOGRAM.to_bits()), steps_clock, usage, Some(histogram))
    }

    fn append_with(
        &self,
        sample: (i64, u64),
        steps_clock: bool,
        usage: &Usage,
        histogram: Option<&Arc<FloatHistogram>>,
    ) -> Outcome {
        let mut writer = self.lock();
        if writer.is_gone {
            return Outcome::Gone;
        }
        let mut last = self.newest.read();
        if let Some(newest) = last
            && sample.0 <= newest.0
        {
            if sample.0 == newest.0 {
                let is_same =
                    sample == newest && histogram.is_none_or(|own| self.has_histogram(sample.0, own));
                return match is_same {
                    true => Outcome::Repeated,
                    false => Outcome::Duplicate,
                };
            }
            if !steps_clock || newest.0.saturating_sub(sample.0) <= usage.clock_step_ms {
                return Outcome::OutOfOrder;
            }
            self.cut(&mut writer, sample.0, usage);
            last = self.newest.read();
        }
        if let (Some(histogram), Some(store)) = (histogram, self.histograms.get()) {
            // Before who reads is told that there is one.
            let is_behind_one = last.is_some_and(|last| last.1 == sample.1);
            store.append(sample.0, histogram, is_behind_one);
        }
        let encoder = writer.encoder.as_mut();
        if let (Some(last), Some(encoder)) = (last, encoder)
            && encoder.push(last, sample)
        {
            self.newest.publish(sample);
        } else {
            self.begin_chunk(&mut writer, sample, usage);
        }
        Outcome::Appended
    }

    fn has_histogram(&self, time: i64, histogram: &FloatHistogram) -> bool {
        let known = self.histograms.get().and_then(|store| store.at(time));
        known.is_some_and(|known| *known == *histogram)
    }

    /// Drops what is out of the retention or of the future.
    pub(super) fn expire(&self, cutoff: i64, now: i64, max_ahead: i64, usage: &Usage) {
        let mut writer = self.lock();
        let latest = now.saturating_add(max_ahead);
        if self.newest.read().is_some_and(|newest| newest.0 > latest) {
            self.cut(&mut writer, now.saturating_add(1), usage);
        }
        if let Some(histograms) = self.histograms.get() {
            histograms.expire(cutoff, now, max_ahead);
        }
        let old = self.old_chunks(cutoff);
        if old > 0 {
            usage.expired(cutoff);
            let chunks = self.chunks.load();
            let kept = chunks.iter().flat_map(|c| c.iter()).skip(old).cloned().collect();
            self.replace_chunks(kept, usage);
        }
    }

    /// Lets all samples go if `leave` says so, after which none can be appended.
    pub(super) fn let_go<T>(&self, usage: &Usage, leave: impl FnOnce() -> Option<T>) -> Option<T> {
        let mut writer = self.lock();
        let left = leave()?;
        writer.is_gone = true;
        writer.encoder = None;
        self.replace_chunks(Vec::new(), usage);
        if let Some(histograms) = self.histograms.get() {
            histograms.clear();
        }
        Some(left)
    }

    fn lock(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a writer holds while it writes.
    #[cfg(test)]
    pub(super) fn hold_for_test(&self) -> impl Sized + '_ {
        self.lock()
    }

    /// The newest sample that is not after `at`.
    pub(super) fn last_until(&self, at: i64) -> Option<(i64, u64)> {
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
    fn begin_chunk(&self, writer: &mut Writer, sample: (i64, u64), usage: &Usage) {
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
        let mut words = writer
            .encoder
            .as_ref()
            .map_or(chunk::FIRST_WORDS, Encoder::next_words);
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
        writer.encoder = Some(encoder);
        self.replace_chunks(chunks, usage);
        self.newest.publish(sample);
    }

    /// Drops the samples at and after `time`.
    fn cut(&self, writer: &mut Writer, time: i64, usage: &Usage) {
        usage.clock_steps.fetch_add(1, Ordering::Relaxed);
        if let Some(histograms) = self.histograms.get() {
            histograms.cut(time);
        }
        let all = self.chunks.load_full();
        let mut chunks: Vec<Chunk> = all.iter().flat_map(|c| c.iter()).cloned().collect();
        chunks.retain(|chunk| chunk.first_time() < time);
        let mut last = None;
        writer.encoder = None;
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
                writer.encoder = Some(encoder);
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
