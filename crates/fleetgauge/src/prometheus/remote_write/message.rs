//! A request of remote write: series with their labels and samples, as Protocol Buffers, compressed by Snappy.
//!
//! ```proto
//! message WriteRequest { repeated TimeSeries timeseries = 1; }
//! message TimeSeries   { repeated Label labels = 1; repeated Sample samples = 2; }
//! message Label        { string name = 1; string value = 2; }
//! message Sample       { double value = 1; int64 timestamp = 2; }
//! ```
//!
//! Written by hand: generated types would copy each text of each series, for four messages that do not change.

use bytes::Bytes;
use fleetgauge_promql::label::LabelSet;
use fleetgauge_promql::sample::Samples;

/// The field numbers with what follows them: a length, 64 bits, a varint.
const FIRST_BYTES: u8 = 1 << 3 | 2;
const SECOND_BYTES: u8 = 2 << 3 | 2;
const FIRST_DOUBLE: u8 = 1 << 3 | 1;
const SECOND_VARINT: u8 = 2 << 3;

/// A request that is being written.
pub(super) struct Message<'a> {
    /// Sorted by name.
    external: &'a [(String, String)],
    bytes: Vec<u8>,
    series: Vec<u8>,
    part: Vec<u8>,
    samples: u64,
}

// === impl Message ===

impl<'a> Message<'a> {
    pub(super) fn new(external: &'a [(String, String)]) -> Self {
        Self {
            external,
            bytes: Vec::new(),
            series: Vec::new(),
            part: Vec::new(),
            samples: 0,
        }
    }

    /// Adds a series.
    pub(super) fn push(&mut self, labels: &LabelSet, samples: &Samples) {
        self.series.clear();
        let own = labels.iter();
        let missing = self.external.iter().map(|(name, value)| (&**name, &**value));
        let mut missing = missing.filter(|(name, _)| labels.get(name).is_none()).peekable();
        for (name, value) in own {
            while let Some((name, value)) = missing.next_if(|(other, _)| *other < name) {
                put_label(&mut self.series, &mut self.part, name, value);
            }
            put_label(&mut self.series, &mut self.part, name, value);
        }
        for (name, value) in missing {
            put_label(&mut self.series, &mut self.part, name, value);
        }
        for (time, value) in samples.times().iter().zip(samples.values()) {
            self.part.clear();
            self.part.push(FIRST_DOUBLE);
            self.part.extend_from_slice(&value.to_bits().to_le_bytes());
            self.part.push(SECOND_VARINT);
            put_varint(&mut self.part, time.cast_unsigned());
            put_bytes(&mut self.series, SECOND_BYTES, &self.part);
        }
        put_bytes(&mut self.bytes, FIRST_BYTES, &self.series);
        self.samples += samples.len() as u64;
    }

    /// *Unit*: bytes, uncompressed.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn samples(&self) -> u64 {
        self.samples
    }

    pub(super) fn compressed(&self) -> Bytes {
        let compressed = snap::raw::Encoder::new().compress_vec(&self.bytes);
        // It fails above 4 GiB alone, which no request is.
        compressed.unwrap_or_default().into()
    }
}

fn put_label(into: &mut Vec<u8>, part: &mut Vec<u8>, name: &str, value: &str) {
    part.clear();
    put_bytes(part, FIRST_BYTES, name.as_bytes());
    put_bytes(part, SECOND_BYTES, value.as_bytes());
    put_bytes(into, FIRST_BYTES, part);
}

fn put_bytes(into: &mut Vec<u8>, key: u8, bytes: &[u8]) {
    into.push(key);
    put_varint(into, bytes.len() as u64);
    into.extend_from_slice(bytes);
}

fn put_varint(into: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        into.push(value as u8 | 0x80);
        value >>= 7;
    }
    into.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use prost::Message as _;

    #[derive(prost::Message)]
    struct WriteRequest {
        #[prost(message, repeated, tag = "1")]
        timeseries: Vec<TimeSeries>,
    }

    #[derive(prost::Message)]
    struct TimeSeries {
        #[prost(message, repeated, tag = "1")]
        labels: Vec<Label>,
        #[prost(message, repeated, tag = "2")]
        samples: Vec<Sample>,
    }

    #[derive(prost::Message)]
    struct Label {
        #[prost(string, tag = "1")]
        name: String,
        #[prost(string, tag = "2")]
        value: String,
    }

    #[derive(prost::Message)]
    struct Sample {
        #[prost(double, tag = "1")]
        value: f64,
        #[prost(int64, tag = "2")]
        timestamp: i64,
    }

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
            let labels: Vec<(String, String)> = external.clone().into_iter().collect();
            let mut message = Message::new(&labels);
            for (labels, points) in &series {
                let mut samples = Samples::default();
                points.iter().for_each(|(time, bits)| samples.push(*time, f64::from_bits(*bits)));
                let labels = labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
                message.push(&LabelSet::from_pairs(labels), &samples);
            }
            let bytes = snap::raw::Decoder::new().decompress_vec(&message.compressed()).unwrap();
            let read = WriteRequest::decode(&*bytes).unwrap();
            prop_assert_eq!(read.timeseries.len(), series.len());
            for (read, (labels, points)) in read.timeseries.iter().zip(&series) {
                // Sorted, and a series' own value goes before the external one.
                let mut wanted = external.clone();
                wanted.extend(labels.clone());
                let found: Vec<_> = read.labels.iter().map(|l| (l.name.clone(), l.value.clone())).collect();
                prop_assert_eq!(found, wanted.into_iter().collect::<Vec<_>>());
                let found: Vec<_> = read.samples.iter().map(|s| (s.timestamp, s.value.to_bits())).collect();
                prop_assert_eq!(&found, points);
            }
        }
    }
}
