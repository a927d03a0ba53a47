//! A stretch of one series' samples, written by one thread and read by any number while it grows.
//!
//! Samples are bits appended to a fixed array of words (see [`code`](super::code)). The writer adds bits
//! after those published, then publishes how many samples there are; readers decode as many as they found
//! published. Bits once published never change, though later bits come into the same word: so a reader needs
//! no lock and no copy, sees a prefix of what was written, and nothing has to be sealed or moved when a chunk
//! is full. All of it is plain atomics in safe Rust.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::code::{self, Code, Context};

/// How many samples a chunk holds at most: what a reader of the newest few decodes in vain is half of it.
pub(super) const MAX_SAMPLES: u32 = 120;
/// Words of a series' first chunk: short-lived series cost little.
pub(super) const FIRST_WORDS: usize = 12;
const MIN_WORDS: usize = 7;
const MAX_WORDS: usize = 64;
/// Words before the bits: what is published (how many samples there are, and in the upper half how many
/// milliseconds they span), the first one's time, its value.
const HEADER: usize = 3;
const PUBLISHED: usize = 0;
const FIRST_TIME: usize = 1;
const FIRST_VALUE: usize = 2;
/// A span that does not fit its half of a word.
const LONG: u32 = u32::MAX;

/// Cheap to clone; clones are the same chunk.
#[derive(Clone, Debug)]
pub(super) struct Chunk(Arc<[AtomicU64]>);

/// The writing end of a chunk. There is one for each chunk.
#[derive(Debug)]
pub(super) struct Encoder {
    chunk: Chunk,
    context: Context,
    bit: u32,
    samples: u32,
}

/// Reads a chunk from its first sample on.
#[derive(Debug)]
pub(super) struct Decoder {
    chunk: Chunk,
    context: Context,
    last: (i64, u64),
    bit: u32,
    read: u32,
    published: u32,
}

// === impl Chunk ===

impl Chunk {
    /// When the first sample was taken.
    pub(super) fn first_time(&self) -> i64 {
        self.word(FIRST_TIME) as i64
    }

    /// Whether all of its samples so far were taken before `time`. It may say no where they were.
    pub(super) fn ends_before(&self, time: i64) -> bool {
        let span = (self.0[PUBLISHED].load(Ordering::Acquire) >> 32) as u32;
        span != LONG && self.first_time().saturating_add(i64::from(span)) < time
    }

    pub(super) fn words(&self) -> usize {
        self.0.len()
    }

    /// *Unit*: bytes as asked of the allocator, for a chunk of so many words.
    pub(super) const fn bytes_of(words: usize) -> usize {
        // The two counts of an `Arc`, and its pointer in the series' list.
        words * 8 + 16 + size_of::<Chunk>()
    }

    pub(super) fn bytes(&self) -> usize {
        Self::bytes_of(self.words())
    }

    pub(super) fn decoder(&self) -> Decoder {
        let published = self.0[PUBLISHED].load(Ordering::Acquire) as u32;
        Decoder {
            context: Context::default(),
            last: (self.first_time(), self.word(FIRST_VALUE)),
            bit: 0,
            read: 0,
            published,
            chunk: self.clone(),
        }
    }

    #[inline]
    fn word(&self, at: usize) -> u64 {
        self.0.get(at).map_or(0, |word| word.load(Ordering::Relaxed))
    }

    /// 64 bits from `bit` on; zeros after the end.
    #[inline]
    fn peek(&self, bit: u32) -> u64 {
        let (at, offset) = (HEADER + (bit / 64) as usize, bit % 64);
        let high = self.word(at) << offset;
        // In two steps, since a shift by 64 is none.
        high | ((self.word(at + 1) >> 1) >> (63 - offset))
    }
}

// === impl Encoder ===

impl Encoder {
    /// A chunk of so many words that begins with `first`.
    pub(super) fn new(words: usize, first: (i64, u64)) -> Self {
        let header = [1, first.0 as u64, first.1];
        let words = (0..words.max(MIN_WORDS)).map(|at| AtomicU64::new(header.get(at).copied().unwrap_or(0)));
        Self {
            chunk: Chunk(words.collect()),
            context: Context::default(),
            bit: 0,
            samples: 1,
        }
    }

    pub(super) fn chunk(&self) -> &Chunk {
        &self.chunk
    }

    /// Writes the sample after the one of `last`; `false` if the chunk is full.
    pub(super) fn push(&mut self, last: (i64, u64), sample: (i64, u64)) -> bool {
        if self.samples == MAX_SAMPLES {
            return false;
        }
        let (codes, context) = code::encode(self.context, last, sample);
        let len: u32 = codes.iter().map(|code| code.len).sum();
        if (self.bit + len) as usize > (self.chunk.words() - HEADER) * 64 {
            return false;
        }
        for code in codes {
            self.write(code);
        }
        self.context = context;
        self.samples += 1;
        let span = sample.0.checked_sub(self.chunk.first_time());
        let span = span.and_then(|span| u32::try_from(span).ok()).unwrap_or(LONG);
        let published = u64::from(span) << 32 | u64::from(self.samples);
        self.chunk.0[PUBLISHED].store(published, Ordering::Release);
        true
    }

    /// How many words the next chunk of this series should have, to hold [`MAX_SAMPLES`] like these.
    pub(super) fn next_words(&self) -> usize {
        let bits = u64::from(self.bit) * u64::from(MAX_SAMPLES) / u64::from(self.samples);
        // A little more, since a chunk that is full too early costs a whole new one.
        let words = (bits + bits / 8).div_ceil(64) as usize;
        (HEADER + words).clamp(MIN_WORDS, MAX_WORDS)
    }

    fn write(&mut self, code: Code) {
        if code.len == 0 {
            return;
        }
        let (at, offset) = (HEADER + (self.bit / 64) as usize, self.bit % 64);
        let aligned = code.bits << (64 - code.len);
        self.add(at, aligned >> offset);
        if offset + code.len > 64 {
            self.add(at + 1, aligned << (64 - offset));
        }
        self.bit += code.len;
    }

    /// One thread writes, so a load and a store do what a locked instruction would cost more for.
    fn add(&self, at: usize, bits: u64) {
        let word = &self.chunk.0[at];
        word.store(word.load(Ordering::Relaxed) | bits, Ordering::Relaxed);
    }
}

// === impl Decoder ===

impl Decoder {
    /// How many samples are left.
    pub(super) fn len(&self) -> usize {
        (self.published - self.read) as usize
    }
}

impl Iterator for Decoder {
    type Item = (i64, u64);

    #[inline]
    fn next(&mut self) -> Option<(i64, u64)> {
        if self.read == self.published {
            return None;
        }
        if self.read > 0 {
            (self.last, self.bit) =
                code::decode(&mut self.context, self.last, self.bit, |bit| self.chunk.peek(bit));
        }
        self.read += 1;
        Some(self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encode(words: usize, samples: &[(i64, u64)]) -> (Encoder, usize) {
        let mut encoder = Encoder::new(words, samples[0]);
        let mut written = 1;
        for pair in samples.windows(2) {
            if !encoder.push(pair[0], pair[1]) {
                break;
            }
            written += 1;
        }
        (encoder, written)
    }

    fn check(samples: &[(i64, u64)]) {
        let (encoder, written) = encode(64, samples);
        let read: Vec<_> = encoder.chunk().decoder().collect();
        assert_eq!(read, &samples[..written]);
    }

    fn floats(values: &[f64]) -> Vec<(i64, u64)> {
        (0..)
            .map(|i| i * 1000)
            .zip(values.iter().map(|v| v.to_bits()))
            .collect()
    }

    #[test]
    fn values_at_the_borders_come_back() {
        check(&floats(&[
            0.0,
            -0.0,
            0.0,
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            1.0,
        ]));
        check(&floats(&[
            f64::from_bits(0x7ff0_0000_0000_0002),
            f64::NAN,
            f64::from_bits(u64::MAX),
            0.0,
        ]));
        let whole = 9_007_199_254_740_992.0;
        check(&floats(&[
            whole,
            -whole,
            whole - 1.0,
            whole + 2.0,
            0.0,
            1e300,
            5e-324,
            f64::MIN,
        ]));
        check(&floats(&[1.0, 8.0, 136.0, 8_328.0, 2e9, 7e9, -7e9, -1.0]));
    }

    #[test]
    fn times_at_the_borders_come_back() {
        let times = [
            i64::MIN,
            i64::MAX,
            0,
            1,
            i64::MIN + 1,
            -1,
            31,
            95,
            128,
            512,
            40_000,
            1 << 30,
        ];
        check(&times.map(|t| (t, 0)));
    }

    #[test]
    fn a_chunk_knows_when_it_ends() {
        let (mut encoder, _) = encode(64, &[(1_000, 0), (2_000, 0), (5_000, 0)]);
        let chunk = encoder.chunk().clone();
        assert!(chunk.ends_before(5_001));
        assert!(!chunk.ends_before(5_000));
        assert!(encoder.push((5_000, 0), (6_000, 0)));
        assert!(!chunk.ends_before(5_001));
        // Fifty days: it does not say.
        assert!(encoder.push((6_000, 0), (6_000 + 50 * 86_400_000, 0)));
        assert!(!chunk.ends_before(i64::MAX));
    }

    #[test]
    fn a_constant_series_costs_two_bits_a_sample() {
        let samples: Vec<_> = (0..i64::from(MAX_SAMPLES))
            .map(|i| (i * 1000, 3.5f64.to_bits()))
            .collect();
        let (encoder, written) = encode(MAX_WORDS, &samples);
        assert_eq!(written, MAX_SAMPLES as usize);
        // The first interval is written at length.
        assert_eq!(encoder.bit, (MAX_SAMPLES - 1) * 2 + 19 - 1);
    }

    fn value() -> impl Strategy<Value = u64> {
        prop_oneof![
            any::<u64>(),
            (-50i64..50).prop_map(|v| (v as f64).to_bits()),
            any::<i32>().prop_map(|v| f64::from(v).to_bits()),
            (0.0f64..1.0).prop_map(f64::to_bits),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            samples in prop::collection::vec((prop_oneof![any::<i64>(), 0i64..100_000], value()), 1..300),
            words in 0usize..80,
        ) {
            let (encoder, written) = encode(words, &samples);
            let read: Vec<_> = encoder.chunk().decoder().collect();
            prop_assert_eq!(&read[..], &samples[..written]);
        }
    }
}
