//! Pages in Protocol Buffers: they say what the text format says, and native histograms besides.

use std::collections::BTreeMap;
use std::time::Duration;

use fleetgauge_core::sample::Number as Shown;
use fleetgauge_promql::exposition::{
    Cut, Encoder, Event, Format, Histograms, Limits, MetricType, Parser, Report, Wanted,
};
use fleetgauge_syntax::number::OpenMetricsFloat;
use fleetgauge_testkit::{Answer, FaultyServer, Prometheus};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use serde_json::Value as Json;

use crate::support::exposition_body;
use crate::support::metric_family::{
    Bucket, Counter, Histogram, Metric, MetricFamily, Moment, Number, Quantile, Span, Summary, labels, page,
};

/// What a page says, a line an event, and what became of it.
pub(crate) fn read(parser: &mut Parser, format: Format, body: &[u8]) -> (Vec<String>, Report) {
    let mut said = Vec::new();
    let mut page = parser.page(format, body);
    while let Some(event) = page.next() {
        let text = match event {
            Event::Type { family, metric_type } => format!("type {family} {metric_type}"),
            Event::Help { family, text } => format!("help {family} {text:?}"),
            Event::Unit { family, unit } => format!("unit {family} {unit}"),
            Event::Sample(sample) => {
                let Some(labels) = page.labels() else { continue };
                let mut text = format!(
                    "{} {}{labels:?} {:?}",
                    sample.series(),
                    sample.name(),
                    sample.value
                );
                if let Some(time) = sample.timestamp {
                    text += &format!(" @{time}");
                }
                if let Some(time) = sample.start_timestamp {
                    text += &format!(" since {time}");
                }
                text
            }
            Event::Histogram(sample) => {
                let Some(labels) = page.labels() else { continue };
                let mut text = format!("{} {labels:?} {}", sample.series(), sample.histogram);
                text += &format!(
                    " {:?} {:?}",
                    sample.histogram.layout(),
                    sample.histogram.counter_reset()
                );
                text + &format!(" {:?} {:?}", sample.timestamp, sample.start_timestamp)
            }
            other => panic!("unexpected {other:?}"),
        };
        said.push(text);
    }
    (said, page.finish())
}

fn read_all(histograms: Histograms, families: &[MetricFamily]) -> (Vec<String>, Report) {
    let mut parser = Parser::new().with_histograms(histograms);
    read(&mut parser, Format::Protobuf, &page(families))
}

/// A family of one metric, of the type with this number.
pub(crate) fn family(name: &str, metric_type: i32, metric: Metric) -> MetricFamily {
    MetricFamily {
        name: Some(name.to_owned()),
        metric_type: Some(metric_type),
        metric: vec![metric],
        ..MetricFamily::default()
    }
}

fn gauge(name: &str, value: f64) -> MetricFamily {
    let metric = Metric {
        gauge: Some(Number { value: Some(value) }),
        ..Metric::default()
    };
    family(name, 1, metric)
}

pub(crate) fn histogram(name: &str, histogram: Histogram) -> MetricFamily {
    let metric = Metric {
        histogram: Some(histogram),
        ..Metric::default()
    };
    family(name, 4, metric)
}

pub(crate) fn span(offset: i32, length: u32) -> Span {
    Span {
        offset: Some(offset),
        length: Some(length),
    }
}

pub(crate) fn native() -> Histogram {
    Histogram {
        sample_count: Some(12),
        sample_sum: Some(18.5),
        schema: Some(1),
        zero_threshold: Some(0.001),
        zero_count: Some(2),
        positive_span: vec![span(0, 2), span(1, 2)],
        positive_delta: vec![1, 1, -1, 0],
        negative_span: vec![span(-1, 1), span(0, 1)],
        negative_delta: vec![2, 1],
        ..Histogram::default()
    }
}

#[test]
fn native_histograms_are_read_where_they_are_wanted() {
    let mut both = native();
    both.bucket = vec![Bucket {
        cumulative_count: Some(9),
        upper_bound: Some(0.5),
        ..Bucket::default()
    }];
    let families = [histogram("h", both)];
    let native = "h {} {count:12, sum:18.5, [-1,-0.7071067811865475):3, [-0.7071067811865475,-0.5):2, \
                  [-0.001,0.001]:2, (0.7071067811865475,1]:1, (1,1.414213562373095]:2, (2,2.82842712474619]:1, \
                  (2.82842712474619,4]:1} Exponential(1) Unknown None None";
    let classic = [
        "h_count h_count{} 12.0",
        "h_sum h_sum{} 18.5",
        r#"h_bucket{le="0.5"} h_bucket{"le": "0.5"} 9.0"#,
        r#"h_bucket{le="+Inf"} h_bucket{"le": "+Inf"} 12.0"#,
    ];
    let said = |histograms| {
        let (said, report) = read_all(histograms, &families);
        assert!(report.is_complete(), "{report:?}");
        assert_eq!(said[0], "type h histogram");
        said[1..].to_vec()
    };
    assert_eq!(said(Histograms::Classic), classic);
    let [one] = &said(Histograms::Native)[..] else {
        panic!("one histogram")
    };
    assert_eq!(one, native);
    let both = said(Histograms::Both);
    assert_eq!(both[0], *one);
    assert_eq!(both[1..], classic);
}

#[test]
fn what_is_finer_than_can_be_kept_is_made_coarser() {
    let check = |schema, first, expected: &str| {
        let fine = Histogram {
            sample_count: Some(10),
            sample_sum: Some(11.0),
            schema: Some(schema),
            positive_span: vec![span(first, 3), span(1, 1)],
            positive_delta: vec![1, 1, 1, 1],
            ..Histogram::default()
        };
        let (said, report) = read_all(Histograms::Native, &[histogram("h", fine)]);
        assert!(report.is_complete(), "schema {schema}: {report:?}");
        let expected = format!("h {{}} {{count:10, sum:11, {expected}}} Exponential(8) Unknown None None");
        assert_eq!(said[1], expected, "schema {schema}");
    };
    // Those of schema 9 with the numbers 1 and 2, 3, and 5; of schema 10, 1 to 3, and 5.
    check(
        9,
        1,
        "(1,1.0027112750502025]:3, (1.0027112750502025,1.0054299011128027]:3, (1.0054299011128027,1.0081558981184175]:4",
    );
    check(
        10,
        1,
        "(1,1.0027112750502025]:6, (1.0027112750502025,1.0054299011128027]:4",
    );
    // All that can be numbered there lies in two buckets.
    check(52, 1, "(1,1.0027112750502025]:10");
    check(52, i32::MAX - 4, "(1,1.0027112750502025]:10");
    check(52, -1, "(0.9972960560854698,1]:3, (1,1.0027112750502025]:7");
}

#[test]
fn a_histogram_of_fractions_may_be_a_gauge() {
    let float = Histogram {
        sample_count_float: Some(2.5),
        sample_sum: Some(1.0),
        schema: Some(0),
        positive_span: vec![span(2, 2)],
        positive_count: vec![0.5, 2.0],
        start_timestamp: Some(Moment {
            seconds: 7,
            nanos: 5_000_000,
        }),
        ..Histogram::default()
    };
    let metric = Metric {
        histogram: Some(float),
        timestamp_ms: Some(99),
        label: labels([("a", "x\"y")]),
        ..Metric::default()
    };
    let (said, _) = read_all(Histograms::Native, &[family("my.h", 5, metric)]);
    let expected = r#"{"my.h",a="x\"y"} {"a": "x\"y"} {count:2.5, sum:1, (2,4]:0.5, (4,8]:2} Exponential(0) Gauge Some(99) Some(7005)"#;
    assert_eq!(said, ["type my.h gaugehistogram", expected]);
}

#[test]
fn what_is_broken_costs_what_it_is_in() {
    let check = |broken: MetricFamily, expected: &str, lost: &str| {
        let families = [gauge("before", 1.0), broken, gauge("after", 2.0)];
        let (said, report) = read_all(Histograms::Native, &families);
        let good: Vec<_> = said.iter().filter(|said| said.contains('{')).collect();
        assert_eq!(good, ["before before{} 1.0", "after after{} 2.0"], "{report:?}");
        assert_eq!((report.errors, report.cut), (1, None), "{report:?}");
        assert_eq!(report.first_errors[0].to_string(), expected);
        assert!(report.lost.may_include(lost) && !report.lost.may_include("before"));
    };
    let with = |change: fn(&mut Histogram)| {
        let mut changed = native();
        change(&mut changed);
        histogram("h", changed)
    };
    check(
        with(|h| h.sample_count = Some(13)),
        r#"byte 34: not a histogram: 12 observations in the buckets, and a count of 13: "h""#,
        "h",
    );
    check(
        with(|h| h.positive_span[0] = span(0, 3)),
        r#"byte 34: not a histogram: spans of 5 buckets, and 4 counts: "h""#,
        "h",
    );
    check(
        with(|h| h.positive_span[0] = span(0, u32::MAX)),
        r#"byte 34: not a histogram: spans of 4294967297 buckets, and 4 counts: "h""#,
        "h",
    );
    check(
        with(|h| h.positive_delta[1] = -2),
        r#"byte 34: not a histogram: a bucket counts less than nothing: "h""#,
        "h",
    );
    check(
        with(|h| h.schema = Some(53)),
        r#"byte 34: not a histogram: schema 53 is not between -4 and 8: "h""#,
        "h",
    );
    check(
        with(|h| h.positive_span[1] = span(-1, 2)),
        r#"byte 34: not a histogram: bucket 1 is out of range: "h""#,
        "h",
    );
    // No value is no zero.
    check(
        family("x", 1, Metric::default()),
        r#"byte 32: expected a value: "x""#,
        "x",
    );
    let other = Metric {
        counter: Some(Counter::default()),
        ..Metric::default()
    };
    check(family("x", 1, other), r#"byte 32: expected a value: "x""#, "x");
    check(
        family("x", 6, Metric::default()),
        r#"byte 28: unknown metric type: "x""#,
        "x",
    );
    let mut nameless = gauge("", 1.0);
    nameless.name = None;
    let (said, report) = read_all(Histograms::Native, &[gauge("before", 1.0), nameless]);
    assert_eq!((said.len(), report.errors), (2, 1));
    assert!(report.lost.has_unnamed());
}

/// A zero that nobody has counted looks like a counter that began anew. Where a client may have meant it, as it leaves out what
/// is zero, it is one, as in a Prometheus.
#[test]
fn what_a_histogram_does_not_count_is_no_zero() {
    let bucket = |bound, count| Bucket {
        upper_bound: Some(bound),
        cumulative_count: count,
        ..Bucket::default()
    };
    let float_bucket = |count| Bucket {
        upper_bound: Some(1.0),
        cumulative_count_float: Some(count),
        ..Bucket::default()
    };
    let of_floats = |count: Option<f64>, buckets: Vec<f64>| Histogram {
        sample_count_float: count,
        zero_threshold: Some(0.001),
        positive_span: vec![span(0, buckets.len() as u32)],
        positive_count: buckets,
        ..Histogram::default()
    };
    let classic = |count, bucket| Histogram {
        sample_count: count,
        bucket,
        ..Histogram::default()
    };
    let no_count = |histogram| Histogram {
        sample_count: None,
        ..histogram
    };
    let every = [Histograms::Classic, Histograms::Native, Histograms::Both];
    for (broken, says) in [
        (of_floats(Some(f64::NAN), vec![]), "a count of NaN"),
        (of_floats(Some(-1.0), vec![]), "a count of -1"),
        (
            of_floats(None, vec![2.5]),
            "2.5 observations in the buckets, and a count of 0",
        ),
        (
            no_count(native()),
            "12 observations in the buckets, and a count of 0",
        ),
        (classic(None, vec![float_bucket(f64::NAN)]), "a count of NaN"),
        (classic(Some(7), vec![float_bucket(-2.0)]), "a count of -2"),
        (
            classic(None, vec![bucket(1.0, Some(5))]),
            "5 observations in a bucket, and no count",
        ),
        (
            classic(None, vec![bucket(f64::INFINITY, Some(5))]),
            "5 observations in a bucket, and no count",
        ),
        (
            classic(Some(4), vec![bucket(1.0, Some(5))]),
            "5 observations in a bucket, and a count of 4",
        ),
    ] {
        for histograms in every {
            let families = [
                gauge("before", 1.0),
                histogram("h", broken.clone()),
                gauge("after", 2.0),
            ];
            let (said, report) = read_all(histograms, &families);
            let good: Vec<_> = said.iter().filter(|said| said.contains('{')).collect();
            assert_eq!(
                good,
                ["before before{} 1.0", "after after{} 2.0"],
                "{histograms:?} {says}"
            );
            let problem = report.first_errors[0].to_string();
            assert!(problem.contains(says), "{histograms:?}: {problem}");
            for name in ["h", "h_count", "h_sum", "h_bucket"] {
                assert!(report.lost.may_include(name));
            }
        }
    }
    // Nothing was observed yet, and what is zero is left out.
    let empty = of_floats(None, vec![]);
    for (whole, bounds) in [
        (Histogram::default(), &["+Inf"][..]),
        (
            classic(None, vec![bucket(1.0, None), bucket(f64::INFINITY, None)]),
            &["1.0", "+Inf"],
        ),
        (classic(Some(0), vec![bucket(1.0, Some(0))]), &["1.0", "+Inf"]),
        (empty.clone(), &["+Inf"]),
    ] {
        let (said, report) = read_all(Histograms::Classic, &[histogram("h", whole)]);
        assert!(report.is_complete(), "{report:?}");
        let buckets = bounds
            .iter()
            .map(|le| format!(r#"h_bucket{{le="{le}"}} h_bucket{{"le": "{le}"}} 0.0"#));
        let expected = ["type h histogram", "h_count h_count{} 0.0", "h_sum h_sum{} 0.0"];
        let expected: Vec<_> = expected.map(str::to_owned).into_iter().chain(buckets).collect();
        assert_eq!(said, expected);
    }
    let (said, report) = read_all(Histograms::Native, &[histogram("h", empty)]);
    assert!(report.is_complete(), "{report:?}");
    assert!(said[1].starts_with("h {} {count:0, sum:0}"), "{said:?}");
}

#[test]
fn a_family_of_which_nothing_more_can_be_told_is_lost_with_all_it_may_have() {
    // Its second field reaches beyond its end.
    let broken = [6, 0x0a, 1, b'h', 0x22, 50, 0];
    let body = [
        &page(&[gauge("before", 1.0)]),
        &broken[..],
        &page(&[gauge("after", 2.0)]),
    ]
    .concat();
    let (said, report) = read(&mut Parser::new(), Format::Protobuf, &body);
    assert_eq!(said.len(), 4);
    let lost: Vec<_> = report.lost.names().collect();
    assert_eq!(lost, ["h", "h_bucket", "h_count", "h_gcount", "h_gsum", "h_sum"]);
    assert_eq!(
        report.first_errors[0].to_string(),
        r#"byte 28: broken field: "h""#
    );
}

#[test]
fn a_page_that_ends_within_a_message_is_marked() {
    let body = page(&[gauge("before", 1.0), gauge("after", 2.0)]);
    let boundary = page(&[gauge("before", 1.0)]).len();
    for end in 1..body.len() {
        let (said, report) = read(&mut Parser::new(), Format::Protobuf, &body[..end]);
        let is_between = end == boundary;
        assert_eq!(
            report.cut,
            (!is_between).then_some(Cut::UnfinishedMessage),
            "{end}"
        );
        assert_eq!(report.lost.has_unnamed(), !is_between);
        assert_eq!(said.len(), if end < boundary { 0 } else { 2 });
    }
}

#[test]
fn limits_hold() {
    let check = |limits: Limits, families: &[MetricFamily], samples: usize, says: &str| {
        let mut parser = Parser::new()
            .with_limits(limits)
            .with_histograms(Histograms::Both);
        let (_, report) = read(&mut parser, Format::Protobuf, &page(families));
        assert_eq!(report.samples, samples, "{report:?}");
        let cut = report.cut.map(|cut| cut.to_string());
        let error = report.first_errors.first().map(ToString::to_string);
        assert_eq!(cut.or(error).unwrap_or_default(), says);
        assert!(!report.is_complete() && !report.lost.is_empty());
    };
    let gauges = [gauge("a", 1.0), gauge("b", 1.0), gauge("c", 1.0)];
    check(
        Limits::default().with_samples(2),
        &gauges,
        2,
        "more than 2 samples",
    );
    check(
        Limits::default().with_body_bytes(50),
        &gauges,
        2,
        "page of 57 bytes exceeds the limit of 50",
    );
    check(
        Limits::default().with_buckets(3),
        &[histogram("h", native())],
        0,
        r#"byte 62: more than 3 buckets: "h""#,
    );
}

/// What is read of one histogram, wherever it is native.
fn native_of(changed: Histogram) -> String {
    let (said, report) = read_all(Histograms::Native, &[histogram("h", changed)]);
    let error = report.first_errors.first().map(ToString::to_string);
    error.unwrap_or_else(|| said[1..].join("; "))
}

#[test]
fn anything_that_only_native_histograms_have_makes_one() {
    let empty = || Histogram {
        sample_count: Some(0),
        bucket: vec![Bucket {
            cumulative_count: Some(0),
            upper_bound: Some(1.0),
            ..Bucket::default()
        }],
        ..Histogram::default()
    };
    let check = |change: fn(&mut Histogram), is_native: bool| {
        let mut changed = empty();
        change(&mut changed);
        let said = native_of(changed);
        assert_eq!(said.contains("Exponential"), is_native, "{said}");
        assert_eq!(said.contains("h_bucket"), !is_native, "{said}");
    };
    check(|_| {}, false);
    check(|h| h.schema = Some(3), false);
    check(|h| h.zero_threshold = Some(0.0), false);
    check(|h| h.zero_threshold = Some(0.5), true);
    check(|h| (h.zero_count, h.sample_count) = (Some(1), Some(1)), true);
    check(|h| h.positive_span = vec![span(0, 0)], true);
    check(|h| h.negative_span = vec![span(0, 0)], true);
}

#[test]
fn any_count_of_fractions_makes_it_one_of_fractions() {
    let check = |change: fn(&mut Histogram), expected: &str| {
        let mut changed = Histogram {
            zero_threshold: Some(1.0),
            schema: Some(0),
            ..Histogram::default()
        };
        change(&mut changed);
        let said = native_of(changed);
        assert!(said.contains(expected), "{said}");
    };
    check(
        |h| h.zero_count_float = Some(0.5),
        "0.5 observations in the buckets, and a count of 0",
    );
    check(|h| h.sample_count_float = Some(0.5), "{count:0.5, sum:0}");
    check(
        |h| (h.positive_span, h.positive_count) = (vec![span(1, 1)], vec![1.5]),
        "1.5 observations in the buckets, and a count of 0",
    );
    check(
        |h| (h.negative_span, h.negative_count) = (vec![span(1, 1)], vec![1.5]),
        "1.5 observations in the buckets, and a count of 0",
    );
    check(
        |h| (h.positive_span, h.positive_count) = (vec![span(1, 1)], vec![-1.5]),
        "not a histogram: ",
    );
}

#[test]
fn counts_and_spans_are_those_of_each_other() {
    let check = |change: fn(&mut Histogram), expected: &str| {
        let mut changed = native();
        change(&mut changed);
        let said = native_of(changed);
        assert!(said.contains(expected), "{said}");
    };
    check(
        |h| h.sample_count = Some(11),
        "12 observations in the buckets, and a count of 11",
    );
    // What is not a number is in no bucket, and more than all is in none at all.
    check(
        |h| (h.sample_count, h.sample_sum) = (Some(13), Some(f64::NAN)),
        "{count:13, sum:NaN",
    );
    check(
        |h| (h.sample_count, h.sample_sum) = (Some(11), Some(f64::NAN)),
        "a count of 11",
    );
    check(
        |h| h.positive_span[0] = span(0, 1),
        "spans of 3 buckets, and 4 counts",
    );
}

/// A field of a message, with its length.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let length = u8::try_from(bytes.len()).expect("short");
    [&[number << 3 | 2, length], bytes].concat()
}

/// What is wrong with a page of a histogram `h` of these bytes, at `place` within them.
fn wrong_at(histogram: &[u8], place: usize) {
    let metric = field(7, histogram);
    let family = [field(1, b"h"), vec![3 << 3, 4], field(4, &metric)].concat();
    let body = [&[u8::try_from(family.len()).expect("short")], &family[..]].concat();
    let mut parser = Parser::new().with_histograms(Histograms::Native);
    let (said, report) = read(&mut parser, Format::Protobuf, &body);
    // Its type is known, and nothing else.
    assert!(
        said.iter().all(|said| said.starts_with("type")) && report.errors == 1,
        "{said:?}"
    );
    let begins = body.len() - histogram.len();
    let expected = format!("byte {}: broken field: \"h\"", begins + place);
    assert_eq!(report.first_errors[0].to_string(), expected);
}

#[test]
fn numbers_that_are_cut_or_too_large_are_told_with_their_place() {
    let zero_bucket = [7 << 3, 1];
    let with = |field: Vec<u8>| [&zero_bucket[..], &field].concat();
    // A fraction more than eight bytes; a difference that does not end; an offset and a length that are too wide.
    wrong_at(&with(field(14, &[0; 9])), 2);
    wrong_at(&with(field(13, &[2, 0x80])), 5);
    wrong_at(&with(field(12, &[8, 0xff, 0xff, 0xff, 0xff, 0x7f])), 4);
    wrong_at(&with(field(12, &[16, 0xff, 0xff, 0xff, 0xff, 0x7f])), 4);
}

#[test]
fn a_nan_is_an_ordinary_one_whatever_its_bits() {
    let body = page(&[gauge("a", f64::from_bits(0x7ff0_0000_0000_0002))]);
    let mut parser = Parser::new();
    let mut values = Vec::new();
    for event in parser.page(Format::Protobuf, &body) {
        if let Event::Sample(sample) = event {
            values.push(sample.value.to_bits());
        }
    }
    assert_eq!(values, [f64::NAN.to_bits()]);
}

#[test]
fn classic_buckets_may_have_fractions_and_a_last_one() {
    let bucket = |count: f64, bound| Bucket {
        cumulative_count: Some(7),
        cumulative_count_float: Some(count),
        upper_bound: Some(bound),
    };
    let both = Histogram {
        sample_count: Some(9),
        sample_count_float: Some(2.5),
        bucket: vec![bucket(0.5, 1.0), bucket(2.5, f64::INFINITY)],
        ..Histogram::default()
    };
    let (said, _) = read_all(Histograms::Classic, &[histogram("h", both)]);
    let expected = [
        "h_count h_count{} 2.5",
        "h_sum h_sum{} 0.0",
        r#"h_bucket{le="1.0"} h_bucket{"le": "1.0"} 0.5"#,
        r#"h_bucket{le="+Inf"} h_bucket{"le": "+Inf"} 2.5"#,
    ];
    assert_eq!(said[1..], expected);
}

#[test]
fn times_of_zero_are_none_and_counters_say_since_when() {
    let counter = |at, seconds| Metric {
        counter: Some(Counter {
            value: Some(1.0),
            start_timestamp: Some(Moment { seconds, nanos: 0 }),
        }),
        timestamp_ms: Some(at),
        ..Metric::default()
    };
    let (said, _) = read_all(Histograms::Classic, &[family("a", 0, counter(5, 7))]);
    assert_eq!(said[1], "a a{} 1.0 @5 since 7000");
    let (said, _) = read_all(Histograms::Classic, &[family("a", 0, counter(0, 0))]);
    assert_eq!(said[1], "a a{} 1.0");
}

#[test]
fn names_and_texts_have_to_be_some() {
    let check = |change: fn(&mut MetricFamily), limits: Limits, expected: &str| {
        let mut changed = gauge("long", 1.0);
        changed.metric[0].label = labels([("label", "value")]);
        change(&mut changed);
        let mut parser = Parser::new().with_limits(limits);
        let (said, report) = read(&mut parser, Format::Protobuf, &page(&[changed]));
        assert!(said.is_empty(), "{said:?}");
        let error = report.first_errors.first().map(ToString::to_string);
        assert!(
            error.as_ref().is_some_and(|error| error.contains(expected)),
            "{error:?}"
        );
    };
    let unlimited = Limits::default;
    check(
        |f| f.metric[0].label[0].name = None,
        unlimited(),
        "expected a label name",
    );
    check(|_| {}, unlimited().with_name_bytes(3), "name of 4 bytes");
    check(|_| {}, unlimited().with_line_bytes(10), "line of 19 bytes");
    // A family without metrics says nothing, not even of what type it is.
    let (said, report) = read_all(
        Histograms::Classic,
        &[MetricFamily {
            metric: vec![],
            ..gauge("a", 1.0)
        }],
    );
    assert!(said.is_empty() && report.is_complete());
}

#[test]
fn a_small_page_does_not_become_a_large_one() {
    // Each bucket has all labels in its text.
    let bucket = |at: u32| Bucket {
        cumulative_count: Some(1),
        upper_bound: Some(f64::from(at)),
        ..Bucket::default()
    };
    let histogram = Histogram {
        sample_count: Some(1),
        bucket: (0..9_000).map(bucket).collect(),
        ..Histogram::default()
    };
    let value = "x".repeat(10_000);
    let metric = Metric {
        histogram: Some(histogram),
        label: labels([("a", value.as_str())]),
        ..Metric::default()
    };
    let body = page(&[family("h", 4, metric)]);
    assert!(body.len() < 300_000);
    let limits = Limits::default().with_body_bytes(1 << 20);
    let (_, report) = read(&mut Parser::new().with_limits(limits), Format::Protobuf, &body);
    assert!(matches!(report.cut, Some(Cut::BodyTooLarge { limit, .. }) if limit == 1 << 20));
}

#[test]
fn only_wanted_metrics_are_read() {
    let families = [gauge("a", 1.0), histogram("h", native()), gauge("b", 2.0)];
    let mut parser = Parser::new()
        .with_wanted(Wanted::new(["b", "h_count"]))
        .with_histograms(Histograms::Both);
    let (said, report) = read(&mut parser, Format::Protobuf, &page(&families));
    let samples: Vec<_> = said.iter().filter(|said| said.contains("{}")).collect();
    assert_eq!(samples, ["b b{} 2.0"]);
    let mut parser = parser.with_histograms(Histograms::Classic);
    let (said, _) = read(&mut parser, Format::Protobuf, &page(&families));
    let samples: Vec<_> = said.iter().filter(|said| said.contains("{}")).collect();
    assert_eq!(samples, ["h_count h_count{} 12.0", "b b{} 2.0"]);
    assert!(report.skipped > 0);
}

/// One family, as both formats can say it.
#[derive(Clone, Debug)]
pub(crate) struct Family {
    pub(crate) name: String,
    pub(crate) help: String,
    pub(crate) unit: String,
    pub(crate) metric_type: MetricType,
    pub(crate) metrics: Vec<One>,
}

#[derive(Clone, Debug)]
pub(crate) struct One {
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) number: f64,
    pub(crate) count: u32,
    /// By bound or quantile.
    pub(crate) parts: Vec<(f64, u32)>,
    pub(crate) timestamp: Option<i64>,
}

pub(crate) fn any_family() -> impl Strategy<Value = Family> {
    let name = || prop_oneof!["[a-zA-Z_:][a-zA-Z0-9_:]{0,8}", "[a-z\\\\\"{}=,# \n.é]{1,6}"];
    let number = || {
        prop_oneof![
            any::<f64>().prop_map(|number| if number.is_nan() { f64::NAN } else { number }),
            Just(f64::INFINITY),
            (0..1000_u32).prop_map(f64::from)
        ]
    };
    let label = prop_oneof!["[a-z_][a-z0-9_]{0,3}", "[a-z\\\\\"{}=,# \n.é]{1,4}"]
        .prop_filter("not of ours", |name| {
            !["__name__", "le", "quantile"].contains(&name.as_str())
        });
    let one = (
        btree_map(label, "[a-z\\\\\"{}=,# \n\t.é]{0,8}", 0..4),
        number(),
        any::<u32>(),
        vec((-100..100_i32, any::<u32>()), 0..5),
        option::of((1..i64::MAX / 2).prop_map(|time| time / 1000)),
    );
    let one = one.prop_map(|(labels, number, count, parts, timestamp)| One {
        labels,
        number,
        count,
        parts: parts
            .into_iter()
            // No bucket has more than all.
            .map(|(bound, part)| (f64::from(bound) / 8.0, part.min(count)))
            .collect(),
        timestamp: timestamp.filter(|&time| time != 0),
    });
    let metric_type = prop::sample::select(vec![
        MetricType::Counter,
        MetricType::Gauge,
        MetricType::Summary,
        MetricType::Unknown,
        MetricType::Histogram,
    ]);
    let help = "[a-z\\\\\"{}=,# \n\t.é]{0,8}";
    (name(), help, "[a-z]{0,3}", metric_type, vec(one, 1..4)).prop_map(
        |(name, help, unit, metric_type, metrics)| Family {
            name,
            help,
            unit,
            metric_type,
            metrics,
        },
    )
}

impl Family {
    fn print(&self, page: &mut Encoder) {
        if !self.help.is_empty() {
            page.help(&self.name, &self.help);
        }
        page.metric_type(&self.name, self.metric_type);
        if !self.unit.is_empty() {
            page.unit(&self.name, &self.unit);
        }
        for one in &self.metrics {
            let mut sample = |suffix: &str, bound: Option<(&str, f64)>, value: f64| {
                let name = format!("{}{suffix}", self.name);
                let bound = bound.map(|(label, bound)| (label, OpenMetricsFloat(bound).to_string()));
                let labels = one.labels.iter().map(|(name, value)| (&**name, &**value));
                let bound = bound.as_ref().map(|(label, bound)| (*label, &**bound));
                page.sample(&name, labels.chain(bound), value, one.timestamp);
            };
            let (each, label) = match self.metric_type {
                MetricType::Histogram => ("_bucket", "le"),
                MetricType::Summary => ("", "quantile"),
                _ => {
                    sample("", None, one.number);
                    continue;
                }
            };
            sample("_count", None, f64::from(one.count));
            sample("_sum", None, one.number);
            for (bound, count) in &one.parts {
                sample(each, Some((label, *bound)), f64::from(*count));
            }
            if self.metric_type == MetricType::Histogram {
                sample(each, Some((label, f64::INFINITY)), f64::from(one.count));
            }
        }
    }

    pub(crate) fn message(&self) -> MetricFamily {
        let number = |one: &One| Number {
            value: Some(one.number),
        };
        let metric = |one: &One| {
            let mut metric = Metric {
                label: labels(one.labels.iter().map(|(name, value)| (&**name, &**value))),
                timestamp_ms: one.timestamp,
                ..Metric::default()
            };
            match self.metric_type {
                MetricType::Counter => {
                    metric.counter = Some(Counter {
                        value: Some(one.number),
                        start_timestamp: None,
                    });
                }
                MetricType::Gauge => metric.gauge = Some(number(one)),
                MetricType::Unknown => metric.untyped = Some(number(one)),
                MetricType::Summary => {
                    let quantile = |&(quantile, value): &(f64, u32)| Quantile {
                        quantile: Some(quantile),
                        value: Some(f64::from(value)),
                    };
                    metric.summary = Some(Summary {
                        sample_count: Some(one.count.into()),
                        sample_sum: Some(one.number),
                        quantile: one.parts.iter().map(quantile).collect(),
                    });
                }
                _ => {
                    let bucket = |&(bound, count): &(f64, u32)| Bucket {
                        cumulative_count: Some(count.into()),
                        cumulative_count_float: None,
                        upper_bound: Some(bound),
                    };
                    metric.histogram = Some(Histogram {
                        sample_count: Some(one.count.into()),
                        sample_sum: Some(one.number),
                        bucket: one.parts.iter().map(bucket).collect(),
                        ..Histogram::default()
                    });
                }
            }
            metric
        };
        let number = match self.metric_type {
            MetricType::Counter => 0,
            MetricType::Gauge => 1,
            MetricType::Summary => 2,
            MetricType::Unknown => 3,
            _ => 4,
        };
        MetricFamily {
            name: Some(self.name.clone()),
            help: Some(self.help.clone()),
            metric_type: Some(number),
            metric: self.metrics.iter().map(metric).collect(),
            unit: Some(self.unit.clone()),
        }
    }
}

proptest! {
    #[test]
    fn both_formats_of_a_page_say_the_same(families in vec(any_family(), 0..5)) {
        let mut text = Encoder::new(Format::OpenMetrics);
        families.iter().for_each(|family| family.print(&mut text));
        let text = text.finish();
        let messages: Vec<_> = families.iter().map(Family::message).collect();
        let mut parser = Parser::new();
        let (printed, report) = read(&mut parser, Format::OpenMetrics, text.as_bytes());
        prop_assert!(report.is_complete(), "{:?}\n{}", report, text);
        let (said, report) = read(&mut parser, Format::Protobuf, &page(&messages));
        prop_assert!(report.is_complete(), "{:?}", report);
        prop_assert_eq!(said, printed);
    }

    #[test]
    fn any_bytes_are_read_without_panic(page in vec(any::<u8>(), 0..300)) {
        exposition_body::check_messages(&page);
    }

    #[test]
    fn any_nearly_good_page_is_read_without_panic(
        families in vec(any_family(), 1..3),
        is_native: bool,
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
    ) {
        let mut messages: Vec<_> = families.iter().map(Family::message).collect();
        if is_native {
            messages.push(histogram("h", native()));
        }
        let mut page = page(&messages);
        for (at, byte) in changes {
            let at = at.index(page.len());
            page[at] = byte;
        }
        exposition_body::check_messages(&page);
    }
}

/// What a real Prometheus takes from the same page.
#[test]
fn prometheus_stores_what_we_read() {
    let labelled = |mut family: MetricFamily| {
        family.metric[0].label = labels([("a", "x"), ("b", "Größe \"1\"\n")]);
        family
    };
    let float = Histogram {
        sample_count_float: Some(3.5),
        sample_sum: Some(-4.0),
        schema: Some(3),
        zero_threshold: Some(0.25),
        zero_count_float: Some(0.5),
        negative_span: vec![span(8, 1), span(3, 2)],
        negative_count: vec![1.0, 0.0, 2.0],
        ..Histogram::default()
    };
    let bucket = |bound, count| Bucket {
        cumulative_count: Some(count),
        upper_bound: Some(bound),
        ..Bucket::default()
    };
    let classic = Histogram {
        sample_count: Some(7),
        sample_sum: Some(2.5),
        bucket: vec![bucket(0.5, 3), bucket(1_000_000.0, 6)],
        ..Histogram::default()
    };
    let summary = Metric {
        summary: Some(Summary {
            sample_count: Some(2),
            sample_sum: Some(3.0),
            quantile: vec![Quantile {
                quantile: Some(0.5),
                value: Some(f64::NAN),
            }],
        }),
        ..Metric::default()
    };
    let counter = Metric {
        counter: Some(Counter {
            value: Some(41.5),
            start_timestamp: None,
        }),
        ..Metric::default()
    };
    let mut coarse = native();
    coarse.schema = Some(-4);
    let families = [
        labelled(gauge("g", -0.0)),
        labelled(family("c_total", 0, counter)),
        labelled(family("s", 2, summary)),
        labelled(histogram("classic", classic)),
        labelled(histogram("h", native())),
        labelled(histogram("coarse", coarse)),
        labelled(histogram("float", float)),
    ];
    let body = page(&families);
    let answer = Answer::respond(200, &[("Content-Type", Format::Protobuf.content_type())], &body);
    let target = FaultyServer::start([answer]).unwrap();
    let prometheus = Prometheus::builder()
        .scrape("page", target.addr(), Duration::from_secs(3), &[])
        .flag("--enable-feature=native-histograms")
        .start()
        .unwrap();
    prometheus.wait_for("up == 1").unwrap();

    let mut parser = Parser::new().with_histograms(Histograms::Native);
    let mut page = parser.page(Format::Protobuf, &body);
    let mut ours = BTreeMap::new();
    while let Some(event) = page.next() {
        let (name, value) = match &event {
            Event::Sample(sample) => (sample.name(), Shown(sample.value).to_string()),
            Event::Histogram(sample) => {
                let histogram = &sample.histogram;
                let edge = |bucket: &fleetgauge_promql::histogram::Bucket| {
                    let rule = match (bucket.has_lower, bucket.has_upper) {
                        (false, true) => 0,
                        (true, false) => 1,
                        (false, false) => 2,
                        (true, true) => 3,
                    };
                    let numbers = [bucket.lower, bucket.upper, bucket.count];
                    format!("{rule} {numbers:?}")
                };
                let buckets: Vec<_> = histogram.buckets().map(|bucket| edge(&bucket)).collect();
                let (count, sum) = (histogram.count(), histogram.sum());
                (sample.name(), format!("{count} {sum} {buckets:?}"))
            }
            _ => continue,
        };
        let name = name.to_owned();
        let mut labels: BTreeMap<_, _> = page
            .labels()
            .unwrap()
            .iter()
            .map(|(n, v)| (n.into_owned(), v.into_owned()))
            .collect();
        labels.insert("__name__".to_owned(), name);
        ours.insert(labels, value);
    }
    assert!(page.finish().is_complete());

    let text = |json: &Json| json.as_str().unwrap_or_default().to_owned();
    let result = prometheus
        .query(r#"{job="page",__name__!~"up|scrape_.*"}"#, None)
        .unwrap();
    let theirs = result.as_array().unwrap().iter().map(|series| {
        let labels = series["metric"].as_object().unwrap().iter();
        let labels = labels.filter(|(name, _)| !matches!(name.as_str(), "job" | "instance"));
        let labels: BTreeMap<_, _> = labels.map(|(name, value)| (name.clone(), text(value))).collect();
        let histogram = &series["histogram"][1];
        let value = match histogram["buckets"].as_array() {
            None => text(&series["value"][1]),
            Some(buckets) => {
                let number = |json: &Json| -> f64 { text(json).parse().unwrap() };
                let bucket = |b: &Json| format!("{} {:?}", b[0], [1, 2, 3].map(|at| number(&b[at])));
                let buckets: Vec<_> = buckets.iter().map(bucket).collect();
                format!(
                    "{} {} {buckets:?}",
                    text(&histogram["count"]),
                    text(&histogram["sum"])
                )
            }
        };
        (labels, value)
    });
    // Prometheus 2 keeps bounds as they are written, which version 3 does not.
    let as_of_now = |(mut labels, value): (BTreeMap<String, String>, String)| {
        for (name, value) in &mut labels {
            if ["le", "quantile"].contains(&name.as_str()) {
                *value = OpenMetricsFloat(value.parse().unwrap()).to_string();
            }
        }
        (labels, value)
    };
    let theirs: BTreeMap<_, _> = theirs.map(as_of_now).collect();
    assert_eq!(ours.len(), 2 + 3 + 5 + 3);
    assert_eq!(theirs, ours);
}
