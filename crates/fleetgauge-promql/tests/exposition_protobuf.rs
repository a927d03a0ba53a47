//! Pages in Protocol Buffers: they say what the text format says, and native histograms besides.

use std::collections::BTreeMap;
use std::time::Duration;

use fleetgauge_core::sample::Number as Shown;
use fleetgauge_promql::exposition::{Encoder, Event, Format, Histograms, Parser, Wanted};
use fleetgauge_syntax::number::OpenMetricsFloat;
use fleetgauge_testkit::{Answer, FaultyServer, Prometheus};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value as Json;

use crate::support::any_family::{Family, any_family};
use crate::support::exposition_body;
use crate::support::metric_family::{
    Bucket, Counter, Histogram, Metric, MetricFamily, Moment, Quantile, Summary, family, gauge, histogram,
    labels, native, page, span,
};
use crate::support::said::{read, read_all};

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
