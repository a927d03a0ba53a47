//! A request of remote write: series with their labels and samples, as Protocol Buffers, compressed by Snappy.
//!
//! ```proto
//! message WriteRequest { repeated TimeSeries timeseries = 1; }
//! message TimeSeries   { repeated Label labels = 1; repeated Sample samples = 2; repeated Histogram histograms = 4; }
//! message Label        { string name = 1; string value = 2; }
//! message Sample       { double value = 1; int64 timestamp = 2; }
//! ```
//!
//! Written by hand: generated types would copy each text of each series, for messages that do not change. What a
//! `Histogram` is, [`histogram`](super::histogram) says.

use std::ops::Range;

use bytes::Bytes;
use fleetgauge_promql::label::LabelSet;
use fleetgauge_promql::sample::Samples;

use super::histogram;
use super::wire::{put_head, put_varint, varint_len};

/// The field numbers with what follows them: a length, 64 bits, a varint.
const FIRST_BYTES: u8 = 1 << 3 | 2;
const SECOND_BYTES: u8 = 2 << 3 | 2;
const FIRST_DOUBLE: u8 = 1 << 3 | 1;
const SECOND_VARINT: u8 = 2 << 3;

/// A request that is being written. Its series can be sent in several requests as well, since a request is one series after
/// the other.
#[derive(Debug, Default)]
pub(super) struct Message {
    bytes: Vec<u8>,
    /// Of each series, where its bytes end, and how many samples there are up to there.
    ends: Vec<(usize, u64)>,
}

// === impl Message ===

impl Message {
    /// Adds a series; the labels `external`, sorted by name, are for those names that it lacks.
    pub(super) fn push(&mut self, external: &[(String, String)], labels: &LabelSet, samples: &Samples) {
        let histograms = match samples.has_histograms() {
            true => histogram::encoded(samples),
            false => Vec::new(),
        };
        let all = samples;
        let samples = || {
            let numbers = all.times().iter().zip(all.values()).enumerate();
            let numbers = numbers.filter(|(at, _)| histograms.is_empty() || all.histogram(*at).is_none());
            numbers.map(|(_, number)| number)
        };
        let len = labels_in(external, labels).map(|label| framed(label_len(label)));
        let times = samples().map(|(time, _)| framed(sample_len(*time)));
        let len = len.sum::<usize>() + times.sum::<usize>() + histograms.len();
        let bytes = &mut self.bytes;
        bytes.reserve(framed(len));
        put_head(bytes, FIRST_BYTES, len);
        for label in labels_in(external, labels) {
            put_head(bytes, FIRST_BYTES, label_len(label));
            put_bytes(bytes, FIRST_BYTES, label.0);
            put_bytes(bytes, SECOND_BYTES, label.1);
        }
        for (time, value) in samples() {
            put_head(bytes, SECOND_BYTES, sample_len(*time));
            bytes.push(FIRST_DOUBLE);
            bytes.extend_from_slice(&value.to_bits().to_le_bytes());
            bytes.push(SECOND_VARINT);
            put_varint(bytes, time.cast_unsigned());
        }
        bytes.extend_from_slice(&histograms);
        let before = self.samples(0..self.series());
        self.ends.push((self.bytes.len(), before + all.len() as u64));
    }

    /// *Unit*: bytes, uncompressed.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// How many series there are.
    pub(super) fn series(&self) -> usize {
        self.ends.len()
    }

    /// How many samples these series have.
    pub(super) fn samples(&self, series: Range<usize>) -> u64 {
        let until = |end: usize| end.checked_sub(1).map_or(0, |last| self.ends[last].1);
        until(series.end) - until(series.start)
    }

    /// A request of these series.
    pub(super) fn compressed(&self, series: Range<usize>) -> Bytes {
        let compressed = snap::raw::Encoder::new().compress_vec(self.bytes_of(series));
        // It fails above 4 GiB alone, which no request is.
        compressed.unwrap_or_default().into()
    }

    /// How a series is written, as for a log.
    pub(super) fn name(&self, series: usize) -> String {
        let mut rest = self.bytes_of(series..series + 1);
        let _ = take_head(&mut rest);
        let mut labels = Vec::new();
        while let Some((FIRST_BYTES, len)) = take_head(&mut rest) {
            let (mut label, others) = rest.split_at(len);
            rest = others;
            let mut text = || {
                let len = take_head(&mut label).map_or(0, |(_, len)| len);
                let (text, others) = label.split_at(len);
                label = others;
                String::from_utf8_lossy(text).into_owned()
            };
            labels.push((text(), text()));
        }
        LabelSet::from_pairs(labels).to_string()
    }

    fn bytes_of(&self, series: Range<usize>) -> &[u8] {
        let until = |end: usize| end.checked_sub(1).map_or(0, |last| self.ends[last].0);
        &self.bytes[until(series.start)..until(series.end)]
    }
}

// === helpers ===

/// The labels of a series and the external ones that it lacks, sorted by name as they are.
fn labels_in<'a>(
    external: &'a [(String, String)],
    own: &'a LabelSet,
) -> impl Iterator<Item = (&'a str, &'a str)> {
    let external = external.iter().map(|(name, value)| (&**name, &**value));
    let mut missing = external.filter(|(name, _)| own.get(name).is_none()).peekable();
    let mut own = own.iter().peekable();
    std::iter::from_fn(move || match own.peek() {
        Some((next, _)) => missing.next_if(|(name, _)| name < next).or_else(|| own.next()),
        None => missing.next(),
    })
}

fn label_len((name, value): (&str, &str)) -> usize {
    framed(name.len()) + framed(value.len())
}

fn sample_len(time: i64) -> usize {
    1 + 8 + 1 + varint_len(time.cast_unsigned())
}

/// How long something of this length is with what tells its field and length.
fn framed(len: usize) -> usize {
    1 + varint_len(len as u64) + len
}

fn put_bytes(into: &mut Vec<u8>, key: u8, text: &str) {
    put_head(into, key, text.len());
    into.extend_from_slice(text.as_bytes());
}

/// The field that comes next, and its length.
fn take_head(bytes: &mut &[u8]) -> Option<(u8, usize)> {
    let (key, rest) = bytes.split_first()?;
    let digits = rest.iter().position(|byte| *byte < 0x80)?;
    let len = rest[..=digits].iter().rev();
    let len = len.fold(0, |len, byte| len << 7 | usize::from(byte & 0x7f));
    *bytes = &rest[digits + 1..];
    Some((*key, len))
}

#[cfg(test)]
mod tests {
    use super::super::tests::decoded;
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_by_another_decoder(
            series in prop::collection::vec(
                (
                    prop::collection::btree_map("[a-d_]{1,3}", "\\PC{1,200}", 0..6),
                    prop::collection::vec((any::<i64>(), any::<u64>()), 1..20),
                ),
                0..20,
            ),
            external in prop::collection::btree_map("[a-d_]{1,2}", "\\PC{1,9}", 0..4),
        ) {
            let external_labels: Vec<(String, String)> = external.clone().into_iter().collect();
            let mut message = Message::default();
            for (labels, points) in &series {
                let mut samples = Samples::default();
                points.iter().for_each(|(time, bits)| samples.push(*time, f64::from_bits(*bits)));
                let labels = labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
                message.push(&external_labels, &LabelSet::from_pairs(labels), &samples);
            }
            // In one request, or in two.
            let middle = series.len() / 2;
            let decoded = |range: Range<usize>| decoded(&message.compressed(range)).timeseries;
            let read = decoded(0..series.len());
            let halves = [decoded(0..middle), decoded(middle..series.len())].concat();
            // As text, in which one NaN is like another.
            prop_assert_eq!(format!("{read:?}"), format!("{halves:?}"));
            let samples = |series: &[(_, Vec<_>)]| series.iter().map(|(_, points)| points.len() as u64).sum::<u64>();
            prop_assert_eq!(message.samples(0..middle), samples(&series[..middle]));
            prop_assert_eq!(message.samples(middle..series.len()), samples(&series[middle..]));
            prop_assert_eq!(read.len(), series.len());
            for (at, (read, (labels, points))) in read.iter().zip(&series).enumerate() {
                // Sorted, and a series' own value goes before the external one.
                let mut wanted = external.clone();
                wanted.extend(labels.clone());
                let found: Vec<_> = read.labels.iter().map(|l| (l.name.clone(), l.value.clone())).collect();
                prop_assert_eq!(found, wanted.clone().into_iter().collect::<Vec<_>>());
                prop_assert_eq!(message.name(at), LabelSet::from_pairs(wanted).to_string());
                let found: Vec<_> = read.samples.iter().map(|s| (s.timestamp, s.value.to_bits())).collect();
                prop_assert_eq!(&found, points);
            }
        }
    }
}
