//! A request of remote write 2.0, made of the series of one of 1.0.
//!
//! ```proto
//! message Request    { repeated string symbols = 4; repeated TimeSeries timeseries = 5; }
//! message TimeSeries { repeated uint32 labels_refs = 1; repeated Sample samples = 2; repeated Histogram histograms = 3; }
//! message Sample     { double value = 1; int64 timestamp = 2; int64 start_timestamp = 3; }
//! message Histogram  { …; int64 start_timestamp = 17; }
//! ```
//!
//! A text is there once, and labels are the places of their texts. Samples and histograms are those of 1.0, byte by byte,
//! with when their counting began behind them.
//!
//! Source: <https://prometheus.io/docs/specs/prw/remote_write_spec_2_0/>.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::histogram::HISTOGRAMS;
use super::wire::{framed, put_head, put_varint, take_field};

/// The field numbers with what follows them, a length or a varint: of 1.0, and of 2.0.
const LABELS: u8 = 1 << 3 | 2;
const SYMBOLS: u8 = 4 << 3 | 2;
const TIMESERIES: u8 = 5 << 3 | 2;
const LABELS_REFS: u8 = 1 << 3 | 2;
const SAMPLES_2: u8 = 2 << 3 | 2;
const HISTOGRAMS_2: u8 = 3 << 3 | 2;
const START_OF_SAMPLE: u64 = 3 << 3;
const START_OF_HISTOGRAM: u64 = 17 << 3;

/// The texts of a request.
#[derive(Default)]
struct Symbols<'a> {
    places: HashMap<&'a [u8], u64, RandomState>,
    bytes: Vec<u8>,
}

/// The request of these series, each with the times since when its samples count, where there are any.
pub(super) fn rewritten<'a>(all: impl Iterator<Item = (&'a [u8], &'a [i64])>) -> Vec<u8> {
    let mut symbols = Symbols::default();
    // By this one nothing is said, where a text may be left out.
    symbols.place(b"");
    let (mut timeseries, mut refs, mut samples) = (Vec::new(), Vec::new(), Vec::new());
    for (mut bytes, starts) in all {
        let series = take_field(&mut bytes).map_or(&[][..], |(_, series)| series);
        let (labels, mut old) = parts(series);
        refs.clear();
        for text in labels.flat_map(|(name, value)| [name, value]) {
            put_varint(&mut refs, symbols.place(text));
        }
        samples.clear();
        let mut starts = starts.iter();
        while let Some((key, sample)) = take_field(&mut old) {
            let start = starts.next().copied().unwrap_or(0);
            put_sample(&mut samples, key == HISTOGRAMS, sample, start);
        }
        put_head(&mut timeseries, TIMESERIES, framed(refs.len()) + samples.len());
        put_head(&mut timeseries, LABELS_REFS, refs.len());
        timeseries.extend_from_slice(&refs);
        timeseries.extend_from_slice(&samples);
    }
    let mut request = symbols.bytes;
    request.extend_from_slice(&timeseries);
    request
}

/// The labels that a series of 1.0 begins with, as names and values, and its samples behind them.
pub(super) fn parts(series: &[u8]) -> (impl Iterator<Item = (&[u8], &[u8])>, &[u8]) {
    let mut samples = series;
    let mut rest = series;
    while let Some((LABELS, _)) = take_field(&mut rest) {
        samples = rest;
    }
    let mut labels = &series[..series.len() - samples.len()];
    let labels = std::iter::from_fn(move || {
        let (_, mut label) = take_field(&mut labels)?;
        let mut text = || take_field(&mut label).map_or(&[][..], |(_, text)| text);
        Some((text(), text()))
    });
    (labels, samples)
}

fn put_sample(into: &mut Vec<u8>, is_histogram: bool, sample: &[u8], start: i64) {
    let (key, start_key) = match is_histogram {
        true => (HISTOGRAMS_2, START_OF_HISTOGRAM),
        false => (SAMPLES_2, START_OF_SAMPLE),
    };
    let mut began = Vec::new();
    if start != 0 {
        put_varint(&mut began, start_key);
        put_varint(&mut began, start.cast_unsigned());
    }
    put_head(into, key, sample.len() + began.len());
    into.extend_from_slice(sample);
    into.extend_from_slice(&began);
}

// === impl Symbols ===

impl<'a> Symbols<'a> {
    fn place(&mut self, text: &'a [u8]) -> u64 {
        let next = self.places.len() as u64;
        *self.places.entry(text).or_insert_with(|| {
            put_head(&mut self.bytes, SYMBOLS, text.len());
            self.bytes.extend_from_slice(text);
            next
        })
    }
}
