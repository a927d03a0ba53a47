//! Pages in Protocol Buffers that are broken, cut or too large: what is bad costs only itself, and is told with its place.

use fleetgauge_promql::exposition::{Cut, Format, Histograms, Limits, Parser};

use crate::support::metric_family::{
    Bucket, Counter, Histogram, Metric, MetricFamily, family, gauge, histogram, labels, native, page, span,
};
use crate::support::said::{read, read_all};

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
