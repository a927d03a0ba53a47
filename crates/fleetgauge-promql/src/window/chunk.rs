//! A stretch of one series' samples, written by one thread and read by any number while it grows.
//!
//! Samples are codes appended to a fixed array of words (see [`code`](super::code)): control codes from the front,
//! payload bits from the back, which may meet within a word. The writer adds bits beside those published, then
//! publishes how many samples there are; readers decode as many as they found published. Bits once published never
//! change, though later bits come into the same word: so a reader needs no lock and no copy, sees a prefix of what was
//! written, and nothing has to be sealed or moved when a chunk is full. All of it is plain atomics in safe Rust.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::code::{self, Bits, CONTROL_BITS, Context};

/// How many samples a chunk holds at most: what a reader of the newest few decodes in vain is half of it.
pub(super) const MAX_SAMPLES: u32 = 60;
/// Words of a series' first chunk: short-lived series cost little.
pub(super) const FIRST_WORDS: usize = 11;
const MIN_WORDS: usize = 6;
const MAX_WORDS: usize = 63;
/// Words before the codes: how many samples are published, and the first one's value.
const HEADER: usize = 2;
const PUBLISHED: usize = 0;
const FIRST_VALUE: usize = 1;
const CONTROLS_PER_WORD: u32 = 64 / CONTROL_BITS;

/// Cheap to clone; clones are the same chunk.
#[derive(Clone, Debug)]
pub(super) struct Chunk {
    /// Here and not among the words, so that a search for a time looks at no chunk.
    first_time: i64,
    words: Arc<[AtomicU64]>,
}

/// The writing end of a chunk. There is one for each chunk.
#[derive(Debug)]
pub(super) struct Encoder {
    chunk: Chunk,
    context: Context,
    /// Of the payload.
    bits: u32,
    samples: u32,
}

/// Reads a chunk from its first sample on.
#[derive(Debug)]
pub(super) struct Decoder<'a> {
    words: &'a [AtomicU64],
    reader: code::Reader,
    /// The codes that are left of a word, from its highest bits.
    controls: u64,
    read: u32,
    published: u32,
}

// === impl Chunk ===

impl Chunk {
    /// When the first sample was taken.
    pub(super) fn first_time(&self) -> i64 {
        self.first_time
    }

    pub(super) fn words(&self) -> usize {
        self.words.len()
    }

    /// *Unit*: bytes as asked of the allocator, for a chunk of so many words.
    pub(super) const fn bytes_of(words: usize) -> usize {
        // The two counts of an `Arc`, and its pointer in the series' list.
        words * 8 + 16 + size_of::<Chunk>()
    }

    pub(super) fn bytes(&self) -> usize {
        Self::bytes_of(self.words())
    }

    pub(super) fn decoder(&self) -> Decoder<'_> {
        let published = self.words[PUBLISHED].load(Ordering::Acquire) as u32;
        let first = self.words[FIRST_VALUE].load(Ordering::Relaxed);
        Decoder {
            words: &self.words,
            reader: code::Reader::new((self.first_time, first)),
            controls: 0,
            read: 0,
            published,
        }
    }
}

// === impl Encoder ===

impl Encoder {
    /// A chunk of so many words that begins with `first`.
    pub(super) fn new(words: usize, first: (i64, u64)) -> Self {
        let header = [1, first.1];
        let words = (0..words.max(MIN_WORDS)).map(|at| AtomicU64::new(header.get(at).copied().unwrap_or(0)));
        Self {
            chunk: Chunk {
                first_time: first.0,
                words: words.collect(),
            },
            context: Context::default(),
            bits: 0,
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
        let (code, context) = code::encode(self.context, last, sample);
        let len: u32 = code.payload.iter().map(|part| part.len).sum();
        let used = self.samples * CONTROL_BITS + self.bits + len;
        if used as usize > (self.chunk.words() - HEADER) * 64 {
            return false;
        }
        let at = self.samples - 1;
        let shift = 64 - CONTROL_BITS * (at % CONTROLS_PER_WORD + 1);
        self.add(
            HEADER + (at / CONTROLS_PER_WORD) as usize,
            u64::from(code.control) << shift,
        );
        for part in code.payload {
            self.write(part);
        }
        self.context = context;
        self.samples += 1;
        self.chunk.words[PUBLISHED].store(u64::from(self.samples), Ordering::Release);
        true
    }

    /// How many words the next chunk of this series should have, to hold [`MAX_SAMPLES`] like these.
    pub(super) fn next_words(&self) -> usize {
        let bits = u64::from(self.bits) * u64::from(MAX_SAMPLES) / u64::from(self.samples);
        // A little more, since a chunk that is full too early costs a whole new one.
        let bits = bits + bits / 8 + u64::from((MAX_SAMPLES - 1) * CONTROL_BITS);
        (HEADER + bits.div_ceil(64) as usize).clamp(MIN_WORDS, MAX_WORDS)
    }

    /// Writes to the payload.
    fn write(&mut self, part: Bits) {
        if part.len == 0 {
            return;
        }
        let (at, offset) = (self.chunk.words() - 1 - (self.bits / 64) as usize, self.bits % 64);
        self.add(at, part.bits << offset);
        if offset + part.len > 64 {
            self.add(at - 1, part.bits >> (64 - offset));
        }
        self.bits += part.len;
    }

    /// One thread writes, so a load and a store do what a locked instruction would cost more for.
    fn add(&self, at: usize, bits: u64) {
        let word = &self.chunk.words[at];
        word.store(word.load(Ordering::Relaxed) | bits, Ordering::Relaxed);
    }
}

// === impl Decoder ===

impl Decoder<'_> {
    /// How many samples are left.
    pub(super) fn len(&self) -> usize {
        (self.published - self.read) as usize
    }
}

impl Iterator for Decoder<'_> {
    type Item = (i64, u64);

    #[inline(always)]
    fn next(&mut self) -> Option<(i64, u64)> {
        if self.read == self.published {
            return None;
        }
        if self.read > 0 {
            let at = self.read - 1;
            if at.is_multiple_of(CONTROLS_PER_WORD) {
                self.controls = word(self.words, HEADER + (at / CONTROLS_PER_WORD) as usize);
            }
            let control = (self.controls >> (64 - CONTROL_BITS)) as u32;
            self.controls <<= CONTROL_BITS;
            self.reader.step(control, |bit| peek(self.words, bit));
        }
        self.read += 1;
        Some(self.reader.sample())
    }
}

/// 64 bits of the payload from `bit` on, lowest first; anything behind its end.
#[inline(always)]
fn peek(words: &[AtomicU64], bit: u32) -> u64 {
    let at = words.len().wrapping_sub(1 + (bit / 64) as usize);
    let offset = bit % 64;
    let first = word(words, at) >> offset;
    // In two steps, since a shift by 64 is none.
    first | ((word(words, at.wrapping_sub(1)) << 1) << (63 - offset))
}

#[inline(always)]
fn word(words: &[AtomicU64], at: usize) -> u64 {
    words.get(at).map_or(0, |word| word.load(Ordering::Relaxed))
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
    fn a_constant_series_costs_four_bits_a_sample() {
        let samples: Vec<_> = (0..i64::from(MAX_SAMPLES))
            .map(|i| (i * 1000, 3.5f64.to_bits()))
            .collect();
        let (encoder, written) = encode(MAX_WORDS, &samples);
        assert_eq!(written, MAX_SAMPLES as usize);
        // The first interval is a jump.
        assert_eq!(encoder.bits, 5 + 12);
        assert_eq!(encoder.next_words(), HEADER + 4);
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
