//! Sends series to a Prometheus: numbers, histograms and both in one series, which no text has.
//!
//! Counts are sent as numbers with fractions, whatever they are: so one message serves for all.

use std::net::SocketAddr;

use fleetgauge_promql::histogram::{Buckets, CounterReset, FloatHistogram, Layout};
use fleetgauge_promql::sample::{STALE_MARKER, SampleValue};
use fleetgauge_testkit::http;
use prost::Message as _;

use super::series::{START, Series};

#[derive(prost::Message)]
struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    timeseries: Vec<TimeSeries>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
    #[prost(message, repeated, tag = "4")]
    histograms: Vec<Histogram>,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, prost::Message)]
struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Sample {
    /// Optional, since else a negative zero would be left out as a zero is.
    #[prost(double, optional, tag = "1")]
    value: Option<f64>,
    #[prost(int64, tag = "2")]
    timestamp: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Histogram {
    #[prost(double, optional, tag = "2")]
    count_float: Option<f64>,
    #[prost(double, tag = "3")]
    sum: f64,
    #[prost(sint32, tag = "4")]
    schema: i32,
    #[prost(double, tag = "5")]
    zero_threshold: f64,
    #[prost(double, optional, tag = "7")]
    zero_count_float: Option<f64>,
    #[prost(message, repeated, tag = "8")]
    negative_spans: Vec<Span>,
    #[prost(double, repeated, tag = "10")]
    negative_counts: Vec<f64>,
    #[prost(message, repeated, tag = "11")]
    positive_spans: Vec<Span>,
    #[prost(double, repeated, tag = "13")]
    positive_counts: Vec<f64>,
    #[prost(int32, tag = "14")]
    reset_hint: i32,
    #[prost(int64, tag = "15")]
    timestamp: i64,
    #[prost(double, repeated, tag = "16")]
    custom_values: Vec<f64>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Span {
    #[prost(sint32, tag = "1")]
    offset: i32,
    #[prost(uint32, tag = "2")]
    length: u32,
}

/// Sends all series, sorted, so that the server has them in the order of their labels.
///
/// In a request numbers come before histograms, so each run of one kind goes with another request. So does a staleness
/// marker, which the server takes for one or the other.
///
/// # Panics
/// Where it does not take all of it.
pub(super) fn send(to: SocketAddr, all: &[Series]) {
    let runs = |series: &Series| -> Vec<TimeSeries> {
        let runs = series.samples.chunk_by(|a, b| kind(&a.1) == kind(&b.1));
        runs.map(|run| message(series, run)).collect()
    };
    let mut all: Vec<_> = all.iter().map(|series| runs(series).into_iter()).collect();
    let sorted = |all: &mut Vec<TimeSeries>| all.sort_by(|a, b| a.labels.iter().cmp(&b.labels));
    loop {
        let mut timeseries: Vec<_> = all.iter_mut().filter_map(Iterator::next).collect();
        if timeseries.is_empty() {
            return;
        }
        sorted(&mut timeseries);
        let request = WriteRequest { timeseries }.encode_to_vec();
        let body = snap::raw::Encoder::new().compress_vec(&request).unwrap();
        let answer = http::post(to, "/api/v1/write", &body).unwrap();
        assert!(
            (200..300).contains(&answer.status),
            "{} {}",
            answer.status,
            answer.text()
        );
    }
}

fn kind(value: &SampleValue) -> u8 {
    match value {
        SampleValue::Float(value) if value.to_bits() == STALE_MARKER => 0,
        SampleValue::Float(_) => 1,
        SampleValue::Histogram(_) => 2,
    }
}

fn message(series: &Series, run: &[(i64, SampleValue)]) -> TimeSeries {
    let labels = series.labels.iter().copied().chain([("__name__", series.name)]);
    let mut labels: Vec<_> = labels
        .map(|(name, value)| Label {
            name: name.to_owned(),
            value: value.to_owned(),
        })
        .collect();
    labels.sort();
    let mut message = TimeSeries {
        labels,
        samples: Vec::new(),
        histograms: Vec::new(),
    };
    for (at, value) in run {
        let timestamp = START + at;
        match value {
            SampleValue::Float(value) => message.samples.push(Sample {
                value: Some(*value),
                timestamp,
            }),
            SampleValue::Histogram(one) => message.histograms.push(histogram(one, timestamp)),
        }
    }
    message
}

fn histogram(of: &FloatHistogram, timestamp: i64) -> Histogram {
    let (schema, custom_values) = match of.layout() {
        Layout::Exponential(schema) => (i32::from(*schema), Vec::new()),
        Layout::Custom(bounds) => (-53, bounds.to_vec()),
    };
    let counts = |buckets: &Buckets| buckets.iter().map(|(_, count)| count).collect();
    Histogram {
        count_float: Some(of.count()),
        sum: of.sum(),
        schema,
        zero_threshold: of.zero_threshold(),
        zero_count_float: Some(of.zero_count()),
        negative_spans: spans(of.negative()),
        negative_counts: counts(of.negative()),
        positive_spans: spans(of.positive()),
        positive_counts: counts(of.positive()),
        reset_hint: match of.counter_reset() {
            CounterReset::Unknown => 0,
            CounterReset::Reset => 1,
            CounterReset::NotReset => 2,
            CounterReset::Gauge => 3,
        },
        timestamp,
        custom_values,
    }
}

/// A span for each bucket that does not follow on the one before.
fn spans(buckets: &Buckets) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    let mut end = 0;
    for (index, _) in buckets.iter() {
        match spans.last_mut() {
            Some(span) if index == end => span.length += 1,
            _ => spans.push(Span {
                offset: index - end,
                length: 1,
            }),
        }
        end = index + 1;
    }
    spans
}
