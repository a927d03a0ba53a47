//! Reading a series' past.

use std::sync::Arc;

use super::chunk::{Chunk, Decoder};
use super::sample::Sample;

/// The samples of a series in a range of time, each chunk decoded once.
///
/// *Shape*: oldest first, staleness markers included. What is appended while it is read may or may not be
/// seen, but never a sample without those before it.
#[derive(Debug)]
pub struct Samples {
    chunks: Option<Arc<Box<[Chunk]>>>,
    next: usize,
    current: Option<Decoder>,
    from: i64,
    to: i64,
}

// === impl Samples ===

impl Samples {
    pub(super) fn new(chunks: Option<Arc<Box<[Chunk]>>>, from: i64, to: i64) -> Self {
        Self {
            next: chunks.as_ref().map_or(0, |chunks| first_with(chunks, from)),
            chunks,
            current: None,
            from,
            to,
        }
    }
}

/// The first chunk that can have a sample at or after `from`.
pub(super) fn first_with(chunks: &[Chunk], from: i64) -> usize {
    chunks.partition_point(|chunk| chunk.ends_before(from))
}

impl Iterator for Samples {
    type Item = Sample;

    #[inline]
    fn next(&mut self) -> Option<Sample> {
        loop {
            let Some(decoder) = &mut self.current else {
                let chunk = self.chunks.as_ref()?.get(self.next)?;
                if chunk.first_time() > self.to {
                    return None;
                }
                self.next += 1;
                self.current = Some(chunk.decoder());
                continue;
            };
            match decoder.next() {
                None => self.current = None,
                Some(sample) if sample.0 > self.to => {
                    self.chunks = None;
                    self.current = None;
                }
                Some(sample) if sample.0 >= self.from => return Some(Sample::new(sample)),
                Some(_) => {}
            }
        }
    }
}
