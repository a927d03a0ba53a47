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
//! `Histogram` is, [`histogram`](super::histogram) says. This is the message of 1.0; that of 2.0 is made of it when it is
//! sent ([`version_2`](super::version_2)), so that what waits can be sent as either.

use std::ops::Range;

use bytes::Bytes;
use fleetgauge_promql::histogram::Layout;
use fleetgauge_promql::label::LabelSet;
use fleetgauge_promql::sample::{STALE_MARKER, Samples};

use super::protobuf_message::ProtobufMessage;
use super::wire::{framed, put_head, put_varint, take_field, varint_len};
use super::{histogram, version_2};

/// The field numbers with what follows them: a length, 64 bits, a varint.
const FIRST_BYTES: u8 = 1 << 3 | 2;
const SECOND_BYTES: u8 = 2 << 3 | 2;
const FIRST_DOUBLE: u8 = 1 << 3 | 1;
const SECOND_VARINT: u8 = 2 << 3;

/// A request that is being written. Its series can be sent in several requests as well, since a request is one series after
/// the other.
///
/// Of a series that changes its kind, what comes then is for the next request: a Prometheus before 3.7 stores all numbers of a
/// request, then all histograms of whole counts, then those of others, drops what is older by then than what it has of the
/// series, and counts it as written.
#[derive(Debug, Default)]
pub(super) struct Message {
    bytes: Vec<u8>,
    series: Vec<Series>,
    rest: Option<Box<Self>>,
}

/// A series, or a part of one whose samples are of several kinds.
#[derive(Debug)]
struct Series {
    /// Where its bytes end.
    end: usize,
    /// How many samples there are up to there, how many of them are sent as histograms, and how many of these have custom buckets.
    samples: u64,
    histograms: u64,
    custom: u64,
    /// Since when each of its samples counts, which only 2.0 tells; empty where that is known of none.
    starts: Vec<i64>,
}

/// What a sample is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Number,
    Histogram,
    Custom,
}

// === impl Message ===

impl Message {
    /// Adds a series; the labels `external`, sorted by name, are for those names that it lacks.
    pub(super) fn push(&mut self, external: &[(String, String)], labels: &LabelSet, samples: &Samples) {
        let mut into = self;
        let mut rest = 0..samples.len();
        while !rest.is_empty() {
            let kind = Kind::of(samples, rest.start);
            // A staleness marker is of the kind of what it ends.
            let goes_on = |at: &usize| {
                Kind::of(samples, *at) == kind || samples.values()[*at].to_bits() == STALE_MARKER
            };
            let run = match samples.has_histograms() {
                true => rest.start..rest.clone().skip(1).find(|at| !goes_on(at)).unwrap_or(rest.end),
                false => rest.clone(),
            };
            rest.start = run.end;
            into.push_run(external, labels, samples, run, kind);
            if !rest.is_empty() {
                into = into.rest.get_or_insert_default();
            }
        }
    }

    fn push_run(
        &mut self,
        external: &[(String, String)],
        labels: &LabelSet,
        samples: &Samples,
        run: Range<usize>,
        kind: Kind,
    ) {
        let histograms = match kind {
            Kind::Number => Vec::new(),
            Kind::Histogram | Kind::Custom => histogram::encoded(samples, run.clone()),
        };
        let numbers = match kind {
            Kind::Number => run.clone(),
            Kind::Histogram | Kind::Custom => 0..0,
        };
        let (times, values) = (&samples.times()[numbers.clone()], &samples.values()[numbers]);
        let len = labels_in(external, labels).map(|label| framed(label_len(label)));
        let of_numbers = times.iter().map(|time| framed(sample_len(*time)));
        let len = len.sum::<usize>() + of_numbers.sum::<usize>() + histograms.len();
        let bytes = &mut self.bytes;
        bytes.reserve(framed(len));
        put_head(bytes, FIRST_BYTES, len);
        for label in labels_in(external, labels) {
            put_head(bytes, FIRST_BYTES, label_len(label));
            put_bytes(bytes, FIRST_BYTES, label.0);
            put_bytes(bytes, SECOND_BYTES, label.1);
        }
        for (time, value) in times.iter().zip(values) {
            put_head(bytes, SECOND_BYTES, sample_len(*time));
            bytes.push(FIRST_DOUBLE);
            bytes.extend_from_slice(&value.to_bits().to_le_bytes());
            bytes.push(SECOND_VARINT);
            put_varint(bytes, time.cast_unsigned());
        }
        bytes.extend_from_slice(&histograms);
        let all = 0..self.series();
        let count = run.len() as u64;
        let mut starts = Vec::new();
        if run.clone().any(|at| samples.start(at) != 0) {
            starts.extend(run.map(|at| samples.start(at)));
        }
        self.series.push(Series {
            end: self.bytes.len(),
            samples: self.count(all.clone(), |series| series.samples) + count,
            histograms: self.count(all.clone(), |series| series.histograms)
                + if kind == Kind::Number { 0 } else { count },
            custom: self.count(all, |series| series.custom) + if kind == Kind::Custom { count } else { 0 },
            starts,
        });
    }

    /// With what is for later requests. *Unit*: bytes, uncompressed.
    pub(super) fn len(&self) -> usize {
        self.bytes.len() + self.rest.as_ref().map_or(0, |rest| rest.len())
    }

    /// What is for the next request, and those after it.
    pub(super) fn rest(self) -> Option<Self> {
        self.rest.map(|rest| *rest)
    }

    /// How many samples are for later requests.
    pub(super) fn later(&self) -> u64 {
        let rest = self.rest.as_ref();
        rest.map_or(0, |rest| {
            rest.samples(0..rest.series(), ProtobufMessage::V2) + rest.later()
        })
    }

    /// How many series there are.
    pub(super) fn series(&self) -> usize {
        self.series.len()
    }

    /// How many samples of these series are sent by such a message.
    pub(super) fn samples(&self, series: Range<usize>, message: ProtobufMessage) -> u64 {
        self.count(series.clone(), |series| series.samples) - self.left_out(series, message)
    }

    /// How many of the samples of these series that are sent by such a message are sent as histograms.
    pub(super) fn histograms(&self, series: Range<usize>, message: ProtobufMessage) -> u64 {
        self.count(series.clone(), |series| series.histograms) - self.left_out(series, message)
    }

    /// How many samples of these series such a message has no form for. Servers that take 1.0 know custom buckets or not,
    /// and who does not takes them for others; so a Prometheus sends none by it, and neither do we.
    pub(super) fn left_out(&self, series: Range<usize>, message: ProtobufMessage) -> u64 {
        match message {
            ProtobufMessage::V1 => self.count(series, |series| series.custom),
            ProtobufMessage::V2 => 0,
        }
    }

    /// A request of these series.
    pub(super) fn compressed(&self, series: Range<usize>, message: ProtobufMessage) -> Bytes {
        let compressed = |bytes: &[u8]| snap::raw::Encoder::new().compress_vec(bytes);
        let compressed = match message {
            ProtobufMessage::V1 if self.left_out(series.clone(), message) == 0 => {
                compressed(self.bytes_of(series))
            }
            ProtobufMessage::V1 => {
                let is_sent = |at: &usize| self.samples(*at..*at + 1, message) > 0;
                let sent = series.filter(is_sent).map(|at| self.bytes_of(at..at + 1));
                compressed(&sent.collect::<Vec<_>>().concat())
            }
            ProtobufMessage::V2 => {
                let sent = series.map(|at| (self.bytes_of(at..at + 1), &*self.series[at].starts));
                compressed(&version_2::rewritten(sent))
            }
        };
        // It fails above 4 GiB alone, which no request is.
        compressed.unwrap_or_default().into()
    }

    /// How a series is written, as for a log.
    pub(super) fn name(&self, series: usize) -> String {
        let mut bytes = self.bytes_of(series..series + 1);
        let (labels, _) = version_2::parts(take_field(&mut bytes).map_or(&[], |(_, series)| series));
        let text = |text| String::from_utf8_lossy(text).into_owned();
        let labels = labels.map(|(name, value)| (text(name), text(value)));
        LabelSet::from_pairs(labels).to_string()
    }

    fn bytes_of(&self, series: Range<usize>) -> &[u8] {
        let until = |end: usize| end.checked_sub(1).map_or(0, |last| self.series[last].end);
        &self.bytes[until(series.start)..until(series.end)]
    }

    fn count(&self, series: Range<usize>, count: impl Fn(&Series) -> u64) -> u64 {
        let until = |end: usize| end.checked_sub(1).map_or(0, |last| count(&self.series[last]));
        until(series.end) - until(series.start)
    }
}

impl Kind {
    fn of(samples: &Samples, at: usize) -> Self {
        match samples.histogram(at).map(|histogram| histogram.layout()) {
            None => Self::Number,
            Some(Layout::Exponential(_)) => Self::Histogram,
            Some(Layout::Custom(_)) => Self::Custom,
        }
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

fn put_bytes(into: &mut Vec<u8>, key: u8, text: &str) {
    put_head(into, key, text.len());
    into.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::super::tests::{decoded, decoded_2};
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
                for (at, (time, bits)) in points.iter().enumerate() {
                    samples.push(*time, f64::from_bits(*bits));
                    samples.set_start(at, bits.cast_signed() % 3);
                }
                let labels = labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
                message.push(&external_labels, &LabelSet::from_pairs(labels), &samples);
            }
            // In one request, or in two.
            let middle = series.len() / 2;
            let decoded = |range: Range<usize>| decoded(&message.compressed(range, ProtobufMessage::V1)).timeseries;
            let read = decoded(0..series.len());
            let halves = [decoded(0..middle), decoded(middle..series.len())].concat();
            // As text, in which one NaN is like another.
            prop_assert_eq!(format!("{read:?}"), format!("{halves:?}"));
            let samples = |series: &[(_, Vec<_>)]| series.iter().map(|(_, points)| points.len() as u64).sum::<u64>();
            prop_assert_eq!(message.samples(0..middle, ProtobufMessage::V1), samples(&series[..middle]));
            prop_assert_eq!(message.samples(middle..series.len(), ProtobufMessage::V1), samples(&series[middle..]));
            prop_assert_eq!(read.len(), series.len());
            // By 2.0 it is the same, with start timestamps.
            let by_2 = decoded_2(&message.compressed(0..series.len(), ProtobufMessage::V2)).timeseries;
            let mut expected = read.clone();
            for (series, (_, points)) in expected.iter_mut().zip(&series) {
                for (sample, (_, bits)) in series.samples.iter_mut().zip(points) {
                    sample.start_timestamp = bits.cast_signed() % 3;
                }
            }
            prop_assert_eq!(format!("{by_2:?}"), format!("{expected:?}"));
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
